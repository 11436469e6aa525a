//! Secrets that change under a fleet's load: no call fails.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::json;
use spapi_sidecar::sandbox::AppRegistration;
use spapi_sidecar::secret::{ClientId, ClientSecret, RefreshToken};
use tokio::task::JoinSet;

use crate::support::fleet::{Member, Stage, tenant, until};

const ID: &str = "amzn1.application-oa2-client.canary";
const OLD: &str = "amzn1.oa2-cs.v1.canary";
const NEW: &str = "amzn1.oa2-cs.v1.new";

/// Calls without a pause, until it is told to stop; how many there were, and their statuses other than 200.
struct Load {
    goes_on: Arc<AtomicBool>,
    callers: JoinSet<(usize, Vec<u16>)>,
}

impl Load {
    fn on(fleet: &Arc<Vec<Member>>) -> Self {
        let goes_on = Arc::new(AtomicBool::new(true));
        let mut callers = JoinSet::new();
        for n in 0..fleet.len() {
            let (fleet, goes_on) = (Arc::clone(fleet), Arc::clone(&goes_on));
            callers.spawn(async move {
                let (mut calls, mut bad) = (0, Vec::new());
                while goes_on.load(Ordering::Relaxed) {
                    let status = fleet[n].call().await;
                    calls += 1;
                    if status != 200 {
                        bad.push(status);
                    }
                }
                (calls, bad)
            });
        }
        Self { goes_on, callers }
    }

    async fn ends_without_a_failed_call(self) {
        self.goes_on.store(false, Ordering::Relaxed);
        for (calls, bad) in self.callers.join_all().await {
            assert!(calls > 0);
            assert_eq!(bad, Vec::<u16>::new(), "of {calls} calls");
        }
    }
}

async fn fleet(stage: &Stage) -> Arc<Vec<Member>> {
    let mut fleet = Vec::new();
    for _ in 0..2 {
        fleet.push(stage.join("{ timeout: 5s }").await);
    }
    for member in &fleet {
        member.gets_ready().await;
    }
    Arc::new(fleet)
}

/// Two more generations: whatever changed has been exchanged with.
async fn two_renewals(stage: &Stage) {
    let before = stage.token(0).await.generation();
    until("two more tokens", async || {
        stage.token(0).await.generation() >= before + 2
    })
    .await;
}

fn app(secret: &str, old: Option<&str>) -> AppRegistration {
    AppRegistration {
        client_id: ClientId::new(ID.to_owned()),
        client_secret: ClientSecret::new(secret.to_owned()),
        old_secret: old.map(|old| ClientSecret::new(old.to_owned())),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_secret_is_rotated_under_load_by_two_commands() {
    let Some(stage) = Stage::set(1, Duration::from_secs(4)).await else {
        return;
    };
    let fleet = fleet(&stage).await;
    let load = Load::on(&fleet);
    let said = fleet[0].command(&["app", "rotate", "erp"], "").await;
    assert!(said.contains("app put-next erp"), "{said}");
    let received = stage.sandbox.received();
    let asked: Vec<_> = received
        .iter()
        .filter(|one| one.operation.as_deref() == Some("rotateApplicationClientSecret"))
        .collect();
    assert_eq!(asked.len(), 1);
    assert_eq!(asked[0].status, Some(204));
    let kind = asked[0].token.as_ref().map(|token| token.kind);
    assert_eq!(kind, Some("grantless"));
    // Amazon issues the new secret and lets the old one live for a while; then it is over
    stage.sandbox.register_app(&app(NEW, Some(OLD)));
    let notice = json!({"payload": {"applicationOAuthClientNewSecret": {"clientId": ID, "newClientSecret": NEW}}});
    let message = json!({"Messages": [{"Body": notice.to_string()}]}).to_string();
    let said = fleet[1]
        .command(&["app", "put-next", "erp"], &message)
        .await;
    assert!(!said.contains(NEW), "{said}");
    two_renewals(&stage).await;
    let both = stage.look("apps/erp").await;
    assert_eq!(both.field("client_secret"), OLD);
    assert_eq!(both.field("client_secret_next"), NEW);
    stage.sandbox.register_app(&app(NEW, None));
    until("the next secret is promoted", async || {
        stage.look("apps/erp").await.field("client_secret") == NEW
    })
    .await;
    two_renewals(&stage).await;
    load.ends_without_a_failed_call().await;
    let after = stage.look("apps/erp").await;
    assert_eq!(after.field("client_secret_next"), "");
    assert_eq!(
        after.field("rotated_at"),
        both.field("client_secret_next_at")
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_secret_that_somebody_changed_in_vault_is_picked_up() {
    let Some(stage) = Stage::set(1, Duration::from_secs(4)).await else {
        return;
    };
    let fleet = fleet(&stage).await;
    let load = Load::on(&fleet);
    stage.sandbox.register_app(&app(NEW, Some(OLD)));
    let by_hand = json!({"client_id": ID, "client_secret": NEW});
    stage.put("apps/erp", by_hand).await;
    two_renewals(&stage).await;
    stage.sandbox.register_app(&app(NEW, None));
    two_renewals(&stage).await;
    load.ends_without_a_failed_call().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refresh_token_that_somebody_replaced_is_used_from_the_next_exchange_on() {
    let Some(stage) = Stage::set(1, Duration::from_secs(4)).await else {
        return;
    };
    let fleet = fleet(&stage).await;
    let load = Load::on(&fleet);
    let path = format!("tenants/{}/grant", tenant(0));
    stage
        .put(&path, json!({"refresh_token": "Atzr|canary-anew"}))
        .await;
    two_renewals(&stage).await;
    load.ends_without_a_failed_call().await;
    let print = spapi_sidecar::secret::fingerprint(
        RefreshToken::new("Atzr|canary-anew".to_owned()).expose(),
    );
    let last = stage
        .sandbox
        .received()
        .into_iter()
        .filter_map(|one| one.exchange?.subject)
        .next_back();
    assert_eq!(last.unwrap().fingerprint, print);
}
