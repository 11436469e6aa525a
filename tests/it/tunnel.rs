//! Tunnels: copied blindly, once the name was checked.

use std::sync::Arc;

use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::{TlsAcceptor, TlsConnector};

use crate::support::sidecar::{Setup, TestSidecar};
use crate::support::wire::basic;

const HOST: &str = "tunnel.example";

/// A TLS origin with a certificate of its own for [`HOST`], and the client configuration that trusts it.
struct Origin {
    listener: TcpListener,
    tls: TlsAcceptor,
    client: TlsConnector,
}

impl Origin {
    async fn start() -> Self {
        crate::support::crypto();
        let made =
            rcgen::generate_simple_self_signed([HOST.to_owned(), "elsewhere.example".to_owned()])
                .unwrap();
        let certificate = made.cert.der().clone();
        let key =
            rustls::pki_types::PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
        let server = rustls::ServerConfig::builder()
            .with_no_client_auth()
            .with_single_cert(vec![certificate.clone()], key)
            .unwrap();
        let mut roots = rustls::RootCertStore::empty();
        roots.add(certificate).unwrap();
        let client = rustls::ClientConfig::builder()
            .with_root_certificates(roots)
            .with_no_client_auth();
        Self {
            listener: TcpListener::bind("127.0.0.1:0").await.unwrap(),
            tls: TlsAcceptor::from(Arc::new(server)),
            client: TlsConnector::from(Arc::new(client)),
        }
    }

    /// A sidecar whose tunnel leads here.
    async fn sidecar(&self) -> TestSidecar {
        TestSidecar::with(Setup {
            connect_to: vec![(
                format!("{HOST}:443"),
                self.listener.local_addr().unwrap().to_string(),
            )],
            ..Setup::default()
        })
        .await
    }

    /// Serves one connection: reads five bytes, answers with as many and closes.
    async fn echo_once(&self) {
        let (stream, _) = self.listener.accept().await.unwrap();
        let mut stream = self.tls.accept(stream).await.unwrap();
        let mut five = [0; 5];
        stream.read_exact(&mut five).await.unwrap();
        stream.write_all(&five).await.unwrap();
        stream.shutdown().await.unwrap();
    }

    /// Speaks through an open connection; what came back.
    async fn speak(&self, stream: TcpStream) -> Vec<u8> {
        let name = rustls::pki_types::ServerName::try_from(HOST).unwrap();
        let mut stream = self.client.connect(name, stream).await.unwrap();
        stream.write_all(b"hello").await.unwrap();
        let mut back = Vec::new();
        stream.read_to_end(&mut back).await.unwrap();
        stream.shutdown().await.unwrap();
        back
    }

    /// Asserts that nobody has connected.
    async fn is_alone(&self) {
        let accepted = tokio::time::timeout(
            std::time::Duration::from_millis(100),
            self.listener.accept(),
        )
        .await;
        assert!(accepted.is_err(), "somebody was dialled");
    }
}

async fn record(sidecar: &TestSidecar) -> Value {
    sidecar.record().await
}

#[tokio::test]
async fn a_tunnel_carries_tls_untouched_and_is_recorded_once_with_its_bytes() {
    let origin = Origin::start().await;
    let sidecar = origin.sidecar().await;
    let (answer, wire) = sidecar.connect(&format!("{HOST}:443"), &[]).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    let ((), back) = tokio::join!(origin.echo_once(), origin.speak(wire.io));
    assert_eq!(back, b"hello");
    let record = record(&sidecar).await;
    assert_eq!(
        (&record["outcome"], &record["host"], &record["method"]),
        (&"tunnelled".into(), &HOST.into(), &"CONNECT".into())
    );
    let bytes = |key: &str| record[key].as_u64().unwrap();
    // a ClientHello alone has some two hundred, a certificate some three hundred
    assert!(
        bytes("bytes_in") > 200 && bytes("bytes_out") > 300,
        "{record}"
    );
}

#[tokio::test]
async fn a_tunnel_names_the_tenant_of_its_login() {
    let origin = Origin::start().await;
    let sidecar = origin.sidecar().await;
    sidecar.put_proxy_key("beta", "a-key-of-beta").await;
    let login = basic("beta", "a-key-of-beta");
    let (_, wire) = sidecar
        .connect(&format!("{HOST}:443"), &[("proxy-authorization", &login)])
        .await;
    tokio::join!(origin.echo_once(), origin.speak(wire.io));
    assert_eq!(record(&sidecar).await["tenant"], "beta");
}

#[tokio::test]
async fn a_server_name_other_than_the_connect_host_sends_no_byte() {
    let origin = Origin::start().await;
    let sidecar = origin.sidecar().await;
    let (_, wire) = sidecar.connect(&format!("{HOST}:443"), &[]).await;
    let name = rustls::pki_types::ServerName::try_from("elsewhere.example").unwrap();
    assert!(origin.client.connect(name, wire.io).await.is_err());
    origin.is_alone().await;
    let record = record(&sidecar).await;
    assert_eq!(
        (&record["outcome"], &record["reason"]),
        (&"refused".into(), &"name_mismatch".into())
    );
}

#[tokio::test]
async fn what_is_no_tls_sends_no_byte() {
    let origin = Origin::start().await;
    let sidecar = origin.sidecar().await;
    let (_, mut wire) = sidecar.connect(&format!("{HOST}:443"), &[]).await;
    wire.send("GET / HTTP/1.1\r\nHost: tunnel.example\r\n\r\n")
        .await;
    assert_eq!(wire.rest().await, b"");
    origin.is_alone().await;
    assert_eq!(record(&sidecar).await["reason"], "bad_request");
}

#[tokio::test]
async fn a_tunnel_to_an_inner_address_is_refused_at_connect() {
    let base = Setup::default();
    let sidecar = TestSidecar::with(Setup {
        egress: format!(
            "{}  - {{ host: localhost, mode: tunnel }}\n  - {{ host: 10.0.0.1, mode: tunnel }}\n",
            base.egress
        ),
        ..base
    })
    .await;
    for target in ["localhost:443", "10.0.0.1:443"] {
        let (answer, _) = sidecar.connect(target, &[]).await;
        assert_eq!(
            answer.refused(),
            (403, "address_denied".to_owned()),
            "{target}"
        );
    }
}

#[tokio::test]
async fn a_tunnel_to_nobody_is_closed_and_recorded_as_failed() {
    let sidecar = TestSidecar::with(Setup {
        connect_to: vec![(
            format!("{HOST}:443"),
            format!("127.0.0.1:{}", crate::support::free_port()),
        )],
        ..Setup::default()
    })
    .await;
    let (answer, wire) = sidecar.connect(&format!("{HOST}:443"), &[]).await;
    assert_eq!(answer.status, 200);
    assert!(sidecar.handshake(wire.io, HOST, &[]).await.is_err());
    let record = record(&sidecar).await;
    assert_eq!(
        (&record["outcome"], &record["reason"]),
        (&"failed".into(), &"upstream_unreachable".into())
    );
}

/// Takes the tunnel's rule away.
fn forbid(sidecar: &TestSidecar) {
    let rule = "  - { host: tunnel.example, mode: tunnel }\n";
    let text = sidecar.configuration().replace(rule, "");
    assert_ne!(text, sidecar.configuration());
    let config = spapi_sidecar::config::Config::parse("proxy.yaml", &text, &|_| None).unwrap();
    sidecar.app.reload(config).unwrap();
}

#[tokio::test]
async fn a_rule_taken_away_closes_its_open_tunnels() {
    let origin = Origin::start().await;
    let sidecar = origin.sidecar().await;
    let (_, mut wire) = sidecar.connect(&format!("{HOST}:443"), &[]).await;
    wire.send(hello(&sidecar)).await;
    let (mut stream, _) = origin.listener.accept().await.unwrap();
    stream.write_all(b"x").await.unwrap();
    assert_eq!(wire.io.read_u8().await.unwrap(), b'x');
    forbid(&sidecar);
    assert_eq!(wire.rest().await, b"");
    let record = record(&sidecar).await;
    assert_eq!(
        (&record["outcome"], &record["reason"]),
        (&"refused".into(), &"egress_denied".into())
    );
}

#[tokio::test]
async fn a_rule_taken_away_between_connect_and_the_hello_sends_no_byte() {
    let origin = Origin::start().await;
    let sidecar = origin.sidecar().await;
    let (_, mut wire) = sidecar.connect(&format!("{HOST}:443"), &[]).await;
    forbid(&sidecar);
    wire.send(hello(&sidecar)).await;
    assert_eq!(wire.rest().await, b"");
    origin.is_alone().await;
    assert_eq!(record(&sidecar).await["reason"], "egress_denied");
}

/// The bytes of a ClientHello for [`HOST`].
fn hello(sidecar: &TestSidecar) -> Vec<u8> {
    let name = rustls::pki_types::ServerName::try_from(HOST).unwrap();
    let mut client = rustls::ClientConnection::new(Arc::new(sidecar.tls(&[])), name).unwrap();
    let mut bytes = Vec::new();
    client.write_tls(&mut bytes).unwrap();
    bytes
}

#[tokio::test]
async fn the_bytes_of_a_tunnel_that_breaks_off_are_counted() {
    let origin = Origin::start().await;
    let sidecar = origin.sidecar().await;
    let (_, mut wire) = sidecar.connect(&format!("{HOST}:443"), &[]).await;
    let hello = hello(&sidecar);
    wire.send(&hello).await;
    let (mut stream, _) = origin.listener.accept().await.unwrap();
    let mut came = vec![0; hello.len()];
    stream.read_exact(&mut came).await.unwrap();
    assert_eq!(came, hello, "a ClientHello was changed");
    stream.write_all(&[7; 1000]).await.unwrap();
    let mut back = [0; 1000];
    wire.io.read_exact(&mut back).await.unwrap();
    wire.send([8; 100]).await;
    stream.read_exact(&mut [0; 100]).await.unwrap();
    wire.io.set_zero_linger().unwrap();
    drop(wire);
    let record = record(&sidecar).await;
    assert_eq!(
        (&record["bytes_in"], &record["bytes_out"]),
        (&(hello.len() + 100).into(), &1000.into()),
        "{record}"
    );
}
