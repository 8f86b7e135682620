#!/usr/bin/env python3
"""Nodes on a bucket of a real S3 server (versitygw, two processes on one directory).

    run.py --stowage BIN [--path FOLDER] [--server NAME] [--unit FILE] [--conformance]
           [--layer-mib N] [--last-byte-mib N] [--only WORD]

Says what each case found; counts of requests are printed as a table beside their bounds. Without
the server: "missing: NAME". The last line is `N passed, N failed, N skipped`.
"""

import argparse
import contextlib
import hashlib
import http.server
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import threading
import time
import urllib.request

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

import cases_cache  # noqa: E402
import cases_chunks  # noqa: E402
import cases_clients  # noqa: E402
import cases_nodes  # noqa: E402
import cases_peers  # noqa: E402
import cases_speed  # noqa: E402
import cases_sweep  # noqa: E402
import gateway as gateway_mod  # noqa: E402
import loop  # noqa: E402
import proxy as proxy_mod  # noqa: E402
from world import MANIFEST, Fail, World, digest, image_manifest, random_bytes, want  # noqa: E402

MIB = 1 << 20
TROUBLES_MAX = 20  # lines of nodes' logs told
CASES = []


def case(fn):
    CASES.append(fn)
    return fn


def program(w, *args, env=None, timeout=60):
    """One call of the program with the bucket's credentials."""
    full = {**os.environ, **w.gateway.environ(), **(env or {})}
    return subprocess.run([w.stowage, *args], env=full, capture_output=True, text=True,
                          timeout=timeout, check=False)


# ---- the store


@case
def shared_suite_of_stores(w, stack):
    """Every sentence of store.h, on two gateways, bare and behind the fault wrapper."""
    if not w.unit:
        return "skip: no --unit"
    env = dict(os.environ, **w.gateway.environ(), STOWAGE_TEST_BUCKET=w.bucket,
               CMOCKA_MESSAGE_OUTPUT="STDOUT")
    done = subprocess.run([w.unit], env=env, capture_output=True, text=True, timeout=300,
                          check=False)
    text = done.stdout + done.stderr
    want(done.returncode == 0 and "PASSED" in text, text[-2000:])
    return text.split("[  PASSED  ]")[-1].strip().splitlines()[0]


@case
def doctor_accepts_and_refuses(w, stack):
    """A condition that is dropped, and one that is looked at first, are refused with the reason."""
    for mode, status, word in (("plain", 0, "safe"), ("drop", 1, "ignores the condition"),
                               ("head-then-put", 1, "looks first")):
        with proxy_mod.Proxy(w.gateway.endpoints[0], mode) as p:
            args = ["--store", f"s3://{w.bucket}/{w.prefix()}", "--s3-endpoint", p.url]
            done = program(w, "doctor", *args)
            text = done.stdout + done.stderr
            want(done.returncode == status and word in text, f"{mode}: {done.returncode} {text}")
            if status:
                done = program(w, "serve", "--listen", "127.0.0.1:0", *args)
                want(done.returncode == 1 and word in done.stderr and "listening" not in
                     done.stdout, f"serve, {mode}: {done.returncode} {done.stderr}")


@case
def what_cannot_be_reached_is_said(w, stack):
    args = ["--store", f"s3://{w.bucket}/x", "--s3-endpoint", "http://127.0.0.1:1"]
    done = program(w, "serve", "--listen", "127.0.0.1:0", *args)
    want(done.returncode == 1 and "cannot be reached" in done.stderr, done.stderr)
    args[3] = w.gateway.endpoints[0]
    done = program(w, "serve", "--listen", "127.0.0.1:0", *args,
                   env={"AWS_SECRET_ACCESS_KEY": "wrong"})
    want(done.returncode == 1 and "SignatureDoesNotMatch" in done.stderr, done.stderr)
    args[1] = "s3://no-such-bucket-here/x"
    done = program(w, "serve", "--listen", "127.0.0.1:0", *args)
    want(done.returncode == 1 and "NoSuchBucket" in done.stderr, done.stderr)


# ---- credentials


class Metadata(http.server.BaseHTTPRequestHandler):
    """A container's and an instance's metadata service; credentials end after a few seconds."""

    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def say(self, status, text):
        body = text.encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_PUT(self):
        if self.path != "/latest/api/token" or "X-aws-ec2-metadata-token-ttl-seconds" not in \
                self.headers:
            return self.say(400, "")
        return self.say(200, "a-token")

    def do_GET(self):
        keys = self.server.keys
        if self.path == "/container":
            if self.headers.get("Authorization") != "let-me-in":
                return self.say(403, "")
        elif self.headers.get("X-aws-ec2-metadata-token") != "a-token":
            return self.say(401, "")
        elif self.path == "/latest/meta-data/iam/security-credentials/":
            return self.say(200, "the-role")
        elif self.path != "/latest/meta-data/iam/security-credentials/the-role":
            return self.say(404, "")
        self.server.asked += 1
        until = time.gmtime(time.time() + self.server.seconds)
        return self.say(200, json.dumps({
            "AccessKeyId": keys["AWS_ACCESS_KEY_ID"],
            "SecretAccessKey": keys["AWS_SECRET_ACCESS_KEY"], "Token": "",
            "Expiration": time.strftime("%Y-%m-%dT%H:%M:%SZ", until)}))


@case
def credentials_of_container_instance_and_file(w, stack):
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Metadata)
    server.keys, server.asked, server.seconds = w.gateway.environ(), 0, 3600
    threading.Thread(target=server.serve_forever, daemon=True).start()
    stack.callback(server.server_close)
    stack.callback(server.shutdown)
    url = f"http://127.0.0.1:{server.server_address[1]}"
    args = ["--store", f"s3://{w.bucket}/{w.prefix()}", "--s3-endpoint", w.gateway.endpoints[0]]
    scratch = pathlib.Path(stack.enter_context(w.folder()))
    (scratch / "credentials").write_text(
        "[default]\naws_access_key_id=no\naws_secret_access_key=no\n[ours]\n"
        f"aws_access_key_id = {server.keys['AWS_ACCESS_KEY_ID']}\n"
        f"aws_secret_access_key={server.keys['AWS_SECRET_ACCESS_KEY']}\n")
    nothing = {"AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": "", "HOME": "/nonexistent"}
    for name, env in (
            ("container", {"AWS_CONTAINER_CREDENTIALS_FULL_URI": url + "/container",
                           "AWS_CONTAINER_AUTHORIZATION_TOKEN": "let-me-in"}),
            ("instance", {"AWS_EC2_METADATA_SERVICE_ENDPOINT": url,
                          "AWS_EC2_METADATA_DISABLED": "false"}),
            ("file", {"AWS_SHARED_CREDENTIALS_FILE": str(scratch / "credentials"),
                      "AWS_PROFILE": "ours"})):
        server.asked = 0
        done = program(w, "doctor", *args, env=dict(nothing, **env))
        want(done.returncode == 0, f"{name}: {done.stdout} {done.stderr}")
        want((server.asked == 1) == (name != "file"), f"{name}: asked {server.asked} times")
    # What ends soon is asked for again, before it ends.
    server.seconds, server.asked = 200, 0
    env = dict(nothing, AWS_CONTAINER_CREDENTIALS_FULL_URI=url + "/container",
               AWS_CONTAINER_AUTHORIZATION_TOKEN="let-me-in")
    full = {**os.environ, **w.gateway.environ(), **env}
    proc = subprocess.Popen([w.stowage, "serve", "--listen", "127.0.0.1:0", *args], env=full,
                            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    stack.callback(proc.wait)
    stack.callback(proc.terminate)
    address = proc.stdout.readline().split()[-1]
    end = time.monotonic() + 20
    while server.asked < 2 and time.monotonic() < end:
        urllib.request.urlopen(address + "/readyz", timeout=10).read()
        time.sleep(0.5)
    want(server.asked >= 2, "credentials that end were not asked for again")


# ---- uploads


def chunk(node, where, data, start):
    heads, _ = node.ok("PATCH", where, 202, data,
                       {"Content-Range": f"{start}-{start + len(data) - 1}",
                        "Content-Type": "application/octet-stream"})
    return heads["Location"]


@case
def five_chunks_on_five_nodes_with_a_kill_between(w, stack):
    """Sizes below, at and above a part, so that the tail goes from node to node, too."""
    prefix = w.prefix()
    sizes = [3 * MIB + 5, 9 * MIB, 100, 17 * MIB + 1, 2 * MIB]
    parts = [os.urandom(size) for size in sizes]
    where, start = None, 0
    for number, data in enumerate(parts):
        node = w.node(prefix, endpoint=w.gateway.endpoints[number % 2], stack=stack)
        if where is None:
            where = node.ok("POST", "/v2/a/b/blobs/uploads/", 202)[0]["Location"]
        where = chunk(node, where, data, start)
        start += len(data)
        if number + 1 < len(parts):
            node.stop(signal.SIGKILL)
            node.conn = None
    whole = b"".join(parts)
    heads, _ = node.req("GET", where)[1:]
    want(heads["Range"] == f"0-{len(whole) - 1}", f"Range {heads['Range']}")
    node.stop(signal.SIGKILL)
    last = w.node(prefix, stack=stack)
    sep = "&" if "?" in where else "?"
    last.ok("PUT", f"{where}{sep}digest={digest(whole)}", 201)
    got = last.ok("GET", f"/v2/a/b/blobs/{digest(whole)}", 200)[1]
    want(got == whole, "other bytes")


@case
def two_nodes_close_one_session_at_once(w, stack):
    prefix = w.prefix()
    nodes = [w.node(prefix, endpoint=w.gateway.endpoints[i], stack=stack) for i in (0, 1)]
    for turn in range(8):
        data = os.urandom(11 * MIB if turn % 2 else 300_000)
        where = nodes[0].ok("POST", "/v2/a/b/blobs/uploads/", 202)[0]["Location"]
        where = chunk(nodes[turn // 2 % 2], where, data, 0)
        sep = "&" if "?" in where else "?"
        got = [None, None]

        def close(i):
            got[i] = nodes[i].req("PUT", f"{where}{sep}digest={digest(data)}")[0]

        threads = [threading.Thread(target=close, args=(i,)) for i in (0, 1)]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
        want(got == [201, 201], f"answers {got}")
        for node in nodes:
            want(node.ok("GET", f"/v2/a/b/blobs/{digest(data)}", 200)[1] == data, "other bytes")
        session = where.partition("?")[0].rpartition("/")[2]
        stored = list((w.gateway.root / "data" / w.bucket / prefix / "data").rglob(f"{session}*"))
        want(len(stored) == 1, f"{len(stored)} data objects")


@case
def sha512_first_named_at_the_end(w, stack):
    """R62 on parts, which nobody gives back before they are an object: 201 when it is right, 400 and nothing
    left when it is not; in memory that does not depend on the size."""
    prefix = w.prefix()
    a, b = (w.node(prefix, endpoint=w.gateway.endpoints[i], stack=stack) for i in (0, 1))

    def push(node, data, name, status):
        where = node.ok("POST", "/v2/a/b/blobs/uploads/", 202)[0]["Location"]
        where = chunk(node, where, data[:len(data) // 2], 0)
        where = chunk(b, where, data[len(data) // 2:], len(data) // 2)
        sep = "&" if "?" in where else "?"
        node.ok("PUT", f"{where}{sep}digest={name}", status)

    def stored():
        return len([f for f in (w.gateway.root / "data" / w.bucket / prefix / "data").rglob("*")
                    if f.is_file()])

    def sha512(data):
        return "sha512:" + hashlib.sha512(data).hexdigest()

    data = os.urandom(20 * MIB + 7)
    push(a, data, sha512(data), 201)
    want(b.ok("GET", f"/v2/a/b/blobs/{sha512(data)}", 200)[1] == data, "other bytes")
    want(stored() == 1, f"{stored()} objects")
    push(a, data, sha512(data + b"x"), 400)
    push(a, data[1:], sha512(data), 400)  # though the digest has its blob
    want(stored() == 1, f"{stored()} objects after refusals")
    want(a.req("HEAD", f"/v2/a/b/blobs/{sha512(data + b'x')}")[0] == 404, "refused and found")
    data = random_bytes(160 * MIB)
    before = peak_kib(a)
    push(a, data, sha512(data), 201)
    grown = (peak_kib(a) - before) // 1024
    want(grown < 48, f"the peak of memory grew by {grown} MiB")
    return f"{grown} MiB more for 160 MiB"


def peak_kib(node):
    text = pathlib.Path(f"/proc/{node.proc.pid}/status").read_text()
    return int(text.split("VmHWM:")[1].split()[0])


@case
def what_is_not_asked_is_current_all_the_same(w, stack):
    """B44, and sessions begun by their URL: deleted and pushed again, on nodes that saw all of it, some of
    it, and nothing; a session that another node ended or wrote to."""
    prefix = w.prefix()
    a, b = (w.node(prefix, endpoint=w.gateway.endpoints[i], stack=stack) for i in (0, 1))
    data = os.urandom(3000)
    target = f"/v2/a/b/blobs/{digest(data)}"
    want(b.req("HEAD", target)[0] == 404, "before the push")
    for turn in range(3):
        a.blob("a/b", data)
        fresh = w.node(prefix, stack=stack)
        for node in (b, fresh, a):
            want(node.req("HEAD", target)[0] == 200, f"turn {turn}: pushed and not found")
        fresh.ok("DELETE", target, 202)
        for node in (b, w.node(prefix, stack=stack), a, fresh):
            want(node.req("HEAD", target)[0] == 404, f"turn {turn}: deleted and found")
    first = a.ok("POST", "/v2/a/b/blobs/uploads/", 202)[0]["Location"]
    where = a.ok("PATCH", first, 202, data[:1000])[0]["Location"]
    chunk(b, where, data[1000:2000], 1000)
    where = b.ok("PATCH", where, 202, data[2000:])[0]["Location"]
    sep = "&" if "?" in where else "?"
    a.ok("PUT", f"{where}{sep}digest={digest(data)}", 201)
    want(b.ok("GET", target, 200)[1] == data, "other bytes")
    first = a.ok("POST", "/v2/a/b/blobs/uploads/", 202)[0]["Location"]
    a.ok("DELETE", first, 204)
    b.ok("PATCH", first, 404, data)
    b.ok("PUT", f"{first}?digest={digest(data)}", 404, data)


# ---- redirects


@case
def redirects(w, stack):
    """R40-R47: to localhost, while the registry is 127.0.0.1."""
    public = w.gateway.endpoints[1].replace("127.0.0.1", "localhost")
    flags = ["--s3-public-endpoint", public, "--redirect-off-agent", "old-client",
             "--redirect-off-network", "10.1.0.0/16"]
    node = w.node(w.prefix(), *flags, stack=stack)
    large, small = os.urandom(MIB), os.urandom(MIB - 1)
    for data in (large, small):
        node.blob("a/b", data)
    target = f"/v2/a/b/blobs/{digest(large)}"
    status, heads, body = node.req("GET", target)
    want(status == 307 and body == b"", f"GET of a large blob: {status}")
    want(heads["Docker-Content-Digest"] == digest(large), "R40: digest on the 307")
    want(heads["Cache-Control"] == "no-store", "R45: no-store")
    url = heads["Location"]
    want(url.startswith(public + "/"), f"Location {url.split('?')[0]}")
    want("/v1/" not in url and "/v2/" not in url, "R43")
    with urllib.request.urlopen(url, timeout=30) as resp:
        want(resp.headers["Content-Type"] == "application/octet-stream", "R45: type")
        want(resp.read() == large, "other bytes by redirect")
    status, heads, _ = node.req("GET", target, headers={"Range": "bytes=10-19"})
    want(status == 307, f"a range: {status}")
    ask = urllib.request.Request(heads["Location"], headers={"Range": "bytes=10-19"})
    with urllib.request.urlopen(ask, timeout=30) as resp:
        want(resp.status == 206 and resp.read() == large[10:20], "range by redirect")
    status, heads, _ = node.req("HEAD", target)
    want(status == 200 and heads["Content-Length"] == str(MIB), "HEAD is local")
    want(node.ok("GET", f"/v2/a/b/blobs/{digest(small)}", 200)[1] == small, "R41: small")
    status, _, body = node.req("GET", target, headers={"Range": "bytes=0-1,5-6"})
    want(status == 206 and large[5:7] in body, f"R46: several ranges: {status}")
    for headers in ({"User-Agent": "an Old-Client/1"}, {"X-Forwarded-For": "10.1.2.3, 1.1.1.1"},
                    {"Host": "localhost:5000"}, {"X-Forwarded-Proto": "https"}):
        want(node.ok("GET", target, 200, headers=headers)[1] == large, f"served with {headers}")
    off = w.node(w.prefix(), *flags, "--redirect-off", stack=stack)
    off.blob("a/b", large)
    want(off.ok("GET", target, 200)[1] == large, "--redirect-off")
    want("X-Amz-Signature" not in node.log(), "a signature in the log")


# ---- nodes own nothing


def crawl(node):
    """All answers there are to questions about a registry, by question."""
    answers = {}

    def ask(target):
        status, heads, body = node.req("GET", target)
        kept = ("Docker-Content-Digest", "Content-Type", "Content-Length", "ETag", "Link")
        answers[target] = status, [heads.get(name) for name in kept], digest(body)
        return body

    for name in json.loads(ask("/v2/_catalog"))["repositories"]:
        repo = f"/v2/{name}"
        for what in ("_stowage/log", "_stowage/settings", "tags/list?n=2", "tags/list?at=2"):
            ask(f"{repo}/{what}")
        for tag in json.loads(ask(f"{repo}/tags/list"))["tags"]:
            body = ask(f"{repo}/manifests/{tag}")
            ask(f"{repo}/manifests/{digest(body)}")
            ask(f"{repo}/referrers/{digest(body)}")
            manifest = json.loads(body)
            for one in [manifest["config"], *manifest["layers"]]:
                ask(f"{repo}/blobs/{one['digest']}")
    return answers


def refer(node, repo, tag):
    """An artifact whose subject is what the tag is on, and a tag that moves."""
    about = node.ok("GET", f"/v2/{repo}/manifests/{tag}", 200)[1]
    config = b'{"of":"artifact"}'
    node.blob(repo, config)
    made = json.loads(image_manifest(config, []))
    made["subject"] = {"mediaType": MANIFEST, "digest": digest(about), "size": len(about)}
    body = json.dumps(made).encode()
    kind = {"Content-Type": MANIFEST}
    node.ok("PUT", f"/v2/{repo}/manifests/{digest(body)}", 201, body, kind)
    node.ok("PUT", f"/v2/{repo}/manifests/latest", 201, about, kind)


@case
def another_node_with_the_credentials_alone_answers_the_same(w, stack):
    """In another time zone and locale, too; and the bucket copied into a directory, and from there into
    another prefix."""
    prefix = w.prefix()
    nodes = [w.node(prefix, "--redirect-off", endpoint=w.gateway.endpoints[i % 2], stack=stack)
             for i in range(3)]
    for i in range(6):
        nodes[i % 3].image(f"team/app{i % 2}", f"v{i}",
                           [os.urandom(200), os.urandom(100_000), os.urandom(2 * MIB)], str(i))
        refer(nodes[i % 3], f"team/app{i % 2}", f"v{i}")
    before = crawl(nodes[0])
    want(len(before) == 1 + 2 * (5 + 1) + 6 * (3 + 4), f"{len(before)} answers")
    bad = [target for target, answer in before.items() if answer[0] != 200]
    want(not bad, f"answers that are not 200: {bad[:5]}")
    want(crawl(nodes[2]) == before, "two nodes differ")
    for node in nodes:
        node.stop()
    other = w.node(prefix, "--redirect-off", stack=stack,
                   env=("TZ=America/St_Johns", "LC_ALL=tr_TR.UTF-8", "LANG=ar_EG.UTF-8"))
    want(crawl(other) == before, "another node differs")
    scratch = stack.enter_context(w.folder())
    flags = ["--s3-endpoint", w.gateway.endpoints[0]]
    again = w.prefix()
    for source, target in ((f"s3://{w.bucket}/{prefix}", f"dir:{scratch}/copy"),
                           (f"dir:{scratch}/copy", f"s3://{w.bucket}/{again}")):
        done = program(w, "copy", *flags, source, target)
        want(done.returncode == 0, f"copy {source} {target}: {done.stdout} {done.stderr}")
    local = w.node_on(["--root", f"{scratch}/copy"], stack, env=("TZ=Asia/Kathmandu", "LC_ALL=C"))
    want(crawl(local) == before, "the directory differs")
    third = w.node(again, "--redirect-off", stack=stack)
    want(crawl(third) == before, "the copy differs")
    done = program(w, "fsck", "--store", f"s3://{w.bucket}/{again}", *flags)
    want(done.returncode == 0, f"fsck: {done.stdout[-500:]} {done.stderr}")


# ---- behind a proxy, without affinity

HAPROXY = """global
  maxconn 4000
  tune.bufsize 32768
defaults
  mode http
  timeout connect 5s
  timeout client 900s
  timeout server 900s
  retries 1
  http-reuse safe
frontend registry
  bind 127.0.0.1:{port}
  default_backend nodes
backend nodes
  balance roundrobin
{servers}
"""


def three_nodes(w, stack):
    """Address of HAProxy in front of three nodes on one bucket, each request to the next one; and
    the nodes."""
    if not shutil.which("haproxy", path=os.environ.get("PATH", "") + ":/usr/sbin"):
        print("missing: haproxy")
        return None, []
    prefix = w.prefix()
    nodes = [w.node(prefix, "--redirect-off", endpoint=w.gateway.endpoints[i % 2], stack=stack)
             for i in range(3)]
    scratch = pathlib.Path(stack.enter_context(w.folder()))
    port = gateway_mod.free_port()
    servers = "\n".join(f"  server n{i} {node.authority} pool-purge-delay 30s" for i, node in enumerate(nodes))
    (scratch / "cfg").write_text(HAPROXY.format(port=port, servers=servers))
    proc = subprocess.Popen([shutil.which("haproxy", path="/usr/sbin:/usr/bin"), "-db", "-f",
                             str(scratch / "cfg")], stdin=subprocess.DEVNULL,
                            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    stack.callback(proc.wait)
    stack.callback(proc.terminate)
    end = time.monotonic() + 10
    while time.monotonic() < end:
        with contextlib.suppress(OSError):
            urllib.request.urlopen(f"http://127.0.0.1:{port}/v2/", timeout=5).read()
            return f"127.0.0.1:{port}", nodes
        time.sleep(0.1)
    raise RuntimeError("HAProxy did not start")


def troubles(nodes):
    """What the nodes' logs hold against it: clients are not told why an answer is 500 or 503."""
    said = [x for node in nodes for x in node.log().splitlines()
            if "level=error" in x or "event=http.failed" in x]
    return [x[:300] for x in sorted(said)[-TROUBLES_MAX:]]


def counts_of(done, nodes):
    """The last line of a suite, which must say that nothing failed."""
    lines = (done.stdout + done.stderr).strip().splitlines()
    last = next((x for x in reversed(lines) if " passed, " in x), "no counts")
    if done.returncode != 0 or ", 0 failed," not in last:
        failed = " | ".join(x for x in lines if "FAIL" in x or x == last)
        raise Fail(" | ".join([failed[-2500:], *troubles(nodes)]))
    return last


# A small blob's session has no entry that ends it, so only the node that closed it knows; and the
# last one asks 48,000 questions.
ONE_NODE = ("past.at_time_and_names", "upload.closed_session_is_gone", "upload.put_with_other_content_drops_the_session",
            "limits.very_many_distinct_layers")


@case
def api_suite_through_haproxy_over_three_nodes(w, stack):
    address, nodes = three_nodes(w, stack)
    if not address:
        return "skip: no HAProxy"
    return counts_of(subprocess.run(
        [sys.executable, str(HERE.parent / "api" / "run.py"), "--url", f"http://{address}",
         "--behind", "", "--without", ",".join(ONE_NODE)], capture_output=True, text=True, timeout=300, check=False),
        nodes)


@case
def conformance_through_haproxy_over_three_nodes(w, stack):
    if not w.conformance:
        return "skip: only with --conformance"
    address, nodes = three_nodes(w, stack)
    if not address:
        return "skip: no HAProxy"
    done = subprocess.run(
        [str(HERE.parent.parent / "conformance" / "run.sh"), "--runs", "dev", "--registry",
         address], capture_output=True, text=True, timeout=900, check=False)
    if "missing: " in done.stdout:
        print(done.stdout.splitlines()[0])
        return "skip: no suite"
    return counts_of(done, nodes)


# ---- budgets


@case
def requests_per_operation(w, stack):
    """The bounds that docs/object-store.md gives; 20 ms more for each request in the rows of time."""
    p = stack.enter_context(proxy_mod.Proxy(w.gateway.endpoints[0]))
    prefix = w.prefix()
    node = w.node(prefix, "--redirect-off", endpoint=p.url, stack=stack)
    layers = [os.urandom(4096), os.urandom(MIB), os.urandom(64 * MIB)]
    rows, bad = [], []
    p.take()

    def row(what, most_all, most_writes):
        log = p.take()
        # Near the end of ten minutes an entry has the marker of the next ones, too.
        second = max(0, sum("/changes/" in one[1] for one in log) - what.startswith("fresh"))
        got = proxy_mod.counts(log)
        most_all, most_writes = most_all + second, most_writes + second
        rows.append(f"{what:28} {got[0]:4} of {most_all:3} {got[1]:4} of {most_writes:3}")
        if got[0] > most_all or got[1] > most_writes:
            bad.append(what)

    manifest = node.image("a/b", "v1", layers)
    row("fresh push, docker's way", *BUDGET["push"])
    names = [json.loads(manifest)["config"]["digest"]] + [digest(one) for one in layers]
    public = w.gateway.endpoints[0].replace("127.0.0.1", "localhost")
    cold = w.node(prefix, "--s3-public-endpoint", public, endpoint=p.url, stack=stack)
    for what in ("pull, cold", "pull, warm"):
        p.take()
        cold.ok("HEAD", "/v2/a/b/manifests/v1", 200)
        cold.ok("GET", f"/v2/a/b/manifests/{digest(manifest)}", 200)
        redirected = sum(cold.req("GET", f"/v2/a/b/blobs/{one}")[0] == 307 for one in names)
        with p.lock:
            p.log += [("GET", "client", "", 200, 0)] * redirected
        row(what, *BUDGET[what])
    node.image("a/b", "v1", layers)
    row("unchanged push", *BUDGET["again"])
    node.image("a/b", "v2", layers)
    row("one new tag", *BUDGET["tag"])
    node.req("HEAD", "/v2/a/b/manifests/v1")
    row("HEAD of a tag", *BUDGET["head"])
    node.req("GET", "/v2/a/b/manifests/v1")
    row("manifest by tag, warm", *BUDGET["head"])
    for what, size in (("blob of 4 KiB", 4096), ("blob of 1 MiB", MIB), ("blob of 20 MiB", 20 * MIB)):
        where = node.ok("POST", "/v2/a/b/blobs/uploads/", 202)[0]["Location"]
        data = os.urandom(size)
        where = chunk(node, where, data, 0)
        sep = "&" if "?" in where else "?"
        node.ok("PUT", f"{where}{sep}digest={digest(data)}", 201)
        row(what, *BUDGET[what])
    p.delay = 0.02
    layers = [os.urandom(4096), os.urandom(MIB), os.urandom(64 * MIB)]
    begin = time.monotonic()
    threads = [threading.Thread(target=node.again().blob, args=("c/d", one)) for one in layers]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    manifest = node.image("c/d", "v1", layers, "x")
    rows.append(f"{'fresh push, 20 ms':28} {time.monotonic() - begin:.2f} s")
    cold = w.node(prefix, "--s3-public-endpoint", public, endpoint=p.url, stack=stack)
    begin = time.monotonic()
    cold.ok("GET", "/v2/c/d/manifests/v1", 200)
    for one in [json.loads(manifest)["config"]["digest"]] + [digest(one) for one in layers]:
        want(cold.req("GET", f"/v2/c/d/blobs/{one}")[0] in (200, 307), "a blob")
    rows.append(f"{'pull, cold, 20 ms':28} {time.monotonic() - begin:.2f} s")
    print("\n" + "\n".join(rows))
    want(not bad, f"above the bound: {', '.join(bad)}")


# all, writes and lists
BUDGET = {
    "push": (42, 29), "again": (5, 0), "tag": (6, 1), "head": (1, 0), "blob of 4 KiB": (4, 3),
    "blob of 1 MiB": (6, 5), "blob of 20 MiB": (10, 9), "pull, cold": (15, 0),
    "pull, warm": (8, 0),
}


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--stowage", required=True)
    gateway_mod.add_arguments(parser)
    parser.add_argument("--unit", help="the program of the shared suite (test_blobstore_store_s3)")
    parser.add_argument("--conformance", action="store_true", help="that suite over three nodes, too")
    parser.add_argument("--layer-mib", type=int, default=256, help="of the layer on a far store")
    parser.add_argument("--last-byte-mib", type=int, default=256, help="of the blob whose last byte is waited for")
    parser.add_argument("--only", default="")
    args = parser.parse_args()
    binary = gateway_mod.found(args)
    if not binary:
        return 0
    with gateway_mod.Gateway(binary) as gateway:
        world = World(os.path.abspath(args.stowage), gateway)
        world.conformance = args.conformance
        world.unit = args.unit and os.path.abspath(args.unit)
        world.layer_mib, world.last_byte_mib, world.path = args.layer_mib, args.last_byte_mib, args.path
        return loop.run_cases([*CASES, *cases_cache.CASES, *cases_chunks.CASES, *cases_nodes.CASES, *cases_clients.CASES, *cases_peers.CASES, *cases_speed.CASES], args.only, world,
                              beside=cases_sweep.BESIDE)


if __name__ == "__main__":
    sys.exit(main())
