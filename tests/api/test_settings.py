"""Settings of a repository: immutable tags, by HTTP and by the command line."""

import pathlib

import oci
import server
from harness import case
from test_cli import one_sentence, run
from test_conditional import images, put, refused, tag_of


def settings(t, repo, **doc):
    return t.req("PUT", f"/v2/{repo}/_stowage/settings", {}, oci.dump(doc))


def entries(t, repo):
    """Numbers of the repository's log."""
    return len(list((pathlib.Path(t.root()) / "repos" / repo / "_log").glob("*/*")))


@case("R96")
def immutable_tags(t):
    repo = t.repo()
    (a, a_body), (b, b_body) = images(t, repo)
    t.status(put(t, repo, "v1", a_body), 201)
    t.status(put(t, repo, "latest", a_body), 201)
    resp = t.status(settings(t, repo, immutable=["*", "!latest"]), 200)
    t.eq(oci.json.loads(resp.body), {"immutable": ["*", "!latest"]}, "settings")
    refused(t, put(t, repo, "v1", b_body), "v1", a, 403)
    t.status(put(t, repo, "v1", a_body), 201)
    t.status(put(t, repo, "latest", b_body), 201)
    refused(t, t.delete(f"/v2/{repo}/manifests/v1"), "v1", a, 403)
    refused(t, t.delete(f"/v2/{repo}/manifests/{a}"), "v1", a, 403)
    t.status(t.delete(f"/v2/{repo}/manifests/latest"), 202)
    t.status(t.delete(f"/v2/{repo}/manifests/{b}"), 202)
    t.error(t.delete(f"/v2/{repo}/manifests/v9"), 404, "MANIFEST_UNKNOWN")
    t.eq(tag_of(t, repo, "v1"), a, "tag")
    t.status(settings(t, repo), 200)
    t.status(t.delete(f"/v2/{repo}/manifests/v1"), 202)


@case("R96", "R95")
def immutable_before_conditions(t):
    repo = t.repo()
    (a, a_body), (_, b_body) = images(t, repo)
    t.status(settings(t, repo, immutable=["v*"]), 200)
    t.status(put(t, repo, "v1", a_body), 201)
    for fields in ({"If_Match": f'"{a}"'}, {"If_None_Match": "*"}):
        refused(t, put(t, repo, "v1", b_body, **fields), "v1", a, 403)
    refused(t, put(t, repo, "v1", a_body, If_None_Match="*"), "v1", a)


@case("R96", "R83")
def immutable_of_many(t):
    repo = t.repo()
    (a, a_body), (b, b_body) = images(t, repo)
    t.status(settings(t, repo, immutable=["v?"]), 200)
    t.status(put(t, repo, f"{a}?tag=v1&tag=x", a_body), 201)
    refused(t, put(t, repo, f"{b}?tag=x&tag=v1&tag=y", b_body), "v1", a, 403)
    t.eq([tag_of(t, repo, x) for x in ("v1", "x", "y")], [a, a, None], "tags")


def said(t, repo):
    """Of each operation in the log that changed a tag: its kind, and whether it says override."""
    log = oci.json.loads(t.status(t.get(f"/v2/{repo}/_stowage/log"), 200).body)
    ops = [op for entry in log["entries"] for op in entry["operations"]]
    return [(op["op"], op.get("override", False)) for op in ops if op["tags"] or op["op"] == "drop"]


@case("R96", "L30")
def override_of_immutable_tags(t):
    """By an explicit request only, and it is in the log."""
    repo = t.repo()
    (a, a_body), (b, b_body) = images(t, repo)
    t.status(settings(t, repo, immutable=["v*"]), 200)
    t.status(put(t, repo, "v1", a_body), 201)
    for no in ("", "?override=false"):
        refused(t, put(t, repo, f"v1{no}", b_body), "v1", a, 403)
        refused(t, t.delete(f"/v2/{repo}/manifests/v1{no}"), "v1", a, 403)
    for odd in ("?override", "?override=1", "?override=True", "?override=%00"):
        t.error(put(t, repo, f"v1{odd}", b_body), 400, "MANIFEST_INVALID")
        t.error(t.delete(f"/v2/{repo}/manifests/v1{odd}"), 400, "MANIFEST_INVALID")
    t.eq(tag_of(t, repo, "v1"), a, "tag")
    wanted = [("put", False)]
    t.status(put(t, repo, "v1?override=true", b_body), 201)
    t.eq(tag_of(t, repo, "v1"), b, "tag")
    t.status(put(t, repo, f"{a}?tag=v1&tag=v2&override=true", a_body), 201)
    path = f"/v2/{repo}/_stowage/tags"
    body = oci.dump({"tags": [{"tag": "v1", "digest": b}, {"tag": "v2", "digest": None}]})
    refused(t, t.req("POST", path, {}, body), "v1", a, 403)
    t.status(t.req("POST", f"{path}?override=true", {}, body), 204)
    t.eq([tag_of(t, repo, x) for x in ("v1", "v2")], [b, None], "tags")
    wanted += [("put", True), ("put", True), ("tags", True)]
    refused(t, t.delete(f"/v2/{repo}/manifests/{b}"), "v1", b, 403)
    t.status(t.delete(f"/v2/{repo}/manifests/{b}?override=true"), 202)
    t.status(put(t, repo, "v3", a_body), 201)
    t.status(t.delete(f"/v2/{repo}/manifests/v3?override=true"), 202)
    wanted += [("delete", True), ("put", False), ("tags", True)]
    t.eq(said(t, repo), wanted, "what the log says")


@case("R96")
def override_of_a_revert(t):
    repo = t.repo()
    (a, a_body), (b, b_body) = images(t, repo)
    t.status(put(t, repo, "v1", a_body), 201)
    at = oci.json.loads(t.get(f"/v2/{repo}/_stowage/log").body)["head"]
    t.status(put(t, repo, "v1", b_body), 201)
    t.status(settings(t, repo, immutable=["v*"]), 200)
    for target in (f"revert?at={at}&tag=v1", f"revert?at={at}"):
        path = f"/v2/{repo}/_stowage/{target}"
        t.error(t.req("POST", path, {}, b""), 403, "DENIED")
        t.status(t.req("POST", f"{path}&override=true", {}, b""), 200)
        t.eq(tag_of(t, repo, "v1"), a, "tag")
        t.status(put(t, repo, "v1?override=true", b_body), 201)
    path = f"/v2/{repo}/_stowage/repository"
    t.error(t.delete(path), 403, "DENIED")
    t.status(t.delete(f"{path}?override=true"), 202)
    t.eq(said(t, repo)[-1], ("drop", True), "the last word")


@case("R96", "L14", server="")
def override_by_command(t):
    srv = t.serve()
    client = t.at(srv)
    (a, a_body), (_, b_body) = images(client, "a")
    client.status(put(client, "a", "v1", a_body), 201)
    at = str(oci.json.loads(client.get("/v2/a/_stowage/log").body)["head"])
    client.status(put(client, "a", "v1", b_body), 201)
    client.status(settings(client, "a", immutable=["*"]), 200)
    revert = ("revert", "--root", srv.root, "--at", at)
    one_sentence(t, run(t, *revert, "a:v1"), 1, "immutable")
    t.eq(run(t, *revert, "--override", "a:v1")[0], 0, "status")
    t.eq(tag_of(client, "a", "v1"), a, "tag")
    one_sentence(t, run(t, "rm", "--root", srv.root, "a"), 1, "immutable")
    t.eq(run(t, "rm", "--root", srv.root, "--override", "a")[0], 0, "status")
    log = run(t, "log", "--root", srv.root, "a")[1]
    t.true("tags,override" in log and "drop,override" in log, "the log says so", log)


@case("R96")
def settings_are_read_and_replaced(t):
    repo = t.repo()
    path = f"/v2/{repo}/_stowage/settings"
    t.error(t.get(path), 404, "NAME_UNKNOWN")
    t.status(settings(t, repo, immutable=["a", "b"]), 200)
    resp = t.status(t.get(path), 200)
    t.eq(oci.json.loads(resp.body), {"immutable": ["a", "b"]}, "settings")
    t.header(resp, "Content-Type", "application/json")
    t.status(t.req("PUT", path, {}, resp.body), 200)  # what GET says is what PUT takes
    t.status(settings(t, repo, immutable=["c"]), 200)
    t.eq(oci.json.loads(t.get(path).body), {"immutable": ["c"]}, "settings")
    t.eq(oci.json.loads(t.get(f"/v2/{repo}/tags/list").body)["tags"], [], "tags")
    t.error(t.delete(path), 405, "UNSUPPORTED")


@case("R96")
def settings_are_read_strictly(t):
    repo = t.repo()
    path = f"/v2/{repo}/_stowage/settings"
    for text in (b"", b"[]", b"{", b'{"quota":1}', b'{"retention":{}}', b'{"immutable":"v*"}', b'{"immutable":[""]}',
                 b'{"immutable":["a/b"]}', b'{"immutable":[],"immutable":[]}', b'{"immutable":["a"],"x":1}',
                 oci.dump({"immutable": ["a"] * 65})):
        resp = t.error(t.req("PUT", path, {}, text), 400, "UNSUPPORTED")
        t.true(oci.json.loads(resp.body)["errors"][0]["message"], "a sentence", resp.body)
    t.error(t.req("PUT", path, {}, b" " * 20_000), 413, "SIZE_INVALID")
    t.error(t.get(path), 404, "NAME_UNKNOWN")


@case("R96", "I2")
def settings_that_change_nothing(t):
    repo = t.repo()
    t.root()
    t.status(settings(t, repo, immutable=["a"]), 200)
    before = entries(t, repo)
    t.status(settings(t, repo, immutable=["a"]), 200)
    t.eq(entries(t, repo), before, "entries")
    t.status(settings(t, repo, immutable=["b"]), 200)
    t.eq(entries(t, repo), before + 1, "entries")


@case("R96", "L14", server="")
def settings_by_command(t):
    srv = t.serve()
    client = t.at(srv)
    (a, a_body), (_, b_body) = images(client, "a/b")
    client.status(put(client, "a/b", "v1", a_body), 201)
    # In a bucket by its server: that does not see as taken what lies in its folder behind its back.
    store = [flag for flag in server.store(srv.root) if flag != "--redirect-off"]
    show = ("settings", "a/b", *store)
    t.eq(run(t, *show), (0, '{"immutable":[]}\n', ""), "status and text")
    t.eq(run(t, *show, "--set", "immutable=v*,!v0"), (0, '{"immutable":["v*","!v0"]}\n', ""), "status and text")
    # The serving process knows at once.
    refused(client, put(client, "a/b", "v1", b_body), "v1", a, 403)
    t.eq(run(t, *show, "--set", "immutable="), (0, '{"immutable":[]}\n', ""), "status and text")
    client.status(put(client, "a/b", "v1", b_body), 201)
    one_sentence(t, run(t, "settings", "none", "--root", srv.root), 1, "none")
    one_sentence(t, run(t, "settings", "--root", srv.root), 2, "usage")
    one_sentence(t, run(t, "settings", "A", "--root", srv.root), 2, "usage")
    for bad in ("quota=1", "immutable", "immutable=a/b", "immutable=,"):
        one_sentence(t, run(t, *show, "--set", bad), 2, "immutable")


@case("R96", "I2", server="")
def settings_outlive_the_process(t):
    srv = t.serve()
    client = t.at(srv)
    (a, a_body), (_, b_body) = images(client, "a")
    client.status(put(client, "a", "v1", a_body), 201)
    client.status(settings(client, "a", immutable=["v1"]), 200)
    for _ in range(2):
        srv.restart()
        client = t.at(srv)
        refused(client, put(client, "a", "v1", b_body), "v1", a, 403)
        for i in range(300):  # past the first checkpoint
            client.status(put(client, "a", f"t{i % 7}", (a_body, b_body)[i % 2]), 201)
