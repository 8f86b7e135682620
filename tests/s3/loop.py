"""The main loop of these suites: cases are functions that return what they found, as text, or raise.

A text that begins with "skip" says why a case could not be tried.
"""

import contextlib
import threading
import time
import traceback

SHOWN_MAX = 6000


class Fail(Exception):
    """An expectation that did not hold: told without a trace."""


def want(cond, text):
    if not cond:
        raise Fail(text)


def run_case(fn, context, counts):
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


def run_cases(cases, only, context, beside=()):
    """Runs fn(context, stack) of each case whose name has the word; prints a line each, and the counts.
    beside: cases that mostly wait, run beside the others. The status for the shell."""
    counts = {"pass": 0, "FAIL": 0, "skip": 0}
    waiting = [threading.Thread(target=run_case, args=(fn, context, counts)) for fn in beside
               if only in fn.__name__]
    for thread in waiting:
        thread.start()
    for fn in cases:
        if only in fn.__name__:
            run_case(fn, context, counts)
    for thread in waiting:
        thread.join()
    print(f"{counts['pass']} passed, {counts['FAIL']} failed, {counts['skip']} skipped")
    return 1 if counts["FAIL"] else 0
