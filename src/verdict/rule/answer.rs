//! What Amazon's answers say.

use std::time::Duration;

use super::token::secret_line;
use super::{Draft, role};
use crate::config::Account;
use crate::outcome::{Denial, Reason};
use crate::telemetry::clock;
use crate::verdict::cause::{Cause, Confidence, Severity};
use crate::verdict::facts::Facts;
use crate::verdict::recent::Denied;

/// Answers below which a share says nothing.
const FEW: u32 = 5;

/// Tokens that Amazon stopped taking within the hour, from which on it is no accident.
const EARLY_ENDS: u32 = 3;

pub(super) fn rules(draft: &mut Draft<'_>) {
    secret(draft);
    charge_method(draft);
    vendor_link(draft);
    region(draft);
    incident(draft);
    suspicion(draft);
    token_refused(draft);
    role::missing(draft);
    role::misdirected(draft);
    role::forbidden(draft);
    data_elements(draft);
    errors(draft);
    throttled(draft);
    early_ends(draft);
}

pub(super) fn of(facts: &Facts, denial: Denial) -> impl Iterator<Item = &Denied> {
    facts
        .recent
        .denied(facts.now)
        .filter(move |one| one.denial == denial)
}

/// One line for a kind of refusal.
pub(super) fn line(one: &Denied) -> String {
    format!(
        "{} answered {} ({}) to {} call(s), last at {}",
        one.operation,
        one.status,
        one.denial.as_str(),
        one.count,
        clock(one.last)
    )
}

/// Whether a refusal is one that a lapsed charge method would bring about.
const fn may_be_the_charge(denial: Denial) -> bool {
    matches!(
        denial,
        Denial::Unauthenticated | Denial::Role | Denial::Forbidden | Denial::TokenInvalid
    )
}

fn secret(draft: &mut Draft<'_>) {
    let mut evidence: Vec<String> = of(draft.facts, Denial::SecretLapsed).map(line).collect();
    if evidence.is_empty() {
        return;
    }
    evidence.push("Amazon's words: the LWA secret has expired".to_owned());
    evidence.push(secret_line(draft.facts.secret_days));
    draft.diagnosis.secret_days = Some(draft.facts.secret_days.unwrap_or(0).min(0));
    draft.find(
        Cause::ClientSecretLapsed,
        Confidence::Certain,
        Severity::Failing,
        evidence,
    );
}

/// A charge method that is known to be bad counts as a cause before anything counts as a mystery.
fn charge_method(draft: &mut Draft<'_>) {
    let facts = draft.facts;
    if !facts.charge.is_bad() {
        return;
    }
    let refused: Vec<String> = facts
        .recent
        .denied(facts.now)
        .filter(|one| may_be_the_charge(one.denial))
        .map(line)
        .collect();
    let (sure, severity) = if refused.is_empty() {
        (Confidence::Certain, Severity::Degraded)
    } else {
        (Confidence::Likely, Severity::Failing)
    };
    let evidence = std::iter::once(facts.charge.line()).chain(refused);
    draft.find(
        Cause::ChargeMethodLapsed,
        sure,
        severity,
        evidence.collect(),
    );
}

fn vendor_link(draft: &mut Draft<'_>) {
    let facts = draft.facts;
    let mut evidence: Vec<String> = of(facts, Denial::VendorLink).map(line).collect();
    if evidence.is_empty() {
        return;
    }
    let groups = &facts.profile.vendor_groups;
    evidence.push(if groups.is_empty() {
        "the profile names no vendor group".to_owned()
    } else {
        format!("vendor groups of the profile: {}", groups.join(", "))
    });
    let severity = match facts.profile.account {
        Account::Vendor => Severity::Failing,
        Account::Seller => {
            evidence.push(
                "the profile says `account: seller`, and sellers have no vendor groups".to_owned(),
            );
            Severity::Degraded
        }
    };
    draft.find(
        Cause::VendorLinkBroken,
        Confidence::Certain,
        severity,
        evidence,
    );
}

fn region(draft: &mut Draft<'_>) {
    let facts = draft.facts;
    let mut evidence: Vec<String> = of(facts, Denial::Region).map(line).collect();
    if evidence.is_empty() {
        return;
    }
    evidence.push(format!(
        "the profile: region {}, marketplaces {}",
        facts.profile.region.as_str(),
        facts.profile.marketplaces.join(", ")
    ));
    draft.find(
        Cause::WrongRegion,
        Confidence::Certain,
        Severity::Degraded,
        evidence,
    );
}

/// The tenants are in the same trouble together.
fn incident(draft: &mut Draft<'_>) {
    let (facts, around) = (draft.facts, draft.facts.around);
    let sums = facts.recent.minutes.sums(facts.window, facts.now).all;
    let refused = around.is_many(around.refused) && is_refused(facts);
    let erring = around.is_many(around.erring) && sums.erred > 0;
    if !(refused || erring) || facts.charge.is_bad() {
        return;
    }
    let mut evidence = Vec::new();
    if refused {
        evidence.push(format!(
            "{} of {} busy tenants: Amazon refuses fresh tokens",
            around.refused, around.busy
        ));
    }
    if erring {
        evidence.push(format!(
            "{} of {} busy tenants: at least half of Amazon's answers are errors of its own",
            around.erring, around.busy
        ));
    }
    evidence.push(facts.charge.line());
    let severity = if refused || sums.taken == 0 {
        Severity::Failing
    } else {
        Severity::Degraded
    };
    draft.find(
        Cause::UpstreamIncident,
        Confidence::Likely,
        severity,
        evidence,
    );
}

/// Whether Amazon refused a token that was made to replace a refused one.
fn is_refused(facts: &Facts) -> bool {
    let mut stopped = facts.recent.stopped(facts.now);
    stopped.any(|one| one.reason == Reason::TokenRefused)
}

/// Every call is refused, and nothing that is known says why: the charge method and the app's standing come first.
fn suspicion(draft: &mut Draft<'_>) {
    let facts = draft.facts;
    if facts.charge.is_bad() || draft.has(Cause::UpstreamIncident) {
        return;
    }
    let bare: Vec<&Denied> = facts
        .recent
        .denied(facts.now)
        .filter(|one| matches!(one.denial, Denial::Role | Denial::Unauthenticated))
        .collect();
    let scopes = facts.refused_scopes();
    let across_roles = scopes.keys().filter(|scope| !scope.is_empty()).count() >= 2;
    let unauthenticated = bare.iter().any(|one| one.denial == Denial::Unauthenticated);
    let sure = if across_roles && nothing_taken_since(facts, &bare) {
        Confidence::Likely
    } else if unauthenticated && is_refused(facts) {
        Confidence::Possible
    } else {
        return;
    };
    let mut evidence: Vec<String> = bare.into_iter().map(line).collect();
    evidence.push("no call was taken since the first of these".to_owned());
    evidence.push(facts.charge.line());
    draft.doubt_charge();
    draft.find(
        Cause::ChargeMethodSuspected,
        sure,
        Severity::Failing,
        evidence,
    );
}

fn nothing_taken_since(facts: &Facts, refused: &[&Denied]) -> bool {
    let first = refused.iter().map(|one| one.since).min();
    first.is_some_and(|first| facts.recent.last_taken.is_none_or(|taken| taken < first))
}

fn token_refused(draft: &mut Draft<'_>) {
    let facts = draft.facts;
    if !is_refused(facts) || draft.has(Cause::UpstreamIncident) {
        return;
    }
    let about_the_token = |one: &&Denied| {
        matches!(
            one.denial,
            Denial::Unauthenticated | Denial::TokenExpired | Denial::TokenInvalid
        )
    };
    let refused = facts.recent.denied(facts.now).filter(about_the_token);
    let mut evidence: Vec<String> = refused.map(line).collect();
    evidence.push("a token that was made to replace a refused one was refused too".to_owned());
    evidence.push(facts.charge.line());
    let sure = if facts.charge.is_bad() {
        Confidence::Possible
    } else {
        Confidence::Likely
    };
    draft.find(Cause::TokenRefused, sure, Severity::Failing, evidence);
}

fn data_elements(draft: &mut Draft<'_>) {
    let evidence: Vec<String> = of(draft.facts, Denial::DataElements).map(line).collect();
    if !evidence.is_empty() {
        draft.find(
            Cause::DataElementsDenied,
            Confidence::Certain,
            Severity::Degraded,
            evidence,
        );
    }
}

fn errors(draft: &mut Draft<'_>) {
    let facts = draft.facts;
    let sums = facts.recent.minutes.sums(facts.window, facts.now).all;
    let answers = sums.taken + sums.unauthorized + sums.forbidden + sums.erred;
    let mostly = sums.erred >= FEW && 2 * sums.erred >= answers;
    if !mostly || draft.has(Cause::UpstreamIncident) {
        return;
    }
    let line = format!(
        "{} of {answers} answers were errors of Amazon's own",
        sums.erred
    );
    let severity = if sums.taken == 0 {
        Severity::Failing
    } else {
        Severity::Degraded
    };
    draft.find(
        Cause::UpstreamErrors,
        Confidence::Likely,
        severity,
        vec![line],
    );
}

fn throttled(draft: &mut Draft<'_>) {
    let facts = draft.facts;
    let sums = facts.recent.minutes.sums(facts.window, facts.now).all;
    if sums.throttled_through == 0 {
        return;
    }
    let mut evidence = vec![format!(
        "{} call(s) ended with 429 for the program; Amazon answered it {} times",
        sums.throttled_through, sums.throttled
    )];
    let throttled = facts.recent.denied_at_all();
    evidence.extend(
        throttled
            .filter(|one| one.denial == Denial::Throttled)
            .map(|one| format!("{}: last at {}", one.operation, clock(one.last))),
    );
    draft.find(
        Cause::Throttled,
        Confidence::Certain,
        Severity::Degraded,
        evidence,
    );
}

/// Tokens were replaced again and again, and that helped.
fn early_ends(draft: &mut Draft<'_>) {
    let facts = draft.facts;
    let ended = |one: &&Denied| {
        let recent = facts.now.duration_since(one.last).unwrap_or(Duration::ZERO);
        matches!(
            one.denial,
            Denial::Unauthenticated | Denial::TokenExpired | Denial::TokenInvalid
        ) && recent < Duration::from_hours(1)
    };
    let total: u32 = facts
        .recent
        .denied_at_all()
        .filter(ended)
        .map(|one| one.total - one.count)
        .sum();
    if total >= EARLY_ENDS {
        let line = format!(
            "Amazon stopped taking {total} tokens inside their life; a new one helped each time"
        );
        draft.find(
            Cause::TokensEndEarly,
            Confidence::Possible,
            Severity::Notice,
            vec![line],
        );
    }
}
