#!/usr/bin/env python3
"""What was answered is durable: traces the directory store and checks the order of its calls; then shows
that the checker would see each fault. Arguments: the program order_writes, the library recorder (or
"none" where it cannot be preloaded, as in sanitized builds)."""
import os
import subprocess
import sys
import tempfile
import unittest

import syscalls

PROGRAM, RECORDER = sys.argv[1:3]
WANT = ["log", "log again", "record", "data", "link", "upload", "hint", "commit"]


def run(command, env):
    env = dict(os.environ, ASAN_OPTIONS="detect_leaks=0", **env)  # the leak checker cannot be traced
    done = subprocess.run(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=60,
                          text=True, check=False)
    if done.returncode != 0:
        raise AssertionError(f"status {done.returncode}: {done.stderr}")
    said = done.stdout.split("\n")[:-1]
    want = ["done open"] + ["done " + w for w in WANT[:-1]] + ["done save", "done commit"]
    assert said == want, said


def traced(how):
    """The calls of one run, and its root."""
    with tempfile.TemporaryDirectory() as folder:
        folder = os.path.realpath(folder)
        root, output = os.path.join(folder, "root"), os.path.join(folder, "trace")
        if how == "strace":
            run(syscalls.strace_command(output) + [PROGRAM, root], {})
        else:
            run([PROGRAM, root], {"LD_PRELOAD": RECORDER, "STOWAGE_RECORD": output})
        with open(output, encoding="utf-8", errors="replace") as file:
            return syscalls.parse(file), root


class Order(unittest.TestCase):
    def check_run(self, how):
        calls, root = traced(how)
        told = syscalls.answers(calls, r'"done ')
        self.assertEqual(len(told), len(WANT) + 2)
        self.assertEqual(len(syscalls.objects(calls, root)), len(WANT))
        self.assertEqual(syscalls.check(calls, root, told), [])
        self.check_stream(calls, root)
        self.check_catches(calls, root)

    def check_stream(self, calls, root):
        """save() synced the file and the folder that holds its name."""
        saved = syscalls.answers(calls, '"done save')[0]
        before = [c for c in calls if c.end < saved]
        file = os.path.join(root, ".stream", "data!cd!cdef")
        writes = [c for c in before if c.name == "pwrite64" and c.fd(0)[1] == file]
        self.assertTrue(any(c.name == "fdatasync" and c.fd(0)[1] == file and c.begin > writes[-1].end
                            for c in before))
        self.assertTrue(any(c.name == "fsync" and c.fd(0)[1] == os.path.join(root, ".stream")
                            for c in before[-3:]))

    def check_catches(self, calls, root):
        """The checker complains when any one of the syncs behind the start is left out, so there is none
        too many, either; and when an answer comes before its last sync."""
        told = syscalls.answers(calls, r'"done ')
        stream, saved = os.path.join(root, ".stream"), told[-2]
        for i, call in enumerate(calls):
            if call.name not in syscalls.SYNCS or call.begin < told[0]:
                continue
            if call.fd(0)[1].startswith(stream) and call.end < saved:
                continue  # of the save, see check_stream
            if not syscalls.check(calls[:i] + calls[i + 1:], root, told):
                self.fail(f"not missed: {call}")
        for i, link in enumerate(syscalls.objects(calls, root)):
            early = [link.end + 0.5] + told
            faults = syscalls.check_link(calls, link, root, early)
            self.assertEqual(bool(faults), WANT[i] not in ("upload", "hint"), WANT[i])

    def test_strace(self):
        if not syscalls.strace_works():
            self.skipTest("tracing is missing or refused here; the recorder serves")
        self.check_run("strace")

    def test_recorder(self):
        if RECORDER == "none":
            self.skipTest("nothing can be preloaded into a sanitized program; strace serves")
        self.check_run("recorder")


class Parser(unittest.TestCase):
    def test_interrupted_calls(self):
        calls = syscalls.parse([
            '12 fdatasync(5</r/.tmp/#7 (deleted)> <unfinished ...>\n',
            '13 linkat(AT_FDCWD</>, "/proc/self/fd/5", 6</r/a>, "b, c", AT_SYMLINK_FOLLOW) = 0\n',
            '12 <... fdatasync resumed>) = 0\n',
            '13 linkat(3</r/.tmp>, "x", 6</r/a>, "d", 0) = -1 EEXIST (File exists)\n',
            '13 linkat(5</r/.tmp/#8 (deleted)>, "", 6</r/a>, "e", AT_EMPTY_PATH) = 0\n',
            '13 +++ exited with 0 +++\n',
        ])
        self.assertEqual([c.name for c in calls], ["linkat", "fdatasync", "linkat", "linkat"])
        self.assertEqual((calls[1].begin, calls[1].end), (0, 2))
        self.assertEqual(calls[0].text(3), "b, c")
        self.assertEqual(calls[0].text(1), "/proc/self/fd/5")
        self.assertEqual(calls[2].result, -1)
        self.assertEqual([syscalls.descriptor_of(calls[i]) for i in (0, 2, 3)], ["5", None, "5"])

    def test_without_either_nothing_is_shown(self):
        if not syscalls.strace_works() and RECORDER == "none":
            self.fail("neither tracing nor preloading works here, so the order was not checked")


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1])
