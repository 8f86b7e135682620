"""An upstream that stands in for the registry and keeps what a proxy sends, with times."""

import socket
import threading
import time

WAIT_SECONDS_MAX = 20
PIECE = 256 << 10


class Recorder:
    """Answers every request with 200. A GET of /slow gets half of the body at once, and the rest
    when `go` is set."""

    def __init__(self):
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.address = "127.0.0.1:%d" % self.listener.getsockname()[1]
        self.heads = []  # bytes of each request's head
        self.received = 0  # bytes of bodies
        self.go = threading.Event()
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            try:
                conn, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(conn,), daemon=True).start()

    def _serve(self, conn):
        with conn:
            conn.settimeout(WAIT_SECONDS_MAX)
            try:
                while self._one(conn):
                    pass
            except (OSError, ValueError):
                pass

    def _one(self, conn):
        source = conn.makefile("rb", buffering=0)
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            byte = source.read(1)
            if not byte:
                return False
            head += byte
        self.heads.append(head)
        lines = [line.lower() for line in head.decode("latin-1").split("\r\n")]
        if any(line.startswith("expect:") for line in lines):
            conn.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
        if any(line.startswith("transfer-encoding: chunked") for line in lines):
            tail = b""
            while not tail.endswith(b"0\r\n\r\n"):
                tail = tail[-8:] + self._some(conn, 1 << 16)
        else:
            left = sum(int(ln.split(":")[1]) for ln in lines if ln.startswith("content-length:"))
            while left:
                left -= len(self._some(conn, min(left, 1 << 16)))
        if "/slow " in lines[0]:
            conn.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % (2 * PIECE))
            conn.sendall(b"a" * PIECE)
            self.go.wait(WAIT_SECONDS_MAX)
            conn.sendall(b"b" * PIECE)
        else:
            conn.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")
        return True

    def _some(self, conn, most):
        data = conn.recv(most)
        if not data:
            raise ValueError("the body ended")
        self.received += len(data)
        return data

    def has_received(self, size):
        """True as soon as this much of bodies came."""
        deadline = time.monotonic() + WAIT_SECONDS_MAX
        while self.received < size and time.monotonic() < deadline:
            time.sleep(0.02)
        return self.received >= size

    def close(self):
        self.go.set()
        self.listener.close()
