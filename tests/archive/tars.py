"""Builders of the tar files that are imported."""

import gzip
import io
import itertools
import json
import tarfile

import oci

REF_NAME = "org.opencontainers.image.ref.name"
LAYOUT = b'{"imageLayoutVersion":"1.0.0"}'
_turn = itertools.count(1)


def blob_path(digest):
    return "blobs/" + digest.replace(":", "/")


def write(path, files, fmt=tarfile.PAX_FORMAT, mode="w"):
    """Write files in order: (name, bytes) or a TarInfo without content."""
    with tarfile.open(path, mode, format=fmt) as tar:
        for one in files:
            if isinstance(one, tarfile.TarInfo):
                tar.addfile(one)
                continue
            info = tarfile.TarInfo(one[0])
            info.size = len(one[1])
            tar.addfile(info, io.BytesIO(one[1]))
    return path


def link(name, to, kind=tarfile.SYMTYPE):
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, to
    return info


def folder(name):
    info = tarfile.TarInfo(name)
    info.type, info.mode = tarfile.DIRTYPE, 0o755
    return info


def layer(text):
    """A layer: a small tar of its own."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        data = text.encode()
        info = tarfile.TarInfo("file")
        info.size = len(data)
        tar.addfile(info, io.BytesIO(data))
    return out.getvalue()


class Image:
    """An image: config, layers and the manifest over them; `blobs` by digest."""

    def __init__(self, alg="sha256", layers=2, blank=b"", **fields):
        turn = next(_turn)
        self.alg = alg
        self.config = oci.dump({"architecture": "amd64", "os": "linux", "turn": turn})
        self.layers = [layer(f"layer {turn} {i}") for i in range(layers)]
        doc = oci.image_doc(
            oci.descriptor(self.config, oci.CONFIG, alg),
            [oci.descriptor(one, oci.LAYER, alg) for one in self.layers],
            **fields,
        )
        self.body = blank + oci.dump(doc)
        self.digest = oci.digest(self.body, alg)
        self.desc = oci.descriptor(self.body, oci.IMAGE, alg)
        self.blobs = {oci.digest(b, alg): b for b in (self.config, *self.layers, self.body)}


class Index:
    """An index over images (or indexes)."""

    def __init__(self, *children, alg="sha256"):
        self.children = children
        doc = oci.index_doc([one.desc for one in children], turn=next(_turn))
        self.body = oci.dump(doc)
        self.digest = oci.digest(self.body, alg)
        self.desc = oci.descriptor(self.body, oci.INDEX, alg)
        self.blobs = {self.digest: self.body}
        for one in children:
            self.blobs.update(one.blobs)


def artifact(subject=None, kind="application/x.test", **fields):
    """An artifact with the empty config and one file of text."""
    one = Image(layers=0)
    text = f"text {next(_turn)}".encode()
    doc = oci.image_doc(
        oci.descriptor(b"{}", oci.EMPTY),
        [oci.descriptor(text, "text/plain")],
        artifactType=kind,
        **fields,
    )
    if subject:
        doc["subject"] = subject
    one.body = oci.dump(doc)
    one.digest = oci.digest(one.body)
    one.desc = oci.descriptor(one.body, oci.IMAGE)
    one.blobs = {oci.digest(b): b for b in (b"{}", text, one.body)}
    return one


def named(desc, ref):
    return dict(desc, annotations={REF_NAME: ref})


def index_json(*entries):
    return oci.dump({"schemaVersion": 2, "mediaType": oci.INDEX, "manifests": list(entries)})


def layout(path, *images, entries=None, leave_out=(), order="index-last", **kw):
    """An OCI layout tar of these images; `entries` of index.json default to all of them."""
    blobs = {}
    for one in images:
        blobs.update(one.blobs)
    files = [(blob_path(d), b) for d, b in blobs.items() if d not in leave_out]
    head = [
        ("oci-layout", LAYOUT),
        ("index.json", index_json(*(entries or [one.desc for one in images]))),
    ]
    return write(path, head + files if order == "index-first" else files + head, **kw)


class Saved:
    """What `docker save` writes, of one image; layers are given as they lie."""

    def __init__(self, layers, tags=("app:1",)):
        turn = next(_turn)
        self.config = json.dumps({"architecture": "amd64", "turn": turn}).encode()
        self.config_name = oci.digest(self.config)[7:] + ".json"
        self.layers = layers
        self.names = [f"{turn:03}{i:061}/layer.tar" for i in range(len(layers))]
        self.tags = list(tags)

    def entry(self):
        return {"Config": self.config_name, "RepoTags": self.tags, "Layers": self.names}

    def files(self):
        out = [(self.config_name, self.config)]
        for name, data in zip(self.names, self.layers):
            home = name.split("/")[0]
            out += [folder(home), (home + "/VERSION", b"1.0"), (home + "/json", b"{}"), (name, data)]
        return out

    def expected(self, types):
        """The descriptors that the manifest must have."""
        return (
            oci.descriptor(self.config, oci.CONFIG),
            [oci.descriptor(d, oci.LAYER + t) for d, t in zip(self.layers, types)],
        )


def manifest_json(*saved):
    return ("manifest.json", json.dumps([one.entry() for one in saved]).encode())


def zstd_like(data):
    """Bytes that begin as a zstd frame does; layers are never unpacked."""
    return b"\x28\xb5\x2f\xfd" + data


def gz(data):
    return gzip.compress(data, mtime=0)
