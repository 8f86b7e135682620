"""What every client test stands on: private folders, commands with deadlines, a small
registry client of our own, and the second client that reads what the first one wrote.

A case is a function that takes a Context and returns, or raises
  Failed   the registry or the client did something wrong,
  Skipped  it cannot be tried here, with the reason.
A client's setup raises Missing when the client cannot be had at all.
"""

import hashlib
import http.client
import json
import os
import shutil
import signal
import subprocess
import tempfile
import time

import samples

COMMAND_SECONDS_MAX = 120
OUTPUT_SHOWN_MAX = 1500
TREE_DEPTH_MAX = 5
HTTP_SECONDS_MAX = 60
BODY_BYTES_MAX = 256 << 20
DAEMON_STOP_SECONDS_MAX = 20

OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
OCI_INDEX = "application/vnd.oci.image.index.v1+json"
DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_LIST = "application/vnd.docker.distribution.manifest.list.v2+json"
ACCEPT = ", ".join((OCI_MANIFEST, OCI_INDEX, DOCKER_MANIFEST, DOCKER_LIST))


class Failed(Exception):
    """Something is wrong."""


class Skipped(Exception):
    """Cannot be tried here."""


class Missing(Exception):
    """The client cannot be had."""


def check(condition, message):
    if not condition:
        raise Failed(message)


def check_equal(got, wanted, what):
    if got != wanted:
        raise Failed(f"{what}: got {got!r}, expected {wanted!r}")


def digest_of(data, algorithm="sha256"):
    return f"{algorithm}:{hashlib.new(algorithm, data).hexdigest()}"


def check_digest(data, digest, what):
    algorithm = digest.partition(":")[0]
    check(algorithm in ("sha256", "sha512"), f"{what}: odd digest {digest!r}")
    check_equal(digest_of(data, algorithm), digest, f"digest of {what}")


def children_of(manifest):
    """Digests a manifest names, split into manifests and blobs."""
    if "manifests" in manifest:
        return [entry["digest"] for entry in manifest["manifests"]], []
    blobs = [layer["digest"] for layer in manifest.get("layers") or []]
    return [], [manifest["config"]["digest"]] + blobs


class Registry:
    """The registry under test, seen by our own plain HTTP client."""

    def __init__(self, address, root=None, always=None):
        self.address = address
        self.root = root  # the folder of a node of this run
        self.always = always or {}  # headers of every request

    def connect(self):
        return http.client.HTTPConnection(self.address, timeout=HTTP_SECONDS_MAX)

    def request(self, method, path, body=None, headers=None):
        connection = self.connect()
        try:
            connection.request(method, path, body, {**self.always, **(headers or {})})
            answer = connection.getresponse()
            data = answer.read(BODY_BYTES_MAX)
            return answer.status, {k.lower(): v for k, v in answer.getheaders()}, data
        finally:
            connection.close()

    def expect(self, status, method, path, body=None, headers=None):
        got, answer_headers, data = self.request(method, path, body, headers)
        if got != status:
            raise Failed(f"{method} {path}: {got}, expected {status}: {data[:200]!r}")
        return answer_headers, data

    def manifest(self, repo, reference):
        """Bytes, media type and digest of a manifest, checked against each other."""
        path = f"/v2/{repo}/manifests/{reference}"
        headers, data = self.expect(200, "GET", path, headers={"Accept": ACCEPT})
        digest = headers.get("docker-content-digest", "")
        check_digest(data, digest, f"{repo}:{reference}")
        return data, headers.get("content-type"), digest

    def digest(self, repo, reference):
        return self.manifest(repo, reference)[2]

    def status(self, repo, kind, reference):
        return self.request("HEAD", f"/v2/{repo}/{kind}/{reference}", headers={"Accept": ACCEPT})[0]

    def tags(self, repo):
        return json.loads(self.expect(200, "GET", f"/v2/{repo}/tags/list")[1])["tags"]

    def referrers(self, repo, digest):
        data = self.expect(200, "GET", f"/v2/{repo}/referrers/{digest}")[1]
        return json.loads(data)["manifests"]

    def has_referrers_api(self):
        return self.request("GET", "/v2/probe/referrers/sha256:" + 64 * "0")[0] == 200

    def tree(self, repo, reference, depth=0):
        """Every digest reachable from a manifest, each fetched and verified."""
        check(depth < TREE_DEPTH_MAX, f"{repo}: manifests nested too deep")
        data, _, digest = self.manifest(repo, reference)
        found = {digest}
        manifests, blobs = children_of(json.loads(data))
        for child in manifests:
            found |= self.tree(repo, child, depth + 1)
        for blob in blobs:
            body = self.expect(200, "GET", f"/v2/{repo}/blobs/{blob}")[1]
            check_digest(body, blob, f"blob in {repo}")
            found.add(blob)
        return found

    def push_blob(self, repo, data):
        digest = digest_of(data)
        headers, _ = self.expect(202, "POST", f"/v2/{repo}/blobs/uploads/", b"")
        location = headers["location"]
        if location.startswith("http://"):
            location = "/" + location.split("/", 3)[3]
        location += ("&" if "?" in location else "?") + "digest=" + digest
        self.expect(201, "PUT", location, data, {"Content-Type": "application/octet-stream"})

    def seed(self, repo, tag, sample):
        """Pushes a sample without any client, so that pulls can be tested alone."""
        for digest, path in sample.blobs.items():
            if digest not in sample.manifests:
                with open(path, "rb") as blob:
                    self.push_blob(repo, blob.read())
        for digest, media_type in sample.manifests.items():
            with open(sample.blobs[digest], "rb") as blob:
                body = blob.read()
            headers = {"Content-Type": media_type}
            self.expect(201, "PUT", f"/v2/{repo}/manifests/{digest}", body, headers)
        self.expect(201, "PUT", f"/v2/{repo}/manifests/{tag}", body, headers)
        return digest


class Result:
    def __init__(self, out, err):
        self.out = out
        self.err = err

    def json(self):
        try:
            return json.loads(self.out)
        except ValueError as error:
            raise Failed(f"not JSON ({error}): {self.out[:OUTPUT_SHOWN_MAX]!r}") from error

    def lines(self):
        return [line.strip() for line in self.out.splitlines() if line.strip()]


class Daemon:
    """A server started for one client; ended by its process group."""

    def __init__(self, command, log, env):
        self.log = log
        with open(log, "wb") as sink:
            self.process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=sink,
                stderr=sink,
                env=env,
                start_new_session=True,
            )

    def tail(self, lines=3):
        with open(self.log, encoding="utf-8", errors="replace") as text:
            return " | ".join(text.read().strip().splitlines()[-lines:])

    def wait_until(self, ready, seconds, what):
        """Polls ready(); raises Missing with the end of the log if it never comes."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                raise Missing(f"{what} ended with status {self.process.returncode}: {self.tail()}")
            if ready():
                return
            time.sleep(0.1)
        self.stop()
        raise Missing(f"{what} was not ready in {seconds} s: {self.tail()}")

    def stop(self):
        """Returns the exit status, or None when it had to be killed."""
        status = None
        try:
            if self.process.poll() is None:
                self.process.send_signal(signal.SIGTERM)
            status = self.process.wait(DAEMON_STOP_SECONDS_MAX)
        except subprocess.TimeoutExpired:
            pass
        try:
            os.killpg(self.process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        self.process.wait()
        return status


class Context:
    """All that one client's cases work with. `plain` says that the registry speaks plain HTTP;
    else TLS, and every client must trust the certificate by its own means. `big` adds what takes
    minutes and 20 GiB."""

    plain = True
    big = False
    doors = None  # registries that ask for log-ins (logins.py), where the run can start them

    def __init__(self, name, registry, sample_set, path, run_id, scratch, without):
        self.name = name
        self.without = without
        self.registry = registry
        self.samples = sample_set
        self.run_id = run_id
        self.dir = os.path.join(scratch, name)
        self.home = os.path.join(self.dir, "home")
        self.daemons = []
        self.state = {}
        os.makedirs(os.path.join(self.dir, "tmp"))
        os.makedirs(os.path.join(self.home, ".config", "containers"))
        self.env = {
            "PATH": path,
            "HOME": self.home,
            "TMPDIR": os.path.join(self.dir, "tmp"),
            "XDG_RUNTIME_DIR": os.path.join(self.dir, "tmp"),
            "DOCKER_CONFIG": os.path.join(self.home, ".docker"),
            "REGISTRY_AUTH_FILE": os.path.join(self.home, "auth.json"),
            "LC_ALL": "C.UTF-8",
            "TZ": "UTC",
        }
        self.write("home/auth.json", "{}")

    def program(self, name):
        found = shutil.which(name, path=self.env["PATH"])
        if not found:
            raise Missing(f"{name} is not on PATH")
        return found

    def path(self, *parts):
        return os.path.join(self.dir, *parts)

    def folder(self, *parts):
        os.makedirs(self.path(*parts), exist_ok=True)
        return self.path(*parts)

    def write(self, name, content):
        path = self.path(name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "wb") as sink:
            sink.write(content.encode() if isinstance(content, str) else content)
        return path

    def read(self, name):
        with open(self.path(name), "rb") as source:
            return source.read()

    def repo(self, name):
        """A repository name no other run or client uses."""
        return f"clients-{self.run_id}/{self.name}/{name}"

    def ref(self, repo, tag):
        separator = "@" if ":" in tag else ":"
        return f"{self.registry.address}/{repo}{separator}{tag}"

    def try_run(self, *command, cwd=None, stdin=None, env=None, seconds=COMMAND_SECONDS_MAX):
        """Runs a command to its end; returns status and Result."""
        process = subprocess.Popen(
            command,
            cwd=cwd or self.dir,
            env={**self.env, **(env or {})},
            stdin=subprocess.PIPE if stdin is not None else subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
        try:
            out, err = process.communicate(stdin, timeout=seconds)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
            raise Failed(f"no end after {seconds} s: {' '.join(command)}") from None
        decoded = Result(out.decode(errors="replace"), err.decode(errors="replace"))
        return process.returncode, decoded

    def run(self, *command, **options):
        status, result = self.try_run(*command, **options)
        if status != 0:
            said = (result.err.strip() or result.out.strip())[-OUTPUT_SHOWN_MAX:]
            raise Failed(f"status {status}: {' '.join(command)}\n{said}")
        return result

    def refused(self, *command, **options):
        """Runs a command that must fail; returns all it said."""
        status, result = self.try_run(*command, **options)
        check(status != 0, f"was not refused: {' '.join(command)}")
        return result.out + result.err

    def daemon(self, command, env=None):
        log = self.path(f"daemon{len(self.daemons)}.log")
        started = Daemon(command, log, {**self.env, **(env or {})})
        self.daemons.append(started)
        return started

    def close(self):
        for running in reversed(self.daemons):
            running.stop()
        shutil.rmtree(self.dir, ignore_errors=True)

    def check_tags(self, got, wanted):
        """Tags as a client lists them: complete, in byte order, and a list when empty."""
        if "strict-tags" in self.without:
            got = sorted(got or [])
        check_equal(got, wanted, "tags")

    def version_line(self, *command):
        result = self.run(*command)
        for line in result.lines():
            return line
        return ""

    def view_between(self, repo, tag, first, second):
        """Put a tag on one sample, then on another; the name of the view in between."""
        self.registry.seed(repo, tag, first)
        time.sleep(1.2)  # views tell seconds
        stamp = time.strftime("at-%Y%m%dt%H%M%Sz", time.gmtime())
        time.sleep(0.1)
        self.registry.seed(repo, tag, second)
        return f"{stamp}/{repo}"

    def verify(self, repo, reference, digest=None, peer=True):
        """What is in the registry is whole, is what was pushed, and reads the same to a
        second client. Returns the digest."""
        found = self.registry.tree(repo, reference)
        got = self.registry.digest(repo, reference)
        if digest is not None:
            check_equal(got, digest, f"digest of {repo}:{reference}")
        if peer:
            self.verify_by_peer(repo, reference, got, found)
        return got

    def verify_by_peer(self, repo, reference, digest, found):
        for name, read_by in PEERS:
            if name != self.name and shutil.which(name, path=self.env["PATH"]):
                with tempfile.TemporaryDirectory(dir=self.dir) as folder:
                    read_by(self, repo, reference, digest, found, folder)
                return
        raise Skipped("no second client to read it with")


class Caller:
    """A client at a registry that asks for log-ins (logins.py). Its methods raise Failed when the
    client's program fails:

    login(user, password), logout()
    push(repo)   what it has made in its constructor; the same bytes for every repository of one
                 last part
    pull(repo)   anew, whatever is held locally
    """

    tag = "1"  # that it pushes
    scheme = ""  # before the address, in names
    checks = True  # a log-in with a wrong password is refused; else the next request is
    copies = False  # a mount reads the repository it mounts from

    def __init__(self, ctx, address):
        self.ctx, self.address, self.pulls = ctx, address, 0

    def ref(self, repo):
        return f"{self.scheme}{self.address}/{repo}:{self.tag}"

    def fresh(self):
        """A name in the client's folder for the next pull."""
        self.pulls += 1
        return f"by-{self.address.rpartition(':')[2]}-{self.pulls}"

    def mount(self, _source, target):
        """The bytes of one repository into another. Here by a push, in which the client offers
        what it remembers of where its layers lie; None: it has no way to."""
        self.push(target)


def reads_layout(pull):
    """A second client that pulls everything into an OCI layout."""

    def read(context, repo, reference, digest, found, folder):
        layout = os.path.join(folder, "oci")
        pull(context, context.ref(repo, reference), layout)
        root, pulled = samples.verify_layout(layout)
        check_equal(root, digest, f"digest the second client pulls of {repo}:{reference}")
        check_equal(sorted(pulled), sorted(found), f"what the second client pulls of {repo}")

    return read


def read_by_skopeo(context, repo, reference, digest, found, folder):
    """Pulls into a flat folder, which holds every format as it is: the root as
    manifest.json, other manifests as HEX.manifest.json, blobs as HEX."""
    policy = context.write("peer-policy.json", samples.ACCEPT_ANYTHING)
    context.run(
        "skopeo", "--policy", policy, "copy", "-q", "--all", "--preserve-digests",
        "--src-tls-verify=false", "docker://" + context.ref(repo, reference), f"dir:{folder}/it",
    )  # fmt: skip
    pulled = set()
    for name in os.listdir(f"{folder}/it"):
        if name != "version":
            with open(f"{folder}/it/{name}", "rb") as source:
                pulled.add(digest_of(source.read()))
    with open(f"{folder}/it/manifest.json", "rb") as source:
        check_digest(source.read(), digest, f"what skopeo pulls of {repo}:{reference}")
    check_equal(sorted(pulled), sorted(found), f"what skopeo pulls of {repo}")


def pull_by_crane(context, ref, layout):
    context.run("crane", "pull", "--insecure", "--format=oci", ref, layout)


def pull_by_oras(context, ref, layout):
    target = ("--to-oci-layout", f"{layout}:it")
    context.run("oras", "cp", "--no-tty", "--from-plain-http", ref, *target)


def pull_by_regctl(context, ref, layout):
    host = f"reg={context.registry.address},tls=disabled"
    context.run("regctl", "--host", host, "image", "copy", ref, f"ocidir://{layout}:it")


def read_by_buildah(context, repo, _reference, digest, _found, folder):
    """Pulls every image below the digest; an image's local id is its config's digest."""
    manifest = json.loads(context.registry.manifest(repo, digest)[0])
    for child in children_of(manifest)[0]:
        read_by_buildah(context, repo, child, child, _found, folder)
    if "config" not in manifest:
        return
    policy = context.write("peer-policy.json", samples.ACCEPT_ANYTHING)
    store = ("--root", f"{folder}/root", "--runroot", f"{folder}/run", "--storage-driver", "vfs")
    pulled = context.run("buildah", *store, "pull", "-q", "--signature-policy", policy,
                         "--tls-verify=false", "docker://" + context.ref(repo, digest))  # fmt: skip
    wanted = manifest["config"]["digest"].partition(":")[2]
    check_equal(pulled.lines()[-1], wanted, f"image id buildah pulls of {repo}@{digest}")


# skopeo comes late: it does not copy artifacts and nested indexes as they are.
# buildah comes last: it shows only images, by their ids.
PEERS = (
    ("crane", reads_layout(pull_by_crane)),
    ("regctl", reads_layout(pull_by_regctl)),
    ("oras", reads_layout(pull_by_oras)),
    ("skopeo", read_by_skopeo),
    ("buildah", read_by_buildah),
)
