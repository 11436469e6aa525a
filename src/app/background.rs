//! What runs beside the requests.
//!
//! Job: keep the store's login alive, read the key of phantom tokens, keep standing tenants' tokens fresh.
//! Invariants: every loop ends with the drain; a store or an LWA that is down is waited for, and said.
//! Failure mode: none of these ends the sidecar.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::admin::Readiness;
use crate::config::Tenant;
use crate::proxy::{Shared, World};
use crate::store::GrantStore;
use crate::store::record::phantom_key;
use crate::tenant::GrantKind;
use crate::token::AccessKey;

/// Pause between attempts to read the store at the start.
const STORE_PAUSE: Duration = Duration::from_secs(2);

/// Pause between two looks at an idle tenant's token, at least: a token that lives a second must not spin.
const WARM_PAUSE: Duration = Duration::from_millis(200);

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
