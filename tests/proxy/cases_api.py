"""The API suite through each proxy, and what else is in deploy/."""

import os
import pathlib
import re
import shutil
import subprocess
import sys

import proxies
from harness import Skipped, check
from world import noise

API = pathlib.Path(__file__).resolve().parent.parent / "api" / "run.py"
API_SECONDS_MAX = 400
API_CASES_MIN = 150  # so many have to pass, or the suite skipped what it is here for
JOBS = "4"
EXPOSURE_MAX = 20  # of 100, as systemd-analyze counts
COUNTS = re.compile(r"^(\d+) passed, (\d+) failed, (\d+) skipped$", re.MULTILINE)
CALL = re.compile(r"^\d+\s+(?:<\.\.\. )?([a-z_0-9]+)(?:\(| resumed>)", re.MULTILINE)


def suite(w, port, external):
    url = f"https://{w.names[0]}:{port}"
    done = subprocess.run(
        (sys.executable, str(API), "--url", url, "--behind", external, "--cacert", w.authority,
         "--jobs", JOBS),
        capture_output=True, text=True, timeout=API_SECONDS_MAX, check=False,
        env={k: v for k, v in os.environ.items() if not k.startswith("STOWAGE")},
    )  # fmt: skip
    counts = COUNTS.findall(done.stdout)
    faults = [ln for ln in done.stdout.splitlines() if ln.startswith("FAIL")] or [done.stderr[-500:]]
    check(counts and done.returncode == 0, f"{counts}\n" + "\n".join(faults[:8]))
    check(int(counts[-1][0]) >= API_CASES_MIN, f"only {counts[-1][0]} cases ran")
    return "{} passed, {} skipped".format(counts[-1][0], counts[-1][2])


def at_root(w, kind):
    return suite(w, w.standard(kind).port, "")


def below_a_path(w, kind):
    """R26: the proxy takes /registry off, the registry puts it in front."""
    return suite(w, w.standard(kind).below, "/registry")


def absolute(w, kind):
    """R26: scheme, host, odd port and path."""
    port = proxies.free_port(w.host)
    external = f"https://{w.names[1]}:{port}/registry"
    return suite(w, w.proxy(kind, node_below=w.start_node(external), below=port).below, external)


def unit(w, _kind):
    """The systemd unit is valid and shut tight."""
    if not shutil.which("systemd-analyze"):
        raise Skipped("missing: systemd-analyze")
    text = (proxies.DEPLOY / "stowage.service").read_text()
    path = w.scratch / "stowage.service"
    path.write_text(proxies.replaced(text, (("/usr/bin/stowage", w.binary),)))
    done = subprocess.run(("systemd-analyze", "verify", "--man=no", str(path)), capture_output=True,
                          text=True, check=False)  # fmt: skip
    ours = [line for line in done.stderr.splitlines() if "stowage" in line]
    check(not ours, "\n".join(ours))
    done = subprocess.run(("systemd-analyze", "security", "--offline=true", "--no-pager",
                           f"--threshold={EXPOSURE_MAX}", str(path)), capture_output=True, text=True,
                          check=False, env={**os.environ, "SYSTEMD_EMOJI": "0"})  # fmt: skip
    check(done.returncode == 0, (done.stdout + done.stderr)[-300:])
    return done.stdout.strip().splitlines()[-1].strip()


def filtered_calls(w, _kind):
    """Every system call of a serving node is one the unit allows."""
    if not shutil.which("systemd-analyze") or not shutil.which("strace"):
        raise Skipped("missing: systemd-analyze or strace")
    text = (proxies.DEPLOY / "stowage.service").read_text()
    allowed = set()
    for line in re.findall(r"^SystemCallFilter=(.*)$", text, re.MULTILINE):
        names = calls_of(line.lstrip("~").split())
        allowed = allowed - names if line.startswith("~") else allowed | names
    log = w.scratch / "calls"
    import server  # noqa: PLC0415 - of tests/api, like the one of World

    wrap = ("strace", "-D", "-f", "-qq", "-o", str(log))
    with server.Server(w.binary, wrap=wrap, listen=("127.0.0.1:0", f"unix:{w.scratch}/s")) as node:
        proxy = w.proxy("nginx", node)
        link = w.connect(proxy.port)
        digest = link.blob("calls", noise("calls", 3 << 20))
        link.index("calls", "1")
        for method, path in (("GET", f"blobs/{digest}"), ("GET", "tags/list"), ("GET", "manifests/1"),
                             ("DELETE", f"blobs/{digest}"), ("DELETE", "manifests/1")):  # fmt: skip
            check(link.ask(method, f"/v2/calls/{path}").status < 300, f"{method} {path}")
    used = set(CALL.findall(log.read_text(errors="replace")))
    check("fdatasync" in used or "fsync" in used, f"the log of strace shows {sorted(used)}")
    wrong = sorted(used - allowed)
    check(not wrong, f"the unit forbids {wrong}")
    return f"{len(used)} calls"


def calls_of(names):
    """System calls of the sets."""
    found = set()
    for name in names:
        if not name.startswith("@"):
            found.add(name)
            continue
        done = subprocess.run(("systemd-analyze", "syscall-filter", "--no-pager", name),
                              capture_output=True, text=True, check=True)  # fmt: skip
        words = [line.strip() for line in done.stdout.splitlines()[1:]]
        found |= calls_of([word for word in words if word and not word.startswith("#")])
    return found


CASES = (
    ("API suite at the root", at_root),
    ("API suite below a path", below_a_path),
    ("API suite with absolute references", absolute),
)
DEPLOY_CASES = (
    ("systemd unit: valid, exposure low", unit),
    ("systemd unit: allows every system call", filtered_calls),
)
