#!/usr/bin/env python3
"""Black-box tests of the registry's HTTP API.

    tests/api/run.py [--stowage BIN] [--url URL] [--only PATTERN] [--jobs N] [--slow] [-v]
    tests/api/run.py --url URL --behind EXTERNAL_URL [--cacert FILE] [--without NAMES]

Without --url the cases start `stowage serve` themselves (binary: --stowage, $STOWAGE or
build/stowage). With --url they drive a registry that already runs; cases that need a server or a
root directory of their own are then skipped, each with its reason. --only takes words separated by
commas: a part of a case's name, or a requirement (R54). --slow adds the cases that mostly wait,
--without leaves out those with exactly these names.

--behind says that --url is a proxy's (http or https, with --cacert), and what the server's
--external-url is: "" (proxy that adds no path), /registry or https://host:port/registry. Requests
then go below that path and every Location and Link must begin with it. Cases that write bytes to a
connection themselves are skipped: the proxy would answer them.

--s3 keeps everything in a bucket: it starts two processes of versitygw on one directory (looked for
in the folder given, then in $PATH), which servers use in turn.

Every failing case is one line: what was sent, what was expected, what came. The last line is
`N passed, N failed, N skipped`; the status is 0 when nothing failed.
"""

import argparse
import os
import pathlib
import queue
import sys
import threading
import time
import traceback

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

import central  # noqa: E402
import coverage  # noqa: E402
import harness  # noqa: E402
import leaks  # noqa: E402
import server  # noqa: E402


def chosen(info, only):
    return not only or any(w in info.name or w in info.reqs for w in only.split(","))


def run_case(world, info):
    """(outcome, text) of one case."""
    case = None
    try:
        addr, srv = world.profile(info.profile) if info.profile else (None, None)
        case = harness.Case(world, info, addr, srv)
        info.fn(case)
        return "pass", ""
    except harness.Skip as e:
        return "skip", str(e)
    except harness.Fail as e:
        return "fail", str(e)
    except Exception as e:  # a case that breaks is a failure like any other
        where = traceback.extract_tb(e.__traceback__)[-1]
        said = f"{type(e).__name__}: {e} ({os.path.basename(where.filename)}:{where.lineno})"
        return "fail", said
    finally:
        if case:
            case.done()


def report(name, reqs, outcome, text, verbose):
    if outcome == "pass" and not verbose:
        return
    line = f"{outcome.upper()} {name} [{' '.join(reqs)}] {text}".rstrip().replace("\n", " ")
    print(line[:1500], flush=True)


def run_all(world, cases, jobs, verbose):
    """Run the cases on `jobs` threads; slow ones first. Returns counts by outcome."""
    todo, lock = queue.Queue(), threading.Lock()
    counts = {"pass": 0, "fail": 0, "skip": 0}
    for info in sorted(cases, key=lambda i: not i.slow):
        todo.put(info)

    def work():
        while True:
            try:
                info = todo.get_nowait()
            except queue.Empty:
                return
            start = time.monotonic()
            outcome, text = run_case(world, info)
            if verbose:
                text += f" ({time.monotonic() - start:.2f} s)"
            with lock:
                counts[outcome] += 1
                report(info.name, info.reqs, outcome, text, verbose)

    threads = [threading.Thread(target=work) for _ in range(jobs)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    return counts


def start_gateway(folder):
    """The S3 server of a run; ends the program where there is none."""
    sys.path.insert(0, str(HERE.parent / "s3"))
    import gateway

    binary = gateway.find(folder or None)
    if not binary:
        print("missing: versitygw\n0 passed, 0 failed, 0 skipped")
        sys.exit(0)
    server.GATEWAY = gateway.Gateway(binary)
    server.BUCKET = server.GATEWAY.bucket()
    return server.GATEWAY


def main():
    ap = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    ap.add_argument("--stowage", default=os.environ.get("STOWAGE"))
    ap.add_argument("--url", help="drive this registry instead of starting one")
    ap.add_argument("--behind", metavar="EXTERNAL_URL")
    ap.add_argument("--cacert", metavar="FILE")
    ap.add_argument("--s3", nargs="?", const="", metavar="FOLDER")
    ap.add_argument("--without", default="", metavar="NAMES")
    ap.add_argument("--only", default="")
    ap.add_argument("--jobs", type=int, default=4)
    ap.add_argument("--slow", action="store_true")
    ap.add_argument("-v", "--verbose", action="store_true")
    args = ap.parse_args()
    binary = args.stowage or str(HERE.parent.parent / "build" / "stowage")
    if args.url:
        binary = args.stowage
    elif not os.access(binary, os.X_OK):
        sys.exit(f"no server at {binary}: give --stowage BIN, $STOWAGE or --url URL")
    without = set(filter(None, args.without.split(",")))
    cases = [c for c in harness.load_cases() if chosen(c, args.only) and (args.slow or not c.slow)
             and c.name not in without]
    binary = os.path.abspath(binary) if binary else None
    gateway = start_gateway(args.s3) if args.s3 is not None else None
    world = harness.World(binary, args.url, args.cacert, args.behind)
    try:
        counts = run_all(world, cases, max(1, args.jobs), args.verbose)
    finally:
        complaints = world.close()
        if gateway:
            gateway.close()
    for name, reqs, outcome, text in central.results():
        if not args.only or outcome == "fail":
            counts[outcome] += 1
            report(f"every_answer.{name}", reqs, outcome, text, args.verbose)
    if not args.only:
        gaps = list(coverage.complaints(coverage.proofs()))
        counts["fail" if gaps else "pass"] += 1
        report("requirements.table", (), "fail" if gaps else "pass", "; ".join(gaps), args.verbose)
    outcome, text = leaks.outcome()
    if binary and (not args.only or outcome == "fail"):
        counts[outcome] += 1
        report("every_server.log_holds_no_secret", ("R110", "R104"), outcome, text, args.verbose)
    for text in complaints:
        counts["fail"] += 1
        report("every_server.ends_well", ("L18",), "fail", text, args.verbose)
    print(f"{counts['pass']} passed, {counts['fail']} failed, {counts['skip']} skipped")
    return 1 if counts["fail"] else 0


if __name__ == "__main__":
    sys.exit(main())
