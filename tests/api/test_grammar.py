"""Names, tags, digests, session ids, and how a path finds its route."""

import oci
from harness import case, with_query

GOOD_NAMES = ("a", "0", "a.b", "a_b", "a__b", "a-b", "a-----b", "a/b/c/d/e/f/g/h", "a.b_c-d__e/0.0")
BAD_NAMES = (
    "A", "aB", "a..b", "a___b", "-a", "a-", ".a", "a.", "a._b", "a/-b", "a/b.", "a-_b", "a!b",
    "a/B/c", "%C3%A9", "a%20b", "a%00b", "a%0Ab", "a@b", "a%2525", "~a", "a:b",
)
BAD_TAGS = ("-a", ".a", "a+b", "a%20b", "a@b", "%C3%A9", "a%00", "a!", "a" * 129)
BAD_DIGESTS = (
    "sha256:baddigeststring", "sha256:" + "A" * 64, "sha256:" + "a" * 63, "sha256:" + "a" * 65,
    "sha512:" + "a" * 64, "sha256:", "SHA256:" + "a" * 64, "sha256:" + "g" * 64,
    "sha256:" + "a" * 63 + "%00", "-x:" + "a" * 64, "sha256:" + "a" * 64 + "%20",
)


@case("R1")
def names_that_match(t):
    for name in GOOD_NAMES:
        repo = f"t{t.mark}/{name}"
        t.status(t.req("POST", f"/v2/{repo}/blobs/uploads/"), 202)
    t.status(t.req("POST", f"/v2/n{t.mark}/blobs/uploads/"), 202)


@case("R1", "R2", "L2")
def names_that_do_not_match(t):
    for name in BAD_NAMES:
        for prefix in ("", f"t{t.mark}/"):
            path = f"/v2/{prefix}{name}"
            t.error(t.req("POST", path + "/blobs/uploads/"), 400, "NAME_INVALID")
            t.error(t.get(path + "/tags/list"), 400, "NAME_INVALID")
            t.error(t.get(path + "/manifests/latest"), 400, "NAME_INVALID")
            t.error(t.get(f"{path}/blobs/{oci.ZERO}"), 400, "NAME_INVALID")


@case("R2")
def name_of_255_bytes(t):
    for name in ((t.mark + "x" * 255)[:255], (t.mark + "/ab" * 85)[:254] + "y"):
        digest, body = t.image(name, "v1")
        t.body(t.get(f"/v2/{name}/manifests/v1"), body)
        t.eq(t.get(f"/v2/{name}/tags/list").json()["name"], name, "name")
        t.error(t.req("POST", f"/v2/{name}z/blobs/uploads/"), 400, "NAME_INVALID")
        t.error(t.get(f"/v2/{name}z/manifests/{digest}"), 400, "NAME_INVALID")


@case("R3")
def tags_that_match(t):
    repo = t.repo()
    digest, body = t.image(repo)
    tags = ("0", "_", "_x", "A.b-C_d", "a" * 128, "1.2.3", "x--..__", "latest", "list")
    for tag in tags:
        t.status(t.put_manifest(repo, tag, body, oci.IMAGE), 201)
        t.header(t.head(f"/v2/{repo}/manifests/{tag}"), "Docker-Content-Digest", digest)
    t.eq(t.get(f"/v2/{repo}/tags/list").json()["tags"], sorted(tags), "tags")


@case("R3", "L2")
def tags_that_do_not_match(t):
    repo = t.repo()
    _, body = t.image(repo, "ok")
    for tag in BAD_TAGS:
        sent = t.put_manifest(repo, tag, body, oci.IMAGE)
        t.error(sent, (400, 404) if "%00" in tag else 400, "MANIFEST_INVALID", "NAME_INVALID")
        t.error(t.get(f"/v2/{repo}/manifests/{tag}"), (404, 400))
        t.error(t.delete(f"/v2/{repo}/manifests/{tag}"), (404, 400))
    t.eq(t.get(f"/v2/{repo}/tags/list").json()["tags"], ["ok"], "tags")


@case("R3")
def reference_with_colon_is_never_a_tag(t):
    repo = t.repo()
    _, body = t.image(repo)
    t.error(t.put_manifest(repo, "foo:bar", body, oci.IMAGE), 400, "DIGEST_INVALID", "UNSUPPORTED")
    t.error(t.get(f"/v2/{repo}/manifests/foo:bar"), (400, 404))
    t.eq(t.get(f"/v2/{repo}/tags/list").json()["tags"], [], "tags")


@case("R4", "R7", "L2")
def malformed_digest(t):
    repo = t.repo()
    _, body = t.image(repo, "ok")
    for bad in BAD_DIGESTS:
        for kind in ("blobs", "manifests"):
            t.error(t.get(f"/v2/{repo}/{kind}/{bad}"), (400, 404))
            t.status(t.head(f"/v2/{repo}/{kind}/{bad}"), 400, 404)
        t.error(t.put_manifest(repo, bad, body, oci.IMAGE), 400, "DIGEST_INVALID", "NAME_INVALID")
        t.error(t.get(f"/v2/{repo}/referrers/{bad}"), 400)
        t.error(t.delete(f"/v2/{repo}/blobs/{bad}"), (400, 404))


@case("R7")
def malformed_digest_has_its_code(t):
    repo = t.repo()
    _, body = t.image(repo, "ok")
    for path in ("blobs/", "manifests/"):
        got = t.get(f"/v2/{repo}/{path}sha256:baddigeststring")
        t.error(got, (400, 404), "DIGEST_INVALID", "BLOB_UNKNOWN", "MANIFEST_UNKNOWN")
    got = t.put_manifest(repo, "sha256:baddigeststring", body, oci.IMAGE)
    t.error(got, 400, "DIGEST_INVALID")
    t.error(t.get(f"/v2/{repo}/referrers/sha256:bad"), 400, "DIGEST_INVALID")
    got = t.finish(t.start(repo), "sha256:bad", b"x")
    t.error(got, 400, "DIGEST_INVALID")


@case("R5")
def sha512_everywhere(t):
    repo, other = t.repo(), t.repo("o")
    data = b"sha512 " + t.seed().encode()
    digest = t.blob(repo, data, "sha512")
    t.body(t.get(f"/v2/{repo}/blobs/{digest}"), data)
    t.header(t.head(f"/v2/{repo}/blobs/{digest}"), "Docker-Content-Digest", digest)
    mount = t.req("POST", f"/v2/{other}/blobs/uploads/?mount={digest}&from={repo}")
    t.header(t.status(mount, 201), "Location", f"/v2/{other}/blobs/{digest}")
    m512, body = t.image(repo, alg="sha512")
    t.body(t.get(f"/v2/{repo}/manifests/{m512}"), body)
    subject = oci.descriptor(body, oci.IMAGE, "sha512")
    art, abody = t.artifact(repo, subject)
    listed = t.status(t.get(f"/v2/{repo}/referrers/{m512}"), 200).json()["manifests"]
    t.eq([d["digest"] for d in listed], [art], "referrers of a sha512 subject")
    for kind, d in (("manifests", m512), ("blobs", digest)):
        t.status(t.delete(f"/v2/{repo}/{kind}/{d}"), 202)
        t.status(t.head(f"/v2/{repo}/{kind}/{d}"), 404)
    t.body(t.get(f"/v2/{other}/blobs/{digest}"), data)


@case("R5", "R76")
def one_algorithm_does_not_answer_for_the_other(t):
    repo = t.repo()
    data = b"twin " + t.seed().encode()
    t.blob(repo, data, "sha256")
    t.error(t.get(f"/v2/{repo}/blobs/{oci.digest(data, 'sha512')}"), 404, "BLOB_UNKNOWN")
    t.blob(repo, data, "sha512")
    for alg in oci.ALGS:
        t.body(t.get(f"/v2/{repo}/blobs/{oci.digest(data, alg)}"), data)


@case("R6")
def unserved_algorithms(t):
    repo = t.repo()
    _, body = t.image(repo, "ok")
    for digest in ("blake3:" + "a" * 64, "sha1:" + "a" * 40, "md5+x.y:ABC=_-"):
        t.error(t.get(f"/v2/{repo}/blobs/{digest}"), 404, "BLOB_UNKNOWN")
        t.error(t.get(f"/v2/{repo}/manifests/{digest}"), 404, "MANIFEST_UNKNOWN")
        t.status(t.head(f"/v2/{repo}/blobs/{digest}"), 404)
        refused = ("DIGEST_INVALID", "UNSUPPORTED")
        t.error(t.put_manifest(repo, digest, body, oci.IMAGE), 400, *refused)
        t.error(t.finish(t.start(repo), digest.replace("+", "%2B"), b"x"), 400, *refused)


@case("R8")
def unknown_session_ids(t):
    repo = t.repo()
    t.image(repo)
    for sid in ("x", "A-Z_a.z=9", "0" * 128, "f" * 64, "..a", "deadbeef-0000-4000-8000-000000000000"):
        url = f"/v2/{repo}/blobs/uploads/{sid}"
        t.error(t.get(url), 404, "BLOB_UPLOAD_UNKNOWN")
        t.status(t.head(url), 404)
        t.error(t.req("PATCH", url, body=b"x"), 404, "BLOB_UPLOAD_UNKNOWN")
        put = t.finish(url, oci.digest(b"x"), b"x")
        t.error(put, 404, "BLOB_UPLOAD_UNKNOWN")
        t.error(t.delete(url), 404, "BLOB_UPLOAD_UNKNOWN")


@case("R8", "R50")
def session_id_is_in_path_and_header(t):
    repo = t.repo()
    resp = t.status(t.req("POST", f"/v2/{repo}/blobs/uploads/"), 202)
    last = resp.h("Location").split("?")[0].rsplit("/", 1)[1]
    t.header(resp, "Docker-Upload-UUID", last)
    t.true(all(c.isalnum() or c in "-_.=" for c in last), "id of [a-zA-Z0-9-_.=]", last)


@case("R8", "R68")
def session_of_another_repository(t):
    repo, other = t.repo(), t.repo("other")
    path = t.start(repo)
    t.image(other)
    moved = path.replace(f"/v2/{repo}/", f"/v2/{other}/")
    t.error(t.get(moved), 404, "BLOB_UPLOAD_UNKNOWN")
    t.error(t.req("PATCH", moved, body=b"x"), 404, "BLOB_UPLOAD_UNKNOWN")
    t.error(t.finish(moved, oci.digest(b"x"), b"x"), 404, "BLOB_UPLOAD_UNKNOWN")
    t.error(t.delete(moved), 404, "BLOB_UPLOAD_UNKNOWN")
    t.status(t.get(path), 204)


@case("R8")
def session_id_with_one_letter_changed(t):
    repo = t.repo()
    path, query = (t.start(repo).split("?") + [""])[:2]
    sid = path.rsplit("/", 1)[1]
    for at in (0, len(sid) // 2, len(sid) - 1):
        other = "0" if sid[at] != "0" else "1"
        url = path[: -len(sid)] + sid[:at] + other + sid[at + 1 :]
        t.error(t.get(url + (f"?{query}" if query else "")), 404, "BLOB_UPLOAD_UNKNOWN")


@case("R9")
def components_named_like_routes(t):
    top = f"q{t.mark}"
    names = ("blobs/uploads", "manifests", "blobs", "tags/list", "tags", "referrers", "uploads/x",
             "manifests/latest", "blobs/uploads/manifests", "tags/list/tags/list")
    for name in names:
        repo = f"{top}/{name}"
        digest, body = t.image(repo, "x")
        t.body(t.get(f"/v2/{repo}/manifests/x"), body)
        t.body(t.get(f"/v2/{repo}/manifests/{digest}"), body)
        t.eq(t.get(f"/v2/{repo}/tags/list").json(), {"name": repo, "tags": ["x"]}, "list")
        t.status(t.get(f"/v2/{repo}/referrers/{digest}"), 200)
        url = t.start(repo)
        t.true(url.startswith(f"/v2/{repo}/blobs/uploads/"), "Location in the repository", url)
        t.status(t.delete(url), 204)
    t.error(t.get(f"/v2/{top}/tags/list"), 404, "NAME_UNKNOWN")


@case("R10", "R20")
def slashes_at_the_end(t):
    repo = t.repo()
    resp = t.status(t.req("POST", f"/v2/{repo}/blobs/uploads"), 202)
    data = t.seed().encode()
    t.status(t.finish(resp.h("Location"), oci.digest(data), data), 201)
    both = t.req("POST", f"/v2/{repo}/blobs/uploads?digest={oci.digest(data)}", body=data)
    t.status(both, 201)
    t.body(t.status(t.get("/v2"), 200), t.get("/v2/").body)


@case("R11")
def percent_encoding(t):
    repo = t.repo()
    digest, body = t.image(repo, "v1")
    data = b"percent"
    blob = t.blob(repo, data)
    t.body(t.get(f"/v2/{repo}/blobs/{blob.replace(':', '%3A')}"), data)
    t.body(t.get(f"/v2/{repo}/blobs/{blob.replace(':', '%3a')}"), data)
    t.body(t.get(f"/v2/{repo}/manifests/{digest.replace(':', '%3A')}"), body)
    t.body(t.get(f"/v2/{repo}/manifests/%76%31"), body)
    spelled = repo.replace("t/", "%74/", 1)
    t.body(t.get(f"/v2/{spelled}/manifests/v1"), body)
    t.status(t.get(f"/v2/{repo}/referrers/{digest.replace(':', '%3A')}"), 200)


@case("R11", "L2", "L12")
def paths_that_try_to_climb(t):
    repo = t.repo()
    _, body = t.image(repo, "v1")
    top, rest = repo.split("/", 1)
    for path in (
        f"{top}%2F{rest}/manifests/v1", f"{top}//{rest}/manifests/v1", f"{repo}/./manifests/v1",
        f"{repo}/x/../manifests/v1", f"{repo}/x/%2e%2e/manifests/v1", f"{repo}/x/%2E./manifests/v1",
        f"{repo}%00/manifests/v1", f"{repo}/manifests/v1%00", f"{repo}/manifests/%00v1",
        f"/{repo}/manifests/v1", f"{repo}//manifests/v1", f"{repo}/manifests//v1", f"{repo}/%zz/manifests/v1",
        f"{repo}/manifests/v1%", f"{repo}/manifests/v1/", f"../v2/{repo}/manifests/v1",
        f"{repo}/manifests/..", f"{repo}/manifests/%2e%2e%2fv1", f"{repo}/blobs/uploads/%2e%2e",
        "%2e%2e/%2e%2e/%2e%2e/etc/passwd/manifests/v1", f"{repo}/manifests/v1%2f",
    ):
        for method in ("GET", "PUT", "DELETE"):
            body_now = body if method == "PUT" else None
            got = t.req(method, "/v2/" + path, {"Content-Type": oci.IMAGE}, body_now)
            wanted = (400, 404, 405) if method != "GET" else (400, 404)
            t.error(got, wanted)
    t.eq(t.get(f"/v2/{repo}/tags/list").json()["tags"], ["v1"], "tags after it all")


@case("R12")
def plus_in_queries(t):
    repo = t.repo()
    subject, body = t.image(repo)
    art, _ = t.artifact(repo, oci.descriptor(body, oci.IMAGE), "application/vnd.x.y+json")
    for spelled in ("application/vnd.x.y+json", "application%2Fvnd.x.y%2Bjson", "application/vnd.x.y%20json"):
        got = t.get(f"/v2/{repo}/referrers/{subject}?artifactType={spelled}").json()["manifests"]
        t.eq([d["digest"] for d in got], [art], f"referrers by artifactType={spelled}")
    data = t.seed().encode()
    encoded = oci.digest(data).replace(":", "%3A")
    t.status(t.req("POST", f"/v2/{repo}/blobs/uploads/?digest={encoded}", body=data), 201)
    mount = f"/v2/{t.repo('m')}/blobs/uploads/?mount={encoded}&from={repo.replace('/', '%2F')}"
    t.status(t.req("POST", mount), 201)


@case("R13")
def unknown_parameters(t):
    repo = t.repo()
    extra = "?ns=docker.io&origin=x&foo&=&a=%zz&foo=bar"
    digest, body = t.image(repo, "v1")
    blob = t.blob(repo, b"params")
    for path in (f"manifests/v1", f"manifests/{digest}", f"blobs/{blob}", "tags/list", f"referrers/{digest}"):
        t.status(t.get(f"/v2/{repo}/{path}{extra}"), 200)
        t.status(t.head(f"/v2/{repo}/{path}{extra}"), 200)
    t.status(t.get("/v2/" + extra), 200)
    t.status(t.get("/v2/_catalog" + extra), 200)
    t.status(t.put_manifest(repo, "v2" + extra, body, oci.IMAGE), 201)
    url = t.start(repo, extra)
    t.status(t.req("PATCH", with_query(url, ns="x"), body=b"ab"), 202)
    t.status(t.get(with_query(url, digest=oci.ZERO)), 204)
    t.status(t.finish(with_query(url, ns="x"), oci.digest(b"ab")), 201)
    t.status(t.delete(f"/v2/{repo}/manifests/v2{extra}"), 202)


@case("R14")
def underscore_is_the_extension_space(t):
    repo = t.repo()
    t.image(repo)
    for path in ("_x", "_x/y/z", f"{repo}/_x/y", f"{repo}/_x/y/z", "_x/tags/list", f"{repo}/_x/tags/list"):
        t.error(t.get("/v2/" + path), (404, 400))
    for path in ("_x", f"{repo}/_x", "_catalog"):
        t.error(t.req("POST", f"/v2/{path}/blobs/uploads/"), (400, 404, 405))


@case("R15")
def wrong_method(t):
    repo = t.repo()
    digest, _ = t.image(repo, "v1")
    blob = t.blob(repo, b"method")
    session = t.start(repo)
    wrong = (
        ("/v2/", ("POST", "PUT", "PATCH", "DELETE")),
        ("/v2/_catalog", ("POST", "PUT", "DELETE")),
        (f"/v2/{repo}/tags/list", ("POST", "PUT", "PATCH", "DELETE")),
        (f"/v2/{repo}/manifests/v1", ("POST", "PATCH")),
        (f"/v2/{repo}/blobs/{blob}", ("POST", "PUT", "PATCH")),
        (f"/v2/{repo}/referrers/{digest}", ("POST", "PUT", "DELETE")),
        (f"/v2/{repo}/blobs/uploads/", ("PUT", "PATCH")),
        (session, ("POST",)),
    )
    for path, methods in wrong:
        for method in methods:
            got = t.error(t.req(method, path), 405, "UNSUPPORTED")
            allow = {m.strip() for m in (got.h("Allow") or "").split(",")}
            t.true(allow - {""} and method not in allow, f"Allow without {method}", allow)


@case("R15")
def unknown_path(t):
    for path in ("/v2/x", "/v2/foo/bar/baz", "/v2/foo/tags", "/v2/foo/tags/other", "/v2/foo/blobs"):
        t.error(t.get(path), 404)
    for path in ("/", "/v1/", "/nothing", "/v2x", "/v2x/foo/tags/list"):
        t.status(t.get(path), 404, 200 if path == "/" else 404)


@case("R15", "R31", "R157")
def head_is_get_without_body(t):
    repo = t.repo()
    digest, _ = t.image(repo, "v1")
    blob = t.blob(repo, b"head" * 30000)
    for path in ("/v2/", "/v2/_catalog", f"/v2/{repo}/tags/list", f"/v2/{repo}/manifests/v1",
                 f"/v2/{repo}/referrers/{digest}", f"/v2/{repo}/blobs/{blob}"):
        get, head = t.get(path), t.head(path)
        t.status(head, get.status)
        for name in ("Content-Type", "Docker-Content-Digest", "ETag", "Cache-Control", "Accept-Ranges"):
            t.eq(head.all(name), get.all(name), f"{name} of HEAD {path}")
        if path != "/v2/_catalog":
            t.eq(head.h("Content-Length"), str(len(get.body)), f"Content-Length of HEAD {path}")


@case("L13", "R15")
def names_reserved_for_time_travel(t):
    repo, data = f"at-20261122t075000z/x{t.mark}", b"reserved"
    source = t.repo()
    blob = t.blob(source, data)
    _, body = t.image(source)
    t.error(t.req("POST", f"/v2/{repo}/blobs/uploads/"), 405, "UNSUPPORTED")
    one = t.req("POST", f"/v2/{repo}/blobs/uploads/?digest={blob}", body=data)
    t.error(one, 405, "UNSUPPORTED")
    mount = t.req("POST", f"/v2/{repo}/blobs/uploads/?mount={blob}&from={source}")
    t.error(mount, 405, "UNSUPPORTED")
    t.error(t.put_manifest(repo, "v1", body, oci.IMAGE), 405, "UNSUPPORTED")
    t.error(t.put_manifest("at-20261122t075000z", "v1", body, oci.IMAGE), 405, "UNSUPPORTED")
    t.error(t.delete(f"/v2/{repo}/manifests/v1"), 405, "UNSUPPORTED")
    t.error(t.delete(f"/v2/{repo}/blobs/{blob}"), 405, "UNSUPPORTED")
    for near in ("at-2026", "at-20261122t075000", "at-20261122t075000zz", f"x{t.mark}/at-20261122t075000z"):
        t.status(t.req("POST", f"/v2/{near}/blobs/uploads/"), 202)
