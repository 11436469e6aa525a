//! Send: one attempt, and what its answer calls for.
//!
//! Job: hand an [`Outbound`] to the core's client; judge the answer; decide between return, replay and pause.
//! Invariants: this is the only caller of the upstream client on the walk; a token is replaced at most once for a request; the
//! waits of one request together stay within `throttle.max_wait`; what cannot be replayed is not.
//! Source: CONTRACT section 3.4.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::response::Parts;
use http::{HeaderValue, StatusCode, header};
use http_body_util::BodyExt as _;
use tokio::time::Instant;
use tracing::Instrument as _;

use super::credential::Credential;
use super::head::Outbound;
use super::replay::{Replay, Source};
use super::request::Authorized;
use super::{Connection, Shared, respond};
use crate::config::{Throttle, ThrottleMode};
use crate::outcome::{Denial, Failure, Reason};
use crate::pace::Lane;
use crate::telemetry::event::Event;
use crate::telemetry::record::Record;
use crate::telemetry::trace::{self, Step};
use crate::token::judge::{self, Call, Meaning, READ_AHEAD};
use crate::upstream::SendError;
use crate::upstream::client::Manner;
use crate::upstream::streamed::Streamed;

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
    outbound: &Outbound<'_>,
    body: &Source,
    http2: bool,
    record: &mut Record,
) -> Result<Received, Failure> {
    let _held = connection.pulse.hold();
    let progress = Arc::clone(&record.bytes);
    let manner = Manner {
        http2,
        repeatable: outbound.is_safe() && body.is_empty(),
        progress: &progress.inward,
    };
    let span = Step::Send.span();
    let from = Instant::now();
    let sent = pin!(
        connection
            .worker
            .client
            .send(&connection.target, manner, || {
                body.again().map(|body| outbound.request(body))
            })
    );
    let sent = sent.instrument(span.clone()).await;
    record.upstream += from.elapsed();
    if let Ok(received) = &sent {
        trace::note_status(&span, received.status().as_u16());
    }
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
    lane: Option<Arc<Lane>>,
    waited: Duration,
    throttled: u32,
    token_replaced: bool,
}

/// First bound of the back-off after a 429.
const FIRST_BACKOFF: Duration = Duration::from_millis(500);

/// No 429 is followed up sooner.
const SHORTEST_PAUSE: Duration = Duration::from_millis(50);

/// Where SP-API tells the rate of an operation, in requests a second.
const RATE_FIELD: &str = "x-amzn-ratelimit-limit";

impl Retry {
    /// Starts with nothing spent. `lane` is the request's quota, where requests are paced.
    #[must_use]
    pub const fn new(throttle: Throttle, lane: Option<Arc<Lane>>) -> Self {
        Self {
            throttle,
            lane,
            waited: Duration::ZERO,
            throttled: 0,
            token_replaced: false,
        }
    }

    /// The request's quota.
    #[must_use]
    pub const fn lane(&self) -> Option<&Arc<Lane>> {
        self.lane.as_ref()
    }

    /// How much longer the request may be held.
    #[must_use]
    pub const fn patience(&self) -> Duration {
        self.throttle.max_wait.saturating_sub(self.waited)
    }

    /// Counts a wait against the bound.
    pub const fn has_waited(&mut self, wait: Duration) {
        self.waited = self.waited.saturating_add(wait);
    }

    pub(super) async fn judge(
        &mut self,
        mut received: Received,
        authorized: &Authorized,
        credential: &Credential,
        shared: &Shared,
        record: &Record,
    ) -> Result<Next, Failure> {
        let said = read_ahead(&mut received)
            .await
            .map_err(|error| respond::not_sent(SendError::Broken(error), &record.host))?;
        let tenant = &authorized.tenant().id;
        let denial = match self.meaning(&received.parts, &said, authorized, credential) {
            Meaning::Denied(denial) => denial,
            Meaning::Taken => {
                credential.accepted();
                shared.incidents.taken(tenant, credential.kind);
                return Ok(Next::Return(Box::new(received)));
            }
            Meaning::Neutral | Meaning::Trouble => return Ok(Next::Return(Box::new(received))),
            Meaning::Malformed => {
                tracing::warn!(request_id = %record.id, %tenant, operation = %authorized.route().operation, "Amazon's gateway did not understand the request: it answered 400 with a page before SP-API saw it");
                return Ok(Next::Return(Box::new(received)));
            }
        };
        shared.recorder.events.note(&Event::Denied {
            tenant,
            operation: &authorized.route().operation,
            status: received.parts.status.as_u16(),
            denial,
            token_kind: credential.kind,
        });
        match denial {
            Denial::Unauthenticated | Denial::TokenExpired | Denial::TokenInvalid => self.replace(
                &said,
                &received.parts,
                authorized,
                credential,
                shared,
                record,
            ),
            Denial::Throttled => Ok(self.back_off(received, authorized.body())),
            Denial::ThrottledAsForbidden => {
                self.is_throttled(floor(&received.parts));
                Ok(Next::Return(Box::new(received)))
            }
            // the alert says what to do
            Denial::SecretLapsed
            | Denial::Role
            | Denial::WrongKind
            | Denial::UnknownPath
            | Denial::TokenMissing
            | Denial::Forbidden
            | Denial::Region
            | Denial::VendorLink
            | Denial::DataElements => Ok(Next::Return(Box::new(received))),
        }
    }

    /// What an answer means; its rate is learnt on the way.
    fn meaning(
        &self,
        parts: &Parts,
        said: &[u8],
        authorized: &Authorized,
        credential: &Credential,
    ) -> Meaning {
        let meaning = judge::judge(
            parts.status.as_u16(),
            parts
                .headers
                .get(header::CONTENT_TYPE)
                .map(HeaderValue::as_bytes),
            said,
            &Call {
                method: authorized.method(),
                path: authorized.target().path(),
                token_kind: credential.kind,
                throttled_lately: self
                    .lane
                    .as_ref()
                    .is_some_and(|lane| lane.was_throttled_lately()),
            },
        );
        if let (Some(lane), Meaning::Taken | Meaning::Neutral) = (&self.lane, meaning) {
            lane.answered(number(parts, RATE_FIELD));
            if self.throttled > 0 {
                lane.relents();
            }
        }
        meaning
    }

    /// A refused token is dropped, and the request repeated with another one, once.
    fn replace(
        &mut self,
        said: &[u8],
        parts: &Parts,
        authorized: &Authorized,
        credential: &Credential,
        shared: &Shared,
        record: &Record,
    ) -> Result<Next, Failure> {
        let fresh_may_help = credential.refused(&shared.tokens);
        let tenant = &authorized.tenant().id;
        let said = crate::redact::text(&String::from_utf8_lossy(said));
        tracing::warn!(request_id = %record.id, %tenant, operation = %authorized.route().operation, status = parts.status.as_u16(), kind = credential.kind, said, "Amazon refused a token");
        if self.token_replaced || !fresh_may_help {
            shared.incidents.refused(tenant, credential.kind);
        }
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
        let floor = floor(&received.parts);
        self.is_throttled(floor);
        let last = self.throttled + 1 >= self.throttle.max_attempts;
        if self.throttle.mode == ThrottleMode::Pass || last || !body.may_replay() {
            return Next::Return(Box::new(received));
        }
        let bound = FIRST_BACKOFF.saturating_mul(1 << self.throttled.min(10));
        let pause = bound
            .mul_f64(rand::random::<f64>())
            .max(floor.max(SHORTEST_PAUSE));
        if pause > self.patience() {
            return Next::Return(Box::new(received));
        }
        self.throttled += 1;
        self.has_waited(pause);
        Next::After(pause)
    }

    fn is_throttled(&self, pause: Duration) {
        if let Some(lane) = &self.lane {
            lane.throttled(pause);
        }
    }
}

/// The shortest pause that an answer asks for; at most an hour is believed.
fn floor(parts: &Parts) -> Duration {
    let asked = number(parts, header::RETRY_AFTER.as_str()).unwrap_or(0.0);
    let rate = number(parts, RATE_FIELD).map_or(0.0, |rate| 1.0 / rate);
    Duration::from_secs_f64(asked.max(rate).clamp(0.0, 3600.0))
}

/// A field that holds a positive number.
fn number(parts: &Parts, name: &str) -> Option<f64> {
    let text = parts.headers.get(name)?.to_str().ok()?;
    let number = text.trim().parse::<f64>().ok()?;
    (number.is_finite() && number > 0.0).then_some(number)
}

/// Reads a 401 or a 403 as far as needed to judge it, and inflates it. What was read is kept for the client.
async fn read_ahead(received: &mut Received) -> Result<Vec<u8>, hyper::Error> {
    if !matches!(
        received.parts.status,
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN
    ) {
        return Ok(Vec::new());
    }
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
    let gzip = received
        .parts
        .headers
        .get(header::CONTENT_ENCODING)
        .is_some_and(|coding| coding.as_bytes().eq_ignore_ascii_case(b"gzip"));
    Ok(if gzip { inflate(&body) } else { body })
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pause_that_an_answer_asks_for_is_believed_up_to_an_hour_and_no_nonsense_is() {
        for (after, rate, want_ms) in [
            (None, None, 0),
            (Some("2"), None, 2_000),
            (None, Some("0.5"), 2_000),
            (Some("1"), Some("0.25"), 4_000),
            (Some(" 3 "), Some("10"), 3_000),
            (Some("86400"), None, 3_600_000),
            (None, Some("0.0000001"), 3_600_000),
            (Some("-1"), Some("0"), 0),
            (Some("NaN"), Some("inf"), 0),
            (Some("Wed, 21 Oct 2026 07:28:00 GMT"), Some(""), 0),
        ] {
            let (mut parts, ()) = http::Response::new(()).into_parts();
            for (name, value) in [("retry-after", after), (RATE_FIELD, rate)] {
                if let Some(value) = value {
                    let value = HeaderValue::from_str(value).unwrap();
                    parts.headers.insert(name, value);
                }
            }
            assert_eq!(floor(&parts).as_millis(), want_ms, "{after:?} {rate:?}");
        }
    }
}
