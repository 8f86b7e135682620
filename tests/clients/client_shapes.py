"""Shapes that clients leave in a registry, pushed by a client of our own where the client that makes
them cannot be had: buildkit's cache, and many pushes at once. And layers of 1 GiB and more."""

import collections
import concurrent.futures
import hashlib
import http.client
import json
import os
import shutil
import time

from harness import (
    DOCKER_LIST,
    OCI_INDEX,
    OCI_MANIFEST,
    Skipped,
    check,
    check_equal,
    digest_of,
)
from samples import ACCEPT_ANYTHING, OCI_CONFIG, noise

LACKS = ()
ZSTD_LAYER = "application/vnd.oci.image.layer.v1.tar+zstd"
DOCKER_LAYER = "application/vnd.docker.image.rootfs.diff.tar.gzip"
CACHE_CONFIG = "application/vnd.buildkit.cacheconfig.v0"
PUSHERS = 64
SHARED_LAYERS = 4
SHARED_BYTES = 2 << 20
SETTLE_SECONDS_MAX = 20
GIB = 1 << 30
GIANT_SECONDS_MAX = 900
FREE_BYTES_MIN = 20 * GIB
PIECE = 1 << 20


def setup(ctx):
    ctx.write("policy.json", ACCEPT_ANYTHING)
    return "our own"


def described(ctx, repo, data, media_type):
    """Pushes a blob; returns its descriptor."""
    ctx.registry.push_blob(repo, data)
    return {"mediaType": media_type, "digest": digest_of(data), "size": len(data)}


def put(ctx, repo, reference, content, status=201):
    body = json.dumps(content).encode()
    headers = {"Content-Type": content["mediaType"]}
    path = f"/v2/{repo}/manifests/{reference}"
    answer = ctx.registry.expect(status, "PUT", path, body, headers)[1]
    return digest_of(body) if status == 201 else json.loads(answer)["errors"][0]["code"]


def buildkit_index(ctx):
    """R90: mode=max without image-manifest=true: an index whose entries are layers."""
    for media_type, layer_type in ((OCI_INDEX, ZSTD_LAYER), (DOCKER_LIST, DOCKER_LAYER)):
        repo = ctx.repo("cache-" + ("oci" if media_type == OCI_INDEX else "docker"))
        layers = [noise(f"{repo} {ctx.run_id} {n}", 90_000 + n) for n in range(5)]
        entries = [described(ctx, repo, data, layer_type) for data in layers]
        records = {"layers": [{"blob": entry["digest"], "parent": -1} for entry in entries]}
        config = json.dumps({**records, "records": []}).encode()
        entries.append(described(ctx, repo, config, CACHE_CONFIG))
        index = {"schemaVersion": 2, "mediaType": media_type, "manifests": entries}
        digest = put(ctx, repo, "cache", index)
        data, got, found = ctx.registry.manifest(repo, "cache")
        check_equal((got, found), (media_type, digest), "the cache's index")
        for entry, body in zip(json.loads(data)["manifests"], [*layers, config], strict=True):
            path = f"/v2/{repo}/blobs/{entry['digest']}"
            check(ctx.registry.expect(200, "GET", path)[1] == body, f"other bytes of {entry}")
            check_equal(ctx.registry.status(repo, "manifests", entry["digest"]), 404,
                        "a layer asked for as a manifest")  # fmt: skip
        entries[0] = {**entries[0], "digest": digest_of(b"never pushed")}
        check_equal(put(ctx, repo, "torn", index, 400), "MANIFEST_BLOB_UNKNOWN", "a missing layer")
        check_equal(ctx.registry.tags(repo), ["cache"], "tags")


def buildkit_image(ctx):
    """R90: image-manifest=true: the cache's config is the config of an image; overwritten often."""
    repo = ctx.repo("cache-image")
    shared = described(ctx, repo, noise(f"{repo} {ctx.run_id}", 90_000), ZSTD_LAYER)
    for turn in range(3):
        own = described(ctx, repo, noise(f"{repo} {ctx.run_id} {turn}", 70_000), ZSTD_LAYER)
        config = described(ctx, repo, json.dumps({"turn": turn}).encode(), CACHE_CONFIG)
        manifest = {"schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": config,
                    "layers": [shared, own]}  # fmt: skip
        digest = put(ctx, repo, "cache", manifest)
        ctx.verify(repo, "cache", digest, peer=False)


def stored(root, sizes):
    """How often each digest lies in the data objects of these sizes (bucket format, 2)."""
    found = collections.Counter()
    for folder, _, files in os.walk(os.path.join(root, "data")):
        for name in files:
            try:
                with open(os.path.join(folder, name), "rb") as source:
                    if os.fstat(source.fileno()).st_size in sizes:
                        found["sha256:" + hashlib.file_digest(source, "sha256").hexdigest()] += 1
            except FileNotFoundError:
                pass  # of the loser of a race, just removed
    return found


def check_stored_once(ctx, wanted, sizes):
    if not ctx.registry.root:
        raise Skipped("all is right; how often it is stored is seen only in a node of the run")
    deadline = time.monotonic() + SETTLE_SECONDS_MAX
    while True:
        found = stored(ctx.registry.root, sizes)
        if {digest: found[digest] for digest in wanted} == dict.fromkeys(wanted, 1):
            return
        wrong = {digest: found[digest] for digest in wanted if found[digest] != 1}
        check(time.monotonic() < deadline, f"not stored once each: {wrong}")
        time.sleep(0.2)


class Pusher:
    """What docker does to push an image: HEAD, POST, PATCH, PUT for each blob on one connection,
    then the manifest. Odd ones ask for a mount from a repository that others push to."""

    def __init__(self, ctx, number, layers):
        self.connection = http.client.HTTPConnection(ctx.registry.address, timeout=120)
        self.number = number
        self.repo = ctx.repo(f"many-{number % (PUSHERS // 2)}")
        self.source = ctx.repo(f"many-{(number + 1) % (PUSHERS // 2)}")
        self.own = noise(f"{ctx.run_id} own {number}", 100_000)
        self.layers = [*layers, self.own]

    def ask(self, method, path, body=None, headers=None, wanted=(201,)):
        self.connection.request(method, path, body, headers or {})
        answer = self.connection.getresponse()
        data = answer.read()
        check(answer.status in wanted, f"{method} {path}: {answer.status} {data[:200]!r}")
        return answer

    def blob(self, data):
        digest = digest_of(data)
        if self.ask("HEAD", f"/v2/{self.repo}/blobs/{digest}", wanted=(200, 404)).status == 200:
            return
        start = f"/v2/{self.repo}/blobs/uploads/"
        if self.number % 2:
            start += f"?mount={digest}&from={self.source}"
        answer = self.ask("POST", start, b"", wanted=(201, 202))
        if answer.status == 201:
            return
        location = answer.getheader("Location")
        location = self.ask("PATCH", location, data, wanted=(202,)).getheader("Location")
        separator = "&" if "?" in location else "?"
        self.ask("PUT", f"{location}{separator}digest={digest}", b"")

    def push(self):
        """Returns the digest of the manifest."""
        for turn in range(len(self.layers)):  # each begins with another layer
            self.blob(self.layers[(turn + self.number) % len(self.layers)])
        config = json.dumps({"number": self.number}).encode()
        self.blob(config)
        manifest = {
            "schemaVersion": 2,
            "mediaType": OCI_MANIFEST,
            "config": {"mediaType": OCI_CONFIG, "digest": digest_of(config), "size": len(config)},
            "layers": [{"mediaType": ZSTD_LAYER, "digest": digest_of(data), "size": len(data)}
                       for data in self.layers],
        }  # fmt: skip
        body = json.dumps(manifest).encode()
        self.ask("PUT", f"/v2/{self.repo}/manifests/n{self.number}", body,
                 {"Content-Type": OCI_MANIFEST})  # fmt: skip
        self.connection.close()
        return digest_of(body)


def many_pushes(ctx):
    """64 images at once into 32 repositories: four layers shared by all, one of its own."""
    layers = [noise(f"{ctx.run_id} shared {n}", SHARED_BYTES + n) for n in range(SHARED_LAYERS)]
    pushers = [Pusher(ctx, number, layers) for number in range(PUSHERS)]
    with concurrent.futures.ThreadPoolExecutor(PUSHERS) as pool:
        digests = list(pool.map(Pusher.push, pushers))
    for pusher, digest in zip(pushers, digests, strict=True):
        check_equal(ctx.registry.digest(pusher.repo, f"n{pusher.number}"), digest, "digest")
    for pusher in pushers[:: PUSHERS // 8]:
        ctx.verify(pusher.repo, f"n{pusher.number}", peer=pusher.number == 0)
    wanted = [digest_of(data) for data in layers] + [digest_of(one.own) for one in pushers]
    check_stored_once(ctx, wanted, {len(data) for data in layers} | {100_000})


def giant_file(path, size):
    """A sparse file with a block of noise in every 64 MiB, so that order matters; its digest."""
    with open(path, "wb") as sink:
        for at in range(0, size, 64 << 20):
            sink.seek(at)
            sink.write(noise(f"giant {at}", 4096))
        sink.truncate(size)
    with open(path, "rb") as source:
        return "sha256:" + hashlib.file_digest(source, "sha256").hexdigest()


def giant_sample(ctx, size):
    """A layout whose one layer is so large. Returns folder, digests of manifest and layer."""
    folder = ctx.folder(f"giant-{size >> 30}")
    blobs = ctx.folder(f"giant-{size >> 30}", "blobs", "sha256")
    layer = giant_file(os.path.join(blobs, "new"), size)
    os.rename(os.path.join(blobs, "new"), os.path.join(blobs, layer[7:]))

    def add(content, media_type):
        data = json.dumps(content).encode()
        with open(os.path.join(blobs, digest_of(data)[7:]), "wb") as sink:
            sink.write(data)
        return {"mediaType": media_type, "digest": digest_of(data), "size": len(data)}

    config = {"architecture": "amd64", "os": "linux", "config": {},
              "rootfs": {"type": "layers", "diff_ids": [layer]}}  # fmt: skip
    manifest = {
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "config": add(config, OCI_CONFIG),
        "layers": [{"mediaType": "application/vnd.oci.image.layer.v1.tar", "digest": layer,
                    "size": size}],
    }  # fmt: skip
    entry = add(manifest, OCI_MANIFEST)
    entry["annotations"] = {"org.opencontainers.image.ref.name": "it"}
    index = {"schemaVersion": 2, "manifests": [entry]}
    with open(os.path.join(folder, "index.json"), "w", encoding="ascii") as sink:
        json.dump(index, sink)
    with open(os.path.join(folder, "oci-layout"), "w", encoding="ascii") as sink:
        sink.write('{"imageLayoutVersion":"1.0.0"}')
    return folder, entry["digest"], layer


def read_back(ctx, repo, layer, size):
    """The digest of what is read, in two halves: one by a range, as a resumed pull would."""
    seen, left = hashlib.sha256(), size
    for first, last in ((0, size // 2 - 1), (size // 2, size - 1)):
        connection = ctx.registry.connect()
        connection.request("GET", f"/v2/{repo}/blobs/{layer}",
                           headers={"Range": f"bytes={first}-{last}"})  # fmt: skip
        answer = connection.getresponse()
        check_equal(answer.status, 206, "status of a half")
        check_equal(answer.getheader("Content-Range"), f"bytes {first}-{last}/{size}", "range")
        while data := answer.read(PIECE):
            seen.update(data)
            left -= len(data)
        connection.close()
    check_equal((left, "sha256:" + seen.hexdigest()), (0, layer), "bytes left and digest")


def giant(ctx, size):
    """skopeo pushes the layer as it is; our client reads it, and skopeo does."""
    ctx.program("skopeo")
    repo = ctx.repo(f"giant-{size >> 30}")
    folder, digest, layer = giant_sample(ctx, size)
    words = ("skopeo", "--policy", ctx.path("policy.json"), "copy", "-q", "--preserve-digests")
    try:
        ctx.run(*words, "--dest-tls-verify=false", f"oci:{folder}:it",
                "docker://" + ctx.ref(repo, "1"), seconds=GIANT_SECONDS_MAX)  # fmt: skip
        check_equal(ctx.registry.digest(repo, "1"), digest, "digest")
        read_back(ctx, repo, layer, size)
        shutil.rmtree(folder)
        ctx.run(*words, "--src-tls-verify=false", "docker://" + ctx.ref(repo, "1"),
                f"dir:{folder}", seconds=GIANT_SECONDS_MAX)  # fmt: skip
        check_equal(os.stat(os.path.join(folder, layer[7:])).st_size, size, "size skopeo pulls")
        check_stored_once(ctx, [layer], {size})
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        for digest_to_delete, kind in ((digest, "manifests"), (layer, "blobs")):
            ctx.registry.request("DELETE", f"/v2/{repo}/{kind}/{digest_to_delete}")


def one_gib(ctx):
    giant(ctx, GIB)


def six_gib(ctx):
    if not ctx.big:
        raise Skipped("only with --big")
    free = shutil.disk_usage(ctx.dir).free
    if free < FREE_BYTES_MIN:
        raise Skipped(f"missing: 6 GiB layer: {free / GIB:.0f} GiB free, needs 20")
    giant(ctx, 6 * GIB)


CASES = (
    ("buildkit cache as an index of layers", buildkit_index),
    ("buildkit cache as an image", buildkit_image),
    ("64 pushes at once of images that share layers", many_pushes),
    ("a layer of 1 GiB", one_gib),
    ("a layer of 6 GiB", six_gib),
)
