"""Bad tars and bad orders: one sentence, status 1 (2 for wrong usage), nothing tagged."""

import os

import oci
import tars
from bench import case, eq, true


def good(b, name="good.tar", **kw):
    return tars.layout(b.file(name), tars.Image(**kw))


@case
def wrong_digest(b):
    image = tars.Image()
    for victim in list(image.blobs):
        image.blobs[victim], right = image.blobs[victim] + b" ", image.blobs[victim]
        tar = tars.layout(b.file("a.tar"), image)
        b.refused(b.take(tar), says=victim.split(":")[1])
        image.blobs[victim] = right
    b.no_tag()


@case
def wrong_digest_sha512(b):
    image = tars.Image(alg="sha512")
    image.blobs[image.digest] += b"\n"
    b.refused(b.take(tars.layout(b.file("a.tar"), image)), says="digest")
    b.no_tag()


@case
def wrong_bytes_are_not_kept(b):
    """Neither under the wrong name nor under their own."""
    image = tars.Image()
    layer = oci.digest(image.layers[0])
    image.blobs[layer] = b"other bytes"
    b.refused(b.take(tars.layout(b.file("a.tar"), image)))
    reg = b.serve()
    for d in (layer, oci.digest(b"other bytes")):
        eq(reg.get(f"/v2/app/blobs/{d}").status, 404, f"status of {d}")


@case
def truncated(b):
    """Cut anywhere in headers or content."""
    whole = good(b).read_bytes()
    for cut in (1, 100, 511, 513, 700, 1025, len(whole) // 2, 5200):
        b.file("a.tar").write_bytes(whole[:cut])
        b.refused(b.take(b.file("a.tar")))
    b.no_tag()


@case
def truncated_gzip(b):
    whole = tars.layout(b.file("g.tar.gz"), tars.Image(), mode="w:gz").read_bytes()
    for cut in (5, len(whole) // 2, len(whole) - 400):
        b.file("a.tar").write_bytes(whole[:cut])
        b.refused(b.take(b.file("a.tar")))
    b.no_tag()


@case
def not_a_tar(b):
    for data in (b"", b"x", b"hello\n" * 1000, os.urandom(20000), b"\0" * 10240, b"\x1f\x8b", b"{}"):
        b.file("a.tar").write_bytes(data)
        b.refused(b.take(b.file("a.tar")))
    b.no_tag()


@case
def no_such_file(b):
    b.refused(b.take(b.file("absent.tar")), says="absent.tar")
    b.refused(b.take(b.scratch))
    b.no_tag()


@case
def missing_layer(b):
    image = tars.Image()
    layer = oci.digest(image.layers[1])
    b.refused(b.take(tars.layout(b.file("a.tar"), image, leave_out=[layer])), says=layer)
    b.no_tag()


@case
def missing_config(b):
    image = tars.Image()
    config = oci.digest(image.config)
    b.refused(b.take(tars.layout(b.file("a.tar"), image, leave_out=[config])), says=config)
    b.no_tag()


@case
def missing_manifest(b):
    image = tars.Image()
    b.refused(b.take(tars.layout(b.file("a.tar"), image, leave_out=[image.digest])), says="index.json")
    b.no_tag()


@case
def missing_child(b):
    one, two = tars.Image(), tars.Image()
    top = tars.Index(one, two)
    tar = tars.layout(b.file("a.tar"), top, leave_out=[two.digest])
    b.refused(b.take(tar), says=two.digest)
    true(not b.serve().tags("app"), "no tag")


@case
def blob_of_another_repository(b):
    """Membership is per repository: elsewhere does not count."""
    image = tars.Image()
    b.taken(tars.layout(b.file("a.tar"), image), "other:1")
    layer = oci.digest(image.layers[0])
    b.refused(b.take(tars.layout(b.file("b.tar"), image, leave_out=[layer])), says=layer)
    true(not b.serve().tags("app"), "no tag")


@case
def neither_kind(b):
    image = tars.Image()
    files = [("oci-layout", tars.LAYOUT)] + [(tars.blob_path(d), x) for d, x in image.blobs.items()]
    b.refused(b.take(tars.write(b.file("a.tar"), files)), says="index.json")
    b.refused(b.take(tars.write(b.file("a.tar"), [])))
    b.refused(b.take(tars.write(b.file("a.tar"), [("some/file", b"x")])), says="index.json")
    b.no_tag()


@case
def index_json_of_wrong_shape(b):
    image = tars.Image()
    blobs = [(tars.blob_path(d), x) for d, x in image.blobs.items()]
    shapes = (b"", b"x", b"{}", b"[]", b"{", b'{"manifests":1}', b'{"manifests":[]}',
              b'{"manifests":{"a":1}}', b'{"manifests":[1]}', b'{"manifests":[{}]}',
              b'{"manifests":[{"digest":"sha256:0"}]}', b'{"manifests":[{"digest":7}]}',
              b'{"manifests":[],"manifests":[]}', b'{"manifests":["\xff"]}', b"[" * 500)
    for text in shapes:
        tar = tars.write(b.file("a.tar"), blobs + [("index.json", text)])
        b.refused(b.take(tar))
    b.no_tag()


@case
def index_json_too_large(b):
    image = tars.Image()
    blobs = [(tars.blob_path(d), x) for d, x in image.blobs.items()]
    text = tars.index_json(image.desc) + b" " * (5 << 20)
    b.refused(b.take(tars.write(b.file("a.tar"), blobs + [("index.json", text)])))
    b.no_tag()


@case
def several_and_none_is_named(b):
    one, two = tars.Image(), tars.Image()
    b.refused(b.take(tars.layout(b.file("a.tar"), one, two)), says="2 manifests")
    b.no_tag()


@case
def manifest_is_malformed(b):
    image = tars.Image()
    for body in (b'{"schemaVersion":1}', b"{", b'{"schemaVersion":2,"manifests":[],"layers":[]}',
                 b"text", b""):
        image.blobs.pop(image.digest)
        image.body, image.digest = body, oci.digest(body)
        image.desc = oci.descriptor(body, oci.IMAGE)
        image.blobs[image.digest] = body
        b.refused(b.take(tars.layout(b.file("a.tar"), image)))
    b.no_tag()


@case
def type_that_is_no_manifest(b):
    image = tars.Image()
    entry = dict(image.desc, mediaType="application/vnd.docker.distribution.manifest.v1+json")
    b.refused(b.take(tars.layout(b.file("a.tar"), image, entries=[entry])))
    b.no_tag()


@case
def names_that_lead_out(b):
    image = tars.Image()
    rest = [(tars.blob_path(d), x) for d, x in image.blobs.items()]
    rest += [("index.json", tars.index_json(image.desc))]
    for name in ("/etc/passwd", "../x", "a/../../x", "a/..", "..", "./../x", "//x"):
        out = b.scratch.parent / "x"
        before = out.exists()
        tar = tars.write(b.file("a.tar"), [(name, b"x")] + rest)
        b.refused(b.take(tar), says="leads out")
        eq(out.exists(), before, "the file outside exists")
    tar = tars.write(b.file("a.tar"), [tars.link("..", "/etc")] + rest)
    b.refused(b.take(tar), says="leads out")
    b.no_tag()


@case
def dots_that_are_names(b):
    image = tars.Image()
    rest = [(tars.blob_path(d), x) for d, x in image.blobs.items()]
    rest += [("index.json", tars.index_json(image.desc))]
    b.taken(tars.write(b.file("a.tar"), [("..x/a..", b"x"), (".../y", b"y")] + rest))


@case
def name_too_long(b):
    image = tars.Image()
    rest = [(tars.blob_path(d), x) for d, x in image.blobs.items()]
    rest += [("index.json", tars.index_json(image.desc))]
    b.taken(tars.write(b.file("a.tar"), [("x/" * 511 + "xx", b"x")] + rest), "app:fits")
    tar = tars.write(b.file("a.tar"), [("x" * 1025, b"x")] + rest)
    b.refused(b.take(tar, "long:1"), says="too long")
    tar = tars.write(b.file("a.tar"), [("x/" * 20000, b"x")] + rest)
    b.refused(b.take(tar, "long:1"), says="too long")
    eq(b.serve().tags("long"), None, "tags")


def header_with_size(name, size):
    """A tar header that promises a size, in base-256 beyond what octal digits hold."""
    info = tars.tarfile.TarInfo(name)
    info.size = size
    return info.tobuf(tars.tarfile.GNU_FORMAT)


@case
def gigantic_entries(b):
    """A promise of exabytes, with a few bytes behind it: no memory, no disk, no tag."""
    layer = "blobs/sha256/" + "0" * 64
    for size in (1 << 33, 1 << 42, (1 << 62), (1 << 63) - 1):
        for name in (layer, "index.json", "manifest.json"):
            for content in (b"x" * 2000, b'{"a":1}' + b" " * 2000):
                b.file("a.tar").write_bytes(header_with_size(name, size) + content)
                b.refused(b.take(b.file("a.tar")))
    used = sum(p.stat().st_size for p in b.root.rglob("*") if p.is_file())
    true(used < 1 << 20, "a small root", used)
    b.no_tag()


@case
def too_many_documents(b):
    """JSON that is held until the end is bounded together."""
    text = b"{" + b" " * ((4 << 20) - 2) + b"}"
    files = ((f"doc{i}", text) for i in range(66))
    tar = tars.write(b.file("a.tar.gz"), files, mode="w:gz")
    b.refused(b.take(tar), says="JSON")
    b.no_tag()


@case
def too_many_entries(b):
    files = ((tars.folder(f"{i}")) for i in range(100001))
    b.refused(b.take(tars.write(b.file("a.tar"), files)), says="entries")
    b.no_tag()


@case
def usage(b):
    tar = good(b)
    for args in (
        ("import",),
        ("import", tar),
        ("import", tar, "app"),
        ("import", tar, "app:"),
        ("import", tar, ":1"),
        ("import", tar, "App:1"),
        ("import", tar, "app:-1"),
        ("import", tar, "app:1", "more"),
        ("import", tar, "app@sha256:" + "0" * 64),
        ("import", "--nosuch", tar, "app:1"),
        ("import", tar, "app:1", "--references", "loose"),
        ("export",),
        ("export", "app:1"),
        ("export", "app", "x.tar"),
        ("export", "app:1", "x.tar", "y.tar"),
        ("export", "app:1", "x.tar", "--root"),
    ):
        b.refused(b.run(*args, *(() if "--root" in args else ("--root", b.root))), status=2)
    true(not b.root.exists(), "no root directory")


@case
def reserved_name(b):
    b.refused(b.take(good(b), "at-20261122t075000z/app:1"), says="read-only")
    true(not b.root.exists(), "no root directory")


@case
def unwritable_root(b):
    b.file("plain").write_bytes(b"")
    b.refused(b.take(good(b), root=b.file("plain")))
    b.refused(b.take(good(b), root=b.file("plain") / "below"))
