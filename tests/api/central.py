"""Checks every answer of every case passes through.

Each check is reported like a case of its own, so that one missing header is one failure with an
example and not a failure of everything. A check yields a sentence when the answer breaks it.
"""

import email.utils
import json
import threading
import time

CODES = {
    "BLOB_UNKNOWN": (404,),
    "BLOB_UPLOAD_INVALID": (400, 416),
    "BLOB_UPLOAD_UNKNOWN": (404,),
    "DIGEST_INVALID": (400,),
    "MANIFEST_BLOB_UNKNOWN": (400,),
    "MANIFEST_INVALID": (400, 413),
    "MANIFEST_UNKNOWN": (404,),
    "NAME_INVALID": (400,),
    "NAME_UNKNOWN": (404,),
    "SIZE_INVALID": (400, 413),
    "UNAUTHORIZED": (401,),
    "DENIED": (403, 412),
    "UNSUPPORTED": (400, 405),
    "TOOMANYREQUESTS": (429,),
}
BOUND = {status for statuses in CODES.values() for status in statuses} - {416}
ERROR_BODY_MAX = 1 << 20
DATE_SKEW_S = 300
EXAMPLES_MAX = 3

CHECKS = []
_lock = threading.Lock()
_seen = {}  # check name -> answers judged
_bad = {}  # check name -> example sentences
_count = {}


def check(*reqs):
    def add(fn):
        CHECKS.append((fn.__name__, reqs, fn))
        return fn

    return add


def _api(resp):
    return resp.target == "/v2" or resp.target.startswith(("/v2/", "/v2?"))


@check("R23")
def content_length_always_given(resp):
    if resp.method == "HEAD" or resp.status in (204, 304):
        return None
    if len(resp.all("Content-Length")) != 1:
        return f"{len(resp.all('Content-Length'))} Content-Length headers"
    return "Transfer-Encoding beside a known length" if resp.all("Transfer-Encoding") else ""


@check("R24")
def content_encoding_never_set(resp):
    return "Content-Encoding is set" if resp.all("Content-Encoding") else ""


@check("R157")
def date_in_utc_and_no_cookie(resp):
    dates = resp.all("Date")
    if resp.all("Set-Cookie"):
        return "Set-Cookie is set"
    if len(dates) != 1 or not dates[0].endswith(" GMT"):
        return f"Date is {dates}"
    stamp = email.utils.parsedate_to_datetime(dates[0]).timestamp()
    return "" if abs(stamp - time.time()) < DATE_SKEW_S else f"Date {dates[0]} is far from now"


@check("R157", "R31")
def no_body_where_none_belongs(resp):
    if resp.method == "HEAD" or resp.status in (204, 304):
        return f"{len(resp.extra)} bytes follow the headers" if resp.extra else ""
    return f"{len(resp.extra)} bytes follow the body" if resp.extra else None


@check("R21")
def api_version_header(resp):
    if not _api(resp):
        return None
    got = resp.all("Docker-Distribution-API-Version")
    return "" if got == ["registry/2.0"] else f"Docker-Distribution-API-Version is {got}"


@check("L15")
def answers_are_locked_down(resp):
    if not _api(resp):
        return None
    if resp.all("X-Content-Type-Options") != ["nosniff"]:
        return f"X-Content-Type-Options is {resp.all('X-Content-Type-Options')}"
    policy = resp.h("Content-Security-Policy") or ""
    parts = [p.strip() for p in policy.split(";")]
    return "" if "default-src 'none'" in parts else f"Content-Security-Policy is {policy!r}"


@check("R25")
def locations_are_relative(resp):
    bad = [v for v in resp.all("Location") if not v.startswith("/") or v.startswith("//")]
    bad += [v for v in resp.all("Link") if not v.startswith("</") or v.startswith("<//")]
    if not resp.all("Location") and not resp.all("Link"):
        return None
    return f"{bad[0]!r} does not start with one slash" if bad else ""


@check("R100")
def error_document(resp):
    if resp.status < 400 or resp.method == "HEAD" or not _api(resp):
        return None
    if resp.h("Content-Type") != "application/json":
        return f"Content-Type of an error is {resp.h('Content-Type')!r}"
    if len(resp.body) >= ERROR_BODY_MAX:
        return f"error body of {len(resp.body)} bytes"
    try:
        doc = json.loads(resp.body.decode("utf-8"))
    except ValueError:
        return "the error body is not JSON"
    if not isinstance(doc, dict) or "details" in doc:
        return "the error body is not an object, or has a top-level `details`"
    errors = doc.get("errors")
    if not isinstance(errors, list) or not errors:
        return "no `errors` list, or an empty one"
    for one in errors:
        if not isinstance(one, dict) or not isinstance(one.get("code"), str):
            return "an error without code"
    return ""


@check("R101")
def error_codes_fit_the_status(resp):
    if resp.status < 400 or not resp.codes():
        return None
    for code in resp.codes():
        if resp.status >= 500:
            if code != "UNKNOWN":
                return f"code {code} with status {resp.status}"
        elif code not in CODES:
            return f"code {code} is not in the table"
        elif resp.status in BOUND and resp.status not in CODES[code]:
            return f"code {code} with status {resp.status}"
    return ""


@check("R104")
def messages_say_what_and_leak_nothing(resp):
    if resp.status < 400 or not resp.codes():
        return None
    for one in resp.json()["errors"]:
        message = one.get("message")
        if not isinstance(message, str) or len(message) < 4 or message == one["code"]:
            return f"message is {message!r}"
    text = resp.body.decode("utf-8", "replace")
    leaks = [w for w in ("blobs/sha256/", "blobs/sha512/", "/_log", ".tmp/", "/tmp/") if w in text]
    return f"the body shows {leaks[0]!r}" if leaks else ""


@check("R102", "R103")
def retry_after_is_whole_seconds(resp):
    if resp.status not in (429, 503, 504):
        return None
    value = resp.h("Retry-After") or ""
    if resp.status == 429 and resp.codes() != ["TOOMANYREQUESTS"]:
        return f"429 with {resp.codes()}"
    return "" if value.isdigit() else f"Retry-After is {value!r} with {resp.status}"


@check("R15")
def method_not_allowed_names_methods(resp):
    if resp.status != 405:
        return None
    return "" if resp.all("Allow") else "405 without Allow"


def judge(resp, where):
    """Run every check on one answer; `where` names the case that asked."""
    for name, _, fn in CHECKS:
        said = fn(resp)
        if said is None:
            continue
        with _lock:
            _seen[name] = _seen.get(name, 0) + 1
            if said:
                _count[name] = _count.get(name, 0) + 1
                bad = _bad.setdefault(name, [])
                if len(bad) < EXAMPLES_MAX:
                    bad.append(f"{said} [{where}] sent {resp.sent}; got {resp.show()}")


def results():
    """(name, reqs, outcome, text) of each check, outcome pass | fail | skip."""
    for name, reqs, _ in CHECKS:
        if name in _bad:
            yield name, reqs, "fail", f"{_count[name]} of {_seen[name]} answers: {_bad[name][0]}"
        elif name in _seen:
            yield name, reqs, "pass", ""
        else:
            yield name, reqs, "skip", "no answer to judge"
