"""oras: artifacts of any kind, attached to images, discovered and copied with them."""

import json
import os
import tarfile

import harness
from harness import OCI_INDEX, check, check_equal, digest_of
from samples import noise, verify_layout

LACKS = ()
SBOM = "application/vnd.example.sbom"
SIGNATURE = "application/vnd.example.signature"
API = ("--distribution-spec", "v1.1-referrers-api")


def setup(ctx):
    ctx.program("oras")
    return "oras " + ctx.version_line("oras", "version").split()[-1]


def oras(ctx, *words, **options):
    return ctx.run("oras", *words, **options)


def plain(*words):
    return (*words, "--plain-http")


def push_file(ctx, repo, tag, content, name="data.bin"):
    ctx.write(f"files/{name}", content)
    out = oras(ctx, *plain("push", "--no-tty", "--format", "json"), "--artifact-type", SBOM,
               "--annotation", f"run={ctx.run_id}", ctx.ref(repo, tag),
               f"{name}:application/vnd.example.data", cwd=ctx.path("files"))  # fmt: skip
    return out.json()["digest"]


def attach(ctx, repo, subject, artifact_type, content):
    """Attaches a file; returns the digest of the new manifest."""
    ctx.write("files/attached.bin", content)
    out = oras(ctx, *plain("attach", "--no-tty", "--format", "json"), *API, "--artifact-type",
               artifact_type, "--annotation", f"org.example.kind={artifact_type}",
               ctx.ref(repo, subject), "attached.bin", cwd=ctx.path("files"))  # fmt: skip
    return out.json()["digest"]


def discover(ctx, repo, reference, *words):
    """The referrers oras sees, as its JSON shows them."""
    out = oras(ctx, *plain("discover", "--format", "json"), *API, *words, ctx.ref(repo, reference))
    return out.json()["referrers"]


def push_and_pull(ctx):
    repo, content = ctx.repo("artifact"), noise(ctx.run_id + "oras", 100_000)
    digest = push_file(ctx, repo, "1", content)
    ctx.verify(repo, "1", digest)
    check_equal(json.loads(ctx.registry.manifest(repo, "1")[0])["artifactType"], SBOM, "type")
    for reference in ("1", digest):
        target = ctx.folder(f"pulled-{reference[:3]}")
        oras(ctx, *plain("pull", "--no-tty", "-o", target), ctx.ref(repo, reference))
        with open(os.path.join(target, "data.bin"), "rb") as pulled:
            check(pulled.read() == content, f"other bytes pulled by {reference}")
    check_equal(push_file(ctx, repo, "2", b"second"), ctx.registry.digest(repo, "2"), "second push")


def big_file(ctx):
    repo, content = ctx.repo("big"), noise(ctx.run_id + "big", 24 << 20)
    ctx.verify(repo, "1", push_file(ctx, repo, "1", content), peer=False)
    oras(ctx, *plain("pull", "--no-tty", "-o", ctx.folder("big")), ctx.ref(repo, "1"))
    check(ctx.read("big/data.bin") == content, "other bytes pulled")


def empty_file(ctx):
    repo = ctx.repo("empty")
    ctx.verify(repo, "1", push_file(ctx, repo, "1", b"", "empty.bin"))
    oras(ctx, *plain("pull", "--no-tty", "-o", ctx.folder("empty")), ctx.ref(repo, "1"))
    check_equal(ctx.read("empty/empty.bin"), b"", "the empty file")


def list_and_tag(ctx):
    repo = ctx.repo("tags")
    digest = push_file(ctx, repo, "c", b"tagged")
    oras(ctx, *plain("tag", ctx.ref(repo, "c")), "B", "a")
    out = oras(ctx, *plain("repo", "tags", f"{ctx.registry.address}/{repo}"))
    ctx.check_tags(out.lines(), ["B", "a", "c"])
    resolved = oras(ctx, *plain("resolve", ctx.ref(repo, "a"))).out.strip()
    check_equal(resolved, digest, "digest that oras resolves")


def catalog(ctx):
    repo = ctx.repo("catalog")
    push_file(ctx, repo, "1", b"catalog")
    out = oras(ctx, *plain("repo", "ls", ctx.registry.address))
    check(repo in out.lines(), f"oras repo ls shows {out.lines()}")


def copy(ctx):
    sample, repo, other = ctx.samples.get("multi"), ctx.repo("copy-a"), ctx.repo("copy-b")
    oras(ctx, "cp", "--no-tty", "--from-oci-layout", sample.ref, "--to-plain-http",
         ctx.ref(repo, "1"))  # fmt: skip
    ctx.verify(repo, "1", sample.digest)
    oras(ctx, "cp", "--no-tty", "--from-plain-http", "--to-plain-http", ctx.ref(repo, "1"),
         ctx.ref(other, "1,2"))  # fmt: skip
    ctx.verify(other, "2", sample.digest)
    layout = ctx.path("copied")
    oras(ctx, "cp", "--no-tty", "--from-plain-http", ctx.ref(other, "1"), "--to-oci-layout",
         f"{layout}:it")  # fmt: skip
    root, found = verify_layout(layout)
    check_equal((root, found), (sample.digest, set(sample.blobs)), "what was copied out")


def platforms(ctx):
    sample, repo = ctx.samples.get("multi"), ctx.repo("platform")
    ctx.registry.seed(repo, "1", sample)
    for number, platform in enumerate(("linux/amd64", "linux/arm64/v8", "linux/arm/v7")):
        wanted = sample.manifest()["manifests"][number]["digest"]
        got = oras(ctx, *plain("resolve", "--platform", platform), ctx.ref(repo, "1")).out.strip()
        check_equal(got, wanted, platform)


def make_index(ctx):
    repo = ctx.repo("index")
    parts = [push_file(ctx, repo, name, name.encode()) for name in ("one", "two")]
    oras(ctx, *plain("manifest", "index", "create", "--annotation", "made=by-oras"),
         ctx.ref(repo, "both,all"), "one", parts[1])  # fmt: skip
    data, media_type, digest = ctx.registry.manifest(repo, "both")
    check_equal(media_type, OCI_INDEX, "type")
    check_equal([entry["digest"] for entry in json.loads(data)["manifests"]], parts, "entries")
    ctx.verify(repo, "all", digest)


def attach_and_discover(ctx):
    sample, repo = ctx.samples.get("image"), ctx.repo("attach")
    ctx.registry.seed(repo, "1", sample)
    check_equal(discover(ctx, repo, "1"), [], "referrers before")
    sbom = attach(ctx, repo, "1", SBOM, b"sbom")
    signature = attach(ctx, repo, sample.digest, SIGNATURE, b"signature")
    seen = discover(ctx, repo, "1", "--depth", "1")
    check_equal(sorted(entry["digest"] for entry in seen), sorted([sbom, signature]), "referrers")
    only = discover(ctx, repo, "1", "--artifact-type", SIGNATURE)
    check_equal([entry["digest"] for entry in only], [signature], "referrers of one type")
    check_equal(only[0]["annotations"]["org.example.kind"], SIGNATURE, "annotation of a referrer")
    ctx.check_tags(ctx.registry.tags(repo), ["1"])
    listed = {entry["digest"]: entry for entry in ctx.registry.referrers(repo, sample.digest)}
    check_equal(set(listed), {sbom, signature}, "referrers in the API")
    check_equal(listed[sbom]["artifactType"], SBOM, "artifact type in the API")


def attach_to_attached(ctx):
    sample, repo = ctx.samples.get("image"), ctx.repo("chain")
    ctx.registry.seed(repo, "1", sample)
    sbom = attach(ctx, repo, "1", SBOM, b"sbom of the chain")
    signature = attach(ctx, repo, sbom, SIGNATURE, b"signature of the sbom")
    seen = discover(ctx, repo, "1")
    check_equal(seen[0]["digest"], sbom, "referrer of the image")
    check_equal(seen[0]["referrers"][0]["digest"], signature, "referrer of the referrer")


def attach_many(ctx):
    sample, repo = ctx.samples.get("image"), ctx.repo("many")
    ctx.registry.seed(repo, "1", sample)
    made = [attach(ctx, repo, "1", SBOM, f"number {number}".encode()) for number in range(12)]
    seen = [entry["digest"] for entry in discover(ctx, repo, "1")]
    check_equal(sorted(seen), sorted(made), "referrers")


def copy_with_referrers(ctx):
    sample, repo, other = ctx.samples.get("multi"), ctx.repo("graph-a"), ctx.repo("graph-b")
    ctx.registry.seed(repo, "1", sample)
    of_index = attach(ctx, repo, "1", SBOM, b"of the index")
    child = sample.manifest()["manifests"][0]["digest"]
    of_child = attach(ctx, repo, child, SIGNATURE, b"of a child")
    deeper = attach(ctx, repo, of_index, SIGNATURE, b"of the sbom")
    oras(ctx, "cp", "-r", "--no-tty", "--from-plain-http", "--to-plain-http", ctx.ref(repo, "1"),
         ctx.ref(other, "1"))  # fmt: skip
    ctx.verify(other, "1", sample.digest, peer=False)
    for subject, referrer in ((sample.digest, of_index), (child, of_child), (of_index, deeper)):
        found = [entry["digest"] for entry in ctx.registry.referrers(other, subject)]
        check_equal(found, [referrer], f"referrers of {subject} in the copy")
        ctx.verify(other, referrer, referrer, peer=False)


def back_up_and_restore(ctx):
    sample, repo, other = ctx.samples.get("image"), ctx.repo("backup"), ctx.repo("restored")
    ctx.registry.seed(repo, "1", sample)
    sbom = attach(ctx, repo, "1", SBOM, b"sbom to back up")
    tar = ctx.path("backup.tar")
    oras(ctx, *plain("backup", "--no-tty", "--include-referrers", "--output", tar),
         ctx.ref(repo, "1"))  # fmt: skip
    check(tarfile.is_tarfile(tar), "the backup is not a tar")
    oras(ctx, *plain("restore", "--no-tty", "--input", tar), ctx.ref(other, "1"))
    ctx.verify(other, "1", sample.digest, peer=False)
    found = [entry["digest"] for entry in ctx.registry.referrers(other, sample.digest)]
    check_equal(found, [sbom], "referrers after restore")


def detach(ctx):
    """A deleted referrer is gone from the list; the subject may go first."""
    sample, repo = ctx.samples.get("image"), ctx.repo("detach")
    ctx.registry.seed(repo, "1", sample)
    sbom = attach(ctx, repo, "1", SBOM, b"sbom to keep")
    signature = attach(ctx, repo, "1", SIGNATURE, b"signature to delete")
    oras(ctx, *plain("manifest", "delete", "--force"), ctx.ref(repo, signature))
    found = [entry["digest"] for entry in ctx.registry.referrers(repo, sample.digest)]
    check_equal(found, [sbom], "referrers after one is deleted")
    oras(ctx, *plain("manifest", "delete", "--force"), ctx.ref(repo, sample.digest))
    found = [entry["digest"] for entry in ctx.registry.referrers(repo, sample.digest)]
    check_equal(found, [sbom], "referrers after the subject is deleted")


def blobs(ctx):
    repo, content = ctx.repo("blobs"), noise(ctx.run_id + "blob", 5000)
    digest = digest_of(content)
    file = ctx.write("blob.bin", content)
    name = f"{ctx.registry.address}/{repo}"
    pushed = oras(ctx, *plain("blob", "push", "--no-tty", "--descriptor"), name, file).json()
    check_equal((pushed["digest"], pushed["size"]), (digest, 5000), "descriptor")
    fetched = ctx.path("fetched.bin")
    oras(ctx, *plain("blob", "fetch", "--no-tty", "-o", fetched), f"{name}@{digest}")
    check(ctx.read("fetched.bin") == content, "other bytes fetched")
    oras(ctx, *plain("blob", "delete", "--force"), f"{name}@{digest}")
    check_equal(ctx.registry.status(repo, "blobs", digest), 404, "deleted blob")


def manifests(ctx):
    sample, repo = ctx.samples.get("image"), ctx.repo("manifests")
    ctx.registry.seed(repo, "1", sample)
    file = ctx.path("manifest.json")
    oras(ctx, *plain("manifest", "fetch", "--output", file), ctx.ref(repo, "1"))
    check_equal(digest_of(ctx.read("manifest.json")), sample.digest, "fetched manifest")
    oras(ctx, *plain("manifest", "push"), ctx.ref(repo, "again,more"), file)
    ctx.verify(repo, "more", sample.digest)
    oras(ctx, *plain("manifest", "delete", "--force"), ctx.ref(repo, "again"))
    check_equal(ctx.registry.status(repo, "manifests", sample.digest), 404, "deleted manifest")
    ctx.check_tags(ctx.registry.tags(repo), [])


def unknown(ctx):
    said = ctx.refused("oras", *plain("pull", ctx.ref(ctx.repo("nothing"), "1")))
    check("not found" in said, f"oras says: {said}")


class Caller(harness.Caller):
    copies = True

    def __init__(self, ctx, address):
        super().__init__(ctx, address)
        self.content = noise(ctx.run_id + "log-ins", 100_000)
        ctx.write("log-ins/data.bin", self.content)

    def login(self, user, password):
        oras(self.ctx, *plain("login", "-u", user, "-p", password), self.address)

    def logout(self):
        oras(self.ctx, "logout", self.address)

    def push(self, repo):
        oras(self.ctx, *plain("push", "--no-tty"), "--artifact-type", SBOM, self.ref(repo),
             "data.bin:application/vnd.example.data", cwd=self.ctx.path("log-ins"))  # fmt: skip

    def pull(self, repo):
        target = self.fresh()
        oras(self.ctx, *plain("pull", "--no-tty", "-o", self.ctx.folder(target)), self.ref(repo))
        check(self.ctx.read(f"{target}/data.bin") == self.content, "other bytes pulled")

    def mount(self, source, target):
        words = ("--from-plain-http", "--to-plain-http", self.ref(source), self.ref(target))
        oras(self.ctx, "cp", "--no-tty", *words)


CASES = (
    ("push and pull an artifact", push_and_pull),
    ("push and pull a big file", big_file),
    ("push and pull an empty file", empty_file),
    ("tag, list tags, resolve", list_and_tag),
    ("list repositories", catalog, "catalog"),
    ("copy a multi-arch index in, across and out", copy),
    ("resolve platforms", platforms),
    ("make an index", make_index),
    ("attach and discover", attach_and_discover, "referrers"),
    ("attach to what is attached", attach_to_attached, "referrers"),
    ("attach many", attach_many, "referrers"),
    ("copy with referrers", copy_with_referrers, "referrers"),
    ("back up and restore with referrers", back_up_and_restore, "referrers"),
    ("delete referrers and their subject", detach, "referrers"),
    ("push, fetch and delete a blob", blobs),
    ("fetch, push and delete a manifest", manifests),
    ("an unknown artifact is not found", unknown),
)
