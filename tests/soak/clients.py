"""Clients that note down what they asked for and what they were told, and nothing else."""

import json
import threading
import time

import http1
import oci
from linear import ANY, KEEP, THERE, Step

TIMEOUT_S = (0.5, 6.0)  # then a client goes away: of what it asked for it knows nothing
AVOID_S = 4.0  # so long it mostly leaves a node alone that did not answer
PAUSE_S = 0.03


class World:
    """Where clients are: repositories, tags, nodes. Manifests are told apart by a number each."""

    def __init__(self, nodes, repos, tags, releases):
        self.nodes = nodes
        self.repos = repos
        self.tags = tags
        self.releases = releases  # several tags in one step
        self.config = oci.descriptor(b"{}", oci.EMPTY)
        self.stop = threading.Event()

    def manifest(self, who):
        doc = oci.image_doc(self.config, [], artifactType="application/x.soak", annotations={"who": who})
        return oci.dump(doc)


class Unsent(Exception):
    """Nobody listened: the request never left."""


class Told(Exception):
    """An answer that is none of those that the documents promise."""


class Client:
    """One thread. steps: {(repo, tag): [Step]}; pushed: {digest: "done", "maybe" or "not"}."""

    def __init__(self, world, rng, name):
        self.world = world
        self.rng = rng
        self.name = name
        self.count = 0
        self.node = rng.choice(world.nodes)
        self.silent = {}  # node: until when it is left alone
        self.conn = self.conn_addr = None
        self.steps = {}
        self.pushed = {}
        self.known = {}  # what the client believes a tag is on
        self.asked = self.unknown = 0
        self.problem = None
        self.thread = threading.Thread(target=self.run)

    # ---- requests

    def choose(self):
        now = time.monotonic()
        some = [n for n in self.world.nodes if self.silent.get(n, 0) < now or self.rng.random() < 0.05]
        self.node = self.rng.choice(some or self.world.nodes)

    def send(self, method, path, headers=(), body=None):
        """(call, back, answer); back and answer None: the outcome is not known."""
        if self.rng.random() < 0.2:
            self.choose()
        addr = self.node.addr
        if addr is None:
            self.choose()
            raise Unsent()
        head, payload, sent = http1.build(method, path, headers, body, None)
        call = time.monotonic_ns()
        try:
            if self.conn_addr != addr or self.conn is None:
                self.close()
                self.conn, self.conn_addr = http1.Conn(addr, self.rng.uniform(*TIMEOUT_S)), addr
        except OSError as e:
            self.choose()
            raise Unsent() from e
        self.asked += 1
        self.conn.send(head + payload)
        try:
            answer = self.conn.response(method, path, sent)
        except http1.Broken:
            self.close()
            self.silent[self.node] = time.monotonic() + AVOID_S
            self.choose()
            self.unknown += method not in ("GET", "HEAD")
            return call, None, None
        back = time.monotonic_ns()
        if answer.status == 503:
            if b"outcome unknown" in answer.body:
                self.unknown += 1
                return call, None, None
            self.close()  # an old connection may be told to go
        return call, back, answer

    def close(self):
        if self.conn:
            self.conn.close()
        self.conn = None

    def note(self, repo, tag, call, back, pre, post, what):
        who = f"{self.name} #{self.count} {what} {repo}:{tag}"
        self.steps.setdefault((repo, tag), []).append(Step(call, back, pre, post, who))

    def told(self, answer, *statuses):
        if answer.status not in statuses:
            raise Told(f"{self.name}: {answer.sent}: {answer.show()}")

    @staticmethod
    def detail(answer):
        return json.loads(answer.body)["errors"][0]["detail"]

    # ---- what clients do

    def get(self, repo, tag):
        call, back, a = self.send(self.rng.choice(("GET", "HEAD")), f"/v2/{repo}/manifests/{tag}")
        if a is None or a.status == 503:
            return
        self.told(a, 200, 404)
        value = a.h("Docker-Content-Digest") if a.status == 200 else None
        if a.status == 200 and a.method == "GET" and oci.digest(a.body) != value:
            raise Told(f"other bytes than those of {value}: {a.body[:200]}")
        self.known[repo, tag] = value
        self.note(repo, tag, call, back, value, KEEP, "get")

    def condition(self, repo, tag):
        """(header, pre): what the change shall depend on."""
        if self.rng.random() < 0.5:
            return [], ANY
        value = self.known.get((repo, tag))
        if value is None:
            return [("If-None-Match", "*")], None
        if self.rng.random() < 0.1:
            return [("If-Match", "*")], THERE
        return [("If-Match", f'"{value}"')], value

    def put(self, repo, tag):
        body = self.world.manifest(f"{self.name}-{self.count}")
        digest = oci.digest(body)
        header, pre = self.condition(repo, tag)
        self.pushed[digest] = "not"
        call, back, a = self.send("PUT", f"/v2/{repo}/manifests/{tag}", [("Content-Type", oci.IMAGE), *header], body)
        if a is None:
            self.pushed[digest] = "maybe"
            self.note(repo, tag, call, None, pre, digest, "put")
        elif a.status == 201:
            self.pushed[digest] = "done"
            self.known[repo, tag] = digest
            self.note(repo, tag, call, back, pre, digest, "put")
        elif a.status != 503:
            self.told(a, 412)
            self.refused(repo, tag, call, back, a)

    def refused(self, repo, tag, call, back, a):
        value = self.detail(a)["digest"]
        self.known[repo, tag] = value
        self.note(repo, tag, call, back, value, KEEP, "412 of")

    def delete(self, repo, tag):
        header, pre = self.condition(repo, tag)
        pre = THERE if pre is ANY else pre
        if header and header[0][0] == "If-None-Match":
            return
        call, back, a = self.send("DELETE", f"/v2/{repo}/manifests/{tag}", header)
        if a is None:
            self.note(repo, tag, call, None, pre, None, "delete")
        elif a.status == 202:
            self.known[repo, tag] = None
            self.note(repo, tag, call, back, pre, None, "delete")
        elif a.status == 404:
            self.note(repo, tag, call, back, None, KEEP, "404 of delete")
        elif a.status != 503:
            self.told(a, 412)
            self.refused(repo, tag, call, back, a)

    def release(self, repo):
        """Two manifests by digest, then two tags and the end of a third in one step."""
        digests = []
        for i in range(2):
            body = self.world.manifest(f"{self.name}-{self.count}-{i}")
            digests.append(oci.digest(body))
            self.pushed[digests[i]] = "maybe"
            _, _, a = self.send("PUT", f"/v2/{repo}/manifests/{digests[i]}", [("Content-Type", oci.IMAGE)], body)
            if a is None or a.status == 503:
                return
            self.told(a, 201)
            self.pushed[digests[i]] = "done"
        tags = self.rng.sample(self.world.tags, 3)
        want = [(tags[0], digests[0], ANY), (tags[1], digests[1], self.known.get((repo, tags[1]), ANY)),
                (tags[2], None, ANY)]
        rows = [{"tag": t, "digest": d, **({} if pre is ANY else {"if": pre})} for t, d, pre in want]
        call, back, a = self.send("POST", f"/v2/{repo}/_stowage/tags", (), oci.dump({"tags": rows}))
        if a is None or a.status == 204:
            for tag, digest, pre in want:
                self.note(repo, tag, call, back, pre, digest, "release")
        elif a.status != 503:
            self.told(a, 412)
            self.refused(repo, self.detail(a)["tag"], call, back, a)

    def list(self, repo):
        call, back, a = self.send("GET", f"/v2/{repo}/tags/list")
        if a is None or a.status == 503:
            return
        self.told(a, 200)
        tags = set(json.loads(a.body)["tags"])
        for tag in self.world.tags:
            self.note(repo, tag, call, back, THERE if tag in tags else None, KEEP, "list")

    def once(self):
        repo, tag = self.rng.choice(self.world.repos), self.rng.choice(self.world.tags)
        dice = self.rng.random()
        self.count += 1
        if self.rng.random() < 0.2:
            tag = self.name  # of this client alone
        if dice < 0.45:
            self.get(repo, tag)
        elif dice < 0.8:
            self.put(repo, tag)
        elif dice < 0.88:
            self.delete(repo, tag)
        elif dice < 0.94 and self.world.releases:
            self.release(repo)
        else:
            self.list(repo)

    def run(self):
        try:
            while not self.world.stop.is_set():
                try:
                    self.once()
                except Unsent:
                    time.sleep(0.05)
                time.sleep(self.rng.uniform(0, 2 * PAUSE_S))
        except Exception as e:  # told by the case's own thread
            self.problem = e
        self.close()
