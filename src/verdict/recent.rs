//! What happened to one tenant lately.
//!
//! Job: counts by the minute ([`Minutes`]), what Amazon refused and has not taken since, how exchanges ended.
//! Invariants: pure, time is an argument; every list is bounded; a refusal counts as mended once Amazon takes a call that it
//! would have concerned, and is forgotten after [`KEPT`].
//! Failure mode: none; beyond a bound the oldest is forgotten.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::minute::Minutes;
use crate::outcome::{Denial, Reason};

/// How long a refusal that nothing has mended is remembered: a program that calls once a night must not hide it.
const KEPT: Duration = Duration::from_hours(24);

/// Most kinds of refusals that are told apart.
const MOST_DENIALS: usize = 32;

/// Most exchanges that are remembered.
const MOST_EXCHANGES: usize = 8;

/// One kind of refusal by Amazon.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Denied {
    /// Catalog id or template.
    pub operation: Arc<str>,
    /// Amazon's status.
    pub status: u16,
    /// What its body says.
    pub denial: Denial,
    /// `access`, `grantless` or `rdt`.
    pub token_kind: &'static str,
    /// How often since a call like it was last taken.
    pub count: u32,
    /// How often since it was first seen.
    pub total: u32,
    /// When the first of `count` was.
    pub since: SystemTime,
    /// When last.
    pub last: SystemTime,
}

/// One kind of refusal or failure on this side.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Stopped {
    /// Why.
    pub reason: Reason,
    /// Catalog id, template, or what the last such call was for.
    pub operation: Arc<str>,
    /// How often since a call of the operation was last taken.
    pub count: u32,
    /// When last.
    pub last: SystemTime,
}

/// The end of one exchange.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Exchanged {
    /// When.
    pub at: SystemTime,
    /// `access`, `grantless` or `rdt`.
    pub kind: &'static str,
    /// Whether a refused token was to be replaced.
    pub forced: bool,
    /// Why there is no token, as [`crate::telemetry::event::Exchange::result`] says it.
    pub result: Result<(), &'static str>,
}

/// Placeholders handed out, against calls that came of them.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Vended {
    /// How many since the last call.
    pub unused: u32,
    /// When the first of these was handed out.
    pub first: Option<SystemTime>,
}

/// Everything that is remembered of one tenant.
#[derive(Clone, Default, Debug)]
pub struct Recent {
    /// What came of its calls, minute by minute.
    pub minutes: Minutes,
    denied: Vec<Denied>,
    stopped: Vec<Stopped>,
    exchanges: VecDeque<Exchanged>,
    /// The last access token that was had.
    pub last_refresh: Option<SystemTime>,
    /// Exchanges for the tenant's own token that failed in a row.
    pub failures: u32,
    /// The last call that Amazon took.
    pub last_taken: Option<SystemTime>,
    /// The last call that Amazon took of a vendor's operation.
    pub last_vendor_taken: Option<SystemTime>,
    /// Since when the store does not take the refresh token that LWA put in the old one's place.
    pub grant_not_stored: Option<SystemTime>,
    /// Placeholders.
    pub vended: Vended,
    /// When a program last sent a token that Amazon issued.
    pub real_token: Option<SystemTime>,
}

impl Recent {
    /// Amazon took a call. Says whether that mends anything.
    pub(super) fn took(&mut self, operation: &str, vendor: bool, now: SystemTime) -> bool {
        self.minutes.now(now).taken += 1;
        self.last_taken = Some(now);
        if vendor {
            self.last_vendor_taken = Some(now);
        }
        let mut mended = false;
        for denied in &mut self.denied {
            let concerned = &*denied.operation == operation
                || is_about_every_call(denied.denial)
                || (vendor && denied.denial == Denial::VendorLink);
            mended |= concerned && denied.count > 0;
            denied.count = if concerned { 0 } else { denied.count };
        }
        let before = self.stopped.len();
        self.stopped.retain(|stopped| {
            &*stopped.operation != operation && !is_about_the_way(stopped.reason)
        });
        mended || before != self.stopped.len()
    }

    /// Amazon refused a call.
    pub(super) fn was_denied(
        &mut self,
        operation: &str,
        (status, denial): (u16, Denial),
        token_kind: &'static str,
        now: SystemTime,
    ) {
        let minute = self.minutes.now(now);
        match status {
            401 => minute.unauthorized += 1,
            403 => minute.forbidden += 1,
            429 => minute.throttled += 1,
            _ => {}
        }
        let same = |one: &&mut Denied| &*one.operation == operation && one.denial == denial;
        if let Some(known) = self.denied.iter_mut().find(same) {
            if known.count == 0 {
                known.since = now;
            }
            known.count = known.count.saturating_add(1);
            known.total = known.total.saturating_add(1);
            (known.last, known.status, known.token_kind) = (now, status, token_kind);
            return;
        }
        make_room(&mut self.denied, |one| one.last);
        self.denied.push(Denied {
            operation: operation.into(),
            status,
            denial,
            token_kind,
            count: 1,
            total: 1,
            since: now,
            last: now,
        });
    }

    /// A call was stopped here, or on the way.
    pub(super) fn was_stopped(&mut self, operation: &str, reason: Reason, now: SystemTime) {
        let same = |one: &&mut Stopped| &*one.operation == operation && one.reason == reason;
        if let Some(known) = self.stopped.iter_mut().find(same) {
            known.count = known.count.saturating_add(1);
            known.last = now;
            return;
        }
        make_room(&mut self.stopped, |one| one.last);
        self.stopped.push(Stopped {
            reason,
            operation: operation.into(),
            count: 1,
            last: now,
        });
    }

    /// An exchange has ended. Says whether the one before it, of the same kind, had ended otherwise.
    pub(super) fn exchanged(&mut self, exchange: Exchanged) -> bool {
        let before = self.last_exchange(exchange.kind).map(|last| last.result);
        if exchange.kind == "access" {
            match exchange.result {
                Ok(()) => {
                    self.last_refresh = Some(exchange.at);
                    self.failures = 0;
                }
                Err(_) => self.failures = self.failures.saturating_add(1),
            }
        }
        if self.exchanges.len() >= MOST_EXCHANGES {
            self.exchanges.pop_front();
        }
        self.exchanges.push_back(exchange);
        before.unwrap_or(Ok(())) != exchange.result
    }

    /// A placeholder was handed out.
    pub(super) fn vended(&mut self, now: SystemTime) {
        self.vended.unused = self.vended.unused.saturating_add(1);
        self.vended.first.get_or_insert(now);
    }

    /// The last exchange of a kind of token.
    #[must_use]
    pub fn last_exchange(&self, kind: &str) -> Option<&Exchanged> {
        self.exchanges.iter().rev().find(|one| one.kind == kind)
    }

    /// What Amazon refuses: nothing like it was taken since.
    pub fn denied(&self, now: SystemTime) -> impl Iterator<Item = &Denied> {
        self.denied
            .iter()
            .filter(move |one| one.count > 0 && is_recent(one.last, now))
    }

    /// What Amazon refused at some time, mended since or not.
    pub fn denied_at_all(&self) -> impl Iterator<Item = &Denied> {
        self.denied.iter()
    }

    /// What is stopped here: no call of the operation was taken since.
    pub fn stopped(&self, now: SystemTime) -> impl Iterator<Item = &Stopped> {
        self.stopped
            .iter()
            .filter(move |one| is_recent(one.last, now))
    }
}

/// Whether a refusal is about the token, so that any call that is taken shows that it is over.
const fn is_about_every_call(denial: Denial) -> bool {
    match denial {
        Denial::Unauthenticated
        | Denial::TokenExpired
        | Denial::TokenInvalid
        | Denial::TokenMissing
        | Denial::SecretLapsed
        | Denial::ThrottledAsForbidden
        | Denial::Throttled => true,
        Denial::Role
        | Denial::WrongKind
        | Denial::UnknownPath
        | Denial::Forbidden
        | Denial::Region
        | Denial::VendorLink
        | Denial::DataElements => false,
    }
}

/// Whether a stop is about the way to Amazon or this process, so that any call that is taken shows that it is over.
fn is_about_the_way(reason: Reason) -> bool {
    matches!(
        reason,
        Reason::TokenRefused
            | Reason::TokenUnavailable
            | Reason::UpstreamUnreachable
            | Reason::UpstreamTls
            | Reason::Overloaded
            | Reason::Throttled
            | Reason::TenantKilled
            | Reason::TenantQuarantined
    )
}

fn is_recent(last: SystemTime, now: SystemTime) -> bool {
    now.duration_since(last).unwrap_or(Duration::ZERO) < KEPT
}

/// Forgets the oldest of a full list.
fn make_room<T>(list: &mut Vec<T>, last: impl Fn(&T) -> SystemTime) {
    if list.len() < MOST_DENIALS {
        return;
    }
    let oldest = list.iter().enumerate().min_by_key(|(_, one)| last(one));
    if let Some((place, _)) = oldest {
        list.swap_remove(place);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: SystemTime = SystemTime::UNIX_EPOCH;

    fn at(seconds: u64) -> SystemTime {
        NOW + Duration::from_secs(1_000_000 * 60 + seconds)
    }

    #[test]
    fn a_refusal_stands_until_a_call_like_it_is_taken() {
        let mut recent = Recent::default();
        recent.was_denied("getOrders", (403, Denial::Role), "access", at(0));
        recent.was_denied("getOrders", (403, Denial::Role), "access", at(1));
        assert!(!recent.took("getReports", false, at(2)));
        assert_eq!(recent.denied(at(3)).map(|one| one.count).sum::<u32>(), 2);
        assert!(recent.took("getOrders", false, at(4)));
        assert_eq!(recent.denied(at(5)).count(), 0);
        assert_eq!(recent.denied_at_all().count(), 1);
    }

    #[test]
    fn a_refused_token_is_mended_by_any_call_that_is_taken() {
        let mut recent = Recent::default();
        recent.was_denied("getOrders", (401, Denial::Unauthenticated), "access", at(0));
        recent.was_stopped("getOrders", Reason::TokenRefused, at(0));
        assert!(recent.took("getReports", false, at(1)));
        assert_eq!(
            recent.denied(at(2)).count() + recent.stopped(at(2)).count(),
            0
        );
    }

    #[test]
    fn what_nothing_mends_is_forgotten_after_a_day_and_not_before() {
        let mut recent = Recent::default();
        recent.was_denied("getOrders", (403, Denial::Role), "access", at(0));
        assert_eq!(recent.denied(at(86_399)).count(), 1);
        assert_eq!(recent.denied(at(86_400)).count(), 0);
    }

    #[test]
    fn lists_are_bounded_and_the_oldest_goes_first() {
        let mut recent = Recent::default();
        for n in 0..100 {
            let operation = format!("operation{n}");
            recent.was_denied(&operation, (403, Denial::Role), "access", at(n));
            recent.was_stopped(&operation, Reason::RouteDenied, at(n));
        }
        assert_eq!(recent.denied.len(), MOST_DENIALS);
        assert!(
            recent
                .denied
                .iter()
                .any(|one| &*one.operation == "operation99")
        );
        assert!(
            recent
                .denied
                .iter()
                .all(|one| &*one.operation != "operation0")
        );
        assert_eq!(recent.stopped.len(), MOST_DENIALS);
    }

    #[test]
    fn an_exchange_that_ends_otherwise_than_the_one_before_is_news() {
        let mut recent = Recent::default();
        let exchange = |seconds, result| Exchanged {
            at: at(seconds),
            kind: "access",
            forced: false,
            result,
        };
        assert!(!recent.exchanged(exchange(0, Ok(()))));
        assert!(recent.exchanged(exchange(1, Err("grant_revoked"))));
        assert!(!recent.exchanged(exchange(2, Err("grant_revoked"))));
        assert_eq!((recent.failures, recent.last_refresh), (2, Some(at(0))));
        assert!(recent.exchanged(exchange(3, Ok(()))));
        assert_eq!(recent.failures, 0);
    }
}
