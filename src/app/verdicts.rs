//! Verdicts on the tenants that are served.
//!
//! Job: gather the facts (world, tokens, memory, dates, CA) for the diagnosis; read the dates that only the store knows; say
//! every verdict hourly, and sooner where something happened that it may turn on.
//! Invariants: on demand nothing is asked of Amazon: a verdict rests on what traffic and exchanges have shown. The hourly round
//! exchanges where memory holds no usable token, so that a tenant without traffic is known about too; for the same reason it
//! asks every few seconds whether a preflight has passed, of those alone who wait for one.
//! Failure mode: a store that does not answer leaves the dates as they were.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use tokio::sync::Notify;

use super::rounds::{Rounds, Turn};
use crate::admin::Readiness;
use crate::config::{Date, Tenant};
use crate::proxy::{Shared, World};
use crate::store::GrantStore;
use crate::store::fleet::Standing;
use crate::store::record::{AppCredentials, Grant};
use crate::telemetry;
use crate::telemetry::event::Event;
use crate::tenant::{GrantKind, TenantId, TenantState};
use crate::token::AccessKey;
use crate::verdict::due::{self, Ages, Due, DueKind};
use crate::verdict::facts::{self, Around, Charge, Coverage, Facts, Needs, Sidecar, StateNote};
use crate::verdict::memory::Memory;
use crate::verdict::report::{Checked, Health};

/// Longest wait for a start before the first round: a store that is down must not silence it.
const PATIENCE: Duration = Duration::from_mins(1);

/// Between two looks at whose preflight has passed.
const ASK_AGAIN: Duration = Duration::from_secs(5);

/// What verdicts are made of.
pub(super) struct Verdicts {
    shared: Arc<Shared>,
    store: Arc<dyn GrantStore>,
    memory: Arc<Memory>,
    ages: RwLock<Ages>,
    ages_read: Notify,
}

/// What is the same for all tenants of one round.
struct Common {
    world: Arc<World>,
    needs: Arc<Needs>,
    around: Around,
    dues: Vec<Due>,
    now: std::time::SystemTime,
}

impl Verdicts {
    pub(super) fn new(
        shared: &Arc<Shared>,
        store: &Arc<dyn GrantStore>,
        memory: &Arc<Memory>,
    ) -> Arc<Self> {
        Arc::new(Self {
            shared: Arc::clone(shared),
            store: Arc::clone(store),
            memory: Arc::clone(memory),
            ages: RwLock::default(),
            ages_read: Notify::new(),
        })
    }

    /// Starts the rounds.
    pub(super) fn start(self: &Arc<Self>, readiness: &Arc<Readiness>) {
        let (its, ready) = (Arc::clone(self), Arc::clone(readiness));
        let stop = self.shared.tasks.stopping();
        let _rounds = self.shared.tasks.control("verdicts", async move {
            tokio::select! { () = its.rounds(&ready) => {}, () = its.preflights() => {}, () = stop => {} }
        });
    }

    /// What comes due, the soonest first.
    pub(super) fn dues(&self) -> Vec<Due> {
        self.common().dues
    }

    /// Completes when the store has said anew how old secrets and authorizations are. For one who waits.
    pub(super) async fn ages_were_read(&self) {
        self.ages_read.notified().await;
    }

    /// The verdicts on all tenants that are known.
    pub(super) fn health(&self) -> Health {
        let known = self.shared.world.load().tenants.known();
        self.health_of(&known, true)
    }

    /// The verdict on one tenant, from the store where that holds the profiles; nothing where there is no such tenant.
    pub(super) async fn health_of_one(&self, id: &str) -> Option<Health> {
        let id = TenantId::parse(id).ok()?;
        let world = self.shared.world.load_full();
        let tenant = world.tenants.find(&id).await.ok()?;
        Some(self.health_of(&[tenant], false))
    }

    /// The probable cause of a tenant's trouble, how sure, whose it is and what to do; nothing where none is found.
    pub(super) fn explanation(&self, id: &TenantId) -> Option<String> {
        let tenant = self.shared.world.load().tenants.get(id)?;
        // it may be a request that this alert comes of: what others have coming due is not looked at
        let common = self.common_of(std::slice::from_ref(&tenant));
        let days = due::days(&common.dues);
        let checked = Checked::of(self.facts(&common, &days, &tenant));
        let found = checked.diagnosis.probable()?;
        let owner = found.owner.as_ref();
        Some(format!(
            "{} {}; {}{}: {}",
            found.confidence.as_str(),
            found.cause.as_str(),
            found.whose.as_str().replace('_', " "),
            owner.map_or_else(String::new, |owner| format!(" ({owner})")),
            found.next_step
        ))
    }

    fn health_of(&self, tenants: &[Arc<Tenant>], all_apps: bool) -> Health {
        let common = self.common();
        let days = due::days(&common.dues);
        let checked: Vec<Checked> = tenants
            .iter()
            .map(|tenant| Checked::of(self.facts(&common, &days, tenant)))
            .collect();
        let apps = common
            .world
            .config
            .apps
            .iter()
            .filter(|app| all_apps || tenants.iter().any(|tenant| tenant.app == app.id));
        Health {
            checked_at: common.now,
            release: self.shared.recorder.release.to_string(),
            apps: apps.cloned().collect(),
            tenants: checked,
            dues: common.dues.clone(),
            remind_within: common.world.config.remind_within(),
        }
    }

    fn common(&self) -> Common {
        self.common_of(&self.shared.world.load().tenants.known())
    }

    /// With the dates of these tenants alone.
    fn common_of(&self, tenants: &[Arc<Tenant>]) -> Common {
        let world = self.shared.world.load_full();
        let now = telemetry::now();
        let ages = self.ages.read().unwrap_or_else(PoisonError::into_inner);
        let ca_end = self.shared.leaves.authority().not_after();
        Common {
            needs: Arc::new(facts::needs(&world.config.routes)),
            around: self.memory.around(world.config.alerts.auth_errors.1),
            dues: due::dues(&world.config.apps, tenants, &ages, Some(ca_end), now),
            now,
            world,
        }
    }

    fn facts(
        &self,
        common: &Common,
        days: &HashMap<(DueKind, &str), i64>,
        tenant: &Arc<Tenant>,
    ) -> Facts {
        let config = &common.world.config;
        let recent = self.memory.recent(&tenant.id);
        let app = config.apps.iter().find(|app| app.id == tenant.app);
        Facts {
            now: common.now,
            window: config.alerts.auth_errors.1,
            aside: self.shared.fleet.standing(&tenant.id).map(note),
            waits: self.shared.passes.waits(tenant).map(|why| why.to_string()),
            token_left: self
                .shared
                .tokens
                .left(&AccessKey::new(tenant, GrantKind::Refresh)),
            scopes: Coverage::of(tenant, &common.needs),
            needs: Arc::clone(&common.needs),
            recent,
            charge: app.map_or_else(Charge::default, |app| Charge::of(app, Date::of(common.now))),
            secret_days: days
                .get(&(DueKind::ClientSecret, tenant.app.as_str()))
                .copied(),
            authorization_days: days
                .get(&(DueKind::Authorization, tenant.id.as_str()))
                .copied(),
            around: common.around,
            store_trouble: self.memory.store_trouble(),
            sidecar: Sidecar::Running,
            remind_within: config.remind_within(),
            profile: Arc::clone(tenant),
        }
    }

    /// Asks whose preflight has passed: who waits is known about before it is called for, and a pass without a call.
    async fn preflights(&self) {
        let mut waited = BTreeSet::new();
        loop {
            let mut waits = BTreeSet::new();
            for tenant in self.shared.world.load_full().tenants.known() {
                // one after another, so that ten thousand are no burden; who has passed is not asked for again
                match self.shared.passes.check(&tenant).await {
                    Ok(()) => {}
                    Err(_said_by_the_store) if self.shared.passes.waits(&tenant).is_none() => {}
                    Err(_waits) => {
                        waits.insert(tenant.id.clone());
                    }
                }
            }
            for tenant in waited.symmetric_difference(&waits) {
                self.memory.look_again(tenant);
            }
            waited = waits;
            tokio::time::sleep(ASK_AGAIN).await;
        }
    }

    async fn rounds(&self, readiness: &Readiness) {
        let mut said = HashMap::new();
        // either way the round begins: what is not ready is part of what it says
        let begun = async {
            self.shared.fleet.known().await;
            readiness.wait().await;
        };
        let _ready = tokio::time::timeout(PATIENCE, begun).await;
        let mut rounds = Rounds::default();
        loop {
            match rounds.next(&self.memory).await {
                Turn::All => {
                    self.read_ages().await;
                    self.exchange_where_there_is_no_token().await;
                    let _all = self.memory.take_changed();
                    self.say(None, &mut said);
                }
                Turn::News => self.say(Some(&self.memory.take_changed()), &mut said),
            }
        }
    }

    /// Says the verdicts on these tenants, or on all; writes a line where one has changed.
    fn say(
        &self,
        whose: Option<&BTreeSet<TenantId>>,
        said: &mut HashMap<TenantId, Option<&'static str>>,
    ) {
        let common = self.common();
        let days = due::days(&common.dues);
        let concerned = |id: &TenantId| whose.is_none_or(|whose| whose.contains(id));
        for tenant in &common.world.tenants.known() {
            if !concerned(&tenant.id) {
                continue;
            }
            let checked = Checked::of(self.facts(&common, &days, tenant));
            let probable = checked.diagnosis.probable();
            let cause = probable.map(|finding| finding.cause.as_str());
            let evidence = probable.map_or_else(String::new, |f| f.evidence.join("; "));
            let next_step = probable.map_or("", |finding| &finding.next_step);
            let status = checked.diagnosis.severity().as_str();
            self.shared.recorder.events.note(&Event::Verdict {
                tenant: &tenant.id,
                cause,
                status,
                evidence: &evidence,
                next_step,
            });
            let before = said.insert(tenant.id.clone(), cause).flatten();
            match (before, cause) {
                (before, Some(cause)) if before != Some(cause) => {
                    tracing::warn!(tenant = %tenant.id, cause, status, evidence, next_step, "verdict");
                }
                (Some(before), None) => {
                    tracing::info!(tenant = %tenant.id, before, "verdict: all is well again");
                }
                (Some(_) | None, _) => {}
            }
        }
        said.retain(|id, _| common.world.tenants.get(id).is_some());
    }

    /// Reads when each secret and each authorization came to be.
    async fn read_ages(&self) {
        let world = self.shared.world.load_full();
        let mut ages = self
            .ages
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        for app in &world.config.apps {
            match AppCredentials::load(&*self.store, &app.id).await {
                Ok(found) => {
                    let made = found.and_then(|(found, _)| found.rotated_at);
                    keep(&mut ages.secrets, &app.id, made.as_deref());
                }
                Err(_said_by_the_exchange) => return,
            }
        }
        for tenant in world.tenants.known().iter().map(|tenant| &tenant.id) {
            match Grant::load(&*self.store, tenant).await {
                Ok(found) => {
                    let given = found.and_then(|(found, _)| found.authorized_at);
                    keep(&mut ages.authorizations, tenant, given.as_deref());
                }
                Err(_said_by_the_exchange) => return,
            }
        }
        *self.ages.write().unwrap_or_else(PoisonError::into_inner) = ages;
        self.ages_read.notify_one();
    }

    async fn exchange_where_there_is_no_token(&self) {
        let world = self.shared.world.load_full();
        for tenant in world.tenants.standing() {
            // what a kill took away is not brought back, and until the states are known nobody is served
            let fleet = &self.shared.fleet;
            if !fleet.is_known() || fleet.state(&tenant.id) == TenantState::Killed {
                continue;
            }
            let key = AccessKey::new(&tenant, GrantKind::Refresh);
            if self.shared.tokens.left(&key).is_none() {
                // how it ends is said by the exchange, and remembered
                let _remembered = self.shared.tokens.access(&key).await;
            }
        }
    }
}

/// A tenant's standing in the fleet, as a verdict reads it.
fn note(standing: Standing) -> StateNote {
    StateNote {
        state: standing.state,
        reason: standing.reason,
        by: standing.by,
        since: standing.since,
    }
}

fn keep<K: Clone + Eq + std::hash::Hash>(ages: &mut HashMap<K, Date>, id: &K, day: Option<&str>) {
    match day.and_then(Date::parse) {
        Some(day) => ages.insert(id.clone(), day),
        None => ages.remove(id),
    };
}
