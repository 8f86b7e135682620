#!/usr/bin/env python3
"""elf.py sees what is missing: tiny programs linked with one protection left out.
Argument: the C compiler.
"""
import os
import subprocess
import sys
import tempfile
import unittest

import elf

COMPILER = sys.argv.pop(1)
SOURCE = """
#include <stdio.h>
#include <string.h>
int main(int argc, char **argv)
{
    char text[16];
    (void)argc;
    memset(text, 0, sizeof(text));
    strncpy(text, argv[0], strlen(argv[0]));
    return puts(text);
}
"""
GOOD = ["-O2", "-fPIE", "-pie", "-fstack-protector-strong", "-U_FORTIFY_SOURCE",
        "-D_FORTIFY_SOURCE=2", "-Wl,-z,relro,-z,now,-z,noexecstack"]
CASES = [
    ("nothing", [], None),
    ("pie", ["-fno-pie", "-no-pie"], "position-independent executable"),
    ("relro", ["-Wl,-z,norelro"], "GNU_RELRO segment"),
    ("now", ["-Wl,-z,lazy"], "BIND_NOW"),
    ("stack", ["-Wl,-z,execstack"], "GNU_STACK not executable"),
    ("run path", ["-Wl,-rpath,/opt"], "no RPATH or RUNPATH"),
    ("protector", ["-fno-stack-protector"], "stack protector"),
    ("fortify", ["-U_FORTIFY_SOURCE"], "checked libc calls"),
]


class ElfTest(unittest.TestCase):
    def test_left_out(self):
        for name, options, fault in CASES:
            with self.subTest(name), tempfile.TemporaryDirectory() as folder:
                program = os.path.join(folder, "p")
                subprocess.run([COMPILER, "-w", "-x", "c", "-", "-o", program, *GOOD, *options],
                               input=SOURCE.encode(), check=True, timeout=60)
                with open(program, "rb") as opened:
                    results = elf.checks(elf.Elf(opened.read()), True)
                    faults = [wanted for wanted, true in results if not true]
                self.assertEqual([fault] if fault else [], faults)


if __name__ == "__main__":
    unittest.main()
