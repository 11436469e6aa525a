//! LWA replaces a refresh token just when the store goes away: what is in memory alone is brought home, or missed aloud.

use serde_json::{Value, json};
use spapi_sidecar::sandbox::Fault;
use spapi_sidecar::secret::fingerprint;

use crate::support::fleet::{LWA, Member, Plan, Stage, tenant, until};

const OLD: &str = "Atzr|canary-seller-0";

/// A sidecar whose first exchange brought a new refresh token, and whose store was gone when it came.
async fn replaced_without_a_store(shares: bool, drain_timeout: &'static str) -> Option<Replaced> {
    let plan = Plan {
        shares,
        drain_timeout,
        ..Plan::default()
    };
    let mut stage = Stage::with(plan).await?;
    // the answer is on its way long enough for the store to go away
    for fault in [
        json!({"rotate_refresh_token": true}),
        json!({"latency_ms": 4000, "host": LWA, "times": 1}),
    ] {
        stage.sandbox.fault(Fault::from_json(fault).unwrap());
    }
    let member = stage.join("{ timeout: 20s }").await;
    until("LWA is asked", async || {
        let received = stage.sandbox.received().into_iter();
        received.filter(|one| one.host == LWA).count() == 1
    })
    .await;
    stage.vault.stop();
    member.gets_ready().await;
    assert_eq!(member.call().await, 200, "its token is good");
    Some(Replaced { stage, member })
}

struct Replaced {
    stage: Stage,
    member: Member,
}

impl Replaced {
    async fn says_so(&self) {
        let waits = "LWA replaced the refresh token and the store has not taken it yet; do not end this process";
        until("the log says so", async || {
            self.member.process.said(waits, "store_unreachable") > 0
        })
        .await;
        until("the verdict and the alert say so", async || {
            let (_, authz) = self.member.admin("/health/authz").await;
            authz["tenants"][0]["probable_cause"] == "grant_not_stored" && self.alerts().await == 1
        })
        .await;
        let (_, authz) = self.member.admin("/health/authz").await;
        let next = authz["tenants"][0]["next_step"].as_str().unwrap();
        assert!(next.contains("do not stop this sidecar"), "{next}");
        assert!(next.contains("authorize seller-0"), "{next}");
        let (_, status) = self.member.admin("/api/v1/status").await;
        assert!(!status.to_string().contains("Atzr"), "{status}");
    }

    /// How many alerts of the kind fire, by the metrics.
    async fn alerts(&self) -> usize {
        let url = format!("http://{}/metrics", self.member.admin);
        let page = reqwest::get(url).await.unwrap().text().await.unwrap();
        let fires = |line: &&str| {
            line.starts_with("spapi_sidecar_alert_active{")
                && line.contains("\"grant_not_stored\"")
                && line.contains("\"seller-0\"")
                && line.ends_with(" 1")
        };
        page.lines().filter(fires).count()
    }

    async fn store_is_back(&mut self) {
        self.stage.vault.start_again().await;
        self.stage.vault.unseal().await;
    }

    async fn stored(&self) -> String {
        let path = format!("tenants/{}/grant", tenant(0));
        self.stage
            .look(&path)
            .await
            .field("refresh_token")
            .to_owned()
    }
}

/// A sidecar that knows nothing but the store exchanges with what is there, although the old token is void.
async fn a_newcomer_is_served(stage: &Stage) {
    let newcomer = stage.join("{ timeout: 20s }").await;
    newcomer.gets_ready().await;
    let expire = json!({"expire_tokens_now": true});
    stage.sandbox.fault(Fault::from_json(expire).unwrap());
    assert_eq!(newcomer.call().await, 200);
    let sent = stage.sandbox.received().into_iter();
    let sent: Vec<_> = sent.filter_map(|one| one.exchange).collect();
    assert!(sent.iter().all(|one| one.result == "ok"), "{sent:?}");
}

async fn is_stored_when_the_store_is_back(shares: bool) {
    let Some(mut world) = replaced_without_a_store(shares, "5s").await else {
        return;
    };
    world.says_so().await;
    world.store_is_back().await;
    until("the store holds another", async || {
        world.stored().await != OLD
    })
    .await;
    until("verdict and alert are over", async || {
        let (_, authz) = world.member.admin("/health/authz").await;
        authz["tenants"][0]["probable_cause"] == Value::Null && world.alerts().await == 0
    })
    .await;
    a_newcomer_is_served(&world.stage).await;
    world.member.process.terminate();
    let (status, log, stderr) = world.member.process.ended().await;
    assert!(status.success(), "{log}");
    assert!(!log.contains("is lost with this process"), "{log}");
    assert!(!log.contains("Atzr") && !stderr.contains("Atzr"), "{log}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refresh_token_replaced_while_the_store_is_away_is_stored_when_it_is_back() {
    tokio::join!(
        is_stored_when_the_store_is_back(true),
        is_stored_when_the_store_is_back(false),
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stop_while_the_store_is_away_tries_to_the_end_and_says_whose_refresh_token_is_lost() {
    let Some(world) = replaced_without_a_store(true, "2s").await else {
        return;
    };
    world.says_so().await;
    world.member.process.terminate();
    let (status, log, stderr) = world.member.process.ended().await;
    assert!(status.success(), "{log}");
    let last: Vec<Value> = log
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .filter(|line: &Value| {
            let message = line["message"].as_str().unwrap_or_default();
            message.contains("is lost with this process")
        })
        .collect();
    let [last] = last.as_slice() else {
        panic!("{log}")
    };
    assert_eq!(
        (&last["level"], &last["tenant"]),
        (&"error".into(), &"seller-0".into())
    );
    let message = last["message"].as_str().unwrap();
    assert!(message.contains("authorize seller-0"), "{message}");
    let draining = log.find("SIGTERM: draining").unwrap();
    let tried = log.rfind("the store has not taken it yet").unwrap();
    assert!(tried > draining, "it did not try again: {log}");
    assert!(!log.contains("Atzr") && !stderr.contains("Atzr"), "{log}");
    assert!(!log.contains(&fingerprint(OLD)), "{log}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_that_comes_back_during_the_drain_gets_the_new_refresh_token() {
    let Some(mut world) = replaced_without_a_store(false, "60s").await else {
        return;
    };
    world.says_so().await;
    world.member.process.terminate();
    world.store_is_back().await;
    until("it ends by itself", async || {
        world.member.process.has_ended()
    })
    .await;
    assert_ne!(world.stored().await, OLD);
    a_newcomer_is_served(&world.stage).await;
    let (status, log, _stderr) = world.member.process.ended().await;
    assert!(status.success() && log.contains("\"drained\""), "{log}");
    assert!(!log.contains("is lost with this process"), "{log}");
}
