"""Every allocation of the server fails once in turn, while a push and reads run: the server answers an
error or closes that connection, goes on, and works right after.

What the libraries cannot survive would be named here, each with its proof; there is none."""

from faults import BEFORE, Maps, Place, Problem, complaints
from harness import Checks
from ledger import Caller, Ledger, Lost, verify, verify_lists
from run import Skip, case
from script import Script
import test_bucket

ALLOCS_MAX = 3000  # of one part; more is a test that never ends
QUICK = 40  # of one part
# Parts of a push, and what is prepared for them without a fault.
PARTS = {
    "small_blobs": [],
    "large_blobs": [],
    "broken_uploads": [],
    "images": ["prepare"],
    "long_entries": ["prepare"],
    "reading": ["prepare", "images"],
    "removals": ["prepare", "images"],
}


def last_words(one):
    """What is not in the words of the log."""
    return "\n".join(x for x in one.log().splitlines() if not x.startswith("ts="))[-2500:]


class Memory:
    """A server whose allocations fail during one part of a push."""

    def __init__(self, ctx, part):
        self.part = part
        self.place = Place(ctx.binary, preload=ctx.preload, args=["--workers", "2"])
        self.ledger = Ledger()
        self.server = self.place.start()
        self.maps = Maps(self.server.pid)
        self.fired = 0
        self.asked = []  # who asked for the memory that was refused last
        warm = Script(self.ledger, [self.server.addr], "warm")
        if not warm.run():
            raise Problem(f"without a fault: {warm.failed}")

    def fail(self, n, text):
        asked = "; before: ".join(self.maps.where(f) for f in reversed(self.asked))
        raise Problem(f"{self.part}, allocation {n}: {text} (asked by {asked})")

    def one(self, n):
        run = Script(self.ledger, [self.server.addr], f"{self.part}{n}", Caller(timeout=30))
        for step in PARTS[self.part]:
            getattr(run, step)()
        if run.failed:
            self.fail(n, f"not even before: {run.failed}")
        self.place.control.arm("alloc", n, "ENOMEM", BEFORE)
        try:
            getattr(run, self.part)()
        except Problem as e:
            self.place.control.disarm()
            self.fail(n, e)
        calls, fired = self.place.control.disarm()
        self.fired += fired
        self.asked = self.asked[-2:] + [self.place.control.frames()] * fired
        if self.server.proc.poll() is not None:
            self.fail(n, f"the server ended with {self.server.proc.returncode}: {last_words(self.server)}")
        if not fired and run.failed:
            self.fail(n, f"nothing failed, and yet: {run.failed}")
        try:
            run.check()
            after = Script(self.ledger, [self.server.addr], f"{self.part}{n}/after", Caller())
            after.blob(after.a, b"x%d" % n, "put")
            after.image(after.a, "after", ["after"], [b"x%d" % n])
            after.caller.close()
            if after.failed:
                self.fail(n, f"afterwards: {after.failed}")
        except (Problem, Lost) as e:
            self.fail(n, e)
        run.caller.close()
        return calls, fired

    def end(self):
        said = complaints(self.server)
        if said:
            raise Problem(f"the server said: {said[:5]}")
        status = self.server.stop()
        if status != 0:
            raise Problem(f"the server ended with {status}: {last_words(self.server)}")
        self.server = self.place.start(faulty=False)
        verify(self.ledger, [self.server.addr])
        verify_lists(self.ledger, self.server.addr)
        test_bucket.check_root(Checks(), self.place.root)


@case("every allocation fails once in turn")
def once(ctx):
    if ctx.preload.static_sanitizer:
        raise Skip("nothing can stand before the allocator of this sanitizer")

    def part(name):
        m = Memory(ctx, name)
        try:
            calls, _ = m.one(0)
            few = range(1, ALLOCS_MAX, max(1, calls // QUICK))
            for n in ctx.turns(name, ALLOCS_MAX) if ctx.full else few:
                count, fired = m.one(n)
                if not fired and n > count:
                    break
            else:
                raise Problem(f"{name}: never passed clean with {ALLOCS_MAX} allocations")
            m.end()
            ctx.note(f"{name}: {m.fired} allocations failed of {calls}")
        finally:
            m.place.close()

    ctx.side_by_side([lambda p=p: part(p) for p in PARTS])
