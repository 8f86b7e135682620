"""The main loop of these suites: cases are functions that return what they found, as text, or raise.

A text that begins with "skip" says why a case could not be tried.
"""

import contextlib
import time
import traceback

SHOWN_MAX = 6000


class Fail(Exception):
    """An expectation that did not hold: told without a trace."""


def want(cond, text):
    if not cond:
        raise Fail(text)


def run_cases(cases, only, context):
    """Runs fn(context, stack) of each case whose name has the word; prints a line each, and the counts.
    The status for the shell."""
    counts = {"pass": 0, "FAIL": 0, "skip": 0}
    for fn in cases:
        if only not in fn.__name__:
            continue
        begin = time.monotonic()
        with contextlib.ExitStack() as stack:
            try:
                said = str(fn(context, stack) or "")
                outcome = "skip" if said.startswith("skip") else "pass"
            except Fail as e:
                outcome, said = "FAIL", str(e)
            except Exception:  # a case that breaks is a failure like any other
                outcome, said = "FAIL", traceback.format_exc()
        print(f"{outcome} {fn.__name__} ({time.monotonic() - begin:.1f} s) {said}"[:SHOWN_MAX], flush=True)
        counts[outcome] += 1
    print(f"{counts['pass']} passed, {counts['FAIL']} failed, {counts['skip']} skipped")
    return 1 if counts["FAIL"] else 0
