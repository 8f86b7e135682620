"""What clients were told, and whether the registry holds to it.

A key is (repository, kind, reference): kind "b" a blob, "m" a manifest, both by digest, "t" a tag.
Its value is a digest, or None when it is not there. The ledger keeps, for each key, the values
that are possible after everything said so far: one when the last call was answered, more when its
answer was lost or said that the outcome is unknown.
"""

import hashlib
import threading
import time

import http1
from faults import Problem

READ_CHUNK = 64


class Lost(Exception):
    """No answer: the call may have been carried out."""


class Caller:
    """One kept connection to one address at a time; used by one thread."""

    def __init__(self, timeout=25):
        self.timeout = timeout
        self.conn = None
        self.addr = None

    def close(self):
        if self.conn:
            self.conn.close()
        self.conn = None

    def call(self, addr, method, target, headers=(), body=None, chunks=None):
        head, payload, sent = http1.build(method, target, headers, body, chunks)
        try:
            if self.conn is None or self.addr != addr:
                self.close()
                self.conn, self.addr = http1.Conn(addr, self.timeout), addr
            self.conn.send(head + payload)
            resp = self.conn.response(method, target, sent)
        except (http1.Broken, OSError, ValueError) as e:
            self.close()
            raise Lost(f"{sent}: {e}") from e
        if "close" in (resp.h("Connection") or "").lower() or resp.framing == "close":
            self.close()
        honest(resp)
        return resp


def honest(resp):
    """A body that claims a digest has it (nothing half is ever served)."""
    claimed = resp.h("Docker-Content-Digest")
    if resp.method == "GET" and resp.status == 200 and claimed:
        alg, _, want = claimed.partition(":")
        if hashlib.new(alg, resp.body).hexdigest() != want:
            raise Problem(f"{resp.target}: {len(resp.body)} bytes are not those of {claimed}")
        asked = resp.target.rsplit("/", 1)[-1]
        if ":" in asked and asked != claimed:
            raise Problem(f"{resp.target}: answered with {claimed}")


class Ledger:
    def __init__(self):
        self.lock = threading.Lock()
        self.begin = time.monotonic()
        self.keys = {}
        self.said = {}  # what was noted about a key, for complaints

    def _note(self, key, text):
        self.said.setdefault(key, []).append(f"{time.monotonic() - self.begin:.3f} {text}")

    def possible(self, key):
        with self.lock:
            return self.keys.get(key, frozenset([None]))

    def sure(self, repo, kind):
        """References of this kind that are certainly there, with their value."""
        with self.lock:
            return {
                k[2]: next(iter(v))
                for k, v in self.keys.items()
                if k[0] == repo and k[1] == kind and len(v) == 1 and None not in v
            }

    def unsure(self, repos=None):
        with self.lock:
            return [k for k, v in self.keys.items() if len(v) > 1 and (not repos or k[0] in repos)]

    def set(self, key, values):
        with self.lock:
            self.keys[key] = frozenset(values)

    def change(self, changes, sure):
        """A call that sets keys ({key: value}) was answered with success, or its outcome is not
        known."""
        with self.lock:
            for key, value in changes.items():
                old = frozenset() if sure else self.keys.get(key, frozenset([None]))
                self.keys[key] = old | {value}
                self._note(key, f"{'is' if sure else 'may be'} {str(value)[:15]}")

    def drop_manifest(self, repo, digest, sure, owner=lambda tag: True):
        """The manifest and every tag on it go."""
        with self.lock:
            for key, old in list(self.keys.items()):
                if key[0] != repo or key[1] == "b":
                    continue
                if key[1] == "m" and key[2] != digest:
                    continue
                if key[1] == "t" and not owner(key[2]):
                    continue
                new = frozenset(None if v == digest else v for v in old)
                self.keys[key] = new if sure else old | new
                self._note(key, f"{'lost' if sure else 'may have lost'} {digest[:15]}")

    def judge(self, key, got, settle):
        """A read answered `got`. With settle nothing can be on its way any more, so it is the value
        from now on."""
        with self.lock:
            old = self.keys.get(key, frozenset([None]))
            if got not in old:
                self._note(key, f"read {str(got)[:15]}")
                said = "; ".join(self.said[key][-12:])
                raise Problem(f"{'/'.join(key)}: possible is {sorted(map(str, old))}, but got {got} ({said})")
            # A blob whose link was made and whose record was not appears here once another
            # repository brings the record: its push may still have success.
            if settle and not (key[1] == "b" and got is None):
                self.keys[key] = frozenset([got])


def target_of(key):
    repo, kind, ref = key
    return f"/v2/{repo}/{'blobs' if kind == 'b' else 'manifests'}/{ref}"


def read(caller, addr, key, method="GET"):
    """The value that the registry gives for a key."""
    resp = caller.call(addr, method, target_of(key))
    if resp.status == 404:
        return None
    if resp.status != 200:
        raise Problem(f"{method} {target_of(key)}: {resp.show()}")
    digest = resp.h("Docker-Content-Digest")
    if not digest:
        raise Problem(f"{method} {target_of(key)}: no digest in the answer")
    return digest


def verify(ledger, addrs, settle=True, keys=None, threads=2, method="GET"):
    """Reads every key from the servers in turn. Returns how many."""
    todo = sorted(ledger.keys if keys is None else keys)
    problems = []

    def work(part):
        caller = Caller()
        try:
            for n, key in enumerate(todo[part::threads]):
                ledger.judge(key, read(caller, addrs[n % len(addrs)], key, method), settle)
        except (Problem, Lost) as e:
            problems.append(e)
        finally:
            caller.close()

    workers = [threading.Thread(target=work, args=(p,)) for p in range(threads)]
    for w in workers:
        w.start()
    for w in workers:
        w.join()
    if problems:
        raise Problem(f"verify: {problems[0]}") from problems[0]
    return len(todo)


def verify_lists(ledger, addr):
    """The tags that are listed are the tags that can be read, once every outcome is settled."""
    caller = Caller()
    for repo in {k[0] for k in ledger.keys}:
        tags = {k[2]: ledger.possible(k) for k in ledger.keys if k[0] == repo and k[1] == "t"}
        resp = caller.call(addr, "GET", f"/v2/{repo}/tags/list")
        got = set((resp.json().get("tags") or []) if resp.status == 200 else [])
        must = {t for t, v in tags.items() if None not in v}
        may = {t for t, v in tags.items() if v != {None}}
        if not must <= got <= may:
            raise Problem(f"tags of {repo}: {sorted(got)}, must {sorted(must)}, may {sorted(may)}")
    caller.close()
