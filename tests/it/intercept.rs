//! A call that is allowed goes out with the tenant's token, and with nothing of the client's own.

use crate::support::sidecar::{NA, TestSidecar};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_allowed_call_reaches_amazon_with_the_tenants_token_in_both_fields() {
    let sidecar = TestSidecar::start().await;
    let url = format!("https://{NA}/orders/v0/orders?MarketplaceIds=ATVPDKIKX0DER");
    let response = sidecar
        .client()
        .get(url)
        .header("x-amz-access-token", "spx-placeholder")
        .send()
        .await
        .unwrap();
    assert_eq!(response.status(), 200);
    let received = sidecar.received();
    assert_eq!(received.len(), 1);
    assert_eq!(
        received[0].token.as_ref().map(|token| token.kind),
        Some("access")
    );
    assert!(
        received[0]
            .authorization
            .as_ref()
            .is_some_and(|authorization| authorization.same_token),
        "{received:?}"
    );
}
