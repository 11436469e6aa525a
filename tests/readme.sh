#!/bin/sh
# Runs the commands of README.md against a real Vault server and the sandbox, as a reader would, so that they cannot rot.
#
#   SIDECAR=target/debug/spapi-sidecar tests/readme.sh
#
# SIDECAR  the binary (default: target/release/spapi-sidecar, else target/debug/spapi-sidecar)
# VAULT    `vault` or `bao` (default: what tests/support/openbao.sh installs)
# KEEP=1   keeps the working folder
#
# What is run are the fenced blocks of README.md with these words behind the language, in the order of the file:
#   walk            shell commands, in one shell; each has to succeed
#   walk terminal   a shell command that runs until the end, as in a terminal of its own
#   walk sdk        as walk, with python-amazon-sp-api in venv/; skipped loudly where that cannot be had, but not in CI
#   walk=FILE       the content of FILE
#   walk-output     lines that the block before has to print, in any place; … stands for anything
# Ports are replaced by free ones, so that nothing on this machine is in the way. Takes about ten seconds.
set -eu

root=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd)
sidecar=${SIDECAR:-$root/target/release/spapi-sidecar}
[ -n "${SIDECAR:-}" ] || [ -x "$sidecar" ] || sidecar=$root/target/debug/spapi-sidecar
[ -x "$sidecar" ] || { echo "readme.sh: no binary at $sidecar; build it, or set SIDECAR" >&2; exit 1; }
sidecar=$(CDPATH='' cd -- "$(dirname -- "$sidecar")" && pwd)/$(basename -- "$sidecar")
vault=${VAULT:-$("$root/tests/support/openbao.sh")}

home=$(mktemp -d)
started=""

stop() {
    status=$?
    trap - EXIT
    # the newest first: the sidecar before its store
    for pid in $started; do
        kill "$pid" 2>/dev/null || true
    done
    for pid in $started; do
        tries=0
        while kill -0 "$pid" 2>/dev/null && [ $tries -lt 20 ]; do
            sleep 0.1
            tries=$((tries + 1))
        done
        kill -KILL "$pid" 2>/dev/null || true
    done
    if [ $status -ne 0 ]; then
        echo "readme.sh: FAILED at block ${block:-none}:" >&2
        [ -z "${block:-}" ] || sed 's/^/    /' "$home/blocks/$block" >&2
        for text in "$home"/out.*; do
            [ ! -s "$text" ] || { echo "--- ${text##*/}" && tail -n 25 "$text"; } >&2
        done
    fi
    [ -n "${KEEP:-}" ] || rm -rf "$home"
    exit $status
}
trap stop EXIT
trap 'exit 1' INT TERM

# --- the reader's machine: a checkout with an empty folder in it, the two programs, and nothing of ours in the environment

mkdir -p "$home/blocks" "$home/bin" "$home/checkout/walk"
ln -s "$sidecar" "$home/bin/spapi-sidecar"
ln -s "$vault" "$home/bin/vault"
cp -R "$root/deploy" "$home/checkout/deploy"
PATH=$home/bin:$PATH
HOME=$home
export PATH HOME
unset VAULT_ADDR VAULT_TOKEN VAULT_NAMESPACE BAO_ADDR BAO_TOKEN HTTPS_PROXY https_proxy HTTP_PROXY http_proxy ALL_PROXY \
    all_proxy NO_PROXY no_proxy SSL_CERT_FILE REQUESTS_CA_BUNDLE CURL_CA_BUNDLE JAVA_TOOL_OPTIONS RUST_LOG RELEASE

# A port that is free, and whose next one is: Vault's server takes both.
free_port() {
    python3 - <<'PYTHON'
import socket
while True:
    with socket.socket() as one, socket.socket() as two:
        one.bind(("127.0.0.1", 0))
        port = one.getsockname()[1]
        try:
            two.bind(("127.0.0.1", port + 1))
        except (OSError, OverflowError):
            continue
        print(port)
        break
PYTHON
}
vault_port=$(free_port)
proxy_port=$(free_port)
admin_port=$(free_port)
sandbox_port=$(free_port)

# --- README.md into numbered blocks: NN.kind, and NN.kind.name for files

awk -v folder="$home/blocks" '
    !inside && /^```[a-z]+ walk/ {
        words = $0
        sub(/^```[a-z]+ /, "", words)
        kind = words
        gsub(/[^A-Za-z0-9.=-]/, "_", kind)
        file = sprintf("%s/%02d.%s", folder, ++count, kind)
        printf "" > file
        inside = 1
        next
    }
    !inside && /^```[a-z]/ { other = 1; inside = 1; next }
    inside && /^```$/ { if (!other) close(file); other = 0; inside = 0; next }
    inside && !other { print > file }
' "$root/README.md"

# Each address has to be there: a README that speaks of other ports would test nothing of ours.
for text in 127.0.0.1:9443 127.0.0.1:8200 http://127.0.0.1:3128; do
    grep -qF "$text" "$home"/blocks/* || { echo "readme.sh: README.md no longer speaks of $text" >&2; exit 1; }
done
sed -i \
    -e "s/127\.0\.0\.1:8200/127.0.0.1:$vault_port/g" \
    -e "s/127\.0\.0\.1:3128/127.0.0.1:$proxy_port/g" \
    -e "s/127\.0\.0\.1:9443/127.0.0.1:$sandbox_port/g" \
    -e "s/^vault server -dev /&-dev-listen-address=127.0.0.1:$vault_port /" \
    -e "s/^spapi-sidecar sandbox\$/& --listen 127.0.0.1:$sandbox_port/" \
    "$home"/blocks/*

# --- running them

# What a reader sees before going on: a terminal's program listens.
listens() {
    case $(cat "$1") in
        vault*) curl -sf "http://127.0.0.1:$vault_port/v1/sys/health" ;;
        *sandbox*) grep -q '^sandbox ready' "$2" ;;
        *) spapi-sidecar health ;;
    esac >/dev/null 2>&1
}

terminal() {
    sh -c "exec $(cat "$1")" >"$2" 2>&1 </dev/null &
    started="$! $started"
    mine=$!
    tries=0
    until listens "$1" "$2"; do
        kill -0 "$mine" 2>/dev/null || { echo "readme.sh: it ended" >&2; return 1; }
        tries=$((tries + 1))
        [ $tries -lt 300 ] || { echo "readme.sh: not ready after 30 s" >&2; return 1; }
        sleep 0.1
    done
}

# Every line of the expectation stands somewhere in the output.
expect() {
    while IFS= read -r line; do
        pattern=$(printf '%s\n' "$line" | sed -e 's/[][\.*^$]/\\&/g' -e 's/…/.*/g')
        grep -q -- "$pattern" "$2" || { echo "readme.sh: the output lacks: $line" >&2; return 1; }
        lines=$((lines + 1))
    done <"$1"
}

# python-amazon-sp-api: the one of tests/clients where that is installed, else one of our own, made once.
sdk() {
    for python in "$root/.tools/python" "$root/.tools/readme"; do
        if "$python/bin/python" -c 'import sp_api' 2>/dev/null; then
            ln -s "$python" venv
            return
        fi
    done
    rm -rf "$root/.tools/readme"
    if python3 -m venv "$root/.tools/readme" && "$root/.tools/readme/bin/pip" install --quiet --disable-pip-version-check python-amazon-sp-api; then
        ln -s "$root/.tools/readme" venv
    else
        echo "*** SKIPPED: python-amazon-sp-api cannot be installed" >&2
        return 1
    fi
}

cd "$home/checkout/walk"
blocks=0 lines=0 output=/dev/null skipped=""
for path in "$home"/blocks/*; do
    block=${path##*/}
    case $block in
        *.walk=*)
            cp "$path" "${block#*.walk=}"
            # the file as it stands, with an admin listener that is free
            [ "${block#*=}" != proxy.yaml ] || printf 'listen: { proxy: ["127.0.0.1:%s"], admin: "127.0.0.1:%s" }\n' "$proxy_port" "$admin_port" >>proxy.yaml
            ;;
        *.walk_terminal) terminal "$path" "$home/out.$block" ;;
        *.walk-output) [ -n "$skipped" ] || expect "$path" "$output" ;;
        *.walk | *.walk_sdk)
            output=$home/out.$block
            skipped=""
            case $block in *_sdk) sdk || { [ "${CI:-}" != true ] && skipped=yes; } ;; esac
            # one shell for all, as the reader's
            [ -n "$skipped" ] || . "$path" >"$output" 2>&1
            ;;
        *)
            echo "readme.sh: a block is marked with words that mean nothing here: $block" >&2
            exit 1
            ;;
    esac
    blocks=$((blocks + 1))
done
block=""

# --- the policy of deploy/vault is what it says, by the server's own word

token=$(vault token create -policy=spapi-sidecar -field=token)
allows() {
    got=$(vault token capabilities "$token" "secret/$1")
    [ "$got" = "$2" ] || { echo "readme.sh: the policy gives '$got' on secret/$1, not '$2'" >&2; exit 1; }
}
allows data/spapi-sidecar/apps/erp "read, update"
allows data/spapi-sidecar/tenants/acme/grant "read, update"
allows data/spapi-sidecar/tenants/acme/proxy_key "read"
allows data/spapi-sidecar/phantom "create, read, update"
allows data/spapi-sidecar/tenants/acme/profile "read"
allows data/spapi-sidecar/tenants/acme/tokens/na "create, read, update"
allows data/spapi-sidecar/fleet "create, read, update"
allows data/spapi-sidecar/members "create, read, update"
allows data/spapi-sidecar/tenants/acme/else "deny"
allows data/spapi-sidecar/tenants/acme/more/grant "deny"
allows data/somebody/else "deny"
allows metadata/spapi-sidecar/tenants "deny"
allows delete/spapi-sidecar/tenants/acme/grant "deny"

# --- what must be nowhere: the sidecar writes no credential, neither real ones nor phantoms

for secret in amzn1.oa2-cs 'Atz[ar]|' 'spx-[ard]-[0-9a-f]\{4\}'; do
    if grep -q -- "$secret" "$home"/out.*terminal; then
        echo "readme.sh: a terminal shows $secret" >&2
        exit 1
    fi
done

if [ $blocks -lt 15 ] || [ $lines -lt 8 ]; then
    echo "readme.sh: only $blocks blocks and $lines lines are left in README.md" >&2
    exit 1
fi
echo "README.md: $blocks blocks ran, $lines lines of output as printed${skipped:+, the SDK skipped}"
