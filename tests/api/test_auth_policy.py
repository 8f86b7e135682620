"""The policy, the catalog by it, API keys, other issuers, certificates, and scripts of web pages
(R28, R110-R119, R125)."""

import json
import subprocess
import time

import oci
import people
import tokens
from harness import case
from people import Door
from workloads import WORKLOADS

RULES = """# comment
group  devs bob carol
deny   everyone           secret/**   *
allow  user:alice         **          *
allow  group:devs         dev/**      pull,push,catalog
allow  group:devs         dev/rel     delete            tmp-*
allow  anonymous          public/*    pull,catalog
deny   user:carol         shop/**     push              v*
allow  user:carol         shop/**     pull,push,catalog
allow  claim:env=prod-*   prod/**     pull
allow  group:robots       **          pull,push
"""


def run(t, *args, expect=0):
    done = subprocess.run(
        [t.world.need_binary(), *args], capture_output=True, text=True, timeout=20
    )
    t.eq(done.returncode, expect, f"status of {' '.join(args[:3])} ({done.stderr.strip()[:200]})")
    return done.stdout.strip()


@case("R113", server="")
def first_rule_that_matches(t):
    """What the explaining command says of each is what the server does."""
    d = Door(t, users=("alice", "bob", "carol"), policy=RULES)
    alice = d.user("alice")
    for repo in ("dev/rel", "public/a", "public/a/b", "shop/s", "secret/s"):
        if not repo.startswith("secret"):
            alice.image(repo, "v1")
            alice.image(repo, "tmp-1")
    rows = (
        # who, repository, action, tag, line of the rule (0: none), allowed
        ("alice", "dev/rel", "pull", "v1", 4, True),
        ("alice", "secret/s", "pull", "v1", 3, False),
        ("bob", "dev/rel", "pull", "v1", 5, True),
        ("bob", "dev/rel", "delete", "tmp-1", 6, True),
        ("bob", "dev/rel", "delete", "v1", 0, False),
        ("bob", "shop/s", "pull", "v1", 0, False),
        ("carol", "shop/s", "push", "v9", 8, False),
        ("carol", "shop/s", "push", "w9", 9, True),
        ("carol", "shop/s", "pull", "v1", 9, True),
        ("anonymous", "public/a", "pull", "v1", 7, True),
        ("anonymous", "public/a/b", "pull", "v1", 0, False),
        ("anonymous", "public/a", "push", "v1", 0, False),
        ("anonymous", "secret/s", "pull", "v1", 3, False),
    )
    body = {r: alice.get(f"/v2/{r}/manifests/v1") for r in ("dev/rel", "shop/s", "public/a")}
    for who, repo, action, tag, line, allowed in rows:
        said = run(
            t, "policy", "explain", "--policy", str(d.policy), who, repo, action, tag,
            expect=0 if allowed else 1,
        )  # fmt: skip
        where = f"{d.policy}:{line}: " if line else "no rule"
        t.true(where in said, f"line {line} for {who} {repo} {action}", said)
        caller = d.by() if who == "anonymous" else d.user(who)
        target = f"/v2/{repo}/manifests/{tag}"
        if action == "pull":
            resp = caller.get(target)
        elif action == "delete":
            resp = caller.delete(target)
        else:
            kind = [("Content-Type", oci.IMAGE)]
            known = body.get(repo, body["dev/rel"])
            resp = caller.req("PUT", target, kind, known.body)
        refused = resp.status in (401, 403)
        t.true(refused != allowed, f"{'allowed' if allowed else 'refused'}: {who} {action} {target}",
               resp.show())  # fmt: skip
    run(t, "policy", "explain", "--policy", str(d.policy), "x,claim:env=prod-1", "prod/a", "pull")
    run(t, "policy", "explain", "--policy", str(d.policy), "x", "prod/a", "pull", expect=1)


@case("R113", server="")
def tags_of_one_push(t):
    """Each tag of the query is judged; a digest is deleted only without rules on tags."""
    d = Door(t, users=("alice", "bob", "carol"), policy=RULES)
    digest, body = d.user("alice").image("shop/s", "x")
    d.user("alice").image("dev/rel", "tmp-1")
    kind = [("Content-Type", oci.IMAGE)]
    carol, target = d.user("carol"), f"/v2/shop/s/manifests/{digest}"
    t.status(carol.req("PUT", f"{target}?tag=a&tag=b", kind, body), 201)
    t.error(carol.req("PUT", f"{target}?tag=a&tag=v2", kind, body), 403, "DENIED")
    t.status(carol.get("/v2/shop/s/manifests/v2"), 404)
    found = d.user("bob").get("/v2/dev/rel/manifests/tmp-1").h("Docker-Content-Digest")
    t.error(d.user("bob").delete(f"/v2/dev/rel/manifests/{found}"), 403, "DENIED")


OVERRIDES = """
allow user:alice ** *
allow user:bob   a  pull,push,delete,history
allow user:bob   a  override-immutable        v1
allow user:carol a  pull,push,delete,history
"""


@case("R96", "R113", server="")
def override_needs_its_right(t):
    """The right alone changes nothing, to ask without it is refused and written down."""
    d = Door(t, "--auth-mode", "bearer", users=("alice", "bob", "carol"), policy=OVERRIDES)
    alice, bob, carol = (d.user(who) for who in ("alice", "bob", "carol"))
    kind = [("Content-Type", oci.IMAGE)]
    old, _ = alice.image("a", "v1")
    new, body = alice.image("a", "new")
    for tag in ("v2", "free"):
        alice.image("a", tag)
    alice.status(alice.req("PUT", "/v2/a/_stowage/settings", [], b'{"immutable":["v*"]}'), 200)
    release = oci.dump({"tags": [{"tag": "v1", "digest": new}, {"tag": "v2", "digest": new}]})
    ask = "?override=true"
    asked = (
        ("PUT", f"/v2/a/manifests/v1{ask}", kind, body),
        ("PUT", f"/v2/a/manifests/free{ask}", kind, body),  # also where nothing is immutable
        ("PUT", f"/v2/a/manifests/{new}{ask}&tag=v1&tag=v2", kind, body),
        ("DELETE", f"/v2/a/manifests/v1{ask}", [], b""),
        ("DELETE", f"/v2/a/manifests/{old}{ask}", [], b""),
        ("POST", f"/v2/a/_stowage/tags{ask}", [], release),
        ("POST", f"/v2/a/_stowage/revert{ask}&at=1&tag=v2", [], b""),
        ("POST", f"/v2/a/_stowage/revert{ask}&at=1", [], b""),
        ("DELETE", f"/v2/a/_stowage/repository{ask}", [], b""),
    )
    for method, target, headers, content in asked:
        t.error(carol.req(method, target, headers, content), 403, "DENIED")
    def told():
        return [x for x in d.server.log().splitlines() if "action=override-immutable" in x]

    people.eventually(lambda: len(told()) >= len(asked))
    denials = told()
    t.eq(len(denials), len(asked), "denials in the log")
    t.true(all("event=auth.denied" in x and "by=carol" in x for x in denials), "each names her", denials)
    for method, target, headers, content in asked[1:3] + asked[4:]:  # bob may on v1 alone
        t.error(bob.req(method, target, headers, content), 403, "DENIED")
    t.error(bob.req("PUT", "/v2/a/manifests/v1", kind, body), 403, "DENIED")
    t.eq(alice.get("/v2/a/manifests/v1").h("Docker-Content-Digest"), old, "so far nothing moved")
    t.status(bob.req("PUT", f"/v2/a/manifests/v1{ask}", kind, body), 201)
    t.eq(alice.get("/v2/a/manifests/v1").h("Docker-Content-Digest"), new, "it moved")
    t.error(carol.req("PUT", f"/v2/a/manifests/v2{ask}", kind, body), 403, "DENIED")
    token = bob.get("/auth/token?scope=repository:a:pull").json()["token"]
    t.error(d.by(people.bearer(token)).delete(f"/v2/a/manifests/v1{ask}"), 401, "UNAUTHORIZED")
    token = bob.get("/auth/token?scope=repository:a:pull,push,delete").json()["token"]
    t.status(d.by(people.bearer(token)).delete(f"/v2/a/manifests/v1{ask}"), 202)
    log = alice.get("/v2/a/_stowage/log").json()["entries"]
    ops = [op for entry in log for op in entry["operations"] if op.get("override")]
    t.eq([(op["op"], op["by"]) for op in ops], [("put", "bob"), ("tags", "bob")], "overrides")


@case("R125", server="")
def catalog_of_each(t):
    """Everybody sees what the policy lists for him, page by page without a gap."""
    d = Door(t, users=("alice", "bob", "carol"), policy=RULES)
    for i in range(12):
        d.user("alice").image(f"dev/r{i:02}", "x")
        d.user("alice").image(f"other/r{i:02}", "x")
    d.user("alice").image("public/a", "x")

    def pages(view, n):
        names, target = [], f"/v2/_catalog?n={n}"
        while target:
            resp = t.status(view.get(target), 200)
            got = resp.json()["repositories"]
            t.true(len(got) <= n, f"at most {n}", got)
            names += got
            link = resp.h("Link")
            t.true(link is None or len(got) == n, "only the last page is short", got)
            target = link[1 : link.index(">")] if link else None
        return names

    dev = [f"dev/r{i:02}" for i in range(12)]
    t.eq(pages(d.user("bob"), 5), dev, "what bob sees")
    t.eq(pages(d.by(), 5), ["public/a"], "what nobody sees")
    t.eq(len(pages(d.user("alice"), 7)), 25, "what alice sees")


@case("R113", server="")
def policy_changes_while_serving(t):
    """A new rule counts at once, for tokens that were given, too; a broken file changes nothing."""
    d = Door(t, "--auth-mode", "bearer", users=("alice", "bob"), policy="allow user:* ** *\n")
    token = d.user("bob").get("/auth/token?scope=repository:a:pull,push").json()["token"]
    view = d.by(people.bearer(token))
    view.image("a", "v1")
    d.policy.write_text("allow user:bob a pull\n")
    changed = people.eventually(lambda: view.req("POST", "/v2/a/blobs/uploads/").status == 401)
    t.true(changed, "no push any more")
    t.status(view.get("/v2/a/manifests/v1"), 200)
    d.policy.write_text("allow bob a pull\n")
    time.sleep(1.3)
    t.status(view.get("/v2/a/manifests/v1"), 200)
    told = d.server.said("line 1")
    t.true(told, "the log names the line", d.server.log()[-300:])


@case("R119", server="")
def api_keys(t):
    """Made once, shown once, limited to their scopes, listed without the secret, revoked at once."""
    d = Door(t, users=("alice", "bob"), policy=RULES)
    alice = d.user("alice")
    alice.image("dev/a", "v1")
    alice.image("other/a", "v1")
    head = [("Content-Type", "application/json")]

    def make(**order):
        return alice.req("POST", "/auth/robots", head, json.dumps(order).encode())

    doc = t.status(make(name="ci", scopes="repository:dev/*:pull,push"), 201).json()
    robot = d.by(people.basic("ci", doc["key"]))
    t.status(robot.get("/v2/dev/a/manifests/v1"), 200)
    robot.image("dev/b", "v1")
    t.status(d.by(people.bearer(doc["key"])).get("/v2/dev/a/manifests/v1"), 200)
    t.error(robot.get("/v2/other/a/manifests/v1"), 403, "DENIED")
    t.error(robot.delete("/v2/dev/a/manifests/v1"), 403, "DENIED")
    t.error(robot.get("/auth/robots"), 403, "DENIED")
    t.error(d.user("bob").get("/auth/robots"), 403, "DENIED")
    t.error(d.by().get("/auth/robots"), 401, "UNAUTHORIZED")
    t.error(d.by(people.basic("other", doc["key"])).get("/v2/"), 401, "UNAUTHORIZED")
    wrong = doc["key"][:-1] + ("0" if doc["key"][-1] != "0" else "1")
    t.error(d.by(people.basic("ci", wrong)).get("/v2/"), 401, "UNAUTHORIZED")
    short = t.status(make(name="short", scopes="repository:**:pull", expires_in=1), 201).json()
    listed = t.status(alice.get("/auth/robots"), 200)
    t.eq({r["name"] for r in listed.json()["robots"]}, {"ci", "short"}, "listed keys")
    t.true(doc["key"] not in listed.body.decode(), "no key in the list")
    time.sleep(1.1)
    t.error(d.by(people.basic("short", short["key"])).get("/v2/"), 401, "UNAUTHORIZED")
    for bad in (
        {"name": "A", "scopes": "repository:a:pull"},
        {"name": "a", "scopes": ""},
        {"name": "a", "scopes": "repository:a:fly"},
        {"name": "a", "scopes": "repository:a:pull", "expires_in": 0},
        {"scopes": "repository:a:pull"},
    ):
        t.error(make(**bad), 400)
    t.status(alice.delete(f"/auth/robots/{doc['id']}"), 204)
    t.error(alice.delete(f"/auth/robots/{doc['id']}"), 404)
    t.error(robot.get("/v2/dev/a/manifests/v1"), 401, "UNAUTHORIZED")
    entries = b"".join(p.read_bytes() for p in d.root().glob("robots/_log/*/*"))
    t.true(b'"by":"alice"' in entries, "who made it")
    for where in (entries.decode(), d.server.log()):
        t.true(doc["key"] not in where and doc["key"][-64:] not in where, "the key is nowhere kept")


@case("R119", server="")
def api_keys_by_command(t):
    """The same by command, while the server runs."""
    d = Door(t, users=("alice",))
    root = ("--root", d.server.root)
    made = run(t, "robot", "create", *root, "--expires", "1h", "nightly", "repository:a/**:pull")
    said = dict(line.split(" ", 1) for line in made.splitlines())
    robot = d.by(people.basic("nightly", said["key"]))
    t.status(robot.get("/v2/"), 200)
    listed = json.loads(run(t, "robot", "list", *root))["robots"]
    t.eq([(r["name"], r["scopes"]) for r in listed], [("nightly", "repository:a/**:pull")], "keys")
    t.true(listed[0]["expires"] > listed[0]["created"], "an end", listed)
    run(t, "robot", "revoke", *root, said["id"])
    run(t, "robot", "revoke", *root, said["id"], expect=1)
    done = people.eventually(lambda: robot.get("/v2/").status == 401, 15)
    t.true(done, "revoked within the time that a key is not looked at again")


def issuers_file(d, *rows):
    path = d / "issuers.json"
    path.write_text(json.dumps({"issuers": list(rows)}))
    return str(path)


@case("R118", server="")
def workloads(t):
    """Tokens in the shapes of GitHub, GitLab and Kubernetes log in as password and directly."""
    folder = t.scratch()
    signer, stranger = tokens.key("RSA"), tokens.key("RSA", "stranger")
    (folder / "jwks").write_text(tokens.jwks(signer))
    rows, rules = [], "allow user:alice ** *\n"
    for name, w in WORKLOADS.items():
        rows.append(
            {"name": name, "issuer": w["iss"], "audience": "reg.example", "groups": ["ci"],
             "jwks": str(folder / "jwks"), "require": w["require"], "claims": w["names"]}
        )  # fmt: skip
        rules += f"allow {w['rule']} {name}/** pull,push\n"
    rules += "allow group:ci shared/** pull\n"
    d = Door(t, "--issuers", issuers_file(folder, *rows), "--auth-mode", "bearer", policy=rules)
    d.user("alice").image("shared/a", "v1")
    for name, w in WORKLOADS.items():
        good = tokens.claims(w["iss"], "reg.example", **w["claims"])
        text = tokens.token(signer, good)
        for header in (people.bearer(text), people.basic("oidc", text)):
            view = d.by(header)
            view.image(f"{name}/x", "v1")
            t.status(view.get("/v2/shared/a/manifests/v1"), 200)
            t.error(view.get("/v2/other/a/manifests/v1"), 403, "DENIED")
        asked = d.by(people.basic("oidc", text)).get(f"/auth/token?scope=repository:{name}/x:pull")
        own = d.by(people.bearer(asked.json()["token"]))
        t.status(own.get(f"/v2/{name}/x/manifests/v1"), 200)
        entries = b"".join(p.read_bytes() for p in d.root().glob(f"repos/{name}/x/_log/*/*"))
        t.true(f'"by":"{w["identity"]}"'.encode() in entries, f"by {w['identity']}")
        for what, bad in (
            ("a claim", tokens.token(signer, good | w["broken"])),
            ("the audience", tokens.token(signer, good | {"aud": "other"})),
            ("the issuer", tokens.token(signer, good | {"iss": "https://evil"})),
            ("the key", tokens.token(stranger, good, kid=signer.kid)),
            ("its end", tokens.token(signer, good | {"exp": int(time.time()) - 100})),
            ("its beginning", tokens.token(signer, good | {"nbf": int(time.time()) + 300})),
            ("no algorithm", tokens.unsigned(good, kid=signer.kid)),
            ("a secret's algorithm", tokens.confused(signer.public, good, signer.kid)),
            ("changed claims", tokens.tampered(text, sub="root")),
        ):
            resp = d.by(people.bearer(bad)).get("/v2/")
            t.true(resp.status == 401, f"401 for {what} of {name}", resp.show())


@case("R118", server="")
def issuer_by_url(t):
    """Keys by https: fetched once, again for a new key at most once a minute, never by redirect."""
    with tokens.Issuer() as issuer:
        folder = t.scratch()
        first, second = tokens.key("EC"), tokens.key("EC", "b")
        issuer.answer = tokens.jwks(first)
        row = {"name": "sso", "issuer": "https://sso", "jwks": issuer.url, "ca": str(issuer.ca)}
        d = Door(t, "--issuers", issuers_file(folder, row))
        body = tokens.claims("https://sso", "stowage", sub="jane")
        t.eq(issuer.asked, [], "requests before the first token")
        for _ in range(3):
            t.status(d.by(people.bearer(tokens.token(first, body | {"jti": t.seed()}))).get("/v2/"), 200)
        t.eq(issuer.asked, ["/keys"], "one request for the keys")
        issuer.answer = tokens.jwks(first, second)
        t.status(d.by(people.bearer(tokens.token(second, body))).get("/v2/"), 401)
        t.eq(len(issuer.asked), 1, "no second request within a minute")
        issuer.status, issuer.headers = 302, {"Location": issuer.url + "2"}
        row["jwks"] += "?moved"
        issuers_file(folder, row)
        time.sleep(1.2)
        resp = d.by(people.bearer(tokens.token(first, body | {"jti": t.seed()}))).get("/v2/")
        t.eq(resp.status, 503, "no keys by a redirect")
        t.eq(issuer.asked[1:], ["/keys?moved"], "the redirect is not followed")


@case("R118", server="")
def outside_token_server(t):
    """A token server elsewhere decides by what its tokens say."""
    folder = t.scratch()
    signer = tokens.key("EC")
    (folder / "jwks").write_text(tokens.jwks(signer))
    row = {"name": "hub", "issuer": "hub", "jwks": str(folder / "jwks"), "kind": "tokens"}
    args = ["--auth-mode", "bearer", "--auth-realm", "https://hub.example/token"]
    d = Door(t, "--issuers", issuers_file(folder, row), *args)
    grant = [{"type": "repository", "name": "a/b", "actions": ["pull", "push"]}]
    text = tokens.token(signer, tokens.claims("hub", "stowage", sub="jane", access=grant))
    view = d.by(people.bearer(text))
    view.image("a/b", "v1")
    resp = t.error(view.delete("/v2/a/b/manifests/v1"), 401, "UNAUTHORIZED")
    t.eq(people.challenge(resp)[1]["error"], "insufficient_scope", "the challenge's error")
    t.error(view.get("/v2/a/c/manifests/v1"), 401, "UNAUTHORIZED")


@case("R110", server="")
def certificate_by_a_trusted_proxy(t):
    """The subject in the proxy's header is who calls; from anybody else the header means nothing."""
    args = ("--client-certificate-header", "X-Client-DN")
    rules = "allow user:cert:build ** *\n"
    d = Door(t, *args, "--trusted-proxy", "127.0.0.1", policy=rules)
    d.by(("X-Client-DN", "CN=build,O=acme")).image("a", "v1")
    entries = b"".join(p.read_bytes() for p in d.root().glob("repos/a/_log/*/*"))
    t.true(b'"by":"cert:build"' in entries, "by cert:build")
    t.status(d.by(("X-Client-DN", "/O=acme/CN=build")).get("/v2/a/manifests/v1"), 200)
    t.error(d.by(("X-Client-DN", "CN=other")).get("/v2/a/manifests/v1"), 403, "DENIED")
    t.error(d.by(("X-Client-DN", "")).get("/v2/a/manifests/v1"), 401, "UNAUTHORIZED")
    twice = d.by(("X-Client-DN", "CN=build"), ("X-Client-DN", "CN=build"))
    t.error(twice.get("/v2/a/manifests/v1"), 401, "UNAUTHORIZED")
    for trusted in ((), ("--trusted-proxy", "10.0.0.0/8")):
        untrusting = Door(t, *args, *trusted, policy=rules)
        view = untrusting.by(("X-Client-DN", "CN=build"))
        t.error(view.get("/v2/a/manifests/v1"), 401, "UNAUTHORIZED")


@case("R28", server="")
def scripts_of_other_pages(t):
    """Configured origins may use the registry, others may not; a preflight needs no credentials."""
    d = Door(t, "--cors-origin", "https://ui.example", users=("alice",))
    origin = ("Origin", "https://ui.example")
    alice = d.user("alice")
    digest, _ = alice.image("a", "v1")
    pre = [origin, ("Access-Control-Request-Method", "PUT")]
    resp = t.status(d.by().req("OPTIONS", "/v2/a/manifests/v1", pre), 204)
    t.header(resp, "Access-Control-Allow-Origin", "https://ui.example")
    t.eq(
        {m.strip() for m in resp.h("Access-Control-Allow-Methods").split(",")},
        {"HEAD", "GET", "POST", "PATCH", "PUT", "DELETE"},
        "methods",
    )
    for target in ("/v2/", "/v2/a/manifests/v1", f"/v2/a/manifests/{digest}", "/v2/a/tags/list"):
        for _ in range(2):
            resp = t.status(alice.req("GET", target, [origin]), 200)
            t.header(resp, "Access-Control-Allow-Origin", "https://ui.example")
            t.header(resp, "Access-Control-Allow-Credentials", "true")
            t.header(resp, "Vary", "Origin")
            exposed = resp.h("Access-Control-Expose-Headers")
            t.true("Docker-Content-Digest" in exposed and "Link" in exposed, "exposed", exposed)
            other = t.status(alice.req("GET", target, [("Origin", "https://evil")]), 200)
            t.no_header(other, "Access-Control-Allow-Origin")
            t.header(other, "Vary", "Origin")
            t.body(other, resp.body)
    t.header(d.by().req("GET", "/v2/", [origin]), "Access-Control-Allow-Origin", origin[1])
    evil = [("Origin", "https://evil"), pre[1]]
    t.error(d.by().req("OPTIONS", "/v2/", evil), 405, "UNSUPPORTED")
    anyone = Door(t, "--cors-origin", "*", users=("alice",)).user("alice")
    resp = anyone.req("GET", "/v2/", [origin])
    t.header(resp, "Access-Control-Allow-Origin", "*")
    t.no_header(resp, "Access-Control-Allow-Credentials")
    plain = Door(t, users=("alice",)).user("alice").req("GET", "/v2/", [origin])
    t.no_header(plain, "Access-Control-Allow-Origin")
    t.no_header(plain, "Vary")
