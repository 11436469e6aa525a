//! A stand-alone stand-in for Amazon: LWA, every operation of the catalog, the Tokens API and presigned documents.
//!
//! Job: what `sandbox`, `demo`, rehearsals, tests and benches talk to instead of Amazon, over TLS on loopback.
//! Invariants: it shares nothing with the proxy but floor-0 words and the catalog's data, so that a mistake in the proxy
//! cannot hide behind the same mistake here. Tokens, secrets and refresh tokens are held as SHA-256 and shown as kind and
//! fingerprint. Bodies of any size stream; none is held beyond what an operation reads. Faults at a rate are evenly
//! spread, never drawn.
//! Permissive by default: any client id, the first secret seen for it, any refresh token that begins `Atzr|`; strict
//! about everything that Amazon is strict about once a token is used.
//! Failure mode: [`SandboxError`] at the start; afterwards only answers.
//!
//! Besides Amazon's paths every host serves `/_sandbox/…`: `faults` (see `fault`), `received` and `grants`, `apps`
//! (see `control`), and endpoints for tests of byte-exactness (see `echo`).

mod authority;
mod body;
mod call;
mod clock;
mod consent;
mod control;
mod document;
mod door;
mod echo;
mod fault;
mod gate;
mod ledger;
mod listener;
mod lwa;
mod operation;
mod plausible;
mod received;
mod report;
mod respond;
#[cfg(test)]
mod tests;
mod throttle;
mod tokens;
mod trouble;
mod world;

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use aws_lc_rs::hmac;
use rustls::ServerConfig;
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

pub use self::authority::CertificateError;
pub use self::body::noise;
pub use self::call::Region;
pub use self::document::{HOST as DOCUMENT_HOST, UPLOAD_HOST};
pub use self::fault::{Fault, FaultError};
pub use self::ledger::{AppRegistration, GrantRegistration};
pub use self::received::{Authorization, Exchange, KEPT, Received, Sighting};
pub use self::trouble::StandingFault;

use self::authority::Authority;
use self::clock::Clock;
use self::ledger::Ledger;
use self::listener::Tasks;
use self::operation::Operations;
use self::world::{World, lock};

/// The hosts that the sandbox stands for, each on port 443.
pub const HOSTS: [&str; 9] = [
    "sellingpartnerapi-na.amazon.com",
    "sellingpartnerapi-eu.amazon.com",
    "sellingpartnerapi-fe.amazon.com",
    "sandbox.sellingpartnerapi-na.amazon.com",
    "sandbox.sellingpartnerapi-eu.amazon.com",
    "sandbox.sellingpartnerapi-fe.amazon.com",
    "api.amazon.com",
    DOCUMENT_HOST,
    UPLOAD_HOST,
];

/// How a sandbox starts.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where to listen; loopback only. Port 0 takes a free one.
    pub listen: SocketAddr,
    /// Life of every token.
    pub expires_in: Duration,
    /// Life of every presigned URL.
    pub document_expires_in: Duration,
    /// Apps to know beforehand.
    pub apps: Vec<AppRegistration>,
    /// Grants to know beforehand.
    pub grants: Vec<GrantRegistration>,
    /// Faults that are on from the start.
    pub faults: Vec<Fault>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            expires_in: Duration::from_hours(1),
            document_expires_in: Duration::from_mins(5),
            apps: Vec::new(),
            grants: Vec::new(),
            faults: Vec::new(),
        }
    }
}

/// Why a sandbox did not start.
#[derive(Debug, thiserror::Error)]
pub enum SandboxError {
    /// The address is reachable from elsewhere, and this server gives tokens to whoever asks.
    #[error("the sandbox listens on loopback only, not on {0}")]
    NotLoopback(SocketAddr),
    /// The address is taken, or not this machine's.
    #[error("cannot listen on {address}: {source}")]
    Listen {
        /// Which address.
        address: SocketAddr,
        /// Why.
        source: io::Error,
    },
    /// No certificate could be made.
    #[error(transparent)]
    Certificate(#[from] CertificateError),
    /// TLS could not be set up.
    #[error("TLS cannot be set up: {0}")]
    Tls(#[from] rustls::Error),
    /// The catalog that is built in cannot be read.
    #[error("the catalog cannot be read: {0}")]
    Catalog(#[from] serde_json::Error),
    /// The system has no random numbers to give.
    #[error("no key for presigned URLs could be made")]
    Key,
}

/// A running sandbox. Dropping it stops it without waiting.
pub struct Sandbox {
    address: SocketAddr,
    authority: Arc<Authority>,
    world: Arc<World>,
    tasks: Tasks,
    stopper: DropGuard,
}

impl Sandbox {
    /// Makes a certificate authority, binds the listener and serves from then on.
    ///
    /// # Errors
    /// See [`SandboxError`].
    pub async fn start(options: Options) -> Result<Self, SandboxError> {
        let address = options.listen;
        if !address.ip().is_loopback() {
            return Err(SandboxError::NotLoopback(address));
        }
        let failed = |source| SandboxError::Listen { address, source };
        let listener = TcpListener::bind(address).await.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        let clock = Clock::start();
        let authority = Arc::new(Authority::new(&HOSTS, clock.wall())?);
        let tls = acceptor(Arc::clone(&authority))?;
        let world = Arc::new(build(&options, clock)?);
        for fault in options.faults {
            control::apply(&world, fault);
        }
        let stop = CancellationToken::new();
        let tasks = Tasks {
            tracker: TaskTracker::new(),
            stop: stop.clone(),
        };
        tasks.spawn(listener::accept(
            Arc::clone(&world),
            listener,
            tls,
            tasks.clone(),
        ));
        Ok(Self {
            address,
            authority,
            world,
            tasks,
            stopper: stop.drop_guard(),
        })
    }

    /// Where it listens.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// The certificate that signs for all its hosts.
    #[must_use]
    pub fn ca_pem(&self) -> &str {
        self.authority.pem()
    }

    /// `upstream.connect_to` of a sidecar that is to talk to this sandbox.
    #[must_use]
    pub fn connect_to(&self) -> BTreeMap<String, String> {
        let here = self.address.to_string();
        HOSTS
            .iter()
            .map(|host| (format!("{host}:443"), here.clone()))
            .collect()
    }

    /// What reached it, oldest first; the last [`KEPT`] requests.
    #[must_use]
    pub fn received(&self) -> Vec<Received> {
        self.received_since(0)
    }

    /// What reached it after request number `n`.
    #[must_use]
    pub fn received_since(&self, n: u64) -> Vec<Received> {
        self.world.received.after(n)
    }

    /// Switches a fault on; its number, unless it happens once, now.
    pub fn fault(&self, fault: Fault) -> Option<u64> {
        control::apply(&self.world, fault)
    }

    /// The faults that are on.
    #[must_use]
    pub fn faults(&self) -> Vec<StandingFault> {
        lock(&self.world.troubles).list()
    }

    /// Switches all faults off.
    pub fn clear_faults(&self) {
        lock(&self.world.troubles).clear();
    }

    /// Makes an app known, or changes its secret.
    pub fn register_app(&self, app: &AppRegistration) {
        lock(&self.world.ledger).register_app(app);
    }

    /// Makes a grant known, or changes it for tokens that are issued from now on.
    pub fn register_grant(&self, grant: &GrantRegistration) {
        lock(&self.world.ledger).register_grant(grant);
    }

    /// Stops accepting, breaks off what is open and waits until nothing runs.
    pub async fn stop(self) {
        let Self { tasks, stopper, .. } = self;
        drop(stopper);
        tasks.tracker.close();
        tasks.tracker.wait().await;
    }
}

fn build(options: &Options, clock: Clock) -> Result<World, SandboxError> {
    let mut ledger = Ledger::default();
    for app in &options.apps {
        ledger.register_app(app);
    }
    for grant in &options.grants {
        ledger.register_grant(grant);
    }
    let random = aws_lc_rs::rand::SystemRandom::new();
    let url_key = hmac::Key::generate(hmac::HMAC_SHA256, &random)
        .map_err(|_unspecified| SandboxError::Key)?;
    Ok(World {
        clock,
        expires_in: options.expires_in,
        document_expires_in: options.document_expires_in,
        operations: Operations::embedded()?,
        ledger: Mutex::new(ledger),
        troubles: Mutex::default(),
        received: received::Log::default(),
        buckets: Mutex::default(),
        reports: Mutex::default(),
        url_key,
    })
}

fn acceptor(authority: Arc<Authority>) -> Result<TlsAcceptor, rustls::Error> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_cert_resolver(authority);
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}

impl fmt::Debug for Sandbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sandbox")
            .field("address", &self.address)
            .finish_non_exhaustive()
    }
}
