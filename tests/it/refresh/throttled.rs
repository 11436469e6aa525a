//! 429: waited out within `throttle`, then passed through.

use std::time::Duration;

use serde_json::json;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::support::peer::trouble;
use crate::support::sidecar::{NA, Setup, TestSidecar};

fn url() -> String {
    format!("https://{NA}/orders/v0/orders?MarketplaceIds=ATVPDKIKX0DER")
}

fn with(throttle: &str) -> Setup {
    Setup {
        throttle: throttle.to_owned(),
        ..Setup::default()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_throttled_call_is_repeated_until_it_is_let_through() {
    let sidecar = TestSidecar::with(with("{ mode: pace }")).await;
    trouble(&sidecar, json!({"status": 429, "times": 2}));
    let response = sidecar.client().get(url()).send().await.unwrap();
    assert_eq!(response.status(), 200);
    assert_eq!(sidecar.received().len(), 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_burst_over_the_rate_is_spread_out_and_all_of_it_succeeds() {
    let sidecar = TestSidecar::with(with("{ max_attempts: 8 }")).await;
    // 66 a second, and a burst of 20
    trouble(&sidecar, json!({"throttle": 4000.0}));
    let client = sidecar.client();
    let mut calls = JoinSet::new();
    for _ in 0..40 {
        let call = client.get(url()).send();
        calls.spawn(async move { call.await.unwrap().status().as_u16() });
    }
    assert_eq!(calls.join_all().await, vec![200; 40]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn retry_after_is_the_shortest_pause() {
    let sidecar = TestSidecar::with(with("{ mode: pace }")).await;
    trouble(
        &sidecar,
        json!({"status": 429, "times": 1, "retry_after": 2}),
    );
    let from = Instant::now();
    let response = sidecar.client().get(url()).send().await.unwrap();
    assert_eq!(response.status(), 200);
    assert!(
        from.elapsed() >= Duration::from_secs(2),
        "{:?}",
        from.elapsed()
    );
}

/// The 429 reaches the client as it came, after so many attempts.
async fn passes_through(sidecar: &TestSidecar, attempts: usize) {
    let response = sidecar.client().get(url()).send().await.unwrap();
    assert_eq!(response.status(), 429);
    assert!(!response.headers().contains_key("x-spapi-sidecar-error"));
    let body = response.text().await.unwrap();
    assert!(body.contains("QuotaExceeded"), "{body}");
    assert_eq!(sidecar.received().len(), attempts);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn in_mode_pass_a_429_goes_through_at_once() {
    let sidecar = TestSidecar::with(with("{ mode: pass }")).await;
    trouble(&sidecar, json!({"status": 429}));
    passes_through(&sidecar, 1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pause_that_would_outlast_max_wait_is_not_begun() {
    let sidecar = TestSidecar::with(with("{ max_wait: 3s }")).await;
    trouble(&sidecar, json!({"status": 429, "retry_after": 60}));
    passes_through(&sidecar, 1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_max_attempts_the_429_goes_through() {
    let sidecar = TestSidecar::with(with("{ max_attempts: 3 }")).await;
    trouble(&sidecar, json!({"status": 429}));
    passes_through(&sidecar, 3).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_throttled_upload_that_was_kept_is_sent_whole_again() {
    let sidecar = TestSidecar::with(with("{ mode: pace }")).await;
    trouble(
        &sidecar,
        json!({"status": 429, "times": 1, "path_prefix": "/_sandbox/sink"}),
    );
    let response = sidecar
        .client()
        .post(format!("https://{NA}/_sandbox/sink"))
        .body(vec![3; 300_000])
        .send()
        .await
        .unwrap();
    assert_eq!(response.status(), 200);
    let received = sidecar.received();
    assert_eq!(received[0].body_sha256, received[1].body_sha256);
    assert_eq!(received[1].body_bytes, 300_000);
}
