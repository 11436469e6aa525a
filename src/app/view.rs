//! What the console shows, gathered.
//!
//! Job: put verdicts, the last hour, alerts, refusals, dates and the fleet into the page's plain values; remember when the process
//! started and reloaded, since a regression is seen against a deploy.
//! Invariants: ids, templates, counts, dates and closed words; a page shows at most [`MOST_TENANTS`] tenants, those in trouble first.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use super::verdicts::Verdicts;
use crate::admin::Readiness;
use crate::admin::console::view::{Alert, BreakGlass, Due, Minute, Refused, Tenant, View};
use crate::catalog::Catalog;
use crate::config::PolicyMode;
use crate::outcome::Reason;
use crate::proxy::Shared;
use crate::telemetry;
use crate::telemetry::event::{Event, Observer};
use crate::telemetry::traffic::{Kind, Seen};
use crate::tenant::GrantKind;
use crate::token::AccessKey;
use crate::verdict::memory::Memory;
use crate::verdict::report::{Checked, Health};

/// Most tenants on one page.
const MOST_TENANTS: usize = 100;

/// How far back refusals are shown.
const LATELY: Duration = Duration::from_mins(15);

/// Most rows of refusals.
const MOST_REFUSED: usize = 30;

/// What a chart shows.
const HOUR: Duration = Duration::from_hours(1);

/// LWA's usual life of a token: what a meter is drawn against.
const USUAL_LIFE: u64 = 3600;

/// When the process started and reloaded.
#[derive(Debug, Default)]
pub(super) struct Marks(Mutex<Vec<SystemTime>>);

impl Observer for Marks {
    fn note(&self, event: &Event<'_>) {
        if matches!(event, Event::Started | Event::Reload { taken: true, .. }) {
            let now = telemetry::now();
            let mut marks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            marks.retain(|mark| ago(*mark, now) < HOUR);
            marks.push(now);
        }
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
        all.sort_by_key(|one| one.diagnosis.severity());
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
            tenants: all.iter().map(|one| self.tenant(one)).collect(),
            more_tenants: more,
            alerts: shared.alerts.active().iter().map(alert).collect(),
            refused: self.refused(now),
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
        let probable = diagnosis.probable();
        let note = self.shared.fleet.standing(&profile.id);
        Tenant {
            id: profile.id.to_string(),
            app: profile.app.to_string(),
            region: profile.region.as_str(),
            state: facts.state().as_str(),
            state_note: note.map_or_else(String::new, |note| {
                format!("since {} by {}: {}", note.since, note.by, note.reason)
            }),
            token_left: left,
            token_life: left.unwrap_or_default().max(USUAL_LIFE),
            health: diagnosis.severity().as_str(),
            cause: probable.map(|finding| finding.cause.as_str().replace('_', " ")),
            next_step: probable.map(|finding| {
                format!(
                    "{} ({})",
                    finding.next_step,
                    finding.whose.as_str().replace('_', " ")
                )
            }),
            charge: (
                diagnosis.charge.standing.as_str().replace('_', " "),
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

    fn refused(&self, now: SystemTime) -> Vec<Refused> {
        let mut rows: Vec<(Kind, Seen)> = self.shared.recorder.traffic.seen();
        rows.retain(|(_, seen)| seen.refused > 0 && ago(seen.last, now) < LATELY);
        rows.sort_by_key(|(_, seen)| std::cmp::Reverse(seen.last));
        rows.truncate(MOST_REFUSED);
        rows.iter()
            .map(|(kind, seen)| Refused {
                tenant: kind.tenant.to_string(),
                call: format!("{} {}", kind.method, kind.template),
                code: seen.reason.map_or("", Reason::code),
                count: seen.refused,
                last: telemetry::clock(seen.last),
                allow: allowing(kind, seen.reason),
            })
            .collect()
    }

    fn marks(&self, now: SystemTime) -> Vec<(u8, String)> {
        let release = &self.shared.recorder.release;
        let marks = self.marks.0.lock().unwrap_or_else(PoisonError::into_inner);
        marks
            .iter()
            .filter_map(|mark| u8::try_from(ago(*mark, now).as_secs() / 60).ok())
            .filter(|minutes| *minutes < 60)
            .map(|minutes| (minutes, release.to_string()))
            .collect()
    }
}

fn ago(then: SystemTime, now: SystemTime) -> Duration {
    now.duration_since(then).unwrap_or(Duration::ZERO)
}

/// The line of `routes` that would allow a call, where a route is what it lacks.
fn allowing(kind: &Kind, reason: Option<Reason>) -> String {
    if reason != Some(Reason::RouteDenied) {
        return String::new();
    }
    let operation = Catalog::embedded().by_template(&kind.method, &kind.template);
    let scope = operation
        .and_then(|operation| operation.scopes().into_iter().next())
        .unwrap_or_else(|| "ROLE".to_owned());
    format!(
        "- {{ allow: \"{} {}\", scope: {scope} }}",
        kind.method, kind.template
    )
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
            what: due.what.as_str().trim_end_matches("_due").replace('_', " "),
            subject: due.subject.clone(),
            days_left: due.days_left,
            owner: due.owner.clone(),
        })
        .collect();
    dues.sort_by_key(|due| due.days_left);
    dues
}
