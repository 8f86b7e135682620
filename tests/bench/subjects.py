"""The servers a bench run compares: how each is found, started, and told to stop.

A subject has a name, a version text, and start(root) -> Server. Every server listens on loopback
on a port of the kernel's choice, runs with logging of requests off, and stores what it gets below
the given root.
"""
import os
import re
import shutil
import signal
import socket
import subprocess
import time

import fill

START_SECONDS_MAX = 20
STOP_SECONDS_MAX = 20
LOG_CHARS_MAX = 65536
BLOB_BYTES = 256 * 2**20
# Written in pieces near to those of our store: the page cache keeps a file in parts of the size it was written
# in, and sendfile of parts of 8 KiB costs half as much again.
BLOB_PIECE_BYTES = 256 * 2**10

# Access log and tracing off, the least log level there is, in-memory descriptor cache on.
DISTRIBUTION_CONFIG = """version: 0.1
log: {{level: error, accesslog: {{disabled: true}}}}
storage:
  cache: {{blobdescriptor: inmemory}}
  filesystem: {{rootdirectory: {root}}}
  delete: {{enabled: true}}
http:
  addr: 127.0.0.1:{port}
  headers: {{X-Content-Type-Options: [nosniff]}}
"""
NGINX_CONFIG = """daemon off;
master_process off;
pid {root}/nginx.pid;
error_log {root}/error.log;
events {{ worker_connections 1024; }}
http {{
  access_log off;
  sendfile on;
  tcp_nopush on;
  keepalive_requests 1000000000;
  client_body_temp_path {root}/t1; proxy_temp_path {root}/t2; fastcgi_temp_path {root}/t3;
  uwsgi_temp_path {root}/t4; scgi_temp_path {root}/t5;
  server {{ listen 127.0.0.1:{port}; root {root}/www; }}
}}
"""


class Failed(Exception):
    """A server or a measurement that did not work; the text says why."""


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


def first_answer(port, path):
    """True when the server gives any HTTP answer."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=2) as link:
            link.sendall(f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n"
                         "Connection: close\r\n\r\n".encode())
            return link.recv(12).startswith(b"HTTP/1.1 ")
    except OSError:
        return False


class Server:
    """A running server process. Waits until it answers; started_ms says how long that took.

    Its output goes to a file beside the root: a reader in this process would take CPU time from
    the server while it is measured."""

    def __init__(self, command, log, port=None, path="/v2/", env=None, answers=True):
        self.log = log
        self.port = port
        began = time.monotonic()
        with open(log, "wb") as output:
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output,
                                            stderr=subprocess.STDOUT,
                                            env={**os.environ, **(env or {})})
        try:
            self.wait_ready(began, path, answers)
        except BaseException:
            self.stop()
            raise

    def printed(self):
        with open(self.log, encoding="utf-8", errors="replace") as file:
            return file.read(LOG_CHARS_MAX)

    def is_ready(self, path, answers):
        if self.port is None:
            match = re.search(r"listening on http://127\.0\.0\.1:(\d+)\s", self.printed())
            if not match:
                return False
            self.port = int(match[1])
        return not answers or first_answer(self.port, path)

    def wait_ready(self, began, path, answers):
        while not self.is_ready(path, answers):
            ended = self.process.poll() is not None
            if ended or time.monotonic() - began > START_SECONDS_MAX:
                raise Failed(("ended at once: " if ended else "does not answer: ") +
                             " ".join(self.printed().split())[:200])
            time.sleep(0.001)
        self.started_ms = (time.monotonic() - began) * 1000

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}"

    def stop(self):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(STOP_SECONDS_MAX)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()


class Subject:
    """One of the compared servers; kind is "ours", "peer" or "baseline"."""

    synced = True  # False: it answers a push before the data is on disk

    fill = None    # writes many tags and repositories into a root, see fill.py

    def __init__(self, name, kind, version, start):
        self.name = name
        self.kind = kind
        self.version = version
        self.start = start


def say(command):
    """Output of a version command on one line, or an empty text."""
    try:
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                              timeout=10)
    except (OSError, subprocess.SubprocessError):
        return ""
    return " ".join(done.stdout.split())


def version_in(text):
    match = re.search(r"v?(\d+\.\d+[\w.+~-]*)", text)
    return match[1] if match else "unknown version"


def ours(program):
    def start(root):
        return Server([program, "serve", "--root", root, "--listen", "127.0.0.1:0"],
                      root + ".log")
    match = re.search(r"stowage (\S+) commit (\S+)", say([program, "version"]))
    version = f"{match[1]} ({match[2]})" if match else "unknown version"
    subject = Subject("stowage", "ours", version, start)
    subject.fill = fill.stowage
    return subject


def distribution(name, program):
    def start(root):
        port = free_port()
        config = root + ".yml"
        with open(config, "w", encoding="ascii") as file:
            file.write(DISTRIBUTION_CONFIG.format(root=root, port=port))
        return Server([program, "serve", config], root + ".log", port,
                      env={"OTEL_TRACES_EXPORTER": "none"})
    subject = Subject(name, "peer", version_in(say([program, "--version"])), start)
    subject.fill = fill.distribution
    return subject


def olareg(program):
    def start(root):
        port = free_port()
        return Server([program, "serve", "--addr", "127.0.0.1", "--port", str(port), "--dir", root,
                       "--store-type", "dir", "--verbosity", "error"], root + ".log", port)
    text = say([program, "version"])
    match = re.search(r"VCSTag:\s*(v\S+)", text)
    subject = Subject("olareg", "peer", match[1] if match else "built from source", start)
    subject.synced = False
    subject.fill = fill.olareg
    return subject


def blob_file(path):
    """The file both sendfile baselines serve."""
    if not os.path.exists(path):
        os.makedirs(os.path.dirname(path), exist_ok=True)
        block = os.urandom(BLOB_PIECE_BYTES)
        with open(path, "wb", buffering=0) as file:
            for _ in range(BLOB_BYTES // len(block)):
                file.write(block)
    return path


def bare_mhd(program):
    def start(root):
        return Server([program, "mhd", blob_file(os.path.join(root, "blob"))], root + ".log",
                      path="/manifest")
    return Subject("bare MHD", "baseline", "", start)


def bare_receive(program):
    def start(root):
        return Server([program, "receive", root], root + ".log", answers=False)
    return Subject("bare receive", "baseline", "", start)


def nginx(program):
    def start(root):
        port = free_port()
        os.chmod(root, 0o755)
        blob_file(os.path.join(root, "www", "blob"))
        config = os.path.join(root, "nginx.conf")
        with open(config, "w", encoding="ascii") as file:
            file.write(NGINX_CONFIG.format(root=root, port=port))
        return Server([program, "-c", config, "-e", os.path.join(root, "error.log")],
                      root + ".log", port, "/")
    return Subject("nginx", "baseline", version_in(say([program, "-v"])), start)


def program_at(variable, *names):
    """A program named by an environment variable, else found on PATH, else None."""
    given = os.environ.get(variable)
    if given:
        return given if os.access(given, os.X_OK) else None
    for name in names:
        found = shutil.which(name) or shutil.which(name, path="/usr/sbin:/sbin")
        if found:
            return found
    return None


def find_all(stowage, bare):
    """Present subjects, and the names of those that could not be had."""
    makers = [("stowage", stowage if os.access(stowage, os.X_OK) else None, ours),
              ("docker-registry", program_at("BENCH_DOCKER_REGISTRY", "docker-registry"),
               lambda p: distribution("docker-registry", p)),
              ("distribution 3", program_at("BENCH_DISTRIBUTION", "registry"),
               lambda p: distribution("distribution 3", p)),
              ("olareg", program_at("BENCH_OLAREG", "olareg"), olareg),
              ("bare MHD", bare, bare_mhd), ("bare receive", bare, bare_receive),
              ("nginx", program_at("BENCH_NGINX", "nginx"), nginx)]
    present, missing = [], []
    for name, program, make in makers:
        if program:
            present.append(make(program))
        else:
            missing.append(name)
    return present, missing
