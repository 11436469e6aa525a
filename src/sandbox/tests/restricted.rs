//! Restricted data tokens.

use serde_json::{Value, json};

use super::{NA, ORDERS, Scene, get, post};
use crate::sandbox::{GrantRegistration, Options};
use crate::secret::RefreshToken;

const ID: &str = "902-3159896-1390916";

fn resource(path: &str, elements: &[&str]) -> Value {
    json!({"method": "GET", "path": path, "dataElements": elements})
}

#[tokio::test]
async fn an_rdt_opens_its_resources_with_their_data_elements_and_nothing_else() {
    let scene = Scene::start().await;
    let token = scene.access_token("Atzr|one").await;
    let resources = json!([
        resource("/orders/v0/orders", &["buyerInfo"]),
        resource("/orders/v0/orders/{anyName}/address", &[]),
        resource(&format!("/orders/v0/orders/{ID}"), &["shippingAddress"]),
    ]);
    let rdt = scene.rdt(&token, resources).await;
    assert!(rdt.starts_with("Atz.sprdt|"));

    let list = scene.send(get(NA, ORDERS).token(&rdt)).await.json();
    let first = &list["payload"]["Orders"][0];
    assert!(first.get("BuyerInfo").is_some() && first.get("ShippingAddress").is_none());
    let one = get(NA, &format!("/orders/v0/orders/{ID}")).token(&rdt);
    let one = scene.send(one).await.json();
    assert!(one["payload"].get("ShippingAddress").is_some());
    assert!(one["payload"].get("BuyerInfo").is_none());
    for (target, want) in [
        ("/orders/v0/orders/1/address", 200),
        ("/orders/v0/orders/2/address", 200),
        ("/orders/v0/orders/2", 403),
        ("/orders/v0/orders/2/buyerInfo", 403),
        ("/sellers/v1/marketplaceParticipations", 403),
    ] {
        let reply = scene.send(get(NA, target).token(&rdt)).await;
        assert_eq!(reply.status, want, "{target}");
    }
    let again = scene.ask_rdt(&rdt, json!([resource("/orders/v0/orders", &["buyerInfo"])]));
    assert_eq!(again.await.status, 403);
}

#[tokio::test]
async fn a_request_for_an_rdt_is_judged_as_amazon_does() {
    let scene = Scene::start().await;
    let token = scene.access_token("Atzr|one").await;
    let address = resource("/orders/v0/orders/{orderId}/address", &[]);
    let report = "/reports/2021-06-30/documents/{reportDocumentId}";
    for (resources, want) in [
        (json!([]), 400),
        (Value::Array(vec![address.clone(); 50]), 200),
        (Value::Array(vec![address; 51]), 400),
        (json!([resource("/orders/v0/orders", &[])]), 400),
        (json!([resource("/orders/v0/orders", &["password"])]), 400),
        (json!([resource("/sellers/v1/account", &[])]), 400),
        (json!([resource("/nowhere", &[])]), 400),
        (
            json!([{"method": "PATCH", "path": "/orders/v0/orders"}]),
            400,
        ),
        (json!([resource(report, &[])]), 400),
        (
            json!([resource("/reports/2021-06-30/documents/amzn1.x", &[])]),
            200,
        ),
        (
            json!([{"method": "GET", "path": "/orders/v0/orders/1/address", "unknown": 1}]),
            200,
        ),
    ] {
        let reply = scene.ask_rdt(&token, resources.clone()).await;
        assert_eq!(reply.status, want, "{resources}");
        if want == 400 {
            assert_eq!(reply.error().1, "InvalidInput");
        } else {
            assert_eq!(reply.json()["expiresIn"], 3600);
        }
    }
}

#[tokio::test]
async fn a_grant_without_the_role_gets_400_and_the_names_of_the_data_elements() {
    let mut grant = GrantRegistration::new(RefreshToken::new("Atzr|acme".into()), "acme");
    let roles = [
        "Inventory and Order Tracking",
        "Direct-to-Consumer Shipping",
    ];
    grant.roles = Some(roles.map(str::to_owned).to_vec());
    let scene = Scene::with(Options {
        grants: vec![grant],
        ..Options::default()
    })
    .await;
    let token = scene.access_token("Atzr|acme").await;
    let both = json!([resource(
        "/orders/v0/orders",
        &["buyerInfo", "shippingAddress"]
    )]);
    let reply = scene.ask_rdt(&token, both).await;
    assert_eq!(reply.status, 400);
    assert_eq!(
        reply.json()["errors"][0]["message"],
        "Application does not have access to one or more requested data elements: [buyerInfo]"
    );
    let one = json!([resource("/orders/v0/orders", &["shippingAddress"])]);
    assert_eq!(scene.ask_rdt(&token, one).await.status, 200);
}

#[tokio::test]
async fn the_document_of_a_restricted_report_needs_an_rdt_for_its_concrete_path() {
    let scene = Scene::start().await;
    let token = scene.access_token("Atzr|one").await;
    for (report_type, plain) in [
        ("GET_MERCHANT_LISTINGS_ALL_DATA", 200),
        ("GET_FLAT_FILE_ORDER_REPORT_DATA_SHIPPING", 403),
    ] {
        let body = json!({"reportType": report_type, "marketplaceIds": ["ATVPDKIKX0DER"]});
        let create = post(NA, "/reports/2021-06-30/reports", body.to_string()).token(&token);
        let id = scene.send(create).await.json()["reportId"].clone();
        let report = format!("/reports/2021-06-30/reports/{}", id.as_str().unwrap());
        let report = scene.send(get(NA, &report).token(&token)).await.json();
        assert_eq!(report["processingStatus"], "DONE");
        assert_eq!(report["reportType"], report_type);
        let document = report["reportDocumentId"].as_str().unwrap();
        let path = format!("/reports/2021-06-30/documents/{document}");
        assert_eq!(scene.send(get(NA, &path).token(&token)).await.status, plain);
        let rdt = scene.rdt(&token, json!([resource(&path, &[])])).await;
        let reply = scene.send(get(NA, &path).token(&rdt)).await;
        assert_eq!(reply.json()["reportDocumentId"], document);
    }
}
