"""Cases that end soon after they begin; run one after another, so that figures are their own."""

import resource
import time

import bench
from bench import MIB, Crowd, Node, need, timed, until

IDLE_RSS_MAX, IDLE_ANON_MAX = 16 * MIB, 4 * MIB
CONNECTION_MAX = 36 << 10
STORM_PEAK_MAX = 48 * MIB
CROWD_RSS_MAX = 192 * MIB
MANIFEST_P99_S, PUSH_S = 0.05, 1.0
RETURN_S = 120
# Anonymous memory after the crowd (150 MiB more) against that before: what is left are the sessions
# that a node remembers and what the allocator keeps in the heaps of 70 threads, 4 to 8 MiB.
RETURN_ANON = 12 * MIB
BODY_MEMORY = 96 * MIB  # gathered bodies of all requests together
BODIES_LEFT = 32 * MIB  # resident beside idle connections, once such bodies are answered
MANIFEST_MAX = 4 * MIB
SMALL = {"idle": 200, "uploads": 100, "readers": 100, "rate": 8000, "hold": 6}
FULL = {"idle": 2000, "uploads": 1000, "readers": 1000, "rate": 1000, "hold": 45}

CASES = []


def case(full=False):
    def add(fn):
        CASES.append((fn, full))
        return fn

    return add


def mib(n):
    return f"{n / MIB:.1f} MiB"


@case(full=True)
def idle_memory(w):
    node = w.node()
    with node.client() as c:
        c.get("/v2/")
    time.sleep(1)
    m = node.memory()
    w.tell(f"rss {mib(m.rss)}, anonymous {mib(m.anon)}")
    need(m.rss <= IDLE_RSS_MAX, f"idle: {mib(m.rss)} resident")
    need(m.anon <= IDLE_ANON_MAX, f"idle: {mib(m.anon)} anonymous")


@case(full=True)
def idle_connection_memory(w):
    node, crowd = w.node(), None
    with node.client() as c:
        c.push_image("m", "t", b"layer")
    crowd = w.crowd(node)
    crowd.add("warm", "get", 50, path="/v2/m/manifests/t")
    crowd.settled("warm", 50, 30)
    before = node.memory()
    crowd.add("idle", "get", 2000, path="/v2/m/manifests/t")
    crowd.settled("idle", 2000, 60)
    after = node.memory()
    each = (after.rss - before.rss) / 2000
    w.tell(f"{each / 1024:.1f} KiB for each connection")
    need(each <= CONNECTION_MAX, f"{each / 1024:.1f} KiB for each idle connection")


@case(full=True)
def pull_storm_memory(w):
    node = w.node()
    with node.client() as c:
        layers = [bench.noise(10 * MIB, i) for i in range(3)]
        digests = c.push_image("storm", "t", *layers)
    node.reset_peak()
    crowd = w.crowd(node)
    paths = ["/v2/storm/manifests/t"] + [f"/v2/storm/blobs/{d}" for d in digests]
    crowd.add("pull", "pull", 64, paths=paths, at_once=True)
    s = crowd.settled("pull", 64, 120)
    need(s["statuses"] == {"200": 64 * 5}, f"answers: {s['statuses']}")
    m = node.memory()
    w.tell(f"peak {mib(m.peak)} of 64 clients")
    need(m.peak <= STORM_PEAK_MAX, f"peak {mib(m.peak)}")


def small_push_seconds(node, tag):
    with node.client() as c:
        start = time.monotonic()
        c.push_image("small", tag, bench.noise(4096))
        return time.monotonic() - start


def check_all_there(crowd, n):
    for group, count in (("idle", n["idle"]), ("uploads", n["uploads"]), ("readers", n["readers"])):
        s = crowd.stat(group)
        need(s["open"] == count and s["closed"] == 0, f"{group} that the server let go: {s}")


def check_meanwhile(w, node, crowd, n):
    """What others notice while the crowd is held; the greatest resident memory seen."""
    path, tags, most = "/v2/big/manifests/t", iter(range(1000)), node.memory().rss
    p99 = timed(lambda: bench.quantile(bench.get_times(node, path, 500, 0.002), 0.99), MANIFEST_P99_S)
    push = timed(lambda: small_push_seconds(node, f"t{next(tags)}"), PUSH_S)
    before, end = crowd.stat("uploads")["bytes"], time.monotonic() + n["hold"]
    started = time.monotonic()
    while time.monotonic() < end:
        most = max(most, node.memory().rss)
        time.sleep(0.5)
    moved = (crowd.stat("uploads")["bytes"] - before) / (time.monotonic() - started)
    p99 = min(p99, timed(lambda: bench.quantile(bench.get_times(node, path, 500, 0.002), 0.99),
                         MANIFEST_P99_S))
    most = max(most, node.memory().rss)
    w.tell(f"p99 {p99 * 1000:.1f} ms, push {push * 1000:.0f} ms, at most {mib(most)} resident, "
           f"uploads {moved / 1000:.0f} kB/s")
    need(p99 < MANIFEST_P99_S, f"p99 of a cached manifest: {p99 * 1000:.0f} ms")
    need(push < PUSH_S, f"a small push took {push:.2f} s")
    need(moved > n["uploads"] * n["rate"] * 0.7, f"uploads moved {moved:.0f} bytes a second")
    return most


def add_crowd(crowd, n, digest):
    crowd.add("idle", "get", n["idle"], path="/v2/big/manifests/t")
    crowd.settled("idle", n["idle"], 60)
    crowd.add("uploads", "upload", n["uploads"], repo="big", size=1 << 20, rate=n["rate"])
    crowd.add("readers", "read", n["readers"], path=f"/v2/big/blobs/{digest}", rate=n["rate"])
    crowd.settled("uploads", n["uploads"], 120)
    crowd.settled("readers", n["readers"], 60)


@case()
def slow_and_many(w):
    """Idle connections, slow uploads and slow readers together; then all go at once."""
    n = FULL if w.full else SMALL
    bench.raise_files(2 * sum(n[k] for k in ("idle", "uploads", "readers")) + 512)
    node = w.node()
    with node.client() as c:
        digest = c.push_image("big", "t", bench.noise(12 * MIB))[1]
        for i in range(20):
            c.push_image("small", f"before{i}", bench.noise(4096))
    files, memory = node.files(), node.memory()
    crowd = w.crowd(node)
    add_crowd(crowd, n, digest)
    most = check_meanwhile(w, node, crowd, n)
    need(most < CROWD_RSS_MAX, f"{mib(most)} resident")
    check_all_there(crowd, n)
    crowd.done()
    if w.full:
        check_return(w, node, files, memory)
    else:
        gone = until(lambda: node.metric("http_connections") <= 2, 10)
        need(gone, "connections of clients that left are open")


def check_return(w, node, files, memory):
    start = time.monotonic()
    ok = until(lambda: node.files() <= files and node.memory().anon <= memory.anon + RETURN_ANON,
               RETURN_S, 1)
    m = node.memory()
    w.tell(f"after {time.monotonic() - start:.0f} s: {node.files()} descriptors (from {files}), "
           f"anonymous {mib(m.anon)} (from {mib(memory.anon)})")
    need(ok, f"after {RETURN_S} s {node.files()} descriptors, not {files}; anonymous {mib(m.anon)},"
             f" from {mib(memory.anon)}")


@case()
def uploads_that_were_fast(w):
    """Large buffers are for uploads that are fast: a crowd that begins fast and then stalls does not
    hold them."""
    count = 500 if w.full else 200
    node = w.node()
    before = node.memory()
    crowd = w.crowd(node)
    crowd.add("u", "upload", count, repo="f", size=64 * MIB, first=1500000)
    crowd.settled("u", count, 60)
    until(lambda: node.metric("http_received_bytes_total") > count * 1000000, 60)
    time.sleep(1)
    m = node.memory()
    most = 64 * MIB + count * (100 << 10)
    w.tell(f"{count} uploads: {mib(m.rss - before.rss)} more")
    need(m.rss - before.rss < most, f"{mib(m.rss - before.rss)} more, at most {mib(most)} expected")


def manifest_put(name, length):
    return (f"PUT /v2/hold/manifests/{name} HTTP/1.1\r\nHost: x\r\nContent-Type: "
            f"{bench.MANIFEST_TYPE}\r\nContent-Length: {length}\r\n\r\n")


def stands_still(node):
    """For until(): whether the bytes that the bound lets in, about, have arrived from now on, and as
    many in each of five looks as in the one before."""
    first, times = node.metric("http_received_bytes_total"), 0
    seen = first

    def look():
        nonlocal seen, times
        now = node.metric("http_received_bytes_total")
        enough = now - first > BODY_MEMORY - 8 * MIB
        seen, times = now, times + 1 if now == seen and enough else 0
        return times >= 5

    return look


@case()
def bodies_in_memory(w):
    """64 manifests of 4 MB, all but the last byte sent: what passes the bound is refused with 503,
    and its memory is given up at once. Again, as what the first ones left in the allocator must not
    add up."""
    node = w.node()
    crowd = w.crowd(node)
    before, told = node.memory(), []
    for group in ("first", "again"):
        arrived = stands_still(node)
        crowd.add(group, "get", 64, request=manifest_put("t", MANIFEST_MAX), body=MANIFEST_MAX - 1,
                  at_once=True)
        until(arrived, 60, 0.2)
        held = node.memory().rss - before.rss
        crowd.say(do="send", group=group, text="x")
        s = crowd.settled(group, 64, 60)
        until(lambda: node.memory().rss - before.rss < BODIES_LEFT, 10)
        left = node.memory().rss - before.rss
        told.append(f"{mib(held)}, then {mib(left)}")
        need(held < BODY_MEMORY + 24 * MIB, f"{group}: {mib(held)} more")
        need(left < BODIES_LEFT, f"{group}: {mib(left)} left")
        refused = s["statuses"].get("503", 0)
        need(set(s["statuses"]) == {"400", "503"} and
             refused >= 64 - BODY_MEMORY // MANIFEST_MAX, f"answers: {s['statuses']}")
        need(s["retry_after"] == refused, f"{s['retry_after']} of {refused} say when to retry")
        crowd.drop(group)
    w.tell(f"for 64 bodies of 4 MiB {'; again '.join(told)}")
    with node.client() as c:
        c.push_image("hold", "after", b"layer")


@case(full=True)
def many_at_once(w):
    """More requests at once than the queue of the workers holds: each is served or told to retry."""
    bench.raise_files(2 * 7000 + 1024)
    node = w.node("--workers", "2")
    with node.client() as c:
        c.push_image("q", "t", b"layer")
    crowd = w.crowd(node)
    crowd.add("q", "get", 6500, path="/v2/")
    crowd.settled("q", 6500, 60)
    idle = node.memory()
    node.reset_peak()
    text = manifest_put("x", 60000).replace("/hold/", "/q/") + "x" * 60000
    for i in range(3):  # what one round leaves behind in the counts would show in the next
        crowd.say(do="send", group="q", text=text)
        s = crowd.settled("q", (2 + i) * 6500, 120)
        statuses = {k: v for k, v in s["statuses"].items() if k != "200"}
        need(sum(statuses.values()) == (1 + i) * 6500 and set(statuses) <= {"400", "503"},
             f"{statuses}")
        need(s["retry_after"] == statuses.get("503", 0), f"retry-after: {s}")
    m = node.memory()
    w.tell(f"{statuses}, peak {mib(m.peak - idle.rss)} above idle")
    need(m.peak - idle.rss < 2 * BODY_MEMORY, f"peak {mib(m.peak - idle.rss)} above idle")
    with node.client() as c:
        c.push_image("q", "after", b"layer")


def logged_limit(node):
    for line in node.server.log().splitlines():
        if "connections_max=" in line:
            return int(line.split("connections_max=")[1].split()[0])
    raise bench.Fail("the log does not say how many connections are accepted")


@case()
def connection_limit(w):
    """Few descriptors: the limit is derived and logged, those beyond it wait while the others go
    on, and come in when there is room."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    for files, least in ((512, 64), (1024, 384)):
        if hard != resource.RLIM_INFINITY and hard < files:
            raise bench.Skip(f"{hard} descriptors are allowed")
        node = w.node(files=files)
        with node.client() as c:
            digest = c.push_image("l", "t", bench.noise(MIB))[1]
        until(lambda: "connections_max=" in node.server.log(), 5)
        limit = logged_limit(node)
        need(limit == least, f"{files} descriptors give {limit} connections")
        fill_and_empty(w, node, limit, digest)


def fill_and_empty(w, node, limit, digest):
    crowd = w.crowd(node)
    until(lambda: node.sockets() <= 8, 5)
    crowd.add("in", "read", limit + 32, path=f"/v2/l/blobs/{digest}", rate=100, at_once=True)
    until(lambda: crowd.stat("in")["settled"] >= limit // 2, 20)
    time.sleep(2)
    s = crowd.stat("in")
    need(limit // 2 <= s["settled"] <= limit, f"of {limit} {s}")
    crowd.add("late", "get", 20, path="/v2/", at_once=True)
    time.sleep(1)
    need(crowd.stat("in")["bytes"] > s["bytes"], "those inside do not go on")
    crowd.drop("in")
    crowd.settled("late", 20, 30)
    with node.client() as c:
        c.push_image("l", "after", b"layer")
    w.tell(f"limit {limit}: {s['settled']} served at once, the rest after them")
