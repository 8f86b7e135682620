"""Users by a file, Basic credentials (R22, R110, R112, R113, R119, R151)."""

import pathlib
import time

import oci
import people
from harness import Fail, case
from people import Door


@case("R22", "R110", server="")
def nobody_is_asked_who_he_is(t):
    """Without credentials everything but health is a challenge, the ping first of all."""
    door = Door(t)
    nobody = door.by()
    for method, target in (
        ("GET", "/v2/"),
        ("HEAD", "/v2/"),
        ("GET", "/v2/_catalog"),
        ("GET", "/v2/a/manifests/x"),
        ("GET", "/v2/a/tags/list"),
        ("GET", f"/v2/a/blobs/{oci.ZERO}"),
        ("GET", f"/v2/a/referrers/{oci.ZERO}"),
        ("POST", "/v2/a/blobs/uploads/"),
        ("PUT", "/v2/a/manifests/x"),
        ("DELETE", "/v2/a/manifests/x"),
    ):
        resp = t.error(nobody.req(method, target), 401, "UNAUTHORIZED")
        t.eq(resp.all("WWW-Authenticate"), ['Basic realm="Stowage"'], "the challenge")
        t.header(resp, "Docker-Distribution-API-Version", "registry/2.0")
    for target in ("/livez", "/readyz", "/metrics"):
        t.status(nobody.get(target), 200)


@case("R110", "R119", server="")
def users_do_everything(t):
    """The file alone: users may do everything, and a pull is for the caller's eyes only."""
    alice = Door(t).user("alice")
    t.status(alice.get("/v2/"), 200)
    digest, body = alice.image("a/b", "v1")
    got = t.body(t.status(alice.get("/v2/a/b/manifests/v1"), 200), body)
    t.header(got, "Cache-Control", "no-cache")
    got = t.status(alice.get(f"/v2/a/b/manifests/{digest}"), 200)
    t.header(got, "Cache-Control", "private, max-age=31536000, immutable")
    t.eq(alice.get("/v2/_catalog").json()["repositories"], ["a/b"], "the catalog")
    t.status(alice.delete("/v2/a/b/manifests/v1"), 202)


@case("R110", "R112", server="")
def bad_credentials(t):
    """Wrong, malformed or unknown: one challenge each; empty ones are nobody's."""
    door = Door(t)
    for header in (
        people.basic("alice", "wrong"),
        people.basic("nobody"),
        ("Authorization", "Basic !!!"),
        ("Authorization", "Basic Og=="),
        ("Authorization", "Negotiate abc"),
        ("Authorization", "Bearer abc.def.ghi"),
        ("Authorization", ""),
    ):
        resp = t.error(door.by(header).get("/v2/"), 401, "UNAUTHORIZED")
        t.eq(resp.all("WWW-Authenticate"), ['Basic realm="Stowage"'], f"challenge of {header[1]}")


@case("R151", server="")
def refused_before_the_body(t):
    """A client that asks whether to go on is refused at once, without its body being read."""
    nobody = Door(t).by()
    conn = nobody.open()
    conn.send(
        b"PUT /v2/a/manifests/x HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n"
        b"Expect: 100-continue\r\n\r\n"
    )
    start = time.monotonic()
    resp = nobody.read(conn, "PUT", "/v2/a/manifests/x")
    t.error(resp, 401, "UNAUTHORIZED")
    t.eq(resp.interim, [], "interim answers")
    t.true(time.monotonic() - start < 5, "an answer at once")


@case("R110", server="")
def many_wrong_passwords(t):
    """After a few wrong ones the pair of user and address waits; others do not."""
    door = Door(t)
    seen = []
    for i in range(8):
        resp = door.user("alice", f"wrong {i}").get("/v2/")
        seen.append(resp.status)
    t.eq(seen, [401] * 6 + [429] * 2, "answers to wrong passwords")
    t.error(resp, 429, "TOOMANYREQUESTS")
    t.true(int(resp.h("Retry-After")) >= 1, "Retry-After in seconds", resp.h("Retry-After"))
    t.status(door.user("bob").get("/v2/"), 200)


@case("R110", server="")
def one_wrong_password_many_times(t):
    """A client that asks several times with what it was given has guessed once."""
    door = Door(t)
    seen = [door.user("alice", "wrong").get("/v2/").status for _ in range(10)]
    t.eq(seen, [401] * 10, "answers to one wrong password")
    t.status(door.user("alice").get("/v2/"), 200)


@case("R110", server="")
def file_changes_while_serving(t):
    """A new user counts within two seconds, a removed one no more; a broken file changes nothing."""
    door = Door(t, users=("alice", "bob"))
    t.status(door.user("bob").get("/v2/"), 200)
    door.users.write_text(people.htpasswd("alice", "carol"))
    t.true(people.eventually(lambda: door.user("carol").get("/v2/").status == 200), "carol may log in")
    t.error(door.user("bob").get("/v2/"), 401, "UNAUTHORIZED")
    t.status(door.user("alice").get("/v2/"), 200)
    door.users.write_text("alice:{SHA}nothing\n")
    time.sleep(1.5)
    t.status(door.user("carol").get("/v2/"), 200)
    door.server.said("auth.not_reloaded")
    log = door.server.log()
    t.true("auth.not_reloaded" in log and "line 1" in log, "the log names the line", log[-400:])


@case("R8", server="")
def sessions_belong_to_who_began_them(t):
    """Another user's upload session is unknown, whatever is done to it."""
    door = Door(t)
    alice, bob = door.user("alice"), door.user("bob")
    location = alice.start("a")
    for method in ("GET", "PATCH", "PUT", "DELETE"):
        target = location + (f"?digest={oci.digest(b'')}" if method == "PUT" else "")
        t.error(bob.req(method, target, body=b"" if method in ("PATCH", "PUT") else None), 404)
    t.status(alice.get(location), 204)


@case("R110", server="")
def who_did_it(t):
    """The log of the repository names the user; the log of the server no password."""
    door = Door(t)
    door.user("alice").image("a", "v1")
    door.user("alice", "let me in!").get("/v2/")
    entries = door.server.root
    found = [p.read_bytes() for p in pathlib.Path(entries).glob("repos/a/_log/*/*")]
    t.true(found and all(b'"by":"alice"' in e for e in found), "entries by alice", found[:1])
    told = door.server.said("auth.failed")
    log = door.server.log()
    t.true(told and "user=alice" in log, "the refused log-in in the log", log[-300:])
    for secret in (people.PASSWORD, "let me in!", people.basic("alice")[1].split()[1]):
        t.true(secret not in log, "no secret in the log", secret)


@case("R110", server="")
def starts_only_with_a_good_file(t):
    """A hash of another kind stops the start with its line."""
    folder = t.scratch()
    (folder / "users").write_text("alice:$apr1$abcdefgh$0123456789abcdefghijkl\n")
    try:
        t.serve("--htpasswd", str(folder / "users"))
    except Fail as e:
        t.true("line 1" in str(e), "the line is named", str(e))
    else:
        t.fail("no start", "a server that runs")
