//! What all sidecars of a store have in common: tenants' states, break-glass, and who else is there.
//!
//! Job: one small record, `fleet`, polled every 5 s ± 2 and applied at once, so that the whole fleet follows within 10 s;
//! changes of it by check-and-set.
//! Invariants: a state is read without a lock; until the record has been read for the first time nobody is known to be
//! active, and nobody is served; what sets a tenant aside holds here from the moment it is asked for, whether or not the
//! store can be written, and is written as soon as it can; what serves it again holds once it is written.
//! Failure mode: with the store away the last record stays in force, and changes are refused or remembered ([`ChangeError`]).
//! Load: 1,000 sidecars read 200 times a second in all, what they write to the roll is in [`member`].
//! Source: CONTRACT section 4.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::sync::watch;
use tokio::time::Instant;

pub mod change;
pub mod glass;
mod member;
mod poll;
mod view;
pub mod why;

use self::change::{Change, ChangeError, commit};
use self::glass::Opening;
use self::view::{Turn, View};
use crate::config::QuarantineCause;
use crate::store::fleet::{AUTOMATIC, BreakGlass, FleetRecord, Standing};
use crate::store::{BoxFuture, GrantStore, StoreError};
use crate::task::Tasks;
use crate::telemetry;
use crate::telemetry::event::Events;
use crate::tenant::{TenantId, TenantState};

/// Longest that somebody who asks for a change is kept waiting for the store.
const PATIENCE: Duration = Duration::from_secs(8);

/// After a kill, when an exchange that was being begun has landed for certain: its own bounds come to less. Up to twice that,
/// so that not every sidecar looks at the records at once.
const LANDED: Duration = Duration::from_secs(30);

/// What a kill takes away: the composition root hands it over, since tokens are another room's.
pub trait Holdings: Send + Sync + fmt::Debug {
    /// Drops and zeroizes a tenant's tokens in memory, at once.
    fn forget(&self, tenant: &TenantId);

    /// Empties its token records in the store.
    fn empty<'a>(&'a self, tenant: &'a TenantId) -> BoxFuture<'a, Result<(), StoreError>>;
}

/// The fleet as this sidecar sees it.
pub struct Fleet {
    store: Arc<dyn GrantStore>,
    tasks: Tasks,
    events: Events,
    holdings: OnceLock<Arc<dyn Holdings>>,
    view: ArcSwap<View>,
    /// What the view is made of. Held while the view is made anew, never across a wait.
    desk: Mutex<Desk>,
    /// Held while the store is asked, so that no old reading follows a new one.
    turn: tokio::sync::Mutex<()>,
    known: watch::Sender<bool>,
    looked: watch::Sender<bool>,
    members: AtomicUsize,
}

/// The last record, and what has not got into it yet.
#[derive(Debug, Default)]
struct Desk {
    record: FleetRecord,
    /// Changes that hold here and are yet to be written.
    unwritten: BTreeMap<TenantId, (Change, Option<Standing>)>,
    /// Killed tenants whose token records are yet to be emptied.
    unemptied: BTreeSet<TenantId>,
    /// Killed tenants whose tokens are to be taken away once more, and when.
    landing: BTreeMap<TenantId, Instant>,
    /// Whether the store answered the last time.
    up: Option<bool>,
}

impl Fleet {
    /// Knows nothing yet: [`Fleet::keep`] reads the record.
    #[must_use]
    pub fn new(store: Arc<dyn GrantStore>, tasks: Tasks, events: Events) -> Self {
        Self {
            store,
            tasks,
            events,
            holdings: OnceLock::new(),
            view: ArcSwap::default(),
            desk: Mutex::default(),
            turn: tokio::sync::Mutex::default(),
            known: watch::Sender::new(false),
            looked: watch::Sender::new(false),
            members: AtomicUsize::new(1),
        }
    }

    /// Says what a kill takes away. The first call counts.
    pub fn set_holdings(&self, holdings: Arc<dyn Holdings>) {
        let _first_counts = self.holdings.set(holdings);
    }

    /// Whether the record has been read since the start.
    #[must_use]
    pub fn is_known(&self) -> bool {
        self.view.load().known
    }

    /// Completes when the record has been read.
    pub async fn known(&self) {
        let mut known = self.known.subscribe();
        // the sender is ours, so it cannot be gone
        let _never_gone = known.wait_for(|known| *known).await.is_ok();
    }

    /// Completes when the first look at the record has ended, whether it could be read or not.
    pub async fn looked(&self) {
        let mut looked = self.looked.subscribe();
        // it ends with the fleet alone, and then nobody asks
        let _never_gone = looked.wait_for(|looked| *looked).await.is_ok();
    }

    /// A tenant's state, without a lock. Says nothing until [`Fleet::is_known`].
    #[must_use]
    pub fn state(&self, tenant: &TenantId) -> TenantState {
        let view = self.view.load();
        view.standings
            .get(tenant)
            .map_or(TenantState::Active, |standing| standing.state)
    }

    /// Why a tenant is not active, where it is not.
    #[must_use]
    pub fn standing(&self, tenant: &TenantId) -> Option<Standing> {
        self.view.load().standings.get(tenant).cloned()
    }

    /// The tenants that are not active, by id.
    #[must_use]
    pub fn standings(&self) -> BTreeMap<TenantId, Standing> {
        let view = self.view.load();
        let standings = view.standings.iter();
        standings
            .map(|(tenant, standing)| (tenant.clone(), standing.clone()))
            .collect()
    }

    /// The break-glasses of a tenant that are in force.
    #[must_use]
    pub fn openings(&self, tenant: &TenantId) -> Option<Arc<[Arc<Opening>]>> {
        self.view.load().openings.get(tenant).map(Arc::clone)
    }

    /// Every break-glass in force, the oldest first.
    #[must_use]
    pub fn break_glasses(&self) -> Vec<BreakGlass> {
        let now = telemetry::now();
        let view = self.view.load();
        let mut all: Vec<BreakGlass> = view
            .openings
            .values()
            .flat_map(|openings| openings.iter())
            .map(|opening| opening.glass.clone())
            .filter(|glass| glass.until > now)
            .collect();
        all.sort_by(|a, b| (&a.since, &a.id).cmp(&(&b.since, &b.id)));
        all
    }

    /// How often the record was written.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.desk().record.generation()
    }

    /// How many sidecars announce themselves, this one included: 1 where none does.
    #[must_use]
    pub fn members(&self) -> usize {
        self.members.load(Ordering::Relaxed)
    }

    /// Makes a change, and waits for the store no longer than somebody at a terminal does. Says whether anything changed.
    /// What sets a tenant aside holds here at once, also where this fails because of the store: then it is written later.
    ///
    /// # Errors
    /// When the record forbids it, or the store does not take it now.
    pub async fn change(self: &Arc<Self>, change: Change) -> Result<bool, ChangeError> {
        let state = || change.tenant().map(|tenant| self.state(tenant));
        let before = state();
        self.hold(&change);
        let (fleet, asked) = (Arc::clone(self), change.clone());
        // apart from whoever asks: one who goes away ends nothing
        let made = self
            .tasks
            .control("fleet-change", async move { fleet.make(&asked).await });
        let late = || StoreError::Timeout("the change of the fleet's record".to_owned());
        match tokio::time::timeout(PATIENCE, made).await {
            Ok(Ok(done)) => done.map(|written| written || before != state()),
            Ok(Err(_)) | Err(_) => Err(late().into()),
        }
    }

    /// Sets an active tenant aside for a cause that was seen. At once here; in the store as soon as that can be written.
    pub fn quarantine_automatically(self: &Arc<Self>, tenant: &TenantId, cause: QuarantineCause) {
        if self.state(tenant) != TenantState::Active {
            return;
        }
        let change = Change::SetAside(tenant.clone(), cause);
        self.hold(&change);
        self.make_later(change);
    }

    /// Serves a tenant again that this cause alone had set aside; does nothing for any other.
    pub fn release_automatically(self: &Arc<Self>, tenant: &TenantId, cause: QuarantineCause) {
        let change = Change::Release(tenant.clone(), cause);
        {
            let mut desk = self.desk();
            let theirs = self.standing(tenant).is_some_and(|standing| {
                standing.state == TenantState::Quarantined
                    && standing.by == AUTOMATIC
                    && standing.reason == cause.as_str()
            });
            if !theirs {
                return;
            }
            desk.unwritten
                .insert(tenant.clone(), (change.clone(), None));
        }
        self.make_later(change);
    }

    fn make_later(self: &Arc<Self>, change: Change) {
        let fleet = Arc::clone(self);
        let _detached = self.tasks.control("fleet-change", async move {
            if let Err(error) = fleet.make(&change).await {
                tracing::warn!(tenant = change.tenant().map(TenantId::as_str), %error, "the fleet's record was not changed");
            }
        });
    }

    /// Lets a change hold here that sets a tenant aside.
    fn hold(&self, change: &Change) {
        let (Some(tenant), Some(standing)) = (change.tenant(), change.standing(telemetry::now()))
        else {
            return;
        };
        let mut desk = self.desk();
        let before = self.state(tenant);
        if standing.state == TenantState::Killed {
            desk.unemptied.insert(tenant.clone());
        }
        if before == TenantState::Killed {
            // it is so already, or the record will say no
            return;
        }
        desk.unwritten
            .insert(tenant.clone(), (change.clone(), Some(standing)));
        let turn = self.put_in_force(&desk);
        drop(desk);
        self.say(&turn, None);
    }

    /// Writes a change, and puts in force what the record says then.
    async fn make(&self, change: &Change) -> Result<bool, ChangeError> {
        let _turn = self.turn.lock().await;
        let made = commit(&*self.store, change, telemetry::now()).await;
        if !matches!(made, Err(ChangeError::Store(_))) {
            let mut desk = self.desk();
            if let Some(tenant) = change.tenant() {
                desk.unwritten.remove(tenant);
                if matches!(change, Change::Resume(..)) {
                    desk.unemptied.remove(tenant);
                }
            }
            if let Ok(committed) = &made {
                desk.record = committed.record.clone();
            }
            let turn = self.put_in_force(&desk);
            drop(desk);
            self.say(&turn, Some(change));
        }
        let written = made?.written;
        if matches!(change, Change::Kill(..)) {
            self.empty_records().await?;
        }
        Ok(written)
    }

    /// Empties the token records of the killed.
    async fn empty_records(&self) -> Result<(), StoreError> {
        let left: Vec<TenantId> = self.desk().unemptied.iter().cloned().collect();
        let Some(holdings) = self.holdings.get().filter(|_| !left.is_empty()) else {
            return Ok(());
        };
        for tenant in left {
            holdings.empty(&tenant).await?;
            self.desk().unemptied.remove(&tenant);
        }
        Ok(())
    }

    /// Makes the view anew. What has changed by it is said once the desk is free: whoever hears of it may ask for a change.
    fn put_in_force(&self, desk: &Desk) -> Turn {
        let held = desk.unwritten.iter();
        let held = held.filter_map(|(tenant, (_, standing))| Some((tenant, standing.as_ref()?)));
        let before = self.view.load_full();
        let after = Arc::new(View::of(&desk.record, held, &before, telemetry::now()));
        self.view.store(Arc::clone(&after));
        Turn { before, after }
    }

    /// Says what has changed, and takes the tokens of the killed away. `change` is what this sidecar itself was asked for.
    fn say(&self, turn: &Turn, change: Option<&Change>) {
        for tenant in turn.killed() {
            self.take_away(tenant);
        }
        turn.say_states(change, &self.events);
        turn.say_openings(telemetry::now(), &self.events);
    }

    /// Takes a killed tenant's tokens away, now and once more: a request that was just being let go may have asked for one.
    fn take_away(&self, tenant: &TenantId) {
        if let Some(holdings) = self.holdings.get() {
            holdings.forget(tenant);
            let when = Instant::now() + LANDED.mul_f64(1.0 + rand::random::<f64>());
            self.desk().landing.insert(tenant.clone(), when);
        }
    }

    /// Announces this sidecar and counts the others for as long as it is polled, where `wanted` says so; takes it off the
    /// roll when `stop` completes, and ends.
    pub async fn attend(&self, wanted: impl Fn() -> bool + Send, stop: impl Future<Output = ()>) {
        let tell = |members| self.members.store(members, Ordering::Relaxed);
        member::attend(&*self.store, wanted, tell, stop).await;
    }

    fn desk(&self) -> MutexGuard<'_, Desk> {
        // each change of it is one insert, one removal or one assignment
        self.desk.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Fleet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fleet").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
