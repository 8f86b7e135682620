"""Followers of events, and what is in the logs to compare with."""

import http.client
import json
import pathlib
import threading
import time

import server
from world import Fail


def objects(root):
    """The folder in which the objects of a root lie."""
    if not server.GATEWAY:
        return pathlib.Path(root)
    prefix = server.store(str(root))[1].rpartition("/")[2]
    return server.GATEWAY.root / "data" / server.BUCKET / prefix


def committed(root, repos=None):
    """[(repository, seq, operation's index)] of every operation in the logs of a root."""
    found = []
    base = objects(root) / "repos"
    for path in base.rglob("_log/*/*"):
        name = str(path.parent.parent.parent.relative_to(base))
        if repos and name not in repos:
            continue
        doc = json.loads(path.read_bytes())
        found += [(name, doc["seq"], i) for i in range(len(doc["ops"]))]
    return sorted(found)


def key_of(event):
    seq, _, i = event["id"].partition(".")
    return event["data"]["repository"], int(seq), int(i)


def check_order(keys, what):
    """Of each repository, what comes the first time comes in order."""
    seen, last = set(), {}
    for key in keys:
        if key in seen:
            continue
        seen.add(key)
        if key[1:] < last.get(key[0], (0, 0)):
            raise Fail(f"{what}: {key} after {last[key[0]]}")
        last[key[0]] = key[1:]


class Follower:
    """Reads server-sent events in a thread; after an end or an error goes on at the next address
    with the cursor it has, as browsers do."""

    def __init__(self, addrs, query="", after=None):
        self.addrs, self.query, self.cursor = list(addrs), query, after
        self.events, self.keys, self.times = [], [], []
        self.connects, self.turn = 0, 0
        self.stop = threading.Event()
        self.ready = threading.Event()
        self.conn = None
        self.thread = threading.Thread(target=self.main, daemon=True)
        self.thread.start()

    def main(self):
        while not self.stop.is_set():
            addr = self.addrs[self.turn % len(self.addrs)]
            self.turn += 1
            try:
                self.listen(addr)
            except (OSError, http.client.HTTPException, ValueError):
                time.sleep(0.05)

    def listen(self, addr):
        self.conn = conn = http.client.HTTPConnection(addr[1], addr[2], timeout=40)
        headers = {"Accept": "text/event-stream"}
        if self.cursor:
            headers["Last-Event-ID"] = self.cursor
        conn.request("GET", f"/v2/_stowage/events{self.query}", headers=headers)
        got = conn.getresponse()
        if got.status != 200:
            conn.close()
            raise OSError(f"status {got.status}")
        self.connects += 1
        new_id, data = None, None
        while not self.stop.is_set():
            line = got.readline()
            if not line.endswith(b"\n"):
                break
            line = line[:-1]
            if line.startswith(b"id: "):
                new_id = line[4:].decode()
            elif line.startswith(b"data: "):
                data = line[6:]
            elif not line:
                if data is not None:
                    event = json.loads(data)
                    self.events.append(event)
                    self.keys.append(key_of(event))
                    self.times.append(time.time())
                if new_id:
                    self.cursor = new_id
                    self.ready.set()
                new_id, data = None, None
        conn.close()

    def wait(self, count, seconds):
        end = time.monotonic() + seconds
        while len(set(self.keys)) < count and time.monotonic() < end:
            time.sleep(0.02)
        return len(set(self.keys))

    def close(self):
        self.stop.set()
        try:
            if self.conn and self.conn.sock:
                self.conn.sock.close()
        except (OSError, AttributeError):
            pass


def poll_all(client, query="", after="", n=100):
    """(events, cursor) of polls until one is empty."""
    events, rounds = [], 0
    while True:
        sep = "&" if query else ""
        status, _, body = client.ask("GET", f"/v2/_stowage/events?{query}{sep}after={after}&n={n}")
        if status != 200:
            raise Fail(f"poll: {status} {body[:200]}")
        doc = json.loads(body)
        after = doc["cursor"]
        if not doc["events"]:
            return events, after
        events += doc["events"]
        rounds += 1
