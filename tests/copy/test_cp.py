"""A root copied file by file, in any order, while it is pushed to."""

import os
import random
import shutil
import time

from world import Pushers, case, eq, true


def copy_files(a, b, tops):
    """Like cp -a of each folder in turn, names in random order; what vanishes meanwhile is left."""
    for top in tops:
        for folder, folders, files in os.walk(a / top):
            random.shuffle(folders)
            random.shuffle(files)
            to = b / os.path.relpath(folder, a)
            to.mkdir(mode=0o700, parents=True, exist_ok=True)
            for name in files:
                try:
                    shutil.copy2(os.path.join(folder, name), to / name)
                except FileNotFoundError:
                    pass


def judge(w, b, what):
    """Clean and whole, or fsck names what is missing. Says which."""
    damage = w.fsck(b)
    s = w.serve(b)
    found, failed = s.client.everything()
    for one in failed:
        where = one.split(" ")[0]
        name, _, part = where.replace("@sha256", "").partition(":")
        true(any(part[:64] in line or name in line for line in damage),
             f"{what}: fsck names what cannot be pulled ({one})", damage)
    s.stop()
    return damage, failed, found


def rounds(w, tops_of, count):
    s = w.serve(w.folder("a"))
    for name in ("one", "two", "three/four"):
        s.client.push(name, "first", 100_000)
    pushers = Pushers(s, ["one", "two", "three/four", "five"], size=70_000)
    results = []
    for n in range(count):
        time.sleep(0.4)
        acked = dict(pushers.acked)
        tops = tops_of([p.name for p in w.folder("a").iterdir() if p.is_dir() and p.name[0] != "."])
        b = w.folder(f"b{n}")
        b.mkdir(mode=0o700)
        shutil.copy2(w.folder("a") / "format", b / "format")
        copy_files(w.folder("a"), b, tops)
        results.append((b, tops, acked))
    pushers.end()
    return results


@case
def in_any_order_whole_or_named(w):
    named = 0
    for b, tops, _ in rounds(w, lambda t: random.sample(t, len(t)), 8 if w.full else 3):
        damage, failed, _ = judge(w, b, f"{tops}")
        named += bool(damage)
        true(damage or not failed, f"{tops}: no damage and all can be pulled", failed)


@case
def logs_first_loses_nothing_acknowledged(w):
    """The order that the manual names: logs before links, records, data."""
    order = ["repos", "catalog", "changes", "secret", "links", "blobs", "data"]
    for b, tops, acked in rounds(w, lambda t: [n for n in order if n in t], 4 if w.full else 2):
        damage, failed, found = judge(w, b, f"{tops}")
        if damage:  # an entry or hint that the walk through one folder missed: named, never silent
            continue
        eq(failed, [], f"{tops}: all can be pulled")
        missing = [k for k, d in acked.items() if found.get(k[0], {}).get(k[1]) != d]
        eq(missing, [], f"{tops}: what was acknowledged before is there")
