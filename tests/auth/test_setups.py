"""The set-ups of docs/authentication.md, taken from the page itself: their files, rules and commands
let in whom they are for, and nobody else. Only where keys lie is replaced."""

import json
import pathlib
import re
import shlex

import people
import tokens
from harness import case
from people import Door
from workloads import WORKLOADS

PAGE = pathlib.Path(__file__).resolve().parents[2] / "docs" / "authentication.md"
ROOT = "allow user:root ** *\n"


def section(title):
    """Text below a heading, up to the next one."""
    text = PAGE.read_text(encoding="utf-8")
    return re.search(rf"^#+ {title}\n(.*?)(?=^#|\Z)", text, re.M | re.S).group(1)


def block(text, language):
    return re.search(rf"^```{language}\n(.*?)^```", text, re.M | re.S).group(1)


def rule(text):
    """The rule of the policy that the prose names."""
    return re.search(r"`(allow [^`]+)`", text).group(1) + "\n"


def options(text):
    """Of the command that starts the server, but for what each test has of its own."""
    command = next(x for x in block(text, "sh").splitlines() if x.startswith("stowage serve "))
    words = shlex.split(command)[2:]
    own = ("--listen", "--issuers", "--htpasswd", "--policy")
    return [w for at, w in enumerate(words) if w not in own and words[at - 1] not in own]


def issuers(t, text, signer):
    """The file of issuers with our key in place of theirs: its path, and its one row."""
    folder, doc = t.scratch(), json.loads(block(text, "json"))
    (folder / "jwks").write_text(tokens.jwks(signer))
    (row,) = doc["issuers"]
    row["jwks"] = str(folder / "jwks")
    (folder / "issuers").write_text(json.dumps(doc))
    return str(folder / "issuers"), row


def workload(t, name, settings, rules, repo, elsewhere, foreign, pushes=True):
    """A workload's token does what its rule says, in its repository; one of others does nothing."""
    signer = tokens.key("RSA")
    path, row = issuers(t, settings, signer)
    t.eq(row["issuer"], WORKLOADS[name]["iss"], "issuer")
    d = Door(t, "--issuers", path, users=("root",), policy=ROOT + rule(rules))
    for where in (repo, elsewhere):
        d.user("root").image(where, "v1")
    good = tokens.claims(row["issuer"], row["audience"], **WORKLOADS[name]["claims"])
    for header in (people.bearer(tokens.token(signer, good)), people.basic("x", tokens.token(signer, good))):
        view = d.by(header)
        t.status(view.get(f"/v2/{repo}/manifests/v1"), 200)
        t.status(view.req("POST", f"/v2/{repo}/blobs/uploads/"), 202 if pushes else 403)
        t.error(view.delete(f"/v2/{repo}/manifests/v1"), 403, "DENIED")
        t.error(view.get(f"/v2/{elsewhere}/manifests/v1"), 403, "DENIED")
    for claims in foreign:
        resp = d.by(people.bearer(tokens.token(signer, good | claims))).get(f"/v2/{repo}/manifests/v1")
        t.true(resp.status in (401, 403), f"refused with {claims}", resp.show())


@case("R118", server="")
def github(t):
    """GitHub Actions."""
    workload(t, "github", section("Tokens of others"), section("GitHub Actions"), "acme/app", "other/app",
             ({"repository_owner": "evil"}, {"repository": "evil/app"}, {"aud": "other"}))  # fmt: skip


@case("R118", server="")
def gitlab(t):
    """GitLab."""
    text = section("GitLab")
    workload(t, "gitlab", text, text, "acme/app", "acme/other",
             ({"ref_protected": "false"}, {"namespace_path": "evil"}, {"project_id": "43"}))  # fmt: skip


@case("R118", server="")
def kubernetes(t):
    """Service accounts of a cluster, which may only pull."""
    text = section("Kubernetes")
    claims = WORKLOADS["kubernetes"]["claims"]["kubernetes.io"]
    workload(t, "kubernetes", text, text, "shop/app", "other/app",
             ({"kubernetes.io": claims | {"namespace": "other"}},
              {"kubernetes.io": claims | {"serviceaccount": {"name": "other"}}}), pushes=False)  # fmt: skip


@case("R111", "R118", server="")
def token_server(t):
    """A token server elsewhere: clients are sent there, and what it says counts."""
    text = section("A token server elsewhere")
    signer = tokens.key("EC")
    blocks = text[text.index("```json") :]
    path, row = issuers(t, blocks, signer)
    words = options(text)
    d = Door(t, *words, "--issuers", path, users=("root",), policy=ROOT)
    d.user("root").image("team/app", "v1")
    scheme, said = people.challenge(d.by().get("/v2/team/app/manifests/v1"))
    t.eq((scheme, said["realm"]), ("Bearer", words[words.index("--auth-realm") + 1]), "challenge")

    def view(actions, **claims):
        access = [{"type": "repository", "name": "team/app", "actions": actions}]
        body = tokens.claims(row["issuer"], said["service"], sub="jane", access=access) | claims
        return d.by(people.bearer(tokens.token(signer, body)))

    t.status(view(["pull"]).get("/v2/team/app/manifests/v1"), 200)
    t.error(view(["pull"]).req("POST", "/v2/team/app/blobs/uploads/"), 401, "UNAUTHORIZED")
    t.status(view(["pull", "push"]).req("POST", "/v2/team/app/blobs/uploads/"), 202)
    t.error(view(["pull"], aud="other").get("/v2/team/app/manifests/v1"), 401, "UNAUTHORIZED")
    t.error(view(["pull"]).get("/v2/team/other/tags/list"), 401, "UNAUTHORIZED")


@case("R110", server="")
def one_file_of_users(t):
    """Users may do everything, nobody else anything."""
    text = section("One file of users")
    t.eq(options(text), [], "further options")
    d = Door(t, users=("alice",))
    d.user("alice").image("any/thing", "v1")
    t.status(d.user("alice").delete("/v2/any/thing/manifests/v1"), 202)
    for view in (d.by(), d.user("alice", "wrong"), d.user("bob")):
        t.error(view.get("/v2/any/thing/tags/list"), 401, "UNAUTHORIZED")


@case("R110", server="")
def client_certificates(t):
    """The header that the proxy of the page sets, with subjects as nginx writes them."""
    text = section("Client certificates at the proxy")
    header = re.search(r"proxy_set_header (\S+) \$client_dn", block(text, "nginx")).group(1)
    d = Door(t, *options(text), policy=ROOT + rule(text))
    t.true(header in options(text), "one header in both files", options(text))
    d.by((header, "CN=build,OU=ci,O=acme")).image("a", "v1")
    t.status(d.by((header, "/O=acme/CN=build")).get("/v2/a/manifests/v1"), 200)
    t.error(d.by((header, "CN=build,OU=ci,O=acme")).delete("/v2/a/manifests/v1"), 403, "DENIED")
    for subject in ("CN=other,O=acme", "O=build", "CN=builder"):
        t.error(d.by((header, subject)).get("/v2/a/manifests/v1"), 403, "DENIED")
    for view in (d.by((header, "")), d.by()):
        t.error(view.get("/v2/a/manifests/v1"), 401, "UNAUTHORIZED")
