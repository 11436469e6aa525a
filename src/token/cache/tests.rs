use std::sync::atomic::AtomicUsize;

use tokio::runtime::Handle;
use zeroize::Zeroizing;

use super::super::Standing;
use super::super::desk::{BREAKER, LONGEST_PAUSE, MOST_REPLACEMENTS};
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
    fn fetch<'a>(&'a self, _key: &'a u8, _forced: bool) -> BoxFuture<'a, Result<Issued, Cause>> {
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
    let flight = cache.flight(&1, &mut cache.board()).unwrap();
    assert_eq!(flight.await.unwrap().generation, landed.generation);
    assert_eq!(calls(&endpoint), 1);
}

#[tokio::test(start_paused = true)]
async fn a_forgotten_tenants_tokens_are_gone_and_what_is_under_way_is_not_kept() {
    let (endpoint, cache) = cache();
    cache.usable(&1).await.unwrap();
    let tenant = 1_u8.tenant().clone();
    cache.forget(&tenant);
    assert!(cache.peek(&1).is_none() && cache.keys_of(&tenant).is_empty());
    let theirs = Arc::clone(&cache);
    let mut waiting = tokio::task::JoinSet::new();
    waiting.spawn(async move { theirs.usable(&1).await });
    tokio::task::yield_now().await;
    cache.forget(&tenant);
    let told = waiting.join_next().await.unwrap().unwrap();
    assert_eq!(told.map(drop).unwrap_err().cause.as_str(), "interrupted");
    assert!(cache.peek(&1).is_none());
    assert_eq!(calls(&endpoint), 2);
}

#[tokio::test(start_paused = true)]
async fn a_token_is_dropped_when_its_tenant_is_forgotten_and_not_when_the_cache_gets_round_to_it() {
    let (_endpoint, cache) = cache();
    let watched = Arc::downgrade(&cache.usable(&1).await.unwrap().standing.accepted);
    assert!(watched.upgrade().is_some());
    cache.forget(1_u8.tenant());
    assert!(
        watched.upgrade().is_none(),
        "somebody still holds the token"
    );
    // nor does one that is replaced, refused or renewed live on
    let first = cache.usable(&1).await.unwrap();
    let watched = Arc::downgrade(&first.standing.accepted);
    drop(first);
    cache.renew(&1).await.unwrap();
    tokio::task::yield_now().await;
    assert!(watched.upgrade().is_none(), "the old token lives on");
}

#[tokio::test(start_paused = true)]
async fn a_renewal_on_demand_is_one_exchange_that_begins_after_it_was_asked_for() {
    let (endpoint, cache) = cache();
    let first = cache.usable(&1).await.unwrap();
    let second = cache.renew(&1).await.unwrap();
    assert_ne!(first.generation, second.generation);
    assert_eq!(calls(&endpoint), 2);
    // one that is under way began too early
    tokio::time::advance(Duration::from_secs(1801)).await;
    cache.usable(&1).await.unwrap();
    cache.renew(&1).await.unwrap();
    assert_eq!(calls(&endpoint), 4);
}

#[tokio::test(start_paused = true)]
async fn a_renewal_that_fails_leaves_the_old_token_in_use() {
    let (endpoint, cache) = cache();
    let first = cache.usable(&1).await.unwrap();
    endpoint.down.store(true, Ordering::Relaxed);
    assert!(cache.renew(&1).await.is_err());
    let held = cache.usable(&1).await.unwrap();
    assert_eq!(held.generation, first.generation);
    // a person's second try is not kept waiting by the first
    endpoint.down.store(false, Ordering::Relaxed);
    assert!(cache.renew(&1).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_token_that_nobody_uses_is_not_renewed() {
    let (endpoint, cache) = cache();
    cache.usable(&1).await.unwrap();
    tokio::time::sleep(Duration::from_hours(5)).await;
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
