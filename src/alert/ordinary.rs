//! Requests that turn nothing.
//!
//! Job: tell by a few looks that a request can turn no alert, and count it without the lock that the rules stand behind: cores
//! would wait for each other there.
//! Invariants: whatever may turn an alert goes to the rules; what is counted here is in their windows before they judge again.
//! Failure mode: a request that is sent to the rules needlessly.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use super::endpoint::{Endpoints, Fate};
use crate::telemetry::record::{Outcome, Record};

/// Endpoints that are known, shared by the rules and by who looks past them.
pub(super) type Known = Arc<RwLock<Endpoints>>;

/// A count of what needed no rule: calls that upstream served, and that found their token waiting.
#[derive(Debug, Default)]
pub(super) struct Ordinary {
    known: Known,
    /// Whether a rule waits for somebody's next good call.
    awaited: AtomicBool,
    count: AtomicU32,
}

impl Ordinary {
    /// Looks at the endpoints that the rules know.
    pub(super) fn beside(known: &Known) -> Self {
        Self {
            known: Arc::clone(known),
            ..Self::default()
        }
    }

    /// Counts a request in which there is nothing to see; `false` when the rules have to look at it.
    pub(super) fn counts(&self, record: &Record) -> bool {
        let is_plain = record.outcome == Outcome::Forwarded
            && (200..300).contains(&record.status)
            && record.reason.is_none()
            && record.attempts > 0
            && record.token_was_waiting == Some(true)
            && !record.template.is_empty()
            && !self.awaited.load(Ordering::Acquire);
        let is_known = || {
            let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
            let tenant = record.tenant.as_ref();
            tenant.is_some_and(|tenant| {
                known.knows(tenant, &record.method, &record.template, Fate::Allowed)
            })
        };
        let is_ordinary = is_plain && is_known();
        if is_ordinary {
            self.count.fetch_add(1, Ordering::Relaxed);
        }
        is_ordinary
    }

    /// Says whether a rule waits for a good call of some tenant.
    pub(super) fn awaits(&self, awaited: bool) {
        self.awaited.store(awaited, Ordering::Release);
    }

    /// Takes how many were counted since it was last asked.
    pub(super) fn take(&self) -> u32 {
        self.count.swap(0, Ordering::Relaxed)
    }
}
