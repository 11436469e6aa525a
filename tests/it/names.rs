//! One connection, one host: SNI, Host and :authority have to agree with CONNECT; and heads that are not plain requests.

use std::sync::Arc;

use tokio_rustls::TlsConnector;

use crate::support::sidecar::{NA, TestSidecar, eventually};
use crate::support::wire::{Wire, dial, get_h2, request};

const EU: &str = "sellingpartnerapi-eu.amazon.com";
const ORDERS: &str = "/orders/v0/orders?MarketplaceIds=ATVPDKIKX0DER";

/// The status and code of the answer to these very bytes inside a connection for the host, before which nothing left.
async fn refused(bytes: &str) -> (u16, String) {
    let sidecar = TestSidecar::start().await;
    let refused = sidecar.inside(NA).await.ask(bytes).await.refused();
    assert_eq!(sidecar.received(), [], "a refused request reached Amazon");
    assert_eq!(sidecar.record().await["outcome"], "refused");
    refused
}

fn is(status: u16, code: &str) -> (u16, String) {
    (status, code.to_owned())
}

#[tokio::test]
async fn a_server_name_other_than_the_connect_host_gets_no_handshake() {
    let sidecar = TestSidecar::start().await;
    for name in [EU, "elsewhere.example", "api.amazon.com"] {
        let (answer, wire) = sidecar.connect(&format!("{NA}:443"), &[]).await;
        assert_eq!(answer.status, 200);
        assert!(
            sidecar
                .handshake(wire.io, name, &["http/1.1"])
                .await
                .is_err(),
            "{name}"
        );
    }
}

#[tokio::test]
async fn a_client_that_sends_no_server_name_is_served() {
    let sidecar = TestSidecar::start().await;
    let (_, wire) = sidecar.connect(&format!("{NA}:443"), &[]).await;
    let mut tls = sidecar.tls(&[]);
    tls.enable_sni = false;
    let name = rustls::pki_types::ServerName::try_from(NA).unwrap();
    let stream = TlsConnector::from(Arc::new(tls))
        .connect(name, wire.io)
        .await
        .unwrap();
    assert_eq!(Wire::new(stream).get(NA, ORDERS, &[]).await.status, 200);
}

#[tokio::test]
async fn another_host_is_misdirected() {
    for host in [
        EU,
        "sellingpartnerapi-na.amazon.com:444",
        "sellingpartnerapi-na.amazon.com.evil.example",
        "user@sellingpartnerapi-na.amazon.com",
        "",
    ] {
        assert_eq!(
            refused(&request("GET", host, ORDERS, &[], "")).await,
            is(421, "name_mismatch"),
            "{host:?}"
        );
    }
}

#[tokio::test]
async fn the_host_may_be_spelt_with_its_port_in_any_case_or_with_a_final_dot() {
    let sidecar = TestSidecar::start().await;
    let mut inside = sidecar.inside(NA).await;
    for host in [NA.to_uppercase(), format!("{NA}:443"), format!("{NA}.")] {
        let answer = inside.get(&host, "/_sandbox/sink", &[]).await;
        assert!(
            answer.field("x-spapi-sidecar-error").is_none(),
            "{host}: {answer:?}"
        );
    }
    assert_eq!(sidecar.received().len(), 3);
}

#[tokio::test]
async fn another_authority_over_http2_is_misdirected() {
    let sidecar = TestSidecar::start().await;
    let mut client = sidecar.inside_h2(NA).await;
    for url in [
        format!("https://{EU}{ORDERS}"),
        format!("https://{NA}:444{ORDERS}"),
    ] {
        assert_eq!(
            get_h2(&mut client, &url, &[]).await.refused(),
            is(421, "name_mismatch"),
            "{url}"
        );
    }
    let contradiction = get_h2(
        &mut client,
        &format!("https://{NA}{ORDERS}"),
        &[("host", EU)],
    )
    .await;
    assert_eq!(contradiction.refused(), is(421, "name_mismatch"));
    assert_eq!(sidecar.received(), []);
}

#[tokio::test]
async fn two_host_fields_are_a_bad_request() {
    assert_eq!(
        refused(&request("GET", NA, ORDERS, &[("host", NA)], "")).await,
        is(400, "bad_request")
    );
}

#[tokio::test]
async fn http_1_1_without_a_host_field_is_a_bad_request() {
    assert_eq!(
        refused(&format!("GET {ORDERS} HTTP/1.1\r\naccept: */*\r\n\r\n")).await,
        is(400, "bad_request")
    );
}

#[tokio::test]
async fn http_1_0_without_a_host_field_is_served_and_amazon_gets_one() {
    let sidecar = TestSidecar::start().await;
    let answer = sidecar
        .inside(NA)
        .await
        .ask(format!("GET {ORDERS} HTTP/1.0\r\n\r\n"))
        .await;
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(sidecar.received()[0].headers["host"], [NA]);
}

#[tokio::test]
async fn a_url_inside_the_connection_is_a_bad_request() {
    for url in [
        format!("https://{NA}{ORDERS}"),
        format!("http://{NA}{ORDERS}"),
        format!("https://{EU}{ORDERS}"),
    ] {
        assert_eq!(
            refused(&request("GET", NA, &url, &[], "")).await,
            is(400, "bad_request"),
            "{url}"
        );
    }
}

#[tokio::test]
async fn connect_inside_the_connection_is_a_bad_request() {
    assert_eq!(
        refused(&request("CONNECT", NA, &format!("{NA}:443"), &[], "")).await,
        is(400, "bad_request")
    );
}

#[tokio::test]
async fn a_target_that_is_no_path_is_a_bad_request() {
    assert_eq!(
        refused(&request("OPTIONS", NA, "*", &[], "")).await,
        is(400, "bad_request")
    );
}

#[tokio::test]
async fn plain_text_inside_connect_is_closed_without_an_answer() {
    let sidecar = TestSidecar::start().await;
    let (_, mut wire) = sidecar.connect(&format!("{NA}:443"), &[]).await;
    wire.send(request("GET", NA, ORDERS, &[], "")).await;
    let rest = wire.rest().await;
    assert!(
        !rest.windows(5).any(|window| window == b"HTTP/"),
        "{rest:?}"
    );
    assert_eq!(sidecar.received(), []);
}

#[tokio::test]
async fn a_head_beyond_the_bound_is_refused_with_the_bound() {
    let sidecar = TestSidecar::start().await;
    let field = "x".repeat(1000);
    for (count, bytes) in [(66, 1000), (1, 65_536), (1, 100_000)] {
        let mut inside = sidecar.inside(NA).await;
        let value = if bytes == 1000 {
            field.clone()
        } else {
            "y".repeat(bytes)
        };
        let fields: Vec<(&str, &str)> = (0..count).map(|_| ("x-large", &*value)).collect();
        let refusal = inside.get(NA, ORDERS, &fields).await.refusal();
        assert_eq!(
            (refusal.status, &*refusal.code),
            (431, "header_too_large"),
            "{count} times {bytes}"
        );
        assert!(
            refusal.details.contains("listen.limits.header_bytes"),
            "{refusal:?}"
        );
    }
    assert_eq!(sidecar.received(), []);
}

#[tokio::test]
async fn a_head_below_the_bound_is_served() {
    let sidecar = TestSidecar::start().await;
    let value = "x".repeat(60_000);
    assert_eq!(
        sidecar.call(ORDERS, &[("x-large", &value)]).await.status,
        200
    );
}

#[tokio::test]
async fn a_head_beyond_the_bound_over_http2_is_refused() {
    let sidecar = TestSidecar::start().await;
    let mut client = sidecar.inside_h2(NA).await;
    let value = "x".repeat(70_000);
    let answer = get_h2(
        &mut client,
        &format!("https://{NA}{ORDERS}"),
        &[("x-large", &value)],
    )
    .await;
    assert_eq!(answer.refused(), is(431, "header_too_large"));
}

#[tokio::test]
async fn a_head_that_cannot_be_read_is_refused_in_the_same_shape() {
    let sidecar = TestSidecar::start().await;
    let many = "x: y\r\n".repeat(150);
    let large = "y".repeat(200_000);
    let cases = [
        (
            format!("GET {ORDERS} HTTP/1.1\r\nHost: {NA}\r\n{many}\r\n"),
            is(431, "header_too_large"),
        ),
        (
            format!("GET {ORDERS} HTTP/1.1\r\nHost: {NA}\r\nx: {large}\r\n\r\n"),
            is(431, "header_too_large"),
        ),
        (
            format!("GET /{large} HTTP/1.1\r\nHost: {NA}\r\n\r\n"),
            is(431, "header_too_large"),
        ),
        (
            format!("GET /orders/v0/\u{1} HTTP/1.1\r\nHost: {NA}\r\n\r\n"),
            is(400, "bad_request"),
        ),
        (
            format!("GET {ORDERS} HTTP/1.1\r\nHost: {NA}\r\nbad name: x\r\n\r\n"),
            is(400, "bad_request"),
        ),
        (
            format!(
                "GET {ORDERS} HTTP/1.1\r\nHost: {NA}\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nx"
            ),
            is(400, "bad_request"),
        ),
        ("nonsense\r\n\r\n".to_owned(), is(400, "bad_request")),
    ];
    for (bytes, want) in cases {
        let mut inside = sidecar.inside(NA).await;
        assert_eq!(
            inside.ask(&bytes).await.refused(),
            want,
            "{}",
            &bytes[..60.min(bytes.len())]
        );
    }
    let at_the_door = dial(sidecar.proxy())
        .await
        .ask("CONNECT a b HTTP/1.1\r\n\r\n")
        .await;
    assert_eq!(at_the_door.refused(), is(400, "bad_request"));
    assert_eq!(sidecar.received(), []);
    eventually("a record of each", || sidecar.records().len() == 8).await;
}
