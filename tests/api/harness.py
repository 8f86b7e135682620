"""What a case is and what it can use.

A case is a function `name(t)` under @case("R54", ...). `t` is a Case: an HTTP client bound to one
case, with fresh repository names, helpers that push whole images, and expectations that fail with
one line of sent / expected / got. Cases share servers and run beside each other, so each keeps to
its own repositories; a case that restarts, breaks or fills a server asks for its own by t.serve().
"""

import contextlib
import importlib
import itertools
import os
import pathlib
import re
import tempfile
import threading

import central
import http1
import leaks
import oci
import server as server_mod

CASES = []


class Fail(Exception):
    """An expectation that did not hold."""


class Skip(Exception):
    """The case cannot run here; the text says why."""


class Info:
    def __init__(self, fn, reqs, profile, slow):
        self.fn = fn
        self.reqs = reqs
        self.profile = profile
        self.slow = slow
        self.name = f"{fn.__module__.removeprefix('test_')}.{fn.__name__}"


def case(*reqs, server="strict", slow=False):
    """Register a case. server: strict | index-sparse | none (a profile) or "" (starts its own)."""

    def add(fn):
        CASES.append(Info(fn, reqs, server, slow))
        return fn

    return add


def load_cases():
    """Import every test_*.py beside this file; returns the cases by file, in order of definition."""
    if not CASES:
        for path in sorted(pathlib.Path(__file__).resolve().parent.glob("test_*.py")):
            importlib.import_module(path.stem)
    return CASES


class World:
    """The servers of a run: started on first use, shared by all cases, stopped at the end."""

    PROFILES = {
        "strict": [],
        "index-sparse": ["--references", "index-sparse"],
        "none": ["--references", "none"],
    }

    def __init__(self, binary=None, url=None, authority=None, external=None):
        self.binary = binary
        self.url = url
        self.authority = authority
        self.external = external  # None: no proxy in front
        self.lock = threading.Lock()
        self.servers = {}
        self.broken = {}

    def profile(self, name):
        """(address, Server or None) of a shared server."""
        if self.url:
            if name != "strict":
                raise Skip(f"needs a server with references={name}")
            return server_mod.parse_address(self.url, self.authority), None
        with self.lock:
            if name in self.broken:
                raise Fail(f"the {name} server did not start: {self.broken[name]}")
            if name not in self.servers:
                try:
                    one = server_mod.Server(self.need_binary(), self.PROFILES[name])
                    self.servers[name] = one.start()
                except server_mod.NotStarted as e:
                    self.broken[name] = str(e)
                    raise Fail(f"the {name} server did not start: {e}") from e
            return self.servers[name].addr, self.servers[name]

    def need_binary(self):
        if not self.binary:
            raise Skip("needs a server of its own, and only --url was given")
        return self.binary

    def close(self):
        """Stop every shared server; returns complaints about how they ended."""
        said = []
        for name, one in self.servers.items():
            crashed = one.proc.poll()
            status = one.stop()
            if crashed is not None or status != 0:
                said.append(f"the {name} server ended with {status}: {one.log()[-2000:]}")
            one.done()
        return said


class Checks:
    """Expectations. Each raises Fail with sent, expected and got on one line."""

    def fail(self, expected, got, sent=""):
        raise Fail((f"sent {sent}; " if sent else "") + f"expected {expected}; got {got}")

    def eq(self, got, expected, what):
        if got != expected:
            self.fail(f"{what} {short(expected)}", short(got))

    def true(self, cond, expected, got=""):
        if not cond:
            self.fail(expected, got)

    def status(self, resp, *wanted):
        if resp.status not in wanted:
            self.fail(f"status {' or '.join(map(str, wanted))}", resp.show(), resp.sent)
        return resp

    def error(self, resp, status, *codes):
        """A refusal with this status (or one of these) and, when it has a body, this code."""
        self.status(resp, *([status] if isinstance(status, int) else status))
        if resp.method != "HEAD" and codes and (resp.codes() or [None])[0] not in codes:
            self.fail(f"code {' or '.join(codes)}", resp.show(), resp.sent)
        return resp

    def header(self, resp, name, wanted):
        """The header occurs once; `wanted` is its value or a compiled pattern."""
        got = resp.all(name)
        pattern = isinstance(wanted, re.Pattern)
        ok = len(got) == 1 and (wanted.fullmatch(got[0]) if pattern else got[0] == wanted)
        if not ok:
            self.fail(f"{name}: {wanted.pattern if pattern else wanted}", got, resp.sent)
        return got[0]

    def no_header(self, resp, name):
        if resp.all(name):
            self.fail(f"no {name}", resp.all(name), resp.sent)

    def body(self, resp, wanted):
        if resp.body != wanted:
            self.fail(
                f"the {len(wanted)} bytes {oci.digest(wanted)[:19]}",
                f"{resp.status}, {len(resp.body)} bytes {oci.digest(resp.body)[:19]}",
                resp.sent,
            )
        return resp


class Http(Checks):
    """Requests of one case to one address, over one kept connection where it stays open.

    Behind a proxy `external` is the server's --external-url: requests go below its path, what the
    server says in Location and Link must begin with it, and the cases see neither."""

    def __init__(self, addr, name, external=None):
        self.addr = addr
        self.name = name
        self.external = external
        self.below = (external or "").split("://", 1)[-1]
        self.below = self.below[self.below.find("/") :] if "/" in self.below else ""
        self.kept = None
        self.conns = []
        self.always = []  # headers of every request: who speaks

    def connect(self, timeout=30):
        if self.external is not None:
            raise Skip("writes to the server's own connection, and a proxy is in front of it")
        return self.open(timeout)

    def open(self, timeout=30):
        conn = http1.Conn(self.addr, timeout)
        self.conns.append(conn)
        return conn

    def inside(self, resp, target, headers):
        """Takes what the proxy's clients see off Location and Link."""
        proxy_speaks = not resp.all("Docker-Distribution-API-Version")
        if self.external is not None and proxy_speaks and resp.status == 400:
            names = [name.lower() for name, _ in headers]
            if "%00" in target or len(set(names)) < len(names):
                raise Skip("sends a zero byte or a header twice: the proxy refuses it by itself")
        if not self.external:
            return
        for at, (name, value) in enumerate(resp.headers):
            mark = {"location": "", "link": "<"}.get(name.lower())
            if mark is None:
                continue
            if not value.startswith(f"{mark}{self.external}/v2/"):
                self.fail(f"{name} that begins with {self.external}/v2/", value, resp.sent)
            resp.headers[at] = (name, mark + value[len(mark) + len(self.external) :])

    def close(self):
        for conn in self.conns:
            conn.close()
        self.conns = []

    def judge(self, resp, conn=None):
        if conn is not None and conn.buf:
            resp.extra = conn.buf
        central.judge(resp, self.name)
        leaks.got(resp.target, resp.body.decode("utf-8", "replace"))
        return resp

    def read(self, conn, method="GET", target="", sent=""):
        """The next answer on a connection the case wrote to by hand."""
        try:
            return self.judge(conn.response(method, target, sent))
        except http1.Broken as e:
            raise Fail(f"sent {sent or method + ' ' + target}; expected an answer; got {e}") from e

    def req(self, method, target, headers=(), body=None, chunks=None):
        if self.external is not None and not target.startswith("/v2"):
            raise Skip("needs more than /v2, and no more lies behind the proxy")
        if self.always:
            given = headers.items() if isinstance(headers, dict) else headers
            headers = list(given) + self.always
        leaks.sent(headers.items() if isinstance(headers, dict) else headers)
        head, payload, sent = http1.build(method, self.below + target, headers, body, chunks)
        for attempt in (1, 2):
            reused = self.kept is not None
            conn = self.kept if reused else self.open()
            self.kept = None
            conn.send(head + payload if len(payload) < 65536 else head)
            if len(payload) >= 65536:
                conn.send(payload)
            try:
                resp = conn.response(method, target, sent)
            except http1.Broken as e:
                if reused and attempt == 1 and not conn.buf:
                    continue  # an idle connection may be closed at any time
                raise Fail(f"sent {sent}; expected an answer; got {e}") from e
            break
        self.inside(resp, target, headers.items() if isinstance(headers, dict) else headers)
        self.judge(resp, conn)
        ends = "close" in (resp.h("Connection") or "").lower() or resp.framing == "close"
        if not ends and not resp.extra and resp.version == "HTTP/1.1":
            self.kept = conn
        return resp

    def raw(self, data, method="GET", target="/v2/", sent=None, timeout=30):
        """Send these bytes on a new connection; returns (answer, connection)."""
        conn = self.connect(timeout)
        conn.send(data)
        return self.read(conn, method, target, sent or repr(data[:200])), conn

    def get(self, target, **headers):
        return self.req("GET", target, named(headers))

    def head(self, target, **headers):
        return self.req("HEAD", target, named(headers))

    def delete(self, target, **headers):
        return self.req("DELETE", target, named(headers))


class Push(Http):
    """Whole steps of a push, for cases whose subject is something else."""

    def start(self, repo, query=""):
        """Open an upload session; returns its Location."""
        resp = self.status(self.req("POST", f"/v2/{repo}/blobs/uploads/{query}"), 202)
        return resp.h("Location")

    def finish(self, location, digest, body=b"", **kw):
        return self.req("PUT", with_query(location, digest=digest), body=body, **kw)

    def blob(self, repo, data, alg="sha256"):
        digest = oci.digest(data, alg)
        self.status(self.finish(self.start(repo), digest, data), 201)
        return digest

    def put_manifest(self, repo, ref, doc, media_type=None, chunks=None):
        """PUT a document (dict) or bytes; the type defaults to the document's own."""
        body = doc if isinstance(doc, bytes) else oci.dump(doc)
        if media_type is None and isinstance(doc, dict):
            media_type = doc.get("mediaType")
        headers = {"Content-Type": media_type} if media_type else {}
        return self.req("PUT", f"/v2/{repo}/manifests/{ref}", headers, body, chunks)

    def image(self, repo, ref=None, alg="sha256", media_type=oci.IMAGE, **fields):
        """Push config, one layer and a manifest; returns (digest, bytes) of the manifest."""
        config = oci.dump({"architecture": "amd64", "os": "linux", "seed": self.seed()})
        layer = b"layer " + self.seed().encode()
        for data in (config, layer):
            self.blob(repo, data, alg)
        doc = oci.image_doc(
            oci.descriptor(config, oci.CONFIG, alg),
            [oci.descriptor(layer, oci.LAYER, alg)],
            media_type,
            **fields,
        )
        body = oci.dump(doc)
        digest = oci.digest(body, alg)
        self.status(self.put_manifest(repo, ref or digest, body, media_type), 201)
        return digest, body

    def artifact(self, repo, subject=None, kind="application/x.test", ref=None, **fields):
        """Push an artifact manifest with empty config; returns (digest, bytes)."""
        self.blob(repo, b"{}")
        doc = oci.image_doc(oci.descriptor(b"{}", oci.EMPTY), [], **fields)
        if kind:
            doc["artifactType"] = kind
        if subject:
            doc["subject"] = subject
        doc["seed"] = self.seed()
        body = oci.dump(doc)
        digest = oci.digest(body)
        self.status(self.put_manifest(repo, ref or digest, body, oci.IMAGE), 201)
        return digest, body


class Case(Push):
    """Everything a running case has."""

    _turn = itertools.count(1)

    def __init__(self, world, info, addr, srv):
        super().__init__(addr, info.name, None if srv else world.external)
        self.world = world
        self.info = info
        self.server = srv
        self.mark = os.urandom(4).hex()
        self.stack = contextlib.ExitStack()

    def seed(self):
        return f"{self.mark}-{next(Case._turn)}"

    def repo(self, suffix="r"):
        """A repository name nobody used before."""
        return f"t/{self.mark}-{next(Case._turn)}/{suffix}"

    def root(self):
        """The root directory of the shared server."""
        if self.server is None:
            raise Skip("needs the server's root directory")
        return self.server.root

    def on_directory(self):
        """The case is about the directory store, or asks more of the machine than one in a bucket."""
        if server_mod.GATEWAY:
            raise Skip("is about a directory")

    def scratch(self):
        """A folder that goes with the case."""
        return pathlib.Path(self.stack.enter_context(tempfile.TemporaryDirectory(prefix="api-")))

    def serve(self, *args, **kw):
        """Start a server that lives as long as the case."""
        one = server_mod.Server(self.world.need_binary(), args, **kw)
        try:
            return self.stack.enter_context(one)
        except server_mod.NotStarted as e:
            one.done()
            raise Fail(f"the server did not start: {e}") from e

    def at(self, addr):
        """The same case talking to another server; a Server or an address."""
        server = addr if hasattr(addr, "addr") else None
        other = Case(self.world, self.info, getattr(addr, "addr", addr), server)
        self.stack.callback(other.close)
        return other

    def done(self):
        self.close()
        self.stack.close()


def named(headers):
    """Keyword names to header names: If_None_Match -> If-None-Match."""
    return {k.replace("_", "-"): v for k, v in headers.items()}


def with_query(location, **params):
    sep = "&" if "?" in location else "?"
    return location + sep + "&".join(f"{k}={v}" for k, v in params.items())


def short(value, limit=300):
    text = repr(value)
    return text if len(text) <= limit else text[:limit] + "..."
