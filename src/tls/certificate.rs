//! X.509 details that every certificate of ours shares, and reading them back.
//!
//! Invariants: serial numbers are random; times are whole seconds; our roots are known by their name.
//! Failure mode: [`AuthorityError`] when something cannot be made; `None` when a certificate cannot be read.
//! Sources: RFC 5280 sections 4.1.2 and 4.2.1.10.

use std::time::Duration;
use std::time::SystemTime;

use rcgen::CertificateParams;
use rcgen::DnType;
use rcgen::SerialNumber;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::UnixTime;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::FromDer as _;
use x509_parser::prelude::X509Certificate;

use super::authority::AuthorityError;
use crate::name::HostName;

/// How our roots are called, before their short id.
pub(super) const ROOT_NAME: &str = "spapi-sidecar root ";

/// What an intermediate may do, and when.
pub(super) struct Limits {
    /// Permitted DNS names, sorted.
    pub(super) names: Vec<HostName>,
    pub(super) not_before: SystemTime,
    pub(super) not_after: SystemTime,
}

/// What all our certificates have in common.
pub(super) fn params(
    common_name: &str,
    not_before: SystemTime,
    not_after: SystemTime,
) -> Result<CertificateParams, AuthorityError> {
    let epoch = rcgen::date_time_ymd(1970, 1, 1);
    let mut params = CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params
        .distinguished_name
        .push(DnType::CommonName, common_name);
    params.not_before = epoch + since_epoch(not_before);
    params.not_after = epoch + since_epoch(not_after);
    params.serial_number = Some(serial()?);
    params.use_authority_key_identifier_extension = true;
    Ok(params)
}

/// Whole seconds since 1970; X.509 knows no smaller unit.
pub(super) fn since_epoch(time: SystemTime) -> Duration {
    let since = time
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or(Duration::ZERO);
    Duration::from_secs(since.as_secs())
}

/// 126 random bits, so that no two certificates of ours share issuer and serial number (RFC 5280 section 4.1.2.2).
fn serial() -> Result<SerialNumber, AuthorityError> {
    let mut bytes: [u8; 16] = random()?;
    if let Some(first) = bytes.first_mut() {
        *first = (*first & 0x3f) | 0x40; // positive, and of one length
    }
    Ok(SerialNumber::from_slice(&bytes))
}

/// Tells our authorities apart, in their names.
pub(super) fn short_id() -> Result<String, AuthorityError> {
    Ok(format!("{:08x}", u32::from_be_bytes(random()?)))
}

fn random<const N: usize>() -> Result<[u8; N], AuthorityError> {
    let mut bytes = [0; N];
    aws_lc_rs::rand::fill(&mut bytes).map_err(|_unspecified| AuthorityError::Key)?;
    Ok(bytes)
}

/// Reads an intermediate's limits back.
pub(super) fn limits(intermediate: &CertificateDer<'_>) -> Option<Limits> {
    let (_, parsed) = X509Certificate::from_der(intermediate).ok()?;
    let constraints = parsed.name_constraints().ok()??.value;
    let mut names: Vec<HostName> = constraints
        .permitted_subtrees
        .as_ref()?
        .iter()
        .filter_map(|subtree| {
            let GeneralName::DNSName(name) = &subtree.base else {
                return None;
            };
            HostName::parse(name).ok()
        })
        .collect();
    names.sort();
    let at = |seconds: i64| {
        SystemTime::UNIX_EPOCH + Duration::from_secs(u64::try_from(seconds).unwrap_or(0))
    };
    Some(Limits {
        names,
        not_before: at(parsed.validity().not_before.timestamp()),
        not_after: at(parsed.validity().not_after.timestamp()),
    })
}

/// Whether a chain, leaf first, is good for a server at the given time under this root.
pub(super) fn verify(
    chain: &[CertificateDer<'_>],
    root: &CertificateDer<'_>,
    now: SystemTime,
) -> Result<(), webpki::Error> {
    let (leaf, intermediates) = chain.split_first().ok_or(webpki::Error::BadDer)?;
    let algorithms = super::upstream_provider().signature_verification_algorithms;
    webpki::EndEntityCert::try_from(leaf)?
        .verify_for_usage(
            algorithms.all,
            &[webpki::anchor_from_trusted_cert(root)?],
            intermediates,
            UnixTime::since_unix_epoch(since_epoch(now)),
            webpki::KeyUsage::server_auth(),
            None,
            None,
        )
        .map(|_path| ())
}

/// Whether a certificate is a root that some sidecar made, by its name.
pub(super) fn is_ours(certificate: &CertificateDer<'_>) -> bool {
    X509Certificate::from_der(certificate).is_ok_and(|(_, parsed)| {
        parsed
            .subject()
            .iter_common_name()
            .filter_map(|name| name.as_str().ok())
            .any(|name| name.starts_with(ROOT_NAME))
    })
}

/// A certificate's SHA-256, as colon-separated hexadecimal.
#[must_use]
pub fn fingerprint(certificate: &CertificateDer<'_>) -> String {
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, certificate);
    let hex: Vec<String> = digest
        .as_ref()
        .iter()
        .map(|byte| format!("{byte:02X}"))
        .collect();
    hex.join(":")
}
