//! Faults, in process and over HTTP.

use std::time::Duration;

use http::Method;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use serde_json::json;
use tokio::time::Instant;

use super::{LWA, NA, ORDERS, Scene, drive, get, post, read};
use crate::sandbox::{GrantRegistration, Options};
use crate::secret::{RefreshToken, fingerprint};

async fn status(scene: &Scene, token: &str, target: &str) -> u16 {
    let reply = scene.send(get(NA, target).token(token)).await;
    reply.status.as_u16()
}

#[tokio::test]
async fn expiring_tokens_ends_those_issued_so_far_and_none_after() {
    let scene = Scene::start().await;
    let old = scene.access_token("Atzr|one").await;
    scene.fault(r#"{"expire_tokens_now":true}"#);
    let new = scene.access_token("Atzr|one").await;
    let reply = scene.send(get(NA, ORDERS).token(&old)).await;
    assert_eq!(
        reply.error().2,
        "The access token you provided has expired."
    );
    assert_eq!(status(&scene, &new, ORDERS).await, 200);
    assert!(scene.sandbox.faults().is_empty());
}

#[tokio::test]
async fn a_revoked_grant_gets_no_token_and_its_tokens_stop_working() {
    let scene = Scene::start().await;
    let one = scene.access_token("Atzr|one").await;
    let two = scene.access_token("Atzr|two").await;
    let whom = fingerprint("Atzr|one");
    scene.fault(&json!({"revoke_grant": whom}).to_string());
    let reply = scene.send(get(NA, ORDERS).token(&one)).await;
    let want = "The access token you provided is revoked, malformed or invalid.";
    assert_eq!(reply.error().2, want);
    assert_eq!(status(&scene, &two, ORDERS).await, 200);
    let fields = [
        ("grant_type", "refresh_token"),
        ("client_id", "app"),
        ("client_secret", "secret"),
        ("refresh_token", "Atzr|one"),
    ];
    let refused = scene.login(&fields).await;
    assert_eq!(refused.json()["error"], "invalid_grant");
    scene.sandbox.clear_faults();
    assert_eq!(scene.login(&fields).await.status, 200);
}

#[tokio::test]
async fn a_revoked_role_closes_its_operations_and_data_elements() {
    let scene = Scene::start().await;
    let token = scene.access_token("Atzr|one").await;
    let resource = json!([{"method": "GET", "path": "/orders/v0/orders", "dataElements": ["shippingAddress"]}]);
    let finances = "/finances/v0/financialEventGroups";
    assert_eq!(scene.ask_rdt(&token, resource.clone()).await.status, 200);
    assert_eq!(status(&scene, &token, ORDERS).await, 200);
    scene.fault(r#"{"revoke_scope":"Direct-to-Consumer Shipping"}"#);
    let refused = scene.ask_rdt(&token, resource).await;
    assert_eq!(refused.error().1, "InvalidInput");
    assert_eq!(status(&scene, &token, ORDERS).await, 403);
    assert_eq!(status(&scene, &token, finances).await, 200);
    let received = scene.sandbox.received();
    let faults = received.iter().filter_map(|one| one.fault.as_deref());
    assert_eq!(faults.collect::<Vec<_>>(), ["revoke_scope"]);
}

#[tokio::test]
async fn account_faults_refuse_calls_in_their_own_words() {
    let scene = Scene::start().await;
    let token = scene.access_token("Atzr|one").await;
    let vendor = "/vendor/orders/v1/purchaseOrders";
    for (fault, target, want, details) in [
        (r#"{"lapse_charge_method":true}"#, ORDERS, 403, ""),
        (r#"{"lapse_charge_method":401}"#, ORDERS, 401, ""),
        (
            r#"{"expire_client_secret":true}"#,
            ORDERS,
            403,
            "The LWA secret token you provided has expired.",
        ),
        (
            r#"{"unlink_vendor_group":true}"#,
            vendor,
            403,
            "SPSA2043: The vendor group is not linked to this application.",
        ),
    ] {
        assert_eq!(status(&scene, &token, target).await, 200);
        scene.fault(fault);
        let reply = scene.send(get(NA, target).token(&token)).await;
        let want = (want, "Unauthorized".to_owned(), details.to_owned());
        assert_eq!(reply.error(), want, "{fault}");
        scene.sandbox.clear_faults();
    }
    scene.fault(r#"{"unlink_vendor_group":true}"#);
    assert_eq!(status(&scene, &token, ORDERS).await, 200);
}

#[tokio::test]
async fn an_unlinked_vendor_group_closes_the_vendors_other_calls_too() {
    let mut grant = GrantRegistration::new(RefreshToken::new("Atzr|v".into()), "vendor-one");
    grant.vendor = true;
    let scene = Scene::with(Options {
        grants: vec![grant],
        ..Options::default()
    })
    .await;
    let token = scene.access_token("Atzr|v").await;
    let target = "/catalog/2022-04-01/items/B01";
    scene.fault(r#"{"unlink_vendor_group":"somebody-else"}"#);
    assert_eq!(status(&scene, &token, target).await, 200);
    scene.fault(r#"{"unlink_vendor_group":"vendor-one"}"#);
    assert_eq!(status(&scene, &token, target).await, 403);
}

#[tokio::test]
async fn a_throttled_operation_answers_429_past_its_burst_and_refills() {
    let scene = Scene::start().await;
    let one = scene.access_token("Atzr|one").await;
    let two = scene.access_token("Atzr|two").await;
    // getCatalogItem: 2 a second, burst 2; a thousandth of that rate does not refill during a test
    scene.fault(r#"{"throttle":0.001}"#);
    let target = "/catalog/2022-04-01/items/B01";
    let mut seen = Vec::new();
    for _ in 0..3 {
        seen.push(status(&scene, &one, target).await);
    }
    assert_eq!(seen, [200, 200, 429]);
    assert_eq!(status(&scene, &two, target).await, 200);
    let refused = scene.send(get(NA, target).token(&one)).await;
    assert_eq!(refused.error().1, "QuotaExceeded");
    assert!(!refused.headers.contains_key("x-amzn-ratelimit-limit"));
    assert!(!refused.headers.contains_key("retry-after"));
    scene.sandbox.clear_faults();
    scene.fault(r#"{"throttle":100}"#);
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!(status(&scene, &one, target).await, 200);
}

#[tokio::test]
async fn a_status_strikes_evenly_so_often_and_only_where_it_is_meant() {
    let scene = Scene::start().await;
    let token = scene.access_token("Atzr|one").await;
    scene.fault(r#"{"status":503,"rate":0.5,"times":2,"path_prefix":"/orders","retry_after":7}"#);
    let mut seen = Vec::new();
    for _ in 0..6 {
        seen.push(status(&scene, &token, ORDERS).await);
    }
    assert_eq!(seen, [200, 503, 200, 503, 200, 200]);
    assert_eq!(scene.sandbox.faults()[0].hits, 2);
    scene.sandbox.clear_faults();
    scene.fault(r#"{"status":403,"details":"because","method":"POST"}"#);
    assert_eq!(status(&scene, &token, ORDERS).await, 200);
    let reply = scene.send(post(NA, "/feeds/2021-06-30/feeds", "{}")).await;
    assert_eq!(reply.error().2, "because");
    assert!(scene.access_token("Atzr|one").await.starts_with("Atza|"));
}

#[tokio::test]
async fn lwa_can_refuse_reset_and_hang() {
    let scene = Scene::start().await;
    let token = scene.access_token("Atzr|one").await;
    let ask = || post(LWA, "/auth/o2/token", "grant_type=refresh_token");
    scene.fault(r#"{"lwa_down":"refuse"}"#);
    assert_eq!(scene.send(ask()).await.status, 503);
    assert_eq!(status(&scene, &token, ORDERS).await, 200);
    scene.sandbox.clear_faults();
    scene.fault(r#"{"lwa_down":"reset"}"#);
    assert!(scene.try_send(ask()).await.is_err());
    scene.sandbox.clear_faults();
    scene.fault(r#"{"lwa_down":"hang"}"#);
    let hung = tokio::time::timeout(Duration::from_millis(200), scene.try_send(ask()));
    assert!(hung.await.is_err());
    assert_eq!(scene.sandbox.received().pop().unwrap().status, None);
}

#[tokio::test]
async fn a_reset_connection_gives_no_answer_over_either_protocol() {
    let scene = Scene::start().await;
    let token = scene.access_token("Atzr|one").await;
    scene.fault(r#"{"reset_connections":0.5}"#);
    for (h2, answered) in [(false, true), (false, false), (true, true), (true, false)] {
        let mut ask = get(NA, ORDERS).token(&token);
        ask.h2 = h2;
        let got = scene.try_send(ask).await;
        assert_eq!(got.is_ok(), answered, "h2 {h2}");
    }
}

#[tokio::test]
async fn an_idle_connection_is_found_closed_by_the_request_after_the_last() {
    let scene = Scene::start().await;
    let token = scene.access_token("Atzr|one").await;
    scene.fault(r#"{"close_idle":2}"#);
    let stream = scene.connect(NA, b"http/1.1").await.unwrap();
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.unwrap();
    drive(connection);
    let mut answered = Vec::new();
    for _ in 0..3 {
        let request = get(NA, ORDERS).token(&token).request();
        let got = match sender.send_request(request).await {
            Ok(response) => read(response).await.map(|reply| reply.status.as_u16()),
            Err(error) => Err(error),
        };
        answered.push(got.ok());
    }
    assert_eq!(answered, [Some(200), Some(200), None]);
}

#[tokio::test]
async fn latency_and_slow_bodies_take_their_time() {
    let scene = Scene::start().await;
    scene.fault(r#"{"latency_ms":150}"#);
    scene.fault(r#"{"slow_body":1000}"#);
    let before = Instant::now();
    let reply = scene.send(get(NA, "/_sandbox/body/500")).await;
    let took = before.elapsed();
    assert_eq!(reply.body.len(), 500);
    assert_eq!(reply.headers["content-length"], "500");
    assert!(took >= Duration::from_millis(600), "{took:?}");
}

#[tokio::test]
async fn faults_are_switched_over_http_on_every_host() {
    let scene = Scene::start().await;
    let on = post(
        "localhost",
        "/_sandbox/faults",
        r#"[{"status":500},{"latency_ms":1}]"#,
    );
    let reply = scene.send(on).await;
    assert_eq!(reply.status, 201);
    assert_eq!(reply.json(), json!({"ids": [1, 2]}));
    let listed = scene.send(get(NA, "/_sandbox/faults")).await.json();
    assert_eq!(
        listed[0],
        json!({"id": 1, "fault": {"status": 500}, "hits": 0})
    );
    let off = get(LWA, "/_sandbox/faults/1").method(Method::DELETE);
    scene.send(off).await;
    assert_eq!(scene.sandbox.faults().len(), 1);
    scene
        .send(get(LWA, "/_sandbox/faults").method(Method::DELETE))
        .await;
    assert!(scene.sandbox.faults().is_empty());
    let bad = post(NA, "/_sandbox/faults", r#"[{"latency_ms":1},{"status":1}]"#);
    let reply = scene.send(bad).await;
    assert_eq!(reply.status, 400);
    assert!(reply.json()["error"].as_str().unwrap().contains("`status`"));
    assert!(scene.sandbox.faults().is_empty());
    assert!(scene.sandbox.received().is_empty());
}

#[tokio::test]
async fn apps_and_grants_are_registered_over_http() {
    let scene = Scene::start().await;
    let grant = json!({"refresh_token": "any-text", "selling_partner": "acme", "roles": ["Pricing"], "region": "na"});
    let app = json!({"client_id": "app", "client_secret": "secret"});
    for (path, body) in [("grants", grant), ("apps", app)] {
        let ask = post(NA, &format!("/_sandbox/{path}"), body.to_string());
        assert_eq!(scene.send(ask).await.status, 201, "{path}");
    }
    let token = scene.access_token("any-text").await;
    assert_eq!(
        status(&scene, &token, "/catalog/2022-04-01/items/B01").await,
        403
    );
    let reply = scene
        .send(get(NA, "/_sandbox/received?since=1"))
        .await
        .json();
    assert_eq!(reply[0]["selling_partner"], "acme");
    assert_eq!(reply[0]["token"]["kind"], "access");
    let bad = post(NA, "/_sandbox/grants", r#"{"refresh_token":"canary"}"#);
    let reply = scene.send(bad).await;
    assert_eq!(reply.status, 400);
    assert!(!String::from_utf8_lossy(&reply.body).contains("canary"));
}
