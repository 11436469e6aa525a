//! Tokens in memory, and one exchange for all who wait.
//!
//! Job: answer from memory; renew while a token is due; let every caller of a miss wait for the same exchange.
//! Invariants: a hit takes no task and no lock beyond moka's; the exchange is a task of its own, so a caller that goes away
//! ends nothing (moka's own coalescing runs inside the first caller, and is not used for that reason); the deadline is in the
//! value and judged by [`super::lifetime`], moka bounds memory alone.
//! Failure mode: after a failure the next attempt waits, twice as long each time, at most [`LONGEST_PAUSE`], with jitter;
//! callers in between get the failure at once. A token inside its life is served whatever happens.

use std::collections::HashMap;
use std::fmt;
use std::hash::Hash;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::Shared;
use moka::sync::Cache;
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::lifetime::State;
use super::{Cause, Issued, TokenFailure};
use crate::store::BoxFuture;
use crate::task::Tasks;
use crate::telemetry::event::{Event, Events, Exchange};
use crate::tenant::{AppId, TenantId};

/// Most tokens in memory: ten thousand tenants with a few kinds each.
const MOST_TOKENS: u64 = 40_000;

/// A token that nobody has used for this long is dropped; it would have expired anyway.
const IDLE: Duration = Duration::from_hours(2);

/// Pause after the first failure.
const FIRST_PAUSE: Duration = Duration::from_secs(1);

/// Longest pause between two attempts while they fail.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// A replacement that is refused within this time, without ever having been taken, shows that exchanges do not help: an
/// incident, not an expiry.
const BREAKER: Duration = Duration::from_secs(60);

/// Most replacements in a row, each refused within [`BREAKER`] of its issue although it had been taken: an origin that
/// refuses now and then leads to no storm either.
const MOST_REPLACEMENTS: u32 = 10;

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
    /// One exchange. `forced` says that it replaces a token that Amazon refused.
    fn fetch<'a>(&'a self, key: &'a K, forced: bool) -> BoxFuture<'a, Result<Issued, Cause>>;
}

type Flight = Shared<BoxFuture<'static, Result<Issued, TokenFailure>>>;

/// Tokens by key.
pub struct TokenCache<K> {
    name: &'static str,
    tokens: Cache<K, Issued>,
    fetch: Arc<dyn Fetch<K>>,
    desk: Arc<Mutex<HashMap<K, Desk>>>,
    tasks: Tasks,
    events: Events,
}

/// What is known of a key besides its token: the exchange under way, and how the last ones went.
#[derive(Default)]
struct Desk {
    flight: Option<Flight>,
    failures: u32,
    failure: Option<(TokenFailure, Instant)>,
    /// What the next token will stand for, see [`super::Standing`].
    replaces: u32,
}

impl<K: Subject + Clone + Eq + Hash + Send + Sync + fmt::Debug + 'static> TokenCache<K> {
    /// `name` is the name of the tasks that exchange.
    #[must_use]
    pub fn new(name: &'static str, fetch: Arc<dyn Fetch<K>>, tasks: Tasks, events: Events) -> Self {
        let tokens = Cache::builder()
            .max_capacity(MOST_TOKENS)
            .time_to_idle(IDLE)
            .build();
        Self {
            name,
            tokens,
            fetch,
            desk: Arc::default(),
            tasks,
            events,
        }
    }

    /// The token in memory, if it may be used.
    #[must_use]
    pub fn peek(&self, key: &K) -> Option<Issued> {
        self.tokens
            .get(key)
            .filter(|issued| issued.life.state(Instant::now()) != State::Expired)
    }

    /// The token in memory, if it need not be renewed either.
    #[must_use]
    pub fn fresh(&self, key: &K) -> Option<Issued> {
        self.tokens
            .get(key)
            .filter(|issued| issued.life.state(Instant::now()) == State::Fresh)
    }

    /// A token that may be used now.
    ///
    /// # Errors
    /// When memory holds none and the exchange fails, or failed a moment ago.
    pub async fn usable(&self, key: &K) -> Result<Issued, TokenFailure> {
        if let Some(issued) = self.tokens.get(key) {
            match issued.life.state(Instant::now()) {
                State::Fresh => return Ok(issued),
                State::Due => {
                    // renewed behind the caller's back; the outcome is this token's successor or a remembered failure
                    drop(self.flight(key));
                    return Ok(issued);
                }
                State::Expired => {}
            }
        }
        match self.flight(key) {
            Ok(flight) => flight.await,
            Err(failure) => Err(failure),
        }
    }

    /// Drops the token of this generation; says whether a new exchange makes sense.
    pub fn refuse(&self, key: &K, generation: u64) -> bool {
        // tokens land under the same lock, so that what is dropped is what was looked at
        let mut desks = self.desk.lock().unwrap_or_else(PoisonError::into_inner);
        let held = self.tokens.get(key);
        let Some(held) = held.filter(|held| held.generation == generation) else {
            return true;
        };
        let replaces = if held.issued.elapsed() < BREAKER {
            held.standing.replaces
        } else {
            0
        };
        let helped = held.standing.was_accepted() && replaces < MOST_REPLACEMENTS;
        if replaces > 0 && !helped {
            return false;
        }
        desks.entry(key.clone()).or_default().replaces = replaces + 1;
        self.tokens.invalidate(key);
        true
    }

    /// Forgets that the last attempt failed.
    pub fn forget_failure(&self, key: &K) {
        if let Some(desk) = self
            .desk
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get_mut(key)
        {
            desk.failure = None;
        }
    }

    /// The exchange under way, or a new one, or the failure that is too recent to try again.
    fn flight(&self, key: &K) -> Result<Flight, TokenFailure> {
        let mut desks = self.desk.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(flight) = desks.get(key).and_then(|desk| desk.flight.clone()) {
            return Ok(flight);
        }
        if let Some(issued) = self.fresh(key) {
            // it landed after the caller had looked
            let landed: BoxFuture<'static, _> = Box::pin(std::future::ready(Ok(issued)));
            return Ok(landed.shared());
        }
        let desk = desks.entry(key.clone()).or_default();
        if let Some((failure, until)) = &desk.failure {
            let now = Instant::now();
            if now < *until {
                return Err(TokenFailure {
                    cause: failure.cause.clone(),
                    retry_in: *until - now,
                });
            }
        }
        let flight = self.depart(key.clone(), std::mem::take(&mut desk.replaces));
        desk.flight = Some(flight.clone());
        Ok(flight)
    }

    /// Starts an exchange as a task of its own.
    fn depart(&self, key: K, replaces: u32) -> Flight {
        let (done, landed) = oneshot::channel();
        let (fetch, tokens, desks) = (
            Arc::clone(&self.fetch),
            self.tokens.clone(),
            Arc::clone(&self.desk),
        );
        let events = self.events.clone();
        let _detached = self.tasks.control(self.name, async move {
            let arrival = Arrival {
                key,
                tokens,
                desks,
                landed: false,
            };
            let mut result = fetch.fetch(&arrival.key, replaces > 0).await;
            events.note(&Event::Exchange(Exchange {
                tenant: arrival.key.tenant(),
                app: arrival.key.app(),
                kind: arrival.key.kind(),
                forced: replaces > 0,
                result: match &result {
                    Ok(issued) => Ok(issued.life.end.saturating_duration_since(Instant::now())),
                    Err(cause) => Err(cause.as_str()),
                },
                shared: false,
            }));
            if let Ok(issued) = &mut result {
                issued.standing.replaces = replaces;
            }
            // the receiver is gone when nobody waits, as when a token is renewed ahead
            let _nobody_waits = done.send(arrival.land(result));
        });
        let interrupted = |_gone| {
            Err(TokenFailure {
                cause: Cause::Interrupted,
                retry_in: FIRST_PAUSE,
            })
        };
        let waiting: BoxFuture<'static, _> =
            Box::pin(async move { landed.await.unwrap_or_else(interrupted) });
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
    tokens: Cache<K, Issued>,
    desks: Arc<Mutex<HashMap<K, Desk>>>,
    landed: bool,
}

impl<K: Subject + Eq + Hash + Clone + Send + Sync + fmt::Debug + 'static> Arrival<K> {
    /// Puts the result where callers find it. The flight is over at the same moment: whoever has the token refused a moment
    /// later must not be given it again by the flight that brought it.
    fn land(mut self, result: Result<Issued, Cause>) -> Result<Issued, TokenFailure> {
        let mut desks = self.desks.lock().unwrap_or_else(PoisonError::into_inner);
        let desk = desks.entry(self.key.clone()).or_default();
        let landed = match result {
            Ok(issued) => {
                self.tokens.insert(self.key.clone(), issued.clone());
                desk.failures = 0;
                desk.failure = None;
                Ok(issued)
            }
            Err(cause) => {
                let pause = pause_after(desk.failures);
                desk.failures = desk.failures.saturating_add(1);
                let failure = TokenFailure {
                    cause,
                    retry_in: pause,
                };
                tracing::warn!(key = ?self.key, cause = failure.cause.as_str(), error = %failure.cause, failures = desk.failures, retry_in_ms = u64::try_from(pause.as_millis()).unwrap_or(u64::MAX), "no token");
                desk.failure = Some((failure.clone(), Instant::now() + pause));
                Err(failure)
            }
        };
        clear(&mut desks, &self.key);
        drop(desks);
        self.landed = true;
        landed
    }
}

/// Takes a flight off its desk, and the desk away when nothing is left on it.
fn clear<K: Eq + Hash>(desks: &mut HashMap<K, Desk>, key: &K) {
    if let Some(desk) = desks.get_mut(key) {
        desk.flight = None;
        if desk.failure.is_none() && desk.replaces == 0 {
            desks.remove(key);
        }
    }
}

impl<K: Subject + Eq + Hash + Clone + Send + Sync + fmt::Debug + 'static> Drop for Arrival<K> {
    fn drop(&mut self) {
        // a flight that landed has left; the one on the desk may be another by now
        if !self.landed {
            let mut desks = self.desks.lock().unwrap_or_else(PoisonError::into_inner);
            clear(&mut desks, &self.key);
        }
    }
}

/// Doubling from [`FIRST_PAUSE`] to [`LONGEST_PAUSE`], less up to a quarter so that a fleet does not march in step.
fn pause_after(failures: u32) -> Duration {
    let full = FIRST_PAUSE
        .saturating_mul(1 << failures.min(10))
        .min(LONGEST_PAUSE);
    full.mul_f64(1.0 - 0.25 * rand::random::<f64>())
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
mod tests {
    use std::sync::atomic::AtomicUsize;

    use tokio::runtime::Handle;
    use zeroize::Zeroizing;

    use super::super::Standing;
    use super::super::lifetime::Life;
    use super::*;
    use crate::secret::AccessToken;

    impl Subject for u8 {
        fn tenant(&self) -> &TenantId {
            static TENANT: std::sync::OnceLock<TenantId> = std::sync::OnceLock::new();
            TENANT.get_or_init(|| TenantId::parse("acme").unwrap())
        }

        fn app(&self) -> Option<&AppId> {
            None
        }

        fn kind(&self) -> &'static str {
            "access"
        }
    }

    #[derive(Debug, Default)]
    struct Endpoint {
        calls: AtomicUsize,
        down: std::sync::atomic::AtomicBool,
    }

    impl Fetch<u8> for Endpoint {
        fn fetch<'a>(
            &'a self,
            _key: &'a u8,
            _forced: bool,
        ) -> BoxFuture<'a, Result<Issued, Cause>> {
            Box::pin(async move {
                self.calls.fetch_add(1, Ordering::Relaxed);
                tokio::time::sleep(Duration::from_secs(1)).await;
                if self.down.load(Ordering::Relaxed) {
                    return Err(Cause::Unreachable("down".to_owned()));
                }
                let now = Instant::now();
                Ok(Issued {
                    token: AccessToken::new(&Zeroizing::new("Atza|t".to_owned())).unwrap(),
                    generation: next_generation(),
                    issued: now,
                    life: Life::parse(now, 3600, 0.5, Duration::ZERO, 0.0).unwrap(),
                    standing: Standing::default(),
                })
            })
        }
    }

    fn cache() -> (Arc<Endpoint>, Arc<TokenCache<u8>>) {
        let endpoint = Arc::new(Endpoint::default());
        let cache = TokenCache::new(
            "exchange",
            Arc::clone(&endpoint) as Arc<dyn Fetch<u8>>,
            Tasks::new(Handle::current()),
            Events::default(),
        );
        (endpoint, Arc::new(cache))
    }

    fn calls(endpoint: &Endpoint) -> usize {
        endpoint.calls.load(Ordering::Relaxed)
    }

    #[tokio::test(start_paused = true)]
    async fn a_hundred_callers_share_one_exchange_even_when_the_first_goes_away() {
        let (endpoint, cache) = cache();
        let mut callers = tokio::task::JoinSet::new();
        let first = Arc::clone(&cache);
        let first =
            callers.spawn(async move { first.usable(&1).await.map(|issued| issued.generation) });
        tokio::task::yield_now().await;
        for _ in 0..99 {
            let cache = Arc::clone(&cache);
            callers.spawn(async move { cache.usable(&1).await.map(|issued| issued.generation) });
        }
        tokio::task::yield_now().await;
        first.abort();
        let answers: Vec<_> = callers.join_all_but_aborted().await;
        assert_eq!(answers.len(), 99);
        assert_eq!(calls(&endpoint), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn a_due_token_is_served_while_one_renewal_runs_behind_it() {
        let (endpoint, cache) = cache();
        let first = cache.usable(&1).await.unwrap();
        tokio::time::advance(Duration::from_secs(1801)).await;
        for _ in 0..10 {
            assert_eq!(cache.usable(&1).await.unwrap().generation, first.generation);
        }
        tokio::time::sleep(Duration::from_secs(2)).await;
        assert_ne!(cache.usable(&1).await.unwrap().generation, first.generation);
        assert_eq!(calls(&endpoint), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn an_expired_token_is_never_served_when_the_endpoint_is_down() {
        let (endpoint, cache) = cache();
        cache.usable(&1).await.unwrap();
        endpoint.down.store(true, Ordering::Relaxed);
        tokio::time::advance(Duration::from_secs(3599)).await;
        assert!(cache.usable(&1).await.is_ok());
        tokio::time::advance(Duration::from_secs(1)).await;
        assert!(cache.usable(&1).await.is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn failures_pause_the_next_attempt_and_callers_hear_of_it_at_once() {
        let (endpoint, cache) = cache();
        endpoint.down.store(true, Ordering::Relaxed);
        for _ in 0..50 {
            assert!(cache.usable(&1).await.is_err());
        }
        assert_eq!(calls(&endpoint), 1);
        endpoint.down.store(false, Ordering::Relaxed);
        tokio::time::advance(LONGEST_PAUSE).await;
        assert!(cache.usable(&1).await.is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn a_refused_generation_is_exchanged_once_and_its_replacement_trips_the_breaker() {
        let (endpoint, cache) = cache();
        let first = cache.usable(&1).await.unwrap();
        assert!(cache.refuse(&1, first.generation));
        assert!(
            cache.refuse(&1, first.generation),
            "a late refusal of a generation that is gone costs nothing"
        );
        let second = cache.usable(&1).await.unwrap();
        assert!(
            !cache.refuse(&1, second.generation),
            "a fresh replacement that is refused is no reason for another exchange"
        );
        assert_eq!(
            cache.usable(&1).await.unwrap().generation,
            second.generation
        );
        assert_eq!(calls(&endpoint), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn a_replacement_that_was_taken_and_is_refused_later_is_replaced_too_but_not_for_ever() {
        let (endpoint, cache) = cache();
        let mut refused = 0;
        loop {
            let held = cache.usable(&1).await.unwrap();
            held.standing.accept();
            if !cache.refuse(&1, held.generation) {
                break;
            }
            refused += 1;
        }
        assert_eq!(refused, MOST_REPLACEMENTS);
        tokio::time::advance(BREAKER).await;
        let held = cache.usable(&1).await.unwrap();
        assert!(cache.refuse(&1, held.generation), "after a quiet minute");
        assert_eq!(calls(&endpoint), 1 + refused as usize);
    }

    #[tokio::test(start_paused = true)]
    async fn a_token_that_lands_after_a_caller_looked_is_found_and_not_exchanged_again() {
        let (endpoint, cache) = cache();
        let landed = cache.usable(&1).await.unwrap();
        tokio::task::yield_now().await;
        let flight = cache.flight(&1).unwrap();
        assert_eq!(flight.await.unwrap().generation, landed.generation);
        assert_eq!(calls(&endpoint), 1);
    }

    trait JoinAllButAborted<T> {
        async fn join_all_but_aborted(self) -> Vec<T>;
    }

    impl<T: 'static> JoinAllButAborted<T> for tokio::task::JoinSet<T> {
        async fn join_all_but_aborted(mut self) -> Vec<T> {
            let mut answers = Vec::new();
            while let Some(answer) = self.join_next().await {
                answers.extend(answer.ok());
            }
            answers
        }
    }
}
