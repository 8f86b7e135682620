"""Two tenants of one registry, in both modes: nothing of the one is seen, read, mounted, finished or
listed by the other, and answers do not tell whether it is there (I13)."""

import http.client
import json
import re
import threading
import time
import urllib.parse

import leaks
import oci
import people
import server as server_mod
from harness import case
from people import Door

POLICY = """
group tenant-a alice
group tenant-b bob
allow group:tenant-a a/** *
allow group:tenant-b b/** *
"""
SECRET = b"bytes that only tenant a may know"
REFUSED = (401, 403)


def views(t, mode):
    """Callers: alice, bob, and nobody; in Bearer mode with tokens for everything there is."""
    d = Door(t, "--auth-mode", mode, "--tag-history", users=("alice", "bob"), policy=POLICY)
    if mode == "basic":
        return d, d.user("alice"), d.user("bob")

    def view(user):
        names = ("a/x", "a/y", "b/x", "b/y", "b/z", "b/new", "at-20200101t000000z/a/x")
        scopes = [f"repository:{n}:*" for n in names] + ["registry:catalog:*"]
        query = urllib.parse.urlencode([("scope", s) for s in scopes])
        token = d.user(user).get(f"/auth/token?{query}").json()["token"]
        return d.by(people.bearer(token))

    return d, view("alice"), view("bob")


class Follower:
    """Reads the stream of all events as they happen; what came is kept as text."""

    def __init__(self, view):
        self.text, self.status = "", None
        _, host, port = view.addr
        self.conn = http.client.HTTPConnection(host, port, timeout=20)
        headers = dict(view.always) | {"Accept": "text/event-stream"}
        self.conn.request("GET", "/v2/_stowage/events", headers=headers)
        self.answer = self.conn.getresponse()
        self.status = self.answer.status
        threading.Thread(target=self.read, daemon=True).start()

    def read(self):
        while line := self.answer.readline():
            self.text += line.decode()


def past_catalogs(t, alice, bob):
    """What each sees of a moment before alice has another repository."""
    time.sleep(1.2)
    whole = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    time.sleep(0.05 + server_mod.stamp_pause())
    alice.image("a/y", "later")  # after that the moment is final
    for where in (f"/v2/_catalog?at={whole}", f"/v2/at-{re.sub('[-:]', '', whole).lower()}/_catalog"):
        t.eq(bob.get(where).json()["repositories"], ["b/z"], f"bob's {where}")
        t.eq(alice.get(where).json()["repositories"], ["a/x"], f"alice's {where}")


def same(t, got, wanted, what):
    """Two answers that must not differ, but for what was asked and the request's own marks."""
    t.eq(got.status, wanted.status, f"status of {what}")
    t.eq(got.codes(), wanted.codes(), f"codes of {what}")


def next_of(view, target):
    """Where an answer says that it goes on, by Link or by its cursor."""
    resp = view.get(target)
    if resp.h("Link"):
        return re.match("<(.*?)>", resp.h("Link")).group(1)
    return target.split("?")[0] + "?wait=0&after=" + resp.json()["cursor"]


def cursors(t, alice, bob):
    """A cursor that alice was given tells bob nothing: where the repository is hers he is refused, where all
    may ask he gets his own, and none says in plain bytes what lies there."""
    for tag in ("v2", "v3"):
        alice.image("a/x", tag)
    alice.image("a/y", "v1")
    subject = alice.get("/v2/a/x/manifests/v1").h("Docker-Content-Digest")
    for target in (
        "/v2/a/x/tags/list?n=1",
        "/v2/a/x/tags/list?n=1&at=4",
        "/v2/a/x/_stowage/log?n=1",
        "/v2/_stowage/events?repository=a/x&n=1&wait=0",
    ):
        link = next_of(alice, target)
        if "events" in link:
            link += "&repository=a/x"
        t.status(alice.get(link), 200)
        resp = bob.get(link)
        t.true(resp.status in REFUSED, f"bob is refused {link}", resp.show())
        t.true(subject.encode() not in resp.body and b"v2" not in resp.body, "nothing of a", resp.show())
        # Where it may be used at all, it is for what it was given for, or a place in bob's own list.
        own = bob.get(link.replace("a/x", "b/z"))
        t.true(own.status in (200, 400, 404), f"bob's own by {link}", own.show())
        t.true(subject.encode() not in own.body and b"a/" not in own.body, "nothing of a", own.show())
    foreign = bob.get(next_of(alice, "/v2/_stowage/events?repository=a/x&n=1&wait=0"))
    t.error(foreign, 400, "UNSUPPORTED")  # of one repository, used for all
    after_hers = next_of(alice, "/v2/_stowage/events?wait=1&n=2")
    for link in (next_of(alice, "/v2/_catalog?n=1"), "/v2/_catalog?n=1&last=a/x", after_hers):
        resp = t.status(bob.get(link), 200)
        t.true(b"a/" not in resp.body, f"nothing of a by {link}", resp.show())
        t.true("a/" not in (resp.h("Link") or ""), "nothing of a in Link", resp.show())
    past = bob.get("/v2/_stowage/events?wait=1")
    for cursor in (past.json()["cursor"], after_hers.rpartition("=")[2]):
        raw = bytes.fromhex(cursor)
        t.true(b"a/" not in raw and b"b/" not in raw, "a cursor names nobody", raw)


def matrix(t, mode):
    d, alice, bob = views(t, mode)
    live = Follower(bob)
    blob = alice.blob("a/x", SECRET)
    digest, _ = alice.image("a/x", "v1")
    alice.artifact("a/x", subject={"mediaType": oci.IMAGE, "digest": digest, "size": 10})
    session = alice.start("a/x")
    absent = oci.digest(b"bytes that nobody has")
    past = "at-20200101t000000z/a/x"
    for who, view in (("bob", bob), ("nobody", d.by())):
        for method, target in (
            ("GET", f"/v2/a/x/blobs/{blob}"),
            ("HEAD", f"/v2/a/x/blobs/{blob}"),
            ("GET", "/v2/a/x/manifests/v1"),
            ("HEAD", f"/v2/a/x/manifests/{digest}"),
            ("GET", f"/v2/a/x/referrers/{digest}"),
            ("GET", "/v2/a/x/tags/list"),
            ("GET", "/v2/a/x/_stowage/settings"),
            ("GET", "/v2/_stowage/events?repository=a/x&wait=0"),
            ("GET", "/v2/_stowage/events?repository=a/x&after=0&n=1"),
            ("GET", "/v2/_stowage/events?repository=at-20200101t000000z/a/x&wait=0"),
            ("GET", "/v2/a/x/manifests/v1?at=1"),
            ("GET", f"/v2/a/x/manifests/{digest}?at=1"),
            ("GET", f"/v2/a/x/blobs/{blob}?at=1"),
            ("GET", "/v2/a/x/tags/list?at=1"),
            ("GET", f"/v2/a/x/referrers/{digest}?at=1"),
            ("GET", "/v2/a/x/_oci/tag-history/v1"),
            ("GET", "/v2/a/x/_oci/tag-history/v1?n=1&last=2"),
            ("GET", "/v2/a/x/tags/list?n=1&last=a"),
            ("GET", f"/v2/a/x/referrers/{digest}?last={digest}"),
            ("GET", "/v2/a/x/_stowage/log?after=0&n=1"),
            ("GET", "/v2/a/x/_stowage/log"),
            ("GET", "/v2/a/x/_stowage/diff?from=1"),
            ("GET", f"/v2/{past}/referrers/{digest}"),
            ("GET", f"/v2/{past}/manifests/{digest}"),
            ("POST", "/v2/a/x/_stowage/tags"),
            ("POST", "/v2/a/x/_stowage/tags?override=true"),
            ("POST", "/v2/a/x/_stowage/revert?at=1&override=true"),
            ("PUT", "/v2/a/x/_stowage/settings"),
            ("POST", f"/v2/a/x/blobs/uploads/?mount={blob}&from=a/x"),
            ("POST", f"/v2/a/x/blobs/uploads/?digest={absent}"),
            ("POST", "/v2/a/x/_stowage/revert?at=1"),
            ("POST", "/v2/a/x/_stowage/revert?at=1&tag=v1"),
            ("DELETE", "/v2/a/x/_stowage/repository"),
            ("GET", f"/v2/{past}/manifests/v1"),
            ("GET", f"/v2/{past}/blobs/{blob}"),
            ("GET", f"/v2/{past}/tags/list"),
            ("POST", "/v2/a/x/blobs/uploads/"),
            ("PUT", "/v2/a/x/manifests/v2"),
            ("DELETE", f"/v2/a/x/blobs/{blob}"),
            ("DELETE", "/v2/a/x/manifests/v1"),
            ("GET", session),
            ("PATCH", session),
            ("PUT", f"{session}?digest={blob}"),
            ("DELETE", session),
        ):
            resp = view.req(method, target)
            t.true(resp.status in REFUSED, f"{who} is refused {method} {target}", resp.show())
            t.true(SECRET not in resp.body, "no bytes of a", resp.show())
            unknown = view.req(method, target.replace("a/x", "a/nothing"))
            if mode == "basic" and "uploads/" not in target:
                same(t, resp, unknown, f"{method} {target} beside a repository that is not there")
    own = bob.start("b/x")
    foreign = session.replace("/v2/a/x/", "/v2/b/x/")
    for method in ("GET", "PATCH", "DELETE"):
        t.error(bob.req(method, foreign), 404, "BLOB_UPLOAD_UNKNOWN")
    t.error(bob.finish(foreign, oci.digest(b""), b""), 404)
    t.status(bob.get(own), 204)
    for query in (f"?mount={blob}&from=a/x", f"?mount={blob}", f"?mount={absent}&from=a/x"):
        resp = bob.req("POST", f"/v2/b/y/blobs/uploads/{query}")
        t.status(resp, 202)
    t.error(bob.get(f"/v2/b/y/blobs/{blob}"), 404)
    config = bob.blob("b/z", b"{}")
    for wanted in (blob, absent):
        doc = oci.image_doc(
            {"mediaType": oci.CONFIG, "digest": config, "size": 2},
            [{"mediaType": oci.LAYER, "digest": wanted, "size": len(SECRET)}],
        )
        t.error(bob.put_manifest("b/z", "v1", doc), 400, "MANIFEST_BLOB_UNKNOWN")
    t.error(bob.get(f"/v2/b/z/manifests/{digest}"), 404)
    bob.image("b/z", "v2")
    t.eq(bob.get("/v2/_catalog").json()["repositories"], ["b/z"], "bob's catalog")
    t.eq(alice.get("/v2/_catalog").json()["repositories"], ["a/x"], "alice's catalog")
    events = bob.get("/v2/_stowage/events?wait=1")
    text = events.body.decode()
    t.true("b/z" in text and "a/x" not in text, "bob's events are his", text[:300])
    t.eq(live.status, 200, "a follower")
    t.true(people.eventually(lambda: "b/z" in live.text), "bob hears of his push", live.text[-300:])
    past_catalogs(t, alice, bob)
    cursors(t, alice, bob)
    t.true("a/" not in live.text, "bob hears of his pushes only", live.text[:300])
    t.eq(bob.blob("b/new", SECRET), blob, "bob may push the same bytes himself")
    t.status(alice.get(f"/v2/a/x/blobs/{blob}"), 200)
    entries = json.dumps([p.name for p in d.root().glob("repos/*")])
    t.true("a" in entries, "both tenants are in one store", entries)


@case("I13", "R65", "R114", server="")
def apart_by_password(t):
    """The matrix with passwords."""
    matrix(t, "basic")


@case("I13", "R65", "R114", server="")
def apart_by_token(t):
    """The matrix with tokens that were asked for everything."""
    matrix(t, "bearer")


@case("R113", server="")
def tags_by_glob(t):
    """Who may change some tags changes no others, by no way there is."""
    d = Door(t, policy="allow user:root ** *\nallow user:writer w/** pull,push,delete,history dev-*\n")
    root, writer = d.user("root"), d.user("writer")
    old, body = root.image("w/a", "dev-1")
    root.put_manifest("w/a", "prod", body.decode())
    for tag in ("dev-1", "prod"):
        t.status(root.image("w/a", tag) and root.get(f"/v2/w/a/manifests/{tag}"), 200)
    now = root.get("/v2/w/a/manifests/prod").h("Docker-Content-Digest")

    def release(tag, digest):
        text = json.dumps({"tags": [{"tag": tag, "digest": digest}]}).encode()
        return writer.req("POST", "/v2/w/a/_stowage/tags", [], text)

    t.status(release("dev-2", old), 204)
    t.status(writer.req("POST", "/v2/w/a/_stowage/revert?at=1&tag=dev-1"), 200)
    for resp in (
        release("prod", old),
        release("prod", None),
        writer.req("POST", "/v2/w/a/_stowage/revert?at=2&tag=prod"),
        writer.req("POST", "/v2/w/a/_stowage/revert?at=2"),
        writer.req("DELETE", "/v2/w/a/_stowage/repository"),
        writer.put_manifest("w/a", "prod", body.decode()),
        writer.delete("/v2/w/a/manifests/prod"),
        writer.delete(f"/v2/w/a/manifests/{now}"),
    ):
        t.error(resp, 403, "DENIED")
    t.eq(root.get("/v2/w/a/manifests/prod").h("Docker-Content-Digest"), now, "prod")


@case("R8", server="")
def sessions_of_one_repository(t):
    """Within a tenant another user, and another repository, do not know the session either."""
    d = Door(t, users=("alice", "carol"), policy="allow authenticated ** *\n")
    alice, carol = d.user("alice"), d.user("carol")
    session = alice.start("a/x")
    t.error(carol.get(session), 404, "BLOB_UPLOAD_UNKNOWN")
    t.error(alice.get(session.replace("a/x", "a/y")), 404, "BLOB_UPLOAD_UNKNOWN")
    t.error(d.by().get(session), 401, "UNAUTHORIZED")
    t.status(alice.get(session), 204)
    forged = session[:-1] + ("0" if session[-1] != "0" else "1")
    t.error(alice.get(forged), 404, "BLOB_UPLOAD_UNKNOWN")


@case("R110", "R104", server="")
def logs_hold_no_secret(t):
    """After log-ins, refusals, tokens, keys and uploads no secret is in the server's log."""
    d = Door(t, "--auth-mode", "bearer", "--log-level", "debug", users=("alice",))
    alice = d.user("alice")
    alice.image("a/x", "v1")
    session = alice.start("a/x")
    alice.finish(session + "?state=query-of-a-session", oci.digest(b"no"), b"yes")
    made = alice.req("POST", "/auth/robots", [], b'{"name":"k","scopes":"repository:a/x:pull"}')
    key = made.json()["key"]
    d.by(people.basic("k", key)).get("/v2/a/x/tags/list")
    d.by(people.basic("k", key)).delete("/v2/a/x/manifests/v1")
    token = alice.get("/auth/token?scope=repository:a/x:pull").json()["token"]
    d.by(people.bearer(token)).delete("/v2/a/x/manifests/v1")
    d.by(people.bearer(token + "x")).get("/v2/")
    d.user("alice", "a wrong password").get("/v2/")
    form = urllib.parse.urlencode(
        {"grant_type": "password", "username": "alice", "password": "another wrong one"}
    )
    d.by().req("POST", "/auth/token", [], form.encode())
    d.by().get("/v2/a/x/tags/list?n=1&secret=query-of-a-list")
    told = d.server.said("auth.denied")
    t.true(told, "denials are in the log")
    log = d.server.log()
    for what in (
        people.PASSWORD, "a wrong password", "another wrong one", key, key[-64:], token,
        token.split(".")[2], people.basic("alice")[1].split()[1], "query-of-a-session",
        "query-of-a-list", people.HASHES["alice"],
    ):  # fmt: skip
        t.true(what not in log, "no secret in the log", what[:20])
    for line in log.splitlines():
        if "event=auth.denied" in line and "by=robot:k" in line:
            t.true("action=delete" in line and "why=" in line, "who, what and why", line)
            break
    else:
        t.fail("the robot's denied delete in the log", log[-500:])


@case("R104", server="")
def planted_secrets_are_found(t):
    """What looks at every line of every server (leaks.py) finds what it is to find, and nothing else."""
    key = "f" * 60 + "a robot's"
    for text in (
        f"event=x why={people.PASSWORD}", "event=x header=\"Basic YWxpY2U6c2VjcmV0\"", f"event=x key={key}",
        "why=eyJhbGciOiJFUzI1NiJ9.e30", "path=/v2/a/blobs/uploads/" + "0123" * 19,
        "url=https://s3/b?X-Amz-Signature=0", people.HASHES["alice"], "why=open%20sesame",
    ):  # fmt: skip
        t.eq(leaks.holding([text], {people.PASSWORD, key}), [text], "a secret")
    plain = ["event=x digest=sha256:" + "0" * 64, "path=/v2/a/blobs/uploads/" + "0" * 44 + "...", "by=alice why=Basic"]
    t.eq(leaks.holding(plain, {people.PASSWORD, key, "short"}), [], "plain lines")
