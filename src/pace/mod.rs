//! Pacing: requests are held to Amazon's usage plans, so that Amazon need not refuse them.
//!
//! Job: one lane for each quota (application, selling partner, operation), seeded from the catalog, corrected by what answers
//! say; whoever asks gets a place at once, waits in line for one, or hears that it would take too long.
//! Invariants: first come, first served; a wait is bounded by the caller's patience; a caller that goes away, in line or with a
//! place that it did not use, leaves nothing taken; one lane's lock is nobody else's; idle lanes are dropped, and their number
//! is bounded. A fleet of sidecars divides a quota evenly.
//! Failure mode: [`Crowded`]. An operation without a known rate is not held back until an answer tells one.
//! Sources: SP-API facts, section 4 (a bucket for each operation and account-application pair; `x-amzn-RateLimit-Limit` on 20x,
//! 400 and 404 only, best effort); CONTRACT section 3.4.

use std::fmt;
use std::hash::BuildHasher as _;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::catalog::Operation;
use crate::config::{Environment, Tenant};
use crate::map::{Hasher, Map};
use crate::tenant::{AppId, TenantId};

pub mod bucket;
mod lane;

use bucket::Plan;
pub use lane::{Crowded, Lane, Place};

/// How many sidecars share a quota, this one included. Called on the request path.
pub type Members = Arc<dyn Fn() -> usize + Send + Sync>;

/// Amazon's sandbox has one plan for all operations (SP-API facts, section 1).
const SANDBOX_PLAN: (f64, f64) = (5.0, 15.0);

/// Burst that is assumed where the catalog knows none: the one that most plans have.
const USUAL_BURST: f64 = 10.0;

/// Parts of the map of lanes, so that two cores seldom want the same lock.
const SHARDS: usize = 32;

/// Lanes in one part from which on idle ones are looked for.
const FIRST_SWEEP: usize = 64;

/// Most lanes in one part: 131,072 in all, some 300 bytes each.
const MOST_LANES: usize = 4_096;

/// A lane that nobody has used for this long may be dropped, with the rate that it has learnt, once its bucket is full.
const IDLE: Duration = Duration::from_mins(10);

/// All lanes.
pub struct Pace {
    shards: [Mutex<Shard>; SHARDS],
    hasher: Hasher,
    members: Members,
}

struct Shard {
    lanes: Map<Key, Arc<Lane>>,
    sweep_at: usize,
}

/// What a quota is for. A grantless call has no selling partner: its quota is the application's.
#[derive(PartialEq, Eq, Hash)]
struct Key {
    app: AppId,
    tenant: Option<TenantId>,
    operation: Named,
}

#[derive(PartialEq, Eq, Hash)]
enum Named {
    /// The place of an operation in the catalog's table.
    Known(usize),
    Template(http::Method, Arc<str>),
}

/// A call that is to be made.
#[derive(Clone, Copy, Debug)]
pub struct Call<'a> {
    /// For whom.
    pub tenant: &'a Tenant,
    /// Whether it is made with a client-credentials token.
    pub grantless: bool,
    /// Its method.
    pub method: &'a http::Method,
    /// What the catalog knows of it.
    pub operation: Option<&'static Operation>,
    /// Its route's template: its name where the catalog knows nothing.
    pub template: &'a Arc<str>,
}

impl Pace {
    /// `members` tells how many sidecars share each quota.
    #[must_use]
    pub fn new(members: Members) -> Self {
        let shard = |_| {
            Mutex::new(Shard {
                lanes: Map::default(),
                sweep_at: FIRST_SWEEP,
            })
        };
        Self {
            shards: std::array::from_fn(shard),
            hasher: Hasher::default(),
            members,
        }
    }

    /// The lane of a call.
    #[must_use]
    pub fn lane(&self, call: &Call<'_>) -> Arc<Lane> {
        let operation = call.operation;
        let key = Key {
            app: call.tenant.app.clone(),
            tenant: (!call.grantless).then(|| call.tenant.id.clone()),
            operation: operation.map_or_else(
                || Named::Template(call.method.clone(), Arc::clone(call.template)),
                |operation| Named::Known(std::ptr::from_ref(operation).addr()),
            ),
        };
        let mut shard = self.shard(&key);
        if let Some(lane) = shard.lanes.get(&key) {
            return Arc::clone(lane);
        }
        if shard.lanes.len() >= shard.sweep_at {
            shard.sweep(Instant::now());
        }
        let plan = plan(operation, call.tenant.environment);
        let lane = Arc::new(Lane::new(plan, Arc::clone(&self.members)));
        shard.lanes.insert(key, Arc::clone(&lane));
        lane
    }

    /// How many lanes there are.
    #[must_use]
    pub fn lanes(&self) -> usize {
        self.shards
            .iter()
            .map(|shard| lock(shard).lanes.len())
            .sum()
    }

    /// How many requests stand in some line now.
    #[must_use]
    pub fn waiting(&self) -> usize {
        let in_shard = |shard: &Mutex<Shard>| -> usize {
            let shard = lock(shard);
            shard.lanes.values().map(|lane| lane.waiting()).sum()
        };
        self.shards.iter().map(in_shard).sum()
    }

    fn shard(&self, key: &Key) -> MutexGuard<'_, Shard> {
        let hash = self.hasher.hash_one(key);
        #[expect(
            clippy::cast_possible_truncation,
            reason = "the low bits are wanted, whatever the width"
        )]
        let place = hash as usize % SHARDS;
        let shard = self.shards.get(place);
        lock(shard.expect("a remainder by the number of shards names one"))
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The plan that Amazon publishes for an operation.
fn plan(operation: Option<&Operation>, environment: Environment) -> Option<Plan> {
    let (rate, burst) = match environment {
        Environment::Sandbox => SANDBOX_PLAN,
        Environment::Production => {
            let operation = operation?;
            (operation.rate?, operation.burst.unwrap_or(USUAL_BURST))
        }
    };
    Plan::parse(rate, burst)
}

impl Shard {
    /// Drops what is idle; where that is not enough, the half of what nobody holds that was used the longest ago.
    fn sweep(&mut self, now: Instant) {
        self.lanes.retain(|_, lane| !lane.is_idle(IDLE, now));
        if self.lanes.len() >= MOST_LANES {
            let mut used: Vec<Instant> = self.lanes.values().map(|lane| lane.used()).collect();
            let middle = used.len() / 2;
            let (_, median, _) = used.select_nth_unstable(middle);
            let median = *median;
            self.lanes
                .retain(|_, lane| Arc::strong_count(lane) > 1 || lane.used() > median);
        }
        self.sweep_at = (self.lanes.len() * 2).clamp(FIRST_SWEEP, MOST_LANES);
    }
}

impl fmt::Debug for Pace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pace").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
