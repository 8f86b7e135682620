"""kill -9 in a loop while clients push: what was acknowledged is there, what was deleted is gone,
nothing half is ever served, what was not answered is whole or absent, the logs are in order."""

import signal
import subprocess
import time

import test_bucket
from faults import Place, Problem
from harness import Checks
from ledger import Ledger, verify, verify_lists
from load import Client, World
from run import case

LIVES_MS = (5, 250)  # how long a server lives, from its first word on
STILLBORN = 0.1  # this part of the starts is killed before it listens, too


class Run:
    """Servers on one root that die, and the clients of them."""

    def __init__(self, ctx, name, slots, clients, args=(), offsets_hold=True, root=None):
        self.ctx = ctx
        self.rng = ctx.random(name)
        self.place = Place(ctx.binary, args=["--workers", "4", *args], fast=slots > 1 or not ctx.full, root=root)
        self.ledger = Ledger()
        self.world = World(slots)
        self.servers = [self.place.make(faulty=False) for _ in range(slots)]
        self.place.servers = list(self.servers)
        pool = [self.rng.random() for _ in range(12)]
        self.clients = [
            Client(self.world, self.ledger, ctx.random(f"{name} {n}"), f"c{n}", pool=pool) for n in range(clients)
        ]
        for slot in range(slots):
            self.start(slot)
        for c in self.clients:
            c.offsets_hold = offsets_hold
            c.start()

    def start(self, slot):
        one = self.servers[slot]
        while self.rng.random() < STILLBORN:
            self.stillborn(one)
        one.start()
        self.world.set(slot, one.addr)

    def stillborn(self, one):
        proc = subprocess.Popen(one.command(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(self.rng.uniform(0, 0.02))
        proc.kill()
        proc.wait()

    def kill(self, slot):
        one = self.servers[slot]
        self.world.set(slot, None)
        if one.proc.poll() is not None:
            raise Problem(f"a server ended by itself with {one.proc.returncode}: {one.log()[-2000:]}")
        one.stop(signal.SIGKILL)

    def trouble(self):
        for c in self.clients:
            if c.problem:
                raise Problem(f"{c.name}: {type(c.problem).__name__}: {c.problem}") from c.problem

    def look(self):
        """Everything that was said so far, while nobody writes."""
        self.world.pause(len(self.clients))
        self.trouble()
        addrs = [s.addr for s in self.servers]
        count = verify(self.ledger, addrs)
        verify_lists(self.ledger, addrs[-1])
        test_bucket.check_root(Checks(), self.place.root)
        self.world.go_on()
        return count

    def loop(self, kills, looks):
        for n in range(1, kills + 1):
            time.sleep(self.rng.uniform(*LIVES_MS) / 1000)
            self.trouble()
            slot = self.rng.randrange(len(self.servers))
            at_once = range(len(self.servers)) if self.rng.random() < 0.1 else [slot]
            for i in at_once:
                self.kill(i)
            for i in at_once:
                self.start(i)
            if n % max(1, kills // looks) == 0:
                keys = self.look()
        for c in self.clients:
            c.world.stop = True
        self.world.go_on()
        for c in self.clients:
            c.join(60)
        self.trouble()
        for i in range(len(self.servers)):
            self.kill(i)
            self.start(i)
        keys = self.end()
        acked, lost = (sum(getattr(c, w) for c in self.clients) for w in ("acked", "lost"))
        resumed = sum(c.resumed for c in self.clients)
        text = f"{kills} kills, {acked} calls acknowledged, {lost} without answer, {resumed} uploads taken up"
        self.ctx.note(f"{text}, {keys} keys read back")
        if acked < 5 * kills or lost < kills // 20:
            raise Problem(f"too little was going on: {text}")

    def end(self):
        addrs = [s.addr for s in self.servers]
        keys = verify(self.ledger, addrs)
        verify_lists(self.ledger, addrs[0])
        test_bucket.check_root(Checks(), self.place.root)
        for one in self.servers:
            status = one.stop()
            if status != 0:
                raise Problem(f"a server ended with {status}: {one.log()[-2000:]}")
        return keys

    def close(self):
        self.world.stop = True
        self.world.go_on()
        for c in self.clients:
            c.join(60)
        self.place.close()


def kill_loop(ctx, name, slots, clients, kills, looks):
    run = Run(ctx, name, slots, clients)
    try:
        run.loop(kills, looks)
    finally:
        run.close()


@case("one server killed again and again during pushes")
def one(ctx):
    kill_loop(ctx, "one", 1, 4, 100 if ctx.full else 10, 4 if ctx.full else 1)


@case("two servers on one root, killed at random")
def two(ctx):
    kill_loop(ctx, "two", 2, 4, 60 if ctx.full else 8, 3 if ctx.full else 1)


@case("four servers on one root, killed at random", quick=False)
def four(ctx):
    kill_loop(ctx, "four", 4, 6, 60, 3)
