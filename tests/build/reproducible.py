#!/usr/bin/env python3
"""Two builds of the same source, in folders of other names and at other depths, one with its build
folder inside the source and one beside it, give the same bytes.

Arguments: meson, the source root, the C compiler.
"""
import os
import shutil
import subprocess
import sys
import tempfile

# What a build reads; nothing else is copied, so nothing else can matter.
SOURCE = ("meson.build", "meson_options.txt", "LICENSE", "base", "blobstore", "manifests", "auth",
          "registry", "tools")
BUILD_S = 300


def copy(root, target):
    for name in SOURCE:
        origin = os.path.join(root, name)
        if os.path.isdir(origin):
            shutil.copytree(origin, os.path.join(target, name))
        else:
            shutil.copy(origin, target)
    os.mkdir(os.path.join(target, "tests"))
    with open(os.path.join(target, "tests", "meson.build"), "w", encoding="utf-8"):
        pass


def build(meson, source, folder, compiler):
    """Returns the bytes of the program and of its manual page."""
    env = dict(os.environ, CC=compiler)
    for command in ([meson, "setup", folder, source], [meson, "compile", "-C", folder]):
        done = subprocess.run(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                              check=False, timeout=BUILD_S)
        if done.returncode != 0:
            sys.stdout.buffer.write(done.stdout)
            raise SystemExit(1)
    outputs = []
    for name in ("stowage", "stowage.1"):
        with open(os.path.join(folder, name), "rb") as opened:
            outputs.append(opened.read())
    return outputs


def main(meson, root, compiler):
    with tempfile.TemporaryDirectory() as scratch:
        one = os.path.join(scratch, "one")
        two = os.path.join(scratch, "another-name", "deeper")
        for source in (one, two):
            os.makedirs(source)
            copy(root, source)
        first = build(meson, one, os.path.join(one, "build"), compiler)
        second = build(meson, two, os.path.join(scratch, "elsewhere", "out"), compiler)
        faults = [name for name, a, b in zip(("program", "manual page"), first, second) if a != b]
        if scratch.encode() in first[0]:
            faults.append("program names its build folder")
    for fault in faults:
        print("differs:", fault)
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
