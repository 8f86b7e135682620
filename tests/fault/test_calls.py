"""The n-th call of one kind fails, for every n until a whole push passes clean: the process stops by
itself (a sync that fails), or the client got an error, or what was acknowledged is truly there."""

import signal
import time

import server
import test_bucket
from faults import AFTER, BEFORE, FOREVER, SHORT, Maps, Place, Problem, complaints
from harness import Checks
from ledger import Ledger, Lost, verify, verify_lists
from run import case
from script import Script

STOP_S = 10  # from a failed sync to the end of the process
CALLS_MAX = 400  # of one kind in one push; more is a test that never ends
QUICK = 6  # so many places of each row, spread over the push

# kind, error, mode. The process must stop at its own wish in the rows of STOPS, and only there.
ROWS = [
    ("fsync", "EIO", BEFORE),
    ("fdatasync", "EIO", BEFORE),
    ("fdatasync", "ENOSPC", BEFORE),
    ("write", "EIO", BEFORE),
    ("write", "ENOSPC", BEFORE),
    ("write", "EIO", SHORT),
    ("pwrite", "EIO", BEFORE),
    ("pwrite", "ENOSPC", BEFORE),
    ("pwrite", "EIO", SHORT),
    ("linkat", "EIO", BEFORE),
    ("linkat", "EIO", AFTER),
    ("linkat", "ENOSPC", BEFORE),
    ("openat", "EIO", BEFORE),
    ("openat", "ENOSPC", BEFORE),
    ("openat", "EMFILE", BEFORE),
    ("mkdirat", "EIO", BEFORE),
    ("mkdirat", "ENOSPC", BEFORE),
    ("renameat", "EIO", BEFORE),
    ("renameat", "ENOSPC", BEFORE),
    ("ftruncate", "EIO", BEFORE),
    ("copy_file_range", "EIO", BEFORE),
    ("copy_file_range", "ENOSPC", BEFORE),
    ("copy_file_range", "EXDEV", BEFORE),
    ("copy_file_range", "EIO", SHORT),
    ("unlinkat", "EIO", BEFORE),
    ("fstat", "EIO", BEFORE),
    ("fstatat", "EIO", BEFORE),
    ("flock", "EIO", BEFORE),
    ("flock", "EINTR", BEFORE),
    ("fchmod", "EIO", BEFORE),
    ("futimens", "EIO", BEFORE),
    ("pread", "EIO", BEFORE),
    ("pread", "EIO", SHORT),
    ("sendfile", "EIO", BEFORE),
    ("sendfile", "EIO", SHORT),
    ("send", "ECONNRESET", BEFORE),
    ("send", "EIO", SHORT),
    ("recv", "ECONNRESET", BEFORE),
    ("recv", "EIO", SHORT),
    ("accept", "EMFILE", BEFORE),
]
STOPS = {("fsync", "EIO"), ("fdatasync", "EIO"), ("syncfs", "EIO")}
# A whole push makes none of these; the start of the server does (see at_start).
MAY_BE_NONE = {"futimens", "renameat"}


class Row:
    """One row of the table: a place of its own, a ledger over all its pushes."""

    def __init__(self, ctx, kind, error, mode):
        self.ctx, self.kind, self.error, self.mode = ctx, kind, error, mode
        self.place = Place(ctx.binary, preload=ctx.preload, args=["--workers", "4"])
        self.ledger = Ledger()
        self.stopped = self.fired = 0
        self.up()

    def up(self):
        self.place.kill_all()
        servers = [self.place.start() for _ in range(2)]
        self.addrs = [s.addr for s in servers]
        self.maps = Maps(servers[0].pid)

    def name(self, n):
        return f"{self.kind}, {self.error}, {['before', 'after', 'short'][self.mode]}, call {n}"

    def ended(self, n, must=False):
        """Servers that stopped; only a failed sync may be the reason."""
        until = time.monotonic() + STOP_S
        while must and time.monotonic() < until:
            must = all(s.proc.poll() is None for s in self.place.servers)
            time.sleep(0.002)
        if must:
            self.fail(n, "the process went on after a failed sync")
        gone = [s for s in self.place.servers if s.proc.poll() is not None]
        for one in gone:
            fine = (self.kind, self.error) in STOPS and one.proc.returncode == -signal.SIGABRT
            if not fine or complaints(one):
                self.fail(n, f"the server ended with {one.proc.returncode}: {one.log()[-1500:]}")
        return gone

    def fail(self, n, text):
        where = self.maps.where(self.place.control.frames())
        raise Problem(f"{self.name(n)}: {text} (called from {where})")

    def one(self, n, last=None):
        """A push whose n-th call fails. Returns how many calls there were; 0 failed when clean."""
        control = self.place.control
        run = Script(self.ledger, self.addrs, f"p{n}")
        control.arm(self.kind, n, self.error, self.mode, last)
        try:
            clean = run.run(big=self.kind in ("renameat", "write"))
        except Problem as e:
            self.fail(n, e)
        calls, fired = control.disarm()
        if not fired and not clean:
            self.fail(n, f"nothing failed, and yet: {run.failed}")
        self.fired += fired
        gone = self.ended(n, fired and (self.kind, self.error) in STOPS)
        if gone:
            self.stopped += 1
            self.up()
            run.addrs = self.addrs
        try:
            run.check(settle=bool(gone))
        except (Problem, Lost) as e:
            self.ended(n)
            self.fail(n, e)
        run.caller.close()
        return calls, fired

    def end(self):
        """After a kill -9 and a restart all of it holds, and the folder is in order."""
        self.up()
        verify(self.ledger, self.addrs, settle=True)
        verify_lists(self.ledger, self.addrs[0])
        test_bucket.check_root(Checks(), self.place.root)
        run = Script(self.ledger, self.addrs, "last")
        if not run.run():
            raise Problem(f"{self.name('none')}: afterwards {run.failed}")
        self.place.close()


def places(ctx, row, calls):
    """Which calls fail: all, or some that are spread over the push."""
    if ctx.full:
        return ctx.turns(row.name(0), CALLS_MAX)
    if calls <= QUICK:
        return range(1, CALLS_MAX)
    return sorted({1 + i * (calls - 1) // (QUICK - 1) for i in range(QUICK)})


def run_row(ctx, kind, error, mode):
    row = Row(ctx, kind, error, mode)
    try:
        calls, _ = row.one(0)  # counts, fails nothing
        if calls == 0 and kind not in MAY_BE_NONE:
            raise Problem(f"{row.name(0)}: a whole push makes no such call")
        for n in places(ctx, row, calls):
            count, fired = row.one(n)
            if not fired and n > count:
                break
        else:
            if ctx.full:
                raise Problem(f"{row.name(0)}: no push of {CALLS_MAX} passed clean")
        if (kind, error) in STOPS and not row.stopped:
            raise Problem(f"{row.name(0)}: no failed sync stopped the server")
        row.end()
    finally:
        row.place.close()


def rows(ctx):
    """In the quick tier: those that decide over durability."""
    quick = {"fsync", "fdatasync", "write", "pwrite", "linkat", "openat", "mkdirat"}
    return [r for r in ROWS if ctx.full or (r[0] in quick and r[1] != "EMFILE")]


@case("the n-th call of a kind fails once")
def once(ctx):
    ctx.side_by_side([lambda r=r: run_row(ctx, *r) for r in rows(ctx)])


@case("from the n-th call on all fail", quick=False)
def for_good(ctx):
    """As of a disk that is full or gone: errors to the end of the push, then all is well again."""

    def one(kind, error):
        row = Row(ctx, kind, error, BEFORE)
        try:
            calls, _ = row.one(0)
            for n in sorted({1 + i * (calls - 1) // 3 for i in range(4)}):
                row.one(n, FOREVER)
            row.end()
        finally:
            row.place.close()

    kinds = ["write", "pwrite", "linkat", "mkdirat", "openat", "fdatasync"]
    ctx.side_by_side([lambda k=k: one(k, "ENOSPC") for k in kinds], more=2)


@case("the n-th call fails while the server starts")
def at_start(ctx):
    kinds = "fsync fdatasync write linkat openat mkdirat unlinkat fstat fstatat flock fchmod futimens"
    kinds += " pread readdir alloc"

    def one(kind):
        if kind == "alloc" and ctx.preload.static_sanitizer:
            return
        with Place(ctx.binary, preload=ctx.preload) as place:
            ledger = Ledger()
            first = place.start()
            Script(ledger, [first.addr], "before").run(cuts=False)
            place.kill_all()
            for n in ctx.turns(kind, CALLS_MAX) if ctx.full else range(1, CALLS_MAX, 3):
                if not start_once(place, ledger, kind, n):
                    break

    ctx.side_by_side([lambda k=k: one(k) for k in kinds.split()])


def start_once(place, ledger, kind, n):
    """True when a call of the start failed. The server came up whole, or said why it did not."""
    error = "ENOMEM" if kind == "alloc" else "EIO"
    place.control.arm(kind, n, error)
    one = place.make()
    try:
        one.start()
        place.servers.append(one)
        _, fired = place.control.disarm()
    except server.NotStarted:
        _, fired = place.control.disarm()
        status = one.proc.returncode
        stops = status == -signal.SIGABRT and (kind, error) in STOPS
        if not fired or (status != 1 and not stops) or complaints(one) or not one.log():
            raise Problem(f"start, {kind} {n}: status {status}: {one.log()[-800:]}") from None
    finally:
        place.control.disarm()
    if one.proc.poll() is None:
        verify(ledger, [one.addr], threads=1)
    place.kill_all()
    clean = place.start(faulty=False)
    verify(ledger, [clean.addr], threads=1, method="HEAD")
    place.kill_all()
    return fired > 0

