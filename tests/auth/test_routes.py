"""Every route of registry/routes.def by every kind of caller. A route without a row here fails."""

import json
import pathlib
import re
import time
import urllib.parse

import oci
import people
import tokens
from harness import case
from people import Door

ROUTES = pathlib.Path(__file__).resolve().parents[2] / "registry" / "routes.def"

POLICY = """
allow user:writer w/** *
allow user:reader w/** pull,catalog
allow user:other o/** *
allow user:root ** *
allow group:ci w/** pull,catalog
allow group:robots w/** pull,catalog
allow anonymous public/** pull,catalog
"""

NO = "refused"  # 403 to a password, 401 with the scope to a token

# (resource, method): target, body, and the answer to reader, writer and the writer of another
# repository, who all have a password; TOKENS has those where a token's answer is another.
ROWS = {
    ("PING", "GET"): ("/v2/", None, 200, 200, 200),
    ("CATALOG", "GET"): ("/v2/_catalog", None, 200, 200, 200),
    ("DISCOVER", "GET"): ("/v2/_oci/ext/discover", None, 200, 200, 200),
    ("REPO_DISCOVER", "GET"): ("/v2/w/a/_oci/ext/discover", None, 200, 200, 200),
    ("MANIFEST", "GET"): ("/v2/w/a/manifests/v1", None, 200, 200, NO),
    ("MANIFEST", "PUT"): ("/v2/w/a/manifests/new", "{manifest}", NO, 201, NO),
    ("MANIFEST", "DELETE"): ("/v2/w/a/manifests/unknown", None, NO, 404, NO),
    ("BLOB", "GET"): ("/v2/w/a/blobs/{blob}", None, 200, 200, NO),
    ("BLOB", "DELETE"): ("/v2/w/a/blobs/" + oci.ZERO, None, NO, 404, NO),
    ("UPLOADS", "POST"): ("/v2/w/a/blobs/uploads/", None, NO, 202, NO),
    ("UPLOAD", "GET"): ("/v2/w/a/blobs/uploads/x", None, NO, 404, NO),
    ("UPLOAD", "PATCH"): ("/v2/w/a/blobs/uploads/x", "bytes", NO, 404, NO),
    ("UPLOAD", "PUT"): ("/v2/w/a/blobs/uploads/x?digest=" + oci.ZERO, "bytes", NO, 404, NO),
    ("UPLOAD", "DELETE"): ("/v2/w/a/blobs/uploads/x", None, NO, 404, NO),
    ("TAGS", "GET"): ("/v2/w/a/tags/list", None, 200, 200, NO),
    ("REFERRERS", "GET"): ("/v2/w/a/referrers/" + oci.ZERO, None, 200, 200, NO),
    ("SETTINGS", "GET"): ("/v2/w/a/_stowage/settings", None, 200, 200, NO),
    ("SETTINGS", "PUT"): ("/v2/w/a/_stowage/settings", "{}", NO, 200, NO),
    ("RELEASE", "POST"): ("/v2/w/a/_stowage/tags", "{release}", NO, 204, NO),
    ("TAG_HISTORY", "GET"): ("/v2/w/a/_oci/tag-history/v1", None, NO, 200, NO),
    ("LOG", "GET"): ("/v2/w/a/_stowage/log", None, NO, 200, NO),
    ("DIFF", "GET"): ("/v2/w/a/_stowage/diff?from=1", None, NO, 200, NO),
    ("REVERT", "POST"): ("/v2/w/a/_stowage/revert?at=999999", None, NO, 404, NO),
    # Each repository by its own rights (revert.under_a_prefix_by_rights); here there is none.
    ("REVERT_UNDER", "POST"): ("/v2/_stowage/revert?prefix=none/&at=2026-01-01T00:00:00Z", None, 200, 200, 200),
    ("REPOSITORY", "DELETE"): ("/v2/w/none/_stowage/repository", None, NO, 404, NO),
    ("EVENTS", "GET"): ("/v2/_stowage/events", None, 200, 200, 200),
    ("LIVEZ", "GET"): ("/livez", None, 200, 200, 200),
    ("READYZ", "GET"): ("/readyz", None, 200, 200, 200),
    ("METRICS", "GET"): ("/metrics", None, 200, 200, 200),
    ("TOKEN", "GET"): ("/auth/token", None, 200, 200, 200),
    ("TOKEN", "POST"): ("/auth/token", "grant_type=nothing", 400, 400, 400),
    ("TOKEN_KEYS", "GET"): ("/auth/jwks", None, 200, 200, 200),
    ("ROBOTS", "GET"): ("/auth/robots", None, NO, NO, NO),
    ("ROBOTS", "POST"): ("/auth/robots", "{}", NO, NO, NO),
    ("ROBOT", "DELETE"): ("/auth/robots/0123456789abcdef", None, NO, NO, NO),
}
TOKENS = {("TOKEN", "GET"): (403, 403, 403), ("REPOSITORY", "DELETE"): (NO, NO, NO)}
OPEN = ("LIVEZ", "READYZ", "METRICS")  # whatever is sent along
ANONYMOUS = ("TOKEN", "TOKEN_KEYS")  # without credentials


def routes():
    text = ROUTES.read_text(encoding="utf-8")
    found = re.findall(r"^\s+X\((\w+), (\w+), (\w+),", text, re.M)
    return {(resource, method): action for resource, method, action in found}


def setup(t):
    folder = t.scratch()
    signer, stranger = tokens.key("EC"), tokens.key("EC", "stranger")
    rsa = tokens.key("RSA")
    (folder / "jwks").write_text(tokens.jwks(signer, rsa))
    issuers = {"name": "sso", "issuer": "sso", "jwks": str(folder / "jwks"), "groups": ["ci"]}
    (folder / "issuers").write_text(json.dumps({"issuers": [issuers]}))
    d = Door(t, "--auth-mode", "bearer", "--tag-history", "--issuers", str(folder / "issuers"), policy=POLICY)
    root = d.user("root")
    digest, body = root.image("w/a", "v1")
    layer = json.loads(body)["layers"][0]["digest"]
    release = json.dumps({"tags": [{"tag": "r", "digest": digest}]})
    values = {"{manifest}": body.decode(), "{blob}": layer, "{release}": release}
    return d, values, (signer, stranger, rsa)


def body_of(text, values):
    return None if text is None else values.get(text, text).encode()


def ask(view, key, values):
    target, body = ROWS[key][0], body_of(ROWS[key][1], values)
    method = "HEAD" if key[0] == "EVENTS" else key[1]  # a GET of it does not end
    for name, value in values.items():
        target = target.replace(name, value)
    kind = {"MANIFEST": oci.IMAGE, "TOKEN": "application/x-www-form-urlencoded"}.get(
        key[0], "application/json"
    )
    return view.req(method, target, [("Content-Type", kind)] if body is not None else [], body)


def token_of(d, user):
    scopes = "repository:w/a:* registry:catalog:*"
    view = d.user(user) if user else d.by()
    return view.get("/auth/token?" + urllib.parse.urlencode({"scope": scopes})).json()["token"]


def bad_tokens(d, keys):
    """Tokens that nobody may use, by what is wrong with them."""
    signer, stranger, rsa = keys
    now = int(time.time())
    good = tokens.claims("sso", "stowage", sub="jane")
    own = token_of(d, "writer")
    return {
        "expired": tokens.token(signer, good | {"exp": now - 120}),
        "not yet valid": tokens.token(signer, good | {"nbf": now + 600}),
        "wrong audience": tokens.token(signer, good | {"aud": "other"}),
        "wrong key": tokens.token(stranger, good, kid=signer.kid),
        "own name, wrong key": tokens.token(stranger, tokens.jwt_claims(own)),
        "none": tokens.unsigned(good, kid=signer.kid),
        "none for an own one": tokens.unsigned(tokens.jwt_claims(own), kid=tokens.jwt_kid(own)),
        "confused": tokens.confused(rsa.public, good, rsa.kid),
        "key of another kind": tokens.token(signer, good, kid=rsa.kid),
        "tampered": tokens.tampered(tokens.token(signer, good), sub="root"),
        "own, tampered": tokens.tampered(own, sub="root"),
    }


@case("R22", "R110", "R113", "R118", server="")
def each_route_has_a_row(t):
    """No route is added without its answers to all callers."""
    missing = sorted(set(routes()) - set(ROWS))
    t.true(not missing, "a row for each route", missing)
    t.true(not set(ROWS) - set(routes()), "no row without a route", set(ROWS) - set(routes()))
    t.eq(sorted(k[0] for k, a in routes().items() if a == "HEALTH"), sorted(OPEN), "open routes")


@case("R22", "R110", "R113", server="")
def by_known_callers(t):
    """Reader, writer and another's writer, by password and by token; nobody, with and without a
    token."""
    d, values, _ = setup(t)
    for key in ROWS:
        for at, user in enumerate(("reader", "writer", "other")):
            wanted = ROWS[key][2 + at]
            resp = ask(d.user(user), key, values)
            wanted = 403 if wanted == NO else wanted
            t.true(resp.status == wanted, f"{wanted} for {user} on {key}", resp.show())
            wanted = TOKENS.get(key, ROWS[key][2:])[at]
            view = d.by(people.bearer(token_of(d, user)))
            resp = ask(view, key, values)
            code = 401 if wanted == NO else wanted
            t.true(resp.status == code, f"{code} for a token of {user} on {key}", resp.show())
        free = key[0] in OPEN + ANONYMOUS
        for who, view in (("nobody", d.by()), ("empty", d.by(("Authorization", "Basic Og==")))):
            resp = ask(view, key, values)
            wanted = ROWS[key][4] if free else 401
            if key[0] == "CATALOG":
                wanted = 200  # of what is public
            t.true(resp.status == wanted, f"{wanted} for {who} on {key}", resp.show())
        resp = ask(d.by(people.bearer(token_of(d, None))), key, values)
        anonymous = {"PING": 200, "CATALOG": 200, "DISCOVER": 200, "REPO_DISCOVER": 200,
                     "EVENTS": 200, "REVERT_UNDER": 200, "TOKEN": 403 if key[1] == "GET" else 400}  # fmt: skip
        wanted = anonymous.get(key[0], ROWS[key][4] if free else 401)
        t.true(resp.status == wanted, f"{wanted} for an anonymous token on {key}", resp.show())


@case("R110", "R118", server="")
def by_bad_credentials(t):
    """Whatever is wrong with a credential, nothing is opened by it that is not open to all."""
    d, values, keys = setup(t)
    bad = bad_tokens(d, keys)
    headers = {what: people.bearer(text) for what, text in bad.items()}
    headers |= {f"{what}, as password": people.basic("x", text) for what, text in bad.items()}
    made = d.user("root").req(
        "POST", "/auth/robots", [], b'{"name":"ci","scopes":"repository:w/**:pull,push"}'
    )
    robot = made.json()
    good = people.basic("ci", robot["key"])
    t.status(ask(d.by(good), ("MANIFEST", "GET"), values), 200)
    t.status(d.user("root").delete(f"/auth/robots/{robot['id']}"), 204)
    headers["revoked key"] = good
    headers["wrong passwords"] = None
    gone = people.bearer(token_of(d, "writer"))
    users = [u for u in people.HASHES if u != "writer"]
    d.users.write_text(people.htpasswd(*users))
    t.true(people.eventually(lambda: d.by(gone).get("/v2/").status == 401), "gone with its user")
    headers["token of a removed user"] = gone
    for what, header in headers.items():
        for number, key in enumerate(ROWS):
            view = d.by(header or people.basic("writer", f"wrong {number}"))
            resp = ask(view, key, values)
            wanted = {200} if key[0] in OPEN else {401, 429}
            t.true(resp.status in wanted, f"{wanted} for {what} on {key}", resp.show())
