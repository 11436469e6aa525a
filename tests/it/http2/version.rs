//! An HTTP/1.1 client is served over HTTP/1.1 and an HTTP/2 client over HTTP/2, where the origin speaks both.

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::BodyExt as _;
use tokio::task::JoinSet;

use super::{get, post, standing_in};
use crate::support::peer::{Http1, Http2, Origin, full, nothing, parts};
use crate::support::sidecar::{NA, TestSidecar};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_streams_of_one_connection_each_get_their_own_answer() {
    let sidecar = TestSidecar::start().await;
    let client = sidecar.client_with(&["h2"], None);
    let mut calls = JoinSet::new();
    for n in 0_usize..100 {
        let size = n * 997;
        let url = format!("https://{NA}/_sandbox/body/{size}?seed={n}");
        let call = client.get(url).send();
        calls.spawn(async move {
            let body = call.await.unwrap().bytes().await.unwrap();
            let mut want = vec![0; size];
            spapi_sidecar::sandbox::noise(n as u64, 0, &mut want);
            body == want
        });
    }
    assert_eq!(calls.join_all().await, vec![true; 100]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn upstream_is_spoken_to_in_the_clients_version() {
    let sidecar = TestSidecar::start().await;
    for (alpn, version) in [("h2", "HTTP/2.0"), ("http/1.1", "HTTP/1.1")] {
        let client = sidecar.client_with(&[alpn], None);
        let url = format!("https://{NA}/_sandbox/sink");
        assert_eq!(client.get(url).send().await.unwrap().status(), 200);
        assert_eq!(sidecar.received().last().unwrap().version, version);
    }
}

/// Gives back what it was sent: method, target, `:authority`, body.
async fn mirror() -> Origin {
    Origin::http2(NA, |request: Request<hyper::body::Incoming>| {
        Box::pin(async move {
            let line = format!("{} {} ", request.method(), request.uri());
            let body = request.into_body().collect().await.unwrap().to_bytes();
            Response::new(full([line.as_bytes(), &body].concat()))
        })
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_origin_that_speaks_nothing_but_http2_serves_an_http1_client() {
    let origin = mirror().await;
    let sidecar = TestSidecar::with(standing_in(&origin)).await;
    let mut client = Http1::open(&sidecar, NA).await;
    for _ in 0..2 {
        let answer = client.ask(get("/_sandbox/x?a=%2F|b")).await;
        let want = format!("GET https://{NA}/_sandbox/x?a=%2F|b ");
        assert_eq!(answer.body, want.as_bytes());
        let answer = client.ask(post("/_sandbox/x", "hello")).await;
        let want = format!("POST https://{NA}/_sandbox/x hello");
        assert_eq!(answer.body, want.as_bytes());
    }
    let chunked = format!(
        "POST /_sandbox/x HTTP/1.1\r\nhost: {NA}\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"
    );
    assert!(client.ask(chunked).await.body.ends_with(b" hello"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_origin_that_speaks_nothing_but_http1_serves_an_http2_client() {
    let origin = Origin::raw(NA, |head| {
        let line = head.lines().next().unwrap();
        format!(
            "HTTP/1.1 200 OK\r\nconnection: keep-alive\r\ncontent-length: {}\r\n\r\n{line}",
            line.len()
        )
        .into_bytes()
    })
    .await;
    let sidecar = TestSidecar::with(standing_in(&origin)).await;
    let client = Http2::open(&sidecar, NA).await;
    for _ in 0..3 {
        let request = Request::get(format!("https://{NA}/_sandbox/x?a=%2F"))
            .body(nothing())
            .unwrap();
        let answer = client.ask(request).await;
        assert_eq!(answer.body(), "GET /_sandbox/x?a=%2F HTTP/1.1");
    }
    let request = Request::post(format!("https://{NA}/_sandbox/x"))
        .body(parts(vec![Bytes::new()], None))
        .unwrap();
    assert_eq!(client.ask(request).await.status(), 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_field_of_http2_is_never_sent_to_an_http1_origin_as_is() {
    let sidecar = TestSidecar::start().await;
    let client = Http2::open(&sidecar, NA).await;
    let request = Request::get(format!("https://{NA}/_sandbox/sink"))
        .header("te", "trailers")
        .header("cookie", "a=1")
        .header("cookie", "b=2")
        .body(nothing())
        .unwrap();
    assert_eq!(client.ask(request).await.status(), 200);
    let received = sidecar.received().pop().unwrap();
    assert_eq!(received.headers["te"], ["trailers"]);
    let cookies = received
        .header_names
        .iter()
        .filter(|name| *name == "cookie");
    assert_eq!(cookies.count(), 2);
}
