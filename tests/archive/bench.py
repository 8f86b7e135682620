"""What a case has: the program, scratch folders, servers of its own, and expectations."""

import contextlib
import http.client
import json
import subprocess

import server

CASES = []
COMMAND_S = 60


class Fail(Exception):
    """An expectation that did not hold."""


class Skip(Exception):
    """The case cannot run here; the text says why."""


def case(fn):
    CASES.append(fn)
    return fn


def eq(got, wanted, what):
    if got != wanted:
        raise Fail(f"{what}: expected {repr(wanted)[:400]}; got {repr(got)[:400]}")


def true(cond, what, got=""):
    if not cond:
        raise Fail(f"expected {what}; got {str(got)[:400]}")


class Answer:
    def __init__(self, resp):
        self.status = resp.status
        self.headers = resp.headers
        self.body = resp.read()


class Registry:
    """HTTP of one server."""

    def __init__(self, addr):
        self.addr = addr

    def get(self, path, method="GET"):
        conn = http.client.HTTPConnection(self.addr[1], self.addr[2], timeout=30)
        try:
            conn.request(method, path)
            return Answer(conn.getresponse())
        finally:
            conn.close()

    def pull(self, name, ref):
        """(type, digest, bytes) of a manifest; fails when it is not there."""
        got = self.get(f"/v2/{name}/manifests/{ref}")
        eq(got.status, 200, f"status of manifest {ref}")
        return got.headers["Content-Type"], got.headers["Docker-Content-Digest"], got.body

    def blob(self, name, digest):
        got = self.get(f"/v2/{name}/blobs/{digest}")
        eq(got.status, 200, f"status of blob {digest}")
        return got.body

    def tags(self, name):
        got = self.get(f"/v2/{name}/tags/list")
        return json.loads(got.body)["tags"] if got.status == 200 else None


class Bench:
    def __init__(self, binary, scratch):
        self.binary = binary
        self.scratch = scratch
        self.root = scratch / "root"
        self.stack = contextlib.ExitStack()

    def done(self):
        self.stack.close()

    def file(self, name):
        return self.scratch / name

    def run(self, *args, stdin=None, binary_out=False):
        """Runs the program; returns the finished process."""
        return subprocess.run(
            [self.binary, *map(str, args)],
            input=stdin if stdin is not None else b"",
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=server.clean_env(),
            timeout=COMMAND_S,
            check=False,
        )

    def take(self, file, target="app:1", root=None, stdin=None, args=()):
        return self.run("import", "--root", root or self.root, *args, file, target, stdin=stdin)

    def give(self, file, target="app:1", root=None):
        return self.run("export", "--root", root or self.root, target, file)

    def ok(self, proc):
        """Status 0, nothing said on stderr, one digest on stdout; returns the digest."""
        eq((proc.returncode, proc.stderr), (0, b""), "status and stderr")
        out = proc.stdout.decode()
        true(out.count("\n") == 1 and out.startswith("sha"), "a digest and a line feed", out)
        return out.strip()

    def taken(self, file, target="app:1", **kw):
        return self.ok(self.take(file, target, **kw))

    def refused(self, proc, status=1, says=""):
        """The status, nothing on stdout, one sentence on stderr that holds `says`."""
        said = proc.stderr.decode("utf-8", "replace")
        eq((proc.returncode, proc.stdout), (status, b""), f"status and stdout (said {said!r})")
        one = said.startswith("stowage: ") and said.count("\n") == 1 and said.endswith("\n")
        true(one and 20 < len(said) < 400, "one sentence on stderr", said)
        true(says in said, f"a sentence with {says!r}", said)

    def serve(self, root=None):
        one = server.Server(self.binary, root=str(root or self.root))
        return Registry(self.stack.enter_context(one).addr)

    def no_tag(self, name="app", root=None):
        """Nothing is tagged and no manifest is listed: the catalog is empty."""
        with server.Server(self.binary, root=str(root or self.root)) as one:
            reg = Registry(one.addr)
            true(not reg.tags(name), "no tags", reg.tags(name))
            eq(json.loads(reg.get("/v2/_catalog").body)["repositories"], [], "catalog")
