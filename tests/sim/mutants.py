#!/usr/bin/env python3
"""Runs the simulator with each mutant and says in how many seeds it was caught.

    mutants.py SIM [--seeds FROM..TO] [--only NAME] [--want N | --first]

Prints a table in Markdown. With --want, exits 1 when a mutant was caught in fewer seeds than that; with
--first each is let go at the first seed that catches it, and exit 1 says that none of them did.
"""
import argparse
import concurrent.futures
import os
import re
import subprocess
import sys

SECONDS_MAX = 3600
LINE = re.compile(r"^seed (\d+): (.*)$")


def run(options, name, first, last):
    """{seed: what failed}; goes on behind a seed that ended the program."""
    caught = {}
    more = [] if options.first else ["--keep-going"]
    while first <= last and not (options.first and caught):
        done = subprocess.run([options.sim, "--mutant", name, *more, "--seeds", f"{first}..{last}"],
                              stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                              timeout=SECONDS_MAX, check=False)
        aborted = None
        for line in done.stdout.decode("utf-8", "replace").splitlines():
            match = LINE.match(line)
            if match:
                caught[int(match.group(1))] = match.group(2)
                if match.group(2) == "aborted":
                    aborted = int(match.group(1))
        if aborted is None:
            if done.returncode not in (0, 1):
                raise SystemExit(f"{name}: the simulator ended with {done.returncode}")
            break
        first = aborted + 1
    return caught


def plain(text):
    """The failure without what differs from seed to seed."""
    text = re.sub(r"\([^)]*\)|sha\d+:", "", text)
    return re.sub(r"\b[0-9a-f]{12,}\b|\b\d+\b", "…", text).split(": ")[0].strip()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("sim")
    parser.add_argument("--seeds", default="1..100")
    parser.add_argument("--only", action="append")
    parser.add_argument("--want", type=int, default=0)
    parser.add_argument("--first", action="store_true")
    options = parser.parse_args()
    first, last = map(int, options.seeds.split(".."))
    listed = subprocess.run([options.sim, "--list-mutants"], stdout=subprocess.PIPE, check=True)
    missed = []
    rows = [row.split("\t") for row in listed.stdout.decode().splitlines()]
    rows = [row for row in rows if not options.only or row[0] in options.only]
    print(f"| mutant | what it does | caught in, of {last - first + 1} | first | as |")
    print("|---|---|---|---|---|")
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        found = list(pool.map(lambda row: run(options, row[0], first, last), rows))
    for (name, what), caught in zip(rows, found):
        kinds = {}
        for text in caught.values():
            kinds[plain(text)] = kinds.get(plain(text), 0) + 1
        most = max(kinds, key=kinds.get) if kinds else ""
        print(f"| `{name}` | {what} | {len(caught)} | {min(caught, default='')} | {most} |",
              flush=True)
        if len(caught) < max(options.want, options.first):
            missed.append(name)
    if missed:
        print("caught too seldom:", *missed, file=sys.stderr)
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
