//! What the clock turns: windows, episodes that were quiet, and dates.
//!
//! Job: look at what is remembered, and at what comes due, as of now.
//! Invariants: as those of [`super`].
//! Failure mode: none.

use std::collections::BTreeSet;
use std::time::Duration;

use super::{INCIDENT, Rules};
use crate::alert::AlertKind;
use crate::alert::board::{Board, Moment, Raise};
use crate::alert::due::Due;
use crate::config::QuarantineCause;

/// How long a vended phantom may stay unused: an SDK asks for a token because it is about to call.
const BYPASS: Duration = Duration::from_mins(10);

/// Burn rates that alert, over a long and a short window: the budget of 30 days is gone in two days, or in five.
const BURNS: [(f64, usize, usize, &str); 2] = [(14.4, 2, 0, "1h"), (6.0, 3, 1, "6h")];

/// Fewest misses that are worth an alert: one cold start of a quiet sidecar is none.
const LEAST_MISSES: u64 = 5;

/// Fewest failures that make an incident, beside their being half of all calls.
const LEAST_FAILURES: u64 = 10;

/// Tenants whose fresh tokens have to be refused at the same time: one may be its own grant's trouble.
const LEAST_TENANTS: usize = 2;

impl Rules {
    /// What time alone turns.
    pub(in crate::alert) fn tick(&mut self, board: &mut Board, now: Moment) {
        board.expire(now);
        let least = u64::from(self.settings.alerts.auth_errors.0);
        for (tenant, facts) in &mut self.tenants {
            let id = tenant.as_str();
            // half the threshold, so that a rate right at it does not flap
            if board.fires(AlertKind::AuthErrors, id) && facts.auth_errors.sum(now.at) * 2 < least {
                let detail = "fewer than half as many as the threshold are left in the window";
                board.clear(AlertKind::AuthErrors, id, |_| true, detail);
            }
            if facts.vended.is_some_and(|since| now.at >= since + BYPASS) {
                let minutes = BYPASS.as_secs() / 60;
                let detail = format!(
                    "a phantom token was vended and no call has come in {minutes} minutes: the program's API calls go round the sidecar; `spapi-sidecar doctor` where it runs says why"
                );
                board.raise(Raise::new(AlertKind::BypassSuspected, id, detail), now);
            }
        }
        self.freshness(board, now);
        self.incident(board, now);
    }

    fn freshness(&mut self, board: &mut Board, now: Moment) {
        let objective = self.settings.alerts.freshness_slo;
        let burns = self
            .fresh
            .each_mut()
            .map(|share| share.burn(now.at, objective));
        let sums = self.fresh.each_mut().map(|share| share.sum(now.at));
        for (rate, long, short, name) in BURNS {
            let of = |window: usize| burns.get(window).copied().unwrap_or_default();
            let (bad, all) = sums.get(long).copied().unwrap_or_default();
            if of(long) >= rate && of(short) >= rate && bad >= LEAST_MISSES {
                let detail = format!(
                    "{bad} of {all} requests in {name} found no fresh token waiting: the error budget of {:.3} % is spent {:.1} times too fast",
                    (1.0 - objective) * 100.0,
                    of(long)
                );
                let raise = Raise::new(AlertKind::FreshnessSlo, "sidecar", detail).about(name);
                board.raise(raise, now);
            } else if of(short) < rate {
                let detail = "tokens are waiting again";
                board.clear(
                    AlertKind::FreshnessSlo,
                    "sidecar",
                    |about| about == name,
                    detail,
                );
            }
        }
    }

    fn incident(&mut self, board: &mut Board, now: Moment) {
        let kind = AlertKind::UpstreamIncident;
        let (bad, all) = self.upstream.sum(now.at);
        if bad >= LEAST_FAILURES && bad * 2 >= all {
            let detail = format!(
                "{bad} of {all} calls in 5 minutes failed at Amazon: 5xx, no answer, or no connection"
            );
            board.raise(Raise::new(kind, "amazon", detail).about("failures"), now);
        } else if bad * 10 < all.max(1) {
            board.clear(
                kind,
                "amazon",
                |about| about == "failures",
                "calls succeed again",
            );
        }
        self.refused
            .retain(|_, last| now.at.saturating_sub(*last) < INCIDENT);
        let tenants = self.refused.len();
        if tenants >= LEAST_TENANTS {
            let detail = format!("fresh tokens of {tenants} tenants are refused at the same time");
            board.raise(Raise::new(kind, "amazon", detail).about("tokens"), now);
        } else {
            board.clear(
                kind,
                "amazon",
                |about| about == "tokens",
                "tokens are taken again",
            );
        }
    }

    /// Everything that comes due, as of now.
    pub(in crate::alert) fn dues(&mut self, dues: &[Due], board: &mut Board, now: Moment) {
        let reminders = &self.settings.alerts.reminders;
        for kind in [
            AlertKind::ChargeMethodDue,
            AlertKind::ClientSecretDue,
            AlertKind::AuthorizationDue,
            AlertKind::ProfileReviewDue,
            AlertKind::CaDue,
        ] {
            let mut due = BTreeSet::new();
            for one in dues.iter().filter(|due| due.kind == kind) {
                let stage = one.stage(reminders);
                if stage > 0 {
                    due.insert(one.subject.as_str());
                    board.raise(
                        Raise::new(kind, &one.subject, one.detail()).stage(stage),
                        now,
                    );
                }
            }
            board.keep(
                kind,
                "",
                |subject| due.contains(subject),
                "the date has moved",
            );
        }
        self.charge_methods(dues, board, now);
    }

    /// A charge method that was declined or has lapsed, and whom that sets aside.
    fn charge_methods(&mut self, dues: &[Due], board: &mut Board, now: Moment) {
        let (kind, declined) = (AlertKind::ChargeMethodDue, &self.settings.declined);
        for (app, owner) in declined {
            let owner = owner.as_deref().unwrap_or("nobody is named");
            let detail = format!(
                "the charge method is written down as declined (owner: {owner}): mend it in the developer console, then write `status: valid`"
            );
            board.raise(
                Raise::new(kind, app.as_str(), detail).about("declined"),
                now,
            );
        }
        board.keep(
            kind,
            "declined",
            |app| declined.contains_key(app),
            "it is valid again",
        );
        let over = dues
            .iter()
            .filter(|due| due.kind == kind && due.days_left < 0);
        let over: BTreeSet<&str> = over.map(|due| due.subject.as_str()).collect();
        for (tenant, app) in self.settings.tenants() {
            let has_lapsed = declined.contains_key(app) || over.contains(app.as_str());
            let cause = QuarantineCause::ChargeMethodLapsed;
            self.quarantines.found(tenant, cause, has_lapsed);
        }
    }
}
