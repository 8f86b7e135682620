"""A small HTTP client on one connection, and what the system says of a process."""

import socket
import time


class Client:
    def __init__(self, addr):
        self.sock = socket.create_connection(addr[1:], timeout=120)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.rest = b""

    def call(self, method, path, body=b"", **headers):
        """(status, headers, body)"""
        lines = [f"{method} {path} HTTP/1.1", "Host: x", f"Content-Length: {len(body)}"]
        lines += [f"{k.replace('_', '-')}: {v}" for k, v in headers.items()]
        self.sock.sendall("\r\n".join(lines).encode() + b"\r\n\r\n" + body)
        while b"\r\n\r\n" not in self.rest:
            self.more()
        head, self.rest = self.rest.split(b"\r\n\r\n", 1)
        rows = head.decode("latin-1").split("\r\n")
        found = dict(row.lower().split(": ", 1) if row.lower().startswith("content-length") else row.split(": ", 1) for row in rows[1:])
        size = 0 if method == "HEAD" else int(found.get("content-length", 0))
        while len(self.rest) < size:
            self.more()
        data, self.rest = self.rest[:size], self.rest[size:]
        return int(rows[0].split()[1]), found, data

    def more(self):
        got = self.sock.recv(1 << 20)
        if not got:
            raise ConnectionError("the server closed")
        self.rest += got

    def get(self, path):
        status, headers, data = self.call("GET", path)
        if status != 200:
            raise AssertionError(f"{path}: {status} {data[:200]}")
        return headers, data

    def close(self):
        self.sock.close()


def cpu_s(pid):
    """By the clock of the process (clock_getcpuclockid): /proc counts in hundredths of a second."""
    return time.clock_gettime((~pid << 3) | 2)


def memory_mib(pid, what="VmRSS"):
    with open(f"/proc/{pid}/status", encoding="ascii") as f:
        for line in f:
            if line.startswith(what + ":"):
                return int(line.split()[1]) / 1024
    raise AssertionError(what)


def written_bytes(pid):
    """Handed to write calls: the log's entries, parts and heads of checkpoints, hints; and answers."""
    with open(f"/proc/{pid}/io", encoding="ascii") as f:
        return int(f.readlines()[5].split()[1])
