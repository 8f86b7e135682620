#!/usr/bin/env python3
"""The same seed in two processes gives the same bytes of trace: replay.py SIM FROM..TO"""
import hashlib
import os
import subprocess
import sys

SECONDS_MAX = 600


def trace(sim, seeds, filler):
    """Digest and length of the trace; the environment's size moves the stack."""
    env = dict(os.environ, FILLER="x" * filler)
    digest, length = hashlib.sha256(), 0
    with subprocess.Popen([sim, "--seeds", seeds, "--trace", "--keep-going"], env=env,
                          stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        for line in process.stdout:
            if line.startswith(b"seed ") or b" switches; " in line:
                continue
            digest.update(line)
            length += len(line)
        process.wait(timeout=SECONDS_MAX)
    return digest.hexdigest(), length


def main():
    first = trace(sys.argv[1], sys.argv[2], 0)
    second = trace(sys.argv[1], sys.argv[2], 4097)
    print(f"seeds {sys.argv[2]} twice: {first[1]} bytes of trace,",
          "equal" if first == second else "DIFFERENT")
    return 0 if first == second and first[1] > 0 else 1


if __name__ == "__main__":
    sys.exit(main())
