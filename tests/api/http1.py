"""A small HTTP/1.1 client that keeps control of every byte.

A registry is judged by its framing, so nothing here normalises: header order, repeated headers,
broken bodies and half-sent requests go out exactly as the case wrote them. One Conn is one
socket and is used by one thread; every wait ends after `timeout` seconds.
"""

import json
import socket
import ssl

HEAD_MAX = 1 << 20
BODY_MAX = 1 << 30
SHOWN_MAX = 220


class Broken(Exception):
    """The connection ended, or what arrived is not HTTP."""


class Response:
    """One answer. `headers` is a list of (name, value) in order of arrival."""

    def __init__(self, method, target, sent):
        self.method = method
        self.target = target
        self.sent = sent
        self.version = ""
        self.status = 0
        self.headers = []
        self.body = b""
        self.interim = []  # status of each 1xx before this answer
        self.framing = "none"  # none | length | chunked | close
        self.extra = b""  # bytes that follow an answer nobody asked for

    def all(self, name):
        return [v for n, v in self.headers if n.lower() == name.lower()]

    def h(self, name):
        """The value of a header that may occur once; None when absent."""
        values = self.all(name)
        return values[0] if values else None

    def json(self):
        return json.loads(self.body.decode("utf-8"))

    def codes(self):
        """Error codes of the body, [] when it is not the error document."""
        try:
            return [e["code"] for e in self.json()["errors"]]
        except (ValueError, KeyError, TypeError):
            return []

    def show(self):
        text = self.body[:SHOWN_MAX].decode("utf-8", "replace").replace("\n", " ")
        return f"{self.status} {text!r}" if text else f"{self.status} (no body)"


class Conn:
    """One connection. addr is ("tcp", host, port), ("tls", host, port, file of the authority's
    certificate) or ("unix", path)."""

    def __init__(self, addr, timeout=30):
        self.addr = addr
        if addr[0] == "unix":
            self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            self.sock.settimeout(timeout)
            self.sock.connect(addr[1])
        else:
            self.sock = socket.create_connection(addr[1:3], timeout=timeout)
            self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if addr[0] == "tls":
            trust = ssl.create_default_context(cafile=addr[3])
            self.sock = trust.wrap_socket(self.sock, server_hostname=addr[1])
        self.buf = b""
        self.used = 0
        self.ended = False

    def send(self, data):
        """Send all; a peer that hangs up early is not an error here: its answer may be waiting."""
        try:
            self.sock.sendall(data)
            return True
        except (BrokenPipeError, ConnectionResetError, ssl.SSLError):
            return False

    def _more(self):
        try:
            data = self.sock.recv(1 << 18)
        except socket.timeout as e:
            raise Broken("no answer within the time limit") from e
        except OSError as e:
            raise Broken(f"connection lost: {e}") from e
        if not data:
            self.ended = True
            raise Broken("connection closed" + (" in the middle of an answer" if self.buf else ""))
        self.buf += data

    def _until(self, mark):
        while mark not in self.buf:
            if len(self.buf) > HEAD_MAX:
                raise Broken("endless header")
            self._more()
        head, self.buf = self.buf.split(mark, 1)
        return head

    def exactly(self, n):
        if n > BODY_MAX:
            raise Broken(f"Content-Length of {n}")
        parts, have = [self.buf], len(self.buf)
        while have < n:
            self.buf = b"..."
            self._more()
            parts.append(self.buf[3:])
            have += len(parts[-1])
        data = b"".join(parts)
        self.buf = data[n:]
        return data[:n]

    def _chunks(self):
        out = []
        while True:
            size = int(self._until(b"\r\n").split(b";")[0], 16)
            if size == 0:
                while self._until(b"\r\n"):
                    pass
                return b"".join(out)
            out.append(self.exactly(size))
            self.exactly(2)

    def _head(self, resp):
        lines = self._until(b"\r\n\r\n").decode("latin-1").split("\r\n")
        parts = lines[0].split(" ", 2)
        if len(parts) < 2 or not parts[0].startswith("HTTP/1.") or not parts[1].isdigit():
            raise Broken(f"not a status line: {lines[0]!r}")
        resp.version, resp.status = parts[0], int(parts[1])
        resp.headers = []
        for line in lines[1:]:
            name, colon, value = line.partition(":")
            if not colon or name != name.strip():
                raise Broken(f"not a header line: {line!r}")
            resp.headers.append((name, value.strip()))

    def head(self, method="GET", target="", sent=""):
        """Status line and headers of the next final answer; the body stays unread."""
        resp = Response(method, target, sent)
        self._head(resp)
        while 100 <= resp.status < 200:
            resp.interim.append(resp.status)
            self._head(resp)
        return resp

    def response(self, method="GET", target="", sent=""):
        """The next final answer with its body."""
        resp = self.head(method, target, sent)
        length = resp.h("Content-Length")
        if method == "HEAD" or resp.status in (204, 304):
            pass
        elif "chunked" in (resp.h("Transfer-Encoding") or "").lower():
            resp.framing, resp.body = "chunked", self._chunks()
        elif length is not None:
            if not length.isdigit():
                raise Broken(f"Content-Length {length!r}")
            resp.framing, resp.body = "length", self.exactly(int(length))
        else:
            resp.framing = "close"
            try:
                while True:
                    self._more()
            except Broken:
                resp.body, self.buf = self.buf, b""
        return resp

    def interim(self):
        """Status of the next answer head when it is a 1xx, which is consumed; else None."""
        while b"\r\n\r\n" not in self.buf:
            self._more()
        status = self.buf.split(b" ", 2)[1][:3]
        if not status.startswith(b"1"):
            return None
        self._until(b"\r\n\r\n")
        return int(status)

    def closed_by_peer(self, wait=5):
        """True when the peer closes within `wait` seconds without sending more."""
        self.sock.settimeout(wait)
        try:
            self.buf += self.sock.recv(65536)
            return not self.buf
        except socket.timeout:
            return False
        except OSError:
            return True

    def reset(self):
        """Drop the connection with a RST, as a killed client does."""
        linger = (1).to_bytes(4, "little") + (0).to_bytes(4, "little")
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        self.sock.close()

    def close(self):
        self.sock.close()


def chunked(data, sizes=None):
    """Data in chunked transfer coding, cut into pieces of the given sizes (default: 16 KiB)."""
    out, at, turn = [], 0, 0
    while at < len(data):
        n = sizes[turn % len(sizes)] if sizes else 16384
        piece = data[at : at + n]
        out.append(b"%x\r\n%s\r\n" % (len(piece), piece))
        at, turn = at + n, turn + 1
    return b"".join(out) + b"0\r\n\r\n"


def build(method, target, headers=(), body=None, chunks=None, host="registry.test"):
    """Bytes of a request and a short description of it. `chunks`: True or a list of sizes."""
    headers = list(headers.items()) if isinstance(headers, dict) else list(headers)
    names = {n.lower() for n, _ in headers}
    lines = [f"{method} {target} HTTP/1.1"]
    if "host" not in names:
        lines.append(f"Host: {host}")
    lines += [f"{n}: {v}" for n, v in headers]
    payload = b""
    if chunks:
        lines.append("Transfer-Encoding: chunked")
        payload = chunked(body or b"", chunks if isinstance(chunks, list) else None)
    elif body is not None or method in ("POST", "PUT", "PATCH"):
        payload = body or b""
        if "content-length" not in names:
            lines.append(f"Content-Length: {len(payload)}")
    note = [f"{n}: {v}" for n, v in headers]
    if payload:
        note.append(f"{len(body or b'')} bytes" + (" chunked" if chunks else ""))
    sent = f"{method} {target}" + (f" ({', '.join(note)})" if note else "")
    head = ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")
    return head, payload, sent[: 2 * SHOWN_MAX]
