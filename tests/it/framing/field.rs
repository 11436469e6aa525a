//! Header and trailer fields: unchanged but for what HTTP ends here and what the contract adds.

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request};
use http_body_util::BodyExt as _;

use super::standing_in;
use crate::support::peer::{Http1, Http2, Origin, nothing, parts};
use crate::support::sidecar::{NA, TestSidecar};

fn get(target: &str) -> String {
    format!("GET {target} HTTP/1.1\r\nhost: {NA}\r\n\r\n")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answers_fields_arrive_as_they_were_and_only_the_request_id_is_added() {
    const FIELDS: &str = "set-cookie: a=1; path=/\r\nset-cookie: b=2\r\nx-empty:\r\nx-amzn-RequestId: 1-2-3\r\n\
        etag: \"odd , value\"\r\nx-utf8: \u{e9}\r\nserver: Server\r\nvary: Accept,  Accept-Encoding\r\nwarning: 199 - \"x\"\r\n\
        x-under_score: 1\r\nproxy-status: cdn; error=none\r\nvia: 1.1 cdn\r\ncontent-encoding: gzip\r\nage: 0\r\n";
    let origin = Origin::raw(NA, |_head| {
        format!("HTTP/1.1 200 OK\r\n{FIELDS}content-length: 3\r\n\r\nabc").into_bytes()
    })
    .await;
    let sidecar = TestSidecar::with(standing_in(&origin)).await;
    let answer = Http1::open(&sidecar, NA)
        .await
        .ask(get("/_sandbox/x"))
        .await;
    let mut got: Vec<String> = answer
        .head
        .fields
        .iter()
        .filter(|(name, _)| name != "x-spapi-sidecar-request-id")
        .map(|(name, value)| format!("{name}: {}", String::from_utf8_lossy(value)))
        .collect();
    let mut want: Vec<String> = FIELDS
        .lines()
        .chain(["content-length: 3"])
        .map(|line| {
            let (name, value) = line.split_once(':').unwrap();
            format!("{}: {}", name.to_ascii_lowercase(), value.trim())
        })
        .collect();
    assert_eq!(got.len() + 1, answer.head.fields.len(), "{:?}", answer.head);
    got.sort();
    want.sort();
    assert_eq!(got, want);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answers_hop_by_hop_fields_end_here() {
    let origin = Origin::raw(NA, |_head| {
        b"HTTP/1.1 200 OK\r\nconnection: keep-alive, x-one\r\nconnection: x-two\r\nkeep-alive: timeout=5\r\nx-one: 1\r\nx-two: 2\r\nx-three: 3\r\nupgrade: h2c\r\ncontent-length: 0\r\n\r\n"
            .to_vec()
    })
    .await;
    let sidecar = TestSidecar::with(standing_in(&origin)).await;
    let answer = Http1::open(&sidecar, NA)
        .await
        .ask(get("/_sandbox/x"))
        .await;
    assert_eq!(
        answer.head.names(),
        ["content-length", "x-spapi-sidecar-request-id", "x-three"]
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_requests_fields_arrive_as_they_were() {
    let seen = std::sync::Arc::new(std::sync::Mutex::new(String::new()));
    let note = std::sync::Arc::clone(&seen);
    let origin = Origin::raw(NA, move |head| {
        head.clone_into(&mut note.lock().unwrap());
        b"HTTP/1.1 204 No Content\r\n\r\n".to_vec()
    })
    .await;
    let sidecar = TestSidecar::with(standing_in(&origin)).await;
    const FIELDS: &str = "accept: */*\r\naccept: text/x\r\nuser-agent: App/1 (Language=X; Platform=Y)\r\nx-amz-date: 20260101T000000Z\r\n\
        x-empty:\r\ncookie: a=b; c=d\r\nx-odd: ,;=\"\\ \u{e9}\r\nx-under_score: 1\r\nx-amzn-trace-id: Root=1\r\nif-none-match: \"x\"\r\n";
    let request = format!("GET /_sandbox/x HTTP/1.1\r\nhost: {NA}\r\n{FIELDS}\r\n");
    assert_eq!(
        Http1::open(&sidecar, NA)
            .await
            .ask(request)
            .await
            .head
            .status,
        204
    );
    let seen = seen.lock().unwrap().clone();
    let mut got: Vec<&str> = seen
        .lines()
        .skip(1)
        .filter(|line| !line.is_empty())
        .filter(|line| {
            !["host:", "via:", "authorization:", "x-amz-access-token:"]
                .iter()
                .any(|ours| line.starts_with(ours))
        })
        .map(str::trim_end)
        .collect();
    let mut want: Vec<&str> = FIELDS.lines().collect();
    got.sort_unstable();
    want.sort_unstable();
    assert_eq!(got, want);
    assert!(seen.contains(&format!("host: {NA}\r\n")), "{seen}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_requests_trailers_reach_upstream_over_both_versions() {
    let sidecar = TestSidecar::start().await;
    let request = format!(
        "POST /_sandbox/sink HTTP/1.1\r\nhost: {NA}\r\ntransfer-encoding: chunked\r\ntrailer: x-checksum\r\n\r\n3\r\nabc\r\n0\r\nx-checksum: 1\r\n\r\n"
    );
    let answer = Http1::open(&sidecar, NA).await.ask(request).await;
    assert_eq!(answer.json()["bytes"], 3);
    let mut trailers = HeaderMap::new();
    trailers.insert("x-checksum", HeaderValue::from_static("1"));
    let request = Request::post(format!("https://{NA}/_sandbox/sink"))
        .body(parts(vec![Bytes::from_static(b"abc")], Some(trailers)))
        .unwrap();
    let client = Http2::open(&sidecar, NA).await;
    assert_eq!(client.ask(request).await.status(), 200);
    for received in sidecar.received() {
        assert_eq!(received.trailer_names, ["x-checksum"], "{received:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answers_trailers_reach_a_client_that_takes_them() {
    let sidecar = TestSidecar::start().await;
    let mut client = Http1::open(&sidecar, NA).await;
    let answer = client
        .ask(format!(
            "GET /_sandbox/trailers HTTP/1.1\r\nhost: {NA}\r\nte: trailers\r\n\r\n"
        ))
        .await;
    assert_eq!(answer.body, b"trailing");
    assert_eq!(
        answer.trailers,
        [("x-sandbox-trailer".to_owned(), "end".to_owned())]
    );
    let client = Http2::open(&sidecar, NA).await;
    let request = Request::get(format!("https://{NA}/_sandbox/trailers"))
        .header("te", "trailers")
        .body(nothing())
        .unwrap();
    let body = client.send(request).await.unwrap().into_body();
    let collected = body.collect().await.unwrap();
    assert_eq!(
        collected.trailers().unwrap()["x-sandbox-trailer"],
        HeaderValue::from_static("end")
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_takes_no_trailers_gets_the_whole_body_without_them() {
    let sidecar = TestSidecar::start().await;
    let answer = Http1::open(&sidecar, NA)
        .await
        .ask(get("/_sandbox/trailers"))
        .await;
    assert_eq!(
        (&*answer.body, answer.trailers.len()),
        (&b"trailing"[..], 0)
    );
}
