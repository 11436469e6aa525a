//! The environment has no say in how Vault is reached.
//!
//! A test may not change its own process's environment, so this runs one test of this binary as a child that has it.

use std::process::Command;

use serde_json::json;
use spapi_sidecar::config::VaultAuth;
use spapi_sidecar::store::GrantStore;
use spapi_sidecar::store::vault::VaultStore;

use super::contract::app;
use crate::support::vault::{ROOT, SIDECAR_POLICY, TestVault};

const ADDRESS: &str = "STORE_TEST_ADDRESS";
const CA_FILE: &str = "STORE_TEST_CA_FILE";
const TOKEN_FILE: &str = "STORE_TEST_TOKEN_FILE";

#[tokio::test]
async fn variables_that_steer_vaults_own_tools_change_nothing() {
    let Some(vault) = TestVault::start_tls().await else {
        return;
    };
    vault.policy("sidecar", SIDECAR_POLICY).await;
    let made = json!({"policies": ["sidecar"]});
    let made = vault.api("POST", "auth/token/create", made).await;
    let token = made["auth"]["client_token"].as_str().unwrap();
    let token_file = vault.file("token", token);
    let key = rcgen::KeyPair::generate().unwrap();
    let params = rcgen::CertificateParams::new(vec!["other.example".to_owned()]).unwrap();
    let wrong_ca = vault.file("wrong-ca.pem", &params.self_signed(&key).unwrap().pem());
    let right_ca = vault.ca_file().unwrap();

    for (ca_file, want) in [
        // neither VAULT_ADDR, nor VAULT_TOKEN (which could read `other`), nor a proxy is used
        (&right_ca, "own app absent; other app store_denied"),
        // neither VAULT_SKIP_VERIFY nor VAULT_CACERT opens the door
        (
            &wrong_ca,
            "own app store_unreachable; other app store_unreachable",
        ),
    ] {
        let output = Command::new(std::env::current_exe().unwrap())
            .args([
                "--exact",
                "store::environment::child",
                "--ignored",
                "--nocapture",
            ])
            .env(ADDRESS, vault.address())
            .env(CA_FILE, ca_file)
            .env(TOKEN_FILE, &token_file)
            .env("VAULT_ADDR", "http://127.0.0.1:1")
            .env("VAULT_TOKEN", ROOT)
            .env("VAULT_SKIP_VERIFY", "true")
            .env("VAULT_CACERT", &right_ca)
            .env("VAULT_NAMESPACE", "nowhere")
            .env("HTTPS_PROXY", "http://127.0.0.1:1")
            .env("https_proxy", "http://127.0.0.1:1")
            .env("ALL_PROXY", "http://127.0.0.1:1")
            .env_remove("NO_PROXY")
            .env_remove("no_proxy")
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(text.contains(want), "{text}");
    }
}

#[tokio::test]
#[ignore = "the child of the test above; it needs that one's environment"]
async fn child() {
    crate::support::crypto();
    let path = |name: &str| {
        std::env::var_os(name)
            .map(std::path::PathBuf::from)
            .unwrap()
    };
    let config = spapi_sidecar::config::VaultStore {
        address: path(ADDRESS).to_str().unwrap().parse().unwrap(),
        namespace: None,
        ca_file: Some(path(CA_FILE)),
        auth: VaultAuth::TokenFile(path(TOKEN_FILE)),
        kv_mount: "secret".to_owned(),
        prefix: "spapi-sidecar".to_owned(),
        transit: None,
        share_tokens: true,
        next_hop: None,
    };
    let store = VaultStore::new(&config).unwrap();
    let own = outcome(&store).await;
    // outside the policy of the token in the file, inside that of VAULT_TOKEN
    let mut elsewhere = config;
    elsewhere.prefix = "elsewhere".to_owned();
    let other = outcome(&VaultStore::new(&elsewhere).unwrap()).await;
    println!("own app {own}; other app {other}");
}

async fn outcome(store: &VaultStore) -> &'static str {
    match store.read(&app("erp")).await {
        Ok(None) => "absent",
        Ok(Some(_)) => "present",
        Err(error) => error.cause(),
    }
}
