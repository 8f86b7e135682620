#!/usr/bin/env python3
"""Tests of the event stream and of webhooks.

    tests/events/run.py [--stowage BIN] [--only PATTERN] [--full] [--s3 [FOLDER]] [-v]

Every case works in folders of its own; servers listen on free loopback ports. --full runs more
rounds, and leases at their real times. With --s3 everything, on a real S3 server, looked for in
FOLDER, too. A failing case is one line. The last line is `N passed, N failed, N skipped`; the
status is 0 when nothing failed.
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
sys.path[:0] = [str(HERE), str(HERE.parent / "copy"), str(HERE.parent / "api"), str(HERE.parent / "s3")]

import server  # noqa: E402
import world  # noqa: E402

JOBS = 4


def run_case(binary, full, fn):
    """(outcome, text) of one case."""
    with tempfile.TemporaryDirectory(prefix="events-") as scratch:
        w = world.World(binary, pathlib.Path(scratch), full)
        try:
            fn(w)
            return "pass", ""
        except world.Fail as e:
            return "fail", str(e)
        except Exception as e:  # a case that breaks is a failure like any other
            where = traceback.extract_tb(e.__traceback__)[-1]
            place = f"{os.path.basename(where.filename)}:{where.lineno}"
            return "fail", f"{type(e).__name__}: {e} ({place})"
        finally:
            w.done()


def start_gateway(folder):
    """The S3 server of a run; ends the program where there is none."""
    import gateway

    binary = gateway.find(folder or None)
    if not binary:
        print("missing: versitygw\n0 passed, 0 failed, 0 skipped")
        sys.exit(0)
    server.GATEWAY = gateway.Gateway(binary)
    server.BUCKET = server.GATEWAY.bucket()
    return server.GATEWAY


def name_of(fn):
    return f"{fn.__module__.removeprefix('test_')}.{fn.__name__}"


def is_long(fn):
    return getattr(fn, "long", False)


def wanted(fn, args):
    if args.only:
        return any(part in name_of(fn) for part in args.only.split(","))
    return args.full or not is_long(fn)


def main():
    ap = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    ap.add_argument("--stowage", default=os.environ.get("STOWAGE"))
    ap.add_argument("--only", default="", help="parts of names, separated by commas")
    ap.add_argument("--full", action="store_true")
    ap.add_argument("--s3", nargs="?", const="", metavar="FOLDER")
    ap.add_argument("-v", "--verbose", action="store_true")
    args = ap.parse_args()
    binary = os.path.abspath(args.stowage or HERE.parent.parent / "build" / "stowage")
    if not os.access(binary, os.X_OK):
        sys.exit(f"no program at {binary}: give --stowage BIN or $STOWAGE")
    for path in sorted(HERE.glob("test_*.py")):
        importlib.import_module(path.stem)
    counts = {"pass": 0, "fail": 0}
    gateway = start_gateway(args.s3) if args.s3 is not None else None

    def one(fn):
        start = time.monotonic()
        outcome, text = run_case(binary, args.full, fn)
        counts[outcome] += 1
        if outcome != "pass" or args.verbose:
            line = f"{outcome.upper()} {name_of(fn)} ({time.monotonic() - start:.2f} s) {text}"
            print(line.replace("\n", " ")[:1800], flush=True)

    # Mostly they wait: the long ones for leases, so they begin.
    cases = sorted(filter(lambda fn: wanted(fn, args), world.CASES), key=is_long, reverse=True)
    with concurrent.futures.ThreadPoolExecutor(1 if gateway else JOBS) as pool:
        list(pool.map(one, cases))
    if gateway:
        gateway.close()
    print(f"{counts['pass']} passed, {counts['fail']} failed, 0 skipped")
    return 1 if counts["fail"] else 0


if __name__ == "__main__":
    sys.exit(main())
