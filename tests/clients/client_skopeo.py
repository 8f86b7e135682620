"""skopeo: containers/image without a local store; every format, copy, sync, delete."""

import json

import harness
from harness import DOCKER_MANIFEST, OCI_INDEX, OCI_MANIFEST, check, check_equal, digest_of
from samples import ACCEPT_ANYTHING, verify_layout

LACKS = ("artifact attach and discover: this version has no command for it",)


def setup(ctx):
    ctx.program("skopeo")
    ctx.write("policy.json", ACCEPT_ANYTHING)
    return ctx.version_line("skopeo", "--version")


def skopeo(ctx, *words):
    return ctx.run("skopeo", "--policy", ctx.path("policy.json"), *words)


def copy(ctx, source, target, *words):
    """Copies; returns the digest skopeo says it wrote."""
    file = ctx.path("digest")
    verify = "false" if ctx.plain else "true"
    skopeo(ctx, "copy", "-q", f"--src-tls-verify={verify}", f"--dest-tls-verify={verify}",
           "--digestfile", file, *words, source, target)  # fmt: skip
    return ctx.read("digest").decode().strip()


def docker(ctx, repo, tag):
    return "docker://" + ctx.ref(repo, tag)


def push(ctx):
    sample, repo = ctx.samples.get("image"), ctx.repo("image")
    digest = copy(ctx, f"oci:{sample.ref}", docker(ctx, repo, "1"))
    check_equal(digest, sample.digest, "digest skopeo reports")
    ctx.verify(repo, "1", sample.digest)
    check_equal(ctx.registry.manifest(repo, "1")[1], OCI_MANIFEST, "type")


def push_again(ctx):
    sample, repo = ctx.samples.get("image"), ctx.repo("again")
    for _ in range(2):
        copy(ctx, f"oci:{sample.ref}", docker(ctx, repo, "1"))
    ctx.verify(repo, "1", sample.digest)


def push_docker_format(ctx):
    sample, repo = ctx.samples.get("image"), ctx.repo("v2s2")
    digest = copy(ctx, f"oci:{sample.ref}", docker(ctx, repo, "1"), "--format", "v2s2")
    check_equal(ctx.registry.manifest(repo, "1")[1], DOCKER_MANIFEST, "type")
    ctx.verify(repo, "1", digest)


def push_zstd(ctx):
    sample, repo = ctx.samples.get("plain"), ctx.repo("zstd")
    digest = copy(ctx, f"oci:{sample.ref}", docker(ctx, repo, "1"), "--format", "oci",
                  "--dest-compress-format", "zstd")  # fmt: skip
    layers = json.loads(ctx.registry.manifest(repo, "1")[0])["layers"]
    check(all(layer["mediaType"].endswith("tar+zstd") for layer in layers), f"layers: {layers}")
    ctx.verify(repo, "1", digest)


def push_index(ctx):
    sample, repo = ctx.samples.get("multi"), ctx.repo("multi")
    digest = copy(ctx, f"oci:{sample.ref}", docker(ctx, repo, "all"), "--all")
    check_equal(digest, sample.digest, "digest skopeo reports")
    ctx.verify(repo, "all", sample.digest)
    check_equal(ctx.registry.manifest(repo, "all")[1], OCI_INDEX, "type")


def push_tall(ctx):
    """120 layers, pulled back by skopeo; other clients pull such an image, too."""
    sample, repo = ctx.samples.get("tall"), ctx.repo("tall")
    for _ in range(2):
        copy(ctx, f"oci:{sample.ref}", docker(ctx, repo, "1"))
    ctx.verify(repo, "1", sample.digest)
    copy(ctx, docker(ctx, repo, "1"), f"oci:{ctx.path('tall')}:it")
    check_equal(verify_layout(ctx.path("tall")), (sample.digest, set(sample.blobs)), "what it pulls")


def push_big(ctx):
    sample, repo = ctx.samples.get("big"), ctx.repo("big")
    copy(ctx, f"oci:{sample.ref}", docker(ctx, repo, "1"))
    ctx.verify(repo, "1", sample.digest, peer=False)
    ctx.state["big"] = repo


def pull(ctx):
    sample, repo = ctx.samples.get("image"), ctx.repo("pull")
    ctx.registry.seed(repo, "1", sample)
    for number, reference in enumerate(("1", sample.digest)):
        layout = ctx.path(f"pulled{number}")
        digest = copy(ctx, docker(ctx, repo, reference), f"oci:{layout}:it")
        check_equal(digest, sample.digest, "digest skopeo pulled")
        root, found = verify_layout(layout)
        check_equal((root, found), (sample.digest, set(sample.blobs)), "what was pulled")


def pull_index(ctx):
    sample, repo = ctx.samples.get("multi"), ctx.repo("pull-multi")
    ctx.registry.seed(repo, "1", sample)
    layout = ctx.path("pulled-multi")
    copy(ctx, docker(ctx, repo, "1"), f"oci:{layout}:it", "--all")
    root, found = verify_layout(layout)
    check_equal((root, found), (sample.digest, set(sample.blobs)), "what was pulled")


def pull_platform(ctx):
    sample, repo = ctx.samples.get("multi"), ctx.repo("platform")
    ctx.registry.seed(repo, "1", sample)
    layout = ctx.path("pulled-arm64")
    file = ctx.path("digest")
    skopeo(ctx, "--override-arch", "arm64", "copy", "-q", "--src-tls-verify=false",
           "--digestfile", file, docker(ctx, repo, "1"), f"oci:{layout}:it")  # fmt: skip
    wanted = sample.manifest()["manifests"][1]["digest"]
    check_equal(verify_layout(layout)[0], wanted, "arm64 image")


def pull_big(ctx):
    sample = ctx.samples.get("big")
    repo = ctx.state.get("big") or ctx.repo("big")
    layout = ctx.path("pulled-big")
    copy(ctx, docker(ctx, repo, "1"), f"oci:{layout}:it")
    check_equal(verify_layout(layout)[0], sample.digest, "what was pulled")


def inspect(ctx):
    sample, repo = ctx.samples.get("multi"), ctx.repo("inspect")
    ctx.registry.seed(repo, "1", sample)
    raw = skopeo(ctx, "inspect", "--raw", "--tls-verify=false", docker(ctx, repo, "1"))
    check_equal(digest_of(raw.out.encode()), sample.digest, "digest of the raw manifest")
    seen = skopeo(ctx, "inspect", "--tls-verify=false", docker(ctx, repo, "1")).json()
    check_equal(seen["Digest"], sample.digest, "digest inspect shows")
    check_equal(seen["RepoTags"], ["1"], "tags inspect shows")


def list_tags(ctx):
    sample, repo = ctx.samples.get("image"), ctx.repo("tags")
    for tag in ("c", "B", "a"):
        ctx.registry.seed(repo, tag, sample)
    seen = skopeo(ctx, "list-tags", "--tls-verify=false", f"docker://{ctx.registry.address}/{repo}")
    ctx.check_tags(seen.json()["Tags"], ["B", "a", "c"])


def copy_across(ctx):
    sample, source, target = ctx.samples.get("multi"), ctx.repo("from"), ctx.repo("to/deep/er")
    ctx.registry.seed(source, "1", sample)
    digest = copy(ctx, docker(ctx, source, "1"), docker(ctx, target, "2"), "--all")
    check_equal(digest, sample.digest, "digest skopeo reports")
    ctx.verify(target, "2", sample.digest)
    ctx.verify(source, "1", sample.digest, peer=False)


def sync(ctx):
    sample, source, target = ctx.samples.get("image"), ctx.repo("sync"), ctx.repo("synced")
    for tag in ("1", "2"):
        ctx.registry.seed(source, tag, sample)
    skopeo(ctx, "sync", "--src", "docker", "--dest", "docker", "--src-tls-verify=false",
           "--dest-tls-verify=false", f"{ctx.registry.address}/{source}",
           f"{ctx.registry.address}/{target}")  # fmt: skip
    ctx.check_tags(ctx.registry.tags(f"{target}/sync"), ["1", "2"])
    ctx.verify(f"{target}/sync", "2", sample.digest)


def delete(ctx):
    sample, repo = ctx.samples.get("image"), ctx.repo("delete")
    other = ctx.samples.get("multi")
    ctx.registry.seed(repo, "1", sample)
    ctx.registry.seed(repo, "same", sample)
    ctx.registry.seed(repo, "other", other)
    skopeo(ctx, "delete", "--tls-verify=false", docker(ctx, repo, "1"))
    check_equal(ctx.registry.status(repo, "manifests", sample.digest), 404, "deleted digest")
    check_equal(ctx.registry.status(repo, "manifests", "1"), 404, "deleted tag")
    check_equal(ctx.registry.status(repo, "manifests", "same"), 404, "other tag on the digest")
    ctx.check_tags(ctx.registry.tags(repo), ["other"])
    ctx.verify(repo, "other", other.digest)


def unknown(ctx):
    repo = ctx.repo("nothing")
    said = ctx.refused("skopeo", "--policy", ctx.path("policy.json"), "inspect",
                       "--tls-verify=false", docker(ctx, repo, "1"))  # fmt: skip
    check("unknown" in said.lower(), f"skopeo says: {said}")


class Caller(harness.Caller):
    scheme = "docker://"
    copies = True

    def __init__(self, ctx, address):
        super().__init__(ctx, address)
        self.sample = ctx.samples.get("image")

    def login(self, user, password):
        skopeo(self.ctx, "login", "--tls-verify=false", "-u", user, "-p", password, self.address)

    def logout(self):
        skopeo(self.ctx, "logout", self.address)

    def push(self, repo):
        copy(self.ctx, f"oci:{self.sample.ref}", self.ref(repo))

    def pull(self, repo):
        layout = self.ctx.path(self.fresh())
        copy(self.ctx, self.ref(repo), f"oci:{layout}:it")
        check_equal(verify_layout(layout)[0], self.sample.digest, "what was pulled")

    def mount(self, source, target):
        copy(self.ctx, self.ref(source), self.ref(target))


CASES = (
    ("push an image", push),
    ("push the same image again", push_again),
    ("push in docker format", push_docker_format),
    ("push zstd layers", push_zstd),
    ("push a multi-arch index", push_index),
    ("push and pull 120 layers", push_tall),
    ("push a big layer", push_big),
    ("pull by tag and digest", pull),
    ("pull a multi-arch index", pull_index),
    ("pull one platform", pull_platform),
    ("pull a big layer", pull_big),
    ("inspect", inspect),
    ("list tags", list_tags),
    ("copy between repositories", copy_across),
    ("sync a repository", sync),
    ("delete", delete),
    ("an unknown image is said to be unknown", unknown),
)
