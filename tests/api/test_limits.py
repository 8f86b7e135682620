"""Large input, and a disk that is full."""

import contextlib
import os
import pathlib
import subprocess
import tempfile

import oci
from harness import Skip, case
from test_bucket import check_root

LIMIT = 4 << 20


def padded(t, repo, size, media_type=oci.INDEX):
    """A valid manifest of exactly `size` bytes."""
    doc = oci.index_doc([], media_type, seed=t.seed())
    body = oci.dump(doc)
    return body[:-1] + b" " * (size - len(body)) + body[-1:]


@case("R81", "L1")
def manifest_of_the_largest_size(t):
    repo = t.repo()
    for chunks in (None, True):
        body = padded(t, repo, LIMIT)
        t.status(t.put_manifest(repo, "max", body, oci.INDEX, chunks), 201)
        t.body(t.get(f"/v2/{repo}/manifests/max"), body)


@case("R81", "L1", "R152")
def manifest_one_byte_too_large(t):
    repo = t.repo()
    for size in (LIMIT + 1, LIMIT * 2):
        for chunks in (None, True):
            body = padded(t, repo, size)
            for ref in ("big", oci.digest(body)):
                got = t.put_manifest(repo, ref, body, oci.INDEX, chunks)
                t.error(got, 413, "SIZE_INVALID", "MANIFEST_INVALID")
                t.status(t.head(f"/v2/{repo}/manifests/{ref}"), 404)


@case("L7", "R81")
def thirty_thousand_layers(t):
    repo = t.repo()
    config, layer = oci.dump({"seed": t.seed()}), t.seed().encode()
    t.blob(repo, config)
    t.blob(repo, layer)
    one = oci.json.dumps({"mediaType": "x/y", "size": len(layer), "digest": oci.digest(layer)})
    head = oci.json.dumps(oci.image_doc(oci.descriptor(config, oci.CONFIG), []))
    body = head.replace('"layers": []', '"layers":[' + ",".join([one] * 30_000) + "]").encode()
    t.true(len(body) < LIMIT, "a body below the limit", len(body))
    t.status(t.put_manifest(repo, "many", body, oci.IMAGE), 201)
    t.body(t.get(f"/v2/{repo}/manifests/many"), body)


@case("L7", "R88")
def very_many_distinct_layers(t):
    """Descriptors that may be absent, each with a digest of its own: all are checked, none kept."""
    t.on_directory()  # 48,000 questions
    repo = t.repo()
    config = oci.dump({"seed": t.seed()})
    t.blob(repo, config)
    kind = "application/vnd.oci.image.layer.nondistributable.v1.tar"
    text = [f'{{"mediaType":"{kind}","size":1,"digest":"sha256:{n:064x}"}}' for n in range(24_000)]
    head = oci.json.dumps(oci.image_doc(oci.descriptor(config, oci.CONFIG), []))
    body = head.replace('"layers": []', '"layers":[' + ",".join(text) + "]").encode()
    t.true(len(body) < LIMIT, "a body below the limit", len(body))
    t.status(t.put_manifest(repo, "many", body, oci.IMAGE), 201)
    t.body(t.get(f"/v2/{repo}/manifests/many"), body)
    t.status(t.get(f"/v2/{repo}/blobs/sha256:{5:064x}"), 404)


@case("L8", "R81", "R132", "R135")
def annotations_of_3_9_mb_with_a_subject(t):
    repo = t.repo()
    subject, body = t.image(repo)
    notes = {f"key-{n:03}": chr(97 + n % 26) * 10_000 for n in range(390)}
    digest, data = t.artifact(repo, oci.descriptor(body, oci.IMAGE), "big/one", annotations=notes)
    t.body(t.get(f"/v2/{repo}/manifests/{digest}"), data)
    (got,) = t.get(f"/v2/{repo}/referrers/{subject}").json()["manifests"]
    t.eq(got["digest"], digest, "referrer")
    t.true(got["annotations"] == notes, "all annotations in the referrers answer", len(str(got)))
    t.status(t.delete(f"/v2/{repo}/manifests/{digest}"), 202)
    t.eq(t.get(f"/v2/{repo}/referrers/{subject}").json()["manifests"], [], "referrers")


@contextlib.contextmanager
def small_disk(size):
    """A tmpfs of that size, for those who may mount one."""
    where = tempfile.mkdtemp(prefix="api-disk-")
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={size},mode=0700", "tmpfs", where],
        capture_output=True,
        check=False,
    )
    if done.returncode:
        os.rmdir(where)
        raise Skip(f"cannot mount a tmpfs: {done.stderr.decode().strip()}")
    try:
        yield pathlib.Path(where)
    finally:
        subprocess.run(["umount", "-l", where], check=False)
        os.rmdir(where)


def fill(path, keep):
    """Write a file that leaves about `keep` bytes free."""
    free = os.statvfs(path.parent).f_bavail * os.statvfs(path.parent).f_frsize
    with open(path, "wb") as f:
        with contextlib.suppress(OSError):
            f.write(b"x" * max(free - keep, 0))


@case("L10", "R103", server="")
def disk_full(t):
    t.on_directory()
    if os.geteuid() != 0:
        raise Skip("needs root to mount a small tmpfs")
    disk = t.stack.enter_context(small_disk("24m"))
    srv = t.serve(root=str(disk / "root"))
    client = t.at(srv)
    repo = client.repo()
    digest, body = client.image(repo, "v1")
    kept = os.urandom(100_000)
    blob = client.blob(repo, kept)
    part = client.start(repo)
    client.status(client.req("PATCH", part, body=b"first"), 202)
    filler = disk / "filler"
    fill(filler, 1 << 20)
    big = os.urandom(8 << 20)
    for how in range(3):
        if how == 2:
            resp = client.req("POST", f"/v2/{repo}/blobs/uploads/?digest={oci.digest(big)}", {}, big)
        elif how == 1:
            resp = client.finish(client.start(repo), oci.digest(big), big)
        else:
            resp = client.req("PATCH", client.start(repo), {}, big, True)
        client.error(resp, 507, "UNKNOWN")
    fill(disk / "filler2", 0)
    for n in range(20):  # what little room there is may still take some
        resp = client.put_manifest(repo, "v1", oci.index_doc([], pad="x" * 90_000, n=n))
        client.status(resp, 201, 507)
        if resp.status == 507:
            break
    client.error(resp, 507, "UNKNOWN")
    client.status(client.head(f"/v2/{repo}/manifests/v1"), 200)
    client.body(client.get(f"/v2/{repo}/manifests/{digest}"), body)
    client.body(client.get(f"/v2/{repo}/blobs/{blob}"), kept)
    client.status(client.get(f"/v2/{repo}/tags/list"), 200)
    filler.unlink()
    (disk / "filler2").unlink()
    client.body(client.get(f"/v2/{repo}/blobs/{client.blob(repo, big)}"), big)
    client.image(repo, "after")
    client.status(client.req("PATCH", part, {"Content-Range": "5-9"}, b"later"), 202)
    client.status(client.finish(part, oci.digest(b"firstlater")), 201)
    check_root(t, srv.root)
