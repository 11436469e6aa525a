//! Break-glass: what it opens, to whom, and how it ends.

use serde_json::{Value, json};
use spapi_sidecar::phantom::Kind;

use super::{another, operator};
use crate::support::admin::Admin;
use crate::support::sidecar::{NA, TestSidecar, eventually};
use crate::support::wire::request;

const INVENTORY: &str = "/fba/inventory/v1/summaries?marketplaceIds=ATVPDKIKX0DER";

async fn open(admin: &Admin, allow: &str, lasts: &str) -> Value {
    let body =
        json!({"tenant": "acme", "allow": [allow], "for": lasts, "reason": "INC-1", "by": "ada"});
    let (status, answer) = admin.post("/api/v1/break-glass", body).await;
    assert_eq!(status, 200, "{answer}");
    answer
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_opens_a_route_to_one_tenant_without_a_scope_and_to_nobody_else() {
    let sidecar = TestSidecar::start().await;
    let admin = operator(&sidecar);
    let mut inside = sidecar.inside(NA).await;
    let before = inside.get(NA, INVENTORY, &[]).await;
    assert_eq!(before.refused(), (403, "route_denied".to_owned()));
    let glass = open(&admin, "GET /fba/inventory/v1/summaries", "10m").await;
    assert_eq!(inside.get(NA, INVENTORY, &[]).await.status, 200);
    assert_eq!(sidecar.whose(), [Some("acme".to_owned())]);
    let beta = sidecar.phantom(Kind::Access, "beta");
    let theirs = sidecar
        .call(INVENTORY, &[("x-amz-access-token", &beta)])
        .await;
    assert_eq!(theirs.refused(), (403, "route_denied".to_owned()));
    let beside = inside.get(NA, "/fba/inventory/v1/items", &[]).await;
    assert_eq!(beside.refused(), (403, "route_denied".to_owned()));
    let status = admin.status().await;
    let shown = &status["fleet"]["break_glass"][0];
    assert_eq!(*shown, glass);
    assert_eq!(
        (&shown["by"], &shown["reason"]),
        (&json!("ada"), &json!("INC-1"))
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_opens_no_host_no_other_marketplace_and_no_region() {
    let sidecar = TestSidecar::start().await;
    open(
        &operator(&sidecar),
        "GET /fba/inventory/v1/summaries",
        "10m",
    )
    .await;
    let (answer, _) = sidecar.connect("elsewhere.example:443", &[]).await;
    assert_eq!(answer.refused(), (403, "egress_denied".to_owned()));
    let elsewhere = INVENTORY.replace("ATVPDKIKX0DER", "A1F83G8C2ARO7P");
    let answer = sidecar.call(&elsewhere, &[]).await;
    assert_eq!(answer.refused().0, 403);
    let eu = "sellingpartnerapi-eu.amazon.com";
    let answer = sidecar.inside(eu).await.get(eu, INVENTORY, &[]).await;
    assert_eq!(answer.refused().0, 403);
    assert_eq!(sidecar.received().len(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restricted_operation_goes_out_with_a_restricted_token_also_where_the_program_asks_for_one()
 {
    let sidecar = TestSidecar::start().await;
    let admin = operator(&sidecar);
    let path = "/orders/v0/orders/123-1234567-1234567/orderItems/buyerInfo";
    let resource = r#"{"restrictedResources":[{"method":"GET","path":"/orders/v0/orders/{orderId}/orderItems/buyerInfo"}]}"#;
    let asked = || {
        request(
            "POST",
            NA,
            "/tokens/2021-03-01/restrictedDataToken",
            &[],
            resource,
        )
    };
    let mut inside = sidecar.inside(NA).await;
    let before = inside.ask(asked()).await;
    assert_eq!(before.refused(), (403, "rdt_denied".to_owned()));
    open(
        &admin,
        "GET /orders/v0/orders/{orderId}/orderItems/buyerInfo",
        "10m",
    )
    .await;
    assert_eq!(inside.ask(asked()).await.status, 200);
    let answer = inside.get(NA, path, &[]).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let record = sidecar.records().pop().unwrap();
    assert_eq!(record["token_kind"], "rdt");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_ends_by_itself() {
    let sidecar = TestSidecar::start().await;
    let admin = operator(&sidecar);
    open(&admin, "GET /fba/inventory/v1/summaries", "1s").await;
    let mut inside = sidecar.inside(NA).await;
    let mut status = 200;
    for _ in 0..500 {
        status = inside.get(NA, INVENTORY, &[]).await.status;
        if status == 403 {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    assert_eq!(status, 403);
    assert_eq!(admin.status().await["fleet"]["break_glass"], json!([]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_reaches_the_other_sidecars_and_ends_everywhere_when_it_is_revoked() {
    let sidecar = TestSidecar::start().await;
    let other = another(&sidecar).await;
    let admin = operator(&sidecar);
    let glass = open(&admin, "GET /fba/inventory/v1/summaries", "10m").await;
    let open_elsewhere = || other.shared().fleet.break_glasses().len();
    eventually("the other sidecar follows", || open_elsewhere() == 1).await;
    assert_eq!(sidecar.call(INVENTORY, &[]).await.status, 200);
    let path = format!(
        "/api/v1/break-glass/{}/revoke",
        glass["id"].as_str().unwrap()
    );
    let (status, answer) = admin.post(&path, json!({"by": "bob"})).await;
    assert_eq!(status, 200, "{answer}");
    let answer = sidecar.call(INVENTORY, &[]).await;
    assert_eq!(answer.refused(), (403, "route_denied".to_owned()));
    eventually("it ends there too", || open_elsewhere() == 0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_serves_no_tenant_that_is_switched_off() {
    let sidecar = TestSidecar::start().await;
    let admin = operator(&sidecar);
    open(&admin, "GET /fba/inventory/v1/summaries", "10m").await;
    super::set(&admin, "acme", "kill").await;
    let answer = sidecar.call(INVENTORY, &[]).await;
    assert_eq!(answer.refused(), (403, "tenant_killed".to_owned()));
}
