//! The fleet's records in a real server that speaks Vault's API, with the policy of a sidecar.

use std::sync::Arc;

use serde_json::json;
use spapi_sidecar::fleet::Fleet;
use spapi_sidecar::fleet::change::Change;
use spapi_sidecar::fleet::why::Why;
use spapi_sidecar::roster::{Missing, Profiles, Roster};
use spapi_sidecar::store::GrantStore;
use spapi_sidecar::store::vault::VaultStore;
use spapi_sidecar::task::Tasks;
use spapi_sidecar::telemetry::event::Events;
use spapi_sidecar::tenant::{TenantId, TenantState};

use crate::support::sidecar::eventually;
use crate::support::vault::{SIDECAR_POLICY, TestVault};

fn id(text: &str) -> TenantId {
    TenantId::parse(text).unwrap()
}

/// A store that a sidecar logs in to with its own policy.
async fn store(vault: &TestVault) -> Arc<dyn GrantStore> {
    let role_id = vault.role("sidecar", SIDECAR_POLICY, json!({})).await;
    let secret_id = vault.secret_id("sidecar").await;
    let auth = vault.approle(&role_id, &secret_id, false);
    Arc::new(VaultStore::new(&vault.config(auth)).unwrap())
}

/// A sidecar that follows the fleet's record, and the tasks to stop it by.
async fn follower(store: &Arc<dyn GrantStore>) -> (Arc<Fleet>, Tasks) {
    let tasks = Tasks::new(tokio::runtime::Handle::current());
    let fleet = Arc::new(Fleet::new(
        Arc::clone(store),
        tasks.clone(),
        Events::default(),
    ));
    let (polled, stop) = (Arc::clone(&fleet), tasks.stopping());
    let _polls = tasks.control("fleet", async move {
        tokio::select! { () = polled.keep() => {}, () = stop => {} }
    });
    fleet.known().await;
    (fleet, tasks)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_kill_is_an_object_in_vault_and_the_other_sidecars_follow_within_ten_seconds() {
    let Some(vault) = TestVault::start().await else {
        return;
    };
    let store = store(&vault).await;
    let (one, stop_one) = follower(&store).await;
    let (two, stop_two) = follower(&store).await;
    let why = Why::new("leaked", "ada").unwrap();
    assert!(one.change(Change::Kill(id("acme"), why)).await.unwrap());
    eventually("the other follows", || {
        two.state(&id("acme")) == TenantState::Killed
    })
    .await;
    let path = "secret/data/spapi-sidecar/fleet";
    let record = vault.api("GET", path, json!(null)).await;
    let acme = &record["data"]["data"]["states"]["acme"];
    assert_eq!(
        (&acme["state"], &acme["by"]),
        (&json!("killed"), &json!("ada"))
    );
    assert_eq!(record["data"]["data"]["generation"], json!(1));
    // an operator's own hand, with Vault's own tools
    let by_hand = json!({"data": {"states": {"beta": {"state": "quarantined", "reason": "r", "since": "s", "by": "eve"}}}});
    vault.api("POST", path, by_hand).await;
    eventually("both obey", || {
        [&one, &two].iter().all(|fleet| {
            fleet.state(&id("acme")) == TenantState::Active
                && fleet.state(&id("beta")) == TenantState::Quarantined
        })
    })
    .await;
    for tasks in [stop_one, stop_two] {
        tasks.stop();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_profile_that_was_put_by_hand_is_a_tenant() {
    let Some(vault) = TestVault::start().await else {
        return;
    };
    let store = store(&vault).await;
    let tasks = Tasks::new(tokio::runtime::Handle::current());
    let roster = Roster::Stored(Arc::new(Profiles::new(store, tasks)));
    let put = async |tenant: &str, scopes: serde_json::Value| {
        let path = format!("secret/data/spapi-sidecar/tenants/{tenant}/profile");
        let profile = json!({"data": {"app": "erp", "region": "na", "marketplaces": "ATVPDKIKX0DER,A2EUQ1WTGCTBG2", "scopes": scopes}});
        vault.api("POST", &path, profile).await;
    };
    // `vault kv put … scopes=one,two`, and a list in JSON
    put("acme", json!("one,two")).await;
    put("beta", json!(["one", "two"])).await;
    for tenant in ["acme", "beta"] {
        let tenant = roster.find(&id(tenant)).await.unwrap();
        assert_eq!(tenant.scopes, ["one", "two"]);
        assert_eq!(tenant.marketplaces.len(), 2);
    }
    let missing = roster.find(&id("nobody")).await.unwrap_err();
    assert!(matches!(missing, Missing::Unknown), "{missing}");
}
