//! What was called, by whom, and when last: what the ledger and `--from-traffic` are made of.
//!
//! Job: count requests by tenant and operation, in memory.
//! Invariants: keys are catalog ids and templates, never raw paths; memory is bounded by [`MOST`]; nothing is written to disk.
//! Failure mode: beyond the bound new kinds of calls are not counted.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use super::record::Outcome;
use crate::outcome::Reason;
use crate::tenant::TenantId;

/// Most kinds of calls that are told apart: tenants times operations of a large installation.
const MOST: usize = 20_000;

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
#[derive(Clone, Copy, Debug)]
pub struct Seen {
    /// How often.
    pub requests: u64,
    /// How often it was refused.
    pub refused: u64,
    /// How often it was let through although the route policy, enforced, would have refused it.
    pub would_refuse: u64,
    /// Why, the last time.
    pub reason: Option<Reason>,
    /// When last.
    pub last: SystemTime,
}

/// Everything seen since the start.
#[derive(Debug, Default)]
pub struct Traffic {
    seen: Mutex<HashMap<Kind, Seen>>,
}

impl Traffic {
    /// Counts one request, with the reason of a refusal that was, or would have been.
    pub fn note(&self, kind: Kind, outcome: Outcome, reason: Option<Reason>, now: SystemTime) {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if seen.len() >= MOST && !seen.contains_key(&kind) {
            return;
        }
        let entry = seen.entry(kind).or_insert(Seen {
            requests: 0,
            refused: 0,
            would_refuse: 0,
            reason: None,
            last: now,
        });
        entry.requests += 1;
        entry.refused += u64::from(outcome == Outcome::Refused);
        entry.would_refuse += u64::from(outcome == Outcome::WouldRefuse);
        entry.reason = reason.or(entry.reason);
        entry.last = now;
    }

    /// What was seen so far, sorted by tenant, template and method.
    #[must_use]
    pub fn seen(&self) -> Vec<(Kind, Seen)> {
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let mut list: Vec<_> = seen
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
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_are_counted_by_kind_and_the_last_reason_is_kept() {
        let traffic = Traffic::default();
        let kind = |template: &str| Kind {
            tenant: TenantId::parse("acme").unwrap(),
            method: http::Method::GET,
            template: template.into(),
        };
        traffic.note(kind("/b"), Outcome::Forwarded, None, SystemTime::UNIX_EPOCH);
        traffic.note(
            kind("/a"),
            Outcome::WouldRefuse,
            Some(Reason::RouteDenied),
            SystemTime::UNIX_EPOCH,
        );
        traffic.note(kind("/a"), Outcome::Forwarded, None, SystemTime::UNIX_EPOCH);
        let seen = traffic.seen();
        assert_eq!(
            seen.iter()
                .map(|(kind, seen)| (&*kind.template, seen.requests, seen.would_refuse))
                .collect::<Vec<_>>(),
            [("/a", 2, 1), ("/b", 1, 0)]
        );
        assert_eq!(seen[0].1.reason, Some(Reason::RouteDenied));
    }
}
