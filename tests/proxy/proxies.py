"""nginx and HAProxy, run from the recipes in deploy/ in folders of their own: only addresses,
ports and paths are put in, and every place that is put in must be there."""

import os
import pathlib
import shutil
import socket
import subprocess
import time

DEPLOY = pathlib.Path(__file__).resolve().parent.parent.parent / "deploy"
# What the recipes say, with ports and addresses left out.
BIND = {"nginx": "listen {} ssl;", "haproxy": "bind :{} ssl "}
UPSTREAM = {"nginx": "server {};", "haproxy": "server stowage {} "}
START_SECONDS_MAX = 15
STOP_SECONDS_MAX = 15

# What surrounds the recipe in Debian's nginx.conf, with compression on for everything: the recipe
# must turn it off by itself.
NGINX_AROUND = """daemon off;
worker_processes 2;
pid {folder}/nginx.pid;
error_log {folder}/error.log warn;
{user}
events {{ worker_connections 1024; }}
http {{
    access_log {folder}/access.log;
    client_body_temp_path {folder}/temp-body;
    proxy_temp_path {folder}/temp-proxy;
    fastcgi_temp_path {folder}/temp-f;
    uwsgi_temp_path {folder}/temp-u;
    scgi_temp_path {folder}/temp-s;
    gzip on;
    gzip_types *;
    gzip_proxied any;
    gzip_min_length 1;
    include {folder}/stowage.conf;
}}
"""


class NotStarted(Exception):
    pass


def replaced(text, pairs):
    for old, new in pairs:
        if old not in text:
            raise AssertionError(f"the recipe holds no {old!r}")
        text = text.replace(old, new)
    return text


def free_port(host):
    with socket.socket() as s:
        s.bind((host, 0))
        return s.getsockname()[1]


def certificates(folder, names, usage="serverAuth"):
    """An authority, and a certificate "server" for names and addresses; returns the folder."""
    folder.mkdir()
    alt = ",".join(f"{'IP' if n[0].isdigit() else 'DNS'}:{n}" for n in names)
    (folder / "server.ext").write_text(f"subjectAltName={alt}\nextendedKeyUsage={usage}\n")
    key = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")
    for words in (
        ("req", "-x509", *key, "-keyout", "ca.key", "-out", "ca.crt", "-days", "2", "-subj",
         "/CN=test authority", "-addext", "keyUsage=critical,keyCertSign"),
        ("req", *key, "-keyout", "server.key", "-out", "server.csr", "-subj", f"/CN={names[0]}"),
        ("x509", "-req", "-in", "server.csr", "-CA", "ca.crt", "-CAkey", "ca.key", "-days", "2",
         "-CAcreateserial", "-extfile", "server.ext", "-out", "server.crt"),
    ):  # fmt: skip
        done = subprocess.run(("openssl", *words), cwd=folder, capture_output=True, check=False)
        if done.returncode:
            raise NotStarted(f"openssl {words[0]}: {done.stderr.decode()[-300:]}")
    pem = (folder / "server.crt").read_text() + (folder / "server.key").read_text()
    (folder / "server.pem").write_text(pem)
    return folder


class Proxy:
    """One running proxy: `port` is the server at the root, `below` the one with the prefix."""

    def __init__(self, kind, scratch, host, certs, upstream, upstream_below, change=(), below=None):
        self.kind = kind
        self.host = host
        self.port = free_port(host)
        self.below = below or free_port(host)
        count = len(os.listdir(scratch))
        self.folder = pathlib.Path(scratch) / f"{kind}-{count}"
        self.folder.mkdir()
        recipe = {"nginx": "nginx.conf", "haproxy": "haproxy.cfg"}[kind]
        bound = {"nginx": "listen {} ssl;", "haproxy": "bind {} ssl "}
        text = replaced((DEPLOY / recipe).read_text(encoding="utf-8"), change)
        text = replaced(text, (
            (BIND[kind].format("443"), bound[kind].format(f"{host}:{self.port}")),
            (BIND[kind].format("8443"), bound[kind].format(f"{host}:{self.below}")),
            ("/etc/ssl/stowage/", f"{certs}/"),
            (UPSTREAM[kind].format("127.0.0.1:5000"), UPSTREAM[kind].format(upstream)),
            (UPSTREAM[kind].format("127.0.0.1:5001"), UPSTREAM[kind].format(upstream_below)),
        ))  # fmt: skip
        self.process = None
        self.start(self.command(text))

    def command(self, text):
        if self.kind == "haproxy":
            (self.folder / "haproxy.cfg").write_text(text)
            return (find("haproxy"), "-db", "-f", str(self.folder / "haproxy.cfg"))
        (self.folder / "stowage.conf").write_text(text)
        user = "user root;" if os.geteuid() == 0 else ""
        around = NGINX_AROUND.format(folder=self.folder, user=user)
        (self.folder / "nginx.conf").write_text(around)
        return (find("nginx"), "-p", str(self.folder), "-e", str(self.folder / "error.log"), "-c",
                str(self.folder / "nginx.conf"))  # fmt: skip

    def start(self, command):
        with open(self.folder / "out.log", "wb") as out:
            self.process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=out, stderr=out, cwd=self.folder
            )
        deadline = time.monotonic() + START_SECONDS_MAX
        while time.monotonic() < deadline and self.process.poll() is None:
            try:
                socket.create_connection((self.host, self.port), 1).close()
                return
            except OSError:
                time.sleep(0.05)
        self.stop()
        raise NotStarted(f"{self.kind}: {self.log()[-500:]}")

    def log(self):
        logs = [self.folder / name for name in ("out.log", "error.log")]
        return "".join(p.read_text(errors="replace") for p in logs if p.exists())

    def files_of_bodies(self):
        """Files in which a process of nginx keeps bodies at this moment, deleted ones included."""
        found = []
        children = pathlib.Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        for pid in children.read_text().split():
            for fd in pathlib.Path(f"/proc/{pid}/fd").iterdir():
                try:
                    target = os.readlink(fd)
                except OSError:
                    continue
                if "/temp-" in target:
                    found.append(target)
        return found

    def stop(self):
        if self.process.poll() is None:
            self.process.terminate()
        try:
            self.process.wait(STOP_SECONDS_MAX)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def find(name):
    return shutil.which(name, path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")
