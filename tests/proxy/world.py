"""What the cases of a run share: nodes, certificates, proxies, and requests through them."""

import hashlib
import http.client
import json
import os
import pathlib
import ssl

import harness
import http1
import oci
import proxies
import recorder
import samples
import server

HTTP_SECONDS_MAX = 120


class Registry(harness.Registry):
    """The registry as a client sees it: by name, through TLS."""

    def __init__(self, address, authority):
        super().__init__(address)
        self.trust = ssl.create_default_context(cafile=authority)

    def connect(self):
        return http.client.HTTPSConnection(
            self.address, timeout=HTTP_SECONDS_MAX, context=self.trust
        )


class World:
    def __init__(self, binary, scratch, names, path, run_id):
        self.binary = binary
        self.scratch = pathlib.Path(scratch)
        self.names = names or ("localhost", "localhost")
        self.private = names is not None
        self.host = "10.201.0.1" if names else "127.0.0.1"
        self.path = path
        self.run_id = run_id
        self.running = []
        self.made = {}
        self.certs = proxies.certificates(self.scratch / "certs", (*self.names, self.host))
        self.authority = str(self.certs / "ca.crt")
        self.samples = samples.Samples(str(self.scratch / "samples"), run_id)
        self.node = self.start_node()
        self.node_below = self.start_node("/registry")

    def start_node(self, external=None):
        args = ["--external-url", external] if external else []
        one = server.Server(self.binary, args).start()
        self.running.append(one.done)
        return one

    def proxy(self, kind, node=None, node_below=None, change=(), below=None):
        one = proxies.Proxy(
            kind, self.scratch, self.host, self.certs, spell(node or self.node),
            spell(node_below or self.node_below), change, below,
        )  # fmt: skip
        self.running.append(one.stop)
        return one

    def standard(self, kind):
        """The proxy of that kind every case may use."""
        if kind not in self.made:
            self.made[kind] = self.proxy(kind)
        return self.made[kind]

    def recorded(self, kind):
        """(proxy, recorder): the recipe in front of a recorder."""
        if (kind, "recorder") not in self.made:
            one = recorder.Recorder()
            self.running.append(one.close)
            self.made[kind, "recorder"] = self.proxy(kind, one, one), one
        return self.made[kind, "recorder"]

    def registry(self, proxy):
        return Registry(f"{self.names[0]}:{proxy.port}", self.authority)

    def connect(self, port, timeout=60):
        return Link(("tls", self.names[0], port, self.authority), timeout)

    def close(self):
        """Ends all that was started; returns what was wrong with the nodes."""
        said = []
        for node in (self.node, self.node_below):
            status = node.stop()
            if status != 0:
                said.append(f"the node ended with {status}: {node.log()[-1000:]}")
        for stop in reversed(self.running):
            stop()
        return said


def spell(upstream):
    """host:port of a node, a recorder or a text."""
    if hasattr(upstream, "addr"):
        return f"127.0.0.1:{upstream.addr[2]}"
    return getattr(upstream, "address", upstream)


class Link(http1.Conn):
    """One connection to a proxy, with the few steps of the API that the cases need."""

    def ask(self, method, target, headers=(), body=None, chunks=None):
        head, payload, sent = http1.build(method, target, headers, body, chunks)
        self.send(head)
        self.send(payload)
        return self.response(method, target, sent)

    def start(self, repo):
        got = self.ask("POST", f"/v2/{repo}/blobs/uploads/")
        harness.check_equal(got.status, 202, "POST of an upload")
        return got.h("Location")

    def blob(self, repo, data, chunks=None):
        digest = oci.digest(data)
        got = self.ask("PUT", f"{self.start(repo)}?digest={digest}", (), data, chunks)
        harness.check_equal(got.status, 201, "PUT of a blob")
        return digest

    def index(self, repo, tag):
        """An index without entries; returns its digest."""
        body = json.dumps({"schemaVersion": 2, "mediaType": oci.INDEX, "manifests": [],
                           "annotations": {"repo": repo}}).encode()  # fmt: skip
        got = self.ask("PUT", f"/v2/{repo}/manifests/{tag}", {"Content-Type": oci.INDEX}, body)
        harness.check_equal(got.status, 201, "PUT of a manifest")
        return oci.digest(body)


def noise(seed, size):
    return hashlib.shake_128(seed.encode()).digest(size)


def bytes_below(root):
    """Bytes of all files below a folder, as they grow."""
    total = 0
    for folder, _, files in os.walk(root):
        for name in files:
            try:
                total += os.stat(os.path.join(folder, name)).st_size
            except OSError:
                pass
    return total
