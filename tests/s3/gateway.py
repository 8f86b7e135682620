#!/usr/bin/env python3
"""Runs a command beside a real S3 server: versitygw, two processes on one directory; or another one.

    gateway.py [--path FOLDER] [--server NAME] -- COMMAND...

The command finds the endpoints in STOWAGE_TEST_S3 (separated by a blank) and the credentials in
the usual AWS variables. Without the server it prints "missing: NAME" and a line of no counts.
Also a module: with Gateway(binary) as g: g.endpoints, g.bucket(), g.environ().
"""

import argparse
import os
import pathlib
import shutil
import socket
import subprocess
import sys
import tempfile
import time

import sign

START_SECONDS = 20


# How each server is started: (several processes may share a directory, environment, arguments).
SERVERS = {
    "versitygw": (True, {"ROOT_ACCESS_KEY": sign.ACCESS, "ROOT_SECRET_KEY": sign.SECRET},
                  ("-q", "--keep-alive", "--port", "{address}", "posix", "{data}")),
    "minio": (False, {"MINIO_ROOT_USER": sign.ACCESS, "MINIO_ROOT_PASSWORD": sign.SECRET,
                      "MINIO_BROWSER": "off", "MINIO_UPDATE": "off"},
              ("server", "--quiet", "--address", "{address}", "{data}")),
    "rclone": (False, {},
               ("serve", "s3", "--config", "/dev/null", "--addr", "{address}",
                "--auth-key", f"{sign.ACCESS},{sign.SECRET}", "{data}")),
}


def find(path=None, server="versitygw"):
    """Where the server's program is, or None. path: folders to look in first."""
    return shutil.which(server, path=os.pathsep.join(
        ([str(path)] if path else []) + [os.environ.get("PATH", "")]))


def add_arguments(parser):
    parser.add_argument("--path", help="folder in which the server may lie")
    parser.add_argument("--server", default="versitygw", choices=sorted(SERVERS))


def found(args):
    """The program that add_arguments() asks for; None after saying that it is missing."""
    binary = find(args.path, args.server)
    if not binary:
        print(f"missing: {args.server}\n0 passed, 0 failed, 0 skipped")
    return binary


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def answers(endpoint):
    try:
        return sign.request(endpoint, "GET", "/")[0] == 200
    except OSError:
        return False


class Gateway:
    """A server: processes that share one directory, where it can be served by several, else one whose
    endpoint is told as often as that."""

    def __init__(self, binary, processes=2):
        self.binary = binary
        self.shared, self.settings, self.words = SERVERS[pathlib.Path(binary).name]
        self.root = pathlib.Path(tempfile.mkdtemp(prefix="stowage-s3-"))
        self.procs = []
        self.endpoints = []
        self.buckets = 0
        (self.root / "data").mkdir()
        try:
            for _ in range(processes if self.shared else 1):
                self.start()
            self.endpoints += self.endpoints[:1] * (processes - len(self.endpoints))
            self.await_all()
        except BaseException:
            self.close()
            raise

    def start(self, port=None):
        port = port or free_port()
        env = {**os.environ, **self.settings, "HOME": str(self.root)}
        words = [one.format(address=f"127.0.0.1:{port}", data=self.root / "data") for one in self.words]
        with open(self.root / f"{port}.log", "ab") as log:
            self.procs.append(subprocess.Popen([self.binary, *words], env=env, stdin=subprocess.DEVNULL,
                                               stdout=log, stderr=log))
        self.endpoints.append(f"http://127.0.0.1:{port}")

    def await_all(self):
        end = time.monotonic() + START_SECONDS
        for endpoint in self.endpoints:
            while not answers(endpoint):
                if time.monotonic() > end:
                    raise RuntimeError(f"{self.binary} does not answer at {endpoint}")
                time.sleep(0.05)

    def bucket(self):
        """A new bucket's name."""
        self.buckets += 1
        name = f"bucket-{os.getpid()}-{self.buckets}"
        status, _, body = sign.request(self.endpoints[0], "PUT", "/" + name)
        if status != 200:
            raise RuntimeError(f"no bucket: {status} {body[:300]!r}")
        return name

    def environ(self):
        """What a client needs in its environment."""
        return {"AWS_ACCESS_KEY_ID": sign.ACCESS, "AWS_SECRET_ACCESS_KEY": sign.SECRET,
                "AWS_REGION": sign.REGION, "AWS_EC2_METADATA_DISABLED": "true",
                "STOWAGE_TEST_S3": " ".join(self.endpoints)}

    def close(self):
        for proc in self.procs:
            proc.terminate()
        for proc in self.procs:
            try:
                proc.wait(10)
            except subprocess.TimeoutExpired:
                proc.kill()
                proc.wait()
        shutil.rmtree(self.root, ignore_errors=True)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    add_arguments(parser)
    parser.add_argument("command", nargs="+")
    args = parser.parse_args()
    binary = found(args)
    if not binary:
        return 0
    with Gateway(binary) as gateway:
        env = dict(os.environ, **gateway.environ(), STOWAGE_TEST_BUCKET=gateway.bucket())
        return subprocess.run(args.command, env=env, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
