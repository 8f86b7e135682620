"""HTTP/1.1 itself: connections, framing, expectations, and requests made to confuse."""

import os
import socket
import ssl
import time

import http1
import oci
from harness import case, with_query

OK = b"GET /v2/ HTTP/1.1\r\nHost: x\r\n\r\n"


@case("R20")
def ping(t):
    for path in ("/v2/", "/v2"):
        got = t.status(t.get(path), 200)
        t.header(got, "Content-Type", "application/json")
        t.body(got, b"{}")
        t.header(t.status(t.head(path), 200), "Content-Length", "2")


@case("R150")
def keep_alive(t):
    repo = t.repo()
    digest, _ = t.image(repo, "v1")
    conn = t.connect()
    data = b"x" * 100
    for turn in range(20):
        for method, path, status in (
            ("GET", "/v2/", 200), ("HEAD", f"/v2/{repo}/manifests/v1", 200),
            ("GET", f"/v2/{repo}/tags/list", 200),
            ("GET", f"/v2/{repo}/blobs/{oci.ZERO}", 404), ("POST", f"/v2/{repo}/blobs/uploads/", 202),
            ("GET", "/v2/UPPER/tags/list", 400), ("GET", f"/v2/{repo}/manifests/{digest}", 200),
            ("DELETE", f"/v2/{repo}/manifests/absent", 404),
        ):
            head, body, sent = http1.build(method, path)
            t.true(conn.send(head + body), "an open connection", f"closed before {sent}")
            t.status(t.read(conn, method, path, sent), status)
        url = f"/v2/{repo}/blobs/uploads/?digest={oci.digest(data)}"
        head, body, sent = http1.build("POST", url, {}, data, turn % 2 == 1)
        conn.send(head + body)
        t.status(t.read(conn, "POST", url, sent), 201)


@case("R150")
def pipelining(t):
    conn = t.connect()
    conn.send(OK * 10 + b"HEAD /v2/ HTTP/1.1\r\nHost: x\r\n\r\n" + OK)
    for n in range(12):
        t.status(t.read(conn, "HEAD" if n == 10 else "GET", "/v2/"), 200)


@case("R150", "R23")
def http_1_0(t):
    repo = t.repo()
    data = b"old " * 50_000
    blob = t.blob(repo, data)
    for target in ("/v2/", f"/v2/{repo}/blobs/{blob}", f"/v2/{repo}/blobs/{oci.ZERO}", "/v2/_catalog"):
        resp, conn = t.raw(f"GET {target} HTTP/1.0\r\nHost: x\r\n\r\n".encode(), "GET", target)
        t.eq(resp.framing, "length", "framing of an answer to HTTP/1.0")
        t.true(conn.closed_by_peer(), "the connection closed after HTTP/1.0", "open")
    resp, _ = t.raw(b"GET /v2/ HTTP/1.0\r\n\r\n")  # Host is optional there
    t.status(resp, 200)


@case("R150")
def connection_close_is_obeyed(t):
    resp, conn = t.raw(b"GET /v2/ HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    t.status(resp, 200)
    t.true(conn.closed_by_peer(), "the connection closed", "open")


@case("R150", slow=True)
def idle_for_95_seconds(t):
    conn = t.connect(timeout=30)
    for turn in range(2):
        conn.send(OK)
        t.status(t.read(conn), 200)
        if not turn:
            time.sleep(95)


def expecting(t, method, target, size, *headers):
    """Send headers with Expect; returns (status of a 1xx or None, connection)."""
    conn = t.connect(timeout=10)
    lines = [f"{method} {target} HTTP/1.1", "Host: x", "Expect: 100-continue", *headers]
    if size is not None:
        lines.append(f"Content-Length: {size}")
    conn.send(("\r\n".join(lines) + "\r\n\r\n").encode())
    try:
        return conn.interim(), conn
    except http1.Broken as e:
        t.fail("100 or a final answer", str(e), f"{method} {target} with Expect")


@case("R151")
def expectation_that_is_met(t):
    repo = t.repo()
    data = b"expected " * 5000
    url = t.start(repo)
    got, conn = expecting(t, "PATCH", url, len(data))
    t.eq(got, 100, "interim answer to PATCH")
    conn.send(data)
    t.status(t.read(conn, "PATCH", url), 202)
    target = with_query(url, digest=oci.digest(data))
    got, conn = expecting(t, "PUT", target, 0)
    if got is None:  # nothing to wait for: the final answer at once is right as well
        t.status(t.read(conn, "PUT", target), 201)
    else:
        t.status(t.read(conn, "PUT", target), 201)
    target = f"/v2/{repo}/blobs/uploads/?digest={oci.digest(data)}"
    got, conn = expecting(t, "POST", target, None, "Transfer-Encoding: chunked")
    t.eq(got, 100, "interim answer to POST")
    conn.send(http1.chunked(data))
    t.status(t.read(conn, "POST", target), 201)
    index = oci.dump(oci.index_doc([], seed=t.seed()))
    got, conn = expecting(t, "PUT", f"/v2/{repo}/manifests/v1", len(index), f"Content-Type: {oci.INDEX}")
    t.eq(got, 100, "interim answer to PUT of a manifest")
    conn.send(index)
    t.status(t.read(conn, "PUT", f"/v2/{repo}/manifests/v1"), 201)


@case("R151", "R152")
def expectation_that_fails(t):
    repo = t.repo()
    url = t.start(repo)
    t.status(t.req("PATCH", url, body=b"0123456789"), 202)
    mib = 1 << 20
    for method, target, size, status, headers in (
        ("PATCH", f"/v2/{repo}/blobs/uploads/unknown", mib, 404, ()),
        ("PUT", f"/v2/{repo}/blobs/uploads/unknown?digest={oci.ZERO}", mib, 404, ()),
        ("PATCH", url, mib, 416, (f"Content-Range: 5-{mib + 4}",)),
        ("PUT", f"/v2/{repo}/manifests/v1", 5 * mib, 413, (f"Content-Type: {oci.IMAGE}",)),
        ("POST", "/v2/NOT_A_NAME/blobs/uploads/", mib, 400, ()),
        ("PUT", f"/v2/{repo}/tags/list", mib, 405, ()),
        ("PUT", url, mib, 400, ()),
    ):
        got, conn = expecting(t, method, target, size, *headers)
        t.eq(got, None, f"interim answer to {method} {target}")
        t.status(t.read(conn, method, target, f"{method} {target} with Expect"), status)
    t.header(t.status(t.get(url), 204), "Range", "0-9")


@case("R151")
def client_that_does_not_wait_for_100(t):
    repo = t.repo()
    data = b"eager"
    url = t.start(repo)
    head = f"PATCH {url} HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n"
    resp, _ = t.raw(head.encode() + data, "PATCH", url)
    t.status(resp, 202)


@case("R152")
def refused_bodies_are_read_away(t):
    repo = t.repo()
    url = t.start(repo)
    body = os.urandom(2 << 20)
    for method, target, status in (
        ("PATCH", f"/v2/{repo}/blobs/uploads/unknown", 404),
        ("PUT", "/v2/BAD/manifests/v1", 400),
        ("POST", f"/v2/{repo}/tags/list", 405),
        ("PUT", with_query(url, digest="bad"), 400),
        ("GET", "/v2/", 200),
        ("DELETE", f"/v2/{repo}/manifests/absent", 404),
    ):
        for chunks in (None, True):
            t.status(t.req(method, target, {}, body, chunks), status)
    t.status(t.get(url), 204)


@case("R153", "L12")
def both_lengths(t):
    repo = t.repo()
    lengths = ["Content-Length: 5", "Transfer-Encoding: chunked"]
    for lines in (lengths, lengths[::-1]):
        for target in ("/v2/", f"/v2/{repo}/blobs/uploads/"):
            method = "POST" if "uploads" in target else "GET"
            head = "\r\n".join([f"{method} {target} HTTP/1.1", "Host: x", *lines, "", "0", "", ""])
            refused_shape(t, head.encode())


def refused_shape(t, data, then=b"GET /v2/_catalog?n=1 HTTP/1.1\r\nHost: x\r\n\r\n"):
    """400 and the end of the connection; the request hidden behind it is never answered."""
    sent = repr(data[:160])
    resp, conn = t.raw(data + then, "GET", "/", sent)
    t.status(resp, 400, 413)
    if not conn.closed_by_peer(8) and not library_answer(resp, conn):
        t.fail("the connection closed", repr(conn.buf[:100]) if conn.buf else "open", sent)
    return resp


def library_answer(resp, conn):
    """libmicrohttpd 0.9 answers a malformed Content-Length itself, in HTML, with its head written
    twice, so that the end of its page lies behind the counted body. Then the connection closes."""
    page = bytes(resp.body).startswith(b"HTTP/1.1 4") or b"<html>" in bytes(resp.body)
    rest = bytes(conn.buf)
    return page and rest.endswith(b"</html>") and b"HTTP/1.1" not in rest


@case("R153", "L12")
def framing_that_invites_smuggling(t):
    start = b"POST /v2/a/blobs/uploads/ HTTP/1.1\r\n"
    host = b"Host: x\r\n"
    for lines in (
        host + b"Content-Length: 5\r\nContent-Length: 6\r\n",
        host + b"Content-Length: 5\r\nContent-Length: 5\r\n",
        host + b"Content-Length: 5, 5\r\n",
        host + b"Content-Length: +5\r\n",
        host + b"Content-Length: -5\r\n",
        host + b"Content-Length: 0x5\r\n",
        host + b"Content-Length: 5 5\r\n",
        host + b"Content-Length: 99999999999999999999999\r\n",
        host + b"Transfer-Encoding: gzip, chunked\r\n",
        host + b"Transfer-Encoding: xchunked\r\n",
        host + b"Transfer-Encoding: chunked, identity\r\n",
        host + b"Transfer-Encoding: identity\r\n",
        host + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
        host + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n",
        host + b"Content-Length : 5\r\n",
        host + b"Transfer-Encoding : chunked\r\n",
        host + b"Transfer-Encoding\t: chunked\r\n",
        host + b"Content-Length: 5\r\n 0\r\n",
        host + b"Transfer-Encoding:\r\n chunked\r\n",
        host + b"X: y\r\n Content-Length: 5\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n",
        b"Host: a\r\nHost: b\r\n",
        b"Host: a\r\nHost: a\r\n",
        b"Host: a\r\n b\r\n",
        b"Host : a\r\n",
        b"",  # no Host on HTTP/1.1
        host + b"Authorization: Basic YQ==\r\nAuthorization: Basic Yg==\r\n",
    ):
        refused_shape(t, start + lines + b"\r\n", b"0\r\n\r\n" + OK)


@case("R153", "L12")
def missing_host_is_answered_once(t):
    """By us, as an error document: the library's own answer has its head written twice."""
    for lines in (b"", b"Host : a\r\n"):
        resp, conn = t.raw(b"GET /v2/ HTTP/1.1\r\n" + lines + b"\r\n")
        t.error(resp, 400)
        t.true(conn.closed_by_peer() and not conn.buf, "nothing behind it", bytes(conn.buf[:80]))


@case("R153", "L12")
def broken_chunks(t):
    repo = t.repo()
    end = b"\r\n0\r\n\r\n"
    for body in (b"zz\r\nabc", b"-1\r\na", b"ffffffffffffffffff\r\nabc", b"3\r\nabcde"):
        url = t.start(repo)
        conn = t.connect(timeout=10)
        head = f"PATCH {url} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
        conn.send(head.encode() + body + end)
        try:
            resp = conn.response("PATCH", url)
            t.true(resp.status in (400, 413), "400, 413 or a closed connection", resp.show())
        except http1.Broken as e:
            t.true("closed" in str(e) or "lost" in str(e), "400 or a closed connection", str(e))
        t.status(t.get(url), 204)


@case("L12")
def request_lines_that_are_none(t):
    for line in (b"GET", b"GET /v2/", b"GET /v2/ HTTP/9.9",
                 b"GET /v2/ FTP/1.1", b"\x00\x01\x02", b"G\x00T /v2/ HTTP/1.1", b" GET /v2/ HTTP/1.1"):
        conn = t.connect(timeout=10)
        conn.send(line + b"\r\nHost: x\r\n\r\n")
        conn.sock.shutdown(socket.SHUT_WR)
        try:
            status = conn.response().status
            t.true(400 <= status < 600, "an error or a closed connection", f"{status} for {line!r}")
        except http1.Broken:
            pass
    t.status(t.get("/v2/"), 200)


@case("R151", "L12")
def headers_of_16_kib_and_beyond(t):
    fill = "a" * 15_500
    t.status(t.get("/v2/", Authorization="Bearer " + fill), 200, 401)
    for size in (60_000, 600_000):
        conn = t.connect(timeout=10)
        conn.send(b"GET /v2/ HTTP/1.1\r\nHost: x\r\nX: " + b"a" * size + b"\r\n\r\n")
        try:
            status = conn.response().status
            t.true(status in (431, 400, 413), f"431 or a closed connection for {size} bytes", status)
        except http1.Broken:
            pass
    conn = t.connect(timeout=10)
    conn.send(b"GET /v2/?" + b"a" * 100_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n")
    try:
        status = conn.response().status
        t.true(status in (414, 431, 400), "414 or a closed connection", status)
    except http1.Broken:
        pass
    t.status(t.get("/v2/"), 200)


def rss_kib(pid):
    with open(f"/proc/{pid}/status", encoding="ascii") as f:
        return next(int(line.split()[1]) for line in f if line.startswith("VmRSS"))


@case("R154", "R70", server="")
def memory_does_not_follow_the_blob(t):
    srv = t.serve()
    client = t.at(srv)
    repo = client.repo()
    client.image(repo, "warm")
    before = rss_kib(srv.pid)
    data = os.urandom(1 << 20) * 96
    digest = oci.digest(data)
    url = client.start(repo)
    client.status(client.req("PATCH", url, {}, data, True), 202)
    client.status(client.finish(url, digest), 201)
    grown = rss_kib(srv.pid) - before
    t.true(grown < 40 << 10, "less than 40 MiB more memory after 96 MiB in", f"{grown} KiB")
    slow = []
    for _ in range(20):
        conn = client.connect()
        conn.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8192)
        conn.send(f"GET /v2/{repo}/blobs/{digest} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        slow.append(conn)
    time.sleep(0.5)
    start = time.monotonic()
    client.body(client.get(f"/v2/{repo}/blobs/{digest}"), data)
    client.status(client.get(f"/v2/{repo}/manifests/warm"), 200)
    t.true(time.monotonic() - start < 15, "others served beside 20 slow readers", "slow")
    grown = rss_kib(srv.pid) - before
    t.true(grown < 64 << 10, "less than 64 MiB more memory with 20 slow readers", f"{grown} KiB")


@case("R154")
def slow_senders_do_not_hold_others(t):
    repo = t.repo()
    open_ones = []
    for _ in range(60):
        url = t.start(repo)
        conn = t.connect()
        conn.send(f"PATCH {url} HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\nstart".encode())
        open_ones.append((url, conn))
    start = time.monotonic()
    t.image(repo, "beside")
    t.true(time.monotonic() - start < 10, "a push beside 60 stalled uploads", "slow")
    for url, conn in open_ones[:5]:
        conn.send(b"x" * (100_000 - 5))
        t.status(t.read(conn, "PATCH", url), 202)


@case("R155", "R156")
def plain_http_with_any_host(t):
    for host in ("registry.example.org", "registry.example.org:443", "[::1]:5000", "127.0.0.1", "x_y"):
        repo = t.repo()
        head = {"Host": host, "X-Forwarded-Proto": "https", "X-Forwarded-Host": "evil.test"}
        got = t.status(t.req("POST", f"/v2/{repo}/blobs/uploads/", head), 202)
        t.true(got.h("Location").startswith(f"/v2/{repo}/"), "a relative Location", got.h("Location"))


def client_hello():
    """The first bytes of a TLS client."""
    there, back = ssl.MemoryBIO(), ssl.MemoryBIO()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    try:
        context.wrap_bio(back, there, server_hostname="x").do_handshake()
    except ssl.SSLWantReadError:
        pass
    return there.read()


@case("R155", "L12")
def tls_on_the_plain_port(t):
    """400, whatever the hello's random bytes are: one in eight has a line feed before any blank."""
    hello = client_hello()
    feed = hello[:11] + b"\x01\n" + hello[13:]
    blank = hello[:11] + b"\x01 \x01\n" + hello[15:]
    for data in (feed, blank, *(client_hello() for _ in range(40))):
        conn = t.connect(timeout=10)
        conn.send(data)
        resp = conn.response()
        t.true(resp.status == 400, "400", f"{resp.status} for {data[:50]!r}")
        if data is feed:
            t.header(resp, "Content-Type", "application/json")
            said = resp.json()["errors"][0]["message"]
            t.true("this port speaks plain HTTP" in said, "what is spoken here", said)
            t.true(conn.closed_by_peer(), "nothing behind it", bytes(conn.buf[:80]))


@case("R155", "L12")
def silence_is_not_answered(t):
    conn = t.connect(timeout=10)
    conn.sock.shutdown(socket.SHUT_WR)
    t.true(conn.closed_by_peer(), "closed without a word", bytes(conn.buf[:80]))
    conn = t.connect(timeout=10)
    conn.send(OK)
    t.status(conn.response(), 200)
    conn.sock.shutdown(socket.SHUT_WR)
    t.true(conn.closed_by_peer(), "nothing behind the answer", bytes(conn.buf[:80]))


@case("R154", "L12")
def client_gone_in_half_a_header(t):
    """Its last bytes and its end in one packet, which the library takes for bytes alone."""
    for start in (b"", OK):
        conn = t.connect(timeout=15)
        if start:
            conn.send(start)
            t.status(conn.response(), 200)
        conn.sock.send(b"GET /v2/ HTTP/1.1\r\nHost: half", socket.MSG_MORE)
        conn.sock.shutdown(socket.SHUT_WR)
        begin = time.monotonic()
        if start:
            t.true(conn.closed_by_peer(12), "the end of the connection", bytes(conn.buf[:80]))
        else:
            t.true(conn.response().status == 400, "400")
        t.true(time.monotonic() - begin < 12, "soon", f"{time.monotonic() - begin:.1f} s")


@case("R157", "R38")
def answers_without_body(t):
    repo = t.repo()
    digest, _ = t.image(repo, "v1")
    url = t.start(repo)
    conn = t.connect()
    for method, target, extra, status in (
        ("GET", f"/v2/{repo}/manifests/v1", f'If-None-Match: "{digest}"\r\n', 304),
        ("GET", url, "", 204), ("HEAD", f"/v2/{repo}/manifests/none", "", 404),
        ("HEAD", f"/v2/{repo}/manifests/v1", "", 200), ("DELETE", url, "", 204), ("GET", "/v2/", "", 200),
    ):
        conn.send(f"{method} {target} HTTP/1.1\r\nHost: x\r\n{extra}\r\n".encode())
        t.status(t.read(conn, method, target), status)
