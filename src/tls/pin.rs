//! Verifying an origin's certificate, and its pins.
//!
//! Job: everything that rustls' own verifier asks for, and then, for a host with pins, that one certificate *of the
//! verified path* has a pinned key.
//! Invariants: a pin only ever takes away; certificates that are sent but not used for the path do not count, since
//! anyone can send a copy of a pinned certificate; of several possible paths one that holds a pin is enough.
//! Failure mode: the handshake fails, with [`PinMismatch`] when only the pins were not met.
//! Sources: RFC 7469 section 2.4 (SHA-256 of the DER-encoded `SubjectPublicKeyInfo`), RFC 5280 section 6.

use std::collections::BTreeMap;
use std::sync::Arc;

use rustls::CertificateError;
use rustls::DigitallySignedStruct;
use rustls::OtherError;
use rustls::RootCertStore;
use rustls::SignatureScheme;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::HandshakeSignatureValid;
use rustls::client::danger::ServerCertVerified;
use rustls::client::danger::ServerCertVerifier;
use rustls::crypto::CryptoProvider;
use rustls::crypto::WebPkiSupportedAlgorithms;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::ServerName;
use rustls::pki_types::SubjectPublicKeyInfoDer;
use rustls::pki_types::UnixTime;
use webpki::EndEntityCert;
use webpki::VerifiedPath;

use crate::name::HostName;

/// SHA-256 of a DER-encoded `SubjectPublicKeyInfo`.
pub type Pin = [u8; 32];

/// The origin's chain is good, and none of its keys is one that `upstream.pins` names for the host.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("no certificate of {0}'s verified chain has a key that upstream.pins names")]
pub struct PinMismatch(pub HostName);

/// rustls' verifier, and pins on top.
#[derive(Debug)]
pub(super) struct PinningVerifier {
    inner: Arc<WebPkiServerVerifier>,
    roots: Arc<RootCertStore>,
    algorithms: WebPkiSupportedAlgorithms,
    pins: BTreeMap<HostName, Vec<Pin>>,
}

impl PinningVerifier {
    /// A verifier that believes `roots`.
    pub(super) fn new(
        roots: Arc<RootCertStore>,
        provider: &Arc<CryptoProvider>,
        pins: BTreeMap<HostName, Vec<Pin>>,
    ) -> Result<Self, rustls::client::VerifierBuilderError> {
        Ok(Self {
            inner: WebPkiServerVerifier::builder_with_provider(
                Arc::clone(&roots),
                Arc::clone(provider),
            )
            .build()?,
            roots,
            algorithms: provider.signature_verification_algorithms,
            pins,
        })
    }

    fn pins_of(&self, server_name: &ServerName<'_>) -> Option<(HostName, &[Pin])> {
        let ServerName::DnsName(name) = server_name else {
            return None; // pins are by name, and only names are dialled with them
        };
        let host = HostName::parse(name.as_ref()).ok()?;
        let pins = self.pins.get(&host)?;
        Some((host, pins))
    }

    fn has_pinned_path(
        &self,
        pins: &[Pin],
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> bool {
        let pinned = |path: &VerifiedPath<'_>| {
            if keys_of(path).any(|key| pins.contains(&pin_of(&key))) {
                Ok(())
            } else {
                Err(webpki::Error::UnknownIssuer) // the search for a path goes on
            }
        };
        EndEntityCert::try_from(end_entity).is_ok_and(|certificate| {
            certificate
                .verify_for_usage(
                    self.algorithms.all,
                    &self.roots.roots,
                    intermediates,
                    now,
                    webpki::KeyUsage::server_auth(),
                    None,
                    Some(&pinned),
                )
                .is_ok()
        })
    }
}

fn keys_of<'p>(
    path: &'p VerifiedPath<'p>,
) -> impl Iterator<Item = SubjectPublicKeyInfoDer<'static>> + 'p {
    let leaf = path.end_entity().subject_public_key_info();
    let anchor = webpki::spki_for_anchor(path.anchor());
    path.intermediate_certificates()
        .map(|certificate| certificate.subject_public_key_info())
        .chain([leaf, anchor])
}

fn pin_of(key: &SubjectPublicKeyInfoDer<'_>) -> Pin {
    let mut pin = Pin::default();
    pin.copy_from_slice(
        aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, key.as_ref()).as_ref(),
    );
    pin
}

impl ServerCertVerifier for PinningVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let verified = self.inner.verify_server_cert(
            end_entity,
            intermediates,
            server_name,
            ocsp_response,
            now,
        )?;
        match self.pins_of(server_name) {
            Some((host, pins)) if !self.has_pinned_path(pins, end_entity, intermediates, now) => {
                let mismatch = OtherError(Arc::new(PinMismatch(host)));
                Err(CertificateError::Other(mismatch).into())
            }
            Some(_) | None => Ok(verified),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.inner
            .verify_tls12_signature(message, certificate, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.inner
            .verify_tls13_signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.inner.supported_verify_schemes()
    }
}
