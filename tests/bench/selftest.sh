#!/usr/bin/env bash
# The self-test of the load tool against a build: selftest.sh [BUILD], default build.
set -euo pipefail

readonly HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
readonly BUILD=${1:-$HERE/../../build}

exec python3 "$HERE/selftest.py" "$BUILD/tests/bench/bench_load" "$BUILD/tests/bench/bench_bare"
