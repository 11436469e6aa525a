#!/bin/sh
# The example's Vault: what deploy/vault/bootstrap.sh sets up, and made-up credentials.
set -eu
umask 077
BAO=bao OUT=/login sh /deploy/vault/bootstrap.sh acme
bao kv put -mount=secret spapi-sidecar/apps/erp client_id=amzn1.application-oa2-client.example client_secret=amzn1.oa2-cs.v1.example
bao kv put -mount=secret spapi-sidecar/tenants/acme/grant 'refresh_token=Atzr|example'
chown -R 65532:65532 /login
