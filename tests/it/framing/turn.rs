//! Who speaks when: 100-continue, early answers, answers without a body, half-closed and pipelining clients.

use serde_json::json;
use tokio::io::AsyncWriteExt as _;

use super::standing_in;
use crate::support::peer::{Http1, Http2, Origin, nothing, trouble};
use crate::support::sidecar::{NA, TestSidecar, eventually};

fn request(method: &str, target: &str) -> String {
    format!("{method} {target} HTTP/1.1\r\nhost: {NA}\r\n\r\n")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_waits_for_100_gets_it_and_then_its_answer() {
    let sidecar = TestSidecar::start().await;
    let mut client = Http1::open(&sidecar, NA).await;
    client
        .write(format!("POST /_sandbox/sink HTTP/1.1\r\nhost: {NA}\r\nexpect: 100-continue\r\ncontent-length: 5\r\n\r\n"))
        .await;
    assert_eq!(client.head().await.status, 100);
    let answer = client.ask("hello").await;
    assert_eq!(answer.json()["bytes"], 5);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_waits_for_100_is_refused_without_it() {
    let sidecar = TestSidecar::start().await;
    let mut client = Http1::open(&sidecar, NA).await;
    client
        .write(format!("POST /nowhere HTTP/1.1\r\nhost: {NA}\r\nexpect: 100-continue\r\ncontent-length: 5\r\n\r\n"))
        .await;
    let answer = client.answer().await;
    assert_eq!(
        (answer.head.status, answer.code()),
        (403, Some("route_denied"))
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_that_comes_before_the_upload_is_over_is_passed_on_at_once() {
    let sidecar = TestSidecar::start().await;
    let mut client = Http1::open(&sidecar, NA).await;
    client
        .write(format!("POST /_sandbox/status/413?early=1 HTTP/1.1\r\nhost: {NA}\r\ncontent-length: 1000000\r\n\r\n0123456789"))
        .await;
    let answer = client.answer().await;
    assert_eq!(answer.head.status, 413);
    assert_eq!(answer.json()["status"], 413);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refusal_reaches_a_client_that_sends_its_whole_body_before_it_reads() {
    let sidecar = TestSidecar::start().await;
    let mut client = Http1::open(&sidecar, NA).await;
    let mut upload =
        format!("POST /nowhere HTTP/1.1\r\nhost: {NA}\r\ncontent-length: 8000000\r\n\r\n")
            .into_bytes();
    upload.resize(upload.len() + 8_000_000, 7);
    let answer = client.ask(upload).await;
    assert_eq!(
        (answer.head.status, answer.code()),
        (403, Some("route_denied"))
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_early_answer_reaches_a_client_that_sends_its_whole_body_before_it_reads() {
    let sidecar = TestSidecar::start().await;
    let mut client = Http1::open(&sidecar, NA).await;
    let mut upload = format!("POST /_sandbox/status/413?early=1 HTTP/1.1\r\nhost: {NA}\r\ncontent-length: 8000000\r\n\r\n").into_bytes();
    upload.resize(upload.len() + 8_000_000, 7);
    let answer = client.ask(upload).await;
    assert_eq!(answer.head.status, 413);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_head_request_gets_the_length_and_no_body() {
    let sidecar = TestSidecar::start().await;
    let mut client = Http1::open(&sidecar, NA).await;
    for _ in 0..2 {
        client.write(request("HEAD", "/_sandbox/body/5000")).await;
        let answer = client.answer_to_head().await;
        assert_eq!(answer.head.field("content-length"), Some("5000"));
    }
    let answer = client.ask(request("GET", "/_sandbox/body/10")).await;
    assert_eq!(answer.body.len(), 10);
    eventually("all are recorded as forwarded", || {
        let records = sidecar.records();
        records.len() == 3 && records.iter().all(|one| one["outcome"] == "forwarded")
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_head_request_whose_answer_has_no_length_gets_none() {
    let sidecar = TestSidecar::start().await;
    let mut client = Http1::open(&sidecar, NA).await;
    client
        .write(request("HEAD", "/_sandbox/body/5000?chunked=1"))
        .await;
    let answer = client.answer_to_head().await;
    assert_eq!(answer.head.field("content-length"), None);
    let answer = client.ask(request("GET", "/_sandbox/body/10")).await;
    assert_eq!(answer.body.len(), 10);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_head_request_over_http2_gets_the_length_and_is_recorded_as_forwarded() {
    let sidecar = TestSidecar::start().await;
    let client = Http2::open(&sidecar, NA).await;
    let head = http::Request::head(format!("https://{NA}/_sandbox/body/5000"))
        .body(nothing())
        .unwrap();
    let answer = client.ask(head).await;
    assert_eq!(answer.headers()["content-length"], "5000");
    assert!(answer.body().is_empty());
    eventually("it is recorded as forwarded", || {
        sidecar
            .records()
            .last()
            .is_some_and(|one| one["outcome"] == "forwarded")
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_that_have_no_body_get_neither_one_nor_a_length() {
    let sidecar = TestSidecar::start().await;
    let mut client = Http1::open(&sidecar, NA).await;
    for status in [204, 304] {
        let answer = client
            .ask(request("GET", &format!("/_sandbox/status/{status}")))
            .await;
        assert_eq!(answer.head.status, status);
        assert_eq!(
            answer.head.names(),
            ["date", "x-spapi-sidecar-request-id"],
            "the sandbox sends a date"
        );
    }
    let answer = client.ask(request("GET", "/_sandbox/body/10")).await;
    assert_eq!(answer.body.len(), 10);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_304_that_names_a_length_is_not_waited_for() {
    let origin = Origin::raw(NA, |_head| {
        b"HTTP/1.1 304 Not Modified\r\netag: \"x\"\r\ncontent-length: 99\r\n\r\n".to_vec()
    })
    .await;
    let sidecar = TestSidecar::with(standing_in(&origin)).await;
    let mut client = Http1::open(&sidecar, NA).await;
    for _ in 0..2 {
        let answer = client.ask(request("GET", "/_sandbox/x")).await;
        assert_eq!(answer.head.status, 304);
        assert_eq!(answer.head.field("etag"), Some("\"x\""));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_has_closed_its_side_still_gets_its_answer() {
    let sidecar = TestSidecar::start().await;
    trouble(&sidecar, json!({"latency_ms": 300}));
    let mut client = Http1::open(&sidecar, NA).await;
    client
        .write(request("GET", "/_sandbox/body/100000?seed=1"))
        .await;
    client.io.shutdown().await.unwrap();
    let answer = client.answer().await;
    assert_eq!(answer.body.len(), 100_000);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pipelined_requests_are_answered_in_order() {
    let sidecar = TestSidecar::start().await;
    let mut client = Http1::open(&sidecar, NA).await;
    let all: String = (1..=5)
        .map(|n| request("GET", &format!("/_sandbox/body/{n}")))
        .collect();
    client.write(all).await;
    for n in 1..=5 {
        assert_eq!(client.answer().await.body.len(), n);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_interim_answer_of_upstream_does_not_take_the_place_of_the_final_one() {
    let origin = Origin::raw(NA, |_head| {
        b"HTTP/1.1 103 Early Hints\r\nlink: </x>\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"
            .to_vec()
    })
    .await;
    let sidecar = TestSidecar::with(standing_in(&origin)).await;
    let mut client = Http1::open(&sidecar, NA).await;
    client.write(request("GET", "/_sandbox/x")).await;
    let mut head = client.head().await;
    while head.status < 200 {
        head = client.head().await;
    }
    assert_eq!(client.rest(head, false).await.unwrap().body, b"ok");
}
