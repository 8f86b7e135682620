"""The rows of the table: what is driven, against which servers, which figures count, and the
conditions that must hold.

A figure is (key, title, unit, better, of) where "of" takes the load tool's report.
"""


class Figure:
    def __init__(self, key, title, unit, better, of):
        self.key = key
        self.title = title
        self.unit = unit
        self.better = better  # "lower" or "higher"
        self.of = of


class Row:
    """One scenario with its arguments. fresh: an empty root for each measurement."""

    ours_once = False  # measured for our program alone, in one round
    disk_bytes = 0     # left out where less is free
    filled = 0         # tags and repositories its root is filled with, see fill.py
    many_files = False # its roots stay to the end, see Bench.measure

    def __init__(self, key, scenario, args, figures, fresh=False, baselines=()):
        self.key = key
        self.scenario = scenario
        self.args = args
        self.figures = figures
        self.fresh = fresh
        self.baselines = dict(baselines)  # subject name -> (scenario, args)


SMALL = ("get-path", ["--path", "/manifest", "--length", "1024"])
LARGE = ("get-path", ["--path", "/blob", "--length", str(256 * 2**20)])
RAW = "put-raw"


def cpu_us(title):
    return Figure("cpu", title + ", server CPU", "µs/op", "lower", lambda r: r["cpu_us_per_op"])


def cpu_gib(title):
    return Figure("gib", title + ", server CPU", "s/GiB", "lower", lambda r: r["cpu_s_per_gib"])


def rate(title):
    return Figure("rate", title, "ops/s", "higher", lambda r: r["ops_per_s"])


def p99(title):
    return Figure("p99", title + ", p99", "ms", "lower", lambda r: r["p99_us"] / 1000)


def speed(title):
    return Figure("speed", title, "MiB/s", "higher", lambda r: r["mib_per_s"])


def gap(title):
    return Figure("gap", title + ", last byte to headers", "ms", "lower",
                  lambda r: r["gap_max_ms"])


def mib(key, title, of):
    return Figure(key, title, "MiB", "lower", lambda r: of(r) / 1024)


def small_rows(seconds):
    args = ["--clients", "16", "--seconds", str(seconds)]
    result = []
    for scenario, title in (("manifest-get", "manifest GET"), ("manifest-head", "manifest HEAD"),
                            ("blob-get-small", "4 KiB blob GET"),
                            ("blob-head", "4 KiB blob HEAD")):
        result.append(Row(scenario, scenario, args, [cpu_us(title), rate(title), p99(title)],
                          baselines={"bare MHD": (SMALL[0], SMALL[1] + args)}))
    return result


def large_rows(seconds, ops):
    result = []
    for clients in (1, 4):
        of = f"256 MiB blob GET, {clients} client" + ("s" if clients > 1 else "")
        args = ["--clients", str(clients), "--seconds", str(seconds)]
        result.append(Row(f"blob-get-large-{clients}", "blob-get-large", args,
                          [cpu_gib(of), speed(of)],
                          baselines={"bare MHD": (LARGE[0], LARGE[1] + args),
                                     "nginx": (LARGE[0], LARGE[1] + args)}))
    for scenario, how, clients in (("push-large", "256 MiB push", 1),
                                   ("push-large", "256 MiB push", 4),
                                   ("push-large-put", "256 MiB push by one PUT", 1)):
        of = f"{how}, {clients} client" + ("s" if clients > 1 else "")
        args = ["--clients", str(clients), "--ops", str(max(ops, clients))]
        result.append(Row(f"{scenario}-{clients}", scenario, args, [cpu_gib(of), speed(of)],
                          fresh=True, baselines={"bare receive": (RAW, args)}))
    return result


def small_files(*args, **named):
    """A row whose servers leave thousands of small files."""
    row = Row(*args, **named)
    row.many_files = True
    return row


def write_rows(seconds, tags):
    time = ["--seconds", str(seconds)]
    return [
        small_files("push-small", "push-small", ["--clients", "16", *time],
                    [rate("4 KiB blob push, 16 clients"), cpu_us("4 KiB blob push"),
                     p99("4 KiB blob push")], fresh=True),
        small_files("tag-commits", "tag-commits", ["--clients", "64", *time],
                    [rate("tag commits, 64 writers, one repository"), p99("tag commits")],
                    fresh=True),
        *tags_rows(time, tags),
    ]


def cpu_ms(title):
    return Figure("cpu", title + ", server CPU", "ms/op", "lower",
                  lambda r: r["cpu_us_per_op"] / 1000)


def tags_rows(time, tags):
    many = ["--tags", str(tags), "--repo", "bench/many", *time]
    return [Row("tag-commits-many", "tag-commits", ["--clients", "64", *many],
                [rate(f"tag commits, 64 writers, {tags:,} tags there")]),
            Row("tags-page", "tags-page", ["--clients", "1", *many],
                [cpu_ms(f"tags page of 100 in {tags:,}")])]


def many_rows(seconds, count):
    """One repository with very many tags, and as many repositories, in stores that were filled."""
    time = ["--seconds", str(seconds)]
    path = f"/v2/bench/many/manifests/pre{count // 3:07d}"
    result = [
        Row("first-get", "get-path", ["--clients", "1", "--ops", "1", "--cold", "--path", path],
            [Figure("first", f"first manifest GET after start, {count:,} tags there", "ms", "lower",
                    lambda r: r["p50_us"] / 1000)]),
        *tags_rows(time, count),
        Row("catalog-page", "catalog-page", ["--clients", "1", "--tags", str(count), *time],
            [cpu_ms(f"catalog page of 100 in {count:,}"),
             mib("rss", "memory after these pages", lambda r: r["after"]["rss_kib"])]),
    ]
    for row in result:
        row.filled = count
    return result


def memory_rows(connections, storm_ops):
    return [
        Row("idle", "idle-memory", [],
            [mib("rss", "memory idle, resident", lambda r: r["after"]["rss_kib"]),
             mib("anon", "memory idle, anonymous", lambda r: r["after"]["anon_kib"]),
             Figure("start", "start to first answer", "ms", "lower", lambda r: r["started_ms"])],
            fresh=True),
        Row("idle-connections", "idle-connections", ["--clients", str(connections)],
            [Figure("kib", f"memory of an idle connection, {connections} held", "KiB", "lower",
                    lambda r: r["kib_per_connection"])]),
        Row("pull-storm", "pull-storm", ["--clients", "64", "--ops", str(storm_ops)],
            [mib("peak", "pull storm of 64 clients, peak memory",
                 lambda r: r["after"]["peak_kib"]),
             cpu_gib("pull storm"), speed("pull storm")]),
    ]


def gap_rows(quick, huge):
    args = ["--clients", "1", "--ops", "1" if quick else "3"]
    ways = (("last-byte", "PATCH and PUT"), ("last-byte-put", "one PUT"))
    result = [Row(scenario, scenario, args, [gap(f"64 MiB, {way}")], fresh=True)
              for scenario, way in ways]
    for scenario, way in ways if huge else ():
        huge = Row(scenario + "-huge", scenario,
                   ["--clients", "1", "--ops", "1", "--cold", "--bytes", str(6 * 2**30)],
                   [gap(f"6 GiB, {way}")], fresh=True)
        huge.ours_once = True
        huge.disk_bytes = 20 * 2**30
        result.append(huge)
    return result


def all_rows(quick, tags, huge):
    """huge: also the rows of 6 GiB."""
    seconds = 1 if quick else 3
    return (small_rows(seconds) + large_rows(seconds, 1 if quick else 4) +
            write_rows(seconds, tags) + memory_rows(200 if quick else 1000, 64 if quick else 128) +
            gap_rows(quick, huge))


MANY_CONDITIONS = [
    ("first manifest GET ≤ 50 ms", "first-get", "first", "max", None, 50),
    ("tags page ≤ 0.2 ms of CPU", "tags-page", "cpu", "max", None, 0.2),
    ("catalog page ≤ 0.2 ms of CPU", "catalog-page", "cpu", "max", None, 0.2),
]

# Conditions: (text, row, figure, kind, subject or None, factor).
#   "peer":  ours <= factor x best peer (lower) or >= factor x best peer (higher)
#   "is":    the same against one named subject
#   "max":   ours <= factor, in the figure's unit
#   "later": ours - ours in the row named as subject <= factor
CONDITIONS = [
    *[(f"{name}: CPU ≤ 1/3 of the best peer", row, "cpu", "peer", None, 1 / 3)
      for row, name in (("manifest-get", "manifest GET"), ("manifest-head", "manifest HEAD"),
                        ("blob-get-small", "4 KiB blob GET"), ("blob-head", "4 KiB blob HEAD"))],
    *[(f"{name}: CPU ≤ 2 × bare libmicrohttpd", row, "cpu", "is", "bare MHD", 2)
      for row, name in (("manifest-get", "manifest GET"), ("manifest-head", "manifest HEAD"),
                        ("blob-get-small", "4 KiB blob GET"), ("blob-head", "4 KiB blob HEAD"))],
    ("256 MiB GET: CPU ≤ 1.1 × nginx sendfile", "blob-get-large-1", "gib", "is", "nginx", 1.1),
    ("256 MiB push: CPU ≤ 1.25 × bare receive loop", "push-large-1", "gib", "is", "bare receive",
     1.25),
    ("256 MiB push: CPU below every peer", "push-large-1", "gib", "peer", None, 1),
    ("256 MiB push, 1 client: faster than every peer", "push-large-1", "speed", "peer", None, 1),
    ("256 MiB push, 4 clients: faster than every peer", "push-large-4", "speed", "peer", None, 1),
    ("4 KiB push: ≥ 5 × distribution 3", "push-small", "rate", "is", "distribution 3", 5),
    ("tag commits: ≥ 8 × distribution 3", "tag-commits", "rate", "is", "distribution 3", 8),
    ("idle memory ≤ 16 MiB", "idle", "rss", "max", None, 16),
    ("idle memory, anonymous ≤ 4 MiB", "idle", "anon", "max", None, 4),
    ("idle connection ≤ 36 KiB", "idle-connections", "kib", "max", None, 36),
    ("pull storm ≤ 48 MiB", "pull-storm", "peak", "max", None, 48),
    ("first answer ≤ 20 ms after start", "idle", "start", "max", None, 20),
    *[(f"{size}, {way}: headers < 1 s after the last byte", row + tail, "gap", "max", None, 1000)
      for size, tail in (("64 MiB", ""), ("6 GiB", "-huge"))
      for row, way in (("last-byte", "PATCH and PUT"), ("last-byte-put", "one PUT"))],
    *[(f"6 GiB, {way}: headers < 200 ms later than with 64 MiB", row + "-huge", "gap", "later",
       row, 200) for row, way in (("last-byte", "PATCH and PUT"), ("last-byte-put", "one PUT"))],
]
