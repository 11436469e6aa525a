//! Pacing: Amazon's quotas are kept to, so that Amazon need not refuse; what does not fit is refused here, with words.

use std::time::Duration;

use serde_json::json;
use tokio::io::AsyncWriteExt as _;
use tokio::task::JoinSet;

use crate::support::peer::{Http1, trouble};
use crate::support::sidecar::{NA, Setup, TestSidecar, eventually, refusal};

/// listInboundPlans: two a second and a burst of six, by the catalog.
const PLANS: &str = "/inbound/fba/2024-03-20/inboundPlans";

fn with(throttle: &str) -> Setup {
    Setup {
        throttle: throttle.to_owned(),
        routes: format!("\n  - {{ allow: GET {PLANS}, scope: amazon-fulfillment }}"),
        ..Setup::default()
    }
}

fn url() -> String {
    format!("https://{NA}{PLANS}")
}

async fn status(client: &reqwest::Client) -> u16 {
    client.get(url()).send().await.unwrap().status().as_u16()
}

/// What Amazon answered to the calls that reached it.
fn answered(sidecar: &TestSidecar, status: u16) -> usize {
    let received = sidecar.received();
    let so = received.iter().filter(|one| one.status == Some(status));
    so.count()
}

/// A quota of four a second with a burst of six, and calls in waves that are larger than the burst but 95 % of the rate on
/// the whole; the statuses that the client saw.
async fn waves(sidecar: &TestSidecar) -> Vec<u16> {
    trouble(sidecar, json!({"throttle": 2.0}));
    let client = sidecar.client();
    assert_eq!(status(&client).await, 200);
    let mut calls = JoinSet::new();
    let mut tick = tokio::time::interval(Duration::from_millis(2_370));
    for _ in 0..3 {
        tick.tick().await;
        for _ in 0..9 {
            let client = client.clone();
            calls.spawn(async move { status(&client).await });
        }
    }
    calls.join_all().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn at_95_percent_of_a_quota_amazon_sees_nothing_to_refuse_although_calls_come_in_waves() {
    let sidecar = TestSidecar::with(with("{ mode: pace }")).await;
    assert_eq!(waves(&sidecar).await, [200; 27]);
    assert_eq!(answered(&sidecar, 429), 0);
    assert_eq!(answered(&sidecar, 200), 28);
    assert!(
        sidecar
            .records()
            .iter()
            .all(|record| record["attempts"] == 1)
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_same_waves_unpaced_are_refused_by_amazon() {
    let sidecar = TestSidecar::with(with("{ mode: pass }")).await;
    let seen = waves(&sidecar).await;
    assert!(seen.contains(&429), "{seen:?}");
    assert!(answered(&sidecar, 429) > 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_paced_within_max_wait_is_refused_here_and_amazon_sees_nothing_of_it() {
    let sidecar = TestSidecar::with(with("{ max_wait: 1s }")).await;
    trouble(&sidecar, json!({"throttle": 1.0}));
    let client = sidecar.client();
    assert_eq!(status(&client).await, 200);
    let mut calls = JoinSet::new();
    for _ in 0..40 {
        let call = client.get(url()).send();
        calls.spawn(async move { call.await.unwrap() });
    }
    let mut refused = 0;
    for answer in calls.join_all().await {
        if answer.status() == 200 {
            continue;
        }
        let wait = answer.headers()["retry-after"].to_str().unwrap().to_owned();
        assert!(wait.parse::<u64>().unwrap() >= 1, "{wait}");
        let (status, code, details) = refusal(answer).await;
        assert_eq!((status, &*code), (429, "throttled"));
        assert!(details.contains("Nothing was carried out"), "{details}");
        refused += 1;
    }
    assert!(refused > 20, "{refused}");
    assert_eq!(answered(&sidecar, 429), 0);
    assert_eq!(sidecar.received().len(), 41 - refused);
    let throttled = |record: &&serde_json::Value| record["reason"] == "throttled";
    let records = sidecar.records();
    assert_eq!(records.iter().filter(throttled).count(), refused);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_403_soon_after_a_429_goes_to_the_client_and_holds_the_next_call_as_a_429_would() {
    let sidecar = TestSidecar::with(with("{ max_wait: 2s }")).await;
    let client = sidecar.client();
    trouble(&sidecar, json!({"status": 429, "times": 1}));
    assert_eq!(status(&client).await, 200);
    let exchanges = sidecar.exchanges();
    let forbidden = json!({"status": 403, "times": 1, "details": "Forbidden", "retry_after": 60});
    trouble(&sidecar, forbidden);
    assert_eq!(status(&client).await, 403);
    assert_eq!(sidecar.exchanges(), exchanges, "the token is not to blame");
    let reached = sidecar.received().len();
    let answer = client.get(url()).send().await.unwrap();
    let (status, code, _) = refusal(answer).await;
    assert_eq!((status, &*code), (429, "throttled"));
    assert_eq!(sidecar.received().len(), reached);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tenants_do_not_wait_for_each_others_quota() {
    let sidecar = TestSidecar::with(Setup {
        routes:
            "\n  - { allow: GET /fba/inventory/v1/summaries, scope: inventory-and-order-tracking }"
                .to_owned(),
        ..with("{ max_wait: 0s }")
    })
    .await;
    let client = sidecar.client();
    let call = |phantom: String| {
        client
            .get(format!("https://{NA}/fba/inventory/v1/summaries"))
            .header("x-amz-access-token", phantom)
            .send()
    };
    let phantom = |tenant| sidecar.phantom(spapi_sidecar::phantom::Kind::Access, tenant);
    let mut codes = Vec::new();
    for tenant in ["acme", "acme", "acme", "acme", "acme", "beta"] {
        codes.push((
            tenant,
            call(phantom(tenant)).await.unwrap().status().as_u16(),
        ));
    }
    assert!(codes.contains(&("acme", 429)), "{codes:?}");
    assert_eq!(codes.last(), Some(&("beta", 200)), "{codes:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_hangs_up_while_it_waits_leaves_its_place_to_the_next() {
    let sidecar = TestSidecar::with(with("{ max_wait: 100s }")).await;
    // one place every ten seconds
    trouble(&sidecar, json!({"throttle": 0.05}));
    let client = sidecar.client_with(&["h2"], None);
    for _ in 0..5 {
        assert_eq!(status(&client).await, 200);
    }
    let cancelled = || {
        let records = sidecar.records();
        let so = records.iter().filter(|one| one["outcome"] == "cancelled");
        so.count()
    };
    // fifteen in line would be a wait of more than a hundred seconds for the next
    let waiting = || sidecar.app.shared().pace.waiting();
    for n in 1..=15 {
        let mut leaving = JoinSet::new();
        leaving.spawn(client.get(url()).send());
        eventually("it waits in line", || waiting() == 1).await;
        drop(leaving);
        eventually("it has left", || waiting() == 0 && cancelled() == n).await;
    }
    assert_eq!(sidecar.received().len(), 5);
    assert_eq!(status(&client).await, 200);
}

/// A lane whose burst is used up, and whose next place is far away.
async fn used_up() -> TestSidecar {
    let sidecar = TestSidecar::with(with("{ max_wait: 100s }")).await;
    trouble(&sidecar, json!({"throttle": 0.01}));
    let client = sidecar.client();
    for _ in 0..5 {
        assert_eq!(status(&client).await, 200);
    }
    sidecar
}

async fn in_line(sidecar: &TestSidecar) -> Http1 {
    let mut client = Http1::open(sidecar, NA).await;
    let request = format!("GET {PLANS} HTTP/1.1\r\nhost: {NA}\r\n\r\n");
    client.write(request).await;
    let waiting = || sidecar.app.shared().pace.waiting();
    eventually("it waits in line", || waiting() == 1).await;
    client
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn over_http1_too_a_client_that_closes_leaves_the_line_and_nothing_is_sent_for_it() {
    let sidecar = used_up().await;
    drop(in_line(&sidecar).await);
    let waiting = || sidecar.app.shared().pace.waiting();
    eventually("it has left", || waiting() == 0).await;
    eventually("it is recorded", || sidecar.records().len() == 6).await;
    assert_eq!(sidecar.records()[5]["reason"], "throttled");
    assert_eq!(sidecar.received().len(), 5);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_has_closed_its_half_alone_is_told_instead_of_made_to_wait() {
    let sidecar = used_up().await;
    let mut client = in_line(&sidecar).await;
    client.io.shutdown().await.unwrap();
    let answer = client.answer().await;
    assert_eq!(
        (answer.head.status, answer.code()),
        (429, Some("throttled"))
    );
}
