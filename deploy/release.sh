#!/bin/sh
# Builds a release into dist/: the binary, its manual pages and completions, an SBOM, checksums.
#
#   deploy/release.sh
#
# Two runs on one commit, with the compiler of Cargo.toml's `rust-version` and in a checkout at the same path, give the same
# binary: dependencies are locked, one codegen unit, the date is the commit's, and paths are mapped away. Elsewhere the linker and
# the C compiler (aws-lc) have to be the same too; the image's build stage pins both.
# The binary needs glibc and nothing else (`ldd` names libc, libm, libgcc_s). A static one wants the target
# x86_64-unknown-linux-musl and musl-gcc: TARGET=x86_64-unknown-linux-musl deploy/release.sh
set -eu
cd "$(dirname -- "$0")/.."

if [ -n "$(git status --porcelain)" ]; then
    echo 'the checkout has changes that no commit has: commit them, a release is of a commit' >&2
    exit 1
fi
SPAPI_SIDECAR_COMMIT=$(git rev-parse --short=12 HEAD)
SOURCE_DATE_EPOCH=$(git show -s --format=%ct HEAD)
RUSTFLAGS="--remap-path-prefix=$PWD=/src --remap-path-prefix=${CARGO_HOME:-$HOME/.cargo}=/cargo"
export SPAPI_SIDECAR_COMMIT SOURCE_DATE_EPOCH RUSTFLAGS

if [ -n "${TARGET:-}" ]; then
    cargo build --release --locked --bin spapi-sidecar --target "$TARGET"
    binary=target/$TARGET/release/spapi-sidecar
else
    cargo build --release --locked --bin spapi-sidecar
    binary=target/release/spapi-sidecar
fi

rm -rf dist
mkdir -p dist/man dist/completions
install -m 0755 "$binary" dist/
dist/spapi-sidecar generate man dist/man >/dev/null
for shell in bash zsh fish; do
    dist/spapi-sidecar generate completions "$shell" >"dist/completions/spapi-sidecar.$shell"
done
if command -v cargo-cyclonedx >/dev/null; then
    cargo cyclonedx --format json --override-filename spapi-sidecar.cdx --target "${TARGET:-x86_64-unknown-linux-gnu}" >/dev/null
    mv spapi-sidecar.cdx.json dist/
else
    echo 'no SBOM: cargo install cargo-cyclonedx --locked' >&2
fi
sums=$(cd dist && find . -type f -exec sha256sum {} + | sort -k 2)
printf '%s\n' "$sums" >dist/SHA256SUMS
dist/spapi-sidecar --version
