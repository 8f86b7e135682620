#!/usr/bin/env python3
"""Layers point one way and each outside library has one owner file. Argument: the source root.

1. A quoted include carries its folder ("base/buf.h") and names an own or lower layer.
2. x_internal.h is included by files of its module alone: those whose name begins with x.
3. A header of an outside library is included by its owner file alone (OWNER, as glob patterns).
4. Any other <header> is one of the C library or the kernel; an unknown one gets an owner first.
"""
import fnmatch
import os
import re
import sys

import csource

ALLOW = {
    "base": {"base"},
    "blobstore": {"base", "blobstore"},
    "manifests": {"base", "blobstore", "manifests"},
    "auth": {"base", "auth"},
    "registry": {"base", "blobstore", "manifests", "auth", "registry"},
}
OWNER = {
    "openssl/": "base/digest.c",
    "jansson.h": "base/json.c",
    "bsd/": "base/omap.c",
    "curl/": "blobstore/httpc.c",
    "expat.h": "blobstore/s3xml.c",
    "cjose/": "auth/jwt.c",
    "crypt.h": "auth/htpasswd.c",
    "microhttpd.h": "registry/http*",
    "yaml.h": "registry/config_file.c",
    "archive.h": "registry/archive_lib.h",
    "archive_entry.h": "registry/archive_lib.h",
}
LIBC = set("""
assert complex ctype errno fenv float inttypes iso646 limits locale math setjmp signal stdalign
stdarg stdatomic stdbool stddef stdint stdio stdlib stdnoreturn string tgmath threads time uchar
wchar wctype aio byteswap dirent dlfcn endian err execinfo fcntl fnmatch ftw getopt glob grp
ifaddrs langinfo libgen malloc mntent netdb paths poll pthread pwd regex sched search semaphore
spawn strings sysexits syslog termios ucontext unistd utime wait
""".split())
LIBC_FOLDERS = ("sys/", "linux/", "asm/", "net/", "netinet/", "arpa/", "bits/")
INCLUDE = re.compile(r'^\s*#\s*include\s*(?:"([^"\n]+)"|<([^>\n]+)>)', re.MULTILINE)


def own_fault(path, name):
    """What is wrong with #include "name" in path, or None."""
    layer = path.split("/")[0]
    folder = name.split("/")[0] if "/" in name else ""
    if folder not in ALLOW[layer]:
        return f'"{name}": {layer} may include only {", ".join(sorted(ALLOW[layer]))}'
    if name.endswith("_internal.h"):
        module = name[:-len("_internal.h")]
        stem = os.path.splitext(path)[0]
        if stem != module and not stem.startswith(module + "_"):
            return f'"{name}" belongs to {module}*.c'
    return None


def outside_fault(path, name):
    """What is wrong with #include <name> in path, or None."""
    for library, owner in OWNER.items():
        if name == library or library.endswith("/") and name.startswith(library):
            return None if fnmatch.fnmatch(path, owner) else f"<{name}> belongs to {owner}"
    if name.startswith(LIBC_FOLDERS) or name.endswith(".h") and name[:-2] in LIBC:
        return None
    return f"<{name}> has no owner file in tests/lint/imports.py"


def check(root):
    faults = []
    for path in csource.files(root, csource.LAYERS, csource.C_ENDINGS):
        text = csource.without_comments(csource.read(root, path))
        for match in INCLUDE.finditer(text):
            own, outside = match.groups()
            fault = own_fault(path, own) if own else outside_fault(path, outside)
            if fault:
                line = csource.line_of(text, match.start(0) + len(match.group(0)))
                faults.append(f"{path}:{line}: {fault}")
    return faults


if __name__ == "__main__":
    sys.exit(csource.report("imports", check(sys.argv[1])))
