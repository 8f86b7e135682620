#!/usr/bin/env bash
# Builds the clients that Debian does not package, with the Go that is present, into a folder; with
# --stores, object stores that take long to build instead.
# What is in the folder already is left alone. What cannot be had is printed as
# 'missing: NAME: REASON'; the status is 0 all the same, since the tests report it again.
set -euo pipefail

readonly GO_MINOR_MIN=24
readonly BUILD_SECONDS_MAX=900

# name | module | version | package below the module
readonly CLIENTS="
crane     github.com/google/go-containerregistry  v0.22.1  cmd/crane
regctl    github.com/regclient/regclient          v0.11.7  cmd/regctl
oras      oras.land/oras                          v1.3.3   cmd/oras
notation  github.com/notaryproject/notation       v1.3.2   cmd/notation
helm      helm.sh/helm/v3                         v3.22.0  cmd/helm
cosign    github.com/sigstore/cosign/v3           v3.1.3   cmd/cosign
versitygw github.com/versity/versitygw            v1.8.0   cmd/versitygw
"

readonly STORES="
rclone    github.com/rclone/rclone                v1.76.0  .
minio     github.com/minio/minio                  v0.0.0-20260212201848-7aac2a2c5b7c .
"

wanted=$CLIENTS
if [ "${2:-}" = --stores ]; then wanted=$STORES; fi
if [ $# -lt 1 ] || [ $# -gt 2 ] || [ "$1" = --help ] || [ "${2:---stores}" != --stores ]; then
    echo "usage: tests/clients/install-go.sh DIR [--stores]" >&2
    exit 2
fi
mkdir -p "$1"
target=$(cd "$1" && pwd)
scratch=$(mktemp -d "${TMPDIR:-/tmp}/install-go.XXXXXX")
trap 'chmod -R u+w "$scratch"; rm -rf "$scratch"' EXIT

# Empty when Go is present and new enough, else why not.
go_trouble() {
    local version
    version=$(go env GOVERSION 2>/dev/null) || { echo "there is no Go"; return; }
    case $version in
    go1.*)
        version=${version#go1.}
        version=${version%%[!0-9]*}
        [ "${version:-0}" -ge "$GO_MINOR_MIN" ] || echo "needs Go 1.$GO_MINOR_MIN, found 1.$version"
        ;;
    *) echo "cannot read the version of Go: $version" ;;
    esac
}

# A module of our own that requires the client's: builds those, too, that refuse to be
# installed from outside because their go.mod has replacements.
build() {
    local name=$1 module=$2 version=$3 package=${4#.}
    mkdir "$scratch/$name" && cd "$scratch/$name" && go mod init scratch &&
        go mod edit -require "$module@$version" &&
        timeout "$BUILD_SECONDS_MAX" nice go build -p "${GO_JOBS:-1}" -mod=mod -trimpath \
            -o "$target/.$name.new" "$module${package:+/$package}" &&
        mv "$target/.$name.new" "$target/$name"
}

export GOTOOLCHAIN=local GOFLAGS=-buildvcs=false GOWORK=off CGO_ENABLED=0
[ -n "${HOME:-}" ] || export GOPATH="$scratch/gopath" GOCACHE="$scratch/gocache"
trouble=$(go_trouble)
while read -r name module version package; do
    if [ -z "$name" ]; then
        continue
    elif [ -x "$target/$name" ]; then
        echo "present: $name"
    elif [ -n "$trouble" ]; then
        echo "missing: $name: $trouble"
    elif (build "$name" "$module" "$version" "$package") >"$scratch/log" 2>&1 </dev/null; then
        echo "built: $name $version"
    else
        echo "missing: $name: $(tail -n 1 "$scratch/log")"
    fi
done <<<"$wanted"
