"""Builders of the documents a registry stores: digests, descriptors, manifests, layout tars."""

import hashlib
import io
import json
import tarfile

INDEX = "application/vnd.oci.image.index.v1+json"
IMAGE = "application/vnd.oci.image.manifest.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar"
EMPTY = "application/vnd.oci.empty.v1+json"
DOCKER = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_LIST = "application/vnd.docker.distribution.manifest.list.v2+json"
DOCKER_V1 = "application/vnd.docker.distribution.manifest.v1+prettyjws"
OCI_ARTIFACT = "application/vnd.oci.artifact.manifest.v1+json"
FOREIGN = "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip"
NONDIST = "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip"

ALGS = ("sha256", "sha512")
ZERO = "sha256:" + "0" * 64


def digest(data, alg="sha256"):
    return f"{alg}:{hashlib.new(alg, data).hexdigest()}"


def descriptor(data, media_type, alg="sha256", **fields):
    return {"mediaType": media_type, "digest": digest(data, alg), "size": len(data), **fields}


def dump(doc):
    return json.dumps(doc, indent=1).encode()


def image_doc(config, layers, media_type=IMAGE, **fields):
    """A manifest document from two kinds of finished descriptors."""
    return {
        "schemaVersion": 2,
        "mediaType": media_type,
        "config": config,
        "layers": list(layers),
        **fields,
    }


def index_doc(manifests, media_type=INDEX, **fields):
    return {
        "schemaVersion": 2,
        "mediaType": media_type,
        "manifests": list(manifests),
        **fields,
    }


def layout_tar(path, blobs, top, ref=None):
    """Write an OCI layout tar: `blobs` are byte strings, `top` the descriptor index.json names."""
    entry = dict(top)
    if ref:
        entry["annotations"] = {"org.opencontainers.image.ref.name": ref}
    files = {
        "oci-layout": b'{"imageLayoutVersion":"1.0.0"}',
        "index.json": dump({"schemaVersion": 2, "mediaType": INDEX, "manifests": [entry]}),
    }
    for blob in blobs:
        files["blobs/sha256/" + digest(blob)[7:]] = blob
    with tarfile.open(path, "w") as tar:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
