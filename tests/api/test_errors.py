"""Error answers and what failures of the store look like from outside."""

import os
import pathlib
import re
import threading

import oci
from harness import case
from test_bucket import data_files, record_path
from test_http import rss_kib
from test_upload import run_together


@case("R100", "R101", "R104")
def one_of_each(t):
    repo = t.repo()
    digest, body = t.image(repo, "v1")
    for method, path, status, code in (
        ("GET", f"/v2/{repo}/blobs/{oci.ZERO}", 404, "BLOB_UNKNOWN"),
        ("GET", f"/v2/{repo}/blobs/uploads/none", 404, "BLOB_UPLOAD_UNKNOWN"),
        ("GET", f"/v2/{repo}/manifests/none", 404, "MANIFEST_UNKNOWN"),
        ("GET", f"/v2/{repo}/none/tags/list", 404, "NAME_UNKNOWN"),
        ("GET", "/v2/UPPER/tags/list", 400, "NAME_INVALID"),
        ("GET", f"/v2/{repo}/referrers/sha256:x", 400, "DIGEST_INVALID"),
        ("PUT", f"/v2/{repo}/manifests/v2", 400, "MANIFEST_INVALID"),
        ("POST", f"/v2/{repo}/tags/list", 405, "UNSUPPORTED"),
        ("GET", f"/v2/{repo}/tags/list?n=x", 400, "UNSUPPORTED"),
    ):
        resp = t.error(t.req(method, path), status, code)
        t.header(resp, "Content-Type", "application/json")
        doc = resp.json()
        t.eq(list(doc), ["errors"], "keys of the error document")
        for one in doc["errors"]:
            t.true(set(one) <= {"code", "message", "detail"}, "code, message, detail", one)
            t.true(len(one["message"]) > 8 and one["message"] != one["code"], "plain words", one)
        head = t.req("HEAD", path) if method == "GET" else None
        if head:
            t.status(head, status)


@case("R100")
def hostile_text_in_errors_stays_json(t):
    for name in ("%22%7D%5D", "%5C%22", "%3Cscript%3E", "a%0d%0aX-Evil:1", "%ff%fe", "%e2%80%a8"):
        resp = t.error(t.get(f"/v2/{name}/tags/list"), (400, 404))
        t.true(resp.codes(), "an error document", resp.show())
        t.no_header(resp, "X-Evil")
        repo = t.repo()
        t.error(t.get(f"/v2/{repo}/manifests/{name}"), (400, 404))
        t.error(t.get(f"/v2/{repo}/blobs/{name}"), (400, 404))


@case("R104")
def messages_name_what_is_wrong(t):
    repo = t.repo()
    t.blob(repo, b"{}")
    long_name = t.get("/v2/" + "a" * 300 + "/tags/list").json()["errors"][0]
    t.true("name" in str(long_name).lower(), "a message about the name", long_name)
    doc = oci.image_doc({"mediaType": "x/y", "digest": oci.digest(b"{}"), "size": -1}, [])
    bad = t.put_manifest(repo, "v", doc).json()["errors"][0]
    t.true("size" in str(bad).lower() or "config" in str(bad).lower(), "a message about the size", bad)
    torn = t.put_manifest(repo, "v", b'{"a":', oci.IMAGE).json()["errors"][0]
    t.true("json" in str(torn).lower(), "a message about JSON", torn)


def spoil(path):
    """Flip one byte near the end of a file."""
    data = bytearray(path.read_bytes())
    data[-3] ^= 0x01
    path.chmod(0o600)
    path.write_bytes(bytes(data))


@case("L9", "R103", "R104", server="")
def corrupt_manifest(t):
    srv = t.serve()
    client = t.at(srv)
    repo = client.repo()
    digest, _ = client.image(repo, "v1")
    _, good = client.image(repo, "good")
    path = record_path(srv.root, digest)
    spoil(path)
    for restarted in (False, True):
        if restarted:
            srv.restart()
            client = t.at(srv)
        for ref in ("v1", digest):
            resp = client.get(f"/v2/{repo}/manifests/{ref}")
            if not restarted and resp.status == 200:
                t.eq(oci.digest(resp.body), digest, "digest of the bytes, from a cache")
                continue
            client.error(resp, 500, "UNKNOWN")
            client.true(srv.said(digest[7:]), "the key in the log", srv.log()[-300:])
        client.body(client.get(f"/v2/{repo}/manifests/good"), good)


@case("L9", "R103", server="")
def unreadable_objects(t):
    srv = t.serve()
    client = t.at(srv)
    repo = client.repo()
    digests = [client.image(repo, f"v{n}")[0] for n in range(5)]
    srv.stop()
    paths = [record_path(srv.root, d) for d in digests]
    whole = paths[0].read_bytes()
    paths[0].unlink()
    paths[0].mkdir()  # reading it fails
    paths[1].write_bytes(b"")  # torn
    paths[2].write_bytes(whole[: len(whole) // 2])
    paths[3].write_bytes(b"garbage\n" + whole)
    paths[4].unlink()
    paths[4].symlink_to("/etc/passwd")  # no symbolic link below the root is followed
    srv.start()
    client = t.at(srv)
    for n, digest in enumerate(digests):
        for ref in (f"v{n}", digest):
            for method in ("GET", "HEAD"):
                resp = client.req(method, f"/v2/{repo}/manifests/{ref}")
                if method == "HEAD" and resp.status == 200:
                    continue  # it promises nothing about bytes
                client.true(resp.status in (500, 503), "500, never 404 nor wrong bytes", resp.show())
        client.true(srv.said(digest[7:]), f"the key of {n} in the log", srv.log()[-300:])
    client.image(repo, "after")


@case("L9", "R30", server="")
def short_blob_file(t):
    srv = t.serve()
    client = t.at(srv)
    repo = client.repo()
    before = data_files(srv.root)
    data = os.urandom(300_000)
    digest = client.blob(repo, data)
    (path,) = data_files(srv.root) - before
    path = pathlib.Path(path)
    path.chmod(0o600)
    os.truncate(path, 1000)
    srv.restart()
    client = t.at(srv)
    conn = client.connect(timeout=10)
    conn.send(f"GET /v2/{repo}/blobs/{digest} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    try:
        resp = conn.response("GET", f"/v2/{repo}/blobs/{digest}")
    except Exception:  # a body that ends early tells the client as well
        return
    t.true(resp.status >= 500, "500, or an answer that breaks off", resp.show()[:80])


@case("R102", "R103")
def overload_says_when_to_come_back(t):
    """Many requests at once: each is answered, or told in the agreed form to come back."""
    repo = t.repo()
    _, body = t.image(repo, "v1")
    seen, lock = {}, threading.Lock()

    def work():
        client = t.at(t.addr)
        for n in range(15):
            resp = client.put_manifest(repo, f"t{n}", body, oci.IMAGE)
            with lock:
                seen[resp.status] = seen.get(resp.status, 0) + 1
            if resp.status in (429, 503):
                client.true((resp.h("Retry-After") or "").isdigit(), "Retry-After", resp.headers)

    threads = [threading.Thread(target=work) for _ in range(40)]
    for th in threads:
        th.start()
    for th in threads:
        th.join()
    t.eq(sum(seen.values()), 600, "answers to 600 requests")
    t.true(set(seen) <= {201, 429, 503}, "201, 429 or 503 only", seen)


@case("R102", "R103", "R154", server="")
def more_bodies_than_memory(t):
    """Forty clients hold a large manifest open: memory stays bounded, refusals have their form."""
    # What a sanitizer keeps beside freed memory or about bytes in use is not the server's.
    options = os.environ.get("ASAN_OPTIONS", "") + ":quarantine_size_mb=8"
    srv = t.serve(wrap=["env", "ASAN_OPTIONS=" + options])
    client = t.at(srv)
    repo = client.repo()
    client.image(repo, "before")
    rss = rss_kib(srv.pid)
    body = oci.dump(oci.index_doc([], fill="x" * (4_100_000)))
    head = f"PUT /v2/{repo}/manifests/t HTTP/1.1\r\nHost: x\r\nContent-Type: {oci.INDEX}\r\n"
    head = f"{head}Content-Length: {len(body)}\r\n\r\n".encode()
    conns = []

    def hold():
        conn = client.connect()
        conns.append(conn)
        conn.send(head + body[:-1])

    run_together(hold, 40)
    grown = rss_kib(srv.pid) - rss
    most = 256 if b"__tsan_init" in pathlib.Path(srv.binary).read_bytes() else 144
    t.true(grown < most << 10, f"less than {most} MiB for 160 MB of open bodies", f"{grown} KiB")
    client.status(client.get(f"/v2/{repo}/manifests/before"), 200)
    seen = set()
    for conn in conns:
        conn.send(body[-1:])
        resp = client.read(conn, "PUT", f"/v2/{repo}/manifests/t", "PUT of 4 MB, one of 40")
        seen.add(client.status(resp, 201, 429, 503).status)
        if resp.status != 201:
            client.header(resp, "Retry-After", re.compile(r"[0-9]+"))
    t.true(201 in seen, "some accepted", seen)
    client.body(client.get(f"/v2/{repo}/manifests/t"), body)
