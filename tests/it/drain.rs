//! SIGTERM's way out: what is in flight is finished, and nothing that is idle holds the process up.

use std::time::Duration;

use tokio::time::Instant;

use crate::support::sidecar::{NA, TestSidecar};

/// Far below `drain_timeout` (5 s), far above what a drain with nothing to wait for takes.
const AT_ONCE: Duration = Duration::from_secs(2);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_to_amazon_that_nobody_uses_do_not_hold_up_a_drain() {
    let sidecar = TestSidecar::start().await;
    // both stay open to their end: an idle client is no reason to wait either
    let clients = ["http/1.1", "h2"].map(|alpn| sidecar.client_with(&[alpn], None));
    for client in &clients {
        let response = client
            .get(format!(
                "https://{NA}/orders/v0/orders?MarketplaceIds=ATVPDKIKX0DER"
            ))
            .send()
            .await
            .unwrap();
        assert_eq!(response.status(), 200);
        let _read = response.bytes().await.unwrap();
    }
    let began = Instant::now();
    let left = sidecar.app.drain().await;
    assert!(left.is_empty(), "{left:?}");
    assert!(began.elapsed() < AT_ONCE, "{:?}", began.elapsed());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_that_is_being_streamed_is_finished_by_the_drain() {
    let sidecar = TestSidecar::start().await;
    sidecar
        .sandbox
        .fault(spapi_sidecar::sandbox::Fault::parse(r#"{"slow_body": 800}"#).unwrap());
    let response = sidecar
        .client()
        .get(format!(
            "https://{NA}/orders/v0/orders?MarketplaceIds=ATVPDKIKX0DER"
        ))
        .send()
        .await
        .unwrap();
    let (left, body) = tokio::join!(sidecar.app.drain(), response.json::<serde_json::Value>());
    let body = body.unwrap();
    assert!(body["payload"]["Orders"].is_array(), "{body}");
    assert!(left.is_empty(), "{left:?}");
}
