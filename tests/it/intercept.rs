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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_head_that_cannot_be_read_is_refused_in_the_error_shape_and_recorded() {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let sidecar = TestSidecar::start().await;
    let mut stream = tokio::net::TcpStream::connect(sidecar.proxy())
        .await
        .unwrap();
    stream.write_all(b"CONNECT\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(
        answer.starts_with("HTTP/1.1 400 Bad Request\r\n"),
        "{answer}"
    );
    assert!(
        answer.contains("x-spapi-sidecar-error: bad_request\r\n")
            && answer.contains("{\"errors\":[{\"code\":\"bad_request\""),
        "{answer}"
    );
    assert_eq!(sidecar.records().last().unwrap()["reason"], "bad_request");
}
