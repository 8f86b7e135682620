#!/usr/bin/env python3
"""Proves that the load tool counts right, against servers whose behaviour is known.

usage: selftest.py BENCH_LOAD BENCH_BARE

The bare server keeps its own count of requests, burns a known CPU time, takes a known amount of
memory, and serves wrong answers on purpose; the tool's figures must agree with all of them.
"""
import hashlib
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import unittest

sys.dont_write_bytecode = True
import rows as rows_module
import run
import table

LOAD, BARE = sys.argv[1:3] if len(sys.argv) > 2 else ("", "")
MANIFEST = bytes(ord("a") + i % 26 for i in range(1024))
SPIN_US = 2000
GROW_KIB = 32 * 1024


class Bare:
    """A bench_bare process; counts() ends it and gives its own totals."""

    def __init__(self, *args):
        self.process = subprocess.Popen([BARE, *args], stdout=subprocess.PIPE, text=True)
        self.url = self.process.stdout.readline().split()[-1]

    def counts(self):
        self.process.send_signal(signal.SIGTERM)
        words = self.process.stdout.read().split()
        self.process.stdout.close()
        self.process.wait(10)
        return int(words[1]), int(words[3])

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.counts()


def load(server, scenario, *args, status=0):
    done = subprocess.run(
        [LOAD, "--url", server.url, "--pid", str(server.process.pid), "--scenario", scenario,
         "--json", *map(str, args)], stdout=subprocess.PIPE, text=True, timeout=60)
    if done.returncode != status:
        raise AssertionError(f"status {done.returncode}, wanted {status}: {done.stdout}")
    return json.loads(done.stdout)


def get(server, path, *args, **kw):
    return load(server, "get-path", "--path", path, *args, **kw)


class Counting(unittest.TestCase):
    def test_operations_are_those_the_server_saw(self):
        with Bare("mhd") as server:
            got = get(server, "/manifest", "--cold", "--ops", 500, "--clients", 7, "--length", 1024)
            self.assertEqual((got["ops"], got["requests"], got["connects"]), (500, 500, 7))
            self.assertEqual(got["bytes"], 500 * 1024)
            self.assertEqual(server.counts()[0], 500)

    def test_timed_window(self):
        with Bare("mhd") as server:
            got = get(server, "/manifest", "--cold", "--seconds", 0.4, "--clients", 3)
            self.assertEqual(server.counts()[0], got["ops"])
        self.assertTrue(0.4 <= got["seconds"] < 1.4, got["seconds"])
        self.assertAlmostEqual(got["ops_per_s"], got["ops"] / got["seconds"], delta=1)

    def test_warm_up_is_not_counted(self):
        with Bare("mhd") as server:
            got = get(server, "/manifest", "--ops", 100, "--clients", 2)
            self.assertEqual(got["ops"], 100)
            self.assertEqual(server.counts()[0], 100 + 2 * 64)

    def test_digests_of_samples(self):
        digest = "sha256:" + hashlib.sha256(MANIFEST).hexdigest()
        with Bare("mhd") as server:
            got = get(server, "/manifest", "--ops", 160, "--length", 1024, "--digest", digest)
            self.assertEqual(got["digests_checked"], 10)

    def test_connections_the_server_ends(self):
        with Bare("mhd") as server:
            got = get(server, "/close", "--cold", "--ops", 50, "--clients", 2)
        self.assertEqual((got["ops"], got["errors"]), (50, 0))
        self.assertGreaterEqual(got["connects"], 50)


class Measuring(unittest.TestCase):
    def test_cpu_and_latency(self):
        with Bare("mhd") as server:
            got = get(server, "/spin", "--cold", "--ops", 60, "--clients", 1)
        self.assertTrue(SPIN_US <= got["cpu_us_per_op"] < SPIN_US * 1.5, got["cpu_us_per_op"])
        self.assertGreaterEqual(got["p50_us"], SPIN_US * 0.99)
        self.assertLessEqual(got["p50_us"], got["p99_us"])
        self.assertLessEqual(got["p99_us"], got["max_us"])

    def test_memory(self):
        with Bare("mhd") as server:
            got = get(server, "/grow", "--cold", "--ops", 2, "--clients", 1)
        grown = got["after"]["anon_kib"] - got["before"]["anon_kib"]
        self.assertTrue(2 * GROW_KIB <= grown < 2 * GROW_KIB + 1024, grown)
        self.assertGreaterEqual(got["after"]["peak_kib"], got["after"]["rss_kib"])

    def test_uploads(self):
        size = 3 * 2**20 + 12345
        with tempfile.TemporaryDirectory() as folder, Bare("receive", folder) as server:
            got = load(server, "put-raw", "--cold", "--ops", 6, "--clients", 2, "--bytes", size)
            self.assertEqual((got["ops"], got["bytes"], got["digests_checked"]), (6, 6 * size, 6))
            self.assertGreater(got["gap_max_ms"], 0)
            self.assertEqual(server.counts(), (6, 6 * size))

    def test_files(self):
        with tempfile.NamedTemporaryFile() as file:
            body = os.urandom(2**20) * 3 + b"end"
            file.write(body)
            file.flush()
            with Bare("mhd", file.name) as server:
                digest = "sha256:" + hashlib.sha256(body).hexdigest()
                got = get(server, "/blob", "--ops", 4, "--clients", 1, "--length", len(body),
                          "--digest", digest)
        self.assertEqual(got["bytes"], 4 * len(body))
        self.assertAlmostEqual(got["cpu_s_per_gib"], got["cpu_s"] / (got["bytes"] / 2**30), 3)


class Refusing(unittest.TestCase):
    def test_wrong_answers(self):
        digest = "sha256:" + hashlib.sha256(MANIFEST).hexdigest()
        cases = [("/short", ["--length", 1024], "length 1023"),
                 ("/wrong", ["--length", 1024, "--digest", digest], "body is sha256:"),
                 ("/missing", [], "status 404")]
        with Bare("mhd") as server:
            for path, args, why in cases:
                got = get(server, path, "--cold", "--clients", 1, "--ops", 3, *args, status=1)
                self.assertGreaterEqual(got["errors"], 1)
                self.assertIn(why, got["first_error"])

    def test_only_loopback(self):
        for url in ["http://192.0.2.1:80", "http://localhost.example:80", "https://127.0.0.1:1",
                    "http://127.0.0.1", "http://127.0.0.1:0", "http://127.0.0.1:80/v2/"]:
            done = subprocess.run([LOAD, "--url", url, "--pid", str(os.getpid()), "--scenario",
                                   "get-path"], stderr=subprocess.PIPE, timeout=10)
            self.assertEqual(done.returncode, 2, url)

    def test_another_process(self):
        with Bare("mhd") as server:
            done = subprocess.run([LOAD, "--url", server.url, "--pid", str(os.getpid()),
                                   "--scenario", "get-path"], stderr=subprocess.PIPE, timeout=10)
        self.assertEqual(done.returncode, 2)
        self.assertIn(b"does not listen", done.stderr)

    def test_bounds(self):
        for args in (["--clients", "100000"], ["--seconds", "100000"], ["--ops", "1e12"]):
            done = subprocess.run([LOAD, "--url", "http://127.0.0.1:1", "--pid", "1", "--scenario",
                                   "get-path", *args], stderr=subprocess.PIPE, timeout=10)
            self.assertEqual(done.returncode, 2, args)


class Answers:
    """Serves fixed raw answers, one a request, on one connection after the other."""

    def __init__(self, answers):
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.url = "http://127.0.0.1:%d" % self.listener.getsockname()[1]
        self.process = self
        self.pid = os.getpid()
        self.thread = threading.Thread(target=self.serve, args=(answers,), daemon=True)
        self.thread.start()

    def serve(self, answers):
        for answer in answers:
            connection, _ = self.listener.accept()
            with connection:
                connection.recv(65536)
                for byte in range(len(answer)):  # each byte alone: every split is met
                    connection.sendall(answer[byte:byte + 1])
        self.listener.close()


class Parsing(unittest.TestCase):
    def test_framing(self):
        close = b"Connection: close\r\n"
        chunked = (b"HTTP/1.1 200 OK\r\n" + close + b"Transfer-Encoding: chunked\r\n\r\n"
                   b"5;x=y\r\nhello\r\nA\r\n, 10 bytes\r\n0\r\nTrailer: t\r\n\r\n")
        interim = (b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n" + close +
                   b"Content-Length: 3\r\n\r\nabc")
        cut = b"HTTP/1.1 200 OK\r\n" + close + b"Content-Length: 9\r\n\r\nabc"
        more = b"HTTP/1.1 200 OK\r\n" + close + b"Content-Length: 1\r\n\r\na"
        for answer, size, status, why in [(chunked, 15, 0, ""), (interim, 3, 0, ""),
                                          (cut, 9, 1, "closed by the server"),
                                          (more, 2, 1, "length 1"),
                                          (b"nonsense\r\n\r\n", 1, 1, "malformed")]:
            got = get(Answers([answer]), "/", "--cold", "--clients", 1, "--ops", 1, "--length",
                      size, status=status)
            self.assertIn(why, got.get("first_error", ""))


class Tables(unittest.TestCase):
    """Verdicts from made-up measurements: ours, two peers, one baseline, two rounds."""

    def result(self, cpu):
        kinds = {"ours": "ours", "a": "peer", "b": "peer", "bare MHD": "baseline"}
        row = {name: [{"cpu": v} if v else {"error": "broke"} for v in cpu[name]] for name in cpu}
        return {"facts": {"subjects": [[n, kinds[n], ""] for n in cpu]},
                "rows": {"manifest-get": row}}

    def verdicts(self, cpu):
        result = self.result(cpu)
        rows = rows_module.all_rows(True, 1000, False)
        main = [x for x in table.main_table(result, rows) if x.startswith("| manifest GET, server")]
        held = [x for x in table.condition_table(result, rows, rows_module.CONDITIONS)
                if x.startswith("| manifest GET: CPU")]
        return [x.rsplit("|", 2)[1].strip() for x in main + held]

    def test_verdicts(self):
        bare = {"bare MHD": [10, 10]}
        for ours, a, want in [
                ([12, 12], [100, 100], ["won", "held", "held"]),
                ([40, 40], [100, 100], ["won", "**lost**", "**lost**"]),
                ([120, 120], [100, 100], ["**lost**", "**lost**", "**lost**"]),
                ([None, None], [100, 100], ["**lost**", "missing", "missing"]),
                ([12, None], [100, 100], ["won", "held", "held"]),
                # pair by pair, not median by median
                ([100, 10], [90, 40], ["won", "**lost**", "**lost**"])]:
            got = self.verdicts({"ours": ours, "a": a, "b": [500, 500], **bare})
            self.assertEqual(got, want, (ours, a))

    def test_failures_are_told(self):
        result = self.result({"ours": [1, None], "a": [None, None], "bare MHD": [1, 1]})
        text = "\n".join(table.main_table(result, rows_module.all_rows(True, 1000, False)))
        self.assertIn("ours failed in 1 of 2 rounds: broke", text)
        self.assertIn("| failed |", text)

    def slice_of(self, date, key, cpu, **facts):
        kinds = {"stowage": "ours", "a": "peer", "bare MHD": "baseline"}
        return {"facts": {"subjects": [[n, kinds[n], "1"] for n in cpu], "quick": True, "tags": 1000,
                          "cores": 2, "cpu": "x", "kernel": "1", "file_system": "ext4",
                          "memory_gib": 1, "huge": False, "unsynced": [], "missing": [],
                          "date": date, "command": f"run {key}", "load_average": 1.0, "pairs": 1,
                          **facts},
                "rows": {key: {n: [{"cpu": v}] for n, v in cpu.items()}}}

    def test_slices_become_one_table(self):
        slices = [self.slice_of("day 1", "manifest-get", {"a": 100, "stowage": 50},
                                missing=["bare MHD"]),
                  self.slice_of("day 2", "manifest-head", {"stowage": 10, "bare MHD": 6}),
                  self.slice_of("day 3", "manifest-get", {"stowage": 20, "a": 100})]
        merged = run.merge(slices)
        text = table.render(merged, rows_module.all_rows(True, 1000, False), [])
        for wanted in ("in 3 slices", "- day 1, load average before 1.0: `run manifest-get`",
                       "| stowage | a | bare MHD |", "| 20.0 | 100 |  | 0.20 × a | won |"):
            self.assertIn(wanted, text)
        self.assertEqual(merged["facts"]["missing"], [])
        with self.assertRaises(SystemExit):
            run.merge([slices[0], self.slice_of("day 4", "idle", {"a": 1}, kernel="2")])
        slices[2]["facts"]["subjects"][0][2] = "2"
        with self.assertRaises(SystemExit):
            run.merge(slices)

    def test_page(self):
        with tempfile.TemporaryDirectory() as folder:
            page = os.path.join(folder, "page.md")
            for text in ("first\n", "second\n"):
                table.write(page, text)
            with open(page, encoding="utf-8") as file:
                got = file.read()
            begin, end = table.markers(table.ALL)
            self.assertEqual(got, f"# Performance\n\n{begin}\nsecond\n{end}\n")
            with open(page, "w", encoding="utf-8") as file:
                file.write("no markers")
            self.assertRaises(SystemExit, table.write, page, "text")


if __name__ == "__main__":
    ran = unittest.main(argv=sys.argv[:1], exit=False).result
    bad = len(ran.failures) + len(ran.errors)
    print(f"{ran.testsRun - bad - len(ran.skipped)} passed, {bad} failed, "
          f"{len(ran.skipped)} skipped")
    sys.exit(1 if bad else 0)
