//! Logging in as a service account: a real server, which asks a cluster's API server that is made up.

use spapi_sidecar::config::VaultAuth;
use spapi_sidecar::store::vault::VaultStore;

use super::vault_login::reads;
use crate::support::cluster::{self, service_account};
use crate::support::vault::TestVault;

#[tokio::test]
async fn a_service_account_logs_in_and_another_one_does_not() {
    let Some(vault) = TestVault::start().await else {
        return;
    };
    cluster::trusted_by(&vault, "k8s/eu").await;
    let file = vault.file("jwt", &format!("{}\n", service_account("shop")));
    let auth = VaultAuth::Kubernetes {
        role: "sidecar".to_owned(),
        jwt_file: file.clone(),
        mount: "k8s/eu".to_owned(),
    };
    let store = VaultStore::new(&vault.config(auth.clone())).unwrap();
    reads(&store).await.unwrap();

    // the file is read at every login, since the cluster replaces what is in it
    vault.file("jwt", &service_account("elsewhere"));
    reads(&store).await.unwrap();
    let other = VaultStore::new(&vault.config(auth)).unwrap();
    let error = reads(&other).await.unwrap_err();
    assert_eq!(error.cause(), "store_denied", "{error}");
    let text = error.to_string();
    assert!(text.contains("bound service account"), "{text}");
    assert!(!text.contains(&service_account("elsewhere")), "{text}");
}
