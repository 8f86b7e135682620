"""The past: ?at=, views by name, the log, the history of a tag."""

import json
import random
import re
import time

import oci
import server as server_mod
from harness import case
from test_listing import NEXT

IMMUTABLE = re.compile(r"(public, |private, )?max-age=31536000, immutable")
STEPS, POSITIONS, TAGS = 220, 100, ["v%d" % i for i in range(24)]


def head_of(t, repo):
    return t.status(t.get(f"/v2/{repo}/_stowage/log?n=0"), 200).json()["head"]


def log_of(t, repo, query=""):
    """All entries, page by page."""
    entries, target = [], f"/v2/{repo}/_stowage/log{query}"
    while target:
        resp = t.status(t.get(target), 200)
        entries += resp.json()["entries"]
        target = NEXT.fullmatch(resp.h("Link")).group(1) if resp.all("Link") else None
    return entries


def answers(t, repo, subject, at=""):
    """What a client sees of a repository, at a moment or now: status, type and bytes."""
    seen = []
    ask = "?" + at if at else ""
    targets = [f"/v2/{repo}/tags/list{ask}", f"/v2/{repo}/referrers/{subject}{ask}"]
    targets += [f"/v2/{repo}/manifests/{tag}{ask}" for tag in TAGS[:4] + [subject]]
    for target in targets:
        resp = t.get(target)
        digest = resp.h("Docker-Content-Digest")
        seen.append((resp.status, resp.h("Content-Type"), digest, resp.body))
    return seen


class Mill:
    """Random changes of one repository, each one entry."""

    def __init__(self, t, repo, seed):
        self.t, self.repo, self.random = t, repo, random.Random(seed)
        self.config, layer = oci.dump({"seed": t.seed()}), t.seed().encode()
        for data in (self.config, layer):
            t.blob(repo, data)
        self.layers = [oci.descriptor(layer, oci.LAYER)]
        self.subject = None
        self.pushed, self.tags = [], set()

    def doc(self, **fields):
        config = oci.descriptor(self.config, oci.CONFIG)
        return oci.dump(oci.image_doc(config, self.layers, seed=self.t.seed(), **fields))

    def push(self):
        more = {}
        if self.subject and self.random.random() < 0.3:
            more = {"subject": self.subject, "annotations": {"n": self.t.seed()}}
        body = self.doc(**more)
        digest = oci.digest(body)
        tags = self.random.sample(TAGS, self.random.randint(0, 16))
        query = "?" + "&".join("tag=" + tag for tag in tags) if tags else ""
        self.t.status(self.t.put_manifest(self.repo, digest + query, body, oci.IMAGE), 201)
        self.pushed.append(digest)
        self.tags |= set(tags)
        if not self.subject:
            self.subject = oci.descriptor(body, oci.IMAGE)

    def step(self):
        dice = self.random.random()
        if dice < 0.15 and self.tags:
            tag = self.random.choice(sorted(self.tags))
            if self.t.delete(f"/v2/{self.repo}/manifests/{tag}").status == 202:
                self.tags.discard(tag)
                return
        if dice < 0.3 and len(self.pushed) > 2:
            digest = self.pushed.pop(self.random.randrange(1, len(self.pushed)))
            self.t.status(self.t.delete(f"/v2/{self.repo}/manifests/{digest}"), 202)
            return
        self.push()


@case("L40", server="")
def at_number_is_what_was_current(t):
    srv = t.serve()
    c, repo = t.at(srv), t.repo()
    mill = Mill(c, repo, t.mark)
    seen = {}
    for _ in range(STEPS):
        mill.step()
        seen[head_of(c, repo)] = answers(c, repo, mill.subject["digest"])
    t.eq(sorted(seen), list(range(1, STEPS + 1)), "one entry a step")
    positions = mill.random.sample(sorted(seen), POSITIONS)

    def compare(where, who, some):
        for seq in some:
            got = answers(who, repo, mill.subject["digest"], f"at={seq}")
            t.eq(got, seen[seq], f"{where}: answers at {seq}")

    compare("same process", c, positions)
    other = t.serve(root=srv.root)
    compare("second process", t.at(other), positions[::3])
    srv.restart()
    compare("after a restart", t.at(srv), positions[1::3])
    for part in ("tags/list", f"referrers/{mill.subject['digest']}"):
        t.error(t.at(srv).get(f"/v2/{repo}/{part}?at={STEPS + 1}"), 404)


@case("L40", "L41")
def at_time_and_names(t):
    repo, other = t.repo(), t.repo()
    first, body = t.image(repo, "v1")
    doc = json.loads(body)
    entry = log_of(t, repo)[0]
    time.sleep(1.2)  # names of views tell seconds
    whole = re.sub(r"\.\d+Z", "Z", time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()))
    time.sleep(0.05 + server_mod.stamp_pause())
    second, _ = t.image(repo, "v1")
    t.image(other, "x")  # a later entry of the catalog, too
    view = "at-" + whole.replace("-", "").replace(":", "").lower() + "/" + repo
    t.true(entry["time"] < whole, f"the first entry before {whole}", entry["time"])
    for target, shown in ((f"{repo}/%s?at={whole}", repo), (f"{view}/%s", view)):
        resp = t.status(t.get("/v2/" + target % "manifests/v1"), 200)
        t.eq(resp.h("Docker-Content-Digest"), first, "digest of v1")
        t.body(resp, body)
        t.header(resp, "Cache-Control", IMMUTABLE)
        t.header(resp, "ETag", f'"{first}"')
        t.status(t.head("/v2/" + target % "manifests/v1"), 200)
        t.error(t.get("/v2/" + target % f"manifests/{second}"), 404, "MANIFEST_UNKNOWN")
        resp = t.status(t.get("/v2/" + target % "tags/list"), 200)
        t.eq(resp.json(), {"name": shown, "tags": ["v1"]}, "tags")
        t.status(t.get("/v2/" + target % f"referrers/{first}"), 200)
        for blob in (doc["config"], doc["layers"][0]):
            resp = t.status(t.get("/v2/" + target % f"blobs/{blob['digest']}"), 200)
            t.eq(oci.digest(resp.body), blob["digest"], "blob")
    later = json.loads(t.get(f"/v2/{repo}/manifests/v1").body)["layers"][0]["digest"]
    t.error(t.get(f"/v2/{view}/blobs/{later}"), 404, "BLOB_UNKNOWN")
    t.eq(t.get(f"/v2/{repo}/manifests/v1").h("Docker-Content-Digest"), second, "v1 of now")
    known = t.get(f"/v2/_catalog?n=10000&last={other[:-3]}").json()["repositories"]
    t.true(other in known, "the other repository in the catalog of now", known)
    stamp = view.split("/")[0]
    for target in (f"/v2/_catalog?at={whole}&n=1000", f"/v2/{stamp}/_catalog"):
        past = t.status(t.get(target), 200).json()["repositories"]
        t.true(repo in past and other not in past, "the first repository alone", past[:20])


@case("L40")
def moments_that_are_refused(t):
    repo = t.repo()
    t.image(repo, "v1")
    soon = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 5))
    stamp = "at-" + soon.replace("-", "").replace(":", "").lower()
    for target in (f"{repo}/manifests/v1?at={soon}", f"{repo}/tags/list?at={soon}", f"{stamp}/{repo}/tags/list"):
        resp = t.error(t.get("/v2/" + target), 400, "UNSUPPORTED")
        t.true("not final" in resp.json()["errors"][0]["message"], "a sentence", resp.show())
    for bad in ("x", "-1", "2026-13-01T00:00:00Z", "2026-01-01", "1e3", "", "2026-01-01T00:00:00"):
        t.error(t.get(f"/v2/{repo}/tags/list?at={bad}"), 400, "UNSUPPORTED")
    t.error(t.get(f"/v2/at-20261301t000000z/{repo}/tags/list"), 400, "UNSUPPORTED")
    t.error(t.get(f"/v2/{repo}/manifests/v1?at=2"), 404, "MANIFEST_UNKNOWN")
    t.error(t.get(f"/v2/{repo}/tags/list?at=0"), 404, "NAME_UNKNOWN")
    t.error(t.get(f"/v2/{repo}/tags/list?at=2020-01-01T00:00:00%2B01:00"), 404, "NAME_UNKNOWN")
    t.error(t.get(f"/v2/at-20200101t000000z/{repo}/manifests/v1"), 404, "NAME_UNKNOWN")
    t.error(t.get(f"/v2/at-20200101t000000z/{repo}/_stowage/log"), 404)
    t.error(t.get("/v2/at-20200101t000000z/tags/list"), 404)
    t.eq(t.get("/v2/at-20200101t000000z/_catalog").json(), {"repositories": []}, "an old catalog")


@case("L41", "L13")
def views_are_read_only(t):
    repo = t.repo()
    digest, body = t.image(repo, "v1")
    view = f"at-20200101t000000z/{repo}"
    for resp in (
        t.put_manifest(view, "v1", body, oci.IMAGE),
        t.delete(f"/v2/{view}/manifests/v1"),
        t.delete(f"/v2/{view}/blobs/{digest}"),
        t.req("POST", f"/v2/{view}/blobs/uploads/"),
        t.get(f"/v2/{view}/blobs/uploads/abc"),
    ):
        t.error(resp, 405, "UNSUPPORTED")
        t.true("read-only" in resp.json()["errors"][0]["message"], "a sentence", resp.show())


@case("L40", server="")
def removed_content_is_said(t):
    srv = t.serve()
    c, repo = t.at(srv), t.repo()
    digest, body = c.image(repo, "v1")
    layer = json.loads(body)["layers"][0]["digest"]
    c.status(c.delete(f"/v2/{repo}/manifests/{digest}"), 202)
    srv.stop()
    for one in (digest, layer):
        for path in (t.scratch() / srv.root).glob(f"blobs/sha256/*/{one[7:]}.*"):
            path.unlink()
    srv.start()
    c = t.at(srv)
    for part in (f"manifests/v1", f"manifests/{digest}", f"blobs/{layer}"):
        resp = c.error(c.get(f"/v2/{repo}/{part}?at=1"), 404, "MANIFEST_UNKNOWN", "BLOB_UNKNOWN")
        t.eq(resp.json()["errors"][0]["message"], "content removed", "message")


@case("L40")
def pages_of_the_past(t):
    repo = t.repo()
    mill = Mill(t, repo, 1)
    body = mill.doc()
    tags = ["a", "b", "c", "d", "e"]
    query = "?" + "&".join("tag=" + tag for tag in tags)
    t.status(t.put_manifest(repo, oci.digest(body) + query, body, oci.IMAGE), 201)
    t.status(t.delete(f"/v2/{repo}/manifests/c"), 202)
    found, target = [], f"/v2/{repo}/tags/list?n=2&at=1"
    while target:
        resp = t.status(t.get(target), 200)
        found += resp.json()["tags"]
        target = NEXT.fullmatch(resp.h("Link")).group(1) if resp.all("Link") else None
    t.eq(found, tags, "tags, page by page")


@case("L42")
def log_says_who_and_from_what(t):
    repo = t.repo()
    one, _ = t.image(repo, "v1")
    two, body = t.image(repo, "v1")
    t.status(t.put_manifest(repo, f"{two}?tag=v2&tag=v3", body, oci.IMAGE), 201)
    t.status(t.delete(f"/v2/{repo}/manifests/v3"), 202)
    resp = t.status(t.delete(f"/v2/{repo}/manifests/{two}"), 202)
    entries = log_of(t, repo)
    t.eq([e["seq"] for e in entries], [1, 2, 3, 4, 5], "numbers")
    t.eq(sorted(e["time"] for e in entries), [e["time"] for e in entries], "times in order")
    ops = [e["operations"][0] for e in entries]
    t.eq([o["op"] for o in ops], ["put", "put", "put", "tags", "delete"], "operations")
    t.true(all(re.fullmatch("[0-9a-f]{16}", o["req"]) and "by" in o for o in ops), "who", ops)

    def moves(op):
        return sorted((x["tag"], x["from"], x["to"]) for x in op["tags"])

    t.eq(moves(ops[0]), [("v1", None, one)], "first push")
    t.eq(moves(ops[1]), [("v1", one, two)], "second push")
    t.eq(moves(ops[2]), [("v2", None, two), ("v3", None, two)], "two tags")
    t.eq(moves(ops[3]), [("v3", two, None)], "a tag removed")
    t.eq(moves(ops[4]), [("v1", two, None), ("v2", two, None)], "a manifest removed")
    t.eq(log_of(t, repo, "?n=2"), entries, "by pages of two")
    t.eq(log_of(t, repo, "?after=3"), entries[3:], "after 3")
    t.error(t.get(f"/v2/{repo}/_stowage/log?after=6"), 404)
    t.error(t.get(f"/v2/{repo}/_stowage/log?after=x"), 400, "UNSUPPORTED")
    t.error(t.get(f"/v2/{t.repo()}/_stowage/log"), 404, "NAME_UNKNOWN")
    t.error(t.req("POST", f"/v2/{repo}/_stowage/log"), 405)


@case("R162", server="")
def history_of_a_tag(t):
    c = t.at(t.serve("--tag-history"))
    repo, wanted = t.repo(), []
    for _ in range(3):
        digest, body = c.image(repo, "v1")
        wanted.insert(0, {"mediaType": oci.IMAGE, "digest": digest, "size": len(body)})
        c.image(repo, "other")
    c.status(c.delete(f"/v2/{repo}/manifests/v1"), 202)
    c.status(c.delete(f"/v2/{repo}/manifests/{wanted[0]['digest']}"), 202)
    target, found, pages = f"/v2/{repo}/_oci/tag-history/v1?n=2", [], 0
    while target:
        resp = c.status(c.get(target), 200)
        found += resp.json()["history"]
        pages += 1
        target = NEXT.fullmatch(resp.h("Link")).group(1) if resp.all("Link") else None
    times = [one.pop("assigned") for one in found]
    t.eq(found, wanted, "what v1 was on, newest first")
    t.eq(times, sorted(times, reverse=True), "times, newest first")
    t.true(all(re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", x) for x in times), "RFC 3339", times)
    t.error(c.get(f"/v2/{repo}/_oci/tag-history/v2"), 404, "MANIFEST_UNKNOWN")
    t.error(c.get(f"/v2/{t.repo()}/_oci/tag-history/v1"), 404, "NAME_UNKNOWN")
    listed = c.get("/v2/_oci/ext/discover").json()["extensions"]
    t.true(any("_oci/tag-history/<tag>" in x["endpoints"] for x in listed), "an endpoint", listed)


@case("R162")
def history_of_a_tag_is_switched_off(t):
    repo = t.repo()
    t.image(repo, "v1")
    t.error(t.get(f"/v2/{repo}/_oci/tag-history/v1"), 404)
