//! What runs beside the requests.
//!
//! Job: keep the store's login alive, read the key of phantom tokens and the fleet's record, announce this sidecar, keep
//! profiles and standing tenants' tokens fresh.
//! Invariants: every loop ends with the drain; a store or an LWA that is down is waited for, and said.
//! Failure mode: none of these ends the sidecar.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::admin::Readiness;
use crate::admin::events::Feed;
use crate::config::ThrottleMode;
use crate::proxy::{Shared, World};
use crate::store::GrantStore;
use crate::store::record::phantom_key;
use crate::telemetry;
use crate::telemetry::traffic::Traffic;
use crate::tenant::{GrantKind, TenantId, TenantState};
use crate::token::AccessKey;
use crate::token::lifetime::{LONGEST_LOOK, SHORTEST_LOOK, first_look};

/// Pause between attempts to read the store at the start.
const STORE_PAUSE: Duration = Duration::from_secs(2);

/// Between two writes of what was called: what a crash may lose.
const TRAFFIC_PAUSE: Duration = Duration::from_mins(5);

/// Pause between two looks at a tenant that is switched off: it is served again soon after it is resumed.
const SWITCHED_OFF: Duration = Duration::from_secs(5);

/// What runs beside the requests: see the module.
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
    let (traffic, stop) = (Arc::clone(&shared.recorder.traffic), tasks.stopping());
    let _traffic = tasks.control("keep-traffic", async move {
        tokio::select! { () = keep_traffic(&traffic) => {}, () = stop => {} }
    });
    follow_the_fleet(shared);
    for tenant in world.tenants.standing() {
        warm(shared, &tenant.id, Some(Arc::clone(readiness)));
    }
}

/// Tells those who listen to the events, once a second, what was counted.
pub(super) fn tell(shared: &Shared, feed: Arc<Feed>) {
    let stop = shared.tasks.stopping();
    let _feed = shared.tasks.control("events", async move {
        tokio::select! { () = feed.tick() => {}, () = stop => {} }
    });
}

/// Keeps tenants' states, the roll of sidecars and the profiles in use as the store has them.
fn follow_the_fleet(shared: &Arc<Shared>) {
    let tasks = &shared.tasks;
    let (fleet, stop) = (Arc::clone(&shared.fleet), tasks.stopping());
    let _fleet = tasks.control("fleet", async move {
        tokio::select! { () = fleet.keep() => {}, () = stop => {} }
    });
    let (theirs, stop) = (Arc::clone(shared), tasks.stopping());
    let _members = tasks.control("members", async move {
        // only a quota that is paced is divided by how many there are
        let wanted = || theirs.world.load().config.throttle.mode == ThrottleMode::Pace;
        theirs.fleet.attend(wanted, stop).await;
    });
    let (profiles, stop) = (Arc::clone(&shared.profiles), tasks.stopping());
    let _profiles = tasks.control("profiles", async move {
        tokio::select! { () = profiles.keep_fresh() => {}, () = stop => {} }
    });
}

/// Starts keeping warm the tokens of tenants that a reload brought.
pub(super) fn keep_newcomers_warm(shared: &Arc<Shared>, before: &World, after: &World) {
    let before = before.tenants.standing();
    let before: HashSet<&TenantId> = before.iter().map(|tenant| &tenant.id).collect();
    for tenant in after.tenants.standing() {
        if !before.contains(&tenant.id) {
            warm(shared, &tenant.id, None);
        }
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
                shared.fleet.known().await;
                readiness.store_was_read();
                return;
            }
            Err(error) => {
                tracing::warn!(%error, cause = error.cause(), store = store.describe(), "the store cannot be read yet; the sidecar is not ready");
                readiness.store_was_not_read(error.cause());
                tokio::time::sleep(STORE_PAUSE).await;
            }
        }
    }
}

/// Writes what was called to its file, now and then; the drain writes it a last time.
async fn keep_traffic(traffic: &Arc<Traffic>) {
    loop {
        let theirs = Arc::clone(traffic);
        // a disk that hangs holds a thread of its own
        let _written = tokio::task::spawn_blocking(move || theirs.save(telemetry::now())).await;
        tokio::time::sleep(TRAFFIC_PAUSE).await;
    }
}

/// Keeps a standing tenant's token fresh, so that no request waits for an exchange. Ends when a reload takes the tenant away.
async fn keep_warm(shared: &Shared, id: &TenantId, mut readiness: Option<Arc<Readiness>>) {
    shared.fleet.known().await;
    let tenants = shared.world.load().tenants.standing().len();
    let pause = first_look(id, tenants, shared.tokens.is_shared(), rand::random());
    tokio::time::sleep(pause).await;
    loop {
        let world = shared.world.load_full();
        let Some(tenant) = world.tenants.get(id) else {
            return;
        };
        let key = AccessKey::new(&tenant, GrantKind::Refresh);
        let pause = if shared.fleet.state(id) == TenantState::Killed {
            SWITCHED_OFF
        } else {
            match shared.tokens.access(&key).await {
                Ok(issued) => issued.life.until_next_look(Instant::now()),
                Err(failure) => failure.retry_in,
            }
        };
        if let Some(readiness) = readiness.take() {
            readiness.tenant_has_answered();
        }
        tokio::time::sleep(pause.clamp(SHORTEST_LOOK, LONGEST_LOOK)).await;
    }
}
