#!/usr/bin/env python3
"""The registry under faults: killed, refused by the kernel, out of memory, on a full disk, left alone.

    tests/fault/run.py [--stowage BIN] [--quick | --full [--every N]] [--only PATTERN] [--seed N] [--jobs N]

A client keeps a ledger of what it was told (ledger.py); whatever happens, the registry must hold to
it: what was acknowledged is there byte for byte, what was deleted is gone, what was not answered is
there whole or not at all, and no answer ever carries bytes that are not those of its digest.

--quick (default) takes under a minute. --full fails each call and each allocation in turn, for a
quarter of an hour; with --every N one of N, others from run to run. The last line is
`N passed, N failed, N skipped`.
"""

import argparse
import concurrent.futures
import fnmatch
import importlib
import os
import pathlib
import random
import resource
import shutil
import sys
import tempfile
import threading
import time
import traceback

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / "api")]
sys.modules["run"] = sys.modules[__name__]  # the files of cases import it by this name

CASES = []


class Skip(Exception):
    """The case cannot run here; the text says why."""


def case(title, quick=True):
    def add(fn):
        name = f"{fn.__module__.removeprefix('test_')}.{fn.__name__}"
        CASES.append((name, title, quick, fn))
        return fn

    return add


class Context:
    """What a case is given."""

    def __init__(self, args, folder, preload):
        self.binary = os.path.abspath(args.stowage)
        self.full = args.full
        self.every = args.every
        self.seed = args.seed
        self.jobs = args.jobs
        self.folder = folder
        self.preload = preload
        self.notes = []
        self.lock = threading.Lock()

    def random(self, name):
        return random.Random(f"{self.seed} {name}")

    def turns(self, name, last):
        """The numbers from 1 on that have their turn in this run."""
        return range(1 + self.random(name).randrange(self.every), last, self.every)

    def note(self, text):
        with self.lock:
            self.notes.append(text)

    def side_by_side(self, jobs, more=1):
        """Runs them on a few threads (`more`: those mostly wait); all are run, the first failure is
        raised."""
        with concurrent.futures.ThreadPoolExecutor(self.jobs * more) as pool:
            done = [pool.submit(j) for j in jobs]
        failed = [d.exception() for d in done if d.exception()]
        if failed:
            for other in failed[1:]:
                self.note(f"also: {other}")
            raise failed[0]


def run_case(ctx, fn):
    from faults import Problem  # after the path is set
    from harness import Fail

    try:
        fn(ctx)
        return "pass", ""
    except Skip as e:
        return "skip", str(e)
    except (Problem, Fail) as e:
        return "fail", str(e)
    except Exception as e:  # a case that breaks is a failure like any other
        where = traceback.extract_tb(e.__traceback__)[-1]
        text = f"{type(e).__name__}: {e} ({os.path.basename(where.filename)}:{where.lineno})"
        return "fail", text


def main():
    ap = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    default = os.environ.get("STOWAGE") or str(HERE.parent.parent / "build" / "stowage")
    ap.add_argument("--stowage", default=default)
    tier = ap.add_mutually_exclusive_group()
    tier.add_argument("--quick", action="store_true")
    tier.add_argument("--full", action="store_true")
    ap.add_argument("--every", type=int, default=1, metavar="N")
    ap.add_argument("--only", default="*", help="cases by name, with * as in file names")
    ap.add_argument("--seed", type=int, default=int.from_bytes(os.urandom(4), "little"))
    ap.add_argument("--jobs", type=int, default=4)
    args = ap.parse_args()
    if not os.access(args.stowage, os.X_OK):
        sys.exit(f"no server at {args.stowage}: give --stowage BIN or $STOWAGE")
    import faults  # after the path is set

    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    for path in sorted(HERE.glob("test_*.py")):
        importlib.import_module(path.stem)
    print(f"seed {args.seed}", flush=True)
    folder = tempfile.mkdtemp(prefix="fault-run-")
    counts = {"pass": 0, "fail": 0, "skip": 0}
    try:
        preload = faults.Preload(folder, args.stowage)
        for name, title, quick, fn in CASES:
            if not fnmatch.fnmatch(name, args.only) or not (quick or args.full):
                continue
            ctx = Context(args, folder, preload)
            begin = time.monotonic()
            outcome, text = run_case(ctx, fn)
            counts[outcome] += 1
            took = time.monotonic() - begin
            print(f"{outcome.upper()} {name} ({took:.1f} s): {title}. {text}"[:3000], flush=True)
            for one in ctx.notes[:20]:
                print(f"    {one}"[:3000], flush=True)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    print(f"{counts['pass']} passed, {counts['fail']} failed, {counts['skip']} skipped")
    return 1 if counts["fail"] else 0


if __name__ == "__main__":
    sys.exit(main())
