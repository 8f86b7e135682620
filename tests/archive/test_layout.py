"""OCI layouts: what is pushed is what lay in the tar, byte for byte."""

import json
import tarfile

import oci
import tars
from bench import case, eq, true


def check_image(reg, name, ref, image):
    kind, digest, body = reg.pull(name, ref)
    eq((kind, body), (oci.IMAGE, image.body), "type and bytes of the manifest")
    eq(digest, image.digest, "digest")
    for d, data in image.blobs.items():
        if d != image.digest:
            eq(reg.blob(name, d), data, f"blob {d}")


@case
def single_image(b):
    image = tars.Image()
    eq(b.taken(tars.layout(b.file("a.tar"), image)), image.digest, "digest")
    reg = b.serve()
    check_image(reg, "app", "1", image)
    eq(reg.tags("app"), ["1"], "tags")


@case
def deep_name(b):
    image = tars.Image()
    target = "team/project/app.one:v1.2.3-rc_4"
    eq(b.taken(tars.layout(b.file("a.tar"), image), target), image.digest, "digest")
    check_image(b.serve(), "team/project/app.one", "v1.2.3-rc_4", image)


@case
def index_before_blobs(b):
    image = tars.Image()
    b.taken(tars.layout(b.file("a.tar"), image, order="index-first"))
    check_image(b.serve(), "app", "1", image)


@case
def sha512(b):
    image = tars.Image(alg="sha512")
    eq(b.taken(tars.layout(b.file("a.tar"), image)), image.digest, "digest")
    check_image(b.serve(), "app", "1", image)


@case
def mixed_algorithms(b):
    old, new = tars.Image(), tars.Image(alg="sha512")
    top = tars.Index(old, new)
    b.taken(tars.layout(b.file("a.tar"), top))
    reg = b.serve()
    check_image(reg, "app", old.digest, old)
    check_image(reg, "app", new.digest, new)


@case
def multi_arch(b):
    images = [tars.Image(), tars.Image(), tars.Image()]
    top = tars.Index(*images)
    eq(b.taken(tars.layout(b.file("a.tar"), top)), top.digest, "digest")
    reg = b.serve()
    eq(reg.pull("app", "1"), (oci.INDEX, top.digest, top.body), "index")
    for one in images:
        check_image(reg, "app", one.digest, one)
    eq(reg.tags("app"), ["1"], "tags")


@case
def nested_index(b):
    image = tars.Image()
    inner = tars.Index(image)
    top = tars.Index(inner, tars.Image())
    b.taken(tars.layout(b.file("a.tar"), top))
    reg = b.serve()
    eq(reg.pull("app", "1")[2], top.body, "outer index")
    eq(reg.pull("app", inner.digest)[2], inner.body, "inner index")
    check_image(reg, "app", image.digest, image)


@case
def index_too_deep(b):
    top = tars.Image()
    for _ in range(12):
        top = tars.Index(top)
    b.refused(b.take(tars.layout(b.file("a.tar"), top)), says="nested")
    b.no_tag()


def referrers(reg, digest):
    got = reg.get(f"/v2/app/referrers/{digest}")
    eq(got.status, 200, "status of referrers")
    return sorted(one["digest"] for one in json.loads(got.body)["manifests"])


@case
def artifact_with_referrers(b):
    """Signatures of the image come with it, those of a signature, too; others stay out."""
    app = tars.artifact()
    sbom = tars.artifact(app.desc, annotations={"k": "v"})
    signature = tars.artifact(sbom.desc, kind="application/x.signature")
    other = tars.artifact()
    stranger = tars.artifact(other.desc)
    entries = [signature.desc, stranger.desc, sbom.desc, other.desc, tars.named(app.desc, "1")]
    images = (app, sbom, signature, other, stranger)
    eq(b.taken(tars.layout(b.file("a.tar"), *images, entries=entries)), app.digest, "digest")
    reg = b.serve()
    check_image(reg, "app", "1", app)
    eq(referrers(reg, app.digest), [sbom.digest], "referrers of the artifact")
    eq(referrers(reg, sbom.digest), [signature.digest], "referrers of the SBOM")
    eq(referrers(reg, other.digest), [], "referrers of what was not asked for")
    eq(reg.get(f"/v2/app/manifests/{other.digest}").status, 404, "the other artifact")
    eq(reg.tags("app"), ["1"], "tags")


@case
def referrer_of_a_platform(b):
    """What refers to a child of the index comes, too."""
    image = tars.Image()
    top = tars.Index(image)
    proof = tars.artifact(image.desc)
    entries = [tars.named(top.desc, "1"), proof.desc]
    b.taken(tars.layout(b.file("a.tar"), top, proof, entries=entries))
    eq(referrers(b.serve(), image.digest), [proof.digest], "referrers")


@case
def broken_referrer_leaves_the_tag(b):
    """A referrer whose content is missing fails the import before the tag moves."""
    first, second = tars.Image(), tars.Image()
    b.taken(tars.layout(b.file("a.tar"), first))
    proof = tars.artifact(second.desc)
    text = next(d for d, data in proof.blobs.items() if data.startswith(b"text"))
    entries = [tars.named(second.desc, "1"), proof.desc]
    tar = tars.layout(b.file("b.tar"), second, proof, entries=entries, leave_out=[text])
    b.refused(b.take(tar), says=text)
    check_image(b.serve(), "app", "1", first)


@case
def chosen_by_name(b):
    one, two = tars.Image(), tars.Image()
    entries = [tars.named(one.desc, "1"), tars.named(two.desc, "2")]
    tar = tars.layout(b.file("a.tar"), one, two, entries=entries)
    eq(b.taken(tar, "app:2"), two.digest, "digest")
    eq(b.taken(tar, "app:1"), one.digest, "digest")
    reg = b.serve()
    check_image(reg, "app", "1", one)
    check_image(reg, "app", "2", two)


@case
def the_only_image_whatever_its_name(b):
    image = tars.Image()
    tar = tars.layout(b.file("a.tar"), image, entries=[tars.named(image.desc, "other")])
    eq(b.taken(tar), image.digest, "digest")


@case
def names_with_dot_and_folders(b):
    """As `tar -C layout -cf x.tar .` writes it."""
    image = tars.Image()
    files = [tars.folder("./"), tars.folder("./blobs"), tars.folder("./blobs/sha256")]
    files += [("./" + tars.blob_path(d), data) for d, data in image.blobs.items()]
    files += [("./oci-layout", tars.LAYOUT), ("./index.json", tars.index_json(image.desc))]
    b.taken(tars.write(b.file("a.tar"), files))
    check_image(b.serve(), "app", "1", image)


@case
def tar_formats(b):
    image = tars.Image(alg="sha512")
    for fmt in (tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT):
        tar = tars.layout(b.file("a.tar"), tars.Image() if fmt == tarfile.USTAR_FORMAT else image,
                          fmt=fmt)
        b.taken(tar, f"app:f{fmt}")


@case
def gzip_tar(b):
    image = tars.Image()
    eq(b.taken(tars.layout(b.file("a.tar.gz"), image, mode="w:gz")), image.digest, "digest")


@case
def from_standard_input(b):
    image = tars.Image()
    data = tars.layout(b.file("a.tar"), image).read_bytes()
    eq(b.taken("-", stdin=data), image.digest, "digest")
    check_image(b.serve(), "app", "1", image)


@case
def large_layer(b):
    """Larger than any buffer, larger than what a record holds."""
    image = tars.Image(layers=0)
    image.layers = [bytes(range(256)) * 40000]
    doc = oci.image_doc(oci.descriptor(image.config, oci.CONFIG),
                        [oci.descriptor(image.layers[0], oci.LAYER)])
    image.body = oci.dump(doc)
    image.digest, image.desc = oci.digest(image.body), oci.descriptor(image.body, oci.IMAGE)
    image.blobs = {oci.digest(x): x for x in (image.config, image.layers[0], image.body)}
    b.taken(tars.layout(b.file("a.tar"), image))
    check_image(b.serve(), "app", "1", image)


@case
def empty_layer(b):
    image = tars.Image(layers=0)
    doc = oci.image_doc(oci.descriptor(image.config, oci.CONFIG), [oci.descriptor(b"", oci.LAYER)])
    image.body = oci.dump(doc)
    image.digest, image.desc = oci.digest(image.body), oci.descriptor(image.body, oci.IMAGE)
    image.blobs = {oci.digest(x): x for x in (image.config, b"", image.body)}
    b.taken(tars.layout(b.file("a.tar"), image))
    check_image(b.serve(), "app", "1", image)


@case
def manifest_with_blanks_before_it(b):
    image = tars.Image(blank=b"\n \t\r\n")
    eq(b.taken(tars.layout(b.file("a.tar"), image)), image.digest, "digest")
    check_image(b.serve(), "app", "1", image)


@case
def blob_already_in_the_repository(b):
    """What the tar lacks may lie in the repository."""
    image = tars.Image()
    b.taken(tars.layout(b.file("a.tar"), image))
    layer = oci.digest(image.layers[0])
    b.taken(tars.layout(b.file("b.tar"), image, leave_out=[layer]), "app:2")
    check_image(b.serve(), "app", "2", image)


@case
def sparse_index_by_policy(b):
    image, other = tars.Image(), tars.Image()
    top = tars.Index(image, other)
    tar = tars.layout(b.file("a.tar"), top, leave_out=list(other.blobs))
    b.refused(b.take(tar), says=other.digest)
    eq(b.taken(tar, args=("--references", "index-sparse")), top.digest, "digest")


@case
def again_changes_nothing(b):
    image = tars.Image()
    tar = tars.layout(b.file("a.tar"), image)
    b.taken(tar)
    log = sorted(p.name for p in (b.root / "repos/app/_log").rglob("*") if p.is_file())
    b.taken(tar)
    true(log and log == sorted(p.name for p in (b.root / "repos/app/_log").rglob("*")
                               if p.is_file()), "no new entry in the log")


@case
def tag_moves(b):
    first, second = tars.Image(), tars.Image()
    b.taken(tars.layout(b.file("a.tar"), first))
    b.taken(tars.layout(b.file("b.tar"), second))
    reg = b.serve()
    check_image(reg, "app", "1", second)
    eq(reg.pull("app", first.digest)[2], first.body, "the image before")
