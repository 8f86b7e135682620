#!/usr/bin/env python3
"""Every test that docs/consistency.md names exists. Argument: the source root.

`api file.case`, and so for soak, fault, fsck: a function in tests/api/test_file.py; `unit
layer/file.name`: test_name in tests/unit/layer/test_file.c; `sim name`: a mutant of the simulator.
"""
import os
import re
import sys

import csource

PAGE = "docs/consistency.md"
PYTHON = ("api", "soak", "fault", "fsck", "copy", "events")
# A name in its backquotes begins with the suite.
PROOF = re.compile(r"`(" + "|".join(PYTHON) + r"|unit|sim) ([^` ]+)`")


def text_of(root, path):
    return csource.read(root, path) if os.path.exists(os.path.join(root, path)) else ""


def exists(root, suite, name):
    if suite == "sim":
        return f'X("{name}"' in text_of(root, "tests/sim/mutants.def")
    file, _, case = name.rpartition(".")
    if suite == "unit":
        folder, _, file = file.rpartition("/")
        return re.search(rf"^static void test_{re.escape(case)}\(",
                         text_of(root, f"tests/unit/{folder}/test_{file}.c"), re.M) is not None
    return re.search(rf"^def {re.escape(case)}\(", text_of(root, f"tests/{suite}/test_{file}.py"),
                     re.M) is not None


def check(root):
    faults = []
    for number, line in enumerate(text_of(root, PAGE).split("\n"), 1):
        for suite, name in PROOF.findall(line):
            if not exists(root, suite, name):
                faults.append(f"{PAGE}:{number}: there is no test `{suite} {name}`")
    return faults


if __name__ == "__main__":
    sys.exit(csource.report("proofs", check(sys.argv[1])))
