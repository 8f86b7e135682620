"""Images made from local bytes: OCI layouts that clients push, and the check that a
pulled layout is whole. Nothing comes from a network.

Every layer holds a file that names the run, so that a registry which already runs does
not hold the blobs of an earlier run.
"""

import gzip
import hashlib
import io
import json
import os
import tarfile

OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
OCI_INDEX = "application/vnd.oci.image.index.v1+json"
OCI_CONFIG = "application/vnd.oci.image.config.v1+json"
OCI_LAYER = "application/vnd.oci.image.layer.v1.tar"
OCI_EMPTY = "application/vnd.oci.empty.v1+json"
REF_NAME = "org.opencontainers.image.ref.name"
CREATED = "2020-01-01T00:00:00Z"
ACCEPT_ANYTHING = '{"default":[{"type":"insecureAcceptAnything"}]}'
BIG_BYTES = 24 << 20
TALL_LAYERS = 120
PLATFORMS = (("amd64", None), ("arm64", "v8"), ("arm", "v7"))


def noise(seed, size):
    """Bytes that do not compress, the same for the same seed."""
    return hashlib.shake_128(seed.encode()).digest(size)


def tar_of(files):
    """An uncompressed tar of {name: bytes}, the same for the same input."""
    sink = io.BytesIO()
    with tarfile.open(fileobj=sink, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            entry.mode = 0o644
            archive.addfile(entry, io.BytesIO(content))
    return sink.getvalue()


class Sample:
    """One OCI layout with one tag, "it".

    blobs      digest -> path, of everything
    manifests  digest -> media type, children before parents, the tagged one last
    """

    def __init__(self, folder):
        self.folder = folder
        self.blobs = {}
        self.manifests = {}
        os.makedirs(os.path.join(folder, "blobs", "sha256"))
        with open(os.path.join(folder, "oci-layout"), "w", encoding="ascii") as sink:
            sink.write('{"imageLayoutVersion":"1.0.0"}')

    @property
    def digest(self):
        return list(self.manifests)[-1]

    @property
    def ref(self):
        return f"{self.folder}:it"

    def bytes_of(self, digest):
        with open(self.blobs[digest], "rb") as blob:
            return blob.read()

    def manifest(self, digest=None):
        return json.loads(self.bytes_of(digest or self.digest))

    def add(self, data, media_type, **extra):
        """Stores bytes; returns their descriptor."""
        encoded = hashlib.sha256(data).hexdigest()
        path = os.path.join(self.folder, "blobs", "sha256", encoded)
        with open(path, "wb") as sink:
            sink.write(data)
        digest = f"sha256:{encoded}"
        self.blobs[digest] = path
        return {"mediaType": media_type, "digest": digest, "size": len(data), **extra}

    def add_manifest(self, content, **extra):
        data = json.dumps({"schemaVersion": 2, **content}, indent=1).encode()
        descriptor = self.add(data, content["mediaType"], **extra)
        self.manifests[descriptor["digest"]] = content["mediaType"]
        return descriptor

    def add_layer(self, layer, gzipped):
        if gzipped:
            return self.add(gzip.compress(layer, 1, mtime=0), OCI_LAYER + "+gzip")
        return self.add(layer, OCI_LAYER)

    def add_image(self, architecture, variant, layers, gzipped=True):
        """An image whose layers are given as plain tars."""
        config = {"architecture": architecture, "os": "linux", "created": CREATED}
        platform = {"architecture": architecture, "os": "linux"}
        if variant:
            config["variant"] = platform["variant"] = variant
        config["config"] = {"Cmd": ["/hello"], "Env": ["PATH=/"]}
        config["rootfs"] = {
            "type": "layers",
            "diff_ids": ["sha256:" + hashlib.sha256(layer).hexdigest() for layer in layers],
        }
        config["history"] = [{"created": CREATED, "created_by": "samples"} for _ in layers]
        manifest = {
            "mediaType": OCI_MANIFEST,
            "config": self.add(json.dumps(config).encode(), OCI_CONFIG),
            "layers": [self.add_layer(layer, gzipped) for layer in layers],
        }
        return self.add_manifest(manifest, platform=platform)

    def finish(self, descriptor):
        entry = {k: v for k, v in descriptor.items() if k != "platform"}
        entry["annotations"] = {REF_NAME: "it"}
        index = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [entry]}
        with open(os.path.join(self.folder, "index.json"), "w", encoding="ascii") as sink:
            json.dump(index, sink)
        return self

    def tar(self, path):
        """The layout as one tar; returns its path."""
        with tarfile.open(path, "w", format=tarfile.USTAR_FORMAT) as archive:
            for name in ("oci-layout", "index.json", "blobs"):
                archive.add(os.path.join(self.folder, name), name)
        return path


class Samples:
    """The set every client works with; each is built when first asked for."""

    def __init__(self, folder, run_id):
        self.folder = folder
        self.run_id = run_id
        self.built = {}

    def get(self, name):
        if name not in self.built:
            build = getattr(self, f"build_{name}")
            self.built[name] = build(Sample(os.path.join(self.folder, name)))
        return self.built[name]

    def layer(self, name, size=2000):
        content = {f"{name}.txt": f"{name} of run {self.run_id}\n".encode()}
        content[f"{name}.bin"] = noise(f"{self.run_id} {name}", size)
        return tar_of(content)

    def build_image(self, sample):
        """One platform, two layers of which one takes a few TCP segments."""
        layers = [self.layer("base", 300_000), self.layer("top")]
        return sample.finish(sample.add_image("amd64", None, layers))

    def build_big(self, sample):
        layers = [self.layer("huge", BIG_BYTES)]
        return sample.finish(sample.add_image("amd64", None, layers))

    def build_tall(self, sample):
        """As many layers as clients bear: docker takes 127."""
        layers = [self.layer(f"floor{number}") for number in range(TALL_LAYERS)]
        return sample.finish(sample.add_image("amd64", None, layers))

    def build_other(self, sample):
        """Shares nothing with "image"."""
        layers = [self.layer("other", 70_000), self.layer("another")]
        return sample.finish(sample.add_image("amd64", None, layers))

    def build_plain(self, sample):
        """Uncompressed layers that no other sample holds."""
        layers = [self.layer("plain", 100_000), self.layer("plainer")]
        return sample.finish(sample.add_image("amd64", None, layers, gzipped=False))

    def build_multi(self, sample):
        """Three platforms that share one layer."""
        shared = self.layer("shared", 50_000)
        entries = [
            sample.add_image(architecture, variant, [shared, self.layer(architecture)])
            for architecture, variant in PLATFORMS
        ]
        index = {"mediaType": OCI_INDEX, "manifests": entries, "annotations": {"run": self.run_id}}
        return sample.finish(sample.add_manifest(index))

    def build_artifact(self, sample):
        """No image at all: an empty config and one file of its own type."""
        data = self.layer("artifact")
        manifest = {
            "mediaType": OCI_MANIFEST,
            "artifactType": "application/vnd.example.thing",
            "config": sample.add(b"{}", OCI_EMPTY),
            "layers": [sample.add(data, "application/vnd.example.data")],
            "annotations": {"org.example.run": self.run_id},
        }
        return sample.finish(sample.add_manifest(manifest))

    def rootfs_tar(self, name):
        """Path of a plain tar for programs that import a file system."""
        os.makedirs(self.folder, exist_ok=True)
        path = os.path.join(self.folder, f"{name}.tar")
        if not os.path.exists(path):
            with open(path, "wb") as sink:
                sink.write(self.layer(name, 100_000))
        return path


def verify_layout(folder):
    """Checks every blob of a pulled layout that its root reaches.

    The root is the only entry, or the one tagged "it" among several. Returns the root's
    digest and the set of all digests reached.
    """
    with open(os.path.join(folder, "index.json"), "rb") as source:
        entries = json.load(source)["manifests"]
    if len(entries) > 1:
        entries = [e for e in entries if (e.get("annotations") or {}).get(REF_NAME) == "it"]
    if len(entries) != 1:
        raise ValueError(f"no single root in {folder}/index.json")
    reached = set()
    waiting = [(entries[0]["digest"], True)]
    while waiting:
        digest, is_manifest = waiting.pop()
        if digest in reached:
            continue
        reached.add(digest)
        algorithm, _, encoded = digest.partition(":")
        with open(os.path.join(folder, "blobs", algorithm, encoded), "rb") as blob:
            data = blob.read()
        if hashlib.new(algorithm, data).hexdigest() != encoded:
            raise ValueError(f"{digest} was pulled with other bytes")
        if not is_manifest:
            continue
        content = json.loads(data)
        waiting += [(entry["digest"], True) for entry in content.get("manifests", [])]
        if "config" in content:
            waiting.append((content["config"]["digest"], False))
            waiting += [(layer["digest"], False) for layer in content.get("layers") or []]
    return entries[0]["digest"], reached
