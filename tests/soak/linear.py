"""Is what clients were told of one tag linearizable (Wing and Gong, with memo after Lowe)?

A step is an operation on one register as its client saw it: called at `call`, answered at `back`
(None: never, so it may take effect at any later time, or not at all), possible only at some values
(`pre`), and leaving `post` (KEEP: what was there). None is the value of a tag that does not exist.
"""

import collections

KEEP = object()  # as post: the value stays
ANY = object()  # as pre: whatever it is
THERE = object()  # as pre: any value but None

BRANCHES_MAX = 300_000

Step = collections.namedtuple("Step", "call back pre post who")


class TooComplex(Exception):
    """Not decided within BRANCHES_MAX."""


def holds(pre, value):
    if pre is ANY:
        return True
    return value is not None if pre is THERE else pre == value


class Search:
    """must: steps that were answered, in order of call; may: those that were not and change the
    value, in order of call, too. A state is what is done of them, and the value."""

    def __init__(self, steps):
        steps = sorted(steps, key=lambda s: s.call)
        self.must = [s for s in steps if s.back is not None]
        self.may = [s for s in steps if s.back is None and s.post is not KEEP]
        self.seen = collections.defaultdict(list)
        self.states = 0
        # The last step that needs a value, and the values that unanswered steps need.
        self.last = {s.pre: i for i, s in enumerate(self.must)}
        self.asked = {s.pre for s in self.may}
        self.furthest = (0, None, None)  # what the failure is told by

    def window(self, low, done):
        """What may come next: called before every return that is outstanding."""
        limit, found = float("inf"), []
        for i in range(low, len(self.must)):
            if self.must[i].call > limit:
                break
            if i not in done:
                found.append(i)
                limit = min(limit, self.must[i].back)
        return [i for i in found if self.must[i].call <= limit], limit

    def of_use(self, step, low, value):
        """A change without an answer to a value that nobody sees any more only takes away what others
        may need, except where there is none."""
        if step.post in self.asked or self.last.get(step.post, -1) >= low:
            return True
        return value is None and (THERE in self.asked or self.last.get(THERE, -1) >= low)

    def reached(self, at, taken):
        """Was this place reached with no more changes without an answer used up? Whoever has more of them
        left can do all that the other can."""
        if any(old <= taken for old in self.seen[at]):
            return True
        self.seen[at].append(taken)
        return False

    def settle(self, low, done, value):
        """Takes all that change nothing and fit: sooner is never worse for them."""
        while True:
            while low in done:
                done = done - {low}
                low += 1
            window, limit = self.window(low, done)
            fit = [i for i in window if self.must[i].post is KEEP and holds(self.must[i].pre, value)]
            if not fit:
                return low, done, window, limit
            done = done | frozenset(fit)

    def nexts(self, state):
        """The states that may follow, the likeliest last; None when all is done."""
        low, done, taken, value = state
        low, done, window, limit = self.settle(low, done, value)
        if low == len(self.must):
            return None
        if self.reached((low, done, value), taken):
            return []
        self.states += 1
        if self.states > BRANCHES_MAX:
            raise TooComplex()
        if low >= self.furthest[0]:
            self.furthest = (low, window, value)
        out, alike = [], set()
        for i, s in enumerate(self.may):
            if i in taken or s.call > limit or s.post == value or not holds(s.pre, value):
                continue
            if (s.pre, s.post) in alike:  # the one that was called sooner does as well
                continue
            alike.add((s.pre, s.post))
            if self.of_use(s, low, value):
                out.append((low, done, taken | {i}, s.post))
        for i in sorted(window, key=lambda i: -self.must[i].back):
            s = self.must[i]
            if s.post is not KEEP and holds(s.pre, value):
                out.append((low, done | {i}, taken, s.post))
        return out

    def run(self, value):
        stack = [(0, frozenset(), frozenset(), value)]
        while stack:
            more = self.nexts(stack.pop())
            if more is None:
                return True
            stack += more
        return False

    def told(self):
        """The operations among which no order was found."""
        low, window, value = self.furthest
        rows = [f"the value is {value!r}, and none of these can come next:"]
        rows += [f"  {self.must[i]}" for i in window or ()]
        rows += [f"before: {s}" for s in self.must[max(0, low - 8) : low]]
        return "\n".join(rows)


def explain(steps, initial=None):
    """None when the steps are linearizable, else a text that says where they are not."""
    search = Search(steps)
    return None if search.run(initial) else search.told()
