"""A store in use is clean; bytes at random never end the check."""

import random
import threading
import time

import oci
import server
from world import Client, Fail, bytes_of, case

BUSY_S = 4
ROUNDS = 45


def hammer(addr, n, stop, errors):
    """Pushes and deletes in a repository of its own and in one that all share."""
    try:
        c = Client(addr)
        turn = 0
        while not stop.is_set():
            turn += 1
            for repo in (f"busy/r{n}", "busy/all"):
                size = 90_000 if turn % 3 == 0 else 600
                digest = c.image(repo, f"t{turn % 5}-{n}", f"{n} {turn}", size)
                if turn % 2:
                    c.delete(repo, f"manifests/{digest}")
                if turn % 4 == 0:
                    blob = oci.digest(bytes_of(f"l{n} {turn}", size))
                    c.delete(repo, f"blobs/{blob}")
            if turn % 5 == 0:
                c.image(f"busy/new{n}-{turn}", "x", f"new{n} {turn}")
        c.close()
    except Exception as e:  # told by the case
        errors.append(repr(e))


@case
def clean_while_in_use(w):
    stop, errors = threading.Event(), []
    with server.Server(w.binary, root=str(w.root)) as a, server.Server(w.binary, root=str(w.root)) as b:
        threads = [threading.Thread(target=hammer, args=((a, b)[n % 2].addr, n, stop, errors)) for n in range(4)]
        for t in threads:
            t.start()
        end, runs = time.monotonic() + BUSY_S, 0
        try:
            while time.monotonic() < end:
                w.clean(*(["--deep"] if runs % 2 else []))
                runs += 1
        finally:
            stop.set()
            for t in threads:
                t.join()
    if errors or runs < 2:
        raise Fail(f"{runs} runs; {errors[:2]}")
    w.clean("--deep")


@case
def clean_after_kills(w):
    for turn in range(3):
        stop, errors = threading.Event(), []
        one = server.Server(w.binary, root=str(w.root))
        one.start()
        threads = [threading.Thread(target=hammer, args=(one.addr, n + 4 * turn, stop, errors)) for n in range(3)]
        for t in threads:
            t.start()
        time.sleep(0.4)
        one.stop(9)
        stop.set()
        for t in threads:
            t.join()
        # The catalog's word may be cut off; the next change of the repository says it again.
        found = [f for f in w.fsck(status=0) if f.severity != "garbage" and "catalog says otherwise" not in f.what]
        if found:
            raise Fail(f"after a kill: {[f.line for f in found][:5]}")


def spoil(rng, data):
    how = rng.randrange(5)
    if how == 0 or not data:
        return rng.randbytes(rng.randrange(300))
    if how == 1:
        return data[: rng.randrange(len(data))]
    if how == 2:
        at = rng.randrange(len(data))
        return data[:at] + bytes([rng.randrange(256)]) + data[at + 1 :]
    if how == 3:
        at = rng.randrange(len(data))
        return data[:at] + rng.randbytes(8) + data[at:]
    return data.replace(b"1", b"99999999999999999999", 1)


@case
def never_ends_by_itself(w):
    rng = random.Random(5)
    files = sorted(p for p in w.root.rglob("*") if p.is_file())
    for turn in range(ROUNDS):
        kept = {}
        for p in rng.sample(files, 3):
            kept[p] = p.read_bytes()
            w.write(p.relative_to(w.root), spoil(rng, kept[p]))
        if turn % 3 == 0:
            p = rng.choice(files)
            kept.setdefault(p, p.read_bytes())
            other = rng.choice(files)
            kept.setdefault(other, other.read_bytes())
            w.write(p.relative_to(w.root), kept[other])
        done = w.run(*(["--deep"] if turn % 2 else []))
        if done.returncode not in (0, 1, 3) or b"Sanitizer" in done.stderr:
            raise Fail(f"turn {turn}: status {done.returncode} {done.stderr[-600:]}")
        for p, data in kept.items():
            w.write(p.relative_to(w.root), data)
