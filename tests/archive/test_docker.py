"""docker-archive tars (docker save): the manifest is built, layers stay as they lie."""

import json

import oci
import tars
from bench import case, eq


def save(path, *images, extra=(), tail=True):
    """Images with manifest.json at the end, as docker writes it, or at the begin."""
    files = [one for image in images for one in image.files()]
    head = [tars.manifest_json(*images), ("repositories", b'{"app":{"1":"x"}}')]
    return tars.write(path, list(extra) + files + head if tail else head + list(extra) + files)


def check(b, tar, image, types, target="app:1"):
    digest = b.taken(tar, target)
    reg = b.serve()
    kind, got, body = reg.pull("app", target.split(":")[1])
    doc = json.loads(body)
    config, layers = image.expected(types)
    eq((kind, got, oci.digest(body)), (oci.IMAGE, digest, digest), "type and digest")
    eq(doc, oci.image_doc(config, layers), "manifest")
    eq(reg.blob("app", config["digest"]), image.config, "config")
    for desc, data in zip(layers, image.layers):
        eq(reg.blob("app", desc["digest"]), data, "layer")
    return digest


@case
def plain_layers(b):
    image = tars.Saved([tars.layer("a"), tars.layer("b")])
    check(b, save(b.file("a.tar"), image), image, ["", ""])


@case
def manifest_first(b):
    image = tars.Saved([tars.layer("a")])
    check(b, save(b.file("a.tar"), image, tail=False), image, [""])


@case
def compressed_layers(b):
    """The media type follows the bytes; nothing is unpacked or packed anew."""
    image = tars.Saved([tars.gz(tars.layer("a")), tars.zstd_like(b"no frame"), tars.layer("c")])
    check(b, save(b.file("a.tar"), image), image, ["+gzip", "+zstd", ""])


@case
def tiny_layers(b):
    """Too short for any magic number."""
    image = tars.Saved([b"", b"x", b"\x1f\x8b", b"\x28\xb5\x2f"])
    check(b, save(b.file("a.tar"), image), image, ["", "", "", ""])


@case
def layer_that_looks_like_json(b):
    image = tars.Saved([b'{"a":1}', b"[", b" \n text"])
    check(b, save(b.file("a.tar"), image), image, ["", "", ""])


@case
def no_layers(b):
    image = tars.Saved([])
    check(b, save(b.file("a.tar"), image), image, [])


@case
def null_layers(b):
    """As Go writes an empty list."""
    image = tars.Saved([])
    text = json.dumps([dict(image.entry(), Layers=None)]).encode()
    tar = tars.write(b.file("a.tar"), image.files() + [("manifest.json", text)])
    check(b, tar, image, [])


@case
def same_layer_twice(b):
    image = tars.Saved([tars.layer("a"), tars.layer("a")])
    check(b, save(b.file("a.tar"), image), image, ["", ""])


def linked(image, to, kind=None):
    """The second layer is a link to the first."""
    files = [f for f in image.files() if not isinstance(f, tuple) or f[0] != image.names[1]]
    one = tars.link(image.names[1], to, kind) if kind else tars.link(image.names[1], to)
    return files[:4] + [one] + files[4:] + [tars.manifest_json(image)]


@case
def symlinked_layer(b):
    """Old docker save: <id>/layer.tar -> ../<other id>/layer.tar"""
    image = tars.Saved([tars.layer("a"), tars.layer("a")])
    tar = tars.write(b.file("a.tar"), linked(image, "../" + image.names[0]))
    check(b, tar, image, ["", ""])


@case
def hard_linked_layer(b):
    image = tars.Saved([tars.layer("a"), tars.layer("a")])
    tar = tars.write(b.file("a.tar"), linked(image, image.names[0], tars.tarfile.LNKTYPE))
    check(b, tar, image, ["", ""])


@case
def link_to_nothing(b):
    image = tars.Saved([tars.layer("a"), tars.layer("a")])
    for to in ("../other/layer.tar", "../../../etc/passwd", "/etc/passwd", image.names[0]):
        tar = tars.write(b.file("a.tar"), linked(image, to))
        b.refused(b.take(tar), says=image.names[1])
    b.no_tag()


@case
def link_to_itself(b):
    image = tars.Saved([tars.layer("a"), tars.layer("a")])
    tar = tars.write(b.file("a.tar"), linked(image, "layer.tar"))
    b.refused(b.take(tar), says=image.names[1])
    b.no_tag()


@case
def link_too_long(b):
    """Never an empty layer in its place."""
    image = tars.Saved([tars.layer("a"), tars.layer("a")])
    tar = tars.write(b.file("a.tar"), linked(image, "x/" * 3000))
    b.refused(b.take(tar), says="link")
    b.no_tag()


@case
def chosen_by_tag(b):
    one = tars.Saved([tars.layer("one")], ["host:5000/team/app:1", "app:latest"])
    two = tars.Saved([tars.layer("two")], ["team/app:2"])
    tar = save(b.file("a.tar"), one, two)
    check(b, tar, one, [""], "app:1")
    check(b, tar, two, [""], "app:2")
    check(b, tar, one, [""], "app:latest")


@case
def two_images_without_the_tag(b):
    one, two = tars.Saved([tars.layer("one")], ["app:11"]), tars.Saved([tars.layer("two")], [])
    b.refused(b.take(save(b.file("a.tar"), one, two)), says="2 images")
    b.no_tag()


@case
def no_images(b):
    b.refused(b.take(save(b.file("a.tar"))), says="0 images")
    b.no_tag()


@case
def missing_layer(b):
    image = tars.Saved([tars.layer("a"), tars.layer("b")])
    files = [f for f in image.files() if not isinstance(f, tuple) or f[0] != image.names[1]]
    tar = tars.write(b.file("a.tar"), files + [tars.manifest_json(image)])
    b.refused(b.take(tar), says=image.names[1])
    b.no_tag()


@case
def missing_config(b):
    image = tars.Saved([tars.layer("a")])
    files = [f for f in image.files() if not isinstance(f, tuple) or f[0] != image.config_name]
    tar = tars.write(b.file("a.tar"), files + [tars.manifest_json(image)])
    b.refused(b.take(tar), says=image.config_name)
    b.no_tag()


@case
def manifest_json_of_wrong_shape(b):
    image = tars.Saved([tars.layer("a")])
    shapes = (b"[]", b"[1]", b"{}", b"[{}]", b"[[]]", b'[{"Config":1,"Layers":[]}]', b"[", b"nope",
              b"", b'[{"Config":"x","Layers":"y"}]', b'"x"', b'{"a":1}', b'[{"Config":""}]')
    for text in shapes:
        tar = tars.write(b.file("a.tar"), image.files() + [("manifest.json", text)])
        b.refused(b.take(tar))
    b.no_tag()


@case
def layers_of_wrong_shape(b):
    """A list of layers that is no list of names is never taken for an image without layers."""
    image = tars.Saved([tars.layer("a")])
    for layers in ("x", 1, True, {}, {"a": 1}, [1], [None], [""]):
        entry = dict(image.entry(), Layers=layers)
        text = json.dumps([entry]).encode()
        tar = tars.write(b.file("a.tar"), image.files() + [("manifest.json", text)])
        b.refused(b.take(tar))
    b.no_tag()
