"""What podman and buildah share: a private store, and images built without a network."""

from harness import check, check_equal
from samples import ACCEPT_ANYTHING

DOCKERFILE = "FROM scratch\nCOPY one.txt /one.txt\nCOPY two.bin /two.bin\nENV RUN=1\n"


def prepare(ctx, program):
    """Settings in the private home; sets ctx.state["base"], the words before a command."""
    ctx.program(program)
    ctx.write("home/.config/containers/policy.json", ACCEPT_ANYTHING)
    registries = ctx.write(
        "registries.conf",
        "unqualified-search-registries = []\n"
        f'[[registry]]\nlocation = "{ctx.registry.address}"\n'
        f"insecure = {'true' if ctx.plain else 'false'}\n",
    )
    storage = ctx.write(
        "storage.conf",
        f'[storage]\ndriver = "vfs"\nrunroot = "{ctx.path("runroot")}"\n'
        f'graphroot = "{ctx.path("graphroot")}"\n',
    )
    ctx.env["CONTAINERS_CONF"] = ctx.write(
        "containers.conf",
        f'[engine]\ntmp_dir = "{ctx.path("libpod")}"\nevents_logger = "none"\n'
        f'[network]\nnetwork_config_dir = "{ctx.folder("networks")}"\n',
    )
    ctx.env["CONTAINERS_REGISTRIES_CONF"] = registries
    ctx.env["CONTAINERS_STORAGE_CONF"] = storage
    ctx.env["BUILDAH_ISOLATION"] = "chroot"
    ctx.state["base"] = (
        program, "--root", ctx.path("graphroot"), "--runroot", ctx.path("runroot"),
        "--storage-driver", "vfs",
    )  # fmt: skip


def run(ctx, *words):
    return ctx.run(*ctx.state["base"], *words)


def build_folder(ctx, name, first_line="FROM scratch"):
    """A folder with a Dockerfile and two files that name this build; returns its path."""
    content = DOCKERFILE.replace("FROM scratch", first_line)
    ctx.write(f"{name}/Dockerfile", content)
    ctx.write(f"{name}/one.txt", f"{name} of {ctx.name} in run {ctx.run_id}\n")
    ctx.write(f"{name}/two.bin", f"{name} {ctx.run_id}".encode() * 5000)
    return ctx.path(name)


def push(ctx, image, repo, tag, *words):
    """Pushes a local image; returns the digest the program says it wrote."""
    file = ctx.path("digest")
    run(ctx, "push", "-q", "--digestfile", file, *words, image, "docker://" + ctx.ref(repo, tag))
    return ctx.read("digest").decode().strip()


def image_id(ctx, image):
    found = run(ctx, "images", "-q", "--no-trunc", image).lines()
    check(len(set(found)) == 1, f"{image} is not one local image: {found}")
    return found[0].removeprefix("sha256:")


def check_pull(ctx, sample, tag="1"):
    """Pulls a sample by tag and by digest; its image id is its config's digest."""
    repo = ctx.repo("pull")
    ctx.registry.seed(repo, tag, sample)
    wanted = sample.manifest()["config"]["digest"].removeprefix("sha256:")
    for reference in (tag, sample.digest):
        pulled = run(ctx, "pull", "-q", ctx.ref(repo, reference)).lines()[-1]
        check_equal(pulled, wanted, f"image id pulled by {reference}")
        run(ctx, "rmi", "-f", pulled)
