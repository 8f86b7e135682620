"""crane: go-containerregistry, the library under cosign, ko and kaniko."""

import os

import harness
from harness import OCI_INDEX, check, check_equal, digest_of
from samples import tar_of, verify_layout

LACKS = ("artifact attach and discover: crane has no command for it",)


def setup(ctx):
    ctx.program("crane")
    return "crane " + ctx.version_line("crane", "version")


def crane(ctx, *words):
    return ctx.run("crane", *(("--insecure",) if ctx.plain else ()), *words)


def push_sample(ctx, what, name):
    sample, repo = ctx.samples.get(what), ctx.repo(name)
    words = ("--index",) if "manifests" in sample.manifest() else ()
    said = crane(ctx, "push", *words, sample.folder, ctx.ref(repo, "1")).lines()[-1]
    return sample, repo, said


def push(ctx):
    sample, repo, said = push_sample(ctx, "image", "image")
    check_equal(said, ctx.ref(repo, sample.digest), "reference crane reports")
    ctx.verify(repo, "1", sample.digest)
    crane(ctx, "push", sample.folder, ctx.ref(repo, "1"))
    crane(ctx, "validate", "--remote", ctx.ref(repo, "1"))


def push_index(ctx):
    sample, repo = ctx.samples.get("multi"), ctx.repo("multi")
    # The layout's own index has one entry, the real one: crane pushes that entry.
    layout = ctx.folder("multi-layout")
    if not os.path.exists(os.path.join(layout, "blobs")):
        os.symlink(os.path.join(sample.folder, "blobs"), os.path.join(layout, "blobs"))
    ctx.write("multi-layout/oci-layout", '{"imageLayoutVersion":"1.0.0"}')
    ctx.write("multi-layout/index.json", sample.bytes_of(sample.digest))
    crane(ctx, "push", "--index", layout, ctx.ref(repo, "1"))
    check_equal(ctx.registry.manifest(repo, "1")[1], OCI_INDEX, "type")
    ctx.verify(repo, "1", sample.digest)
    crane(ctx, "validate", "--remote", ctx.ref(repo, "1"))


def push_big(ctx):
    sample, repo, _ = push_sample(ctx, "big", "big")
    ctx.verify(repo, "1", sample.digest, peer=False)
    crane(ctx, "validate", "--remote", ctx.ref(repo, "1"))


def pull(ctx):
    for what in ("image", "multi"):
        sample, repo = ctx.samples.get(what), ctx.repo(f"pull-{what}")
        ctx.registry.seed(repo, "1", sample)
        for number, reference in enumerate(("1", sample.digest)):
            layout = ctx.path(f"pulled-{what}-{number}")
            crane(ctx, "pull", "--format=oci", ctx.ref(repo, reference), layout)
            root, found = verify_layout(layout)
            check_equal((root, found), (sample.digest, set(sample.blobs)), f"pulled {reference}")


def pull_past(ctx):
    """A view of the past, by name: what the tag was on before it moved."""
    sample, repo = ctx.samples.get("multi"), ctx.repo("past")
    view = ctx.view_between(repo, "1", sample, ctx.samples.get("image"))
    check_equal(crane(ctx, "digest", ctx.ref(view, "1")).out.strip(), sample.digest, "digest then")
    layout = ctx.path("pulled-past")
    crane(ctx, "pull", "--format=oci", ctx.ref(view, "1"), layout)
    root, found = verify_layout(layout)
    check_equal((root, found), (sample.digest, set(sample.blobs)), "pulled from the past")
    crane(ctx, "validate", "--remote", ctx.ref(view, "1"))
    ctx.check_tags(crane(ctx, "ls", f"{ctx.registry.address}/{view}").lines(), ["1"])
    said = ctx.refused("crane", "--insecure", "tag", ctx.ref(view, "1"), "2")
    check("read-only" in said, f"crane says: {said}")


def look(ctx):
    sample, repo = ctx.samples.get("multi"), ctx.repo("look")
    ctx.registry.seed(repo, "1", sample)
    check_equal(crane(ctx, "digest", ctx.ref(repo, "1")).out.strip(), sample.digest, "digest")
    raw = crane(ctx, "manifest", ctx.ref(repo, "1")).out
    check_equal(digest_of(raw.encode()), sample.digest, "digest of the raw manifest")
    entry = sample.manifest()["manifests"][1]["digest"]
    got = crane(ctx, "--platform", "linux/arm64/v8", "digest", ctx.ref(repo, "1")).out.strip()
    check_equal(got, entry, "arm64 digest")
    config = crane(ctx, "--platform", "linux/arm64/v8", "config", ctx.ref(repo, "1")).out
    wanted = sample.manifest(entry)["config"]["digest"]
    check_equal(digest_of(config.encode()), wanted, "digest of the config")
    layer = sample.manifest(entry)["layers"][0]["digest"]
    ctx.run("sh", "-c", 'crane blob --insecure "$0" >blob.out', ctx.ref(repo, layer))
    check_equal(digest_of(ctx.read("blob.out")), layer, "fetched blob")


def list_tags(ctx):
    sample, repo = ctx.samples.get("image"), ctx.repo("tags")
    ctx.registry.seed(repo, "c", sample)
    for tag in ("B", "a"):
        crane(ctx, "tag", ctx.ref(repo, "c"), tag)
    ctx.check_tags(crane(ctx, "ls", f"{ctx.registry.address}/{repo}").lines(), ["B", "a", "c"])


def catalog(ctx):
    repo = ctx.repo("catalog")
    ctx.registry.seed(repo, "1", ctx.samples.get("image"))
    seen = crane(ctx, "catalog", ctx.registry.address).lines()
    check(repo in seen, f"crane catalog shows {seen}")


def copy(ctx):
    sample, repo, other = ctx.samples.get("multi"), ctx.repo("copy-a"), ctx.repo("copy-b")
    ctx.registry.seed(repo, "1", sample)
    crane(ctx, "copy", ctx.ref(repo, "1"), ctx.ref(other, "2"))
    ctx.verify(other, "2", sample.digest)


def copy_all_tags(ctx):
    repo, other = ctx.repo("all-a"), ctx.repo("all-b")
    ctx.registry.seed(repo, "1", ctx.samples.get("image"))
    ctx.registry.seed(repo, "2", ctx.samples.get("multi"))
    ctx.registry.seed(repo, "3", ctx.samples.get("artifact"))
    crane(ctx, "copy", "--all-tags", *(f"{ctx.registry.address}/{name}" for name in (repo, other)))
    ctx.check_tags(ctx.registry.tags(other), ["1", "2", "3"])
    for tag, what in (("1", "image"), ("2", "multi"), ("3", "artifact")):
        ctx.verify(other, tag, ctx.samples.get(what).digest)


def change(ctx):
    """New images made from one in the registry: a layer more, labels, one flat layer."""
    sample, repo = ctx.samples.get("image"), ctx.repo("change")
    ctx.registry.seed(repo, "1", sample)
    tar = ctx.write("more.tar", tar_of({"more.txt": ctx.run_id.encode()}))
    crane(ctx, "append", "-b", ctx.ref(repo, "1"), "-f", tar, "-t", ctx.ref(repo, "more"))
    crane(ctx, "mutate", ctx.ref(repo, "1"), "--label", "a=b", "-t", ctx.ref(repo, "labelled"))
    crane(ctx, "flatten", ctx.ref(repo, "1"), "-t", ctx.ref(repo, "flat"))
    for tag in ("more", "labelled", "flat"):
        crane(ctx, "validate", "--remote", ctx.ref(repo, tag))
        ctx.verify(repo, tag)
    ctx.verify(repo, "1", sample.digest, peer=False)


def make_index(ctx):
    sample, repo = ctx.samples.get("multi"), ctx.repo("index")
    ctx.registry.seed(repo, "1", sample)
    entries = [entry["digest"] for entry in sample.manifest()["manifests"]]
    words = [word for entry in entries[:2] for word in ("-m", ctx.ref(repo, entry))]
    crane(ctx, "index", "append", *words, "-t", ctx.ref(repo, "two"))
    check_equal(ctx.registry.manifest(repo, "two")[1], OCI_INDEX, "type")
    crane(ctx, "validate", "--remote", ctx.ref(repo, "two"))
    ctx.verify(repo, "two")


def delete_digest(ctx):
    sample, repo = ctx.samples.get("image"), ctx.repo("delete")
    ctx.registry.seed(repo, "1", sample)
    ctx.registry.seed(repo, "other", ctx.samples.get("multi"))
    crane(ctx, "delete", ctx.ref(repo, sample.digest))
    check_equal(ctx.registry.status(repo, "manifests", "1"), 404, "tag of the deleted manifest")
    ctx.check_tags(ctx.registry.tags(repo), ["other"])


def delete_tag(ctx):
    sample, repo = ctx.samples.get("image"), ctx.repo("untag")
    ctx.registry.seed(repo, "1", sample)
    ctx.registry.seed(repo, "2", sample)
    crane(ctx, "delete", ctx.ref(repo, "1"))
    ctx.check_tags(ctx.registry.tags(repo), ["2"])
    ctx.verify(repo, "2", sample.digest)


def unknown(ctx):
    said = ctx.refused("crane", "--insecure", "digest", ctx.ref(ctx.repo("nothing"), "1"))
    check("404" in said or "UNKNOWN" in said, f"crane says: {said}")


class Caller(harness.Caller):
    checks = False  # it only writes down what it is told
    copies = True

    def __init__(self, ctx, address):
        super().__init__(ctx, address)
        self.sample = ctx.samples.get("image")

    def login(self, user, password):
        self.ctx.run("crane", "auth", "login", "-u", user, "-p", password, self.address)

    def logout(self):
        self.ctx.run("crane", "auth", "logout", self.address)

    def push(self, repo):
        crane(self.ctx, "push", self.sample.folder, self.ref(repo))

    def pull(self, repo):
        layout = self.ctx.path(self.fresh())
        crane(self.ctx, "pull", "--format=oci", self.ref(repo), layout)
        check_equal(verify_layout(layout)[0], self.sample.digest, "what was pulled")

    def mount(self, source, target):
        crane(self.ctx, "copy", self.ref(source), self.ref(target))


CASES = (
    ("push and validate an image, twice", push),
    ("push and validate a multi-arch index", push_index),
    ("push and validate a big layer", push_big),
    ("pull images and indexes", pull),
    ("pull from a view of the past", pull_past),
    ("digest, manifest, config, blob", look),
    ("tag and list tags", list_tags),
    ("list repositories", catalog, "catalog"),
    ("copy between repositories", copy),
    ("copy all tags", copy_all_tags),
    ("append, mutate, flatten", change),
    ("make an index", make_index),
    ("delete by digest", delete_digest),
    ("delete a tag", delete_tag, "tag-delete"),
    ("an unknown image is said to be unknown", unknown),
)
