"""Real clients pull by redirect: what is large comes from the store, not through the node."""

import json
import os
import secrets
import sys
import urllib.parse

import relay
from loop import want
from world import HERE

sys.path.insert(0, str(HERE.parent / "clients"))  # before tests/api, which has modules of these names

import client_docker  # noqa: E402
import client_oras  # noqa: E402
import client_podman  # noqa: E402
import containers  # noqa: E402
import harness  # noqa: E402

MIB = 1 << 20
LARGE = (24 * MIB, 2 * MIB)  # bytes of the files in an image, which noise does not let shrink


class Docker:
    """Each of these pushes an image and forgets it, then pulls it and tells its digest."""

    module = client_docker

    def push(self, ctx, ref, folder):
        client_docker.docker(ctx, "build", "-q", "-t", ref, folder)
        client_docker.docker(ctx, "push", ref)
        client_docker.remove(ctx, client_docker.image_id(ctx, ref))

    def pull(self, ctx, ref):
        client_docker.docker(ctx, "pull", ref)


class Podman:
    module = client_podman

    def push(self, ctx, ref, folder):
        containers.run(ctx, "build", "-q", "--tls-verify=false", "-t", ref, folder)
        containers.run(ctx, "push", "-q", ref)
        containers.run(ctx, "rmi", "-f", ref)

    def pull(self, ctx, ref):
        containers.run(ctx, "pull", "-q", ref)


class Oras:
    module = client_oras

    def push(self, ctx, ref, folder):
        words = client_oras.plain("push", "--no-tty")
        client_oras.oras(ctx, *words, ref, "0:application/x-file", "1:application/x-file", cwd=folder)

    def pull(self, ctx, ref):
        folder = ctx.folder("pulled")
        client_oras.oras(ctx, *client_oras.plain("pull", "--no-tty", "-o", folder), ref)
        for i, size in enumerate(LARGE):
            want(os.path.getsize(os.path.join(folder, str(i))) == size, f"file {i} is cut")


def image_folder(ctx):
    for i, size in enumerate(LARGE):
        ctx.write(f"image/{i}", os.urandom(size))
    ctx.write("image/Dockerfile", "FROM scratch\nCOPY 0 /0\nCOPY 1 /1\n")
    return ctx.path("image")


def large_bytes(node, repo):
    """Bytes of the manifest's blobs of at least 1 MiB."""
    _, body = node.ok("GET", f"/v2/{repo}/manifests/1", 200, headers={"Accept": harness.ACCEPT})
    manifest = json.loads(body)
    return sum(one["size"] for one in manifest["layers"] if one["size"] >= MIB)


def pulls(w, stack, client, name):
    """A pull by redirect, and one with redirects off to see that the count can tell."""
    gateway = relay.Relay(urllib.parse.urlsplit(w.gateway.endpoints[0]).netloc)
    stack.callback(gateway.close)
    prefix, scratch = w.prefix(), stack.enter_context(w.folder())
    path = os.pathsep.join([w.path or "", os.environ.get("PATH", ""), "/usr/sbin"])
    seen = []
    for flags in (["--s3-public-endpoint", f"http://localhost:{gateway.port}"], ["--redirect-off"]):
        node = w.node(prefix, *flags, stack=stack)
        door = relay.Relay(node.authority)
        stack.callback(door.close)
        ctx = harness.Context(name, harness.Registry(door.authority), None, path, secrets.token_hex(4),
                              os.path.join(scratch, str(len(seen))), ())
        stack.callback(ctx.close)
        try:
            client.module.setup(ctx)
        except harness.Missing as e:
            print(f"missing: {name}: {e}")
            return f"skip: {e}"
        repo = ctx.repo("large")
        client.push(ctx, ctx.ref(repo, "1"), image_folder(ctx))
        door.down = gateway.down = 0
        client.pull(ctx, ctx.ref(repo, "1"))
        seen.append((large_bytes(node, repo), door.down, gateway.down))
    (large, node, store), (large_off, node_off, store_off) = seen
    text = f"{large / MIB:.1f} MiB of large blobs: {node} bytes through the node, {store / MIB:.1f} MiB from the store"
    want(large >= sum(LARGE) and node < MIB and store >= large, text)
    want(node_off >= large_off and store_off == 0, f"redirects off: {node_off} bytes through the node, {store_off}")
    return text


def pulled_by_docker(w, stack):
    return pulls(w, stack, Docker(), "docker")


def pulled_by_podman(w, stack):
    return pulls(w, stack, Podman(), "podman")


def pulled_by_oras(w, stack):
    return pulls(w, stack, Oras(), "oras")


CASES = (pulled_by_docker, pulled_by_podman, pulled_by_oras)
