"""The command line: addresses, refusals in one sentence, signals, import and export."""

import io
import os
import pathlib
import re
import signal
import socket
import subprocess
import tarfile
import threading
import time

import http1
import oci
import server as server_mod
from harness import Skip, case
from server import clean_env
from test_referrers import digests

RUN_S = 30


def run(t, *args, wrap=()):
    """(status, stdout, stderr) of one call of the program."""
    done = subprocess.run(
        [*wrap, t.world.need_binary(), *args], capture_output=True, timeout=RUN_S, env=clean_env(),
        stdin=subprocess.DEVNULL, check=False
    )
    return done.returncode, done.stdout.decode(), done.stderr.decode()


def one_sentence(t, got, status, *words):
    """Refused with this status; the last line is the one sentence, before it only log lines."""
    code, out, err = got
    t.eq(code, status, f"exit status (stderr {err[:200]!r})")
    lines = [line for line in err.splitlines() if line.strip()]
    said = [line for line in lines if line.startswith("stowage: ")]
    t.eq((out, len(said)), ("", 1), f"one sentence on stderr: {out[:100]!r} {err[:300]!r}")
    t.eq(said[0], lines[-1], "the last line")
    for word in words:
        t.true(word in said[0], f"a sentence with {word!r}", err)


@case("L14", server="")
def version(t):
    for args in (("version",), ("--version",)):
        code, out, err = run(t, *args)
        if args == ("--version",) and code:
            continue  # only the subcommand is promised
        t.eq((code, err), (0, ""), "status and stderr of version")
        for word in ("stowage", "format", "microhttpd", "jansson", "OpenSSL"):
            t.true(word.lower() in out.lower(), f"{word} in version", out)


@case("L14", server="")
def help_names_every_flag(t):
    for args in (("--help",), ("serve", "--help")):
        code, out, err = run(t, *args)
        t.eq((code, err), (0, ""), f"status and stderr of {args}")
        for word in ("serve", "--root", "--listen", "--references", "--allow-anonymous-network"):
            t.true(word in out, f"{word} in {args}", out[:300])
    _, out, _ = run(t, "--help")
    for word in ("version", "import", "export"):
        t.true(word in out, f"{word} in --help", out[:300])


@case("L14", server="")
def bad_usage(t):
    root = str(t.scratch() / "root")
    one_sentence(t, run(t, "serve", "--no-such-flag"), 2, "no-such-flag")
    one_sentence(t, run(t, "serve", "--references", "sometimes", "--root", root), 2, "references")
    one_sentence(t, run(t, "serve", "--root", root, "--listen"), 2, "listen")
    one_sentence(t, run(t, "no-such-command"), 2, "no-such-command")
    one_sentence(t, run(t, "export", "--no-such-flag"), 2, "no-such-flag")
    for bad in ("127.0.0.1:99999", "127.0.0.1", "nonsense", "127.0.0.1:x", "[::1", "unix:"):
        code, out, err = run(t, "serve", "--root", root, "--listen", bad)
        t.true(code in (1, 2), f"a refusal of {bad}", (code, out, err))
        one_sentence(t, (code, out, err), code, bad)
    code, _, err = run(t)
    t.eq(code, 2, f"status of a call without command ({err[:100]!r})")


@case("L14", server="")
def configuration_file(t):
    """A node started from a file alone; flags win; what is wrong is named with its line."""
    folder = t.scratch()
    file = pathlib.Path(folder, "stowage.yaml")
    file.write_text(f"root: {folder}/data\nrefuse-catalog: true\nworkers: 3\n")
    srv = t.serve("--config", str(file))
    t.at(srv).status(t.at(srv).get("/v2/_catalog"), 405)
    status, out, _ = run(t, "config", "--config", str(file), "--workers", "5")
    t.eq(status, 0, "status of config")
    t.true("workers: 5\n" in out and "refuse-catalog: true\n" in out, "what is in effect", out)
    file.write_text("root: data\nlisten: [127.0.0.1:0]\nworkers: some\n")
    got = run(t, "serve", "--config", str(file))
    one_sentence(t, got, 2, f"{file}:3:", "workers", "whole number")
    one_sentence(t, run(t, "serve", "--config", f"{folder}/none.yaml"), 2, "none.yaml")


@case("L14", server="")
def taken_port(t):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        root = str(t.scratch() / "root")
        got = run(t, "serve", "--root", root, "--listen", f"127.0.0.1:{port}")
        one_sentence(t, got, 1, str(port))


@case("L14", server="")
def unwritable_root(t):
    where = t.scratch()
    (where / "file").write_text("x", encoding="ascii")
    for root in (where / "file", where / "file" / "below", pathlib.Path("/proc/nothing/here")):
        got = run(t, "serve", "--root", str(root), "--listen", "127.0.0.1:0")
        one_sentence(t, got, 1, str(root))


@case("L14", server="")
def a_wrong_place_does_not_become_a_registry(t):
    empty, none = t.scratch(), t.scratch() / "none"
    tar = str(t.scratch() / "x.tar")
    for command in (("log", "x"), ("settings", "x"), ("diff", "--at", "1", "x"), ("revert", "--at", "1", "x"),
                    ("rm", "x"), ("robot", "list"), ("robot", "revoke", "0" * 16), ("rotate-keys",),
                    ("export", "x:1", tar)):
        for root in (empty, none):
            one_sentence(t, run(t, *command, "--root", str(root)), 1, str(root))
    t.eq((list(empty.iterdir()), none.exists()), ([], False), "what was made")


@case("L14", server="")
def only_loopback_without_permission(t):
    root = str(t.scratch() / "root")
    for listen in ("0.0.0.0:0", "[::]:0"):
        got = run(t, "serve", "--root", root, "--listen", listen)
        one_sentence(t, got, got[0] if got[0] in (1, 2) else 1, "--allow-anonymous-network")
    srv = t.serve("--allow-anonymous-network", listen=("0.0.0.0:0",))
    client = t.at(("tcp", "127.0.0.1", srv.addr[2]))
    client.status(client.get("/v2/"), 200)


@case("L14", server="")
def ipv6(t):
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError as e:
        raise Skip(f"no IPv6 loopback: {e}") from e
    srv = t.serve(listen=("[::1]:0",))
    t.eq(srv.addr[1], "::1", "announced host")
    client = t.at(srv)
    client.image(client.repo(), "v1")


@case("L14", server="")
def several_addresses_and_a_socket(t):
    path = t.scratch() / "s"
    srv = t.serve(listen=("127.0.0.1:0", f"unix:{path}", "127.0.0.1:0"))
    t.eq(sorted(a[0] for a in srv.addrs), ["tcp", "tcp", "unix"], "announced addresses")
    t.eq(path.stat().st_mode & 0o007, 0, "rights of others on the socket")
    repo, body = t.repo(), None
    for addr in srv.addrs:
        client = t.at(addr)
        if body is None:
            _, body = client.image(repo, "v1")
        client.body(client.get(f"/v2/{repo}/manifests/v1"), body)
    srv.stop()
    again = t.serve(listen=(f"unix:{path}",))  # a socket left behind is no obstacle
    client = t.at(again)
    client.status(client.get("/v2/"), 200)


@case("L18", server="")
def signals_drain(t):
    for how in (signal.SIGTERM, signal.SIGINT):
        srv = t.serve()
        client = t.at(srv)
        repo, data = client.repo(), b"slow upload " * 1000
        url = client.start(repo)
        conn = client.connect()
        head = f"PATCH {url} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(data)}\r\n\r\n"
        conn.send(head.encode() + data[:100])
        time.sleep(0.3)
        srv.proc.send_signal(how)
        time.sleep(0.5)
        t.eq(srv.proc.poll(), None, "exit status while a request is under way")
        try:
            http1.Conn(srv.addr, 2).close()
            accepting = True
        except OSError:
            accepting = False
        conn.send(data[100:])
        resp = client.read(conn, "PATCH", url)
        t.status(resp, 202)
        t.eq(srv.proc.wait(20), 0, f"exit status after signal {how}")
        t.true(not accepting, "no new connections while draining", "accepted")


@case("L18", server="")
def second_signal_ends_at_once(t):
    srv = t.serve()
    client = t.at(srv)
    url = client.start(client.repo())
    conn = client.connect()
    conn.send(f"PATCH {url} HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\nabc".encode())
    time.sleep(0.3)
    srv.proc.send_signal(signal.SIGTERM)
    time.sleep(0.5)
    start = time.monotonic()
    srv.proc.send_signal(signal.SIGTERM)
    srv.proc.wait(10)
    t.true(time.monotonic() - start < 5, "the end within seconds", "slow")


@case("L18", server="")
def idle_server_ends_quickly(t):
    srv = t.serve()
    client = t.at(srv)
    client.status(client.get("/v2/"), 200)  # leaves a kept connection
    start = time.monotonic()
    t.eq(srv.stop(), 0, "exit status")
    t.true(time.monotonic() - start < 5, "the end within 5 s of SIGTERM", "slow")


@case("L18", server="")
def clients_that_vanish_do_no_harm(t):
    srv = t.serve()
    client = t.at(srv)
    repo = client.repo()
    digest = client.blob(repo, os.urandom(4 << 20))

    def vanish(n):
        for _ in range(10):
            conn = client.connect()
            conn.send(f"GET /v2/{repo}/blobs/{digest} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
            conn.sock.recv(10 * n + 1)
            conn.reset()

    threads = [threading.Thread(target=vanish, args=(n,)) for n in range(8)]
    for th in threads:
        th.start()
    for th in threads:
        th.join()
    t.eq(srv.proc.poll(), None, "exit status (SIGPIPE is ignored)")
    client.image(repo, "v1")


def layout(t, path, subject=None):
    """An OCI layout tar with one image; returns (digest, manifest bytes, blobs)."""
    config, layer = oci.dump({"seed": t.seed()}), os.urandom(100_000)
    doc = oci.image_doc(oci.descriptor(config, oci.CONFIG), [oci.descriptor(layer, oci.LAYER)])
    if subject:
        doc.update(subject=subject, artifactType="application/x.imported")
    body = oci.dump(doc)
    oci.layout_tar(path, [config, layer, body], oci.descriptor(body, oci.IMAGE), "v1")
    return oci.digest(body), body, (config, layer)


@case("L14", server="")
def import_and_export_keep_digests(t):
    where = t.scratch()
    root = str(where / "root")
    digest, body, blobs = layout(t, where / "in.tar")
    code, _, err = run(t, "import", *server_mod.store(root), str(where / "in.tar"), "a/b:v1")
    t.eq(code, 0, f"status of import ({err[:300]!r})")
    client = t.at(t.serve(root=root))
    got = client.body(client.get("/v2/a/b/manifests/v1"), body)
    client.header(got, "Docker-Content-Digest", digest)
    for blob in blobs:
        client.body(client.get(f"/v2/a/b/blobs/{oci.digest(blob)}"), blob)
    code, _, err = run(t, "export", *server_mod.store(root), "a/b:v1", str(where / "out.tar"))
    t.eq(code, 0, f"status of export ({err[:300]!r})")
    with tarfile.open(where / "out.tar") as tar:
        files = {m.name.removeprefix("./"): tar.extractfile(m).read() for m in tar if m.isfile()}
    for blob in (body, *blobs):
        t.true(files.get("blobs/sha256/" + oci.digest(blob)[7:]) == blob, "each blob in the tar", list(files))
    top = oci.json.loads(files["index.json"])["manifests"][0]
    t.eq((top["digest"], top["size"]), (digest, len(body)), "the descriptor of index.json")


@case("L14", "L4", server="")
def import_that_fails(t):
    where = t.scratch()
    root = str(where / "root")
    (where / "none.tar").write_bytes(b"this is no tar " * 100)
    layout(t, where / "good.tar")
    with tarfile.open(where / "good.tar") as tar, tarfile.open(where / "bad.tar", "w") as out:
        for m in tar:
            data = bytearray(tar.extractfile(m).read())
            if m.size == 100_000:
                data[5] ^= 1
            out.addfile(m, io.BytesIO(bytes(data)))
    for name, ref in (("none.tar", "a:v1"), ("bad.tar", "a:v1"), ("absent.tar", "a:v1"), ("good.tar", "BAD:v1"),
                      ("good.tar", "at-20261122t075000z/x:v1")):
        code, out, err = run(t, "import", *server_mod.store(root), str(where / name), ref)
        t.true(code in (1, 2) and err.strip(), f"a refusal of {name} as {ref}", (code, out, err))
    code, _, err = run(t, "export", *server_mod.store(root), "a:v1", str(where / "out.tar"))
    t.true(code == 1 and err.strip(), "a refusal of an export of nothing", (code, err))
    t.true(not (where / "out.tar").exists(), "no file left by a failed export", "a file")


@case("R138", server="")
def imported_fallback_tag_shows_referrers(t):
    where = t.scratch()
    root = str(where / "root")
    subject, body, _ = layout(t, where / "image.tar")
    target = oci.descriptor(body, oci.IMAGE)
    empty = b"{}"
    doc = oci.image_doc(oci.descriptor(empty, oci.EMPTY), [], subject=target, artifactType="x/imported")
    art = oci.dump(doc)
    index = oci.dump(oci.index_doc([oci.descriptor(art, oci.IMAGE, artifactType="x/imported")]))
    oci.layout_tar(where / "fallback.tar", [empty, art, index], oci.descriptor(index, oci.INDEX))
    tag = subject.replace(":", "-")
    for file, ref in (("image.tar", "a/b:v1"), ("fallback.tar", f"a/b:{tag}")):
        code, _, err = run(t, "import", *server_mod.store(root), str(where / file), ref)
        t.eq(code, 0, f"status of import of {file} ({err[:300]!r})")
    client = t.at(t.serve(root=root))
    client.body(client.get(f"/v2/a/b/manifests/{tag}"), index)
    client.eq(digests(client, "a/b", subject), [oci.digest(art)], "referrers after the import")


@case("L14", "L17", server="")
def the_log_is_lines_and_has_no_secrets(t):
    srv = t.serve()
    client = t.at(srv)
    client.req("GET", "/v2/", {"Authorization": "Basic c2VjcmV0OnRvcHNlY3JldA=="})
    client.image(client.repo(), "v1")
    srv.stop()
    t.true("c2VjcmV0OnRvcHNlY3JldA" not in srv.log(), "no credentials in the log", srv.log()[-300:])
    t.true(re.search(r"\d", srv.log()), "a log", srv.log()[-300:])
    t.true(all(line.isprintable() for line in srv.lines), "printable lines", srv.lines[:3])
