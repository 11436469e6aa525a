//! RDTs that several callers share, and how few calls of the Tokens API that takes.

use serde_json::{Value, json};
use tokio::task::JoinSet;

use super::{address, asked, kinds, order, without_roles};
use crate::support::peer::trouble;
use crate::support::sidecar::{NA, Setup, TestSidecar};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_address_calls_share_one_rdt() {
    let sidecar = TestSidecar::start().await;
    let client = sidecar.client_with(&["h2"], None);
    let mut calls = JoinSet::new();
    for n in 0..1_000 {
        let call = client.get(address(n)).send();
        calls.spawn(async move { call.await.unwrap().status().as_u16() });
    }
    assert_eq!(calls.join_all().await, vec![200; 1_000]);
    assert_eq!(asked(&sidecar).len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn callers_of_concrete_paths_at_the_same_time_share_calls_and_stay_within_the_tokens_apis_quota()
 {
    let sidecar = TestSidecar::start().await;
    // one a second and a burst of ten, as at Amazon
    trouble(
        &sidecar,
        json!({"throttle": 1.0, "path_prefix": "/tokens/"}),
    );
    trouble(
        &sidecar,
        json!({"latency_ms": 300, "path_prefix": "/tokens/"}),
    );
    let client = sidecar.client_with(&["h2"], None);
    let mut calls = JoinSet::new();
    for n in 0..200 {
        let call = client.get(order(n)).send();
        calls.spawn(async move {
            let answer = call.await.unwrap();
            (
                answer.status().as_u16(),
                answer.json::<Value>().await.unwrap(),
            )
        });
    }
    for (status, body) in calls.join_all().await {
        assert_eq!(status, 200, "{body}");
        assert!(body["payload"]["BuyerInfo"].is_object(), "{body}");
    }
    let asked = asked(&sidecar);
    assert!(asked.len() <= 12, "{} calls for 200 orders", asked.len());
    assert!(asked.iter().all(|one| one.status == Some(200)), "{asked:?}");
    assert_eq!(kinds(&sidecar), ["rdt"; 200]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_after_the_other_they_stay_within_the_tokens_apis_quota_too() {
    let sidecar = TestSidecar::start().await;
    trouble(
        &sidecar,
        json!({"throttle": 1.0, "path_prefix": "/tokens/"}),
    );
    let client = sidecar.client();
    for n in 0..13 {
        assert_eq!(client.get(order(n)).send().await.unwrap().status(), 200);
    }
    let asked = asked(&sidecar);
    assert_eq!(asked.len(), 13);
    assert!(asked.iter().all(|one| one.status == Some(200)), "{asked:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn programs_that_ask_for_different_data_share_one_rdt_with_all_that_the_route_allows() {
    let sidecar = TestSidecar::with(Setup {
        routes: "\n  - { allow: \"GET /orders/v0/orders/{orderId}\", scope: direct-to-consumer-shipping, rdt: { data_elements: [buyerInfo, shippingAddress] } }"
            .to_owned(),
        ..Setup::default()
    })
    .await;
    let client = sidecar.client();
    let mut calls = JoinSet::new();
    for (n, element) in ["buyerInfo", "shippingAddress"].into_iter().enumerate() {
        let resource = json!({"method": "GET", "path": format!("/orders/v0/orders/123-{n:07}"), "dataElements": [element]});
        let asked = client
            .post(format!(
                "https://{NA}/tokens/2021-03-01/restrictedDataToken"
            ))
            .json(&json!({"restrictedResources": [resource]}));
        let made: Value = asked.send().await.unwrap().json().await.unwrap();
        let phantom = made["restrictedDataToken"].as_str().unwrap().to_owned();
        let call = client.get(order(n)).header("x-amz-access-token", phantom);
        calls.spawn(async move { call.send().await.unwrap().json::<Value>().await.unwrap() });
    }
    for body in calls.join_all().await {
        assert!(body["payload"]["BuyerInfo"].is_object(), "{body}");
        assert!(body["payload"]["ShippingAddress"].is_object(), "{body}");
    }
    assert_eq!(asked(&sidecar).len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_route_wider_than_amazons_template_gets_its_rdts_by_amazons() {
    let sidecar = TestSidecar::with(Setup {
        routes: "\n  - { allow: \"GET /orders/v0/orders/{id}/{part}\", scope: direct-to-consumer-shipping, rdt: {} }"
            .to_owned(),
        ..Setup::default()
    })
    .await;
    let client = sidecar.client();
    for part in ["address", "buyerInfo", "address"] {
        let url = format!("{}/{part}", order(1));
        assert_eq!(
            client.get(url).send().await.unwrap().status(),
            200,
            "{part}"
        );
    }
    assert_eq!(
        asked(&sidecar).len(),
        2,
        "one for each of Amazon's templates"
    );
}

/// The policy reports, no route names getOrder, and the grant has its roles or not.
fn reporting(roles: bool) -> Setup {
    let usual = if roles {
        Setup::default()
    } else {
        without_roles(false)
    };
    Setup {
        routes: "\n  - { allow: GET /sellers/v1/marketplaceParticipations }".to_owned(),
        sections: "policy: report".to_owned(),
        ..usual
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_policy_only_reports_a_restricted_call_that_no_route_names_has_an_rdt() {
    let sidecar = TestSidecar::with(reporting(true)).await;
    let client = sidecar.client();
    for n in 0..3 {
        assert_eq!(client.get(address(n)).send().await.unwrap().status(), 200);
    }
    assert_eq!(kinds(&sidecar), ["rdt"; 3]);
    assert_eq!(asked(&sidecar).len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_policy_only_reports_and_amazon_refuses_the_data_the_plain_token_goes_out() {
    let sidecar = TestSidecar::with(reporting(false)).await;
    let client = sidecar.client();
    for n in 0..3 {
        assert_eq!(client.get(order(n)).send().await.unwrap().status(), 200);
    }
    assert_eq!(kinds(&sidecar), ["access"; 3]);
    assert_eq!(asked(&sidecar).len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refusal_of_the_data_is_remembered_for_all_paths_of_a_template() {
    let sidecar = TestSidecar::with(Setup {
        routes: "\n  - { allow: \"GET /orders/v0/orders/{orderId}\", rdt: { data_elements: [buyerInfo], per: path, required: false } }"
            .to_owned(),
        ..without_roles(false)
    })
    .await;
    let client = sidecar.client();
    for n in 0..5 {
        assert_eq!(client.get(order(n)).send().await.unwrap().status(), 200);
    }
    assert_eq!(kinds(&sidecar), ["access"; 5]);
    assert_eq!(asked(&sidecar).len(), 1);
}
