"""Exports: the same bytes each time, digests unchanged, readable by others and by ourselves."""

import hashlib
import json
import os
import pathlib
import tarfile

import oci
import tars
from bench import case, eq, true


def read_tar(path):
    with tarfile.open(path) as tar:
        return {one.name: tar.extractfile(one).read() for one in tar.getmembers()}


def check_layout(path, image, tag="1"):
    """The tar is an OCI layout of exactly this image."""
    with tarfile.open(path) as tar:
        members = tar.getmembers()
    names = [one.name for one in members]
    files = read_tar(path)
    eq(len(names), len(set(names)), "names occur once")
    eq(files["oci-layout"], tars.LAYOUT, "oci-layout")
    index = json.loads(files["index.json"])
    eq(index["schemaVersion"], 2, "schemaVersion")
    wanted = dict(image.desc, annotations={tars.REF_NAME: tag})
    eq(index["manifests"], [wanted], "index.json")
    blobs = {n: x for n, x in files.items() if n.startswith("blobs/")}
    eq(blobs, {tars.blob_path(d): x for d, x in image.blobs.items()}, "blobs")
    for one in members:
        eq((one.mtime, one.uid, one.gid, one.uname, one.gname, one.mode & 0o777, one.isfile()),
           (0, 0, 0, "", "", 0o644, True), f"{one.name}: metadata")


def push_and_give(b, image, tag="1"):
    b.taken(tars.layout(b.file("in.tar"), image), f"app:{tag}")
    out = b.file("out.tar")
    eq(b.ok(b.give(out, f"app:{tag}")), image.digest, "digest")
    return out


@case
def single_image(b):
    image = tars.Image()
    check_layout(push_and_give(b, image), image)


@case
def sha512(b):
    """Names of more than 100 bytes."""
    image = tars.Image(alg="sha512")
    check_layout(push_and_give(b, image), image)


@case
def multi_arch(b):
    one, two = tars.Image(), tars.Image(alg="sha512")
    top = tars.Index(tars.Index(one), two, one)
    check_layout(push_and_give(b, top, "v1"), top, "v1")


@case
def artifact(b):
    one = tars.artifact(annotations={"k": "v"})
    check_layout(push_and_give(b, one), one)


@case
def large_and_empty_layers(b):
    image = tars.Image(layers=0)
    image.layers = [bytes(range(256)) * 5000, b"", b"x" * 65536, b"y" * 65537]
    doc = oci.image_doc(oci.descriptor(image.config, oci.CONFIG),
                        [oci.descriptor(x, oci.LAYER) for x in image.layers])
    image.body = oci.dump(doc)
    image.digest, image.desc = oci.digest(image.body), oci.descriptor(image.body, oci.IMAGE)
    image.blobs = {oci.digest(x): x for x in (image.config, image.body, *image.layers)}
    check_layout(push_and_give(b, image), image)


@case
def foreign_layers_stay_away(b):
    image = tars.Image()
    far = oci.descriptor(b"elsewhere", oci.FOREIGN, urls=["https://example.com/layer"])
    doc = oci.image_doc(oci.descriptor(image.config, oci.CONFIG),
                        [oci.descriptor(image.layers[0], oci.LAYER), far])
    image.body = oci.dump(doc)
    image.digest, image.desc = oci.digest(image.body), oci.descriptor(image.body, oci.IMAGE)
    image.blobs = {oci.digest(x): x for x in (image.config, image.body, image.layers[0])}
    check_layout(push_and_give(b, image), image)


@case
def equal_bytes(b):
    """Twice, and from a root that came about in another way."""
    top = tars.Index(tars.Image(), tars.Image(alg="sha512"))
    first = push_and_give(b, top)
    b.ok(b.give(b.file("second.tar")))
    eq(hashlib.sha256(b.file("second.tar").read_bytes()).hexdigest(),
       hashlib.sha256(first.read_bytes()).hexdigest(), "sha256 of the second export")
    root = b.file("root2")
    b.taken(tars.layout(b.file("other.tar"), tars.Image()), root=root)
    b.taken(tars.layout(b.file("in2.tar"), top, order="index-first"), root=root)
    b.ok(b.give(b.file("third.tar"), root=root))
    true(b.file("third.tar").read_bytes() == first.read_bytes(), "equal bytes of another root")


@case
def round_trip(b):
    """import -> serve -> pull by HTTP -> export -> import elsewhere -> export: nothing changes."""
    top = tars.Index(tars.Image(), tars.Index(tars.Image(alg="sha512")))
    out = push_and_give(b, top)
    reg, there = b.serve(), b.file("root2")
    eq(b.taken(out, root=there), top.digest, "digest")
    other = b.serve(there)
    eq(other.tags("app"), ["1"], "tags")
    eq(other.pull("app", "1"), reg.pull("app", "1"), "the tag in both registries")
    for one in (top.children[0], *top.children[1].children):
        eq(other.pull("app", one.digest), reg.pull("app", one.digest), "child")
        for d, data in one.blobs.items():
            if d != one.digest:
                eq((reg.blob("app", d), other.blob("app", d)), (data, data), "blob")
    b.ok(b.give(b.file("again.tar"), root=there))
    true(b.file("again.tar").read_bytes() == out.read_bytes(), "equal bytes")


@case
def round_trip_of_docker_archive(b):
    image = tars.Saved([tars.layer("a"), tars.gz(tars.layer("b"))])
    tar = tars.write(b.file("in.tar"), image.files() + [tars.manifest_json(image)])
    digest = b.taken(tar)
    eq(b.ok(b.give(b.file("out.tar"))), digest, "digest")
    eq(b.taken(b.file("out.tar"), "copy:9"), digest, "digest of the copy")


@case
def manifest_with_blanks_before_it(b):
    image = tars.Image(blank=b"\n  ")
    out = push_and_give(b, image)
    eq(b.taken(out, root=b.file("root2")), image.digest, "digest")


@case
def to_standard_output(b):
    image = tars.Image()
    out = push_and_give(b, image)
    proc = b.run("export", "--root", b.root, "app:1", "-")
    eq((proc.returncode, proc.stderr.decode()), (0, image.digest + "\n"), "status and stderr")
    true(proc.stdout == out.read_bytes(), "equal bytes")


@case
def unknown_tag(b):
    b.taken(tars.layout(b.file("in.tar"), tars.Image()))
    for target in ("app:2", "other:1", "app/sub:1"):
        b.refused(b.give(b.file("out.tar"), target), says=target.split(":")[0])
    true(not b.file("out.tar").exists(), "no file")


@case
def cannot_write(b):
    b.taken(tars.layout(b.file("in.tar"), tars.Image()))
    b.refused(b.give(b.file("absent") / "out.tar"))
    b.refused(b.give(b.scratch))
    if pathlib.Path("/dev/full").exists():
        b.refused(b.give("/dev/full"))


@case
def damaged_blob(b):
    """Bytes that changed on disk are not passed on in silence."""
    image = tars.Image()
    b.taken(tars.layout(b.file("in.tar"), image))
    victim = oci.digest(image.layers[0])[7:]
    path = next(b.root.rglob(victim + ".0"))
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    os.chmod(path, 0o600)
    path.write_bytes(data)
    b.refused(b.give(b.file("out.tar")), says=victim)


@case
def missing_blob(b):
    """Never left out in silence."""
    image = tars.Image()
    b.taken(tars.layout(b.file("in.tar"), image))
    victim = oci.digest(image.layers[0])
    next(b.root.rglob(victim[7:] + ".0")).unlink()
    b.refused(b.give(b.file("out.tar")), says=victim)


@case
def missing_by_policy(b):
    """What --references let in, it lets out."""
    one, two = tars.Image(), tars.Image()
    top = tars.Index(one, two)
    tar = tars.layout(b.file("a.tar"), top, leave_out=list(two.blobs))
    b.taken(tar, args=("--references", "index-sparse"))
    b.refused(b.give(b.file("out.tar")), says=two.digest)
    proc = b.run("export", "--root", b.root, "--references", "index-sparse", "app:1", b.file("o.tar"))
    eq(b.ok(proc), top.digest, "digest")
    for d in two.blobs:
        del top.blobs[d]
    check_layout(b.file("o.tar"), top)
    layer = oci.digest(one.layers[0])
    tar = tars.layout(b.file("b.tar"), one, leave_out=[layer])
    b.taken(tar, "bare:1", args=("--references", "none"))
    for policy in ("strict", "index-sparse"):
        proc = b.run("export", "--root", b.root, "--references", policy, "bare:1", b.file("p.tar"))
        b.refused(proc, says=layer)
    proc = b.run("export", "--root", b.root, "--references", "none", "bare:1", b.file("p.tar"))
    eq(b.ok(proc), one.digest, "digest")
