"""Acknowledged means synced: servers are killed while clients push, what was not synced is taken away
(powercut.py), and everything that was acknowledged must still be there."""

import os
import time

from faults import Problem
from powercut import MODES, cut, names_of
from run import case
from test_kill import Run


class Cuts(Run):
    """As Run, but the servers run under the preloaded library and record."""

    def __init__(self, ctx, name, slots, clients, sync_ms=0):
        self.preload = ctx.preload
        self.sync_ms = sync_ms
        self.record = None
        args = ["--workers", "64"] if sync_ms else []
        super().__init__(ctx, name, slots, clients, args, offsets_hold=False)

    def record_begins(self):
        self.record = str(self.place.folder / "record")
        if os.path.exists(self.record):
            os.unlink(self.record)
        env = self.preload.environment(self.place.control.path, self.record, self.sync_ms)
        for one in self.servers:
            one.wrap = ["env", *env]
        self.before = names_of(self.place.root) if os.path.isdir(self.place.root) else set()

    def start(self, slot):
        if self.record is None:
            self.record_begins()
        one = self.servers[slot]
        one.start()
        self.world.set(slot, one.addr)

    def power_cut(self, mode):
        for slot in range(len(self.servers)):
            self.kill(slot)
        done = cut(self.place.root, self.before, self.record, mode, self.rng)
        self.record_begins()
        for slot in range(len(self.servers)):
            self.start(slot)
        return done

    def shared_syncs(self):
        with open(self.record, "rb") as record:
            return sum(line.startswith(b"A ") for line in record)

    def loop(self, cuts, looks):
        gone = shorter = shared = 0
        for n in range(1, cuts + 1):
            time.sleep(self.rng.uniform(0.05, 0.5))
            self.trouble()
            shared += self.shared_syncs()
            names, files, syncs = self.power_cut(MODES[n % len(MODES)])
            gone, shorter = gone + names, shorter + files
            if not syncs:
                raise Problem("nothing was synced between two cuts")
            if n % max(1, cuts // looks) == 0:
                keys = self.look()
        self.world.stop = True
        self.world.go_on()
        for c in self.clients:
            c.join(60)
        self.trouble()
        self.power_cut("lost")
        keys = self.end()
        acked = sum(c.acked for c in self.clients)
        text = f"{cuts} cuts, {acked} calls acknowledged, {keys} keys read back, {shared} syncs for all"
        self.ctx.note(f"{text}; {gone} names and the ends of {shorter} files were lost")
        if gone + shorter == 0:
            raise Problem("no cut took anything away")
        return shared


def little_is_unwritten():
    """Now, of what the server asks before it shares (blobstore/store_dir_sync.c), with some room."""
    with open("/proc/meminfo", encoding="ascii") as f:
        values = dict(line.split(":", 1) for line in f)
    return sum(int(values[k].split()[0]) for k in ("Dirty", "Writeback")) < 16 << 10


def cut_loop(ctx, name, slots, cuts, looks, clients=3, sync_ms=0):
    run = Cuts(ctx, name, slots, clients, sync_ms)
    try:
        return run.loop(cuts, looks)
    finally:
        run.close()


@case("the power fails during pushes: acknowledged means synced")
def one(ctx):
    cut_loop(ctx, "cut one", 1, 40 if ctx.full else 6, 4 if ctx.full else 2)


@case("the power fails while so many push that they share syncs, and records are owed to entries", quick=False)
def many(ctx):
    shared = cut_loop(ctx, "cut many", 1, 8, 2, clients=40, sync_ms=10)
    if shared == 0 and little_is_unwritten():
        raise Problem("no sync was shared")


@case("the power fails under two servers on one root", quick=False)
def two(ctx):
    cut_loop(ctx, "cut two", 2, 20, 4)
