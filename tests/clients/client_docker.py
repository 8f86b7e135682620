"""docker: a daemon of our own without network, bridge or firewall rules, classic store."""

import json
import os

import containers
import harness
from harness import DOCKER_LIST, DOCKER_MANIFEST, Missing, check, check_equal

DAEMON_START_SECONDS_MAX = 60
LACKS = (
    "delete in a registry: docker has no command for it",
    "list tags: only as 'pull --all-tags'",
    "copy between repositories: only by pull, tag and push",
    "artifact attach and discover: docker has no command for it",
)


def client_program(ctx):
    """Debian's client before any other on PATH, since its daemon is the one started."""
    debian = "/usr/bin/docker"
    return debian if os.access(debian, os.X_OK) else ctx.program("docker")


def setup(ctx):
    daemon_program = ctx.program("dockerd")
    client = client_program(ctx)
    if os.geteuid() != 0:
        raise Missing("dockerd needs root")
    socket = "unix://" + ctx.path("d.sock")
    settings = ctx.write("daemon.json", "{}")
    daemon = ctx.daemon(
        (daemon_program, "--config-file", settings, "--host", socket,
         "--data-root", ctx.path("data"), "--exec-root", ctx.path("exec"),
         "--pidfile", ctx.path("d.pid"), "--bridge=none", "--iptables=false",
         "--ip6tables=false", "--storage-driver", "vfs")
    )  # fmt: skip
    ctx.env["DOCKER_HOST"] = socket
    ctx.env["DOCKER_BUILDKIT"] = "0"
    ctx.env["DOCKER_CLI_EXPERIMENTAL"] = "enabled"
    ctx.state["docker"] = client
    daemon.wait_until(
        lambda: ctx.try_run(client, "version", seconds=20)[0] == 0,
        DAEMON_START_SECONDS_MAX,
        "dockerd",
    )
    return ctx.version_line(
        client, "version", "--format", "client {{.Client.Version}}, daemon {{.Server.Version}}"
    )


def docker(ctx, *words):
    return ctx.run(ctx.state["docker"], *words)


def docker_manifest(ctx, what, *words):
    """docker manifest, which always tries TLS first, and goes on in the clear when it is answered 400."""
    return docker(ctx, "manifest", what, "--insecure", *words)


def build(ctx, image, name, first_line="FROM scratch"):
    docker(ctx, "build", "-q", "-t", image, containers.build_folder(ctx, name, first_line))
    return image


def digest_said(result):
    """The digest in docker's last line: "1: digest: sha256:… size: 528"."""
    line = result.lines()[-1]
    check("digest: sha256:" in line, f"docker push ends with {line!r}")
    return line.split("digest: ")[1].split()[0]


def push(ctx, image):
    return digest_said(docker(ctx, "push", image))


def image_id(ctx, image):
    return docker(ctx, "inspect", "--format", "{{.Id}}", image).out.strip()


def remove(ctx, *images):
    docker(ctx, "rmi", "-f", *images)


def push_built(ctx):
    repo = ctx.repo("built")
    image = build(ctx, ctx.ref(repo, "1"), "built")
    digest = push(ctx, image)
    ctx.verify(repo, "1", digest)
    data, media_type, _ = ctx.registry.manifest(repo, "1")
    check_equal(media_type, DOCKER_MANIFEST, "type")
    check_equal(json.loads(data)["config"]["digest"], image_id(ctx, image), "image id")
    again = docker(ctx, "push", image)
    check("Layer already exists" in again.out, f"second push says: {again.out}")
    check_equal(digest_said(again), digest, "digest of the second push")


def push_imported(ctx):
    repo = ctx.repo("imported")
    image = ctx.ref(repo, "1")
    docker(ctx, "import", ctx.samples.rootfs_tar("docker-import"), image)
    ctx.verify(repo, "1", push(ctx, image))


def pull_back(ctx):
    repo = ctx.repo("back")
    image = build(ctx, ctx.ref(repo, "1"), "back")
    digest, before = push(ctx, image), image_id(ctx, image)
    for reference in ("1", digest):
        remove(ctx, before)
        docker(ctx, "pull", ctx.ref(repo, reference))
        check_equal(image_id(ctx, ctx.ref(repo, reference)), before, f"image pulled by {reference}")
    names = docker(ctx, "inspect", "--format", "{{json .RepoDigests}}", before).json()
    check(ctx.ref(repo, digest) in names, f"docker remembers {names}")


def push_elsewhere(ctx):
    """docker offers the layers for mount from the repository it pushed them to first."""
    repo, other = ctx.repo("mount-a"), ctx.repo("mount-b")
    image = build(ctx, ctx.ref(repo, "1"), "mounted")
    digest = push(ctx, image)
    docker(ctx, "tag", image, ctx.ref(other, "1"))
    second = docker(ctx, "push", ctx.ref(other, "1"))
    check("Mounted from" in second.out, f"push to the other repository says: {second.out}")
    check_equal(digest_said(second), digest, "digest in the other repository")
    ctx.verify(other, "1", digest)


def build_on_registry_image(ctx):
    base, repo = ctx.repo("base"), ctx.repo("on-base")
    ctx.registry.seed(base, "1", ctx.samples.get("image"))
    image = build(ctx, ctx.ref(repo, "1"), "on-base", f"FROM {ctx.ref(base, '1')}")
    ctx.verify(repo, "1", push(ctx, image))


def push_big(ctx):
    repo = ctx.repo("big")
    ctx.write("big/Dockerfile", "FROM scratch\nCOPY blob /blob\n")
    ctx.write("big/blob", ctx.samples.layer("docker-big", 24 << 20))
    docker(ctx, "build", "-q", "-t", ctx.ref(repo, "1"), ctx.path("big"))
    digest, before = push(ctx, ctx.ref(repo, "1")), image_id(ctx, ctx.ref(repo, "1"))
    ctx.verify(repo, "1", digest, peer=False)
    remove(ctx, before)
    docker(ctx, "pull", ctx.ref(repo, "1"))
    check_equal(image_id(ctx, ctx.ref(repo, "1")), before, "image pulled back")


def push_tall(ctx):
    """120 layers: pulled, and pushed to a second repository, for which docker asks for 120 mounts."""
    sample, repo, other = ctx.samples.get("tall"), ctx.repo("tall"), ctx.repo("tall-again")
    ctx.registry.seed(repo, "1", sample)
    docker(ctx, "pull", ctx.ref(repo, "1"))
    wanted = sample.manifest()["config"]["digest"]
    check_equal(image_id(ctx, ctx.ref(repo, "1")), wanted, "image pulled")
    docker(ctx, "tag", ctx.ref(repo, "1"), ctx.ref(other, "1"))
    ctx.verify(other, "1", push(ctx, ctx.ref(other, "1")))
    layers = json.loads(ctx.registry.manifest(other, "1")[0])["layers"]
    check_equal(len(layers), len(sample.manifest()["layers"]), "layers")
    remove(ctx, wanted)


def pull_oci(ctx):
    sample, repo = ctx.samples.get("other"), ctx.repo("oci")
    ctx.registry.seed(repo, "1", sample)
    for reference in ("1", sample.digest):
        docker(ctx, "pull", ctx.ref(repo, reference))
        wanted = sample.manifest()["config"]["digest"]
        check_equal(image_id(ctx, ctx.ref(repo, reference)), wanted, f"image by {reference}")
        remove(ctx, wanted)


def pull_past(ctx):
    """A view of the past, by name: what the tag was on before it moved."""
    sample, repo = ctx.samples.get("other"), ctx.repo("past")
    view = ctx.view_between(repo, "1", sample, ctx.samples.get("image"))
    docker(ctx, "pull", ctx.ref(view, "1"))
    wanted = sample.manifest()["config"]["digest"]
    check_equal(image_id(ctx, ctx.ref(view, "1")), wanted, "image pulled from the past")
    docker(ctx, "tag", ctx.ref(view, "1"), ctx.ref(view, "2"))
    said = ctx.refused(ctx.state["docker"], "push", ctx.ref(view, "2"))
    check("read-only" in said, f"docker says: {said}")
    remove(ctx, wanted)


def pull_platforms(ctx):
    sample, repo = ctx.samples.get("multi"), ctx.repo("platform")
    ctx.registry.seed(repo, "1", sample)
    for number, platform in enumerate(("linux/amd64", "linux/arm64", "linux/arm/v7")):
        out = docker(ctx, "pull", "--platform", platform, ctx.ref(repo, "1")).out
        check(f"Digest: {sample.digest}" in out, f"docker pull says: {out}")
        entry = sample.manifest()["manifests"][number]
        wanted = sample.manifest(entry["digest"])["config"]["digest"]
        check_equal(image_id(ctx, ctx.ref(repo, "1")), wanted, f"{platform} image")


def pull_all_tags(ctx):
    sample, repo = ctx.samples.get("image"), ctx.repo("all-tags")
    for tag in ("1", "2", "3"):
        ctx.registry.seed(repo, tag, sample)
    name = f"{ctx.registry.address}/{repo}"
    docker(ctx, "pull", "--all-tags", name)
    found = docker(ctx, "images", "--format", "{{.Tag}}", name).lines()
    check_equal(sorted(found), ["1", "2", "3"], "tags pulled")


def push_all_tags(ctx):
    repo = ctx.repo("push-all")
    image = build(ctx, ctx.ref(repo, "1"), "push-all")
    docker(ctx, "tag", image, ctx.ref(repo, "2"))
    docker(ctx, "push", "--all-tags", f"{ctx.registry.address}/{repo}")
    ctx.check_tags(ctx.registry.tags(repo), ["1", "2"])
    check_equal(ctx.registry.digest(repo, "1"), ctx.registry.digest(repo, "2"), "digests")


def index(ctx):
    repo = ctx.repo("index")
    parts = []
    for arch in ("amd64", "arm64"):
        parts.append(build(ctx, ctx.ref(repo, arch), f"for-{arch}"))
        push(ctx, parts[-1])
    name = ctx.ref(repo, "both")
    docker_manifest(ctx, "create", name, *parts)
    docker(ctx, "manifest", "annotate", "--arch", "arm64", name, parts[1])
    digest = docker_manifest(ctx, "push", name).lines()[-1]
    ctx.verify(repo, "both", digest)
    check_equal(ctx.registry.manifest(repo, "both")[1], DOCKER_LIST, "type")
    seen = docker_manifest(ctx, "inspect", name).json()
    found = [entry["platform"]["architecture"] for entry in seen["manifests"]]
    check_equal(found, ["amd64", "arm64"], "platforms that docker manifest inspect shows")


def overwrite_tag(ctx):
    """A tag moves: the same name gives the new image to a daemon that has the old one."""
    repo = ctx.repo("moving")
    image = ctx.ref(repo, "1")
    first = push(ctx, build(ctx, image, "moving-old"))
    second = push(ctx, build(ctx, image, "moving-new"))
    check(first != second, "two builds with one digest")
    wanted = image_id(ctx, image)
    docker(ctx, "pull", ctx.ref(repo, first))
    docker(ctx, "tag", ctx.ref(repo, first), image)
    docker(ctx, "pull", image)
    check_equal(image_id(ctx, image), wanted, "image after the tag moved")
    ctx.verify(repo, first, first)
    ctx.verify(repo, "1", second)


def unknown(ctx):
    said = ctx.refused(ctx.state["docker"], "pull", ctx.ref(ctx.repo("nothing"), "1"))
    check("unknown" in said or "not found" in said, f"docker says: {said}")


class Caller(harness.Caller):
    def __init__(self, ctx, address):
        super().__init__(ctx, address)
        self.image = build(ctx, "localhost/log-ins:1", "log-ins")
        self.id = image_id(ctx, self.image)

    def login(self, user, password):
        docker(self.ctx, "login", "-u", user, "-p", password, self.address)

    def logout(self):
        docker(self.ctx, "logout", self.address)

    def push(self, repo):
        docker(self.ctx, "tag", self.image, self.ref(repo))
        try:
            return push(self.ctx, self.ref(repo))
        finally:
            docker(self.ctx, "rmi", self.ref(repo))  # the name alone

    def pull(self, repo):
        docker(self.ctx, "pull", self.ref(repo))
        check_equal(image_id(self.ctx, self.ref(repo)), self.id, "image pulled")
        docker(self.ctx, "rmi", self.ref(repo))


CASES = (
    ("build from scratch and push, twice", push_built),
    ("push an imported file system", push_imported),
    ("pull back by tag and digest", pull_back),
    ("push to a second repository mounts", push_elsewhere),
    ("build on an image of the registry", build_on_registry_image),
    ("push and pull a big layer", push_big),
    ("pull and push 120 layers", push_tall),
    ("pull an OCI image", pull_oci),
    ("pull from a view of the past", pull_past),
    ("pull three platforms", pull_platforms),
    ("pull all tags", pull_all_tags),
    ("push all tags", push_all_tags),
    ("multi-arch manifest list", index),
    ("a tag moves", overwrite_tag),
    ("an unknown image is said to be unknown", unknown),
)
