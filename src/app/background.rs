//! What runs beside the requests.
//!
//! Job: keep the store's login alive, read the key of phantom tokens, keep standing tenants' tokens fresh.
//! Invariants: every loop ends with the drain; a store or an LWA that is down is waited for, and said.
//! Failure mode: none of these ends the sidecar.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::admin::Readiness;
use crate::proxy::{Shared, World};
use crate::store::GrantStore;
use crate::store::record::phantom_key;
use crate::tenant::{GrantKind, TenantId};
use crate::token::AccessKey;
use crate::token::lifetime::{Life, State};

/// Pause between attempts to read the store at the start.
const STORE_PAUSE: Duration = Duration::from_secs(2);

/// Pause between two looks at an idle tenant's token, at least: a token that lives a second must not spin.
const SHORTEST_LOOK: Duration = Duration::from_millis(200);

/// And at most: a tenant that a reload took away is noticed by then.
const LONGEST_LOOK: Duration = Duration::from_mins(5);

/// What runs beside the requests: the store's login, the phantom key, and warm tokens.
pub(super) fn start(
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
        warm(shared, &tenant.id, Some(Arc::clone(readiness)));
    }
}

/// Starts keeping warm the tokens of tenants that a reload brought.
pub(super) fn keep_newcomers_warm(shared: &Arc<Shared>, before: &World, after: &World) {
    for id in after
        .tenants
        .keys()
        .filter(|id| !before.tenants.contains_key(*id))
    {
        warm(shared, id, None);
    }
}

fn warm(shared: &Arc<Shared>, id: &TenantId, readiness: Option<Arc<Readiness>>) {
    let (theirs, id, stop) = (Arc::clone(shared), id.clone(), shared.tasks.stopping());
    let _warm = shared.tasks.control("keep-warm", async move {
        tokio::select! { () = keep_warm(&theirs, &id, readiness) => {}, () = stop => {} }
    });
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

/// Keeps a standing tenant's token fresh, so that no request waits for an exchange. Ends when a reload takes the tenant away.
async fn keep_warm(shared: &Shared, id: &TenantId, mut readiness: Option<Arc<Readiness>>) {
    loop {
        let world = shared.world.load_full();
        let Some(tenant) = world.tenants.get(id) else {
            return;
        };
        let key = AccessKey::new(tenant, GrantKind::Refresh);
        let pause = match shared.tokens.access(&key).await {
            Ok(issued) => until_next_look(&issued.life, Instant::now()),
            Err(failure) => failure.retry_in,
        };
        if let Some(readiness) = readiness.take() {
            readiness.tenant_has_answered();
        }
        tokio::time::sleep(pause.clamp(SHORTEST_LOOK, LONGEST_LOOK)).await;
    }
}

/// Until the token is due; once it is (a renewal is under way, or failed and pauses), an eighth of what is left of its life.
fn until_next_look(life: &Life, now: Instant) -> Duration {
    match life.state(now) {
        State::Fresh => life.due.saturating_duration_since(now),
        State::Due => life.end.saturating_duration_since(now) / 8,
        State::Expired => Duration::ZERO,
    }
}
