"""Deleting tags, manifests and blobs."""

import oci
from harness import case

REFUSE = {  # the option that switches one kind of deletion off
    "tag": "--refuse-tag-delete",
    "manifest": "--refuse-manifest-delete",
    "blob": "--refuse-blob-delete",
}


def deleted(t, path):
    resp = t.status(t.delete(path), 202)
    t.header(resp, "Content-Length", "0")
    t.eq(resp.body, b"", "body of a delete")


@case("R140", "R144")
def tag(t):
    repo = t.repo()
    digest, body = t.image(repo, "a")
    t.status(t.put_manifest(repo, "b", body, oci.IMAGE), 201)
    deleted(t, f"/v2/{repo}/manifests/a")
    t.error(t.get(f"/v2/{repo}/manifests/a"), 404, "MANIFEST_UNKNOWN")
    for ref in ("b", digest):
        t.body(t.get(f"/v2/{repo}/manifests/{ref}"), body)
    t.error(t.delete(f"/v2/{repo}/manifests/a"), 404, "MANIFEST_UNKNOWN")
    deleted(t, f"/v2/{repo}/manifests/b")
    t.body(t.get(f"/v2/{repo}/manifests/{digest}"), body)


@case("R141", "R144")
def manifest_with_its_tags(t):
    repo = t.repo()
    for alg in oci.ALGS:
        _, body = t.image(repo, alg=alg)
        digest = oci.digest(body, alg)
        t.status(t.put_manifest(repo, f"{digest}?tag=a&tag=b", body, oci.IMAGE), 201)
        _, other = t.image(repo, "keep")
        deleted(t, f"/v2/{repo}/manifests/{digest}")
        for ref in ("a", "b", digest):
            t.error(t.get(f"/v2/{repo}/manifests/{ref}"), 404, "MANIFEST_UNKNOWN")
        t.body(t.get(f"/v2/{repo}/manifests/keep"), other)
        t.error(t.delete(f"/v2/{repo}/manifests/{digest}"), 404, "MANIFEST_UNKNOWN")


@case("R141")
def manifest_an_index_refers_to(t):
    repo = t.repo()
    child, body = t.image(repo)
    index = oci.dump(oci.index_doc([oci.descriptor(body, oci.IMAGE)]))
    t.status(t.put_manifest(repo, "multi", index, oci.INDEX), 201)
    deleted(t, f"/v2/{repo}/manifests/{child}")
    t.status(t.get(f"/v2/{repo}/manifests/{child}"), 404)
    t.body(t.get(f"/v2/{repo}/manifests/multi"), index)
    t.status(t.put_manifest(repo, child, body, oci.IMAGE), 201)
    t.body(t.get(f"/v2/{repo}/manifests/{child}"), body)


@case("R142", "R144")
def blob(t):
    repo, other = t.repo(), t.repo("other")
    for alg in oci.ALGS:
        for data in (b"small", b"large " * 20000):
            data += t.seed().encode()
            digest = t.blob(repo, data, alg)
            t.blob(other, data, alg)
            deleted(t, f"/v2/{repo}/blobs/{digest}")
            t.error(t.get(f"/v2/{repo}/blobs/{digest}"), 404, "BLOB_UNKNOWN")
            t.status(t.head(f"/v2/{repo}/blobs/{digest}"), 404)
            t.body(t.get(f"/v2/{other}/blobs/{digest}"), data)
            t.error(t.delete(f"/v2/{repo}/blobs/{digest}"), 404, "BLOB_UNKNOWN")
            t.blob(repo, data, alg)
            t.body(t.get(f"/v2/{repo}/blobs/{digest}"), data)


@case("R142", "R145", "I13")
def blob_in_use(t):
    repo = t.repo()
    digest, body = t.image(repo, "v1")
    layer = oci.json.loads(body)["layers"][0]["digest"]
    data = t.get(f"/v2/{repo}/blobs/{layer}").body
    deleted(t, f"/v2/{repo}/blobs/{layer}")
    t.error(t.get(f"/v2/{repo}/blobs/{layer}"), 404, "BLOB_UNKNOWN")
    t.body(t.get(f"/v2/{repo}/manifests/{digest}"), body)
    t.blob(repo, data)
    t.body(t.get(f"/v2/{repo}/blobs/{layer}"), data)


@case("R74", "R140", "R141", "R142")
def delete_in_an_unknown_repository(t):
    repo = t.repo()
    for path, code in (("manifests/x", "MANIFEST_UNKNOWN"), (f"manifests/{oci.ZERO}", "MANIFEST_UNKNOWN"),
                       (f"blobs/{oci.ZERO}", "BLOB_UNKNOWN")):
        t.error(t.delete(f"/v2/{repo}/{path}"), 404, code, "NAME_UNKNOWN")


@case("R142")
def delete_of_another_repositorys_content(t):
    repo, other = t.repo(), t.repo("other")
    digest, body = t.image(repo, "v1")
    layer = oci.json.loads(body)["layers"][0]["digest"]
    t.image(other)
    t.error(t.delete(f"/v2/{other}/manifests/{digest}"), 404, "MANIFEST_UNKNOWN")
    t.error(t.delete(f"/v2/{other}/blobs/{layer}"), 404, "BLOB_UNKNOWN")
    t.status(t.head(f"/v2/{repo}/blobs/{layer}"), 200)


@case("R143", server="")
def deletion_switched_off(t):
    for off in REFUSE:
        client = t.at(t.serve(REFUSE[off]))
        repo = client.repo()
        digest, _ = client.image(repo, "v1")
        data = client.blob(repo, b"unused")
        paths = {"tag": "manifests/v1", "manifest": f"manifests/{digest}", "blob": f"blobs/{data}"}
        for kind, path in paths.items():
            resp = client.delete(f"/v2/{repo}/{path}")
            if kind == off:
                client.error(resp, 405, "UNSUPPORTED")
                client.status(client.head(f"/v2/{repo}/{path}"), 200)
            else:
                client.status(resp, 202)
