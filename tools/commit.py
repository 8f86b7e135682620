#!/usr/bin/env python3
"""Prints the commit of the source folder given as argument, or "unknown".

The folder must itself be the top of a git work tree: a source archive unpacked
inside some other repository does not report that repository's commit.
"""
import os
import subprocess
import sys


def git(folder, *args):
    done = subprocess.run(["git", "-C", folder, *args], stdout=subprocess.PIPE,
                          stderr=subprocess.DEVNULL, check=True, timeout=30)
    return done.stdout.decode().strip()


def commit_of(folder):
    try:
        if os.path.realpath(git(folder, "rev-parse", "--show-toplevel")) != os.path.realpath(folder):
            return "unknown"
        return git(folder, "describe", "--always", "--dirty", "--abbrev=12", "--exclude=*")
    except (OSError, subprocess.SubprocessError):
        return "unknown"


if __name__ == "__main__":
    print(commit_of(sys.argv[1]))
