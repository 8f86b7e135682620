"""As root the run has mounts and a network of its own: the names of the recipes lead to an address
that is not 127.0.0.1 and so is no exception to a client's rules about TLS, docker trusts the test's
authority alone, and nothing can leave the machine."""

import fcntl
import os
import shutil
import socket
import struct
import subprocess
import sys

MARK = "PROXY_TESTS_IN_PRIVATE_NAMESPACE"
ADDRESS = "10.201.0.1"
NAMES = ("registry.example.org", "www.example.org")
DOCKER = "/etc/docker"
SHARED_CACHE = "/var/lib/containers"
SIOCSIFADDR, SIOCGIFFLAGS, SIOCSIFFLAGS = 0x8916, 0x8913, 0x8914
IFF_UP = 1


def _address(text):
    return struct.pack("<HH4s8x", socket.AF_INET, 0, socket.inet_aton(text))


def _network():
    """Loopback up, with a second address."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        for name, address in ((b"lo", "127.0.0.1"), (b"lo:1", ADDRESS)):
            if name != b"lo":
                fcntl.ioctl(s, SIOCSIFADDR, struct.pack("16s16s", name, _address(address)))
            got = fcntl.ioctl(s, SIOCGIFFLAGS, struct.pack("16sh14x", name, 0))
            flags = struct.unpack("16sh14x", got)[1] | IFF_UP
            fcntl.ioctl(s, SIOCSIFFLAGS, struct.pack("16sh14x", name, flags))


def _mount(*words):
    subprocess.run(("mount", *words), check=True)


def enter():
    """Goes on in namespaces of its own; returns the names clients use, or None where that is not
    allowed."""
    if MARK in os.environ:
        _network()
        if os.path.isdir(SHARED_CACHE):
            _mount("-t", "tmpfs", "tmpfs", SHARED_CACHE)
        if os.path.isdir(DOCKER):
            _mount("-t", "tmpfs", "tmpfs", DOCKER)
        _mount("-t", "tmpfs", "tmpfs", "/mnt")
        with open("/mnt/hosts", "w", encoding="ascii") as hosts:
            hosts.write(f"127.0.0.1 localhost\n{ADDRESS} {' '.join(NAMES)}\n")
        _mount("--bind", "/mnt/hosts", "/etc/hosts")
        return NAMES
    words = ("unshare", "--mount", "--net")
    if os.geteuid() == 0 and shutil.which("unshare"):
        if subprocess.run((*words, "true"), stderr=subprocess.DEVNULL, check=False).returncode == 0:
            os.environ[MARK] = "1"
            os.execvp("unshare", [*words, "--", sys.executable, *sys.argv])
    return None
