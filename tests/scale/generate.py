"""Writes large registries as docs/bucket-format.md says, without a server: a repository of very many
tags, and a catalog of very many repositories. What is written is logs and records; checkpoints are
the server's own affair."""

import hashlib
import json
import os
import pathlib
import time

EMPTY = b"{}"
TYPE = "application/vnd.oci.image.manifest.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
BATCH_BYTES = 900_000
START_MS = 1_790_000_000_000


def sha(data):
    return hashlib.sha256(data).hexdigest()


def dump(value):
    return json.dumps(value, separators=(",", ":"))


class Log:
    """One log: entries chained by their digests."""

    def __init__(self, root, prefix, name):
        self.base = pathlib.Path(root) / prefix / "_log"
        self.name = name
        self.seq, self.prev, self.ts = 0, "0" * 64, START_MS

    @classmethod
    def resume(cls, root, prefix, name):
        """A log that is there, to be written on while no server runs."""
        log = cls(root, prefix, name)
        folder = max(p.name for p in log.base.iterdir())
        last = max((log.base / folder).iterdir(), key=lambda p: p.name)
        data = last.read_bytes()
        log.seq, log.prev, log.ts = int(last.name), sha(data), json.loads(data)["ts"]
        return log

    def append(self, ops):
        self.seq += 1
        self.ts += 1
        number = f"{self.seq:020d}"
        text = (
            f'{{"v":1,"repo":"{self.name}","seq":{self.seq},"prev":"{self.prev}","node":"{"a" * 32}",'
            f'"nonce":"{sha(number.encode() + self.name.encode())[:32]}","ts":{self.ts},"gc":0,"ops":[{",".join(ops)}]}}'
        ).encode()
        path = self.base / number[:16] / number
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text)
        self.prev = sha(text)
        return len(text)

    def append_all(self, ops):
        """Any number of operations, in as many entries as they need."""
        batch, size, total = [], 0, 0
        for op in ops:
            if batch and (size + len(op) > BATCH_BYTES or len(batch) == 256):
                total += self.append(batch)
                batch, size = [], 0
            batch.append(op)
            size += len(op) + 1
        return total + (self.append(batch) if batch else 0)


def record(root, data):
    digest = sha(data)
    path = pathlib.Path(root) / "blobs/sha256" / digest[:2] / f"{digest}.0"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(f'{{"v":1,"size":{len(data)},"data":null}}\n'.encode() + data)
    return digest


def manifest(i, config, subject=None):
    doc = {
        "schemaVersion": 2,
        "mediaType": TYPE,
        "config": {"mediaType": CONFIG, "digest": f"sha256:{config}", "size": 2},
        "layers": [],
        "annotations": {"n": str(i)},
    }
    if subject:
        doc["subject"] = {"mediaType": TYPE, "digest": f"sha256:{subject}", "size": 1}
    return dump(doc).encode()


def put(digest, size, config, subject=None):
    op = {"op": "put", "digest": f"sha256:{digest}", "mediaType": TYPE, "size": size, "tags": [], "artifactType": CONFIG}
    if subject:
        op["subject"] = f"sha256:{subject}"
        op["annotations"] = {"n": "1"}
    op["refs"] = [[f"sha256:{config}", "c", 2]]
    return dump({**op, "by": "", "req": ""})


def sets(pairs):
    rows = ",".join(f'{{"tag":"{t}","digest":"sha256:{d}"}}' for t, d in pairs)
    return f'{{"op":"tags","set":[{rows}],"by":"","req":""}}'


def add(name, filled):
    return f'{{"op":"add","name":"{name}","filled":{"true" if filled else "false"}}}'


def marker(root, name):
    stamp = time.strftime("%Y%m%d%H%M", time.gmtime(START_MS / 1000))
    path = pathlib.Path(root) / "changes" / (stamp[:-1] + "0") / name / "_"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text('{"v":1,"seq":1}')


def tag_name(i):
    return f"v{i % 97}.{i:07d}"


def begin(root):
    root = pathlib.Path(root)
    root.mkdir(mode=0o700, parents=True, exist_ok=True)
    (root / "format").write_text(dump({"v": 1, "registry": "b" * 32}))


def big_repository(root, name, tags, manifests, referrers):
    """Tags by the million over some manifests; the first of these has referrers. Returns the digests."""
    config = record(root, EMPTY)
    digests, ops = [], []
    for i in range(manifests):
        body = manifest(i, config)
        digests.append(record(root, body))
        ops.append(put(digests[-1], len(body), config))
    for i in range(referrers):
        body = manifest(-i - 1, config, digests[0])
        ops.append(put(record(root, body), len(body), config, digests[0]))
    log = Log(root, f"repos/{name}", name)
    marker(root, name)
    log.append_all(ops)
    for at in range(0, tags, 6000):
        log.append([sets((tag_name(i), digests[i % manifests]) for i in range(at, min(at + 6000, tags)))])
    return digests


def catalog(root, names):
    """names: (repository, filled). Without logs of their own: what a listing shows is the catalog's word."""
    Log(root, "catalog", "catalog").append_all(add(name, filled) for name, filled in names)


def main():
    import argparse

    ap = argparse.ArgumentParser(description=__doc__.split("\n\n", maxsplit=1)[0])
    ap.add_argument("root")
    ap.add_argument("--tags", type=int, default=1_000_000)
    ap.add_argument("--manifests", type=int, default=50_000)
    ap.add_argument("--referrers", type=int, default=1000)
    ap.add_argument("--repositories", type=int, default=100_000)
    args = ap.parse_args()
    os.umask(0o077)
    begin(args.root)
    catalog(args.root, [("big/one", True)] + [(f"team{i % 50:02d}/app{i:06d}", i % 10 != 9) for i in range(args.repositories - 1)])
    big_repository(args.root, "big/one", args.tags, args.manifests, args.referrers)


if __name__ == "__main__":
    main()
