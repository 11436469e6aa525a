//! Bodies of every size, both ways, in every framing, over both versions.

use bytes::Bytes;
use http::Request;

use super::{bytes, sha256};
use crate::support::peer::{Http1, Http2, full, parts};
use crate::support::sidecar::{NA, TestSidecar};

const SIZES: [usize; 5] = [0, 1, 1000, (64 << 10) - 1, 3_000_001];

fn post(target: &str) -> String {
    format!("POST {target} HTTP/1.1\r\nhost: {NA}\r\n")
}

fn chunked(body: &[u8], size: usize) -> Vec<u8> {
    let mut wire = Vec::new();
    for chunk in body.chunks(size) {
        wire.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
        wire.extend_from_slice(chunk);
        wire.extend_from_slice(b"\r\n");
    }
    wire.extend_from_slice(b"0\r\n\r\n");
    wire
}

fn has(names: &serde_json::Value, name: &str) -> bool {
    names
        .as_array()
        .unwrap()
        .iter()
        .any(|one| one.as_str() == Some(name))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upload_with_a_length_arrives_to_the_byte_with_that_length() {
    let sidecar = TestSidecar::start().await;
    let mut client = Http1::open(&sidecar, NA).await;
    for size in SIZES {
        let body = bytes(1, size);
        let mut request = format!("{}content-length: {size}\r\n\r\n", post("/_sandbox/sink"));
        request.reserve(size);
        let mut request = request.into_bytes();
        request.extend_from_slice(&body);
        let seen = client.ask(request).await.json();
        assert_eq!(seen["sha256"], sha256(&body), "{size}");
        assert_eq!(seen["complete"], true, "{size}");
        assert!(has(&seen["header_names"], "content-length"), "{seen}");
        assert!(!has(&seen["header_names"], "transfer-encoding"), "{seen}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_chunked_upload_arrives_to_the_byte_and_stays_without_a_length() {
    let sidecar = TestSidecar::start().await;
    let mut client = Http1::open(&sidecar, NA).await;
    for size in SIZES {
        let body = bytes(2, size);
        let mut request = format!(
            "{}transfer-encoding: chunked\r\n\r\n",
            post("/_sandbox/sink")
        )
        .into_bytes();
        request.extend_from_slice(&chunked(&body, 7001));
        let seen = client.ask(request).await.json();
        assert_eq!(seen["sha256"], sha256(&body), "{size}");
        assert!(!has(&seen["header_names"], "content-length"), "{seen}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upload_over_http2_arrives_to_the_byte_with_and_without_a_length() {
    let sidecar = TestSidecar::start().await;
    let client = Http2::open(&sidecar, NA).await;
    for size in SIZES {
        let body = bytes(3, size);
        for with_length in [true, false] {
            let request = Request::post(format!("https://{NA}/_sandbox/sink"));
            let request = if with_length {
                request
                    .header("content-length", size)
                    .body(full(body.clone()))
            } else {
                let pieces = body.chunks(9000).map(Bytes::copy_from_slice).collect();
                request.body(parts(pieces, None))
            };
            let answer = client.ask(request.unwrap()).await;
            let seen: serde_json::Value = serde_json::from_slice(answer.body()).unwrap();
            assert_eq!(seen["sha256"], sha256(&body), "{size}");
            assert_eq!(seen["version"], "HTTP/2.0");
            assert_eq!(
                has(&seen["header_names"], "content-length"),
                with_length,
                "{size}: {seen}"
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_without_a_body_gets_no_length_over_http1() {
    let sidecar = TestSidecar::start().await;
    let mut client = Http1::open(&sidecar, NA).await;
    for method in ["GET", "POST", "PUT"] {
        let request = format!("{method} /_sandbox/sink HTTP/1.1\r\nhost: {NA}\r\n\r\n");
        let seen = client.ask(request).await.json();
        assert_eq!(seen["method"], method);
        for field in ["content-length", "transfer-encoding"] {
            assert!(!has(&seen["header_names"], field), "{method}: {seen}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_without_a_body_gets_no_length_over_http2() {
    let sidecar = TestSidecar::start().await;
    let client = Http2::open(&sidecar, NA).await;
    for method in ["GET", "POST", "PUT"] {
        // the client's own library would add a length to an empty body that is known to be empty
        let request = Request::builder()
            .method(method)
            .uri(format!("https://{NA}/_sandbox/sink"))
            .body(crate::support::peer::nothing())
            .unwrap();
        let answer = client.ask(request).await;
        let seen: serde_json::Value = serde_json::from_slice(answer.body()).unwrap();
        assert!(!has(&seen["header_names"], "content-length"), "{seen}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_download_arrives_to_the_byte_in_the_framing_that_upstream_chose() {
    let sidecar = TestSidecar::start().await;
    let mut client = Http1::open(&sidecar, NA).await;
    for size in SIZES {
        for framing in ["", "&chunked=1"] {
            let request =
                format!("GET /_sandbox/body/{size}?seed=4{framing} HTTP/1.1\r\nhost: {NA}\r\n\r\n");
            let answer = client.ask(request).await;
            assert!(answer.body == bytes(4, size), "{size}{framing}");
            let length = answer.head.field("content-length");
            if framing.is_empty() {
                assert_eq!(length, Some(&*size.to_string()));
            } else {
                assert_eq!(length, None);
                assert_eq!(answer.head.field("transfer-encoding"), Some("chunked"));
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_download_over_http2_arrives_to_the_byte() {
    let sidecar = TestSidecar::start().await;
    let client = Http2::open(&sidecar, NA).await;
    for size in SIZES {
        for framing in ["", "&chunked=1"] {
            let uri = format!("https://{NA}/_sandbox/body/{size}?seed=5{framing}");
            let answer = client
                .ask(
                    Request::get(uri)
                        .body(crate::support::peer::nothing())
                        .unwrap(),
                )
                .await;
            assert!(*answer.body() == bytes(5, size), "{size}{framing}");
            let length = answer.headers().get("content-length");
            let has_one = framing.is_empty() && size > 0;
            assert_eq!(length.is_some(), has_one, "{size}{framing}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_echo_gives_back_both_streams_at_once() {
    let sidecar = TestSidecar::start().await;
    let body = bytes(6, 5_000_003);
    let client = sidecar.client_with(&["h2"], None);
    let url = format!("https://{NA}/_sandbox/echo");
    let answer = client.post(url).body(body.clone()).send().await.unwrap();
    assert!(answer.bytes().await.unwrap() == body);
}
