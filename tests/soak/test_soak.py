"""The soak: 64 clients over 4 processes that are killed, put to sleep and started again."""

import collections
import json
import subprocess
import time

import http1
import oci
from clients import Client, World
from linear import TooComplex, explain
from nodes import Node, Trouble
from run import Problem, case

NODES, CLIENTS = 4, 64
REPOS = ["soak/a", "soak/b", "soak/c", "soak/d"]
TAGS = [f"t{i}" for i in range(8)]
REST_S = 21  # past the deadline of whatever a sleeper still had to do
FSCK_S = 120


def ask(node, method, path, headers=(), body=None):
    conn = http1.Conn(node.addr)
    head, payload, sent = http1.build(method, path, headers, body, None)
    conn.send(head + payload)
    answer = conn.response(method, path, sent)
    conn.close()
    return answer


def prepare(world, node):
    """What manifests refer to, and a first manifest, so that no repository is unknown."""
    body = world.manifest("first of all")
    kind = [("Content-Type", oci.IMAGE)]
    for repo in world.repos:
        for answer in (
            ask(node, "POST", f"/v2/{repo}/blobs/uploads/?digest={oci.digest(b'{}')}", (), b"{}"),
            ask(node, "PUT", f"/v2/{repo}/manifests/{oci.digest(body)}", kind, body),
        ):
            if answer.status != 201:
                raise Problem(f"{answer.sent}: {answer.show()}")


def watch(clients, trouble, until):
    while time.monotonic() < until:
        time.sleep(0.2)
        for one in [*clients, trouble]:
            if one.problem:
                raise Problem(f"{type(one.problem).__name__}: {one.problem}") from one.problem


def last_look(ctx, world):
    """Each node's answer for each tag, when nothing is under way any more."""
    readers = []
    for i, node in enumerate(world.nodes):
        reader = Client(world, ctx.random(f"reader {i}"), f"reader{i}")
        world_of_one = World([node], world.repos, world.tags, False)
        reader.world, reader.node = world_of_one, node
        for repo in world.repos:
            for tag in world.tags:
                reader.get(repo, tag)
        reader.close()
        readers.append(reader)
    return readers


def judge(clients):
    """The history of each tag; how many steps it had."""
    steps = collections.defaultdict(list)
    for c in clients:
        for at, some in c.steps.items():
            steps[at] += some
    for (repo, tag), some in sorted(steps.items()):
        try:
            told = explain(some)
        except TooComplex:
            raise Problem(f"the history of {repo}:{tag}, {len(some)} steps, could not be judged") from None
        if told:
            raise Problem(f"the history of {repo}:{tag} is not linearizable: {told}")
    return sum(map(len, steps.values()))


def in_logs(root, repos):
    """{digest: how many entries put it}."""
    puts = collections.Counter()
    for repo in repos:
        for path in (root / "repos" / repo / "_log").glob("*/*"):
            for op in json.loads(path.read_bytes())["ops"]:
                if op["op"] == "put":
                    puts[op["digest"]] += 1
    return puts


def account(clients, puts):
    """Each manifest is pushed once: its entry is there once, at most once, or not at all."""
    for c in clients:
        for digest, said in c.pushed.items():
            found = puts[digest]
            if found > 1 or (said == "done" and found != 1) or (said == "not" and found):
                raise Problem(f"{digest}, told {said}, is in {found} entries")


def fsck(ctx, root):
    run = subprocess.run([ctx.binary, "fsck", "--root", str(root), "--deep"], stdout=subprocess.PIPE,
                         stderr=subprocess.STDOUT, timeout=FSCK_S, check=False)
    last = run.stdout.decode("utf-8", "replace").splitlines()[-1:]
    if run.returncode != 0:
        raise Problem(f"fsck ends with {run.returncode}: {run.stdout.decode('utf-8', 'replace')[-3000:]}")
    return last[0]


def live(ctx, nodes, seconds, releases=True):
    """Clients and trouble for so long, then a last look; the nodes end. (clients, trouble)"""
    for node in nodes:
        node.start()
    world = World(nodes, REPOS, TAGS, releases)
    try:
        for node in nodes:
            prepare(world, node)
        clients = [Client(world, ctx.random(f"client {i}"), f"c{i}") for i in range(CLIENTS)]
        until = time.monotonic() + seconds
        trouble = Trouble(nodes, ctx.random("trouble"), until)
        for one in [*clients, trouble]:
            one.thread.start()
        try:
            watch(clients, trouble, until)
        finally:
            world.stop.set()
            for one in [*clients, trouble]:
                one.thread.join()
        time.sleep(min(REST_S, seconds / 5))
        watch(clients, trouble, 0)
        clients += last_look(ctx, world)
    finally:
        for node in nodes:
            node.stop()
    return clients, trouble


@case("64 clients, 4 processes, kill -9, SIGSTOP: linearizable, nothing missing or doubled")
def soak(ctx):
    root = ctx.folder / "root"
    clients, trouble = live(ctx, [Node(ctx.binary, root) for _ in range(NODES)], ctx.seconds)
    steps = judge(clients)
    puts = in_logs(root, REPOS)
    account(clients, puts)
    ctx.note(f"{sum(c.asked for c in clients)} requests, {sum(c.unknown for c in clients)} changes of unknown outcome, "
             f"{trouble.kills} kills, {trouble.sleeps} sleeps; {steps} steps judged, {sum(puts.values())} puts")
    ctx.note(fsck(ctx, root))


@case("the same with one process on a root of its own is found out")
def two_roots(ctx):
    """What the soak is worth: processes that do not see each other's entries."""
    nodes = [Node(ctx.binary, ctx.folder / ("other" if i == 0 else "root")) for i in range(NODES)]
    try:
        clients, _ = live(ctx, nodes, 2, releases=False)  # they would be told that their manifests are missing
        judge(clients)
    except Problem as e:
        if "not linearizable" not in str(e):
            raise
        ctx.note(str(e).splitlines()[0])
        return
    raise Problem("nothing was found")
