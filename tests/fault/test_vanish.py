"""Clients that vanish at each step, by a reset or by closing: descriptors, threads, requests and
memory come back, sessions go on where they were, nothing acknowledged is lost."""

import os
import pathlib
import re
import time

import http1
import oci
from faults import Place, Problem
from ledger import Caller, Ledger, Lost, verify
from run import case
from script import bytes_of

BODY = 200_000
BIG = 8 << 20  # more than sockets hold: the server is in the middle of it when the reader goes
BACK_S = 15  # until everything is back
TAKE_UP_S = 15  # until an interrupted upload can go on
GROWTH_KB = 12 << 10  # memory may grow by so much; pools keep what they once had
HOWS = ("reset", "close")


class Scene:
    def __init__(self, ctx, place):
        self.ctx = ctx
        self.place = place
        self.server = place.start(faulty=False)
        self.addr = self.server.addr
        self.ledger = Ledger()
        self.caller = Caller()
        self.big = self.put_blob("big", bytes_of("big", BIG))

    def call(self, method, target, headers=(), body=None, wanted=(200, 201, 202, 204)):
        resp = self.caller.call(self.addr, method, target, headers, body)
        if resp.status not in wanted:
            raise Problem(f"{resp.sent}: {resp.show()}")
        return resp

    def put_blob(self, repo, data):
        digest = oci.digest(data)
        self.call("POST", f"/v2/{repo}/blobs/uploads/?digest={digest}", {}, data)
        self.ledger.change({(repo, "b", digest): digest}, True)
        return digest

    def manifest(self, repo, seed):
        digest = self.put_blob(repo, seed.encode())
        config = {"mediaType": oci.CONFIG, "digest": digest, "size": len(seed)}
        return oci.dump(oci.image_doc(config, [], seed=seed))

    def put_manifest(self, repo, tag, body):
        self.call("PUT", f"/v2/{repo}/manifests/{tag}", {"Content-Type": oci.IMAGE}, body)
        digest = oci.digest(body)
        self.ledger.change({(repo, "m", digest): digest, (repo, "t", tag): digest}, True)
        return digest

    # ---- the requests: each returns (method, target, headers, body, chunked, after)

    def start(self, repo):
        return "POST", f"/v2/{repo}/blobs/uploads/", {}, b"", None, None

    def session(self, repo, have):
        """An upload with some bytes, and what is still missing."""
        data = bytes_of(repo, have + BODY)
        where = self.call("POST", f"/v2/{repo}/blobs/uploads/").h("Location")
        if have:
            self.call("PATCH", where, {}, data[:have])
        return where, data

    def patch(self, repo, chunked=None, have=0):
        where, data = self.session(repo, have)
        return "PATCH", where, {}, data[have:], chunked, lambda sent: self.take_up(repo, where, data, have)

    def patch_chunked(self, repo):
        return self.patch(repo, True)

    def patch_later(self, repo):
        return self.patch(repo, None, 100_000)

    def put(self, repo):
        where, data = self.session(repo, 80_000)
        target = f"{where}?digest={oci.digest(data)}"
        return "PUT", target, {}, data[80_000:], None, lambda sent: self.take_up(repo, where, data, 80_000, sent)

    def put_empty(self, repo):
        where, data = self.session(repo, 80_000)
        self.call("PATCH", where, {}, data[80_000:])
        target = f"{where}?digest={oci.digest(data)}"
        return "PUT", target, {}, b"", None, lambda sent: self.take_up(repo, where, data, len(data), sent)

    def whole(self, repo):
        data = bytes_of(repo, BODY)
        digest = oci.digest(data)
        changes = {(repo, "b", digest): digest}
        target = f"/v2/{repo}/blobs/uploads/?digest={digest}"
        return "POST", target, {}, data, None, lambda sent: self.unknown(changes, sent)

    def tag(self, repo):
        body = self.manifest(repo, repo)
        digest = oci.digest(body)
        changes = {(repo, "m", digest): digest, (repo, "t", "v"): digest}
        target, headers = f"/v2/{repo}/manifests/v", {"Content-Type": oci.IMAGE}
        return "PUT", target, headers, body, None, lambda sent: self.unknown(changes, sent)

    def untag(self, repo):
        self.put_manifest(repo, "v", self.manifest(repo, repo))
        changes = {(repo, "t", "v"): None}
        return "DELETE", f"/v2/{repo}/manifests/v", {}, None, None, lambda sent: self.unknown(changes, sent)

    def unlink(self, repo):
        digest = self.put_blob(repo, repo.encode())
        changes = {(repo, "b", digest): None}
        return "DELETE", f"/v2/{repo}/blobs/{digest}", {}, None, None, lambda sent: self.unknown(changes, sent)

    def get(self, _repo):
        return "GET", f"/v2/big/blobs/{self.big}", {}, None, None, None

    def get_small(self, repo):
        body = self.manifest(repo, repo)
        self.put_manifest(repo, "v", body)
        return "GET", f"/v2/{repo}/manifests/v", {}, None, None, None

    def ask(self, repo):
        where, _ = self.session(repo, 1000)
        return "GET", where, {}, None, None, lambda sent: self.call("DELETE", where, wanted=(204,))

    # ---- what has to hold afterwards

    def unknown(self, changes, sent):
        """Half a request changes nothing; a whole one may have."""
        if sent:
            self.ledger.change(changes, False)

    def take_up(self, repo, where, data, acked, sent=False):
        digest = oci.digest(data)
        key = (repo, "b", digest)
        until = time.monotonic() + TAKE_UP_S
        turn = 0
        while time.monotonic() < until:
            resp = self.call("GET", where, wanted=(204, 404, 416))
            if resp.status == 404 and sent:
                self.ledger.change({key: digest}, True)  # spent: by the request of the vanished one
                return
            if resp.status == 404:
                raise Problem(f"{where}: the upload is unknown")
            if resp.status == 416:
                continue
            last = int(resp.h("Range").split("-")[1])
            turn += 1
            have = last + 1 if last else turn % 2  # R58: "0-0" is told of no byte and of one
            if not acked <= have <= len(data):
                raise Problem(f"{where}: has {have} bytes, acknowledged {acked}, sent {len(data)}")
            span = {"Content-Range": f"{have}-{len(data) - 1}"} if have < len(data) else {}
            wanted = (201, 416, 404) if sent else (201, 416)
            resp = self.call("PUT", f"{where}?digest={digest}", span, data[have:], wanted=wanted)
            if resp.status == 201:
                self.ledger.change({key: digest}, True)
                return
        raise Problem(f"{where}: could not be taken up within {TAKE_UP_S} s")

    # ---- vanishing

    def vanish(self, request, cut, how, read=None):
        """Sends a part and goes; after `read` bytes of the answer when that is given."""
        method, target, headers, body, chunked, _ = request
        head, payload, _ = http1.build(method, target, headers, body, chunked)
        conn = http1.Conn(self.addr)
        conn.send((head + payload)[:cut])
        if read is not None:
            while len(conn.buf) < read:
                conn._more()
        if how == "reset":
            conn.reset()
        else:
            conn.close()
        return cut >= len(head + payload)


def places(request, full):
    """Where a request is cut: in its line, its header, its body, at its end."""
    method, target, headers, body, chunked, _ = request
    head, payload, _ = http1.build(method, target, headers, body, chunked)
    h, n = len(head), len(payload)
    wanted = [0, 3, 20, h // 2, h - 2, h - 1, h, h + 1, h + n // 3, h + n // 2, h + n - 1, h + n]
    if not full:
        wanted = [0, h // 2, h, h + n // 2, max(h, h + n - 1), h + n]
    return sorted({w for w in wanted if 0 <= w <= h + n})


WORKERS, WORKERS_FIRST = 4, 2  # at most; with the server


class State:
    """What must come back."""

    def __init__(self, scene):
        pid = scene.server.pid
        self.fds = len(os.listdir(f"/proc/{pid}/fd"))
        self.tasks = len(os.listdir(f"/proc/{pid}/task"))
        status = pathlib.Path(f"/proc/{pid}/status").read_text()
        self.memory = int(re.search(r"VmRSS:\s+(\d+)", status).group(1))
        text = Caller().call(scene.addr, "GET", "/metrics").body.decode()
        self.active = int(float(re.search(r"^\S*requests_active\S* (\S+)$", text, re.M).group(1)))

    def back(self, before, memory):
        small = self.memory <= before.memory + GROWTH_KB or not memory
        few = self.tasks <= before.tasks + WORKERS - WORKERS_FIRST  # those started since stay
        return self.fds <= before.fds and few and self.active <= before.active and small

    def __str__(self):
        return f"{self.fds} descriptors, {self.tasks} threads, {self.active} requests, {self.memory} kB"


REQUESTS = [
    Scene.start, Scene.patch, Scene.patch_chunked, Scene.patch_later, Scene.put, Scene.put_empty, Scene.whole,
    Scene.tag, Scene.untag, Scene.unlink, Scene.get, Scene.get_small, Scene.ask,
]  # fmt: skip


def round_of(scene, name, full):
    """All requests, all places, both ways; then what was left is taken up."""
    left = []
    for kind in REQUESTS:
        where = f"{name}/{kind.__name__.replace('_', '-')}"
        first = kind(scene, f"{where}/00-first")  # all names of a kind are of one length
        if first[5] is not None and kind in (Scene.put, Scene.put_empty, Scene.patch, Scene.patch_chunked,
                                             Scene.patch_later, Scene.ask):  # fmt: skip
            first[5](False)
        for n, cut in enumerate(places(first, full)):
            for how in HOWS:
                request = kind(scene, f"{where}/{n:02}-{how}")
                if length(request) != length(first):
                    raise Problem(f"{where}: requests of different lengths")
                sent = scene.vanish(request, cut, how)
                left.append((request[5], sent))
    for how in HOWS:
        for read in (1, 300, 100_000):
            request = scene.get("big")
            scene.vanish(request, length(request), how, read)
    for after, sent in left:
        if after is not None:
            after(sent)
    return len(left)


def length(request):
    head, payload, _ = http1.build(*request[:5])
    return len(head) + len(payload)


def open_files(scene):
    folder = pathlib.Path(f"/proc/{scene.server.pid}/fd")
    return sorted(os.readlink(f).replace(scene.place.root, "") for f in folder.iterdir())


def settle(scene, before, memory):
    until = time.monotonic() + BACK_S
    while True:
        now = State(scene)
        if now.back(before, memory):
            return now
        if time.monotonic() > until:
            raise Problem(f"after {BACK_S} s: {now}; before: {before}; open: {open_files(scene)}")
        time.sleep(0.1)


@case("clients vanish at each step")
def steps(ctx):
    memory = not ctx.preload.asan and not ctx.preload.static_sanitizer
    with Place(ctx.binary, args=["--workers", str(WORKERS)]) as place:
        scene = Scene(ctx, place)
        start = State(scene)
        round_of(scene, "warm", False)
        warm = settle(scene, start, False)
        count = round_of(scene, "one", ctx.full)
        try:
            begin = time.monotonic()
            after = settle(scene, warm, memory)
            took = time.monotonic() - begin
        except Lost as e:
            raise Problem(f"the server is gone: {e}") from e
        # Half requests changed nothing, and whole ones all or nothing: nothing is on its way now.
        keys = verify(scene.ledger, [scene.addr])
        ctx.note(f"{count} vanished; back within {took:.1f} s; start: {start}; warm: {warm}; after: {after}; {keys} keys")
        scene.caller.close()
        place.kill_all()
        one = place.start(faulty=False)
        verify(scene.ledger, [one.addr])
