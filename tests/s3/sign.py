"""Requests to an S3 server signed by AWS Signature Version 4, written from the standard library
alone: what tests need to make a bucket, look behind the registry's back, or stand in between."""

import datetime
import hashlib
import hmac
import http.client
import urllib.parse

ACCESS = "testak"
SECRET = "sksksksk"
REGION = "us-east-1"


def hmac256(key, text):
    return hmac.new(key, text.encode(), hashlib.sha256).digest()


def headers(method, host, path, query, body, extra=(), now=None):
    """Headers to send. path is escaped; query is a list of (name, value); extra are signed, too."""
    now = now or datetime.datetime.now(datetime.timezone.utc)
    stamp = now.strftime("%Y%m%dT%H%M%SZ")
    digest = hashlib.sha256(body).hexdigest()
    signed = {"host": host, "x-amz-date": stamp, "x-amz-content-sha256": digest}
    signed.update({name.lower(): value for name, value in extra})
    names = ";".join(sorted(signed))
    text = "\n".join(
        [method, path, canonical_query(query)]
        + [f"{name}:{signed[name]}" for name in sorted(signed)]
        + ["", names, digest]
    )
    scope = f"{stamp[:8]}/{REGION}/s3/aws4_request"
    to_sign = "\n".join(
        ["AWS4-HMAC-SHA256", stamp, scope, hashlib.sha256(text.encode()).hexdigest()]
    )
    key = f"AWS4{SECRET}".encode()
    for part in scope.split("/"):
        key = hmac256(key, part)
    signed["authorization"] = (
        f"AWS4-HMAC-SHA256 Credential={ACCESS}/{scope},SignedHeaders={names},"
        f"Signature={hmac256(key, to_sign).hex()}"
    )
    return signed


def canonical_query(query):
    pairs = [(urllib.parse.quote(k, "-_.~"), urllib.parse.quote(v, "-_.~")) for k, v in query]
    return "&".join(f"{k}={v}" for k, v in sorted(pairs))


def request(endpoint, method, path, query=(), body=b"", extra=()):
    """(status, headers, body) of one request to http://HOST:PORT."""
    host = urllib.parse.urlsplit(endpoint).netloc
    conn = http.client.HTTPConnection(host, timeout=30)
    path = urllib.parse.quote(path, "/-_.~")
    query = list(query)
    url = path + ("?" + canonical_query(query) if query else "")
    try:
        conn.request(method, url, body, headers(method, host, path, query, body, extra))
        resp = conn.getresponse()
        return resp.status, dict(resp.getheaders()), resp.read()
    finally:
        conn.close()
