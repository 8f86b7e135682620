#!/usr/bin/env python3
"""Slow clients and many clients: what others notice, what it costs, and that it passes.

    tests/load/run.py [--stowage BIN] [--quick|--full] [--only PATTERN] [-v]

--quick (as without an option) takes small crowds and leaves out what waits for limits of minutes.
Cases run one after another with a server each. What is measured in time is tried up to three times,
memory and descriptors are not. The last line is `N passed, N failed, N skipped`; the status is 0
when nothing failed.
"""

import argparse
import os
import pathlib
import sys
import tempfile
import time
import traceback

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / "api")]

import bench  # noqa: E402
import cases  # noqa: E402
import stalled  # noqa: E402


class World:
    """What one case starts, and ends with it."""

    def __init__(self, binary, scratch, full):
        self.binary, self.scratch, self.full = binary, scratch, full
        self.started, self.said = [], []

    def node(self, *args, files=None):
        node = bench.Node(self.binary, self.scratch, args, files)
        self.started.append(node)
        return node

    def crowd(self, node):
        crowd = bench.Crowd(node)
        self.started.append(crowd)
        return crowd

    def tell(self, text):
        self.said.append(text)

    def done(self):
        while self.started:
            one = self.started.pop()
            try:
                one.done()
            except BrokenPipeError:
                pass


def guarded(fn, *args):
    """(outcome, text) of a step."""
    try:
        fn(*args)
        return "pass", ""
    except bench.Skip as e:
        return "skip", str(e)
    except bench.Fail as e:
        return "fail", str(e)
    except Exception as e:  # a case that breaks is a failure like any other
        where = traceback.extract_tb(e.__traceback__)[-1]
        place = f"{os.path.basename(where.filename)}:{where.lineno}"
        return "fail", f"{type(e).__name__}: {e} ({place})"


class Report:
    def __init__(self, verbose):
        self.counts = {"pass": 0, "fail": 0, "skip": 0}
        self.verbose = verbose

    def add(self, name, results, said, seconds):
        worst = next((r for r in results if r[0] != "pass"), results[0])
        outcome, text = worst
        self.counts[outcome] += 1
        parts = [outcome.upper(), name, text, "; ".join(said), f"({seconds:.1f} s)"]
        if outcome != "pass" or self.verbose or said:
            print(" ".join(p for p in parts if p).replace("\n", " ")[:1500], flush=True)


def main():
    ap = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    ap.add_argument("--stowage", default=os.environ.get("STOWAGE"))
    which = ap.add_mutually_exclusive_group()
    which.add_argument("--quick", action="store_true")
    which.add_argument("--full", action="store_true")
    ap.add_argument("--only", default="", help="parts of names, separated by commas")
    ap.add_argument("-v", "--verbose", action="store_true")
    args = ap.parse_args()
    binary = os.path.abspath(args.stowage or HERE.parent.parent / "build" / "stowage")
    if not os.access(binary, os.X_OK):
        sys.exit(f"no program at {binary}: give --stowage BIN or $STOWAGE")
    report = Report(args.verbose)
    with tempfile.TemporaryDirectory(prefix="load-") as scratch:
        run_all(binary, scratch, args, report)
    c = report.counts
    print(f"{c['pass']} passed, {c['fail']} failed, {c['skip']} skipped")
    return 1 if c["fail"] else 0


def wanted(name, only):
    return not only or any(w in name for w in only.split(","))


def run_all(binary, scratch, args, report):
    waiting = None
    if args.full and wanted("stalled_clients", args.only):
        waiting = World(binary, scratch, True), stalled.Stalled()
        begun = guarded(waiting[1].begin, waiting[0])
        at = time.monotonic()
    for fn, full in cases.CASES:
        if (full and not args.full) or not wanted(fn.__name__, args.only):
            continue
        w, start = World(binary, scratch, args.full), time.monotonic()
        results = [guarded(fn, w), guarded(w.done)]
        report.add(fn.__name__, results, w.said, time.monotonic() - start)
    if waiting:
        w, s = waiting
        results = [begun]
        if begun[0] == "pass":
            results.append(guarded(s.finish, w))
        results.append(guarded(w.done))
        report.add("stalled_clients", results, w.said, time.monotonic() - at)


if __name__ == "__main__":
    sys.exit(main())
