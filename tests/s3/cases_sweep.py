"""Who sweeps: one node of a store, and another one when that is stopped."""

import collections
import contextlib
import json
import os
import signal
import time

import relay
from loop import want
from people import eventually

NODES, SESSIONS = 3, 20
DELAY_S = 0.25  # of each request to the store, so that a sweep lasts
OLD_S = 25 * 3600
FIRST_SWEEP_S = 90
SUCCESSOR_S = 90
REST_S = 120


def begin_sessions(node, folder):
    """Sessions with some bytes, last written a day ago by the store's word."""
    for number in range(SESSIONS):
        where = node.ok("POST", "/v2/a/b/blobs/uploads/", 202)[0]["Location"]
        node.ok("PATCH", where, 202, b"x" * (number + 1))
    old = time.time() - OLD_S
    for path in folder.rglob("*"):
        if path.is_file():
            os.utime(path, (old, old))


def ends(folder):
    """How often each session was ended by age."""
    found = collections.Counter()
    for path in folder.rglob("*"):
        if path.is_file() and path.name.isdigit():
            entry = json.loads(path.read_bytes().partition(b"\n")[0])
            found[path.parent.name] += entry["ops"] == [{"op": "expire"}]
    return found


def one_node_sweeps(w, stack):
    """Three nodes: one takes the lease and sweeps. It is stopped in the middle: another one goes on
    within 90 s. When it goes on itself, it finds that it holds the lease no more, and leaves the
    sweep. Every session ends once."""
    if not w.gateway.shared:
        return "skip: the time of an object cannot be set there"
    prefix = w.prefix()
    folder = w.gateway.root / "data" / w.bucket / prefix / "uploads"
    with contextlib.ExitStack() as before:
        begin_sessions(w.node(prefix, stack=before), folder)
    nodes = []
    for _ in range(NODES):
        far = stack.enter_context(relay.Relay(w.gateway.endpoints[0].split("//")[1]))
        nodes.append(w.node(prefix, endpoint=f"http://{far.authority}", stack=stack))
        far.delay = DELAY_S

    def taker(but=None):
        return next((n for n in nodes if n is not but and "event=lease.taken job=sweep" in n.log()), None)

    first = eventually(taker, FIRST_SWEEP_S)
    want(first, "no node swept: " + nodes[0].log()[-1500:])
    want(eventually(lambda: sum(ends(folder).values()) >= 2, FIRST_SWEEP_S), "the holder ended no session")
    first.proc.send_signal(signal.SIGSTOP)
    stopped = time.monotonic()
    try:
        before = sum(ends(folder).values())
        want(before < SESSIONS, "too fast for this test")
        want(not taker(first), "two nodes swept at once")
        second = eventually(lambda: taker(first), SUCCESSOR_S)
        took = time.monotonic() - stopped
        want(second, f"no successor after {SUCCESSOR_S} s")
        want(eventually(lambda: sum(ends(folder).values()) > before, REST_S), "the successor ended no session")
    finally:
        first.proc.send_signal(signal.SIGCONT)
    want(first.said("event=lease.lost job=sweep", 30), "the one that was stopped does not know that it lost the lease")
    want(first.said("event=maint.sweep_left", 30), "it swept on")
    want(eventually(lambda: len(+ends(folder)) == SESSIONS, REST_S), f"{SESSIONS} sessions, ended: {ends(folder)}")
    want(set(ends(folder).values()) == {1}, f"a session was ended twice: {ends(folder)}")
    want(sum("lease.taken job=sweep" in n.log() for n in nodes) == 2, "a third node swept")
    return f"{before} of {SESSIONS} sessions ended by the first; successor after {took:.0f} s"


BESIDE = (one_node_sweeps,)
