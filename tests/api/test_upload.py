"""Writing blobs: sessions, chunks, mounts, and what happens when they go wrong."""

import re
import signal
import threading
import time

import oci
from harness import case, with_query


def noise(t, size):
    seed = t.seed().encode()
    return (seed * (size // len(seed) + 1))[:size]


def patch(t, url, data, first=None, chunks=None, **headers):
    """PATCH with Content-Range when `first` is given."""
    head = {k.replace("_", "-"): v for k, v in headers.items()}
    if first is not None:
        head["Content-Range"] = f"{first}-{first + len(data) - 1}"
    return t.req("PATCH", url, head, data, chunks)


def accepted(t, resp, size):
    """The 202 of a PATCH that leaves `size` bytes in the session; returns the Location."""
    t.status(resp, 202)
    t.header(resp, "Range", f"0-{max(size - 1, 0)}")
    t.header(resp, "Content-Length", "0")
    url = t.header(resp, "Location", re.compile(r"/v2/.+/blobs/uploads/[^/]+"))
    t.header(resp, "Docker-Upload-UUID", url.split("?")[0].rsplit("/", 1)[1])
    return url


def created(t, resp, repo, digest):
    t.status(resp, 201)
    t.header(resp, "Location", f"/v2/{repo}/blobs/{digest}")
    t.header(resp, "Docker-Content-Digest", digest)
    t.header(resp, "Content-Length", "0")


def at_size(t, url, size):
    """The session answers 204 and holds `size` bytes."""
    got = t.status(t.get(url), 204)
    t.header(got, "Range", f"0-{max(size - 1, 0)}")
    return got


@case("R50")
def post_opens_a_session(t):
    for headers in ({}, {"Content-Type": "application/json"}, {"Content-Type": "x/y; z=1"}):
        repo = t.repo()
        resp = t.req("POST", f"/v2/{repo}/blobs/uploads/", headers)
        t.status(resp, 202)
        url = t.header(resp, "Location", re.compile(rf"/v2/{repo}/blobs/uploads/[^/]+"))
        t.header(resp, "Docker-Upload-UUID", url.split("?")[0].rsplit("/", 1)[1])
        t.header(resp, "Range", "0-0")
        t.header(resp, "Content-Length", "0")


@case("R51")
def post_with_the_whole_blob(t):
    for alg in oci.ALGS:
        for size in (0, 1, 65537, 400_000):
            repo, data = t.repo(), noise(t, size)
            digest = oci.digest(data, alg)
            for chunks in (None, True):
                url = f"/v2/{repo}/blobs/uploads/?digest={digest}"
                created(t, t.req("POST", url, {}, data, chunks), repo, digest)
            t.body(t.get(f"/v2/{repo}/blobs/{digest}"), data)


@case("R51", "L4")
def post_with_the_wrong_blob(t):
    repo, data = t.repo(), noise(t, 3000)
    t.blob(repo, b"x")
    for alg in oci.ALGS:
        right, wrong = oci.digest(data, alg), oci.digest(data + b" ", alg)
        got = t.req("POST", f"/v2/{repo}/blobs/uploads/?digest={wrong}", body=data)
        t.error(got, 400, "DIGEST_INVALID")
        for digest in (right, wrong):
            t.error(t.get(f"/v2/{repo}/blobs/{digest}"), 404, "BLOB_UNKNOWN")
    for bad in ("sha256:baddigeststring", "nonsense", "sha1:" + "a" * 40):
        got = t.req("POST", f"/v2/{repo}/blobs/uploads/?digest={bad}", body=data)
        t.error(got, 400, "DIGEST_INVALID", "UNSUPPORTED")


@case("R52")
def put_closes_a_session(t):
    repo = t.repo()
    for alg in oci.ALGS:
        for size in (1, 65536, 700_000):
            data = noise(t, size)
            digest = oci.digest(data, alg)
            whole = t.start(repo)
            created(t, t.finish(whole, digest, data), repo, digest)
            t.body(t.get(f"/v2/{repo}/blobs/{digest}"), data)
            data = noise(t, size)
            digest, half = oci.digest(data, alg), size // 2
            url = accepted(t, patch(t, t.start(repo), data[:half]), half)
            created(t, t.finish(url, digest, data[half:]), repo, digest)
            t.body(t.get(f"/v2/{repo}/blobs/{digest}"), data)
            data = noise(t, size)
            url = accepted(t, patch(t, t.start(repo), data), size)
            created(t, t.finish(url, oci.digest(data, alg)), repo, oci.digest(data, alg))
            t.body(t.get(f"/v2/{repo}/blobs/{oci.digest(data, alg)}"), data)


@case("R52", "R60")
def closed_session_is_gone(t):
    repo, data = t.repo(), noise(t, 100)
    url = t.start(repo)
    t.status(t.finish(url, oci.digest(data), data), 201)
    t.error(t.get(url), 404, "BLOB_UPLOAD_UNKNOWN")
    t.error(patch(t, url, b"more"), 404, "BLOB_UPLOAD_UNKNOWN")


@case("R53")
def put_with_bad_digest_keeps_the_session(t):
    repo, data = t.repo(), noise(t, 5000)
    url = accepted(t, patch(t, t.start(repo), data), 5000)
    t.error(t.req("PUT", url), 400, "DIGEST_INVALID")
    for bad in ("", "x", "sha256:" + "A" * 64, "sha1:" + "a" * 40, "blake3:" + "a" * 64):
        t.error(t.req("PUT", with_query(url, digest=bad)), 400, "DIGEST_INVALID", "UNSUPPORTED")
        at_size(t, url, 5000)
    created(t, t.finish(url, oci.digest(data)), repo, oci.digest(data))


@case("R53", "L4")
def put_with_other_content_drops_the_session(t):
    repo = t.repo()
    for alg in oci.ALGS:
        for size in (0, 900, 200_000):
            data = noise(t, size)
            wrong = oci.digest(data + b"!", alg)
            for staged in (0, size // 2, size):
                url = t.start(repo)
                if staged:
                    url = accepted(t, patch(t, url, data[:staged]), staged)
                t.error(t.finish(url, wrong, data[staged:]), 400, "DIGEST_INVALID")
                t.error(t.get(url), 404, "BLOB_UPLOAD_UNKNOWN")
            t.error(t.get(f"/v2/{repo}/blobs/{wrong}"), (404,), "BLOB_UNKNOWN", "NAME_UNKNOWN")
            if size:
                t.status(t.head(f"/v2/{repo}/blobs/{oci.digest(data, alg)}"), 404)


@case("R54", "R58", "R59")
def patch_by_ranges(t):
    repo, data = t.repo(), noise(t, 3 * 65536 + 17)
    url, at = t.start(repo), 0
    at_size(t, url, 0)
    for size in (1, 1, 65534, 65536, 100, len(data) - 65536 * 2 - 100):
        url = accepted(t, patch(t, url, data[at : at + size], at), at + size)
        at += size
        at_size(t, url, at)
    created(t, t.finish(url, oci.digest(data)), repo, oci.digest(data))
    t.body(t.get(f"/v2/{repo}/blobs/{oci.digest(data)}"), data)


@case("R54")
def content_range_spellings(t):
    repo, data = t.repo(), noise(t, 40)
    url = t.start(repo)
    for at, text in ((0, "0-9"), (10, "bytes 10-19"), (20, "bytes=20-29/40"), (30, "30-39/*")):
        got = t.req("PATCH", url, {"Content-Range": text}, data[at : at + 10])
        url = accepted(t, got, at + 10)
    created(t, t.finish(url, oci.digest(data)), repo, oci.digest(data))


@case("R54", "R55", "L2")
def content_range_that_is_none(t):
    repo = t.repo()
    url = accepted(t, patch(t, t.start(repo), b"0123456789"), 10)
    for text in ("x", "10", "-", "10-", "-19", "a-b", "10-19-20", "19-10", "10 - 19", "0x0a-0x13",
                 "99999999999999999999-99999999999999999999"):
        got = t.req("PATCH", url, {"Content-Range": text}, b"abcdefghij")
        t.error(got, (400, 416), "SIZE_INVALID", "BLOB_UPLOAD_INVALID")
        at_size(t, url, 10)


@case("R55", "R56")
def patch_out_of_order(t):
    repo, data = t.repo(), noise(t, 3000)
    first = t.start(repo)
    url = accepted(t, patch(t, first, data[:1000], 0), 1000)
    for at in (0, 999, 1001, 2000, 1 << 40):
        got = t.error(patch(t, url, data[1000:2000], at), 416, "BLOB_UPLOAD_INVALID")
        t.header(got, "Range", "0-999")
        t.header(got, "Location", re.compile(rf"/v2/{repo}/blobs/uploads/[^/]+"))
        t.header(got, "Docker-Upload-UUID", re.compile(r".+"))
        at_size(t, got.h("Location"), 1000)
    accepted(t, patch(t, url, data[1000:2000], 1000), 2000)
    for stale in (first, url):
        t.status(patch(t, stale, data[:1000], 0), 416)
        at_size(t, stale, 2000)
    done = t.finish(first, oci.digest(data), data[2000:])
    created(t, done, repo, oci.digest(data))


@case("R55")
def put_out_of_order(t):
    repo, data = t.repo(), noise(t, 2000)
    url = accepted(t, patch(t, t.start(repo), data[:1000], 0), 1000)
    for span in ("0-999", "2000-2999", "1001-2000"):
        head = {"Content-Range": span}
        got = t.finish(url, oci.digest(data), data[1000:], headers=head)
        t.error(got, 416, "BLOB_UPLOAD_INVALID")
        t.header(got, "Range", "0-999")
        leftover = with_query(got.h("Location"), digest=oci.digest(data))
        at_size(t, leftover, 1000)
    got = t.finish(url, oci.digest(data), data[1000:], headers={"Content-Range": "1000-1999"})
    created(t, got, repo, oci.digest(data))


@case("R55")
def length_unlike_the_range(t):
    repo = t.repo()
    url = accepted(t, patch(t, t.start(repo), b"x" * 10), 10)
    for chunks in (None, True):
        for body in (b"y" * 9, b"y" * 11, b""):
            got = t.req("PATCH", url, {"Content-Range": "10-19"}, body, chunks)
            t.error(got, 400, "SIZE_INVALID")
            at_size(t, url, 10)
    whole = b"x" * 10 + b"y" * 11
    got = t.finish(url, oci.digest(whole), b"y" * 11, headers={"Content-Range": "10-19"})
    t.error(got, 400, "SIZE_INVALID")
    at_size(t, url, 10)


@case("R56")
def query_of_a_location_may_be_anything(t):
    repo, data = t.repo(), noise(t, 500)
    base = t.start(repo).split("?")[0]
    t.status(patch(t, base, data[:200]), 202)
    url = base + "?state=garbage&_state=eyJ4IjoxfQ%3D%3D&zz=1"
    accepted(t, patch(t, url, data[200:400], 200), 400)
    at_size(t, base, 400)
    done = t.finish(base + "?a=b", oci.digest(data).replace(":", "%3A"), data[400:])
    created(t, done, repo, oci.digest(data))


@case("R57", "R61")
def patch_without_range(t):
    repo = t.repo()
    data = noise(t, 300_000)
    for sizes in (None, [1], [65536], [7, 70000]):
        url, at = t.start(repo), 0
        for step in ((10, 20) if sizes == [1] else (100_000, 1, 199_999)):
            url = accepted(t, patch(t, url, data[at : at + step], chunks=sizes), at + step)
            at += step
        digest = oci.digest(data[:at])
        created(t, t.finish(url, digest, b"", chunks=sizes), repo, digest)
        t.body(t.get(f"/v2/{repo}/blobs/{digest}"), data[:at])


@case("R57", "R54")
def chunked_patch_with_range(t):
    repo, data = t.repo(), noise(t, 100_000)
    url = accepted(t, patch(t, t.start(repo), data[:60_000], 0, chunks=[1000]), 60_000)
    url = accepted(t, patch(t, url, data[60_000:], 60_000, chunks=True), 100_000)
    created(t, t.finish(url, oci.digest(data)), repo, oci.digest(data))


@case("R58")
def range_of_nothing_and_of_one_byte(t):
    repo = t.repo()
    url = t.start(repo)
    at_size(t, url, 0)
    url = accepted(t, patch(t, url, b"", chunks=True), 0)
    url = accepted(t, patch(t, url, b"a", 0), 1)
    t.header(at_size(t, url, 1), "Range", "0-0")
    t.status(patch(t, url, b"a", 0), 416)
    created(t, t.finish(url, oci.digest(b"a")), repo, oci.digest(b"a"))


@case("R59")
def session_status(t):
    repo = t.repo()
    url = accepted(t, patch(t, t.start(repo), b"abc"), 3)
    for method in ("GET", "HEAD"):
        for target in (url, with_query(url, digest=oci.ZERO), with_query(url, x="")):
            got = t.status(t.req(method, target), 204)
            t.header(got, "Range", "0-2")
            t.header(got, "Location", re.compile(rf"/v2/{repo}/blobs/uploads/[^/]+"))
            t.header(got, "Docker-Upload-UUID", re.compile(r"[a-zA-Z0-9_.=-]+"))


@case("R60")
def cancel(t):
    repo = t.repo()
    for staged in (0, 5, 200_000):
        url = t.start(repo)
        if staged:
            url = accepted(t, patch(t, url, noise(t, staged)), staged)
        t.status(t.delete(url), 204)
        t.error(t.get(url), 404, "BLOB_UPLOAD_UNKNOWN")
        t.error(patch(t, url, b"x"), 404, "BLOB_UPLOAD_UNKNOWN")
        t.error(t.finish(url, oci.digest(b"x"), b"x"), 404, "BLOB_UPLOAD_UNKNOWN")
        t.error(t.delete(url), 404, "BLOB_UPLOAD_UNKNOWN")


@case("R61")
def empty_blob_every_way(t):
    for alg in oci.ALGS:
        repo, digest = t.repo(), oci.digest(b"", alg)
        created(t, t.finish(t.start(repo), digest), repo, digest)
        created(t, t.finish(t.start(repo), digest, b"", chunks=True), repo, digest)
        for chunks in (None, True):
            url = f"/v2/{repo}/blobs/uploads/?digest={digest}"
            created(t, t.req("POST", url, {}, b"", chunks), repo, digest)
        url = accepted(t, patch(t, t.start(repo), b"", chunks=True), 0)
        created(t, t.finish(url, digest, b"", chunks=True), repo, digest)
        url = accepted(t, patch(t, t.start(repo), b""), 0)
        created(t, t.finish(url, digest), repo, digest)
        t.body(t.status(t.get(f"/v2/{repo}/blobs/{digest}"), 200), b"")


@case("R62", "R5")
def algorithm_first_named_at_the_end(t):
    repo = t.repo()
    for size in (100, 1_500_000):
        data = noise(t, size)
        url = t.start(repo)
        url = accepted(t, patch(t, url, data[: size // 3], chunks=True), size // 3)
        url = accepted(t, patch(t, url, data[size // 3 :], size // 3), size)
        digest = oci.digest(data, "sha512")
        created(t, t.finish(url, digest, b"", chunks=True), repo, digest)
        t.body(t.get(f"/v2/{repo}/blobs/{digest}"), data)


@case("R63")
def digest_algorithm_is_a_hint(t):
    source = t.repo()
    held = t.blob(source, noise(t, 50))
    for hint in oci.ALGS:
        for used in oci.ALGS:
            repo, data = t.repo(), noise(t, 100_000)
            url = t.start(repo, f"?digest-algorithm={hint}")
            url = accepted(t, patch(t, url, data[:5]), 5)
            created(t, t.finish(url, oci.digest(data, used), data[5:]), repo, oci.digest(data, used))
        both = f"?digest-algorithm={hint}&mount={held}&from={source}"
        t.status(t.req("POST", f"/v2/{t.repo()}/blobs/uploads/{both}"), 201)
    for bad in ("md5", "blake3", "SHA256", "sha256:"):
        got = t.req("POST", f"/v2/{t.repo()}/blobs/uploads/?digest-algorithm={bad}")
        t.error(got, 400, "DIGEST_INVALID")


@case("R64")
def mount(t):
    source, repo = t.repo(), t.repo("into")
    for alg in oci.ALGS:
        for size in (0, 20, 100_000):
            data = noise(t, size)
            digest = t.blob(source, data, alg)
            for target in (repo, source):  # also into itself
                url = f"/v2/{target}/blobs/uploads/?mount={digest}&from={source}"
                created(t, t.req("POST", url), target, digest)
            t.body(t.get(f"/v2/{repo}/blobs/{digest}"), data)


@case("R64")
def mount_that_cannot_be(t):
    source, elsewhere = t.repo(), t.repo("else")
    t.blob(source, b"other")
    hidden = oci.digest(noise(t, 9))
    origins = (source, t.repo("unknown"), "NOT/a/Name", "", "..", "a%00b", elsewhere)
    for origin in origins:
        repo, data = t.repo(), noise(t, 99)
        got = t.req("POST", f"/v2/{repo}/blobs/uploads/?mount={hidden}&from={origin}")
        t.status(got, 202)
        t.header(got, "Range", "0-0")
        created(t, t.finish(got.h("Location"), oci.digest(data), data), repo, oci.digest(data))
    for bad in ("sha256:bad", "x", ""):
        got = t.req("POST", f"/v2/{source}/blobs/uploads/?mount={bad}&from={source}")
        t.status(got, 400, 202)


@case("R64", "I13")
def mount_from_a_repository_that_lost_it(t):
    source = t.repo()
    digest = t.blob(source, noise(t, 60))
    t.status(t.delete(f"/v2/{source}/blobs/{digest}"), 202)
    repo = t.repo()
    t.status(t.req("POST", f"/v2/{repo}/blobs/uploads/?mount={digest}&from={source}"), 202)
    t.status(t.head(f"/v2/{repo}/blobs/{digest}"), 404)


@case("R65")
def anonymous_mount(t):
    source = t.repo()
    for alg in oci.ALGS:
        data = noise(t, 70)
        digest = t.blob(source, data, alg)
        repo = t.repo()
        created(t, t.req("POST", f"/v2/{repo}/blobs/uploads/?mount={digest}"), repo, digest)
        t.body(t.get(f"/v2/{repo}/blobs/{digest}"), data)
    absent = t.req("POST", f"/v2/{t.repo()}/blobs/uploads/?mount={oci.digest(noise(t, 71))}")
    t.status(absent, 202)


@case("R66")
def chunks_of_one_byte(t):
    repo, data = t.repo(), noise(t, 40)
    resp = t.status(t.req("POST", f"/v2/{repo}/blobs/uploads/"), 202)
    t.no_header(resp, "OCI-Chunk-Min-Length")
    url = resp.h("Location")
    for at in range(len(data)):
        url = accepted(t, patch(t, url, data[at : at + 1], at), at + 1)
    created(t, t.finish(url, oci.digest(data)), repo, oci.digest(data))
    t.body(t.get(f"/v2/{repo}/blobs/{oci.digest(data)}"), data)


@case("R67")
def same_blob_again(t):
    repo, other = t.repo(), t.repo("other")
    for size in (50, 200_000):
        data = noise(t, size)
        digest = oci.digest(data)
        one, two = t.start(repo), t.start(repo)
        accepted(t, patch(t, one, data), size)
        accepted(t, patch(t, two, data), size)
        created(t, t.finish(one, digest), repo, digest)
        created(t, t.finish(two, digest), repo, digest)
        created(t, t.finish(t.start(other), digest, data), other, digest)
        for name in (repo, other):
            t.body(t.get(f"/v2/{name}/blobs/{digest}"), data)


@case("R67")
def same_blob_at_once(t):
    repo, data = t.repo(), noise(t, 300_000)
    digest, got = oci.digest(data), []

    def one():
        client = t.at(t.addr)
        got.append(client.finish(client.start(repo), digest, data))

    run_together(one, 6)
    t.eq([r.status for r in got], [201] * 6, "status of six sessions closed at once")
    t.body(t.get(f"/v2/{repo}/blobs/{digest}"), data)


def run_together(fn, n, *args):
    threads = [threading.Thread(target=fn, args=args) for _ in range(n)]
    for th in threads:
        th.start()
    for th in threads:
        th.join()


@case("R68")
def patches_at_once(t):
    repo = t.repo()
    for size in (300, 80_000):
        for _ in range(6):
            url, got = t.start(repo), []

            def one():
                client, data = t.at(t.addr), noise(t, size)
                got.append((patch(client, url, data, 0), data))

            run_together(one, 4)
            won = [data for resp, data in got if resp.status == 202]
            t.eq(sorted(r.status for r, _ in got), [202, 416, 416, 416], "status of four PATCHes")
            at_size(t, url, size)
            created(t, t.finish(url, oci.digest(won[0])), repo, oci.digest(won[0]))


@case("R68", server="")
def restart_in_the_middle(t):
    srv = t.serve()
    data = noise(t, 2_500_000)
    for alg in oci.ALGS:
        for how in (signal.SIGTERM, signal.SIGKILL):
            client = t.at(srv)
            repo = client.repo()
            empty = client.start(repo)
            url = accepted(client, patch(client, client.start(repo), data[:1_000_000]), 1_000_000)
            small = accepted(client, patch(client, client.start(repo), data[:100]), 100)
            srv.restart(how)
            client = t.at(srv)
            for where, size in ((url, 1_000_000), (small, 100), (empty, 0)):
                at_size(client, where, size)
                where = accepted(client, patch(client, where, data[size : size + 50], size), size + 50)
                digest = oci.digest(data, alg)
                created(client, client.finish(where, digest, data[size + 50 :]), repo, digest)
                client.body(client.get(f"/v2/{repo}/blobs/{digest}"), data)


def half_patch(t, url, data, part, chunks, reset):
    """Send `part` bytes of a PATCH that announces all of data, then hang up."""
    conn = t.connect()
    framing = "Transfer-Encoding: chunked" if chunks else f"Content-Length: {len(data)}"
    conn.send(f"PATCH {url} HTTP/1.1\r\nHost: x\r\n{framing}\r\n\r\n".encode())
    conn.send(b"%x\r\n%s" % (len(data), data[:part]) if chunks else data[:part])
    time.sleep(0.05)
    conn.reset() if reset else conn.close()


def settled(t, url):
    """Bytes the session holds, once no request works on it any more."""
    last = None
    for _ in range(40):
        got = t.status(t.get(url), 204)
        if got.h("Range") == last:
            return got
        last = got.h("Range")
        time.sleep(0.1)
    return got


@case("R69", "L5", "L6")
def client_gone_in_the_middle(t):
    repo, data = t.repo(), noise(t, 600_000)
    for before in (0, 1000, 200_000):
        for chunks in (False, True):
            for reset in (False, True):
                url = t.start(repo)
                if before:
                    url = accepted(t, patch(t, url, data[:before]), before)
                half_patch(t, url, data[before:], 150_000, chunks, reset)
                last = int(settled(t, url).h("Range").split("-")[1])
                have = last + 1 if last or before else 0
                t.true(before <= have <= before + 150_000, f"{before}..+150000 bytes", have)
                got = patch(t, url, data[have:], have)
                if not before and got.status == 416 and last == 0:
                    have = 1  # "0-0" also means one byte
                    got = patch(t, url, data[have:], have)
                accepted(t, got, len(data))
                created(t, t.finish(url, oci.digest(data)), repo, oci.digest(data))


@case("L5", "R53")
def put_that_ends_early(t):
    repo, data = t.repo(), noise(t, 50_000)
    digest = oci.digest(data)
    for chunks in (False, True):
        url = t.start(repo)
        conn = t.connect()
        framing = "Transfer-Encoding: chunked" if chunks else f"Content-Length: {len(data)}"
        target = with_query(url, digest=digest)
        conn.send(f"PUT {target} HTTP/1.1\r\nHost: x\r\n{framing}\r\n\r\n".encode())
        conn.send(b"c350\r\n" + data[:-1] if chunks else data[:-1])
        conn.close()
        time.sleep(0.2)
        t.status(t.head(f"/v2/{repo}/blobs/{digest}"), 404)
        t.status(t.get(url), 204, 404)


@case("L5", "R53")
def body_longer_than_declared(t):
    repo, data = t.repo(), noise(t, 500)
    url = with_query(t.start(repo), digest=oci.digest(data[:400]))
    head = f"PUT {url} HTTP/1.1\r\nHost: x\r\nContent-Length: 400\r\n\r\n".encode()
    resp, conn = t.raw(head + data, "PUT", url)
    t.status(resp, 201)  # the first 400 bytes are the body, the rest is a broken next request
    t.body(t.get(f"/v2/{repo}/blobs/{oci.digest(data[:400])}"), data[:400])
    conn.close()
    t.status(t.head(f"/v2/{repo}/blobs/{oci.digest(data)}"), 404)


@case("R70")
def sizes_beyond_32_bits(t):
    repo = t.repo()
    url = t.start(repo)
    got = t.req("PATCH", url, {"Content-Range": "8589934592-8589934601"}, b"0123456789")
    t.error(got, 416, "BLOB_UPLOAD_INVALID")
    conn = t.connect()
    head = f"PATCH {url} HTTP/1.1\r\nHost: x\r\nContent-Length: 8589934592\r\n"
    conn.send(head.encode() + b"Expect: 100-continue\r\n\r\n")
    t.eq(conn.interim(), 100, "answer to the headers of an 8 GiB PATCH")
    conn.send(b"some bytes")
    conn.reset()
    t.status(t.delete(url), 204)


@case("R70", "R154")
def pause_in_the_middle_of_a_body(t):
    repo, data = t.repo(), noise(t, 1000)
    url = t.start(repo)
    conn = t.connect()
    conn.send(f"PATCH {url} HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n".encode())
    for at in range(0, 1000, 250):
        conn.send(data[at : at + 250])
        time.sleep(0.7)
    accepted(t, t.read(conn, "PATCH", url), 1000)
    created(t, t.finish(url, oci.digest(data)), repo, oci.digest(data))


@case("R70", slow=True)
def pause_of_a_minute(t):
    repo, data = t.repo(), noise(t, 1000)
    url = t.start(repo)
    conn = t.connect(timeout=90)
    conn.send(f"PATCH {url} HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n".encode())
    conn.send(data[:500])
    time.sleep(61)
    conn.send(data[500:])
    accepted(t, t.read(conn, "PATCH", url), 1000)
    created(t, t.finish(url, oci.digest(data)), repo, oci.digest(data))


@case("R71")
def any_content_type(t):
    repo = t.repo()
    kinds = (None, "application/octet-stream", "application/json", "text/plain; charset=x", "garbage", "")
    for kind in kinds:
        data = noise(t, 100)
        head = {} if kind is None else {"Content-Type": kind}
        url = accepted(t, t.req("PATCH", t.start(repo), head, data[:50]), 50)
        got = t.finish(url, oci.digest(data), data[50:], headers=head)
        created(t, got, repo, oci.digest(data))
