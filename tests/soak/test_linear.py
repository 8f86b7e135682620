"""The checker finds what it must find: planted histories."""

import random

from linear import ANY, KEEP, THERE, Step, explain
from run import Problem, case


def read(call, back, value):
    return Step(call, back, value, KEEP, "read")


def write(call, back, value, pre=ANY):
    return Step(call, back, pre, value, "write")


GOOD = {
    "nothing": [],
    "in order": [write(1, 2, "a"), read(3, 4, "a"), write(5, 6, None, THERE), read(7, 8, None)],
    "reads beside a write see either": [write(1, 9, "a"), read(2, 3, None), read(4, 5, "a"), read(6, 7, "a")],
    "unknown, later": [write(1, None, "a"), read(2, 3, None), write(4, 5, "b"), read(6, 7, "b"), read(8, 9, "a")],
    "unknown, never": [write(1, None, "a"), read(2, 3, None), read(8, 9, None)],
    "unknown, seen by a delete only": [write(1, None, "a"), write(3, 4, None, THERE), read(5, 6, None)],
    "unknown delete": [write(1, 2, "a"), write(3, None, None, THERE), read(4, 5, "a"), read(6, 7, None)],
    "unknown swaps": [write(1, None, "a", None), write(2, None, "b", "a"), read(5, 6, "b"), read(7, 8, "b")],
    "swaps": [write(1, 9, "a", None), write(1, 9, "b", "a"), write(1, 9, "c", "b"), read(10, 11, "c")],
    "refused swap is a read": [write(1, 2, "a"), read(3, 4, "a"), write(3, 4, "b", "a")],
}
BAD = {
    "stale read": [write(1, 2, "a"), write(3, 4, "b"), read(5, 6, "a")],
    "read of the future": [read(1, 2, "a"), write(3, 4, "a")],
    "back and forth": [write(1, 9, "a"), read(2, 3, "a"), read(4, 5, None)],
    "lost update": [write(1, 2, "a"), write(3, 6, "b", "a"), write(4, 7, "c", "a")],
    "acknowledged and missing": [write(1, 2, "a"), read(3, 4, None)],
    "taken twice": [write(1, None, "a"), read(2, 3, "a"), write(4, 5, "b"), read(6, 7, "b"), read(8, 9, "a")],
    "unknown, seen by two deletes": [write(1, None, "a"), write(3, 4, None, THERE), write(5, 6, None, THERE)],
    "unknown, before its call": [read(1, 2, "a"), write(3, None, "a")],
    "deleted and there": [write(1, 2, "a"), write(3, 4, None, THERE), read(5, 6, "a")],
    "deleted twice": [write(1, 2, "a"), write(3, 6, None, THERE), write(4, 7, None, THERE)],
    "created twice": [write(1, 6, "a", None), write(2, 7, "b", None)],
}


@case("the checker judges planted histories rightly")
def planted(ctx):
    for name, steps in GOOD.items():
        if explain(steps) is not None:
            raise Problem(f"{name}: {explain(steps)}")
    for name, steps in BAD.items():
        if explain(steps) is None:
            raise Problem(f"{name}: not found")
    ctx.note(f"{len(GOOD)} good and {len(BAD)} bad")


def history(rng, count, clients):
    """What clients see of a register that is one; each step takes effect somewhere inside."""
    steps, value, free = [], None, [0.0] * clients
    for n in range(count):
        who = min(range(clients), key=lambda c: free[c])
        at = free[who] + 0.01 + rng.random()
        steps.append([free[who] + 0.005, at, at + rng.random(), n])
        free[who] = at + 2
    out = []
    for call, _, back, n in sorted(steps, key=lambda s: s[1]):
        kind, known = rng.random(), rng.random() > 0.02
        if kind < 0.5:
            out.append(Step(call, back, value, KEEP, n))
        else:
            before = value
            value = n if kind < 0.9 else None
            pre = before if kind < 0.7 else ANY
            out.append(Step(call, back if known else None, pre, value, n))
    return out


@case("histories of a true register pass, and fail with one read changed")
def random_histories(ctx):
    rng = ctx.random("linear")
    for _ in range(10):
        steps = history(rng, 300, 8)
        told = explain(steps)
        if told:
            raise Problem(f"a true register: {told}")
        # A value that was overwritten long before.
        reads = [i for i, s in enumerate(steps) if s.post is KEEP and s.pre is not None and i < 100]
        later = [i for i, s in enumerate(steps) if s.post is KEEP and i > 200]
        i = rng.choice(later)
        steps[i] = steps[i]._replace(pre=steps[rng.choice(reads)].pre)
        if explain(steps) is None:
            raise Problem("a read of a value long gone was not found")


@case("many changes without an answer do not leave a history undecided")
def unanswered(ctx):
    """20 deletes whose outcome nobody knows, then puts and reads; the last read is right, or of a value
    long gone, so that every order has to be ruled out."""
    steps = [write(n / 100, None, None, THERE) for n in range(20)]
    for n in range(40):
        steps += [write(10 * n + 1, 10 * n + 2, n), read(10 * n + 3, 10 * n + 4, n)]
        steps += [read(10 * n + 5, 10 * n + 6, None)] * (n % 4 == 0)
    for value, good in ((39, True), (7, False)):
        told = explain([*steps, read(500, 501, value)])
        if (told is None) != good:
            raise Problem(f"the last read of {value}: {told}")
