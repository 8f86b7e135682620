"""How fast large layers go through a node whose store is far away."""

import hashlib
import http.client
import os
import time
import urllib.parse

import proxy as proxy_mod
import relay
import sign
from loop import want

MIB = 1 << 20
DELAY_S, RATE = 0.02, 30_000_000
SLOWER = 4
TRIES = 3
TIMES = 4
REFERENCE = 48 * MIB
LATE_REQUESTS = 12  # after the last byte: the last parts, the end of the session, object, record, link, looks
READ = 1 << 20


def one_connection(endpoint, bucket, data):
    """Bytes a second of a PUT and a GET of one object over one plain connection."""
    parts = urllib.parse.urlsplit(endpoint)
    conn = http.client.HTTPConnection(parts.netloc, timeout=120, blocksize=READ)
    rates = []
    for method, body in (("PUT", data), ("GET", b"")):
        path = f"/{bucket}/one-connection"
        begin = time.monotonic()
        conn.request(method, path, body or None, sign.headers(method, parts.netloc, path, [], body))
        resp = conn.getresponse()
        size = len(body)
        while got := resp.read(READ):
            size += len(got)
        want(resp.status == 200 and size == len(data), f"{method}: {resp.status}, {size} bytes")
        rates.append(len(data) / (time.monotonic() - begin))
    conn.close()
    return rates


class Layer:
    """So many MiB of bytes that do not repeat by parts, made without holding them."""

    def __init__(self, mib):
        block, hashed = os.urandom(MIB), hashlib.sha256()
        self.blocks = [(block, i % 997) for i in range(mib)]
        for one in self:
            hashed.update(one)
        self.size, self.name = mib * MIB, "sha256:" + hashed.hexdigest()

    def __iter__(self):
        return (block[at:] + block[:at] for block, at in self.blocks)


def push(node, repo, layer):
    """When a push by POST and PUT began, sent its last byte and had its headers."""
    begin = time.monotonic()
    where = node.ok("POST", f"/v2/{repo}/blobs/uploads/", 202)[0]["Location"]
    conn = http.client.HTTPConnection(node.authority, timeout=120)
    sep = "&" if "?" in where else "?"
    conn.request("PUT", f"{where}{sep}digest={layer.name}", iter(layer), {"Content-Length": str(layer.size)})
    last = time.monotonic()
    resp = conn.getresponse()
    end = time.monotonic()
    want(resp.status == 201, f"PUT: {resp.status} {resp.read()[:300]!r}")
    conn.close()
    return begin, last, end


def pull(node, repo, name):
    """(seconds, digest, bytes) of a pull."""
    conn = http.client.HTTPConnection(node.authority, timeout=120)
    begin, size, found = time.monotonic(), 0, []
    conn.request("GET", f"/v2/{repo}/blobs/{name}")
    resp = conn.getresponse()
    want(resp.status == 200, f"GET: {resp.status}")
    while got := resp.read(READ):
        size += len(got)
        found.append(got)
    seconds = time.monotonic() - begin
    conn.close()
    hashed = hashlib.sha256()
    for one in found:
        hashed.update(one)
    return seconds, "sha256:" + hashed.hexdigest(), size


def measured(node, far, layer, plain):
    """(how many times one connection, a text) for a push and for a pull of the layer."""
    asked = far.requests()
    begin, _, end = push(node, "a/b", layer)
    took = [end - begin]
    counts = [far.requests() - asked]
    seconds, got, count = pull(node, "a/b", layer.name)
    want(got == layer.name and count == layer.size, f"{count} bytes of {layer.size}, or other bytes")
    counts.append(far.requests() - asked - counts[0])
    took.append(seconds)
    times = [layer.size / t / r for t, r in zip(took, plain)]
    return times, "; ".join(
        f"{what} {layer.size / t / 1e6:.0f} MB/s, {x:.1f} times one connection ({r / 1e6:.1f} MB/s), {c} requests"
        for what, t, x, r, c in zip(("push", "pull"), took, times, plain, counts))


def far_layer(w, stack, slower):
    """measured() on a store whose connections move so many times fewer bytes."""
    far = stack.enter_context(relay.Far(urllib.parse.urlsplit(w.gateway.endpoints[0]).netloc, DELAY_S, RATE // slower))
    node = w.node(w.prefix(), "--redirect-off", endpoint=far.url, stack=stack)
    plain = one_connection(far.url, w.bucket, os.urandom(MIB) * (REFERENCE // slower // MIB))
    return measured(node, far, Layer(w.layer_mib), plain)


def large_layer_on_a_far_store(w, stack):
    """Pushes and node-served pulls of one layer move several times what one connection does. A machine whose
    processors are too busy to move as much as that has a second chance with a slower store, where it needs not."""
    times, text = far_layer(w, stack, 1)
    if min(times) < TIMES:
        times, more = far_layer(w, stack, SLOWER)
        text = f"{text}; again: {more}"
    want(min(times) >= TIMES, text)
    return f"{w.layer_mib} MiB: {text}"


def covered(spans, begin, end):
    """Seconds of a time in which at least one of the spans was under way."""
    total, at = 0.0, begin
    for first, last in sorted(spans):
        first, last = max(first, at), min(last, end)
        if last > first:
            total, at = total + last - first, last
    return total


def last_bytes(w, node, p):
    """(whether it holds, a text) of a small and a large blob's way from the last byte to the headers."""
    own, late, text = [], [], []
    for mib in (64, w.last_byte_mib):
        layer = Layer(mib)
        p.take()
        _, last, end = push(node, "a/b", layer)
        log = p.take()
        store = covered([(one[5], one[5] + one[4]) for one in log], last, end)
        own.append(end - last - store)
        late.append(sum(one[5] >= last for one in log))
        text.append(f"{mib} MiB {end - last:.2f} s, of these {store:.2f} of the store; {late[-1]} requests")
    holds = max(own) < 1.0 and own[1] - own[0] < 0.2 and max(late) <= LATE_REQUESTS and abs(late[1] - late[0]) <= 2
    return holds, "; ".join(text)


def last_byte_of_large_blobs(w, stack):
    """From the last byte to the headers nothing depends on the size but what the store itself takes to make one
    object of the parts (some copy every byte): a request more or less, and no time of the node's own. A node
    that is kept from running while others do is tried again."""
    p = stack.enter_context(proxy_mod.Proxy(w.gateway.endpoints[0]))
    node = w.node(w.prefix(), endpoint=p.url, stack=stack)
    told = []
    for _ in range(TRIES):
        holds, text = last_bytes(w, node, p)
        told.append(text)
        if holds:
            break
    text = "; again: ".join(told)
    want(holds, text)
    return text


CASES = (large_layer_on_a_far_store, last_byte_of_large_blobs)
