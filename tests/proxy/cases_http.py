"""HTTP through each proxy, by our own client, which keeps control of every byte."""

import hashlib
import threading
import time

import http1
import oci
import recorder
from harness import Skipped, check, check_equal
from world import bytes_below, noise

MIB = 1 << 20
PIECES = 8
WAIT_SECONDS_MAX = 20
IDLE_SECONDS = 95  # R150: Go clients keep idle connections for 90 s
SLOW_SECONDS = 1
WRITERS = 32
WRITES = 6


def until(true, what):
    deadline = time.monotonic() + WAIT_SECONDS_MAX
    while not true():
        check(time.monotonic() < deadline, f"not within {WAIT_SECONDS_MAX} s: {what}")
        time.sleep(0.02)


def head_of(method, target, *lines):
    return "\r\n".join((f"{method} {target} HTTP/1.1", "Host: x", *lines, "", "")).encode()


def ping(w, kind):
    """R155: TLS with a name; the answers are those of the registry."""
    proxy = w.standard(kind)
    link = w.connect(proxy.port)
    got = link.ask("GET", "/v2/", {"Accept-Encoding": "gzip, deflate, br"})
    check_equal((got.status, got.body), (200, b"{}"), "/v2/")
    check_equal(got.all("Docker-Distribution-API-Version"), ["registry/2.0"], "version")
    check_equal(got.all("Content-Encoding"), [], "Content-Encoding (compression is off)")
    check_equal(link.sock.version(), "TLSv1.3", "TLS")
    got = w.connect(proxy.below).ask("GET", "/registry/v2/")
    check_equal((got.status, got.body), (200, b"{}"), "/registry/v2/")
    for path in ("/", "/metrics", "/livez", "/x/../v2/"):
        status = w.connect(proxy.port).ask("GET", path).status
        check(status in (400, 404), f"{path} beside /v2: {status}")
    for path in ("/", "/v2/", "/registry", "/x/../registry/v2/", "/registry/v2/..%2f..%2fv2/"):
        status = w.connect(proxy.below).ask("GET", path).status
        check(status in (400, 404), f"{path} beside the prefix: {status}")


def what_arrives(w, kind):
    """Host as sent, path and query as sent, HTTP/1.1 kept alive."""
    proxy, seen = w.recorded(kind)
    host = f"{w.names[0]}:{proxy.port}"
    for port, prefix in ((proxy.port, ""), (proxy.below, "/registry")):
        for path in (
            "/v2/", "/v2/a/b/manifests/sha256%3Aff", "/v2/a%2Fb/tags/list?n=5&last=%41+b",
            "/v2/a//b/tags/list", "/v2/a/blobs/uploads/?mount=sha256:00&from=x/y&digest=a%2Bb",
            "/v2/a/./b", "/v2/%C3%A9~_-.",
        ):  # fmt: skip
            del seen.heads[:]
            status = w.connect(port).ask("GET", prefix + path, {"Host": host}).status
            check_equal(status, 200, f"GET {prefix}{path}")
            lines = seen.heads[0].decode("latin-1").split("\r\n")
            check_equal(lines[0], f"GET {path} HTTP/1.1", "request line that arrives")
            check(f"host: {host}" in [ln[:5].lower() + ln[5:] for ln in lines], f"Host: {lines}")
            check("connection: close" not in [ln.lower() for ln in lines], "it closes each time")


def upload_streams(w, kind):
    """R156: what the client sent arrives before the client sent the rest."""
    proxy, seen = w.recorded(kind)
    piece = noise(f"{kind} streams", 64 << 10)
    for port, prefix in ((proxy.port, ""), (proxy.below, "/registry")):
        for shape in ("chunked", "length"):
            link, before = w.connect(port), seen.received
            size = "Transfer-Encoding: chunked"
            if shape == "length":
                size = f"Content-Length: {PIECES * len(piece)}"
            link.send(head_of("PATCH", f"{prefix}/v2/a/blobs/uploads/x", size))
            for turn in range(1, PIECES + 1):
                framed = b"%x\r\n%s\r\n" % (len(piece), piece)
                link.send(framed if shape == "chunked" else piece)
                arrived = seen.has_received(before + turn * len(piece))
                check(arrived, f"{shape}: piece {turn} of {PIECES} is held back by {kind}")
            if shape == "chunked":
                link.send(b"0\r\n\r\n")
            check_equal(link.response("PATCH").status, 200, "answer")


def upload_lands(w, kind):
    """The same with the registry: half of a layer is on its disk while the rest is unsent."""
    proxy, repo = w.standard(kind), f"px-{w.run_id}/lands-{kind}"
    data = noise(f"{w.run_id} {kind} lands", 32 * MIB)
    for chunked in (True, False):
        data = hashlib.sha256(data).digest() + data[32:]
        link, half, before = w.connect(proxy.port), len(data) // 2, bytes_below(w.node.root)
        url = link.start(repo)
        size = "Transfer-Encoding: chunked" if chunked else f"Content-Length: {len(data)}"
        link.send(head_of("PATCH", url, size))
        link.send(b"%x\r\n" % half if chunked else b"")
        link.send(data[:half] + (b"\r\n" if chunked else b""))
        until(lambda: bytes_below(w.node.root) - before > half - 4 * MIB, "half of it on the disk")
        if kind == "nginx":
            check_equal(proxy.files_of_bodies(), [], "files nginx keeps bodies in")
        link.send(b"%x\r\n" % half if chunked else b"")
        link.send(data[half:] + (b"\r\n0\r\n\r\n" if chunked else b""))
        check_equal(link.response("PATCH").status, 202, "PATCH")
        digest = oci.digest(data)
        check_equal(link.ask("PUT", f"{url}?digest={digest}").status, 201, "PUT")
        got = link.ask("GET", f"/v2/{repo}/blobs/{digest}")
        check_equal((got.status, oci.digest(got.body)), (200, digest), "the blob")


def download_streams(w, kind):
    """The recorder holds the second half back until the first came through."""
    proxy, seen = w.recorded(kind)
    for port, path in ((proxy.port, "/v2/slow"), (proxy.below, "/registry/v2/slow")):
        seen.go.clear()
        link = w.connect(port)
        link.send(head_of("GET", path))
        check_equal(link.head("GET", path).status, 200, "answer")
        check_equal(link.exactly(recorder.PIECE), b"a" * recorder.PIECE, "the first half")
        if kind == "nginx":
            check_equal(proxy.files_of_bodies(), [], "files nginx keeps bodies in")
        seen.go.set()
        check_equal(link.exactly(recorder.PIECE), b"b" * recorder.PIECE, "the second half")


def slow_reader(w, kind):
    """A client that does not read its layer makes nginx keep none of it on its disk."""
    proxy, repo = w.standard(kind), f"px-{w.run_id}/slow-{kind}"
    link, data = w.connect(proxy.port), noise(f"{kind} slow", 32 * MIB)
    path = f"/v2/{repo}/blobs/{link.blob(repo, data)}"
    link.send(head_of("GET", path))
    check_equal(link.head("GET", path).status, 200, "answer")
    time.sleep(SLOW_SECONDS)
    if kind == "nginx":
        check_equal(proxy.files_of_bodies(), [], "files nginx keeps bodies in")
    check(link.exactly(len(data)) == data, "other bytes than those pushed")


def keep_alive(w, kind):
    """R150: many requests of all kinds on one connection, answers with and without body."""
    proxy, repo = w.standard(kind), f"px-{w.run_id}/keep-{kind}"
    link = w.connect(proxy.port)
    for turn in range(20):
        data = f"{kind} {turn}".encode()
        digest = link.blob(repo, data, chunks=turn % 2 == 0)
        check_equal(link.ask("GET", f"/v2/{repo}/blobs/{digest}").body, data, "blob")
        check_equal(link.ask("HEAD", f"/v2/{repo}/blobs/{digest}").h("Content-Length"),
                    str(len(data)), "length by HEAD")  # fmt: skip
        check_equal(link.ask("GET", f"/v2/{repo}/blobs/{oci.ZERO}").status, 404, "absent blob")
        check_equal(link.ask("DELETE", f"/v2/{repo}/blobs/{digest}").status, 202, "DELETE")
        check_equal(link.ask("PUT", f"/v2/{repo}/manifests/x", (), b"{").status, 400, "PUT")


def http_1_0_client(w, kind):
    proxy = w.standard(kind)
    link = w.connect(proxy.port)
    link.send(b"GET /v2/_catalog HTTP/1.0\r\nHost: x\r\n\r\n")
    got = link.response()
    check_equal((got.status, got.framing), (200, "length"), "answer to HTTP/1.0")
    check(link.closed_by_peer(), "the connection stays open after HTTP/1.0")


def http_1_0_upstream(w, kind):
    """R150: nginx as Debian configures it speaks HTTP/1.0 to the registry."""
    if kind != "nginx":
        raise Skipped("HAProxy speaks HTTP/1.1 alone")
    proxy = w.proxy(kind, change=(("proxy_http_version 1.1;", ""),))
    repo, data = f"px-{w.run_id}/old", noise(f"{w.run_id} 1.0", 3 * MIB)
    link = w.connect(proxy.port)
    for chunks in (None, [100_000]):
        data = data[1:]
        digest = link.blob(repo, data, chunks)
        got = link.ask("GET", f"/v2/{repo}/blobs/{digest}")
        check_equal((got.status, got.framing, got.body == data), (200, "length", True), "blob")
    digest = link.index(repo, "1")
    check_equal(link.ask("GET", f"/v2/{repo}/manifests/1").h("Docker-Content-Digest"), digest, "tag")


def expectation(w, kind):
    """R151: Expect: 100-continue that is met, and one that meets a refusal."""
    proxy, repo = w.standard(kind), f"px-{w.run_id}/expect-{kind}"
    data = noise(f"{w.run_id} {kind} expect", 300_000)
    digest = oci.digest(data)
    lines = ("Expect: 100-continue", f"Content-Length: {len(data)}")
    link = w.connect(proxy.port)
    link.send(head_of("PUT", f"{link.start(repo)}?digest={digest}", *lines))
    check_equal(link.interim(), 100, "interim answer")
    link.send(data)
    check_equal(link.response("PUT").status, 201, "final answer")
    for target, status in (
        (f"/v2/{repo}/blobs/uploads/absent?digest={digest}", 404), ("/v2/UPPER/manifests/x", 400),
    ):  # fmt: skip
        link = w.connect(proxy.port)
        link.send(head_of("PUT", target, *lines))
        if link.interim() == 100:  # the proxy's own
            link.send(data)
        check_equal(link.response("PUT").status, status, f"final answer to {target}")


def early_refusal(w, kind):
    """R152: the status of a refusal reaches clients that send on regardless."""
    proxy, repo = w.standard(kind), f"px-{w.run_id}/refused-{kind}"
    data = noise("refused", 24 * MIB)
    digest = oci.digest(data)
    for target, status in (
        (f"/v2/{repo}/blobs/uploads/absent?digest={digest}", 404),
        (f"/v2/UPPER/blobs/uploads/?digest={digest}", 400),
        (f"/v2/{repo}/manifests/too-large", 413),
        (f"/v2/{repo}/blobs/uploads/?digest=sha256:short", 400),
    ):  # fmt: skip
        for chunks in (None, [MIB]):
            method = "POST" if target.split("?")[0].endswith("/") else "PUT"
            try:
                got = w.connect(proxy.port).ask(method, target, (), data, chunks)
            except http1.Broken as e:
                said = f"{method} {target}, chunks {chunks}: expected {status}, got {e}"
                raise AssertionError(said) from e
            check_equal(got.status, status, f"{method} {target}, chunks {chunks}")


def ranges(w, kind):
    """R36: several ranges come back as they were asked for, none merged or dropped."""
    proxy, repo = w.standard(kind), f"px-{w.run_id}/ranges-{kind}"
    link, data = w.connect(proxy.port), noise(f"{kind} ranges", 500_000)
    digest = link.blob(repo, data)
    asked = [(0, 99), (400_000, 400_999), (50, 60), (499_999, 499_999), (100, 299_999)]
    spec = "bytes=" + ",".join(f"{a}-{b}" for a, b in asked)
    got = link.ask("GET", f"/v2/{repo}/blobs/{digest}", {"Range": spec})
    check_equal(got.status, 206, "several ranges")
    mark = b"--" + got.h("Content-Type").split("boundary=")[1].encode()
    parts = (b"\r\n" + got.body).split(b"\r\n" + mark)[1:-1]
    bodies = [part.split(b"\r\n\r\n", 1)[1] for part in parts]
    check(bodies == [data[a : b + 1] for a, b in asked], "the parts are not those asked for")
    got = link.ask("GET", f"/v2/{repo}/blobs/{digest}", {"Range": "bytes=499990-"})
    check_equal((got.status, got.body), (206, data[-10:]), "one range")


def weak_etag(w, kind):
    """R38, R156: a proxy that compresses against our advice weakens the ETag; it still matches."""
    change = (("gzip off;", ""),)
    if kind == "haproxy":
        on = "    filter compression\n    compression algo gzip\n    compression type "
        on += f"application/json {oci.INDEX}\n"
        change = (("    default_backend stowage\n", on + "    default_backend stowage\n"),)
    proxy, repo = w.proxy(kind, change=change), f"px-{w.run_id}/weak-{kind}"
    link = w.connect(proxy.port)
    link.index(repo, "1")
    url = f"/v2/{repo}/manifests/1"
    got = link.ask("GET", url, {"Accept-Encoding": "gzip"})
    check_equal((got.status, got.h("Content-Encoding")), (200, "gzip"), "compressed by the proxy")
    tag = got.h("ETag") or ""
    check(tag.startswith('W/"'), f"the ETag is {tag}, not a weak one")
    for headers in ({"Accept-Encoding": "gzip"}, {}):
        got = link.ask("GET", url, {"If-None-Match": tag, **headers})
        check_equal((got.status, got.body), (304, b""), f"If-None-Match: {tag}")
    plain = w.connect(w.standard(kind).port)
    strong = plain.ask("GET", url).h("ETag")
    check_equal("W/" + strong, tag, "the ETag without compression")
    check_equal(plain.ask("GET", url, {"If-None-Match": strong}).status, 304, "the strong one")


def many_writers(w, kind):
    proxy, repo, wrong = w.standard(kind), f"px-{w.run_id}/many-{kind}", []

    def write(number):
        try:
            link = w.connect(proxy.port)
            for turn in range(WRITES):
                data = noise(f"{w.run_id} {kind} {number} {turn}", 300_000)
                digest = link.blob(repo, data, chunks=turn % 2 == 0)
                if link.ask("GET", f"/v2/{repo}/blobs/{digest}").body != data:
                    wrong.append(f"writer {number}, blob {turn}: other bytes")
            link.index(repo, f"w{number}")
        except Exception as e:  # noqa: BLE001 - told by the thread that waits
            wrong.append(f"writer {number}: {type(e).__name__} {e}")

    threads = [threading.Thread(target=write, args=(n,)) for n in range(WRITERS)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    check_equal(wrong[:3], [], f"failures of {WRITERS} writers")
    tags = w.connect(proxy.port).ask("GET", f"/v2/{repo}/tags/list").json()["tags"]
    check_equal(len(tags), WRITERS, "tags")


class Idle:
    """Connections that are opened when the run begins and used again 95 s later by a thread of
    their own, so that the wait costs nothing. On each a request went first, so the proxy holds one
    to the registry, too."""

    def __init__(self, w, kinds):
        self.ends = {}
        self.threads = {}
        for kind in kinds:
            link = w.connect(w.standard(kind).port)
            link.ask("GET", "/v2/")
            self.threads[kind] = threading.Thread(target=self.use, args=(w, kind, link), daemon=True)
            self.threads[kind].start()

    def use(self, w, kind, link):
        time.sleep(IDLE_SECONDS)
        try:
            link.blob(f"px-{w.run_id}/idle-{kind}", b"after a long time")
            self.ends[kind] = ""
        except Exception as e:  # noqa: BLE001 - told by the thread that waits
            self.ends[kind] = f"{type(e).__name__} {e}"

    def check(self, _w, kind):
        self.threads[kind].join(2 * IDLE_SECONDS)
        check_equal(self.ends.get(kind), "", f"a push after {IDLE_SECONDS} s of silence")


CASES = (
    ("TLS, at the root and below a path", ping),
    ("Host, path and version arrive as sent", what_arrives),
    ("an upload is passed on as it comes", upload_streams),
    ("an upload is on the registry's disk while it comes", upload_lands),
    ("a download is passed on as it comes", download_streams),
    ("a download that the client does not read", slow_reader),
    ("keep-alive", keep_alive),
    ("a client with HTTP/1.0", http_1_0_client),
    ("HTTP/1.0 to the registry", http_1_0_upstream),
    ("Expect: 100-continue", expectation),
    ("a refusal before the body ends", early_refusal),
    ("several ranges", ranges),
    ("a weakened ETag", weak_etag),
    ("32 writers", many_writers),
)
