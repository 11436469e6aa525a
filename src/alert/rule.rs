//! What makes an alert fire, and what ends it.
//!
//! Job: from events, the clock and due dates to the [`Board`].
//! Invariants: pure but for what it remembers: every time is an argument; what is remembered is bounded by the tenants of the
//! configuration; an event of a request costs a few look-ups.
//! Failure mode: none.
//! Source: CONTRACT section 4, Alerts.

use std::sync::{PoisonError, RwLockWriteGuard};
use std::time::Duration;

use super::AlertKind;
use super::board::{Board, Moment, Raise};
use super::endpoint::{Call, Endpoints, Fate};
use super::ordinary::{Known, Ordinary};
use super::quarantine::Quarantines;
use super::settings::Settings;
use super::window::{Share, Window};
use crate::config::QuarantineCause;
use crate::map::Map;
use crate::outcome::{Denial, Reason};
use crate::telemetry::event::{BreakGlassPhase, Event, Exchange};
use crate::telemetry::record::{Outcome, Record};
use crate::tenant::{TenantId, TenantState};

mod clock;

/// How long what happens once keeps firing: long enough to be seen on a screen, short enough to be said again tomorrow.
const SEEN_FOR: Duration = Duration::from_hours(1);

/// How long Amazon's word on a lapsed client secret is believed after the last time.
const SECRET_QUIET: Duration = Duration::from_mins(15);

/// The windows of `BURNS`, in minutes.
const BURN_WINDOWS: [u64; 4] = [5, 30, 60, 360];

/// How far back an incident at Amazon is looked for.
const INCIDENT: Duration = Duration::from_mins(5);

/// What is remembered, and the thresholds.
#[derive(Debug)]
pub(super) struct Rules {
    settings: Settings,
    tenants: Map<TenantId, Facts>,
    /// Tenants of whom a phantom waits to be used.
    vended: usize,
    fresh: [Share; 4],
    upstream: Share,
    /// When a fresh token of a tenant was last refused.
    refused: Map<TenantId, Duration>,
    endpoints: Known,
    pub(super) quarantines: Quarantines,
}

/// What is remembered of a tenant.
#[derive(Debug)]
struct Facts {
    auth_errors: Window,
    /// Failed exchanges in a row, by kind.
    failures: Map<&'static str, u32>,
    /// Since when a phantom waits to be used.
    vended: Option<Duration>,
}

impl Rules {
    pub(super) fn new(settings: Settings) -> Self {
        let mut quarantines = Quarantines::default();
        quarantines.configure(&settings.alerts.quarantine_on);
        Self {
            settings,
            tenants: Map::default(),
            vended: 0,
            fresh: BURN_WINDOWS.map(|minutes| Share::new(Duration::from_mins(minutes))),
            upstream: Share::new(INCIDENT),
            refused: Map::default(),
            endpoints: Known::default(),
            quarantines,
        }
    }

    pub(super) fn configure(&mut self, settings: Settings, board: &mut Board) {
        let window = settings.alerts.auth_errors.1;
        if window != self.settings.alerts.auth_errors.1 {
            for facts in self.tenants.values_mut() {
                facts.auth_errors = Window::new(window);
            }
        }
        self.quarantines.configure(&settings.alerts.quarantine_on);
        self.tenants
            .retain(|tenant, _| settings.app(tenant).is_some());
        let facts = self.tenants.values();
        self.vended = facts.filter(|facts| facts.vended.is_some()).count();
        self.refused
            .retain(|tenant, _| settings.app(tenant).is_some());
        for kind in [
            AlertKind::AuthErrors,
            AlertKind::RefreshFailing,
            AlertKind::BypassSuspected,
        ] {
            let stays = |subject: &str| settings.tenants().any(|(id, _)| id.as_str() == subject);
            board.drop_others(kind, stays, "the tenant is not configured any more");
        }
        self.settings = settings;
    }

    /// Who counts requests that these rules need not see.
    pub(super) fn ordinary(&self) -> Ordinary {
        Ordinary::beside(&self.endpoints)
    }

    /// Adds requests that were counted elsewhere.
    pub(super) fn add_ordinary(&mut self, count: u32, now: Moment) {
        if count > 0 {
            for share in self.fresh.iter_mut().chain([&mut self.upstream]) {
                share.add_good(now.at, count);
            }
        }
    }

    /// Whether the next good call of some tenant turns something.
    pub(super) fn awaits_good_calls(&self) -> bool {
        self.vended > 0 || !self.refused.is_empty()
    }

    /// Calls that were made before this process began: they are nothing new.
    pub(super) fn know_endpoints(&self, calls: &[Call<'_>]) {
        self.endpoints_mut().know(calls);
    }

    fn endpoints_mut(&self) -> RwLockWriteGuard<'_, Endpoints> {
        self.endpoints
            .write()
            .unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn event(&mut self, event: &Event<'_>, board: &mut Board, now: Moment) {
        match event {
            Event::Request(record) => self.request(record, board, now),
            Event::Denied {
                tenant,
                operation,
                status,
                denial,
                token_kind,
            } => {
                if matches!(status, 401 | 403) {
                    let last =
                        format!("{status} {} to {operation} ({token_kind})", denial.as_str());
                    self.auth_error(tenant, &last, board, now);
                }
                if *denial == Denial::SecretLapsed {
                    self.secret_lapsed(tenant, board, now);
                }
            }
            Event::Exchange(exchange) => self.exchange(exchange, board, now),
            Event::PhantomVended { tenant } => {
                if let Some(tenant) = tenant {
                    let vended = &mut self.facts(tenant).vended;
                    let is_first = vended.is_none();
                    vended.get_or_insert(now.at);
                    self.vended += usize::from(is_first);
                }
            }
            Event::RealTokenSeen { tenant } => {
                let whose = tenant.map_or("unknown", TenantId::as_str);
                let detail = "a program sent a token that Amazon issued; it was dropped. Take real credentials away from programs behind the sidecar";
                let raise = Raise::new(AlertKind::AppHoldsRealToken, whose, detail);
                board.raise(raise.until_quiet_for(SEEN_FOR), now);
            }
            Event::State {
                tenant,
                state,
                reason,
                by,
            } => state_changed(tenant, *state, reason, by, board, now),
            Event::BreakGlass {
                tenant,
                allow,
                what,
                reason,
                by,
            } => {
                let routes = allow.join(", ");
                let kind = AlertKind::BreakGlassUsed;
                match what {
                    BreakGlassPhase::Used => {
                        let detail = format!("a call went by {routes}, opened by {by}: {reason}");
                        board.raise(
                            Raise::new(kind, tenant.as_str(), detail).about(&routes),
                            now,
                        );
                    }
                    BreakGlassPhase::Expired | BreakGlassPhase::Revoked => {
                        board.clear(kind, tenant.as_str(), |about| about == routes, "it is over");
                    }
                    BreakGlassPhase::Opened => {}
                }
            }
            Event::FreshTokenRefused { tenant, over, .. } => {
                if *over {
                    self.refused.remove(*tenant);
                } else {
                    self.refused.insert((*tenant).clone(), now.at);
                }
            }
            Event::Verdict { tenant, cause, .. } => {
                let broken = *cause == Some("vendor_link_broken");
                self.quarantines
                    .found(tenant, QuarantineCause::VendorLinkBroken, broken);
            }
            Event::GrantNotStored { tenant, over } => grant_not_stored(tenant, *over, board, now),
            Event::Audit { cause } => audit(*cause, board, now),
            Event::Store { .. } | Event::Reload { .. } | Event::Started | Event::Stopping => {}
        }
    }

    fn request(&mut self, record: &Record, board: &mut Board, now: Moment) {
        if let Some(was_waiting) = record.token_was_waiting {
            for share in &mut self.fresh {
                share.add(now.at, !was_waiting);
            }
        }
        if record.attempts > 0 && record.outcome != Outcome::Cancelled {
            self.upstream.add(now.at, is_upstreams_fault(record));
        }
        let Some(tenant) = &record.tenant else {
            return;
        };
        match record.reason {
            Some(Reason::TokenRefused) => {
                self.refused.insert(tenant.clone(), now.at);
            }
            // a token that Amazon takes says that it takes tokens
            _ if (200..300).contains(&record.status) && record.attempts > 0 => {
                self.refused.remove(tenant);
            }
            _ => {}
        }
        if is_api_call(record) && self.facts(tenant).vended.take().is_some() {
            self.vended -= 1;
            let detail = "the program's calls come this way";
            board.clear(
                AlertKind::BypassSuspected,
                tenant.as_str(),
                |_| true,
                detail,
            );
        }
        if !record.template.is_empty() {
            self.endpoint(tenant, record, board, now);
        }
    }

    fn endpoint(&self, tenant: &TenantId, record: &Record, board: &mut Board, now: Moment) {
        let (method, template) = (&record.method, &record.template);
        let fate = if record.outcome == Outcome::Refused {
            Fate::Refused
        } else {
            Fate::Allowed
        };
        if !self.endpoints_mut().is_new(tenant, method, template, fate) {
            return;
        }
        let reason = record.reason.map_or("", Reason::code);
        let what = match fate {
            Fate::Allowed => format!(
                "first call of {method} {template} ({})",
                record.outcome.as_str()
            ),
            Fate::Refused => format!(
                "first refusal of {method} {template} ({reason}); `spapi-sidecar ledger --from-traffic` shows what would allow it"
            ),
        };
        let about = format!("{method} {template} {fate:?}");
        let raise = Raise::new(AlertKind::NewEndpoint, tenant.as_str(), what).about(&about);
        board.raise(raise.until_quiet_for(SEEN_FOR), now);
    }

    fn auth_error(&mut self, tenant: &TenantId, last: &str, board: &mut Board, now: Moment) {
        let (least, window) = self.settings.alerts.auth_errors;
        let facts = self.facts(tenant);
        facts.auth_errors.add(now.at);
        let count = facts.auth_errors.sum(now.at);
        if count < u64::from(least) {
            return;
        }
        let detail = format!(
            "{count} answers of 401 or 403 within {}; the last: {last}; {}",
            humantime::format_duration(window),
            self.settings.charge(tenant)
        );
        board.raise(
            Raise::new(AlertKind::AuthErrors, tenant.as_str(), detail),
            now,
        );
    }

    fn secret_lapsed(&self, tenant: &TenantId, board: &mut Board, now: Moment) {
        let app = self.settings.app(tenant).map(|app| app.as_str());
        let detail = format!(
            "Amazon says that the app's client secret has lapsed (a call of {tenant}): rotate it, and store it with `spapi-sidecar app put`"
        );
        let subject = app.unwrap_or_else(|| tenant.as_str());
        let raise = Raise::new(AlertKind::ClientSecretDue, subject, detail).about("refused");
        board.raise(raise.until_quiet_for(SECRET_QUIET), now);
    }

    fn exchange(&mut self, exchange: &Exchange<'_>, board: &mut Board, now: Moment) {
        let (tenant, kind) = (exchange.tenant, exchange.kind);
        if kind == "rdt" {
            return;
        }
        let revoked = exchange.result == Err("grant_revoked");
        if kind == "access" && (revoked || exchange.result.is_ok()) {
            self.quarantines
                .found(tenant, QuarantineCause::GrantRevoked, revoked);
        }
        let least = self.settings.alerts.refresh_failures;
        let failures = self.facts(tenant).failures.entry(kind).or_default();
        match exchange.result {
            Ok(_) => {
                *failures = 0;
                let clears = |about: &str| about == kind;
                let detail = "an exchange has succeeded";
                board.clear(AlertKind::RefreshFailing, tenant.as_str(), clears, detail);
            }
            Err(cause) => {
                *failures = failures.saturating_add(1);
                if *failures >= least {
                    let detail = format!(
                        "{failures} exchange(s) for the {kind} token failed in a row: {cause}"
                    );
                    let raise = Raise::new(AlertKind::RefreshFailing, tenant.as_str(), detail);
                    board.raise(raise.about(kind), now);
                }
            }
        }
    }

    fn facts(&mut self, tenant: &TenantId) -> &mut Facts {
        let window = self.settings.alerts.auth_errors.1;
        // an entry would clone the id for every event
        if !self.tenants.contains_key(tenant) {
            let facts = Facts {
                auth_errors: Window::new(window),
                failures: Map::default(),
                vended: None,
            };
            self.tenants.insert(tenant.clone(), facts);
        }
        self.tenants
            .get_mut(tenant)
            .expect("it was inserted above if it was not there")
    }
}

/// Whether a request is a call to SP-API, as opposed to a token request, a document or a tunnel.
fn is_api_call(record: &Record) -> bool {
    !["", "token", "document"].contains(&&*record.operation)
}

/// Whether a call came to nothing for a reason of Amazon's.
fn is_upstreams_fault(record: &Record) -> bool {
    let reasons = [
        Reason::UpstreamUnreachable,
        Reason::UpstreamTls,
        Reason::UpstreamTimeout,
    ];
    match record.reason {
        Some(reason) => reasons.contains(&reason),
        None => record.status >= 500,
    }
}

fn state_changed(
    tenant: &TenantId,
    state: TenantState,
    reason: &str,
    by: &str,
    board: &mut Board,
    now: Moment,
) {
    let kind = AlertKind::TenantQuarantined;
    if state == TenantState::Quarantined {
        let detail =
            format!("set aside by {by}: {reason}; its calls are refused until it is resumed");
        board.raise(Raise::new(kind, tenant.as_str(), detail), now);
    } else {
        let detail = format!("{} by {by}", state.as_str());
        board.clear(kind, tenant.as_str(), |_| true, &detail);
    }
}

fn grant_not_stored(tenant: &TenantId, over: bool, board: &mut Board, now: Moment) {
    let (kind, subject) = (AlertKind::GrantNotStored, tenant.as_str());
    if over {
        board.clear(kind, subject, |_| true, "the store has taken it");
    } else {
        let detail = "LWA replaced the refresh token and the store does not take the new one, which is in one sidecar's memory alone: mend the store, and do not stop that sidecar before";
        board.raise(Raise::new(kind, subject, detail), now);
    }
}

pub(super) fn audit(cause: Option<&str>, board: &mut Board, now: Moment) {
    let kind = AlertKind::AuditUnavailable;
    match cause {
        Some(cause) => {
            let detail = format!(
                "the audit cannot be written ({cause}); calls that have to be audited are refused, the others go on"
            );
            board.raise(Raise::new(kind, "audit", detail), now);
        }
        None => board.clear(kind, "audit", |_| true, "it is written again"),
    }
}

#[cfg(test)]
mod tests;
