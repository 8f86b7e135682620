#!/usr/bin/env python3
"""Every C file is as clang-format 14 leaves it. Argument: the source root. Without that version
the lint is skipped (status 77) and says what is missing.
"""
import os
import shutil
import subprocess
import sys

import csource

VERSION = "14"
FOLDERS = csource.LAYERS + ("tests",)
SKIPPED = 77


def tool():
    for name in ("clang-format-" + VERSION, "clang-format"):
        path = shutil.which(name)
        if path:
            said = subprocess.run([path, "--version"], stdout=subprocess.PIPE, check=False).stdout
            if f"version {VERSION}." in said.decode():
                return path
    return None


def check(root, formatter):
    paths = csource.files(root, FOLDERS, (".c", ".h"))
    if not paths:
        return []
    style = os.path.join(os.path.abspath(root), ".clang-format")
    done = subprocess.run([formatter, "--dry-run", "-Werror", "--style=file:" + style, *paths],
                          cwd=root, stderr=subprocess.PIPE, check=False)
    said = done.stderr.decode(errors="replace").split("\n")
    faults = [line for line in said if "[-Wclang-format-violations]" in line]
    if done.returncode != 0 and not faults:
        faults = said
    return faults


def main(root):
    formatter = tool()
    if not formatter:
        print(f"missing: clang-format {VERSION}")
        return SKIPPED
    return csource.report("format", check(root, formatter))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
