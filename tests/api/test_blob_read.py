"""Reading blobs: whole, by range, by condition."""

import re

import oci
from harness import case

SIZES = (1, 1023, 65535, 65536, 65537, 200_000, 3_000_001)


def noise(t, size):
    seed = t.seed().encode()
    return (seed * (size // len(seed) + 1))[:size]


@case("R30", "R31", "R33")
def whole_blob(t):
    repo = t.repo()
    for alg in oci.ALGS:
        for size in SIZES:
            data = noise(t, size)
            digest = t.blob(repo, data, alg)
            get = t.body(t.status(t.get(f"/v2/{repo}/blobs/{digest}"), 200), data)
            head = t.status(t.head(f"/v2/{repo}/blobs/{digest}"), 200)
            for resp in (get, head):
                t.header(resp, "Docker-Content-Digest", digest)
                t.header(resp, "Content-Length", str(size))
                t.header(resp, "Content-Type", "application/octet-stream")
                t.header(resp, "ETag", f'"{digest}"')
                t.header(resp, "Accept-Ranges", "bytes")
                policy = t.header(resp, "Cache-Control", re.compile(r".*"))
                t.true("immutable" in policy and "max-age=31536000" in policy,
                       "Cache-Control max-age=31536000, immutable", policy)


@case("R31", "R61")
def zero_byte_blob(t):
    repo = t.repo()
    for alg in oci.ALGS:
        digest = t.blob(repo, b"", alg)
        t.header(t.status(t.head(f"/v2/{repo}/blobs/{digest}"), 200), "Content-Length", "0")
        t.header(t.body(t.get(f"/v2/{repo}/blobs/{digest}"), b""), "Docker-Content-Digest", digest)
        t.status(t.get(f"/v2/{repo}/blobs/{digest}", Range="bytes=0-0"), 416, 200)


@case("R32")
def blob_of_another_repository(t):
    repo, other = t.repo(), t.repo("other")
    for size in (10, 100_000):
        data = noise(t, size)
        digest = t.blob(repo, data)
        t.blob(other, noise(t, 4))
        t.error(t.get(f"/v2/{other}/blobs/{digest}"), 404, "BLOB_UNKNOWN")
        t.status(t.head(f"/v2/{other}/blobs/{digest}"), 404)
        unknown = t.get(f"/v2/{t.repo('none')}/blobs/{digest}")
        t.error(unknown, 404, "BLOB_UNKNOWN", "NAME_UNKNOWN")
        t.error(t.get(f"/v2/{repo}/blobs/{oci.ZERO}"), 404, "BLOB_UNKNOWN")


@case("R32", "R142")
def delete_after_mount_leaves_the_other(t):
    repo, other = t.repo(), t.repo("other")
    data = noise(t, 1000)
    digest = t.blob(repo, data)
    t.status(t.req("POST", f"/v2/{other}/blobs/uploads/?mount={digest}&from={repo}"), 201)
    t.status(t.delete(f"/v2/{repo}/blobs/{digest}"), 202)
    t.error(t.get(f"/v2/{repo}/blobs/{digest}"), 404, "BLOB_UNKNOWN")
    t.body(t.get(f"/v2/{other}/blobs/{digest}"), data)


RANGES = (  # value, first byte, byte after the last; negative and None count from the end
    ("bytes=500-1499", 500, 1500), ("bytes=500-", 500, None), ("bytes=-500", -500, None),
    ("bytes=2000-999999", 2000, None), ("bytes=0-0", 0, 1), ("bytes=2047-2047", 2047, 2048),
    ("bytes=0-", 0, None), ("bytes=-999999", 0, None), ("bytes=-1", -1, None),
    ("bytes=0-18446744073709551614", 0, None), ("bytes=2047-9223372036854775807", 2047, None),
)


@case("R34", "R37")
def single_range(t):
    repo = t.repo()
    for size in (2048, 100_000):  # a small blob and one that lies in a file
        data = noise(t, size)
        digest = t.blob(repo, data)
        for value, start, stop in RANGES:
            first, end, _ = slice(start, stop).indices(size)
            got = t.status(t.get(f"/v2/{repo}/blobs/{digest}", Range=value), 206)
            t.body(got, data[first:end])
            t.header(got, "Content-Range", f"bytes {first}-{end - 1}/{size}")
            t.header(got, "Docker-Content-Digest", digest)
            t.header(got, "Content-Type", "application/octet-stream")


@case("R35")
def range_that_cannot_be_met(t):
    repo = t.repo()
    digest = t.blob(repo, noise(t, 2048))
    for value in ("bytes=5000-10000", "bytes=2048-", "bytes=500-0", "bytes=2048-2048",
                  "bytes=9223372036854775808-", "bytes=-0"):
        got = t.status(t.get(f"/v2/{repo}/blobs/{digest}", Range=value), 416)
        t.header(got, "Content-Range", "bytes */2048")


@case("R35")
def range_that_is_no_range(t):
    repo = t.repo()
    data = noise(t, 2048)
    digest = t.blob(repo, data)
    for value in ("items=0-5", "bytes", "bytes=", "bytes=a-b", "bytes=-", "bytes 0-5", "bytes=0-5x",
                  "bytes=+1-5", "bytes=0x1-5", "bytes=1-2-3", "0-5", "bytes=99999999999999999999999x-"):
        t.body(t.status(t.get(f"/v2/{repo}/blobs/{digest}", Range=value), 200), data)
    head = t.status(t.head(f"/v2/{repo}/blobs/{digest}", Range="items=0-5"), 200)
    t.header(head, "Content-Length", "2048")


def parts_of(t, resp):
    """[(Content-Range, Content-Type, bytes)] of a multipart/byteranges answer."""
    kind = t.header(resp, "Content-Type", re.compile(r"multipart/byteranges; ?boundary=[A-Za-z0-9-]+"))
    mark = b"--" + kind.split("boundary=")[1].encode()
    body = resp.body if resp.body.startswith(b"\r\n") else b"\r\n" + resp.body
    pieces = body.split(b"\r\n" + mark)
    t.true(pieces[0] == b"" and pieces[-1].strip() == b"--", "a closed multipart body", pieces[-1])
    out = []
    for piece in pieces[1:-1]:
        head, data = piece.removeprefix(b"\r\n").split(b"\r\n\r\n", 1)
        lines = [line.split(": ", 1) for line in head.decode().split("\r\n")]
        fields = {name.lower(): value for name, value in lines}
        out.append((fields.get("content-range"), fields.get("content-type"), data))
    return out


def check_parts(t, url, data, spans):
    value = "bytes=" + ",".join(f"{a}-{b}" for a, b in spans)
    got = t.status(t.get(url, Range=value), 206)
    t.no_header(got, "Content-Range")
    parts = parts_of(t, got)
    t.eq(len(parts), len(spans), f"number of parts for {value[:60]}")
    for (a, b), (where, kind, piece) in zip(spans, parts):
        t.eq(where, f"bytes {a}-{b}/{len(data)}", "Content-Range of a part")
        t.eq(kind, "application/octet-stream", "Content-Type of a part")
        t.eq(piece, data[a : b + 1], "bytes of a part")


@case("R36")
def several_ranges(t):
    repo = t.repo()
    for size in (3000, 150_000):
        data = noise(t, size)
        url = f"/v2/{repo}/blobs/{t.blob(repo, data)}"
        check_parts(t, url, data, [(0, 99), (200, 299)])
        check_parts(t, url, data, [(2000, 2099), (0, 9), (5, 5)])  # order kept
        check_parts(t, url, data, [(0, 9), (10, 19), (5, 14), (0, 9)])  # touching, not merged
        check_parts(t, url, data, [(n * 2, n * 2) for n in range(1024)])
        mixed = t.status(t.get(url, Range="bytes=0-0, -1,\t2-2"), 206)
        t.eq([p[2] for p in parts_of(t, mixed)], [data[:1], data[-1:], data[2:3]], "parts")


@case("R36")
def too_many_or_too_much_is_the_whole_blob(t):
    repo = t.repo()
    data = noise(t, 5000)
    url = f"/v2/{repo}/blobs/{t.blob(repo, data)}"
    many = "bytes=" + ",".join(f"{n}-{n}" for n in range(1025))
    t.body(t.status(t.get(url, Range=many), 200), data)
    t.body(t.status(t.get(url, Range="bytes=0-3000,1000-4000"), 200), data)
    t.body(t.status(t.get(url, Range="bytes=0-,0-,0-,0-"), 200), data)
    t.status(t.get(url, Range="bytes=0-2499,2500-4999"), 206, 200)


@case("R36")
def several_ranges_none_of_which_fits(t):
    repo = t.repo()
    data = noise(t, 100)
    url = f"/v2/{repo}/blobs/{t.blob(repo, data)}"
    got = t.status(t.get(url, Range="bytes=100-200,300-"), 416)
    t.header(got, "Content-Range", "bytes */100")


@case("R37")
def resume_after_a_broken_download(t):
    repo = t.repo()
    data = noise(t, 1_000_000)
    url = f"/v2/{repo}/blobs/{t.blob(repo, data)}"
    conn = t.connect()
    conn.send(f"GET {url} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    conn.head("GET", url)
    have = conn.buf or conn.sock.recv(1000)
    conn.reset()
    rest = t.status(t.get(url, Range=f"bytes={len(have)}-"), 206)
    t.true(have + rest.body == data, "prefix and rest to be the blob", f"{len(have)} bytes")


@case("R37")
def if_range(t):
    repo = t.repo()
    data = noise(t, 2048)
    digest = t.blob(repo, data)
    url = f"/v2/{repo}/blobs/{digest}"
    part = t.get(url, Range="bytes=100-199", If_Range=f'"{digest}"')
    t.body(t.status(part, 206), data[100:200])
    for other in (f'"{oci.ZERO}"', f'W/"{digest}"', "Wed, 21 Oct 2015 07:28:00 GMT", "nonsense"):
        t.body(t.status(t.get(url, Range="bytes=100-199", If_Range=other), 200), data)


@case("R38", "R156")
def if_none_match(t):
    repo = t.repo()
    data = noise(t, 2048)
    digest = t.blob(repo, data)
    url = f"/v2/{repo}/blobs/{digest}"
    same = (f'"{digest}"', digest, f'W/"{digest}"', "*", f'"x", "{digest}"', f'W/"y",W/"{digest}"')
    for value in same:
        for method in ("GET", "HEAD"):
            got = t.status(t.req(method, url, {"If-None-Match": value}), 304)
            t.header(got, "ETag", f'"{digest}"')
    for value in (f'"{oci.ZERO}"', '"x"', "", f'"{digest}x"'):
        t.body(t.status(t.get(url, If_None_Match=value), 200), data)
    missing = t.get(f"/v2/{repo}/blobs/{oci.ZERO}", If_None_Match="*")
    t.error(missing, 404, "BLOB_UNKNOWN")


@case("R24")
def accept_encoding_changes_nothing(t):
    repo = t.repo()
    data = b"a" * 100_000
    blob = t.blob(repo, data)
    digest, body = t.image(repo, "v1")
    accept = {"Accept-Encoding": "zstd, gzip, deflate, br"}
    t.body(t.req("GET", f"/v2/{repo}/blobs/{blob}", accept), data)
    t.body(t.req("GET", f"/v2/{repo}/manifests/v1", accept), body)
    for path in (f"referrers/{digest}", "tags/list"):
        t.no_header(t.req("GET", f"/v2/{repo}/{path}", accept), "Content-Encoding")
