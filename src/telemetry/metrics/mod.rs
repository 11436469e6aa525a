//! Counters, histograms and gauges, and the page that shows them.
//!
//! Job: count what [`Event`]s say; ask the rooms for the present when somebody looks; write OpenMetrics text.
//! Invariants: the names and labels of CONTRACT section 4; labels are tenants, catalog ids, templates and closed words, in
//! bounded number; counting never waits: each thread has a shard of its own, and while that one is being read it takes
//! another; a tenant that a reload took away is forgotten at the next look.
//! Failure mode: none; a page that cannot be written is empty.
//! Source: OpenMetrics 1.0.

use std::cell::Cell;
use std::fmt;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use self::reading::{Readings, Source};
use self::tally::{NONE, Tally, bump};
use super::event::{Event, Exchange, Observer};
use super::record::{Outcome, Record};
use crate::outcome::{Denial, Reason};
use crate::tenant::TenantId;

mod histogram;
mod page;
pub mod reading;
mod tally;

/// What the page is, for `Content-Type`.
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Most shards. More threads share them, which costs them little.
const MOST_SHARDS: usize = 64;

/// All metrics of a process.
pub struct Metrics {
    shards: Box<[Shard]>,
    /// Pairs of tenant and operation that are told apart.
    pairs: AtomicUsize,
    reloads_taken: AtomicU64,
    reloads_refused: AtomicU64,
    store_up: AtomicU64,
    sources: RwLock<Vec<Source>>,
    release: Arc<str>,
}

/// What one thread counts, apart from the others in memory too.
#[repr(align(128))]
#[derive(Default)]
struct Shard(Mutex<Tally>);

thread_local! {
    /// The number of this thread among those that count.
    static THREAD: Cell<Option<usize>> = const { Cell::new(None) };
}

impl Metrics {
    /// Starts from nothing. `release` is the deploy's name.
    #[must_use]
    pub fn new(release: Arc<str>) -> Self {
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        // one more for the control runtime, and one so that there is always another to go to
        let shards = (cores + 2).min(MOST_SHARDS);
        Self {
            shards: (0..shards).map(|_| Shard::default()).collect(),
            pairs: AtomicUsize::new(0),
            reloads_taken: AtomicU64::new(0),
            reloads_refused: AtomicU64::new(0),
            store_up: AtomicU64::new(0),
            sources: RwLock::default(),
            release,
        }
    }

    /// Asks this room too when somebody looks.
    pub fn ask(&self, source: impl Fn(&mut Readings) + Send + Sync + 'static) {
        self.sources
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .push(Box::new(source));
    }

    /// Everything, as OpenMetrics text.
    #[must_use]
    pub fn page(&self) -> String {
        let mut readings = Readings::default();
        for source in &*self.sources.read().unwrap_or_else(PoisonError::into_inner) {
            source(&mut readings);
        }
        page::write(self, readings)
    }

    /// The shard of this thread, or another one while that is being read.
    fn tally(&self) -> MutexGuard<'_, Tally> {
        let own = own_number() % self.shards.len();
        let (before, after) = self.shards.split_at(own);
        for shard in after.iter().chain(before) {
            if let Ok(tally) = shard.0.try_lock() {
                return tally;
            }
        }
        // reading one shard takes less than a millisecond
        let shard = after.first().expect("the remainder is within the shards");
        shard.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn request(&self, record: &Record) {
        let tenant = record.tenant.as_ref().map_or(NONE, TenantId::as_str);
        let operation = &*record.operation;
        let operation = if operation.is_empty() {
            NONE
        } else {
            operation
        };
        let mut tally = self.tally();
        let ending = (record.status, record.outcome);
        let waiting = record.token_was_waiting;
        tally.request(tenant, operation, ending, waiting, &self.pairs);
        // how long a tunnel stays open says nothing about requests
        if record.outcome != Outcome::Tunnelled {
            tally.request.observe(record.elapsed(), record.trace_id());
            if record.head_ready.is_some() {
                tally.overhead.observe(record.overhead(), record.trace_id());
            }
        }
        let made_here = matches!(record.outcome, Outcome::Refused | Outcome::Failed);
        if let (Some(reason), true) = (record.reason, made_here) {
            let counters = tally.tenant(tenant, &self.pairs);
            bump(&mut counters.refused, reason);
            if reason == Reason::Throttled {
                counters.throttled(operation, &self.pairs);
            }
        }
    }

    fn denied(&self, tenant: &TenantId, operation: &str, status: u16, denial: Denial) {
        let mut tally = self.tally();
        let counters = tally.tenant(tenant.as_str(), &self.pairs);
        if denial == Denial::Throttled {
            counters.throttled(operation, &self.pairs);
        } else if matches!(status, 401 | 403) {
            bump(&mut counters.auth_errors, status);
        }
    }

    fn exchange(&self, exchange: &Exchange<'_>) {
        let result = match exchange.result {
            Ok(_) if exchange.shared => "shared",
            Ok(_) => "ok",
            Err(cause) => cause,
        };
        let mut tally = self.tally();
        let counters = tally.tenant(exchange.tenant.as_str(), &self.pairs);
        bump(&mut counters.exchanges, (exchange.kind, result));
    }
}

/// The number of this thread among those that count.
fn own_number() -> usize {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    THREAD.get().unwrap_or_else(|| {
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        THREAD.set(Some(number));
        number
    })
}

impl Observer for Metrics {
    fn note(&self, event: &Event<'_>) {
        match event {
            Event::Request(record) => self.request(record),
            Event::Denied {
                tenant,
                operation,
                status,
                denial,
                token_kind: _,
            } => self.denied(tenant, operation, *status, *denial),
            Event::Exchange(exchange) => self.exchange(exchange),
            Event::Store { up, cause: _ } => self.store_up.store((*up).into(), Ordering::Relaxed),
            Event::Reload { taken, .. } => {
                let counter = if *taken {
                    &self.reloads_taken
                } else {
                    &self.reloads_refused
                };
                counter.fetch_add(1, Ordering::Relaxed);
            }
            Event::PhantomVended { .. }
            | Event::RealTokenSeen { .. }
            | Event::State { .. }
            | Event::BreakGlass { .. }
            | Event::FreshTokenRefused { .. }
            | Event::GrantNotStored { .. }
            | Event::Audit { .. }
            | Event::Verdict { .. }
            | Event::Started
            | Event::Stopping => {}
        }
    }
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metrics").finish_non_exhaustive()
    }
}
