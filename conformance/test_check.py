#!/usr/bin/env python3
"""check.py must accept a perfect report and nothing else: each case below spoils one thing.

Ends with 'N passed, N failed, N skipped'.
"""

import os
import sys
import tempfile

sys.dont_write_bytecode = True
import check  # noqa: E402

RESULTS = """config:
  registry: 127.0.0.1:1
  data:
    image: true
    sparse: {sparse}
  version: {version}
apis:
  Blob upload cancel: {cancel}
  Ping: Pass
data:
  Image: {image}
  Sparse Manifests: {sparse_data}
"""
JUNIT = """<testsuites tests="{tests}" failures="{failures}" errors="{errors}" skipped="{skipped}"
 disabled="{disabled}"><testsuite name="t">
 <testcase name="a" status="passed"/><testcase name="b" status="{status}"><system-out>why</system-out>
 </testcase></testsuite></testsuites>"""
PERFECT = {
    "sparse": "false", "version": "dev", "cancel": "Pass", "image": "Pass",
    "sparse_data": "Disabled", "tests": 5, "failures": 0, "errors": 0, "skipped": 0,
    "disabled": 0, "status": "passed", "verdict": "Pass", "html": "<html>",
}  # fmt: skip
SPOILT = (
    ("a failure", {"failures": 1, "tests": 6, "status": "failure", "verdict": "FAIL"}),
    ("a failure that the verdict hides", {"failures": 1, "tests": 6}),
    ("a failing case in a clean count", {"status": "failure"}),
    ("a skip", {"skipped": 1, "tests": 6, "status": "skipped"}),
    ("an error", {"errors": 1, "tests": 6, "status": "error"}),
    ("one check less", {"tests": 4}),
    ("one check more", {"tests": 6}),
    ("a check disabled", {"disabled": 1, "tests": 6}),
    ("an API disabled", {"cancel": "Disabled"}),
    ("an API skipped", {"cancel": "Skip"}),
    ("data disabled", {"image": "Disabled"}),
    ("another version", {"version": "1.1"}),
    ("sparse data in a plain run", {"sparse": "true", "sparse_data": "Pass"}),
    ("a verdict of failure", {"verdict": "FAIL"}),
    ("no verdict", {"verdict": None}),
    ("an empty report", {"html": ""}),
)
SPEC = '<testcase name="OCI Distribution Conformance Tests {name}" status="{status}"/>'
UNRUNNABLE = check.SKIPPED_AT_V111


def newest_is_perfect(values):
    with tempfile.TemporaryDirectory() as folder:
        output = os.path.join(folder, "output")
        verdict = values["verdict"]
        files = {
            "results.yaml": RESULTS.format(**values),
            "junit.xml": JUNIT.format(**values),
            "report.html": values["html"],
            "output": f"OCI Conformance Result: {verdict}\n" if verdict else "",
        }
        for name, text in files.items():
            with open(os.path.join(folder, name), "w", encoding="utf-8") as sink:
                sink.write(text)
        try:
            return not check.check_newest(folder, output, "dev", "false", 5, 0)[1]
        except check.Unreadable:
            return False


def v111_is_perfect(specs):
    with tempfile.TemporaryDirectory() as folder:
        cases = "".join(SPEC.format(name=name, status=status) for name, status in specs)
        with open(os.path.join(folder, "junit.xml"), "w", encoding="utf-8") as sink:
            sink.write(f'<testsuites><testcase name="reporter"/>{cases}</testsuites>')
        return not check.check_v111(folder, 6, 2)[1]


def main():
    perfect = [("one", "passed"), ("two", "passed")] + [(name, "skipped") for name in UNRUNNABLE]
    outcomes = [("a perfect report", newest_is_perfect(PERFECT), True)]
    outcomes += [(name, newest_is_perfect({**PERFECT, **bad}), False) for name, bad in SPOILT]
    outcomes.append(("v1.1.1: perfect", v111_is_perfect(perfect), True))
    for name, specs in (
        ("a failure", [("one", "failed")] + perfect[1:]),
        ("a panic", [("one", "panicked")] + perfect[1:]),
        ("another skip", [("one", "skipped")] + perfect[1:]),
        ("a spec less", perfect[1:]),
        ("nothing", []),
    ):
        outcomes.append((f"v1.1.1: {name}", v111_is_perfect(specs), False))
    failed = 0
    for name, got, wanted in outcomes:
        if got != wanted:
            failed += 1
            print(f"FAIL {name}: {'accepted' if got else 'refused'}")
    print(f"{len(outcomes) - failed} passed, {failed} failed, 0 skipped")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
