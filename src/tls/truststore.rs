//! What apps are given to trust: the root, a bundle of all roots, and the same bundle for Java.
//!
//! Job: write the three files, and read the public ones back for `ca` and `exec`.
//! Invariants: certificates alone, never a key; the bundle and Java's store hold the public roots too, because the
//! settings that point at them take the place of a runtime's own roots; mode 0644, each file whole or not at all.
//! Failure mode: [`AuthorityError::File`] with the path and the setting to change.
//! Sources: RFC 7468 (PEM); the manuals of OpenSSL (`SSL_CERT_FILE`), Node and the JDK (`javax.net.ssl.trustStore`).

use std::fs;
use std::io;
use std::path::Path;
use std::path::PathBuf;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use zeroize::Zeroizing;

use super::authority::AuthorityError;
use super::file::{self, Durability};
use super::pkcs12;

/// The password that Java wants to hear. It protects nothing: the store holds public certificates and has no checksum.
pub const JAVA_PASSWORD: &str = "changeit";

const PUBLIC: u32 = 0o644;

/// Where Java's trust store lies: beside the bundle, and never on top of it.
#[must_use]
pub fn pkcs12_path(bundle_path: &Path) -> PathBuf {
    let path = bundle_path.with_extension("p12");
    if path == bundle_path {
        bundle_path.with_extension("java.p12")
    } else {
        path
    }
}

/// Writes root, bundle and Java's store. The root comes last: whoever waits for it finds the others there.
pub(super) fn publish(
    root: &CertificateDer<'_>,
    system: &[CertificateDer<'_>],
    cert_path: &Path,
    bundle_path: &Path,
) -> Result<(), AuthorityError> {
    let mut bundle: String = system.iter().map(|certificate| pem(certificate)).collect();
    let root_pem = pem(root);
    bundle.push_str(&root_pem);
    let bundle_remedy = "set interception.ca.bundle_path to a folder that the sidecar can write";
    write(bundle_path, bundle.as_bytes(), bundle_remedy)?;
    write(
        &pkcs12_path(bundle_path),
        &pkcs12::trust_store(root, system),
        bundle_remedy,
    )?;
    write(
        cert_path,
        root_pem.as_bytes(),
        "set interception.ca.cert_path to a folder that the sidecar can write",
    )
}

fn write(path: &Path, bytes: &[u8], remedy: &'static str) -> Result<(), AuthorityError> {
    file::replace(path, PUBLIC, Durability::Unsynced, bytes).map_err(|error| AuthorityError::File {
        path: path.to_owned(),
        error,
        remedy,
    })
}

/// Reads the first certificate of a PEM file.
///
/// # Errors
/// When the file cannot be read or holds no certificate.
pub fn read_root(cert_path: &Path) -> io::Result<CertificateDer<'static>> {
    read_certificates(cert_path)?
        .into_iter()
        .next()
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "holds no certificate"))
}

fn read_certificates(path: &Path) -> io::Result<Vec<CertificateDer<'static>>> {
    CertificateDer::pem_slice_iter(&fs::read(path)?)
        .collect::<Result<_, _>>()
        .map_err(|_malformed| io::Error::new(io::ErrorKind::InvalidData, "is not PEM"))
}

/// Java's trust store, from the root and the bundle that were published.
///
/// # Errors
/// When either file cannot be read.
pub fn pkcs12_of(cert_path: &Path, bundle_path: &Path) -> io::Result<Vec<u8>> {
    let root = read_root(cert_path)?;
    let mut others = read_certificates(bundle_path)?;
    others.retain(|certificate| *certificate != root);
    Ok(pkcs12::trust_store(&root, &others))
}

/// Writes Java's trust store where it is missing or older than the root.
///
/// # Errors
/// When root or bundle cannot be read, or the store cannot be written.
pub fn refresh_pkcs12(cert_path: &Path, bundle_path: &Path) -> io::Result<()> {
    let path = pkcs12_path(bundle_path);
    let written = |path: &Path| fs::metadata(path).and_then(|metadata| metadata.modified());
    if written(&path).is_ok_and(|store| written(bundle_path).is_ok_and(|bundle| store >= bundle)) {
        return Ok(());
    }
    file::replace(
        &path,
        PUBLIC,
        Durability::Unsynced,
        &pkcs12_of(cert_path, bundle_path)?,
    )
}

/// A certificate as PEM.
#[must_use]
pub fn pem(certificate: &CertificateDer<'_>) -> String {
    format!(
        "-----BEGIN CERTIFICATE-----\n{}-----END CERTIFICATE-----\n",
        *wrapped(&BASE64.encode(certificate))
    )
}

/// Base64 in lines of 64, each ended (RFC 7468 section 2).
pub(super) fn wrapped(base64: &str) -> Zeroizing<String> {
    let mut lines = Zeroizing::new(String::with_capacity(base64.len() + base64.len() / 64 + 1));
    for (n, character) in base64.chars().enumerate() {
        if n > 0 && n % 64 == 0 {
            lines.push('\n');
        }
        lines.push(character);
    }
    lines.push('\n');
    lines
}

#[cfg(test)]
mod tests;
