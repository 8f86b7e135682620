#!/usr/bin/env bash
# Installs what is missing and runs the tests.
#
#   ./test.sh          gcc build, lints, unit, store and API tests, the same under ASan and UBSan
#   ./test.sh all      adds clang, TSan, load, real clients, nginx and HAProxy in front, S3, the
#                      conformance suites, Go clients
#   ./test.sh fuzz     fuzzes each target for FUZZ_SECONDS (default 60), see tests/fuzz/run.sh
#   ./test.sh matrix   compilers x build types, for a table kept by hand; a layer of 6 GiB; what
#                      takes too long for every day
#
# Prints seconds and counts of each suite, what is missing by name (a line of a suite's output that
# begins with "missing"), and at the end one plain line
# `N passed, N failed, N skipped`. Full output: build-logs/SUITE.log
set -uo pipefail

readonly HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
readonly LOGS=$HERE/build-logs
readonly FAILURE_LINES_MAX=60 NAMED_FAILURES_MAX=8 FAILURE_CHARS_MAX=1200 # of a suite
# Whole seconds a suite may take before it is ended and counts as failed.
readonly BUILD_SECONDS_MAX=600 MESON_SECONDS_MAX=900 API_SECONDS_MAX=600
readonly FAULT_SECONDS_MAX=900 CLIENTS_SECONDS_MAX=1200 PROXY_SECONDS_MAX=900 GO_SECONDS_MAX=1800
readonly CONFORMANCE_SECONDS_MAX=1200 SELFTEST_SECONDS_MAX=300
readonly S3_SECONDS_MAX=600
readonly LOAD_SECONDS_MAX=480 RATE_SECONDS_MAX=300 FSCK_SECONDS_MAX=300 COPY_SECONDS_MAX=600 SOAK_SECONDS_MAX=400
readonly EVENTS_SECONDS_MAX=900 SCALE_SECONDS_MAX=900
# Beside the fuzzing itself: reading the corpus, replaying a crash.
readonly FUZZ_SECONDS_BESIDE=60

export LC_ALL=C.UTF-8 TZ=UTC PYTHONDONTWRITEBYTECODE=1
export ASAN_OPTIONS=detect_leaks=1:strict_string_checks=1:abort_on_error=0
export UBSAN_OPTIONS=print_stacktrace=1:halt_on_error=1
export TSAN_OPTIONS=halt_on_error=1:second_deadlock_stack=1

rows=() passed=0 failed=0 skipped=0
python=/usr/bin/python3
[ -x "$python" ] || python=python3

say() { printf '%s\n' "$*"; }

row() { # NAME SECONDS PASSED FAILED SKIPPED
    local line
    line=$(printf '%-18s %7s %7s %7s %7s' "$@")
    rows+=("$line")
    say "$line"
    passed=$((passed + $3)) failed=$((failed + $4)) skipped=$((skipped + $5))
}

# Runs a command whose last line of counts is believed, unless its status says otherwise.
suite() { # NAME SECONDS_MAX COMMAND...
    local name=$1 limit=$2 log=$LOGS/$1.log status=0 begin=$SECONDS counts p=0 f=0 s=0
    shift 2
    timeout --kill-after=20 "$limit" "$@" >"$log" 2>&1 </dev/null || status=$?
    counts=$(grep -aE '^[0-9]+ passed, [0-9]+ failed, [0-9]+ skipped$' "$log" | tail -n 1)
    if [ -n "$counts" ]; then
        read -r p _ f _ s _ <<<"$counts"
    elif [ "$status" = 0 ]; then
        say "$name: no line of counts at its end" | tee -a "$log"
        status=1
    fi
    [ "$status" = 124 ] && say "$name: ended after $limit seconds" | tee -a "$log"
    if [ "$status" != 0 ] && [ "$f" = 0 ]; then f=1; fi
    row "$name" $((SECONDS - begin)) "$p" "$f" "$s"
    if [ "$f" != 0 ]; then
        tail -n "$FAILURE_LINES_MAX" "$log" | sed 's/^/    /'
    fi
    [ "$f" = 0 ]
}

# A build is one case.
build() { # FOLDER OPTION...
    local folder=$HERE/$1
    shift
    if [ -f "$folder/build.ninja" ]; then
        meson setup --reconfigure "$folder" "$HERE" "$@" || meson setup --wipe "$folder" "$HERE" "$@"
    else
        meson setup "$folder" "$HERE" "$@"
    fi && ninja -C "$folder" && say "1 passed, 0 failed, 0 skipped"
}

meson_tests() { # FOLDER NAME SUITE...
    local folder=$HERE/$1 name=$2 which=() one
    shift 2
    for one in "$@"; do which+=(--suite "$one"); done
    rm -f "$folder/meson-logs/$name.json"
    meson test -C "$folder" --no-rebuild --logbase "$name" "${which[@]}" >/dev/null
    "$python" "$HERE/tests/summary.py" "$folder/meson-logs/$name.json"
}

build_suite() { # NAME FOLDER OPTION...
    local name=$1
    shift
    suite "$name" "$BUILD_SECONDS_MAX" "$HERE/test.sh" --step build "$@" -Dwerror=true -Dtests=enabled
}

meson_suite() { # NAME FOLDER SUITE...
    local name=$1 folder=$2
    shift 2
    suite "$name" "$MESON_SECONDS_MAX" "$HERE/test.sh" --step meson_tests "$folder" "$name" "$@"
}

api_suite() { # NAME FOLDER
    suite "$1" "$API_SECONDS_MAX" "$python" "$HERE/tests/api/run.py" --stowage "$HERE/$2/stowage"
}

archive_suite() { # NAME FOLDER
    suite "$1" "$API_SECONDS_MAX" "$python" "$HERE/tests/archive/run.py" \
        --stowage "$HERE/$2/stowage"
}

rate_suite() { # NAME FOLDER OPTION
    suite "$1" "$RATE_SECONDS_MAX" "$python" "$HERE/tests/rate/run.py" \
        --stowage "$HERE/$2/stowage" "$3"
}

auth_suite() { # NAME FOLDER [OPTION]
    suite "$1" "$API_SECONDS_MAX" "$python" "$HERE/tests/auth/run.py" \
        --stowage "$HERE/$2/stowage" ${3:+"$3"}
}

load_suite() { # NAME FOLDER OPTION
    suite "$1" "$LOAD_SECONDS_MAX" "$python" "$HERE/tests/load/run.py" \
        --stowage "$HERE/$2/stowage" "$3"
}

fault_suite() { # NAME FOLDER OPTION...
    local name=$1 folder=$2
    shift 2
    suite "$name" "$FAULT_SECONDS_MAX" \
        "$python" "$HERE/tests/fault/run.py" --stowage "$HERE/$folder/stowage" "$@"
}

copy_suite() { # NAME FOLDER OPTION...
    local name=$1 folder=$2
    shift 2
    suite "$name" "$COPY_SECONDS_MAX" "$python" "$HERE/tests/copy/run.py" \
        --stowage "$HERE/$folder/stowage" "$@"
}

events_suite() { # NAME FOLDER OPTION...
    local name=$1 folder=$2
    shift 2
    suite "$name" "$EVENTS_SECONDS_MAX" "$python" "$HERE/tests/events/run.py" \
        --stowage "$HERE/$folder/stowage" "$@"
}

fsck_suite() { # NAME FOLDER
    suite "$1" "$FSCK_SECONDS_MAX" "$python" "$HERE/tests/fsck/run.py" --stowage "$HERE/$2/stowage"
}

soak_suite() { # NAME FOLDER SECONDS
    suite "$1" "$SOAK_SECONDS_MAX" "$python" "$HERE/tests/soak/run.py" \
        --stowage "$HERE/$2/stowage" --seconds "$3"
}

quick() {
    if build_suite build-gcc build; then
        meson_suite lint build lint
        meson_suite unit build unit
        meson_suite store build store
        meson_suite fuzz-regress build fuzz-regress
        meson_suite sim build sim
        meson_suite program build build
        api_suite api build
        [ "$tier" = all ] || fault_suite fault build --quick
        archive_suite archive build
        auth_suite auth build
        fsck_suite fsck build
        [ "$tier" = all ] || events_suite events build
        [ "$tier" = all ] || soak_suite soak build 8
    fi
    if build_suite build-asan build-asan -Db_sanitize=address,undefined; then
        meson_suite asan-unit build-asan unit store fuzz-regress
        api_suite asan-api build-asan
    fi
}

clients() {
    suite go-clients "$GO_SECONDS_MAX" "$HERE/test.sh" --step go_clients
    STOWAGE=$HERE/build/stowage suite clients "$CLIENTS_SECONDS_MAX" \
        "$python" "$HERE/tests/clients/run.py" --path "$HERE/build-clients"
    suite proxy "$PROXY_SECONDS_MAX" "$python" "$HERE/tests/proxy/run.py" \
        --stowage "$HERE/build/stowage" --path "$HERE/build-clients"
}

# A real S3 server, which the step before has built where there is Go.
s3() { # NAME BUILD_FOLDER OPTION...
    local name=$1 folder=$2
    shift 2
    suite "$name" "$S3_SECONDS_MAX" "$python" "$HERE/tests/s3/run.py" --stowage "$HERE/$folder/stowage" \
        --path "$HERE/build-clients" --conformance \
        --unit "$HERE/$folder/tests/unit/test_blobstore_store_s3" "$@"
}

s3_faults() { # NAME BUILD FOLDER OPTION...
    local name=$1 folder=$2
    shift 2
    suite "$name" "$S3_SECONDS_MAX" "$python" "$HERE/tests/s3/faults.py" \
        --stowage "$HERE/$folder/stowage" --path "$HERE/build-clients" "$@"
}

# Says itself what is missing; what it brings is tested by the suite clients.
go_clients() { # [OPTION]
    GO_JOBS=$(nproc) "$HERE/tests/clients/install-go.sh" "$HERE/build-clients" "$@" &&
        say "0 passed, 0 failed, 0 skipped"
}

# Stores that take long to build: the whole suite but the conformance suite, and a store that stops.
other_stores() {
    local store
    suite go-stores "$GO_SECONDS_MAX" "$HERE/test.sh" --step go_clients --stores
    for store in minio rclone; do
        suite "s3-$store" "$S3_SECONDS_MAX" "$python" "$HERE/tests/s3/run.py" --server "$store" \
            --stowage "$HERE/build/stowage" --path "$HERE/build-clients"
        s3_faults "s3-faults-$store" build --server "$store" --only store_stopped
    done
}

all() {
    quick
    if [ -x "$HERE/build/stowage" ]; then fault_suite fault build --full --every 5; fi
    if [ -x "$HERE/build-asan/stowage" ]; then
        archive_suite asan-archive build-asan
        fsck_suite asan-fsck build-asan
        fault_suite asan-fault build-asan --quick
    fi
    meson_suite twice build build-twice
    if CC=clang-14 build_suite build-clang build-clang; then
        meson_suite clang-unit build-clang unit store fuzz-regress
    fi
    if CC=clang-14 build_suite build-tsan build-tsan -Db_sanitize=thread -Db_lundef=false; then
        meson_suite tsan-unit build-tsan unit store fuzz-regress
        api_suite tsan-api build-tsan
    fi
    load_suite load build --full
    rate_suite rate build --full
    auth_suite auth-load build --load
    copy_suite copy build
    copy_suite asan-copy build-asan
    if [ -x "$HERE/build/stowage" ]; then
        soak_suite soak build 60
        suite api-slow "$API_SECONDS_MAX" "$python" "$HERE/tests/api/run.py" --slow \
            --stowage "$HERE/build/stowage" --only of_thousands,of_hundreds
    fi
    events_suite events build --full
    # Other suites' disk traffic is still under way: times may be twice what a quiet machine shows.
    suite scale "$SCALE_SECONDS_MAX" "$python" "$HERE/tests/scale/run.py" --stowage "$HERE/build/stowage" \
        --tags 100000 --manifests 5000 --updates 4000 --slack 2
    meson_suite sim-all build sim-all
    meson_suite sim-mutants build sim-mutants
    clients
    copy_suite s3-copy build --s3 "$HERE/build-clients"
    s3 s3 build
    s3_faults s3-faults build
    suite s3-api "$API_SECONDS_MAX" "$python" "$HERE/tests/api/run.py" \
        --stowage "$HERE/build/stowage" --s3 "$HERE/build-clients"
    STOWAGE=$HERE/build/stowage suite conformance "$CONFORMANCE_SECONDS_MAX" \
        "$HERE/conformance/run.sh"
    if [ -x "$HERE/tests/bench/selftest.sh" ]; then
        suite bench-selftest "$SELFTEST_SECONDS_MAX" "$HERE/tests/bench/selftest.sh"
    fi
}

fuzz() {
    local seconds=${FUZZ_SECONDS:-60} targets
    targets=$(find "$HERE/tests/fuzz" -maxdepth 1 -name 'fuzz_*.c' | wc -l)
    suite fuzz $((BUILD_SECONDS_MAX + targets * (seconds + FUZZ_SECONDS_BESIDE))) \
        "$HERE/tests/fuzz/run.sh" "$seconds"
}

matrix() {
    local compiler type name
    # What takes too long for everyday: a layer of 6 GiB.
    if build_suite build-gcc build; then
        STOWAGE=$HERE/build/stowage suite clients-big "$CLIENTS_SECONDS_MAX" "$python" \
            "$HERE/tests/clients/run.py" --only shapes --big
        fault_suite fault-whole build --full
        copy_suite copy-whole build --full
        suite scale "$SCALE_SECONDS_MAX" "$python" "$HERE/tests/scale/run.py" \
            --stowage "$HERE/build/stowage"
        suite go-clients "$GO_SECONDS_MAX" "$HERE/test.sh" --step go_clients
        s3 s3-large build --layer-mib 1024 --last-byte-mib 2048 --only large
        s3_faults s3-faults build --seconds 60 --down 90
        events_suite s3-events build --s3 "$HERE/build-clients"
        other_stores
    fi
    for compiler in gcc clang-14; do
        for type in debug debugoptimized release; do
            name=$compiler-$type
            if CC=$compiler build_suite "build-$name" "build-$name" --buildtype "$type"; then
                meson_suite "$name" "build-$name" unit store
            fi
        done
    done
}

# The failures once more, at the end, where they are read.
failures() {
    local log
    for log in "$LOGS"/*.log; do
        grep -aE '^ *(FAIL |not ok |---- [^:]*: (FAIL|TIMEOUT|ERROR))' "$log" |
            sed "s/^ */$(basename "$log" .log): /" | cut -c "1-$FAILURE_CHARS_MAX" | head -n "$NAMED_FAILURES_MAX"
    done
}

missing() {
    grep -ahiE '^ *missing' "$LOGS"/*.log 2>/dev/null | sed 's/^ *//' | sort -u
}

main() {
    local tier=${1:-quick} begin=$SECONDS tiers="build test"
    case $tier in
    quick) ;;
    all | matrix | fuzz) tiers="build test all" ;;
    *) sed -n '2,12s/^# \{0,1\}//p' "$0" >&2; exit 2 ;;
    esac
    rm -rf "$LOGS"
    mkdir -p "$LOGS"
    # shellcheck disable=SC2086
    "$HERE/tools/packages.sh" $tiers >"$LOGS/packages.log" || exit 1
    begin=$SECONDS
    say "$(printf '%-18s %7s %7s %7s %7s' suite seconds passed failed skipped)"
    "$tier"
    say ""
    say "$(printf '%-18s %7s %7s %7s %7s' suite seconds passed failed skipped)"
    printf '%s\n' "${rows[@]}"
    missing
    [ "$failed" = 0 ] || failures
    say "$((SECONDS - begin)) seconds"
    say "$passed passed, $failed failed, $skipped skipped"
    [ "$failed" = 0 ]
}

cd "$HERE" || exit 1
if [ "${1:-}" = --step ]; then # a step of a suite, in a process that can be ended
    shift
    "$@"
else
    main "$@"
fi
