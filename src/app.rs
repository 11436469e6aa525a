//! The composition root: the one file that knows every room.
//!
//! Job: build the rooms from a configuration, hand each what it needs from its neighbours, bind, spawn, drain.
//! Invariants: everything that can fail for want of configuration fails here, before a request is served; the store and LWA may
//! be down at the start: then the sidecar waits, is not ready, and says so.
//! Failure mode: [`StartError`], with what to do.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::sync::{Arc, OnceLock};
use std::thread::JoinHandle;
use std::time::Duration;

use arc_swap::ArcSwap;
use http::{HeaderValue, Request, header};
use http_body_util::{BodyExt as _, Full, Limited};
use tokio::sync::Semaphore;
use tokio::time::Instant;

use crate::admin::{self, Readiness};
use crate::config::{Config, Tenant};
use crate::document::Documents;
use crate::proxy::listen::{self, ListenError, Sockets};
use crate::proxy::login::Logins;
use crate::proxy::{Shared, Worker, World};
use crate::store::record::phantom_key;
use crate::store::{self, BoxFuture, GrantStore, StoreError};
use crate::task::Tasks;
use crate::telemetry::record::Recorder;
use crate::telemetry::{self, Sink};
use crate::tenant::GrantKind;
use crate::tls::authority::{AuthorityError, CertificateAuthority, Opened};
use crate::tls::client::{TlsConfigError, UpstreamTls};
use crate::tls::leaf::LeafCache;
use crate::token::exchange::{ANSWER_BYTES, Answer, Lwa, Post, Transport};
use crate::token::restricted::Restricted;
use crate::token::{AccessKey, TokenSource};
use crate::upstream::client::{Client, Manner};
use crate::upstream::dial::Dialer;
use crate::upstream::resolve::{Resolver, ResolverError};

/// Pause between attempts to read the store at the start.
const STORE_PAUSE: Duration = Duration::from_secs(2);

/// Pause between two looks at an idle tenant's token, at least: a token that lives a second must not spin.
const WARM_PAUSE: Duration = Duration::from_millis(200);

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
        let tasks = Tasks::new(tokio::runtime::Handle::current());
        let (sockets, listening) =
            listen::bind(&config.listen.proxy, &config.listen.transparent, cores)?;
        let admin_socket = tokio::net::TcpListener::bind(config.listen.admin)
            .await
            .map_err(|error| StartError::Admin(config.listen.admin, error))?;
        let admin = admin_socket
            .local_addr()
            .map_err(|error| StartError::Admin(config.listen.admin, error))?;
        // after the ports are ours: another sidecar's CA file must not be replaced by one that cannot serve
        let leaves = LeafCache::new(open_authority(&config)?)?;
        let store = store::open(&config.store)?;
        let own = listening.iter().copied().chain([admin]).collect();
        let dialer = Arc::new(Dialer {
            resolver: Resolver::new(&config.upstream, own)?,
            tls: UpstreamTls::new(&config.upstream)?,
            connect_timeout: config.upstream.connect_timeout,
            proxy: config.upstream.proxy.clone(),
        });
        let tokens = token_source(&config, &store, &dialer, &tasks)?;
        let shared = Arc::new(Shared {
            tokens,
            leaves,
            phantoms: OnceLock::new(),
            logins: Logins::new(Arc::clone(&store), tasks.clone()),
            documents: Documents::default(),
            recorder: Arc::new(Recorder {
                sink,
                release: config.telemetry.release.as_str().into(),
            }),
            permits: Arc::new(Semaphore::new(config.listen.limits.max_connections)),
            tasks,
            via: via(),
            first_id: rand::random(),
            ids: AtomicU64::new(0),
            real_token_seen: AtomicBool::new(false),
            world: ArcSwap::from_pointee(World::new(config)),
        });
        let world = shared.world.load_full();
        let readiness = Arc::new(Readiness::new(world.tenants.len()));
        let _admin = shared.tasks.control(
            "admin",
            admin::serve(admin_socket, Arc::clone(&readiness), shared.tasks.clone()),
        );
        start_background(&shared, &world, &store, &readiness);
        let cores = start_cores(
            &shared,
            &dialer,
            sockets,
            world.config.upstream.response_timeout,
        )?;
        tracing::info!(listening = ?listening, %admin, store = store.describe(), "listening");
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

    /// Completes when the sidecar may take traffic.
    pub async fn ready(&self) {
        self.readiness.wait().await;
    }

    /// Stops accepting, finishes what is in flight, at most `drain_timeout`; returns what was left by then and is cut off.
    pub async fn drain(self) -> BTreeMap<&'static str, usize> {
        let left = self.shared.tasks.drain(self.grace).await;
        // a core drops what is left of its tasks, so that their records fall; one that hangs is not waited for
        let from = Instant::now();
        while !self.cores.iter().all(JoinHandle::is_finished) && from.elapsed() < CUT_GRACE {
            tokio::time::sleep(CUT_PAUSE).await;
        }
        left
    }
}

fn open_authority(config: &Config) -> Result<Arc<CertificateAuthority>, AuthorityError> {
    let authority = CertificateAuthority::open(
        &config.interception,
        &config.intercepted(),
        telemetry::now(),
    )?;
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
    Ok(Arc::new(authority))
}

/// Where tokens come from, with a client of its own for the way to LWA and the Tokens API.
fn token_source(
    config: &Config,
    store: &Arc<dyn GrantStore>,
    dialer: &Arc<Dialer>,
    tasks: &Tasks,
) -> Result<TokenSource, StartError> {
    let outside = Arc::new(Outside {
        client: Client::new(Arc::clone(dialer), tasks.clone(), config.lwa.timeout),
        bound: config.lwa.timeout,
    });
    let (theirs, stop) = (Arc::clone(&outside), tasks.stopping());
    let _idle = tasks.control("close-idle", async move {
        stop.await;
        theirs.client.close_idle();
    });
    let transport: Arc<dyn Transport> = outside;
    let lwa = Lwa::new(
        config.lwa.clone(),
        Arc::clone(store),
        Arc::clone(&transport),
    )
    .map_err(StartError::TokenUrl)?;
    let restricted = Restricted::new(config.lwa.clone(), config.inject.clone(), transport);
    Ok(TokenSource::new(Arc::new(lwa), Arc::new(restricted), tasks))
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
                    worker.client.close_idle();
                    tasks.finished().await;
                });
            });
        cores.push(core.map_err(StartError::Thread)?);
    }
    Ok(cores)
}

/// What runs beside the requests: the store's login, the phantom key, and warm tokens.
fn start_background(
    shared: &Arc<Shared>,
    world: &World,
    store: &Arc<dyn GrantStore>,
    readiness: &Arc<Readiness>,
) {
    let tasks = &shared.tasks;
    let (kept, stop) = (Arc::clone(store), tasks.stopping());
    let _store = tasks.control("store", async move {
        tokio::select! { () = kept.keep_alive() => {}, () = stop => {} }
    });
    let (theirs, kept, ready, stop) = (
        Arc::clone(shared),
        Arc::clone(store),
        Arc::clone(readiness),
        tasks.stopping(),
    );
    let _phantom = tasks.control("phantom-key", async move {
        tokio::select! { () = read_phantom_key(&theirs, &*kept, &ready) => {}, () = stop => {} }
    });
    for tenant in world.tenants.values() {
        let (theirs, tenant, ready, stop) = (
            Arc::clone(shared),
            Arc::clone(tenant),
            Arc::clone(readiness),
            tasks.stopping(),
        );
        let _warm = tasks.control("keep-warm", async move {
            tokio::select! { () = keep_warm(&theirs, &tenant, &ready) => {}, () = stop => {} }
        });
    }
}

/// Reads the key of phantom tokens, however long the store is away.
async fn read_phantom_key(shared: &Shared, store: &dyn GrantStore, readiness: &Readiness) {
    loop {
        match phantom_key(store).await {
            Ok(key) => {
                let _once = shared.phantoms.set(key);
                readiness.store_was_read();
                return;
            }
            Err(error) => {
                tracing::warn!(%error, cause = error.cause(), store = store.describe(), "the store cannot be read yet; the sidecar is not ready");
                tokio::time::sleep(STORE_PAUSE).await;
            }
        }
    }
}

/// Keeps a standing tenant's token fresh, so that no request waits for an exchange.
async fn keep_warm(shared: &Shared, tenant: &Arc<Tenant>, readiness: &Readiness) {
    let key = AccessKey::new(tenant, GrantKind::Refresh);
    let mut first = true;
    loop {
        let pause = match shared.tokens.access(&key).await {
            Ok(issued) => {
                let next = if Instant::now() < issued.life.due {
                    issued.life.due
                } else {
                    issued.life.end
                };
                next.saturating_duration_since(Instant::now())
            }
            Err(failure) => failure.retry_in,
        };
        if std::mem::take(&mut first) {
            readiness.tenant_has_answered();
        }
        tokio::time::sleep(pause.max(WARM_PAUSE)).await;
    }
}

/// The way of token requests to LWA and the Tokens API: the same dialling, trust and `connect_to` as the walk's.
#[derive(Debug)]
struct Outside {
    client: Client<Full<bytes::Bytes>>,
    bound: Duration,
}

impl Transport for Outside {
    fn post<'a>(&'a self, post: Post<'a>) -> BoxFuture<'a, Result<Answer, String>> {
        Box::pin(async move {
            match tokio::time::timeout(self.bound, self.carry(post)).await {
                Ok(answer) => answer,
                Err(_elapsed) => Err("no answer within lwa.timeout".to_owned()),
            }
        })
    }
}

impl Outside {
    async fn carry(&self, post: Post<'_>) -> Result<Answer, String> {
        let make = || {
            let mut request = Request::new(Full::new(post.body.clone()));
            *request.method_mut() = http::Method::POST;
            *request.uri_mut() = post.target.parse().ok()?;
            let fields = request.headers_mut();
            fields.insert(
                header::HOST,
                HeaderValue::from_str(&host_field(post.to)).ok()?,
            );
            fields.insert(
                header::CONTENT_TYPE,
                HeaderValue::from_static(post.content_type),
            );
            fields.insert(header::CONTENT_LENGTH, post.body.len().into());
            fields.insert(header::ACCEPT, HeaderValue::from_static("application/json"));
            fields.insert(
                header::USER_AGENT,
                HeaderValue::from_static(concat!(
                    "spapi-sidecar/",
                    env!("CARGO_PKG_VERSION"),
                    " (Language=Rust)"
                )),
            );
            fields.extend(
                post.fields
                    .iter()
                    .map(|(name, value)| (name.clone(), value.clone())),
            );
            Some(request)
        };
        let progress = AtomicU64::new(0);
        // asking for a token twice does no harm, so a stale connection is replaced
        let manner = Manner {
            http2: false,
            repeatable: true,
            progress: &progress,
        };
        let response = self
            .client
            .send(post.to, manner, make)
            .await
            .map_err(|error| describe(&error))?;
        let status = response.status().as_u16();
        let body = Limited::new(response.into_body(), ANSWER_BYTES)
            .collect()
            .await
            .map_err(|error| error.to_string())?
            .to_bytes();
        Ok(Answer { status, body })
    }
}

fn host_field(to: &crate::name::Authority) -> String {
    if to.port == 443 {
        to.host.to_string()
    } else {
        to.to_string()
    }
}

/// An error and its causes, on one line. Errors of this path describe connections, never what was sent over them.
fn describe(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}
