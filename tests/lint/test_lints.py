#!/usr/bin/env python3
"""Each lint catches what it is there for, and leaves alone what only looks like it: every case is
a small source tree with one planted fault, or none. Argument: the source root (for the style file).
"""
import os
import shutil
import sys
import tempfile
import unittest

import banned
import csource
import format as formatting
import imports
import length
import proofs
import words

ROOT = os.path.abspath(sys.argv.pop(1))
LONG_BODY = "    x++;\n" * 67
# Lint, name of the case, path, text, words of the expected fault (None: there is none).
CASES = [
    (imports, "upwards", "blobstore/a.c", '#include "manifests/name.h"\n', "blobstore may include"),
    (imports, "sideways", "auth/a.c", '#include "blobstore/store.h"\n', "auth may include"),
    (imports, "downwards", "registry/a.c", '#include "auth/token.h"\n', None),
    (imports, "no folder", "base/a.c", '#include "buf.h"\n', '"buf.h"'),
    (imports, "tests in the product", "base/a.c", '#include "tests/unit/x.h"\n', "base may include"),
    (imports, "with blanks", "base/a.h", '  #  include  "auth/a.h"\n', "base may include"),
    (imports, "in a comment", "base/a.c", '/*\n#include "auth/a.h"\n*/\n', None),
    (imports, "other's internal", "base/a.c", '#include "base/b_internal.h"\n', "belongs to base/b"),
    (imports, "own internal", "base/b_x.c", '#include "base/b_internal.h"\n', None),
    (imports, "owner", "base/json.c", "#include <jansson.h>\n", None),
    (imports, "not the owner", "base/log.c", "#include <jansson.h>\n", "belongs to base/json.c"),
    (imports, "header of the owner", "base/json.h", "#include <jansson.h>\n", "belongs to"),
    (imports, "folder of a library", "auth/a.c", "#include <openssl/evp.h>\n", "base/digest.c"),
    (imports, "unknown library", "base/a.c", "#include <zlib.h>\n", "no owner"),
    (imports, "C library", "base/a.c", "#include <sys/stat.h>\n#include <stdio.h>\n", None),
    (length, "70 lines", "base/a.c", "void f(int x)\n{\n" + LONG_BODY + "}\n", None),
    (length, "71 lines", "base/a.c", "void f(int x)\n{\n\n" + LONG_BODY + "}\n", "f() has 71"),
    (length, "in tests", "tests/unit/a.c", "int g(int x)\n{\n\n" + LONG_BODY + "}\n", "g() has 71"),
    (length, "in a build test", "tests/build/a.c", "int g(int x)\n{\n\n" + LONG_BODY + "}\n", "g()"),
    (length, "returns a struct", "base/a.c",
     "static struct s *f(int (*fn)(void), int x)\n{\n\n" + LONG_BODY + "}\n", "f() has 71"),
    (length, "brace in literals", "base/a.c",
     "void f(int x)\n{\n    g('}', \"}\\\"}\"); /* } */\n" + LONG_BODY + "}\n", "f() has 71"),
    (length, "two openings of one brace", "base/a.c",
     "void f(int x)\n{\n#ifdef A\n    if (x) {\n#else\n    if (!x) {\n#endif\n" + LONG_BODY
     + "    }\n}\nint h(void)\n{\n    return 0;\n}\n", "f() has 76"),
    (length, "long table", "base/a.c",
     "static const struct t cases[] = {\n" + "    {f(1)},\n" * 100 + "};\n", None),
    (length, "long packed type", "base/a.h",
     "struct __attribute__((packed)) s {\n" + "    int a;\n" * 100 + "};\n", None),
    (length, "800 lines", "base/a.h", "\n" * 800, None),
    (length, "801 lines", "base/a.h", "\n" * 801, "801 lines"),
    (length, "script", "tests/api/run.py", "\n" * 801, "801 lines"),
    (banned, "strcpy", "registry/a.c", "void f(void) { strcpy (a, b); }\n", "strcpy: is banned"),
    (banned, "in tests", "tests/unit/a.c", "int x = atoi(s);\n", "atoi: is banned"),
    (banned, "in base", "base/clock.c", "t = gmtime(&s);\n", "gmtime: is banned"),
    (banned, "reentrant", "base/clock.c", "t = gmtime_r(&s, &t);\n", None),
    (banned, "in a macro", "base/a.h", "#define X(a) \\\n    sprintf(a, a)\n", "a.h:2: sprintf"),
    (banned, "comment and literal", "auth/a.c", 'f("strcpy(a)"); /* strcpy(a) */ // atoi(s)\n', None),
    (banned, "part of a name", "auth/a.c", "my_time(1); xtime(1); s->time(1); s.rand(2);\n", None),
    (banned, "raw clock", "auth/a.c", "t = time(NULL);\n", "time: only through base"),
    (banned, "raw clock by pointer", "auth/a.c", "fn = clock_gettime;\n", "only through base"),
    (banned, "raw thread", "registry/a.c", "pthread_mutex_t mu;\n", "pthread_mutex_t: only"),
    (banned, "raw random", "blobstore/a.c", "getrandom(p, n, 0);\n", "getrandom: only"),
    (banned, "raw sleep", "tests/unit/auth/a.c", "usleep(1);\n", "usleep: only"),
    (banned, "raw in base", "base/thread.c", "pthread_create(a); usleep(1);\n", None),
    (words, "home", "docs/a.md", "see /home/" + "someone/x\n", "path of one machine"),
    (words, "address with that path", "docs/a.md", "https://example.org/home/" + "x\n", None),
    (words, "reminder", "auth/a.c", "/* TO" + "DO: later */\n", "reminder"),
    (words, "reminder elsewhere", "tests/a.py", "# TO" + "DO\n", None),
    (words, "template of mkdtemp", "auth/a.c", 'char t[] = "XXXXXX";\n', None),
    (proofs, "no such case", "docs/consistency.md", "text `api gone.case`\n", "no test `api gone.case`"),
    (proofs, "no such mutant", "docs/consistency.md", "`sim gone`, `other x`\n", "no test `sim gone`"),
    (proofs, "other words", "docs/consistency.md", "`stowage fsck x`, `api`\n", None),
    (proofs, "a threat without its test", "docs/security.md", "| threat | | |\n| x | y | `routes.gone` |\n", "no test `routes.gone`"),
    (proofs, "a threat without any", "docs/security.md", "| threat | | |\n| x | y | z |\n", "no test is named"),
    (proofs, "other tables", "docs/security.md", "| who | `x` |\n", None),
    (formatting, "two blanks", "base/a.c", "int  a;\n", "a.c:1"),
    (formatting, "wide", "base/a.c", "int a" + "b" * 60 + ", c" + "d" * 60 + ";\n", "a.c:1"),
    (formatting, "formatted", "base/a.c", "int a;\n", None),
]


def faults_of(lint, root):
    if lint is formatting:
        return lint.check(root, lint.tool())
    return lint.check(root)


class Lints(unittest.TestCase):
    def run_case(self, lint, path, text, expected):
        with tempfile.TemporaryDirectory() as root:
            shutil.copy(os.path.join(ROOT, ".clang-format"), root)
            os.makedirs(os.path.dirname(os.path.join(root, path)))
            with open(os.path.join(root, path), "w", encoding="utf-8") as out:
                out.write(text)
            faults = faults_of(lint, root)
        if expected is None:
            self.assertEqual(faults, [])
        else:
            self.assertEqual(len(faults), 1, faults)
            self.assertIn(path, faults[0])
            self.assertIn(expected, faults[0])

    def test_cases(self):
        for lint, name, path, text, expected in CASES:
            if lint is formatting and not lint.tool():
                continue
            with self.subTest(lint=lint.__name__, case=name):
                self.run_case(lint, path, text, expected)

    def test_lines_stay(self):
        text = 'a /* b\nc */ "d\\"" // e\nf\n'
        for stripped in (csource.without_comments(text), csource.without_literals(text)):
            self.assertEqual([len(line) for line in stripped.split("\n")],
                             [len(line) for line in text.split("\n")])

    def test_functions(self):
        text = ("#define F(x) \\\n    { x }\nstruct s {\n    int a;\n};\n"
                "static int a(void)\n{\n    return 1;\n}\n\nint b(struct s x) { return x.a; }\n")
        self.assertEqual(list(csource.functions(text)), [("a", 6, 9), ("b", 11, 11)])


if __name__ == "__main__":
    unittest.main()
