//! A 403 that speaks of no bad token: a role, the wrong kind of token, or a path that Amazon does not know.
//!
//! Source: SP-API facts, section 4: all of these are the same answer; `token::judge` tells them apart by the catalog.

use std::time::{Duration, SystemTime};

use super::Draft;
use super::answer::{line, of};
use crate::catalog::{Catalog, Operation, RdtWhen};
use crate::outcome::Denial;
use crate::verdict::cause::{Cause, Confidence, Severity};
use crate::verdict::facts::Facts;
use crate::verdict::recent::Denied;

/// A call that was taken this shortly before the refusals began shows that not every call is refused.
const JUST_BEFORE: Duration = Duration::from_mins(15);

/// A 403 to a call that the catalog knows, with the kind of token that it takes.
pub(super) fn missing(draft: &mut Draft<'_>) {
    let facts = draft.facts;
    let explained = facts.charge.is_bad() || draft.has(Cause::ChargeMethodSuspected);
    let sure = if explained {
        Confidence::Possible
    } else {
        Confidence::Likely
    };
    for (scope, refused) in facts.refused_scopes() {
        for one in &refused {
            let mut evidence = vec![line(one)];
            evidence.extend(role_lines(facts, one, &scope));
            evidence.push(facts.charge.line());
            let severity = if every_call_is_refused(facts, one.since) {
                Severity::Failing
            } else {
                Severity::Degraded
            };
            say(draft, Cause::RoleMissing, (sure, severity), one, evidence);
            if !explained && !scope.is_empty() {
                draft.diagnosis.scopes.is_refused(&scope);
            }
        }
    }
}

/// A 403 that the catalog explains: the call is not one that Amazon would take from anybody.
pub(super) fn misdirected(draft: &mut Draft<'_>) {
    let facts = draft.facts;
    for one in facts.recent.denied(facts.now) {
        let cause = match one.denial {
            Denial::UnknownPath => Cause::UnknownOperation,
            Denial::TokenMissing => Cause::TokenFieldUnread,
            Denial::WrongKind if needs_rdt(facts, one) => Cause::RdtNeeded,
            Denial::WrongKind => Cause::WrongTokenKind,
            Denial::Unauthenticated
            | Denial::TokenExpired
            | Denial::TokenInvalid
            | Denial::SecretLapsed
            | Denial::Role
            | Denial::Forbidden
            | Denial::ThrottledAsForbidden
            | Denial::Region
            | Denial::VendorLink
            | Denial::DataElements
            | Denial::Throttled => continue,
        };
        let severity = if cause == Cause::TokenFieldUnread {
            Severity::Failing
        } else {
            Severity::Degraded
        };
        let evidence = vec![line(one)];
        say(draft, cause, (Confidence::Likely, severity), one, evidence);
    }
}

fn needs_rdt(facts: &Facts, one: &Denied) -> bool {
    one.token_kind == "access"
        && operation(facts, one)
            .is_some_and(|operation| operation.rdt_when == Some(RdtWhen::Always))
}

/// Adds a finding, and who answers for the route.
fn say(
    draft: &mut Draft<'_>,
    cause: Cause,
    (sure, severity): (Confidence, Severity),
    one: &Denied,
    evidence: Vec<String>,
) {
    draft.find(cause, sure, severity, evidence);
    let need = draft.facts.needs.get(&*one.operation);
    draft.name_owner(cause, need.and_then(|need| need.owner.as_ref()));
}

/// What the catalog knows of a refused operation; by its routes, and by its id where it went without one.
fn operation(facts: &Facts, one: &Denied) -> Option<&'static Operation> {
    match facts.needs.get(&*one.operation) {
        Some(need) => need.operation,
        None => Catalog::embedded()
            .operations()
            .iter()
            .find(|operation| operation.operation_id == *one.operation),
    }
}

fn role_lines(facts: &Facts, one: &Denied, scope: &str) -> Vec<String> {
    let mut lines = Vec::new();
    if !scope.is_empty() {
        lines.push(format!("the route needs {scope}"));
    }
    let roles = operation(facts, one).and_then(|operation| operation.roles.as_ref());
    if let Some(roles) = roles.filter(|roles| !roles.is_empty()) {
        lines.push(format!(
            "Amazon's tables: any one of {} is enough",
            roles.join(", ")
        ));
    }
    lines
}

/// Whether nothing was taken since, nor shortly before, the refusals began.
fn every_call_is_refused(facts: &Facts, since: SystemTime) -> bool {
    let taken = facts.recent.last_taken;
    taken.is_none_or(|taken| taken + JUST_BEFORE < since)
}

/// A 403 that says that the resource is forbidden.
pub(super) fn forbidden(draft: &mut Draft<'_>) {
    let facts = draft.facts;
    for one in of(facts, Denial::Forbidden) {
        let is_report = operation(facts, one).is_some_and(|operation| operation.api == "reports");
        let (cause, sure) = if is_report {
            (Cause::ReportRoleMissing, Confidence::Likely)
        } else {
            (Cause::RoleMissing, Confidence::Possible)
        };
        let evidence = vec![line(one), facts.charge.line()];
        say(draft, cause, (sure, Severity::Degraded), one, evidence);
    }
    for one in of(facts, Denial::ThrottledAsForbidden) {
        let cause = Cause::ThrottledAsForbidden;
        let evidence = vec![line(one), facts.charge.line()];
        let sure = (Confidence::Possible, Severity::Degraded);
        say(draft, cause, sure, one, evidence);
    }
}
