"""Several processes on one root: what one acknowledged, all others see at once."""

import subprocess
import threading

import server
import tars
from bench import case, eq, true


@case
def beside_a_running_server(b):
    first, second = tars.Image(), tars.Image()
    reg = b.serve()
    eq(reg.tags("app"), None, "tags before")
    b.taken(tars.layout(b.file("a.tar"), first))
    eq(reg.tags("app"), ["1"], "tags")
    eq(reg.pull("app", "1")[1], first.digest, "digest")
    b.taken(tars.layout(b.file("b.tar"), second))
    eq(reg.pull("app", "1")[1], second.digest, "digest after the second import")
    b.taken(tars.layout(b.file("c.tar"), first), "app:2")
    eq(reg.tags("app"), ["1", "2"], "tags at the end")
    true(b"app" in reg.get("/v2/_catalog").body, "the repository in the catalog")


@case
def two_servers(b):
    image = tars.Image()
    one, two = b.serve(), b.serve()
    b.taken(tars.layout(b.file("a.tar"), image))
    for reg in (one, two):
        eq(reg.pull("app", "1")[1], image.digest, "digest")
    eq(one.get("/v2/app/manifests/1", "DELETE").status, 202, "status of the delete")
    eq(two.get("/v2/app/manifests/1").status, 404, "status at the other server")
    b.refused(b.give(b.file("out.tar")), says="no tag")


@case
def export_beside_a_server(b):
    image = tars.Image()
    b.serve()
    b.taken(tars.layout(b.file("a.tar"), image))
    eq(b.ok(b.give(b.file("out.tar"))), image.digest, "digest")


@case
def imports_at_once(b):
    """Eight processes, one new root, one repository: every tag is there."""
    images = [tars.Image() for _ in range(8)]
    files = [tars.layout(b.file(f"{i}.tar"), one) for i, one in enumerate(images)]
    procs = [
        subprocess.Popen(
            [b.binary, "import", "--root", str(b.root), str(f), f"app:{i}"],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=server.clean_env(),
        )
        for i, f in enumerate(files)
    ]
    for i, one in enumerate(procs):
        out, err = one.communicate(timeout=60)
        eq((one.returncode, out.decode().strip(), err), (0, images[i].digest, b""), f"import {i}")
    reg = b.serve()
    eq(reg.tags("app"), [str(i) for i in range(8)], "tags")
    for i, one in enumerate(images):
        eq(reg.pull("app", str(i))[1], one.digest, "digest")


@case
def same_image_at_once(b):
    """The same content and tag from all sides: one winner, everybody is content."""
    image = tars.Image()
    file = tars.layout(b.file("a.tar"), image)
    results = []

    def work():
        results.append(b.take(file))

    threads = [threading.Thread(target=work) for _ in range(6)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    for proc in results:
        eq((proc.returncode, proc.stderr, proc.stdout.decode().strip()), (0, b"", image.digest),
           "import")
    eq(b.serve().tags("app"), ["1"], "tags")
