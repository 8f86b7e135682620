"""cosign: signatures as referrers, and in the older form as tags; a local key, no transparency log,
nothing from a network."""

import json

from harness import check, check_equal

LACKS = ("push, pull, list: cosign is for signatures", "keyless signing: needs a network")
OFFLINE = ("--tlog-upload=false", "--use-signing-config=false", "--allow-http-registry", "--yes")
UNLOGGED = ("--insecure-ignore-tlog=true", "--allow-http-registry")
OLD = "--new-bundle-format=false"
BUNDLE = "application/vnd.dev.sigstore.bundle"


def setup(ctx):
    ctx.program("cosign")
    ctx.env["COSIGN_PASSWORD"] = "of the run"
    result = ctx.run("cosign", "version", "--json").json()
    for name in ("ours", "other"):
        ctx.run("cosign", "generate-key-pair", "--output-key-prefix", name)
    return f"cosign {result['gitVersion']}"


def sign(ctx, repo, digest, *words):
    ctx.run("cosign", "sign", "--key", "ours.key", *OFFLINE, *words, ctx.ref(repo, digest))


def verifies(ctx, repo, reference, *words):
    """The key that signed is accepted, another is not."""
    found = ctx.run("cosign", "verify", "--key", "ours.pub", *UNLOGGED, *words,
                    ctx.ref(repo, reference)).json()  # fmt: skip
    ctx.refused("cosign", "verify", "--key", "other.pub", *UNLOGGED, *words,
                ctx.ref(repo, reference))  # fmt: skip
    return [one["critical"]["image"]["docker-manifest-digest"] for one in found]


def seeded(ctx, name, what="image"):
    sample, repo = ctx.samples.get(what), ctx.repo(name)
    ctx.registry.seed(repo, "1", sample)
    return sample, repo


def by_referrer(ctx):
    sample, repo = seeded(ctx, "referrer")
    ctx.refused("cosign", "verify", "--key", "ours.pub", *UNLOGGED, ctx.ref(repo, "1"))
    sign(ctx, repo, sample.digest)
    for reference in ("1", sample.digest):
        check_equal(verifies(ctx, repo, reference), [sample.digest], f"signed by {reference}")
    found = ctx.registry.referrers(repo, sample.digest)
    check_equal(len(found), 1, "referrers")
    check(found[0]["artifactType"].startswith(BUNDLE), f"type of the referrer: {found}")
    ctx.check_tags(ctx.registry.tags(repo), ["1"])
    ctx.verify(repo, found[0]["digest"])


def by_tag(ctx):
    sample, repo = seeded(ctx, "tag")
    for _ in range(2):  # the second signature goes into the manifest of the first
        sign(ctx, repo, sample.digest, OLD)
    check(sample.digest in verifies(ctx, repo, "1", OLD), "the signature is of another image")
    tag = sample.digest.replace(":", "-") + ".sig"
    ctx.check_tags(ctx.registry.tags(repo), ["1", tag])
    ctx.verify(repo, tag)


def attestation(ctx):
    sample, repo = seeded(ctx, "attest")
    statement = ctx.write("statement.json", json.dumps({"run": ctx.run_id}))
    ctx.run("cosign", "attest", "--key", "ours.key", "--predicate", statement, "--type",
            "https://example.org/test", *OFFLINE, ctx.ref(repo, sample.digest))  # fmt: skip
    words = ("cosign", "verify-attestation", "--type", "https://example.org/test", *UNLOGGED)
    ctx.run(*words, "--key", "ours.pub", ctx.ref(repo, "1"))
    ctx.refused(*words, "--key", "other.pub", ctx.ref(repo, "1"))
    check_equal(len(ctx.registry.referrers(repo, sample.digest)), 1, "referrers")


def index_and_children(ctx):
    sample, repo = seeded(ctx, "index", "multi")
    sign(ctx, repo, sample.digest, "--recursive")
    for digest in sample.manifests:
        check_equal(verifies(ctx, repo, digest), [digest], "signed")


def moved_tag(ctx):
    """A tag that moves to other content is no longer signed."""
    sample, repo = seeded(ctx, "moved")
    sign(ctx, repo, sample.digest)
    ctx.registry.seed(repo, "1", ctx.samples.get("other"))
    ctx.refused("cosign", "verify", "--key", "ours.pub", *UNLOGGED, ctx.ref(repo, "1"))
    check_equal(verifies(ctx, repo, sample.digest), [sample.digest], "signed")


def copy(ctx):
    """cosign copy takes the signatures that lie under tags along."""
    sample, repo = seeded(ctx, "copy-a")
    sign(ctx, repo, sample.digest, OLD)
    other = ctx.repo("copy-b")
    ctx.run("cosign", "copy", "--allow-http-registry", ctx.ref(repo, "1"), ctx.ref(other, "1"))
    check_equal(verifies(ctx, other, "1", OLD), [sample.digest], "signed in the copy")


CASES = (
    ("sign and verify by referrer", by_referrer, "referrers"),
    ("sign and verify by tag, twice", by_tag),
    ("attest and verify", attestation, "referrers"),
    ("sign an index and its children", index_and_children, "referrers"),
    ("a moved tag is not signed", moved_tag, "referrers"),
    ("copy with signatures", copy),
)
