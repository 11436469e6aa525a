#!/bin/sh
# Sets up Vault or OpenBao for a fleet of sidecars: KV version 2, transit with one key a tenant, the policy, and a login.
# Run again at any time: it makes what is missing and changes nothing else but the policy.
#
#   VAULT_ADDR=https://vault.internal:8200 VAULT_TOKEN=… deploy/vault/bootstrap.sh TENANT…
#
# Needs `vault` (or BAO=bao) and a token that may write policies, mounts and auth methods. Variables, with their defaults:
#   MOUNT=secret PREFIX=spapi-sidecar TRANSIT=transit (empty: none) ROLE=spapi-sidecar
#   LOGIN=approle  writes OUT/role-id and OUT/secret-id (OUT=., mode 0600), or with WRAP=5m a wrapped secret-id
#   LOGIN=kubernetes  binds NAMESPACE/SERVICE_ACCOUNT (default/spapi-sidecar) on auth/kubernetes, which has to be configured
#   LOGIN=none
set -eu
umask 077

vault=${BAO:-vault}
mount=${MOUNT:-secret} prefix=${PREFIX:-spapi-sidecar} transit=${TRANSIT-transit} role=${ROLE:-spapi-sidecar}
login=${LOGIN:-approle} out=${OUT:-.}
here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)

say() { printf '%s\n' "$*" >&2; }

has() { "$vault" "$1" list -format=json | grep -q "\"$2/\""; }

for tenant in "$@"; do
    case $tenant in
    [!a-z0-9]* | *[!a-z0-9_-]*)
        say "$tenant is not a tenant id: a-z, 0-9, _ and -, beginning with a letter or a digit"
        exit 2
        ;;
    esac
done

has secrets "$mount" || "$vault" secrets enable -path="$mount" -version=2 kv >&2

if [ -n "$transit" ]; then
    has secrets "$transit" || "$vault" secrets enable -path="$transit" transit >&2
    for tenant in "$@"; do
        # writing an existing key changes nothing
        "$vault" write -f "$transit/keys/spapi-$tenant" >&2
    done
fi

# the policy is written for the default names; others are put in their place
sed -e "s|\"secret/data/spapi-sidecar/|\"$mount/data/$prefix/|" -e "s|\"transit/|\"${transit:-transit}/|" "$here/policy.hcl" |
    "$vault" policy write "$role" - >&2

case $login in
approle)
    has auth approle || "$vault" auth enable approle >&2
    # a periodic token: renewable for as long as the sidecar lives, dead one period after it
    "$vault" write "auth/approle/role/$role" token_policies="$role" token_period=1h token_no_default_policy=true \
        secret_id_ttl=0 >&2
    "$vault" read -field=role_id "auth/approle/role/$role/role-id" >"$out/role-id"
    if [ -n "${WRAP:-}" ]; then
        "$vault" write -f -wrap-ttl="$WRAP" -field=wrapping_token "auth/approle/role/$role/secret-id" >"$out/secret-id"
    else
        "$vault" write -f -field=secret_id "auth/approle/role/$role/secret-id" >"$out/secret-id"
    fi
    say "wrote $out/role-id and $out/secret-id"
    ;;
kubernetes)
    has auth kubernetes || "$vault" auth enable kubernetes >&2
    "$vault" write "auth/kubernetes/role/$role" token_policies="$role" token_period=1h token_no_default_policy=true \
        bound_service_account_names="${SERVICE_ACCOUNT:-spapi-sidecar}" \
        bound_service_account_namespaces="${NAMESPACE:-default}" >&2
    say "auth/kubernetes/role/$role binds ${NAMESPACE:-default}/${SERVICE_ACCOUNT:-spapi-sidecar}"
    ;;
none) ;;
*)
    say "LOGIN is approle, kubernetes or none"
    exit 2
    ;;
esac
say "next: store credentials at $mount/$prefix/apps/APP and $mount/$prefix/tenants/TENANT/grant"
