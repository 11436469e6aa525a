//! The composition root: the one file that knows every room.
//!
//! Job: build the rooms from a configuration, hand each what it needs from its neighbours, bind, spawn, drain.
//! Invariants: everything that can fail for want of configuration fails here, before a request is served; the store and LWA may
//! be down at the start: then the sidecar waits, is not ready, and says so.
//! Failure mode: [`StartError`], with what to do.

mod action;
mod alerting;
mod background;
pub mod errand;
mod holdings;
mod hook;
mod outside;
mod reading;
mod refusals;
mod reload;
mod rounds;
mod status;
mod verdicts;
mod view;
mod watch;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, OnceLock};
use std::thread::JoinHandle;
use std::time::Duration;

use arc_swap::ArcSwap;
use http::HeaderValue;
use tokio::sync::Semaphore;
use tokio::time::Instant;

use self::outside::{Outside, TokensQuota};
use self::reload::Reload;
pub use self::reload::{Lookup, ReloadError, Reloaded};
use self::verdicts::Verdicts;
use crate::admin::events::Feed;
use crate::admin::token::{AdminToken, TokenFileError};
use crate::admin::{self, Readiness};
use crate::alert::Alerts;
use crate::alert::webhook::SecretError;
use crate::audit::Audit;
use crate::config::{self, Config, LogFormat};
use crate::document::Documents;
use crate::fleet::Fleet;
use crate::pace::Pace;
use crate::proxy::crowd::Crowd;
use crate::proxy::listen::{self, Inherited, ListenError, Sockets, Unclaimed};
use crate::proxy::load::Load;
use crate::proxy::login::Logins;
use crate::proxy::replay::Room;
use crate::proxy::{Shared, Worker, World};
use crate::roster::{Passes, Profiles};
use crate::store::watched::Watched;
use crate::store::{self, GrantStore, StoreError};
use crate::task::Tasks;
use crate::telemetry::event::{Event, Events, Observer};
use crate::telemetry::metrics::Metrics;
use crate::telemetry::record::Recorder;
use crate::telemetry::traffic::Traffic;
use crate::telemetry::{self, Sink};
use crate::tls::authority::{AuthorityError, CertificateAuthority, Opened};
use crate::tls::leaf::LeafCache;
use crate::token::TokenSource;
use crate::token::exchange::{Lwa, Transport};
use crate::token::incident::Incidents;
use crate::token::lease::Leases;
use crate::token::report::Reports;
use crate::token::restricted::Restricted;
use crate::upstream::client::Client;
use crate::upstream::dial::{Dialer, DialerError};
use crate::verdict::memory::Memory;

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
    /// A socket was handed over that nothing is for.
    #[error(transparent)]
    Unclaimed(#[from] Unclaimed),
    /// The admin listener could not be bound.
    #[error("cannot listen on {0}: {1}; choose another address in `listen.admin`")]
    Admin(SocketAddr, std::io::Error),
    /// What is on this machine for the store is not usable.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// `upstream.resolver`, `trust`, `pins` or `client_cert`.
    #[error(transparent)]
    Dialer(#[from] DialerError),
    /// The admin token's file.
    #[error(transparent)]
    AdminToken(#[from] TokenFileError),
    /// `lwa.token_url`.
    #[error("lwa.token_url names no usable host: {0}")]
    TokenUrl(crate::name::NameError),
    /// `alerts.webhook.url`.
    #[error("alerts.webhook.url names no usable host: {0}")]
    WebhookUrl(crate::name::NameError),
    /// `alerts.webhook.secret_file`.
    #[error(transparent)]
    WebhookSecret(#[from] SecretError),
    /// A thread could not be started.
    #[error("a thread could not be started: {0}")]
    Thread(std::io::Error),
}

/// Where the admin interface listens.
async fn admin_listener(
    address: SocketAddr,
    inherited: &mut Inherited,
) -> Result<(tokio::net::TcpListener, SocketAddr), StartError> {
    let bound = match inherited.take(address) {
        Some(socket) => tokio::net::TcpListener::from_std(socket),
        None => tokio::net::TcpListener::bind(address).await,
    };
    bound
        .and_then(|socket| socket.local_addr().map(|at| (socket, at)))
        .map_err(|error| StartError::Admin(address, error))
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
    reload: Arc<Reload>,
    metrics: Arc<Metrics>,
}

impl App {
    /// Builds and starts everything. Has to be called on the control runtime; `cores` is how many connection runtimes to run.
    ///
    /// # Errors
    /// When something that only an operator can mend is missing.
    pub async fn start(config: Config, sink: Sink, cores: usize) -> Result<Self, StartError> {
        Self::start_on(config, sink, cores, Inherited::default()).await
    }

    /// The same, on listening sockets that were handed over, where there are any.
    ///
    /// # Errors
    /// As [`App::start`], and when a socket is for no listener of the configuration.
    pub async fn start_on(
        config: Config,
        sink: Sink,
        cores: usize,
        mut inherited: Inherited,
    ) -> Result<Self, StartError> {
        let tasks = Tasks::new(tokio::runtime::Handle::current());
        let events = Events::default();
        let seen = Seers::new(&config);
        let authority = open_authority(&config)?;
        let leaves = LeafCache::new(Arc::clone(&authority))?;
        let (sockets, listening) = listen::bind(
            &config.listen.proxy,
            &config.listen.transparent,
            cores,
            &mut inherited,
        )?;
        let (admin_socket, admin) = admin_listener(config.listen.admin, &mut inherited).await?;
        inherited.all_taken()?;
        let token = Arc::new(AdminToken::open(&config.listen.admin_token_file)?);
        let store = Watched::over(store::open(&config.store)?, &events);
        publish(&authority, &config)?;
        let own: Vec<SocketAddr> = listening.iter().copied().chain([admin]).collect();
        let dialer = Arc::new(Dialer::new(&config.upstream, own.clone())?);
        let shared = rooms(config, sink, &store, &dialer, leaves, tasks, &events)?;
        events.observe(seen.observers(&shared));
        let world = shared.world.load_full();
        shared
            .fleet
            .set_holdings(holdings::Tokens::of(&shared, &store));
        let readiness = Arc::new(Readiness::new(world.tenants.standing().len()));
        let verdicts = Verdicts::new(&shared, &store, &seen.memory);
        verdicts.start(&readiness);
        alerting::explain(&shared, &verdicts);
        let dated = Arc::clone(&verdicts);
        let dues: alerting::Dues = Arc::new(move || dated.dues());
        reading::answer(&seen.metrics, &shared, &dues);
        let reload = Arc::new(Reload::new(Arc::clone(&shared)));
        let counted = Arc::clone(&seen.metrics);
        let office = office(
            &shared,
            &readiness,
            &reload,
            token,
            &seen.feed,
            &view::Sources {
                shared: Arc::clone(&shared),
                verdicts: Arc::clone(&verdicts),
                memory: seen.memory,
                readiness: Arc::clone(&readiness),
                marks: seen.marks,
            },
            Arc::new(move || counted.page()),
        );
        background::tell(&shared, seen.feed);
        let _admin = shared
            .tasks
            .control("admin", admin::serve(admin_socket, office));
        background::start(&shared, &world, &store, &readiness);
        alerting::tell(&shared, &world, own)?;
        alerting::start(&shared, &world, &verdicts);
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
            reload,
            metrics: seen.metrics,
            shared,
        })
    }

    /// The metrics, to be told more.
    #[must_use]
    pub const fn metrics(&self) -> &Arc<Metrics> {
        &self.metrics
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
    pub fn reload(&self, config: Config) -> Result<Reloaded, ReloadError> {
        self.reload.take(config)
    }

    /// Says which file the configuration was read from and what it held: it is watched from now on, and read again when it
    /// changes or somebody asks for it.
    pub fn follow(&self, path: &Path, text: &str, env: Lookup) {
        self.reload.follow(path, text, env);
        let (watched, stop) = (
            watch::watch(Arc::clone(&self.reload), path.to_owned()),
            self.shared.tasks.stopping(),
        );
        let _watch = self.shared.tasks.control("watch", async move {
            tokio::select! { () = watched => {}, () = stop => {} }
        });
    }

    /// Reads the file again that [`App::follow`] named. `asked_by` is for the log.
    ///
    /// # Errors
    /// When it is not taken; then nothing has changed, and the log says why.
    pub fn reload_file(&self, asked_by: &str) -> Result<Reloaded, ReloadError> {
        self.reload.again(asked_by)
    }

    /// Completes when the sidecar may take traffic.
    pub async fn ready(&self) {
        self.readiness.wait().await;
    }

    /// Stops accepting, finishes what is in flight, at most `drain_timeout`; returns what was left by then and is cut off.
    pub async fn drain(self) -> BTreeMap<&'static str, usize> {
        self.shared.recorder.events.note(&Event::Stopping);
        let left = self.shared.tasks.drain(self.grace).await;
        for tenant in self.shared.tokens.not_stored() {
            tracing::error!(%tenant, "the refresh token that LWA put in the old one's place is lost with this process, since the store has not taken it; if exchanges say grant_revoked from now on, run `spapi-sidecar authorize {tenant}`");
        }
        // a core drops what is left of its tasks, so that their records fall; one that hangs is not waited for
        let from = Instant::now();
        while !self.cores.iter().all(JoinHandle::is_finished) && from.elapsed() < CUT_GRACE {
            tokio::time::sleep(CUT_PAUSE).await;
        }
        self.shared.audit.close().await;
        self.shared.recorder.traffic.save(telemetry::now());
        left
    }
}

/// Who hears of what happens, besides the rooms themselves.
struct Seers {
    memory: Arc<Memory>,
    feed: Arc<Feed>,
    marks: Arc<view::Marks>,
    metrics: Arc<Metrics>,
}

impl Seers {
    fn new(config: &Config) -> Self {
        Self {
            memory: Arc::default(),
            feed: Arc::default(),
            marks: Arc::default(),
            metrics: Arc::new(Metrics::new(config.telemetry.release.as_str().into())),
        }
    }

    fn observers(&self, shared: &Shared) -> Vec<Arc<dyn Observer>> {
        vec![
            Arc::clone(&self.memory) as _,
            Arc::clone(&shared.recorder.traffic) as _,
            Arc::clone(&self.feed) as _,
            Arc::clone(&self.marks) as _,
            Arc::clone(&self.metrics) as _,
            Arc::new(shared.audit.clone()),
            Arc::clone(&shared.alerts) as _,
        ]
    }
}

/// What every core shares.
fn rooms(
    config: Config,
    sink: Sink,
    store: &Arc<dyn GrantStore>,
    dialer: &Arc<Dialer>,
    leaves: LeafCache,
    tasks: Tasks,
    events: &Events,
) -> Result<Arc<Shared>, StartError> {
    let traffic = Arc::new(Traffic::open(&config.audit.path, telemetry::now()));
    let profiles = Arc::new(Profiles::new(Arc::clone(store), tasks.clone()));
    let fleet = Arc::new(Fleet::new(Arc::clone(store), tasks.clone(), events.clone()));
    let together = Arc::clone(&fleet);
    let pace = Arc::new(Pace::new(Arc::new(move || together.members())));
    Ok(Arc::new(Shared {
        tokens: Arc::new(token_source(&config, store, dialer, &pace, &tasks, events)?),
        pace,
        incidents: Incidents::new(events.clone()),
        fleet,
        leaves,
        phantoms: OnceLock::new(),
        logins: Logins::new(Arc::clone(store), tasks.clone()),
        documents: Documents::default(),
        audit: Audit::start(&config.audit, events).map_err(StartError::Thread)?,
        alerts: Alerts::new(&config, std::iter::empty()),
        reports: Reports::default(),
        recorder: recorder(&config, sink, traffic, events),
        permits: Arc::new(Semaphore::new(config.listen.limits.max_connections)),
        crowd: Crowd::new(config.listen.limits.max_connections),
        load: Load::new(config.listen.limits.max_connections),
        room: Arc::new(Room::new(config.listen.limits.replay_body)),
        tasks,
        via: via(),
        first_id: rand::random(),
        ids: AtomicU64::new(0),
        world: ArcSwap::from_pointee(World::new(config, 0, &profiles)),
        profiles,
        passes: Passes::new(Arc::clone(store)),
        generation: tokio::sync::watch::Sender::new(0),
    }))
}

/// What the admin listener answers from.
fn office(
    shared: &Arc<Shared>,
    readiness: &Arc<Readiness>,
    reload: &Arc<Reload>,
    token: Arc<AdminToken>,
    feed: &Arc<Feed>,
    sources: &view::Sources,
    metrics: Arc<dyn Fn() -> String + Send + Sync>,
) -> admin::Office {
    let (its, verdicts) = (Arc::clone(&sources.verdicts), Arc::clone(&sources.verdicts));
    let sources = sources.clone();
    let (theirs, acting, reload) = (Arc::clone(shared), Arc::clone(shared), Arc::clone(reload));
    admin::Office {
        readiness: Arc::clone(readiness),
        status: Arc::new(move || status::status(&theirs, &its.dues())),
        verdicts: Arc::new(move |only: Option<String>| {
            let verdicts = Arc::clone(&verdicts);
            Box::pin(async move {
                match only {
                    Some(id) => verdicts.health_of_one(&id).await,
                    None => Some(verdicts.health()),
                }
            })
        }),
        views: Arc::new(move || sources.view()),
        metrics,
        feed: Arc::clone(feed),
        token,
        act: Arc::new(move |asked| {
            Box::pin(action::act(Arc::clone(&acting), Arc::clone(&reload), asked))
        }),
        tasks: shared.tasks.clone(),
    }
}

fn recorder(config: &Config, sink: Sink, traffic: Arc<Traffic>, events: &Events) -> Arc<Recorder> {
    Arc::new(Recorder {
        sink,
        release: config.telemetry.release.as_str().into(),
        traffic,
        events: events.clone(),
        pretty: config.telemetry.log_format == LogFormat::Pretty,
    })
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
    pace: &Arc<Pace>,
    tasks: &Tasks,
    events: &Events,
) -> Result<TokenSource, StartError> {
    let transport: Arc<dyn Transport> = Outside::new(Arc::clone(dialer), tasks, config.lwa.timeout);
    let lwa = Lwa::new(
        config.lwa.clone(),
        Arc::clone(store),
        Arc::clone(&transport),
        tasks.clone(),
        events.clone(),
    )
    .map_err(StartError::TokenUrl)?;
    let lwa = Arc::new(lwa);
    let restricted = Restricted::new(config.lwa.clone(), config.inject.clone(), transport);
    let restricted =
        restricted.within(TokensQuota::new(Arc::clone(pace), config.throttle.max_wait));
    Ok(TokenSource::new(
        Arc::clone(&lwa),
        leases(config, lwa, store, tasks),
        Arc::new(restricted),
        tasks,
        events,
    ))
}

/// What shares access tokens with the fleet, where the store is the fleet's and the configuration wants it.
fn leases(
    config: &Config,
    lwa: Arc<Lwa>,
    store: &Arc<dyn GrantStore>,
    tasks: &Tasks,
) -> Option<Arc<Leases>> {
    let config::Store::Vault(vault) = &config.store else {
        return None;
    };
    // for people who look at a lease: which process on which machine
    let host = rustix::system::uname();
    let host = host.nodename().to_string_lossy();
    let holder = format!("{host}/{}", std::process::id());
    let wall = Arc::new(telemetry::now);
    vault.share_tokens.then(|| {
        let store = Arc::clone(store);
        Arc::new(Leases::new(lwa, store, tasks.clone(), holder, wall))
    })
}
