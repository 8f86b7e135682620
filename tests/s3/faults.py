#!/usr/bin/env python3
"""Three nodes on a bucket whose store is in trouble: a proxy that loses, delays and doubles what
passes it (faultproxy.py), and a store that stops for a while.

    faults.py --stowage BIN [--path FOLDER] [--server NAME] [--seconds N] [--down N] [--seed N] [--only WORD]

From what clients were told: the history of each tag is linearizable, nothing acknowledged is lost or
doubled, fsck finds no damage (the clients, the judge and the accounts are those of tests/soak). Of a
store that is stopped: nobody is told 404 or 500 of what exists, memory stays bounded, and all works
within 5 s of its return. Without the server: "missing: NAME". The last line is
`N passed, N failed, N skipped`.
"""

import argparse
import os
import pathlib
import random
import subprocess
import sys
import threading
import time
import types

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / "api"), str(HERE.parent / "soak")]


import loop  # noqa: E402

Problem = loop.Fail

# What the modules of the soak import by that name.
sys.modules["run"] = types.SimpleNamespace(Problem=Problem, case=lambda title: lambda fn: fn)

import clients as soak_clients  # noqa: E402
import faultproxy  # noqa: E402
import gateway as gateway_mod  # noqa: E402
import test_soak as soak  # noqa: E402
import world as world_mod  # noqa: E402

MIB = 1 << 20
NODES, CLIENTS, PUSHERS = 3, 18, 3
REPOS, TAGS = ["soak/a", "soak/b"], [f"t{i}" for i in range(5)]
BLOB_SIZES = (3_000, 300_000, 300_000, 10 * MIB + 7)
REST_S = 8  # all that was held back has arrived, numbers of unknown outcome are settled
RECOVERY_S = 5
ANSWER_S = 40  # an answer that broke off, and the one after it
MEMORY_MORE_MIB = 96
STATUSES_OF_TROUBLE = (503, 416)


class Context:
    def __init__(self, args, gateway):
        self.seed, self.gateway, self.stowage = args.seed, gateway, os.path.abspath(args.stowage)
        self.seconds, self.down = args.seconds, args.down
        self.world = world_mod.World(self.stowage, gateway)

    def random(self, name):
        return random.Random(f"{self.seed} {name}")


class Pusher:
    """Pushes blobs as docker does, again and again until it is told 201, and remembers them."""

    def __init__(self, nodes, rng, stop):
        self.nodes, self.rng, self.stop = [n.again() for n in nodes], rng, stop
        self.done = []
        self.tries = 0
        self.problem = None
        self.thread = threading.Thread(target=self.run)

    def ask(self, method, target, body=None):
        """(status, headers), (None, None) without an answer."""
        node = self.rng.choice(self.nodes)
        try:
            status, heads, data = node.req(method, target, body)
        except (OSError, world_mod.http.client.HTTPException):
            return None, None
        if status not in (200, 201, 202, 404, *STATUSES_OF_TROUBLE):
            raise Problem(f"{method} {target[:80]}: {status} {data[:300]!r}")
        return status, heads

    def push(self, data):
        """Is it acknowledged?"""
        self.tries += 1
        status, heads = self.ask("POST", "/v2/soak/a/blobs/uploads/")
        if status != 202:
            return False
        status, heads = self.ask("PATCH", heads["Location"], data)
        if status == 404:
            raise Problem("404 for a session that was just begun")
        if status != 202:
            return False
        where = heads["Location"]
        sep = "&" if "?" in where else "?"
        return self.ask("PUT", f"{where}{sep}digest={world_mod.digest(data)}")[0] == 201

    def run(self):
        try:
            while not self.stop.is_set():
                data = self.rng.randbytes(self.rng.choice(BLOB_SIZES))
                if self.push(data):
                    self.done.append((world_mod.digest(data), len(data)))
        except Exception as e:  # told by the case's own thread
            self.problem = e


def nodes_of(ctx, stack, prefix, endpoints):
    flags = ["--redirect-off", "--workers", "24"]
    return [ctx.world.node(prefix, *flags, endpoint=endpoints[i % len(endpoints)], stack=stack) for i in range(NODES)]


def watch(some, until):
    while time.monotonic() < until:
        time.sleep(0.2)
        for one in some:
            if one.problem:
                raise Problem(f"{type(one.problem).__name__}: {one.problem}") from one.problem


def run_load(ctx, world, nodes, proxy):
    """Clients and pushers for the time given, then peace. (clients, pushers)"""
    clients = [soak_clients.Client(world, ctx.random(f"client {i}"), f"c{i}") for i in range(CLIENTS)]
    pushers = [Pusher(nodes, ctx.random(f"pusher {i}"), world.stop) for i in range(PUSHERS)]
    proxy.share = 0.08
    for one in [*clients, *pushers]:
        one.thread.start()
    try:
        watch([*clients, *pushers], time.monotonic() + ctx.seconds)
    finally:
        world.stop.set()
        proxy.share = 0
        for one in [*clients, *pushers]:
            one.thread.join()
    watch([*clients, *pushers], time.monotonic() + REST_S)
    return clients, pushers


def check_blobs(nodes, pushers):
    done = [one for p in pushers for one in p.done]
    for i, (name, size) in enumerate(done):
        data = nodes[i % len(nodes)].ok("GET", f"/v2/soak/a/blobs/{name}", 200)[1]
        if len(data) != size or world_mod.digest(data) != name:
            raise Problem(f"{name} has other bytes")
    return len(done)


def fsck(ctx, prefix):
    run = subprocess.run(
        [ctx.stowage, "fsck", "--deep", "--store", f"s3://{ctx.world.bucket}/{prefix}", "--s3-endpoint",
         ctx.gateway.endpoints[0]], env={**os.environ, **ctx.gateway.environ()}, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, text=True, timeout=120, check=False)
    if run.returncode != 0:
        raise Problem(f"fsck ends with {run.returncode}: {run.stdout[-2000:]}")
    return run.stdout.splitlines()[-1]


def proxy_in_trouble(ctx, stack):
    """Lost, late, doubled, cut and refused requests under load."""
    proxy = stack.enter_context(faultproxy.FaultProxy(ctx.gateway.endpoints[0], ctx.random("proxy"), 0))
    prefix = ctx.world.prefix()
    nodes = nodes_of(ctx, stack, prefix, [proxy.url])
    world = soak_clients.World(nodes, REPOS, TAGS, True)
    soak.prepare(world, nodes[0])
    clients, pushers = run_load(ctx, world, nodes, proxy)
    clients += soak.last_look(ctx, world)
    steps = soak.judge(clients)
    root = ctx.gateway.root / "data" / ctx.world.bucket / prefix
    puts = soak.in_logs(root, REPOS)
    soak.account(clients, puts)
    blobs = check_blobs(nodes, pushers)
    if blobs == 0 or sum(puts.values()) < 2 * ctx.seconds:
        raise Problem(f"{blobs} blobs and {sum(puts.values())} manifests came through: too few to say anything")
    for kind in faultproxy.FATES:
        if not proxy.counts[kind]:
            raise Problem(f"no request met the fate '{kind}'")
    told = fsck(ctx, prefix)
    return (f"{sum(c.asked for c in clients)} requests, {sum(c.unknown for c in clients)} changes of unknown outcome, "
            f"{steps} steps judged, {sum(puts.values())} puts, {blobs} of {sum(p.tries for p in pushers)} blobs; "
            f"{sum(proxy.counts.values())} faults; {told}")


# ---- a store that stops


def memory_mib(node):
    for line in pathlib.Path(f"/proc/{node.pid}/status").read_text().splitlines():
        if line.startswith("VmRSS"):
            return int(line.split()[1]) // 1024
    return 0


class Asker:
    """Asks for what exists, and pushes, while the store is down; counts the answers."""

    def __init__(self, node, targets, stop):
        self.node, self.targets, self.stop = node.again(), targets, stop
        self.seen = {}
        self.slowest = 0
        self.problem = None
        self.thread = threading.Thread(target=self.run)

    def run(self):
        try:
            for turn in range(10**9):
                if self.stop.is_set():
                    return
                method, target, body, good = self.targets[turn % len(self.targets)]
                kind = {"Content-Type": world_mod.MANIFEST} if method == "PUT" else {}
                begin = time.monotonic()
                status, heads, _ = self.node.req(method, target, body, kind)
                self.slowest = max(self.slowest, time.monotonic() - begin)
                self.seen[status] = self.seen.get(status, 0) + 1
                if status not in (good, 503):
                    raise Problem(f"{method} {target}: {status}")
                if status == 503 and not heads.get("Retry-After"):
                    raise Problem(f"{method} {target}: 503 without Retry-After")
        except Exception as e:  # told by the case's own thread
            self.problem = e


def store_stopped(ctx, stack):
    """The server of the bucket ends and comes back: 503 meanwhile, everything again within seconds."""
    gateway = stack.enter_context(gateway_mod.Gateway(ctx.gateway.binary, processes=1))
    world = world_mod.World(ctx.stowage, gateway)
    port = int(gateway.endpoints[0].rpartition(":")[2])
    nodes = [world.node("p", "--redirect-off", "--workers", "24", stack=stack) for _ in range(2)]
    layers = [os.urandom(1000), os.urandom(2 * MIB)]
    manifest = nodes[0].image("team/app", "v1", layers)
    targets = [("GET", "/v2/team/app/manifests/v1", None, 200), ("HEAD", "/v2/team/app/manifests/v1", None, 200),
               ("GET", f"/v2/team/app/blobs/{world_mod.digest(layers[1])}", None, 200),
               ("GET", "/v2/team/app/tags/list", None, 200), ("GET", "/v2/_catalog", None, 200),
               ("PUT", "/v2/team/app/manifests/v1", manifest, 201)]
    stop = threading.Event()
    askers = [Asker(nodes[i % 2], targets[i % len(targets):] + targets[:i % len(targets)], stop) for i in range(24)]
    for one in askers:
        one.thread.start()
    watch(askers, time.monotonic() + 1)
    before = [memory_mib(n) for n in nodes]
    proc = gateway.procs.pop()
    proc.kill()
    proc.wait()
    gateway.endpoints.pop()
    worst = before
    try:
        for _ in range(int(ctx.down)):
            watch(askers, time.monotonic() + 1)
            worst = [max(a, memory_mib(n)) for a, n in zip(worst, nodes)]
        gateway.start(port)
        gateway.await_all()
        back, took = time.monotonic(), []
        for node in nodes:
            alone = node.again()
            for method, target, body, good in targets:
                kind = {"Content-Type": world_mod.MANIFEST} if method == "PUT" else {}
                while alone.req(method, target, body, kind)[0] != good:
                    if time.monotonic() - back > 30:
                        raise Problem(f"{method} {target} is not answered 30 s after the store's return")
                    time.sleep(0.05)
            took.append(time.monotonic() - back)
        watch(askers, time.monotonic() + 1)
    finally:
        stop.set()
        for one in askers:
            one.thread.join()
    watch(askers, 0)
    if max(took) > RECOVERY_S:
        raise Problem(f"all is well again only {max(took):.1f} s after the store's return")
    if max(b - a for a, b in zip(before, worst)) > MEMORY_MORE_MIB:
        raise Problem(f"memory went from {before} to {worst} MiB")
    slowest = max(a.slowest for a in askers)
    if slowest > ANSWER_S:
        raise Problem(f"a client waited {slowest:.0f} s for an answer or the end of one")
    refused = sum(a.seen.get(503, 0) for a in askers)
    if not refused:
        raise Problem("nobody was told 503")
    return f"{refused} answers 503, at most after {slowest:.0f} s, {max(took):.2f} s until all is well, memory {before} to {worst} MiB"


CASES = (proxy_in_trouble, store_stopped)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--stowage", required=True)
    gateway_mod.add_arguments(parser)
    parser.add_argument("--seconds", type=float, default=25, help="of load on the proxy")
    parser.add_argument("--down", type=float, default=20, help="seconds without a store")
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--only", default="")
    args = parser.parse_args()
    binary = gateway_mod.found(args)
    if not binary:
        return 0
    print(f"seed {args.seed}")
    with gateway_mod.Gateway(binary) as gateway:
        return loop.run_cases(CASES, args.only, Context(args, gateway))


if __name__ == "__main__":
    sys.exit(main())
