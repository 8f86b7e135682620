"""The referrers API."""

import oci
from harness import case
from test_listing import NEXT


def listed(t, repo, digest, query=""):
    """Descriptors of the answer, after the checks that hold for every answer."""
    resp = t.status(t.get(f"/v2/{repo}/referrers/{digest}{query}"), 200)
    t.header(resp, "Content-Type", oci.INDEX)
    doc = resp.json()
    t.eq((doc["schemaVersion"], doc["mediaType"]), (2, oci.INDEX), "schemaVersion and mediaType")
    t.eq(doc["manifests"], sorted(doc["manifests"], key=lambda d: d["digest"]), "order by digest")
    return doc["manifests"]


def digests(t, repo, digest, query=""):
    return [d["digest"] for d in listed(t, repo, digest, query)]


@case("R130", "R131")
def none(t):
    repo = t.repo()
    for where in (t.repo("unknown"), repo):
        for digest in (oci.ZERO, "sha512:" + "0" * 128):
            t.eq(listed(t, where, digest), [], "referrers")
            t.status(t.head(f"/v2/{where}/referrers/{digest}"), 200)
        t.image(repo)
    for bad in ("sha256:x", "nonsense", "sha256:" + "A" * 64, ""):
        t.error(t.get(f"/v2/{repo}/referrers/{bad}"), (400, 404) if not bad else 400)


@case("R132", "R133", "R136")
def descriptors(t):
    repo = t.repo()
    subject, body = t.image(repo)
    target = oci.descriptor(body, oci.IMAGE)
    notes = {"org.example.é": "ü \" \\ \n", "empty": ""}
    wanted = {}

    def push(doc, kind, artifact_type, annotations):
        data = oci.dump({**doc, "seed": t.seed()})
        entry = {"mediaType": kind, "digest": oci.digest(data), "size": len(data)}
        if artifact_type:
            entry["artifactType"] = artifact_type
        if annotations is not None:
            entry["annotations"] = annotations
        wanted[entry["digest"]] = entry
        for ref in (entry["digest"], "tag-" + entry["digest"][7:20], entry["digest"]):
            t.status(t.put_manifest(repo, ref, data, kind), 201)

    empty = oci.descriptor(b"{}", oci.EMPTY)
    t.blob(repo, b"{}")
    own = oci.image_doc(empty, [], artifactType="a/b+c", subject=target, annotations=notes)
    push(own, oci.IMAGE, "a/b+c", notes)
    push(oci.image_doc(empty, [], subject=target), oci.IMAGE, oci.EMPTY, None)
    push(oci.image_doc(empty, [], artifactType="", subject=target), oci.IMAGE, oci.EMPTY, None)
    push(oci.index_doc([], subject=target), oci.INDEX, None, None)
    push(oci.index_doc([], subject=target, artifactType="i/j"), oci.INDEX, "i/j", None)
    docker = oci.image_doc(empty, [], oci.DOCKER, subject=target)
    push(docker, oci.DOCKER, oci.EMPTY, None)
    push(oci.image_doc(empty, [], subject=target, annotations={}), oci.IMAGE, oci.EMPTY, {})
    got = listed(t, repo, subject)
    for entry in got:
        want = wanted.pop(entry["digest"], None)
        if want and want.get("annotations") == {}:
            entry.setdefault("annotations", {})  # an empty object may be left out
        t.eq(entry, want, "descriptor of a referrer")
    t.eq(wanted, {}, "referrers not listed")


@case("R132")
def referrer_pushed_by_another_digest(t):
    repo = t.repo()
    subject, body = t.image(repo)
    art, data = t.artifact(repo, oci.descriptor(body, oci.IMAGE))
    d512 = oci.digest(data, "sha512")
    t.status(t.delete(f"/v2/{repo}/manifests/{art}"), 202)
    t.status(t.put_manifest(repo, d512, data, oci.IMAGE), 201)
    t.eq(digests(t, repo, subject), [d512], "referrers, as pushed")


@case("R134", "R12")
def filters(t):
    repo = t.repo()
    subject, body = t.image(repo)
    target = oci.descriptor(body, oci.IMAGE)
    one, two, three = (t.artifact(repo, target, k)[0] for k in ("a/1", "a/2", "a/b+json"))
    url = f"/v2/{repo}/referrers/{subject}"
    for query, wanted in (
        ("?artifactType=a/1", [one]), ("?artifactType=a%2F2", [two]), ("?artifactType=a/b+json", [three]),
        ("?artifactType=a/1&artifactType=a/2", sorted([one, two])), ("?artifactType=none", []),
        ("?artifactType=A/1", []), ("?artifactType=a/1&ns=x", [one]),
    ):
        t.eq(digests(t, repo, subject, query), wanted, f"referrers{query}")
        t.header(t.get(url + query), "OCI-Filters-Applied", "artifactType")
        t.header(t.head(url + query), "OCI-Filters-Applied", "artifactType")
    for query in ("", "?artifactType=", "?x=y"):
        t.eq(digests(t, repo, subject, query), sorted([one, two, three]), f"referrers{query}")
        t.no_header(t.get(url + query), "OCI-Filters-Applied")
    config = t.artifact(repo, target, None)[0]
    t.eq(digests(t, repo, subject, f"?artifactType={oci.EMPTY}"), [config], "by config type")


@case("R135", "R134")
def split_only_above_4_mib(t):
    repo = t.repo()
    subject, body = t.image(repo)
    target = oci.descriptor(body, oci.IMAGE)
    wanted = []
    for n in range(9):
        note = {"fill": str(n) * 700_000}
        wanted.append(t.artifact(repo, target, "big/one", annotations=note)[0])
        if n == 4:  # 3.5 MB: one answer
            resp = t.get(f"/v2/{repo}/referrers/{subject}")
            t.no_header(resp, "Link")
            t.eq(len(resp.json()["manifests"]), 5, "referrers in one answer")
    small = t.artifact(repo, target, "small/one")[0]
    for query, expected in (("", wanted + [small]), ("?artifactType=big/one", wanted)):
        url, got, pages = f"/v2/{repo}/referrers/{subject}{query}", [], 0
        while url:
            resp = t.status(t.get(url), 200)
            t.true(len(resp.body) <= 4 << 20, "at most 4 MiB", len(resp.body))
            if query:
                t.header(resp, "OCI-Filters-Applied", "artifactType")
            got += [d["digest"] for d in resp.json()["manifests"]]
            link = resp.h("Link")
            url = NEXT.fullmatch(t.header(resp, "Link", NEXT)).group(1) if link else None
            pages += 1
            t.true(pages < 10, "an end of the pages", url)
        t.true(pages > 1, "several pages", pages)
        t.eq(got, sorted(expected), f"all referrers{query} by Link")


@case("R137")
def visible_at_once_gone_at_once(t):
    repo = t.repo()
    config = t.seed().encode()
    t.blob(repo, config)
    late = oci.dump(oci.image_doc(oci.descriptor(config, oci.CONFIG), []))
    target = oci.descriptor(late, oci.IMAGE)
    one = t.artifact(repo, target)[0]
    t.eq(digests(t, repo, target["digest"]), [one], "before the subject exists")
    t.status(t.put_manifest(repo, "subject", late, oci.IMAGE), 201)
    t.eq(digests(t, repo, target["digest"]), [one], "after the subject was pushed")
    two = t.artifact(repo, target, ref="two")[0]
    t.eq(digests(t, repo, target["digest"]), sorted([one, two]), "with a second one")
    t.status(t.delete(f"/v2/{repo}/manifests/{target['digest']}"), 202)
    t.eq(digests(t, repo, target["digest"]), sorted([one, two]), "after the subject is gone")
    t.status(t.delete(f"/v2/{repo}/manifests/two"), 202)
    t.eq(digests(t, repo, target["digest"]), sorted([one, two]), "after a tag is gone")
    t.status(t.delete(f"/v2/{repo}/manifests/{one}"), 202)
    t.eq(digests(t, repo, target["digest"]), [two], "after the referrer is gone")


@case("R132", "I13")
def referrers_are_per_repository(t):
    repo, other = t.repo(), t.repo("other")
    subject, body = t.image(repo)
    t.artifact(other, oci.descriptor(body, oci.IMAGE))
    t.eq(digests(t, repo, subject), [], "referrers in another repository")


@case("R138")
def fallback_tag_beside_the_real_thing(t):
    repo = t.repo()
    subject, body = t.image(repo)
    art, data = t.artifact(repo, oci.descriptor(body, oci.IMAGE), "old/client")
    entry = oci.descriptor(data, oci.IMAGE, artifactType="old/client")
    fallback = oci.index_doc([entry])
    t.status(t.put_manifest(repo, subject.replace(":", "-"), fallback), 201)
    t.eq(digests(t, repo, subject), [art], "each referrer once")
