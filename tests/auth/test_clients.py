"""Real clients log in, push, pull, mount and are refused, in both modes. A program that is not there
is a line `missing: NAME` and a skip."""

import json
import os
import pathlib
import shutil
import subprocess

import oci
import people
from harness import Skip, case
from people import Door

POLICY = """
allow user:alice ** *
allow user:bob ** pull
allow anonymous public/** pull
"""
SECONDS_MAX = 60
ANYTHING = '{"default":[{"type":"insecureAcceptAnything"}]}'


class Client:
    """A client's program with a home of its own."""

    def __init__(self, t, name, door):
        if not shutil.which(name):
            print(f"missing: {name}")
            raise Skip(f"{name} is not here")
        self.t, self.name, self.home = t, name, t.scratch()
        (self.home / "policy.json").write_text(ANYTHING)
        (self.home / "auth.json").write_text("{}")
        (self.home / ".config" / "containers").mkdir(parents=True)
        (self.home / ".config" / "containers" / "policy.json").write_text(ANYTHING)
        _, host, port = door.server.addr
        self.registry = f"{host}:{port}"
        self.env = {
            "PATH": os.environ["PATH"],
            "HOME": str(self.home),
            "XDG_RUNTIME_DIR": str(self.home),
            "REGISTRY_AUTH_FILE": str(self.home / "auth.json"),
            "LC_ALL": "C.UTF-8",
        }

    def run(self, *words, ok=True):
        done = subprocess.run(
            [self.name, *words], capture_output=True, text=True, timeout=SECONDS_MAX, env=self.env
        )
        said = (done.stdout + done.stderr).strip()
        self.t.true((done.returncode == 0) == ok, f"{'done' if ok else 'refused'}: {words}", said)
        return said


def layout(t):
    """An OCI layout with one image; returns its folder."""
    folder, layer = t.scratch(), b"\0" * 1024  # an empty tar
    config = oci.dump(
        {"architecture": "amd64", "os": "linux", "config": {},
         "rootfs": {"type": "layers", "diff_ids": [oci.digest(layer)]}}
    )  # fmt: skip
    doc = oci.dump(
        oci.image_doc(oci.descriptor(config, oci.CONFIG), [oci.descriptor(layer, oci.LAYER)])
    )
    oci.layout_tar(folder / "image.tar", [layer, config, doc], oci.descriptor(doc, oci.IMAGE), "v1")
    shutil.unpack_archive(folder / "image.tar", folder / "image")
    return folder / "image"


def flow(t, mode):
    d = Door(t, "--auth-mode", mode, users=("alice", "bob"), policy=POLICY)
    c = Client(t, "skopeo", d)
    tls, image = "--dest-tls-verify=false", f"oci:{layout(t)}:v1"
    plain = ("--src-tls-verify=false", tls)
    to = f"docker://{c.registry}"
    as_alice = f"alice:{people.PASSWORD}"

    def copy(source, target, *words, ok=True):
        return c.run("--policy", str(c.home / "policy.json"), "copy", *words, source, target, ok=ok)

    copy(image, f"{to}/a/x:v1", tls, ok=False)
    copy(image, f"{to}/a/x:v1", tls, "--dest-creds", "alice:wrong", ok=False)
    copy(image, f"{to}/a/x:v1", tls, "--dest-creds", f"bob:{people.PASSWORD}", ok=False)
    c.run("login", "--tls-verify=false", "-u", "alice", "-p", "wrong", c.registry, ok=False)
    c.run("login", "--tls-verify=false", "-u", "alice", "-p", people.PASSWORD, c.registry)
    copy(image, f"{to}/a/x:v1", tls)
    copy(f"{to}/a/x:v1", f"{to}/public/y:v1", *plain)
    c.run("delete", "--tls-verify=false", f"{to}/a/x:v1")
    c.run("logout", c.registry)
    out = c.home / "out"
    if mode == "bearer":  # R112: without credentials, and by podman's empty ones
        copy(f"{to}/public/y:v1", f"oci:{out}:v1", "--src-tls-verify=false")
    copy(f"{to}/a/x:v1", f"oci:{out}:v2", "--src-tls-verify=false", ok=False)
    copy(f"{to}/public/y:v1", f"oci:{out}:v3", "--src-tls-verify=false", "--src-creds", as_alice)
    index = json.loads(pathlib.Path(out / "index.json").read_text(encoding="utf-8"))
    t.true(index["manifests"], "something was pulled")


def podman_flow(t, mode):
    d = Door(t, "--auth-mode", mode, users=("alice", "bob"), policy=POLICY)
    c = Client(t, "podman", d)
    store = ("--root", str(c.home / "store"), "--runroot", str(c.home / "run"),
             "--storage-driver", "vfs")  # fmt: skip
    plain, image = "--tls-verify=false", layout(t)

    def podman(*words, ok=True):
        return c.run(*store, *words, ok=ok)

    podman("pull", "-q", f"oci:{image}:v1")
    name = podman("images", "-q").split()[0]
    target = f"{c.registry}/a/x:v1"
    podman("push", "-q", plain, name, target, ok=False)
    podman("login", plain, "-u", "alice", "-p", "wrong", c.registry, ok=False)
    podman("login", plain, "-u", "bob", "-p", people.PASSWORD, c.registry)
    podman("push", "-q", plain, name, target, ok=False)
    podman("login", plain, "-u", "alice", "-p", people.PASSWORD, c.registry)
    podman("push", "-q", plain, name, target)
    podman("push", "-q", plain, name, f"{c.registry}/public/y:v1")
    podman("pull", "-q", plain, target)
    podman("logout", c.registry)
    podman("pull", "-q", plain, target, ok=False)
    if mode == "bearer":
        podman("pull", "-q", plain, f"{c.registry}/public/y:v1")


@case("R110", "R113", server="")
def podman_by_password(t):
    """podman in Basic mode."""
    podman_flow(t, "basic")


@case("R111", "R112", "R115", server="")
def podman_by_token(t):
    """podman in Bearer mode, with anonymous pulls."""
    podman_flow(t, "bearer")


@case("R110", "R113", "R114", server="")
def skopeo_by_password(t):
    """skopeo in Basic mode."""
    flow(t, "basic")


@case("R111", "R112", "R114", "R115", "R117", server="")
def skopeo_by_token(t):
    """skopeo in Bearer mode, with anonymous pulls."""
    flow(t, "bearer")
