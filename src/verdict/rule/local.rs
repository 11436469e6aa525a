//! What was stopped here or on the way, and what programs do.

use std::time::Duration;

use super::Draft;
use crate::outcome::Reason;
use crate::telemetry::clock;
use crate::tenant::TenantState;
use crate::verdict::cause::{Cause, Confidence, Severity};
use crate::verdict::recent::Stopped;

/// How long a stop is spoken of that nothing has mended.
const SPOKEN_OF: Duration = Duration::from_hours(1);

/// A program asks for a token just before it calls: after this, several placeholders without a call look like a way round.
const SEVERAL_UNUSED: (u32, Duration) = (3, Duration::from_mins(10));

/// And one after this: as long as a token lives.
const ONE_UNUSED: (u32, Duration) = (1, Duration::from_hours(1));

/// The tenant's state.
pub(super) fn state(draft: &mut Draft<'_>) {
    if let Some(why) = &draft.facts.waits {
        // nobody misses what was never served; a call that is refused for it says so itself
        let why = vec![why.clone()];
        draft.find(
            Cause::PreflightPending,
            Confidence::Certain,
            Severity::Degraded,
            why,
        );
    }
    let Some(aside) = &draft.facts.aside else {
        return;
    };
    let cause = match aside.state {
        TenantState::Active => return,
        TenantState::Killed => Cause::TenantKilled,
        TenantState::Quarantined => Cause::TenantQuarantined,
    };
    let line = format!(
        "{} since {} by {}: {}",
        aside.state.as_str(),
        aside.since,
        aside.by,
        aside.reason
    );
    draft.find(cause, Confidence::Certain, Severity::Degraded, vec![line]);
}

pub(super) fn rules(draft: &mut Draft<'_>) {
    let facts = draft.facts;
    for stopped in facts.recent.stopped(facts.now) {
        let age = facts.now.duration_since(stopped.last);
        if age.unwrap_or(Duration::ZERO) < SPOKEN_OF {
            stop(draft, stopped);
        }
    }
    bypass(draft);
    if let Some(seen) = facts.recent.real_token {
        draft.find(
            Cause::AppHoldsRealToken,
            Confidence::Certain,
            Severity::Notice,
            vec![format!("last seen at {}", clock(seen))],
        );
    }
}

fn stop(draft: &mut Draft<'_>, stopped: &Stopped) {
    use Severity::{Degraded, Failing, Notice};
    let facts = draft.facts;
    let waits = facts.aside.is_none() && facts.waits.is_some();
    let (cause, severity) = match stopped.reason {
        Reason::TenantQuarantined if waits => (Cause::PreflightPending, Failing),
        Reason::ScopeDenied => (Cause::ScopeNotGranted, Degraded),
        Reason::RegionDenied => (Cause::WrongRegion, Degraded),
        Reason::MarketplaceDenied => (Cause::WrongMarketplace, Degraded),
        Reason::RouteDenied | Reason::RdtDenied => (Cause::RouteNotAllowed, Notice),
        Reason::AddressDenied => (Cause::AddressDenied, Degraded),
        Reason::UpstreamUnreachable | Reason::UpstreamTls | Reason::UpstreamTimeout => {
            (Cause::UpstreamUnreachable, Degraded)
        }
        Reason::AuditUnavailable => (Cause::AuditUnavailable, Degraded),
        Reason::Overloaded => (Cause::Overloaded, Degraded),
        // said by the rules on tokens, answers and states, or the program's own affair
        Reason::TokenRefused
        | Reason::TokenUnavailable
        | Reason::RdtUnavailable
        | Reason::TenantKilled
        | Reason::TenantQuarantined
        | Reason::Throttled
        | Reason::EgressDenied
        | Reason::PortDenied
        | Reason::DocumentDenied
        | Reason::ProxyLoop
        | Reason::ProxyAuthRequired
        | Reason::ProxyAuthFailed
        | Reason::TenantUnknown
        | Reason::TenantMismatch
        | Reason::NameMismatch
        | Reason::PlaintextDenied
        | Reason::PathAmbiguous
        | Reason::BadRequest
        | Reason::HeaderTooLarge => return,
    };
    let of = match &*stopped.operation {
        // refused before anybody asked what it calls
        "" => String::new(),
        operation => format!(" of {operation}"),
    };
    let mut evidence = vec![format!(
        "{} call(s){of}: {}, last at {}",
        stopped.count,
        stopped.reason.code(),
        clock(stopped.last)
    )];
    if cause == Cause::ScopeNotGranted {
        evidence.push(format!(
            "the profile lacks {}",
            facts.scopes.missing.join(", ")
        ));
    }
    let nothing_taken = facts
        .recent
        .last_taken
        .is_none_or(|taken| taken + SPOKEN_OF < stopped.last);
    let severity = if cause == Cause::UpstreamUnreachable && nothing_taken {
        Failing
    } else {
        severity
    };
    let sure = if cause == Cause::UpstreamUnreachable {
        Confidence::Likely
    } else {
        Confidence::Certain
    };
    draft.find(cause, sure, severity, evidence);
    let need = facts.needs.get(&*stopped.operation);
    draft.name_owner(cause, need.and_then(|need| need.owner.as_ref()));
}

fn bypass(draft: &mut Draft<'_>) {
    let facts = draft.facts;
    let vended = facts.recent.vended;
    let Some(first) = vended.first else {
        return;
    };
    let since = facts.now.duration_since(first).unwrap_or(Duration::ZERO);
    let is = |(unused, age): (u32, Duration)| vended.unused >= unused && since >= age;
    let sure = if is(SEVERAL_UNUSED) {
        Confidence::Likely
    } else if is(ONE_UNUSED) {
        Confidence::Possible
    } else {
        return;
    };
    let line = format!(
        "{} placeholder(s) vended since {}, and no call with one",
        vended.unused,
        clock(first)
    );
    draft.find(Cause::BypassSuspected, sure, Severity::Notice, vec![line]);
}
