//! Restricted data tokens: one for a template, one for a call, and what happens without one.

use serde_json::json;
use spapi_sidecar::sandbox::{GrantRegistration, Options, Received};
use spapi_sidecar::secret::RefreshToken;
use tokio::task::JoinSet;

use crate::support::peer::trouble;
use crate::support::sidecar::{NA, Setup, TestSidecar, refusal};

mod report;
mod shared;

fn address(n: usize) -> String {
    format!("https://{NA}/orders/v0/orders/123-{n:07}/address")
}

fn order(n: usize) -> String {
    format!("https://{NA}/orders/v0/orders/123-{n:07}")
}

/// The calls of the Tokens API that reached the sandbox.
fn asked(sidecar: &TestSidecar) -> Vec<Received> {
    sidecar
        .sandbox
        .received()
        .into_iter()
        .filter(|one| one.target.starts_with("/tokens/"))
        .collect()
}

/// The calls of the Orders API that reached the sandbox.
fn ordered(sidecar: &TestSidecar) -> usize {
    let received = sidecar.received();
    received
        .iter()
        .filter(|one| one.target.starts_with("/orders/"))
        .count()
}

fn kinds(sidecar: &TestSidecar) -> Vec<&'static str> {
    let received = sidecar.received();
    let tokens = received.iter().map(|one| one.token.as_ref().unwrap().kind);
    tokens.collect()
}

/// A grant whose roles open no personal data, and a route for getOrder that may do without it, or not.
fn without_roles(required: bool) -> Setup {
    let mut grant = GrantRegistration::new(
        RefreshToken::new("Atzr|canary-acme".to_owned()),
        "ACMESELLER",
    );
    grant.roles = Some(vec!["inventory-and-order-tracking".to_owned()]);
    Setup {
        sandbox: Options {
            grants: vec![grant],
            ..Options::default()
        },
        routes: format!(
            "\n  - {{ allow: \"GET /orders/v0/orders/{{orderId}}\", scope: inventory-and-order-tracking, rdt: {{ data_elements: [buyerInfo], per: template, required: {required} }} }}"
        ),
        ..Setup::default()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn twenty_calls_of_one_template_share_one_rdt() {
    let sidecar = TestSidecar::start().await;
    let client = sidecar.client();
    let mut calls = JoinSet::new();
    for n in 0..20 {
        let call = client.get(address(n)).send();
        calls.spawn(async move { call.await.unwrap().status().as_u16() });
    }
    assert_eq!(calls.join_all().await, vec![200; 20]);
    assert_eq!(kinds(&sidecar), ["rdt"; 20]);
    assert_eq!(asked(&sidecar).len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn per_path_every_call_has_an_rdt_of_its_own() {
    let sidecar = TestSidecar::start().await;
    let client = sidecar.client();
    for _ in 0..3 {
        let response = client.get(order(1)).send().await.unwrap();
        assert_eq!(response.status(), 200);
    }
    let received = sidecar.received();
    assert_eq!(kinds(&sidecar), ["rdt"; 3]);
    assert_ne!(received[0].token, received[1].token);
    assert_ne!(received[1].token, received[2].token);
    assert_eq!(asked(&sidecar).len(), 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_head_request_is_covered_by_the_rdt_of_its_get() {
    let sidecar = TestSidecar::start().await;
    let client = sidecar.client();
    for url in [address(1), order(1)] {
        let response = client.head(url).send().await.unwrap();
        assert_eq!(response.status(), 200);
    }
    assert_eq!(kinds(&sidecar), ["rdt", "rdt"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_an_rdt_is_optional_a_refusal_of_the_data_elements_leads_to_the_plain_token() {
    let sidecar = TestSidecar::with(without_roles(false)).await;
    let client = sidecar.client();
    for _ in 0..3 {
        let response = client.get(order(1)).send().await.unwrap();
        assert_eq!(response.status(), 200);
    }
    assert_eq!(kinds(&sidecar), ["access"; 3]);
    assert_eq!(
        asked(&sidecar).len(),
        1,
        "a refusal is remembered for a while"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_an_rdt_is_required_nothing_is_sent_without_one() {
    let sidecar = TestSidecar::with(without_roles(true)).await;
    let response = sidecar.client().get(order(1)).send().await.unwrap();
    assert!(response.headers().contains_key("retry-after"));
    let (status, code, details) = refusal(response).await;
    assert_eq!((status, &*code), (503, "rdt_unavailable"));
    assert!(details.contains("role"), "{details}");
    assert_eq!(ordered(&sidecar), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_optional_rdt_that_cannot_be_had_for_another_reason_is_no_fallback() {
    let sidecar = TestSidecar::with(without_roles(false)).await;
    trouble(&sidecar, json!({"status": 500, "path_prefix": "/tokens/"}));
    let response = sidecar.client().get(order(1)).send().await.unwrap();
    assert_eq!(refusal(response).await.1, "rdt_unavailable");
    assert_eq!(ordered(&sidecar), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_rdt_that_amazon_calls_expired_is_made_anew_once() {
    for url in [address(1), order(1)] {
        let sidecar = TestSidecar::start().await;
        let client = sidecar.client();
        assert_eq!(client.get(&url).send().await.unwrap().status(), 200);
        let exchanges = sidecar.exchanges();
        trouble(
            &sidecar,
            json!({"status": 403, "details": "The access token you provided has expired.", "times": 1, "path_prefix": "/orders"}),
        );
        assert_eq!(client.get(&url).send().await.unwrap().status(), 200);
        let received = sidecar.received();
        let statuses: Vec<_> = received.iter().map(|one| one.status).collect();
        assert_eq!(statuses, [Some(200), Some(403), Some(200)]);
        assert_ne!(received[1].token, received[2].token);
        assert_eq!(sidecar.exchanges(), exchanges, "the access token was good");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn parallel_calls_after_everything_has_expired_cost_one_exchange_and_one_rdt() {
    let sidecar = TestSidecar::start().await;
    let client = sidecar.client();
    assert_eq!(client.get(address(0)).send().await.unwrap().status(), 200);
    let exchanges = sidecar.exchanges();
    trouble(&sidecar, json!({"expire_tokens_now": true}));
    let mut calls = JoinSet::new();
    for n in 0..30 {
        let call = client.get(address(n)).send();
        calls.spawn(async move { call.await.unwrap().status().as_u16() });
    }
    assert_eq!(calls.join_all().await, vec![200; 30]);
    assert_eq!(sidecar.exchanges(), exchanges + 1);
    let asked = asked(&sidecar);
    let made = asked.iter().filter(|one| one.status == Some(200)).count();
    assert_eq!(made, 2, "{asked:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_origin_that_refuses_every_rdt_leads_to_no_storm() {
    let sidecar = TestSidecar::start().await;
    let client = sidecar.client();
    let exchanges = sidecar.exchanges();
    trouble(
        &sidecar,
        json!({"status": 403, "details": "The access token you provided has expired.", "path_prefix": "/orders"}),
    );
    for n in 0..10 {
        let response = client.get(address(n)).send().await.unwrap();
        assert_eq!(refusal(response).await.1, "token_refused");
    }
    assert_eq!(asked(&sidecar).len(), 2);
    assert_eq!(sidecar.exchanges(), exchanges);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_an_rdt_lives_an_outage_of_the_tokens_api_costs_nothing() {
    let sidecar = TestSidecar::start().await;
    let client = sidecar.client();
    assert_eq!(client.get(address(1)).send().await.unwrap().status(), 200);
    trouble(&sidecar, json!({"status": 503, "path_prefix": "/tokens/"}));
    trouble(&sidecar, json!({"lwa_down": "refuse"}));
    assert_eq!(client.get(address(2)).send().await.unwrap().status(), 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_403_of_the_tokens_api_about_the_account_does_not_cost_the_access_token() {
    let sidecar = TestSidecar::start().await;
    let exchanges = sidecar.exchanges();
    trouble(
        &sidecar,
        json!({"lapse_charge_method": true, "path_prefix": "/tokens/"}),
    );
    let response = sidecar.client().get(address(1)).send().await.unwrap();
    assert_eq!(refusal(response).await.1, "rdt_unavailable");
    assert_eq!(sidecar.exchanges(), exchanges);
}
