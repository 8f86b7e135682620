"""Several tags in one step: POST /v2/<name>/_stowage/tags."""

import threading

import oci
from harness import case
from test_conditional import images, put, refused, tag_of


def release(t, repo, *rows, **more):
    return t.req("POST", f"/v2/{repo}/_stowage/tags", {}, oci.dump({"tags": list(rows), **more}))


def row(tag, digest, **condition):
    """One tag; _if is its condition."""
    return {"tag": tag, "digest": digest, **{k.strip("_"): v for k, v in condition.items()}}


def tags_of(t, repo, *tags):
    return [tag_of(t, repo, x) for x in tags]


@case("L30")
def several_manifests_at_once(t):
    repo = t.repo()
    (a, a_body), (b, _), (c, _) = images(t, repo, 3)
    t.status(put(t, repo, "old", a_body), 201)
    t.status(release(t, repo, row("x", b), row("y", c), row("old", None), row("none", None)), 204)
    t.eq(tags_of(t, repo, "x", "y", "old"), [b, c, None], "tags")
    t.status(release(t, repo, row("x", b), row("y", c)), 204)


@case("L30", "R95")
def all_or_none(t):
    repo = t.repo()
    (a, a_body), (b, _) = images(t, repo)
    t.status(put(t, repo, "x", a_body), 201)
    refused(t, release(t, repo, row("y", b), row("x", b, _if=b)), "x", a)
    refused(t, release(t, repo, row("y", b), row("x", b, _if=None)), "x", a)
    refused(t, release(t, repo, row("y", b), row("z", b, _if="*")), "z", None)
    resp = t.error(release(t, repo, row("y", b), row("z", oci.ZERO)), 404, "MANIFEST_UNKNOWN")
    t.eq(oci.json.loads(resp.body)["errors"][0]["detail"], {"tag": "z", "digest": oci.ZERO}, "detail")
    t.eq(tags_of(t, repo, "x", "y", "z"), [a, None, None], "tags")
    t.status(release(t, repo, row("y", b, _if=None), row("x", b, _if=a)), 204)
    t.status(release(t, repo, row("y", None, _if=b), row("x", a, _if="*")), 204)
    t.eq(tags_of(t, repo, "x", "y"), [a, None], "tags")


@case("L30", "R96")
def immutable(t):
    repo = t.repo()
    (a, a_body), (b, _) = images(t, repo)
    t.status(put(t, repo, "v1", a_body), 201)
    t.status(t.req("PUT", f"/v2/{repo}/_stowage/settings", {}, oci.dump({"immutable": ["v*"]})), 200)
    refused(t, release(t, repo, row("x", b), row("v1", b)), "v1", a, 403)
    refused(t, release(t, repo, row("x", b), row("v1", None)), "v1", a, 403)
    t.eq(tags_of(t, repo, "x", "v1"), [None, a], "tags")
    t.status(release(t, repo, row("x", b), row("v1", a), row("v2", b)), 204)


@case("L30")
def what_is_malformed(t):
    repo = t.repo()
    (a, _), _ = images(t, repo)
    path = f"/v2/{repo}/_stowage/tags"
    for text in (b"", b"[]", b"{}", b'{"tags":[]}', b'{"tags":{}}', b'{"tags":[1]}', b'{"tags":[{}]}'):
        t.error(t.req("POST", path, {}, text), 400, "MANIFEST_INVALID")
    for bad, word in ((row("", a), "tags[1]"), (row("-x", a), "tags[1]"), ({"tag": "x"}, "digest"),
                      ({"digest": a}, "tag"), (row("x", a, more=1), "more"), (row("x", a, _if=5), "if"),
                      (row("x", a, _if="sha256:0"), "if"), (row("ok", None), "twice")):
        resp = t.error(release(t, repo, row("ok", a), bad), 400, "MANIFEST_INVALID")
        t.true(word in oci.json.loads(resp.body)["errors"][0]["message"], f"a sentence with {word}", resp.body)
    for digest in ("x", "sha256:00", 5):
        t.error(release(t, repo, row("ok", a), row("x", digest)), 400, "DIGEST_INVALID")
    t.error(release(t, repo, row("ok", a), note=1), 400, "MANIFEST_INVALID")
    t.error(release(t, repo, *[row(f"t{i}", a) for i in range(257)]), 413, "SIZE_INVALID")
    t.error(release(t, t.repo(), row("x", None)), 404, "NAME_UNKNOWN")
    t.error(t.get(path), 405, "UNSUPPORTED")
    t.eq(tag_of(t, repo, "ok"), None, "tag")


@case("L30", "I3")
def two_hundred_fifty_six_seen_whole(t):
    """Who lists tags while 256 of them move sees all of them before or all of them after."""
    repo = t.repo()
    (a, _), (b, _) = images(t, repo)
    names = [f"t{i:03}" for i in range(256)]
    t.status(release(t, repo, *[row(x, a) for x in names]), 204)
    other, torn, stop = t.at(t.server or t.addr), [], threading.Event()

    def watch():
        while not stop.is_set():
            tags = oci.json.loads(other.get(f"/v2/{repo}/tags/list").body)["tags"]
            if len(tags) not in (0, 256):
                torn.append(len(tags))

    th = threading.Thread(target=watch)
    th.start()
    for _ in range(10):
        t.status(release(t, repo, *[row(x, None) for x in names]), 204)
        t.status(release(t, repo, *[row(x, b) for x in names]), 204)
    stop.set()
    th.join()
    t.eq(torn, [], "torn lists")


@case("L30", "R143", server="")
def removals_need_their_right(t):
    client = t.at(t.serve("--refuse-tag-delete"))
    (a, _), _ = images(client, "a")
    client.status(release(client, "a", row("x", a)), 204)
    client.error(release(client, "a", row("x", None), row("y", a)), 405, "UNSUPPORTED")
    t.eq(tags_of(client, "a", "x", "y"), [a, None], "tags")
