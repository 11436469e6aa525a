//! Pace: a request waits for its place in the quota of its operation.
//!
//! Job: find the lane of a request, wait in it within `throttle.max_wait`, and say so where that is not enough.
//! Invariants: with `throttle.mode: pass` nothing is held back and nothing is learnt; a client that goes away leaves the line
//! and nothing is sent for it any more; the wait counts against the same bound as the pauses after a 429. A client that has
//! closed its half of the connection alone cannot be told from one that has gone: it is answered at once.
//! Failure mode: `throttled` with `Retry-After`; nothing was carried out.
//! Source: CONTRACT section 3.4.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use tracing::Instrument as _;

use super::request::Authorized;
use super::send::Retry;
use super::{Connection, World};
use crate::config::ThrottleMode;
use crate::outcome::{Failure, Reason};
use crate::pace::{Call, Crowded, Lane, Place};
use crate::policy::Credential;
use crate::telemetry::record::Record;
use crate::telemetry::trace::Step;

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
        operation: authorized.operation(),
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
    let from = Instant::now();
    let entered = {
        let enters = pin!(async {
            let _held = connection.pulse.hold();
            tokio::select! {
                biased;
                entered = lane.enter(retry.patience()) => entered,
                () = connection.pulse.client_has_gone() => Err(Crowded { retry_in: Duration::ZERO }),
            }
        });
        enters.instrument(Step::Pace.span()).await
    };
    match entered {
        Ok(place) => {
            record.paced += place.waited();
            retry.has_waited(place.waited());
            Ok(Some(place))
        }
        Err(crowded) => {
            record.paced += from.elapsed();
            Err(throttled(&authorized.route().operation, crowded))
        }
    }
}

/// Holds a request back after a 429, as long as its client is there.
///
/// # Errors
/// When the client has closed: nothing more is sent for it.
pub(super) async fn pause(
    connection: &Connection,
    authorized: &Authorized,
    pause: Duration,
    record: &mut Record,
) -> Result<(), Failure> {
    let _held = connection.pulse.hold();
    let from = Instant::now();
    let stays = tokio::select! {
        () = tokio::time::sleep(pause) => true,
        () = connection.pulse.client_has_gone() => false,
    };
    record.paced += from.elapsed();
    if stays {
        return Ok(());
    }
    let operation = &authorized.route().operation;
    Err(throttled(operation, Crowded { retry_in: pause }))
}

fn throttled(operation: &str, crowded: Crowded) -> Failure {
    let seconds = crowded.retry_in.as_secs_f64().ceil().max(1.0);
    let seconds = Duration::from_secs_f64(seconds).as_secs();
    Failure::new(
        Reason::Throttled,
        format!("The quota of {operation} is used up, and no place in it comes free within throttle.max_wait."),
        format!("Nothing was carried out. There may be a place in {seconds} s (Retry-After). Call less often, or raise throttle.max_wait; `throttle: {{ mode: pass }}` leaves it to Amazon to refuse."),
    )
    .retry_after(seconds)
}
