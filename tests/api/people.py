"""Callers of a server with authentication: users, their passwords and hashes, and the headers they
send. The hashes are bcrypt of cost 4, made beforehand: making them needs a library that not every
machine has."""

import base64
import pathlib
import time

PASSWORD = "open sesame"
HASHES = {
    "alice": "$2b$04$abcdefghijklmnopqrst0ulwZp40L1mrmcazJ5CnP/bTR4XU.aVva",
    "bob": "$2b$04$abcdefghijklmnopqrst1unaO9UXDnEYqx8aYuB18mMJEtVBzFnnm",
    "carol": "$2b$04$abcdefghijklmnopqrst2ud.Vfm19lutxIk6C83gx3FYetdMngPIy",
    "root": "$2b$04$abcdefghijklmnopqrst3uqBTRvKHu0knZnzOW.OzyrJ8.CFfWMCu",
    "writer": "$2b$04$abcdefghijklmnopqrst4uxUgmvKRgbah6e1Guq5BVsfXdcw4vV6O",
    "reader": "$2b$04$abcdefghijklmnopqrst5uHsEbowpRdIpHddLOc0k9wejEeGXwMwu",
    "other": "$2b$04$abcdefghijklmnopqrst6uD6mLsLhTvIaNSOwRh0lskIm95s8rmNu",
}


def htpasswd(*users):
    """Text of a file of users; all have PASSWORD."""
    return "".join(f"{u}:{HASHES[u]}\n" for u in users or HASHES)


def basic(user, password=PASSWORD):
    text = base64.b64encode(f"{user}:{password}".encode()).decode()
    return ("Authorization", f"Basic {text}")


def bearer(token):
    return ("Authorization", f"Bearer {token}")


def challenge(resp):
    """(scheme, {parameter: value}) of the one challenge of an answer."""
    (text,) = resp.all("WWW-Authenticate")
    scheme, _, rest = text.partition(" ")
    return scheme, dict((k, v.strip('"')) for k, v in (p.split("=", 1) for p in cut(rest)))


def cut(text):
    """Parameters of a challenge; a comma within quotes does not divide."""
    parts, quoted = [""], False
    for c in text:
        quoted ^= c == '"'
        if c == "," and not quoted:
            parts.append("")
        else:
            parts[-1] += c
    return parts


class Door:
    """A server with users, and cases' views of it, one for each caller."""

    def __init__(self, t, *args, users=(), policy=None):
        self.t = t
        self.folder = t.scratch()
        self.users = self.folder / "users"
        self.users.write_text(htpasswd(*users))
        args = ["--htpasswd", str(self.users), *args]
        if policy is not None:
            self.policy = self.folder / "policy"
            self.policy.write_text(policy)
            args += ["--policy", str(self.policy)]
        self.server = t.serve(*args)

    def by(self, *header):
        """The case as this caller; without a header as nobody."""
        view = self.t.at(self.server)
        view.always = list(header)
        return view

    def root(self):
        return pathlib.Path(self.server.root)

    def user(self, name, password=PASSWORD):
        return self.by(basic(name, password))


def eventually(fn, seconds=5):
    """What fn says once that is true; False after so many seconds."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if said := fn():
            return said
        time.sleep(0.1)
    return False
