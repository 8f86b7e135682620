"""helm: charts, by ORAS underneath, with the type of their own config."""

import json

import harness
from harness import check, check_equal, digest_of

CONFIG = "application/vnd.cncf.helm.config.v1+json"
PROVENANCE = "application/vnd.cncf.helm.chart.provenance.v1.prov"
LACKS = (
    "delete in a registry, list tags, copy: helm has no command for it",
    "attach and discover: helm has no command for it",
)


def setup(ctx):
    ctx.program("helm")
    return "helm " + ctx.version_line("helm", "version", "--short")


def package(ctx, name, version, lines=10):
    """A chart as one file; returns its path."""
    ctx.write(f"{name}/Chart.yaml", f"apiVersion: v2\nname: {name}\nversion: {version}\n")
    values = "".join(f"value{n}: {ctx.run_id}-{n}\n" for n in range(lines))
    ctx.write(f"{name}/values.yaml", values)
    ctx.run("helm", "package", name, "-d", ctx.folder("packed"))
    return ctx.path("packed", f"{name}-{version}.tgz")


def push(ctx, path, repo):
    """Returns the digest helm reports."""
    told = ctx.run("helm", "push", path, f"oci://{ctx.registry.address}/{repo}", "--plain-http")
    lines = (told.out + told.err).splitlines()
    return next(line.split()[1] for line in lines if line.startswith("Digest: "))


def push_and_pull(ctx):
    repo = ctx.repo("charts")
    for version in ("0.1.0", "0.2.0+build.7"):
        path = package(ctx, "app", version, lines=5000)
        digest = push(ctx, path, repo)
        tag = version.replace("+", "_")
        data, _, got = ctx.registry.manifest(f"{repo}/app", tag)
        check_equal(got, digest, "digest of the chart")
        check_equal(json.loads(data)["config"]["mediaType"], CONFIG, "type of the config")
        ctx.verify(f"{repo}/app", tag, digest)
        ctx.run("helm", "pull", f"oci://{ctx.registry.address}/{repo}/app", "--version", version,
                "--plain-http", "-d", ctx.folder("pulled"))  # fmt: skip
        name = f"app-{version}.tgz"
        check_equal(digest_of(ctx.read(f"pulled/{name}")), digest_of(ctx.read(f"packed/{name}")),
                    "the chart pulled")  # fmt: skip


def with_provenance(ctx):
    """A file NAME.tgz.prov goes along as a second layer, and comes back."""
    repo, path = ctx.repo("signed"), package(ctx, "proven", "1.0.0")
    ctx.write("packed/proven-1.0.0.tgz.prov", "a provenance of the run " + ctx.run_id)
    ctx.verify(f"{repo}/proven", "1.0.0", push(ctx, path, repo))
    layers = json.loads(ctx.registry.manifest(f"{repo}/proven", "1.0.0")[0])["layers"]
    check(PROVENANCE in [layer["mediaType"] for layer in layers], f"layers: {layers}")
    ctx.run("helm", "pull", f"oci://{ctx.registry.address}/{repo}/proven", "--version", "1.0.0",
            "--plain-http", "--prov", "-d", ctx.folder("proven-in"))  # fmt: skip
    check_equal(ctx.read("proven-in/proven-1.0.0.tgz.prov").decode(),
                "a provenance of the run " + ctx.run_id, "the provenance pulled")  # fmt: skip


def newest(ctx):
    """Without a version helm lists the tags and takes the newest that fits."""
    repo = ctx.repo("newest")
    for version in ("1.2.0", "1.10.0", "2.0.0-rc.1", "1.9.9"):
        push(ctx, package(ctx, "many", version), repo)
    name = f"oci://{ctx.registry.address}/{repo}/many"
    for words, wanted in (((), "1.10.0"), (("--version", "~1.9"), "1.9.9"), (("--devel",), "2.0.0")):
        shown = ctx.run("helm", "show", "chart", name, "--plain-http", *words).out
        check(f"version: {wanted}" in shown, f"helm show chart {words} shows {shown}")
    rendered = ctx.run("helm", "template", "x", name, "--version", "1.2.0", "--plain-http")
    check("1.2.0" in rendered.err, f"helm template says {rendered.err}")


def dependency(ctx):
    """A chart that depends on one in the registry."""
    repo = ctx.repo("library")
    push(ctx, package(ctx, "part", "3.1.4"), repo)
    source = f"oci://{ctx.registry.address}/{repo}"
    ctx.write("whole/Chart.yaml", "apiVersion: v2\nname: whole\nversion: 1.0.0\ndependencies:\n"
              f"- name: part\n  version: 3.1.4\n  repository: {source}\n")  # fmt: skip
    ctx.run("helm", "dependency", "update", "whole", "--plain-http")
    check_equal(digest_of(ctx.read("whole/charts/part-3.1.4.tgz")),
                digest_of(ctx.read("packed/part-3.1.4.tgz")), "the dependency pulled")  # fmt: skip


def unknown(ctx):
    name = f"oci://{ctx.registry.address}/{ctx.repo('nothing')}/app"
    said = ctx.refused("helm", "pull", name, "--version", "1.0.0", "--plain-http")
    check("not found" in said, f"helm says: {said}")


class Caller(harness.Caller):
    tag = "1.0.0"
    mount = None

    def __init__(self, ctx, address):
        super().__init__(ctx, address)
        self.path = package(ctx, "x", self.tag, lines=5000)

    def login(self, user, password):
        words = ("login", "--plain-http", "-u", user, "-p", password)
        self.ctx.run("helm", "registry", *words, self.address)

    def logout(self):
        self.ctx.run("helm", "registry", "logout", self.address)

    def push(self, repo):
        target = f"oci://{self.address}/{repo.rpartition('/')[0]}"
        self.ctx.run("helm", "push", self.path, target, "--plain-http")

    def pull(self, repo):
        target = self.fresh()
        self.ctx.run("helm", "pull", f"oci://{self.address}/{repo}", "--version", self.tag,
                     "--plain-http", "-d", self.ctx.folder(target))  # fmt: skip
        name = f"x-{self.tag}.tgz"
        check_equal(digest_of(self.ctx.read(f"{target}/{name}")),
                    digest_of(self.ctx.read(f"packed/{name}")), "the chart pulled")  # fmt: skip


CASES = (
    ("push and pull a chart", push_and_pull),
    ("push and pull a chart with provenance", with_provenance),
    ("newest of many versions", newest),
    ("a dependency from the registry", dependency),
    ("an unknown chart is not found", unknown),
)
