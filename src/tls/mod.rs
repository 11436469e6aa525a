//! TLS: our authority, its leaves, and what we believe upstream.
//!
//! Job: the one crypto provider, in an order for each side; [`authority`] signs, [`leaf`] serves downstream,
//! [`client`] verifies upstream, [`truststore`] writes what apps trust.
//! Invariants: aws-lc-rs and nothing else; every configuration names its provider, none relies on a process default.
//! Failure mode: each room has its own closed error; nothing falls back to less security.
//! Sources: RFC 8446 (TLS 1.3), RFC 5280 (X.509), RFC 7301 (ALPN).

use std::sync::Arc;

use rustls::crypto::CryptoProvider;
use rustls::crypto::aws_lc_rs;
use rustls::crypto::aws_lc_rs::cipher_suite;
use rustls::crypto::aws_lc_rs::kx_group;
use rustls::pki_types::CertificateDer;

pub mod authority;
mod certificate;
pub mod client;
mod file;
mod key;
mod key_file;
pub mod leaf;
pub mod pin;
mod pkcs12;
pub mod truststore;

#[cfg(test)]
mod test_support;

pub use certificate::fingerprint;

/// ALPN protocol id of HTTP/2 (RFC 9113 section 3.1).
pub const ALPN_H2: &[u8] = b"h2";
/// ALPN protocol id of HTTP/1.1 (RFC 7301 section 6).
pub const ALPN_HTTP11: &[u8] = b"http/1.1";

/// The provider for connections that apps open to us.
///
/// Its groups leave `X25519MLKEM768` out. A rustls server takes the first group *of the client's list* that it supports,
/// so an order of ours would change nothing, and a hybrid exchange on loopback buys protection against a recording that
/// nobody there can make, for more bytes and more work in each handshake. Clients that prefer the hybrid send a plain
/// X25519 share beside it, so leaving it out costs no round trip.
#[must_use]
pub fn downstream_provider() -> Arc<CryptoProvider> {
    Arc::new(CryptoProvider {
        cipher_suites: suites(),
        kx_groups: vec![kx_group::X25519, kx_group::SECP256R1, kx_group::SECP384R1],
        ..aws_lc_rs::default_provider()
    })
}

/// The provider for connections that we open to origins: the hybrid post-quantum group first, because that traffic
/// crosses networks where it can be recorded and kept.
#[must_use]
pub fn upstream_provider() -> Arc<CryptoProvider> {
    Arc::new(CryptoProvider {
        cipher_suites: suites(),
        kx_groups: vec![
            kx_group::X25519MLKEM768,
            kx_group::X25519,
            kx_group::SECP256R1,
            kx_group::SECP384R1,
        ],
        ..aws_lc_rs::default_provider()
    })
}

/// The default suites with AES-128-GCM in front: its strength is not what limits X25519 or P-256, and a handshake with
/// SHA-256 and four AES rounds less is measurably cheaper than one with AES-256 and SHA-384.
fn suites() -> Vec<rustls::SupportedCipherSuite> {
    let first = [
        cipher_suite::TLS13_AES_128_GCM_SHA256,
        cipher_suite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
        cipher_suite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
    ];
    let rest = aws_lc_rs::DEFAULT_CIPHER_SUITES
        .iter()
        .filter(|suite| !first.contains(suite));
    first.iter().chain(rest).copied().collect()
}

/// The operating system's roots, as many as can be read, without any root of ours.
///
/// `SSL_CERT_FILE` and `SSL_CERT_DIR` take the system's place where they are set. In a container that sets them for the
/// app *and* the sidecar they name our own bundle: a root of an earlier run must neither be believed upstream nor pile
/// up in the bundle, so every certificate that our naming marks as ours is left out.
#[must_use]
pub fn system_roots() -> Vec<CertificateDer<'static>> {
    without_ours(rustls_native_certs::load_native_certs().certs)
}

fn without_ours(mut roots: Vec<CertificateDer<'static>>) -> Vec<CertificateDer<'static>> {
    roots.retain(|root| !certificate::is_ours(root));
    roots
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn aes_128_is_offered_first_and_nothing_is_lost() {
        for provider in [downstream_provider(), upstream_provider()] {
            assert_eq!(
                provider.cipher_suites[0],
                cipher_suite::TLS13_AES_128_GCM_SHA256
            );
            assert_eq!(
                provider.cipher_suites.len(),
                aws_lc_rs::DEFAULT_CIPHER_SUITES.len()
            );
        }
    }

    #[test]
    fn a_root_of_an_earlier_run_is_not_taken_for_one_of_the_systems() {
        let open = || {
            let interception = test_support::interception(crate::config::CaMode::Ephemeral);
            authority::CertificateAuthority::open(&interception, &[], test_support::now()).unwrap()
        };
        let key = rcgen::KeyPair::generate().unwrap();
        let params = rcgen::CertificateParams::new(Vec::new()).unwrap();
        let foreign = params.self_signed(&key).unwrap().der().clone();
        let found = vec![
            open().root_der().clone(),
            foreign.clone(),
            open().root_der().clone(),
        ];
        assert_eq!(without_ours(found), [foreign]);
    }

    #[test]
    fn the_hybrid_group_comes_first_upstream_and_is_absent_downstream() {
        let hybrid = rustls::NamedGroup::X25519MLKEM768;
        assert_eq!(upstream_provider().kx_groups[0].name(), hybrid);
        assert!(
            downstream_provider()
                .kx_groups
                .iter()
                .all(|group| group.name() != hybrid)
        );
    }
}
