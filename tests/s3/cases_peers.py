"""Requests to the store for the same client operations, ours beside other registries on the same server."""

import json
import os
import pathlib
import shutil
import subprocess
import tempfile
import time

import gateway as gateway_mod
import proxy as proxy_mod
import sign
import world as world_mod
from loop import want
from world import digest

MIB = 1 << 20
LAYERS = (4096, MIB, 64 * MIB)
START_SECONDS = 20
ACCEPT = {"Accept": world_mod.MANIFEST}  # without it others answer 404
# Bounds of ours: all, and writes and lists; with the marker of the next ten minutes.
OURS = {"fresh push": (43, 30), "unchanged push": (5, 0), "one new tag": (8, 2), "HEAD of a tag": (1, 0),
        "pull, cold": (16, 0), "pull, warm": (8, 0)}
CONFIG = """version: 0.1
log: {level: error, accesslog: {disabled: true}}
storage:
  cache: {blobdescriptor: inmemory}
  delete: {enabled: true}
  s3:
    accesskey: @access@
    secretkey: @secret@
    region: @region@
    regionendpoint: @endpoint@
    bucket: @bucket@
    rootdirectory: /@prefix@
    secure: false
    forcepathstyle: true
http: {addr: "127.0.0.1:@port@"}
"""


class Peer(world_mod.Node):
    """A process of another registry, which is started by a configuration file."""

    def __init__(self, binary, config):
        super().__init__(binary, [])
        self.port, self.folder = gateway_mod.free_port(), tempfile.mkdtemp(prefix="stowage-peer-")
        path = pathlib.Path(self.folder) / "config.yml"
        path.write_text(config.replace("@port@", str(self.port)))
        env = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
        with open(pathlib.Path(self.folder) / "log", "wb") as log:
            self.running = subprocess.Popen([binary, "serve", str(path)], env=env, stdin=subprocess.DEVNULL, stdout=log,
                                            stderr=log)

    @property
    def authority(self):
        return f"127.0.0.1:{self.port}"

    def await_answer(self):
        end = time.monotonic() + START_SECONDS
        while True:
            try:
                return self.ok("GET", "/v2/", 200)
            except OSError:
                said = (pathlib.Path(self.folder) / "log").read_text()[:300]
                want(self.running.poll() is None and time.monotonic() < end, f"no answer: {said}")
                time.sleep(0.05)

    def finish(self):
        self.running.terminate()
        self.running.wait()
        shutil.rmtree(self.folder, ignore_errors=True)


def peers(path):
    """(name, binary) of those that are there."""
    places = os.pathsep.join(([str(path)] if path else []) + [os.environ.get("PATH", "")])
    for name, program in (("distribution 3", "registry"), ("docker-registry 2.8", "docker-registry")):
        binary = shutil.which(program, path=places)
        if binary:
            yield name, binary
        else:
            print(f"missing: {name}")


def follows(node, p):
    """A client's request to where it was redirected is one to the store, too."""
    ask = node.req

    def req(*args, **kwargs):
        got = ask(*args, **kwargs)
        if got[0] == 307:
            with p.lock:
                p.log.append((args[0], "client", "", 200, 0))
        return got

    node.req = req
    return node


def pull(node, names, manifest):
    node.ok("HEAD", "/v2/a/b/manifests/v1", 200, headers=ACCEPT)
    node.ok("GET", f"/v2/a/b/manifests/{digest(manifest)}", 200, headers=ACCEPT)
    got = [node.req("GET", f"/v2/a/b/blobs/{one}")[0] for one in names]
    want(all(status in (200, 307) for status in got), f"pull: {got}")


def operations(make, p):
    """{operation: (all, writes and lists)}; make() starts a process that knows nothing yet."""
    found = {}

    def step(what, fn, *args):
        result, found[what] = p.counted(fn, *args)
        return result

    node, layers = follows(make(), p), [os.urandom(size) for size in LAYERS]
    manifest = step("fresh push", node.image, "a/b", "v1", layers)
    names = [json.loads(manifest)["config"]["digest"], *map(digest, layers)]
    cold = follows(make(), p)
    step("pull, cold", pull, cold, names, manifest)
    step("pull, warm", pull, cold, names, manifest)
    step("unchanged push", node.image, "a/b", "v1", layers)
    step("one new tag", node.image, "a/b", "v2", layers)
    step("HEAD of a tag", node.ok, "HEAD", "/v2/a/b/manifests/v1", 200, None, ACCEPT)
    return found


def requests_beside_others(w, stack):
    """Docker's way to push and pull an image of 4 KiB, 1 MiB and 64 MiB layers, layers by redirect."""
    p = stack.enter_context(proxy_mod.Proxy(w.gateway.endpoints[0]))
    prefix, public = w.prefix(), w.gateway.endpoints[0].replace("127.0.0.1", "localhost")
    found = {"ours": operations(lambda: w.node(prefix, "--s3-public-endpoint", public, endpoint=p.url, stack=stack), p)}
    for name, binary in peers(w.path):
        config = CONFIG
        for key, value in (("access", sign.ACCESS), ("secret", sign.SECRET), ("region", sign.REGION),
                           ("endpoint", p.url), ("bucket", w.bucket), ("prefix", w.prefix())):
            config = config.replace(f"@{key}@", value)

        def make(binary=binary, config=config):
            peer = Peer(binary, config)
            stack.callback(peer.finish)
            peer.await_answer()
            return peer

        found[name] = operations(make, p)
    print(f"\n{'requests / writes and lists':28}" + "".join(f"{name:>22}" for name in found))
    for what in OURS:
        print(f"{what:28}" + "".join(f"{'%d / %d' % tuple(one[what]):>22}" for one in found.values()))
    above = [what for what, most in OURS.items() if any(a > b for a, b in zip(found["ours"][what], most))]
    want(not above, f"above the bound: {', '.join(above)}")
    for name, one in found.items():
        want(found["ours"]["fresh push"][0] <= one["fresh push"][0], f"{name} pushes with less")


CASES = (requests_beside_others,)
