//! Pace: a request waits for its place in the quota of its operation.
//!
//! Job: find the lane of a request, wait in it within `throttle.max_wait`, and say so where that is not enough.
//! Invariants: with `throttle.mode: pass` nothing is held back and nothing is learnt; a client that goes away leaves the line;
//! the wait counts against the same bound as the pauses after a 429.
//! Failure mode: `throttled` with `Retry-After`; nothing was sent.
//! Source: CONTRACT section 3.4.

use std::sync::Arc;
use std::time::Duration;

use super::request::Authorized;
use super::send::Retry;
use super::{Connection, World};
use crate::config::ThrottleMode;
use crate::outcome::{Failure, Reason};
use crate::pace::{Call, Crowded, Lane, Place};
use crate::policy::Credential;
use crate::telemetry::record::Record;

/// The lane of a request, where requests are paced at all.
pub(super) fn lane(
    connection: &Connection,
    world: &World,
    authorized: &Authorized,
) -> Option<Arc<Lane>> {
    if world.config.throttle.mode == ThrottleMode::Pass {
        return None;
    }
    let route = authorized.route();
    Some(connection.shared().pace.lane(&Call {
        tenant: authorized.tenant(),
        grantless: matches!(route.credential, Credential::Grantless(_)),
        method: authorized.method(),
        path: authorized.target().path(),
        template: &route.template,
    }))
}

/// Waits for a place, unless requests are not paced.
///
/// # Errors
/// When there is none within what is left of `throttle.max_wait`.
pub(super) async fn take(
    connection: &Connection,
    authorized: &Authorized,
    retry: &mut Retry,
    record: &mut Record,
) -> Result<Option<Place>, Failure> {
    let Some(lane) = retry.lane() else {
        return Ok(None);
    };
    let entered = {
        let _held = connection.pulse.hold();
        lane.enter(retry.patience()).await
    };
    let place = entered.map_err(|crowded| throttled(&authorized.route().operation, crowded))?;
    retry.has_waited(place.waited());
    record.paced += place.waited();
    Ok(Some(place))
}

fn throttled(operation: &str, crowded: Crowded) -> Failure {
    let seconds = crowded.retry_in.as_secs_f64().ceil().max(1.0);
    let seconds = Duration::from_secs_f64(seconds).as_secs();
    Failure::new(
        Reason::Throttled,
        format!("The quota of {operation} is used up, and no place in it comes free within throttle.max_wait."),
        format!("Nothing was sent. There may be a place in {seconds} s (Retry-After). Call less often, or raise throttle.max_wait; `throttle: {{ mode: pass }}` leaves it to Amazon to refuse."),
    )
    .retry_after(seconds)
}
