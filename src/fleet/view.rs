//! What is in force: the record, what holds here before it is written, and compiled break-glasses.
//!
//! Job: make a view, and say how it differs from the one before.
//! Invariants: a view is never changed, only replaced; of a record and what holds here, the more severe counts.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::SystemTime;

use super::change::Change;
use super::glass::Opening;
use crate::store::fleet::{AUTOMATIC, BreakGlass, FleetRecord, Standing};
use crate::telemetry::event::{BreakGlassPhase, Event, Events};
use crate::tenant::{TenantId, TenantState};

/// Who did what the record does not say who did.
const ELSEWHERE: &str = "another sidecar or a command";

/// See the module.
#[derive(Clone, Debug, Default)]
pub(super) struct View {
    /// Whether the record has been read.
    pub(super) known: bool,
    pub(super) standings: HashMap<TenantId, Standing>,
    pub(super) openings: HashMap<TenantId, Arc<[Arc<Opening>]>>,
    /// Break-glasses that somebody ended, and who did, by id.
    pub(super) revoked: HashMap<String, String>,
}

impl View {
    pub(super) fn of<'a>(
        record: &FleetRecord,
        held: impl Iterator<Item = (&'a TenantId, &'a Standing)>,
        before: &Self,
        now: SystemTime,
    ) -> Self {
        let mut standings: HashMap<TenantId, Standing> = record.standings().collect();
        for (tenant, standing) in held {
            let known = standings.get(tenant);
            if known.is_none_or(|known| known.state != TenantState::Killed) {
                standings.insert(tenant.clone(), standing.clone());
            }
        }
        let mut openings: HashMap<TenantId, Vec<Arc<Opening>>> = HashMap::new();
        let mut revoked = HashMap::new();
        for glass in record.break_glasses() {
            if let Some(by) = glass.revoked_by {
                revoked.insert(glass.id, by);
            } else if glass.until > now
                && let Some(opening) = before.opening(&glass).or_else(|| compiled(glass))
            {
                let tenant = opening.glass.tenant.clone();
                openings.entry(tenant).or_default().push(opening);
            }
        }
        Self {
            known: before.known,
            standings,
            openings: openings
                .into_iter()
                .map(|(tenant, openings)| (tenant, openings.into()))
                .collect(),
            revoked,
        }
    }

    /// The same break-glass, compiled before.
    fn opening(&self, glass: &BreakGlass) -> Option<Arc<Opening>> {
        let openings = self.openings.get(&glass.tenant)?.iter();
        let mut same = openings.filter(|opening| opening.glass == *glass);
        same.next().map(Arc::clone)
    }

    fn has(&self, glass: &BreakGlass) -> bool {
        self.openings
            .get(&glass.tenant)
            .is_some_and(|openings| openings.iter().any(|opening| opening.glass.id == glass.id))
    }

    fn all(&self) -> impl Iterator<Item = &Arc<Opening>> {
        self.openings.values().flat_map(|openings| openings.iter())
    }
}

fn compiled(glass: BreakGlass) -> Option<Arc<Opening>> {
    let id = glass.id.clone();
    match Opening::compile(glass) {
        Ok(opening) => Some(Arc::new(opening)),
        Err(error) => {
            tracing::warn!(id, %error, "a break-glass in the fleet's record cannot be read, and allows nothing");
            None
        }
    }
}

/// From one view to the next.
pub(super) struct Turn {
    pub(super) before: Arc<View>,
    pub(super) after: Arc<View>,
}

impl Turn {
    /// Who is killed now and was not.
    pub(super) fn killed(&self) -> impl Iterator<Item = &TenantId> {
        self.set_aside()
            .filter(|(_, standing)| standing.state == TenantState::Killed)
            .map(|(tenant, _)| tenant)
    }

    /// Whose state is another now, and not active.
    fn set_aside(&self) -> impl Iterator<Item = (&TenantId, &Standing)> {
        let state = |tenant: &TenantId| self.before.standings.get(tenant).map(|known| known.state);
        let all = self.after.standings.iter();
        all.filter(move |(tenant, standing)| state(tenant) != Some(standing.state))
    }

    /// Says whose state has changed. Of a resume the record does not say who asked for it, but `change` does where it was
    /// asked for here.
    pub(super) fn say_states(&self, change: Option<&Change>, events: &Events) {
        for (tenant, standing) in self.set_aside() {
            tracing::warn!(%tenant, state = standing.state.as_str(), reason = standing.reason, by = standing.by, since = standing.since, "a tenant is not served");
            events.note(&Event::State {
                tenant,
                state: standing.state,
                reason: &standing.reason,
                by: &standing.by,
            });
        }
        let back = self.before.standings.keys();
        for tenant in back.filter(|tenant| !self.after.standings.contains_key(*tenant)) {
            let (reason, by) = match change {
                Some(Change::Resume(resumed, why)) if resumed == tenant => (why.reason(), why.by()),
                Some(Change::Release(released, cause)) if released == tenant => {
                    (cause.as_str(), AUTOMATIC)
                }
                Some(_) | None => ("the fleet's record says so", ELSEWHERE),
            };
            tracing::info!(%tenant, reason, by, "a tenant is served again");
            events.note(&Event::State {
                tenant,
                state: TenantState::Active,
                reason,
                by,
            });
        }
    }

    /// Says which break-glasses were opened, and which have ended, and how.
    pub(super) fn say_openings(&self, now: SystemTime, events: &Events) {
        let Self { before, after } = self;
        let say = |glass: &BreakGlass, what: BreakGlassPhase, by: &str| {
            tracing::warn!(id = glass.id, tenant = %glass.tenant, allow = ?glass.allow, reason = glass.reason, by, ?what, until = %humantime::format_rfc3339_seconds(glass.until), "break-glass");
            events.note(&Event::BreakGlass {
                tenant: &glass.tenant,
                allow: &glass.allow,
                what,
                reason: &glass.reason,
                by,
            });
        };
        for opening in after.all().filter(|opening| !before.has(&opening.glass)) {
            say(&opening.glass, BreakGlassPhase::Opened, &opening.glass.by);
        }
        for opening in before.all().filter(|opening| !after.has(&opening.glass)) {
            let glass = &opening.glass;
            match after.revoked.get(&glass.id) {
                Some(by) => say(glass, BreakGlassPhase::Revoked, by),
                None if glass.until <= now => say(glass, BreakGlassPhase::Expired, &glass.by),
                None => say(glass, BreakGlassPhase::Revoked, ELSEWHERE),
            }
        }
    }
}
