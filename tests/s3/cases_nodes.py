"""What it costs that any node answers any request: requests to the store by one node and by three."""

import os

import proxy as proxy_mod
import world as world_mod
from loop import want
from world import digest

MIB = 1 << 20
ROUNDS = 4
SAME = 0.05  # as good as equal
STRAY = 3  # of a machine in a hurry: what was looked at too long ago is looked at again
MORE_READS = 32  # a round: a session, a link, the entries of a log are read by each node that meets them
WARM = ("one new tag", "pull again", "3 HEAD of a tag")
LAYERS = (4096, MIB, 20 * MIB)


class Turns(world_mod.Node):
    """A client of several nodes in turn: each request goes to the next one."""

    def __init__(self, nodes):
        super().__init__(nodes[0].binary, [])
        self.nodes, self.turn = [one.again() for one in nodes], 0

    def req(self, method, target, body=None, headers=None):
        self.turn += 1
        return self.nodes[self.turn % len(self.nodes)].req(method, target, body, headers)


def pull(node, repo, tag, names):
    node.ok("HEAD", f"/v2/{repo}/manifests/{tag}", 200)
    node.ok("GET", f"/v2/{repo}/manifests/{tag}", 200)
    for one in names:
        want(node.req("GET", f"/v2/{repo}/blobs/{one}")[0] in (200, 307), "a blob")


def counts(w, stack, count):
    """Requests of each client operation, on that many nodes that have met the repository before. Markers of ten
    minutes are not counted: each node writes one when its time has come, whatever is asked."""
    p = stack.enter_context(proxy_mod.Proxy(w.gateway.endpoints[0]))
    prefix, found = w.prefix(), {}
    public = w.gateway.endpoints[0].replace("127.0.0.1", "localhost")
    nodes = Turns([w.node(prefix, "--s3-public-endpoint", public, endpoint=p.url, stack=stack) for _ in range(count)])

    def step(what, fn, *args):
        p.take()
        result = fn(*args)
        got = proxy_mod.counts([one for one in p.take() if "/changes/" not in one[1]])
        found[what] = [a + b for a, b in zip(found.get(what, (0, 0)), got)]
        return result

    for number in range(-1, ROUNDS):  # the first one is of acquaintance
        if number == 0:
            found.clear()
        layers = [os.urandom(size) for size in LAYERS]
        tag = f"v{number}"
        for size, data in zip(LAYERS, layers):
            step(f"blob of {size >> 10} KiB", nodes.blob, "a/b", data)
        manifest = step("manifest and config", nodes.image, "a/b", tag, layers, tag)
        step("the same push again", nodes.image, "a/b", tag, layers, tag)
        step("one new tag", nodes.image, "a/b", tag + "x", layers, tag)
        names = [digest(one) for one in layers]
        step("first pull", pull, nodes, "a/b", tag, names)
        step("pull again", pull, nodes, "a/b", tag, names)
        for _ in range(3):
            step("3 HEAD of a tag", nodes.ok, "HEAD", f"/v2/a/b/manifests/{digest(manifest)}", 200)
    return found


def one_node_and_three(w, stack):
    """The same operations on one node, and on three in turn without affinity. What a node knows and another
    does not is read once more; nothing is written more often."""
    one, three = counts(w, stack, 1), counts(w, stack, 3)
    print(f"{'requests, and writes of them':28} {'one node':>12} {'three':>12}")
    for what in one:
        a, b = one[what], three[what]
        more = 100 * (b[0] / a[0] - 1)
        print(f"{what:28} {a[0] / ROUNDS:7.1f} {a[1] / ROUNDS:4.1f} {b[0] / ROUNDS:7.1f} {b[1] / ROUNDS:4.1f} {more:+5.0f} %")
    total = [[sum(x[i] for x in some.values()) for i in (0, 1)] for some in (one, three)]
    reads, writes = (total[1][i] / total[0][i] - 1 for i in (0, 1))
    text = (f"{total[0][0] / ROUNDS:.1f} and {total[1][0] / ROUNDS:.1f} requests ({100 * reads:+.0f} %), "
            f"{total[0][1] / ROUNDS:.1f} and {total[1][1] / ROUNDS:.1f} writes and lists ({100 * writes:+.0f} %)")
    want(abs(writes) <= SAME, text)
    for what in WARM:
        a, b = one[what][0], three[what][0]
        want(abs(b - a) <= max(SAME * a, STRAY), f"{what}: {a} and {b}")
    want(total[1][0] - total[0][0] <= MORE_READS * ROUNDS, text)
    return text


CASES = (one_node_and_three,)
