"""notation: signatures as referrers, with a test certificate made by it."""

import json

from harness import check, check_equal

LACKS = ("push, pull, copy: notation is for signatures",)
TYPE = "application/vnd.cncf.notary.signature"
PLAIN = "--insecure-registry"
API = "--force-referrers-tag=false"


def setup(ctx):
    ctx.program("notation")
    ctx.env["XDG_CONFIG_HOME"] = ctx.folder("home", ".config")
    lines = ctx.run("notation", "version").lines()
    for name in ("ours.example", "other.example"):
        ctx.run("notation", "cert", "generate-test", name)
    trust(ctx, "ours.example")
    return "notation " + next(ln.split()[-1] for ln in lines if ln.startswith("Version"))


def trust(ctx, name):
    policy = {"name": "test", "registryScopes": ["*"], "trustStores": [f"ca:{name}"],
              "signatureVerification": {"level": "strict"}, "trustedIdentities": ["*"]}  # fmt: skip
    path = ctx.write("policy.json", json.dumps({"version": "1.0", "trustPolicies": [policy]}))
    ctx.run("notation", "policy", "import", "--force", path)


def sign(ctx, repo, digest, *words):
    ctx.run("notation", "sign", PLAIN, "--key", "ours.example", *words, ctx.ref(repo, digest))


def seeded(ctx, name, what="image"):
    sample, repo = ctx.samples.get(what), ctx.repo(name)
    ctx.registry.seed(repo, "1", sample)
    return sample, repo


def sign_and_verify(ctx):
    """By the referrers API; and as notation does it unasked, with the fallback's tag as well."""
    for form, words in (("jws", (API,)), ("cose", ())):
        sample, repo = seeded(ctx, form)
        said = ctx.refused("notation", "verify", PLAIN, ctx.ref(repo, sample.digest))
        check("no signature" in said, f"notation says: {said}")
        sign(ctx, repo, sample.digest, "--signature-format", form, *words)
        for reference in ("1", sample.digest):
            ctx.run("notation", "verify", PLAIN, ctx.ref(repo, reference))
        found = ctx.registry.referrers(repo, sample.digest)
        check_equal([one["artifactType"] for one in found], [TYPE], "referrers")
        fallback = [] if words else [sample.digest.replace(":", "-")]
        ctx.check_tags(ctx.registry.tags(repo), ["1", *fallback])
        ctx.verify(repo, found[0]["digest"])


def not_trusted(ctx):
    sample, repo = seeded(ctx, "trust")
    sign(ctx, repo, sample.digest)
    trust(ctx, "other.example")
    try:
        ctx.refused("notation", "verify", PLAIN, ctx.ref(repo, sample.digest))
    finally:
        trust(ctx, "ours.example")
    ctx.run("notation", "verify", PLAIN, ctx.ref(repo, sample.digest))


def listed(ctx):
    sample, repo = seeded(ctx, "listed", "multi")
    for number in range(3):
        sign(ctx, repo, sample.digest, "--user-metadata", f"number={number}")
    found = [entry["digest"] for entry in ctx.registry.referrers(repo, sample.digest)]
    check_equal(len(found), 3, "referrers")
    shown = ctx.run("notation", "list", PLAIN, ctx.ref(repo, sample.digest)).out
    check(all(digest in shown for digest in found), f"notation list shows {shown}")
    seen = ctx.run("notation", "inspect", PLAIN, "-o", "json", ctx.ref(repo, sample.digest)).json()
    check_equal(len(seen["Signatures"]), 3, "signatures that notation inspect shows")


CASES = (
    ("sign and verify, JWS and COSE", sign_and_verify, "referrers"),
    ("a signature that is not trusted", not_trusted, "referrers"),
    ("many signatures are listed", listed, "referrers"),
)
