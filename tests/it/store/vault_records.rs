//! Records in Vault: what KV version 2 and transit add to the contract.

use serde_json::{Value, json};
use spapi_sidecar::config::Transit;
use spapi_sidecar::store::vault::VaultStore;
use spapi_sidecar::store::{Expect, GrantStore, RecordKey, StoreError};

use super::contract::{app, fields, grant, shown};
use crate::support::vault::TestVault;

const GRANT: &str = "secret/data/spapi-sidecar/tenants/acme/grant";

#[tokio::test]
async fn a_deleted_record_is_absent_and_can_be_written_again() {
    let Some(vault) = TestVault::start().await else {
        return;
    };
    let store = VaultStore::new(&vault.root_config()).unwrap();
    let key = grant("acme");
    let first = store
        .write(&key, fields(&[("refresh_token", "1")]), Expect::Absent)
        .await
        .unwrap();
    vault.api("DELETE", GRANT, Value::Null).await;
    assert!(store.read(&key).await.unwrap().is_none());
    let second = store
        .write(&key, fields(&[("refresh_token", "2")]), Expect::Absent)
        .await
        .unwrap();
    assert!(second > first);
    let again = store
        .write(&key, fields(&[("refresh_token", "3")]), Expect::Absent)
        .await;
    assert!(matches!(again, Err(StoreError::Conflict(_))), "{again:?}");
    let record = store.read(&key).await.unwrap().unwrap();
    assert_eq!(record.fields["refresh_token"].expose(), "2");
}

#[tokio::test]
async fn values_written_by_hand_arrive_as_text() {
    let Some(vault) = TestVault::start().await else {
        return;
    };
    let store = VaultStore::new(&vault.root_config()).unwrap();
    let by_hand = json!({"data": {"a": 5, "b": true, "c": ["x"], "d": "plain", "e": null}});
    vault
        .api("POST", "secret/data/spapi-sidecar/apps/erp", by_hand)
        .await;
    let want = [("a", "5"), ("b", "true"), ("c", r#"["x"]"#), ("d", "plain")];
    let want = want.map(|(name, value)| (name.to_owned(), value.to_owned()));
    assert_eq!(shown(&store, &app("erp")).await, want);
}

#[tokio::test]
async fn the_fleet_record_is_json_for_other_readers() {
    let Some(vault) = TestVault::start().await else {
        return;
    };
    let store = VaultStore::new(&vault.root_config()).unwrap();
    let states = r#"{"acme":{"state":"killed"}}"#;
    let written = fields(&[("generation", "4"), ("states", states)]);
    store
        .write(&RecordKey::Fleet, written, Expect::Any)
        .await
        .unwrap();
    let raw = vault
        .api("GET", "secret/data/spapi-sidecar/fleet", Value::Null)
        .await;
    assert_eq!(
        raw["data"]["data"],
        json!({"generation": 4, "states": {"acme": {"state": "killed"}}})
    );
    let want = [("generation", "4"), ("states", states)];
    let want = want.map(|(name, value)| (name.to_owned(), value.to_owned()));
    assert_eq!(shown(&store, &RecordKey::Fleet).await, want);
}

#[tokio::test]
async fn where_the_mount_requires_versions_a_blind_write_still_works() {
    let Some(vault) = TestVault::start().await else {
        return;
    };
    let store = VaultStore::new(&vault.root_config()).unwrap();
    vault
        .api("POST", "secret/config", json!({"cas_required": true}))
        .await;
    for value in ["1", "2"] {
        let write = store
            .write(&app("erp"), fields(&[("client_id", value)]), Expect::Any)
            .await;
        write.unwrap();
    }
    vault
        .api("DELETE", "secret/data/spapi-sidecar/apps/erp", Value::Null)
        .await;
    let write = store
        .write(&app("erp"), fields(&[("client_id", "3")]), Expect::Any)
        .await;
    assert_eq!(write.unwrap(), 3);
}

#[tokio::test]
async fn a_mount_that_does_not_exist_is_an_error_and_not_an_empty_store() {
    let Some(vault) = TestVault::start().await else {
        return;
    };
    let mut config = vault.root_config();
    config.kv_mount = "sceret".to_owned();
    let store = VaultStore::new(&config).unwrap();
    let error = store.read(&app("erp")).await.unwrap_err();
    assert_eq!(error.cause(), "store_protocol", "{error}");
    assert!(error.to_string().contains("kv_mount"), "{error}");
}

/// Transit with a key for each of two tenants, and a role that may use acme's alone.
async fn sealing_vault() -> Option<(TestVault, VaultStore)> {
    let vault = TestVault::start().await?;
    vault
        .api("POST", "sys/mounts/transit", json!({"type": "transit"}))
        .await;
    for tenant in ["acme", "zeta"] {
        let path = format!("transit/keys/spapi-{tenant}");
        vault.api("POST", &path, json!({})).await;
    }
    let policy = r#"
        path "secret/data/spapi-sidecar/*" { capabilities = ["create", "read", "update"] }
        path "transit/encrypt/spapi-acme" { capabilities = ["update"] }
        path "transit/decrypt/spapi-acme" { capabilities = ["update"] }
        path "transit/encrypt/spapi-typo" { capabilities = ["update"] }
    "#;
    let role_id = vault.role("acme-only", policy, json!({})).await;
    let secret_id = vault.secret_id("acme-only").await;
    let mut config = vault.config(vault.approle(&role_id, &secret_id, false));
    config.transit = transit();
    let store = VaultStore::new(&config).unwrap();
    Some((vault, store))
}

fn transit() -> Option<Transit> {
    Some(Transit {
        mount: "transit".to_owned(),
        key: "spapi-{tenant}".to_owned(),
    })
}

#[tokio::test]
async fn a_tenants_values_are_sealed_and_another_tenants_cannot_be_opened() {
    let Some((vault, acme_only)) = sealing_vault().await else {
        return;
    };
    let mut config = vault.root_config();
    config.transit = transit();
    let root = VaultStore::new(&config).unwrap();
    let secret = fields(&[("refresh_token", "Atzr|ä"), ("authorized_at", "2026-01-01")]);
    for tenant in ["acme", "zeta"] {
        let write = root
            .write(&grant(tenant), secret.clone(), Expect::Any)
            .await;
        write.unwrap();
    }
    let raw = vault.api("GET", GRANT, Value::Null).await;
    for field in ["refresh_token", "authorized_at"] {
        let value = raw["data"]["data"][field].as_str().unwrap();
        assert!(value.starts_with("vault:v1:"), "{field}");
    }
    let record = acme_only.read(&grant("acme")).await.unwrap().unwrap();
    assert_eq!(record.fields["refresh_token"].expose(), "Atzr|ä");
    let refused = acme_only.read(&grant("zeta")).await.unwrap_err();
    assert_eq!(refused.cause(), "store_denied", "{refused}");
    let write = acme_only
        .write(&grant("zeta"), secret.clone(), Expect::Any)
        .await;
    assert_eq!(write.unwrap_err().cause(), "store_denied");
    // the policy grants no `create`: a key is never made by a typo
    let write = acme_only.write(&grant("typo"), secret, Expect::Any).await;
    assert!(write.is_err());
}

#[tokio::test]
async fn plain_values_in_a_sealing_store_are_read_as_they_stand() {
    let Some((vault, store)) = sealing_vault().await else {
        return;
    };
    let by_hand = json!({"data": {"refresh_token": "Atzr|plain"}});
    vault.api("POST", GRANT, by_hand).await;
    let record = store.read(&grant("acme")).await.unwrap().unwrap();
    assert_eq!(record.fields["refresh_token"].expose(), "Atzr|plain");
}

#[tokio::test]
async fn ciphertext_is_never_taken_for_a_value() {
    let Some((vault, sealing)) = sealing_vault().await else {
        return;
    };
    let secret = fields(&[("refresh_token", "Atzr|1")]);
    let write = sealing.write(&grant("acme"), secret, Expect::Any).await;
    write.unwrap();
    let plain = VaultStore::new(&vault.root_config()).unwrap();
    let error = plain.read(&grant("acme")).await.unwrap_err();
    assert!(error.to_string().contains("store.vault.transit"), "{error}");

    let damaged = json!({"data": {"refresh_token": "vault:v1:AAAA"}});
    vault.api("POST", GRANT, damaged).await;
    assert!(sealing.read(&grant("acme")).await.is_err());
}
