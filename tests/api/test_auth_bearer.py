"""Tokens of the registry itself (R22, R26, R110-R119)."""

import json
import subprocess
import urllib.parse

import oci
import people
import tokens
from harness import case
from people import Door

ANONYMOUS_PULL = """
allow anonymous public/** pull,catalog
allow user:alice ** *
allow user:bob bob/** *
"""


def door(t, *args, policy=ANONYMOUS_PULL):
    return Door(t, "--auth-mode", "bearer", *args, users=("alice", "bob"), policy=policy)


def ask(view, *scopes, **query):
    """The answer of the token endpoint."""
    pairs = [("service", "stowage")] + [("scope", s) for s in scopes] + list(query.items())
    return view.get("/auth/token?" + urllib.parse.urlencode(pairs))


def take(view, *scopes):
    return view.status(ask(view, *scopes), 200).json()["token"]


def with_token(d, user, *scopes):
    """A caller with a token for these scopes; user None: nobody."""
    return d.by(people.bearer(take(d.user(user) if user else d.by(), *scopes)))


def access(token):
    return json.loads(tokens.unb64(token.split(".")[1]))["access"]


@case("R22", "R110", "R111", "R26", server="")
def challenges(t):
    """Each request is told what to ask for, and where."""
    d = door(t)
    nobody = d.by()
    realm = "http://x/auth/token"
    uploads = "/v2/a/b/blobs/uploads/"
    for method, target, scope in (
        ("GET", "/v2/", None),
        ("GET", "/v2/a/b/manifests/x", "repository:a/b:pull"),
        ("HEAD", f"/v2/a/b/blobs/{oci.ZERO}", "repository:a/b:pull"),
        ("GET", "/v2/a/b/tags/list", "repository:a/b:pull"),
        ("PUT", "/v2/a/b/manifests/x", "repository:a/b:pull,push"),
        ("POST", uploads, "repository:a/b:pull,push"),
        (
            "POST",
            f"{uploads}?mount={oci.ZERO}&from=c/d",
            "repository:a/b:pull,push repository:c/d:pull",
        ),
        ("DELETE", "/v2/a/b/manifests/x", "repository:a/b:delete"),
    ):
        resp = t.error(nobody.req(method, target, [("Host", "x")]), 401, "UNAUTHORIZED")
        scheme, params = people.challenge(resp)
        wanted = {"realm": realm, "service": "stowage"} | ({"scope": scope} if scope else {})
        t.eq((scheme, params), ("Bearer", wanted), f"challenge of {method} {target}")
        t.true(", " not in resp.h("WWW-Authenticate").replace('", ', "?"), "no blank after a comma")


@case("R26", "R111", server="")
def realm_is_what_clients_see(t):
    """By the external URL; else by a trusted proxy's headers; else the Host, whatever is said."""
    seen = {}
    said = [
        ("Host", "inner:5000"),
        ("X-Forwarded-Proto", "https"),
        ("X-Forwarded-Host", "outer.example:8443, inner"),
        ("X-Forwarded-Prefix", "/reg/"),
    ]
    named = [("Host", "inner:5000"), ("Forwarded", 'for=1.2.3.4;proto=https;host="f.example"')]
    trusting = ("--trusted-proxy", "127.0.0.0/8")
    for name, args, headers in (
        ("nobody trusted", (), said),
        ("trusted", trusting, said),
        ("standard", trusting, named),
        ("nonsense", trusting, [("Host", "inner:5000"), ("X-Forwarded-Host", 'a"b/c')]),
        ("another proxy", ("--trusted-proxy", "10.0.0.1"), said),
        ("external", ("--external-url", "https://e.example/p", *trusting), said),
        ("path", ("--external-url", "/p"), said),
    ):
        resp = door(t, *args).by().req("GET", "/v2/", headers)
        seen[name] = people.challenge(resp)[1]["realm"]
    t.eq(
        seen,
        {
            "nobody trusted": "http://inner:5000/auth/token",
            "trusted": "https://outer.example:8443/reg/auth/token",
            "standard": "https://f.example/auth/token",
            "nonsense": "http://inner:5000/auth/token",
            "another proxy": "http://inner:5000/auth/token",
            "external": "https://e.example/p/auth/token",
            "path": "http://inner:5000/p/auth/token",
        },
        "realms",
    )


@case("R115", "R117", "R118", server="")
def what_a_token_grants(t):
    """What was asked, as far as it is allowed; less is no error."""
    d = door(t)
    resp = t.status(ask(d.user("bob"), "repository:bob/x:pull,push", account="bob"), 200)
    doc = resp.json()
    t.eq(doc["token"], doc["access_token"], "both names of the token")
    t.true(doc["expires_in"] >= 60, "expires_in of a minute or more", doc["expires_in"])
    t.true(doc["issued_at"].endswith("Z") and "T" in doc["issued_at"], "issued_at", doc)
    claims = json.loads(tokens.unb64(doc["token"].split(".")[1]))
    t.true({"iss", "sub", "aud", "exp", "nbf", "iat", "jti", "access"} <= set(claims), "claims")
    t.eq((claims["sub"], claims["aud"]), ("bob", "stowage"), "subject and audience")
    rows = (
        (("repository:bob/x:pull,push",), {"bob/x": ["pull", "push"]}),
        (("repository:bob/x:*",), {"bob/x": ["*"]}),
        (("repository:alice/x:pull,push",), {"alice/x": []}),
        (("repository:bob/x:pull repository:public/y:pull",), {"bob/x": ["pull"], "public/y": []}),
        (("repository:bob/x:pull", "repository:bob/y:delete"), {"bob/x": ["pull"], "bob/y": ["delete"]}),
        (("repository(plugin):bob/x:pull",), {"bob/x": ["pull"]}),
        (("repository:**:pull",), {}),
        (("nonsense",), {}),
        ((), {}),
    )
    for scopes, wanted in rows:
        got = {a["name"]: a["actions"] for a in access(take(d.user("bob"), *scopes))}
        t.eq(got, wanted, f"granted of {scopes}")
    t.error(ask(d.user("bob", "wrong"), "repository:bob/x:pull"), 401, "UNAUTHORIZED")


@case("R112", server="")
def nobody_pulls_what_is_public(t):
    """Anonymous tokens, also by podman's empty credentials, pull and no more."""
    d = door(t)
    d.user("alice").image("public/a", "v1")
    d.user("alice").image("private/a", "v1")
    for asker in (d.by(), d.by(("Authorization", "Basic Og=="))):
        token = take(asker, "repository:public/a:pull,push repository:private/a:pull")
        t.eq(access(token)[0]["actions"], ["pull"], "granted to nobody")
        view = d.by(people.bearer(token))
        t.status(view.get("/v2/"), 200)
        t.status(view.get("/v2/public/a/manifests/v1"), 200)
        resp = t.error(view.req("POST", "/v2/public/a/blobs/uploads/"), 401, "UNAUTHORIZED")
        t.eq(people.challenge(resp)[1]["error"], "insufficient_scope", "the challenge's error")
        t.error(view.get("/v2/private/a/manifests/v1"), 401, "UNAUTHORIZED")
    t.error(d.by().get("/v2/"), 401, "UNAUTHORIZED")
    t.status(d.by().get("/v2/public/a/manifests/v1"), 200)


@case("R113", "R110", server="")
def refusals(t):
    """A token without the right is told the scope; a wrong one that it is wrong; a user no."""
    d = door(t)
    view = with_token(d, "bob", "repository:bob/x:pull")
    resp = t.error(view.req("POST", "/v2/bob/x/blobs/uploads/"), 401, "UNAUTHORIZED")
    scheme, params = people.challenge(resp)
    t.eq(
        (scheme, params["scope"], params["error"]),
        ("Bearer", "repository:bob/x:pull,push", "insufficient_scope"),
        "the challenge",
    )
    for bad in ("abc", "a.b.c", tokens.tampered(take(d.user("bob")), sub="alice")):
        resp = t.error(d.by(people.bearer(bad)).get("/v2/"), 401, "UNAUTHORIZED")
        t.eq(people.challenge(resp)[1]["error"], "invalid_token", "the challenge's error")
    resp = t.error(d.user("bob").get("/v2/alice/x/tags/list"), 403, "DENIED")
    t.true("pull" in resp.json()["errors"][0]["message"], "the body says why", resp.show())
    t.no_header(resp, "WWW-Authenticate")


@case("R119", server="")
def passwords_work_beside_tokens(t):
    """Users may send their password with every request; and a token of many scopes is read."""
    d = door(t)
    d.user("alice").image("bob/x", "v1")
    t.status(d.user("bob").get("/v2/bob/x/manifests/v1"), 200)
    many = " ".join(f"repository:bob/{'x' * 60}{i}:pull" for i in range(40))
    view = with_token(d, "bob", many + " repository:bob/x:pull")
    t.true(len(view.always[0][1]) > 4000, "a long token", len(view.always[0][1]))
    t.status(view.get("/v2/bob/x/manifests/v1"), 200)


@case("R114", server="")
def mounts_honour_both_sides(t):
    """A token that does not speak of `from` is asked for both; one that may not pull it uploads."""
    d = door(t)
    digest = d.user("alice").blob("alice/a", b"mounted bytes")
    own = d.user("bob").blob("bob/a", b"bytes of bob")
    mount = f"/v2/bob/b/blobs/uploads/?mount={own}&from=bob/a"
    view = with_token(d, "bob", "repository:bob/b:pull,push")
    resp = t.error(view.req("POST", mount), 401, "UNAUTHORIZED")
    scope = people.challenge(resp)[1]["scope"]
    t.eq(scope, "repository:bob/b:pull,push repository:bob/a:pull", "both scopes")
    t.status(with_token(d, "bob", scope).req("POST", mount), 201)
    foreign = f"/v2/bob/b/blobs/uploads/?mount={digest}&from=alice/a"
    both = "repository:bob/b:pull,push repository:alice/a:pull"
    t.status(with_token(d, "bob", both).req("POST", foreign), 202)
    t.status(d.user("bob").req("POST", foreign), 202)
    t.status(d.user("bob").req("POST", f"/v2/bob/b/blobs/uploads/?mount={digest}"), 202)
    t.status(d.user("bob").req("POST", f"/v2/bob/c/blobs/uploads/?mount={own}"), 201)


@case("R116", server="")
def tokens_by_form(t):
    """POST with a password; a refresh token renews until the password is another."""
    d = door(t)
    form = {
        "grant_type": "password",
        "username": "bob",
        "password": people.PASSWORD,
        "service": "stowage",
        "client_id": "test",
        "access_type": "offline",
        "scope": "repository:bob/x:pull repository:alice/x:pull",
    }
    doc = t.status(post(d, form), 200).json()
    t.eq(doc["scope"].split()[0], "repository:bob/x:pull", "granted scope")
    t.eq(doc["token"], doc["access_token"], "both names of the token")
    renew = {"grant_type": "refresh_token", "refresh_token": doc["refresh_token"]}
    again = t.status(post(d, renew | {"scope": "repository:bob/y:pull"}), 200).json()
    t.status(d.by(people.bearer(again["token"])).get("/v2/"), 200)
    t.error(d.by(people.bearer(doc["refresh_token"])).get("/v2/"), 401, "UNAUTHORIZED")
    t.error(post(d, {"grant_type": "refresh_token", "refresh_token": doc["token"]}), 401)
    t.error(post(d, form | {"password": "wrong"}), 401, "UNAUTHORIZED")
    t.error(post(d, form | {"grant_type": "other"}), 400)
    nobody = t.status(post(d, form | {"username": "", "password": ""}), 200).json()
    t.true("refresh_token" not in nobody, "no refresh token for nobody")
    view = d.by(people.bearer(again["token"]))
    d.users.write_text(people.htpasswd("bob").replace(people.HASHES["bob"], people.HASHES["carol"]))
    t.true(people.eventually(lambda: post(d, renew).status == 401), "the old one ends")
    d.users.write_text(people.htpasswd("alice"))
    t.true(people.eventually(lambda: view.get("/v2/").status == 401), "a removed user's token ends")


def post(d, form):
    head = [("Content-Type", "application/x-www-form-urlencoded")]
    return d.by().req("POST", "/auth/token", head, urllib.parse.urlencode(form).encode())


@case("R118", server="")
def two_nodes_and_a_new_key(t):
    """Nodes of one store verify each other's tokens, also after the key was replaced."""
    d = door(t)
    other = t.serve(*d.server.args, root=d.server.root)
    old = people.bearer(take(d.user("bob"), "repository:bob/x:pull"))
    there = t.at(other)
    there.always = [old]
    t.status(there.get("/v2/"), 200)
    keys = d.by().get("/auth/jwks").json()["keys"]
    t.eq([(k["kty"], k["crv"], k["alg"]) for k in keys], [("EC", "P-256", "ES256")], "the keys")
    t.true("d" not in keys[0], "no private part")
    run = [t.world.need_binary(), "rotate-keys", "--root", d.server.root]
    subprocess.run(run, check=True, timeout=20, capture_output=True)
    d.server.restart()
    fresh = people.bearer(take(d.user("bob"), "repository:bob/x:pull"))
    kids = [k["kid"] for k in d.by().get("/auth/jwks").json()["keys"]]
    t.eq((len(kids), kids[1]), (2, keys[0]["kid"]), "the old key stays")
    for view, header in ((there, fresh), (there, old), (d.by(), fresh), (d.by(), old)):
        view.always = [header]
        t.status(view.get("/v2/"), 200)


@case("R116", server="")
def no_tokens_elsewhere(t):
    """Without --auth-mode bearer, or with another token server, there is no endpoint."""
    basic = Door(t)
    t.error(basic.user("alice").get("/auth/token"), 404)
    t.error(basic.by().get("/auth/jwks"), 404)
    away = door(t, "--auth-realm", "https://tokens.example/t")
    t.error(away.user("alice").get("/auth/token"), 404)
    t.eq(
        people.challenge(away.by().get("/v2/"))[1]["realm"],
        "https://tokens.example/t",
        "the realm",
    )
