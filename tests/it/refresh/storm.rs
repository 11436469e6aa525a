//! Thousands of callers at the moment when a token turns out to be refused: one exchange for each tenant, however many ask.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::json;
use spapi_sidecar::phantom::Kind;
use spapi_sidecar::secret::AccessToken;
use spapi_sidecar::store::BoxFuture;
use spapi_sidecar::task::Tasks;
use spapi_sidecar::telemetry::event::Events;
use spapi_sidecar::tenant::{AppId, TenantId};
use spapi_sidecar::token::cache::{Fetch, Subject, TokenCache, next_generation};
use spapi_sidecar::token::lifetime::Life;
use spapi_sidecar::token::{Cause, Issued, Standing};
use tokio::runtime::Handle;
use tokio::sync::Barrier;
use tokio::task::JoinSet;
use tokio::time::Instant;
use zeroize::Zeroizing;

use crate::support::peer::trouble;
use crate::support::sidecar::{NA, TestSidecar};

const TENANTS: [&str; 3] = ["acme", "beta", "gamma"];
const CALLERS: usize = 10_000;

#[derive(Clone, PartialEq, Eq, Hash, Debug)]
struct Whose(TenantId);

impl Subject for Whose {
    fn tenant(&self) -> &TenantId {
        &self.0
    }

    fn app(&self) -> Option<&AppId> {
        None
    }

    fn kind(&self) -> &'static str {
        "access"
    }
}

/// A token endpoint that takes a second.
#[derive(Debug, Default)]
struct Endpoint(AtomicUsize);

impl Fetch<Whose> for Endpoint {
    fn fetch<'a>(&'a self, _: &'a Whose, _forced: bool) -> BoxFuture<'a, Result<Issued, Cause>> {
        Box::pin(async move {
            self.0.fetch_add(1, Ordering::Relaxed);
            tokio::time::sleep(Duration::from_secs(1)).await;
            let now = Instant::now();
            Ok(Issued {
                token: AccessToken::new(&Zeroizing::new("Atza|x".to_owned())).unwrap(),
                generation: next_generation(),
                issued: now,
                life: Life::parse(now, 3600, 0.5, Duration::ZERO, 0.0).unwrap(),
                standing: Standing::default(),
            })
        })
    }
}

/// All callers of all tenants hold a token, have it refused, and ask again where that makes sense; how many did.
async fn all_are_refused(cache: &Arc<TokenCache<Whose>>) -> usize {
    let together = Arc::new(Barrier::new(TENANTS.len() * CALLERS));
    let mut callers = JoinSet::new();
    for tenant in TENANTS {
        let whose = Whose(TenantId::parse(tenant).unwrap());
        for _ in 0..CALLERS {
            let (cache, together) = (Arc::clone(cache), Arc::clone(&together));
            let whose = whose.clone();
            callers.spawn(async move {
                let held = cache.usable(&whose).await.unwrap();
                together.wait().await;
                let again = cache.refuse(&whose, held.generation);
                if again {
                    let next = cache.usable(&whose).await.unwrap();
                    assert_ne!(next.generation, held.generation);
                }
                again
            });
        }
    }
    let asked_again = callers.join_all().await;
    asked_again.iter().filter(|again| **again).count()
}

#[tokio::test(start_paused = true)]
async fn ten_thousand_refusals_at_once_cost_one_exchange_a_tenant_and_an_incident_none() {
    let endpoint = Arc::<Endpoint>::default();
    let tasks = Tasks::new(Handle::current());
    let fetch = Arc::clone(&endpoint) as Arc<dyn Fetch<Whose>>;
    let cache = TokenCache::new("exchange", fetch, tasks, Events::default());
    let cache = Arc::new(cache);
    let exchanges = || endpoint.0.load(Ordering::Relaxed);

    let all = TENANTS.len() * CALLERS;
    assert_eq!(all_are_refused(&cache).await, all);
    assert_eq!(
        exchanges(),
        2 * TENANTS.len(),
        "the first, and the one for all"
    );

    assert_eq!(
        all_are_refused(&cache).await,
        0,
        "fresh ones are refused too"
    );
    assert_eq!(exchanges(), 2 * TENANTS.len(), "so exchanges do not help");

    tokio::time::advance(Duration::from_mins(2)).await;
    assert_eq!(all_are_refused(&cache).await, all, "after a quiet minute");
    assert_eq!(exchanges(), 3 * TENANTS.len());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hundreds_of_calls_of_two_tenants_that_meet_expired_tokens_cost_one_exchange_each() {
    let sidecar = TestSidecar::start().await;
    let client = sidecar.client_with(&["h2"], None);
    let before = sidecar.exchanges();
    trouble(&sidecar, json!({"expire_tokens_now": true}));
    let mut calls = JoinSet::new();
    for n in 0..400 {
        let phantom = sidecar.phantom(Kind::Access, ["acme", "beta"][n % 2]);
        let call = client
            .get(format!(
                "https://{NA}/orders/v0/orders?MarketplaceIds=ATVPDKIKX0DER"
            ))
            .header("x-amz-access-token", phantom)
            .send();
        calls.spawn(async move { call.await.unwrap().status().as_u16() });
    }
    assert_eq!(calls.join_all().await, vec![200; 400]);
    assert_eq!(sidecar.exchanges(), before + 2);
}
