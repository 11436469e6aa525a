//! What a request's JSON body says, where policy has to know it before the request may go.
//!
//! Job: read the body of an operation that names marketplaces there (createReport, createReportSchedule, createFeed) and ask
//! policy about it.
//! Invariants: what was read is what is sent, byte for byte, since it is kept for a replay anyway; a body that cannot be read
//! whole or is no JSON is refused: not knowing is refusing. Nothing of it is quoted.
//! Failure mode: `marketplace_denied`, or `bad_request` for a body that says nothing.

use http_body_util::{BodyExt as _, Limited};

use super::World;
use super::request::Authorized;
use crate::config::PolicyMode;
use crate::outcome::{Failure, Reason};
use crate::policy::{Body, Refusal};
use crate::telemetry::record::{Outcome, Record};

/// Largest body that is read: a specification of a report or a feed is a few hundred bytes.
const READ_BYTES: usize = 256 << 10;

/// Asks policy about the body, where the route says that it names marketplaces and the tenant has a list of them.
///
/// # Errors
/// When it names another marketplace, or cannot be read.
pub(super) async fn check(
    world: &World,
    authorized: &Authorized,
    record: &mut Record,
) -> Result<(), Failure> {
    let tenant = authorized.tenant();
    if !authorized.route().marketplaces_in_body || tenant.marketplaces.is_empty() {
        return Ok(());
    }
    let body = authorized.body().again().ok_or_else(unreadable)?;
    let read = Limited::new(body, READ_BYTES)
        .collect()
        .await
        .map_err(|error| unreadable().caused_by(error))?
        .to_bytes();
    if !authorized.body().may_replay() {
        return Err(unreadable());
    }
    let json: Body = serde_json::from_slice(&read).map_err(|_quotes_the_body| unreadable())?;
    judge(world, record, world.policy.body(tenant, &json))
}

/// Carries a verdict out, or writes it down where the policy only reports.
///
/// # Errors
/// When it is a refusal and is carried out.
pub(super) fn judge(
    world: &World,
    record: &mut Record,
    verdict: Result<(), Refusal>,
) -> Result<(), Failure> {
    let Err(refusal) = verdict else {
        return Ok(());
    };
    match world.policy.mode() {
        PolicyMode::Enforce => Err(refusal.into()),
        PolicyMode::Report => {
            record.outcome = Outcome::WouldRefuse;
            record.reason = Some(refusal.reason);
            Ok(())
        }
    }
}

fn unreadable() -> Failure {
    Failure::new(
        Reason::BadRequest,
        "The body of this call cannot be read, and it has to be: it names marketplaces.",
        "Send plain JSON of at most 256 KiB, within listen.limits.replay_body.",
    )
}
