#!/usr/bin/env python3
"""No path of somebody's machine in any text file; no reminder left in the product. Argument: the
source root.
"""
import os
import re
import sys

import csource

MACHINE = re.compile(r"(?<![\w.$})])/(?:home|Users|root|work)/[A-Za-z0-9_.-]|/tmp/b-")
REMINDER = re.compile(r"\b(?:TODO|FIXME|XXX|HACK)\b")
ENDINGS = csource.C_ENDINGS + (".py", ".sh", ".md", ".txt", ".in", ".build", ".json", ".yml",
                               ".yaml", ".html", ".css", ".js", ".conf", ".service")
TOP = ("run.sh", "test.sh", "README.md", "meson.build", "meson_options.txt", ".gitignore",
       ".editorconfig", ".clang-format", ".ci/run")
FOLDERS = csource.LAYERS + ("tests", "conformance", "docs", "deploy", "tools")
SELF = ("tests/lint/words.py", "tests/lint/test_lints.py")


def check(root):
    paths = csource.files(root, FOLDERS, ENDINGS)
    paths += [p for p in TOP if os.path.exists(os.path.join(root, p))]
    faults = []
    for path in paths:
        if path in SELF:
            continue
        product = path.startswith(tuple(layer + "/" for layer in csource.LAYERS))
        for number, line in enumerate(csource.read(root, path).split("\n"), 1):
            if MACHINE.search(line):
                faults.append(f"{path}:{number}: path of one machine: {line.strip()[:80]}")
            if product and REMINDER.search(line):
                faults.append(f"{path}:{number}: reminder: {line.strip()[:80]}")
    return faults


if __name__ == "__main__":
    sys.exit(csource.report("words", check(sys.argv[1])))
