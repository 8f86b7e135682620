"""The disk cache of a node that serves blobs itself."""

import os
import pathlib
import shutil
import threading
import time
import urllib.parse

import proxy as proxy_mod
import relay
from loop import want
from world import digest

MIB = 1 << 20


def data_requests(p):
    return [one for one in p.take() if one[0] == "GET" and "/data/" in one[1]]


def disk_cache(w, stack):
    """The second pull asks for no data; what is damaged or gone on disk is never served; removing all of it
    under the node's hands harms nobody."""
    p = stack.enter_context(proxy_mod.Proxy(w.gateway.endpoints[0]))
    prefix = w.prefix()
    folder = pathlib.Path(stack.enter_context(w.folder())) / "cache"
    w.node(prefix, stack=stack).blob("a/b", whole := os.urandom(9 * MIB + 13))
    node = w.node(prefix, "--redirect-off", "--cache-dir", str(folder), "--cache-size", "64MiB",
                  endpoint=p.url, stack=stack)
    target = f"/v2/a/b/blobs/{digest(whole)}"

    def pull(what, most=None):
        p.take()
        status, _, body = node.again().req("GET", target)
        want(status == 200 and body == whole, f"{what}: {status}, other bytes")
        asked = len(data_requests(p))
        want(most is None or asked <= most, f"{what}: {asked} requests for data")
        return asked

    want(pull("first pull") > 0, "the first pull asked for no data")
    pull("second pull", 0)
    files = sorted(f for f in folder.rglob("*") if f.is_file() and f.name != "lock")
    want(len(files) == 10, f"{len(files)} blocks on disk")
    for number, at in ((0, 0), (4, MIB // 2), (9, 5)):
        data = bytearray(files[number].read_bytes())
        data[at] ^= 1
        files[number].write_bytes(data)
    want(pull("after bytes were flipped") > 0, "nobody noticed a flipped byte")
    pull("after that", 0)
    files[2].write_bytes(files[2].read_bytes()[:1000])
    pull("after a block was cut short")
    stop = threading.Event()
    bad = []

    def again_and_again():
        while not stop.is_set():
            status, _, body = node.again().req("GET", target)
            if status != 200 or body != whole:
                bad.append(status)

    threads = [threading.Thread(target=again_and_again) for _ in range(3)]
    for t in threads:
        t.start()
    for _ in range(5):
        shutil.rmtree(folder, ignore_errors=True)
        time.sleep(0.3)
    stop.set()
    for t in threads:
        t.join()
    want(not bad, f"while the folder was removed: {bad[:5]}")
    pull("after the folder was removed")
    return f"{len(files)} blocks"


def files_of(folder):
    """Sizes of the cache's files by name; None when some came or went while they were looked at."""
    def names():
        return sorted(f for f in folder.rglob("*") if f.name != "lock")

    before, sizes = names(), {}
    for one in before:
        try:
            sizes[one] = one.stat().st_size
        except OSError:
            return None
    return sizes if names() == before else None


def disk_cache_is_bounded(w, stack):
    """Blobs that together are larger than the cache, pulled at once, again and again: what lies on disk is
    never more than the limit and a block."""
    limit, prefix = 16 * MIB, w.prefix()
    folder = pathlib.Path(stack.enter_context(w.folder())) / "cache"
    pusher = w.node(prefix, stack=stack)
    blobs = [os.urandom(9 * MIB + i) for i in range(4)]
    for data in blobs:
        pusher.blob("a/b", data)
    node = w.node(prefix, "--redirect-off", "--cache-dir", str(folder), "--cache-size", "16MiB", stack=stack)
    stop, problems, worst, looks = threading.Event(), [], 0, 0

    def pull(turn):
        alone = node.again()
        while not stop.is_set():
            turn += 1
            data = blobs[turn % len(blobs)]
            status, _, body = alone.req("GET", f"/v2/a/b/blobs/{digest(data)}")
            if status != 200 or body != data:
                problems.append(status)

    threads = [threading.Thread(target=pull, args=(i,)) for i in range(3)]
    for t in threads:
        t.start()
    end = time.monotonic() + 4
    while time.monotonic() < end:
        sizes = files_of(folder)
        if sizes is not None:
            looks, worst = looks + 1, max(worst, sum(sizes.values()))
        time.sleep(0.001)
    stop.set()
    for t in threads:
        t.join()
    want(not problems, f"answers {problems[:5]}")
    want(looks >= 10 and worst > limit // 2, f"{looks} looks, at most {worst} bytes: nothing to see")
    want(worst <= limit + MIB, f"{worst} bytes on disk")
    return f"at most {worst / MIB:.1f} of 16 MiB in {looks} looks"


def disk_cache_fills_once(w, stack):
    """Whoever wants what is being fetched waits for it: many at once cost the store no more than one."""
    store = relay.Relay(urllib.parse.urlsplit(w.gateway.endpoints[0]).netloc, 0.05, 40_000_000)
    stack.callback(store.close)
    prefix = w.prefix()
    folder = pathlib.Path(stack.enter_context(w.folder())) / "cache"
    w.node(prefix, stack=stack).blob("a/b", whole := os.urandom(30 * MIB))
    node = w.node(prefix, "--redirect-off", "--cache-dir", str(folder), "--cache-size", "64MiB",
                  endpoint=f"http://{store.authority}", stack=stack)
    answers = []

    def pull():
        status, _, body = node.again().req("GET", f"/v2/a/b/blobs/{digest(whole)}")
        answers.append(status == 200 and body == whole)

    before, threads = store.down, [threading.Thread(target=pull) for _ in range(6)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    moved = store.down - before
    want(all(answers) and len(answers) == 6, "other bytes")
    want(len(whole) <= moved < 1.1 * len(whole), f"{moved} bytes from the store for {len(whole)}")
    return f"6 pulls, {moved / len(whole):.2f} times the blob from the store"


CASES = (disk_cache, disk_cache_is_bounded, disk_cache_fills_once)
