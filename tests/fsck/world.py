"""Stores for the cases: made once by a real server, copied for each case, damaged, looked at."""

import hashlib
import http.client
import json
import os
import pathlib
import shutil
import subprocess
import time

import oci
import server

COMMAND_S = 60
LARGE = 200_000  # a blob with a data object
AGED_S = 3600 * 24 * 3


class Fail(Exception):
    """An expectation that did not hold."""


class Skip(Exception):
    """The case cannot run here; the text says why."""


CASES = []


def case(fn):
    CASES.append(fn)
    return fn


def bytes_of(seed, size):
    out = b""
    while len(out) < size:
        out += hashlib.sha256(f"{seed} {len(out)}".encode()).digest()
    return out[:size]


class Client:
    """One kept connection; every call must end with one of the wanted statuses."""

    def __init__(self, addr):
        self.conn = http.client.HTTPConnection(addr[1], addr[2], timeout=30)

    def close(self):
        self.conn.close()

    def call(self, method, path, body=None, headers=None, wanted=(200, 201, 202, 204)):
        self.conn.request(method, path, body=body, headers=headers or {})
        resp = self.conn.getresponse()
        text = resp.read()
        if resp.status not in wanted:
            raise Fail(f"{method} {path}: {resp.status} {text[:200]}")
        return resp

    def blob(self, repo, data):
        digest = oci.digest(data)
        where = self.call("POST", f"/v2/{repo}/blobs/uploads/").headers["Location"]
        if len(data) > 100_000:
            half = len(data) // 2
            where = self.call("PATCH", where, data[:half]).headers["Location"]
            self.call("PUT", f"{where}?digest={digest}", data[half:])
        else:
            self.call("PUT", f"{where}?digest={digest}", data)
        return digest

    def manifest(self, repo, ref, doc):
        body = oci.dump(doc)
        self.call("PUT", f"/v2/{repo}/manifests/{ref}", body, {"Content-Type": doc["mediaType"]})
        return oci.digest(body)

    def image(self, repo, tag, seed, size=900, **fields):
        config, layer = bytes_of(f"c{seed}", 300), bytes_of(f"l{seed}", size)
        for data in (config, layer):
            self.blob(repo, data)
        parts = oci.descriptor(config, oci.CONFIG), [oci.descriptor(layer, oci.LAYER)]
        return self.manifest(repo, tag, oci.image_doc(*parts, seed=seed, **fields))

    def delete(self, repo, what):
        self.call("DELETE", f"/v2/{repo}/{what}")


def fill(addr, root):
    """What every copy holds; the names of digests by use."""
    c = Client(addr)
    made = {}
    for n in range(6):
        made[f"image{n}"] = c.image("team/app", f"v{n}", f"app{n}", LARGE if n == 0 else 900)
    made["large"] = oci.digest(bytes_of("lapp0", LARGE))
    made["small"] = oci.digest(bytes_of("lapp3", 900))
    c.delete("team/app", f"manifests/{made['image5']}")
    gone = c.blob("team/app", b"deleted and pushed again")
    for n in range(2):
        c.delete("team/app", f"blobs/{gone}")
        c.blob("team/app", b"deleted and pushed again")
        made[f"link{n}"] = max(int(p.name) for p in pathlib.Path(root).glob(f"links/*/*/{gone[7:]}.0/team!app/*"))
    made["again"] = gone
    c.image("alone", "one", "alone")
    big = {"note": "x" * 30_000}
    subject = {"mediaType": oci.IMAGE, "digest": made["image0"], "size": 1}
    for n in range(5):  # enough bytes of entries for checkpoints
        c.image("tall", f"t{n}", f"tall{n}", annotations=big, subject=subject)
    for n in range(5, 9):
        c.image("tall", f"t{n}", f"tall{n}")
    c.delete("gone", "manifests/" + c.image("gone", "g", "gone"))
    huge = {"note": "y" * 70_000}
    c.image("ext", "e", "ext", annotations=huge)
    where = c.call("POST", "/v2/team/app/blobs/uploads/").headers["Location"]
    for part in (b"one", b"two", b"three"):
        where = c.call("PATCH", where, part).headers["Location"]
    made["session"] = where.split("?")[0].rsplit("/", 1)[1]
    c.close()
    return made


def base(binary, folder):
    """Makes the store that cases copy; returns what it holds."""
    with server.Server(binary, root=str(folder)) as one:
        made = fill(one.addr, folder)
        wait_for(lambda: list((folder / "repos/tall/_table").glob("*")) and (folder / "repos/tall/_hint").exists())
    age(folder)
    return made


def wait_for(ready):
    end = time.monotonic() + 10
    while not ready():
        if time.monotonic() > end:
            raise Fail("the store did not become ready")
        time.sleep(0.05)


def age(folder):
    """Files look as if they had been there for an hour: nothing is in the making any more."""
    then = time.time() - 3600
    for here, _, names in os.walk(folder):
        for name in names:
            os.utime(os.path.join(here, name), (then, then))


class Finding:
    def __init__(self, line):
        parts = line.split("  ")
        if len(parts) != 4:
            raise Fail(f"a line of other than four parts: {line!r}")
        self.severity, self.key, self.what, self.meaning = parts
        self.line = line


class World:
    """A copy of the store; files that are not written anew are shared with all others."""

    def __init__(self, binary, source, made, scratch):
        self.binary = binary
        self.root = pathlib.Path(scratch) / "root"
        self.made = made
        shutil.copytree(source, self.root, copy_function=os.link)

    # ---- places

    def entry(self, repo, n, prefix="repos/"):
        number = f"{n:020}"
        return f"{prefix}{repo}/_log/{number[:16]}/{number}"

    def record(self, digest):
        alg, hexa = digest.split(":")
        return f"blobs/{alg}/{hexa[:2]}/{hexa}.0"

    def link(self, digest, repo, u=0):
        alg, hexa = digest.split(":")
        return f"links/{alg}/{hexa[:2]}/{hexa}.0/{repo.replace('/', '!')}/{u}"

    def path(self, key):
        return self.root / key

    def data_of(self, digest):
        head = self.path(self.record(digest)).read_bytes().split(b"\n")[0]
        name = json.loads(head)["data"]
        return f"data/{name[12:14]}/{name}"

    def entries(self, repo):
        return sorted(p.relative_to(self.root).as_posix() for p in self.path(f"repos/{repo}/_log").glob("*/*"))

    def tables(self, repo):
        return sorted(p.relative_to(self.root).as_posix() for p in self.path(f"repos/{repo}/_table").glob("*"))

    # ---- damage

    def write(self, key, data):
        p = self.path(key)
        p.parent.mkdir(parents=True, exist_ok=True)
        p.unlink(missing_ok=True)  # the bytes are shared with the other cases
        p.write_bytes(data)
        then = time.time() - 3600
        os.utime(p, (then, then))
        return key

    def change(self, key, old, new):
        data = self.path(key).read_bytes()
        if data.count(old) < 1:
            raise Fail(f"{key} does not hold {old!r}")
        return self.write(key, data.replace(old, new, 1))

    def flip(self, key, at=-1):
        data = bytearray(self.path(key).read_bytes())
        data[at] ^= 1
        return self.write(key, bytes(data))

    def cut(self, key, by=1):
        return self.write(key, self.path(key).read_bytes()[:-by])

    def remove(self, key):
        self.path(key).unlink()
        return key

    # ---- looking

    def run(self, *args, root=None):
        return subprocess.run(
            [self.binary, "fsck", "--root", str(root or self.root), *args],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            env=server.clean_env(), timeout=COMMAND_S, check=False,
        )

    def fsck(self, *args, status=None):
        """(status, findings); the last line holds the counts."""
        done = self.run(*args)
        out = done.stdout.decode("ascii").splitlines()
        if done.returncode not in (0, 1) or done.stderr:
            raise Fail(f"status {done.returncode}: {done.stderr.decode('utf-8', 'replace')[:600]} {out[-3:]}")
        if not out or not out[-1].startswith("complete: "):
            raise Fail(f"no line of counts: {out[-3:]}")
        found = [Finding(line) for line in out[:-1]]
        damage = sum(f.severity == "damage" for f in found)
        if done.returncode != (1 if damage else 0) or f"{damage} damage," not in out[-1]:
            raise Fail(f"status {done.returncode} and {out[-1]!r} after {damage} findings of damage")
        if status is not None and done.returncode != status:
            raise Fail(f"status {done.returncode}, expected {status}: {show(found)}")
        return found

    def clean(self, *args):
        found = self.fsck(*args)
        if found:
            raise Fail(f"expected nothing; got {show(found)}")

    def only(self, severity, key, says, *args):
        """Exactly one finding."""
        found = self.fsck(*args)
        if len(found) != 1:
            raise Fail(f"expected one finding on {key}; got {show(found)}")
        match(found[0], severity, key, says)

    def has(self, severity, key, says, *args):
        """A finding beside others that follow from it."""
        found = self.fsck(*args)
        for f in found:
            if f.severity == severity and f.key == key and says in f.what:
                return found
        raise Fail(f"expected {severity} {key} {says!r}; got {show(found)}")


def match(f, severity, key, says):
    if (f.severity, f.key) != (severity, key) or says not in f.what or not f.meaning:
        raise Fail(f"expected {severity} {key} {says!r}; got {f.line}")


def show(found):
    return " | ".join(f.line for f in found)[:1500] or "nothing"
