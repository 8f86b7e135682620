"""Tag lists and the catalog, whole and page by page."""

import re

import oci
from harness import case

NEXT = re.compile(r'<(/[^;,<>"\s]+)>; rel="next"')


def tagged(t, repo, tags):
    """Push one image and give it all these tags."""
    digest, body = t.image(repo)
    tags = list(tags)
    for at in range(0, len(tags), 50):
        query = "&".join(f"tag={tag}" for tag in tags[at : at + 50])
        got = t.put_manifest(repo, f"{digest}?{query}", body, oci.IMAGE)
        if got.status != 201 or not got.all("OCI-Tag"):
            for tag in tags[at : at + 50]:
                t.status(t.put_manifest(repo, tag, body, oci.IMAGE), 201)
    return digest


def walk(t, target, key, pages_max=200):
    """Follow Link headers; returns the list of pages."""
    pages = []
    while target:
        resp = t.status(t.get(target), 200)
        pages.append(resp.json()[key])
        t.true(len(pages) < pages_max, "an end of the pages", target)
        link = resp.all("Link")
        t.true(len(link) <= 1, "at most one Link", link)
        target = NEXT.fullmatch(t.header(resp, "Link", NEXT)).group(1) if link else None
    return pages


@case("R120", "R13")
def tag_list(t):
    repo = t.repo()
    tags = ["b", "B", "a", "_", "0", "A.1", "a-1", "a.1", "a_1", "Z", "10", "9"]
    tagged(t, repo, tags)
    resp = t.status(t.get(f"/v2/{repo}/tags/list"), 200)
    t.header(resp, "Content-Type", "application/json")
    t.eq(resp.json(), {"name": repo, "tags": sorted(tags)}, "tag list in order of bytes")
    t.no_header(resp, "Link")


@case("R120")
def tag_list_of_nothing(t):
    repo = t.repo()
    t.error(t.get(f"/v2/{repo}/tags/list"), 404, "NAME_UNKNOWN")
    digest, _ = t.image(repo)
    t.eq(t.get(f"/v2/{repo}/tags/list").json(), {"name": repo, "tags": []}, "list without tags")
    t.status(t.delete(f"/v2/{repo}/manifests/{digest}"), 202)
    t.eq(t.get(f"/v2/{repo}/tags/list").json(), {"name": repo, "tags": []}, "list of an emptied one")


@case("R121")
def n_and_last(t):
    repo = t.repo()
    tags = [f"t{n:02}" for n in range(20)]
    tagged(t, repo, tags)

    def listed(query):
        return t.status(t.get(f"/v2/{repo}/tags/list{query}"), 200).json()["tags"]

    for query, wanted in (
        ("?n=1", tags[:1]), ("?n=10", tags[:10]), ("?n=20", tags), ("?n=21", tags), ("?n=0", []),
        ("?n=5&last=t03", tags[4:9]), ("?last=t09", tags[10:]), ("?last=t09x", tags[10:]),
        ("?last=", tags), ("?last=zzz", []), ("?last=" + 900 * "t", []), ("?last=" + "s" * 900, tags), ("?last=A", tags), ("?n=3&last=t18", tags[19:]),
        ("?n=2&last=t035", tags[4:6]), ("?last=t19", []), ("?n=1000000000", tags),
    ):
        t.eq(listed(query), wanted, f"tags/list{query}")
    t.no_header(t.get(f"/v2/{repo}/tags/list?n=0"), "Link")


@case("R121", "R101", "L2")
def n_that_is_no_number(t):
    repo = t.repo()
    tagged(t, repo, ["a"])
    for n in ("-1", "x", "1x", "1.5", "", "+1", "%20", "0x10", "-0"):
        for path in (f"/v2/{repo}/tags/list", "/v2/_catalog"):
            t.error(t.get(f"{path}?n={n}"), 400, "UNSUPPORTED")
    got = t.get(f"/v2/{repo}/tags/list?n=99999999999999999999999")
    t.status(got, 200, 400)


@case("R122", "R25")
def pages_of_tags(t):
    repo = t.repo()
    tags = sorted(f"v{n}.{n % 7}_x-{n}" for n in range(53))
    tagged(t, repo, tags)
    for n in (1, 7, 52, 53):
        pages = walk(t, f"/v2/{repo}/tags/list?n={n}", "tags")
        t.eq([tag for page in pages for tag in page], tags, f"all pages of {n}")
        t.eq([len(p) for p in pages[:-1]], [n] * (len(pages) - 1), f"full pages of {n}")
        t.true(pages[-1], "no empty last page", pages[-1])
    link = t.get(f"/v2/{repo}/tags/list?n=7").h("Link")
    path = NEXT.fullmatch(link).group(1)
    t.true(path.startswith(f"/v2/{repo}/tags/list?"), "Link to the same list", link)
    t.true("n=7" in path and "last=" + tags[6] in path, "n and last in the Link", link)


@case("R121", "R123", "R126")
def many_tags_without_n(t):
    repo = t.repo()
    tags = sorted(f"tag-{n:05}" for n in range(3000))
    tagged(t, repo, tags)
    resp = t.get(f"/v2/{repo}/tags/list")
    t.eq(len(resp.json()["tags"]), 3000, "number of tags in one answer")
    t.no_header(resp, "Link")
    t.eq(resp.json()["tags"], tags, "tags")


@case("R121", "R123", slow=True)
def more_tags_than_a_page(t):
    repo = t.repo()
    tags = sorted(f"tag-{n:05}" for n in range(10_500))
    tagged(t, repo, tags)
    first = t.get(f"/v2/{repo}/tags/list").json()["tags"]
    t.true(len(first) >= 10_000, "at least 10,000 tags in one answer", len(first))
    pages = walk(t, f"/v2/{repo}/tags/list", "tags")
    t.eq([tag for page in pages for tag in page], tags, "all tags by Link")
    pages = walk(t, f"/v2/{repo}/tags/list?n=100000000", "tags")
    t.eq([tag for page in pages for tag in page], tags, "all tags by a clamped n")


@case("R124", "R140", "R141")
def deleted_tags_leave_the_list(t):
    repo = t.repo()
    one = tagged(t, repo, ["a", "b", "c"])
    tagged(t, repo, ["d", "e"])
    t.status(t.delete(f"/v2/{repo}/manifests/b"), 202)
    t.eq(t.get(f"/v2/{repo}/tags/list").json()["tags"], ["a", "c", "d", "e"], "tags")
    t.status(t.delete(f"/v2/{repo}/manifests/{one}"), 202)
    t.eq(t.get(f"/v2/{repo}/tags/list").json()["tags"], ["d", "e"], "tags")
    t.eq(t.get(f"/v2/{repo}/tags/list?n=1").json()["tags"], ["d"], "tags")


@case("R125", "R122")
def catalog(t):
    names = sorted(f"{t.mark}/{n}" for n in ("b", "a-b", "a/b", "a", "a.b", "a_b", "z/y/x", "0"))
    for name in names:
        t.image(name, "v1")
    pages = walk(t, f"/v2/_catalog?n=3&last={t.mark}", "repositories")
    got = [name for page in pages for name in page if name.startswith(t.mark + "/")]
    t.eq(got, names, "our part of the catalog, in order of bytes")
    t.true(all(len(p) == 3 for p in pages[:-1]), "pages of 3", [len(p) for p in pages])
    resp = t.status(t.get(f"/v2/_catalog?n=2&last={t.mark}/a"), 200)
    t.header(resp, "Content-Type", "application/json")
    t.eq(resp.json(), {"repositories": names[names.index(f"{t.mark}/a") + 1 :][:2]}, "after `a`")
    empty = t.status(t.get("/v2/_catalog?n=0"), 200)
    t.eq(empty.json(), {"repositories": []}, "n=0")
    t.no_header(empty, "Link")
    t.status(t.get("/v2/_catalog?n=1000000000"), 200)


@case("R125")
def catalog_shows_what_holds_something(t):
    def shown(name):
        got = t.status(t.get(f"/v2/_catalog?n=1&last={name[:-1]}"), 200).json()["repositories"]
        return name in got

    name = f"{t.mark}/catalog/x"
    t.true(not shown(name), "unknown repository hidden", name)
    t.blob(name, b"only a blob")
    t.true(not shown(name), "repository with a blob only hidden", name)
    digest, _ = t.image(name)
    t.true(shown(name), "repository with a manifest shown", name)
    t.status(t.delete(f"/v2/{name}/manifests/{digest}"), 202)
    t.true(not shown(name), "emptied repository hidden", name)
    t.image(name, "again")
    t.true(shown(name), "filled again", name)


@case("R126", "R125", server="")
def lists_survive_a_restart(t):
    srv = t.serve()
    client = t.at(srv)
    names = sorted(f"r{n}/x" for n in range(30))
    for name in names:
        tagged(client, name, ["b", "a"])
    srv.restart()
    client = t.at(srv)
    pages = walk(client, "/v2/_catalog?n=7", "repositories")
    t.eq([n for p in pages for n in p], names, "catalog after a restart")
    t.eq(client.get("/v2/r7/x/tags/list").json()["tags"], ["a", "b"], "tags after a restart")
