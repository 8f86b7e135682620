"""podman: the local store in front of containers/image; builds, formats, lists, indexes."""

import json

import containers
import harness
import partial
from containers import run
from harness import DOCKER_MANIFEST, OCI_MANIFEST, check, check_equal

LACKS = (
    "delete in a registry: podman has no command for it",
    "copy between repositories: only by pull and push",
    "artifact attach and discover: this version has no command for it",
)


def setup(ctx):
    containers.prepare(ctx, "podman")
    version = ctx.version_line("podman", "--version")
    run(ctx, "info")
    return version


def build(ctx, name, *words, first_line="FROM scratch"):
    folder = containers.build_folder(ctx, name, first_line)
    run(ctx, "build", "-q", "--tls-verify=false", *words, "-t", f"localhost/{name}:1", folder)
    return f"localhost/{name}:1"


def push(ctx):
    image, repo = build(ctx, "built"), ctx.repo("built")
    digest = containers.push(ctx, image, repo, "1")
    ctx.verify(repo, "1", digest)
    check_equal(ctx.registry.manifest(repo, "1")[1], OCI_MANIFEST, "type")
    check_equal(containers.push(ctx, image, repo, "1"), digest, "digest of the second push")


def push_and_pull_back(ctx):
    image, repo = build(ctx, "back"), ctx.repo("back")
    before = containers.image_id(ctx, image)
    digest = containers.push(ctx, image, repo, "1")
    run(ctx, "rmi", "-f", before)
    run(ctx, "pull", "-q", ctx.ref(repo, digest))
    check_equal(containers.image_id(ctx, ctx.ref(repo, digest)), before, "image pulled back")


def pull_past(ctx):
    """A view of the past, by name: what the tag was on before it moved."""
    sample, repo = ctx.samples.get("other"), ctx.repo("past")
    view = ctx.view_between(repo, "1", sample, ctx.samples.get("image"))
    run(ctx, "pull", "-q", ctx.ref(view, "1"))
    wanted = sample.manifest()["config"]["digest"].split(":")[1]
    check_equal(containers.image_id(ctx, ctx.ref(view, "1")), wanted, "image pulled from the past")


def push_docker_format(ctx):
    image, repo = build(ctx, "v2s2"), ctx.repo("v2s2")
    digest = containers.push(ctx, image, repo, "1", "--format", "v2s2")
    check_equal(ctx.registry.manifest(repo, "1")[1], DOCKER_MANIFEST, "type")
    ctx.verify(repo, "1", digest)


def push_zstd(ctx):
    image, repo = build(ctx, "zstd"), ctx.repo("zstd")
    digest = containers.push(ctx, image, repo, "1", "--compression-format", "zstd")
    layers = json.loads(ctx.registry.manifest(repo, "1")[0])["layers"]
    check(all(layer["mediaType"].endswith("tar+zstd") for layer in layers), f"layers: {layers}")
    ctx.verify(repo, "1", digest)
    before = containers.image_id(ctx, image)
    run(ctx, "rmi", "-f", before)
    run(ctx, "pull", "-q", ctx.ref(repo, "1"))
    check_equal(containers.image_id(ctx, ctx.ref(repo, "1")), before, "image pulled back")


def push_imported(ctx):
    repo = ctx.repo("imported")
    tar = ctx.samples.rootfs_tar("podman-import")
    run(ctx, "import", "-q", tar, "localhost/imported:1")
    ctx.verify(repo, "1", containers.push(ctx, "localhost/imported:1", repo, "1"))


def push_elsewhere(ctx):
    """The second repository gets its blobs by mount or by upload: whole either way."""
    image, repo, other = build(ctx, "mounted"), ctx.repo("mount-a"), ctx.repo("mount-b")
    digest = containers.push(ctx, image, repo, "1")
    check_equal(containers.push(ctx, image, other, "1"), digest, "digest in the other repository")
    ctx.verify(other, "1", digest)


def build_on_registry_image(ctx):
    sample, base, repo = ctx.samples.get("image"), ctx.repo("base"), ctx.repo("on-base")
    ctx.registry.seed(base, "1", sample)
    image = build(ctx, "on-base", first_line=f"FROM {ctx.ref(base, '1')}")
    ctx.verify(repo, "1", containers.push(ctx, image, repo, "1"))


def pull(ctx):
    containers.check_pull(ctx, ctx.samples.get("image"))


def pull_all_tags(ctx):
    sample, repo = ctx.samples.get("image"), ctx.repo("all-tags")
    for tag in ("1", "2", "3"):
        ctx.registry.seed(repo, tag, sample)
    run(ctx, "pull", "-q", "--all-tags", f"{ctx.registry.address}/{repo}")
    listed = run(ctx, "images", "--format", "{{.Tag}}", f"{ctx.registry.address}/{repo}").lines()
    check_equal(sorted(listed), ["1", "2", "3"], "tags pulled")


def pull_tall(ctx):
    sample, repo = ctx.samples.get("tall"), ctx.repo("tall")
    ctx.registry.seed(repo, "1", sample)
    pulled = run(ctx, "pull", "-q", ctx.ref(repo, "1")).lines()[-1]
    check_equal("sha256:" + pulled, sample.manifest()["config"]["digest"], "image id")
    run(ctx, "rmi", "-f", pulled)


def pull_big(ctx):
    containers.check_pull(ctx, ctx.samples.get("big"), "big")


def index(ctx):
    repo = ctx.repo("index")
    run(ctx, "manifest", "create", "localhost/index:1")
    for arch in ("amd64", "arm64"):
        image = build(ctx, f"for-{arch}", "--arch", arch)
        run(ctx, "manifest", "add", "localhost/index:1", f"containers-storage:{image}")
    file = ctx.path("digest")
    run(ctx, "manifest", "push", "-q", "--all", "--tls-verify=false", "--digestfile", file,
        "localhost/index:1", "docker://" + ctx.ref(repo, "1"))  # fmt: skip
    ctx.verify(repo, "1", ctx.read("digest").decode().strip())
    entries = json.loads(ctx.registry.manifest(repo, "1")[0])["manifests"]
    found = sorted(entry["platform"]["architecture"] for entry in entries)
    check_equal(found, ["amd64", "arm64"], "platforms")
    seen = run(ctx, "manifest", "inspect", ctx.ref(repo, "1")).json()
    check_equal(len(seen["manifests"]), 2, "entries that manifest inspect shows")


def pull_platform(ctx):
    sample, repo = ctx.samples.get("multi"), ctx.repo("platform")
    ctx.registry.seed(repo, "1", sample)
    for number, arch in ((0, "amd64"), (1, "arm64")):
        entry = sample.manifest()["manifests"][number]
        wanted = sample.manifest(entry["digest"])["config"]["digest"].removeprefix("sha256:")
        pulled = run(ctx, "pull", "-q", "--arch", arch, ctx.ref(repo, "1")).lines()[-1]
        check_equal(pulled, wanted, f"{arch} image")


def list_tags(ctx):
    sample, repo = ctx.samples.get("image"), ctx.repo("tags")
    for tag in ("c", "B", "a"):
        ctx.registry.seed(repo, tag, sample)
    seen = run(ctx, "search", "--list-tags", "--tls-verify=false", f"{ctx.registry.address}/{repo}")
    ctx.check_tags([line.split()[-1] for line in seen.lines()[1:]], ["B", "a", "c"])


def catalog(ctx):
    sample, repo = ctx.samples.get("image"), ctx.repo("catalog/findme")
    ctx.registry.seed(repo, "1", sample)
    seen = run(ctx, "search", "--tls-verify=false", "--format", "{{.Name}}", "--limit", "100",
               ctx.ref("findme", "x").removesuffix(":x"))  # fmt: skip
    check(f"{ctx.registry.address}/{repo}" in seen.lines(), f"podman search shows {seen.lines()}")


def unknown(ctx):
    said = ctx.refused(*ctx.state["base"], "pull", "-q", ctx.ref(ctx.repo("nothing"), "1"))
    check("unknown" in said.lower(), f"podman says: {said}")


class Caller(harness.Caller):
    def __init__(self, ctx, address):
        super().__init__(ctx, address)
        self.image = build(ctx, "log-ins")
        self.id = containers.image_id(ctx, self.image)

    def login(self, user, password):
        run(self.ctx, "login", "--tls-verify=false", "-u", user, "-p", password, self.address)

    def logout(self):
        run(self.ctx, "logout", self.address)

    def push(self, repo):
        words = ("--tls-verify=false", self.image, "docker://" + self.ref(repo))
        run(self.ctx, "push", "-q", *words)

    def pull(self, repo):
        run(self.ctx, "pull", "-q", "--tls-verify=false", self.ref(repo))
        check_equal(containers.image_id(self.ctx, self.ref(repo)), self.id, "image pulled")
        run(self.ctx, "rmi", self.ref(repo))  # the name alone: the image has another


CASES = (
    ("build from scratch and push", push),
    ("pull back what was pushed", push_and_pull_back),
    ("pull from a view of the past", pull_past),
    ("push in docker format", push_docker_format),
    ("push zstd layers and pull back", push_zstd),
    ("pull parts of zstd:chunked layers", partial.pull),
    ("push an imported file system", push_imported),
    ("push to a second repository", push_elsewhere),
    ("build on an image of the registry", build_on_registry_image),
    ("pull by tag and digest", pull),
    ("pull all tags", pull_all_tags),
    ("pull 120 layers", pull_tall),
    ("pull a big layer", pull_big),
    ("multi-arch index", index),
    ("pull one platform", pull_platform),
    ("list tags", list_tags),
    ("search the catalog", catalog, "catalog"),
    ("an unknown image is said to be unknown", unknown),
)
