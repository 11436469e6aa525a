//! Send: one attempt, and what its answer calls for.
//!
//! Job: hand an [`Outbound`] to the core's client; judge the answer; decide between return, replay and pause.
//! Invariants: this is the only caller of the upstream client on the walk; a token is replaced at most once for a request; the
//! waits of one request together stay within `throttle.max_wait`; what cannot be replayed is not.
//! Source: CONTRACT section 3.4.

use std::time::Duration;

use bytes::Bytes;
use http::response::Parts;
use http::{StatusCode, header};
use http_body_util::BodyExt as _;
use tokio::time::Instant;

use super::credential::Credential;
use super::head::Outbound;
use super::replay::{Replay, Source};
use super::request::Authorized;
use super::{Connection, Shared, respond};
use crate::config::{Throttle, ThrottleMode};
use crate::outcome::{Denial, Failure, Reason};
use crate::telemetry::event::Event;
use crate::telemetry::record::Record;
use crate::token::judge::{self, READ_AHEAD};
use crate::upstream::SendError;
use crate::upstream::client::{Manner, Streamed};

/// An answer of upstream, partly read ahead where that was needed to judge it.
#[derive(Debug)]
pub struct Received {
    /// Its head.
    pub parts: Parts,
    /// What was read ahead.
    pub ahead: Vec<Bytes>,
    /// The rest.
    pub rest: Streamed<Replay>,
}

/// Sends once.
///
/// # Errors
/// When there is no answer.
pub async fn send(
    connection: &Connection,
    outbound: &Outbound,
    body: &Source,
    http2: bool,
    record: &mut Record,
) -> Result<Received, Failure> {
    let _held = connection.pulse.hold();
    let progress = std::sync::Arc::clone(&record.bytes);
    let manner = Manner {
        http2,
        repeatable: outbound.is_safe() && body.is_empty(),
        progress: &progress.inward,
    };
    let from = Instant::now();
    let sent = connection
        .worker
        .client
        .send(&connection.target, manner, || {
            body.again().map(|body| outbound.request(body))
        })
        .await;
    record.upstream += from.elapsed();
    let (parts, rest) = sent
        .map_err(|error| respond::not_sent(error, &connection.host))?
        .into_parts();
    if parts.status.is_informational() {
        // hyper hands on a 101 alone of its kind, and no request of ours asks for an upgrade
        return Err(Failure::new(
            Reason::UpstreamUnreachable,
            format!("{} switched protocols unasked.", connection.host),
            "No upgrade is ever asked for upstream; the connection was closed.",
        ));
    }
    Ok(Received {
        parts,
        ahead: Vec::new(),
        rest,
    })
}

/// What to do with an answer.
pub(super) enum Next {
    /// Give it to the client.
    Return(Box<Received>),
    /// Try again at once.
    Again,
    /// Try again after a pause.
    After(Duration),
}

/// The repeats of one request.
#[derive(Debug)]
pub struct Retry {
    throttle: Throttle,
    waited: Duration,
    throttled: u32,
    token_replaced: bool,
}

/// First bound of the back-off after a 429.
const FIRST_BACKOFF: Duration = Duration::from_millis(500);

impl Retry {
    /// Starts with nothing spent.
    #[must_use]
    pub const fn new(throttle: Throttle) -> Self {
        Self {
            throttle,
            waited: Duration::ZERO,
            throttled: 0,
            token_replaced: false,
        }
    }

    pub(super) async fn judge(
        &mut self,
        mut received: Received,
        authorized: &Authorized,
        credential: &Credential,
        shared: &Shared,
        record: &Record,
    ) -> Result<Next, Failure> {
        let denial = match received.parts.status {
            StatusCode::UNAUTHORIZED => Some(Denial::Unauthenticated),
            StatusCode::FORBIDDEN => Some(
                read_ahead(&mut received)
                    .await
                    .map_err(|error| respond::not_sent(SendError::Broken(error), &record.host))?,
            ),
            StatusCode::TOO_MANY_REQUESTS => Some(Denial::Throttled),
            _ => None,
        };
        let Some(denial) = denial else {
            if received.parts.status.is_success() {
                credential.accepted();
            }
            return Ok(Next::Return(Box::new(received)));
        };
        shared.recorder.events.note(&Event::Denied {
            tenant: &authorized.tenant().id,
            operation: &authorized.route().operation,
            status: received.parts.status.as_u16(),
            denial,
            token_kind: credential.kind,
        });
        match denial {
            Denial::Unauthenticated | Denial::TokenExpired | Denial::TokenInvalid => {
                self.replace(&received, authorized, credential, shared, record)
            }
            Denial::Throttled => Ok(self.back_off(received, authorized.body())),
            Denial::SecretLapsed => {
                tracing::error!(alert = "client_secret_due", tenant = %authorized.tenant().id, app = %authorized.tenant().app, "Amazon says that the app's client secret has lapsed: rotate it, and store it with `spapi-sidecar app put`");
                Ok(Next::Return(Box::new(received)))
            }
            Denial::Role | Denial::Forbidden | Denial::Region | Denial::DataElements => {
                Ok(Next::Return(Box::new(received)))
            }
        }
    }

    /// A refused token is dropped, and the request repeated with another one, once.
    fn replace(
        &mut self,
        received: &Received,
        authorized: &Authorized,
        credential: &Credential,
        shared: &Shared,
        record: &Record,
    ) -> Result<Next, Failure> {
        let fresh_may_help = credential.refused(&shared.tokens);
        let said = crate::redact::text(&String::from_utf8_lossy(&received.ahead.concat()));
        tracing::warn!(request_id = %record.id, tenant = %authorized.tenant().id, operation = %authorized.route().operation, status = received.parts.status.as_u16(), kind = credential.kind, said, "Amazon refused a token");
        if fresh_may_help && !self.token_replaced && authorized.body().may_replay() {
            self.token_replaced = true;
            return Ok(Next::Again);
        }
        let details = if authorized.body().may_replay() {
            "A fresh one was refused too: see the sidecar's log for Amazon's words, and check the grant, the app's roles and Amazon's status."
        } else {
            "The request body was too large to be kept for a replay (listen.limits.replay_body): send the request again, it will go out with a new token."
        };
        Err(Failure::new(
            Reason::TokenRefused,
            "Amazon does not accept the credential that the sidecar holds for this tenant.",
            details,
        ))
    }

    /// Full jitter between nothing and a doubling bound; `Retry-After` and the learned rate set a floor.
    fn back_off(&mut self, received: Received, body: &Source) -> Next {
        let last = self.throttled + 1 >= self.throttle.max_attempts;
        if self.throttle.mode == ThrottleMode::Pass || last || !body.may_replay() {
            return Next::Return(Box::new(received));
        }
        let bound = FIRST_BACKOFF.saturating_mul(1 << self.throttled.min(10));
        let pause = bound
            .mul_f64(rand::random::<f64>())
            .max(floor(&received.parts));
        if self.waited + pause > self.throttle.max_wait {
            return Next::Return(Box::new(received));
        }
        self.throttled += 1;
        self.waited += pause;
        Next::After(pause)
    }
}

/// The shortest pause that an answer asks for.
fn floor(parts: &Parts) -> Duration {
    let number = |name: &str| {
        parts
            .headers
            .get(name)
            .and_then(|value| value.to_str().ok())
            .and_then(|text| text.trim().parse::<f64>().ok())
            .filter(|number| number.is_finite() && *number > 0.0)
    };
    let asked = number(header::RETRY_AFTER.as_str()).unwrap_or(0.0);
    let rate = number("x-amzn-ratelimit-limit").map_or(0.0, |rate| 1.0 / rate);
    Duration::from_secs_f64(asked.max(rate).clamp(0.05, 3600.0))
}

/// Reads a 403 as far as needed to judge it. What was read is kept for the client.
async fn read_ahead(received: &mut Received) -> Result<Denial, hyper::Error> {
    let mut bytes = 0;
    while bytes < READ_AHEAD {
        let Some(frame) = received.rest.frame().await.transpose()? else {
            break;
        };
        if let Ok(data) = frame.into_data() {
            bytes += data.len();
            received.ahead.push(data);
        }
    }
    let body = received.ahead.concat();
    if received
        .parts
        .headers
        .get(header::CONTENT_ENCODING)
        .is_some_and(|coding| coding.as_bytes().eq_ignore_ascii_case(b"gzip"))
    {
        return Ok(judge::forbidden(&inflate(&body)));
    }
    Ok(judge::forbidden(&body))
}

/// At most [`READ_AHEAD`] bytes of a gzip body.
pub(super) fn inflate(body: &[u8]) -> Vec<u8> {
    use std::io::Read as _;
    let mut plain = Vec::new();
    let bound = u64::try_from(READ_AHEAD).unwrap_or(u64::MAX) * 8;
    // a body that does not inflate is judged by what did
    let _partly = flate2::read::GzDecoder::new(body)
        .take(bound)
        .read_to_end(&mut plain);
    plain
}
