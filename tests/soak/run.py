#!/usr/bin/env python3
"""Several processes on one root, many clients, and processes that die and sleep.

    tests/soak/run.py [--stowage BIN] [--seconds N] [--only PATTERN] [--seed N]

From what the clients were told alone: the history of each tag is linearizable (linear.py), nothing
acknowledged is missing or doubled in the logs, and `stowage fsck` finds no damage. --seconds is how
long clients run in each case that takes its time from it (default 10). The last line is
`N passed, N failed, N skipped`.
"""

import argparse
import fnmatch
import importlib
import os
import pathlib
import random
import shutil
import sys
import tempfile
import time
import traceback

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / "api")]
sys.modules["run"] = sys.modules[__name__]  # the files of cases import it by this name

CASES = []


class Problem(Exception):
    """What should not be."""


class Skip(Exception):
    """The case cannot run here; the text says why."""


def case(title):
    def add(fn):
        CASES.append((f"{fn.__module__.removeprefix('test_')}.{fn.__name__}", title, fn))
        return fn

    return add


class Context:
    """What a case is given."""

    def __init__(self, args, folder):
        self.binary = os.path.abspath(args.stowage)
        self.seconds = args.seconds
        self.seed = args.seed
        self.folder = folder
        self.notes = []

    def random(self, name):
        return random.Random(f"{self.seed} {name}")

    def note(self, text):
        self.notes.append(text)


def run_case(args, name, title, fn):
    folder = pathlib.Path(tempfile.mkdtemp(prefix="soak-"))
    ctx = Context(args, folder)
    begin, outcome, told = time.monotonic(), "ok", ""
    try:
        fn(ctx)
    except Skip as e:
        outcome, told = "skip", f"missing: {name}: {e}"
    except Problem as e:
        outcome, told = "FAIL", str(e)
    except Exception as e:
        outcome, told = "FAIL", f"{type(e).__name__} {e}: {traceback.format_exc()}"
    why = f". {told}" if outcome == "FAIL" else ""
    print(f"{outcome:4} {name} ({time.monotonic() - begin:.1f} s): {title}{why}", flush=True)
    for text in ctx.notes + ([told] if outcome == "skip" else []):
        print("     " + text.replace("\n", "\n     "), flush=True)
    shutil.rmtree(folder, ignore_errors=True)
    return outcome


def main():
    ap = argparse.ArgumentParser()
    ap.add_argument("--stowage", default=str(HERE.parent.parent / "build" / "stowage"))
    ap.add_argument("--seconds", type=float, default=10)
    ap.add_argument("--only", default="*")
    ap.add_argument("--seed", type=int, default=int(time.time()))
    args = ap.parse_args()
    for path in sorted(HERE.glob("test_*.py")):
        importlib.import_module(path.stem)
    print(f"seed {args.seed}")
    counts = {"ok": 0, "FAIL": 0, "skip": 0}
    for one in CASES:
        if fnmatch.fnmatch(one[0], args.only):
            counts[run_case(args, *one)] += 1
    print(f"{counts['ok']} passed, {counts['FAIL']} failed, {counts['skip']} skipped")
    return 1 if counts["FAIL"] else 0


if __name__ == "__main__":
    sys.exit(main())
