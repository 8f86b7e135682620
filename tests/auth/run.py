#!/usr/bin/env python3
"""Who may do what, as a whole: every route by every kind of caller, two tenants that see nothing of
each other, and what authentication costs.

    tests/auth/run.py [--stowage BIN] [--only WORDS] [--load] [-v]

--load adds the cases that measure: a flood of log-ins, CPU of an authenticated request. A case that
fails is one line; the last line is `N passed, N failed, N skipped`.
"""

import argparse
import importlib
import importlib.util
import os
import pathlib
import sys
import time

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / "api")]

import harness  # noqa: E402
import leaks  # noqa: E402

spec = importlib.util.spec_from_file_location("api_run", HERE.parent / "api" / "run.py")
api_run = importlib.util.module_from_spec(spec)  # both files are called run.py
spec.loader.exec_module(api_run)


def main():
    ap = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    ap.add_argument("--stowage", default=os.environ.get("STOWAGE"))
    ap.add_argument("--only", default="")
    ap.add_argument("--load", action="store_true")
    ap.add_argument("-v", "--verbose", action="store_true")
    args = ap.parse_args()
    binary = os.path.abspath(args.stowage or HERE.parent.parent / "build" / "stowage")
    if not os.access(binary, os.X_OK):
        sys.exit(f"no program at {binary}: give --stowage BIN or $STOWAGE")
    for path in sorted(HERE.glob("test_*.py")):
        importlib.import_module(path.stem)
    world = harness.World(binary)
    counts = {"pass": 0, "fail": 0, "skip": 0}
    for info in harness.CASES:
        if (info.slow and not args.load) or not api_run.chosen(info, args.only):
            continue
        start = time.monotonic()
        outcome, text = api_run.run_case(world, info)
        counts[outcome] += 1
        text += f" ({time.monotonic() - start:.2f} s)"
        api_run.report(info.name, info.reqs, outcome, text, args.verbose)
    outcome, text = leaks.outcome()
    if not args.only or outcome == "fail":
        counts[outcome] += 1
        api_run.report("every_server.log_holds_no_secret", ("R110", "R104"), outcome, text, args.verbose)
    print(f"{counts['pass']} passed, {counts['fail']} failed, {counts['skip']} skipped")
    return 1 if counts["fail"] else 0


if __name__ == "__main__":
    sys.exit(main())
