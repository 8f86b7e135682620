"""Processes on one root that die, sleep and come back."""

import os
import random
import signal
import threading
import time

import server as server_mod
from run import Problem

LIFE_S = (0.5, 2.5)  # between two faults
SLEEP_S = (5, 40)
KILLS = 0.6  # this part of the faults is kill -9, the others SIGSTOP


class Node:
    """One process; addr is None while none listens. Signals go to what this object started."""

    def __init__(self, binary, root, env=None):
        self.server = server_mod.Server(binary, ["--workers", "16"], root=str(root))
        if env:
            self.server.wrap = ["/usr/bin/env"] + [f"{k}={v}" for k, v in env.items()]
        self.addr = None
        self.asleep_until = None

    def start(self):
        self.server.start()
        self.addr = self.server.addr

    def kill(self):
        if self.server.proc.poll() is not None:
            raise Problem(f"a process ended by itself with {self.server.proc.returncode}: {self.server.log()[-2000:]}")
        self.addr = None
        self.server.stop(signal.SIGKILL)

    def sleep(self, seconds):
        os.kill(self.server.pid, signal.SIGSTOP)
        self.asleep_until = time.monotonic() + seconds

    def wake(self):
        os.kill(self.server.pid, signal.SIGCONT)
        self.asleep_until = None

    def stop(self):
        """In good order; the log of its life."""
        if self.asleep_until:
            self.wake()
        if self.server.proc and self.server.proc.poll() is None:
            status = self.server.stop()
            if status != 0:
                raise Problem(f"a process ended with {status}: {self.server.log()[-2000:]}")


class Trouble:
    """Kills, puts to sleep and wakes nodes until told to end; at least one is always awake."""

    def __init__(self, nodes, rng: random.Random, until):
        self.nodes = nodes
        self.rng = rng
        self.until = until
        self.kills = self.sleeps = 0
        self.problem = None
        self.thread = threading.Thread(target=self.run)

    def run(self):
        try:
            while time.monotonic() < self.until:
                self.once()
                time.sleep(self.rng.uniform(*LIFE_S))
            for node in self.nodes:
                if node.asleep_until:
                    node.wake()
        except Exception as e:  # told by the case's own thread
            self.problem = e

    def once(self):
        now = time.monotonic()
        for node in self.nodes:
            if node.asleep_until and now >= node.asleep_until:
                node.wake()
        awake = [n for n in self.nodes if not n.asleep_until]
        if len(awake) < 2:
            return
        node = self.rng.choice(awake)
        if self.rng.random() < KILLS:
            node.kill()
            self.kills += 1
            time.sleep(self.rng.uniform(0, 0.5))
            node.start()
        else:
            node.sleep(min(self.rng.uniform(*SLEEP_S), max(1.0, self.until - now)))
            self.sleeps += 1
