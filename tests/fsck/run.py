#!/usr/bin/env python3
"""Tests of `stowage fsck`: every way of damaging a store is named, a clean one is always clean.

    tests/fsck/run.py [--stowage BIN] [--only PATTERN] [-v]

One store is made by a real server on a free loopback port; each case damages a copy. A failing case
is one line. The last line is `N passed, N failed, N skipped`; the status is 0 when nothing failed.
"""

import argparse
import concurrent.futures
import importlib
import os
import pathlib
import sys
import tempfile
import time
import traceback

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / "api")]

import world  # noqa: E402

THREADS = 6


def run_case(binary, base, made, fn):
    """(outcome, text) of one case."""
    with tempfile.TemporaryDirectory(prefix="fsck-") as scratch:
        try:
            fn(world.World(binary, base, made, scratch))
            return "pass", ""
        except world.Skip as e:
            return "skip", str(e)
        except world.Fail as e:
            return "fail", str(e)
        except Exception as e:  # a case that breaks is a failure like any other
            where = traceback.extract_tb(e.__traceback__)[-1]
            place = f"{os.path.basename(where.filename)}:{where.lineno}"
            return "fail", f"{type(e).__name__}: {e} ({place})"


def main():
    ap = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    ap.add_argument("--stowage", default=os.environ.get("STOWAGE"))
    ap.add_argument("--only", default="", help="parts of names, separated by commas")
    ap.add_argument("-v", "--verbose", action="store_true")
    args = ap.parse_args()
    binary = os.path.abspath(args.stowage or HERE.parent.parent / "build" / "stowage")
    if not os.access(binary, os.X_OK):
        sys.exit(f"no program at {binary}: give --stowage BIN or $STOWAGE")
    for path in sorted(HERE.glob("test_*.py")):
        importlib.import_module(path.stem)
    counts = {"pass": 0, "fail": 0, "skip": 0}
    with tempfile.TemporaryDirectory(prefix="fsck-") as folder:
        base = pathlib.Path(folder) / "base"
        made = world.base(binary, base)

        def one(fn):
            name = f"{fn.__module__.removeprefix('test_')}.{fn.__name__}"
            start = time.monotonic()
            outcome, text = run_case(binary, base, made, fn)
            return outcome, f"{outcome.upper()} {name} ({time.monotonic() - start:.2f} s) {text}"

        wanted = [fn for fn in world.CASES if any(w in f"{fn.__module__[5:]}.{fn.__name__}" for w in args.only.split(","))]
        with concurrent.futures.ThreadPoolExecutor(THREADS) as pool:  # cases mostly wait
            for outcome, line in pool.map(one, wanted):
                counts[outcome] += 1
                if outcome != "pass" or args.verbose:
                    print(line.replace("\n", " ")[:1800], flush=True)
    print(f"{counts['pass']} passed, {counts['fail']} failed, {counts['skip']} skipped")
    return 1 if counts["fail"] else 0


if __name__ == "__main__":
    sys.exit(main())
