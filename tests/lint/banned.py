#!/usr/bin/env python3
"""No banned function anywhere; clock, sleep, random and threads only through base. Argument: the
source root. Comments and literals don't count.
"""
import re
import sys

import csource

# Overflow, hidden state, locale, or errors that cannot be told from values.
EVERYWHERE = """
strcpy strcat strncat sprintf vsprintf stpcpy strtok gets gmtime localtime ctime asctime ctime_r
asctime_r atoi atol atoll atof alloca tmpnam tempnam mktemp setlocale
""".split()
# The scheduler of the simulator must see them all, so base wraps them.
ONLY_IN_BASE = """
time gettimeofday clock_getres clock_nanosleep nanosleep usleep sleep ftime times
rand rand_r srand random srandom drand48 lrand48 getrandom getentropy
arc4random arc4random_buf arc4random_uniform sched_yield fork vfork
thrd_create thrd_join thrd_sleep mtx_lock mtx_unlock mtx_init cnd_wait cnd_signal cnd_init
""".split()
# The load generator of tests/bench and tests/rate measure real time with real threads, on purpose;
# tests/soak stands in for the kernel's clock.
RAW_FOLDERS = ("base/", "tests/unit/base/", "tests/bench/", "tests/rate/", "tests/soak/")
FOLDERS = csource.LAYERS + ("tests",)


def calls(names):
    """A call or a declaration of one of the names, not of a member of that name."""
    return re.compile(r"(?<![\w.])(?<!->)(" + "|".join(names) + r")\s*\(")


BANNED = calls(EVERYWHERE)
# These are told by the name alone, so a pointer to one or a variable of the type is seen, too.
RAW = re.compile(calls(ONLY_IN_BASE).pattern
                 + r"|\b(?:pthread_\w+|(?:thrd|mtx|cnd|sem)_t|clock_gettime)\b")


def check(root):
    faults = []
    for path in csource.files(root, FOLDERS, csource.C_ENDINGS):
        text = csource.without_literals(csource.read(root, path))
        found = [(m, "is banned") for m in BANNED.finditer(text)]
        if not path.startswith(RAW_FOLDERS):
            found += [(m, "only through base") for m in RAW.finditer(text)]
        for match, why in sorted(found, key=lambda pair: pair[0].start()):
            word = match.group(0).rstrip("( \t\n")
            faults.append(f"{path}:{csource.line_of(text, match.start())}: {word}: {why}")
    return faults


if __name__ == "__main__":
    sys.exit(csource.report("banned", check(sys.argv[1])))
