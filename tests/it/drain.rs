//! SIGTERM ends the sidecar as soon as nothing is in flight.

use crate::support::sidecar::{NA, TestSidecar};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_drain_does_not_wait_for_idle_connections_to_origins() {
    let sidecar = TestSidecar::start().await;
    let client = sidecar.client();
    let url = format!("https://{NA}/orders/v0/orders?MarketplaceIds=ATVPDKIKX0DER");
    let response = client.get(url).send().await.unwrap();
    assert_eq!(response.status(), 200);
    // the client's connection, the origin's and LWA's are open and idle now
    response.bytes().await.unwrap();
    let left = sidecar.app.drain().await;
    assert!(left.is_empty(), "{left:?}");
}
