//! A 403 that speaks of no token: a role, the wrong kind of token, or a path that Amazon does not know.
//!
//! Source: SP-API facts, section 4: all of these are the same answer; only the catalog and the routes tell them apart.

use std::time::{Duration, SystemTime};

use super::Draft;
use super::answer::{FEW, line, of};
use crate::catalog::{Catalog, Operation, RdtWhen};
use crate::outcome::Denial;
use crate::verdict::cause::{Cause, Confidence, Severity};
use crate::verdict::facts::Facts;
use crate::verdict::recent::Denied;

/// A call that was taken this shortly before the refusals began shows that not every call is refused.
const JUST_BEFORE: Duration = Duration::from_mins(15);

/// A 403 without a word of the token, seen beside what the catalog and the routes say of the operation.
pub(super) fn missing(draft: &mut Draft<'_>) {
    let facts = draft.facts;
    let explained = facts.charge.is_bad() || draft.has(Cause::ChargeMethodSuspected);
    for (scope, refused) in facts.refused_scopes() {
        for one in &refused {
            let (cause, sure) = why(facts, one);
            let mut evidence = vec![line(one)];
            if cause == Cause::RoleMissing {
                evidence.extend(role_lines(facts, one, &scope));
                evidence.push(facts.charge.line());
            }
            let sure = if explained {
                Confidence::Possible
            } else {
                sure
            };
            let severity = if cause == Cause::RoleMissing && every_call_is_refused(facts, one.since)
            {
                Severity::Failing
            } else {
                Severity::Degraded
            };
            draft.find(cause, sure, severity, evidence);
            let need = facts.needs.get(&*one.operation);
            draft.name_owner(cause, need.and_then(|need| need.owner.as_ref()));
            if cause == Cause::RoleMissing && !explained && !scope.is_empty() {
                draft.diagnosis.scopes.is_refused(&scope);
            }
        }
    }
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

fn why(facts: &Facts, one: &Denied) -> (Cause, Confidence) {
    let Some(operation) = operation(facts, one) else {
        return (Cause::UnknownOperation, Confidence::Likely);
    };
    let is_grantless = one.token_kind == "grantless";
    if operation.grantless_scope.is_some() != is_grantless {
        return (Cause::WrongTokenKind, Confidence::Likely);
    }
    if operation.rdt_when == Some(RdtWhen::Always) && one.token_kind == "access" {
        return (Cause::RdtNeeded, Confidence::Likely);
    }
    (Cause::RoleMissing, Confidence::Likely)
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

pub(super) fn forbidden(draft: &mut Draft<'_>) {
    let facts = draft.facts;
    let hour = facts
        .recent
        .minutes
        .sums(Duration::from_hours(1), facts.now)
        .all;
    for one in of(facts, Denial::Forbidden) {
        let is_report = operation(facts, one).is_some_and(|operation| operation.api == "reports");
        let (cause, sure) = if is_report {
            (Cause::ReportRoleMissing, Confidence::Likely)
        } else if hour.throttled >= FEW {
            (Cause::ThrottledAsForbidden, Confidence::Possible)
        } else {
            (Cause::RoleMissing, Confidence::Possible)
        };
        let mut evidence = vec![line(one)];
        if cause == Cause::ThrottledAsForbidden {
            evidence.push(format!("{} answers 429 within the hour", hour.throttled));
        }
        evidence.push(facts.charge.line());
        draft.find(cause, sure, Severity::Degraded, evidence);
        let need = facts.needs.get(&*one.operation);
        draft.name_owner(cause, need.and_then(|need| need.owner.as_ref()));
    }
}
