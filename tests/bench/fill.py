"""Fills the store of a server that is not running with very many tags and repositories, in that
server's own layout: through the API that would take some peers hours.

What is multiplied was pushed through the API first: the tag pre0000000 of the repository bench/many,
and a repository of the name pre0000000. Numbers 1 to N - 1 are added to both.
"""
import json
import os
import pathlib
import shutil
import sys

sys.path.append(str(pathlib.Path(__file__).resolve().parent.parent / "scale"))
import generate  # noqa: E402

REPOSITORY, FIRST = "bench/many", "pre0000000"
TAGS_IN_ENTRY = 6000


def names(count):
    return (f"pre{i:07d}" for i in range(1, count))


def distribution(root, count):
    """A tag is a folder with links; a repository counts when it has folders of this kind."""
    base = pathlib.Path(root, "docker/registry/v2/repositories")
    tags = base / REPOSITORY / "_manifests/tags"
    for name in names(count):
        shutil.copytree(tags / FIRST, tags / name)
    for name in names(count):
        os.makedirs(base / name / "_layers")
        os.makedirs(base / name / "_manifests/tags")


def olareg(root, count):
    """A tag is an annotation in the index; a repository is a folder that is an OCI layout."""
    index = pathlib.Path(root, REPOSITORY, "index.json")
    doc = json.loads(index.read_bytes())
    label = "org.opencontainers.image.ref.name"
    first = next(m for m in doc["manifests"] if m.get("annotations", {}).get(label) == FIRST)
    doc["manifests"] += [{**first, "annotations": {label: name}} for name in names(count)]
    index.write_text(json.dumps(doc, separators=(",", ":")))
    for name in names(count):
        os.makedirs(pathlib.Path(root, name))
        for file in ("oci-layout", "index.json"):
            shutil.copy(pathlib.Path(root, FIRST, file), pathlib.Path(root, name, file))


def stowage(root, count):
    """Entries of the repository's log and of the catalog's."""
    log = generate.Log.resume(root, f"repos/{REPOSITORY}", REPOSITORY)
    entries = sorted(log.base.glob("*/*"), key=lambda p: p.name)
    ops = [op for path in entries for op in json.loads(path.read_bytes())["ops"]]
    digest = next(op["digest"] for op in ops if FIRST in op.get("tags", ()))
    all_names = list(names(count))
    for at in range(0, len(all_names), TAGS_IN_ENTRY):
        part = all_names[at:at + TAGS_IN_ENTRY]
        log.append([generate.sets((name, digest.split(":")[1]) for name in part)])
    generate.Log.resume(root, "catalog", "catalog").append_all(
        generate.add(name, True) for name in all_names)
