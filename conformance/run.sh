#!/usr/bin/env bash
# Runs the OCI distribution conformance suites against one fresh node for each run,
# and accepts only perfect reports: nothing failed, skipped or errored, totals complete.
#
# The suites are programs of the distribution-spec project, built elsewhere. They are
# looked for in OCI_CONFORMANCE (paths, separated by colons or spaces) and on PATH under
# the names in SUITE_NAMES; which generation one is shows in how it answers.
set -euo pipefail

readonly HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
readonly SUITE_NAMES="oci-conformance conformance conformance-new conformance-1.1.1 conformance.test"
readonly START_SECONDS_MAX=30
readonly STOP_SECONDS_MAX=30
readonly SUITE_SECONDS_MAX=600
readonly LISTENING='.*listening on http://\(127\.0\.0\.1:[0-9]*\).*'
# A user with the password "open sesame", bcrypt of cost 4.
readonly USER_NAME=alice USER_PASSWORD='open sesame'
readonly USER_HASH='$2b$04$abcdefghijklmnopqrst0ulwZp40L1mrmcazJ5CnP/bTR4XU.aVva'
readonly SANITIZER='ERROR: [A-Za-z]*Sanitizer|runtime error:|WARNING: ThreadSanitizer'

# name | generation | reference policy | settings | expectation (for check.py)
readonly RUNS="
dev                     newest  strict  OCI_VERSION=dev                        dev false 986 0
sparse                  newest  none    OCI_VERSION=dev,OCI_DATA_SPARSE=true   dev true 1032 0
1.1                     newest  strict  OCI_VERSION=1.1                        1.1 false 860 2
basic                   newest  strict  OCI_VERSION=dev,AUTH=basic             dev false 986 0
bearer                  newest  strict  OCI_VERSION=dev,AUTH=bearer            dev false 986 0
v1.1.1-basic            v1.1.1  strict  OCI_DELETE_MANIFEST_BEFORE_BLOBS=0,AUTH=basic   79 75
v1.1.1-bearer           v1.1.1  strict  OCI_DELETE_MANIFEST_BEFORE_BLOBS=0,AUTH=bearer  79 75
v1.1.1-blobs-first      v1.1.1  strict  OCI_DELETE_MANIFEST_BEFORE_BLOBS=0     79 75
v1.1.1-manifests-first  v1.1.1  strict  OCI_DELETE_MANIFEST_BEFORE_BLOBS=1     79 75
"

usage() {
    cat <<'EOF'
usage: conformance/run.sh [--runs NAME,NAME] [--results DIR] [--registry HOST:PORT]

  --runs      only these of: dev, sparse, 1.1, basic, bearer (with credentials), v1.1.1-basic,
              v1.1.1-bearer, v1.1.1-blobs-first, v1.1.1-manifests-first
  --results   keep every report below DIR (else they are kept only of runs that fail)
  --registry  test a registry that already runs, by plain HTTP; 'sparse' needs one that
              accepts manifests whose parts are missing

environment:
  OCI_CONFORMANCE  suite programs, separated by colons or spaces
  STOWAGE          the program to test (default: build/stowage)

Ends with 'N passed, N failed, N skipped', counting runs; status 0 only if none failed.
EOF
}

say() { printf '%s\n' "$*"; }
die() { printf 'conformance: %s\n' "$*" >&2; exit 2; }

only="" results="" registry=""
while [ $# -gt 0 ]; do
    case $1 in
    --runs) only=${2:?--runs needs names}; shift 2 ;;
    --results) results=${2:?--results needs a folder}; shift 2 ;;
    --registry) registry=${2:?--registry needs HOST:PORT}; shift 2 ;;
    -h | --help) usage; exit 0 ;;
    *) usage >&2; exit 2 ;;
    esac
done
registry=${registry#http://}
registry=${registry%/}
stowage=${STOWAGE:-$HERE/../build/stowage}
if [ -z "$registry" ] && [ ! -x "$stowage" ]; then
    die "no program at $stowage: build it, or set STOWAGE"
fi
for name in ${only//,/ }; do
    grep -q "^$name " <<<"$RUNS" || die "no run is called '$name'"
done

scratch=$(mktemp -d "${TMPDIR:-/tmp}/conformance.XXXXXX")
node="" passed=0 failed=0 skipped=0
if [ -n "$results" ]; then
    mkdir -p "$results"
    reports=$(cd "$results" && pwd)
else
    reports=$scratch/reports
fi

cleanup() {
    local status=$?
    if [ -n "$node" ]; then
        kill -KILL "$node" 2>/dev/null || true
    fi
    if [ -n "$results" ] || [ ! -d "$scratch/reports" ]; then
        rm -rf "$scratch"
    else
        rm -rf "$scratch"/{node,probe}*
    fi
    exit "$status"
}
trap cleanup EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# Prints "newest", "v1.1.1" or nothing. No suite sends a request when it is asked this way:
# the newest refuses the version, those up to v1.1.1 refuse to start without an address.
generation_of() {
    local answer
    mkdir -p "$scratch/probe"
    answer=$(cd "$scratch/probe" && env -i HOME="$scratch/probe" PATH="$PATH" OCI_CONFIGURATION= \
        OCI_VERSION=none timeout 20 "$1" 2>&1 </dev/null | head -n 5) || true
    case $answer in
    *"unsupported config version none"*) say newest ;;
    *"Address is required"*) say v1.1.1 ;;
    esac
}

suite_newest="" suite_v111=""
take_suite() {
    local generation
    generation=$(generation_of "$1")
    case $generation in
    newest) [ -n "$suite_newest" ] || { suite_newest=$1; say "suite: newest is $1"; } ;;
    v1.1.1) [ -n "$suite_v111" ] || { suite_v111=$1; say "suite: v1.1.1 is $1"; } ;;
    *) [ -z "${2:-}" ] || say "NOT A SUITE: $1 answers like no known generation" ;;
    esac
}

find_suites() {
    local path name named=${OCI_CONFORMANCE:-}
    for path in ${named//:/ }; do
        if [ -f "$path" ] && [ -x "$path" ]; then
            take_suite "$path" named
        else
            say "NO SUCH SUITE: $path (from OCI_CONFORMANCE)"
        fi
    done
    for name in $SUITE_NAMES; do
        path=$(type -P "$name" || true)
        [ -z "$path" ] || take_suite "$path"
    done
}

# Starts a node and sets node (its process) and address.
node_start() {
    local home=$1 references=$2 mode=$3 tick
    local -a auth=()
    mkdir -p "$home/root"
    if [ -n "$mode" ]; then
        printf '%s:%s\n' "$USER_NAME" "$USER_HASH" >"$home/users"
        auth=(--htpasswd "$home/users" --auth-mode "$mode")
    fi
    : >"$home/out"
    "$stowage" serve --root "$home/root" --listen 127.0.0.1:0 --references "$references" "${auth[@]}" \
        >"$home/out" 2>"$home/err" </dev/null &
    node=$!
    for ((tick = 0; tick < START_SECONDS_MAX * 10; tick++)); do
        address=$(sed -n "s,$LISTENING,\\1,p" "$home/out" | head -n 1)
        [ -z "$address" ] || return 0
        kill -0 "$node" 2>/dev/null || break
        sleep 0.1
    done
    say "  the node did not start: $(tail -n 3 "$home/err" | tr '\n' ' ')"
    return 1
}

# Ends the node; prints a finding when it was dead already, does not end on SIGTERM with
# status 0, or wrote a sanitizer report.
node_stop() {
    local home=$1 tick status=0 bad=0
    if ! kill -TERM "$node" 2>/dev/null; then
        say "  the node died during the run"
        bad=1
    fi
    for ((tick = 0; tick < STOP_SECONDS_MAX * 10; tick++)); do
        kill -0 "$node" 2>/dev/null || break
        sleep 0.1
    done
    if kill -KILL "$node" 2>/dev/null; then
        say "  the node did not end within $STOP_SECONDS_MAX s of SIGTERM"
        bad=1
    fi
    wait "$node" 2>/dev/null || status=$?
    node=""
    if [ "$bad" = 0 ] && [ "$status" != 0 ]; then
        say "  the node ended with status $status"
        bad=1
    fi
    if grep -E "$SANITIZER" "$home/err" >"$home/san"; then
        say "  sanitizer: $(head -n 1 "$home/san")"
        bad=1
    fi
    return "$bad"
}

# Runs one suite in an empty environment; its reports and output go to $2.
suite_run() {
    local generation=$1 out=$2 repo=$3 settings=$4 suite
    local -a vars
    if [ "$generation" = newest ]; then
        suite=$suite_newest
        vars=(OCI_CONFIGURATION= OCI_REGISTRY="$address" OCI_TLS=disabled
            OCI_REPO1="$repo/one" OCI_REPO2="$repo/two" OCI_RESULTS_DIR="$out")
    else
        suite=$suite_v111
        vars=(OCI_ROOT_URL="http://$address" OCI_NAMESPACE="$repo/one"
            OCI_CROSSMOUNT_NAMESPACE="$repo/two" OCI_AUTOMATIC_CROSSMOUNT=1 OCI_TEST_PULL=1
            OCI_TEST_PUSH=1 OCI_TEST_CONTENT_DISCOVERY=1 OCI_TEST_CONTENT_MANAGEMENT=1
            OCI_HIDE_SKIPPED_WORKFLOWS=0 OCI_REPORT_DIR="$out")
    fi
    case $settings in
    *AUTH=*) vars+=(OCI_USERNAME="$USER_NAME" OCI_PASSWORD="$USER_PASSWORD") ;;
    esac
    (cd "$out" && env -i HOME="$out" PATH="$PATH" "${vars[@]}" ${settings//,/ } \
        timeout "$SUITE_SECONDS_MAX" "$suite" >output.txt 2>errors.txt </dev/null) || true
}

one_run() {
    local name=$1 generation=$2 references=$3 settings=$4
    shift 4
    local out=$reports/$name home=$scratch/node-$name ok=1 text mode=""
    case $settings in *AUTH=*) mode=${settings##*AUTH=} ;; esac
    if [ "$generation" = newest ] && [ -z "$suite_newest" ] ||
        [ "$generation" = v1.1.1 ] && [ -z "$suite_v111" ]; then
        say "missing: conformance $name: no $generation suite (set OCI_CONFORMANCE)"
        skipped=$((skipped + 1))
        return 0
    fi
    rm -rf "$out"
    mkdir -p "$out" "$home"
    address=$registry
    if [ -z "$registry" ] && ! node_start "$home" "$references" "$mode"; then
        say "FAIL $name: no node"
        node_stop "$home" >/dev/null || true
        failed=$((failed + 1))
        return 0
    fi
    suite_run "$generation" "$out" "conformance-$name-$$-$RANDOM" "$settings"
    if [ "$generation" = newest ]; then
        text=$(python3 "$HERE/check.py" newest "$out" "$out/output.txt" "$@") || ok=0
    else
        text=$(python3 "$HERE/check.py" v1.1.1 "$out" "$@") || ok=0
    fi
    if [ -z "$registry" ]; then
        node_stop "$home" >"$home/findings" || ok=0
        cp "$home/err" "$out/node.log"
        [ ! -s "$home/findings" ] || text+=$'\n'$(cat "$home/findings")
    fi
    if [ "$ok" = 1 ]; then
        say "pass $name: $text"
        passed=$((passed + 1))
        [ -n "$results" ] || rm -rf "$out"
    else
        say "FAIL $name: $text"
        failed=$((failed + 1))
    fi
    rm -rf "$home"
}

find_suites
while read -r name generation references settings expected; do
    [ -n "$name" ] || continue
    case ",${only:-$name}," in
    *",$name,"*) ;;
    *) continue ;;
    esac
    # shellcheck disable=SC2086 # the expectation is several words
    one_run "$name" "$generation" "$references" "$settings" $expected
done <<<"$RUNS"
rmdir "$scratch/reports" 2>/dev/null || true
[ ! -d "$reports" ] || say "reports are in $reports"
say "$passed passed, $failed failed, $skipped skipped"
[ "$failed" = 0 ]
