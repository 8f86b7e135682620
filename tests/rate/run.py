#!/usr/bin/env python3
"""How fast changes are taken: what writers share, what a disk allows, what processes leave each other.

    tests/rate/run.py [--stowage BIN] [--quick|--full] [--only PATTERN]

--quick (as without an option) shows that writers share their waits, with each create of the store
slowed down, so that neither the disk nor the processor matters much. --full also measures rates, next
to what the disk gives to bare synced creates at that moment, and latencies of several processes on one
root; it judges rates only where the machine is of the kind that they were set for. The load tool and
the helpers are those of the build that holds BIN. The last line is `N passed, N failed, N skipped`.
"""

import argparse
import fnmatch
import hashlib
import http.client
import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import threading
import time
import traceback
import urllib.request

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent / "api")]
from server import Server  # noqa: E402

WRITERS = 64
SLOW_MS = 5
SHARED_TIMES = 8
TRIES = 3  # of what depends on how busy the machine is
# Of the machine that the rates were set for: bare synced creates by 64 threads each second.
CREATES_CLASS = 12000
COMMITS_MIN = 5000
PROCESSES, RATE, SECONDS = (2, 4, 8), 50, 8
CONNECTIONS = 4  # of each process
P99_MAX_MS = 1000
CASES = []


class Fail(Exception):
    pass


class Missing(Exception):
    pass


def case(full):
    def add(fn):
        CASES.append((fn.__name__, full, fn))
        return fn
    return add


def need(ok, text):
    if not ok:
        raise Fail(text)


class World:
    def __init__(self, binary, scratch):
        self.binary, self.scratch = binary, scratch
        self.build = pathlib.Path(binary).resolve().parent
        self.servers = []

    def tool(self, name):
        path = self.build / "tests" / name
        if not path.exists():
            raise Missing(f"{path.name} (a build with tests, without sanitizers)")
        return str(path)

    def node(self, root, slow=0):
        wrap = ["env", f"LD_PRELOAD={self.tool('rate/slow.so')}", f"RATE_SLOW_MS={slow}"] if slow else []
        server = Server(self.binary, root=root, wrap=wrap).start()
        self.servers.append(server)
        return server

    def root(self):
        return tempfile.mkdtemp(prefix="root-", dir=self.scratch)

    def stop(self):
        while self.servers:
            server = self.servers.pop()
            status = server.stop()
            server.done()
            need(status == 0, f"a server ended with {status}")

    def load(self, server, scenario, clients, seconds):
        done = subprocess.run(
            [self.tool("bench/bench_load"), "--url", f"http://127.0.0.1:{server.addr[2]}", "--pid",
             str(server.pid), "--scenario", scenario, "--clients", str(clients), "--seconds", str(seconds),
             "--json"], capture_output=True, text=True, timeout=120, check=False)
        need(done.returncode == 0, f"{scenario}: {done.stdout[-300:]}{done.stderr[-300:]}")
        out = json.loads(done.stdout)
        need(out["errors"] == 0, f"{scenario}: {out.get('first_error')}")
        return out


def entries(server):
    with urllib.request.urlopen(f"http://127.0.0.1:{server.addr[2]}/metrics", timeout=30) as answer:
        return int(re.search(r"^stowage_log_entries_total (\d+)$", answer.read().decode(), re.M).group(1))


@case(full=False)
def writers_share_an_entry(w):
    """With 5 ms in each create, 64 writers of one repository reach 8 times one writer, and an entry
    holds 8 changes on average."""
    for left in reversed(range(TRIES)):
        server = w.node(w.root(), SLOW_MS)
        one = w.load(server, "tag-commits", 1, 2)["ops_per_s"]
        before = entries(server)
        many = w.load(server, "tag-commits", WRITERS, 3)
        batch = many["ops"] / (entries(server) - before)
        w.stop()
        print(f"    1 writer {one:.0f}/s, {WRITERS} writers {many['ops_per_s']:.0f}/s, "
              f"{batch:.1f} changes an entry", flush=True)
        if many["ops_per_s"] >= SHARED_TIMES * one and batch >= SHARED_TIMES:
            return
        need(left > 0, f"less than {SHARED_TIMES} times in each of {TRIES} tries")


@case(full=False)
def pushes_share_their_syncs(w):
    """Small pushes of many clients share their syncs."""
    server = w.node(w.root())
    out = w.load(server, "push-small", WRITERS, 2)
    with urllib.request.urlopen(f"http://127.0.0.1:{server.addr[2]}/metrics", timeout=30) as answer:
        text = answer.read().decode()
    shared = int(re.search(r"^stowage_store_shared_syncs_total (\d+)$", text, re.M).group(1))
    w.stop()
    print(f"    {out['ops']} pushes, {out['ops_per_s']:.0f}/s, {shared} shared syncs", flush=True)
    if shared == 0:
        raise Missing("a file system whose syncs can be shared, with little unwritten")


@case(full=True)
def commits_follow_the_disk(w):
    """64 writers, everything synced: at least 5,000 commits a second where the disk gives 12,000 and
    more bare synced creates."""
    best = (0, 0)
    for _ in range(TRIES):
        raw = float(subprocess.run([w.tool("rate/creates"), w.root(), str(WRITERS), "8000"], timeout=120,
                                   capture_output=True, text=True, check=True).stdout)
        server = w.node(w.root())
        out = w.load(server, "tag-commits", WRITERS, 4)
        w.stop()
        print(f"    bare synced creates {raw:.0f}/s; commits {out['ops_per_s']:.0f}/s, p99 "
              f"{out['p99_us'] / 1000:.0f} ms, {out['cpu_us_per_op']:.0f} us of server CPU each; "
              f"load {os.getloadavg()[0]:.1f}", flush=True)
        best = max(best, (out["ops_per_s"], raw))
    if max(best[1], 0) < CREATES_CLASS:
        raise Missing(f"a machine of {CREATES_CLASS} bare synced creates a second, with nothing else to do")
    need(best[0] >= COMMITS_MIN, f"{best[0]:.0f} commits a second")


class Paced(threading.Thread):
    """Commits at a fixed pace, whatever the answers take: a latency counts from when it was due."""

    def __init__(self, port, number, begin, config):
        super().__init__(daemon=True)
        self.port, self.number, self.begin, self.config = port, number, begin, config
        self.latencies, self.failed = [], None

    def run(self):
        try:
            conn = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
            for i in range(int(SECONDS * RATE / CONNECTIONS)):
                due = self.begin + (i + self.number / 97 % 1) * CONNECTIONS / RATE
                time.sleep(max(0, due - time.monotonic()))
                body = manifest(self.config, f"{self.number}-{i}")
                conn.request("PUT", f"/v2/rate/manifests/n{self.number}-{i}", body,
                             {"Content-Type": json.loads(body)["mediaType"]})
                answer = conn.getresponse()
                text = answer.read()
                need(answer.status == 201, f"{answer.status}: {text[:200]}")
                self.latencies.append(time.monotonic() - due)
        except (OSError, Fail, http.client.HTTPException) as e:
            self.failed = str(e)


def manifest(config, label):
    return json.dumps({"schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
                       "config": config, "layers": [], "annotations": {"n": label}}).encode()


def push_config(port):
    body = b"{}"
    digest = "sha256:" + hashlib.sha256(body).hexdigest()
    conn = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    conn.request("POST", f"/v2/rate/blobs/uploads/?digest={digest}", body,
                 {"Content-Type": "application/octet-stream"})
    answer = conn.getresponse()
    answer.read()
    need(answer.status == 201, f"the config: {answer.status}")
    return {"mediaType": "application/vnd.oci.empty.v1+json", "digest": digest, "size": len(body)}


def quantile(values, q):
    return sorted(values)[min(len(values) - 1, int(q * len(values)))] * 1000


@case(full=True)
def processes_leave_each_other_time(w):
    """2, 4 and 8 processes on one root, 50 commits a second each into one repository: p99 of all and of
    the process that fares worst."""
    for count in PROCESSES:
        root = w.root()
        servers = [w.node(root) for _ in range(count)]
        config = push_config(servers[0].addr[2])
        begin = time.monotonic() + 0.5
        threads = [Paced(servers[i % count].addr[2], i, begin, config) for i in range(count * CONNECTIONS)]
        for t in threads:
            t.start()
        for t in threads:
            t.join(SECONDS + 120)
        for t in threads:
            need(not t.failed, f"{count} processes: {t.failed}")
        each = [[x for t in threads[i::count] for x in t.latencies] for i in range(count)]
        every = [x for one in each for x in one]
        w.stop()
        worst = max(quantile(one, 0.99) for one in each)
        print(f"    {count} processes: {len(every) / SECONDS:.0f} commits/s, p50 {quantile(every, 0.5):.0f} "
              f"ms, p99 {quantile(every, 0.99):.0f} ms, of the worst process {worst:.0f} ms; load "
              f"{os.getloadavg()[0]:.1f}", flush=True)
        need(worst <= P99_MAX_MS or os.getloadavg()[0] > 2 * os.cpu_count(),
             f"{count} processes: p99 {worst:.0f} ms")


def main():
    ap = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    ap.add_argument("--stowage", default=os.environ.get("STOWAGE")
                    or str(HERE.parent.parent / "build" / "stowage"))
    ap.add_argument("--quick", action="store_true")
    ap.add_argument("--full", action="store_true")
    ap.add_argument("--only", default="*")
    args = ap.parse_args()
    if not os.access(args.stowage, os.X_OK):
        sys.exit(f"no server at {args.stowage}: give --stowage BIN or $STOWAGE")
    counts = {"pass": 0, "fail": 0, "skip": 0}
    with tempfile.TemporaryDirectory(prefix="rate-", ignore_cleanup_errors=True) as scratch:
        for name, full, fn in CASES:
            if (full and not args.full) or not fnmatch.fnmatch(name, args.only):
                continue
            w = World(args.stowage, scratch)
            outcome, text, begin = "pass", "", time.monotonic()
            try:
                fn(w)
            except Missing as e:
                outcome, text = "skip", f"missing: {e}"
            except Exception as e:  # a case that breaks is a failure like any other
                where = traceback.extract_tb(e.__traceback__)[-1]
                outcome, text = "fail", f"{type(e).__name__}: {e} (line {where.lineno})"
            finally:
                try:
                    w.stop()
                except Fail as e:
                    outcome, text = "fail", str(e)
            counts[outcome] += 1
            print(f"{outcome.upper()} {name} ({time.monotonic() - begin:.1f} s)", flush=True)
            if text:
                print(text, flush=True)
    print(f"{counts['pass']} passed, {counts['fail']} failed, {counts['skip']} skipped")
    return 1 if counts["fail"] else 0


if __name__ == "__main__":
    sys.exit(main())
