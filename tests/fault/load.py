"""Random clients: they push images of small and large blobs in every way there is, move tags, delete,
take up interrupted uploads, and note in the ledger what they were told. Each has repositories of its
own, and tags of its own in one that all share."""

import json
import threading
import time

import oci
from faults import Problem
from ledger import Caller, Lost, read, target_of

WAIT_UP_S = 30
RETRY = (500, 503, 507)


class World:
    """Where servers can be reached just now."""

    def __init__(self, slots):
        self.addrs = [None] * slots
        self.changed = threading.Condition()
        self.paused = False
        self.resting = 0
        self.stop = False

    def set(self, slot, addr):
        with self.changed:
            self.addrs[slot] = addr
            self.changed.notify_all()

    def pick(self, rng):
        """An address of a server that is up, as far as is known."""
        until = time.monotonic() + WAIT_UP_S
        with self.changed:
            while not any(self.addrs):
                if not self.changed.wait(until - time.monotonic()):
                    raise Problem("no server came up")
            return rng.choice([a for a in self.addrs if a])

    def rest(self):
        """A client between two calls: waits while the world is looked at."""
        with self.changed:
            self.resting += 1
            self.changed.notify_all()
            while self.paused and not self.stop:
                self.changed.wait(1)
            self.resting -= 1

    def pause(self, clients):
        with self.changed:
            self.paused = True
            if not self.changed.wait_for(lambda: self.resting == clients, 120):
                raise Problem(f"only {self.resting} of {clients} clients came to rest")

    def go_on(self):
        with self.changed:
            self.paused = False
            self.changed.notify_all()


class Client(threading.Thread):
    def __init__(self, world, ledger, rng, name, large=600_000, pool=b""):
        super().__init__(daemon=True)
        self.world, self.ledger, self.rng, self.name = world, ledger, rng, name
        self.large = large
        self.pool = pool  # seeds of blobs that all clients push
        self.caller = Caller(timeout=30)
        self.tags = 0
        self.acked = self.lost = self.resumed = 0
        self.problem = None
        self.offsets_hold = True  # what a PATCH acknowledged survives
        self.repos = [f"{name}/a", f"{name}/b/c", "shared"]
        self.used = {r: set() for r in self.repos}  # blobs that manifests may refer to
        self.mine = {r: {} for r in self.repos}  # manifests: digest -> body
        self.whole = {}  # blobs: digest -> bytes

    def run(self):
        try:
            while not self.world.stop:
                self.world.rest()
                self.step()
        except Exception as e:  # the run fails with it
            self.problem = e
        finally:
            with self.world.changed:
                self.world.resting += 1 << 20 if self.problem else 0
                self.world.changed.notify_all()
            self.caller.close()

    # ---- calls

    def call(self, method, target, headers=(), body=None, chunks=None, wanted=(200, 201, 202, 204), others=()):
        """The answer, or None when the outcome is not known. Others than these are problems."""
        try:
            resp = self.caller.call(self.world.pick(self.rng), method, target, headers, body, chunks)
        except Lost:
            self.lost += 1
            return None
        if resp.status in wanted or resp.status in others:
            self.acked += resp.status in wanted
            return resp
        if resp.status in (503, 507) or (resp.status == 500 and 500 in others):
            self.lost += 1
            return None
        raise Problem(f"{resp.sent}: {resp.show()}")

    def note(self, changes, resp):
        self.ledger.change(changes, resp is not None)
        return resp is not None

    # ---- blobs

    def data(self):
        if self.pool and self.rng.random() < 0.3:
            import random

            rng = random.Random(self.rng.choice(self.pool))
        else:
            rng = self.rng
        kind = rng.random()
        size = rng.randrange(0, 3000) if kind < 0.5 else rng.randrange(60_000, 70_000)
        return rng.randbytes(size if kind < 0.65 else rng.randrange(70_000, self.large))

    def push_blob(self, repo):
        """True when it is certainly there."""
        data = self.data()
        digest = oci.digest(data)
        key = (repo, "b", digest)
        how = self.rng.choice(["post", "put", "patch", "chunks", "chunks"])
        if how == "post":
            te = self.rng.random() < 0.3
            resp = self.call("POST", f"/v2/{repo}/blobs/uploads/?digest={digest}", {}, data, te)
            ok = self.note({key: digest}, resp)
        else:
            ok = self.session(repo, key, data, how)
        if ok:
            self.whole[digest] = len(data)
        return digest if ok else None

    def session(self, repo, key, data, how):
        digest = key[2]
        resp = self.call("POST", f"/v2/{repo}/blobs/uploads/")
        if resp is None:
            return False
        where, have = resp.h("Location"), 0
        cuts = {"put": [], "patch": [len(data)], "chunks": sorted(self.rng.randrange(len(data) + 1) for _ in range(3))}
        for cut in cuts[how]:
            if cut <= have:
                continue
            span = {"Content-Range": f"{have}-{cut - 1}"} if self.rng.random() < 0.6 else {}
            # Without a range a chunk that is not the next one would be taken for it.
            resp = self.call("PATCH", where, span, data[have:cut], self.rng.random() < 0.3, others=(416,))
            if resp is None or resp.status == 416:
                have = self.take_up(where, have, cut)
                if have is None:
                    return False
            else:
                have = cut
        return self.finish(where, have, key, data)

    def take_up(self, where, acked, sent):
        """How far an interrupted upload came, by what the registry tells."""
        for _ in range(20):
            resp = self.call("GET", where, others=(404,))
            if resp is not None:
                break
        else:
            raise Problem(f"{where}: no answer in 20 tries")
        if resp.status == 404:
            raise Problem(f"{where}: the upload is unknown after {acked} acknowledged bytes")
        last = int(resp.h("Range").split("-")[1])
        have = last + 1 if last else 0
        if not self.offsets_hold:
            acked = 0  # entries of a session are not synced into their folder (design: section 4)
        if not acked <= have <= sent and (have, acked) != (0, 1):
            raise Problem(f"{where}: has {have} bytes; acknowledged {acked}, sent {sent}")
        self.resumed += 1
        return have

    def finish(self, where, have, key, data):
        """The closing PUT, repeated until its outcome is known; after the first try the session may be
        spent, and then the blob is there."""
        digest = key[2]
        for n in range(20):
            span = {"Content-Range": f"{have}-{len(data) - 1}"} if have < len(data) else {}
            others = (404, 416) if self.offsets_hold else (400, 404, 416)
            resp = self.call("PUT", f"{where}?digest={digest}", span, data[have:], others=others)
            if resp is not None and resp.status == 201:
                return self.note({key: digest}, resp)
            self.note({key: digest}, None)
            if resp is not None and resp.status == 400:
                return False  # begins anew: chunks that were acknowledged were lost
            if resp is not None and resp.status == 404 and n == 0:
                raise Problem(f"{where}: unknown at its first closing PUT")
            if self.rng.random() < 0.2:
                return False
            resp = self.call("GET", where, others=(404,))
            if resp is not None and resp.status == 404:
                return False  # spent or not: reading tells
            if resp is not None:
                last = int(resp.h("Range").split("-")[1])
                have = last + 1 if last else 0
        return False

    # ---- manifests and tags

    def push_image(self, repo):
        blobs = [d for d in (self.push_blob(repo) for _ in range(self.rng.randrange(1, 4))) if d]
        if not blobs:
            return
        sizes = {d: self.whole[d] for d in blobs}
        made = [{"mediaType": oci.LAYER, "digest": d, "size": sizes[d]} for d in blobs]
        doc = oci.image_doc({**made[0], "mediaType": oci.CONFIG}, made[1:], seed=self.rng.random())
        self.put(repo, oci.dump(doc))
        self.used[repo].update(blobs)

    def own_tag(self):
        return f"{self.name}-{self.rng.randrange(8)}"

    def put(self, repo, body):
        digest = oci.digest(body)
        tags = sorted({self.own_tag() for _ in range(self.rng.choice([0, 1, 1, 1, 2, 3]))})
        ref, query = digest, ""
        if len(tags) == 1:
            ref = tags[0]
        elif tags:
            query = "?" + "&".join("tag=" + t for t in tags)
        headers = {"Content-Type": json.loads(body)["mediaType"]}
        resp = self.call("PUT", f"/v2/{repo}/manifests/{ref}{query}", headers, body)
        changes = {(repo, "t", t): digest for t in tags}
        changes[(repo, "m", digest)] = digest
        self.mine[repo][digest] = body
        self.note(changes, resp)

    def again(self, repo):
        """A manifest that is there gets further tags."""
        sure = self.ledger.sure(repo, "m")
        found = [d for d in self.mine[repo] if d in sure]
        if found:
            self.put(repo, self.mine[repo][self.rng.choice(found)])

    def delete_tag(self, repo):
        key = (repo, "t", self.own_tag())
        there = self.ledger.possible(key)
        others = (404,) if None in there else ()
        resp = self.call("DELETE", target_of(key), others=others)
        self.note({key: None}, resp)

    def delete_manifest(self, repo):
        sure = self.ledger.sure(repo, "m")
        found = [d for d in self.mine[repo] if d in sure]
        if not found:
            return
        digest = self.rng.choice(found)
        resp = self.call("DELETE", f"/v2/{repo}/manifests/{digest}")
        self.ledger.drop_manifest(repo, digest, resp is not None)
        del self.mine[repo][digest]

    def delete_blob(self, repo):
        if repo == "shared":
            return  # others may refer to it
        sure = self.ledger.sure(repo, "b")
        free = [d for d in sorted(sure) if d not in self.used[repo]]
        if free:
            key = (repo, "b", self.rng.choice(free))
            self.note({key: None}, self.call("DELETE", target_of(key)))

    def look(self):
        """Reads something of its own: what it was told still holds."""
        own = [k for k in list(self.ledger.keys) if k[0] in self.repos[:2]]
        if not own:
            return
        key = self.rng.choice(own)
        try:
            got = read(self.caller, self.world.pick(self.rng), key)
        except Lost:
            self.lost += 1
            return
        self.ledger.judge(key, got, settle=False)

    def step(self):
        repo = self.rng.choice(self.repos)
        what = self.rng.random()
        if what < 0.45:
            self.push_image(repo)
        elif what < 0.55:
            self.push_blob(repo)
        elif what < 0.65:
            self.again(repo)
        elif what < 0.72:
            self.delete_tag(repo)
        elif what < 0.77:
            self.delete_manifest(repo)
        elif what < 0.82:
            self.delete_blob(repo)
        else:
            self.look()
