"""Nodes on one bucket, and a client, for tests of the S3 store."""

import copy
import hashlib
import http.client
import json
import os
import pathlib
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / "api")]

import server as server_mod  # noqa: E402
from loop import Fail, want  # noqa: E402,F401

MANIFEST = "application/vnd.oci.image.manifest.v1+json"


def digest(data):
    return "sha256:" + hashlib.sha256(data).hexdigest()


class World:
    def __init__(self, stowage, gateway):
        self.stowage = stowage
        self.gateway = gateway
        self.bucket = gateway.bucket()
        self.prefixes = 0
        server_mod.GATEWAY = gateway
        server_mod.BUCKET = self.bucket

    def prefix(self):
        self.prefixes += 1
        return f"p{self.prefixes}"

    @staticmethod
    def folder():
        return tempfile.TemporaryDirectory(prefix="stowage-s3-", ignore_cleanup_errors=True)

    def node(self, prefix, *args, endpoint=None, stack=None, env=()):
        """A node on that prefix; ends with the stack. env: NAME=VALUE of its own."""
        return self.node_on(["--store", f"s3://{self.bucket}/{prefix}", "--s3-endpoint",
                             endpoint or self.gateway.endpoints[0], *args], stack, env)

    def node_on(self, flags, stack=None, env=()):
        one = Node(self.stowage, flags)
        one.wrap = ["/usr/bin/env", *env] if env else []
        try:
            one.start()
        except server_mod.NotStarted:
            one.done()
            raise
        if stack:
            stack.callback(one.done)
        return one


class Node(server_mod.Server):
    def __init__(self, binary, flags):
        super().__init__(binary, [], root="/nonexistent")
        self.flags = flags
        self.conn = None

    def command(self):
        return [*self.wrap, self.binary, "serve", "--listen", "127.0.0.1:0", *self.flags]

    @property
    def authority(self):
        return f"127.0.0.1:{self.addr[2]}"

    def req(self, method, target, body=None, headers=None):
        """(status, headers, body); one kept connection."""
        for attempt in (1, 2):
            if self.conn is None:
                self.conn = http.client.HTTPConnection(self.authority, timeout=120)
            try:
                self.conn.request(method, target, body, headers or {})
                resp = self.conn.getresponse()
                return resp.status, resp.headers, resp.read()
            except (OSError, http.client.HTTPException):
                self.conn.close()
                self.conn = None
                if attempt == 2:
                    raise
        return None

    def again(self):
        """The same node over a connection of its own."""
        other = copy.copy(self)
        other.conn = None
        return other

    def ok(self, method, target, status, body=None, headers=None):
        got, heads, data = self.req(method, target, body, headers)
        want(got == status, f"{method} {target}: expected {status}, got {got} {data[:200]!r}")
        return heads, data

    def blob(self, repo, data):
        """As docker pushes: is it there, then POST, PATCH, PUT."""
        name = digest(data)
        if self.req("HEAD", f"/v2/{repo}/blobs/{name}")[0] in (200, 307):
            return name
        where = self.ok("POST", f"/v2/{repo}/blobs/uploads/", 202)[0]["Location"]
        where = self.ok("PATCH", where, 202, data)[0]["Location"]
        sep = "&" if "?" in where else "?"
        self.ok("PUT", f"{where}{sep}digest={name}", 201)
        self.req("HEAD", f"/v2/{repo}/blobs/{name}")
        return name

    def image(self, repo, tag, layers, seed=""):
        config = json.dumps({"os": "linux", "seed": seed}).encode()
        for data in [*layers, config]:
            self.blob(repo, data)
        manifest = image_manifest(config, layers)
        if self.req("HEAD", f"/v2/{repo}/manifests/{tag}", headers={"Accept": MANIFEST})[1].get(
                "Docker-Content-Digest") != digest(manifest):
            self.ok("PUT", f"/v2/{repo}/manifests/{tag}", 201, manifest,
                    {"Content-Type": MANIFEST})
        return manifest


def image_manifest(config, layers):
    def descriptor(kind, data):
        return {"mediaType": kind, "digest": digest(data), "size": len(data)}

    return json.dumps({
        "schemaVersion": 2, "mediaType": MANIFEST,
        "config": descriptor("application/vnd.oci.image.config.v1+json", config),
        "layers": [descriptor("application/vnd.oci.image.layer.v1.tar+gzip", one)
                   for one in layers]}).encode()


def random_bytes(size):
    return os.urandom(min(size, 1 << 20)) * (size // (1 << 20) or 1) if size >= 1 << 20 \
        else os.urandom(size)
