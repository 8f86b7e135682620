"""Nodes whose wall clock is wrong, beside one whose clock is right."""

import json
import pathlib
import shutil
import subprocess
import time

import oci
from nodes import Node
from run import Problem, Skip, case
from test_soak import ask, fsck

MINUTE_MS, DAY_MS = 60_000, 86_400_000
WRONG = {"400 days ahead": 400 * DAY_MS, "two hours behind": -120 * MINUTE_MS}
REPO, ROUNDS, STRAY_MS = "clocks/a", 20, 5_000


def preload(folder):
    """The library that sets clocks wrong."""
    cc = shutil.which("cc") or shutil.which("gcc")
    if not cc:
        raise Skip("a C compiler")
    out = folder / "clock.so"
    source = pathlib.Path(__file__).resolve().parent / "clock.c"
    subprocess.run([cc, "-D_GNU_SOURCE", "-O1", "-shared", "-fPIC", "-o", str(out), str(source), "-ldl"], check=True)
    return out


def push(node, tag, n):
    doc = oci.image_doc(oci.descriptor(b"{}", oci.EMPTY), [], artifactType="application/x.n", annotations={"n": str(n)})
    body = oci.dump(doc)
    return oci.digest(body), ask(node, "PUT", f"/v2/{REPO}/manifests/{tag}", [("Content-Type", oci.IMAGE)], body)


def need(answer, status, *words):
    text = answer.body.decode("utf-8", "replace")
    if answer.status != status or any(w not in text for w in words):
        raise Problem(f"{answer.sent}: expected {status} {words}; got {answer.show()}")


def entries(root):
    paths = sorted((root / "repos" / REPO / "_log").glob("*/*"))
    return [json.loads(p.read_bytes()) for p in paths]


def check_log(root, order, begin_ms):
    """Acknowledged order is the order of the log; times rise and are those of now."""
    log = entries(root)
    puts = [op["digest"] for e in log for op in e["ops"] if op["op"] == "put"]
    if puts != order:
        raise Problem(f"acknowledged {order}, in the log {puts}")
    stamps = [e["ts"] for e in log]
    end_ms = time.time_ns() // 1_000_000
    if any(b <= a for a, b in zip(stamps, stamps[1:])):
        raise Problem(f"times do not rise: {stamps}")
    if stamps[0] < begin_ms - STRAY_MS or stamps[-1] > end_ms + STRAY_MS:
        raise Problem(f"times from {stamps[0]} to {stamps[-1]}, and it is {begin_ms} to {end_ms}")


@case("nodes 400 days ahead and 2 hours behind refuse, and say so; a right one goes on; times stay right")
def wrong_clocks(ctx):
    root, library, begin_ms = ctx.folder / "root", preload(ctx.folder), time.time_ns() // 1_000_000
    right = Node(ctx.binary, root)
    wrong = {
        name: Node(ctx.binary, root, {"LD_PRELOAD": library, "STOWAGE_CLOCK_OFF_MS": ms}) for name, ms in WRONG.items()
    }
    # Not so wrong that it must not write: stamps are the store's all the same.
    odd = Node(ctx.binary, root, {"LD_PRELOAD": library, "STOWAGE_CLOCK_OFF_MS": 2 * MINUTE_MS})
    nodes, order = [right, *wrong.values(), odd], []
    try:
        for node in nodes:
            node.start()
        need(ask(right, "POST", f"/v2/{REPO}/blobs/uploads/?digest={oci.digest(b'{}')}", (), b"{}"), 201)
        for n in range(ROUNDS):
            digest, answer = push((right, odd)[n % 2], "x", n)
            need(answer, 201)
            order.append(digest)
            for node in wrong.values():
                need(push(node, "x", f"wrong {n}")[1], 503, "not committed")
                need(ask(node, "DELETE", f"/v2/{REPO}/manifests/x"), 503, "not committed")
                got = ask(node, "GET", f"/v2/{REPO}/manifests/x")
                need(got, 200)
                if got.h("Docker-Content-Digest") != digest:
                    raise Problem(f"a node with a wrong clock answers {got.show()}, not {digest}")
        for node in wrong.values():
            need(ask(node, "GET", "/readyz"), 503, "not ready", "clock")
        for node in (right, odd):
            need(ask(node, "GET", "/readyz"), 200)
    finally:
        for node in nodes:
            node.stop()
    check_log(root, order, begin_ms)
    for name, node in wrong.items():
        log = node.server.log()
        if "clock.wrong" not in log or "the clock of this node is" not in log:
            raise Problem(f"the log of the node {name} does not say why: {log[-500:]}")
    if not odd.server.said("clock.off"):
        raise Problem(f"the log of the node two minutes ahead says nothing: {odd.server.log()[-500:]}")
    ctx.note(fsck(ctx, root))
