#!/usr/bin/env python3
"""The registry behind nginx and HAProxy, which run from the recipes in deploy/.

    tests/proxy/run.py [--stowage BIN] [--path DIR] [--only WORDS] [--keep] [--list]

  --stowage  the program (default: $STOWAGE or build/stowage)
  --path     a folder to look for clients in before PATH
  --only     words separated by commas: parts of names of cases
  --keep     leave the folders of the run in place
  --list     print every case

As root everything runs in mounts and a network of its own. One line for each case, the last is
`N passed, N failed, N skipped`; the status is 0 when nothing failed.
"""

import argparse
import os
import pathlib
import secrets
import shutil
import signal
import sys
import tempfile
import time
import traceback

sys.dont_write_bytecode = True
HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / "clients"), str(HERE.parent / "api")]

import cases_api  # noqa: E402
import cases_certificates  # noqa: E402
import cases_clients  # noqa: E402
import cases_http  # noqa: E402
import harness  # noqa: E402
import private  # noqa: E402
import proxies  # noqa: E402
import world  # noqa: E402

KINDS = ("nginx", "haproxy")


def all_cases():
    """(name, kind, function of World and kind) in the order they run."""
    for kind in KINDS:
        for title, function in cases_http.CASES + cases_api.CASES:
            yield f"{kind}: {title}", kind, function
        for name in cases_clients.SHARED:
            def through(w, kind, name=name):
                return cases_clients.run_client(w, kind, name)

            yield f"{kind}: {name} pushes and pulls", kind, through
    for title, function in cases_certificates.CASES:
        yield f"nginx: {title}", "nginx", function
    for title, function in cases_api.DEPLOY_CASES:
        yield f"deploy: {title}", "nginx", function
    for kind in KINDS:
        yield f"{kind}: {cases_http.IDLE_SECONDS} s without a request", kind, None


def run_case(w, idle, kind, function):
    """(outcome, text)"""
    if not proxies.find(kind):
        return "skip", f"missing: {kind}"
    try:
        return "pass", (function or idle.check)(w, kind) or ""
    except harness.Skipped as reason:
        return "skip", str(reason)
    except (harness.Failed, proxies.NotStarted) as failure:
        return "fail", str(failure)
    except Exception:  # noqa: BLE001 - a broken case is a failing case
        return "fail", traceback.format_exc(limit=-4)


def report(name, outcome, text, began):
    """One line; a line that begins with "missing" is for test.sh."""
    seconds = time.monotonic() - began
    if outcome == "skip" and text.startswith("missing: "):
        print(text, flush=True)
    lines = text.splitlines() or [""]
    print(f"{outcome.upper()} {name} ({seconds:.1f} s) {lines[0][:700]}".rstrip(), flush=True)
    if outcome == "fail":
        for line in lines[1:30]:
            print(f"     {line[:700]}", flush=True)


def run_all(args, names, scratch, counts):
    path = os.environ.get("PATH", "/usr/bin:/bin") + ":/usr/sbin:/sbin"
    if args.path:
        path = f"{os.path.abspath(args.path)}:{path}"
    cases = [c for c in all_cases() if not args.only or chosen(c[0], args.only)]
    w = world.World(args.stowage, scratch, names, path, secrets.token_hex(4))
    began = time.monotonic()
    try:
        waits = [kind for _, kind, function in cases if not function and proxies.find(kind)]
        idle = cases_http.Idle(w, waits)
        for name, kind, function in cases:
            began = time.monotonic()
            outcome, text = run_case(w, idle, kind, function)
            counts[outcome] += 1
            report(name, outcome, text, began)
    finally:
        complaints = w.close()
    counts["fail" if complaints else "pass"] += 1
    report("nodes: end well", "fail" if complaints else "pass", "\n".join(complaints), began)


def chosen(name, only):
    return any(word in name for word in only.split(","))


def main():
    os.umask(0o022)
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    ap = argparse.ArgumentParser(
        description=__doc__, usage=argparse.SUPPRESS,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    ap.add_argument("--stowage", default=os.environ.get("STOWAGE"))
    ap.add_argument("--path")
    ap.add_argument("--only", default="")
    ap.add_argument("--keep", action="store_true")
    ap.add_argument("--list", action="store_true")
    args = ap.parse_args()
    if args.list:
        print("\n".join(name for name, _, _ in all_cases()))
        return 0
    args.stowage = os.path.abspath(args.stowage or HERE.parent.parent / "build" / "stowage")
    if not os.access(args.stowage, os.X_OK):
        sys.exit(f"no program at {args.stowage}: give --stowage BIN or $STOWAGE")
    names = private.enter()
    counts = {"pass": 0, "fail": 0, "skip": 0}
    scratch = tempfile.mkdtemp(prefix="proxy.")
    try:
        run_all(args, names, scratch, counts)
    finally:
        if args.keep:
            print(f"folders of the run are in {scratch}")
        else:
            shutil.rmtree(scratch, ignore_errors=True)
    print(f"{counts['pass']} passed, {counts['fail']} failed, {counts['skip']} skipped")
    return 1 if counts["fail"] else 0


if __name__ == "__main__":
    sys.exit(main())
