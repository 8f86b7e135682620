"""Real clients through each proxy, over TLS: the cases of tests/clients, run again."""

import importlib
import os
import shutil

import harness
from harness import Failed, Missing, Skipped, check, check_equal

CASES_OF = {
    "docker": ("build from scratch and push, twice", "pull back by tag and digest",
               "push to a second repository mounts", "push and pull a big layer",
               "pull an OCI image", "pull all tags"),
    "podman": ("build from scratch and push", "pull back what was pushed",
               "push zstd layers and pull back", "pull by tag and digest", "pull a big layer"),
    "skopeo": ("push an image", "push a multi-arch index", "push a big layer",
               "pull by tag and digest", "pull a multi-arch index"),
    "crane": ("push and validate an image, twice", "push and validate a big layer",
              "pull images and indexes", "copy all tags", "append, mutate, flatten"),
    "regctl": ("push an image, an index, an artifact", "push in chunks", "list tags, by pages",
               "copy with referrers"),
}  # fmt: skip
SHARED = ("docker", "podman", "skopeo", "crane", "regctl", "oras")
CERTS = ".config/containers/certs.d"
DOCKER_CERTS = "/etc/docker/certs.d"


class Context(harness.Context):
    """Through TLS. Clients written in Go trust what SSL_CERT_FILE names; docker, podman and skopeo
    are told by their own folders of certificates, which are the ones users have."""

    plain = False

    def __init__(self, w, kind, name):
        super().__init__(f"{kind}-{name}", w.registry(w.standard(kind)), w.samples, w.path,
                         w.run_id, str(w.scratch), ())  # fmt: skip
        self.authority = w.authority
        place = f"{self.registry.address}/ca.crt"
        if name in ("podman", "skopeo"):
            with open(w.authority, encoding="ascii") as source:
                self.write(f"home/{CERTS}/{place}", source.read())
        elif name == "docker":
            os.makedirs(os.path.dirname(f"{DOCKER_CERTS}/{place}"), exist_ok=True)
            shutil.copy(w.authority, f"{DOCKER_CERTS}/{place}")
        else:
            self.env["SSL_CERT_FILE"] = w.authority

    def verify(self, repo, reference, digest=None, peer=True):
        return super().verify(repo, reference, digest, peer=False)


def run_oras(ctx):
    ctx.program("oras")
    repo, content = ctx.repo("file"), ctx.samples.layer(ctx.name, 5 << 20)
    ctx.write("out/data.bin", content)
    words = ("--no-tty", "--ca-file", ctx.authority)
    ctx.run("oras", "push", *words, ctx.ref(repo, "1"), "data.bin:application/x.test",
            cwd=ctx.path("out"))  # fmt: skip
    ctx.run("oras", "attach", *words, "--distribution-spec", "v1.1-referrers-api", "--artifact-type",
            "application/x.sbom", ctx.ref(repo, "1"), "data.bin", cwd=ctx.path("out"))  # fmt: skip
    ctx.verify(repo, "1")
    ctx.run("oras", "copy", "-r", "--no-tty", "--from-ca-file", ctx.authority, "--to-ca-file",
            ctx.authority, ctx.ref(repo, "1"), ctx.ref(repo + "-copy", "1"))  # fmt: skip
    digest = ctx.registry.digest(repo, "1")
    check_equal(len(ctx.registry.referrers(repo + "-copy", digest)), 1, "referrers of the copy")
    ctx.run("oras", "pull", *words, "-o", ctx.folder("in"), ctx.ref(repo + "-copy", "1"))
    check(ctx.read("in/data.bin") == content, "other bytes pulled")


def untrusted(ctx, name):
    """Without the authority the same client refuses: it did verify the certificate."""
    repo = ctx.repo("untrusted")
    if name == "podman":
        shutil.rmtree(f"{ctx.home}/{CERTS}")
        said = ctx.refused(*ctx.state["base"], "pull", "-q", ctx.ref(repo, "1"))
    elif name == "docker":
        shutil.rmtree(f"{DOCKER_CERTS}/{ctx.registry.address}")
        said = ctx.refused(ctx.state["docker"], "pull", ctx.ref(repo, "1"))
    else:
        return
    check("certificate" in said or "x509" in said, f"{name} says: {said[-300:]}")


def run_client(w, kind, name):
    """All cases of one client through one proxy, as one case. Returns what it did."""
    if name in ("docker", "podman") and not w.private:
        raise Skipped("needs root: a daemon, or storage, and a name of its own for the registry")
    if name == "docker" and not os.path.isdir("/etc/docker"):
        raise Skipped("no folder /etc/docker to cover with one of the test's own")
    ctx = Context(w, kind, name)
    try:
        if name == "oras":
            run_oras(ctx)
            return "push, attach, copy, pull"
        module = importlib.import_module(f"client_{name}")
        version = module.setup(ctx)
        cases = {title: function for title, function, *_ in module.CASES}
        for title in CASES_OF[name]:
            try:
                cases[title](ctx)
            except Failed as failure:
                raise Failed(f"{title}: {failure}") from failure
        untrusted(ctx, name)
        return f"{version}: {len(CASES_OF[name])} cases"
    except Missing as reason:
        raise Skipped(f"missing: {name}: {reason}") from reason
    finally:
        ctx.close()
