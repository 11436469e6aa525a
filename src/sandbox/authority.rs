//! The sandbox's own certificate authority and its leaves.
//!
//! Job: one throw-away root a start, and a leaf for whatever name a `ClientHello` asks for.
//! Invariants: keys live in memory only; nothing here is shared with the interception CA, so that a proxy that mixed the
//! two up would fail verification.
//! Failure mode: a name that no certificate can hold gets the default leaf, and the client's verification fails.

use std::collections::HashMap;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose, SanType,
};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

use super::world::lock;

const VALID_FOR: Duration = Duration::from_hours(30 * 24);
const SKEW: Duration = Duration::from_hours(1);
const LEAVES_KEPT: usize = 1024;

/// A root key, its certificate, and the leaves made so far.
pub(super) struct Authority {
    pem: String,
    issuer: Issuer<'static, KeyPair>,
    leaf_key: KeyPair,
    signing_key: Arc<dyn rustls::sign::SigningKey>,
    not_before: SystemTime,
    default: Arc<CertifiedKey>,
    leaves: Mutex<HashMap<String, Arc<CertifiedKey>>>,
}

/// Making a certificate failed.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    /// The certificate could not be built or signed.
    #[error("a certificate could not be made: {0}")]
    Certificate(#[from] rcgen::Error),
    /// rustls does not take the key.
    #[error("the TLS library refused a key: {0}")]
    Key(#[from] rustls::Error),
}

impl Authority {
    /// Makes the root, the key that all leaves share, and the default leaf for `hosts`, `localhost` and 127.0.0.1.
    pub(super) fn new(hosts: &[&str], now: SystemTime) -> Result<Self, CertificateError> {
        let not_before = now - SKEW;
        let root_key = KeyPair::generate()?;
        let mut root = CertificateParams::default();
        root.distinguished_name = common_name("spapi-sidecar sandbox CA");
        root.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        root.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        root.not_before = not_before.into();
        root.not_after = (now + VALID_FOR).into();
        let pem = root.self_signed(&root_key)?.pem();
        let issuer = Issuer::new(root, root_key);

        let leaf_key = KeyPair::generate()?;
        let der = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(leaf_key.serialize_der()));
        let signing_key = rustls::crypto::aws_lc_rs::sign::any_supported_type(&der)?;
        let mut names: Vec<String> = hosts.iter().map(|host| (*host).to_owned()).collect();
        names.push("localhost".to_owned());
        let default = leaf(&names, true, &issuer, &leaf_key, &signing_key, not_before)?;
        Ok(Self {
            pem,
            issuer,
            leaf_key,
            signing_key,
            not_before,
            default: Arc::new(default),
            leaves: Mutex::new(HashMap::new()),
        })
    }

    pub(super) fn pem(&self) -> &str {
        &self.pem
    }

    fn leaf_for(&self, name: &str) -> Result<Arc<CertifiedKey>, CertificateError> {
        if let Some(known) = lock(&self.leaves).get(name) {
            return Ok(Arc::clone(known));
        }
        let made = Arc::new(leaf(
            &[name.to_owned()],
            name == "localhost",
            &self.issuer,
            &self.leaf_key,
            &self.signing_key,
            self.not_before,
        )?);
        let mut leaves = lock(&self.leaves);
        if leaves.len() >= LEAVES_KEPT {
            leaves.clear();
        }
        leaves.insert(name.to_owned(), Arc::clone(&made));
        Ok(made)
    }
}

fn leaf(
    names: &[String],
    loopback: bool,
    issuer: &Issuer<'static, KeyPair>,
    key: &KeyPair,
    signing_key: &Arc<dyn rustls::sign::SigningKey>,
    not_before: SystemTime,
) -> Result<CertifiedKey, CertificateError> {
    let mut params = CertificateParams::new(names)?;
    if loopback {
        let address = IpAddr::V4(Ipv4Addr::LOCALHOST);
        params.subject_alt_names.push(SanType::IpAddress(address));
    }
    params.distinguished_name = common_name(names.first().map_or("sandbox", String::as_str));
    params.use_authority_key_identifier_extension = true;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params.not_before = not_before.into();
    params.not_after = (not_before + VALID_FOR).into();
    let certificate = params.signed_by(key, issuer)?;
    Ok(CertifiedKey::new(
        vec![certificate.der().clone()],
        Arc::clone(signing_key),
    ))
}

fn common_name(text: &str) -> DistinguishedName {
    let mut name = DistinguishedName::new();
    // X.520 limits a common name to 64 characters; verification goes by the alternative names alone
    name.push(
        DnType::CommonName,
        text.chars().take(64).collect::<String>(),
    );
    name
}

impl ResolvesServerCert for Authority {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let Some(name) = hello.server_name() else {
            return Some(Arc::clone(&self.default));
        };
        let name = name.to_ascii_lowercase();
        Some(
            self.leaf_for(&name)
                .unwrap_or_else(|_unfit| Arc::clone(&self.default)),
        )
    }
}

impl fmt::Debug for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Authority(…)")
    }
}
