//! What a request leaves in the log.

use crate::support::sidecar::{NA, Setup, TestSidecar};

async fn one_call(sidecar: &TestSidecar) {
    let url = format!("https://{NA}/orders/v0/orders?MarketplaceIds=ATVPDKIKX0DER");
    let response = sidecar.client().get(url).send().await.unwrap();
    assert_eq!(response.status(), 200);
    let _read = response.bytes().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_is_one_json_line_with_amazons_request_id() {
    let sidecar = TestSidecar::start().await;
    one_call(&sidecar).await;
    let records = sidecar.records();
    assert_eq!(records.len(), 1, "{records:?}");
    assert_eq!(records[0]["operation"], "getOrders");
    assert!(records[0]["amzn_request_id"].is_string(), "{records:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn in_the_pretty_format_a_request_is_a_line_for_people() {
    let sidecar = TestSidecar::with(Setup {
        sections: "telemetry: { log: { format: pretty } }".to_owned(),
        ..Setup::default()
    })
    .await;
    one_call(&sidecar).await;
    let line = sidecar.text();
    assert!(
        line.contains(&format!(
            " info acme GET {NA}/orders/v0/orders 200 forwarded token=access "
        )),
        "{line}"
    );
    assert!(!line.contains(['{', '}', '?']), "{line}");
}
