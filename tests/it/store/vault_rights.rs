//! What a login may do, told by a real server against the policy that is shipped.

use std::collections::BTreeMap;

use serde_json::json;
use spapi_sidecar::config::{Tenant, Transit, VaultAuth, profile};
use spapi_sidecar::store::GrantStore;
use spapi_sidecar::store::rights::Right;
use spapi_sidecar::store::vault::VaultStore;
use spapi_sidecar::tenant::TenantId;

use crate::support::vault::TestVault;

const SHIPPED: &str = include_str!("../../../deploy/vault/policy.hcl");

fn tenant() -> std::sync::Arc<Tenant> {
    let fields = [("app", "erp"), ("region", "na"), ("preflight", "required")];
    let fields: BTreeMap<String, &str> = fields.map(|(k, v)| (k.to_owned(), v)).into();
    profile::parse(&TenantId::parse("acme").unwrap(), &fields).unwrap()
}

async fn rights(vault: &TestVault, auth: VaultAuth) -> Vec<Right> {
    let mut config = vault.config(auth);
    config.transit = Some(Transit {
        mount: "transit".to_owned(),
        key: "spapi-{tenant}".to_owned(),
    });
    let store = VaultStore::new(&config).unwrap();
    store.rights(&tenant()).await.unwrap().unwrap()
}

/// What is lacking, missed and too much, a line each.
fn told(rights: &[Right]) -> Vec<String> {
    let said = |right: &Right| {
        let lacking = right.lacking().map(|word| format!("lacks {word}"));
        let missed = right.missed().map(|word| format!("misses {word}"));
        let excess = right.excess().map(|word| format!("may {word}"));
        let all: Vec<String> = lacking.chain(missed).chain(excess).collect();
        (!all.is_empty()).then(|| format!("{}: {}", right.path, all.join(", ")))
    };
    rights.iter().filter_map(said).collect()
}

#[tokio::test]
async fn the_policy_that_is_shipped_is_what_is_needed_and_nothing_beside_it() {
    let Some(vault) = TestVault::start().await else {
        return;
    };
    let role_id = vault.role("spapi-sidecar", SHIPPED, json!({})).await;
    let secret_id = vault.secret_id("spapi-sidecar").await;
    let auth = vault.approle(&role_id, &secret_id, false);
    let rights = rights(&vault, auth).await;
    assert_eq!(told(&rights), Vec::<String>::new());
    assert!(
        rights
            .iter()
            .any(|right| right.has == ["create", "read", "update"])
    );
}

#[tokio::test]
async fn what_a_login_lacks_and_what_it_may_too_much_is_told_by_place() {
    let Some(vault) = TestVault::start().await else {
        return;
    };
    let policy = r#"
path "secret/data/spapi-sidecar/*" { capabilities = ["read"] }
path "secret/data/spapi-sidecar/tenants/+/grant" { capabilities = ["read", "update", "delete"] }
path "secret/metadata/spapi-sidecar/*" { capabilities = ["list", "delete"] }
path "transit/encrypt/*" { capabilities = ["create", "update"] }
"#;
    let role_id = vault.role("odd", policy, json!({})).await;
    let secret_id = vault.secret_id("odd").await;
    let auth = vault.approle(&role_id, &secret_id, false);
    let told = told(&rights(&vault, auth).await);
    for line in [
        "secret/data/spapi-sidecar/tenants/acme/grant: may delete",
        "secret/data/spapi-sidecar/tenants/acme/tokens/access: lacks create, lacks update",
        "secret/data/spapi-sidecar/fleet: misses create, misses update",
        "secret/metadata/spapi-sidecar/tenants/acme/grant: may delete",
        "transit/encrypt/spapi-acme: may create",
        "transit/decrypt/spapi-acme: lacks update",
    ] {
        assert!(told.iter().any(|one| one == line), "{line}: {told:#?}");
    }
    let root = vault.file("root-token", "root");
    let all = self::told(&rights(&vault, VaultAuth::TokenFile(root)).await);
    assert!(
        all.iter().all(|line| line.ends_with(": may root")),
        "{all:#?}"
    );
    assert!(!all.is_empty());
}

#[tokio::test]
async fn a_login_that_may_not_even_ask_is_denied_and_a_store_without_policies_says_none() {
    let Some(vault) = TestVault::start().await else {
        return;
    };
    let settings = json!({"token_no_default_policy": true});
    let nothing = r#"path "secret/data/x" { capabilities = ["read"] }"#;
    let role_id = vault.role("mute", nothing, settings).await;
    let secret_id = vault.secret_id("mute").await;
    let auth = vault.approle(&role_id, &secret_id, false);
    let store = VaultStore::new(&vault.config(auth)).unwrap();
    let error = store.rights(&tenant()).await.unwrap_err();
    assert_eq!(error.cause(), "store_denied", "{error}");
    let memory = spapi_sidecar::store::memory::MemoryStore::default();
    assert_eq!(memory.rights(&tenant()).await.unwrap(), None);
}
