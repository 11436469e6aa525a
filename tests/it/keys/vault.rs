//! `store.vault`: every key of it at once, against a real server.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::ORDERS;
use crate::support::sidecar::{Setup, TestSidecar};
use crate::support::vault::TestVault;

const TEAM: [(&str, &str); 1] = [("x-vault-namespace", "team")];

/// What the sidecar of this test may do, and not one thing more.
const RULES: &str = r#"
path "kv/data/spapi/prod/*" { capabilities = ["create", "read", "update"] }
path "sealing/encrypt/key-of-*" { capabilities = ["update"] }
path "sealing/decrypt/key-of-*" { capabilities = ["update"] }
"#;

async fn in_the_team(vault: &TestVault, method: &str, path: &str, body: Value) -> Value {
    vault.api_with(method, path, body, &TEAM).await
}

/// A namespace with everything in other places than the defaults; role id and secret id of a login.
async fn furnish(vault: &TestVault) -> (String, String) {
    vault.api("POST", "sys/namespaces/team", json!({})).await;
    let kv = json!({"type": "kv", "options": {"version": "2"}});
    in_the_team(vault, "POST", "sys/mounts/kv", kv).await;
    in_the_team(
        vault,
        "POST",
        "sys/mounts/sealing",
        json!({"type": "transit"}),
    )
    .await;
    in_the_team(
        vault,
        "POST",
        "sys/auth/machines",
        json!({"type": "approle"}),
    )
    .await;
    let rules = json!({ "policy": RULES });
    in_the_team(vault, "PUT", "sys/policies/acl/sidecar", rules).await;
    let role = json!({"token_policies": ["sidecar"]});
    in_the_team(vault, "POST", "auth/machines/role/sidecar", role).await;
    let app = json!({"data": {"client_id": "amzn1.application-oa2-client.canary", "client_secret": "amzn1.oa2-cs.v1.canary"}});
    in_the_team(vault, "POST", "kv/data/spapi/prod/apps/erp", app).await;
    for tenant in ["acme", "beta"] {
        let plain = STANDARD.encode(format!("Atzr|canary-{tenant}"));
        let path = format!("sealing/encrypt/key-of-{tenant}");
        in_the_team(
            vault,
            "POST",
            &format!("sealing/keys/key-of-{tenant}"),
            json!({}),
        )
        .await;
        let sealed = in_the_team(vault, "POST", &path, json!({ "plaintext": plain })).await;
        let grant = json!({"data": {"refresh_token": sealed["data"]["ciphertext"]}});
        let path = format!("kv/data/spapi/prod/tenants/{tenant}/grant");
        in_the_team(vault, "POST", &path, grant).await;
    }
    let path = "auth/machines/role/sidecar";
    let id = in_the_team(vault, "GET", &format!("{path}/role-id"), Value::Null).await;
    let secret = in_the_team(vault, "POST", &format!("{path}/secret-id"), json!({})).await;
    let text = |answer: &Value, name: &str| answer["data"][name].as_str().unwrap().to_owned();
    (text(&id, "role_id"), text(&secret, "secret_id"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_vault_is_used_as_every_key_says() {
    let Some(vault) = TestVault::start_tls().await else {
        return;
    };
    let (role, secret) = furnish(&vault).await;
    let sidecar = TestSidecar::with(Setup {
        store: format!(
            "{{ vault: {{ address: \"{}\", namespace: team, ca_file: {}, kv_mount: kv, prefix: spapi/prod, \
             transit: {{ mount: sealing, key: \"key-of-{{tenant}}\" }}, \
             auth: {{ approle: {{ role_id_file: {}, secret_id_file: {}, mount: machines }} }} }} }}",
            vault.address(),
            vault.ca_file().unwrap().display(),
            vault.file("role-id", &role).display(),
            vault.file("secret-id", &secret).display(),
        ),
        ..Setup::default()
    })
    .await;
    assert_eq!(sidecar.call(ORDERS, &[]).await.status, 200);
    assert_eq!(sidecar.whose(), [Some("acme".to_owned())]);
    // what the sidecar writes itself is there too: the key of phantoms
    let path = "kv/data/spapi/prod/phantom";
    let phantom = in_the_team(&vault, "GET", path, Value::Null).await;
    assert!(phantom["data"]["data"]["key"].is_string(), "{phantom}");
}
