//! What SP-API's gateway lets through and refuses.

use std::time::Duration;

use http::Method;
use serde_json::json;

use super::{NA, ORDERS, Scene, get, post};
use crate::sandbox::{GrantRegistration, Options, Region};
use crate::secret::{RefreshToken, fingerprint};

const EU: &str = "sellingpartnerapi-eu.amazon.com";

#[tokio::test]
async fn a_good_token_reads_orders_without_personal_data() {
    let scene = Scene::start().await;
    let token = scene.access_token("Atzr|one").await;
    let reply = scene.send(get(NA, ORDERS).token(&token)).await;
    assert_eq!(reply.status, 200);
    assert_eq!(reply.headers["x-amzn-ratelimit-limit"], "0.0167");
    assert!(reply.headers.contains_key("x-amzn-requestid"));
    let order = &reply.json()["payload"]["Orders"][0];
    assert_eq!(order["AmazonOrderId"], "902-3159896-1390916");
    assert!(order.get("BuyerInfo").is_none() && order.get("ShippingAddress").is_none());
}

#[tokio::test]
async fn each_bad_token_is_refused_in_amazons_words() {
    let scene = Scene::start().await;
    let token = scene.access_token("Atzr|one").await;
    let grantless = scene
        .grantless_token("sellingpartnerapi::notifications")
        .await;
    let orders = || get(NA, ORDERS);
    for (ask, details) in [
        (orders(), "Access token is missing in the request header."),
        (
            orders().header("authorization", &format!("Bearer {token}")),
            "Access token is missing in the request header.",
        ),
        (
            orders().token("Atza|made-up"),
            "The access token you provided is revoked, malformed or invalid.",
        ),
        (
            orders().token(&token).token(&token),
            "The access token you provided is revoked, malformed or invalid.",
        ),
        (
            orders()
                .token(&token)
                .header("authorization", "Bearer other"),
            "The authorization header does not carry the token of x-amz-access-token.",
        ),
        (orders().token(&grantless), ""),
        (get(NA, "/orders/v0/unknown/path").token(&token), ""),
        (get(NA, "/notifications/v1/destinations").token(&token), ""),
        (get(NA, "/orders/v0/orders/1/address").token(&token), ""),
    ] {
        let target = ask.target.clone();
        let reply = scene.send(ask).await;
        let want = (403, "Unauthorized".to_owned(), details.to_owned());
        assert_eq!(reply.error(), want, "{target}");
        assert_eq!(reply.headers["x-amzn-errortype"], "AccessDeniedException");
        assert!(!reply.headers.contains_key("x-amzn-ratelimit-limit"));
    }
}

#[tokio::test]
async fn both_headers_with_one_token_are_fine_and_recorded_by_fingerprint() {
    let scene = Scene::start().await;
    let token = scene.access_token("Atzr|one").await;
    let ask = get(NA, ORDERS)
        .token(&token)
        .header("authorization", &format!("Bearer {token}"));
    assert_eq!(scene.send(ask).await.status, 200);
    let received = scene.sandbox.received_since(1);
    let seen = received[0].token.clone().unwrap();
    assert_eq!(seen.kind, "access");
    assert_eq!(seen.fingerprint, fingerprint(&token));
    let authorization = received[0].authorization.clone().unwrap();
    assert!(authorization.same_token);
    assert_eq!(authorization.scheme, "bearer");
    assert_eq!(received[0].operation.as_deref(), Some("getOrders"));
    assert_eq!(received[0].target, ORDERS);
    assert_eq!(received[0].status, Some(200));
    assert!(!serde_json::to_string(&received).unwrap().contains(&token));
}

#[tokio::test]
async fn a_token_past_its_life_has_expired() {
    let scene = Scene::with(Options {
        expires_in: Duration::ZERO,
        ..Options::default()
    })
    .await;
    let token = scene.access_token("Atzr|one").await;
    let (status, _, details) = scene.send(get(NA, ORDERS).token(&token)).await.error();
    assert_eq!(status, 403);
    assert_eq!(details, "The access token you provided has expired.");
}

#[tokio::test]
async fn a_get_with_a_content_length_is_refused() {
    let scene = Scene::start().await;
    let token = scene.access_token("Atzr|one").await;
    let ask = get(NA, ORDERS).token(&token).header("content-length", "0");
    let reply = scene.send(ask).await;
    assert_eq!(reply.status, 400);
    assert_eq!(reply.headers["x-amzn-ratelimit-limit"], "0.0167");
    let with_body = post(NA, ORDERS, "x").method(Method::GET).token(&token);
    assert_eq!(scene.send(with_body).await.status, 400);
}

#[tokio::test]
async fn a_marketplace_of_another_region_is_refused_in_query_and_body() {
    let scene = Scene::start().await;
    let token = scene.access_token("Atzr|one").await;
    let body = json!({"reportType": "T", "marketplaceIds": ["A1PA6795UKMFR9"]}).to_string();
    for (ask, want) in [
        (
            get(NA, "/orders/v0/orders?MarketplaceIds=A1PA6795UKMFR9"),
            403,
        ),
        (
            get(
                NA,
                "/orders/v0/orders?marketplace_ids=ATVPDKIKX0DER,A1PA6795UKMFR9",
            ),
            403,
        ),
        (
            get(EU, "/orders/v0/orders?MarketplaceIds=A1PA6795UKMFR9"),
            200,
        ),
        (get(EU, ORDERS), 403),
        (post(NA, "/reports/2021-06-30/reports", body.clone()), 403),
        (post(EU, "/reports/2021-06-30/reports", body), 202),
    ] {
        let (host, target) = (ask.host.clone(), ask.target.clone());
        let reply = scene.send(ask.token(&token)).await;
        assert_eq!(reply.status, want, "{host}{target}");
        if want == 403 {
            let details = "The marketplaces you provided are not valid for region.";
            assert_eq!(reply.error().2, details);
        }
    }
}

#[tokio::test]
async fn a_grantless_token_opens_its_scope_and_no_other() {
    let scene = Scene::start().await;
    let notifications = scene
        .grantless_token("sellingpartnerapi::notifications")
        .await;
    let rotation = scene
        .grantless_token("sellingpartnerapi::client_credential:rotation")
        .await;
    assert!(notifications.starts_with("Atc|"));
    let rotate = || post(NA, "/applications/2023-11-30/clientSecret", "");
    let create = || post(NA, "/notifications/v1/destinations", r#"{"name":"queue"}"#);
    let reply = scene.send(create().token(&notifications)).await;
    assert_eq!(reply.json()["payload"]["name"], "queue");
    assert_eq!(scene.send(create().token(&rotation)).await.status, 403);
    assert_eq!(scene.send(rotate().token(&rotation)).await.status, 204);
    assert_eq!(scene.send(rotate().token(&notifications)).await.status, 403);
}

#[tokio::test]
async fn a_grant_opens_its_roles_and_its_region_only() {
    let mut grant = GrantRegistration::new(RefreshToken::new("Atzr|acme".into()), "acme");
    grant.roles = Some(vec!["pricing".into()]);
    grant.region = Some(Region::Na);
    let scene = Scene::with(Options {
        grants: vec![grant],
        ..Options::default()
    })
    .await;
    let token = scene.access_token("Atzr|acme").await;
    for (host, target, want) in [
        (
            NA,
            "/products/pricing/v0/price?MarketplaceId=ATVPDKIKX0DER",
            200,
        ),
        (NA, "/catalog/2022-04-01/items/B01", 403),
        (EU, "/products/pricing/v0/price", 403),
    ] {
        let reply = scene.send(get(host, target).token(&token)).await;
        assert_eq!(reply.status, want, "{host}{target}");
    }
    let received = scene.sandbox.received();
    assert_eq!(received[1].selling_partner.as_deref(), Some("acme"));
}

#[tokio::test]
async fn every_operation_answers_a_token_of_its_kind() {
    let scene = Scene::start().await;
    let token = scene.access_token("Atzr|one").await;
    let operations = &scene.sandbox.world.operations;
    let calls: Vec<_> = operations
        .all()
        .map(|(method, row)| {
            (
                method,
                row.path.replace(['{', '}'], ""),
                row.grantless_scope.clone(),
                row.operation_id.clone(),
                row.rdt_when,
            )
        })
        .collect();
    assert_eq!(calls.len(), 384);
    for (method, path, scope, id, rdt) in calls {
        if rdt.is_some() || id == "createRestrictedDataToken" {
            continue;
        }
        let token = match scope {
            Some(scope) => scene.grantless_token(&scope).await,
            None => token.clone(),
        };
        let ask = match method {
            Method::GET => get(NA, &path),
            _ => post(NA, &path, "{}").method(method),
        };
        let reply = scene.send(ask.token(&token)).await;
        assert!(reply.status.is_success(), "{id} {}", reply.status);
        assert!(reply.status == 204 || reply.json().is_object(), "{id}");
    }
}

#[tokio::test]
async fn a_seller_sku_with_an_encoded_slash_is_one_parameter() {
    let scene = Scene::start().await;
    let token = scene.access_token("Atzr|one").await;
    let target = "/listings/2021-08-01/items/A1/a%2Fb+c?marketplaceIds=ATVPDKIKX0DER";
    let reply = scene.send(get(NA, target).token(&token)).await;
    assert_eq!(reply.json()["sku"], "a/b+c");
    let slash = "/listings/2021-08-01/items/A1/a/b";
    assert_eq!(scene.send(get(NA, slash).token(&token)).await.status, 403);
}
