"""Clients that stop in the middle and stay. They are waited for beside the other cases: one server,
one crowd that stalls by itself and one whose process is stopped.

Not before EARLIEST_S after they stalled may any of them be let go, and at LATEST_S none may be
left: the idle limit (R150), and the limit of a request that comes byte by byte, lie between."""

import os
import signal
import time

import bench
from bench import MIB, need

EARLIEST_S, LATEST_S = 60, 165
GROUPS = {
    "stuck_readers": 100,
    "stuck_uploads": 100,
    "partial_line": 100,
    "partial_headers": 100,
    "partial_body": 20,
    "dripping_line": 50,
    "dripping_headers": 50,
    "silent": 50,
}


def fill(crowd, digest):
    n = GROUPS
    crowd.add("stuck_readers", "read", n["stuck_readers"], path=f"/v2/s/blobs/{digest}")
    crowd.add("stuck_uploads", "upload", n["stuck_uploads"], repo="s", size=MIB, first=100000)
    crowd.add("partial_line", "raw", n["partial_line"], text="GET /v2/s/manif")
    crowd.add("partial_headers", "raw", n["partial_headers"], text="GET /v2/ HTTP/1.1\r\nHost: x\r\nA")
    crowd.add("partial_body", "raw", n["partial_body"], text=(
        "PUT /v2/s/manifests/x HTTP/1.1\r\nHost: x\r\nContent-Length: 90000\r\n\r\n{"))
    crowd.add("dripping_line", "raw", n["dripping_line"], text="GET /v2/s/manif", drip="x")
    crowd.add("dripping_headers", "raw", n["dripping_headers"], drip="y",
              text="GET /v2/ HTTP/1.1\r\nHost: x\r\nA: ")
    crowd.add("silent", "raw", n["silent"], text="")
    for group, count in n.items():
        crowd.settled(group, count, 60)


class Stalled:
    """begin(), much later finish()."""

    def begin(self, w):
        self.node = w.node()
        with self.node.client() as c:
            self.digest = c.push_image("s", "t", bench.noise(12 * MIB))[1]
        self.files, self.memory = self.node.files(), self.node.memory()
        self.crowd, self.stopped = w.crowd(self.node), w.crowd(self.node)
        fill(self.crowd, self.digest)
        self.stopped.add("idle", "get", 50, path="/v2/")
        self.stopped.add("uploads", "upload", 50, repo="s", size=MIB, first=1000, rate=1000)
        self.stopped.add("readers", "read", 50, path=f"/v2/s/blobs/{self.digest}", rate=1000)
        for group in ("idle", "uploads", "readers"):
            self.stopped.settled(group, 50, 30)
        os.kill(self.stopped.proc.pid, signal.SIGSTOP)
        self.start = time.monotonic()
        self.count = sum(GROUPS.values()) + 150
        held = self.node.metric("http_connections")
        need(held >= self.count, f"{held} of {self.count} connections after the start")

    def finish(self, w):
        try:
            self.check(w)
        finally:
            os.kill(self.stopped.proc.pid, signal.SIGCONT)

    def check(self, w):
        with self.node.client() as c:
            c.push_image("s", "meanwhile", b"layer")
        left = bench.until(lambda: self.node.metric("http_connections") <= 1,
                           max(10.0, self.start + LATEST_S - time.monotonic()), 1)
        gone = time.monotonic() - self.start
        times = []
        for group in GROUPS:
            s = self.crowd.stat(group)
            need(s["closed"] == 0 or s["closed_first"] > EARLIEST_S,
                 f"{group} was let go after {s['closed_first']:.0f} s")
            need(s["closed_last"] < LATEST_S, f"{group} stayed for {s['closed_last']:.0f} s")
            if s["closed"]:
                times.append(f"{group} {s['closed_first']:.0f}-{s['closed_last']:.0f} s")
        need(left, f"after {LATEST_S} s {self.node.metric('http_connections')} connections are held")
        back = bench.until(lambda: self.node.files() <= self.files, 120, 1)
        w.tell(f"all gone when looked at after {gone:.0f} s: {', '.join(times)}; "
               f"{self.node.files()} descriptors (from {self.files})")
        need(back, f"{self.node.files()} descriptors, not {self.files}")
