"""Tokens and keys of our own making, for tests: JWTs signed by the openssl program, key sets, and a
small HTTPS issuer that serves one."""

import base64
import functools
import hashlib
import hmac
import http.server
import json
import pathlib
import shutil
import ssl
import subprocess
import tempfile
import threading
import time

SECONDS_MAX = 30


def b64(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def unb64(text):
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def openssl(*args, data=None):
    return subprocess.run(
        ["openssl", *args], input=data, capture_output=True, check=True, timeout=SECONDS_MAX
    ).stdout


@functools.lru_cache(maxsize=None)
def key(kind, name="a"):
    """A key pair of this run, by kind (RSA, EC) and name."""
    return Key(kind, name)


class Key:
    def __init__(self, kind, name):
        self.kind, self.kid = kind, f"{kind}-{name}"
        how = ("-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048")
        if kind == "EC":
            how = ("-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256")
        self.pem = openssl("genpkey", *how)
        self.public = openssl("pkey", "-pubout", data=self.pem)

    def jwk(self, **more):
        doc = {"kid": self.kid, "use": "sig"}
        if self.kind == "EC":
            point = openssl("pkey", "-pubout", "-outform", "DER", data=self.pem)[-64:]
            doc |= {"kty": "EC", "crv": "P-256", "x": b64(point[:32]), "y": b64(point[32:])}
        else:
            text = openssl("rsa", "-modulus", "-noout", data=self.pem).decode()
            doc |= {"kty": "RSA", "e": "AQAB", "n": b64(bytes.fromhex(text.split("=")[1].strip()))}
        return doc | more

    def sign(self, data):
        with tempfile.NamedTemporaryFile(suffix=".pem") as f:
            f.write(self.pem)
            f.flush()
            made = openssl("dgst", "-sha256", "-sign", f.name, data=data)
        return made if self.kind == "RSA" else raw_of_der(made)

    @property
    def alg(self):
        return "ES256" if self.kind == "EC" else "RS256"


def raw_of_der(der):
    """r and s of an ECDSA signature, 32 bytes each."""
    out, at = b"", 2
    for _ in range(2):
        size = der[at + 1]
        out += der[at + 2 : at + 2 + size].lstrip(b"\0").rjust(32, b"\0")
        at += 2 + size
    return out


def jwks(*keys):
    return json.dumps({"keys": [k.jwk() for k in keys]})


def claims(issuer, audience, seconds=300, **more):
    now = int(time.time())
    return {"iss": issuer, "aud": audience, "iat": now, "nbf": now, "exp": now + seconds, **more}


def token(signer, body, **header):
    """A JWT; header replaces or adds members of its header."""
    head = {"alg": signer.alg, "kid": signer.kid, "typ": "JWT", **header}
    text = f"{b64(json.dumps(head).encode())}.{b64(json.dumps(body).encode())}"
    return f"{text}.{b64(signer.sign(text.encode()))}"


def unsigned(body, alg="none", kid=None):
    head = {"alg": alg, "typ": "JWT"} | ({"kid": kid} if kid else {})
    return f"{b64(json.dumps(head).encode())}.{b64(json.dumps(body).encode())}."


def confused(public, body, kid):
    """HS256 whose secret is a public key: what a careless verifier accepts."""
    head = {"alg": "HS256", "kid": kid, "typ": "JWT"}
    text = f"{b64(json.dumps(head).encode())}.{b64(json.dumps(body).encode())}"
    return f"{text}.{b64(hmac.new(public, text.encode(), hashlib.sha256).digest())}"


def tampered(text, **changes):
    """The same header and signature over other claims."""
    head, body, sign = text.split(".")
    return f"{head}.{b64(json.dumps(json.loads(unb64(body)) | changes).encode())}.{sign}"


class Issuer:
    """An HTTPS server on loopback with a key set; counts who asks. Its certificate is its own
    authority: self.ca is the file."""

    def __init__(self):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="issuer-"))
        self.ca = self.folder / "ca.pem"
        key_file = self.folder / "key.pem"
        openssl(
            "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
            "-keyout", str(key_file), "-out", str(self.ca), "-days", "2", "-subj", "/CN=localhost",
            "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1",
        )  # fmt: skip
        self.answer, self.status, self.asked, self.headers = "{}", 200, [], {}
        issuer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                issuer.asked.append(self.path)
                body = issuer.answer.encode()
                self.send_response(issuer.status)
                for name, value in issuer.headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        trust = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        trust.load_cert_chain(self.ca, key_file)
        self.server.socket = trust.wrap_socket(self.server.socket, server_side=True)
        self.url = f"https://localhost:{self.server.server_address[1]}/keys"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.server.shutdown()
        self.server.server_close()
        shutil.rmtree(self.folder, ignore_errors=True)


def jwt_claims(text):
    return json.loads(unb64(text.split(".")[1]))


def jwt_kid(text):
    return json.loads(unb64(text.split(".")[0]))["kid"]
