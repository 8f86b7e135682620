"""`stowage copy`: complete, incremental, taken up after kill -9, verified, beside pushes."""

import random
import re
import shutil
import signal
import subprocess
import time

import server
from world import Pushers, case, eq, true

DATA = 200_000  # more than lies in a record


def fill(w, name="a"):
    """A root with something of everything; its server, and what can be pulled."""
    s = w.serve(w.folder(name))
    c = s.client
    for repo in ("one", "team/two", "team/two/three"):
        for tag in ("x", "y", "z"):
            c.push(repo, tag, DATA if tag == "z" else 1000)
    digest = c.push("one", "gone")
    c.delete(f"/v2/one/manifests/{digest}")
    for i in range(40):  # a log with a checkpoint
        c.push("many", f"t{i}", 100 + i)
    found, failed = c.everything()
    eq(failed, [], "all can be pulled")
    return s, found


def copied(text):
    return int(re.search(r"copied (\d+) objects", text).group(1))


def serves(w, root, wanted, what):
    s = w.serve(root)
    found, failed = s.client.everything()
    eq(failed, [], f"{what}: all can be pulled")
    eq(found, wanted, what)
    return s


@case
def copy_is_complete_and_clean(w):
    _, found = fill(w)
    out = w.copy(w.folder("a"), w.folder("b"))
    true(out.startswith("complete") and " 0 damaged" in out, "a complete copy", out)
    eq(w.fsck(w.folder("b")), [], "fsck --deep of the copy")
    b = serves(w, w.folder("b"), found, "the copy serves")
    b.client.push("one", "new")  # and is a registry


@case
def second_copy_brings_what_is_new(w):
    s, _ = fill(w)
    w.copy(w.folder("a"), w.folder("b"))
    again = w.copy(w.folder("a"), w.folder("b"))
    eq(copied(again), 0, "a copy of nothing new")
    s.client.push("one", "later", DATA)
    s.client.push("fresh", "first")
    third = copied(w.copy(w.folder("a"), w.folder("b")))
    # Two of each: layer (one has data beside its record), config, manifest, links, entry, marker;
    # and the catalog's entry.
    true(0 < third <= 20, "only the new objects are copied", third)
    found, _ = s.client.everything()
    eq(w.fsck(w.folder("b")), [], "fsck")
    serves(w, w.folder("b"), found, "the copy serves the new ones, too")


@case
def killed_and_taken_up(w):
    s, _ = fill(w)
    for i in range(12):
        s.client.push("big", f"t{i}", 3 << 20)
    found, _ = s.client.everything()
    start = time.monotonic()
    w.copy(w.folder("a"), w.folder("timed"))
    whole = time.monotonic() - start
    rounds, cut = (16 if w.full else 8), 0
    for n in range(rounds):
        p = subprocess.Popen([w.binary, "copy", f"dir:{w.folder('a')}", f"dir:{w.folder('b')}"],
                             stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                             env=server.clean_env())
        time.sleep(whole * (n + random.random()) / rounds / 2)
        p.send_signal(signal.SIGKILL)
        cut += p.wait() != 0
    true(cut > 0, "copies that were cut off", cut)
    out = w.copy(w.folder("a"), w.folder("b"))
    true(out.startswith("complete"), "the last one completes", out)
    eq(w.fsck(w.folder("b")), [], "fsck --deep")
    serves(w, w.folder("b"), found, "the copy serves all")


@case
def at_every_kill_the_copy_is_a_whole_registry(w):
    """Whatever the copy got to: fsck finds no damage, and all that is listed can be pulled."""
    fill(w)
    start = time.monotonic()
    w.copy(w.folder("a"), w.folder("timed"))
    whole = time.monotonic() - start
    seen = set()
    for n in range(12 if w.full else 6):
        b = w.folder(f"b{n}")
        p = subprocess.Popen([w.binary, "copy", f"dir:{w.folder('a')}", f"dir:{b}"],
                             stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                             env=server.clean_env())
        time.sleep(whole * random.uniform(0.3, 1))
        p.send_signal(signal.SIGKILL)
        p.wait()
        if not (b / "secret").exists():
            continue
        eq(w.fsck(b), [], f"fsck of cut {n}")
        s = w.serve(b)
        found, failed = s.client.everything()
        eq(failed, [], f"cut {n}: what is listed can be pulled")
        seen.add(sum(map(len, found.values())))
        s.stop()
        shutil.rmtree(b)
    true(seen, "copies that were cut off", seen)


@case
def beside_pushes(w):
    s, before = fill(w)
    pushers = Pushers(s, ["one", "team/two", "fresh/a", "fresh/b"])
    for n in range(4 if w.full else 2):
        time.sleep(0.3)
        out = w.copy(w.folder("a"), w.folder("b"))
        true(out.startswith("complete") and " 0 damaged" in out, f"copy {n}", out)
        eq(w.fsck(w.folder("b")), [], f"fsck after copy {n}")
    acked_by_now = dict(pushers.acked)
    w.copy(w.folder("a"), w.folder("b"))
    pushers.end()
    b = w.serve(w.folder("b"))
    found, failed = b.client.everything()
    eq(failed, [], "what the copy lists can be pulled")
    missing = [k for k, d in acked_by_now.items() if found.get(k[0], {}).get(k[1]) != d]
    eq(missing, [], "what was acknowledged before the copy is in it")
    for name, tags in before.items():
        for tag, d in tags.items():
            eq(found[name].get(tag), d, f"{name}:{tag}")


def flip(path):
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.chmod(0o600)
    path.write_bytes(data)


def some(root, pattern, wanted=lambda p: True):
    return next(p for p in sorted(root.glob(pattern)) if p.is_file() and wanted(p))


@case
def damaged_source_is_named_and_not_copied(w):
    s, _ = fill(w)
    s.stop()
    root = w.folder("a")
    data = some(root, "data/*/*")
    record = some(root, "blobs/sha256/*/*", lambda p: p.stat().st_size > 900)
    entry = root / "repos/many/_log/0000000000000000" / f"{20:020d}"
    for p in (data, record, entry):
        flip(p)
    status, out, _ = w.run("copy", f"dir:{root}", f"dir:{w.folder('b')}", wanted=(1,))
    for p in (data, record, entry):
        key = str(p.relative_to(root))
        true(f"damage  {key} " in out, f"{key} is named", out)
        true(not (w.folder("b") / key).exists(), f"{key} is not copied", "")
    true((w.folder("b") / entry.relative_to(root)).with_name(f"{19:020d}").exists(),
         "the entries before it are copied")
    true("complete: " in out, "all else is copied", out)
    # Repaired at the source, the rest comes.
    for p in (data, record, entry):
        flip(p)
    out = w.copy(root, w.folder("b"))
    eq(w.fsck(w.folder("b")), [], "fsck after the repair")


@case
def a_missing_entry_is_named(w):
    s, _ = fill(w)
    s.stop()
    entry = w.folder("a") / "repos/many/_log/0000000000000000" / f"{7:020d}"
    entry.unlink()
    _, out, _ = w.run("copy", w.folder("a"), w.folder("b"), wanted=(1,))
    true(f"damage  {entry.relative_to(w.folder('a'))}  is missing" in out, "it is named", out)


@case
def only_into_nothing_or_itself(w):
    fill(w)
    other = w.serve(w.folder("other"))
    other.client.push("x", "y")
    _, _, err = w.run("copy", w.folder("a"), w.folder("other"), wanted=(1,))
    true("another registry" in err, "a sentence", err)
    w.folder("full").mkdir(mode=0o700)
    (w.folder("full") / "something").write_text("else")
    _, _, err = w.run("copy", w.folder("a"), w.folder("full"), wanted=(1,))
    true("not empty" in err, "a sentence", err)
    _, _, err = w.run("copy", w.folder("nothing"), w.folder("b"), wanted=(1,))
    _, _, err = w.run("copy", "ftp:x", w.folder("b"), wanted=(1,))
    true("no kind of store" in err, "a sentence", err)
    w.run("copy", w.folder("a"), wanted=(2,))


@case
def a_copy_that_went_its_own_way_is_refused(w):
    s, _ = fill(w)
    w.copy(w.folder("a"), w.folder("b"))
    b = w.serve(w.folder("b"))
    b.client.push("one", "mine")
    s.client.push("one", "theirs")
    _, _, err = w.run("copy", w.folder("a"), w.folder("b"), wanted=(1,))
    true("gone its own way" in err, "a sentence", err)
    eq(w.fsck(w.folder("b")), [], "it is left as it was")
