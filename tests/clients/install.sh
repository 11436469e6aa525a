#!/bin/sh
# Installs what tests/clients/run needs into .tools/ (git-ignored): the Python and JavaScript clients at the versions
# locked beside this file, and Debian packages for commands that are missing. A second run with the same lock files
# and the same runtimes does nothing. Needs a network the first time.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
tools=$(cd "$here/../.." && pwd)/.tools
mkdir -p "$tools"

# --- Debian packages, only where something is missing

missing=""
want() { # want PACKAGE CHECK…: notes PACKAGE when CHECK fails
    package=$1
    shift
    "$@" >/dev/null 2>&1 || missing="$missing $package"
}
has_java_compiler() { java --list-modules 2>/dev/null | grep -q '^jdk.compiler'; }

want curl command -v curl
want wget command -v wget
want util-linux command -v unshare
want iproute2 command -v ip
want iptables command -v iptables-restore
want python3 command -v python3
want python3-venv python3 -c 'import ensurepip, venv'
want valgrind command -v valgrind
want shellcheck command -v shellcheck
want nodejs command -v node
want npm command -v npm
want default-jdk-headless has_java_compiler
want ca-certificates test -s /etc/ssl/certs/ca-certificates.crt

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

python3 -c 'import sys; sys.exit(sys.version_info < (3, 11))' || {
    echo "install.sh: Python 3.11 or later is needed, this is $(python3 --version)" >&2
    exit 1
}
node -e 'const [a, b] = process.versions.node.split("."); process.exit(a > 20 || (a == 20 && b >= 18) ? 0 : 1)' || {
    echo "install.sh: Node 20.18 or later is needed, this is $(node --version)" >&2
    exit 1
}

# --- the clients, when the locks or the runtimes changed

wanted=$({
    cat "$here/install.sh" "$here/requirements.txt" "$here/requirements-1.txt" "$here/package-lock.json"
    python3 --version
    node --version
} | sha256sum | cut -d' ' -f1)
stamp="$tools/clients.stamp"
if [ -f "$stamp" ] && [ "$(cat "$stamp")" = "$wanted" ] && [ -x "$tools/python/bin/python" ]; then
    exit 0
fi
rm -rf "$stamp" "$tools/python" "$tools/python-1" "$tools/node"

python3 -m venv "$tools/python"
"$tools/python/bin/pip" --quiet --disable-pip-version-check install \
    --require-hashes --no-deps --only-binary :all: --requirement "$here/requirements.txt"

python3 -m venv "$tools/python-1"
"$tools/python-1/bin/pip" --quiet --disable-pip-version-check install \
    --require-hashes --no-deps --only-binary :all: --requirement "$here/requirements-1.txt"

mkdir "$tools/node"
cp "$here/package.json" "$here/package-lock.json" "$tools/node/"
(cd "$tools/node" && npm ci --silent --ignore-scripts --no-audit --no-fund)

printf '%s\n' "$wanted" >"$stamp"
