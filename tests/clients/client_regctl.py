"""regctl: regclient, the one client that sends sha512, tag parameters and ranged chunks."""

import json

from harness import OCI_INDEX, OCI_MANIFEST, check, check_equal, digest_of
from samples import noise, verify_layout

LACKS = ()
SBOM = "application/vnd.example.sbom"
SIGNATURE = "application/vnd.example.signature"


def setup(ctx):
    ctx.program("regctl")
    ctx.env["REGCTL_CONFIG"] = ctx.path("regctl.json")
    version = ctx.version_line("regctl", "version", "--format", "regctl {{.VCSTag}}")
    tls = "disabled" if ctx.plain else "enabled"
    ctx.run("regctl", "registry", "set", "--tls", tls, "--skip-check", ctx.registry.address)
    return version


def regctl(ctx, *words, **options):
    return ctx.run("regctl", *words, **options)


def push_sample(ctx, what, name):
    sample, repo = ctx.samples.get(what), ctx.repo(name)
    regctl(ctx, "image", "copy", f"ocidir://{sample.ref}", ctx.ref(repo, "1"))
    return sample, repo


def push(ctx):
    for what in ("image", "multi", "artifact"):
        sample, repo = push_sample(ctx, what, what)
        ctx.verify(repo, "1", sample.digest)


def push_big(ctx):
    sample, repo = push_sample(ctx, "big", "big")
    ctx.verify(repo, "1", sample.digest, peer=False)


def push_in_chunks(ctx):
    """Blobs over a limit go as PATCH requests with Content-Range."""
    repo, content = ctx.repo("chunks"), noise(ctx.run_id + "chunks", 700_001)
    env = {"REGCTL_CONFIG": ctx.path("chunks.json")}
    regctl(ctx, "registry", "set", "--tls", "disabled" if ctx.plain else "enabled", "--skip-check",
           "--blob-max", "100000", "--blob-chunk", "65536", ctx.registry.address,
           env=env)  # fmt: skip
    out = regctl(ctx, "blob", "put", f"{ctx.registry.address}/{repo}", env=env, stdin=content)
    check_equal(out.out.strip(), digest_of(content), "digest regctl reports")
    sample, other = ctx.samples.get("image"), ctx.repo("chunked-image")
    regctl(ctx, "image", "copy", f"ocidir://{sample.ref}", ctx.ref(other, "1"), env=env)
    ctx.verify(other, "1", sample.digest)
    headers, _ = ctx.registry.expect(200, "HEAD", f"/v2/{repo}/blobs/{digest_of(content)}")
    check_equal(headers.get("content-length"), str(len(content)), "length of the chunked blob")


def pull(ctx):
    for what in ("image", "multi", "artifact"):
        sample, repo = ctx.samples.get(what), ctx.repo(f"pull-{what}")
        ctx.registry.seed(repo, "1", sample)
        layout = ctx.path(f"pulled-{what}")
        regctl(ctx, "image", "copy", ctx.ref(repo, "1"), f"ocidir://{layout}:it")
        root, found = verify_layout(layout)
        check_equal((root, found), (sample.digest, set(sample.blobs)), f"pulled {what}")


def look(ctx):
    sample, repo = ctx.samples.get("multi"), ctx.repo("look")
    ctx.registry.seed(repo, "1", sample)
    digest = regctl(ctx, "image", "digest", ctx.ref(repo, "1")).out.strip()
    check_equal(digest, sample.digest, "digest")
    raw = regctl(ctx, "manifest", "get", "--format", "raw-body", ctx.ref(repo, "1")).out
    check_equal(digest_of(raw.encode()), sample.digest, "digest of the raw manifest")
    head = regctl(ctx, "manifest", "head", "--platform", "linux/arm64", ctx.ref(repo, "1"))
    check_equal(head.lines()[-1], sample.manifest()["manifests"][1]["digest"], "arm64 digest")


def list_tags(ctx):
    sample, repo = ctx.samples.get("image"), ctx.repo("tags")
    for tag in ("c", "B", "a"):
        ctx.registry.seed(repo, tag, sample)
    name = f"{ctx.registry.address}/{repo}"
    ctx.check_tags(regctl(ctx, "tag", "ls", name).lines(), ["B", "a", "c"])
    if "strict-tags" not in ctx.without:
        check_equal(regctl(ctx, "tag", "ls", "--limit", "1", name).lines(), ["B"], "first page")
        check_equal(regctl(ctx, "tag", "ls", "--last", "B", name).lines(), ["a", "c"], "after B")


def catalog(ctx):
    repo = ctx.repo("catalog")
    ctx.registry.seed(repo, "1", ctx.samples.get("image"))
    seen = regctl(ctx, "repo", "ls", ctx.registry.address).lines()
    check(repo in seen, f"regctl repo ls shows {seen}")


def copy(ctx):
    sample, repo, other = ctx.samples.get("multi"), ctx.repo("copy-a"), ctx.repo("copy-b")
    ctx.registry.seed(repo, "1", sample)
    regctl(ctx, "image", "copy", ctx.ref(repo, "1"), ctx.ref(other, "2"))
    ctx.verify(other, "2", sample.digest)


def make_index(ctx):
    repo, source = ctx.repo("index"), ctx.repo("index-from")
    sample = ctx.samples.get("multi")
    ctx.registry.seed(source, "1", sample)
    regctl(ctx, "index", "create", ctx.ref(repo, "two"), "--ref", ctx.ref(source, "1"),
           "--platform", "linux/amd64", "--platform", "linux/arm64")  # fmt: skip
    data, media_type, digest = ctx.registry.manifest(repo, "two")
    check_equal(media_type, OCI_INDEX, "type")
    wanted = [entry["digest"] for entry in sample.manifest()["manifests"][:2]]
    check_equal([entry["digest"] for entry in json.loads(data)["manifests"]], wanted, "entries")
    ctx.verify(repo, "two", digest)
    regctl(ctx, "index", "delete", ctx.ref(repo, "two"), "--digest", wanted[1])
    ctx.verify(repo, "two")


def attach(ctx, repo, subject, artifact_type, content):
    out = regctl(ctx, "artifact", "put", "--artifact-type", artifact_type, "--subject",
                 ctx.ref(repo, subject), "--file-media-type", artifact_type, "--format",
                 "{{.Manifest.GetDescriptor.Digest}}", "--annotation",
                 f"org.example.kind={artifact_type}", stdin=content)  # fmt: skip
    return out.out.strip()


def listed(ctx, repo, reference, *words):
    out = regctl(ctx, "artifact", "list", "--format", "{{jsonPretty .Descriptors}}", *words,
                 ctx.ref(repo, reference))  # fmt: skip
    return [entry["digest"] for entry in out.json() or []]


def attach_and_discover(ctx):
    sample, repo = ctx.samples.get("image"), ctx.repo("attach")
    ctx.registry.seed(repo, "1", sample)
    sbom = attach(ctx, repo, "1", SBOM, b"sbom by regctl")
    signature = attach(ctx, repo, "1", SIGNATURE, b"signature by regctl")
    check_equal(sorted(listed(ctx, repo, "1")), sorted([sbom, signature]), "referrers")
    only = listed(ctx, repo, "1", "--filter-artifact-type", SBOM)
    check_equal(only, [sbom], "referrers of one type")
    got = regctl(ctx, "artifact", "get", "--subject", ctx.ref(repo, "1"), "--filter-artifact-type",
                 SIGNATURE)  # fmt: skip
    check_equal(got.out, "signature by regctl", "content of the signature")
    tree = regctl(ctx, "artifact", "tree", ctx.ref(repo, "1")).out
    check(sbom in tree and signature in tree, f"regctl artifact tree shows {tree}")
    ctx.check_tags(ctx.registry.tags(repo), ["1"])
    found = [entry["digest"] for entry in ctx.registry.referrers(repo, sample.digest)]
    check_equal(sorted(found), sorted([sbom, signature]), "referrers in the API")


def copy_with_referrers(ctx):
    sample, repo, other = ctx.samples.get("multi"), ctx.repo("graph-a"), ctx.repo("graph-b")
    ctx.registry.seed(repo, "1", sample)
    of_index = attach(ctx, repo, "1", SBOM, b"of the index by regctl")
    child = sample.manifest()["manifests"][0]["digest"]
    of_child = attach(ctx, repo, child, SIGNATURE, b"of a child by regctl")
    regctl(ctx, "image", "copy", "--referrers", ctx.ref(repo, "1"), ctx.ref(other, "1"))
    for subject, referrer in ((sample.digest, of_index), (child, of_child)):
        found = [entry["digest"] for entry in ctx.registry.referrers(other, subject)]
        check_equal(found, [referrer], f"referrers of {subject} in the copy")
    ctx.verify(other, "1", sample.digest)


def copy_with_digest_tags(ctx):
    """Older signatures lie under tags made of a digest; a copy takes them along."""
    sample, repo, other = ctx.samples.get("image"), ctx.repo("dtags-a"), ctx.repo("dtags-b")
    ctx.registry.seed(repo, "1", sample)
    tag = sample.digest.replace(":", "-") + ".sig"
    ctx.registry.seed(repo, tag, ctx.samples.get("artifact"))
    referrer = attach(ctx, repo, "1", SBOM, b"beside digest tags")
    regctl(ctx, "image", "copy", "--referrers", "--digest-tags", ctx.ref(repo, "1"),
           ctx.ref(other, "1"))  # fmt: skip
    ctx.verify(other, "1", sample.digest)
    ctx.verify(other, tag, ctx.samples.get("artifact").digest)
    found = [entry["digest"] for entry in ctx.registry.referrers(other, sample.digest)]
    check_equal(found, [referrer], "referrers in the copy")


def index_with_subject(ctx):
    sample, repo = ctx.samples.get("multi"), ctx.repo("index-subject")
    ctx.registry.seed(repo, "1", sample)
    children = [entry["digest"] for entry in sample.manifest()["manifests"]]
    regctl(ctx, "index", "create", ctx.ref(repo, "refers"), "--subject", "1", "--artifact-type",
           SBOM, "--ref", ctx.ref(repo, children[0]))  # fmt: skip
    found = ctx.registry.referrers(repo, sample.digest)
    digest = ctx.registry.digest(repo, "refers")
    check_equal([entry["digest"] for entry in found], [digest], "referrers")
    check_equal(found[0]["mediaType"], OCI_INDEX, "type of the referrer")
    check_equal(found[0]["artifactType"], SBOM, "artifact type of the referrer")


def sha512(ctx):
    """A whole image under sha512 digests: by digest, by tag, copied, read by our client."""
    sample, repo, other = ctx.samples.get("image"), ctx.repo("sha512"), ctx.repo("sha512-copy")
    ctx.registry.seed(repo, "1", sample)
    regctl(ctx, "image", "mod", ctx.ref(repo, "1"), "--digest-algo", "sha512", "--create", "512")
    _, media_type, digest = ctx.registry.manifest(repo, "512")
    check_equal(media_type, OCI_MANIFEST, "type")
    check(digest.startswith("sha512:"), f"the tag answers with {digest}")
    tree = ctx.registry.tree(repo, "512")
    check(all(each.startswith("sha512:") for each in tree), f"digests in the tree: {tree}")
    ctx.verify(repo, digest, digest, peer=False)
    regctl(ctx, "image", "copy", ctx.ref(repo, "512"), ctx.ref(other, "1"))
    ctx.verify(other, "1", digest, peer=False)


def blobs(ctx):
    repo, other, content = ctx.repo("blobs"), ctx.repo("blobs-b"), noise(ctx.run_id + "r", 9000)
    name, second = (f"{ctx.registry.address}/{each}" for each in (repo, other))
    digest = digest_of(content)
    put = regctl(ctx, "blob", "put", name, stdin=content)
    check_equal(put.out.strip(), digest, "digest regctl reports")
    head = regctl(ctx, "blob", "head", name, digest).out
    check("9000" in head, f"regctl blob head shows {head}")
    regctl(ctx, "blob", "copy", name, second, digest)
    regctl(ctx, "blob", "delete", name, digest)
    check_equal(ctx.registry.status(repo, "blobs", digest), 404, "deleted blob")
    check_equal(ctx.registry.status(other, "blobs", digest), 200, "its copy")


def manifests(ctx):
    sample, repo = ctx.samples.get("image"), ctx.repo("manifests")
    ctx.registry.seed(repo, "1", sample)
    body = sample.bytes_of(sample.digest)
    put = regctl(ctx, "manifest", "put", "--content-type", OCI_MANIFEST, "--format",
                 "{{.Manifest.GetDescriptor.Digest}}", ctx.ref(repo, "2"), stdin=body)  # fmt: skip
    check_equal(put.out.strip(), sample.digest, "digest regctl reports")
    ctx.verify(repo, "2", sample.digest)
    regctl(ctx, "manifest", "delete", ctx.ref(repo, sample.digest))
    check_equal(ctx.registry.status(repo, "manifests", "2"), 404, "tag of the deleted manifest")
    ctx.check_tags(ctx.registry.tags(repo), [])


def delete_tag(ctx):
    sample, repo = ctx.samples.get("image"), ctx.repo("untag")
    ctx.registry.seed(repo, "1", sample)
    ctx.registry.seed(repo, "2", sample)
    regctl(ctx, "tag", "delete", ctx.ref(repo, "1"))
    ctx.check_tags(ctx.registry.tags(repo), ["2"])
    ctx.verify(repo, "2", sample.digest)


def unknown(ctx):
    said = ctx.refused("regctl", "manifest", "head", ctx.ref(ctx.repo("nothing"), "1"))
    check("not found" in said, f"regctl says: {said}")


CASES = (
    ("push an image, an index, an artifact", push),
    ("push a big layer", push_big),
    ("push in chunks", push_in_chunks),
    ("pull an image, an index, an artifact", pull),
    ("digest, manifest, platform", look),
    ("list tags, by pages", list_tags),
    ("list repositories", catalog, "catalog"),
    ("copy between repositories", copy),
    ("make and change an index", make_index),
    ("attach and discover", attach_and_discover, "referrers"),
    ("copy with referrers", copy_with_referrers, "referrers"),
    ("copy with referrers and digest tags", copy_with_digest_tags, "referrers"),
    ("an index that refers to a subject", index_with_subject, "referrers"),
    ("a sha512 image", sha512, "sha512"),
    ("put, copy and delete a blob", blobs),
    ("put and delete a manifest", manifests),
    ("delete a tag", delete_tag),
    ("an unknown image is not found", unknown),
)
