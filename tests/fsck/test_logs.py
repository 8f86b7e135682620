"""Damage of logs, hints, checkpoints."""

import hashlib
import json
import os
import time

import table
from world import Fail, case

APP = "team/app"


def last(w, repo):
    return w.entries(repo)[-1]


@case
def clean_store(w):
    w.clean()
    w.clean("--deep")
    w.clean("team/app", "tall", "ext", "alone", "gone")


@case
def first_entry_flipped(w):
    w.change(w.entry(APP, 1), b'"v0"', b'"w0"')
    w.only("damage", w.entry(APP, 1), "was changed after entry 2 was written")


@case
def first_entry_torn(w):
    w.cut(w.entry(APP, 1), 40)
    w.only("damage", w.entry(APP, 1), "not JSON")


@case
def first_entry_missing(w):
    w.remove(w.entry(APP, 1))
    w.only("damage", w.entry(APP, 1), "is missing")


@case
def middle_entry_flipped(w):
    w.change(w.entry(APP, 4), b'"v3"', b'"w3"')
    w.only("damage", w.entry(APP, 4), "was changed after entry 5 was written")


@case
def middle_entry_of_another_chain(w):
    data = json.loads(w.path(w.entry(APP, 4)).read_bytes())
    w.change(w.entry(APP, 4), data["prev"].encode(), b"a" * 64)
    w.only("damage", w.entry(APP, 4), "does not follow entry 3: this one was changed")


@case
def middle_entry_empty(w):
    w.write(w.entry(APP, 4), b"")
    w.only("damage", w.entry(APP, 4), "not JSON")


@case
def middle_entries_missing(w):
    w.remove(w.entry(APP, 4))
    w.remove(w.entry(APP, 5))
    w.only("damage", w.entry(APP, 4), "is missing (with all before 6)")


@case
def middle_entry_missing_before_a_checkpoint(w):
    """A server would open the checkpoint behind it; history is damaged all the same."""
    w.remove(w.entry("tall", 2))
    w.only("damage", w.entry("tall", 2), "is missing")


@case
def last_entry_torn(w):
    w.cut(last(w, APP))
    w.only("damage", last(w, APP), "not JSON")


@case
def last_entry_of_another_chain(w):
    data = json.loads(w.path(last(w, APP)).read_bytes())
    w.change(last(w, APP), data["prev"].encode(), b"a" * 64)
    w.only("damage", last(w, APP), "this one or that one was changed")


@case
def last_entry_of_another_log(w):
    w.change(last(w, APP), b'"team/app"', b'"team/apq"')
    w.only("damage", last(w, APP), "belongs to another log")


@case
def last_entry_of_another_number(w):
    w.write(w.entry(APP, 10), w.path(w.entry(APP, 9)).read_bytes())
    w.only("damage", w.entry(APP, 10), "has another number inside")


@case
def last_entry_with_a_bad_operation(w):
    w.change(last(w, "alone"), b'"tags"', b'"gats"')
    w.clean("alone")  # unknown keys are passed over, and nothing vouches for the last entry
    w.change(last(w, "alone"), b'"sha256:', b'"sha257:')
    w.only("damage", last(w, "alone"), "operation of a tag log", "alone")


@case
def entry_of_a_newer_version(w):
    w.change(last(w, "alone"), b'"op":"put"', b'"op":"pox"')
    w.has("warning", w.entry("alone", 2), "newer version", "alone")


@case
def time_goes_back(w):
    ts = json.loads(w.path(last(w, APP)).read_bytes())["ts"]
    w.change(last(w, APP), str(ts).encode(), b"1000")
    w.only("damage", last(w, APP), "is not younger", APP)


def add(w, repo, *ops):
    """One more entry at the end of a log, whole and chained; its key."""
    raw = w.path(last(w, repo)).read_bytes()
    entry = json.loads(raw)
    entry.update(seq=entry["seq"] + 1, ts=entry["ts"] + 1, prev=hashlib.sha256(raw).hexdigest(), ops=list(ops),
                 nonce=os.urandom(16).hex())
    key = w.entry(repo, entry["seq"])
    w.write(key, json.dumps(entry, separators=(",", ":")).encode())
    return key


def op(kind, **fields):
    return {"op": kind, **fields, "by": "", "req": os.urandom(8).hex()}


def first_tag(w, repo):
    """A tag of the repository and the digest it is on."""
    puts = [o for p in w.path(last(w, repo)).parent.iterdir() for o in json.loads(p.read_bytes())["ops"]]
    return next((o["tags"][0], o["digest"]) for o in puts if o["op"] == "put" and o["tags"])


@case
def immutable_tag_changed(w):
    tag, digest = first_tag(w, "alone")
    add(w, "alone", op("settings", settings={"immutable": [tag]}))
    add(w, "alone", op("tags", set=[{"tag": tag, "digest": digest}]))
    w.clean("alone")
    key = add(w, "alone", op("tags", set=[{"tag": tag, "digest": None}]))
    w.only("damage", key, f"changes the immutable tag {tag}", "alone")


@case
def manifest_of_an_immutable_tag_deleted(w):
    tag, digest = first_tag(w, "alone")
    add(w, "alone", op("settings", settings={"immutable": ["*"]}))
    key = add(w, "alone", op("delete", digest=digest))
    w.has("damage", key, f"changes the immutable tag {tag}", "alone")


@case
def immutable_tags_overridden(w):
    tag, digest = first_tag(w, "alone")
    add(w, "alone", op("settings", settings={"immutable": ["*"]}))
    add(w, "alone", op("tags", set=[{"tag": tag, "digest": None}], override=True))
    add(w, "alone", op("tags", set=[{"tag": tag, "digest": digest}]))
    w.clean("alone")
    add(w, "alone", op("delete", digest=digest, override=True))
    w.only("warning", "repos/alone", "is empty, but the catalog says otherwise", "alone")


@case
def immutable_tags_dropped(w):
    tag, _ = first_tag(w, "alone")
    add(w, "alone", op("settings", settings={"immutable": [tag]}))
    key = add(w, "alone", op("drop"))
    w.has("damage", key, f"changes the immutable tag {tag}", "alone")


@case
def condition_that_did_not_hold(w):
    tag, digest = first_tag(w, "alone")
    add(w, "alone", op("tags", set=[{"tag": tag, "digest": digest, "if": {"match": [digest]}}]))
    w.clean("alone")
    key = add(w, "alone", op("tags", set=[{"tag": tag, "digest": digest, "if": {"absent": True}}]))
    w.only("damage", key, f"changes {tag} against its condition", "alone")


@case
def nonce_twice(w):
    a, b = (json.loads(w.path(w.entry(APP, n)).read_bytes()) for n in (2, 9))
    w.change(w.entry(APP, 9), b["nonce"].encode(), a["nonce"].encode())
    w.only("damage", w.entry(APP, 9), "has the nonce of entry 2")


@case
def request_twice(w):
    a, b = (json.loads(w.path(w.entry(APP, n)).read_bytes()) for n in (2, 9))
    old, new = b["ops"][0]["req"], a["ops"][0]["req"]
    w.change(w.entry(APP, 9), f'"req":"{old}"'.encode(), f'"req":"{new}"'.encode())
    w.only("damage", w.entry(APP, 9), "has the request id of entry 2")


@case
def entry_is_a_link(w):
    key = w.entry(APP, 4)
    w.path(key).rename(w.root / "elsewhere")
    w.path(key).symlink_to(w.root / "elsewhere")
    found = w.has("damage", key, "cannot open")
    if [f.key for f in found if f.severity != "damage"] != ["elsewhere"]:
        raise Fail(f"more than the unknown file: {[f.line for f in found]}")


@case
def folder_is_a_link(w):
    w.path("repos/tall").rename(w.root / "repos2")
    w.path("repos/tall").symlink_to(w.root / "repos2")
    w.has("warning", "repos2/_hint", "is no key")
    w.has("damage", w.entry("tall", 1), "Too many levels of symbolic links")
    if w.run("tall").returncode != 3:  # not even its folder can be read
        raise Fail("a repository behind a link was looked at")


@case
def entry_is_a_folder(w):
    key = w.remove(w.entry(APP, 4))
    w.path(key).mkdir()
    w.only("damage", key, "is missing")


@case
def hint_beyond_the_log(w):
    w.write("repos/tall/_hint", b'{"v":1,"checkpoint":3,"head":12}')
    w.only("damage", w.entry("tall", 10), "the hint says that it goes on to 12")


@case
def tail_lost_before_checkpoint(w):
    for n in range(2, 10):
        w.remove(w.entry("tall", n))
    w.has("damage", w.entry("tall", 2), "a checkpoint says that it goes on to 3")


@case
def hint_malformed(w):
    w.write("repos/tall/_hint", b"{}")
    w.only("warning", "repos/tall/_hint", "is no hint")


@case
def tail_lost_catalog_knows(w):
    """Of a repository that was emptied the catalog has the number."""
    w.remove(w.entry("gone", 2))
    w.only("damage", w.entry("gone", 2), "the catalog says that it goes on to 2")


@case
def log_lost_catalog_knows(w):
    w.remove(w.entry("gone", 2))
    w.remove(w.entry("gone", 1))
    w.only("damage", w.entry("gone", 1), "the catalog says that this log goes on to 2")


@case
def hint_names_no_checkpoint(w):
    w.write("repos/tall/_hint", b'{"v":1,"checkpoint":2,"head":9}')
    w.only("warning", "repos/tall/_table/00000000000000000002", "the hint names it")


@case
def hint_missing(w):
    w.remove("repos/tall/_hint")
    w.clean()


@case
def checkpoint_flipped(w):
    w.flip(w.tables("tall")[0], 200)
    w.only("damage", w.tables("tall")[0], "the sum does not hold")


@case
def checkpoint_torn(w):
    w.cut(w.tables("tall")[0], 30)
    w.only("damage", w.tables("tall")[0], "a part is malformed")


@case
def checkpoint_cut_in_its_head(w):
    key = w.tables("tall")[0]
    w.cut(key, len(table.split(w.path(key).read_bytes())[1]) + 30)
    w.only("damage", key, "the sum does not hold")


@case
def checkpoint_of_an_older_encoder(w):
    key = w.tables("tall")[0]
    head = w.path(key).read_bytes().partition(b"\n")[0].replace(b'"encoder":2', b'"encoder":1')
    w.write(key, table.summed(head[: head.rindex(b',"sum"')]))
    w.only("warning", key, "another encoder")


@case
def part_nobody_names(w):
    key = "repos/tall/_part/" + 64 * "a"
    w.write(key, b"x")
    w.clean()
    os.utime(w.path(key), (time.time() - 90000, time.time() - 90000))
    w.only("garbage", key, "belongs to no checkpoint")


@case
def checkpoint_of_another_state(w):
    """Well-formed, with a sum that holds: only replaying the log shows it."""
    key = w.tables("tall")[0]
    w.write(key, table.head_changed(w.path(key).read_bytes(), b"tt2", b"ttz"))
    w.only("damage", key, "another state")


@case
def checkpoint_where_none_is_due(w):
    key = w.tables("tall")[0]
    other = key[:-1] + "4"
    w.write(other, w.path(key).read_bytes())
    w.only("damage", other, "names another position")


@case
def checkpoint_beyond_the_log(w):
    key = w.tables("tall")[0]
    w.write(key[:-2] + "40", w.path(key).read_bytes())
    w.has("damage", w.entry("tall", 10), "a checkpoint says that it goes on to 40")


@case
def catalog_entry_missing(w):
    w.remove(w.entry("", 2, "catalog"))
    w.has("damage", w.entry("", 2, "catalog"), "is missing")


@case
def repository_not_in_catalog(w):
    log = sorted(p for p in w.path("catalog/_log").glob("*/*"))
    log[-1].unlink()  # of the repository made last
    w.only("damage", "repos/ext", "the catalog does not know it")


@case
def catalog_says_empty(w):
    key = sorted(p.relative_to(w.root).as_posix() for p in w.path("catalog/_log").glob("*/*"))[-1]
    w.change(key, b'"filled":true', b'"filled":false')
    w.only("warning", "repos/ext", "is filled, but the catalog says otherwise")


@case
def listed_without_a_log(w):
    key = sorted(p.relative_to(w.root).as_posix() for p in w.path("catalog/_log").glob("*/*"))[-1]
    ts = json.loads(w.path(key).read_bytes())["ts"]
    w.change(key, b'"ext"', b'"exu"')
    found = w.fsck()
    if any(f.key == "repos/exu" for f in found):
        raise Fail("a name just added is told")
    w.change(key, str(ts).encode(), str(ts - 1).encode())
    w.has("damage", "repos/ext", "does not know it")


@case
def secret_missing(w):
    w.remove(w.entry("", 1, "secret"))
    w.only("damage", w.entry("", 1, "secret"), "there is no secret")


@case
def secret_malformed(w):
    w.change(w.entry("", 1, "secret"), b'"key":"', b'"key":"x')
    w.only("damage", w.entry("", 1, "secret"), "a secret is malformed")


@case
def format_missing(w):
    w.remove("format")
    w.only("damage", "format", "is missing")


@case
def format_flipped(w):
    w.write("format", b'{"v":1,"registry":"00"}')
    w.only("damage", "format", "does not follow the format")


@case
def unknown_entries(w):
    keys = ["repos/team/app/_log/0000000000000000/7", "repos/tall/_table/x", "catalog/_log/0/1", "repos/tall/_part/a"]
    for key in keys:
        w.write(key, b"x")
    found = w.fsck(status=0)
    if sorted(f.key for f in found) != sorted(keys) or any(f.severity != "warning" for f in found):
        raise Fail(f"unknown keys: {[f.line for f in found]}")


@case
def entry_of_a_great_number(w):
    key = w.entry(APP, 9223372036854775807)
    w.write(key, b"{}")
    w.has("damage", w.entry(APP, 10), "is missing (with all before 9223372036854775807)")
