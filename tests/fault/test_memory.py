"""Every allocation of the server fails once in turn, while a push and reads run: the server answers an
error or closes that connection, goes on, and works right after.

What the libraries cannot survive would be named here, each with its proof; there is none."""

from faults import BEFORE, Maps, Place, Problem, complaints
from harness import Checks
from ledger import Caller, Ledger, Lost, verify, verify_lists
from run import Skip, case
from script import Script
import test_bucket

ALLOCS_MAX = 6000  # of one push; more is a test that never ends
QUICK = 60
RUNS = 4  # servers side by side


def last_words(one):
    """What is not in the words of the log."""
    return "\n".join(x for x in one.log().splitlines() if not x.startswith("ts="))[-2500:]


class Memory:
    """A server whose allocations fail; every `step`th from `first` on."""

    def __init__(self, ctx):
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
        raise Problem(f"allocation {n}: {text} (asked by {asked})")

    def one(self, n):
        run = Script(self.ledger, [self.server.addr], f"p{n}", Caller(timeout=30))
        self.place.control.arm("alloc", n, "ENOMEM", BEFORE)
        try:
            clean = run.run(big=True)
        except Problem as e:
            self.place.control.disarm()
            self.fail(n, e)
        calls, fired = self.place.control.disarm()
        self.fired += fired
        self.asked = self.asked[-2:] + [self.place.control.frames()] * fired
        if self.server.proc.poll() is not None:
            self.fail(n, f"the server ended with {self.server.proc.returncode}: {last_words(self.server)}")
        if not fired and not clean:
            self.fail(n, f"nothing failed, and yet: {run.failed}")
        try:
            run.check()
            again = Caller()
            after = Script(self.ledger, [self.server.addr], f"p{n}", again)
            if not after.blob(f"p{n}/a", b"after %d" % n, "put") or not after.image(
                f"p{n}/a", "after", ["after"], [b"after %d" % n]
            ):
                self.fail(n, f"afterwards: {after.failed}")
            again.close()
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

    def part(first):
        m = Memory(ctx)
        try:
            calls, _ = m.one(0)
            step = RUNS if ctx.full else max(RUNS, RUNS * calls // QUICK)
            for n in range(1 + first * step // RUNS, ALLOCS_MAX, step):
                count, fired = m.one(n)
                if not fired and n > count:
                    break
            else:
                raise Problem(f"no push of {ALLOCS_MAX} allocations passed clean")
            m.end()
            ctx.note(f"{m.fired} allocations failed of {calls} in a push")
        finally:
            m.place.close()

    ctx.side_by_side([lambda i=i: part(i) for i in range(RUNS)])
