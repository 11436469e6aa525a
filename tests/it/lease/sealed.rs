//! Shared tokens at rest, sealed by the tenant's own transit key.

use std::sync::Arc;

use serde_json::{Value, json};
use spapi_sidecar::config::Transit;
use spapi_sidecar::secret::Opaque;
use spapi_sidecar::store::vault::VaultStore;
use spapi_sidecar::store::{Expect, Fields, GrantStore, RecordKey};
use spapi_sidecar::tenant::{GrantKind, TenantId};

use crate::support::vault::TestVault;

fn token_of(tenant: &str) -> RecordKey {
    RecordKey::Token(TenantId::parse(tenant).unwrap(), GrantKind::Refresh)
}

fn shared(token: &str) -> Fields {
    let fields = [("token", token), ("generation", "1")];
    fields
        .map(|(name, text)| (name.to_owned(), Opaque::new(text.to_owned())))
        .into()
}

/// A store whose login may use the transit key of one tenant alone, although it may read every record.
async fn store_of(vault: &TestVault, tenant: &str) -> Arc<dyn GrantStore> {
    let policy = format!(
        r#"
        path "secret/data/spapi-sidecar/*" {{ capabilities = ["create", "read", "update"] }}
        path "transit/encrypt/spapi-{tenant}" {{ capabilities = ["update"] }}
        path "transit/decrypt/spapi-{tenant}" {{ capabilities = ["update"] }}
        "#
    );
    vault.policy(tenant, &policy).await;
    let made = json!({"policies": [tenant], "no_default_policy": true});
    let made = vault.api("POST", "auth/token/create", made).await;
    let token = made["auth"]["client_token"].as_str().unwrap();
    let file = vault.file(&format!("token-{tenant}"), token);
    let mut config = vault.config(spapi_sidecar::config::VaultAuth::TokenFile(file));
    config.transit = Some(Transit {
        mount: "transit".to_owned(),
        key: "spapi-{tenant}".to_owned(),
    });
    Arc::new(VaultStore::new(&config).unwrap())
}

#[tokio::test]
async fn a_policy_for_one_tenant_opens_no_shared_token_of_another() {
    let Some(vault) = TestVault::start().await else {
        return;
    };
    vault
        .api("POST", "sys/mounts/transit", json!({"type": "transit"}))
        .await;
    for tenant in ["acme", "zeta"] {
        let path = format!("transit/keys/spapi-{tenant}");
        vault.api("POST", &path, json!({})).await;
    }
    let (acme, zeta) = (
        store_of(&vault, "acme").await,
        store_of(&vault, "zeta").await,
    );
    for (store, tenant) in [(&acme, "acme"), (&zeta, "zeta")] {
        let fields = shared(&format!("Atza|canary-{tenant}"));
        store
            .write(&token_of(tenant), fields, Expect::Absent)
            .await
            .unwrap();
    }
    let record = acme.read(&token_of("acme")).await.unwrap().unwrap();
    assert_eq!(record.fields["token"].expose(), "Atza|canary-acme");
    let refused = acme.read(&token_of("zeta")).await.unwrap_err();
    assert_eq!(refused.cause(), "store_denied", "{refused}");
    assert!(!refused.to_string().contains("canary"), "{refused}");

    // the ciphertext itself, carried over into a record that the policy may open
    let path = |tenant: &str| format!("secret/data/spapi-sidecar/tenants/{tenant}/tokens/access");
    let raw = vault.api("GET", &path("zeta"), Value::Null).await;
    let text = raw.to_string();
    assert!(
        text.contains("vault:v1:") && !text.contains("canary"),
        "{text}"
    );
    let stolen = json!({"data": {"token": raw["data"]["data"]["token"]}});
    vault.api("POST", &path("acme"), stolen).await;
    assert!(acme.read(&token_of("acme")).await.is_err());
}
