"""A client that sends all pieces of an upload to the first URL it was given, over nodes in turn (R56, R57)."""

import os

from cases_nodes import Turns
from loop import want
from world import digest

MIB = 1 << 20
PART = 8 * MIB  # store_s3.h: from there on a piece is sent before it is known where it belongs
SMALL = (100, 1, 50_000, 30_000, 3)
MIXED = (700_000, 5, 5 * MIB, 4 * MIB + 1, 6 * MIB, 64)


def whereabouts(nodes, first, size):
    """Every node says the same."""
    for node in nodes.nodes:
        heads, _ = node.ok("GET", first, 204)
        want(heads["Range"] == f"0-{size - 1}", f"{heads['Range']} instead of {size} bytes")


def pieces_by_the_first_url(w, stack):
    """Pieces of less than a part stand one behind another, whichever node gets them; an empty one says how much
    there is. A larger one at a node that has not seen the session is 416, changes nothing and says where to go on."""
    prefix = w.prefix()
    nodes = Turns([w.node(prefix, endpoint=w.gateway.endpoints[i % 2], stack=stack) for i in range(3)])
    for sizes in (SMALL, MIXED):
        parts = [os.urandom(size) for size in sizes]
        first, size = nodes.ok("POST", "/v2/a/b/blobs/uploads/", 202)[0]["Location"], 0
        for data in parts:
            size += len(data)
            for body in (data, b""):
                heads, _ = nodes.ok("PATCH", first, 202, body)
                want(heads["Range"] == f"0-{size - 1}", f"{heads['Range']} after {size} bytes")
            whereabouts(nodes, first, size)
        whole = b"".join(parts)
        nodes.ok("PUT", f"{first}?digest={digest(whole)}", 201)
        want(nodes.ok("GET", f"/v2/a/b/blobs/{digest(whole)}", 200)[1] == whole, "other bytes")

    whole = os.urandom(3 * PART + 77)
    first = nodes.ok("POST", "/v2/a/b/blobs/uploads/", 202)[0]["Location"]
    nodes.ok("PATCH", first, 202, whole[:PART + 5])
    status, heads, _ = nodes.req("PATCH", first, whole[PART + 5:])
    want(status == 416 and heads["Range"] == f"0-{PART + 4}", f"a large piece: {status} {heads['Range']}")
    whereabouts(nodes, first, PART + 5)
    nodes.ok("PATCH", heads["Location"], 202, whole[PART + 5:])
    whereabouts(nodes, first, len(whole))
    nodes.ok("PUT", f"{first}?digest={digest(whole)}", 201)
    want(nodes.ok("GET", f"/v2/a/b/blobs/{digest(whole)}", 200)[1] == whole, "other bytes")


CASES = (pieces_by_the_first_url,)
