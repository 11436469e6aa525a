//! `store.vault.auth`: each way to log in, of a sidecar that serves a call with what it reads then.

use std::fmt::Display;

use serde_json::json;

use super::ORDERS;
use crate::support::cluster::{self, service_account};
use crate::support::sidecar::{Setup, TestSidecar};
use crate::support::vault::{SIDECAR_POLICY, TestVault, client_certificate};

/// What the usual world has in its store.
async fn furnish(vault: &TestVault) {
    for (place, record) in [
        (
            "apps/erp",
            json!({"client_id": "amzn1.application-oa2-client.canary", "client_secret": "amzn1.oa2-cs.v1.canary"}),
        ),
        (
            "tenants/acme/grant",
            json!({"refresh_token": "Atzr|canary-acme"}),
        ),
        (
            "tenants/beta/grant",
            json!({"refresh_token": "Atzr|canary-beta"}),
        ),
    ] {
        let path = format!("secret/data/spapi-sidecar/{place}");
        vault.api("POST", &path, json!({ "data": record })).await;
    }
}

/// A sidecar that logs in so, and has served a call.
async fn serves(vault: &TestVault, auth: impl Display) -> TestSidecar {
    furnish(vault).await;
    let ca = vault
        .ca_file()
        .map_or_else(String::new, |file| format!("ca_file: {}, ", file.display()));
    let store = format!(
        "{{ vault: {{ address: \"{}\", {ca}auth: {auth} }} }}",
        vault.address()
    );
    let sidecar = TestSidecar::with(Setup {
        store,
        ..Setup::default()
    })
    .await;
    assert_eq!(sidecar.call(ORDERS, &[]).await.status, 200);
    sidecar
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_secret_id_that_came_wrapped_is_unwrapped_at_the_start_and_never_again() {
    let Some(vault) = TestVault::start().await else {
        return;
    };
    let role = vault.role("sidecar", SIDECAR_POLICY, json!({})).await;
    let wrapped = vault.wrapped_secret_id("sidecar").await;
    let auth = format!(
        "{{ approle: {{ role_id_file: {}, secret_id_file: {}, wrapped: true }} }}",
        vault.file("role-id", &role).display(),
        vault.file("secret-id", &wrapped).display(),
    );
    let _sidecar = serves(&vault, auth).await;
    assert!(!vault.token_lives(&wrapped).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_account_logs_in_at_its_mount_by_its_role_with_what_the_file_holds() {
    let Some(vault) = TestVault::start().await else {
        return;
    };
    cluster::trusted_by(&vault, "k8s/eu").await;
    let auth = format!(
        "{{ kubernetes: {{ role: sidecar, jwt_file: {}, mount: k8s/eu }} }}",
        vault.file("jwt", &service_account("shop")).display()
    );
    let _sidecar = serves(&vault, auth).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_certificate_logs_in_at_its_mount_by_its_role() {
    let Some(vault) = TestVault::start_tls().await else {
        return;
    };
    let (cert, key) = client_certificate();
    vault.policy("sidecar", SIDECAR_POLICY).await;
    let mount = json!({"type": "cert"});
    vault.api("POST", "sys/auth/machines", mount).await;
    let role = json!({"certificate": cert, "token_policies": ["sidecar"]});
    let path = "auth/machines/certs/erp-sidecar";
    vault.api("POST", path, role).await;
    let auth = format!(
        "{{ cert: {{ cert: {}, key: {}, role: erp-sidecar, mount: machines }} }}",
        vault.file("client.pem", &cert).display(),
        vault.file("client.key", &key).display(),
    );
    let _sidecar = serves(&vault, auth).await;
}
