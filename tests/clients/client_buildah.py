"""buildah: images assembled step by step, pushed and pulled by containers/image."""

import json

import containers
from containers import run
from harness import DOCKER_MANIFEST, OCI_INDEX, check, check_equal

LACKS = (
    "list tags, delete: buildah has no command for them",
    "copy between repositories: only by pull and push",
    "artifact attach and discover: this version has no command for it",
)


def setup(ctx):
    containers.prepare(ctx, "buildah")
    version = ctx.version_line("buildah", "--version")
    run(ctx, "info")
    return version


def commit(ctx, name, base="scratch", arch=None):
    folder = containers.build_folder(ctx, name)
    words = ("--arch", arch) if arch else ()
    container = run(ctx, "from", "-q", "--tls-verify=false", *words, base).lines()[-1]
    run(ctx, "copy", container, f"{folder}/one.txt", "/")
    run(ctx, "config", "--label", f"name={name}", "--cmd", "/one.txt", container)
    run(ctx, "commit", "-q", "--rm", container, f"localhost/{name}:1")
    return f"localhost/{name}:1"


def push(ctx):
    image, repo = commit(ctx, "built"), ctx.repo("built")
    digest = containers.push(ctx, image, repo, "1")
    ctx.verify(repo, "1", digest)
    check_equal(containers.push(ctx, image, repo, "1"), digest, "digest of the second push")


def push_and_pull_back(ctx):
    image, repo = commit(ctx, "back"), ctx.repo("back")
    before = containers.image_id(ctx, image)
    digest = containers.push(ctx, image, repo, "1")
    run(ctx, "rmi", "-f", before)
    pulled = run(ctx, "pull", "-q", ctx.ref(repo, digest)).lines()[-1]
    check_equal(pulled, before, "image pulled back")


def push_docker_format(ctx):
    image, repo = commit(ctx, "v2s2"), ctx.repo("v2s2")
    digest = containers.push(ctx, image, repo, "1", "--format", "v2s2")
    check_equal(ctx.registry.manifest(repo, "1")[1], DOCKER_MANIFEST, "type")
    ctx.verify(repo, "1", digest)


def push_zstd(ctx):
    image, repo = commit(ctx, "zstd"), ctx.repo("zstd")
    digest = containers.push(ctx, image, repo, "1", "--compression-format", "zstd")
    layers = json.loads(ctx.registry.manifest(repo, "1")[0])["layers"]
    check(all(layer["mediaType"].endswith("tar+zstd") for layer in layers), f"layers: {layers}")
    ctx.verify(repo, "1", digest)


def build_file(ctx):
    repo = ctx.repo("bud")
    folder = containers.build_folder(ctx, "bud")
    run(ctx, "bud", "-q", "--layers", "-t", "localhost/bud:1", folder)
    ctx.verify(repo, "1", containers.push(ctx, "localhost/bud:1", repo, "1"))


def on_registry_image(ctx):
    """The base's layers are offered for mount from the repository they came from."""
    sample, base, repo = ctx.samples.get("image"), ctx.repo("base"), ctx.repo("on-base")
    ctx.registry.seed(base, "1", sample)
    image = commit(ctx, "on-base", base="docker://" + ctx.ref(base, "1"))
    digest = containers.push(ctx, image, repo, "1")
    ctx.verify(repo, "1", digest)
    check_equal(len(json.loads(ctx.registry.manifest(repo, "1")[0])["layers"]), 3, "layers")


def pull(ctx):
    containers.check_pull(ctx, ctx.samples.get("image"))


def pull_big(ctx):
    containers.check_pull(ctx, ctx.samples.get("big"), "big")


def index(ctx):
    repo = ctx.repo("index")
    run(ctx, "manifest", "create", "localhost/index:1")
    for arch in ("amd64", "arm64"):
        image = commit(ctx, f"for-{arch}", arch=arch)
        image = f"containers-storage:{image}"
        run(ctx, "manifest", "add", "--arch", arch, "localhost/index:1", image)
    file = ctx.path("digest")
    run(ctx, "manifest", "push", "-q", "--all", "--tls-verify=false", "--digestfile", file,
        "localhost/index:1", "docker://" + ctx.ref(repo, "1"))  # fmt: skip
    ctx.verify(repo, "1", ctx.read("digest").decode().strip())
    data, media_type, _ = ctx.registry.manifest(repo, "1")
    check_equal(media_type, OCI_INDEX, "type")
    found = sorted(entry["platform"]["architecture"] for entry in json.loads(data)["manifests"])
    check_equal(found, ["amd64", "arm64"], "platforms")


def index_of_registry_images(ctx):
    """An index made of entries that are already in the registry."""
    sample, repo = ctx.samples.get("multi"), ctx.repo("re-index")
    ctx.registry.seed(repo, "1", sample)
    run(ctx, "manifest", "create", "localhost/re-index:1")
    run(ctx, "manifest", "add", "--tls-verify=false", "--all", "localhost/re-index:1",
        "docker://" + ctx.ref(repo, "1"))  # fmt: skip
    run(ctx, "manifest", "push", "-q", "--all", "--tls-verify=false", "localhost/re-index:1",
        "docker://" + ctx.ref(repo, "2"))  # fmt: skip
    entries = json.loads(ctx.registry.manifest(repo, "2")[0])["manifests"]
    wanted = sorted(entry["digest"] for entry in sample.manifest()["manifests"])
    check_equal(sorted(entry["digest"] for entry in entries), wanted, "entries")
    ctx.verify(repo, "2")


def unknown(ctx):
    said = ctx.refused(*ctx.state["base"], "pull", "-q", ctx.ref(ctx.repo("nothing"), "1"))
    check("unknown" in said.lower(), f"buildah says: {said}")


CASES = (
    ("commit and push", push),
    ("pull back what was pushed", push_and_pull_back),
    ("push in docker format", push_docker_format),
    ("push zstd layers", push_zstd),
    ("build from a file and push", build_file),
    ("build on an image of the registry", on_registry_image),
    ("pull by tag and digest", pull),
    ("pull a big layer", pull_big),
    ("multi-arch index", index),
    ("multi-arch index of images in the registry", index_of_registry_images),
    ("an unknown image is said to be unknown", unknown),
)
