#!/usr/bin/env python3
"""A crowd of clients of one server, in one process: many connections over one epoll set.

    crowd.py HOST PORT

Reads commands from standard input and answers each with one line on standard output, both JSON:

    {"do": "add", "group": NAME, "kind": KIND, "count": N, ...}   answered at once
    {"do": "stat"}                                                 {GROUP: {...}}
    {"do": "send", "group": NAME, "text": TEXT}                    bytes to each open connection
    {"do": "drop", "group": NAME}                                  closes them

Kinds:
    get     sends "request" (or GET "path"), reads the answer, holds the connection
    pull    GETs each of "paths" at full speed, then holds
    read    GETs "path", reads "rate" bytes of the answer each second (0: no more after "first")
    upload  opens a session in "repo", then sends a PATCH of "size" bytes: "first" at once, then
            "rate" each second (0: nothing more)
    raw     sends "text" and holds; what comes back is read; then "drip", if given, each second

At most CONNECTING_MAX connections are between connect and their first answer at once, unless
"at_once" is set. The end of standard input ends the process.
"""

import collections
import json
import select
import socket
import sys
import time

CONNECTING_MAX = 128
RECV_BYTES = 256 << 10
HEAD_MAX = 64 << 10
TICKS_PER_S = 10
CHUNK = b"\xa5" * (256 << 10)
WINDOW = 4096  # of a slow reader


class Head:
    """Status and headers of an answer."""

    def __init__(self, data):
        lines = data.decode("latin-1").split("\r\n")
        self.status = int(lines[0].split(" ", 2)[1])
        self.fields = {}
        for line in lines[1:]:
            name, _, value = line.partition(":")
            self.fields[name.strip().lower()] = value.strip()


class Group:
    def __init__(self, spec):
        self.spec = spec
        self.conns = set()
        self.waiting = 0  # not connected yet
        self.settled = 0  # reached the state in which they are held
        self.bytes = 0  # of bodies, sent or received
        self.statuses = collections.Counter()
        self.retry_after = 0
        self.closed = []  # seconds from settling (else from connect) to the server's end

    def stat(self):
        return {
            "waiting": self.waiting,
            "open": len(self.conns),
            "settled": self.settled,
            "bytes": self.bytes,
            "statuses": {str(k): v for k, v in self.statuses.items()},
            "retry_after": self.retry_after,
            "closed": len(self.closed),
            "closed_first": min(self.closed, default=0),
            "closed_last": max(self.closed, default=0),
        }


class Conn:
    def __init__(self, crowd, group):
        self.crowd, self.group, self.spec = crowd, group, group.spec
        self.out, self.got, self.left = b"", b"", -1  # left: of the answer's body, -1: in its head
        self.state = "connect"  # then: ask, slow, hold
        self.step = 0
        self.body_left = self.spec.get("size", 0)
        self.since = time.monotonic()
        family = socket.AF_INET6 if ":" in crowd.addr[0] else socket.AF_INET
        self.sock = socket.socket(family, socket.SOCK_STREAM)
        self.sock.setblocking(False)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if self.spec["kind"] == "read":
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, WINDOW)
        self.sock.connect_ex(crowd.addr)
        self.fd = self.sock.fileno()
        crowd.poll.register(self.fd, select.EPOLLOUT)

    def ask(self, text, body=b""):
        self.state, self.got, self.left = "ask", b"", -1
        self.out += text.encode() + body
        self.flush()

    def request(self, method, path, headers=""):
        return f"{method} {path} HTTP/1.1\r\nHost: {self.crowd.host}\r\n{headers}\r\n"

    def start(self):
        kind, spec = self.spec["kind"], self.spec
        if kind == "raw":
            self.out = spec["text"].encode()
            self.settle("hold")
            self.flush()
        elif kind == "upload":
            path = f"/v2/{spec['repo']}/blobs/uploads/"
            self.ask(self.request("POST", path, "Content-Length: 0\r\n"))
        elif kind == "pull":
            self.ask(self.request("GET", spec["paths"][0]))
        elif "request" in spec:
            self.ask(spec["request"], b"x" * spec.get("body", 0))
        else:
            self.ask(self.request("GET", spec["path"]))

    def settle(self, state):
        self.crowd.connected(self)
        self.state = state
        self.since = time.monotonic()
        self.group.settled += 1

    def watch(self):
        events = select.EPOLLOUT if self.out else 0
        if self.spec["kind"] != "read" or self.state != "slow":
            events |= select.EPOLLIN
        self.crowd.poll.modify(self.fd, events)

    def flush(self):
        try:
            sent = self.sock.send(self.out) if self.out else 0
        except BlockingIOError:
            sent = 0
        except OSError:
            sent = len(self.out)  # the answer, if any, is still read
        self.out = self.out[sent:]
        self.watch()

    def answered(self, head):
        self.crowd.connected(self)
        self.group.statuses[head.status] += 1
        self.group.retry_after += "retry-after" in head.fields
        self.step += 1
        kind, spec = self.spec["kind"], self.spec
        if kind == "pull" and self.step < len(spec["paths"]):
            self.ask(self.request("GET", spec["paths"][self.step]))
        elif kind == "upload" and self.step == 1 and head.status == 202:
            headers = f"Content-Length: {spec['size']}\r\n"
            self.out += self.request("PATCH", head.fields["location"], headers).encode()
            self.got, self.left = b"", -1
            self.settle("slow")
            self.put(spec.get("first", 1))
        elif kind == "raw":
            self.watch()  # a last word; it has held since it sent its text
        else:
            self.settle("hold")
            self.watch()

    def put(self, n):
        """n bytes of an upload's body."""
        n = min(n, self.body_left)
        self.body_left -= n
        self.group.bytes += n
        self.out += CHUNK[:n] if n <= len(CHUNK) else b"\xa5" * n
        self.flush()

    def head(self):
        """Takes the head off the bytes received, and says what follows."""
        end = self.got.find(b"\r\n\r\n")
        if end < 0:
            if len(self.got) > HEAD_MAX:
                raise ConnectionError("endless head")
            return None
        head = Head(self.got[:end])
        self.left = int(head.fields.get("content-length", "0"))
        self.got = self.got[end + 4 :]
        return head

    def receive(self, most=RECV_BYTES):
        try:
            data = self.sock.recv(most)
        except BlockingIOError:
            return
        if not data:
            self.group.closed.append(time.monotonic() - self.since)
            self.close()
            return
        if self.left < 0:
            self.got += data
            self.current = self.head()
            if self.current is None:
                return
            data, self.got = self.got, b""
            if self.spec["kind"] == "read" and self.current.status == 200:
                self.answered_slow(len(data))
                return
        self.left -= len(data)
        self.group.bytes += len(data)
        if self.left <= 0:
            self.left, self.got = -1, b""
            self.answered(self.current)

    def answered_slow(self, n):
        """The head of an answer that is read slowly."""
        self.group.statuses[self.current.status] += 1
        self.group.bytes += n
        self.left -= n
        self.settle("slow")
        self.watch()

    def tick(self):
        """Once a second."""
        rate = self.spec.get("rate", 0)
        if self.spec.get("drip") and self.state == "hold":
            self.out += self.spec["drip"].encode()
            self.flush()
        if self.state != "slow" or rate == 0:
            return
        if self.spec["kind"] == "upload":
            self.put(rate)
        else:
            self.receive(rate)

    def event(self, events):
        if self.state == "connect" and events & select.EPOLLOUT:
            self.start()
            return
        if events & select.EPOLLOUT:
            self.flush()
        if events & (select.EPOLLIN | select.EPOLLHUP | select.EPOLLERR):
            self.receive()

    def close(self):
        self.crowd.connected(self)
        self.crowd.conns.pop(self.fd, None)
        self.group.conns.discard(self)
        self.sock.close()


class Crowd:
    def __init__(self, host, port):
        self.addr = (host, port)
        self.host = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        self.poll = select.epoll()
        self.conns, self.groups = {}, {}
        self.todo, self.connecting = collections.deque(), set()
        self.ticks, self.next_tick = 0, time.monotonic()

    def connected(self, conn):
        self.connecting.discard(conn)

    def open_more(self):
        while self.todo:
            group = self.groups[self.todo[0]]
            if len(self.connecting) >= CONNECTING_MAX and not group.spec.get("at_once"):
                return
            self.todo.popleft()
            conn = Conn(self, group)
            group.waiting -= 1
            group.conns.add(conn)
            self.conns[conn.fd] = conn
            self.connecting.add(conn)

    def run_tick(self):
        now = time.monotonic()
        if now < self.next_tick:
            return
        self.next_tick = max(self.next_tick + 1 / TICKS_PER_S, now - 1)
        self.ticks = (self.ticks + 1) % TICKS_PER_S
        for conn in list(self.conns.values()):
            if conn.fd % TICKS_PER_S == self.ticks and conn.fd in self.conns:
                self.guarded(conn, conn.tick)

    def guarded(self, conn, fn, *args):
        try:
            fn(*args)
        except OSError:
            conn.group.closed.append(time.monotonic() - conn.since)
            conn.close()

    def command(self, line):
        c = json.loads(line)
        group = self.groups.get(c.get("group"))
        if c["do"] == "add":
            group = self.groups.setdefault(c["group"], Group(c))
            group.waiting += c["count"]
            self.todo.extend([c["group"]] * c["count"])
        elif c["do"] == "drop":
            self.todo = collections.deque(g for g in self.todo if g != c["group"])
            group.waiting = 0
            for conn in list(group.conns):
                conn.close()
        elif c["do"] == "send":
            for conn in list(group.conns):
                conn.out += c["text"].encode()
                conn.state, conn.left = "ask", -1
                self.guarded(conn, conn.flush)
        return {name: g.stat() for name, g in self.groups.items()}

    def run(self):
        self.poll.register(0, select.EPOLLIN)
        while True:
            self.open_more()
            wait = max(0.0, self.next_tick - time.monotonic())
            for fd, events in self.poll.poll(wait, 512):
                if fd == 0:
                    line = sys.stdin.buffer.raw.readline()
                    if not line:
                        return
                    print(json.dumps(self.command(line)), flush=True)
                elif fd in self.conns:
                    self.guarded(self.conns[fd], self.conns[fd].event, events)
            self.run_tick()


if __name__ == "__main__":
    Crowd(sys.argv[1], int(sys.argv[2])).run()
