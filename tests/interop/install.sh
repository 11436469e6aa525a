#!/bin/sh
# Installs what tests/interop/run needs: Debian packages for commands that are missing, and hypercorn, h2 and curl_cffi at the
# versions locked beside this file in .tools/interop (git-ignored). A second run with the same lock file does nothing. Needs a
# network the first time.
set -eu

here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
tools=$(CDPATH='' cd -- "$here/../.." && pwd)/.tools
home=$tools/interop

missing=""
want() { # want PACKAGE CHECK…: notes PACKAGE when CHECK fails
    package=$1
    shift
    "$@" >/dev/null 2>&1 || missing="$missing $package"
}
has_java_compiler() { java --list-modules 2>/dev/null | grep -q '^jdk.compiler'; }

want util-linux command -v unshare
want python3 command -v python3
want python3-venv python3 -c 'import ensurepip, venv'
want openssl command -v openssl
want gnutls-bin command -v gnutls-cli
want libnss3-tools command -v tstclnt
want curl command -v curl
want default-jdk-headless has_java_compiler
want nginx-light command -v nginx
want apache2 test -e /usr/lib/apache2/modules/mod_http2.so
want haproxy command -v haproxy

if [ -n "$missing" ]; then
    if [ "$(id -u)" -ne 0 ] || ! command -v apt-get >/dev/null; then
        echo "install.sh: missing:$missing; install these packages (as root, with apt-get, this script does)" >&2
        exit 1
    fi
    echo "install.sh: apt-get install$missing" >&2
    apt-get -qq update
    # RUNLEVEL: a package of a server does not start it
    # shellcheck disable=SC2086  # a list of package names
    RUNLEVEL=1 DEBIAN_FRONTEND=noninteractive apt-get -qq install --yes --no-install-recommends $missing >/dev/null
fi

python3 -c 'import sys; sys.exit(sys.version_info < (3, 11))' || {
    echo "install.sh: Python 3.11 or later is needed, this is $(python3 --version)" >&2
    exit 1
}

wanted=$({
    cat "$here/install.sh" "$here/requirements.txt"
    python3 --version
} | sha256sum | cut -d' ' -f1)
if [ -f "$home/stamp" ] && [ "$(cat "$home/stamp")" = "$wanted" ]; then
    exit 0
fi
rm -rf "$home"
python3 -m venv "$home"
"$home/bin/pip" --quiet --disable-pip-version-check install \
    --require-hashes --no-deps --only-binary :all: --requirement "$here/requirements.txt"
printf '%s\n' "$wanted" >"$home/stamp"
