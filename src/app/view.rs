//! What the console shows, gathered.
//!
//! Job: put verdicts, the last hour, alerts, refusals, dates and the fleet into the page's plain values; remember when the process
//! started and reloaded, since a regression is seen against a deploy.
//! Invariants: ids, templates, counts, dates and closed words; a page shows at most [`MOST_TENANTS`] tenants, those in trouble first.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use super::refusals;
use super::verdicts::Verdicts;
use crate::admin::Readiness;
use crate::admin::console::view::{
    Alert, BreakGlass, Due, Mark, Minute, Probable, SetAside, Tenant, Trouble, View,
};
use crate::config::PolicyMode;
use crate::proxy::Shared;
use crate::telemetry;
use crate::telemetry::event::{Event, Observer};
use crate::tenant::{GrantKind, TenantState};
use crate::token::AccessKey;
use crate::verdict::cause::{Finding, Severity};
use crate::verdict::due::DueKind;
use crate::verdict::memory::Memory;
use crate::verdict::minute::minute_of;
use crate::verdict::report::{Checked, Health};

/// Most tenants on one page.
const MOST_TENANTS: usize = 100;

/// Most tenants that one line of the summary names.
const MOST_NAMED: usize = 4;

/// Minutes that a chart shows, a bar each.
const BARS: u8 = 60;

/// As long as a chart shows.
const HOUR: Duration = Duration::from_hours(1);

/// LWA's usual life of a token: what a meter is drawn against.
const USUAL_LIFE: u64 = 3600;

/// When the process started and reloaded.
#[derive(Debug, Default)]
pub(super) struct Marks(Mutex<Vec<(SystemTime, &'static str)>>);

impl Observer for Marks {
    fn note(&self, event: &Event<'_>) {
        let what = if matches!(event, Event::Started) {
            "start"
        } else if matches!(event, Event::Reload { taken: true, .. }) {
            "reload"
        } else {
            return;
        };
        let now = telemetry::now();
        let mut marks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        marks.retain(|(mark, _)| ago(*mark, now) < HOUR);
        marks.push((now, what));
    }
}

/// Everything that a view is made of.
#[derive(Clone)]
pub(super) struct Sources {
    pub(super) shared: Arc<Shared>,
    pub(super) verdicts: Arc<Verdicts>,
    pub(super) memory: Arc<Memory>,
    pub(super) readiness: Arc<Readiness>,
    pub(super) marks: Arc<Marks>,
}

impl Sources {
    /// The page's content, now.
    pub(super) fn view(&self) -> View {
        let (shared, now) = (&self.shared, telemetry::now());
        let world = shared.world.load_full();
        let mut health = self.verdicts.health();
        let mut all = std::mem::take(&mut health.tenants);
        all.sort_by_key(rank);
        let count = |severity| {
            let its = all.iter().map(|one| one.diagnosis.severity());
            its.filter(|one| *one == severity).count()
        };
        let counts = (
            count(Severity::Failing),
            count(Severity::Degraded),
            count(Severity::Notice),
        );
        let troubles = troubles(&all);
        let refused = refusals::rows(shared, &all, now);
        let more = all.len().saturating_sub(MOST_TENANTS);
        all.truncate(MOST_TENANTS);
        View {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            release: shared.recorder.release.to_string(),
            at: telemetry::clock(now),
            policy: match world.config.policy {
                PolicyMode::Enforce => "enforce",
                PolicyMode::Report => "report",
            },
            ready: self.readiness.is_ready(),
            store_trouble: self.memory.store_trouble(),
            members: shared.fleet.members(),
            counts,
            troubles,
            tenants: all.iter().map(|one| self.tenant(one)).collect(),
            more_tenants: more,
            alerts: alerts(&shared.alerts.active()),
            refused,
            break_glass: shared.fleet.break_glasses().iter().map(glass).collect(),
            dues: dues(&health),
            marks: self.marks(now),
        }
    }

    fn tenant(&self, one: &Checked) -> Tenant {
        let (facts, diagnosis) = (&one.facts, &one.diagnosis);
        let profile = &facts.profile;
        let left = self
            .shared
            .tokens
            .left(&AccessKey::new(profile, GrantKind::Refresh))
            .map(|left| left.as_secs());
        let note = self.shared.fleet.standing(&profile.id);
        Tenant {
            id: profile.id.to_string(),
            app: profile.app.to_string(),
            region: profile.region.as_str(),
            state: facts.state().as_str(),
            set_aside: note.map(|note| SetAside {
                since: note.since,
                by: note.by,
                reason: note.reason,
            }),
            waits: facts.waits.is_some(),
            token_left: left,
            token_life: left.unwrap_or_default().max(USUAL_LIFE),
            health: diagnosis.severity().as_str(),
            probable: diagnosis
                .probable()
                .map(|finding| probable(finding, &diagnosis.findings)),
            charge: (
                spaced(diagnosis.charge.standing.as_str()),
                diagnosis.charge.days_left,
            ),
            authorization_days: facts.authorization_days,
            minutes: self
                .memory
                .history(&profile.id)
                .iter()
                .map(|minute| Minute {
                    good: minute.taken,
                    unauthorized: minute.unauthorized,
                    forbidden: minute.forbidden,
                    throttled: minute.throttled,
                })
                .collect(),
        }
    }

    fn marks(&self, now: SystemTime) -> Vec<Mark> {
        let release = &self.shared.recorder.release;
        let marks = self.marks.0.lock().unwrap_or_else(PoisonError::into_inner);
        marks
            .iter()
            .filter_map(|(mark, what)| {
                Some(Mark {
                    ago: bars_ago(*mark, now)?,
                    what,
                    release: release.to_string(),
                })
            })
            .collect()
    }
}

fn ago(then: SystemTime, now: SystemTime) -> Duration {
    now.duration_since(then).unwrap_or(Duration::ZERO)
}

/// The worst first; among equals those that somebody set aside last: that is known already.
fn rank(one: &Checked) -> (Severity, u8) {
    let aside = match one.facts.state() {
        TenantState::Active => 0,
        TenantState::Quarantined => 1,
        TenantState::Killed => 2,
    };
    (one.diagnosis.severity(), aside)
}

/// Those of one cause in one line, in the order of the tenants.
fn troubles(all: &[Checked]) -> Vec<Trouble> {
    let mut troubles: Vec<Trouble> = Vec::new();
    for one in all {
        let Some(finding) = one.diagnosis.probable() else {
            continue;
        };
        let (health, cause) = (finding.severity.as_str(), finding.cause.as_str());
        let whose = spaced(finding.whose.as_str());
        let same = troubles
            .iter_mut()
            .find(|known| (known.health, known.cause, &known.whose) == (health, cause, &whose));
        let tenant = one.facts.profile.id.to_string();
        match same {
            Some(known) if known.tenants.len() < MOST_NAMED => known.tenants.push(tenant),
            Some(known) => known.more += 1,
            None => troubles.push(Trouble {
                health,
                cause,
                whose,
                tenants: vec![tenant],
                more: 0,
            }),
        }
    }
    troubles
}

fn spaced(word: &str) -> String {
    word.replace('_', " ")
}

fn probable(finding: &Finding, all: &[Finding]) -> Probable {
    Probable {
        cause: spaced(finding.cause.as_str()),
        confidence: finding.confidence.as_str(),
        evidence: finding.evidence.clone(),
        next_step: finding.next_step.clone(),
        whose: spaced(finding.whose.as_str()),
        owner: finding.owner.clone(),
        also: all
            .iter()
            .filter(|one| one.cause != finding.cause)
            .map(|one| spaced(one.cause.as_str()))
            .collect(),
        runbook: finding.cause.runbook(),
    }
}

/// Those of a kind together, the kinds in the order of their list.
fn alerts(active: &[crate::alert::Alert]) -> Vec<Alert> {
    let mut sorted: Vec<&crate::alert::Alert> = active.iter().collect();
    sorted.sort_by_key(|alert| alert.kind);
    sorted.into_iter().map(alert).collect()
}

fn alert(alert: &crate::alert::Alert) -> Alert {
    Alert {
        alert: alert.kind.as_str().to_owned(),
        subject: alert.subject.to_string(),
        since: telemetry::clock(alert.since),
        detail: alert.detail.clone(),
        runbook: alert.kind.runbook(),
    }
}

fn glass(glass: &crate::store::fleet::BreakGlass) -> BreakGlass {
    BreakGlass {
        id: glass.id.clone(),
        tenant: glass.tenant.to_string(),
        allow: glass.allow.clone(),
        until: telemetry::clock(glass.until),
        reason: glass.reason.clone(),
        by: glass.by.clone(),
    }
}

fn dues(health: &Health) -> Vec<Due> {
    let mut dues: Vec<Due> = health
        .dues
        .iter()
        .map(|due| Due {
            what: words(due.what),
            subject: if due.what == DueKind::Ca {
                String::new()
            } else {
                due.subject.clone()
            },
            days_left: due.days_left,
            owner: due.owner.clone(),
        })
        .collect();
    dues.sort_by_key(|due| due.days_left);
    dues
}

fn words(what: DueKind) -> String {
    if what == DueKind::Ca {
        return "CA of this sidecar".to_owned();
    }
    spaced(what.as_str().trim_end_matches("_due"))
}

/// How many bars of a chart lie between; nothing where it is off the chart. Bars are minutes of the clock: by the time that
/// has passed, a start could stand after the errors that it brought.
fn bars_ago(then: SystemTime, now: SystemTime) -> Option<u8> {
    let bars = minute_of(now).saturating_sub(minute_of(then));
    u8::try_from(bars).ok().filter(|bars| *bars < BARS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_start_stands_at_the_minute_whose_errors_it_brought() {
        let at = |seconds| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
        let start = 30 * 60 + 44;
        for (now, want) in [
            (start, Some(0)),
            // the next minute has begun, though only 24 seconds have passed
            (start + 24, Some(1)),
            (start + 16 + 58 * 60, Some(59)),
            (start + 16 + 59 * 60, None),
        ] {
            assert_eq!(bars_ago(at(start), at(now)), want, "{now}");
        }
    }
}
