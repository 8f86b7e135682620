"""podman's partial pull: layers of zstd:chunked, of which it fetches what no local layer holds, by
several ranges in one request. It needs podman's overlay driver."""

import json
import os

import spy
from harness import Skipped, check, check_equal
from samples import noise

FILES = 40
CHANGED = (1, 20)


def prepare(ctx, relay):
    """Sets for podman a store on overlay, and the relay as its registry; returns what to undo."""
    storage = ctx.write(
        "partial/storage.conf",
        f'[storage]\ndriver = "overlay"\nrunroot = "{ctx.path("partial/run")}"\n'
        f'graphroot = "{ctx.path("partial/graph")}"\n[storage.options]\n'
        'pull_options = {enable_partial_images = "true", use_hard_links = "false"}\n',
    )
    registries = ctx.write(
        "partial/registries.conf",
        "unqualified-search-registries = []\n"
        f'[[registry]]\nlocation = "{relay.address}"\ninsecure = true\n',
    )
    return {"CONTAINERS_STORAGE_CONF": storage, "CONTAINERS_REGISTRIES_CONF": registries}


def contents(ctx, version):
    """The files of one version; two of them differ between versions."""
    found = {}
    for number in range(FILES):
        mark = version if number in CHANGED else 0
        found[f"f{number}"] = noise(f"{ctx.run_id} {number} {mark}", 20_000 + number)
    return found


def build_and_push(ctx, podman, name, version):
    for file, data in contents(ctx, version).items():
        ctx.write(f"partial/build/{file}", data)
    ctx.write("partial/build/Dockerfile", "FROM scratch\nCOPY f* /\n")
    podman("build", "-q", "-t", f"localhost/partial:{version}", ctx.path("partial/build"))
    podman("push", "-q", "--compression-format", "zstd:chunked", f"localhost/partial:{version}",
           f"docker://{name}:{version}")  # fmt: skip


def check_files(ctx, podman, image, version):
    folder = podman("image", "mount", image).out.strip()
    for file, data in contents(ctx, version).items():
        with open(os.path.join(folder, file), "rb") as source:
            check(source.read() == data, f"{file} of version {version} has other bytes")
    podman("image", "unmount", "-f", image)


def pull(ctx):
    relay, repo = spy.Spy(ctx.registry.address), ctx.repo("partial")
    name = f"{relay.address}/{repo}"
    env = prepare(ctx, relay)

    def podman(*words):
        return ctx.run("podman", *words, env=env)

    try:
        status, said = ctx.try_run("podman", "info", env=env)
        if status != 0:
            raise Skipped(f"podman has no overlay driver here: {said.err.strip()[-200:]}")
        for version in (1, 2):
            build_and_push(ctx, podman, name, version)
        podman("rmi", "-af")
        for version in (1, 2):
            del relay.heads[:]
            podman("pull", "-q", f"{name}:{version}")
            check_files(ctx, podman, f"{name}:{version}", version)
            check_ranges(ctx, repo, version, relay.ranges())
    finally:
        ctx.try_run("podman", "rmi", "-af", env=env)
        relay.close()


def check_ranges(ctx, repo, version, ranges):
    """The first pull asks for all parts, the second for those of the changed files."""
    layer = json.loads(ctx.registry.manifest(repo, str(version))[0])["layers"][0]
    path = f"/v2/{repo}/blobs/{layer['digest']}"
    several = [one for one in ranges if "," in one]
    check_equal(len(several), 1, f"requests with several ranges of {ranges}")
    whole = ctx.registry.expect(200, "GET", path)[1]
    spans = [tuple(map(int, part.split("-"))) for part in several[0].split(",")]
    size = sum(last - first + 1 for first, last in spans)
    if version == 1:
        check(len(spans) > FILES // 2, f"few ranges in the first pull: {several}")
    else:
        check(size < len(whole) // 4, f"{size} of {len(whole)} bytes fetched for two files")
    headers, body = ctx.registry.expect(206, "GET", path, headers={"Range": f"bytes={several[0]}"})
    mark = b"\r\n--" + headers["content-type"].split("boundary=")[1].encode()
    parts = [part.split(b"\r\n\r\n", 1)[1] for part in (b"\r\n" + body).split(mark)[1:-1]]
    check(parts == [whole[a : b + 1] for a, b in spans], "the parts are not those asked for")
    check(headers["content-length"] == str(len(body)), "length of the parts")
