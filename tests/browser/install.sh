#!/bin/sh
# Installs what tests/browser/run needs: Debian's Chromium, a font of known widths and Node.js where they are missing, and into .tools/browser
# (git-ignored) the packages locked beside this file. No browser is downloaded but Debian's. A second run with the same
# lock file does nothing.
set -eu

here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
home=$(CDPATH='' cd -- "$here/../.." && pwd)/.tools/browser

missing=""
want() { # want PACKAGE PATH: notes PACKAGE where there is nothing at PATH
    [ -e "$2" ] || missing="$missing $1"
}
want chromium /usr/bin/chromium
# what fits on a page depends on it
want fonts-liberation /usr/share/fonts/truetype/liberation/LiberationSans-Regular.ttf
want nodejs "$(command -v node || echo /usr/bin/node)"
want npm "$(command -v npm || echo /usr/bin/npm)"
want curl "$(command -v curl || echo /usr/bin/curl)"

if [ -n "$missing" ]; then
    if [ "$(id -u)" -ne 0 ] || ! command -v apt-get >/dev/null; then
        echo "install.sh: missing:$missing; install these packages (as root, with apt-get, this script does)" >&2
        exit 1
    fi
    echo "install.sh: apt-get install$missing" >&2
    apt-get -qq update
    # shellcheck disable=SC2086  # a list of package names
    DEBIAN_FRONTEND=noninteractive apt-get -qq install --yes --no-install-recommends $missing >/dev/null
fi

wanted=$({
    cat "$here/install.sh" "$here/package-lock.json"
    node --version
} | sha256sum | cut -d' ' -f1)
if [ "$(cat "$home/stamp" 2>/dev/null || true)" = "$wanted" ]; then
    exit 0
fi
rm -rf "$home"
mkdir -p "$home"
cp "$here/package.json" "$here/package-lock.json" "$home/"
(cd "$home" && npm ci --loglevel=error --ignore-scripts --no-audit --no-fund)
printf '%s\n' "$wanted" >"$home/stamp"
