"""Naming another repository's content in a manifest makes nothing readable (I13)."""

import oci
from harness import case


def secret(t, kind="blob"):
    """(repository, descriptor, bytes) of content only that repository may read."""
    repo = t.repo("secret")
    if kind == "blob":
        data = b"secret " + t.seed().encode()
        t.blob(repo, data)
        return repo, oci.descriptor(data, oci.LAYER), data
    _, body = t.image(repo)
    return repo, oci.descriptor(body, oci.IMAGE), body


def closed(t, repo, digest):
    """The digest answers under no path of the repository, in no way."""
    for kind in ("blobs", "manifests"):
        url = f"/v2/{repo}/{kind}/{digest}"
        for method, headers in (("GET", {}), ("HEAD", {}), ("GET", {"Range": "bytes=0-0"}), ("DELETE", {}),
                                ("GET", {"If-None-Match": f'"{digest}"'})):
            t.status(t.req(method, url, headers), 404)
    mounted = t.req("POST", f"/v2/{t.repo()}/blobs/uploads/?mount={digest}&from={repo}")
    t.status(mounted, 202)


def own_config(t, repo):
    data = oci.dump({"seed": t.seed()})
    t.blob(repo, data)
    return oci.descriptor(data, oci.CONFIG)


@case("I13", "L11", "R89", "R32")
def foreign_layer(t):
    _, hidden, _ = secret(t)
    repo = t.repo()
    config = own_config(t, repo)
    for kind in (oci.FOREIGN, oci.NONDIST):
        doc = oci.image_doc(config, [{**hidden, "mediaType": kind}])
        t.status(t.put_manifest(repo, "v1", doc), 201)
        closed(t, repo, hidden["digest"])


@case("I13", "L11", "R89")
def layer_with_urls(t):
    _, hidden, _ = secret(t)
    repo = t.repo()
    doc = oci.image_doc(own_config(t, repo), [{**hidden, "urls": ["https://example.org/x"]}])
    t.status(t.put_manifest(repo, "v1", doc), 201)
    closed(t, repo, hidden["digest"])


@case("I13", "L11", "R91", server="index-sparse")
def sparse_child(t):
    _, hidden, _ = secret(t, "manifest")
    _, blob, _ = secret(t)
    repo = t.repo()
    t.status(t.put_manifest(repo, "v1", oci.index_doc([hidden, {**blob, "mediaType": oci.IMAGE}])), 201)
    closed(t, repo, hidden["digest"])
    closed(t, repo, blob["digest"])


@case("I13", "L11", "R91", server="none")
def config_and_layers_unchecked(t):
    _, hidden, _ = secret(t)
    _, manifest, _ = secret(t, "manifest")
    repo = t.repo()
    t.status(t.put_manifest(repo, "v1", oci.image_doc(hidden, [])), 201)
    t.status(t.put_manifest(repo, "v2", oci.image_doc(own_config(t, repo), [hidden, manifest])), 201)
    t.status(t.put_manifest(repo, "v3", oci.index_doc([manifest, hidden])), 201)
    closed(t, repo, hidden["digest"])
    closed(t, repo, manifest["digest"])


@case("I13", "L11", "R137")
def subject(t):
    _, hidden, _ = secret(t, "manifest")
    _, blob, _ = secret(t)
    repo = t.repo()
    config = own_config(t, repo)
    for target in (hidden, blob):
        t.status(t.put_manifest(repo, "v1", oci.image_doc(config, [], subject=target)), 201)
        t.status(t.put_manifest(repo, "v2", oci.index_doc([], subject=target)), 201)
        closed(t, repo, target["digest"])


@case("I13", "L11")
def strict_refusal_leaves_nothing(t):
    _, hidden, _ = secret(t)
    repo = t.repo()
    doc = oci.image_doc(own_config(t, repo), [hidden])
    t.error(t.put_manifest(repo, "v1", doc), 400, "MANIFEST_BLOB_UNKNOWN")
    closed(t, repo, hidden["digest"])


@case("I13", "R142")
def deleted_then_named_again(t):
    repo = t.repo()
    config = own_config(t, repo)
    data = b"mine " + t.seed().encode()
    layer = oci.descriptor(data, oci.LAYER)
    t.blob(repo, data)
    t.status(t.put_manifest(repo, "v1", oci.image_doc(config, [layer])), 201)
    t.status(t.delete(f"/v2/{repo}/blobs/{layer['digest']}"), 202)
    closed_here = f"/v2/{repo}/blobs/{layer['digest']}"
    t.status(t.get(closed_here), 404)
    again = oci.image_doc(config, [{**layer, "mediaType": oci.FOREIGN}])
    t.status(t.put_manifest(repo, "v2", again), 201)
    t.status(t.get(closed_here), 404)
    t.blob(repo, data)
    t.body(t.get(closed_here), data)


@case("I13", "R72")
def member_named_as_foreign_stays_readable(t):
    repo = t.repo()
    data = b"mine " + t.seed().encode()
    t.blob(repo, data)
    layer = oci.descriptor(data, oci.FOREIGN)
    t.status(t.put_manifest(repo, "v1", oci.image_doc(own_config(t, repo), [layer])), 201)
    t.body(t.get(f"/v2/{repo}/blobs/{layer['digest']}"), data)


@case("I13", "R53", "L4")
def failed_uploads_grant_nothing(t):
    _, hidden, data = secret(t)
    repo = t.repo()
    t.blob(repo, b"x")
    digest = hidden["digest"]
    wrong = t.req("POST", f"/v2/{repo}/blobs/uploads/?digest={digest}", body=data + b"!")
    t.error(wrong, 400, "DIGEST_INVALID")
    t.error(t.finish(t.start(repo), digest), 400, "DIGEST_INVALID")
    url = t.start(repo)
    t.status(t.req("PATCH", url, body=data), 202)
    t.status(t.delete(url), 204)
    closed(t, repo, digest)


@case("I13", "R9")
def neighbours_in_the_name_space(t):
    repo, hidden, _ = secret(t)
    top = repo.rsplit("/", 1)[0]
    for other in (top, repo + "/x", repo + "x", repo[:-1]):
        t.blob(other, b"x")
        t.status(t.get(f"/v2/{other}/blobs/{hidden['digest']}"), 404)
        t.status(t.get(f"/v2/{other}/manifests/{hidden['digest']}"), 404)
