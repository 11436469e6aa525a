//! One call to Vault.
//!
//! Job: send a vaultrs endpoint with our own HTTP client, and hand back the body.
//! Invariants: exactly `ca_file` is trusted, or the system's roots, and no setting turns that off; no redirect is followed
//! (the token would go along), no proxy is used but the next hop of `upstream.proxy`, which sees an opaque tunnel, and not
//! even that one for a Vault on this machine; nothing comes from `VAULT_*` variables; every call has a bound; the token
//! travels in a header marked sensitive. vaultrs' own client keeps none of these, so that only its request types
//! are used: they give method, path and body.
//! Failure mode: [`Fault`].
//! Sources: Vault's HTTP API; `X-Vault-Index` and `X-Vault-Inconsistent` for reading our own writes from a standby.

use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use http::{HeaderValue, Uri};
use rustify::Endpoint;
use rustls::RootCertStore;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use zeroize::Zeroizing;

use super::error::{self, Fault, Refusal};
use crate::config;
use crate::secret::Opaque;
use crate::store::StoreError;

/// Longest wait for a TCP and TLS connection: Vault is near, and requests wait for it.
const CONNECT_TIMEOUT: Duration = Duration::from_millis(1500);
/// Longest idle time of a kept connection, under the usual minute of load balancers.
const IDLE_TIMEOUT: Duration = Duration::from_secs(50);
/// Largest answer that is read; Vault's own limit for a value is 1 MiB.
const MAX_ANSWER: usize = 4 * 1024 * 1024;

/// How long a call may take.
#[derive(Clone, Copy)]
pub(super) enum Bound {
    /// What a request may be waiting for.
    Read,
    /// What has to reach the disks of a quorum.
    Write,
}

impl Bound {
    const fn limit(self) -> Duration {
        match self {
            Self::Read => Duration::from_secs(2),
            Self::Write => Duration::from_secs(5),
        }
    }
}

/// The way to one Vault.
pub(super) struct Wire {
    config: config::VaultStore,
    http: RwLock<reqwest::Client>,
    origin: String,
    namespace: Option<HeaderValue>,
    /// The state of Vault's storage that our last write made: a standby that lags behind it hands the call on.
    index: Mutex<Option<HeaderValue>>,
}

/// What every answer with a body looks like.
#[derive(Deserialize)]
pub(super) struct Envelope<T> {
    /// What was asked for.
    pub(super) data: Option<T>,
    /// A token, from a login or a renewal.
    pub(super) auth: Option<Auth>,
}

/// A token and what it is good for.
#[derive(Deserialize)]
pub(super) struct Auth {
    pub(super) client_token: String,
    /// Seconds; 0 is for ever.
    #[serde(default)]
    pub(super) lease_duration: u64,
    #[serde(default)]
    pub(super) renewable: bool,
}

impl Wire {
    pub(super) fn new(config: &config::VaultStore) -> Result<Self, StoreError> {
        let namespace = match config.namespace.as_deref().map(HeaderValue::from_str) {
            None => None,
            Some(Ok(namespace)) => Some(namespace),
            Some(Err(_unsendable)) => {
                return Err(StoreError::Local(
                    "store.vault.namespace holds a character that no header may hold".to_owned(),
                ));
            }
        };
        Ok(Self {
            http: RwLock::new(client(config)?),
            config: config.clone(),
            origin: config.address.origin().ascii_serialization(),
            namespace,
            index: Mutex::new(None),
        })
    }

    /// Reads the client certificate anew: it may have been rotated since.
    pub(super) fn reload_certificate(&self) -> Result<(), StoreError> {
        *self.http.write().unwrap_or_else(PoisonError::into_inner) = client(&self.config)?;
        Ok(())
    }

    /// Sends a call and returns the body of a good answer.
    pub(super) async fn send<E: Endpoint>(
        &self,
        token: Option<&Opaque>,
        endpoint: &E,
        bound: Bound,
    ) -> Result<Zeroizing<Vec<u8>>, Fault> {
        let (place, request) = self.request(token, endpoint, bound)?;
        let http = self
            .http
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        let response = http
            .execute(request)
            .await
            .map_err(|error| error::lost(&place, error))?;
        let status = response.status();
        self.remember_index(status, response.headers());
        let body = whole_body(&place, response).await?;
        if status.is_success() {
            Ok(body)
        } else {
            Err(Fault::Refused(Refusal::read(place, status.as_u16(), &body)))
        }
    }

    fn request<E: Endpoint>(
        &self,
        token: Option<&Opaque>,
        endpoint: &E,
        bound: Bound,
    ) -> Result<(String, reqwest::Request), Fault> {
        let unbuilt = |what: &str| {
            Fault::Lost(StoreError::Local(format!(
                "a call to Vault cannot be built: {what}"
            )))
        };
        let mut request = endpoint
            .request(&self.origin)
            .map_err(|_holds_the_body| unbuilt("its path or body"))?;
        let path = request.uri().path().trim_start_matches('/').to_owned();
        let place = format!("{} {path}", request.method());
        *request.uri_mut() = format!("{}/v1/{path}", self.origin)
            .parse::<Uri>()
            .map_err(|_unparsable| unbuilt("its address"))?;
        let headers = request.headers_mut();
        headers.insert("x-vault-request", HeaderValue::from_static("true"));
        if let Some(namespace) = &self.namespace {
            headers.insert("x-vault-namespace", namespace.clone());
        }
        if let Some(token) = token {
            let mut value = HeaderValue::from_str(token.expose())
                .map_err(|_unsendable| unbuilt("its token"))?;
            value.set_sensitive(true);
            headers.insert("x-vault-token", value);
        }
        if let Some(index) = self.index() {
            headers.insert("x-vault-index", index);
            headers.insert(
                "x-vault-inconsistent",
                HeaderValue::from_static("forward-active-node"),
            );
        }
        let mut request =
            reqwest::Request::try_from(request).map_err(|_unparsable| unbuilt("its address"))?;
        *request.timeout_mut() = Some(bound.limit());
        Ok((place, request))
    }

    fn index(&self) -> Option<HeaderValue> {
        self.index
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    fn remember_index(&self, status: http::StatusCode, headers: &http::HeaderMap) {
        let mut index = self.index.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(newer) = headers.get("x-vault-index") {
            *index = Some(newer.clone());
        } else if matches!(status.as_u16(), 412 | 429) {
            // a node that cannot know this index, say after a restore: without it the next call is served
            *index = None;
        }
    }
}

/// Reads a body to its end, up to [`MAX_ANSWER`].
async fn whole_body(
    place: &str,
    mut response: reqwest::Response,
) -> Result<Zeroizing<Vec<u8>>, Fault> {
    let announced = response.content_length().unwrap_or(0);
    let announced = usize::try_from(announced).unwrap_or(MAX_ANSWER);
    let mut body = Zeroizing::new(Vec::with_capacity(announced.min(MAX_ANSWER)));
    while let Some(chunk) = response
        .chunk()
        .await
        .map_err(|error| error::lost(place, error))?
    {
        if body.len() + chunk.len() > MAX_ANSWER {
            return Err(error::senseless(place, "the answer is too large"));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

/// Reads the body of a good answer.
pub(super) fn parse<T: DeserializeOwned>(place: &str, body: &[u8]) -> Result<Envelope<T>, Fault> {
    serde_json::from_slice(body)
        .map_err(|_would_quote_it| error::senseless(place, "the answer is not what Vault sends"))
}

fn client(config: &config::VaultStore) -> Result<reqwest::Client, StoreError> {
    let unusable =
        |error: reqwest::Error| StoreError::Local(format!("store.vault: no HTTP client: {error}"));
    let mut builder = reqwest::Client::builder()
        .tls_backend_preconfigured(tls(config)?)
        .https_only(config.address.scheme() == "https")
        .redirect(reqwest::redirect::Policy::none())
        .no_proxy()
        .referer(false)
        .http1_only()
        .connect_timeout(CONNECT_TIMEOUT)
        .timeout(Bound::Write.limit())
        .pool_idle_timeout(IDLE_TIMEOUT);
    if let Some(next_hop) = &config.next_hop
        && !is_on_this_machine(&config.address)
    {
        // for https alone: plain HTTP would show the token to the next hop, and leads to this machine only
        let proxy = reqwest::Proxy::https(format!("http://{next_hop}")).map_err(unusable)?;
        builder = builder.proxy(proxy);
    }
    builder.build().map_err(unusable)
}

/// What the next hop could not lead to: its loopback is another machine's.
fn is_on_this_machine(address: &url::Url) -> bool {
    match address.host() {
        Some(url::Host::Ipv4(ip)) => ip.is_loopback(),
        Some(url::Host::Ipv6(ip)) => ip.to_canonical().is_loopback(),
        Some(url::Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
        None => false,
    }
}

fn tls(config: &config::VaultStore) -> Result<rustls::ClientConfig, StoreError> {
    let unusable = |error: rustls::Error| StoreError::Local(format!("store.vault: TLS: {error}"));
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(unusable)?
        .with_root_certificates(roots(config)?);
    let config::VaultAuth::Cert { pair, .. } = &config.auth else {
        return Ok(builder.with_no_client_auth());
    };
    let chain = certificates(&pair.cert)?;
    let key = PrivateKeyDer::from_pem_file(&pair.key)
        .map_err(|error| StoreError::Local(format!("{}: {error}", pair.key.display())))?;
    builder
        .with_client_auth_cert(chain, key)
        .map_err(|error| StoreError::Local(format!("{}: {error}", pair.cert.display())))
}

/// Exactly the certificates of `ca_file`, or else the system's. None over plain HTTP, where nothing checks them.
fn roots(config: &config::VaultStore) -> Result<RootCertStore, StoreError> {
    let mut roots = RootCertStore::empty();
    if config.address.scheme() != "https" {
        return Ok(roots);
    }
    let Some(file) = &config.ca_file else {
        let system = rustls_native_certs::load_native_certs().certs;
        let (added, _unreadable) = roots.add_parsable_certificates(system);
        return if added > 0 {
            Ok(roots)
        } else {
            Err(StoreError::Local(
                "this machine has no root certificates; set store.vault.ca_file".to_owned(),
            ))
        };
    };
    for certificate in certificates(file)? {
        roots
            .add(certificate)
            .map_err(|error| StoreError::Local(format!("{}: {error}", file.display())))?;
    }
    Ok(roots)
}

fn certificates(file: &std::path::Path) -> Result<Vec<CertificateDer<'static>>, StoreError> {
    let unusable =
        |error: &dyn std::fmt::Display| StoreError::Local(format!("{}: {error}", file.display()));
    let found: Vec<CertificateDer<'static>> = CertificateDer::pem_file_iter(file)
        .and_then(Iterator::collect)
        .map_err(|error| unusable(&error))?;
    if found.is_empty() {
        return Err(unusable(&"holds no certificate in PEM"));
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_answer_is_read_up_to_its_bound_and_no_further() {
        let of = |bytes: usize| reqwest::Response::from(http::Response::new(vec![b' '; bytes]));
        let whole = whole_body("GET x", of(MAX_ANSWER)).await.unwrap();
        assert_eq!(whole.len(), MAX_ANSWER);
        let refused = whole_body("GET x", of(MAX_ANSWER + 1)).await.unwrap_err();
        let refused = StoreError::from(refused);
        assert!(matches!(refused, StoreError::Protocol(_)), "{refused}");
        assert!(
            refused
                .to_string()
                .ends_with("GET x: the answer is too large")
        );
    }

    #[test]
    fn what_stands_on_this_machine_is_not_reached_by_the_next_hop() {
        for (address, want) in [
            ("http://127.0.0.1:8200", true),
            ("http://127.9.9.9:8200", true),
            ("http://[::1]:8200", true),
            ("http://[::ffff:127.0.0.1]:8200", true),
            ("http://localhost:8200", true),
            ("https://vault.localhost", true),
            ("https://localhost.example", false),
            ("https://notlocalhost", false),
            ("https://192.0.2.7:8200", false),
            ("https://[2001:db8::1]:8200", false),
            ("unix:/run/vault", false),
        ] {
            let address = url::Url::parse(address).unwrap();
            assert_eq!(is_on_this_machine(&address), want, "{address}");
        }
    }
}
