//! The composition root: the one file that knows every room.
//!
//! Job: build the rooms from a configuration, hand each what it needs from its neighbours, bind, spawn, drain.
//! Invariants: everything that can fail for want of configuration fails here, before a request is served; the store and LWA may
//! be down at the start: then the sidecar waits, is not ready, and says so.
//! Failure mode: [`StartError`], with what to do.

mod background;
pub mod errand;
mod outside;
mod reload;
mod status;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::sync::{Arc, OnceLock};
use std::thread::JoinHandle;
use std::time::Duration;

use arc_swap::ArcSwap;
use http::HeaderValue;
use tokio::sync::{Semaphore, watch};
use tokio::time::Instant;

use self::outside::Outside;
pub use self::reload::ReloadError;
use crate::admin::{self, Readiness};
use crate::config::{Config, LogFormat, Tenants};
use crate::document::Documents;
use crate::proxy::listen::{self, ListenError, Sockets};
use crate::proxy::login::Logins;
use crate::proxy::{Shared, Worker, World};
use crate::store::{self, GrantStore, StoreError};
use crate::task::Tasks;
use crate::telemetry::event::{Event, Events};
use crate::telemetry::record::Recorder;
use crate::telemetry::{self, Sink};
use crate::tls::authority::{AuthorityError, CertificateAuthority, Opened};
use crate::tls::client::{TlsConfigError, UpstreamTls};
use crate::tls::leaf::LeafCache;
use crate::token::TokenSource;
use crate::token::exchange::{Lwa, Transport};
use crate::token::restricted::Restricted;
use crate::upstream::client::Client;
use crate::upstream::dial::Dialer;
use crate::upstream::resolve::{Resolver, ResolverError};

/// How long the cores may take to drop what outlasted the drain.
const CUT_GRACE: Duration = Duration::from_secs(1);

/// Pause between two looks at the cores.
const CUT_PAUSE: Duration = Duration::from_millis(2);

/// Why the sidecar did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The CA could not be made or published.
    #[error(transparent)]
    Authority(#[from] AuthorityError),
    /// A listener could not be bound.
    #[error(transparent)]
    Listen(#[from] ListenError),
    /// The admin listener could not be bound.
    #[error("cannot listen on {0}: {1}; choose another address in `listen.admin`")]
    Admin(SocketAddr, std::io::Error),
    /// What is on this machine for the store is not usable.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// `upstream.trust`, `pins` or `client_cert`.
    #[error(transparent)]
    Tls(#[from] TlsConfigError),
    /// `upstream.resolver`.
    #[error(transparent)]
    Resolver(#[from] ResolverError),
    /// A setting that this version does not carry out.
    #[error("{what} is not carried out by this version; {instead}")]
    NotYet {
        /// The setting.
        what: &'static str,
        /// What to write instead.
        instead: &'static str,
    },
    /// `lwa.token_url`.
    #[error("lwa.token_url names no usable host: {0}")]
    TokenUrl(crate::name::NameError),
    /// A thread could not be started.
    #[error("a thread could not be started: {0}")]
    Thread(std::io::Error),
}

/// A running sidecar.
#[derive(Debug)]
pub struct App {
    shared: Arc<Shared>,
    cores: Vec<JoinHandle<()>>,
    listening: Vec<SocketAddr>,
    proxies: usize,
    admin: SocketAddr,
    grace: Duration,
    readiness: Arc<Readiness>,
}

impl App {
    /// Builds and starts everything. Has to be called on the control runtime; `cores` is how many connection runtimes to run.
    ///
    /// # Errors
    /// When something that only an operator can mend is missing.
    pub async fn start(config: Config, sink: Sink, cores: usize) -> Result<Self, StartError> {
        say_what_is_not_there(&config)?;
        let tasks = Tasks::new(tokio::runtime::Handle::current());
        let events = Events::default();
        let authority = open_authority(&config)?;
        let leaves = LeafCache::new(Arc::clone(&authority))?;
        let (sockets, listening) =
            listen::bind(&config.listen.proxy, &config.listen.transparent, cores)?;
        let admin_socket = tokio::net::TcpListener::bind(config.listen.admin)
            .await
            .map_err(|error| StartError::Admin(config.listen.admin, error))?;
        let admin = admin_socket
            .local_addr()
            .map_err(|error| StartError::Admin(config.listen.admin, error))?;
        let store = store::open(&config.store)?;
        publish(&authority, &config)?;
        let own = listening.iter().copied().chain([admin]).collect();
        let dialer = Arc::new(Dialer {
            resolver: Resolver::new(&config.upstream, own)?,
            tls: UpstreamTls::new(&config.upstream)?,
            connect_timeout: config.upstream.connect_timeout,
            proxy: config.upstream.proxy.clone(),
        });
        let shared = Arc::new(Shared {
            tokens: token_source(&config, &store, &dialer, &tasks, &events)?,
            leaves,
            phantoms: OnceLock::new(),
            logins: Logins::new(Arc::clone(&store), tasks.clone()),
            documents: Documents::default(),
            recorder: Arc::new(Recorder {
                sink,
                release: config.telemetry.release.as_str().into(),
                traffic: Arc::default(),
                events: events.clone(),
                pretty: config.telemetry.log_format == LogFormat::Pretty,
            }),
            permits: Arc::new(Semaphore::new(config.listen.limits.max_connections)),
            tasks,
            via: via(),
            first_id: rand::random(),
            ids: AtomicU64::new(0),
            real_token_seen: AtomicBool::new(false),
            world: ArcSwap::from_pointee(World::new(config, 0)),
            generation: watch::Sender::new(0),
        });
        let world = shared.world.load_full();
        let readiness = Arc::new(Readiness::new(world.tenants.len()));
        let theirs = Arc::clone(&shared);
        let office = admin::Office {
            readiness: Arc::clone(&readiness),
            status: Arc::new(move || status::status(&theirs)),
            tasks: shared.tasks.clone(),
        };
        let _admin = shared
            .tasks
            .control("admin", admin::serve(admin_socket, office));
        background::start(&shared, &world, &store, &readiness);
        let cores = start_cores(
            &shared,
            &dialer,
            sockets,
            world.config.upstream.response_timeout,
        )?;
        tracing::info!(listening = ?listening, %admin, store = store.describe(), "listening");
        events.note(&Event::Started);
        Ok(Self {
            cores,
            listening,
            proxies: world.config.listen.proxy.len(),
            admin,
            grace: world.config.listen.drain_timeout,
            readiness,
            shared,
        })
    }

    /// Addresses of the CONNECT listeners, as bound.
    #[must_use]
    pub fn proxies(&self) -> &[SocketAddr] {
        self.listening.get(..self.proxies).unwrap_or_default()
    }

    /// Addresses of the transparent listeners, as bound.
    #[must_use]
    pub fn transparents(&self) -> &[SocketAddr] {
        self.listening.get(self.proxies..).unwrap_or_default()
    }

    /// Address of the admin listener, as bound.
    #[must_use]
    pub const fn admin(&self) -> SocketAddr {
        self.admin
    }

    /// What the rooms of the walk share.
    #[must_use]
    pub const fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// Puts a new configuration in force: the next request of every connection is judged by it, and a tunnel whose rule is
    /// gone is closed. Either the whole file is taken or nothing changes.
    ///
    /// # Errors
    /// When the file changes something that takes a restart.
    pub fn reload(&self, config: Config) -> Result<(), ReloadError> {
        reload::reload(&self.shared, config)
    }

    /// Completes when the sidecar may take traffic.
    pub async fn ready(&self) {
        self.readiness.wait().await;
    }

    /// Stops accepting, finishes what is in flight, at most `drain_timeout`; returns what was left by then and is cut off.
    pub async fn drain(self) -> BTreeMap<&'static str, usize> {
        self.shared.recorder.events.note(&Event::Stopping);
        let left = self.shared.tasks.drain(self.grace).await;
        // a core drops what is left of its tasks, so that their records fall; one that hangs is not waited for
        let from = Instant::now();
        while !self.cores.iter().all(JoinHandle::is_finished) && from.elapsed() < CUT_GRACE {
            tokio::time::sleep(CUT_PAUSE).await;
        }
        left
    }
}

/// A setting that this version does not carry out is refused where nothing works without it, and said loudly elsewhere.
fn say_what_is_not_there(config: &Config) -> Result<(), StartError> {
    if matches!(config.tenants, Tenants::FromStore) {
        return Err(StartError::NotYet {
            what: "`tenants: { from: store }`",
            instead: "list the tenants in the file",
        });
    }
    let set = [
        ("telemetry.otlp", config.telemetry.otlp.is_some()),
        ("alerts.webhook", config.alerts.webhook.is_some()),
    ];
    for (setting, _) in set.iter().filter(|(_, is_set)| *is_set) {
        tracing::warn!(setting, "this setting is not carried out by this version");
    }
    Ok(())
}

fn open_authority(config: &Config) -> Result<Arc<CertificateAuthority>, AuthorityError> {
    let authority = CertificateAuthority::open(
        &config.interception,
        &config.intercepted(),
        telemetry::now(),
    )?;
    Ok(Arc::new(authority))
}

/// Writes the public certificate. Only once the listeners are bound: a sidecar that serves with the same configuration would
/// otherwise lose the trust of every program to one that does not start.
fn publish(authority: &CertificateAuthority, config: &Config) -> Result<(), AuthorityError> {
    authority.publish(
        &config.interception.cert_path,
        &config.interception.bundle_path,
    )?;
    match authority.opened() {
        Opened::Created | Opened::Reused => {
            tracing::info!(fingerprint = authority.fingerprint(), path = %config.interception.cert_path.display(), "the CA is ready")
        }
        Opened::Replaced(why) => {
            tracing::warn!(%why, fingerprint = authority.fingerprint(), path = %config.interception.cert_path.display(), "the CA was replaced: programs have to read the new CA file")
        }
    }
    Ok(())
}

/// `1.1 spapi-sidecar-XXXXXXXX`: names this process in Via, and meets nobody else's.
fn via() -> HeaderValue {
    let text = format!("1.1 spapi-sidecar-{:08x}", rand::random::<u32>());
    HeaderValue::from_str(&text).expect("letters, digits, dots and hyphens are visible ASCII")
}

fn start_cores(
    shared: &Arc<Shared>,
    dialer: &Arc<Dialer>,
    sockets: Vec<Sockets>,
    response_timeout: Duration,
) -> Result<Vec<JoinHandle<()>>, StartError> {
    let mut cores = Vec::with_capacity(sockets.len());
    for (n, sockets) in sockets.into_iter().enumerate() {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(StartError::Thread)?;
        let client = Client::new(Arc::clone(dialer), shared.tasks.clone(), response_timeout);
        let worker = Arc::new(Worker {
            shared: Arc::clone(shared),
            client,
        });
        let tasks = shared.tasks.clone();
        let core = std::thread::Builder::new()
            .name(format!("core-{n}"))
            .spawn(move || {
                runtime.block_on(async move {
                    listen::serve(&worker, sockets);
                    tasks.stopping().await;
                    worker.client.close();
                    tasks.finished().await;
                });
            });
        cores.push(core.map_err(StartError::Thread)?);
    }
    Ok(cores)
}

/// Tokens come from LWA and the Tokens API by the same dialling, trust and `connect_to` as the walk's requests.
fn token_source(
    config: &Config,
    store: &Arc<dyn GrantStore>,
    dialer: &Arc<Dialer>,
    tasks: &Tasks,
    events: &Events,
) -> Result<TokenSource, StartError> {
    let transport: Arc<dyn Transport> = Outside::new(Arc::clone(dialer), tasks, config.lwa.timeout);
    let lwa = Lwa::new(
        config.lwa.clone(),
        Arc::clone(store),
        Arc::clone(&transport),
    )
    .map_err(StartError::TokenUrl)?;
    let restricted = Restricted::new(config.lwa.clone(), config.inject.clone(), transport);
    Ok(TokenSource::new(
        Arc::new(lwa),
        Arc::new(restricted),
        tasks,
        events,
    ))
}
