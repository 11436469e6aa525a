//! Getting a token from Vault, keeping it, and getting the next.

use std::time::Duration;

use serde_json::{Value, json};
use spapi_sidecar::config::{KeyPair, VaultAuth};
use spapi_sidecar::store::vault::VaultStore;
use spapi_sidecar::store::{GrantStore, StoreError};

use super::contract::app;
use crate::support::fleet::until;
use crate::support::vault::{SIDECAR_POLICY, TestVault, client_certificate};

pub(super) async fn reads(store: &VaultStore) -> Result<(), StoreError> {
    store.read(&app("erp")).await.map(|_record| ())
}

#[tokio::test]
async fn a_revoked_token_is_replaced_by_another_login() {
    let Some(vault) = TestVault::start().await else {
        return;
    };
    let role_id = vault.role("sidecar", SIDECAR_POLICY, json!({})).await;
    let secret_id = vault.secret_id("sidecar").await;
    let auth = vault.approle(&role_id, &secret_id, false);
    let store = VaultStore::new(&vault.config(auth)).unwrap();
    reads(&store).await.unwrap();
    vault.revoke_approle_tokens().await;
    reads(&store).await.unwrap();
}

#[tokio::test]
async fn a_token_that_was_revoked_is_replaced_by_the_next_renewal_before_a_call_finds_out() {
    let Some(vault) = TestVault::start().await else {
        return;
    };
    let settings = json!({"token_period": "2s"});
    let role_id = vault.role("sidecar", SIDECAR_POLICY, settings).await;
    let secret_id = vault.secret_id("sidecar").await;
    let auth = vault.approle(&role_id, &secret_id, false);
    let store = VaultStore::new(&vault.config(auth)).unwrap();
    reads(&store).await.unwrap();
    let with_login = token_count(&vault).await;
    vault.revoke_approle_tokens().await;
    assert!(token_count(&vault).await < with_login);
    tokio::select! {
        () = store.keep_alive() => panic!("it ended"),
        () = until("it is logged in again", async || token_count(&vault).await >= with_login) => {}
    }
    reads(&store).await.unwrap();
}

#[tokio::test]
async fn a_wrong_secret_id_is_denied_with_the_file_to_look_at() {
    let Some(vault) = TestVault::start().await else {
        return;
    };
    let role_id = vault.role("sidecar", SIDECAR_POLICY, json!({})).await;
    let auth = vault.approle(&role_id, "canary-5f2e", false);
    let store = VaultStore::new(&vault.config(auth)).unwrap();
    let error = reads(&store).await.unwrap_err();
    assert_eq!(error.cause(), "store_denied", "{error}");
    let text = error.to_string();
    assert!(text.contains("/secret-id"), "{text}");
    assert!(!text.contains("canary"), "{text}");
}

#[tokio::test]
async fn a_wrapped_secret_id_is_unwrapped_once_and_serves_later_logins() {
    let Some(vault) = TestVault::start().await else {
        return;
    };
    let role_id = vault.role("sidecar", SIDECAR_POLICY, json!({})).await;
    let wrapped = vault.wrapped_secret_id("sidecar").await;
    let auth = vault.approle(&role_id, &wrapped, true);
    let store = VaultStore::new(&vault.config(auth.clone())).unwrap();
    reads(&store).await.unwrap();
    assert!(!vault.token_lives(&wrapped).await);
    vault.revoke_approle_tokens().await;
    reads(&store).await.unwrap();

    // a new wrapping token in the file is used at the next login
    let next = vault.wrapped_secret_id("sidecar").await;
    vault.file("secret-id", &next);
    vault.revoke_approle_tokens().await;
    reads(&store).await.unwrap();
    assert!(!vault.token_lives(&next).await);
}

#[tokio::test]
async fn a_wrapping_token_that_somebody_else_used_is_an_alarm() {
    let Some(vault) = TestVault::start().await else {
        return;
    };
    let role_id = vault.role("sidecar", SIDECAR_POLICY, json!({})).await;
    let wrapped = vault.wrapped_secret_id("sidecar").await;
    let stolen = json!({ "token": wrapped });
    vault.api("POST", "sys/wrapping/unwrap", stolen).await;
    let auth = vault.approle(&role_id, &wrapped, true);
    let store = VaultStore::new(&vault.config(auth)).unwrap();
    let error = reads(&store).await.unwrap_err();
    assert_eq!(error.cause(), "store_denied", "{error}");
    let text = error.to_string();
    assert!(
        text.contains("ALARM") && text.contains("somebody else"),
        "{text}"
    );
    assert!(!text.contains(&wrapped), "{text}");
}

#[tokio::test]
async fn a_wrapping_token_made_elsewhere_is_an_alarm_and_is_not_used() {
    let Some(vault) = TestVault::start().await else {
        return;
    };
    let role_id = vault.role("sidecar", SIDECAR_POLICY, json!({})).await;
    let planted = vault
        .api_with(
            "POST",
            "sys/wrapping/wrap",
            json!({"secret_id": vault.secret_id("sidecar").await}),
            &[("x-vault-wrap-ttl", "5m")],
        )
        .await;
    let planted = planted["wrap_info"]["token"].as_str().unwrap();
    let auth = vault.approle(&role_id, planted, true);
    let store = VaultStore::new(&vault.config(auth)).unwrap();
    let text = reads(&store).await.unwrap_err().to_string();
    assert!(
        text.contains("ALARM") && text.contains("not made by"),
        "{text}"
    );
    // it still opens: nobody has spent it
    let unwrap = json!({ "token": planted });
    vault.api("POST", "sys/wrapping/unwrap", unwrap).await;
}

#[tokio::test]
async fn a_caller_that_goes_away_does_not_spend_a_wrapped_secret_id() {
    let Some(vault) = TestVault::start().await else {
        return;
    };
    let role_id = vault.role("sidecar", SIDECAR_POLICY, json!({})).await;
    for patience in [0, 1, 2, 4, 8] {
        let wrapped = vault.wrapped_secret_id("sidecar").await;
        let auth = vault.approle(&role_id, &wrapped, true);
        let store = VaultStore::new(&vault.config(auth)).unwrap();
        let _gone = tokio::time::timeout(Duration::from_millis(patience), reads(&store)).await;
        reads(&store).await.unwrap();
    }
}

#[tokio::test]
async fn a_token_file_is_read_again_when_it_changes() {
    let Some(vault) = TestVault::start().await else {
        return;
    };
    vault.policy("sidecar", SIDECAR_POLICY).await;
    let token = async || {
        let made = json!({"policies": ["sidecar"], "period": "1h"});
        let answer = vault.api("POST", "auth/token/create", made).await;
        answer["auth"]["client_token"].as_str().unwrap().to_owned()
    };
    let (first, second) = (token().await, token().await);
    let file = vault.file("token", &format!("{first}\n"));
    let auth = VaultAuth::TokenFile(file.clone());
    let store = VaultStore::new(&vault.config(auth)).unwrap();
    reads(&store).await.unwrap();

    // as Vault Agent writes it: another file, moved into place; the old token still lives
    let beside = vault.file("token.new", &second);
    std::fs::rename(beside, file).unwrap();
    reads(&store).await.unwrap();
    vault
        .api("POST", "auth/token/revoke", json!({ "token": first }))
        .await;
    reads(&store).await.unwrap();

    // nothing to change to: the refusal is passed on
    vault
        .api("POST", "auth/token/revoke", json!({ "token": second }))
        .await;
    let error = reads(&store).await.unwrap_err();
    assert_eq!(error.cause(), "store_denied", "{error}");
}

#[tokio::test]
async fn a_policys_refusal_is_passed_on_and_costs_no_login() {
    let Some(vault) = TestVault::start().await else {
        return;
    };
    let policy = r#"path "secret/data/spapi-sidecar/apps/erp" { capabilities = ["read"] }"#;
    let role_id = vault.role("sidecar", policy, json!({})).await;
    let secret_id = vault.secret_id("sidecar").await;
    let auth = vault.approle(&role_id, &secret_id, false);
    let store = VaultStore::new(&vault.config(auth)).unwrap();
    reads(&store).await.unwrap();
    let tokens = token_count(&vault).await;
    let error = store.read(&app("other")).await.unwrap_err();
    assert_eq!(error.cause(), "store_denied", "{error}");
    assert!(error.to_string().contains("apps/other"), "{error}");
    assert_eq!(token_count(&vault).await, tokens);
}

async fn token_count(vault: &TestVault) -> usize {
    tokens(vault).await.len()
}

/// The accessors of all tokens that live.
async fn tokens(vault: &TestVault) -> Vec<Value> {
    let answer = vault.api("LIST", "auth/token/accessors", Value::Null).await;
    answer["data"]["keys"].as_array().unwrap().clone()
}

/// A store whose secret id is good for one login only, so that nothing but renewal keeps it going.
async fn one_login_only(vault: &TestVault, settings: Value) -> VaultStore {
    let role_id = vault.role("sidecar", SIDECAR_POLICY, settings).await;
    let secret_id = vault.secret_id("sidecar").await;
    let auth = vault.approle(&role_id, &secret_id, false);
    let store = VaultStore::new(&vault.config(auth)).unwrap();
    reads(&store).await.unwrap();
    store
}

#[tokio::test]
async fn a_token_with_a_short_period_is_renewed_in_time() {
    let Some(vault) = TestVault::start().await else {
        return;
    };
    let settings = json!({"token_period": "6s", "secret_id_num_uses": 1});
    let kept = one_login_only(&vault, settings).await;
    let keep_alive = kept.keep_alive();
    let reading = async {
        for _try in 0..45 {
            tokio::time::sleep(Duration::from_millis(200)).await;
            reads(&kept).await.unwrap();
        }
    };
    tokio::select! {
        () = keep_alive => panic!("it ended"),
        () = reading => {}
    }

    // the same without renewal: this is what the test above could not have survived
    tokio::time::sleep(Duration::from_secs(7)).await;
    let error = reads(&kept).await.unwrap_err();
    assert_eq!(error.cause(), "store_denied", "{error}");
}

#[tokio::test]
async fn a_token_near_its_maximum_life_is_replaced_before_it_dies() {
    let Some(vault) = TestVault::start().await else {
        return;
    };
    let settings = json!({"token_ttl": "3s", "token_max_ttl": "4s"});
    let role_id = vault.role("sidecar", SIDECAR_POLICY, settings).await;
    let secret_id = vault.secret_id("sidecar").await;
    let auth = vault.approle(&role_id, &secret_id, false);
    let store = VaultStore::new(&vault.config(auth)).unwrap();
    reads(&store).await.unwrap();
    let before = tokens(&vault).await;
    // the first may be over by the time that this looks
    let is_new = |token: &Value| !before.contains(token);
    tokio::select! {
        () = store.keep_alive() => panic!("it ended"),
        () = until("there is a second login", async || tokens(&vault).await.iter().any(is_new)) => {}
    }
    reads(&store).await.unwrap();
}

#[tokio::test]
async fn batch_tokens_are_replaced_when_they_are_spent() {
    let Some(vault) = TestVault::start().await else {
        return;
    };
    let settings = json!({"token_type": "batch", "token_ttl": "2s"});
    let role_id = vault.role("sidecar", SIDECAR_POLICY, settings).await;
    let secret_id = vault.secret_id("sidecar").await;
    let auth = vault.approle(&role_id, &secret_id, false);
    let store = VaultStore::new(&vault.config(auth)).unwrap();
    reads(&store).await.unwrap();
    // found spent at the next use, without keep_alive
    tokio::time::sleep(Duration::from_millis(2500)).await;
    reads(&store).await.unwrap();
}

#[tokio::test]
async fn a_namespace_is_where_the_login_and_the_records_are_and_nothing_of_another_is_seen() {
    let Some(vault) = TestVault::start().await else {
        return;
    };
    vault.api("POST", "sys/namespaces/team-a", json!({})).await;
    let inside = [("x-vault-namespace", "team-a")];
    let make = async |path: &str, body: Value| vault.api_with("POST", path, body, &inside).await;
    let kv = json!({"type": "kv", "options": {"version": "2"}});
    make("sys/mounts/secret", kv).await;
    make("sys/auth/approle", json!({"type": "approle"})).await;
    make(
        "sys/policies/acl/sidecar",
        json!({ "policy": SIDECAR_POLICY }),
    )
    .await;
    let role = json!({"token_policies": ["sidecar"]});
    make("auth/approle/role/sidecar", role).await;
    let secret_id = make("auth/approle/role/sidecar/secret-id", json!({})).await;
    let role_id = vault
        .api_with(
            "GET",
            "auth/approle/role/sidecar/role-id",
            Value::Null,
            &inside,
        )
        .await;
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let auth = vault.approle(
        &text(&role_id["data"]["role_id"]),
        &text(&secret_id["data"]["secret_id"]),
        false,
    );
    let record = |id: &str| json!({"data": {"client_id": id, "client_secret": "canary"}});
    let path = "secret/data/spapi-sidecar/apps/erp";
    vault.kv_is_there(&inside).await;
    make(path, record("theirs")).await;
    vault.api("POST", path, record("somebody else's")).await;

    let mut config = vault.config(auth);
    config.namespace = Some("team-a".to_owned());
    let store = VaultStore::new(&config).unwrap();
    let found = store.read(&app("erp")).await.unwrap().unwrap();
    assert_eq!(found.fields["client_id"].expose(), "theirs");
    // the login counts there alone
    config.namespace = None;
    let error = reads(&VaultStore::new(&config).unwrap()).await.unwrap_err();
    assert_eq!(error.cause(), "store_denied", "{error}");
}

#[tokio::test]
async fn a_client_certificate_logs_in() {
    let Some(vault) = TestVault::start_tls().await else {
        return;
    };
    let (cert, key) = client_certificate();
    vault.policy("sidecar", SIDECAR_POLICY).await;
    vault
        .api("POST", "sys/auth/cert", json!({"type": "cert"}))
        .await;
    let role = json!({"certificate": cert, "token_policies": ["sidecar"]});
    vault.api("POST", "auth/cert/certs/sidecar", role).await;
    let login = |name: &str| VaultAuth::Cert {
        pair: KeyPair {
            cert: vault.file("client.pem", &cert),
            key: vault.file("client.key", &key),
        },
        role: name.to_owned(),
        mount: "cert".to_owned(),
    };
    let store = VaultStore::new(&vault.config(login("sidecar"))).unwrap();
    reads(&store).await.unwrap();
    let other = VaultStore::new(&vault.config(login("other"))).unwrap();
    let error = reads(&other).await.unwrap_err();
    assert_eq!(error.cause(), "store_denied", "{error}");
}
