#!/usr/bin/env python3
"""Compares Stowage with every peer present and with the bare baselines, in one run.

Each row is measured in rounds: in a round every server is started, driven, and stopped, ours
next to each peer, and the order turns round from one round to the next. A ratio is taken within
a round (a pair), so that what disturbs the machine disturbs both; the table shows medians.

  tests/bench/run.py [--many] [--build DIR] [--pairs 5] [--quick] [--huge] [--rows A,B] [--only NAME,NAME]
                     [--tags 100000] [--dir DIR] [--save FILE] [--from FILE,FILE] [--write FILE]

STOWAGE names our program (default: DIR/stowage). BENCH_DISTRIBUTION, BENCH_OLAREG,
BENCH_DOCKER_REGISTRY and BENCH_NGINX name peers that are not on PATH.
--many is another table: --tags N tags in one repository, and N repositories, written into each
server's store while it does not run.
--write puts the table between the markers of that file, docs/performance.md by custom.
"""
import argparse
import datetime
import json
import os
import platform
import shutil
import signal
import subprocess
import sys
import tempfile
import time

sys.dont_write_bytecode = True
import fill
import rows as rows_module
import subjects as subjects_module
import table

LOAD_SECONDS_MAX = 900
TIDY_SECONDS = 3
HERE = os.path.dirname(os.path.abspath(__file__))
TOP = os.path.dirname(os.path.dirname(HERE))


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--build", default=os.path.join(TOP, "build"))
    parser.add_argument("--pairs", type=int, choices=range(1, 21), metavar="1..20",
                        help="rounds (default: 5, with --quick 1)")
    parser.add_argument("--quick", action="store_true", help="short windows, few tags")
    parser.add_argument("--huge", action="store_true",
                        help="also 6 GiB in a quick run (a full one has it)")
    parser.add_argument("--many", action="store_true", help="very many tags and repositories")
    parser.add_argument("--rows", help="only rows whose name begins with one of these")
    parser.add_argument("--only", help="only these servers")
    parser.add_argument("--tags", type=int, help="tags in the large repository")
    parser.add_argument("--dir", help="where roots are made (default: a temporary folder)")
    parser.add_argument("--save", help="keep all measurements as JSON")
    parser.add_argument("--from", dest="source", help="take measurements from such files; of a row that is in several, the last one's")
    parser.add_argument("--write", help="put the table into this file")
    return parser.parse_args()


def drive(load, server, scenario, args):
    command = [load, "--url", server.url, "--pid", str(server.process.pid), "--scenario", scenario,
               "--json", *args]
    try:
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                              timeout=LOAD_SECONDS_MAX)
        report = json.loads(done.stdout or "{}")
    except (subprocess.TimeoutExpired, json.JSONDecodeError) as error:
        raise subjects_module.Failed(f"load tool: {type(error).__name__}") from error
    if done.returncode != 0:
        why = report.get("first_error") or done.stderr.strip() or f"status {done.returncode}"
        raise subjects_module.Failed(why)
    return report


class Bench:
    """Holds the programs and the folder of the roots."""

    def __init__(self, load, folder, subjects):
        self.load = load
        self.folder = folder
        self.subjects = subjects
        self.kept = 0

    def measure(self, row, subject):
        """One measurement: {figure: value}, or {"error": text}."""
        scenario, args = row.baselines.get(subject.name, (row.scenario, row.args))
        name = subject.name.replace(" ", "-") + ("-fresh" if row.fresh else "")
        # Without a journal ext4 passes over every inode that was deleted in the last minutes, one by
        # one: the files of one server, removed at once, would slow down the next.
        if row.many_files:
            self.kept += 1
            name += str(self.kept)
        root = os.path.join(self.folder, name)
        os.makedirs(root, exist_ok=True)
        self.fill(subject, root, row.filled)
        os.sync()  # what the last one wrote is not this one's burden
        try:
            server = subject.start(root)
            try:
                report = drive(self.load, server, scenario, args)
                report["started_ms"] = server.started_ms
            finally:
                server.stop()
            values = {}
            for figure in row.figures:
                try:
                    values[figure.key] = figure.of(report)
                except KeyError:
                    pass  # a baseline has not every figure
            if row.scenario in ("tags-page", "catalog-page") and report["page_entries"] != 100:
                values["note"] = f"{report['page_entries']} entries instead of 100"
            return values
        except (subjects_module.Failed, OSError) as error:
            return {"error": str(error)[:200]}
        finally:
            if row.fresh and not row.many_files:
                shutil.rmtree(root, ignore_errors=True)

    def push_once(self, subject, root, scenario, repositories, rest=0):
        server = subject.start(root)
        try:
            for repo in repositories:
                drive(self.load, server, scenario,
                      ["--clients", "1", "--ops", "1", "--cold", "--tags", "1", "--repo", repo])
            time.sleep(rest)
        finally:
            server.stop()

    def fill(self, subject, root, count):
        """What is multiplied is pushed first; a push at the end lets a server tidy up."""
        if count == 0 or os.listdir(root):
            return
        began = time.monotonic()
        self.push_once(subject, root, "tags-page", (fill.REPOSITORY, fill.FIRST))
        subject.fill(root, count)
        self.push_once(subject, root, "tag-commits", (fill.REPOSITORY,), TIDY_SECONDS)
        print(f"{subject.name}: filled in {time.monotonic() - began:.0f} s", file=sys.stderr)

    def run_row(self, row, pairs):
        """{subject: [measurement of each round]}"""
        taking = [s for s in self.subjects if s.kind != "baseline" or s.name in row.baselines]
        if row.ours_once:
            taking = [s for s in taking if s.kind == "ours"]
            pairs = 1
        if shutil.disk_usage(self.folder).free < row.disk_bytes:
            print(f"{row.key}: left out, too little disk", file=sys.stderr)
            taking = []
        result = {s.name: [] for s in taking}
        for turn in range(pairs):
            for subject in taking if turn % 2 == 0 else reversed(taking):
                got = self.measure(row, subject)
                result[subject.name].append(got)
                shown = ", ".join(f"{k} {v:.4g}" if isinstance(v, float) else f"{k} {v}"
                                  for k, v in got.items())
                print(f"{row.key} {turn + 1}/{pairs} {subject.name}: {shown}", file=sys.stderr,
                      flush=True)
        return result


def cpu_model():
    with open("/proc/cpuinfo", encoding="utf-8") as file:
        for line in file:
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.machine()


def file_system(folder):
    done = subprocess.run(["df", "--output=fstype", folder], stdout=subprocess.PIPE, text=True,
                          check=False)
    return (done.stdout.split() or ["unknown file system"])[-1]


def facts(opt, tags, folder, present, missing):
    with open("/proc/meminfo", encoding="ascii") as file:
        memory_kib = int(file.readline().split()[1])
    shown = ["tests/bench/run.py"]
    shown += (["--quick"] if opt.quick else []) + (["--huge"] if opt.huge and opt.quick else [])
    shown.append(f"--pairs {opt.pairs}")
    shown += [f"--rows {opt.rows}"] if opt.rows else []
    shown += [f"--only '{opt.only}'"] if opt.only else []
    shown.append(f"--tags {tags}")
    if opt.many:
        shown.append("--many")
    return {"date": datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%d %H:%M UTC"),
            "cores": os.cpu_count(), "cpu": cpu_model(), "memory_gib": round(memory_kib / 2**20),
            "kernel": platform.release(), "file_system": file_system(folder),
            "load_average": os.getloadavg()[0], "command": " ".join(shown), "quick": opt.quick,
            "pairs": opt.pairs, "tags": tags, "huge": opt.huge or not opt.quick, "many": opt.many,
            "missing": missing,
            "unsynced": [s.name for s in present if not s.synced],
            "subjects": [[s.name, s.kind, s.version] for s in present]}


def rows_of(seen):
    if seen.get("many"):
        return rows_module.many_rows(1 if seen["quick"] else 3, seen["tags"])
    return rows_module.all_rows(seen["quick"], seen["tags"], seen["huge"])


def take(opt, tags):
    """Runs everything; the result is what --save keeps."""
    load = os.path.join(opt.build, "tests", "bench", "bench_load")
    bare = os.path.join(opt.build, "tests", "bench", "bench_bare")
    for program in (load, bare):
        if not os.access(program, os.X_OK):
            sys.exit(f"bench: no program at {program}: build it, or give --build")
    stowage = os.environ.get("STOWAGE") or os.path.join(opt.build, "stowage")
    present, missing = subjects_module.find_all(stowage, bare)
    if opt.only:
        names = opt.only.split(",")
        present = [s for s in present if s.name in names]
    wanted = rows_of({"many": opt.many, "quick": opt.quick, "tags": tags,
                      "huge": opt.huge or not opt.quick})
    if opt.rows:
        wanted = [r for r in wanted if r.key.startswith(tuple(opt.rows.split(",")))]
    with tempfile.TemporaryDirectory(prefix="bench-", dir=opt.dir) as folder:
        os.chmod(folder, 0o755)
        result = {"facts": facts(opt, tags, folder, present, missing), "rows": {}}
        bench = Bench(load, folder, present)
        for row in wanted:
            result["rows"][row.key] = bench.run_row(row, opt.pairs)
            if opt.save:
                with open(opt.save, "w", encoding="utf-8") as file:
                    json.dump(result, file, indent=1)
    return result


def merge(results):
    """One result of slices that were taken one after another; they must be alike in everything but
    rows, servers and pairs. Every row keeps what was measured in its own slice."""
    first = results[0]["facts"]
    for other in (r["facts"] for r in results[1:]):
        for key in ("quick", "many", "tags", "cores", "cpu", "kernel", "file_system"):
            if other.get(key) != first.get(key):
                sys.exit(f"bench: these files differ in {key}: {first.get(key)}, {other.get(key)}")
    subjects, rows = {}, {}
    for result in results:
        for name, kind, version in result["facts"]["subjects"]:
            if subjects.setdefault(name, [name, kind, version])[2] != version:
                sys.exit(f"bench: these files have different versions of {name}")
        rows.update(result["rows"])
    kinds = {"ours": 0, "peer": 1, "baseline": 2}
    seen = {**first, "subjects": sorted(subjects.values(), key=lambda s: kinds[s[1]]),
            "huge": any(r["facts"]["huge"] for r in results),
            "unsynced": sorted({n for r in results for n in r["facts"]["unsynced"]}),
            "missing": sorted({n for r in results for n in r["facts"]["missing"]} - set(subjects)),
            "slices": [{key: r["facts"][key] for key in ("date", "command", "load_average")}
                       for r in results]}
    return {"facts": seen, "rows": rows}


def main():
    # A polite end runs the clean-up that stops servers and removes roots.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    opt = arguments()
    opt.pairs = opt.pairs or (1 if opt.quick else 5)
    tags = opt.tags or (1000 if opt.quick else 100000)
    if opt.source:
        results = []
        for source in opt.source.split(","):
            with open(source, encoding="utf-8") as file:
                results.append(json.load(file))
        result = merge(results) if len(results) > 1 else results[0]
    else:
        result = take(opt, tags)
    seen = result["facts"]
    many = seen.get("many")
    text = table.render(result, rows_of(seen),
                        rows_module.MANY_CONDITIONS if many else rows_module.CONDITIONS)
    if opt.write:
        table.write(opt.write, text, table.MANY if many else table.ALL)
    print(text)


if __name__ == "__main__":
    main()
