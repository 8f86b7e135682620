"""An HTTP proxy in front of an S3 server that does to requests what networks and stores in trouble
do: answers that are lost, late, cut short or wrong, requests that arrive late or once more, and
bursts of refusals. Fates are drawn from one seeded generator.

    FaultProxy(endpoint, rng, share=0.08)

.share is the part of the requests that meet a fault (0: none; it may be changed at any time);
.counts says how many met which.
"""

import collections
import socket
import struct
import threading
import time

import proxy as proxy_mod

LATE_S = 2.0
BURST_EVERY_S = 9.0
BURST_S = (0.3, 1.5)
REFUSALS = {500: "InternalError", 503: "SlowDown", 429: "TooManyRequests", 409: "ConditionalRequestConflict"}
FATES = (
    "reply lost",  # applied, and nobody says so
    "reply late",
    "request late",  # the client hears nothing, its request is applied seconds later
    "request held",
    "twice",  # applied again later
    "reset",  # nothing is applied
    "half a body",
    "refused",
)


def error(status):
    return (f'<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>{REFUSALS[status]}</Code>'
            f"<Message>by the test</Message></Error>").encode()


class Handler(proxy_mod.Handler):
    def cut(self):
        """The connection ends with a reset."""
        self.close_connection = True
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.connection.close()
        self.wfile = open("/dev/null", "wb")  # what the base class still flushes

    def later(self, headers, body, seconds):
        """The same request once more, by a connection of its own."""
        command, path, server = self.command, self.path, self.server

        def send():
            time.sleep(seconds)
            alone = proxy_mod.Handler.__new__(proxy_mod.Handler)
            alone.server, alone.upstream = server, None
            try:
                alone.ask(command, path, headers, body)
            except (OSError, proxy_mod.http.client.HTTPException):
                return
            finally:
                if alone.upstream:
                    alone.upstream.close()

        threading.Thread(target=send, daemon=True).start()

    def refuse(self, status):
        self.reply(status, [("Content-Type", "application/xml")], b"" if self.command == "HEAD" else error(status),
                   self.server.proxy)

    def answer(self):
        proxy = self.server.proxy
        headers, body = self.take_request()
        fate = proxy.fate()
        write = self.command != "GET" and self.command != "HEAD"
        if fate == "refused" or isinstance(fate, int):
            status = fate if isinstance(fate, int) else proxy.pick(sorted(REFUSALS))
            if status == 409 and "if-none-match" not in self.headers:
                status = 503
            self.refuse(status)
            return
        if fate == "reset":
            self.cut()
            return
        if fate == "request late" and write:
            self.later(headers, body, proxy.seconds(0.5, 5))
            self.cut()
            return
        if fate in ("request held", "request late"):
            time.sleep(LATE_S)
        try:
            resp, data = self.ask(self.command, self.path, headers, body)
        except (OSError, proxy_mod.http.client.HTTPException):
            self.close_connection = True
            return
        if fate == "twice" and write:
            self.later(headers, body, proxy.seconds(0, 5))
        if fate == "reply lost":
            self.cut()
            return
        if fate == "reply late":
            time.sleep(LATE_S)
        if fate == "half a body" and len(data) > 1 and self.command != "HEAD":
            self.wfile.write(f"HTTP/1.1 {resp.status} x\r\nContent-Length: {len(data)}\r\n\r\n".encode()
                             + data[: len(data) // 2])
            self.close_connection = True
            return
        try:
            self.reply(resp.status, resp.getheaders(), data, proxy)
        except OSError:
            self.close_connection = True

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = answer


class FaultProxy(proxy_mod.Proxy):
    def __init__(self, endpoint, rng, share=0.08):
        self.rng = rng
        self.share = share
        self.draw = threading.Lock()
        self.counts = collections.Counter()
        self.burst_until = 0
        self.burst_next = time.monotonic() + BURST_EVERY_S / 3
        self.burst_status = 503
        super().__init__(endpoint)
        self.http.RequestHandlerClass = Handler

    def pick(self, some):
        with self.draw:
            return self.rng.choice(some)

    def seconds(self, least, most):
        with self.draw:
            return self.rng.uniform(least, most)

    def fate(self):
        """None, a fate, or the status of a burst."""
        if not self.share:
            return None
        now = time.monotonic()
        with self.draw:
            if now > self.burst_next:
                self.burst_until = now + self.rng.uniform(*BURST_S)
                self.burst_next = now + BURST_EVERY_S
                self.burst_status = self.rng.choice(sorted(REFUSALS))
            if now < self.burst_until:
                self.counts[f"burst of {self.burst_status}"] += 1
                return self.burst_status
            if self.rng.random() >= self.share:
                return None
            fate = self.rng.choice(FATES)
            self.counts[fate] += 1
            return fate
