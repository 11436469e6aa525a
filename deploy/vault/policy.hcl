# What a running sidecar may do in Vault or OpenBao: KV version 2 mounted at secret/, store.vault.prefix spapi-sidecar.
# With another mount or prefix, change both here and in proxy.yaml. Load it with:
#   vault policy write spapi-sidecar deploy/vault/policy.hcl
#
# Nothing here lets a sidecar delete or list records, or make a credential: `app put`, `tenant put-token` and
# `tenant proxy-key` are for an operator's login.

# Client id and secret. `update`: a `client_secret_next` that works takes the place of `client_secret`. With `read` alone
# everything works, and an operator promotes it by hand.
path "secret/data/spapi-sidecar/apps/*" {
  capabilities = ["read", "update"]
}

# The refresh token. `update`: should LWA answer with another refresh token, it is stored before the old one is forgotten.
# With `read` alone such an exchange fails.
path "secret/data/spapi-sidecar/tenants/+/grant" {
  capabilities = ["read", "update"]
}

# Hashes of proxy keys, never the keys.
path "secret/data/spapi-sidecar/tenants/+/proxy_key" {
  capabilities = ["read"]
}

# The key that signs phantom tokens: the first sidecar makes it. `update` is for when the record was deleted.
path "secret/data/spapi-sidecar/phantom" {
  capabilities = ["create", "read", "update"]
}

# The profile of a tenant, where proxy.yaml says `tenants: { from: store }`.
path "secret/data/spapi-sidecar/tenants/+/profile" {
  capabilities = ["read"]
}

# That a tenant's preflight has passed, where its profile says `preflight: required`: `spapi-sidecar preflight` writes it with
# this login, which is the one that it tries. With `read` alone an operator's login has to run it.
path "secret/data/spapi-sidecar/tenants/+/preflight" {
  capabilities = ["create", "read", "update"]
}

# Access tokens and their leases, shared by the fleet (store.vault.share_tokens). A kill empties these records.
path "secret/data/spapi-sidecar/tenants/+/tokens/*" {
  capabilities = ["create", "read", "update"]
}

# Which tenants are killed or quarantined, and break-glass: one small record that every sidecar polls.
path "secret/data/spapi-sidecar/fleet" {
  capabilities = ["create", "read", "update"]
}

# Who is in the fleet, so that `throttle.mode: pace` divides quotas by how many there are.
path "secret/data/spapi-sidecar/members" {
  capabilities = ["create", "read", "update"]
}

# For store.vault.transit with the key "spapi-{tenant}". `update` alone: `create` would make a key for a misspelt tenant.
path "transit/encrypt/spapi-*" {
  capabilities = ["update"]
}
path "transit/decrypt/spapi-*" {
  capabilities = ["update"]
}

# To keep its own login alive, and to see what is left of it.
path "auth/token/renew-self" {
  capabilities = ["update"]
}
path "auth/token/lookup-self" {
  capabilities = ["read"]
}

# To say what this policy lets it do: `spapi-sidecar preflight`.
path "sys/capabilities-self" {
  capabilities = ["update"]
}
