//! What was called, by whom, since when and when last: what the ledger, `--from-traffic` and the access review are made of.
//!
//! Job: count requests by tenant and operation, and remember what was opened by break-glass; keep both over restarts
//! ([`kept`]).
//! Invariants: keys are catalog ids and templates, never raw paths; memory is bounded by [`MOST`] and [`MOST_OPENINGS`]; what is
//! written to disk is ids, templates, counts, times, and what a person gave as the reason of a break-glass.
//! Failure mode: beyond the bound new kinds of calls are not counted; where nothing can be written, it is forgotten at the
//! end, and said so.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use super::event::{BreakGlassPhase, Event, Observer};
use super::record::Outcome;
use crate::map::Map;
use crate::outcome::Reason;
use crate::redact;
use crate::tenant::TenantId;

pub mod kept;

/// Most kinds of calls that are told apart: tenants times operations of a large installation.
const MOST: usize = 20_000;

/// Most openings that are remembered: one a day for a year, and some.
const MOST_OPENINGS: usize = 500;

/// How long a kind of call is kept that nobody makes any more: a year's review and a quarter.
const KEPT: Duration = Duration::from_hours(24 * 455);

/// One kind of call.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Kind {
    /// Whose.
    pub tenant: TenantId,
    /// Method.
    pub method: http::Method,
    /// Template, or the masked path of what no template names.
    pub template: Arc<str>,
}

/// What is known of one kind of call.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Seen {
    /// How often.
    pub requests: u64,
    /// How often it was refused.
    pub refused: u64,
    /// How often it was let through although the route policy, enforced, would have refused it.
    pub would_refuse: u64,
    /// Why, the last time.
    pub reason: Option<Reason>,
    /// When first.
    pub first: SystemTime,
    /// When last.
    pub last: SystemTime,
    /// When last it went to Amazon and an answer came back.
    pub last_sent: Option<SystemTime>,
}

/// What a break-glass opened.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Opening {
    /// For whom.
    pub tenant: TenantId,
    /// Its routes, as `METHOD /template`.
    pub allow: Vec<String>,
    /// Why.
    pub reason: String,
    /// Who did it.
    pub by: String,
    /// When.
    pub at: SystemTime,
    /// How many calls went by it.
    pub used: u64,
    /// When it ended, and whether somebody ended it.
    pub ended: Option<(SystemTime, BreakGlassPhase)>,
}

/// Everything seen.
#[derive(Debug)]
pub struct Traffic {
    since: SystemTime,
    seen: Mutex<Map<Kind, Seen>>,
    openings: Mutex<Vec<Opening>>,
    file: Option<kept::File>,
}

impl Default for Traffic {
    fn default() -> Self {
        Self::since(super::now())
    }
}

impl Traffic {
    /// Has seen nothing before this moment, and keeps nothing on disk.
    #[must_use]
    pub fn since(since: SystemTime) -> Self {
        Self {
            since,
            seen: Mutex::default(),
            openings: Mutex::default(),
            file: None,
        }
    }

    /// From when on it has seen all.
    #[must_use]
    pub const fn seen_since(&self) -> SystemTime {
        self.since
    }

    /// Counts one request, with the reason of a refusal that was, or would have been.
    pub fn note(&self, kind: Kind, outcome: Outcome, reason: Option<Reason>, now: SystemTime) {
        let mut seen = lock(&self.seen);
        if seen.len() >= MOST && !seen.contains_key(&kind) {
            return;
        }
        let entry = seen.entry(kind).or_insert(Seen {
            requests: 0,
            refused: 0,
            would_refuse: 0,
            reason: None,
            first: now,
            last: now,
            last_sent: None,
        });
        entry.requests += 1;
        entry.refused += u64::from(outcome == Outcome::Refused);
        entry.would_refuse += u64::from(outcome == Outcome::WouldRefuse);
        entry.reason = reason.or(entry.reason);
        entry.last = now;
        if matches!(outcome, Outcome::Forwarded | Outcome::WouldRefuse) {
            entry.last_sent = Some(now);
        }
    }

    /// What was seen so far, sorted by tenant, template and method.
    #[must_use]
    pub fn seen(&self) -> Vec<(Kind, Seen)> {
        let mut list: Vec<_> = lock(&self.seen)
            .iter()
            .map(|(kind, seen)| (kind.clone(), *seen))
            .collect();
        list.sort_by(|(a, _), (b, _)| {
            (&a.tenant, &a.template, a.method.as_str()).cmp(&(
                &b.tenant,
                &b.template,
                b.method.as_str(),
            ))
        });
        list
    }

    /// What was opened by break-glass, in order.
    #[must_use]
    pub fn openings(&self) -> Vec<Opening> {
        lock(&self.openings).clone()
    }

    /// Forgets what has not been seen for longer than any review asks.
    fn forget_old(&self, now: SystemTime) {
        let is_old = |moment| now.duration_since(moment).unwrap_or(Duration::ZERO) > KEPT;
        lock(&self.seen).retain(|_, seen| !is_old(seen.last));
        lock(&self.openings).retain(|opening| !is_old(opening.at));
    }

    fn break_glass(&self, phase: BreakGlassPhase, told: Opening) {
        let mut openings = lock(&self.openings);
        let open = openings.iter_mut().rev().find(|one| {
            one.ended.is_none() && one.tenant == told.tenant && one.allow == told.allow
        });
        match (phase, open) {
            // said again, as by a second member of a fleet
            (BreakGlassPhase::Opened, Some(open)) if open.reason == told.reason => {}
            (BreakGlassPhase::Opened, _) => {
                if openings.len() >= MOST_OPENINGS {
                    openings.remove(0);
                }
                openings.push(told);
            }
            (BreakGlassPhase::Used, Some(open)) => open.used += 1,
            (BreakGlassPhase::Expired | BreakGlassPhase::Revoked, Some(open)) => {
                open.ended = Some((told.at, phase));
            }
            // its opening is forgotten
            (BreakGlassPhase::Used | BreakGlassPhase::Expired | BreakGlassPhase::Revoked, None) => {
            }
        }
    }
}

impl Observer for Traffic {
    fn note(&self, event: &Event<'_>) {
        if let Event::BreakGlass {
            tenant,
            allow,
            what,
            reason,
            by,
        } = event
        {
            let told = Opening {
                tenant: (*tenant).clone(),
                allow: allow.to_vec(),
                reason: redact::text(reason),
                by: redact::text(by),
                at: super::now(),
                used: 0,
                ended: None,
            };
            self.break_glass(*what, told);
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn acme() -> TenantId {
        TenantId::parse("acme").unwrap()
    }

    #[test]
    fn calls_are_counted_by_kind_and_the_last_reason_is_kept() {
        let traffic = Traffic::default();
        let kind = |template: &str| Kind {
            tenant: acme(),
            method: http::Method::GET,
            template: template.into(),
        };
        let (start, later) = (
            SystemTime::UNIX_EPOCH,
            SystemTime::UNIX_EPOCH + Duration::from_secs(9),
        );
        traffic.note(kind("/b"), Outcome::Forwarded, None, start);
        let denied = Some(Reason::RouteDenied);
        traffic.note(kind("/a"), Outcome::WouldRefuse, denied, start);
        traffic.note(kind("/a"), Outcome::Refused, denied, later);
        let seen = traffic.seen();
        assert_eq!(
            seen.iter()
                .map(|(kind, seen)| (&*kind.template, seen.requests, seen.would_refuse))
                .collect::<Vec<_>>(),
            [("/a", 2, 1), ("/b", 1, 0)]
        );
        let of_a = seen[0].1;
        assert_eq!(of_a.reason, Some(Reason::RouteDenied));
        assert_eq!(
            (of_a.first, of_a.last, of_a.last_sent),
            (start, later, Some(start))
        );
    }

    #[test]
    fn a_break_glass_is_remembered_with_its_uses_and_its_end() {
        let traffic = Traffic::default();
        let (tenant, allow) = (acme(), ["GET /a".to_owned()]);
        for what in [
            BreakGlassPhase::Used,
            BreakGlassPhase::Opened,
            BreakGlassPhase::Opened,
            BreakGlassPhase::Used,
            BreakGlassPhase::Used,
            BreakGlassPhase::Revoked,
            BreakGlassPhase::Used,
        ] {
            Observer::note(
                &traffic,
                &Event::BreakGlass {
                    tenant: &tenant,
                    allow: &allow,
                    what,
                    reason: "outage",
                    by: "jo",
                },
            );
        }
        let openings = traffic.openings();
        assert_eq!(openings.len(), 1);
        assert_eq!(openings[0].used, 2);
        let ended = openings[0].ended.map(|(_, how)| how);
        assert_eq!(ended, Some(BreakGlassPhase::Revoked));
    }
}
