"""Client certificates at nginx: the lines of docs/authentication.md, switched on in the recipe."""

import http.client
import json
import pathlib
import re
import ssl

import people
import proxies
from harness import check_equal
from server import Server

PAGE = pathlib.Path(__file__).resolve().parents[2] / "docs" / "authentication.md"
POLICY = "allow user:cert:build ** pull,push\nallow user:alice ** pull\n"
FORGED = {"X-Client-DN": "CN=build"}
ELSEWHERE = ("127.0.0.2", 0)  # an address of this machine that is no trusted proxy


def page():
    """(lines for nginx, options of the command) of the page."""
    text = PAGE.read_text(encoding="utf-8").partition("## Client certificates at the proxy")[2]
    block, command = (re.search(rf"^```{kind}\n(.*?)^```", text, re.M | re.S).group(1) for kind in ("nginx", "sh"))
    lines = [line.partition(" # ")[0].rstrip() for line in block.splitlines()]
    return lines, re.search(r"(--client-certificate-header.*)", command).group(1).split()


class Set:
    """The node, nginx in front of it, and clients with and without a certificate."""

    def __init__(self, w):
        lines, options = page()
        folder = w.scratch / "certificates"
        folder.mkdir()
        (folder / "users").write_text(people.htpasswd("alice"))
        (folder / "policy").write_text(POLICY)
        self.w = w
        self.node = Server(w.binary, ["--htpasswd", str(folder / "users"), "--policy", str(folder / "policy"),
                                      *options]).start()
        w.running.append(self.node.done)
        self.known = proxies.certificates(folder / "known", ("build",), "clientAuth")
        self.strange = proxies.certificates(folder / "strange", ("build",), "clientAuth")
        change = [("#" + line, line) for line in lines]
        change.append(("/etc/ssl/stowage/clients-ca.crt", str(self.known / "ca.crt")))
        self.proxy = w.proxy("nginx", self.node, change=change)

    def ask(self, method, target, certificate=None, headers=None, body=None):
        trust = ssl.create_default_context(cafile=self.w.authority)
        if certificate:
            trust.load_cert_chain(certificate / "server.crt", certificate / "server.key")
        link = http.client.HTTPSConnection(self.w.names[0], self.proxy.port, timeout=20, context=trust)
        return answer(link, method, target, headers, body)

    def direct(self, source, headers):
        link = http.client.HTTPConnection("127.0.0.1", self.node.addr[2], timeout=20, source_address=source)
        return answer(link, "GET", "/v2/", headers, None)


def answer(link, method, target, headers, body):
    link.request(method, target, body, headers or {})
    got = link.getresponse()
    got.read()
    link.close()
    return got.status


def client_certificates(w, _kind):
    s = Set(w)
    doc = json.dumps({"schemaVersion": 2, "manifests": []}).encode()
    kind = {"Content-Type": "application/vnd.oci.image.index.v1+json"}
    alice = dict([people.basic("alice")])
    for who, wanted, got in (
        ("a certificate: push", 201, s.ask("PUT", "/v2/a/manifests/1", s.known, kind, doc)),
        ("a certificate: pull", 200, s.ask("GET", "/v2/a/manifests/1", s.known)),
        ("a certificate: delete", 403, s.ask("DELETE", "/v2/a/manifests/1", s.known)),
        ("none", 401, s.ask("GET", "/v2/a/manifests/1")),
        ("none, and a forged header", 401, s.ask("GET", "/v2/a/manifests/1", None, FORGED)),
        ("one of another authority", 400, s.ask("GET", "/v2/a/manifests/1", s.strange)),
        ("none, but a password: pull", 200, s.ask("GET", "/v2/a/manifests/1", None, alice)),
        ("none, but a password: push", 403, s.ask("PUT", "/v2/a/manifests/1", None, alice | kind, doc)),
        ("a forged header beside the proxy", 401, s.direct(ELSEWHERE, FORGED)),
        ("a header of the proxy", 200, s.direct(None, FORGED)),
    ):  # fmt: skip
        check_equal(got, wanted, who)


CASES = (("client certificates", client_certificates),)
