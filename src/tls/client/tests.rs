use std::collections::BTreeMap;
use std::time::Duration;

use rcgen::BasicConstraints;
use rcgen::CertificateParams;
use rcgen::IsCa;
use rcgen::Issuer;
use rcgen::KeyUsagePurpose;
use rcgen::PublicKeyData as _;
use rustls::HandshakeKind;
use rustls::ServerConfig;
use rustls::pki_types::PrivatePkcs8KeyDer;
use rustls::server::WebPkiClientVerifier;

use super::super::pin::Pin;
use super::super::pin::PinMismatch;
use super::super::test_support::handshake;
use super::super::test_support::host;
use super::*;
use crate::config::Resolver;

const HOST: &str = "origin.example";

struct Signer {
    certificate: rcgen::Certificate,
    issuer: Issuer<'static, rcgen::KeyPair>,
}

impl Signer {
    fn params(name: &str) -> CertificateParams {
        let mut params = CertificateParams::default();
        params.distinguished_name = rcgen::DistinguishedName::new();
        params
            .distinguished_name
            .push(rcgen::DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        params
    }

    fn root(name: &str) -> Self {
        let (params, key) = (Self::params(name), rcgen::KeyPair::generate().unwrap());
        Self {
            certificate: params.self_signed(&key).unwrap(),
            issuer: Issuer::new(params, key),
        }
    }

    fn intermediate(&self, name: &str) -> Self {
        let (params, key) = (Self::params(name), rcgen::KeyPair::generate().unwrap());
        Self {
            certificate: params.signed_by(&key, &self.issuer).unwrap(),
            issuer: Issuer::new(params, key),
        }
    }

    /// The same name and key, signed by somebody else.
    fn cross_signed_by(&self, other: &Self, name: &str) -> rcgen::Certificate {
        Self::params(name)
            .signed_by(self.issuer.key(), &other.issuer)
            .unwrap()
    }

    fn leaf(&self, name: &str) -> (CertificateDer<'static>, rcgen::KeyPair) {
        let key = rcgen::KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        (certificate.der().clone(), key)
    }

    fn pin(&self) -> Pin {
        pin(self.issuer.key())
    }

    fn der(&self) -> CertificateDer<'static> {
        self.certificate.der().clone()
    }
}

fn pin(key: &rcgen::KeyPair) -> Pin {
    let spki = key.subject_public_key_info();
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &spki);
    digest.as_ref().try_into().unwrap()
}

fn server(chain: Vec<CertificateDer<'static>>, key: &rcgen::KeyPair) -> Arc<ServerConfig> {
    let key = PrivatePkcs8KeyDer::from(key.serialize_der()).into();
    let mut config = ServerConfig::builder_with_provider(super::super::upstream_provider())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .unwrap();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Arc::new(config)
}

fn upstream(folder: &Path, root: &Signer, pins: &[Pin]) -> Upstream {
    let ca_file = folder.join("ca.pem");
    fs::write(&ca_file, root.certificate.pem()).unwrap();
    let mut by_host = BTreeMap::new();
    if !pins.is_empty() {
        by_host.insert(host(HOST), pins.to_vec());
    }
    Upstream {
        trust: Trust::File(ca_file),
        min_tls: MinTls::Tls12,
        pins: by_host,
        client_cert: None,
        connect_to: BTreeMap::new(),
        resolver: Resolver::System,
        connect_timeout: Duration::from_secs(5),
        response_timeout: Duration::from_secs(60),
        proxy: None,
    }
}

fn connect(
    upstream: &Upstream,
    server: &Arc<ServerConfig>,
) -> Result<Option<Vec<u8>>, rustls::Error> {
    let tls = UpstreamTls::new(upstream).unwrap();
    let (client, _) = handshake(&tls.config(true), server, HOST)?;
    Ok(client.alpn_protocol().map(<[u8]>::to_vec))
}

fn is_pin_mismatch(result: &Result<Option<Vec<u8>>, rustls::Error>) -> bool {
    match result {
        Err(rustls::Error::InvalidCertificate(rustls::CertificateError::Other(other))) => {
            other.0.downcast_ref() == Some(&PinMismatch(host(HOST)))
        }
        Ok(_) | Err(_) => false,
    }
}

#[test]
fn only_the_named_ca_file_is_believed() {
    let folder = tempfile::tempdir().unwrap();
    let (root, other) = (Signer::root("root"), Signer::root("other"));
    let (leaf, key) = root.leaf(HOST);
    let server = server(vec![leaf], &key);
    let trusting = upstream(folder.path(), &root, &[]);
    assert_eq!(connect(&trusting, &server), Ok(Some(b"h2".to_vec())));
    let distrusting = upstream(folder.path(), &other, &[]);
    assert!(connect(&distrusting, &server).is_err());
}

#[test]
fn http_2_is_offered_only_where_it_is_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    let tls = UpstreamTls::new(&upstream(folder.path(), &Signer::root("root"), &[])).unwrap();
    assert_eq!(
        tls.config(true).alpn_protocols,
        [b"h2".to_vec(), b"http/1.1".to_vec()]
    );
    assert_eq!(tls.config(false).alpn_protocols, [b"http/1.1".to_vec()]);
}

#[test]
fn a_pin_on_any_certificate_of_the_verified_path_is_enough() {
    let folder = tempfile::tempdir().unwrap();
    let root = Signer::root("root");
    let intermediate = root.intermediate("intermediate");
    let (leaf, key) = intermediate.leaf(HOST);
    let server = server(vec![leaf, intermediate.der()], &key);
    for (what, pinned) in [
        ("leaf", pin(&key)),
        ("intermediate", intermediate.pin()),
        ("root", root.pin()),
    ] {
        let upstream = upstream(folder.path(), &root, &[[7; 32], pinned]);
        assert!(connect(&upstream, &server).is_ok(), "{what}");
    }
}

#[test]
fn a_chain_without_a_pinned_key_is_refused_and_the_error_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let root = Signer::root("root");
    let (leaf, key) = root.leaf(HOST);
    let server = server(vec![leaf], &key);
    let result = connect(&upstream(folder.path(), &root, &[[7; 32]]), &server);
    assert!(is_pin_mismatch(&result), "{result:?}");
}

#[test]
fn a_pinned_certificate_that_is_sent_but_not_used_does_not_count() {
    let folder = tempfile::tempdir().unwrap();
    let root = Signer::root("root");
    let (used, pinned) = (root.intermediate("used"), root.intermediate("pinned"));
    let (leaf, key) = used.leaf(HOST);
    let upstream = upstream(folder.path(), &root, &[pinned.pin()]);
    for chain in [
        vec![leaf.clone(), used.der(), pinned.der()],
        vec![leaf.clone(), pinned.der(), used.der()],
    ] {
        let result = connect(&upstream, &server(chain, &key));
        assert!(is_pin_mismatch(&result), "{result:?}");
    }
}

#[test]
fn of_two_paths_the_one_that_holds_the_pin_is_found() {
    let folder = tempfile::tempdir().unwrap();
    let root = Signer::root("root");
    let (one, two) = (root.intermediate("one"), root.intermediate("two"));
    let shared = one.intermediate("shared");
    let by_two = shared.cross_signed_by(&two, "shared");
    let (leaf, key) = shared.leaf(HOST);
    let chain = vec![
        leaf,
        shared.der(),
        one.der(),
        by_two.der().clone(),
        two.der(),
    ];
    let server = server(chain, &key);
    for pinned in [one.pin(), two.pin()] {
        assert!(connect(&upstream(folder.path(), &root, &[pinned]), &server).is_ok());
    }
}

#[test]
fn a_pin_does_not_make_up_for_a_chain_that_does_not_verify() {
    let folder = tempfile::tempdir().unwrap();
    let (root, other) = (Signer::root("root"), Signer::root("other"));
    let (foreign, foreign_key) = other.leaf(HOST);
    let pinned = upstream(folder.path(), &root, &[pin(&foreign_key)]);
    let result = connect(&pinned, &server(vec![foreign], &foreign_key));
    assert!(result.is_err() && !is_pin_mismatch(&result), "{result:?}");

    let (misnamed, misnamed_key) = root.leaf("other.example");
    let pinned = upstream(folder.path(), &root, &[pin(&misnamed_key)]);
    let result = connect(&pinned, &server(vec![misnamed], &misnamed_key));
    assert!(result.is_err() && !is_pin_mismatch(&result), "{result:?}");
}

#[test]
fn a_host_without_pins_is_not_held_to_anothers() {
    let folder = tempfile::tempdir().unwrap();
    let root = Signer::root("root");
    let (leaf, key) = root.leaf("elsewhere.example");
    let tls = UpstreamTls::new(&upstream(folder.path(), &root, &[[7; 32]])).unwrap();
    let server = server(vec![leaf], &key);
    assert!(handshake(&tls.config(true), &server, "elsewhere.example").is_ok());
}

#[test]
fn a_second_connection_resumes_even_where_pins_hold() {
    let folder = tempfile::tempdir().unwrap();
    let root = Signer::root("root");
    let (leaf, key) = root.leaf(HOST);
    let server = server(vec![leaf], &key);
    let tls = UpstreamTls::new(&upstream(folder.path(), &root, &[root.pin()])).unwrap();
    for (http2, want) in [(true, HandshakeKind::Full), (false, HandshakeKind::Resumed)] {
        let (client, _) = handshake(&tls.config(http2), &server, HOST).unwrap();
        assert_eq!(client.handshake_kind(), Some(want));
    }
}

#[test]
fn a_minimum_of_1_3_refuses_an_origin_that_speaks_1_2_alone() {
    let folder = tempfile::tempdir().unwrap();
    let root = Signer::root("root");
    let (leaf, key) = root.leaf(HOST);
    let old = ServerConfig::builder_with_provider(super::super::upstream_provider())
        .with_protocol_versions(&[&TLS12])
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(
            vec![leaf],
            PrivatePkcs8KeyDer::from(key.serialize_der()).into(),
        )
        .unwrap();
    let old = Arc::new(old);
    let mut upstream = upstream(folder.path(), &root, &[]);
    assert_eq!(connect(&upstream, &old), Ok(None));
    upstream.min_tls = MinTls::Tls13;
    assert!(connect(&upstream, &old).is_err());
}

#[test]
fn the_client_certificate_is_shown_to_an_origin_that_asks() {
    let folder = tempfile::tempdir().unwrap();
    let root = Signer::root("root");
    let (leaf, key) = root.leaf(HOST);
    let mut roots = RootCertStore::empty();
    roots.add(root.der()).unwrap();
    let provider = super::super::upstream_provider();
    let verifier =
        WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider))
            .build()
            .unwrap();
    let asking = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_client_cert_verifier(verifier)
        .with_single_cert(
            vec![leaf],
            PrivatePkcs8KeyDer::from(key.serialize_der()).into(),
        )
        .unwrap();
    let asking = Arc::new(asking);
    let mut upstream = upstream(folder.path(), &root, &[]);
    assert!(connect(&upstream, &asking).is_err());

    let (certificate, key) = root.leaf("client.example");
    let pair = KeyPair {
        cert: folder.path().join("client.pem"),
        key: folder.path().join("client.key"),
    };
    fs::write(&pair.cert, super::super::truststore::pem(&certificate)).unwrap();
    fs::write(&pair.key, key.serialize_pem()).unwrap();
    upstream.client_cert = Some(pair);
    let tls = UpstreamTls::new(&upstream).unwrap();
    let (_, server) = handshake(&tls.config(true), &asking, HOST).unwrap();
    assert_eq!(server.peer_certificates(), Some(&[certificate][..]));
}

#[test]
fn a_file_that_does_not_hold_what_it_should_is_named_with_its_setting() {
    let folder = tempfile::tempdir().unwrap();
    let root = Signer::root("root");
    let good = upstream(folder.path(), &root, &[]);
    let empty = folder.path().join("empty.pem");
    fs::write(&empty, "").unwrap();
    let missing = folder.path().join("missing.pem");
    let good_pem = folder.path().join("ca.pem");
    let pair = |cert: &Path, key: &Path| {
        Some(KeyPair {
            cert: cert.to_owned(),
            key: key.to_owned(),
        })
    };
    for (trust, client_cert, setting, file) in [
        (&missing, None, "upstream.trust.ca_file", "missing.pem"),
        (&empty, None, "upstream.trust.ca_file", "empty.pem"),
        (
            &good_pem,
            pair(&missing, &empty),
            "upstream.client_cert.cert",
            "missing.pem",
        ),
        (
            &good_pem,
            pair(&good_pem, &empty),
            "upstream.client_cert.key",
            "empty.pem",
        ),
    ] {
        let bad = Upstream {
            trust: Trust::File(trust.clone()),
            client_cert,
            ..good.clone()
        };
        let error = UpstreamTls::new(&bad).unwrap_err().to_string();
        assert!(error.contains(setting) && error.contains(file), "{error}");
    }
}
