"""Our registry as a process of the run."""

import os
import re
import subprocess
import sys
import time

import harness

START_SECONDS_MAX = 30
SANITIZER = re.compile(r"ERROR: \w*Sanitizer|runtime error:|WARNING: ThreadSanitizer")
LISTENING = re.compile(r"listening on http://(127\.0\.0\.1:\d+)")


class Node:
    """One node of $STOWAGE (default: build/stowage), its files in folder/name.*"""

    def __init__(self, folder, name="node", options=()):
        here = os.path.dirname(os.path.abspath(__file__))
        program = os.environ.get("STOWAGE") or os.path.join(here, "..", "..", "build", "stowage")
        if not os.access(program, os.X_OK):
            sys.exit(f"clients: no program at {program}: build it, or set STOWAGE")
        self.log = os.path.join(folder, f"{name}.log")
        out = os.path.join(folder, f"{name}.out")
        self.root = os.path.join(folder, f"{name}.root")
        command = [program, "serve", "--root", self.root, *options]
        with open(out, "wb") as stdout, open(self.log, "wb") as stderr:
            self.process = subprocess.Popen(
                command + ["--listen", "127.0.0.1:0"],
                stdin=subprocess.DEVNULL,
                stdout=stdout,
                stderr=stderr,
            )
        self.address = self.wait_for_address(out)

    def wait_for_address(self, out):
        deadline = time.monotonic() + START_SECONDS_MAX
        while time.monotonic() < deadline and self.process.poll() is None:
            with open(out, encoding="utf-8", errors="replace") as text:
                found = LISTENING.search(text.read())
            if found:
                return found.group(1)
            time.sleep(0.05)
        self.process.kill()
        self.process.wait()
        sys.exit(f"clients: the node did not start: {self.errors()[-500:]}")

    def errors(self):
        with open(self.log, encoding="utf-8", errors="replace") as text:
            return text.read()

    def stop(self):
        """Ends the node; returns what was wrong with its end, or nothing."""
        if self.process.poll() is not None:
            return f"the node ended by itself with status {self.process.returncode}"
        self.process.terminate()
        try:
            self.process.wait(harness.DAEMON_STOP_SECONDS_MAX)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            return "the node did not end on SIGTERM"
        if self.process.returncode != 0:
            return f"the node ended with status {self.process.returncode}"
        found = SANITIZER.search(self.errors())
        return f"sanitizer report: {self.errors()[found.start():][:1500]}" if found else None
