//! What the last exchanges say.

use super::Draft;
use crate::telemetry::clock;
use crate::verdict::cause::{Cause, Confidence, Severity};
use crate::verdict::facts::Sidecar;

pub(super) fn rules(draft: &mut Draft<'_>) {
    let facts = draft.facts;
    if let Some(word) = facts.store_trouble {
        let line = format!("the store did not answer when last asked: {word}");
        draft.find(
            store(word),
            Confidence::Certain,
            Severity::Degraded,
            vec![line],
        );
    }
    if let Some(since) = facts.recent.grant_not_stored {
        let line = format!(
            "LWA replaced the refresh token; the store has not taken the new one since {}",
            clock(since)
        );
        // first in the list of what fails as well: whoever mends the store must not restart the sidecar for it
        let severity = if facts.token_left.is_some() {
            Severity::Degraded
        } else {
            Severity::Failing
        };
        draft.find(
            Cause::GrantNotStored,
            Confidence::Certain,
            severity,
            vec![line],
        );
    }
    if let Sidecar::Down { why, lacks } = &facts.sidecar {
        down(draft, why, lacks);
        return;
    }
    let last = facts.recent.last_exchange("access").copied();
    match last.map(|last| last.result) {
        Some(Err(word)) => own_token(draft, word),
        Some(Ok(())) => {}
        None if facts.token_left.is_none() => draft.find(
            Cause::TokenPending,
            Confidence::Certain,
            Severity::Degraded,
            vec!["no exchange has ended since the start".to_owned()],
        ),
        None => {}
    }
    derived(draft);
}

/// No sidecar answers; the store may say what it would stumble over.
fn down(draft: &mut Draft<'_>, why: &str, lacks: &[&str]) {
    let (sure, failing) = (Confidence::Certain, Severity::Failing);
    for (word, cause) in [
        ("grant_missing", Cause::GrantMissing),
        ("app_missing", Cause::AppMissing),
    ] {
        if lacks.contains(&word) {
            let line = "the store was read and holds none".to_owned();
            draft.find(cause, sure, failing, vec![line]);
        }
    }
    draft.find(Cause::SidecarDown, sure, failing, vec![why.to_owned()]);
}

/// The exchange for the tenant's own token failed.
fn own_token(draft: &mut Draft<'_>, word: &'static str) {
    let facts = draft.facts;
    let severity = if facts.token_left.is_some() {
        Severity::Degraded
    } else {
        Severity::Failing
    };
    let mut evidence = vec![format!(
        "the last {} exchange(s) failed: {word}{}",
        facts.recent.failures.max(1),
        facts
            .recent
            .last_exchange("access")
            .map_or_else(String::new, |last| format!(", at {}", clock(last.at))),
    )];
    evidence.push(match facts.token_left {
        Some(left) => format!(
            "the token in memory may be used for {} s more",
            left.as_secs()
        ),
        None => "there is no usable token in memory".to_owned(),
    });
    let (cause, sure) = match word {
        "grant_missing" => (Cause::GrantMissing, Confidence::Certain),
        "app_missing" => (Cause::AppMissing, Confidence::Certain),
        "grant_revoked" => {
            draft.find(
                Cause::GrantRevoked,
                Confidence::Certain,
                Severity::Failing,
                evidence,
            );
            return;
        }
        "client_refused" => {
            evidence.push(secret_line(facts.secret_days));
            if facts.secret_days.is_some_and(|days| days < 0) {
                (Cause::ClientSecretLapsed, Confidence::Likely)
            } else {
                (Cause::ClientRefused, Confidence::Certain)
            }
        }
        "lwa_unreachable" => {
            let around = facts.around;
            evidence.push(format!(
                "{} of {} tenants are without LWA",
                around.without_lwa, around.busy
            ));
            (Cause::LwaUnreachable, Confidence::Likely)
        }
        "lwa_refused" | "lwa_nonsense" => (Cause::LwaTrouble, Confidence::Likely),
        word if word.starts_with("store_") => (store(word), Confidence::Certain),
        _ => (Cause::LwaTrouble, Confidence::Possible),
    };
    draft.find(cause, sure, severity, evidence);
}

/// The exchanges for what is made from, or beside, the tenant's own token.
fn derived(draft: &mut Draft<'_>) {
    let last = |kind| {
        let last = draft.facts.recent.last_exchange(kind);
        last.and_then(|last| last.result.err())
    };
    let (grantless, restricted) = (last("grantless"), last("rdt"));
    if let Some(word) = grantless {
        let line = format!("the last exchange for a grantless token failed: {word}");
        let cause = match word {
            "client_refused" => Cause::ClientRefused,
            "app_missing" => Cause::AppMissing,
            "lwa_unreachable" => Cause::LwaUnreachable,
            word if word.starts_with("store_") => store(word),
            _ => Cause::LwaTrouble,
        };
        draft.find(cause, Confidence::Likely, Severity::Degraded, vec![line]);
    }
    if restricted == Some("rdt_refused") {
        let line = "the Tokens API refuses a restricted data token that a route asks for";
        draft.find(
            Cause::DataElementsDenied,
            Confidence::Likely,
            Severity::Degraded,
            vec![line.to_owned()],
        );
    }
}

fn store(word: &str) -> Cause {
    match word {
        "store_sealed" => Cause::StoreSealed,
        "store_denied" => Cause::StoreDenied,
        _ => Cause::StoreUnavailable,
    }
}

/// What is known of the client secret's age.
pub(super) fn secret_line(days: Option<i64>) -> String {
    match days {
        Some(days) if days < 0 => format!("client secret: past its 180 days for {} days", -days),
        Some(days) => format!("client secret: {days} days left"),
        None => "client secret: nobody wrote down when it was made".to_owned(),
    }
}
