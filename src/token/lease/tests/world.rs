//! A fleet in one process: a store with latencies and faults, and a clock that tests move.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

use tokio::runtime::Handle;

use super::endpoint::Endpoint;
use super::*;
use crate::config::{Account, Environment, InjectHeader, Preflight, Region, Tenant};
use crate::secret::Opaque;
use crate::store::memory::MemoryStore;
use crate::store::{Fields, Folder, Record};
use crate::telemetry::event::{Event, Events, Observer};
use crate::tenant::AppId;
use crate::token::exchange::{Answer, Post, Transport};
use crate::token::restricted::Restricted;
use crate::token::{TokenFailure, TokenSource};

/// What a read of the store takes, and what a write: DEPENDENCIES, measured on a raft leader.
const READ: Duration = Duration::from_millis(2);
const WRITE: Duration = Duration::from_millis(19);

/// What becomes of one write.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum WriteFault {
    /// It is not done, and nobody says so.
    Lost,
    /// It is done, and nobody says so.
    Unheard,
    /// It is done after this, when nobody waits for it any more.
    Late(Duration),
    /// It is refused although nobody else wrote: a standby compares with its own old copy.
    FalselyRefused,
}

/// What all sidecars share.
#[derive(Debug)]
pub(super) struct World {
    store: Arc<MemoryStore>,
    pub(super) lwa: Arc<Endpoint>,
    pub(super) events: Arc<Heard>,
    began: Instant,
    pub(super) reads: AtomicU64,
    pub(super) writes: AtomicU64,
    pub(super) conflicts: AtomicU64,
    /// Leases that were written over somebody else's, or over one's own that had not ended.
    pub(super) takeovers: AtomicU64,
    reading: Mutex<HashMap<String, usize>>,
    pub(super) most_reading: AtomicUsize,
}

/// What the sidecars said.
#[derive(Debug, Default)]
pub(super) struct Heard {
    pub(super) own: AtomicU64,
    pub(super) shared: AtomicU64,
}

impl Observer for Heard {
    fn note(&self, event: &Event<'_>) {
        if let Event::Exchange(exchange) = event {
            let count = if exchange.shared {
                &self.shared
            } else {
                &self.own
            };
            count.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl World {
    /// A world with an app and these tenants' grants.
    pub(super) async fn with(tenants: usize) -> Arc<Self> {
        let store = Arc::new(MemoryStore::default());
        let fields = |pairs: &[(&str, String)]| -> Fields {
            let own = pairs.iter();
            own.map(|(name, value)| ((*name).to_owned(), Opaque::new(value.clone())))
                .collect()
        };
        let app = fields(&[("client_id", "id".into()), ("client_secret", "s".into())]);
        let key = RecordKey::App(AppId::parse("erp").unwrap());
        store.write(&key, app, Expect::Any).await.unwrap();
        for n in 0..tenants {
            let key = RecordKey::Grant(id(n));
            let grant = fields(&[("refresh_token", format!("Atzr|{}", id(n)))]);
            store.write(&key, grant, Expect::Any).await.unwrap();
        }
        Arc::new(Self {
            store,
            lwa: Arc::new(Endpoint::new()),
            events: Arc::default(),
            began: Instant::now(),
            reads: AtomicU64::default(),
            writes: AtomicU64::default(),
            conflicts: AtomicU64::default(),
            takeovers: AtomicU64::default(),
            reading: Mutex::default(),
            most_reading: AtomicUsize::default(),
        })
    }

    /// How many exchanges the endpoint saw.
    pub(super) fn exchanges(&self) -> usize {
        self.lwa.seen.lock().unwrap().exchanges.len()
    }

    /// The record of a tenant's access token.
    pub(super) async fn record(&self, tenant: usize) -> TokenRecord {
        let key = RecordKey::Token(id(tenant), GrantKind::Refresh);
        let record = self.store.read(&key).await.unwrap();
        record.as_ref().map(TokenRecord::read).unwrap_or_default()
    }

    /// A write that arrives.
    async fn write(
        &self,
        key: &RecordKey,
        fields: Fields,
        expect: Expect,
    ) -> Result<u64, StoreError> {
        let before = self.store.read(key).await?;
        let held = before.is_some_and(|record| record.fields.contains_key("nonce"));
        let acquires = fields.contains_key("nonce");
        let outcome = self.store.write(key, fields, expect).await;
        if held && acquires && outcome.is_ok() {
            self.takeovers.fetch_add(1, Ordering::Relaxed);
        }
        outcome
    }

    /// What a person does with a record.
    pub(super) async fn overwrite(&self, key: &RecordKey, fields: Fields) {
        self.store.write(key, fields, Expect::Any).await.unwrap();
    }

    /// The refresh token in the store.
    pub(super) async fn refresh_token(&self, tenant: usize) -> String {
        let key = RecordKey::Grant(id(tenant));
        let record = self.store.read(&key).await.unwrap().unwrap();
        record.fields["refresh_token"].expose().to_owned()
    }

    /// The store's metadata is deleted: every token record, and its versions with it.
    pub(super) fn begin_anew(&self) {
        self.store.forget_all("/tokens/");
    }

    /// Whether Amazon would take a token now.
    pub(super) fn is_alive(&self, issued: &Issued) -> bool {
        let seen = self.lwa.seen.lock().unwrap();
        seen.ends[issued.token.expose()] > Instant::now()
    }
}

pub(super) fn id(tenant: usize) -> TenantId {
    TenantId::parse(&format!("t{tenant}")).unwrap()
}

pub(super) fn profile(tenant: usize) -> Arc<Tenant> {
    Arc::new(Tenant {
        id: id(tenant),
        app: AppId::parse("erp").unwrap(),
        account: Account::Seller,
        region: Region::Na,
        environment: Environment::Production,
        marketplaces: Vec::new(),
        vendor_groups: Vec::new(),
        scopes: Vec::new(),
        preflight: Preflight::Optional,
    })
}

pub(super) fn key(tenant: usize) -> AccessKey {
    AccessKey::new(&profile(tenant), GrantKind::Refresh)
}

/// One sidecar's way to the store.
#[derive(Debug)]
pub(super) struct Line {
    world: Arc<World>,
    /// What becomes of the next writes of token records.
    pub(super) faults: Mutex<VecDeque<WriteFault>>,
    pub(super) cut: AtomicBool,
    /// What every write comes to, although reads work.
    pub(super) takes_no_writes: Mutex<Option<StoreError>>,
    /// How long a read of the app's record takes from now on.
    pub(super) stall: Mutex<Duration>,
}

impl Line {
    fn through(&self) -> Result<(), StoreError> {
        if self.cut.load(Ordering::Relaxed) {
            return Err(StoreError::Unavailable("cut off".to_owned()));
        }
        Ok(())
    }
}

impl GrantStore for Line {
    fn read<'a>(&'a self, key: &'a RecordKey) -> BoxFuture<'a, Result<Option<Record>, StoreError>> {
        Box::pin(async move {
            let world = &self.world;
            world.reads.fetch_add(1, Ordering::Relaxed);
            let path = key.path();
            {
                let mut reading = world.reading.lock().unwrap();
                let now = reading.entry(path.clone()).or_default();
                *now += 1;
                // the app's record is read with every exchange, and never written while that goes on
                if matches!(key, RecordKey::Token(..)) {
                    world.most_reading.fetch_max(*now, Ordering::Relaxed);
                }
            }
            tokio::time::sleep(READ).await;
            let stall = *self.stall.lock().unwrap();
            if matches!(key, RecordKey::App(_)) && !stall.is_zero() {
                tokio::time::sleep(stall).await;
            }
            *world.reading.lock().unwrap().get_mut(&path).unwrap() -= 1;
            self.through()?;
            world.store.read(key).await
        })
    }

    fn write<'a>(
        &'a self,
        key: &'a RecordKey,
        fields: Fields,
        expect: Expect,
    ) -> BoxFuture<'a, Result<u64, StoreError>> {
        Box::pin(async move {
            self.world.writes.fetch_add(1, Ordering::Relaxed);
            tokio::time::sleep(WRITE).await;
            self.through()?;
            let refused = self.takes_no_writes.lock().unwrap().clone();
            if let Some(error) = refused {
                return Err(error);
            }
            let unheard = || Err(StoreError::Timeout("no answer".to_owned()));
            let fault = matches!(key, RecordKey::Token(..))
                .then(|| self.faults.lock().unwrap().pop_front())
                .flatten();
            let world = &self.world;
            match fault {
                None => {
                    let outcome = world.write(key, fields, expect).await;
                    if outcome.is_err() {
                        world.conflicts.fetch_add(1, Ordering::Relaxed);
                    }
                    outcome
                }
                Some(WriteFault::Lost) => unheard(),
                Some(WriteFault::Unheard) => {
                    let _unheard = world.write(key, fields, expect).await;
                    unheard()
                }
                Some(WriteFault::Late(after)) => {
                    let (key, world) = (key.clone(), Arc::clone(world));
                    let tasks = Tasks::new(Handle::current());
                    let _late = tasks.control("late", async move {
                        tokio::time::sleep(after).await;
                        let _unheard = world.write(&key, fields, expect).await;
                    });
                    unheard()
                }
                Some(WriteFault::FalselyRefused) => Err(StoreError::Conflict(key.path())),
            }
        })
    }

    fn list(&self, folder: Folder) -> BoxFuture<'_, Result<Vec<String>, StoreError>> {
        self.world.store.list(folder)
    }

    fn describe(&self) -> String {
        "line".to_owned()
    }
}

/// One sidecar: what `app` builds of the token room.
#[derive(Debug)]
pub(super) struct Sidecar {
    pub(super) tokens: TokenSource,
    pub(super) line: Arc<Line>,
    pub(super) tasks: Tasks,
    pub(super) lease: Duration,
}

/// How a sidecar's wall clock differs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Clock {
    Right,
    Ahead(Duration),
    Behind(Duration),
}

impl Sidecar {
    pub(super) fn join(world: &Arc<World>, clock: Clock) -> Self {
        let lwa = config::Lwa {
            token_url: "https://api.amazon.com/auth/o2/token".parse().unwrap(),
            refresh_at: 0.5,
            clock_skew: Duration::from_secs(30),
            timeout: Duration::from_secs(10),
        };
        let line = Arc::new(Line {
            world: Arc::clone(world),
            faults: Mutex::default(),
            cut: AtomicBool::default(),
            takes_no_writes: Mutex::default(),
            stall: Mutex::default(),
        });
        let tasks = Tasks::new(Handle::current());
        let events = Events::default();
        events.observe(vec![Arc::clone(&world.events) as _]);
        let transport = Bounded(Arc::clone(&world.lwa), lwa.timeout);
        let transport: Arc<dyn Transport> = Arc::new(transport);
        let store: Arc<dyn GrantStore> = Arc::clone(&line) as _;
        let began = world.began;
        let wall = move || {
            let right =
                SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000) + began.elapsed();
            match clock {
                Clock::Right => right,
                Clock::Ahead(by) => right + by,
                Clock::Behind(by) => right - by,
            }
        };
        let restricted = Restricted::new(
            lwa.clone(),
            vec![InjectHeader::Authorization],
            Arc::clone(&transport),
        );
        let lwa = Lwa::new(
            lwa,
            Arc::clone(&store),
            transport,
            tasks.clone(),
            events.clone(),
        );
        let lwa = Arc::new(lwa.unwrap());
        let leases = Leases::new(
            Arc::clone(&lwa),
            store,
            tasks.clone(),
            format!("sidecar/{:x}", rand::random::<u32>()),
            Arc::new(wall),
        );
        let lease = leases.lease();
        let leases = Some(Arc::new(leases));
        Self {
            tokens: TokenSource::new(lwa, leases, Arc::new(restricted), &tasks, &events),
            line,
            tasks,
            lease,
        }
    }

    pub(super) async fn token(&self) -> Result<Issued, TokenFailure> {
        self.tokens.access(&key(0)).await
    }

    /// Keeps a tenant's token warm, as `app` does, for as long as this is polled.
    pub(super) async fn keep_warm(&self, tenant: usize) {
        let key = key(tenant);
        loop {
            let pause = match self.tokens.access(&key).await {
                Ok(issued) => issued.life.until_next_look(Instant::now()),
                Err(failure) => failure.retry_in,
            };
            tokio::time::sleep(pause).await;
        }
    }

    pub(super) fn next_writes(&self, faults: &[WriteFault]) {
        self.line.faults.lock().unwrap().extend(faults);
    }
}

/// The bound on one exchange.
#[derive(Debug)]
struct Bounded(Arc<Endpoint>, Duration);

impl Transport for Bounded {
    fn post<'a>(&'a self, post: Post<'a>) -> BoxFuture<'a, Result<Answer, String>> {
        Box::pin(async move {
            let answer = tokio::time::timeout(self.1, self.0.post(post)).await;
            answer.unwrap_or_else(|_elapsed| Err("no answer".to_owned()))
        })
    }
}
