"""Log-ins of real clients: two registries with users, one that asks for passwords (Basic), one that
sends clients to its token endpoint (Bearer), and one flow that every client goes through in both.

A client's module takes part by a class Caller, derived from the one in harness.py.
"""

import contextlib
import os
import re
import sys

sys.path.append(os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "api"))
import people  # noqa: E402
from harness import Failed, Registry, Skipped, check, check_equal  # noqa: E402
from node import Node  # noqa: E402

MODES = (("basic", "log in by password"), ("bearer", "log in by token"))
# alice and carol are tenants, bob reads what is alice's.
POLICY = """
allow user:alice a/**,public/** *
allow user:bob   a/**           pull
allow user:carol c/**           *
allow anonymous  public/**      pull
"""
REFUSED = re.compile(r"40[13]|unauthori[sz]ed|denied|forbidden|authenticat|credential|not.authorized"
                     r"|invalid username", re.IGNORECASE)  # fmt: skip
RECEIVED = re.compile(r"^stowage_http_received_bytes_total (\d+)$", re.MULTILINE)
MOUNT_BYTES_MAX = 20_000  # manifests and configs; every layer that is pushed is larger


class Doors:
    """The two registries; each starts when it is first asked for."""

    def __init__(self, folder):
        self.folder = folder
        self.nodes = {}

    def write(self, name, text):
        path = os.path.join(self.folder, name)
        with open(path, "w", encoding="utf-8") as sink:
            sink.write(text)
        return path

    def registry(self, mode):
        """The registry in this mode, as alice sees it."""
        if mode not in self.nodes:
            users = self.write("users", people.htpasswd("alice", "bob", "carol"))
            policy = self.write("policy", POLICY)
            options = ("--auth-mode", mode, "--htpasswd", users, "--policy", policy)
            self.nodes[mode] = Node(self.folder, mode, options)
        return Registry(self.nodes[mode].address, always=dict([people.basic("alice")]))

    def stop(self):
        """What was wrong with their ends."""
        found = [(mode, node.stop()) for mode, node in self.nodes.items()]
        return [f"{mode}: {trouble}" for mode, trouble in found if trouble]


@contextlib.contextmanager
def refused(what):
    """The client fails, and tells its user why."""
    try:
        yield
    except Failed as failure:
        check(REFUSED.search(str(failure)), f"{what} failed for another reason: {failure}")
        return
    raise Failed(f"was not refused: {what}")


def received(registry):
    """Bytes of bodies the registry has got so far."""
    text = registry.expect(200, "GET", "/metrics")[1].decode()
    return int(RECEIVED.search(text).group(1))


class Flow:
    """What one client goes through at one registry."""

    def __init__(self, ctx, mode, make):
        self.mode = mode
        self.registry = ctx.doors.registry(mode)
        self.caller = make(ctx, self.registry.address)
        self.mine = f"a/{ctx.name}/x"  # a helm chart has the name of its repository's last part
        self.others = f"c/{ctx.name}/x"
        self.public = f"public/{ctx.name}/x"

    def status(self, repo):
        return self.registry.status(repo, "manifests", self.caller.tag)

    def run(self):
        with refused("a push before a log-in"):
            self.caller.push(self.mine)
        self.fails_to_log_in()
        check_equal(self.status(self.mine), 404, "what was refused")
        for user, deeds in (
            ("alice", self.writes_and_mounts),
            ("bob", self.reads_only),
            ("carol", self.sees_no_other_tenant),
        ):
            self.caller.login(user, people.PASSWORD)
            deeds()
            self.caller.logout()
        self.is_nobody()

    def fails_to_log_in(self):
        if self.caller.checks:
            with refused("a log-in with a wrong password"):
                self.caller.login("alice", "wrong")
            return
        self.caller.login("alice", "wrong")
        with refused("a push with a wrong password"):
            self.caller.push(self.mine)
        self.caller.logout()

    def writes_and_mounts(self):
        self.caller.push(self.mine)
        found = self.registry.tree(self.mine, self.caller.tag)
        self.caller.pull(self.mine)
        self.caller.push(self.public)
        if self.caller.mount:
            target, before = self.mine.replace("/x", "/y"), received(self.registry)
            self.caller.mount(self.mine, target)
            took = received(self.registry) - before
            check_equal(self.registry.tree(target, self.caller.tag), found, "what was mounted")
            check(took < MOUNT_BYTES_MAX, f"not mounted: {took} bytes went over the wire")
        with refused("a push to another tenant's repository"):
            self.caller.push(self.others)

    def reads_only(self):
        target = self.mine.replace("/x", "/read/x")
        self.caller.pull(self.mine)
        with refused("a push by a reader"):
            self.caller.push(target)
        check_equal(self.status(target), 404, "what a reader pushed")

    def sees_no_other_tenant(self):
        with refused("a pull from another tenant"):
            self.caller.pull(self.mine)
        self.caller.push(self.others)
        self.caller.pull(self.others)
        if self.caller.copies:
            with refused("a mount out of another tenant's repository"):
                self.caller.mount(self.mine, self.others.replace("/x", "/y"))

    def is_nobody(self):
        with refused("a pull without a log-in"):
            self.caller.pull(self.mine)
        with refused("a push without a log-in"):
            self.caller.push(self.public.replace("/x", "/nobody/x"))
        if self.mode == "bearer":  # R112; in Basic mode clients ask for a password before anything
            self.caller.pull(self.public)


def flow(mode, make):
    def run(ctx):
        if not ctx.doors:
            raise Skipped("needs a registry of the run")
        Flow(ctx, mode, make).run()

    return run


def cases(module):
    """The cases of a client's module that takes part."""
    make = getattr(module, "Caller", None)
    return tuple((title, flow(mode, make)) for mode, title in MODES) if make else ()
