#!/usr/bin/env python3
"""Reads the report of one OCI conformance run and says whether it is the perfect one.

The exit status of a suite is not enough: it is 0 on skips, on a configuration
that does not load and on results that cannot be written. So this program takes
the folder the suite wrote to, and requires that the reports exist, that the run
was made with the settings asked for, that nothing failed, was skipped or
errored, and that the totals are those of a complete run.

usage: check.py newest DIR OUTPUT VERSION SPARSE PASSES DISABLED
       check.py v1.1.1 DIR SPECS PASSES

Prints one line of totals, then one line for each finding. Status 0: perfect.
"""

import os
import sys
import xml.etree.ElementTree as ElementTree

FINDINGS_MAX = 40  # failing checks printed of one run
DETAIL_MAX = 400  # characters printed of one failing check

# What version 1.1 and a run without sparse data switch off in the suite itself.
DISABLED_AT_1_1 = {
    "Blob upload cancel",
    "Manifest put with tag params",
    "Tag Param",
    "Tag Param sha512",
}
DISABLED_UNLESS_SPARSE = {"Sparse Manifests"}

# The four specs of v1.1.1 that no single run can execute: two need a registry
# filled beforehand, one runs only if a mount was refused, and the tests for
# automatic mounting on and off exclude each other.
SKIPPED_AT_V111 = (
    "Get tag name from environment",
    "Populate registry with test tags (no push)",
    "Cross-mounting of nonexistent blob should yield session id",
    "automatic content discovery disabled should return a 202",
)
SPEC_PREFIX = "OCI Distribution Conformance Tests "


class Unreadable(Exception):
    """A report is absent or not of the known form."""


def read_results_yaml(path):
    """The two-level subset of YAML that results.yaml is written in.

    Returns {"config": {...}, "apis": {...}, "data": {...}}; deeper levels of
    config get dotted names ("data.sparse").
    """
    sections = {}
    stack = []
    with open(path, encoding="utf-8") as lines:
        for line in lines:
            if not line.strip():
                continue
            name, colon, value = line.strip().partition(":")
            if not colon:
                continue
            depth = (len(line) - len(line.lstrip(" "))) // 2
            del stack[depth:]
            stack.append(name.strip('"'))
            section = sections.setdefault(stack[0], {})
            if depth > 0:
                section[".".join(stack[1:])] = value.strip().strip('"')
    for wanted in ("config", "apis", "data"):
        if not sections.get(wanted):
            raise Unreadable(f"results.yaml has no '{wanted}'")
    return sections


def parse_xml(path):
    try:
        return ElementTree.parse(path).getroot()
    except (OSError, ElementTree.ParseError) as error:
        raise Unreadable(f"junit.xml: {error}") from error


def first_text(case, *tags):
    for tag in tags:
        text = (case.findtext(tag) or "").strip()
        if text:
            return " | ".join(text.split("\n"))[:DETAIL_MAX]
    return ""


def check_settings(config, version, sparse, findings):
    """The suite must have run with what was asked for."""
    for name, wanted in (("version", version), ("data.sparse", sparse)):
        if config.get(name) != wanted:
            findings.append(f"ran with {name}={config.get(name)}, not {wanted}")


def check_tables(results, version, sparse, findings):
    """Every API and every kind of data must have been switched on, and pass."""
    allowed = set()
    if sparse != "true":
        allowed |= DISABLED_UNLESS_SPARSE
    if version == "1.1":
        allowed |= DISABLED_AT_1_1
    for table in ("apis", "data"):
        for name, status in results[table].items():
            expected = "Disabled" if name in allowed else "Pass"
            if status != expected:
                findings.append(f"{table}: {name}: {status}, expected {expected}")


def check_output(path, findings):
    """The printed verdict must agree with the reports."""
    with open(path, encoding="utf-8", errors="replace") as lines:
        verdict = [line for line in lines if line.startswith("OCI Conformance Result:")]
    if verdict != ["OCI Conformance Result: Pass\n"]:
        findings.append(f"printed verdict: {''.join(verdict).strip() or 'none'}")


def check_newest(directory, output, version, sparse, passes, disabled):
    findings = []
    for name in ("results.yaml", "junit.xml", "report.html"):
        path = os.path.join(directory, name)
        if not os.path.isfile(path) or os.path.getsize(path) == 0:
            raise Unreadable(f"no {name}: the suite did not finish")
    results = read_results_yaml(os.path.join(directory, "results.yaml"))
    root = parse_xml(os.path.join(directory, "junit.xml"))
    count = {
        name: int(root.get(name, "0"))
        for name in ("tests", "failures", "errors", "skipped", "disabled")
    }
    passed = count["tests"] - sum(count[name] for name in count if name != "tests")

    check_settings(results["config"], version, sparse, findings)
    check_output(output, findings)
    for got, wanted, what in (
        (passed, passes, "passed"),
        (count["failures"], 0, "failed"),
        (count["skipped"], 0, "skipped"),
        (count["errors"], 0, "errored"),
        (count["disabled"], disabled, "disabled"),
    ):
        if got != wanted:
            findings.append(f"{got} {what}, expected {wanted}")
    may_skip = disabled
    for case in root.iter("testcase"):
        status = case.get("status")
        if status == "passed":
            continue
        if status == "skipped" and may_skip > 0 and "is disabled" in first_text(case, "system-err"):
            may_skip -= 1
            continue
        detail = first_text(case, "system-out", "system-err")
        findings.append(f"{status}: {case.get('name')}: {detail}")
    check_tables(results, version, sparse, findings)
    totals = (
        f"{passed} of {passes} checks, {count['failures']} fail, {count['skipped']} skip, "
        f"{count['errors']} error, {count['disabled']} disabled"
    )
    return totals, findings


def check_v111(directory, specs, passes):
    findings = []
    root = parse_xml(os.path.join(directory, "junit.xml"))
    count = {}
    unexpected_skips = []
    # The report holds one more entry, its own reporter.
    cases = [c for c in root.iter("testcase") if c.get("name", "").startswith(SPEC_PREFIX)]
    for case in cases:
        status = case.get("status")
        count[status] = count.get(status, 0) + 1
        if status == "passed":
            continue
        if status == "skipped":
            if not case.get("name").endswith(SKIPPED_AT_V111):
                unexpected_skips.append(case.get("name"))
            continue
        failure = case.find("failure")
        detail = (failure.get("message") or "") if failure is not None else ""
        detail = " | ".join(line.strip() for line in detail.split("\n") if line.strip())
        findings.append(f"{status}: {case.get('name')}: {detail[:DETAIL_MAX]}")
    findings += [f"skipped: {name}" for name in unexpected_skips]
    passed, skipped = count.get("passed", 0), count.get("skipped", 0)
    if len(cases) != specs:
        findings.append(f"{len(cases)} specs in the report, expected {specs}")
    if passed != passes:
        findings.append(f"{passed} passed, expected {passes}")
    failed = len(cases) - passed - skipped
    return f"{passed} of {specs} specs, {failed} fail, {skipped} cannot run", findings


def main(argv):
    try:
        if argv[1] == "newest":
            totals, findings = check_newest(
                argv[2], argv[3], argv[4], argv[5], int(argv[6]), int(argv[7])
            )
        elif argv[1] == "v1.1.1":
            totals, findings = check_v111(argv[2], int(argv[3]), int(argv[4]))
        else:
            raise IndexError
    except Unreadable as error:
        totals, findings = "no result", [str(error)]
    except (IndexError, ValueError):
        sys.stderr.write(__doc__)
        return 2
    print(totals)
    for finding in findings[:FINDINGS_MAX]:
        print(f"  {finding}")
    if len(findings) > FINDINGS_MAX:
        print(f"  and {len(findings) - FINDINGS_MAX} more")
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv))
