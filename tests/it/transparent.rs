//! The transparent listener: the server name takes the CONNECT host's place.

use std::sync::Arc;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::support::sidecar::{NA, Setup, TestSidecar};
use crate::support::wire::{Wire, dial, get_h2, h2_over, request, trusting};

const ORDERS: &str = "/orders/v0/orders?MarketplaceIds=ATVPDKIKX0DER";

async fn enter(
    sidecar: &TestSidecar,
    name: &str,
    alpn: &[&str],
) -> std::io::Result<TlsStream<TcpStream>> {
    let stream = TcpStream::connect(sidecar.transparent()).await.unwrap();
    sidecar.handshake(stream, name, alpn).await
}

#[tokio::test]
async fn a_call_by_server_name_alone_carries_the_tenants_token() {
    let sidecar = TestSidecar::start().await;
    let mut inside = Wire::new(enter(&sidecar, NA, &["http/1.1"]).await.unwrap());
    assert_eq!(inside.get(NA, ORDERS, &[]).await.status, 200);
    assert_eq!(sidecar.whose(), [Some("acme".to_owned())]);
    assert_eq!(sidecar.record().await["host"], NA);
}

#[tokio::test]
async fn a_call_over_http2_carries_the_tenants_token() {
    let sidecar = TestSidecar::start().await;
    let mut client = h2_over(enter(&sidecar, NA, &["h2"]).await.unwrap()).await;
    assert_eq!(
        get_h2(&mut client, &format!("https://{NA}{ORDERS}"), &[])
            .await
            .status,
        200
    );
    assert_eq!(sidecar.whose(), [Some("acme".to_owned())]);
}

#[tokio::test]
async fn a_phantom_names_the_tenant_where_no_login_can() {
    let sidecar = TestSidecar::start().await;
    let mut inside = Wire::new(enter(&sidecar, "api.amazon.com", &[]).await.unwrap());
    let refresh = sidecar.phantom(spapi_sidecar::phantom::Kind::Refresh, "beta");
    let vended = inside
        .ask(request(
            "POST",
            "api.amazon.com",
            "/auth/o2/token",
            &[],
            &format!("refresh_token={refresh}"),
        ))
        .await;
    let access = vended.json()["access_token"].as_str().unwrap().to_owned();
    let mut inside = Wire::new(enter(&sidecar, NA, &[]).await.unwrap());
    assert_eq!(
        inside
            .get(NA, ORDERS, &[("x-amz-access-token", &access)])
            .await
            .status,
        200
    );
    assert_eq!(sidecar.whose(), [Some("beta".to_owned())]);
}

#[tokio::test]
async fn another_host_than_the_server_name_is_misdirected() {
    let sidecar = TestSidecar::start().await;
    let mut inside = Wire::new(enter(&sidecar, NA, &[]).await.unwrap());
    let answer = inside
        .get("sellingpartnerapi-eu.amazon.com", ORDERS, &[])
        .await;
    assert_eq!(answer.refused(), (421, "name_mismatch".to_owned()));
}

#[tokio::test]
async fn a_server_name_that_no_rule_names_is_closed_and_recorded() {
    let sidecar = TestSidecar::start().await;
    assert!(enter(&sidecar, "elsewhere.example", &[]).await.is_err());
    let record = sidecar.record().await;
    assert_eq!(
        (&record["host"], &record["outcome"], &record["reason"]),
        (
            &"elsewhere.example".into(),
            &"refused".into(),
            &"egress_denied".into()
        )
    );
}

#[tokio::test]
async fn a_client_without_a_server_name_is_closed_and_recorded() {
    let sidecar = TestSidecar::start().await;
    let mut tls = sidecar.tls(&[]);
    tls.enable_sni = false;
    let stream = TcpStream::connect(sidecar.transparent()).await.unwrap();
    let name = rustls::pki_types::ServerName::try_from(NA).unwrap();
    assert!(
        TlsConnector::from(Arc::new(tls))
            .connect(name, stream)
            .await
            .is_err()
    );
    let record = sidecar.record().await;
    assert_eq!(
        (&record["outcome"], &record["reason"]),
        (&"refused".into(), &"bad_request".into())
    );
}

#[tokio::test]
async fn plain_text_is_closed_without_an_answer() {
    let sidecar = TestSidecar::start().await;
    let mut wire = dial(sidecar.transparent()).await;
    wire.send(request("GET", NA, ORDERS, &[], "")).await;
    assert_eq!(wire.rest().await, b"");
}

#[tokio::test]
async fn a_tunnel_rule_is_followed_by_server_name() {
    let sidecar = TestSidecar::with(Setup {
        connect_to_sandbox: vec!["tunnel.example:443"],
        ..Setup::default()
    })
    .await;
    let amazon = trusting(&sidecar.folder.path().join("amazon.pem"), &["http/1.1"]);
    let stream = TcpStream::connect(sidecar.transparent()).await.unwrap();
    let name = rustls::pki_types::ServerName::try_from("tunnel.example").unwrap();
    let mut stream = TlsConnector::from(Arc::new(amazon))
        .connect(name, stream)
        .await
        .unwrap();
    stream
        .write_all(
            request(
                "GET",
                "tunnel.example",
                "/_sandbox/sink",
                &[("connection", "close")],
                "",
            )
            .as_bytes(),
        )
        .await
        .unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    drop(stream);
    assert!(
        answer.starts_with(b"HTTP/1.1 200"),
        "{}",
        String::from_utf8_lossy(&answer)
    );
    let received = sidecar.received();
    assert_eq!(
        received[0].header_names,
        ["host", "connection"],
        "the tunnel adds nothing"
    );
    assert_eq!(sidecar.record().await["outcome"], "tunnelled");
}

#[tokio::test]
async fn where_a_login_is_required_a_caller_without_a_phantom_is_nobody() {
    let sidecar = TestSidecar::with(Setup {
        listen: "  proxy_auth: required".to_owned(),
        ..Setup::default()
    })
    .await;
    let mut inside = Wire::new(enter(&sidecar, NA, &["http/1.1"]).await.unwrap());
    let answer = inside.get(NA, ORDERS, &[]).await;
    assert_eq!(
        (answer.status, &*answer.refusal().code),
        (403, "tenant_unknown")
    );
    assert!(sidecar.received().is_empty());
}

/// A hello of TLS 1.1: no extension but the server name.
fn too_old() -> Vec<u8> {
    let name = [&[0, 0, u8::try_from(NA.len()).unwrap()], NA.as_bytes()].concat();
    let list = prefixed(&name);
    let extensions = prefixed(&[&[0, 0][..], &prefixed(&list)].concat());
    let mut hello = vec![3, 2];
    hello.extend([7; 32]);
    // no session, one suite (ECDHE-ECDSA-AES128-SHA), no compression
    hello.extend([0, 0, 2, 0xc0, 0x09, 1, 0]);
    hello.extend(extensions);
    let message = [&[1, 0][..], &prefixed(&hello)].concat();
    [&[22, 3, 1][..], &prefixed(&message)].concat()
}

fn prefixed(bytes: &[u8]) -> Vec<u8> {
    let length = u16::try_from(bytes.len()).unwrap().to_be_bytes();
    [&length[..], bytes].concat()
}

#[tokio::test]
async fn a_hello_that_nobody_can_answer_is_refused_with_an_alert() {
    let sidecar = TestSidecar::start().await;
    let mut stream = TcpStream::connect(sidecar.transparent()).await.unwrap();
    stream.write_all(&too_old()).await.unwrap();
    let mut told = Vec::new();
    stream.read_to_end(&mut told).await.unwrap();
    // a fatal alert: handshake_failure (RFC 5246 section 7.2)
    assert_eq!(told, [21, 3, 3, 0, 2, 2, 40]);
}

#[tokio::test]
async fn a_name_that_nobody_serves_is_refused_with_an_alert_that_says_so() {
    let sidecar = TestSidecar::start().await;
    let refused = enter(&sidecar, "elsewhere.example", &[]).await.unwrap_err();
    let cause = refused.get_ref().unwrap().downcast_ref::<rustls::Error>();
    let unrecognised = rustls::AlertDescription::UnrecognisedName;
    assert_eq!(cause, Some(&rustls::Error::AlertReceived(unrecognised)));
}
