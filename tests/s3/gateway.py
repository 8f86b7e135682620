#!/usr/bin/env python3
"""Runs a command beside a real S3 server: versitygw, two processes on one directory.

    gateway.py [--path FOLDER] -- COMMAND...

The command finds the endpoints in STOWAGE_TEST_S3 (separated by a blank) and the credentials in
the usual AWS variables. Without versitygw it prints "missing: versitygw" and a line of no counts.
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


def find(path=None):
    """Where versitygw is, or None. path: folders to look in first."""
    return shutil.which("versitygw", path=os.pathsep.join(
        ([str(path)] if path else []) + [os.environ.get("PATH", "")]))


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


class Gateway:
    """versitygw processes that share one directory."""

    def __init__(self, binary, processes=2):
        self.binary = binary
        self.root = pathlib.Path(tempfile.mkdtemp(prefix="stowage-s3-"))
        self.procs = []
        self.endpoints = []
        self.buckets = 0
        (self.root / "data").mkdir()
        try:
            for _ in range(processes):
                self.start()
            self.await_all()
        except BaseException:
            self.close()
            raise

    def start(self, port=None):
        port = port or free_port()
        env = dict(os.environ, ROOT_ACCESS_KEY=sign.ACCESS, ROOT_SECRET_KEY=sign.SECRET)
        log = open(self.root / f"{port}.log", "ab")
        self.procs.append(subprocess.Popen(
            [self.binary, "-q", "--keep-alive", "--port", f"127.0.0.1:{port}",
             "posix", str(self.root / "data")],
            env=env, stdin=subprocess.DEVNULL, stdout=log, stderr=log))
        log.close()
        self.endpoints.append(f"http://127.0.0.1:{port}")

    def await_all(self):
        end = time.monotonic() + START_SECONDS
        for endpoint in self.endpoints:
            while True:
                try:
                    sign.request(endpoint, "GET", "/")
                    break
                except OSError:
                    if time.monotonic() > end:
                        raise
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
    parser.add_argument("--path", help="folder in which versitygw may lie")
    parser.add_argument("command", nargs="+")
    args = parser.parse_args()
    binary = find(args.path)
    if not binary:
        print("missing: versitygw")
        print("0 passed, 0 failed, 0 skipped")
        return 0
    with Gateway(binary) as gateway:
        env = dict(os.environ, **gateway.environ(), STOWAGE_TEST_BUCKET=gateway.bucket())
        return subprocess.run(args.command, env=env, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
