#!/usr/bin/env python3
"""Every test that docs/consistency.md and docs/security.md name exists. Argument: the source root.

`api file.case`, and so for soak, fault, fsck: a function in tests/api/test_file.py; `unit
layer/file.name`: test_name in tests/unit/layer/test_file.c; `sim name`: a mutant of the simulator.

docs/security.md is a table whose last column names tests: `file.case`, a function in test_file.py of
one of its folders; `layer/file`, a unit test, and `test_name` behind it one of its functions.
"""
import os
import re
import sys

import csource

PAGE = "docs/consistency.md"
THREATS = "docs/security.md"
THREAT_FOLDERS = ("auth", "api", "events")
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


def threat_tests(root, number, cell):
    """Faults of one threat's last column."""
    unit = ""
    named = re.findall(r"`([^` ]+)`", cell)
    faults = [] if named else [f"{THREATS}:{number}: no test is named"]
    for name in named:
        if name.startswith("tests/"):
            found = os.path.isdir(os.path.join(root, name))
        elif "/" in name:
            folder, _, file = name.partition("/")
            unit = text_of(root, f"tests/unit/{folder}/test_{file}.c")
            found = unit != ""
        elif name.startswith("test_"):
            found = f"static void {name}(" in unit
        else:
            file, _, case = name.partition(".")
            texts = (text_of(root, f"tests/{f}/test_{file}.py") for f in THREAT_FOLDERS)
            found = any(re.search(rf"^def {re.escape(case)}\(", text, re.M) for text in texts)
        if not found:
            faults.append(f"{THREATS}:{number}: there is no test `{name}`")
    return faults


def check_threats(root):
    faults, within = [], False
    for number, line in enumerate(text_of(root, THREATS).split("\n"), 1):
        if line.startswith("| "):
            if within:
                faults += threat_tests(root, number, line.split("|")[-2])
        elif not line.startswith("|---"):
            within = False
        within |= line.startswith("| threat ")
    return faults


def check(root):
    faults = check_threats(root)
    for number, line in enumerate(text_of(root, PAGE).split("\n"), 1):
        for suite, name in PROOF.findall(line):
            if not exists(root, suite, name):
                faults.append(f"{PAGE}:{number}: there is no test `{suite} {name}`")
    return faults


if __name__ == "__main__":
    sys.exit(csource.report("proofs", check(sys.argv[1])))
