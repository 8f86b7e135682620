"""--staleness: what reads may be answered from, and that changes never are; --override-ahead."""

import hashlib
import json
import pathlib
import time

import oci
from harness import case
from test_cli import run
from test_conditional import images, put, refused, tag_of


def two(t, staleness):
    """(client of a process that may be stale, client of a strict one) on one root."""
    stale = t.serve("--staleness", staleness)
    return t.at(stale), t.at(t.serve(root=stale.root))


@case("L31", server="")
def reads_may_be_stale(t):
    stale, strict = two(t, "60s")
    (a, a_body), (b, b_body) = images(strict, "r")
    strict.status(put(strict, "r", "x", a_body), 201)
    t.eq(tag_of(stale, "r", "x"), a, "tag")
    strict.status(put(strict, "r", "x", b_body), 201)
    for _ in range(3):
        t.eq(tag_of(stale, "r", "x"), a, "tag, of a moment ago")
    resp = stale.status(stale.get("/v2/r/tags/list"), 200)
    t.eq(json.loads(resp.body)["tags"], ["x"], "tags")
    # What is not found is looked for in the newest state: and then that is known.
    strict.status(put(strict, "r", "new", a_body), 201)
    t.eq(tag_of(stale, "r", "new"), a, "a new tag")
    t.eq(tag_of(stale, "r", "x"), b, "tag")
    t.eq(tag_of(stale, "r", "none"), None, "no tag")


@case("L31", server="")
def what_this_process_did_is_seen(t):
    stale, strict = two(t, "60s")
    (a, a_body), (b, b_body) = images(stale, "r")
    for digest, body in ((a, a_body), (b, b_body)) * 3:
        stale.status(put(stale, "r", "x", body), 201)
        t.eq(tag_of(stale, "r", "x"), digest, "tag")
    stale.status(stale.delete("/v2/r/manifests/x"), 202)
    t.eq(tag_of(stale, "r", "x"), None, "tag")


@case("L31", server="")
def staleness_ends(t):
    stale, strict = two(t, "1s")
    (a, a_body), (b, b_body) = images(strict, "r")
    strict.status(put(strict, "r", "x", a_body), 201)
    t.eq(tag_of(stale, "r", "x"), a, "tag")
    strict.status(put(strict, "r", "x", b_body), 201)
    time.sleep(1.1)
    t.eq(tag_of(stale, "r", "x"), b, "tag")


@case("L31", "R95", "R96", server="")
def changes_are_strict(t):
    stale, strict = two(t, "60s")
    (a, a_body), (b, b_body) = images(strict, "r")

    def moved(tag):
        """The strict process moves a tag that the other has just seen on a."""
        strict.status(put(strict, "r", tag, a_body), 201)
        t.eq(tag_of(stale, "r", tag), a, "tag")
        strict.status(put(strict, "r", tag, b_body), 201)

    moved("x")
    refused(stale, put(stale, "r", "x", a_body, If_Match=f'"{a}"'), "x", b)
    moved("y")
    # The same as it was: to a stale state that would change nothing.
    stale.status(put(stale, "r", "y", a_body), 201)
    t.eq(tag_of(strict, "r", "y"), a, "tag")
    moved("z")
    refused(stale, stale.delete("/v2/r/manifests/z", If_Match=f'"{a}"'), "z", b)
    moved("v")
    strict.status(strict.delete("/v2/r/manifests/v"), 202)
    stale.error(stale.delete("/v2/r/manifests/v"), 404, "MANIFEST_UNKNOWN")
    moved("w")
    rows = {"tags": [{"tag": "w", "digest": a, "if": a}]}
    refused(stale, stale.req("POST", "/v2/r/_stowage/tags", {}, oci.dump(rows)), "w", b)
    moved("i")
    strict.status(strict.req("PUT", "/v2/r/_stowage/settings", {}, b'{"immutable":["i"]}'), 200)
    refused(stale, put(stale, "r", "i", a_body), "i", b, 403)


@case("L31", "I13", server="")
def references_and_mounts_are_strict(t):
    stale, strict = two(t, "60s")
    blob = strict.blob("r", b"shared bytes")
    images(strict, "r")
    strict.status(strict.get(f"/v2/r/blobs/{blob}"), 200)
    stale.status(stale.get(f"/v2/r/blobs/{blob}"), 200)
    strict.status(strict.delete(f"/v2/r/blobs/{blob}"), 202)
    doc = oci.image_doc(oci.descriptor(b"shared bytes", oci.CONFIG), [])
    stale.error(put(stale, "r", "x", oci.dump(doc)), 400, "MANIFEST_BLOB_UNKNOWN")
    blob = strict.blob("r", b"other bytes")
    stale.status(stale.get(f"/v2/r/blobs/{blob}"), 200)
    strict.status(strict.delete(f"/v2/r/blobs/{blob}"), 202)
    stale.status(stale.req("POST", f"/v2/s/blobs/uploads/?mount={blob}&from=r"), 202)


def add_from_the_future(root, repo, ahead_ms):
    """An entry without effect, as a node with a wrong clock on a store that had none would have
    made it."""
    log = pathlib.Path(root) / "repos" / repo / "_log"
    last = max(log.glob("*/*"))
    raw = last.read_bytes()
    entry = json.loads(raw)
    entry.update(seq=entry["seq"] + 1, prev=hashlib.sha256(raw).hexdigest(), nonce="0" * 32, ops=[],
                 ts=time.time_ns() // 1_000_000 + ahead_ms)
    path = last.with_name(f"{entry['seq']:020}")
    path.write_bytes(json.dumps(entry, separators=(",", ":")).encode())
    path.chmod(0o600)


@case("L32", server="")
def an_entry_from_the_future(t):
    t.on_directory()  # a bucket's server does not see as taken what is put into its folder
    srv = t.serve()
    client = t.at(srv)
    (a, a_body), (b, b_body) = images(client, "r")
    client.status(put(client, "r", "x", a_body), 201)
    client.status(put(client, "other", "x", oci.dump(oci.image_doc(oci.descriptor(b"", oci.CONFIG), []))), 400)
    add_from_the_future(srv.root, "r", 3_600_000)
    for _ in range(2):
        client.error(put(client, "r", "x", b_body), 503, "UNKNOWN")
        t.eq(tag_of(client, "r", "x"), a, "tag")
    client.image("other", "x")  # not ahead
    t.true(srv.said("log.ahead"), "an alarm", srv.log()[-500:])
    for name, status in (("other", 503), ("r", 201)):
        one = t.serve("--override-ahead", name, root=srv.root)
        mine = t.at(one)
        mine.status(put(mine, "r", "x", b_body), status)
    t.true(one.said("log.ahead.overridden"), "an alarm", one.log()[-500:])
    t.eq(tag_of(client, "r", "x"), b, "tag")
    client.error(put(client, "r", "x", a_body), 503, "UNKNOWN")  # without the override: as before
    mine.status(put(mine, "r", "x", a_body), 201)
    log = sorted((pathlib.Path(srv.root) / "repos" / "r" / "_log").glob("*/*"))
    marks = [json.loads(p.read_bytes()).get("ahead") for p in log]
    t.true(all(m is None for m in marks[:-2]) and all(3_000_000 < m <= 3_600_000 for m in marks[-2:]),
           "the two last entries marked", marks)
    code, out, err = run(t, "fsck", "--root", srv.root)
    t.eq((code, out.splitlines()[:-1], err), (0, [], ""), "status and findings of fsck")
