//! 401 and 403: a refused token is replaced once, everything else is the client's to read.

use std::io::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::json;
use tokio::task::JoinSet;

use crate::support::peer::{Origin, trouble};
use crate::support::sidecar::{NA, Setup, TestSidecar, refusal};

const ORDERS: &str = "/orders/v0/orders?MarketplaceIds=ATVPDKIKX0DER";

fn url(path: &str) -> String {
    format!("https://{NA}{path}")
}

fn statuses(sidecar: &TestSidecar) -> Vec<Option<u16>> {
    sidecar.received().iter().map(|one| one.status).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_expired_token_costs_a_get_one_exchange_and_the_client_nothing() {
    let sidecar = TestSidecar::start().await;
    let before = sidecar.exchanges();
    trouble(&sidecar, json!({"expire_tokens_now": true}));
    let response = sidecar.client().get(url(ORDERS)).send().await.unwrap();
    assert_eq!(response.status(), 200);
    assert_eq!(statuses(&sidecar), [Some(403), Some(200)]);
    assert_eq!(sidecar.exchanges(), before + 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_within_the_bound_is_replayed_to_the_byte() {
    let sidecar = TestSidecar::start().await;
    trouble(
        &sidecar,
        json!({"status": 401, "times": 1, "path_prefix": "/_sandbox/sink"}),
    );
    let mut body = vec![0; 1_000_003];
    spapi_sidecar::sandbox::noise(11, 0, &mut body);
    let response = sidecar
        .client()
        .post(url("/_sandbox/sink"))
        .body(body)
        .send()
        .await
        .unwrap();
    assert_eq!(response.status(), 200);
    let received = sidecar.received();
    assert_eq!(received.len(), 2);
    assert!(received.iter().all(|one| one.body_complete));
    assert_eq!(received[0].body_sha256, received[1].body_sha256);
    assert_eq!(received[1].body_bytes, 1_000_003);
    assert_ne!(received[0].token, received[1].token);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replay_over_http2_sends_the_whole_body_again() {
    let sidecar = TestSidecar::start().await;
    trouble(&sidecar, json!({"expire_tokens_now": true}));
    let response = sidecar
        .client_with(&["h2"], None)
        .post(url("/reports/2021-06-30/reports"))
        .json(&json!({"reportType": "GET_MERCHANT_LISTINGS_ALL_DATA", "marketplaceIds": ["ATVPDKIKX0DER"]}))
        .send()
        .await
        .unwrap();
    assert_eq!(response.status(), 202);
    let received = sidecar.received();
    assert_eq!(statuses(&sidecar), [Some(403), Some(202)]);
    assert_eq!(received[0].body_sha256, received[1].body_sha256);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fifty_calls_that_meet_an_expired_token_share_one_exchange() {
    let sidecar = TestSidecar::start().await;
    let client = sidecar.client();
    let before = sidecar.exchanges();
    trouble(&sidecar, json!({"expire_tokens_now": true}));
    let mut calls = JoinSet::new();
    for _ in 0..50 {
        let call = client.get(url(ORDERS)).send();
        calls.spawn(async move { call.await.unwrap().status().as_u16() });
    }
    let answers = calls.join_all().await;
    assert_eq!(answers, vec![200; 50]);
    assert_eq!(sidecar.exchanges(), before + 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_expiry_within_the_minute_costs_the_client_nothing_either() {
    let sidecar = TestSidecar::start().await;
    let client = sidecar.client();
    for _ in 0..3 {
        trouble(&sidecar, json!({"expire_tokens_now": true}));
        let response = client.get(url(ORDERS)).send().await.unwrap();
        assert_eq!(response.status(), 200);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_over_the_bound_is_not_replayed_and_the_next_call_works() {
    let sidecar = TestSidecar::start().await;
    let client = sidecar.client();
    trouble(
        &sidecar,
        json!({"status": 401, "times": 1, "path_prefix": "/_sandbox/sink"}),
    );
    let call = || {
        client
            .post(url("/_sandbox/sink"))
            .body(vec![7; (1 << 20) + 1])
            .send()
    };
    let (status, code, details) = refusal(call().await.unwrap()).await;
    assert_eq!((status, &*code), (403, "token_refused"));
    assert!(details.contains("replay_body"), "{details}");
    assert_eq!(sidecar.received().len(), 1);
    assert_eq!(call().await.unwrap().status(), 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_chunked_body_over_the_bound_is_not_replayed() {
    let sidecar = TestSidecar::start().await;
    trouble(
        &sidecar,
        json!({"status": 401, "times": 1, "path_prefix": "/_sandbox/sink"}),
    );
    let mut client = crate::support::peer::Http1::open(&sidecar, NA).await;
    let mut request =
        format!("POST /_sandbox/sink HTTP/1.1\r\nhost: {NA}\r\ntransfer-encoding: chunked\r\n\r\n")
            .into_bytes();
    for _ in 0..33 {
        request.extend_from_slice(b"8000\r\n");
        request.extend_from_slice(&[7; 0x8000]);
        request.extend_from_slice(b"\r\n");
    }
    request.extend_from_slice(b"0\r\n\r\n");
    let answer = client.ask(request).await;
    assert_eq!(
        (answer.head.status, answer.code()),
        (403, Some("token_refused"))
    );
    assert_eq!(sidecar.received().len(), 1);
}

/// Ten calls against an origin that refuses every token.
async fn refused_for_good(refusing: serde_json::Value, word: &str) {
    let sidecar = TestSidecar::start().await;
    let client = sidecar.client();
    let before = sidecar.exchanges();
    trouble(&sidecar, refusing);
    for _ in 0..10 {
        let response = client.get(url(ORDERS)).send().await.unwrap();
        let status = response.status();
        let body = response.text().await.unwrap();
        assert_eq!(status, 403);
        assert!(body.contains("token_refused"), "{body}");
        assert!(!body.contains(word), "{body}");
        assert!(!body.contains("expired"), "{body}");
    }
    assert_eq!(sidecar.exchanges(), before + 1);
    sidecar.sandbox.clear_faults();
    let response = client.get(url(ORDERS)).send().await.unwrap();
    assert_eq!(response.status(), 200, "when the incident is over");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_origin_that_always_answers_401_gets_one_exchange_and_no_storm() {
    refused_for_good(json!({"status": 401, "details": "canary"}), "canary").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_origin_that_always_calls_the_token_expired_gets_one_exchange_and_no_storm() {
    refused_for_good(
        json!({"status": 403, "details": "The access token you provided has expired."}),
        "has expired",
    )
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn parallel_calls_against_an_origin_that_refuses_every_token_share_the_one_exchange() {
    let sidecar = TestSidecar::start().await;
    let client = sidecar.client();
    let before = sidecar.exchanges();
    trouble(&sidecar, json!({"status": 401}));
    let mut calls = JoinSet::new();
    for _ in 0..30 {
        let call = client.get(url(ORDERS)).send();
        calls.spawn(async move { refusal(call.await.unwrap()).await.1 });
    }
    for code in calls.join_all().await {
        assert_eq!(code, "token_refused");
    }
    assert_eq!(sidecar.exchanges(), before + 1);
}

/// A 403 that is about something else than the token: one attempt, no exchange, every byte through.
async fn passes_untouched(details: &str) {
    let sidecar = TestSidecar::start().await;
    let before = sidecar.exchanges();
    trouble(&sidecar, json!({"status": 403, "details": details}));
    let response = sidecar.client().get(url(ORDERS)).send().await.unwrap();
    assert_eq!(response.status(), 403);
    assert!(!response.headers().contains_key("x-spapi-sidecar-error"));
    let want = json!({"errors": [{"code": "Unauthorized", "message": "Access to requested resource is denied.", "details": details}]});
    assert_eq!(response.text().await.unwrap(), want.to_string());
    assert_eq!(sidecar.received().len(), 1);
    assert_eq!(sidecar.exchanges(), before);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_lapse_of_a_client_secret_goes_to_the_client_and_exchanges_nothing() {
    passes_untouched("The LWA secret token you provided has expired.").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn any_other_403_goes_to_the_client_and_exchanges_nothing() {
    for details in [
        "",
        "The marketplaces you provided are not valid for region.",
        "SPSA2043",
    ] {
        passes_untouched(details).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_403_that_is_not_json_goes_to_the_client_to_the_byte() {
    let page = "<html>the access token you provided has expired</html>\n";
    let origin = Origin::raw(NA, move |_head| {
        format!(
            "HTTP/1.1 403 Forbidden\r\ncontent-length: {}\r\n\r\n{page}",
            page.len()
        )
        .into_bytes()
    })
    .await;
    let sidecar = TestSidecar::with(standing_in(&origin)).await;
    let response = sidecar.client().get(url(ORDERS)).send().await.unwrap();
    assert_eq!(response.status(), 403);
    assert_eq!(response.text().await.unwrap(), page);
}

fn standing_in(origin: &Origin) -> Setup {
    Setup {
        connect_to: vec![origin.stands_for(NA)],
        trusted: origin.pem.clone(),
        ..Setup::default()
    }
}

fn zipped(details: &str) -> Vec<u8> {
    let body = json!({"errors": [{"code": "Unauthorized", "message": "no", "details": details}]});
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(body.to_string().as_bytes()).unwrap();
    let body = encoder.finish().unwrap();
    let mut answer = format!(
        "HTTP/1.1 403 Forbidden\r\ncontent-type: application/json\r\ncontent-encoding: gzip\r\ncontent-length: {}\r\n\r\n",
        body.len()
    )
    .into_bytes();
    answer.extend_from_slice(&body);
    answer
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_compressed_403_that_speaks_of_the_token_is_understood() {
    let asked = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&asked);
    let origin = Origin::raw(NA, move |_head| {
        if count.fetch_add(1, Ordering::SeqCst) == 0 {
            zipped("The access token you provided has expired.")
        } else {
            b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok".to_vec()
        }
    })
    .await;
    let sidecar = TestSidecar::with(standing_in(&origin)).await;
    let response = sidecar.client().get(url(ORDERS)).send().await.unwrap();
    assert_eq!(response.text().await.unwrap(), "ok");
    assert_eq!(asked.load(Ordering::SeqCst), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_compressed_403_about_something_else_stays_compressed_to_the_byte() {
    let origin = Origin::raw(NA, |_head| zipped("no role")).await;
    let sidecar = TestSidecar::with(standing_in(&origin)).await;
    let response = sidecar.client().get(url(ORDERS)).send().await.unwrap();
    assert_eq!(response.headers()["content-encoding"], "gzip");
    let body = response.bytes().await.unwrap();
    assert!(zipped("no role").ends_with(&body));
    assert!(!body.is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_upstream_said_of_a_refused_token_is_not_in_the_answer_but_the_alert_names_the_request()
 {
    let sidecar = TestSidecar::start().await;
    trouble(&sidecar, json!({"status": 401, "details": "canary-401"}));
    let response = sidecar.client().get(url(ORDERS)).send().await.unwrap();
    assert!(!response.text().await.unwrap().contains("canary-401"));
    let records = sidecar.records();
    let record = records.last().unwrap();
    assert_eq!(record["reason"], "token_refused");
    assert_eq!(record["attempts"], 2);
}
