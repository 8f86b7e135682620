"""Manifests: what is accepted, what is refused, and what comes back."""

import re

import oci
from harness import case
from test_upload import run_together

REFUSED = ("MANIFEST_INVALID",)


def config_and_layer(t, repo):
    """Push a config and a layer; returns their descriptors."""
    config, layer = oci.dump({"seed": t.seed()}), b"layer " + t.seed().encode()
    t.blob(repo, config)
    t.blob(repo, layer)
    return oci.descriptor(config, oci.CONFIG), oci.descriptor(layer, oci.LAYER)


def refused(t, repo, body, media_type=oci.IMAGE, codes=REFUSED):
    """The document is refused by tag and by digest, and nothing of it stays."""
    got = t.put_manifest(repo, "refused", body, media_type)
    t.error(got, 400, *codes)
    digest = oci.digest(body)
    t.error(t.put_manifest(repo, digest, body, media_type), 400, *codes)
    t.status(t.head(f"/v2/{repo}/manifests/refused"), 404)
    t.status(t.head(f"/v2/{repo}/manifests/{digest}"), 404)
    return got


def taken(t, repo, doc, media_type=None):
    """The document is accepted and comes back byte for byte; returns its digest."""
    body = doc if isinstance(doc, bytes) else oci.dump(doc)
    media_type = media_type or doc["mediaType"]
    digest = oci.digest(body)
    t.status(t.put_manifest(repo, digest, body, media_type), 201)
    got = t.body(t.get(f"/v2/{repo}/manifests/{digest}"), body)
    t.header(got, "Content-Type", media_type)
    return digest


@case("R72", "R77", "R80")
def manifest_comes_back_as_pushed(t):
    repo = t.repo()
    config, layer = config_and_layer(t, repo)
    body = (
        b'\n {"layers" :[%s],\t"unknown":{"b":1.10,"a":1e5},"config":%s,\r\n"schemaVersion": 2 ,'
        b'"text":"\\u00e9\xc3\xa9\\/"}\n\n' % (oci.dump(layer), oci.dump(config))
    )
    digest = oci.digest(body)
    put = t.status(t.put_manifest(repo, "v1", body, oci.IMAGE), 201)
    t.header(put, "Location", f"/v2/{repo}/manifests/{digest}")
    t.header(put, "Docker-Content-Digest", digest)
    t.header(put, "Content-Length", "0")
    for ref in ("v1", digest):
        get, head = t.get(f"/v2/{repo}/manifests/{ref}"), t.head(f"/v2/{repo}/manifests/{ref}")
        t.body(t.status(get, 200), body)
        for resp in (get, t.status(head, 200)):
            t.header(resp, "Content-Type", oci.IMAGE)
            t.header(resp, "Content-Length", str(len(body)))
            t.header(resp, "Docker-Content-Digest", digest)
            t.header(resp, "ETag", f'"{digest}"')
    t.header(t.get(f"/v2/{repo}/manifests/v1"), "Cache-Control", re.compile(r".*no-cache.*"))
    t.header(t.get(f"/v2/{repo}/manifests/{digest}"), "Cache-Control", re.compile(r".*immutable.*"))


@case("R73", "R82", "R83")
def tag_answers_in_the_algorithm_it_was_set_with(t):
    repo = t.repo()
    _, body = t.image(repo)
    d256, d512 = oci.digest(body), oci.digest(body, "sha512")
    t.status(t.put_manifest(repo, f"{d512}?tag=big", body, oci.IMAGE), 201)
    t.status(t.put_manifest(repo, "small", body, oci.IMAGE), 201)
    for method in ("GET", "HEAD"):
        for ref, digest in (("big", d512), ("small", d256), (d512, d512), (d256, d256)):
            got = t.status(t.req(method, f"/v2/{repo}/manifests/{ref}"), 200)
            t.header(got, "Docker-Content-Digest", digest)


@case("R74")
def missing_manifest(t):
    repo = t.repo()
    t.image(repo, "v1")
    for ref in ("v2", oci.ZERO, "sha512:" + "0" * 128):
        t.error(t.get(f"/v2/{repo}/manifests/{ref}"), 404, "MANIFEST_UNKNOWN")
        t.status(t.head(f"/v2/{repo}/manifests/{ref}"), 404)
        t.error(t.get(f"/v2/{t.repo()}/manifests/{ref}"), 404, "NAME_UNKNOWN")


@case("R75")
def accept_never_refuses_nor_converts(t):
    repo = t.repo()
    child, cbody = t.image(repo)
    entry = oci.descriptor(cbody, oci.IMAGE, platform={"architecture": "amd64", "os": "linux"})
    index = oci.dump(oci.index_doc([entry]))
    t.status(t.put_manifest(repo, "multi", index, oci.INDEX), 201)
    _, docker = t.image(repo, "docker", media_type=oci.DOCKER)
    accepts = ([], ["*/*"], [oci.IMAGE], [oci.DOCKER + ";q=0.1, text/html;q=0.9"], [oci.DOCKER_V1],
               [oci.DOCKER, oci.IMAGE], ["nonsense"], [""])
    for values in accepts:
        headers = [("Accept", v) for v in values]
        for ref, body, kind in (("multi", index, oci.INDEX), ("docker", docker, oci.DOCKER)):
            got = t.status(t.req("GET", f"/v2/{repo}/manifests/{ref}", headers), 200)
            t.header(t.body(got, body), "Content-Type", kind)


@case("R76", "I13")
def manifests_and_blobs_do_not_answer_for_each_other(t):
    repo = t.repo()
    digest, body = t.image(repo, "v1")
    data = b"plain " + t.seed().encode()
    blob = t.blob(repo, data)
    t.error(t.get(f"/v2/{repo}/blobs/{digest}"), 404, "BLOB_UNKNOWN")
    t.error(t.get(f"/v2/{repo}/manifests/{blob}"), 404, "MANIFEST_UNKNOWN")
    t.blob(repo, body)  # the same bytes, now as a blob too
    t.body(t.get(f"/v2/{repo}/blobs/{digest}"), body)
    as_blob, other = t.repo(), oci.dump({"schemaVersion": 2, "seed": t.seed()})
    only = t.blob(as_blob, other)
    t.error(t.get(f"/v2/{as_blob}/manifests/{only}"), 404, "MANIFEST_UNKNOWN", "NAME_UNKNOWN")


@case("R77", "R38")
def manifest_if_none_match(t):
    repo = t.repo()
    digest, body = t.image(repo, "v1")
    for ref in ("v1", digest):
        for value in (f'"{digest}"', digest, f'W/"{digest}"', "*", f'"a", "{digest}"'):
            for method in ("GET", "HEAD"):
                got = t.req(method, f"/v2/{repo}/manifests/{ref}", {"If-None-Match": value})
                t.header(t.status(got, 304), "ETag", f'"{digest}"')
        got = t.get(f"/v2/{repo}/manifests/{ref}", If_None_Match=f'"{oci.ZERO}"')
        t.body(t.status(got, 200), body)


@case("R78")
def read_after_write_many_times(t):
    repo = t.repo()
    config, layer = config_and_layer(t, repo)
    docs = [oci.dump(oci.image_doc(config, [layer], turn=n)) for n in range(2)]
    clients = (t, t.at(t.addr))  # two connections
    for turn in range(12):
        body = docs[turn % 2]
        digest = oci.digest(body)
        t.status(t.put_manifest(repo, "v", body, oci.IMAGE), 201)
        for c in clients:
            c.header(c.head(f"/v2/{repo}/manifests/v"), "Docker-Content-Digest", digest)
        t.status(t.delete(f"/v2/{repo}/manifests/{digest}"), 202)
        for c in clients:
            c.status(c.head(f"/v2/{repo}/manifests/v"), 404)
            c.status(c.head(f"/v2/{repo}/manifests/{digest}"), 404)


@case("R78")
def blob_read_after_write_many_times(t):
    repo = t.repo()
    for data in (b"{}", b"", b"x" * 70000):
        digest = oci.digest(data)
        for _ in range(6):
            t.blob(repo, data)
            t.body(t.get(f"/v2/{repo}/blobs/{digest}"), data)
            t.status(t.delete(f"/v2/{repo}/blobs/{digest}"), 202)
            t.status(t.head(f"/v2/{repo}/blobs/{digest}"), 404)


@case("R79", "R13")
def ns_is_ignored(t):
    repo = t.repo()
    digest, body = t.image(repo, "v1")
    for ref in ("v1", digest):
        got = t.status(t.get(f"/v2/{repo}/manifests/{ref}?ns=docker.io"), 200)
        t.no_header(t.body(got, body), "OCI-Namespace")


@case("R81")
def manifest_body_may_be_chunked(t):
    repo = t.repo()
    config, layer = config_and_layer(t, repo)
    body = oci.dump(oci.image_doc(config, [layer], annotations={"fill": "x" * 50_000}))
    for n, sizes in enumerate((True, [1024], [3, 40_000])):
        t.status(t.put_manifest(repo, f"c{n}", body, oci.IMAGE, sizes), 201)
        t.body(t.get(f"/v2/{repo}/manifests/c{n}"), body)


@case("R82", "L4")
def digest_that_is_not_of_the_body(t):
    repo = t.repo()
    config, layer = config_and_layer(t, repo)
    body = oci.dump(oci.image_doc(config, [layer]))
    for alg in oci.ALGS:
        digest = oci.digest(body, alg)
        for ref in (digest, digest + "?tag=t"):
            t.error(t.put_manifest(repo, ref, body + b"  ", oci.IMAGE), 400, "DIGEST_INVALID")
        for ref in (digest, oci.digest(body + b"  ", alg), "t"):
            t.status(t.head(f"/v2/{repo}/manifests/{ref}"), 404)
        t.status(t.put_manifest(repo, digest, body, oci.IMAGE), 201)
        t.header(t.head(f"/v2/{repo}/manifests/{digest}"), "Docker-Content-Digest", digest)


def named_tags(resp):
    return sorted(tag.strip() for value in resp.all("OCI-Tag") for tag in value.split(","))


@case("R83")
def many_tags_in_one_put(t):
    repo = t.repo()
    _, body = t.image(repo)
    for alg in oci.ALGS:
        digest = oci.digest(body, alg)
        tags = sorted(f"{alg}-{n}" for n in range(64))
        query = "&".join(f"tag={tag}" for tag in tags)
        got = t.status(t.put_manifest(repo, f"{digest}?{query}", body, oci.IMAGE), 201)
        t.eq(named_tags(got), tags, "OCI-Tag")
        t.header(got, "Location", f"/v2/{repo}/manifests/{digest}")
        for tag in (tags[0], tags[-1]):
            t.header(t.head(f"/v2/{repo}/manifests/{tag}"), "Docker-Content-Digest", digest)
    got = t.put_manifest(repo, f"{oci.digest(body)}?tag=a&tag=b&tag=a&x=y", body, oci.IMAGE)
    t.eq(named_tags(t.status(got, 201)), ["a", "b"], "OCI-Tag of a, b, a")
    plain = t.put_manifest(repo, "c", body, oci.IMAGE)
    t.status(plain, 201)


@case("R83", "L2")
def many_tags_refused_as_one(t):
    repo = t.repo()
    config, layer = config_and_layer(t, repo)
    body = oci.dump(oci.image_doc(config, [layer]))
    digest = oci.digest(body)
    for bad in ("-x", "a%20b", "", "a" * 129, "sha256:abc", "%00"):
        got = t.put_manifest(repo, f"{digest}?tag=ok&tag={bad}", body, oci.IMAGE)
        t.error(got, 400, "MANIFEST_INVALID")
        t.status(t.head(f"/v2/{repo}/manifests/ok"), 404)
        t.status(t.head(f"/v2/{repo}/manifests/{digest}"), 404)
    many = "&".join(f"tag=x{n}" for n in range(65))
    t.error(t.put_manifest(repo, f"{digest}?{many}", body, oci.IMAGE), 414)
    t.error(t.put_manifest(repo, "one?tag=two", body, oci.IMAGE), 400)
    t.status(t.head(f"/v2/{repo}/manifests/one"), 404)
    t.status(t.head(f"/v2/{repo}/manifests/two"), 404)


@case("R84", "R87")
def four_types(t):
    repo = t.repo()
    config, layer = config_and_layer(t, repo)
    for kind in (oci.IMAGE, oci.DOCKER):
        taken(t, repo, oci.image_doc(config, [layer], kind))
    body = oci.dump(oci.image_doc(config, [layer]))
    for kind in (oci.INDEX, oci.DOCKER_LIST):
        taken(t, repo, oci.index_doc([oci.descriptor(body, oci.IMAGE)], kind))


@case("R84")
def other_types(t):
    repo = t.repo()
    config, layer = config_and_layer(t, repo)
    schema1 = {"schemaVersion": 1, "name": repo, "tag": "x", "fsLayers": [], "history": []}
    refused(t, repo, oci.dump(schema1), oci.DOCKER_V1)
    refused(t, repo, oci.dump({**schema1, "signatures": []}), oci.DOCKER_V1.replace("prettyjws", "json"))
    old = {"mediaType": oci.OCI_ARTIFACT, "artifactType": "x/y", "blobs": [layer]}
    refused(t, repo, oci.dump(old), oci.OCI_ARTIFACT)
    for kind in ("application/vnd.unknown.v1+json", oci.CONFIG, "image/png"):
        refused(t, repo, oci.dump(oci.image_doc(config, [layer], kind)), kind)


@case("R85")
def content_type_of_the_header_and_of_the_body(t):
    repo = t.repo()
    config, layer = config_and_layer(t, repo)

    def put(doc, header, stored):
        doc = {**doc, "seed": t.seed()}
        got = t.put_manifest(repo, "t", oci.dump(doc), header or "")
        t.status(got, 201)
        t.header(t.head(f"/v2/{repo}/manifests/t"), "Content-Type", stored)

    for kind in (oci.IMAGE, oci.DOCKER):
        image = oci.image_doc(config, [layer], kind)
        untyped = {k: v for k, v in image.items() if k != "mediaType"}
        put(image, kind + "; charset=utf-8", kind)
        for generic in (None, "application/json", "application/octet-stream", "text/plain; charset=x"):
            put(image, generic, kind)
            put(untyped, generic, oci.IMAGE)
        put(untyped, kind, kind)
    for kind in (oci.INDEX, oci.DOCKER_LIST):
        index = oci.index_doc([], kind)
        untyped = {k: v for k, v in index.items() if k != "mediaType"}
        put(index, None, kind)
        put(untyped, None, oci.INDEX)
        put(untyped, kind, kind)


@case("R85")
def no_content_type_header_at_all(t):
    repo = t.repo()
    config, layer = config_and_layer(t, repo)
    body = oci.dump(oci.image_doc(config, [layer], oci.DOCKER))
    t.status(t.req("PUT", f"/v2/{repo}/manifests/t", {}, body), 201)
    t.header(t.get(f"/v2/{repo}/manifests/t"), "Content-Type", oci.DOCKER)


@case("R85", "R86")
def types_that_disagree(t):
    repo = t.repo()
    config, layer = config_and_layer(t, repo)
    image, index = oci.image_doc(config, [layer]), oci.index_doc([])
    refused(t, repo, oci.dump(image), oci.DOCKER)
    refused(t, repo, oci.dump(image), oci.INDEX)
    refused(t, repo, oci.dump(index), oci.IMAGE)
    refused(t, repo, oci.dump({**image, "mediaType": oci.INDEX}), oci.IMAGE)


@case("R86", "L3")
def not_one_json_object(t):
    repo = t.repo()
    config, layer = config_and_layer(t, repo)
    good = oci.dump(oci.image_doc(config, [layer]))
    for body in (b"", b"x", b"[]", b'"a"', b"2", b"null", b"true", good[:-1], good + b"x", good + good,
                 b"\xef\xbb\xbf" + good, b"\x00" + good, good + b"\x00", b"[" + good + b"]",
                 good.replace(b"{", b"{,", 1), good.replace(b'"', b"'"), b"<xml/>"):
        refused(t, repo, body)


@case("R86", "L3")
def text_that_is_not_utf8(t):
    repo = t.repo()
    config, layer = config_and_layer(t, repo)
    for text in (b"\xff", b"\xc3", b"\xed\xa0\x80", b"\xc0\x80", b"\xf5\x80\x80\x80", b"\\ud800"):
        doc = oci.dump(oci.image_doc(config, [layer], annotations={"k": "MARK"}))
        refused(t, repo, doc.replace(b"MARK", text))
        refused(t, repo, oci.dump({**oci.image_doc(config, [layer]), "MARK": 1}).replace(b"MARK", text))


@case("R86", "L3")
def nesting(t):
    repo = t.repo()
    config, layer = config_and_layer(t, repo)
    good = oci.dump(oci.image_doc(config, [layer]))

    def nested(levels, opens=b"[", closes=b"]"):  # the object itself is one level
        inner = opens * (levels - 1) + b"1" + closes * (levels - 1)
        return good.replace(b"{", b'{"deep":' + inner + b",", 1)

    t.status(t.put_manifest(repo, "deep", nested(60), oci.IMAGE), 201)
    for levels in (66, 3000, 500_000):
        refused(t, repo, nested(levels))
    refused(t, repo, nested(100_000, b'{"a":', b"}"))
    refused(t, repo, b"[" * 4_000_000)


@case("R86", "L3")
def duplicate_media_type(t):
    repo = t.repo()
    config, layer = config_and_layer(t, repo)
    good = oci.dump(oci.image_doc(config, [layer]))
    for twice in (oci.IMAGE, oci.INDEX):
        refused(t, repo, good.replace(b"{", b'{"mediaType": "%s",' % twice.encode(), 1))
    spelled = b'{"media\\u0054ype": "%s",' % oci.INDEX.encode()
    refused(t, repo, good.replace(b"{", spelled, 1))


@case("R86", "L3")
def schema_version(t):
    repo = t.repo()
    config, layer = config_and_layer(t, repo)
    for version in (1, 3, "2", None, 2.5, True, [2]):
        refused(t, repo, oci.dump({**oci.image_doc(config, [layer]), "schemaVersion": version}))
        refused(t, repo, oci.dump({**oci.index_doc([]), "schemaVersion": version}), oci.INDEX)
    without = {k: v for k, v in oci.image_doc(config, [layer]).items() if k != "schemaVersion"}
    refused(t, repo, oci.dump(without))


@case("R86", "L3")
def type_confusion(t):
    repo = t.repo()
    config, layer = config_and_layer(t, repo)
    image, index = oci.image_doc(config, [layer]), oci.index_doc([])
    for doc in ({**image, "manifests": []}, {**image, "manifests": [layer]}):
        refused(t, repo, oci.dump(doc), oci.IMAGE)
        refused(t, repo, oci.dump({**doc, "mediaType": oci.DOCKER}), oci.DOCKER)
    for doc in ({**index, "layers": []}, {**index, "config": config}):
        refused(t, repo, oci.dump(doc), oci.INDEX)
        refused(t, repo, oci.dump({**doc, "mediaType": oci.DOCKER_LIST}), oci.DOCKER_LIST)


def broken_descriptors(good):
    """A descriptor spoiled in every way that must be refused."""
    for field in ("mediaType", "digest", "size"):
        yield {k: v for k, v in good.items() if k != field}
    for size in (-1, "10", 1.5, 1e5, None, True, [], {}):
        yield {**good, "size": size}
    for digest in ("", "sha256:abc", good["digest"].upper(), "x", 5, None, [good["digest"]],
                   good["digest"] + " ", "sha256:" + "g" * 64, good["digest"] + "\x00"):
        yield {**good, "digest": digest}
    for kind in (5, None, [], {}):
        yield {**good, "mediaType": kind}
    yield from (None, "x", 5, [], [good])


@case("R86", "L2", "L3")
def broken_descriptor_anywhere(t):
    repo = t.repo()
    config, layer = config_and_layer(t, repo)
    _, child = t.image(repo)
    entry = oci.descriptor(child, oci.IMAGE)
    either = ("MANIFEST_INVALID", "DIGEST_INVALID", "SIZE_INVALID")
    for bad in broken_descriptors(layer):
        refused(t, repo, oci.dump(oci.image_doc(config, [layer, bad])), codes=either)
    for bad in broken_descriptors(config):
        refused(t, repo, oci.dump(oci.image_doc(bad, [layer])), codes=either)
    for bad in broken_descriptors(entry):
        refused(t, repo, oci.dump(oci.index_doc([entry, bad])), oci.INDEX, codes=either)
    huge = oci.dump(oci.image_doc(config, [layer]))
    huge = huge.replace(b'"size": %d' % layer["size"], b'"size": 99999999999999999999')
    refused(t, repo, huge, codes=either)


@case("R86", "L3")
def wrong_kinds_of_lists(t):
    repo = t.repo()
    config, layer = config_and_layer(t, repo)
    for wrong in ({}, "x", 5, True):
        refused(t, repo, oci.dump({**oci.image_doc(config, []), "layers": wrong}))
        refused(t, repo, oci.dump({**oci.index_doc([]), "manifests": wrong}), oci.INDEX)
    for wrong in ([], "x", {"a": 5}, {"a": None}, {"a": ["b"]}):
        doc = oci.image_doc(config, [layer], annotations=wrong)
        refused(t, repo, oci.dump(doc))
    for wrong in (5, [], {}, True):
        refused(t, repo, oci.dump({**oci.image_doc(config, [layer]), "mediaType": wrong}))
        refused(t, repo, oci.dump(oci.image_doc(config, [layer], artifactType=wrong)))


@case("R87")
def unusual_but_right(t):
    repo = t.repo()
    config, layer = config_and_layer(t, repo)
    _, child = t.image(repo)
    entry = oci.descriptor(child, oci.IMAGE)
    odd = {**layer, "mediaType": "application/vnd.x.unheard+y", "annotations": {"a": ""}, "new": [1]}
    inline = {**layer, "data": "bGF5ZXI="}
    for doc in (
        oci.image_doc({**config, "mediaType": "application/vnd.odd"}, [odd], artifactType="x/y"),
        oci.image_doc(config, [layer], annotations={}),
        oci.image_doc(config, [layer], annotations={"é": "ü\n", "": ""}, customField={"a": [None]}),
        oci.image_doc(config, [inline]),
        oci.image_doc(config, []),
        oci.image_doc(config, [layer, layer, layer]),
        {k: v for k, v in oci.image_doc(config, [], n=1).items() if k != "layers"},
        oci.index_doc([]),
        oci.index_doc([entry, entry], artifactType="x/y", annotations={"a": "b"}, custom=1),
        oci.index_doc([{**entry, "platform": {"architecture": "unknown", "os": "unknown"}}]),
        oci.index_doc([{**entry, "platform": {"x": 1}, "urls": []}]),
    ):
        taken(t, repo, doc)
    inner = taken(t, repo, oci.index_doc([entry], seed=1))
    nested = {"mediaType": oci.INDEX, "digest": inner, "size": 1}
    nested["size"] = len(t.get(f"/v2/{repo}/manifests/{inner}").body)
    taken(t, repo, oci.index_doc([nested]))


def details(resp):
    """The digests named in the `detail` of each error."""
    return sorted(re.findall(r"sha\d+:[0-9a-f]+", str([e.get("detail") for e in resp.json()["errors"]])))


@case("R88")
def strict_references(t):
    repo, other = t.repo(), t.repo("other")
    config, layer = config_and_layer(t, repo)
    aconfig, alayer = config_and_layer(t, other)  # exist, but elsewhere
    gone = oci.descriptor(b"never " + t.seed().encode(), oci.LAYER)
    missing = ("MANIFEST_BLOB_UNKNOWN",)
    got = refused(t, repo, oci.dump(oci.image_doc(config, [layer, alayer, gone])), codes=missing)
    t.eq(got.codes(), ["MANIFEST_BLOB_UNKNOWN"] * 2, "codes of two missing layers")
    t.eq(details(got), sorted([alayer["digest"], gone["digest"]]), "digests named")
    got = refused(t, repo, oci.dump(oci.image_doc(aconfig, [layer])), codes=missing)
    t.eq(details(got), [aconfig["digest"]], "digests named")
    got = refused(t, repo, oci.dump(oci.image_doc(config, [gone, gone])), codes=missing)
    t.eq(details(got), [gone["digest"]], "digests named, each once")
    _, abody = t.image(other)
    for kind in (oci.IMAGE, oci.DOCKER, oci.INDEX, oci.DOCKER_LIST):
        entry = oci.descriptor(abody, kind)
        got = refused(t, repo, oci.dump(oci.index_doc([entry])), oci.INDEX, missing)
        t.eq(details(got), [entry["digest"]], "digests named")
    entry = {**layer, "mediaType": oci.IMAGE}  # a blob is not a manifest
    refused(t, repo, oci.dump(oci.index_doc([entry])), oci.INDEX, missing)


@case("R88", "R142")
def reference_to_a_deleted_blob(t):
    repo = t.repo()
    config, layer = config_and_layer(t, repo)
    t.status(t.delete(f"/v2/{repo}/blobs/{layer['digest']}"), 202)
    refused(t, repo, oci.dump(oci.image_doc(config, [layer])), codes=("MANIFEST_BLOB_UNKNOWN",))


@case("R89")
def references_never_refused_for_absence(t):
    repo = t.repo()
    config, layer = config_and_layer(t, repo)
    gone = lambda kind, **f: oci.descriptor(t.seed().encode(), kind, **f)  # noqa: E731
    base = "application/vnd.oci.image.layer.nondistributable.v1.tar"
    foreign = "application/vnd.docker.image.rootfs.foreign.diff.tar"
    kinds = [base, base + "+gzip", base + "+zstd", foreign, foreign + ".gzip"]
    taken(t, repo, oci.image_doc(config, [layer] + [gone(k) for k in kinds]))
    urls = [gone(oci.LAYER, urls=["https://example.org/x"]), gone(oci.LAYER, urls=["http://a/b", "https://c"])]
    taken(t, repo, oci.image_doc(config, urls))
    taken(t, repo, oci.image_doc(config, [layer], subject=gone(oci.IMAGE)))
    taken(t, repo, oci.index_doc([], subject=gone(oci.INDEX)))
    for none in ([], ["ftp://x/y"], ["file:///etc/passwd"]):
        doc = oci.image_doc(config, [gone(oci.LAYER, urls=none)])
        refused(t, repo, oci.dump(doc), codes=("MANIFEST_BLOB_UNKNOWN", "MANIFEST_INVALID"))


@case("R90", "R87")
def buildkit_cache(t):
    repo = t.repo()
    cache, layer = config_and_layer(t, repo)
    cache = {**cache, "mediaType": "application/vnd.buildkit.cacheconfig.v0"}
    layer = {**layer, "mediaType": "application/vnd.oci.image.layer.v1.tar+zstd"}
    for kind in (oci.INDEX, oci.DOCKER_LIST):
        taken(t, repo, oci.index_doc([layer, cache], kind))
        for entry in (layer, cache):
            missing = {**entry, "digest": oci.digest(t.seed().encode())}
            body = oci.dump(oci.index_doc([missing], kind))
            refused(t, repo, body, kind, ("MANIFEST_BLOB_UNKNOWN",))
    taken(t, repo, oci.image_doc(cache, [layer]))
    for entry in (layer, cache):
        t.status(t.head(f"/v2/{repo}/blobs/{entry['digest']}"), 200)


@case("R91", server="index-sparse")
def sparse_index(t):
    repo = t.repo()
    config, layer = config_and_layer(t, repo)
    gone = oci.descriptor(t.seed().encode(), oci.IMAGE)
    taken(t, repo, oci.index_doc([gone]))
    missing = {**layer, "digest": oci.digest(t.seed().encode())}
    refused(t, repo, oci.dump(oci.image_doc(config, [missing])), codes=("MANIFEST_BLOB_UNKNOWN",))
    t.status(t.get(f"/v2/{repo}/manifests/{gone['digest']}"), 404)


@case("R91", server="none")
def no_references_checked(t):
    repo = t.repo()
    gone = [oci.descriptor(t.seed().encode(), kind) for kind in (oci.CONFIG, oci.LAYER, oci.IMAGE)]
    taken(t, repo, oci.image_doc(gone[0], [gone[1]]))
    taken(t, repo, oci.index_doc([gone[2], gone[1]]))
    for d in gone[:2]:
        t.status(t.get(f"/v2/{repo}/blobs/{d['digest']}"), 404)


@case("R92")
def subject_is_acknowledged(t):
    repo = t.repo()
    config, layer = config_and_layer(t, repo)
    _, present = t.image(repo)
    for body in (present, t.seed().encode()):
        subject = oci.descriptor(body, oci.IMAGE)
        for doc in (oci.image_doc(config, [layer], subject=subject), oci.index_doc([], subject=subject)):
            data = oci.dump(doc)
            for ref in ("t", oci.digest(data), "t", oci.digest(data, "sha512"), oci.digest(data) + "?tag=u"):
                got = t.status(t.put_manifest(repo, ref, data, doc["mediaType"]), 201)
                t.header(got, "OCI-Subject", subject["digest"])
    plain = t.put_manifest(repo, "plain", oci.dump(oci.image_doc(config, [layer])), oci.IMAGE)
    t.no_header(t.status(plain, 201), "OCI-Subject")


@case("R93", "L3")
def broken_subject(t):
    repo = t.repo()
    config, layer = config_and_layer(t, repo)
    good = oci.descriptor(t.seed().encode(), oci.IMAGE)
    either = ("MANIFEST_INVALID", "DIGEST_INVALID", "SIZE_INVALID")
    for bad in broken_descriptors(good):
        if bad is not None:
            refused(t, repo, oci.dump(oci.image_doc(config, [layer], subject=bad)), codes=either)
            refused(t, repo, oci.dump(oci.index_doc([], subject=bad)), oci.INDEX, codes=either)


@case("R94")
def tags_that_tools_use(t):
    repo = t.repo()
    config, layer = config_and_layer(t, repo)
    hexes = oci.digest(t.seed().encode())[7:]
    tags = [f"sha256-{hexes}" + end for end in ("", ".sig", ".att", ".sbom")] + ["1.2.3_build.7"]
    for turn in range(2):
        body = oci.dump(oci.image_doc(config, [layer], turn=turn))
        for tag in tags:
            t.status(t.put_manifest(repo, tag, body, oci.IMAGE), 201)
            t.body(t.get(f"/v2/{repo}/manifests/{tag}"), body)


@case("R97")
def same_manifest_again(t):
    repo = t.repo()
    digest, body = t.image(repo, "v1")
    for ref in ("v1", digest, "v1", "v2"):
        got = t.status(t.put_manifest(repo, ref, body, oci.IMAGE), 201)
        t.header(got, "Docker-Content-Digest", digest)
    t.eq(t.get(f"/v2/{repo}/tags/list").json()["tags"], ["v1", "v2"], "tags")


@case("R97")
def two_writers_on_one_tag(t):
    repo = t.repo()
    config, layer = config_and_layer(t, repo)
    bodies, codes = [], []

    def one():
        client = t.at(t.addr)
        for _ in range(5):
            body = oci.dump(oci.image_doc(config, [layer], seed=t.seed()))
            bodies.append(body)
            codes.append(client.put_manifest(repo, "race", body, oci.IMAGE).status)

    run_together(one, 4)
    t.eq(codes, [201] * 20, "status of racing writers")
    got = t.status(t.get(f"/v2/{repo}/manifests/race"), 200)
    t.true(got.body in bodies, "one of the pushed manifests", got.show())
    t.header(got, "Docker-Content-Digest", oci.digest(got.body))
    for body in bodies:
        t.body(t.get(f"/v2/{repo}/manifests/{oci.digest(body)}"), body)
