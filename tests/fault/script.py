"""A standard push: every kind of request once, each step noted in the ledger.

The steps go on after a failure as far as they can, because a fault strikes one call only. `cuts`
adds a client that vanishes in the middle of a chunk.
"""

import json
import random

import http1
import oci
from faults import Problem
from ledger import Caller, Lost, verify

LARGE = 150_000
SMALL = 900
UNKNOWN = (500, 503, 507)  # an error; the ledger takes the outcome as not known


def bytes_of(seed, size):
    return random.Random(seed).randbytes(size)


class Script:
    """One run in repositories of its own. `failed` counts the calls without success."""

    def __init__(self, ledger, addrs, name, caller=None, unknown=UNKNOWN):
        self.unknown = unknown
        self.ledger = ledger
        self.addrs = addrs
        self.name = name
        self.caller = caller or Caller()
        self.failed = []
        self.one = self.two = None
        self.names()

    def call(self, method, target, headers=(), body=None, chunks=None, at=0, wanted=(200, 201, 202, 204)):
        """The answer, or None when the call failed in a way that a fault allows."""
        try:
            resp = self.caller.call(self.addrs[at % len(self.addrs)], method, target, headers, body, chunks)
        except Lost as e:
            self.failed.append(str(e))
            return None
        if resp.status in wanted:
            return resp
        self.failed.append(f"{resp.sent}: {resp.show()}")
        if resp.status in self.unknown or (resp.status < 500 and self.failed[:-1]):
            return None  # what follows a failed step may be refused for good reasons
        raise Problem(f"{resp.sent}: {resp.show()}")

    def note(self, changes, resp):
        self.ledger.change(changes, resp is not None)
        return resp is not None

    # ---- steps

    def blob(self, repo, data, how):
        """how: post, put, patch, chunks, moved (each chunk to another server)."""
        digest = oci.digest(data)
        key = (repo, "b", digest)
        if how == "post":
            return self.note({key: digest}, self.call("POST", f"/v2/{repo}/blobs/uploads/?digest={digest}", body=data))
        resp = self.call("POST", f"/v2/{repo}/blobs/uploads/")
        if resp is None:
            return self.note({key: digest}, None)
        where, sent = resp.h("Location"), 0
        cuts = {"put": [], "patch": [len(data)], "chunks": [0.4, 0.8], "moved": [0.5, 0.9]}[how]
        for n, cut in enumerate(cuts):
            end = int(len(data) * cut) if isinstance(cut, float) else cut
            headers = {"Content-Range": f"{sent}-{end - 1}"}
            resp = self.call("PATCH", where, headers, data[sent:end], n == 1, at=n if how == "moved" else 0)
            if resp is None:
                end = self.offset(where, sent, end)
                if end is None:
                    return self.note({key: digest}, None)
            sent = end
        resp = self.call("PUT", f"{where}?digest={digest}", body=data[sent:])
        return self.note({key: digest}, resp)

    def offset(self, where, low, high):
        """How much of an upload is there; at least what was acknowledged."""
        resp = self.call("GET", where, wanted=(204, 404))
        if resp is None:
            return None
        if resp.status == 404:
            raise Problem(f"{where}: the upload is unknown after {low} acknowledged bytes")
        last = int(resp.h("Range").split("-")[1])
        have = last + 1 if last else 0
        if not low <= have <= high:
            raise Problem(f"{where}: has {have} bytes, acknowledged {low}, sent {high}")
        return have

    def cut(self, repo, data):
        """A client vanishes in the middle of a chunk; the upload goes on where it is."""
        resp = self.call("POST", f"/v2/{repo}/blobs/uploads/")
        if resp is None:
            return
        where = resp.h("Location")
        head, payload, _ = http1.build("PATCH", where, {}, data)
        try:
            conn = http1.Conn(self.addrs[0])
            conn.send(head + payload[: len(payload) // 2])
            conn.reset()
        except OSError:
            return
        # The half chunk may be taken up later than the questions that follow it.
        for _ in range(20):
            have = self.offset(where, 0, len(data))
            if have is None:
                return
            digest = oci.digest(data)
            span = {"Content-Range": f"{have}-{len(data) - 1}"} if have < len(data) else {}
            put = f"{where}?digest={digest}"
            resp = self.call("PUT", put, span, data[have:], wanted=(201, 416))
            if resp is None or resp.status == 201:
                self.note({(repo, "b", digest): digest}, resp)
                return
        raise Problem(f"{where}: 416 again and again")

    def rolled_back(self, repo, data):
        """A chunk that does not fit its range is refused and leaves nothing."""
        resp = self.call("POST", f"/v2/{repo}/blobs/uploads/")
        if resp is None:
            return
        where, half = resp.h("Location"), len(data) // 2
        resp = self.call("PATCH", where, {}, data[:half])
        if resp is None:
            return
        bad = {"Content-Range": f"{half}-{len(data) + 9}"}
        if self.call("PATCH", where, bad, data[half:], True, wanted=(400,)) is None:
            return
        have = self.offset(where, half, half)
        if have is not None:
            digest = oci.digest(data)
            resp = self.call("PUT", f"{where}?digest={digest}", body=data[have:])
            self.note({(repo, "b", digest): digest}, resp)

    def cancelled(self, repo, data):
        resp = self.call("POST", f"/v2/{repo}/blobs/uploads/")
        if resp is None or self.call("PATCH", resp.h("Location"), {}, data) is None:
            return
        where = resp.h("Location")
        if self.call("DELETE", where) is not None:
            self.call("GET", where, wanted=(404,))

    def image(self, repo, seed, tags, blobs, **fields):
        config, layers = blobs[0], blobs[1:]
        doc = oci.image_doc(
            oci.descriptor(config, oci.CONFIG), [oci.descriptor(b, oci.LAYER) for b in layers], seed=seed, **fields
        )
        body = oci.dump(doc)
        return self.manifest(repo, body, tags)

    def manifest(self, repo, body, tags):
        """Puts under one tag by path, under several by query, under none by digest."""
        digest = oci.digest(body)
        ref = tags[0] if len(tags) == 1 else digest
        query = "?" + "&".join(f"tag={t}" for t in tags) if len(tags) > 1 else ""
        headers = {"Content-Type": json.loads(body)["mediaType"]}
        resp = self.call("PUT", f"/v2/{repo}/manifests/{ref}{query}", headers, body)
        changes = {(repo, "t", t): digest for t in tags}
        changes[(repo, "m", digest)] = digest
        return digest if self.note(changes, resp) else None

    def delete(self, key):
        repo, kind, ref = key
        target = f"/v2/{repo}/{'blobs' if kind == 'b' else 'manifests'}/{ref}"
        resp = self.call("DELETE", target)
        if kind == "m":
            self.ledger.drop_manifest(repo, ref, resp is not None)
        else:
            self.note({key: None}, resp)

    def read(self, key):
        """A read may fail, but never lie."""
        repo, kind, ref = key
        target = f"/v2/{repo}/{'blobs' if kind == 'b' else 'manifests'}/{ref}"
        resp = self.call("GET", target, wanted=(200, 404))
        if resp is not None:
            self.ledger.judge(key, resp.h("Docker-Content-Digest") if resp.status == 200 else None, False)

    def mount(self, a, b, digest):
        """What cannot be mounted is a session (202), also when the reason is a fault."""
        resp = self.call("POST", f"/v2/{b}/blobs/uploads/?mount={digest}&from={a}", wanted=(201, 202))
        if resp is not None and resp.status == 202:
            self.failed.append(f"{resp.sent}: not mounted")
            resp = None
        self.note({(b, "b", digest): digest}, resp)

    # ---- the whole, in parts that can be run alone

    def names(self):
        self.a, self.b = f"{self.name}/a", f"{self.name}/b"
        self.config, self.small, self.other = (bytes_of(f"{self.name} {n}", SMALL) for n in range(3))
        sizes = [LARGE] * 4
        self.large, self.moved, self.cut_off, self.back = (
            bytes_of(f"{self.name} {n}", size) for n, size in enumerate(sizes, 4)
        )

    def small_blobs(self):
        self.blob(self.a, self.config, "post")
        self.blob(self.a, self.small, "patch")
        self.blob(self.a, self.other, "put")

    def large_blobs(self):
        self.blob(self.a, self.large, "chunks")
        self.blob(self.a, self.moved, "moved")

    def broken_uploads(self):
        self.cut(self.a, self.cut_off)
        self.rolled_back(self.a, self.back)
        self.cancelled(self.a, self.cut_off)

    def images(self):
        self.one = self.image(self.a, "one", ["v1"], [self.config, self.small, self.large])
        self.two = self.image(self.a, "two", ["v2", "v3"], [self.config, self.moved])
        self.image(self.a, "three", ["v1"], [self.config, self.small])
        self.index(self.a, "four", [d for d in (self.one, self.two) if d])
        self.mount(self.a, self.b, oci.digest(self.large))

    def long_entries(self):
        """Entries that make a checkpoint due."""
        for n in range(2):
            notes = {"note": "x" * 50_000, "n": str(n)}
            subject = {"mediaType": oci.IMAGE, "digest": self.one or oci.ZERO, "size": 1}
            self.image(self.a, f"big{n}", [], [self.config], annotations=notes, subject=subject)

    def reading(self):
        self.reads(self.a, self.one, oci.digest(self.large))

    def removals(self):
        self.delete((self.a, "b", oci.digest(self.other)))
        if self.two:
            self.delete((self.a, "t", "v3"))
            self.delete((self.a, "m", self.two))
        self.blob(self.a, self.other, "put")

    def prepare(self):
        """What the parts behind the uploads rest on, with as few calls as can be."""
        self.large, self.moved = (bytes_of(f"{self.name} {n}", SMALL) for n in (4, 5))
        for data in (self.config, self.small, self.other, self.large, self.moved):
            self.blob(self.a, data, "post")

    def run(self, cuts=True, big=False):
        """Returns whether every call had success."""
        self.small_blobs()
        self.large_blobs()
        if cuts:
            self.broken_uploads()
        self.images()
        if self.one and big:
            self.long_entries()
        self.reading()
        self.removals()
        return not self.failed

    def index(self, repo, seed, digests):
        doc = oci.index_doc([{"mediaType": oci.IMAGE, "digest": d, "size": 1} for d in digests], seed=seed)
        self.manifest(repo, oci.dump(doc), [])

    def reads(self, repo, one, large):
        self.read((repo, "t", "v1"))
        if one:
            self.read((repo, "m", one))
        self.read((repo, "b", large))
        self.read((repo, "b", oci.ZERO))
        self.call("GET", f"/v2/{repo}/referrers/{large}", wanted=(200, 404))
        resp = self.call("GET", f"/v2/{repo}/tags/list", wanted=(200, 404))
        resp = resp and self.call("GET", f"/v2/{repo}/tags/list?n=1", wanted=(200, 404))
        more = len(self.ledger.sure(repo, "t")) > 1
        if resp and resp.status == 200 and more and not resp.h("Link"):
            raise Problem(f"{resp.sent}: no link to the next page")

    def check(self, settle=False):
        """All that this run was told holds."""
        keys = [k for k in self.ledger.keys if k[0].startswith(self.name + "/")]
        return verify(self.ledger, self.addrs, settle, keys, threads=1)
