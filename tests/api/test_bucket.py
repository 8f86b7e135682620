"""The root directory, read without any code of the registry.

Layout as documented: records under blobs/, data of large blobs under data/, one log for each
repository whose entries are dense, numbered and chained by sha256.
"""

import hashlib
import json
import os
import pathlib
import stat

import oci
from harness import case


def read_logs(root):
    """{log directory: [(number, bytes)]} of every log below the root."""
    logs = {}
    for path in pathlib.Path(root).rglob("_log/*/*"):
        logs.setdefault(path.parent.parent, []).append(path)
    for path in pathlib.Path(root, "uploads").glob("*/*"):
        logs.setdefault(path.parent, []).append(path)
    return {d: [(int(p.name), p.read_bytes()) for p in sorted(e)] for d, e in logs.items()}


def entry_doc(data):
    """The JSON of an entry; bytes a session entry carries follow on the next line."""
    text, _, carried = data.partition(b"\n")
    doc = json.loads(text)
    if doc.get("bytes", 0) != len(carried):
        raise ValueError(f"{len(carried)} bytes behind {text[:200]}")
    return doc, text


def log_faults(entries):
    """What is wrong with a log: numbers not dense, or an entry that does not name the one before."""
    before = "0" * 64
    for wanted, (number, data) in enumerate(entries, 1):
        if number != wanted:
            return f"entry {number} where {wanted} belongs"
        if entry_doc(data)[0]["prev"] != before:
            return f"prev of entry {number}"
        before = hashlib.sha256(data).hexdigest()
    return ""


def record_bytes(root, path):
    """The bytes a blob record stands for."""
    head, data = path.read_bytes().split(b"\n", 1)
    doc = json.loads(head)
    if doc["data"]:
        found = list(pathlib.Path(root, "data").glob(f"*/{doc['data']}"))
        data = found[0].read_bytes() if found else b""
    return data if len(data) == doc["size"] else None


def check_root(t, root):
    """Every log is dense and chained, every record holds what its name says. Returns the logs."""
    logs = read_logs(root)
    for where, entries in logs.items():
        t.eq(log_faults(entries), "", f"faults of {where.relative_to(root)}")
        for number, data in entries:
            doc, text = entry_doc(data)
            plain = json.dumps(doc, separators=(",", ":"), ensure_ascii=False).encode()
            t.true(plain == text, "canonical JSON", f"{where} {number}: {data[:200]}")
    for path in pathlib.Path(root, "blobs").glob("*/*/*"):
        alg, hexes = path.parent.parent.name, path.name.split(".")[0]
        t.eq(path.parent.name, hexes[:2], "folder of a record")
        data = record_bytes(root, path)
        same = data is not None and hashlib.new(alg, data).hexdigest() == hexes
        t.true(same, "bytes of the key's name", path)
    return logs


def record_path(root, digest, g=0):
    alg, hexes = digest.split(":")
    return pathlib.Path(root, "blobs", alg, hexes[:2], f"{hexes}.{g}")


def data_files(root):
    return {str(p) for p in pathlib.Path(root, "data").glob("*/*")}


def busy(client, repo):
    """A little of everything; returns the digest of an image that stays."""
    digest, body = client.image(repo, "v1")
    client.image(repo, "v1", alg="sha512")
    client.artifact(repo, oci.descriptor(body, oci.IMAGE), ref="sig")
    blob = client.blob(repo, os.urandom(500_000))
    client.blob(repo, b"", "sha512")
    client.status(client.delete(f"/v2/{repo}/manifests/sig"), 202)
    client.status(client.delete(f"/v2/{repo}/blobs/{blob}"), 202)
    client.status(client.put_manifest(repo, f"{digest}?tag=a&tag=b", body, oci.IMAGE), 201)
    gone, _ = client.image(repo, "gone")
    client.status(client.delete(f"/v2/{repo}/manifests/{gone}"), 202)
    client.start(repo)
    return digest


@case("L16", server="")
def a_script_reads_the_root(t):
    srv = t.serve()
    client = t.at(srv)
    for repo in ("one", "one/nested", "two/x"):
        busy(client, repo)
    for running in (True, False):
        logs = {str(d.relative_to(srv.root)): e for d, e in check_root(t, srv.root).items()}
        for repo in ("one", "one/nested", "two/x"):
            entries = logs[f"repos/{repo}/_log"]
            t.true(len(entries) >= 8, "an entry for each change", len(entries))
            for number, data in entries:
                doc = json.loads(data)
                t.eq((doc["repo"], doc["seq"]), (repo, number), "repo and seq")
            stamps = [json.loads(data)["ts"] for _, data in entries]
            t.eq(stamps, sorted(set(stamps)), "stamps that rise")
        t.true("catalog/_log" in logs and "secret/_log" in logs, "catalog and secret logs", sorted(logs))
        if running:
            srv.stop()


@case("L16", "R67", server="")
def one_copy_of_each_blob(t):
    srv = t.serve()
    client = t.at(srv)
    data = os.urandom(200_000)
    digest = oci.digest(data)
    for repo in ("a", "b", "c/d"):
        for _ in range(2):
            client.blob(repo, data)
    client.status(client.req("POST", f"/v2/e/blobs/uploads/?mount={digest}"), 201)
    t.eq(len(data_files(srv.root)), 1, "number of data files")
    records = [p for p in pathlib.Path(srv.root, "blobs").glob("*/*/*")]
    t.eq([p.name for p in records], [digest[7:] + ".0"], "records")
    check_root(t, srv.root)


@case("L16", "L4", server="")
def refused_content_leaves_nothing(t):
    srv = t.serve()
    client = t.at(srv)
    client.image("a", "v1")
    before = data_files(srv.root), {str(p) for p in pathlib.Path(srv.root, "blobs").glob("*/*/*")}
    for size in (100, 300_000):
        data = os.urandom(size)
        for wrong in (oci.ZERO, oci.digest(data + b"!", "sha512")):
            client.error(client.finish(client.start("a"), wrong, data), 400, "DIGEST_INVALID")
            url = f"/v2/a/blobs/uploads/?digest={wrong}"
            client.error(client.req("POST", url, body=data), 400, "DIGEST_INVALID")
        index = oci.dump(oci.index_doc([]))
        client.error(client.put_manifest("a", oci.ZERO, index, oci.INDEX), 400, "DIGEST_INVALID")
    after = data_files(srv.root), {str(p) for p in pathlib.Path(srv.root, "blobs").glob("*/*/*")}
    t.eq(after, before, "data and records")


@case("L16", "L18", "R78", server="")
def killed_at_once_loses_nothing(t):
    srv = t.serve()
    client = t.at(srv)
    said = []
    for n in range(10):
        said.append((f"r{n % 2}", *client.image(f"r{n % 2}", f"v{n}")))
    srv.restart(9)
    client = t.at(srv)
    for n, (repo, digest, body) in enumerate(said):
        client.body(client.get(f"/v2/{repo}/manifests/v{n}"), body)
        client.image(repo, "more")
    check_root(t, srv.root)


@case("L14", server="")
def modes_of_files_under_umask_0(t):
    t.on_directory()
    root = t.scratch() / "root"
    srv = t.serve(root=str(root), wrap=["sh", "-c", 'umask 0; exec "$@"', "sh"])
    client = t.at(srv)
    busy(client, "a/b")
    seen = 0
    for path in [root, *root.rglob("*")]:
        mode = path.lstat().st_mode
        t.true(not stat.S_ISLNK(mode), "no symbolic link", path)
        wanted = 0o700 if stat.S_ISDIR(mode) else 0o600
        t.eq(oct(stat.S_IMODE(mode)), oct(wanted), f"mode of {path.relative_to(root.parent)}")
        seen += 1
    t.true(seen > 20, "a filled root", seen)
