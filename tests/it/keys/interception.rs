//! `interception`: what apps trust, and for how long.

use std::os::unix::fs::PermissionsExt as _;
use std::time::Duration;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use x509_parser::prelude::{FromDer as _, X509Certificate};

use super::ORDERS;
use crate::support::child::ChildSidecar;
use crate::support::sidecar::{NA, Setup, TestSidecar};
use crate::support::wire::{Wire, dial, trusting};

/// The life of a certificate in seconds.
fn life(certificate: &CertificateDer<'_>) -> u64 {
    let (_, parsed) = X509Certificate::from_der(certificate).unwrap();
    let validity = parsed.validity();
    u64::try_from(validity.not_after.timestamp() - validity.not_before.timestamp()).unwrap()
}

/// The certificates that an intercepted connection shows, the leaf first.
async fn shown(sidecar: &TestSidecar) -> Vec<CertificateDer<'static>> {
    let inside = sidecar.inside(NA).await;
    let (_, tls) = inside.io.get_ref();
    let chain = tls.peer_certificates().unwrap();
    chain.iter().map(|one| one.clone().into_owned()).collect()
}

fn is_about(seconds: u64, hours: u64) -> bool {
    // certificates are dated back a little, for clocks that run behind
    (hours * 3600..=hours * 3600 + 600).contains(&seconds)
}

#[tokio::test]
async fn root_and_intermediate_live_as_long_as_valid_for_and_a_leaf_as_leaf_valid_for() {
    let sidecar = TestSidecar::with(Setup {
        ca: "valid_for: 50h".to_owned(),
        interception: "  leaf_valid_for: 3h".to_owned(),
        ..Setup::default()
    })
    .await;
    let chain = shown(&sidecar).await;
    assert!(is_about(life(&chain[0]), 3), "{}", life(&chain[0]));
    assert!(is_about(life(&chain[1]), 50), "{}", life(&chain[1]));
    let root = CertificateDer::from_pem_file(sidecar.ca_file()).unwrap();
    assert!(is_about(life(&root), 50), "{}", life(&root));
}

#[tokio::test]
async fn the_bundle_holds_the_published_root_besides_the_systems() {
    let sidecar = TestSidecar::start().await;
    let root = CertificateDer::from_pem_file(sidecar.ca_file()).unwrap();
    let bundle = sidecar.folder.path().join("bundle.pem");
    let all: Vec<_> = CertificateDer::pem_file_iter(&bundle)
        .unwrap()
        .map(Result::unwrap)
        .collect();
    assert!(all.contains(&root));
    assert!(all.len() > 1, "no root of the system's");
}

/// One call over an intercepted connection, by a client that trusts what stood in a file.
async fn call_trusting(sidecar: &ChildSidecar, tls: rustls::ClientConfig) -> std::io::Result<u16> {
    let mut wire = dial(sidecar.proxy()).await;
    let connect = format!("CONNECT {NA}:443 HTTP/1.1\r\nHost: {NA}:443\r\n\r\n");
    assert_eq!(wire.ask(connect).await.status, 200);
    let name = NA.try_into().unwrap();
    let connector = tokio_rustls::TlsConnector::from(std::sync::Arc::new(tls));
    let stream = tokio::time::timeout(Duration::from_secs(10), connector.connect(name, wire.io));
    let mut inside = Wire::new(stream.await.unwrap()?);
    Ok(inside.get(NA, ORDERS, &[]).await.status)
}

#[tokio::test]
async fn a_ca_in_a_file_is_the_same_after_a_restart_and_one_in_memory_is_new() {
    for (ca, same) in [
        ("mode: file, key_path: DIR/ca.key", true),
        ("mode: ephemeral", false),
    ] {
        let setup = Setup {
            ca: ca.to_owned(),
            ..Setup::default()
        };
        let sidecar = ChildSidecar::with(setup, &[]).await;
        let before = std::fs::read(sidecar.ca_file()).unwrap();
        let trusts_the_first = trusting(sidecar.ca_file(), &["http/1.1"]);
        assert_eq!(
            call_trusting(&sidecar, trusts_the_first.clone())
                .await
                .unwrap(),
            200
        );
        if same {
            let mode = std::fs::metadata(sidecar.stage.folder.path().join("ca.key")).unwrap();
            assert_eq!(mode.permissions().mode() & 0o777, 0o600);
        }
        sidecar.terminate();
        let (stage, status, ..) = sidecar.ended().await;
        assert_eq!(status.code(), Some(0));

        let sidecar = ChildSidecar::on(stage, &[]).await;
        sidecar.gets_ready().await;
        assert_eq!(
            std::fs::read(sidecar.ca_file()).unwrap() == before,
            same,
            "{ca}"
        );
        let again = call_trusting(&sidecar, trusts_the_first).await;
        assert_eq!(again.ok(), same.then_some(200), "{ca}");
    }
}
