#!/usr/bin/env bash
# Builds the fuzz targets with clang and lets each look for new inputs for some time.
#
#   tests/fuzz/run.sh SECONDS [TARGET...]    all targets when none is named
#
# STOWAGE_FUZZ_DIR (default build-fuzz-work) keeps what was found between runs: TARGET/ the inputs
# that reach new code, crashes/ those for which a property does not hold, TARGET.log. An input of
# crashes/ belongs into tests/fuzz/regress/TARGET once its cause is known. The last line counts
# targets.
set -uo pipefail

HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
ROOT=$(cd "$HERE/../.." && pwd)
BUILD=$ROOT/build-fuzz
FOUND=${STOWAGE_FUZZ_DIR:-$ROOT/build-fuzz-work}
readonly HERE ROOT BUILD FOUND
readonly INPUT_BYTES_MAX=8192 MEMORY_MIB_MAX=2048 ONE_INPUT_SECONDS_MAX=30
# Logs of what goes wrong on purpose; the report of a crash is in its replay.
readonly NOISY=" open http "

export ASAN_OPTIONS=detect_leaks=1:strict_string_checks=1
export UBSAN_OPTIONS=print_stacktrace=1:halt_on_error=1

seconds=${1:-}
case $seconds in '' | *[!0-9]*) sed -n '2,10s/^# \{0,1\}//p' "$0" >&2; exit 2 ;; esac
shift

if ! command -v clang-14 >/dev/null; then
    echo "missing: clang-14 (fuzzing)"
    echo "0 passed, 0 failed, 1 skipped"
    exit 0
fi
if [ ! -f "$BUILD/build.ninja" ]; then
    CC=clang-14 meson setup "$BUILD" "$ROOT" -Dfuzz=true -Db_lundef=false -Dtests=disabled || exit 1
fi
if [ $# = 0 ]; then
    for source in "$HERE"/fuzz_*.c; do
        name=${source##*/fuzz_}
        set -- "$@" "${name%.c}"
    done
fi
ninja -C "$BUILD" "${@/#/tests/fuzz/fuzz_}" || exit 1

replay() { # TARGET: runs a crash once more, with all it says
    local input
    for input in "$FOUND/crashes/$1"-*; do
        [ -f "$input" ] || continue
        echo "crash: $input"
        "$BUILD/tests/fuzz/fuzz_$1" "$input" 2>&1 | grep -avE '^ts=|^INFO' | head -n 40
    done
}

passed=0 failed=0
mkdir -p "$FOUND/crashes"
for target in "$@"; do
    mkdir -p "$FOUND/$target"
    folders=("$FOUND/$target" "$HERE/corpus/$target")
    [ -d "$HERE/regress/$target" ] && folders+=("$HERE/regress/$target")
    mask=0
    [[ $NOISY = *" $target "* ]] && mask=2
    if "$BUILD/tests/fuzz/fuzz_$target" -max_total_time="$seconds" -max_len=$INPUT_BYTES_MAX \
        -timeout=$ONE_INPUT_SECONDS_MAX -rss_limit_mb=$MEMORY_MIB_MAX -close_fd_mask=$mask \
        -artifact_prefix="$FOUND/crashes/$target-" -print_final_stats=1 "${folders[@]}" \
        >"$FOUND/$target.log" 2>&1 </dev/null; then
        passed=$((passed + 1))
    else
        failed=$((failed + 1))
        replay "$target"
    fi
    printf '%-12s %s inputs\n' "$target" \
        "$(sed -n 's/^stat::number_of_executed_units: *//p' "$FOUND/$target.log")"
done
echo "$passed passed, $failed failed, 0 skipped"
[ "$failed" = 0 ]
