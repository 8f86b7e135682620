"""A relay in front of a server that counts what passes, and may make the server a distant one: each
request is late, and each connection moves so many bytes a second, either way.

    Relay(authority, delay=0, rate=0)     .authority .requests .down, the bytes from the server
    with Far(authority, 0.02, 30_000_000) as far: far.url
                                          the same in a process of its own, so that it is no part of
                                          what is measured; far.requests()

It passes bytes on as they come and knows nothing of HTTP: what a client sends after an answer began
is a new request (nobody here sends one before the answer to the last).
"""

import contextlib
import socket
import subprocess
import sys
import threading
import time

BLOCK = 256 << 10
KERNEL_BUFFER = 256 << 10  # so that what lies in the kernel is little beside what is measured


class Flow:
    """Bytes of one direction: not faster than rate, whatever the pauses before."""

    def __init__(self, rate):
        self.rate, self.free_at = rate, 0.0

    def pass_on(self, count):
        if not self.rate:
            return
        now = time.monotonic()
        self.free_at = max(self.free_at, now) + count / self.rate
        if self.free_at > now:
            time.sleep(self.free_at - now)


class Link:
    """One connection and its twin to the server."""

    def __init__(self, near, relay):
        self.near, self.relay = near, relay
        self.far = socket.create_connection(relay.upstream)
        self.answered = True  # the next bytes of the client begin a request
        for one in (self.near, self.far):
            one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for source, sink, asks in ((self.near, self.far, True), (self.far, self.near, False)):
            threading.Thread(target=self.run, args=(source, sink, asks), daemon=True).start()

    def note(self, count, asks):
        relay = self.relay
        if asks and self.answered:
            self.answered = False
            with relay.lock:
                relay.requests += 1
            time.sleep(relay.delay)
        elif not asks:
            self.answered = True
            with relay.lock:
                relay.down += count

    def run(self, source, sink, asks):
        flow, room = Flow(self.relay.rate), memoryview(bytearray(BLOCK))
        with contextlib.suppress(OSError):
            while count := source.recv_into(room):
                self.note(count, asks)
                flow.pass_on(count)
                sink.sendall(room[:count])
        for one in (source, sink):
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)


class Relay:
    def __init__(self, authority, delay=0.0, rate=0):
        host, _, port = authority.rpartition(":")
        self.upstream, self.delay, self.rate = (host, int(port)), delay, rate
        self.requests = self.down = 0
        self.lock = threading.Lock()
        self.listener = socket.socket()
        self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, KERNEL_BUFFER)
        self.listener.bind(("127.0.0.1", 0))
        self.listener.listen(128)
        self.port = self.listener.getsockname()[1]
        self.authority = f"127.0.0.1:{self.port}"
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        with contextlib.suppress(OSError):
            while True:
                Link(self.listener.accept()[0], self)

    def close(self):
        with contextlib.suppress(OSError):
            self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


class Far:
    def __init__(self, authority, delay, rate):
        self.proc = subprocess.Popen([sys.executable, __file__, authority, str(delay), str(rate)],
                                     stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.url = "http://" + self.proc.stdout.readline().strip()

    def requests(self):
        """So far."""
        self.proc.stdin.write("\n")
        self.proc.stdin.flush()
        return int(self.proc.stdout.readline())

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.proc.stdin.close()
        self.proc.wait(10)
        self.proc.stdout.close()


def main():
    with Relay(sys.argv[1], float(sys.argv[2]), int(sys.argv[3])) as relay:
        print(relay.authority, flush=True)
        for _ in sys.stdin:
            print(relay.requests, flush=True)


if __name__ == "__main__":
    main()
