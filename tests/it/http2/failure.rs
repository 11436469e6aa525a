//! An origin that cannot be reached, believed or waited for: which code, which status, and nothing that is secret.

use std::time::Duration;

use serde_json::json;
use tokio::net::TcpListener;
use tokio::time::Instant;

use super::{get, standing_in};
use crate::support::peer::{Answer, Face, Http1, Origin, soon, trouble};
use crate::support::sidecar::{NA, Setup, TestSidecar};

/// What a client is told, after a look for what it must not be told.
async fn told(sidecar: &TestSidecar) -> (u16, String) {
    let answer = Http1::open(sidecar, NA).await.ask(get("/_sandbox/x")).await;
    assert!(answer.head.field("proxy-status").is_some());
    let text = String::from_utf8(answer.body.clone()).unwrap();
    for secret in ["Atza", "Atzr", "canary", "127.0.0.1"] {
        assert!(!text.contains(secret), "{text}");
    }
    let body: serde_json::Value = answer.json();
    let code = body["errors"][0]["code"].as_str().unwrap().to_owned();
    assert_eq!(answer.code(), Some(&*code));
    (answer.head.status, code)
}

fn leading_to(address: std::net::SocketAddr) -> Setup {
    Setup {
        connect_to: vec![(format!("{NA}:443"), address.to_string())],
        ..Setup::default()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_closed_port_is_upstream_unreachable() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let sidecar = TestSidecar::with(leading_to(address)).await;
    assert_eq!(
        told(&sidecar).await,
        (502, "upstream_unreachable".to_owned())
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_origin_with_another_ca_is_upstream_tls() {
    let origin = Origin::raw(NA, |_head| Vec::new()).await;
    let setup = Setup {
        trusted: String::new(),
        ..standing_in(&origin)
    };
    let sidecar = TestSidecar::with(setup).await;
    assert_eq!(told(&sidecar).await, (502, "upstream_tls".to_owned()));
    assert_eq!(
        origin.connections(),
        1,
        "trust does not come by asking again"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_origin_with_an_expired_certificate_is_upstream_tls() {
    let face = Face {
        expired: true,
        ..Face::speaking(&["http/1.1"])
    };
    let origin = Origin::start(NA, face, |_number, _stream| async {}).await;
    let sidecar = TestSidecar::with(standing_in(&origin)).await;
    assert_eq!(told(&sidecar).await, (502, "upstream_tls".to_owned()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_origin_with_a_certificate_for_another_name_is_upstream_tls() {
    let origin = Origin::raw("another.example", |_head| Vec::new()).await;
    let sidecar = TestSidecar::with(standing_in(&origin)).await;
    assert_eq!(told(&sidecar).await, (502, "upstream_tls".to_owned()));
}

fn impatient() -> Setup {
    Setup {
        upstream: "  response_timeout: 1s\n".to_owned(),
        ..Setup::default()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_origin_that_does_not_answer_in_time_is_upstream_timeout() {
    let sidecar = TestSidecar::with(impatient()).await;
    trouble(&sidecar, json!({"latency_ms": 60_000, "host": NA}));
    let from = Instant::now();
    assert_eq!(told(&sidecar).await, (504, "upstream_timeout".to_owned()));
    assert!(from.elapsed() < Duration::from_secs(10));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_origin_that_accepts_and_says_nothing_is_given_up_after_connect_timeout() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let sidecar = TestSidecar::with(Setup {
        upstream: "  connect_timeout: 1s\n".to_owned(),
        ..leading_to(listener.local_addr().unwrap())
    })
    .await;
    let from = Instant::now();
    let (status, _) = soon("an answer", told(&sidecar)).await;
    assert!([502, 504].contains(&status), "{status}");
    assert!(from.elapsed() < Duration::from_secs(10));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upload_that_takes_longer_than_the_response_timeout_is_not_timed_out() {
    let sidecar = TestSidecar::with(impatient()).await;
    let mut client = Http1::open(&sidecar, NA).await;
    client
        .write(format!(
            "POST /_sandbox/sink HTTP/1.1\r\nhost: {NA}\r\ncontent-length: 10\r\n\r\n"
        ))
        .await;
    let mut pace = tokio::time::interval(Duration::from_millis(250));
    for _ in 0..10 {
        pace.tick().await;
        client.write("x").await;
    }
    let answer: Answer = client.answer().await;
    assert_eq!(answer.head.status, 200);
    assert_eq!(answer.json()["bytes"], 10);
}
