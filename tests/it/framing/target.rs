//! Paths and queries reach upstream to the byte.

use http::Request;

use crate::support::peer::{Http1, Http2, nothing};
use crate::support::sidecar::{NA, TestSidecar};

const QUERIES: [&str; 14] = [
    "",
    "?",
    "?a",
    "?a=",
    "?a=&b&=c&&",
    "?a=1&a=2&a=1",
    "?a=1&",
    "?q=%2f%2F%c3%A9%C3%a9",
    "?q=%ff%FE%80%00",
    "?q=a+b%20c%2Bd",
    "?a[]=1&a[0]=2&a%5B%5D=3",
    "?a=1;b=2|3,4:5@6!$'()*~",
    "?next=https://x.example/?y=1?z",
    "?CreatedAfter=2026-01-01T00:00:00Z&x={y}^`\\",
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_query_arrives_as_it_was_sent_over_http1() {
    let sidecar = TestSidecar::start().await;
    let mut client = Http1::open(&sidecar, NA).await;
    for query in QUERIES {
        let target = format!("/_sandbox/sink{query}");
        let answer = client
            .ask(format!("GET {target} HTTP/1.1\r\nhost: {NA}\r\n\r\n"))
            .await;
        assert_eq!(answer.json()["target"], target);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_query_arrives_as_it_was_sent_over_http2() {
    let sidecar = TestSidecar::start().await;
    let client = Http2::open(&sidecar, NA).await;
    for query in QUERIES {
        let target = format!("/_sandbox/sink{query}");
        let request = Request::get(format!("https://{NA}{target}"))
            .body(nothing())
            .unwrap();
        let answer = client.ask(request).await;
        let seen: serde_json::Value = serde_json::from_slice(answer.body()).unwrap();
        assert_eq!(seen["target"], target);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_byte_in_a_query_arrives_as_itself_or_the_request_is_refused() {
    let sidecar = TestSidecar::start().await;
    let mut refused = Vec::new();
    let mut client = Http1::open(&sidecar, NA).await;
    // `#` would begin a fragment, which no request target has
    for byte in (0x21..=0xff_u8).filter(|byte| *byte != b'#') {
        let mut request = b"GET /_sandbox/sink?a=".to_vec();
        request.push(byte);
        request.extend_from_slice(format!("z HTTP/1.1\r\nhost: {NA}\r\n\r\n").as_bytes());
        let before = sidecar.received().len();
        client.write(request).await;
        let head = client.head().await;
        if head.status == 400 {
            assert_eq!(sidecar.received().len(), before, "{byte:#x}");
            refused.push(byte);
            client = Http1::open(&sidecar, NA).await;
            continue;
        }
        let answer = client.rest(head, false).await.unwrap();
        let target = format!("/_sandbox/sink?a={}z", char::from(byte));
        assert_eq!(answer.json()["target"], target, "{byte:#x}");
    }
    // no URI holds these raw (RFC 3986 section 2), and nobody knows what the reader behind would make of them
    let printable: Vec<u8> = refused.into_iter().filter(u8::is_ascii_graphic).collect();
    assert_eq!(printable, b"\"<>");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sku_keeps_its_escapes_in_the_case_in_which_it_was_sent() {
    let sidecar = TestSidecar::start().await;
    let mut client = Http1::open(&sidecar, NA).await;
    for sku in [
        "a%2Fb",
        "a%2fb",
        "%C3%A9%c3%a9",
        "%FF",
        "a+b,c:d@e!$&'()*~",
        "100%25",
    ] {
        let target =
            format!("/listings/2021-08-01/items/SELLER/{sku}?marketplaceIds=ATVPDKIKX0DER");
        let answer = client
            .ask(format!("GET {target} HTTP/1.1\r\nhost: {NA}\r\n\r\n"))
            .await;
        assert_eq!(answer.head.status, 200, "{sku}");
        assert_eq!(sidecar.received().last().unwrap().target, target);
    }
}
