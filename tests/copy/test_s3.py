"""From a directory into a bucket and back: one registry, whatever holds it."""

import server
from world import eq, s3_case, true

NAMES = ("one", "team/two", "team/two/three")


@s3_case
def into_a_bucket_and_back(w):
    gateway, server.GATEWAY = server.GATEWAY, None  # the first server is one on a directory
    try:
        a = w.serve(w.folder("a"))
    finally:
        server.GATEWAY = gateway
    for i in range(12):
        a.client.push(NAMES[i % 3], f"t{i}", 300_000 if i % 4 == 0 else 500)
    digest = a.client.push("one", "gone")
    a.client.delete(f"/v2/one/manifests/{digest}")
    found, failed = a.client.everything()
    eq(failed, [], "all can be pulled")
    flags = server.store(str(w.folder("bucket")))
    url, endpoint = flags[1], flags[2:]
    _, out, _ = w.run("copy", *endpoint, f"dir:{w.folder('a')}", url)
    true(out.startswith("complete") and " 0 damaged" in out, "a complete copy", out)
    a.client.push("one", "later", 1000)
    _, out, _ = w.run("copy", *endpoint, f"dir:{w.folder('a')}", url)
    true("copied" in out and out.startswith("complete"), "what is new", out)
    found, _ = a.client.everything()
    a.stop()
    b = w.serve(w.folder("bucket"))
    there, failed = b.client.everything()
    eq((there, failed), (found, []), "the bucket serves the same")
    b.client.push("team/two", "from-s3", 300_000)
    there, _ = b.client.everything()
    b.stop()
    w.run("copy", *endpoint, url, f"dir:{w.folder('back')}")
    eq(w.fsck(w.folder("back")), [], "fsck --deep of the way back")
    server.GATEWAY = None
    try:
        c = w.serve(w.folder("back"))
    finally:
        server.GATEWAY = gateway
    eq(c.client.everything(), (there, []), "a directory again")
