"""What a power cut leaves: from the record of preload.c, the folder is brought to a state that the
disk may have had at that moment. Names that were not synced are gone or stay, by choice; bytes that
were not synced are cut off. A disk that keeps some of the names keeps the older ones, as every
journal does. Removals are taken to have reached the disk, and so is everything that
was there when the record began."""

import os

MODES = ("lost", "kept", "mixed")  # names that were not synced


class Durable:
    """What is certainly on the disk at the end of a record."""

    def __init__(self):
        self.names = {}  # (folder inode, name) -> number of its making; None: durable
        self.writes = {}  # inode -> [(number, end)] since its making
        self.synced = {}  # inode -> bytes that are certainly there
        self.syncs = 0

    def made(self, inode):
        self.writes[inode] = []
        self.synced[inode] = 0

    def take(self, line):
        word, *rest = line.rstrip("\n").split(" ", 4)
        if word == "C":
            self.made(int(rest[1]))
        elif word == "L":
            self.names[int(rest[1]), rest[3]] = int(rest[0])
        elif word == "U":
            self.names.pop((int(rest[1]), rest[2]), None)
        elif word == "W" and int(rest[1]) in self.writes:
            self.writes[int(rest[1])].append((int(rest[0]), int(rest[2])))
        elif word == "T" and int(rest[1]) in self.synced:
            inode, size = int(rest[1]), int(rest[2])
            self.synced[inode] = min(self.synced[inode], size)
            self.writes[inode] = [(n, min(end, size)) for n, end in self.writes[inode]]
        elif word == "S":
            self.sync(int(rest[0]), int(rest[1]))
        elif word == "A":
            for inode in list(self.writes) + [k[0] for k in self.names]:
                self.sync(int(rest[0]), inode)

    def sync(self, begun, inode):
        self.syncs += 1
        ends = [end for n, end in self.writes.get(inode, ()) if n < begun]
        if inode in self.synced:
            self.synced[inode] = max([self.synced[inode], *ends])
        for key, number in self.names.items():
            if key[0] == inode and number is not None and number < begun:
                self.names[key] = None


def names_of(root):
    """(folder inode, name) of everything below a folder."""
    found = set()
    for folder, folders, files in os.walk(root):
        inode = os.stat(folder).st_ino
        found.update((inode, name) for name in folders + files)
    return found


def read_record(path):
    durable = Durable()
    with open(path, encoding="utf-8") as f:
        lines = f.read().split("\n")
    for line in lines[:-1]:  # what follows the last line feed is half a line
        durable.take(line)
    return durable


def cut(root, before, record, mode, rng):
    """Brings the folder to what the disk may have had. Returns (names taken away, files cut)."""
    durable = read_record(record)
    gone = shorter = 0
    made = sorted(n for n in durable.names.values() if n is not None)
    until = rng.choice(made) if made else 0
    for folder, folders, files in os.walk(root, topdown=True):
        inode = os.stat(folder).st_ino
        for name in list(folders) + files:
            key, path = (inode, name), os.path.join(folder, name)
            if key in durable.names:
                sure = durable.names[key] is None
            else:
                sure = key in before  # else: made, but killed before that was recorded
            number = durable.names.get(key) or until + 1
            if not sure and (mode == "lost" or (mode == "mixed" and number > until)):
                gone += 1
                take_away(path)
                if name in folders:
                    folders.remove(name)
            elif name in files:
                shorter += shorten(path, durable, mode, rng)
    return gone, shorter, durable.syncs


def take_away(path):
    if os.path.isdir(path):
        for name in os.listdir(path):
            take_away(os.path.join(path, name))
        os.rmdir(path)
    else:
        os.unlink(path)


def shorten(path, durable, mode, rng):
    st = os.stat(path)
    sure = durable.synced.get(st.st_ino)
    if sure is None or st.st_size <= sure:
        return 0
    size = rng.randint(sure, st.st_size) if mode == "mixed" else sure
    os.truncate(path, size)
    return 1
