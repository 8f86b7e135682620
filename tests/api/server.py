"""Starts and stops one `stowage serve` of our own; nothing else is ever signalled.

The server announces itself on stdout with a line that holds `listening on ADDRESS`. Output of
both streams is kept in memory (bounded) because some cases read the log.
"""

import itertools
import os
import re
import shutil
import signal
import subprocess
import tempfile
import threading
import zlib

import leaks
import people

READY_S = 20
STOP_S = 20
LOG_MAX = 8 << 20
ANNOUNCE = re.compile(r"listening on (\S+)")


# A tests/s3/gateway.py Gateway: then servers keep everything in a bucket of it, each below a prefix.
# Its server keeps objects as files with the names of their keys, so a root is a folder even then.
GATEWAY = None
BUCKET = None
_turns = itertools.count()


def new_root():
    if not GATEWAY:
        return tempfile.mkdtemp(prefix="api-")
    return str(GATEWAY.root / "data" / BUCKET / f"node{next(_turns)}")


def store(root):
    """Flags that name the store of a root."""
    if not GATEWAY:
        return ["--root", root]
    below = str(GATEWAY.root / "data" / BUCKET) + "/"
    prefix = root.removeprefix(below) if root.startswith(below) else f"x{zlib.crc32(root.encode())}"
    endpoint = GATEWAY.endpoints[next(_turns) % len(GATEWAY.endpoints)]
    return ["--store", f"s3://{BUCKET}/{prefix}", "--s3-endpoint", endpoint, "--redirect-off"]


def stamp_pause():
    """Seconds from a moment on until an entry is certainly stamped later: a server of a bucket tells
    whole seconds."""
    return 1.2 if GATEWAY else 0.05


class NotStarted(Exception):
    """The server ended, or said nothing, before it listened."""


def clean_env():
    env = {k: v for k, v in os.environ.items() if not k.startswith("STOWAGE")}
    env["STOWAGE_LOG_LEVEL"] = "debug"  # what is said at all is looked at (leaks.py)
    env["TZ"] = "Pacific/Kiritimati"  # answers must be UTC whatever the machine says
    if GATEWAY:
        env.update(GATEWAY.environ())
    return env


def parse_address(text, authority=None):
    """("tcp", host, port) or ("unix", path) of an announced address; ("tls", host, port, file of
    the authority's certificate) of one with https."""
    if text.startswith("unix:"):
        return ("unix", text[5:])
    host, _, port = text.split("//", 1)[-1].rstrip("/.,").rpartition(":")
    if text.startswith("https://"):
        return ("tls", host.strip("[]"), int(port), authority)
    return ("tcp", host.strip("[]"), int(port))


class Server:
    def __init__(self, binary, args=(), root=None, listen=("127.0.0.1:0",), wrap=()):
        self.binary = binary
        self.args = list(args)
        self.own_root = root is None
        self.root = root or new_root()
        self.listen = listen
        self.wrap = list(wrap)
        self.proc = None
        self.lines = []
        self.size = 0
        self.addrs = []
        self.ready = threading.Event()
        self.readers = []

    def command(self):
        cmd = self.wrap + [self.binary, "serve"] + store(self.root)
        for one in self.listen:
            cmd += ["--listen", one]
        return cmd + self.args

    def _read(self, stream, is_stdout):
        for raw in iter(stream.readline, b""):
            line = raw.decode("utf-8", "replace").rstrip("\n")
            self.size += len(line)
            leaks.line(line)
            if self.size < LOG_MAX:
                self.lines.append(line)
            found = ANNOUNCE.search(line) if is_stdout else None
            if found:
                self.addrs.append(parse_address(found.group(1)))
                if len(self.addrs) >= len(self.listen):
                    self.ready.set()
        if is_stdout:
            self.ready.set()
        stream.close()

    def start(self):
        self.addrs, self.ready = [], threading.Event()
        self.proc = subprocess.Popen(
            self.command(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=clean_env(),
        )
        self.readers = [
            threading.Thread(target=self._read, args=(s, s is self.proc.stdout), daemon=True)
            for s in (self.proc.stdout, self.proc.stderr)
        ]
        for r in self.readers:
            r.start()
        if not self.ready.wait(READY_S) or not self.addrs:
            self.stop()
            raise NotStarted(f"{' '.join(self.command())}: {self.log()[-400:]}")
        return self

    @property
    def addr(self):
        return self.addrs[0]

    @property
    def pid(self):
        return self.proc.pid

    def log(self):
        return "\n".join(self.lines)

    def said(self, text, seconds=5):
        """Whether the log holds the text. A thread reads it from a pipe, so that what was written
        before an answer may be seen a moment after it."""
        return people.eventually(lambda: text in self.log(), seconds)

    def stop(self, how=signal.SIGTERM):
        """End the process; returns its exit status (negative: the signal that ended it)."""
        if self.proc.poll() is None:
            self.proc.send_signal(how)
        try:
            status = self.proc.wait(STOP_S)
        except subprocess.TimeoutExpired:
            self.proc.kill()
            status = self.proc.wait()
        for r in self.readers:
            r.join(2)
        return status

    def restart(self, how=signal.SIGTERM):
        """Same root, new process; the port is a new one."""
        self.stop(how)
        return self.start()

    def done(self):
        if self.proc:
            self.stop()
        if self.own_root:
            shutil.rmtree(self.root, ignore_errors=True)

    def __enter__(self):
        return self.start()

    def __exit__(self, *_):
        self.done()
