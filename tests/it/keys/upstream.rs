//! `upstream`: whom we believe, and what we show.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rcgen::{CertificateParams, KeyPair};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig, SupportedProtocolVersion};
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use x509_parser::prelude::{FromDer as _, X509Certificate};

use super::ORDERS;
use crate::support::child::ChildSidecar;
use crate::support::peer::read_head;
use crate::support::sidecar::{NA, Setup, Stage, TestSidecar};

static TLS12_ALONE: &[&SupportedProtocolVersion] = &[&rustls::version::TLS12];

/// The pin of the key of the certificate in a PEM text.
fn pin_of(pem: &str) -> String {
    let der = CertificateDer::from_pem_slice(pem.as_bytes()).unwrap();
    let (_, parsed) = X509Certificate::from_der(&der).unwrap();
    let hash = digest(&SHA256, parsed.tbs_certificate.subject_pki.raw);
    format!("sha256/{}", STANDARD.encode(hash))
}

/// An origin with TLS settings of its own, which answers every request and counts them.
struct Origin {
    address: SocketAddr,
    pem: String,
    answered: Arc<AtomicUsize>,
    _tasks: JoinSet<()>,
}

impl Origin {
    async fn start(
        versions: &'static [&'static SupportedProtocolVersion],
        clients: Option<CertificateDer<'static>>,
    ) -> Self {
        crate::support::crypto();
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec![NA.to_owned()]).unwrap();
        let certificate = params.self_signed(&key).unwrap();
        let pem = certificate.pem();
        let builder = ServerConfig::builder_with_protocol_versions(versions);
        let builder = match clients {
            None => builder.with_no_client_auth(),
            Some(root) => {
                let mut roots = RootCertStore::empty();
                roots.add(root).unwrap();
                let verifier = WebPkiClientVerifier::builder(roots.into()).build().unwrap();
                builder.with_client_cert_verifier(verifier)
            }
        };
        let key = PrivatePkcs8KeyDer::from(key.serialize_der());
        let config = builder
            .with_single_cert(vec![certificate.into()], PrivateKeyDer::from(key))
            .unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let answered = Arc::new(AtomicUsize::new(0));
        let mut tasks = JoinSet::new();
        tasks.spawn(answer_all(
            listener,
            TlsAcceptor::from(Arc::new(config)),
            Arc::clone(&answered),
        ));
        Self {
            address,
            pem,
            answered,
            _tasks: tasks,
        }
    }

    fn answered(&self) -> usize {
        self.answered.load(Ordering::SeqCst)
    }

    fn setup(&self, upstream: &str) -> Setup {
        Setup {
            connect_to: vec![(format!("{NA}:443"), self.address.to_string())],
            trusted: self.pem.clone(),
            upstream: format!("  {upstream}"),
            ..Setup::default()
        }
    }
}

async fn answer_all(listener: TcpListener, acceptor: TlsAcceptor, answered: Arc<AtomicUsize>) {
    let mut connections = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        let (acceptor, answered) = (acceptor.clone(), Arc::clone(&answered));
        connections.spawn(async move {
            let Ok(mut stream) = acceptor.accept(stream).await else {
                return;
            };
            while read_head(&mut stream).await.is_ok() {
                answered.fetch_add(1, Ordering::SeqCst);
                let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}";
                if stream.write_all(answer).await.is_err() {
                    return;
                }
            }
        });
    }
}

#[tokio::test]
async fn a_host_with_pins_is_spoken_to_only_where_one_is_in_its_chain() {
    let origin = Origin::start(rustls::ALL_VERSIONS, None).await;
    let (right, wrong) = (
        pin_of(&origin.pem),
        format!("sha256/{}", STANDARD.encode([7; 32])),
    );
    for (pins, served) in [
        (format!("{{ {NA}: [\"{right}\"] }}"), true),
        (format!("{{ {NA}: [\"{wrong}\", \"{right}\"] }}"), true),
        (format!("{{ {NA}: [\"{wrong}\"] }}"), false),
        (format!("{{ other.example: [\"{wrong}\"] }}"), true),
    ] {
        let before = origin.answered();
        let sidecar = TestSidecar::with(origin.setup(&format!("pins: {pins}"))).await;
        let answer = sidecar.call(ORDERS, &[]).await;
        if served {
            assert_eq!(answer.status, 200, "{pins}");
        } else {
            assert_eq!(answer.refused(), (502, "upstream_tls".to_owned()), "{pins}");
            assert_eq!(origin.answered(), before, "something was sent");
        }
    }
}

#[tokio::test]
async fn an_origin_that_speaks_less_than_min_tls_is_not_spoken_to() {
    let old = Origin::start(TLS12_ALONE, None).await;
    for (least, served) in [("1.2", true), ("1.3", false)] {
        let sidecar = TestSidecar::with(old.setup(&format!("min_tls: \"{least}\""))).await;
        let answer = sidecar.call(ORDERS, &[]).await;
        if served {
            assert_eq!(answer.status, 200);
        } else {
            assert_eq!(answer.refused(), (502, "upstream_tls".to_owned()));
        }
    }
    assert_eq!(old.answered(), 1);
}

#[tokio::test]
async fn the_client_certificate_is_shown_to_an_origin_that_wants_one() {
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new(vec!["sidecar.example".to_owned()]).unwrap();
    let certificate = params.self_signed(&key).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let (cert_file, key_file) = (folder.path().join("c.pem"), folder.path().join("k.pem"));
    std::fs::write(&cert_file, certificate.pem()).unwrap();
    std::fs::write(&key_file, key.serialize_pem()).unwrap();
    let origin = Origin::start(rustls::ALL_VERSIONS, Some(certificate.into())).await;
    let pair = format!(
        "client_cert: {{ cert: {}, key: {} }}",
        cert_file.display(),
        key_file.display()
    );
    let sidecar = TestSidecar::with(origin.setup(&pair)).await;
    assert_eq!(sidecar.call(ORDERS, &[]).await.status, 200);
    assert_eq!(origin.answered(), 1);

    let sidecar = TestSidecar::with(origin.setup("client_cert: null")).await;
    assert_eq!(sidecar.call(ORDERS, &[]).await.status, 502);
    assert_eq!(origin.answered(), 1);
}

#[tokio::test]
async fn trust_in_the_system_is_the_systems_roots_and_no_file_of_ours() {
    for (system, served) in [("amazon.pem", true), ("other.pem", false)] {
        let stage = Stage::set(&Setup {
            gets_ready: false,
            ..Setup::default()
        })
        .await;
        let folder = stage.folder.path().to_owned();
        let file = format!("trust: {{ ca_file: {}/amazon.pem }}", folder.display());
        let yaml = stage.yaml.replace(&file, "trust: system");
        assert_ne!(yaml, stage.yaml);
        std::fs::write(folder.join("proxy.yaml"), yaml).unwrap();
        let stranger = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec!["stranger.example".to_owned()]).unwrap();
        let stranger = params.self_signed(&stranger).unwrap().pem();
        std::fs::write(folder.join("other.pem"), stranger).unwrap();
        // it takes the place of the system's roots for whoever reads them
        let roots = folder.join(system).display().to_string();
        let variables = [("SSL_CERT_FILE", &*roots)];
        let sidecar = ChildSidecar::on(stage, &variables).await;
        sidecar.gets_ready().await;
        let answer = sidecar.call(ORDERS, &[]).await;
        if served {
            assert_eq!(answer.status, 200);
        } else {
            // LWA is not believed either, so that there is no token
            assert_eq!(answer.refused(), (503, "token_unavailable".to_owned()));
            assert_eq!(sidecar.stage.sandbox.received(), []);
        }
    }
}
