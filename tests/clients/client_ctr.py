"""ctr: a containerd of our own, plain HTTP, the resolver and pusher Kubernetes nodes use."""

import json
import os

from harness import Missing, check, check_equal, digest_of

DAEMON_START_SECONDS_MAX = 30
MIRRORED_HOST = "mirrored.example"
LACKS = (
    "list tags, delete, copy in a registry: ctr has no command for them",
    "artifact attach and discover: ctr has no command for it",
)
SETTINGS = """version = 2
root = "{root}"
state = "{state}"
disabled_plugins = ["io.containerd.grpc.v1.cri"]
[grpc]
  address = "{socket}"
[ttrpc]
  address = "{socket}.ttrpc"
"""
MIRROR = """server = "http://{mirrored}"
[host."http://{address}"]
  capabilities = ["pull", "resolve"]
"""


def setup(ctx):
    ctx.program("ctr")
    program = ctx.program("containerd")
    if os.geteuid() != 0:
        raise Missing("containerd needs root")
    socket = ctx.path("c.sock")
    text = SETTINGS.format(root=ctx.path("root"), state=ctx.path("state"), socket=socket)
    daemon = ctx.daemon((program, "--config", ctx.write("containerd.toml", text)))
    ctx.env["CONTAINERD_ADDRESS"] = socket
    ctx.env["CONTAINERD_SNAPSHOTTER"] = "native"
    daemon.wait_until(
        lambda: ctx.try_run("ctr", "version", seconds=20)[0] == 0,
        DAEMON_START_SECONDS_MAX,
        "containerd",
    )
    return ctx.version_line("ctr", "--version")


def images(ctx):
    """Local images: name -> digest."""
    lines = ctx.run("ctr", "images", "ls").lines()[1:]
    return {line.split()[0]: line.split()[2] for line in lines}


def forget(ctx):
    """Empties the local store."""
    names = list(images(ctx))
    if names:
        ctx.run("ctr", "images", "rm", "--sync", *names)
    blobs = ctx.run("ctr", "content", "ls", "-q").lines()
    if blobs:
        ctx.run("ctr", "content", "rm", *blobs)


def take_in(ctx, sample, name):
    """Brings a sample into the local store under a name, every platform of it."""
    tar = sample.tar(ctx.path("sample.tar"))
    ctx.run("ctr", "images", "import", "--no-unpack", "--all-platforms", "--digests",
            "--base-name", "import/sample", tar)  # fmt: skip
    ctx.run("ctr", "images", "tag", "--force", f"import/sample@{sample.digest}", name)


def push_sample(ctx, what):
    sample, repo = ctx.samples.get(what), ctx.repo(f"push-{what}")
    forget(ctx)
    take_in(ctx, sample, ctx.ref(repo, "1"))
    ctx.run("ctr", "images", "push", "--plain-http", ctx.ref(repo, "1"))
    return sample, repo


def push(ctx):
    sample, repo = push_sample(ctx, "image")
    ctx.verify(repo, "1", sample.digest)
    ctx.run("ctr", "images", "push", "--plain-http", ctx.ref(repo, "1"))
    ctx.verify(repo, "1", sample.digest, peer=False)


def push_index(ctx):
    sample, repo = push_sample(ctx, "multi")
    ctx.verify(repo, "1", sample.digest)


def push_big(ctx):
    sample, repo = push_sample(ctx, "big")
    ctx.verify(repo, "1", sample.digest, peer=False)


def push_elsewhere(ctx):
    """What came from one repository is pushed to another: containerd asks for mounts."""
    sample, source, target = ctx.samples.get("image"), ctx.repo("mount-a"), ctx.repo("mount-b")
    ctx.registry.seed(source, "1", sample)
    forget(ctx)
    ctx.run("ctr", "images", "pull", "--plain-http", ctx.ref(source, "1"))
    ctx.run("ctr", "images", "push", "--plain-http", ctx.ref(target, "1"), ctx.ref(source, "1"))
    ctx.verify(target, "1", sample.digest)


def pull(ctx):
    """Pull unpacks, so that containerd checks each layer's uncompressed digest, too."""
    sample, repo = ctx.samples.get("image"), ctx.repo("pull")
    ctx.registry.seed(repo, "1", sample)
    for reference in ("1", sample.digest):
        forget(ctx)
        ctx.run("ctr", "images", "pull", "--plain-http", ctx.ref(repo, reference))
        check_equal(images(ctx)[ctx.ref(repo, reference)], sample.digest, f"pulled {reference}")
        held = set(ctx.run("ctr", "content", "ls", "-q").lines())
        check(held >= set(sample.blobs), f"not pulled: {set(sample.blobs) - held}")


def pull_index(ctx):
    sample, repo = ctx.samples.get("multi"), ctx.repo("pull-multi")
    ctx.registry.seed(repo, "1", sample)
    forget(ctx)
    ctx.run("ctr", "content", "fetch", "--plain-http", "--all-platforms", ctx.ref(repo, "1"))
    check_equal(images(ctx)[ctx.ref(repo, "1")], sample.digest, "pulled digest")
    held = set(ctx.run("ctr", "content", "ls", "-q").lines())
    check(held >= set(sample.blobs), f"not pulled: {set(sample.blobs) - held}")


def pull_platform(ctx):
    sample, repo = ctx.samples.get("multi"), ctx.repo("platform")
    ctx.registry.seed(repo, "1", sample)
    forget(ctx)
    ctx.run("ctr", "images", "pull", "--plain-http", "--platform", "linux/arm64",
            ctx.ref(repo, "1"))  # fmt: skip
    held = set(ctx.run("ctr", "content", "ls", "-q").lines())
    entries = sample.manifest()["manifests"]
    check(entries[1]["digest"] in held, "the arm64 image was not pulled")
    check(sample.manifest(entries[0]["digest"])["config"]["digest"] not in held, "amd64 was pulled")


def pull_big(ctx):
    sample, repo = ctx.samples.get("big"), ctx.repo("pull-big")
    ctx.registry.seed(repo, "1", sample)
    forget(ctx)
    ctx.run("ctr", "images", "pull", "--plain-http", ctx.ref(repo, "1"))
    check_equal(images(ctx)[ctx.ref(repo, "1")], sample.digest, "pulled digest")


def pull_as_mirror(ctx):
    """The registry stands for another host: every request carries ?ns=."""
    sample, repo = ctx.samples.get("image"), ctx.repo("mirror")
    ctx.registry.seed(repo, "1", sample)
    forget(ctx)
    text = MIRROR.format(mirrored=MIRRORED_HOST, address=ctx.registry.address)
    ctx.write(f"hosts/{MIRRORED_HOST}/hosts.toml", text)
    name = f"{MIRRORED_HOST}/{repo}:1"
    ctx.run("ctr", "images", "pull", "--hosts-dir", ctx.path("hosts"), name)
    check_equal(images(ctx)[name], sample.digest, "pulled digest")


def objects(ctx):
    """One object at a time, which containerd looks for among manifests and blobs."""
    sample, repo = ctx.samples.get("image"), ctx.repo("objects")
    ctx.registry.seed(repo, "1", sample)
    out = ctx.run("ctr", "content", "fetch-object", "--plain-http", ctx.ref(repo, "1")).out
    check_equal(digest_of(out.encode()), sample.digest, "digest of the fetched manifest")
    check_equal(json.loads(out), sample.manifest(), "fetched manifest")


def unknown(ctx):
    said = ctx.refused("ctr", "images", "pull", "--plain-http", ctx.ref(ctx.repo("nothing"), "1"))
    check("not found" in said, f"ctr says: {said}")


CASES = (
    ("push an image, twice", push),
    ("push a multi-arch index", push_index),
    ("push a big layer", push_big),
    ("push to a second repository", push_elsewhere),
    ("pull by tag and digest", pull),
    ("pull a multi-arch index", pull_index),
    ("pull one platform", pull_platform),
    ("pull a big layer", pull_big),
    ("pull as from a mirror", pull_as_mirror),
    ("fetch an object", objects),
    ("an unknown image is said to be unknown", unknown),
)
