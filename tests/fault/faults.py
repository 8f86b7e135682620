"""The preloaded library (preload.c) and servers that run under it."""

import errno
import mmap
import os
import pathlib
import shutil
import signal
import struct
import subprocess
import tempfile

import server

HERE = pathlib.Path(__file__).resolve().parent
CONTROL_BYTES = 4096
FRAMES_MAX = 32
FOREVER = (1 << 63) - 1
# Of preload.c, in its order.
KINDS = (
    "none alloc fsync fdatasync write pwrite linkat openat mkdirat renameat ftruncate copy_file_range"
    " unlinkat fstat fstatat flock fchmod futimens pread syncfs readdir sendfile send recv accept"
).split()
BEFORE, AFTER, SHORT = range(3)
FIELDS = ["kind", "first", "last", "error", "mode", "calls", "fired", "clock", "frame_count"]


class Problem(Exception):
    """Something the registry must never do."""


def scratch(fast=True):
    """A new folder; in memory, where a sync costs nothing, unless the disk is part of the test."""
    shm = "/dev/shm"
    where = shm if fast and os.path.isdir(shm) and os.access(shm, os.W_OK) else None
    return tempfile.mkdtemp(prefix="fault-", dir=where)


class Preload:
    """The library, built once for a run, and whether the program's sanitizer wants to be first."""

    def __init__(self, folder, binary):
        self.path = str(pathlib.Path(folder, "preload.so"))
        command = ["cc", "-std=c17", "-D_GNU_SOURCE", "-D_FILE_OFFSET_BITS=64", "-shared", "-fPIC"]
        command += ["-O1", "-g", "-fno-builtin", "-Wall", "-Wextra", "-o", self.path]
        subprocess.run(command + [str(HERE / "preload.c"), "-ldl"], check=True, timeout=60)
        said = subprocess.run(["ldd", binary], capture_output=True, check=False, timeout=20).stdout
        found = [w for w in said.decode().split() if w.startswith("/") and "libasan" in w]
        self.asan = found[0] if found else None
        # A sanitizer that is linked in whole has an allocator that nothing can stand before.
        symbols = subprocess.run(["nm", "-D", binary], capture_output=True, check=False).stdout
        self.static_sanitizer = b"__asan_init" in symbols and not found
        self.static_sanitizer |= b"__tsan_init" in symbols

    def environment(self, control, record=None, sync_ms=0):
        libraries = self.path + (":" + self.asan if self.asan else "")
        env = {"LD_PRELOAD": libraries, "STOWAGE_FAULT_CONTROL": control}
        if record:
            env["STOWAGE_FAULT_RECORD"] = record
        if sync_ms:
            env["STOWAGE_FAULT_SYNC_MS"] = str(sync_ms)
        if self.asan:
            # The leak checker stops the process by ways that a preloaded library disturbs.
            env["ASAN_OPTIONS"] = os.environ.get("ASAN_OPTIONS", "") + ":verify_asan_link_order=0"
        return [f"{k}={v}" for k, v in env.items()]


class Control:
    """The shared page by which faults are ordered."""

    def __init__(self, folder):
        self.path = str(pathlib.Path(folder, "control"))
        pathlib.Path(self.path).write_bytes(bytes(CONTROL_BYTES))
        with open(self.path, "r+b") as f:
            self.page = mmap.mmap(f.fileno(), CONTROL_BYTES)

    def get(self, name):
        return struct.unpack_from("<Q", self.page, 8 * FIELDS.index(name))[0]

    def set(self, name, value):
        struct.pack_into("<Q", self.page, 8 * FIELDS.index(name), value)

    def arm(self, kind, first, error="EIO", mode=BEFORE, last=None):
        """From now on calls of this kind are counted; first..last fail."""
        self.set("kind", 0)
        for name in ("calls", "fired", "frame_count"):
            self.set(name, 0)
        self.set("first", first)
        self.set("last", first if last is None else last)
        self.set("error", getattr(errno, error))
        self.set("mode", mode)
        self.set("kind", KINDS.index(kind))

    def disarm(self):
        """Returns (calls counted, how many failed)."""
        self.set("kind", 0)
        return self.get("calls"), self.get("fired")

    def frames(self):
        count = min(self.get("frame_count"), FRAMES_MAX)
        return struct.unpack_from(f"<{count}Q", self.page, 8 * len(FIELDS))


class Maps:
    """Which file and place an address of a process is; taken while the process lives."""

    def __init__(self, pid):
        self.parts = []
        for line in pathlib.Path(f"/proc/{pid}/maps").read_text().splitlines():
            words = line.split()
            if len(words) > 5 and words[5].startswith("/"):
                low, high = (int(x, 16) for x in words[0].split("-"))
                self.parts.append((low, high, low - int(words[2], 16), words[5]))

    def names(self, frames):
        """The callers, innermost first, without the preloaded library."""
        out = []
        for address in frames:
            for low, high, base, path in self.parts:
                if low <= address < high and "preload.so" not in path and "libasan" not in path:
                    out.append((path, address - base - 1))
        return out

    def where(self, frames, limit=12):
        """One line that says who called; needs addr2line, does without."""
        text = []
        for path, offset in self.names(frames)[:limit]:
            name = f"{os.path.basename(path)}+{offset:#x}"
            if "stowage" in os.path.basename(path) and shutil.which("addr2line"):
                said = subprocess.run(
                    ["addr2line", "-fse", path, hex(offset)], capture_output=True, check=False
                ).stdout.decode()
                name = "/".join(said.split()[:2]) or name
            text.append(name)
        return " < ".join(text)


class Place:
    """A root directory and servers on it, with or without the preloaded library."""

    def __init__(self, binary, folder=None, preload=None, args=(), root=None, fast=True):
        self.binary = binary
        self.own = folder is None
        self.folder = pathlib.Path(folder or scratch(fast))
        self.root = str(root or self.folder / "root")
        self.preload = preload
        self.args = args
        self.control = Control(self.folder)
        self.servers = []

    def make(self, faulty=True, record=None):
        """A server that is not started."""
        wrap = []
        if self.preload and faulty:
            wrap = ["env", *self.preload.environment(self.control.path, record)]
        return server.Server(self.binary, self.args, root=self.root, wrap=wrap)

    def start(self, faulty=True, record=None):
        one = self.make(faulty, record)
        one.start()
        self.servers.append(one)
        return one

    def kill_all(self):
        for one in self.servers:
            one.stop(signal.SIGKILL)
        self.servers = []

    def close(self):
        self.control.disarm()
        self.kill_all()
        if self.own:
            shutil.rmtree(self.folder, ignore_errors=True)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def complaints(one):
    """What a sanitizer or an assertion said."""
    marks = ("Sanitizer", "runtime error", "Assertion", "assertion", "*** ", "free():", "malloc")
    return [line for line in one.log().splitlines() if any(m in line for m in marks)]
