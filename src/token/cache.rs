//! Tokens in memory, and one exchange for all who wait.
//!
//! Job: answer from memory; renew while a token is due; let every caller of a miss wait for the same exchange.
//! Invariants: a hit takes no task and waits for nobody; the exchange is a task of its own, so a caller that goes away
//! ends nothing (moka's own coalescing runs inside the first caller, and is not used for that reason); the deadline is in the
//! value and judged by [`super::lifetime`], moka bounds memory alone; what is dropped here (replaced, refused, forgotten) is
//! dropped at once, not when moka gets round to it, so that its bytes are zeroized as soon as no request carries them.
//! Failure mode: after a failure the next attempt waits, see [`super::desk`]; callers in between get the failure at once. A
//! token inside its life is served whatever happens.

use std::collections::HashSet;
use std::fmt;
use std::hash::Hash;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::Shared;
use moka::sync::Cache;
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::desk::{Course, Departure, Desks, FIRST_PAUSE, Landing, Refused};
use super::lifetime::State;
use super::{Cause, Issued, TokenFailure};
use crate::map::Hasher;
use crate::store::BoxFuture;
use crate::task::Tasks;
use crate::telemetry::event::{Event, Events, Exchange};
use crate::tenant::{AppId, TenantId};

/// Most tokens in memory: ten thousand tenants with a few kinds each.
const MOST_TOKENS: u64 = 40_000;

/// A token that nobody has used for this long is dropped; it would have expired anyway.
const IDLE: Duration = Duration::from_hours(2);

/// How often a demand for a new token waits for an exchange that somebody else began. After that it takes what there is.
const MOST_WAITS: u32 = 3;

/// Whose token a key stands for, for those who hear of exchanges.
pub trait Subject {
    /// Whose.
    fn tenant(&self) -> &TenantId;

    /// Of which app, where LWA is asked.
    fn app(&self) -> Option<&AppId>;

    /// `access`, `grantless` or `rdt`.
    fn kind(&self) -> &'static str;
}

/// Gets a new token for a key.
pub trait Fetch<K>: Send + Sync + fmt::Debug {
    /// One exchange. `forced` says that it replaces a token that is not at its end.
    fn fetch<'a>(&'a self, key: &'a K, forced: bool) -> BoxFuture<'a, Result<Issued, Cause>>;

    /// Hears, before the fetch that replaces it, of a token that must not be handed out again: this one, or, with `None`,
    /// whatever the fetch finds elsewhere.
    fn replace(&self, _key: &K, _refused: Option<&Issued>) {}

    /// Forgets what it knows of a tenant.
    fn forget(&self, _tenant: &TenantId) {}
}

type Flight = Shared<BoxFuture<'static, Result<Issued, TokenFailure>>>;

/// What a demand for a new token meets.
enum Demand {
    /// An exchange that began before.
    UnderWay(Flight),
    /// Its own.
    Begun(Result<Flight, TokenFailure>),
}

/// A place for one token. Emptying it drops the token for everybody who looks from then on.
#[derive(Default)]
struct Slot(RwLock<Option<Issued>>);

impl Slot {
    fn holding(issued: Issued) -> Arc<Self> {
        Arc::new(Self(RwLock::new(Some(issued))))
    }

    fn look(&self) -> Option<Issued> {
        self.0
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    fn empty(&self) {
        self.0
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
    }
}

/// Where callers find tokens.
struct Shelf<K>(Cache<K, Arc<Slot>, Hasher>);

// not derived: a derive would ask `K` to be clonable
impl<K> Clone for Shelf<K> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<K: Eq + Hash + Send + Sync + 'static> Shelf<K> {
    fn new() -> Self {
        Self(
            Cache::builder()
                .max_capacity(MOST_TOKENS)
                .time_to_idle(IDLE)
                .build_with_hasher(Hasher::default()),
        )
    }

    fn look(&self, key: &K) -> Option<Issued> {
        self.0.get(key)?.look()
    }

    fn put(&self, key: K, issued: Issued) {
        let before = self.0.get(&key);
        self.0.insert(key, Slot::holding(issued));
        if let Some(before) = before {
            before.empty();
        }
    }

    fn drop_one(&self, key: &K) {
        if let Some(slot) = self.0.remove(key) {
            slot.empty();
        }
    }

    fn drop_all(&self, which: impl Fn(&K) -> bool) {
        for (key, slot) in &self.0 {
            if which(&key) {
                slot.empty();
                self.0.invalidate(&*key);
            }
        }
    }
}

type Board<K> = Arc<Mutex<Desks<K, Flight>>>;

/// Tokens by key.
pub struct TokenCache<K> {
    name: &'static str,
    tokens: Shelf<K>,
    fetch: Arc<dyn Fetch<K>>,
    desks: Board<K>,
    tasks: Tasks,
    events: Events,
}

impl<K: Subject + Clone + Eq + Hash + Send + Sync + fmt::Debug + 'static> TokenCache<K> {
    /// `name` is the name of the tasks that exchange.
    #[must_use]
    pub fn new(name: &'static str, fetch: Arc<dyn Fetch<K>>, tasks: Tasks, events: Events) -> Self {
        Self {
            name,
            tokens: Shelf::new(),
            fetch,
            desks: Arc::default(),
            tasks,
            events,
        }
    }

    /// The token in memory, if it may be used.
    #[must_use]
    pub fn peek(&self, key: &K) -> Option<Issued> {
        self.tokens
            .look(key)
            .filter(|issued| issued.life.state(Instant::now()) != State::Expired)
    }

    /// The token in memory, if it need not be renewed either.
    #[must_use]
    pub fn fresh(&self, key: &K) -> Option<Issued> {
        self.tokens
            .look(key)
            .filter(|issued| issued.life.state(Instant::now()) == State::Fresh)
    }

    /// Whose tokens are in memory, of which kind, and how long each may still be used.
    pub fn lives(&self) -> Vec<(TenantId, &'static str, Duration)> {
        let now = Instant::now();
        self.tokens
            .0
            .iter()
            .filter_map(|(key, slot)| {
                let left = slot.look()?.life.end.saturating_duration_since(now);
                Some((key.tenant().clone(), key.kind(), left))
            })
            .collect()
    }

    /// A token that may be used now.
    ///
    /// # Errors
    /// When memory holds none and the exchange fails, or failed a moment ago.
    pub async fn usable(&self, key: &K) -> Result<Issued, TokenFailure> {
        if let Some(issued) = self.tokens.look(key) {
            match issued.life.state(Instant::now()) {
                State::Fresh => return Ok(issued),
                State::Due => {
                    // renewed behind the caller's back; the outcome is this token's successor or a remembered failure
                    drop(self.flight(key, &mut self.board()));
                    return Ok(issued);
                }
                State::Expired => {}
            }
        }
        let flight = self.flight(key, &mut self.board());
        match flight {
            Ok(flight) => flight.await,
            Err(failure) => Err(failure),
        }
    }

    /// A new token, whatever is in memory: one exchange that begins after this call. The old token is served until then, and
    /// after a failure too.
    ///
    /// # Errors
    /// When that exchange fails.
    pub async fn renew(&self, key: &K) -> Result<Issued, TokenFailure> {
        for _ in 0..MOST_WAITS {
            match self.demand(key) {
                Demand::Begun(flight) => return flight?.await,
                // how it ends does not matter: it began before
                Demand::UnderWay(flight) => drop(flight.await),
            }
        }
        self.usable(key).await
    }

    /// Begins a flight on demand, unless one is under way.
    fn demand(&self, key: &K) -> Demand {
        let mut desks = self.board();
        match desks.demand(key) {
            Some(under_way) => Demand::UnderWay(under_way),
            None => {
                self.fetch.replace(key, None);
                Demand::Begun(self.flight(key, &mut desks))
            }
        }
    }

    /// Drops the token of this generation; says whether a new exchange makes sense.
    pub fn refuse(&self, key: &K, generation: u64) -> bool {
        // tokens land under the same lock, so that what is dropped is what was looked at
        let mut desks = self.board();
        let held = self.tokens.look(key);
        let Some(held) = held.filter(|held| held.generation == generation) else {
            return true;
        };
        let refused = Refused {
            age: held.issued.elapsed(),
            was_accepted: held.standing.was_accepted(),
            replaces: held.standing.replaces,
        };
        let helps = desks.refuse(key, refused);
        if helps {
            self.fetch.replace(key, Some(&held));
            self.tokens.drop_one(key);
        }
        helps
    }

    /// Forgets that the last attempt failed.
    pub fn forget_failure(&self, key: &K) {
        self.board().forget_failure(key);
    }

    /// Drops every token of a tenant, and what is known of it. An exchange that is under way ends for nothing: whoever waits
    /// for it is told that it was interrupted, and its token is kept nowhere.
    pub fn forget(&self, tenant: &TenantId) {
        let mut desks = self.board();
        desks.forget(|key| key.tenant() == tenant);
        self.tokens.drop_all(|key| key.tenant() == tenant);
        self.fetch.forget(tenant);
    }

    /// The keys of a tenant's tokens in memory.
    #[must_use]
    pub fn keys_of(&self, tenant: &TenantId) -> HashSet<K> {
        let keys = self.tokens.0.iter().map(|(key, _)| K::clone(&key));
        keys.filter(|key| key.tenant() == tenant).collect()
    }

    fn board(&self) -> MutexGuard<'_, Desks<K, Flight>> {
        // a panic elsewhere leaves desks that are still desks
        self.desks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The exchange under way, or a new one, or the failure that is too recent to try again.
    fn flight(&self, key: &K, desks: &mut Desks<K, Flight>) -> Result<Flight, TokenFailure> {
        let course = desks.ask(
            key,
            Instant::now(),
            || self.fresh(key),
            |departure| self.depart(key.clone(), departure),
        )?;
        Ok(match course {
            Course::Wait(flight) => flight,
            Course::Landed(issued) => {
                let landed: BoxFuture<'static, _> = Box::pin(std::future::ready(Ok(issued)));
                landed.shared()
            }
        })
    }

    /// Starts an exchange as a task of its own.
    fn depart(&self, key: K, departure: Departure) -> Flight {
        let (done, landed) = oneshot::channel();
        let (fetch, events) = (Arc::clone(&self.fetch), self.events.clone());
        let arrival = Arrival {
            key,
            departure,
            tokens: self.tokens.clone(),
            desks: Arc::clone(&self.desks),
            landed: false,
        };
        let _detached = self.tasks.control(self.name, async move {
            let result = fetch.fetch(&arrival.key, departure.forced).await;
            events.note(&Event::Exchange(Exchange {
                tenant: arrival.key.tenant(),
                app: arrival.key.app(),
                kind: arrival.key.kind(),
                forced: departure.forced,
                result: match &result {
                    Ok(issued) => Ok(issued.life.end.saturating_duration_since(Instant::now())),
                    Err(cause) => Err(cause.as_str()),
                },
                shared: match &result {
                    Ok(issued) => issued.standing.was_shared(),
                    Err(cause) => cause.was_shared(),
                },
            }));
            // the receiver is gone when nobody waits, as when a token is renewed ahead
            let _nobody_waits = done.send(arrival.land(result));
        });
        let waiting: BoxFuture<'static, _> =
            Box::pin(async move { landed.await.unwrap_or_else(|_gone| Err(interrupted())) });
        waiting.shared()
    }
}

impl<K> fmt::Debug for TokenCache<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenCache")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

/// The end of an exchange, by panic too.
struct Arrival<K: Subject + Eq + Hash + Clone + Send + Sync + fmt::Debug + 'static> {
    key: K,
    departure: Departure,
    tokens: Shelf<K>,
    desks: Board<K>,
    landed: bool,
}

impl<K: Subject + Eq + Hash + Clone + Send + Sync + fmt::Debug + 'static> Arrival<K> {
    /// Puts the result where callers find it. The flight is over at the same moment: whoever has the token refused a moment
    /// later must not be given it again by the flight that brought it.
    fn land(mut self, result: Result<Issued, Cause>) -> Result<Issued, TokenFailure> {
        let mut desks = self.desks.lock().unwrap_or_else(PoisonError::into_inner);
        self.landed = true;
        let (mut issued, outcome) = match result {
            Ok(issued) => (Some(issued), Ok(())),
            Err(cause) => (None, Err(cause)),
        };
        let now = Instant::now();
        let landing = desks.land(&self.key, self.departure, outcome, now, rand::random());
        if let (Landing::Kept(replaces), Some(issued)) = (&landing, &mut issued) {
            issued.standing.replaces = *replaces;
            self.tokens.put(self.key.clone(), issued.clone());
        }
        drop(desks);
        match (landing, issued) {
            (Landing::Kept(_), Some(issued)) => Ok(issued),
            (Landing::Failed(failure, failures), _) => {
                tracing::warn!(key = ?self.key, cause = failure.cause.as_str(), error = %failure.cause, failures, retry_in_ms = u64::try_from(failure.retry_in.as_millis()).unwrap_or(u64::MAX), "no token");
                Err(failure)
            }
            (Landing::Kept(_) | Landing::Stale, _) => Err(interrupted()),
        }
    }
}

impl<K: Subject + Eq + Hash + Clone + Send + Sync + fmt::Debug + 'static> Drop for Arrival<K> {
    fn drop(&mut self) {
        // a flight that landed has left; the one on the desk may be another by now
        if !self.landed {
            let mut desks = self.desks.lock().unwrap_or_else(PoisonError::into_inner);
            desks.crash(&self.key, self.departure);
        }
    }
}

const fn interrupted() -> TokenFailure {
    first_failure(Cause::Interrupted)
}

/// A failure outside the cache's bookkeeping.
pub(super) const fn first_failure(cause: Cause) -> TokenFailure {
    TokenFailure {
        cause,
        retry_in: FIRST_PAUSE,
    }
}

/// The next generation number of this process.
#[must_use]
pub fn next_generation() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

#[cfg(test)]
mod tests;
