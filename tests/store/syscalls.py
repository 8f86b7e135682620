"""Reads a trace of system calls ("strace -f -y", or what recorder.c writes in its words) and checks the
order in which a directory store makes things durable (design, section 4):

  the bytes are written, synced, then linked to the key's name; the folder of the name, and the parent of
  every folder that was new, is synced; only then the caller is answered.

Used by order.py here, and by tests that trace a whole server.
"""
import os
import re
import shutil
import subprocess

CALLS = "write,pwrite64,writev,sendmsg,sendto,fdatasync,fsync,mkdirat,linkat,renameat,renameat2,unlinkat"
WRITES, SYNCS = ("write", "pwrite64"), ("fdatasync", "fsync")
LINE = re.compile(r"^(?:\[pid\s+)?(\d+)?\]?\s*(.*)$")
CALL = re.compile(r"^(\w+)\((.*)\)\s+=\s+(-?\d+)")
FD = re.compile(r"^(-?\d+|AT_FDCWD)<(.*?)>(?:\(deleted\))?$")


class Call:
    """One finished call; begin and end are places in the trace."""

    def __init__(self, name, args, result, begin, end):
        self.name, self.args, self.result, self.begin, self.end = name, args, result, begin, end

    def fd(self, i):
        """(number, path) of an argument; strace marks nameless files as deleted."""
        match = FD.match(self.args[i])
        return (match.group(1), match.group(2)) if match else (self.args[i], "")

    def text(self, i):
        return self.args[i].strip('"')

    def __repr__(self):
        return f"{self.name}({', '.join(self.args)}) = {self.result}"


def split_args(text):
    """Arguments at top level: commas in strings and in <paths> do not count."""
    args, part, quoted, depth, escaped = [], "", False, 0, False
    for c in text:
        if escaped:
            escaped = False
        elif c == "\\" and quoted:
            escaped = True
        elif c == '"':
            quoted = not quoted
        elif not quoted and c in "<[{":
            depth += 1
        elif not quoted and c in ">]}":
            depth -= 1
        elif not quoted and depth == 0 and c == ",":
            args.append(part.strip())
            part = ""
            continue
        part += c
    return args + [part.strip()]


def parse(lines):
    """Calls in the order in which they ended. A call that was interrupted by others' is put together."""
    pending, calls = {}, []
    for place, line in enumerate(lines):
        match = LINE.match(line.rstrip("\n"))
        pid, text = match.group(1), match.group(2)
        begin = place
        if text.endswith("<unfinished ...>"):
            pending[pid] = (place, text[: -len("<unfinished ...>")].rstrip())
            continue
        resumed = re.match(r"^<\.\.\. \w+ resumed>(.*)$", text)
        if resumed:
            if pid not in pending:
                continue
            begin, start = pending.pop(pid)
            text = start + resumed.group(1)
        match = CALL.match(text)
        if match:
            calls.append(Call(match.group(1), split_args(match.group(2)), int(match.group(3)), begin, place))
    return calls


def class_of(key):
    """How durable a key is promised to be: 'full', 'file' or 'none'."""
    if key.startswith("uploads/"):
        return "file"
    if key.startswith("changes/") or key.endswith("/_hint"):
        return "none"
    return "full"


def answers(calls, pattern):
    """Ends of the calls by which somebody is told, e.g. a write of 'HTTP/1.1 201'."""
    return [c.begin for c in calls
            if c.name in ("write", "writev", "sendmsg", "sendto") and re.search(pattern, ", ".join(c.args))]


def descriptor_of(link):
    """The number of the descriptor by which, or through which, a nameless file is linked; else None."""
    through = re.match(r"^/proc/self/fd/(\d+)$", link.text(1))
    if through:
        return through.group(1)
    return link.fd(0)[0] if link.text(1) == "" else None


def source_of(calls, link):
    """Path of the file that was linked. That of a nameless one is the one under which the descriptor was
    last written to or synced, for this link."""
    number = descriptor_of(link)
    if number is None:
        return os.path.join(link.fd(0)[1], link.text(1))
    earlier = [c.end for c in calls if c.name == "linkat" and c.end < link.begin and descriptor_of(c) == number]
    paths = [c.fd(0)[1] for c in calls if c.name in WRITES + SYNCS and c.end < link.begin
             and c.begin > max(earlier, default=-1) and c.fd(0)[0] == number]
    return paths[-1] if paths else ""


def check_link(calls, link, root, told):
    """Faults of one link; told: places where somebody was told something."""
    folder = link.fd(2)[1]
    name = os.path.join(folder, link.text(3))
    key = os.path.relpath(name, root)
    promise = class_of(key)
    faults = []
    answer = min([t for t in told if t > link.end], default=None)
    if answer is None:
        faults.append(f"{key}: nobody was told that it is there")
        answer = float("inf")

    def before(call):
        return call.end < link.begin

    def behind(call):
        return call.begin > link.end and call.end < answer

    source = source_of(calls, link)
    mine = [c for c in calls if c.name in WRITES + SYNCS and c.fd(0)[1] == source]
    writes = [c for c in mine if c.name in WRITES and before(c)]
    written = writes[-1].end if writes else -1  # an empty object is synced, too
    if promise != "none" and not any(c.name in SYNCS and c.result == 0 and before(c) and c.begin > written
                                     for c in mine):
        faults.append(f"{key}: linked before its bytes were synced")
    if any(c.name in WRITES and link.begin < c.begin < answer for c in mine):
        faults.append(f"{key}: written to after the link")
    if promise == "full":
        if not any(c.name == "fsync" and c.result == 0 and c.fd(0)[1] == folder and behind(c) for c in calls):
            faults.append(f"{key}: told before its folder was synced")
        faults += check_parents(calls, key, folder, root, answer)
    return faults


def check_parents(calls, key, folder, root, answer):
    """Every folder on the way was synced into its parent after it was made, before the answer."""
    faults = []
    while folder != root and len(folder) > len(root):
        parent, name = os.path.split(folder)
        made = [c for c in calls if c.name == "mkdirat" and c.result == 0 and c.fd(0)[1] == parent
                and c.text(1) == name and c.end < answer]
        since = made[-1].end if made else -1
        if not any(c.name == "fsync" and c.result == 0 and c.fd(0)[1] == parent and c.begin > since
                   and c.end < answer for c in calls):
            faults.append(f"{key}: told before its new folder {name} was synced into {parent or '/'}")
        folder = parent
    return faults


def objects(calls, root):
    """Links that made an object (not those of the start's own check in .tmp)."""
    return [c for c in calls if c.name == "linkat" and c.result == 0
            and not os.path.relpath(c.fd(2)[1], root).startswith(".")
            or c.name == "linkat" and c.result == 0 and c.fd(2)[1] == root]


def check(calls, root, told):
    faults = []
    for link in objects(calls, root):
        faults += check_link(calls, link, root, told)
    for call in calls:
        if call.name in SYNCS and call.result != 0:
            faults.append(f"a sync failed: {call}")
    return faults


def strace_works():
    """Tracing may be missing, or refused (containers)."""
    if shutil.which("strace") is None:
        return False
    run = subprocess.run(["strace", "-qq", "-e", "trace=none", "true"], stdout=subprocess.DEVNULL,
                         stderr=subprocess.DEVNULL, timeout=30, check=False)
    return run.returncode == 0


def strace_command(output):
    return ["strace", "-f", "-y", "-qq", "-s", "64", "-e", "trace=" + CALLS, "-e", "signal=none", "-o", output]
