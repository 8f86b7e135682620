#!/usr/bin/env python3
"""Counts the tests in a log of `meson test` (the .json file): prints what failed, then the line
`N passed, N failed, N skipped`. A program that speaks TAP counts as many as it reports.
"""
import json
import re
import sys

POINT = re.compile(r"^(not )?ok\b[^#\n]*(#\s*skip)?", re.IGNORECASE | re.MULTILINE)
PLAN = re.compile(r"^1\.\.\d+", re.MULTILINE)
OUTPUT_CHARS_MAX = 4000


def points(said):
    """(passed, failed, skipped) of a TAP stream."""
    passed = failed = skipped = 0
    for match in POINT.finditer(said):
        if match.group(2):
            skipped += 1
        elif match.group(1):
            failed += 1
        else:
            passed += 1
    return passed, failed, skipped


def counts(test):
    """(passed, failed, skipped) of one test program."""
    result, said = test["result"], test.get("stdout") or ""
    if result == "SKIP":
        return 0, 0, 1
    good = result in ("OK", "EXPECTEDFAIL")
    if not PLAN.search(said):
        return (1, 0, 0) if good else (0, 1, 0)
    passed, failed, skipped = points(said)
    if not good and failed == 0:
        failed = 1
    return passed, failed, skipped


def main(path):
    total = [0, 0, 0]
    try:
        with open(path, encoding="utf-8", errors="replace") as log:
            tests = [json.loads(line) for line in log if line.strip()]
    except OSError:
        tests = []
    for test in tests:
        found = counts(test)
        total = [a + b for a, b in zip(total, found)]
        said = (test.get("stdout") or "") + (test.get("stderr") or "")
        if found[1]:
            print(f"---- {test['name']}: {test['result']}, status {test.get('returncode')}")
            print(said[-OUTPUT_CHARS_MAX:].rstrip())
        elif found[2]:
            print(f"---- {test['name']}: skipped")
            print("\n".join(line for line in said.split("\n") if line.startswith("missing")))
    if not tests:
        print("no test was run")
    print(f"{total[0]} passed, {total[1]} failed, {total[2]} skipped")
    return 1 if total[1] or not tests else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
