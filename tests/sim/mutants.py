#!/usr/bin/env python3
"""Runs the simulator with each mutant and says in how many seeds it was caught.

    mutants.py SIM [--seeds FROM..TO] [--only NAME] [--want ONE]

Prints a table in Markdown. With --want, exits 1 when a mutant was caught in fewer seeds than that.
"""
import argparse
import re
import subprocess
import sys

SECONDS_MAX = 3600
LINE = re.compile(r"^seed (\d+): (.*)$")


def run(sim, name, first, last):
    """{seed: what failed}; goes on behind a seed that ended the program."""
    caught = {}
    while first <= last:
        done = subprocess.run([sim, "--mutant", name, "--keep-going", "--seeds",
                               f"{first}..{last}"], stdout=subprocess.PIPE,
                              stderr=subprocess.DEVNULL, timeout=SECONDS_MAX, check=False)
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
    options = parser.parse_args()
    first, last = map(int, options.seeds.split(".."))
    listed = subprocess.run([options.sim, "--list-mutants"], stdout=subprocess.PIPE, check=True)
    missed = []
    print(f"| mutant | what it does | caught in, of {last - first + 1} | first | as |")
    print("|---|---|---|---|---|")
    for row in listed.stdout.decode().splitlines():
        name, what = row.split("\t")
        if options.only and name not in options.only:
            continue
        caught = run(options.sim, name, first, last)
        kinds = {}
        for text in caught.values():
            kinds[plain(text)] = kinds.get(plain(text), 0) + 1
        most = max(kinds, key=kinds.get) if kinds else ""
        print(f"| `{name}` | {what} | {len(caught)} | {min(caught, default='')} | {most} |",
              flush=True)
        if len(caught) < options.want:
            missed.append(name)
    if missed:
        print("caught too seldom:", *missed, file=sys.stderr)
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
