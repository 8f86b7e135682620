#!/usr/bin/env python3
"""Real clients against the registry: push, pull, list, delete, copy, indexes, artifacts.

usage: run.py [--registry HOST:PORT] [--only CLIENT,CLIENT] [--path DIR]
              [--without FEATURE,FEATURE] [--big] [--keep] [--list]

  --registry  a registry that already runs, by plain HTTP; without it a node is started
              from $STOWAGE (default: build/stowage)
  --only      only these clients
  --path      a folder to look for clients in before PATH
  --without   what a foreign registry lacks: referrers, tag-delete, catalog, sha512,
              strict-tags. Cases that need it are counted as skipped
  --big       adds a layer of 6 GiB, where 20 GiB are free
  --keep      leave the folders of the run in place
  --list      print every case

One line for each case, then 'N passed, N failed, N skipped'. Status 0 only if none failed.
A client that cannot be had is printed as 'missing' with the reason, its cases count as skipped.
"""

import argparse
import importlib
import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback

sys.dont_write_bytecode = True
import harness  # noqa: E402
import logins  # noqa: E402
import samples  # noqa: E402
from node import Node  # noqa: E402

CLIENTS = (
    "docker", "podman", "skopeo", "buildah", "ctr", "oras", "crane", "regctl", "helm", "cosign",
    "notation", "shapes",
)  # fmt: skip
FEATURES = ("referrers", "tag-delete", "catalog", "sha512", "strict-tags")
PRIVATE_MARK = "CLIENTS_IN_PRIVATE_NAMESPACE"
SHARED_CACHE = "/var/lib/containers"  # root's blob cache of skopeo, podman, buildah


def enter_private_namespace():
    """As root, goes on in a mount namespace of its own: mounts a daemon leaves behind end
    with it, and the one cache that cannot be moved by a setting is covered by an empty one.
    Where that is not allowed, goes on as it is."""
    if os.geteuid() != 0 or not shutil.which("unshare"):
        return
    if PRIVATE_MARK in os.environ:
        if os.path.isdir(SHARED_CACHE):
            subprocess.run(("mount", "-t", "tmpfs", "tmpfs", SHARED_CACHE), check=False)
        return
    if subprocess.run(("unshare", "--mount", "true"), stderr=subprocess.DEVNULL).returncode == 0:
        os.environ[PRIVATE_MARK] = "1"
        os.execvp("unshare", ["unshare", "--mount", "--", sys.executable, *sys.argv])


class Tally:
    def __init__(self):
        self.passed = self.failed = self.skipped = 0

    def passes(self, what, seconds):
        self.passed += 1
        print(f"pass {what} ({seconds:.1f} s)", flush=True)

    def fails(self, what, why):
        self.failed += 1
        print(f"FAIL {what}", flush=True)
        for line in str(why).splitlines():
            print(f"     {line}", flush=True)

    def skips(self, what, why, cases=1):
        self.skipped += cases
        print(f"{what}: {why}", flush=True)


def run_case(context, client, case, without, tally):
    title, function, *needs = case
    what = f"{client}: {title}"
    lacking = [need for need in needs if need in without]
    if lacking:
        tally.skips(f"skip {what}", f"the registry is without {', '.join(lacking)}")
        return
    started = time.monotonic()
    try:
        function(context)
    except harness.Skipped as reason:
        missing = str(reason).startswith("missing: ")
        tally.skips("missing" if missing else f"skip {what}", str(reason).removeprefix("missing: "))
    except harness.Failed as failure:
        tally.fails(what, failure)
    except Exception:  # noqa: BLE001 - a broken test is a failing test
        tally.fails(what, traceback.format_exc(limit=-4))
    else:
        tally.passes(what, time.monotonic() - started)


def cases_of(module):
    return module.CASES + logins.cases(module)


def run_client(name, context, without, tally):
    module = importlib.import_module(f"client_{name}")
    count = len(cases_of(module))
    try:
        version = module.setup(context)
    except harness.Missing as reason:
        tally.skips(f"missing: {name}", f"{reason} ({count} cases)", count)
        return
    except harness.Failed as failure:
        # A client that does not even print its version cannot be had here.
        reason = " ".join(str(failure).split())[:500]
        tally.skips(f"missing: {name}", f"{reason} ({count} cases)", count)
        return
    print(f"client {name}: {version}", flush=True)
    for case in cases_of(module):
        run_case(context, name, case, without, tally)
    for lack in module.LACKS:
        print(f"n/a  {name}: {lack}", flush=True)


def parse_arguments():
    parser = argparse.ArgumentParser(
        description=__doc__,
        usage=argparse.SUPPRESS,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--registry")
    parser.add_argument("--only", default=",".join(CLIENTS))
    parser.add_argument("--path")
    parser.add_argument("--without", default="")
    parser.add_argument("--big", action="store_true")
    parser.add_argument("--keep", action="store_true")
    parser.add_argument("--list", action="store_true")
    arguments = parser.parse_args()
    arguments.only = [name for name in arguments.only.split(",") if name]
    arguments.without = [name for name in arguments.without.split(",") if name]
    for name in arguments.only:
        if name not in CLIENTS:
            parser.error(f"no client is called '{name}'")
    for name in arguments.without:
        if name not in FEATURES:
            parser.error(f"no feature is called '{name}'")
    return arguments


def list_cases(clients):
    for name in clients:
        for title, *_ in cases_of(importlib.import_module(f"client_{name}")):
            print(f"{name}: {title}")


def run_all(arguments, scratch, tally):
    run_id = secrets.token_hex(4)
    node = None
    address = (arguments.registry or "").removeprefix("http://").rstrip("/")
    if not address:
        node = Node(scratch)
        address = node.address
    path = os.environ.get("PATH", "/usr/bin:/bin") + ":/usr/sbin:/sbin"
    if arguments.path:
        path = f"{os.path.abspath(arguments.path)}:{path}"
    registry = harness.Registry(address, node.root if node else None)
    doors = harness.Context.doors = logins.Doors(scratch) if node else None
    harness.Context.big = arguments.big
    sample_set = samples.Samples(os.path.join(scratch, "samples"), run_id)
    try:
        for name in arguments.only:
            context = harness.Context(
                name, registry, sample_set, path, run_id, scratch, arguments.without
            )
            try:
                run_client(name, context, arguments.without, tally)
            finally:
                context.close()
    finally:
        troubles = [node.stop(), *doors.stop()] if node else []
    for trouble in filter(None, troubles):
        tally.fails("node: lives through the run and ends cleanly", trouble)


def main():
    os.umask(0o022)
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    arguments = parse_arguments()
    if arguments.list:
        list_cases(arguments.only)
        return 0
    enter_private_namespace()
    tally = Tally()
    scratch = tempfile.mkdtemp(prefix="clients.")
    try:
        run_all(arguments, scratch, tally)
    finally:
        if arguments.keep:
            print(f"folders of the run are in {scratch}")
        else:
            shutil.rmtree(scratch, ignore_errors=True)
    print(f"{tally.passed} passed, {tally.failed} failed, {tally.skipped} skipped")
    return 1 if tally.failed else 0


if __name__ == "__main__":
    sys.exit(main())
