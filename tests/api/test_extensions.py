"""Extensions, health and metrics, options."""

import re
import shutil

import oci
from harness import Skip, case


@case("R160")
def discovery(t):
    repo = t.repo()
    t.image(repo)
    for path in ("/v2/_oci/ext/discover", f"/v2/{repo}/_oci/ext/discover"):
        resp = t.get(path)
        if resp.status == 404:
            raise Skip("discovery is not served")
        t.header(t.status(resp, 200), "Content-Type", "application/json")
        names = []
        for one in resp.json()["extensions"]:
            t.true({"name", "url", "endpoints"} <= set(one), "name, url, endpoints", one)
            t.true(isinstance(one["endpoints"], list), "a list of endpoints", one)
            names.append(one["name"])
        t.true(all(re.fullmatch(r"_[a-z0-9]+([._-][a-z0-9]+)*", n) for n in names), "extension names", names)


@case("R161", "R14")
def unknown_extensions(t):
    repo = t.repo()
    t.image(repo)
    for path in ("_nobody/has/this", f"{repo}/_nobody/has/this", "_docker/x/y", "_chainguard/x/y"):
        t.error(t.get("/v2/" + path), 404)


@case("R164")
def no_signature_extension(t):
    repo = t.repo()
    digest, _ = t.image(repo)
    t.no_header(t.get("/v2/"), "X-Registry-Supports-Signatures")
    t.status(t.get(f"/extensions/v2/{repo}/signatures/{digest}"), 404)


@case("L17")
def health(t):
    for path in ("/livez", "/readyz"):
        t.status(t.get(path), 200)
        t.status(t.head(path), 200)
        t.status(t.req("POST", path), 405)
        t.status(t.get("/v2" + path), 404)


@case("L17")
def metrics(t):
    repo = t.repo()
    t.image(repo, "v1")
    t.get(f"/v2/{repo}/manifests/v1")
    resp = t.status(t.get("/metrics"), 200)
    t.header(resp, "Content-Type", re.compile(r"text/plain.*"))
    names = set()
    for line in resp.body.decode().splitlines():
        if line and not line.startswith("#"):
            found = re.fullmatch(r'([a-zA-Z_:][a-zA-Z0-9_:]*)(\{[^}]*\})? ([-+0-9.eEinfNa]+)', line)
            t.true(found, "a sample line", line)
            names.add(found.group(1))
    t.true(len(names) > 3, "some metrics", names)
    t.true(repo not in resp.body.decode(), "no repository names in metrics", repo)
    t.status(t.get("/v2/metrics"), 404)


@case("L17", "L9", server="")
def not_ready_says_why(t):
    t.on_directory()
    srv = t.serve()
    client = t.at(srv)
    client.status(client.get("/readyz"), 200)
    shutil.rmtree(srv.root)
    resp = client.status(client.get("/readyz"), 503)
    t.true(len(resp.body.split()) > 3, "a reason in the body", resp.show())
    client.status(client.get("/livez"), 200)
    client.error(client.req("PUT", "/v2/a/manifests/v1", {"Content-Type": oci.INDEX},
                            oci.dump(oci.index_doc([]))), (500, 503, 507), "UNKNOWN")


@case("L15", "R21")
def locked_down_headers(t):
    repo = t.repo()
    t.image(repo, "v1")
    blob = t.blob(repo, b"<html><script>alert(1)</script>")
    for path in ("/v2/", f"/v2/{repo}/blobs/{blob}", f"/v2/{repo}/manifests/v1", "/v2/none",
                 f"/v2/{repo}/blobs/{oci.ZERO}", f"/v2/{repo}/tags/list", "/v2/BAD/tags/list"):
        for method in ("GET", "HEAD", "POST"):
            resp = t.req(method, path)
            t.header(resp, "X-Content-Type-Options", "nosniff")
            t.header(resp, "Content-Security-Policy", re.compile(r".*default-src 'none'.*"))
            t.header(resp, "Docker-Distribution-API-Version", "registry/2.0")


@case("R28")
def no_cors_unless_configured(t):
    head = {"Origin": "https://evil.test"}
    t.no_header(t.req("GET", "/v2/", head), "Access-Control-Allow-Origin")
    got = t.req("OPTIONS", "/v2/", {**head, "Access-Control-Request-Method": "PUT"})
    t.no_header(got, "Access-Control-Allow-Origin")


@case("R27")
def warnings_have_the_agreed_shape(t):
    for resp in (t.get("/v2/"), t.get("/v2/_catalog")):
        values = resp.all("Warning")
        t.true(sum(map(len, values)) < 4096, "warnings below 4096 bytes", len(values))
        for value in values:
            t.true(re.fullmatch(r'299 - ".*"', value), '299 - "text"', value)
