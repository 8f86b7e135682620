"""What a case has: the program, scratch folders, servers of its own, a small client."""

import http.client
import json
import os
import random
import subprocess
import threading

import oci
import server

CASES = []
COMMAND_S = 120


class Fail(Exception):
    """An expectation that did not hold."""


def case(fn):
    CASES.append(fn)
    return fn


def long_case(fn):
    """Only with --full."""
    fn.long = True
    return case(fn)


def s3_case(fn):
    """With --s3, and only then."""
    fn.s3 = True
    return case(fn)


def eq(got, wanted, what):
    if got != wanted:
        raise Fail(f"{what}: expected {repr(wanted)[:500]}; got {repr(got)[:500]}")


def true(cond, what, got=""):
    if not cond:
        raise Fail(f"expected {what}; got {str(got)[:600]}")


class Client:
    """HTTP of one server, one connection; for one thread."""

    def __init__(self, addr):
        self.addr = addr
        self.conn = None
        self.always = {}  # headers of every request

    def ask(self, method, path, body=None, headers=None):
        if not self.conn:
            self.conn = http.client.HTTPConnection(self.addr[1], self.addr[2], timeout=60)
        try:
            self.conn.request(method, path, body, {**self.always, **(headers or {})})
            got = self.conn.getresponse()
            return got.status, got.headers, got.read()
        except (OSError, http.client.HTTPException):
            self.close()
            raise

    def close(self):
        if self.conn:
            self.conn.close()
        self.conn = None

    def blob(self, name, data):
        d = oci.digest(data)
        status, _, body = self.ask("POST", f"/v2/{name}/blobs/uploads/?digest={d}", data,
                                   {"Content-Type": "application/octet-stream"})
        eq(status, 201, f"push of a blob: {body[:200]}")
        return d

    def push(self, name, tag, size=1000):
        """An image of its own; its digest."""
        layer, config = os.urandom(size), oci.dump({"n": random.random()})
        for data in (layer, config):
            self.blob(name, data)
        body = oci.dump(oci.image_doc(oci.descriptor(config, oci.CONFIG),
                                      [oci.descriptor(layer, oci.LAYER)]))
        self.put(name, tag, body)
        return oci.digest(body)

    def put(self, name, ref, body):
        status, _, answer = self.ask("PUT", f"/v2/{name}/manifests/{ref}", body,
                                     {"Content-Type": oci.IMAGE})
        eq(status, 201, f"push of {name}:{ref}: {answer[:200]}")

    def delete(self, path):
        status, _, answer = self.ask("DELETE", path)
        eq(status, 202, f"DELETE {path}: {answer[:200]}")

    def catalog(self):
        status, _, body = self.ask("GET", "/v2/_catalog?n=10000")
        eq(status, 200, "catalog")
        return json.loads(body)["repositories"]

    def tags(self, name):
        status, _, body = self.ask("GET", f"/v2/{name}/tags/list?n=10000")
        return json.loads(body)["tags"] if status == 200 else []

    def pull(self, name, ref):
        """The digest of an image all of whose bytes were there and right; None, or what failed."""
        status, _, body = self.ask("GET", f"/v2/{name}/manifests/{ref}")
        if status != 200:
            return None, f"{name}:{ref} {status}"
        doc = json.loads(body)
        for part in [doc["config"], *doc["layers"]]:
            status, _, data = self.ask("GET", f"/v2/{name}/blobs/{part['digest']}")
            if status != 200 or oci.digest(data) != part["digest"]:
                return None, f"{name}@{part['digest']} {status}"
        return oci.digest(body), ""

    def everything(self):
        """{name: {tag: digest}} of what can be pulled, and the list of what cannot."""
        found, failed = {}, []
        for name in self.catalog():
            for tag in self.tags(name):
                digest, why = self.pull(name, tag)
                if digest:
                    found.setdefault(name, {})[tag] = digest
                else:
                    failed.append(why)
        return found, failed


class World:
    def __init__(self, binary, scratch, full):
        self.binary = binary
        self.scratch = scratch
        self.full = full
        self.servers = []

    def folder(self, name):
        return self.scratch / name

    def serve(self, root, *args):
        s = server.Server(self.binary, args, root=str(root))
        self.servers.append(s)
        s.start()
        s.client = Client(s.addr)
        return s

    def run(self, *args, wanted=(0,)):
        """(status, standard output, standard error) of a command."""
        done = subprocess.run([self.binary, *map(str, args)], capture_output=True, text=True,
                              timeout=COMMAND_S, env=server.clean_env())
        if wanted is not None and done.returncode not in wanted:
            raise Fail(f"stowage {args[0]}: status {done.returncode}: "
                       f"{done.stdout[-500:]} {done.stderr[-300:]}")
        return done.returncode, done.stdout, done.stderr

    def copy(self, a, b, wanted=(0,)):
        return self.run("copy", f"dir:{a}", f"dir:{b}", wanted=wanted)[1]

    def fsck(self, root):
        """Lines of damage."""
        _, out, _ = self.run("fsck", "--root", root, "--deep", wanted=(0, 1))
        return [line for line in out.splitlines() if line.startswith("damage")]

    def done(self):
        for s in self.servers:
            s.done()


class Pushers:
    """Threads that push to a server until they are told to stop; every acknowledged tag is kept."""

    def __init__(self, srv, names, count=3, size=3000):
        self.acked = {}
        self.stop = threading.Event()
        self.errors = []
        self.threads = [threading.Thread(target=self.main, args=(srv, names, i, size), daemon=True)
                        for i in range(count)]
        for t in self.threads:
            t.start()

    def main(self, srv, names, i, size):
        client, n = Client(srv.addr), 0
        while not self.stop.is_set():
            name, tag = names[(n + i) % len(names)], f"t{i}-{n}"
            try:
                digest = client.push(name, tag, size)
                if n % 7 == 6:
                    client.delete(f"/v2/{name}/manifests/{digest}")
                else:
                    self.acked[name, tag] = digest
            except (OSError, http.client.HTTPException, Fail) as e:
                self.errors.append(str(e))
                return
            n += 1

    def end(self):
        self.stop.set()
        for t in self.threads:
            t.join(30)
        if self.errors:
            raise Fail(f"a push failed: {self.errors[0]}")
        return dict(self.acked)
