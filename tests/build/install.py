#!/usr/bin/env python3
"""`meson install` with DESTDIR puts the program, its manual page and the licence in place, and
nothing outside DESTDIR. Arguments: meson, the build folder, the source root, the prefix.
"""
import os
import stat
import subprocess
import sys
import tempfile


def installed(folder):
    return sorted(os.path.relpath(os.path.join(here, name), folder)
                  for here, _, names in os.walk(folder) for name in names)


def faults_in(folder, root, prefix):
    top = prefix.lstrip("/")
    program = os.path.join(top, "bin", "stowage")
    manual = os.path.join(top, "share", "man", "man1", "stowage.1")
    licence = os.path.join(top, "share", "licenses", "stowage", "LICENSE")
    found = installed(folder)
    if found != sorted([program, manual, licence]):
        yield f"installed files are {found}"
        return
    if stat.S_IMODE(os.stat(os.path.join(folder, program)).st_mode) != 0o755:
        yield "mode of the program is not 755"
    said = subprocess.run([os.path.join(folder, program), "version"], stdout=subprocess.PIPE,
                          check=False, timeout=30)
    if said.returncode != 0 or b"stowage" not in said.stdout.lower():
        yield f"the installed program does not tell its version: {said}"
    with open(os.path.join(folder, manual), encoding="utf-8") as opened:
        page = opened.read()
    for wanted in (".TH STOWAGE 1", ".SH NAME", "--listen" , "--root"):
        if wanted not in page.replace("\\-", "-"):
            yield f"the manual page lacks {wanted}"
    with open(os.path.join(folder, licence), encoding="utf-8") as opened:
        copied = opened.read()
    with open(os.path.join(root, "LICENSE"), encoding="utf-8") as opened:
        if copied != opened.read() or "Apache License" not in copied:
            yield "the licence is not LICENSE"


def main(meson, build, root, prefix):
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run([meson, "install", "-C", build, "--no-rebuild"], check=False,
                              env=dict(os.environ, DESTDIR=folder), timeout=60,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        if done.returncode != 0:
            sys.stdout.buffer.write(done.stdout)
            return 1
        faults = list(faults_in(folder, root, prefix))
    for fault in faults:
        print(fault)
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
