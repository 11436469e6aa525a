//! What we believe upstream, and what we show there.
//!
//! Job: turn `upstream` of the configuration into the two rustls configurations that connections are opened with.
//! Invariants: trust is the system's roots or exactly one file, never both; pins hold for every connection and session;
//! no early data, as a credential in it could be replayed.
//! Failure mode: [`TlsConfigError`] when the files do not hold what they should; a handshake that is not verified fails.
//! Sources: RFC 5280, RFC 8446, RFC 7301 (ALPN).

use std::fs;
use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;

use rustls::ClientConfig;
use rustls::RootCertStore;
use rustls::SupportedProtocolVersion;
use rustls::client::Resumption;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::version::TLS12;
use rustls::version::TLS13;
use zeroize::Zeroizing;

use super::pin::PinningVerifier;
use crate::config::KeyPair;
use crate::config::MinTls;
use crate::config::Trust;
use crate::config::Upstream;

/// Origins whose sessions are remembered for resumption: three SP-API hosts, LWA, and a few hundred document buckets.
const SESSIONS: usize = 512;

/// The client side of TLS, shared by all connections to origins.
#[derive(Clone, Debug)]
pub struct UpstreamTls {
    http1: Arc<ClientConfig>,
    http2: Arc<ClientConfig>,
}

/// Why `upstream`'s TLS settings cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsConfigError {
    /// The system has no roots that can be read.
    #[error(
        "no trusted root was found on this system; install ca-certificates, set upstream.trust to {{ ca_file: PATH }}, or check SSL_CERT_FILE and SSL_CERT_DIR, which take the system's place"
    )]
    NoSystemRoots,
    /// A file could not be read.
    #[error("{setting}: {}: {error}", path.display())]
    File {
        /// The key in proxy.yaml.
        setting: &'static str,
        /// Which file.
        path: PathBuf,
        /// What the system said.
        error: std::io::Error,
    },
    /// A file does not hold what it should.
    #[error("{setting}: {}: {problem}", path.display())]
    Content {
        /// The key in proxy.yaml.
        setting: &'static str,
        /// Which file.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// rustls did not take the settings.
    #[error("upstream: the TLS settings cannot be used together: {0}")]
    Settings(#[from] rustls::Error),
    /// The verifier did not take the roots.
    #[error("upstream.trust: the roots cannot be used: {0}")]
    Verifier(#[from] rustls::client::VerifierBuilderError),
}

impl UpstreamTls {
    /// Reads the files that `upstream` names and builds both configurations.
    ///
    /// # Errors
    /// When roots, client certificate or key cannot be read or do not fit together.
    pub fn new(upstream: &Upstream) -> Result<Self, TlsConfigError> {
        let provider = super::upstream_provider();
        let roots = Arc::new(roots(&upstream.trust)?);
        let verifier = PinningVerifier::new(roots, &provider, upstream.pins.clone())?;
        let builder = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(versions(upstream.min_tls))?
            .dangerous() // rustls' word for any verifier of one's own; ours only adds to what its own asks for
            .with_custom_certificate_verifier(Arc::new(verifier));
        let mut config = match &upstream.client_cert {
            None => builder.with_no_client_auth(),
            Some(pair) => client_auth(builder, pair)?,
        };
        config.resumption = Resumption::in_memory_sessions(SESSIONS);
        config.enable_early_data = false;
        config.alpn_protocols = vec![super::ALPN_HTTP11.to_vec()];
        let http1 = Arc::new(config.clone());
        config.alpn_protocols.insert(0, super::ALPN_H2.to_vec());
        Ok(Self {
            http1,
            http2: Arc::new(config),
        })
    }

    /// The configuration to connect with: ALPN `h2` and `http/1.1`, or `http/1.1` alone.
    #[must_use]
    pub fn config(&self, http2: bool) -> Arc<ClientConfig> {
        Arc::clone(if http2 { &self.http2 } else { &self.http1 })
    }
}

/// The trust anchors of `upstream.trust`.
///
/// # Errors
/// When there is none, or the file cannot be read or holds something else.
pub fn roots(trust: &Trust) -> Result<RootCertStore, TlsConfigError> {
    let mut store = RootCertStore::empty();
    match trust {
        Trust::System => {
            // a root or two that webpki cannot parse is normal on an old system, and no reason to refuse the others
            store.add_parsable_certificates(super::system_roots());
            if store.is_empty() {
                return Err(TlsConfigError::NoSystemRoots);
            }
        }
        Trust::File(path) => {
            for certificate in certificates("upstream.trust.ca_file", path)? {
                store
                    .add(certificate)
                    .map_err(|error| content("upstream.trust.ca_file", path, error.to_string()))?;
            }
        }
    }
    Ok(store)
}

static FROM_TLS12: &[&SupportedProtocolVersion] = &[&TLS13, &TLS12];
static FROM_TLS13: &[&SupportedProtocolVersion] = &[&TLS13];

const fn versions(min: MinTls) -> &'static [&'static SupportedProtocolVersion] {
    match min {
        MinTls::Tls12 => FROM_TLS12,
        MinTls::Tls13 => FROM_TLS13,
    }
}

fn client_auth(
    builder: rustls::ConfigBuilder<ClientConfig, rustls::client::WantsClientCert>,
    pair: &KeyPair,
) -> Result<ClientConfig, TlsConfigError> {
    let chain = certificates("upstream.client_cert.cert", &pair.cert)?;
    let setting = "upstream.client_cert.key";
    let text = Zeroizing::new(read(setting, &pair.key)?);
    let key = PrivateKeyDer::from_pem_slice(&text)
        .map_err(|_malformed| content(setting, &pair.key, "holds no private key in PEM".into()))?;
    builder
        .with_client_auth_cert(chain, key)
        .map_err(|error| content(setting, &pair.key, error.to_string()))
}

fn certificates(
    setting: &'static str,
    path: &Path,
) -> Result<Vec<CertificateDer<'static>>, TlsConfigError> {
    let certificates: Vec<CertificateDer<'static>> =
        CertificateDer::pem_slice_iter(&read(setting, path)?)
            .collect::<Result<_, _>>()
            .map_err(|_malformed| content(setting, path, "is not PEM".into()))?;
    if certificates.is_empty() {
        return Err(content(setting, path, "holds no certificate in PEM".into()));
    }
    Ok(certificates)
}

fn read(setting: &'static str, path: &Path) -> Result<Vec<u8>, TlsConfigError> {
    fs::read(path).map_err(|error| TlsConfigError::File {
        setting,
        path: path.to_owned(),
        error,
    })
}

fn content(setting: &'static str, path: &Path, problem: String) -> TlsConfigError {
    TlsConfigError::Content {
        setting,
        path: path.to_owned(),
        problem,
    }
}

#[cfg(test)]
mod tests;
