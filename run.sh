#!/usr/bin/env bash
# Installs what is missing, builds, and serves on 127.0.0.1:5000 from ./data.
# Arguments go to `stowage serve`: ./run.sh --root DIR --listen HOST:PORT
set -euo pipefail

readonly HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
readonly BUILD=$HERE/build

"$HERE/tools/packages.sh" build
if [ ! -f "$BUILD/build.ninja" ]; then
    # A newer compiler's new warning does not keep anybody from running it.
    meson setup "$BUILD" "$HERE" -Dwerror=false >&2
fi
ninja -C "$BUILD" stowage >&2
exec "$BUILD/stowage" serve "$@"
