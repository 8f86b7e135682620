"""Every line that a server of a run writes, at the most talkative level, as somebody reads it who is after
secrets: what would let him in must not be in it, whatever the case was about."""

import base64
import binascii
import re
import threading
import urllib.parse

import people

SHORT = 10  # shorter values are no secret of anybody
LINES_MAX = 200_000  # of a run
# What is a secret by its looks: a header's value, a token, a signed URL, a whole session's id, a hash.
LOOKS = re.compile(
    r"\b(?:Basic|Bearer) [\w+/=.~-]{8,}|\beyJ[\w-]{8,}\.|X-Amz-(?:Signature|Credential|Security-Token)="
    r"|(?<![0-9a-f])[0-9a-f]{76}(?![0-9a-f])|\$2[aby]\$\d\d\$"
)

_lock = threading.Lock()
_lines = []
_given = {people.PASSWORD}


def line(text):
    """A line of a server's log."""
    with _lock:
        if len(_lines) < LINES_MAX:
            _lines.append(text)


def sent(headers):
    """What a client shows to be let in; names and values."""
    for name, value in headers:
        if name.lower() != "authorization":
            continue
        scheme, _, rest = value.partition(" ")
        if scheme.lower() == "basic":
            try:
                rest = base64.b64decode(rest).decode().partition(":")[2]
            except (binascii.Error, UnicodeDecodeError):
                continue
        with _lock:
            _given.add(rest)


def got(target, body):
    """What a server gives away: tokens and keys, and ids of sessions by their looks."""
    if target.startswith("/auth/"):
        with _lock:
            _given.update(re.findall(r'"(?:token|access_token|refresh_token|key)": ?"([^"]+)"', body))


def holding(lines, given):
    """Those lines that hold a secret, by its looks or one of these."""
    given = {one for one in given if len(one) >= SHORT}
    given |= {urllib.parse.quote(one) for one in given}
    words = re.compile("|".join(map(re.escape, sorted(given)))) if given else LOOKS
    return [one for one in lines if LOOKS.search(one) or words.search(one)]


def outcome():
    """(outcome, text) of a run, as of a case."""
    with _lock:
        lines, given = list(_lines), set(_given)
    bad = holding(lines, given)
    if bad:
        return "fail", f"{len(bad)} of {len(lines)} lines hold a secret, as {bad[0][:400]}"
    return "pass", f"{len(lines)} lines, {len(given)} values that may not be in them"
