"""Damage of records, data, links, markers, sessions; strange files."""

import json
import os
import time

from world import Fail, case

APP = "team/app"


@case
def manifest_record_missing(w):
    key = w.remove(w.record(w.made["image2"]))
    found = w.has("damage", key, "is missing")
    if len(found) != 1 or "pulls of team/app:v2 fail" not in found[0].meaning:
        raise Fail(f"meaning: {found[0].line}")


@case
def manifest_record_flipped(w):
    w.only("damage", w.flip(w.record(w.made["image2"])), "does not hold the bytes of its digest")


@case
def manifest_record_torn(w):
    w.only("damage", w.cut(w.record(w.made["image2"]), 9), "another length")


@case
def manifest_of_an_ext_entry_missing(w):
    digest = json.loads(w.path(w.entry("ext", 1)).read_bytes())["ops"][0]["digest"]
    w.only("damage", w.remove(w.record(digest)), "is missing")


@case
def blob_record_missing(w):
    key = w.remove(w.record(w.made["small"]))
    found = w.has("damage", key, "is missing")
    links = [f for f in found if f.severity == "warning"]
    if len(found) != 2 or links[0].key != w.link(w.made["small"], APP):
        raise Fail(f"record and link: {[f.line for f in found]}")


@case
def header_broken(w):
    key = w.record(w.made["small"])
    w.only("damage", w.change(key, b'"size"', b'"sise"'), "no size")


@case
def header_missing(w):
    w.only("damage", w.write(w.record(w.made["small"]), b"no line feed"), "no header line")


@case
def record_torn(w):
    w.only("damage", w.cut(w.record(w.made["small"])), "bytes instead of")


@case
def record_empty(w):
    w.only("damage", w.write(w.record(w.made["small"]), b""), "no header line")


@case
def record_too_long(w):
    key = w.record(w.made["small"])
    w.only("damage", w.write(key, w.path(key).read_bytes() + b"x"), "bytes instead of")


@case
def record_flipped(w):
    key = w.flip(w.record(w.made["small"]))
    w.clean()  # its length is right
    w.only("damage", key, "does not hold the bytes of its digest", "--deep")
    w.only("damage", key, "does not hold the bytes of its digest", "--deep", APP)


@case
def data_missing(w):
    key = w.remove(w.data_of(w.made["large"]))
    w.only("damage", key, "is missing, but the record")
    found = w.fsck(APP, status=1)
    if [f.key for f in found] != [key] or "pulls of team/app:v0 fail" not in found[0].meaning:
        raise Fail(f"by name: {[f.line for f in found]}")
    w.clean("tall")


@case
def data_short(w):
    key = w.cut(w.data_of(w.made["large"]))
    w.only("damage", key, "bytes instead of the")


@case
def data_flipped(w):
    key = w.flip(w.data_of(w.made["large"]), 150_000)
    w.clean()
    w.only("damage", key, "does not hold the bytes of its digest", "--deep")


@case
def data_is_a_link(w):
    key = w.data_of(w.made["large"])
    w.path(key).rename(w.root / "format2")
    w.path(key).symlink_to(w.root / "format2")
    w.has("damage", key, "not a file")


@case
def data_of_two_records(w):
    key = w.record(w.made["large"])
    hexa = "ff" + "00" * 31
    other = f"blobs/sha256/ff/{hexa}.0"
    w.write(other, w.path(key).read_bytes())
    w.has("damage", other, "data of another record")


@case
def data_of_nobody(w):
    name = "01a206ec2de4" + "ab" * 32
    key = w.write(f"data/ab/{name}", b"x" * 70)
    w.only("garbage", key, "belongs to no record")


@case
def data_of_a_living_session(w):
    name = w.made["session"]
    w.write(f"data/{name[12:14]}/{name}", b"x" * 70)
    w.clean()


@case
def data_just_made(w):
    name = "01a206ec2de4" + "ab" * 32
    os.utime(w.path(w.write(f"data/ab/{name}", b"x" * 70)))
    w.clean()


@case
def record_names_no_session(w):
    key = w.record(w.made["large"])
    name = json.loads(w.path(key).read_bytes())["data"].encode()
    w.change(key, name, b"abcdef0123456789")
    w.has("damage", key, "")


@case
def record_of_a_newer_version(w):
    key = w.record(w.made["small"])
    w.only("warning", w.change(key, b'"v":1', b'"v":2'), "needs version 2")


@case
def link_without_record(w):
    digest = "sha256:" + "ee" * 32
    key = w.write(w.link(digest, APP), b"")
    w.only("warning", key, "without a record")
    os.utime(w.path(key))
    w.clean()


@case
def link_from_the_future(w):
    w.only("garbage", w.write(w.link(w.made["small"], APP, 77), b""), "deletion that the log does not have")


@case
def link_for_no_deletion(w):
    w.only("garbage", w.write(w.link(w.made["small"], APP, 3), b""), "deletion that the log does not have")


@case
def link_from_before_the_deletion(w):
    w.only("garbage", w.write(w.link(w.made["again"], APP, w.made["link0"]), b""), "before the blob's last deletion")


@case
def first_link_missing(w):
    w.only("warning", w.remove(w.link(w.made["again"], APP, 0)), "a later link is there")


@case
def link_of_no_name(w):
    w.only("warning", w.write(w.link(w.made["small"], "_x", 0), b""), "is no key")


@case
def link_with_bytes(w):
    w.only("warning", w.write(w.link(w.made["small"], APP), b"x"), "is not empty")


@case
def marker_broken(w):
    key = next(p.relative_to(w.root).as_posix() for p in w.path("changes").glob("*/tall/_"))
    w.only("warning", w.write(key, b""), "is no marker")


@case
def marker_missing(w):
    keys = [p for p in w.path("changes").glob("*/tall/_")]
    for p in keys:
        p.unlink()
    found = w.fsck(status=0)
    if len(found) != 1 or found[0].severity != "warning" or "is missing" not in found[0].what:
        raise Fail(f"markers: {[f.line for f in found]}")


@case
def marker_beyond_the_log(w):
    key = next(p.relative_to(w.root).as_posix() for p in w.path("changes").glob("*/alone/_"))
    w.write(key, b'{"v":1,"seq":5}')
    w.only("damage", w.entry("alone", 4), "came after it")


def session(w, n):
    return f"uploads/{w.made['session']}/{n:020}"


@case
def session_flipped(w):
    w.flip(session(w, 2))
    w.only("damage", session(w, 3), "does not follow the entry before it")


@case
def session_torn(w):
    w.only("damage", w.cut(session(w, 2)), "bytes do not match their count")


@case
def session_gap(w):
    w.only("warning", w.remove(session(w, 2)), "is missing")


@case
def session_swept_in_part(w):
    w.remove(session(w, 1))
    w.clean()


@case
def session_expired(w):
    key = session(w, 1)
    for n in (2, 3):
        w.remove(session(w, n))
    ts = json.loads(w.path(key).read_bytes().split(b"\n")[0])["ts"]
    w.change(key, str(ts).encode(), str(ts - 40 * 3600 * 1000).encode())
    w.only("garbage", key, "expired long ago")


@case
def unknown_files(w):
    keys = ["stray", "gc/1/x", "blobs/sha256/aa/x", "data/zz", "uploads/x/1", "links/x", "changes/1/a/_", "repos/x"]
    for key in keys:
        w.write(key, b"x")
    w.path("a b\n%").write_bytes(b"")
    found = w.fsck(status=0)
    if sorted(f.key for f in found) != sorted(keys + ["a%20b%0A%25"]) or {f.severity for f in found} != {"warning"}:
        raise Fail(f"unknown keys: {[f.line for f in found]}")


@case
def unreadable_file(w):
    if os.geteuid() == 0:
        key = w.remove(w.record(w.made["image2"]))  # nobody is refused here: a pipe cannot be read, too
        os.mkfifo(w.path(key))
        w.only("damage", key, "not a file")
        return
    key = w.record(w.made["image2"])
    w.write(key, w.path(key).read_bytes())  # a file of this case alone
    w.path(key).chmod(0)
    w.only("damage", key, "Permission denied")


@case
def json_lines(w):
    key = w.remove(w.record(w.made["image2"]))
    done = w.run("--json")
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    if done.returncode != 1 or [x.get("key") for x in lines] != [key, None] or lines[1]["damage"] != 1:
        raise Fail(f"{done.returncode} {lines}")
    if lines[1]["complete"] is not True or lines[0]["severity"] != "damage":
        raise Fail(f"{lines}")


@case
def statuses(w):
    for args, root, wanted in (
        (["--nonsense"], None, 2),
        (["Not/A_name/"], None, 2),
        (["no/such"], None, 2),
        ([], w.root / "absent", 3),
        ([], w.root / "repos", 1),
    ):
        done = w.run(*args, root=root)
        if done.returncode != wanted:
            raise Fail(f"{args} {root}: status {done.returncode}, expected {wanted}: {done.stderr[:200]}")
    if (w.root / "absent").exists():
        raise Fail("a check made a folder")
    os.mkdir(w.root / "empty")
    if w.run(root=w.root / "empty").returncode != 3:
        raise Fail("an empty folder is no registry")


@case
def nothing_is_written(w):
    def listing():
        return {(p.as_posix(), p.lstat().st_mtime_ns) for p in w.root.rglob("*")}

    before = listing()
    time.sleep(0.02)
    w.clean("--deep")
    if listing() != before:
        raise Fail("the check changed the store")
