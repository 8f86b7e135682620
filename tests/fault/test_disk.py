"""A full disk: every step of a push meets it, several clients meet it at once; the answer is 507,
nothing torn, reads go on, and with room again everything works."""

import functools
import os
import time

import test_bucket
from faults import Place, Problem
from harness import Checks, Skip as ApiSkip
from ledger import Ledger, verify, verify_lists
from run import Skip, case
from script import Script
from test_kill import Run
from test_limits import fill, small_disk

KIB = 1 << 10
PUSH = 1400 * KIB  # room that a push needs, generously


def disk(size):
    if os.geteuid() != 0:
        raise Skip("needs root to mount a small tmpfs")
    return small_disk(size)


def guarded(fn):
    @functools.wraps(fn)
    def run(ctx):
        try:
            fn(ctx)
        except ApiSkip as e:
            raise Skip(str(e)) from e

    return run


def each_step(ctx):
    """The disk has room for a bit more each time, until a whole push fits."""
    with disk("192m") as folder, Place(ctx.binary, root=folder / "root") as place:
        one = place.start(faulty=False)
        ledger = Ledger()
        if not Script(ledger, [one.addr], "before").run():
            raise Problem("a push on an empty disk failed")
        filler, clean, met = folder / "filler", 0, 0
        step = 24 * KIB if ctx.full else 128 * KIB
        for keep in range(0, PUSH, step):
            fill(filler, keep)
            run = Script(ledger, [one.addr], f"k{keep // KIB}", unknown=(507,))
            clean = run.run()
            met += not clean
            run.check()
            verify(ledger, [one.addr], settle=False, keys=[k for k in ledger.keys if k[0].startswith("before/")])
            filler.unlink()
            again = Script(ledger, [one.addr], f"k{keep // KIB}/again")
            again.blob(again.a, again.large, "chunks")
            again.image(again.a, "again", ["again"], [again.large])
            run.caller.close()
            again.caller.close()
            if again.failed:
                raise Problem(f"{keep} bytes were left; with room again: {again.failed}")
        if not clean or not met:
            raise Problem(f"no range from no room to enough: {met} pushes met the full disk, the last {clean}")
        verify(ledger, [one.addr])
        verify_lists(ledger, one.addr)
        test_bucket.check_root(Checks(), place.root)
        ctx.note(f"{met} pushes met a full disk")


@case("the disk is full at each step of a push")
@guarded
def steps(ctx):
    each_step(ctx)


@case("several clients meet a full disk at once, and go on when there is room")
@guarded
def together(ctx):
    with disk("64m") as folder:
        run = Run(ctx, "full disk", 1, 4, root=folder / "root")
        try:
            for turn in range(4 if ctx.full else 2):
                filler = folder / "filler"
                for keep in (2048 * KIB, 64 * KIB, 0):
                    fill(folder / f"filler{keep}", keep)
                    time.sleep(0.4)
                    run.trouble()
                before = sum(c.acked for c in run.clients)
                run.look()
                for part in folder.glob(filler.name + "*"):
                    part.unlink()
                time.sleep(0.5)
                run.trouble()
                if sum(c.acked for c in run.clients) <= before:
                    raise Problem(f"turn {turn}: nothing is acknowledged with room again")
            run.world.stop = True
            run.world.go_on()
            for c in run.clients:
                c.join(60)
            run.trouble()
            fill(folder / "filler", 0)
            run.kill(0)
            run.start(0)  # on a full disk: reads go on
            verify(run.ledger, [run.servers[0].addr])
            (folder / "filler").unlink()
            keys = run.end()
            lost = sum(c.lost for c in run.clients)
            ctx.note(f"{lost} calls met the full disk, {keys} keys read back")
            if not lost:
                raise Problem("no call met the full disk")
        finally:
            run.close()
