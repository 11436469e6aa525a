//! The key file of CA mode `file`: the intermediate's key and certificate, and the root's certificate.
//!
//! The root's certificate is kept here too because `cert_path` may lie on a file system that a reboot empties.
//! Invariants: written whole, mode 0600; read only when nobody but its owner can; no text of it reaches an error.
//! Failure mode: [`AuthorityError`], with the path and what to do.
//! Sources: RFC 7468 (PEM), RFC 5958 (PKCS #8).

use std::fs;
use std::io;
use std::io::Read as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use zeroize::Zeroizing;

use super::authority::AuthorityError;
use super::file::{self, Durability};
use super::key::P256Key;
use super::truststore;

const KEY_BEGIN: &str = "-----BEGIN PRIVATE KEY-----";
const KEY_END: &str = "-----END PRIVATE KEY-----";

/// What a key file holds.
pub(super) struct Kept {
    pub(super) key: P256Key,
    pub(super) intermediate: CertificateDer<'static>,
    pub(super) root: CertificateDer<'static>,
}

/// Reads the key file; `None` when there is none yet.
pub(super) fn read(path: &Path) -> Result<Option<Kept>, AuthorityError> {
    let unreadable = |error| AuthorityError::File {
        path: path.to_owned(),
        error,
        remedy: "make it readable for the user that the sidecar runs as",
    };
    let mut file = match fs::File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(unreadable(error)),
    };
    let mode = file.metadata().map_err(unreadable)?.permissions().mode() & 0o777;
    if mode & 0o077 != 0 {
        return Err(AuthorityError::LoosePermissions {
            path: path.to_owned(),
            mode,
        });
    }
    let mut text = Zeroizing::new(String::new());
    file.read_to_string(&mut text).map_err(unreadable)?;
    parse(&text)
        .map(Some)
        .map_err(|problem| AuthorityError::Unusable {
            path: path.to_owned(),
            problem: problem.to_owned(),
        })
}

fn parse(text: &str) -> Result<Kept, &'static str> {
    let key = text
        .split_once(KEY_BEGIN)
        .and_then(|(_, rest)| rest.split_once(KEY_END))
        .map(|(body, _)| body)
        .ok_or("it holds no private key")?;
    let key: Zeroizing<String> = Zeroizing::new(key.split_ascii_whitespace().collect());
    let key = BASE64
        .decode(key.as_bytes())
        .map(Zeroizing::new)
        .map_err(|_malformed| "its private key is not base64")?;
    let key = P256Key::from_pkcs8(&key).map_err(|_rejected| "its private key is not P-256")?;
    let certificates: Vec<CertificateDer<'static>> =
        CertificateDer::pem_slice_iter(text.as_bytes())
            .collect::<Result<_, _>>()
            .map_err(|_malformed| "its certificates cannot be read")?;
    let Ok([intermediate, root]) = <[_; 2]>::try_from(certificates) else {
        return Err("it does not hold two certificates");
    };
    Ok(Kept {
        key,
        intermediate,
        root,
    })
}

/// Writes the key file, mode 0600.
pub(super) fn write(
    path: &Path,
    key: &P256Key,
    intermediate: &CertificateDer<'_>,
    root: &CertificateDer<'_>,
) -> Result<(), AuthorityError> {
    let pkcs8 = key.to_pkcs8()?;
    let key = Zeroizing::new(BASE64.encode(pkcs8.as_ref()));
    let text = Zeroizing::new(format!(
        "{KEY_BEGIN}\n{}{KEY_END}\n{}{}",
        *truststore::wrapped(&key),
        truststore::pem(intermediate),
        truststore::pem(root)
    ));
    file::replace(path, 0o600, Durability::Synced, text.as_bytes()).map_err(|error| {
        AuthorityError::File {
            path: path.to_owned(),
            error,
            remedy: "set interception.ca.key_path to a folder that the sidecar can write",
        }
    })
}
