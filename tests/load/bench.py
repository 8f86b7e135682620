"""What the cases share: the server under test and what the kernel says about it, crowds of clients,
probes of the answers that others get meanwhile."""

import collections
import hashlib
import http.client
import json
import os
import pathlib
import re
import resource
import subprocess
import sys
import time

from server import Server

HERE = pathlib.Path(__file__).resolve().parent
MIB = 1 << 20
TIMING_TRIES = 3
ANSWER_S = 60
MANIFEST_TYPE = "application/vnd.oci.image.manifest.v1+json"


class Fail(Exception):
    """What was expected did not happen."""


class Skip(Exception):
    """The case cannot run here."""


def need(condition, text):
    if not condition:
        raise Fail(text)


def raise_files(least):
    """Descriptors for a crowd: the hard limit must allow them."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < least:
        raise Skip(f"{hard} descriptors are allowed, {least} are needed")
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def until(condition, seconds, step=0.2):
    """Waits for condition(); False when it did not come true."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(step)
    return True


Memory = collections.namedtuple("Memory", "rss anon peak")  # bytes


class Node:
    """One server, by its process."""

    def __init__(self, binary, scratch, args=(), files=None):
        wrap = ["prlimit", f"--nofile={files}:{files}"] if files else []
        root = os.path.join(scratch, f"root-{time.monotonic_ns()}")
        self.server = Server(binary, args, root, wrap=wrap).start()
        self.host, self.port = self.server.addr[1], self.server.addr[2]
        self.pid = self.server.pid

    def memory(self):
        with open(f"/proc/{self.pid}/status", encoding="ascii") as f:
            kib = dict(re.findall(r"^(\w+):\s+(\d+) kB", f.read(), re.M))
        return Memory(*(int(kib[k]) << 10 for k in ("VmRSS", "RssAnon", "VmHWM")))

    def reset_peak(self):
        with open(f"/proc/{self.pid}/clear_refs", "w", encoding="ascii") as f:
            f.write("5")

    def files(self):
        return len(os.listdir(f"/proc/{self.pid}/fd"))

    def sockets(self):
        count = 0
        for fd in os.listdir(f"/proc/{self.pid}/fd"):
            try:
                count += os.readlink(f"/proc/{self.pid}/fd/{fd}").startswith("socket:")
            except OSError:
                pass
        return count

    def alive(self):
        return self.server.proc.poll() is None

    def client(self, timeout=ANSWER_S):
        return Client(self.host, self.port, timeout)

    def metric(self, name):
        with self.client() as c:
            text = c.get("/metrics").decode()
        return int(float(re.search(rf"^(?:stowage_)?{name} (\S+)$", text, re.M).group(1)))

    def done(self):
        ended = not self.alive()
        status = self.server.stop()
        self.server.done()
        need(not ended and status == 0, f"the server ended with {status}: {self.server.log()[-500:]}")


class Client:
    """One connection with blocking requests."""

    def __init__(self, host, port, timeout=ANSWER_S):
        self.conn = http.client.HTTPConnection(host, port, timeout=timeout)

    def request(self, method, path, body=None, headers=None):
        self.conn.request(method, path, body, headers or {})
        answer = self.conn.getresponse()
        return answer, answer.read()

    def expect(self, status, method, path, body=None, headers=None):
        answer, data = self.request(method, path, body, headers)
        need(answer.status == status, f"{method} {path}: {answer.status} {data[:200]}")
        return answer, data

    def get(self, path):
        return self.expect(200, "GET", path)[1]

    def push_blob(self, repo, data):
        """As docker does it: POST, PATCH, PUT."""
        digest = sha256(data)
        at = self.expect(202, "POST", f"/v2/{repo}/blobs/uploads/")[0].headers["Location"]
        at = self.expect(202, "PATCH", at, data)[0].headers["Location"]
        self.expect(201, "PUT", f"{at}{'&' if '?' in at else '?'}digest={digest}")
        return digest

    def push_manifest(self, repo, tag, blobs):
        """blobs: (digest, size), the first is the config."""
        parts = [
            {"mediaType": "application/octet-stream", "digest": d, "size": n} for d, n in blobs
        ]
        text = json.dumps(
            {
                "schemaVersion": 2,
                "mediaType": MANIFEST_TYPE,
                "config": parts[0],
                "layers": parts[1:],
            }
        ).encode()
        headers = {"Content-Type": MANIFEST_TYPE}
        self.expect(201, "PUT", f"/v2/{repo}/manifests/{tag}", text, headers)

    def push_image(self, repo, tag, *layers):
        config = b"{}" + tag.encode()
        blobs = [(self.push_blob(repo, b), len(b)) for b in (config, *layers)]
        self.push_manifest(repo, tag, blobs)
        return [d for d, _ in blobs]

    def close(self):
        self.conn.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def sha256(data):
    return "sha256:" + hashlib.sha256(data).hexdigest()


def noise(n, salt=0):
    """n bytes that differ by salt."""
    block = os.urandom(64 << 10)
    return (salt.to_bytes(8, "big") + block * (n // len(block) + 1))[:n]


class Crowd:
    """A process of crowd.py."""

    def __init__(self, node):
        self.proc = subprocess.Popen(
            [sys.executable, str(HERE / "crowd.py"), node.host, str(node.port)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )

    def say(self, **command):
        self.proc.stdin.write(json.dumps(command).encode() + b"\n")
        self.proc.stdin.flush()
        line = self.proc.stdout.readline()
        need(line, "the crowd of clients ended")
        return json.loads(line)

    def add(self, group, kind, count, **how):
        self.say(do="add", group=group, kind=kind, count=count, **how)

    def stat(self, group):
        return self.say(do="stat")[group]

    def settled(self, group, count, seconds):
        """Waits until so many are where they are to be held."""
        until(lambda: self.stat(group)["settled"] >= count, seconds)
        s = self.stat(group)
        need(s["settled"] >= count, f"{group}: after {seconds} s {s}")
        return s

    def drop(self, group):
        self.say(do="drop", group=group)

    def done(self):
        self.proc.stdin.close()
        try:
            self.proc.wait(20)
        except subprocess.TimeoutExpired:
            self.proc.kill()
            self.proc.wait()
        self.proc.stdout.close()


def quantile(values, share):
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]


def get_times(node, path, count, pause):
    """Seconds that each GET took, on one connection."""
    times = []
    with node.client() as c:
        c.get(path)
        for _ in range(count):
            start = time.monotonic()
            c.get(path)
            times.append(time.monotonic() - start)
            time.sleep(pause)
    return times


def timed(measure, limit):
    """The least of at most TIMING_TRIES measures, the first below the limit: the machine has others
    beside us."""
    best = None
    for _ in range(TIMING_TRIES):
        value = measure()
        best = value if best is None else min(best, value)
        if best < limit:
            break
    return best
