//! What the calendar says.

use super::Draft;
use super::token::secret_line;
use crate::verdict::cause::{Cause, Confidence, Severity};

pub(super) fn rules(draft: &mut Draft<'_>) {
    let facts = draft.facts;
    let soon = |days: &i64| (0..=facts.remind_within).contains(days);
    if facts.charge.days_left.as_ref().is_some_and(soon) && !facts.charge.is_bad() {
        notice(draft, Cause::ChargeMethodDue, facts.charge.line());
    }
    match facts.secret_days {
        Some(days) if days < 0 => draft.find(
            Cause::ClientSecretLapsed,
            Confidence::Possible,
            Severity::Degraded,
            vec![secret_line(Some(days))],
        ),
        Some(days) if soon(&days) => {
            notice(draft, Cause::ClientSecretDue, secret_line(Some(days)));
        }
        Some(_) | None => {}
    }
    match facts.authorization_days {
        Some(days) if days < 0 => authorization_is_old(draft, days),
        Some(days) if soon(&days) => {
            let line = format!("authorization: {days} days left of its 365");
            notice(draft, Cause::AuthorizationDue, line);
        }
        Some(_) | None => {}
    }
}

/// Amazon ends the authorizations of public applications; those of private ones are not known to end.
fn authorization_is_old(draft: &mut Draft<'_>, days: i64) {
    let refused = [
        Cause::GrantRevoked,
        Cause::TokenRefused,
        Cause::RoleMissing,
        Cause::ChargeMethodSuspected,
    ]
    .into_iter()
    .any(|cause| draft.has(cause));
    let (sure, severity) = if refused {
        (Confidence::Likely, Severity::Degraded)
    } else {
        (Confidence::Possible, Severity::Notice)
    };
    let line = format!(
        "authorization: past its 365 days for {} days; Amazon ends those of public applications",
        -days
    );
    draft.find(Cause::AuthorizationLapsed, sure, severity, vec![line]);
}

fn notice(draft: &mut Draft<'_>, cause: Cause, line: String) {
    draft.find(cause, Confidence::Certain, Severity::Notice, vec![line]);
}
