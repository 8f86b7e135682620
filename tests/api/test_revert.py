"""Diff, revert, deletion of a repository: over HTTP and by command, beside a server."""

import json
import pathlib
import re
import subprocess
import time

import oci
import people
import server as server_mod
from harness import case
from test_past import head_of, log_of

TAGS, AT_ONCE = 1000, 50


def tag_all(t, repo, tags, body):
    """Tags in few pushes."""
    digest = oci.digest(body)
    for at in range(0, len(tags), AT_ONCE):
        query = "&".join("tag=" + tag for tag in tags[at : at + AT_ONCE])
        t.status(t.put_manifest(repo, f"{digest}?{query}", body, oci.IMAGE), 201)
    return digest


def snapshot(t, repo, subject):
    """All that clients can see of a repository."""
    tags = t.status(t.get(f"/v2/{repo}/tags/list"), 200).json()["tags"]
    on = {}
    for tag in tags[:: max(1, len(tags) // 60)]:
        resp = t.status(t.get(f"/v2/{repo}/manifests/{tag}"), 200)
        on[tag] = (resp.h("Docker-Content-Digest"), resp.h("Content-Type"), resp.body)
    return tags, on, t.get(f"/v2/{repo}/referrers/{subject}").body


def diff(t, repo, query):
    doc = t.status(t.get(f"/v2/{repo}/_stowage/diff?{query}"), 200).json()
    return {x["tag"]: (x["from"], x["to"]) for x in doc["tags"]}, doc["added"], doc["removed"]


def revert(t, repo, query):
    return t.req("POST", f"/v2/{repo}/_stowage/revert?{query}")


NOTHING = ({}, [], [])


@case("L43")
def mass_push_undone(t):
    repo = t.repo()
    tags = ["t%04d" % i for i in range(TAGS)]
    first, body = t.image(repo)
    good = tag_all(t, repo, tags, body)
    t.artifact(repo, subject=oci.descriptor(body, oci.IMAGE))
    start = snapshot(t, repo, first)
    at = head_of(t, repo)
    bad, bad_body = t.image(repo)
    tag_all(t, repo, tags + ["new"], bad_body)
    t.status(t.delete(f"/v2/{repo}/manifests/{good}"), 202)
    pushed, before = head_of(t, repo), snapshot(t, repo, first)
    moved, added, removed = diff(t, repo, f"from={at}")
    t.eq(moved, {**{tag: (good, bad) for tag in tags}, "new": (None, bad)}, "tags that moved")
    t.eq((added, removed), ([bad], [good]), "manifests")

    wanted = t.status(revert(t, repo, f"at={at}&dry-run"), 200).json()
    t.eq((wanted["entry"], head_of(t, repo)), (None, pushed), "a dry run changes nothing")
    done = t.status(revert(t, repo, f"at={at}"), 200).json()
    t.eq(done["entry"], pushed + 1, "one entry")
    t.eq(head_of(t, repo), pushed + 1, "one entry for 1,000 tags")
    for key in ("tags", "restored", "deleted"):
        t.eq(done[key], wanted[key], "what the dry run said")
    t.eq(len(done["tags"]), TAGS + 1, "tags")
    t.eq(snapshot(t, repo, first), start, "the start")
    t.eq(diff(t, repo, f"from={at}"), NOTHING, "no difference")
    t.eq(t.status(revert(t, repo, f"at={at}"), 200).json()["entry"], None, "nothing left to do")

    t.status(revert(t, repo, f"at={pushed}"), 200)
    t.eq(head_of(t, repo), pushed + 2, "one more entry")
    t.eq(snapshot(t, repo, first), before, "the revert reverted")
    t.eq(diff(t, repo, f"from={pushed}"), NOTHING, "no difference after the revert of the revert")
    ops = log_of(t, repo, f"?after={pushed}")[0]["operations"]
    t.true(len({o["req"] for o in ops}) == 1, "one request", {o["req"] for o in ops})


@case("L43")
def what_was_deleted_comes_back(t):
    repo = t.repo()
    digest, body = t.image(repo, "v1")
    doc = json.loads(body)
    layer = doc["layers"][0]["digest"]
    child, child_body = t.image(repo)
    index = oci.dump(oci.index_doc([oci.descriptor(child_body, oci.IMAGE)], seed=t.seed()))
    t.status(t.put_manifest(repo, "multi", index, oci.INDEX), 201)
    at = head_of(t, repo)
    for one in (f"blobs/{layer}", f"manifests/{digest}", f"manifests/{oci.digest(index)}", f"manifests/{child}"):
        t.status(t.delete(f"/v2/{repo}/{one}"), 202)
    t.error(t.get(f"/v2/{repo}/blobs/{layer}"), 404)
    # One tag brings back what it needs, and nothing else.
    done = t.status(revert(t, repo, f"at={at}&tag=multi"), 200).json()
    t.eq(sorted(done["restored"]), sorted([child, oci.digest(index)]), "the index and its child")
    t.eq(t.get(f"/v2/{repo}/tags/list").json()["tags"], ["multi"], "tags")
    t.body(t.get(f"/v2/{repo}/manifests/{child}"), child_body)
    t.error(t.get(f"/v2/{repo}/manifests/{digest}"), 404)
    done = t.status(revert(t, repo, f"at={at}"), 200).json()
    t.eq((done["restored"], done["deleted"]), ([digest], []), "the rest")
    resp = t.status(t.get(f"/v2/{repo}/blobs/{layer}"), 200)
    t.eq(oci.digest(resp.body), layer, "the layer that was unlinked")
    t.eq(diff(t, repo, f"from={at}"), NOTHING, "no difference")


@case("L43")
def an_unlinked_blob_alone(t):
    """The manifest stayed, its layer was taken out: the revert makes it readable again."""
    repo = t.repo()
    _, body = t.image(repo, "v1")
    layer = json.loads(body)["layers"][0]["digest"]
    t.status(t.delete(f"/v2/{repo}/blobs/{layer}"), 202)
    t.error(t.get(f"/v2/{repo}/blobs/{layer}"), 404)
    t.status(t.get(f"/v2/{repo}/blobs/{layer}?at=1"), 200)
    t.status(revert(t, repo, "at=1"), 200)
    t.status(t.get(f"/v2/{repo}/blobs/{layer}"), 200)
    t.status(t.get(f"/v2/{repo}/blobs/{layer}?at=3"), 200)
    t.error(t.get(f"/v2/{repo}/blobs/{layer}?at=2"), 404)


@case("L43", server="")
def what_is_gone_is_named(t):
    srv = t.serve()
    c, repo = t.at(srv), t.repo()
    digest, body = c.image(repo, "v1")
    kept, _ = c.image(repo, "v2")
    layer = json.loads(body)["layers"][0]["digest"]
    c.status(c.delete(f"/v2/{repo}/manifests/{digest}"), 202)
    srv.stop()
    (one,) = pathlib.Path(srv.root).glob(f"blobs/sha256/*/{layer[7:]}.*")
    one.unlink()
    srv.start()
    c = t.at(srv)
    head = head_of(c, repo)
    resp = c.error(revert(c, repo, "at=2"), 400, "MANIFEST_BLOB_UNKNOWN")
    t.eq([e["detail"]["digest"] for e in resp.json()["errors"]], [layer], "what is missing")
    t.eq(head_of(c, repo), head, "no entry")
    t.eq(c.get(f"/v2/{repo}/tags/list").json()["tags"], ["v2"], "tags as they were")


@case("L43")
def reverts_that_are_refused(t):
    repo = t.repo()
    t.image(repo, "v1")
    t.error(revert(t, repo, ""), 400, "UNSUPPORTED")
    t.error(revert(t, repo, "at=x"), 400, "UNSUPPORTED")
    t.error(revert(t, repo, "at=2"), 404)
    t.error(revert(t, repo, "at=1&tag=-"), 400, "UNSUPPORTED")
    t.error(revert(t, t.repo(), "at=1"), 404, "NAME_UNKNOWN")
    t.error(t.get(f"/v2/{repo}/_stowage/revert?at=1"), 405)
    t.error(t.get(f"/v2/{repo}/_stowage/diff"), 400, "UNSUPPORTED")
    t.error(t.get(f"/v2/{repo}/_stowage/diff?from=5"), 404)
    t.error(revert(t, f"at-20200101t000000z/{repo}", "at=1"), 405, "UNSUPPORTED")


@case("L44")
def repository_deleted_and_back(t):
    repo = t.repo()
    digest, body = t.image(repo, "v1")
    t.artifact(repo, subject=oci.descriptor(body, oci.IMAGE), ref="sig")
    layer = json.loads(body)["layers"][0]["digest"]
    loose = t.blob(repo, t.seed().encode())
    start, at = snapshot(t, repo, digest), head_of(t, repo)
    t.status(t.delete(f"/v2/{repo}/_stowage/repository"), 202)
    t.eq(head_of(t, repo), at + 1, "one entry")
    t.eq(log_of(t, repo)[-1]["operations"][0]["op"], "drop", "a drop")
    for one in (f"manifests/v1", f"manifests/{digest}", f"blobs/{layer}", f"blobs/{loose}"):
        t.error(t.get(f"/v2/{repo}/{one}"), 404)
    t.eq(t.get(f"/v2/{repo}/tags/list").json()["tags"], [], "no tags")
    listed = lambda: t.get(f"/v2/_catalog?n=1&last={repo[:-1]}").json()["repositories"]
    t.true(listed() != [repo], "not in the catalog", listed())
    t.error(t.delete(f"/v2/{repo}/_stowage/repository"), 404)
    t.error(t.delete(f"/v2/{t.repo()}/_stowage/repository"), 404, "NAME_UNKNOWN")
    t.status(t.get(f"/v2/{repo}/manifests/v1?at={at}"), 200)
    t.status(t.get(f"/v2/{repo}/blobs/{layer}?at={at}"), 200)
    t.status(revert(t, repo, f"at={at}"), 200)
    t.eq(snapshot(t, repo, digest), start, "the start")
    t.eq(listed(), [repo], "in the catalog")
    t.status(t.get(f"/v2/{repo}/blobs/{layer}"), 200)
    # The emptiness is a state like any other.
    t.status(revert(t, repo, f"at={at + 1}"), 200)
    t.eq(t.get(f"/v2/{repo}/tags/list").json()["tags"], [], "no tags")
    t.image(repo, "v2")
    t.eq(t.get(f"/v2/{repo}/tags/list").json()["tags"], ["v2"], "goes on")


@case("L43", "L44", server="")
def switched_off_deletes(t):
    c, repo = t.at(t.serve("--refuse-manifest-delete")), t.repo()
    c.image(repo, "v1")
    c.image(repo, "v1")
    c.error(c.delete(f"/v2/{repo}/_stowage/repository"), 405, "UNSUPPORTED")
    c.error(revert(c, repo, "at=1"), 405, "UNSUPPORTED")
    c.status(revert(c, repo, "at=1&tag=v1"), 200)


def now():
    """A time between what was done and what will be."""
    time.sleep(0.05)
    at = time.time()
    time.sleep(server_mod.stamp_pause())
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(at)) + ".%03dZ" % int(at % 1 * 1000)


def revert_under(t, query):
    return t.req("POST", f"/v2/_stowage/revert?{query}")


@case("L43", server="")
def all_under_a_prefix(t):
    """Several repositories by one request, page by page; one of them cannot go back."""
    srv = t.serve()
    c = t.at(srv)
    first = {n: c.image(n, "v1") for n in ("team/a", "team/b", "team/c/d", "team/gone", "team0", "a")}
    bad, body = c.image("team/bad", "v1")
    c.image("team/bad", "kept")
    c.image("team/same", "v1")
    moment = now()
    later = {n: c.image(n, "v1")[0] for n in first}
    c.image("team/new", "v1")
    c.status(c.delete(f"/v2/team/bad/manifests/{bad}"), 202)
    c.status(c.delete("/v2/team/gone/_stowage/repository"), 202)
    before = now()
    layer = json.loads(body)["layers"][0]["digest"]
    srv.stop()
    (one,) = pathlib.Path(srv.root).glob(f"blobs/sha256/*/{layer[7:]}.*")
    one.unlink()
    srv.start()
    c = t.at(srv)

    def on(repo):
        return c.get(f"/v2/{repo}/manifests/v1").h("Docker-Content-Digest")

    dry = c.status(revert_under(c, f"prefix=team/&at={moment}&dry-run"), 200).json()
    t.eq([on(n) for n in ("team/a", "a")], [later["team/a"], later["a"]], "a dry run does nothing")
    found, last, rounds = [], "", 0
    while last is not None:
        doc = c.status(revert_under(c, f"prefix=team/&at={moment}&n=2&last={last}"), 200).json()
        found, last, rounds = found + doc["repositories"], doc["next"], rounds + 1
        t.eq(doc["failed"], sum("errors" in x for x in doc["repositories"]), "how many failed")
    t.true(rounds >= 3, "pages", rounds)
    names = ["team/a", "team/b", "team/bad", "team/c/d", "team/gone", "team/new"]
    t.eq([x["name"] for x in found], names, "what was to be done")
    (failed,) = [x for x in found if "errors" in x]
    t.eq((failed["name"], [(e["code"], e["detail"]["digest"]) for e in failed["errors"]]),
         ("team/bad", [("MANIFEST_BLOB_UNKNOWN", layer)]), "what is gone")  # fmt: skip
    for x in found:
        t.true("errors" in x or x["entry"] > 1, "an entry", x)
        x["entry"] = None
    for x in dry["repositories"]:
        t.true("errors" in x or x["entry"] is None, "no entry of a dry run", x)
        x["entry"] = None
    t.eq(dry["repositories"], found, "what the dry run said")
    for repo in ("team/a", "team/b", "team/c/d", "team/gone"):
        t.eq(on(repo), first[repo][0], repo)
    t.error(c.get("/v2/team/new/manifests/v1"), 404)
    for repo in ("team0", "a"):
        t.eq(on(repo), later[repo], f"{repo} stays as it is")
    again = c.status(revert_under(c, f"prefix=team/&at={moment}"), 200).json()
    t.eq([x["name"] for x in again["repositories"]], ["team/bad"], "nothing more to do but what failed")
    c.status(revert_under(c, f"prefix=/&at={before}"), 200)  # and back
    for repo in ("team/a", "team/b", "team/c/d"):
        t.eq(on(repo), later[repo], f"{repo} again")
    t.status(c.get("/v2/team/new/manifests/v1"), 200)
    t.error(c.get("/v2/team/gone/manifests/v1"), 404)


@case("L43", server="")
def under_a_prefix_refused(t):
    c = t.at(t.serve())
    c.image("team/a", "v1")
    at = now()
    for query in (f"at={at}", f"prefix=&at={at}", f"prefix=team&at={at}", f"prefix=T/&at={at}",
                  "prefix=team/", "prefix=team/&at=1", "prefix=team/&at=x",
                  "prefix=team/&at=2999-01-01T00:00:00Z", f"prefix=team/&at={at}&n=0",
                  f"prefix=team/&at={at}&override=true"):  # fmt: skip
        c.error(revert_under(c, query), 400, "UNSUPPORTED")
    c.error(c.get(f"/v2/_stowage/revert?prefix=team/&at={at}"), 405, "UNSUPPORTED")
    off = t.at(t.serve("--refuse-tag-delete"))
    off.error(revert_under(off, f"prefix=team/&at={at}"), 405, "UNSUPPORTED")


@case("L43", server="")
def under_a_prefix_by_rights(t):
    """Each repository is judged by itself: what the caller does not see is not named, what he may
    not change stays."""
    rules = """allow user:alice ** *
allow user:bob team/mine pull,push,delete,history,catalog
allow user:bob team/seen pull,history,catalog
"""
    d = people.Door(t, users=("alice", "bob"), policy=rules)
    alice, bob = d.user("alice"), d.user("bob")
    names = ("team/hidden", "team/mine", "team/seen")
    first = {n: alice.image(n, "v1")[0] for n in names}
    at = now()
    later = {n: alice.image(n, "v1")[0] for n in names}
    t.status(revert_under(d.by(), f"prefix=team/&at={at}"), 401)
    doc = t.status(revert_under(bob, f"prefix=team/&at={at}"), 200).json()
    t.eq([(x["name"], [e["code"] for e in x.get("errors", ())]) for x in doc["repositories"]],
         [("team/mine", []), ("team/seen", ["DENIED"])], "what bob is told")  # fmt: skip
    on = {n: alice.get(f"/v2/{n}/manifests/v1").h("Docker-Content-Digest") for n in names}
    t.eq(on, {**later, "team/mine": first["team/mine"]}, "what changed")


@case("L45", server="")
def commands_beside_a_server(t):
    srv = t.serve()
    c = t.at(srv)

    def stowage(*words, status=0):
        cmd = [srv.binary, *words[:1], "--root", srv.root, *words[1:]]
        done = subprocess.run(cmd, capture_output=True, text=True, timeout=60, check=False)
        t.eq(done.returncode, status, f"status of {words}: {done.stderr}")
        return done.stdout + done.stderr

    first, _ = c.image("team/a", "v1")
    c.image("team/a", "keep")
    other, _ = c.image("team/b", "v1")
    gone, _ = c.image("team/gone", "v1")
    apart, _ = c.image("apart", "v1")
    time.sleep(0.05)
    moment = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(now := time.time()))
    moment += ".%03dZ" % int(now % 1 * 1000)
    time.sleep(server_mod.stamp_pause())
    second, _ = c.image("team/a", "v1")
    c.image("team/b", "v1")
    c.image("team/new", "v1")
    c.image("apart", "v1")
    t.true("team/gone  entry 2" in stowage("rm", "team/gone"), "the entry")
    t.error(c.get("/v2/team/gone/manifests/v1"), 404)

    lines = stowage("log", "team/a:v1").splitlines()
    t.eq(len(lines), 2, "changes of the tag")
    t.true(lines[0].endswith(f"put  v1  - -> {first}"), "the first push", lines)
    t.true(lines[1].endswith(f"put  v1  {first} -> {second}"), "the second push", lines)
    t.eq(len(stowage("log", "--entries", "1", "team/a").splitlines()), 1, "one entry")

    said = stowage("diff", "--at", "1", "team/a:v1")
    t.eq(said, f"team/a:v1  {first} -> {second}\n", "diff of a tag")
    said = stowage("diff", "--at", moment, "team/")
    t.true("team/b:v1" in said and "team/gone:v1" in said and "team/new:v1" in said and "apart" not in said, "diff", said)

    dry = stowage("revert", "--at", moment, "--dry-run", "team/")
    t.eq(c.get("/v2/team/a/manifests/v1").h("Docker-Content-Digest"), second, "still the second")
    said = stowage("revert", "--at", moment, "team/")
    t.eq(re.sub(r".*  entry \d+\n", "", said), dry, "what the dry run said")
    for repo, digest in (("team/a", first), ("team/b", other), ("team/gone", gone)):
        t.eq(c.get(f"/v2/{repo}/manifests/v1").h("Docker-Content-Digest"), digest, repo)
    t.error(c.get("/v2/team/new/manifests/v1"), 404)
    t.true(c.get("/v2/apart/manifests/v1").h("Docker-Content-Digest") != apart, "apart stays as it is")
    t.eq(stowage("diff", "--at", moment, "team/"), "", "no difference")
    t.eq(stowage("revert", "--at", "3", "team/a:v1"), f"team/a:v1  {first} -> {second}\nteam/a@{second}  restored\nteam/a  entry 5\n", "one tag")
    t.status(c.get("/v2/team/a/manifests/keep"), 200)

    t.true("2 entries" in stowage("diff", "--at", "9", "apart", status=1), "a sentence")
    t.true("not final" in stowage("diff", "--at", "2999-01-01T00:00:00Z", "apart", status=1), "a sentence")
    t.true("give a time" in stowage("revert", "--at", "1", "team/", status=1), "a sentence")
    t.true("no such repository" in stowage("log", "none", status=1), "a sentence")
    stowage("rm", "team/a:v1", status=2)
    stowage("rm", "team/", status=2)
    stowage("revert", "team/a", status=2)
    stowage("log", status=2)
    srv.stop()
    checked = subprocess.run([srv.binary, "fsck", "--root", srv.root], capture_output=True, text=True, timeout=60, check=False)
    t.eq(checked.returncode, 0, f"fsck: {checked.stdout}")
