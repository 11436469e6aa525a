//! P-256 signing keys, for certificates and for handshakes.
//!
//! Job: one key type that both rcgen and rustls sign with, so that no encoded copy of a private key exists outside
//! aws-lc, which wipes its own memory when a key is dropped.
//! Invariants: the private half leaves only through [`P256Key::to_pkcs8`], which wipes itself too; `Debug` shows nothing.
//! Failure mode: [`KeyError`], without detail, as the library gives none.

use std::fmt;
use std::sync::Arc;

use aws_lc_rs::pkcs8;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::ECDSA_P256_SHA256_ASN1_SIGNING;
use aws_lc_rs::signature::EcdsaKeyPair;
use aws_lc_rs::signature::KeyPair as _;
use rustls::SignatureAlgorithm;
use rustls::SignatureScheme;
use rustls::sign;

/// A P-256 key pair (ECDSA with SHA-256). Clones share the one key.
#[derive(Clone)]
pub(super) struct P256Key(Arc<EcdsaKeyPair>);

/// A key could not be made, read or written.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("the P-256 key could not be made or read")]
pub(super) struct KeyError;

impl P256Key {
    /// Makes a fresh key.
    pub(super) fn make() -> Result<Self, KeyError> {
        EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING)
            .map(|pair| Self(Arc::new(pair)))
            .map_err(|_unspecified| KeyError)
    }

    /// Reads PKCS #8 (RFC 5958).
    pub(super) fn from_pkcs8(der: &[u8]) -> Result<Self, KeyError> {
        EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, der)
            .map(|pair| Self(Arc::new(pair)))
            .map_err(|_rejected| KeyError)
    }

    /// The private key as PKCS #8; the document wipes its memory on drop.
    pub(super) fn to_pkcs8(&self) -> Result<pkcs8::Document, KeyError> {
        self.0.to_pkcs8v1().map_err(|_unspecified| KeyError)
    }

    fn signature(&self, message: &[u8]) -> Result<Vec<u8>, KeyError> {
        self.0
            .sign(&SystemRandom::new(), message)
            .map(|signature| signature.as_ref().to_vec())
            .map_err(|_unspecified| KeyError)
    }
}

impl rcgen::PublicKeyData for P256Key {
    fn der_bytes(&self) -> &[u8] {
        self.0.public_key().as_ref()
    }

    fn algorithm(&self) -> &'static rcgen::SignatureAlgorithm {
        &rcgen::PKCS_ECDSA_P256_SHA256
    }
}

impl rcgen::SigningKey for P256Key {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, rcgen::Error> {
        self.signature(message)
            .map_err(|KeyError| rcgen::Error::RemoteKeyError)
    }
}

impl sign::SigningKey for P256Key {
    fn choose_scheme(&self, offered: &[SignatureScheme]) -> Option<Box<dyn sign::Signer>> {
        offered
            .contains(&SignatureScheme::ECDSA_NISTP256_SHA256)
            .then(|| Box::new(self.clone()) as Box<dyn sign::Signer>)
    }

    fn algorithm(&self) -> SignatureAlgorithm {
        SignatureAlgorithm::ECDSA
    }
}

impl sign::Signer for P256Key {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, rustls::Error> {
        self.signature(message)
            .map_err(|error| rustls::Error::Other(rustls::OtherError(Arc::new(error))))
    }

    fn scheme(&self) -> SignatureScheme {
        SignatureScheme::ECDSA_NISTP256_SHA256
    }
}

impl fmt::Debug for P256Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("P256Key(…)")
    }
}

#[cfg(test)]
mod tests {
    use rcgen::PublicKeyData as _;

    use super::*;

    #[test]
    fn a_key_survives_pkcs8_and_shows_nothing() {
        let key = P256Key::make().unwrap();
        let again = P256Key::from_pkcs8(key.to_pkcs8().unwrap().as_ref()).unwrap();
        assert_eq!(key.der_bytes(), again.der_bytes());
        assert_eq!(format!("{key:?}"), "P256Key(…)");
        assert_eq!(P256Key::from_pkcs8(b"not a key").unwrap_err(), KeyError);
    }
}
