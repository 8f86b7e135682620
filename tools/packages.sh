#!/usr/bin/env bash
# Installs those Debian packages of the named tiers (packages.txt) that are missing.
#
# usage: tools/packages.sh TIER...
#
# Root, or sudo, does it by apt-get; otherwise the one line to type is printed and the status is 1.
# A package of the tier all that cannot be installed is printed as missing and is no failure.
set -euo pipefail

readonly LIST=$(dirname "${BASH_SOURCE[0]}")/packages.txt
readonly POLICY=/usr/sbin/policy-rc.d
ASK=0 # may sudo ask for a password?
[ -t 0 ] && ASK=1
readonly ASK

say() { printf '%s\n' "$*" >&2; }

listed() { # TIER...
    awk -v tiers=" $* " '!/^#/ && NF && index(tiers, " " $1 " ") { print $2 }' "$LIST"
}

absent() { # reads names, prints those not installed
    local name
    while read -r name; do
        dpkg-query -W -f '${db:Status-Status}\n' "$name" 2>/dev/null | grep -qx installed ||
            printf '%s\n' "$name"
    done
}

as_root() {
    if [ "$(id -u)" = 0 ]; then
        "$@"
    elif [ "$ASK" = 1 ]; then
        sudo "$@"
    else
        sudo -n "$@"
    fi
}

apt() {
    as_root env DEBIAN_FRONTEND=noninteractive apt-get "$@"
}

# Clients bring daemons. The tests start their own, so those of the system are not started here.
keep_services_down() {
    [ ! -e "$POLICY" ] || return 0
    trap 'as_root rm -f "$POLICY"' EXIT
    printf '#!/bin/sh\nexit 101\n' | as_root tee "$POLICY" >/dev/null
    as_root chmod 755 "$POLICY"
}

install() { # NAME...
    apt install -y -q --no-install-recommends "$@" </dev/null >&2
}

check_system() {
    local id="" version=""
    if [ -r /etc/os-release ]; then
        id=$(. /etc/os-release && printf '%s' "${ID:-}")
        version=$(. /etc/os-release && printf '%s' "${VERSION_ID:-}")
    fi
    [ "$id $version" = "debian 12" ] ||
        say "note: this is tried on Debian 12 (bookworm), not on ${id:-an unknown system} $version"
}

main() {
    local wanted required name
    check_system
    if ! command -v dpkg-query >/dev/null || ! command -v apt-get >/dev/null; then
        say "note: no Debian package tools; needed is what Debian calls:" $(listed "$@")
        return 0
    fi
    wanted=$(listed "$@" | absent)
    [ -n "$wanted" ] || return 0
    say "installing:" $wanted
    if [ "$(id -u)" != 0 ] && ! command -v sudo >/dev/null; then
        say "neither root nor sudo; please run: apt-get install --no-install-recommends" $wanted
        return 1
    fi
    [ -z "$(listed all | grep -Fx -e "$wanted" || true)" ] || keep_services_down || return 1
    # Old lists may do, and one broken source need not matter.
    apt update -q </dev/null >&2 || say "note: apt-get update failed"
    if install $wanted; then
        return 0
    fi
    required=$(listed build test | grep -Fx -e "$wanted" || true)
    if [ -n "$required" ] && ! install $required; then
        say "please run as root: apt-get install --no-install-recommends" $wanted
        return 1
    fi
    for name in $(listed all | grep -Fx -e "$wanted" || true); do
        install "$name" || printf 'missing: package %s cannot be installed\n' "$name"
    done
}

main "$@"
