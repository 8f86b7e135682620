"""Conditions on writes of tags: If-Match and If-None-Match (RFC 9110 section 13), judged where the
change is committed."""

import threading

import harness
import oci
from harness import case


def images(t, repo, count=2):
    """[(digest, bytes)] of images that are in the repository under no tag."""
    return [t.image(repo) for _ in range(count)]


def put(t, repo, ref, body, **headers):
    fields = {"Content-Type": oci.IMAGE, **harness.named(headers)}
    return t.req("PUT", f"/v2/{repo}/manifests/{ref}", fields, body)


def tag_of(t, repo, tag):
    resp = t.status(t.head(f"/v2/{repo}/manifests/{tag}"), 200, 404)
    return resp.h("Docker-Content-Digest") if resp.status == 200 else None


def refused(t, resp, tag, digest, status=412):
    t.error(resp, status, "DENIED")
    detail = oci.json.loads(resp.body)["errors"][0]["detail"]
    t.eq(detail, {"tag": tag, "digest": digest}, "detail")


@case("R95", "R163")
def put_by_tag(t):
    repo = t.repo()
    (a, a_body), (b, b_body), (c, _) = images(t, repo, 3)
    refused(t, put(t, repo, "x", a_body, If_Match=f'"{a}"'), "x", None)
    refused(t, put(t, repo, "x", a_body, If_Match="*"), "x", None)
    t.status(put(t, repo, "x", a_body, If_None_Match="*"), 201)
    refused(t, put(t, repo, "x", b_body, If_None_Match="*"), "x", a)
    refused(t, put(t, repo, "x", b_body, If_Match=f'"{b}", "{c}"'), "x", a)
    refused(t, put(t, repo, "x", b_body, If_None_Match=f'"{a}"'), "x", a)
    t.eq(tag_of(t, repo, "x"), a, "tag")
    for wanted, new, body in (
        (f'"{a}"', b, b_body),
        (b, a, a_body),
        (f'"{c}", "{a}"', b, b_body),
        ("*", a, a_body),
        (f'"{a}"', a, a_body),
    ):
        t.status(put(t, repo, "x", body, If_Match=wanted), 201)
        t.eq(tag_of(t, repo, "x"), new, "tag")
    t.status(put(t, repo, "x", b_body, If_None_Match=f'"{b}"'), 201)
    t.eq(tag_of(t, repo, "x"), b, "tag")


@case("R95")
def weak_and_foreign_tags_never_match(t):
    repo = t.repo()
    (a, a_body), (_, b_body) = images(t, repo)
    t.status(put(t, repo, "x", a_body), 201)
    for wanted in (f'W/"{a}"', f"W/{a}", '"abc"', '""', ",", f'"{a}', f'"{a[7:]}"'):
        refused(t, put(t, repo, "x", b_body, If_Match=wanted), "x", a)
    refused(t, put(t, repo, "x", b_body, If_None_Match=f'W/"{a}"'), "x", a)
    t.eq(tag_of(t, repo, "x"), a, "tag")


@case("R95")
def several_lines_are_one_list(t):
    repo = t.repo()
    (a, a_body), (b, b_body) = images(t, repo)
    t.status(put(t, repo, "x", a_body), 201)
    head = [("Content-Type", oci.IMAGE), ("If-Match", '"x"'), ("If-Match", f'"{a}"')]
    t.status(t.req("PUT", f"/v2/{repo}/manifests/x", head, b_body), 201)
    t.eq(tag_of(t, repo, "x"), b, "tag")
    t.status(put(t, repo, "x", a_body, If_Match=f'"{b}"', If_None_Match=f'"{a}"'), 201)
    refused(t, put(t, repo, "x", b_body, If_Match=f'"{a}"', If_None_Match=f'"{a}"'), "x", a)


@case("R95")
def what_is_there_already(t):
    """A condition that fails is 412 also where the tag is what was wanted: it may be another's."""
    repo = t.repo()
    (a, a_body), (b, b_body) = images(t, repo)
    t.status(put(t, repo, "x", b_body), 201)
    refused(t, put(t, repo, "x", b_body, If_Match=f'"{a}"'), "x", b)
    refused(t, put(t, repo, "x", b_body, If_None_Match="*"), "x", b)
    t.status(put(t, repo, "x", b_body, If_Match=f'"{b}"'), 201)


@case("R83", "R95")
def many_tags(t):
    repo = t.repo()
    (a, a_body), (b, b_body) = images(t, repo)
    t.status(put(t, repo, f"{a}?tag=x&tag=y", a_body, If_None_Match="*"), 201)
    refused(t, put(t, repo, f"{b}?tag=z&tag=y", b_body, If_None_Match="*"), "y", a)
    t.eq(tag_of(t, repo, "z"), None, "tag")
    t.status(put(t, repo, f"{b}?tag=x&tag=y", b_body, If_Match=f'"{a}"'), 201)
    t.eq([tag_of(t, repo, x) for x in "xy"], [b, b], "tags")


@case("R95")
def by_digest(t):
    repo = t.repo()
    (_, body), _ = images(t, repo)
    fresh = body + b" "
    d = oci.digest(fresh)
    refused(t, put(t, repo, d, fresh, If_Match=f'"{d}"'), None, None)
    t.status(put(t, repo, d, fresh, If_None_Match="*"), 201)
    refused(t, put(t, repo, d, fresh, If_None_Match="*"), None, d)
    t.status(put(t, repo, d, fresh, If_Match=f'"{d}"'), 201)
    path = f"/v2/{repo}/manifests/{d}"
    refused(t, t.delete(path, If_Match=f'"{oci.ZERO}"'), None, d)
    t.status(t.delete(path, If_Match=f'"{d}"'), 202)
    t.error(t.delete(path, If_Match=f'"{d}"'), 404, "MANIFEST_UNKNOWN")


@case("R95", "R140")
def delete_tag(t):
    repo = t.repo()
    (a, a_body), (b, _) = images(t, repo)
    t.status(put(t, repo, "x", a_body), 201)
    path = f"/v2/{repo}/manifests/x"
    refused(t, t.delete(path, If_Match=f'"{b}"'), "x", a)
    refused(t, t.delete(path, If_None_Match="*"), "x", a)
    t.eq(tag_of(t, repo, "x"), a, "tag")
    t.status(t.delete(path, If_Match=f'"{a}"'), 202)
    t.eq(tag_of(t, repo, "x"), None, "tag")
    t.error(t.delete(path, If_Match=f'"{a}"'), 404, "MANIFEST_UNKNOWN")


@case("R95", "R88")
def other_refusals_come_first(t):
    repo = t.repo()
    bad = oci.dump(oci.image_doc(oci.descriptor(b"absent", oci.CONFIG), []))
    t.error(put(t, repo, "x", bad, If_Match="*"), 400, "MANIFEST_BLOB_UNKNOWN")
    t.error(put(t, repo, "x", b"{", If_Match="*"), 400, "MANIFEST_INVALID")


def count_up(t, servers, clients, rounds):
    """Each client adds `rounds` to a number that one tag holds; returns what it holds at the end.
    Equal numbers are equal manifests: a lost update would go unseen by digest alone."""
    repo = t.repo()
    t.blob(repo, b"{}")
    t.status(put(t, repo, "n", number(0)), 201)
    faults = []

    def client(i):
        own = t.at(servers[i % len(servers)])
        try:
            for _ in range(rounds):
                add_one(own, repo)
        except Exception as e:  # told by the case's own thread
            faults.append(f"client {i}: {e}")

    run = [threading.Thread(target=client, args=(i,)) for i in range(clients)]
    for one in run:
        one.start()
    for one in run:
        one.join()
    t.eq(faults, [], "faults")
    doc = oci.json.loads(t.get(f"/v2/{repo}/manifests/n").body)
    return int(doc["annotations"]["n"])


def number(n):
    config = oci.descriptor(b"{}", oci.EMPTY)
    doc = oci.image_doc(config, [], artifactType="application/x.n", annotations={"n": str(n)})
    return oci.dump(doc)


def add_one(t, repo):
    while True:
        resp = t.status(t.get(f"/v2/{repo}/manifests/n"), 200)
        n = int(oci.json.loads(resp.body)["annotations"]["n"])
        done = put(t, repo, "n", number(n + 1), If_Match=resp.h("ETag"))
        if t.status(done, 201, 412).status == 201:
            return


@case("R95", "I3")
def no_update_is_lost(t):
    t.eq(count_up(t, [t.server] if t.server else [t.addr], 8, 10), 80, "number")


@case("R95", "I3", server="")
def no_update_is_lost_among_processes(t):
    first = t.serve()
    servers = [first] + [t.serve(root=first.root) for _ in range(3)]
    t.eq(count_up(t.at(first), servers, 16, 12), 192, "number")


@case("R95", "I3", server="", slow=True)
def no_update_of_thousands_is_lost(t):
    first = t.serve()
    servers = [first] + [t.serve(root=first.root) for _ in range(3)]
    t.eq(count_up(t.at(first), servers, 16, 200), 3200, "number")


def first_tags(t, repositories):
    """Two processes push the first tags of each repository at the same moment."""
    first = t.serve()
    servers = [first, t.serve(root=first.root)]
    base = t.repo("new")
    gate = threading.Barrier(2)
    faults = []

    def client(i):
        own = t.at(servers[i])
        try:
            for n in range(repositories):
                repo = f"{base}/{n}"
                own.blob(repo, b"{}")
                gate.wait(60)
                own.status(put(own, repo, f"tag-{i}", number(i)), 201)
        except Exception as e:  # told by the case's own thread
            gate.abort()
            faults.append(f"client {i}: {e}")

    run = [threading.Thread(target=client, args=(i,)) for i in range(2)]
    for one in run:
        one.start()
    for one in run:
        one.join()
    t.eq(faults, [], "faults")
    for n in range(repositories):
        for one in servers:
            resp = t.at(one).get(f"/v2/{base}/{n}/tags/list")
            t.eq(oci.json.loads(resp.body)["tags"], ["tag-0", "tag-1"], "tags")


@case("I2", server="")
def first_tags_of_fresh_repositories(t):
    first_tags(t, 30)


@case("I2", server="", slow=True)
def first_tags_of_hundreds_of_repositories(t):
    first_tags(t, 300)
