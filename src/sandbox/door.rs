//! The way of one request through the sandbox.
//!
//! Order: switches, the list of what was received, faults, the name on the certificate, then the service that the host
//! stands for.

use std::sync::Arc;

use http::header::{CONTENT_LENGTH, DATE, HeaderValue, RETRY_AFTER};
use http::{HeaderName, Method, Request, StatusCode};
use http_body::Body as _;
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;

use super::body;
use super::call::{Call, Station};
use super::consent;
use super::control;
use super::document;
use super::echo;
use super::fault::LwaDown;
use super::gate::{self, on_sandbox};
use super::ledger::random_uuid;
use super::listener::Line;
use super::lwa;
use super::operation::Operation;
use super::plausible;
use super::received::{Entry, Tracked};
use super::respond::{self, Answer, Refusal};
use super::throttle::plan;
use super::trouble::{Fate, Forced};
use super::world::{World, lock};

const REQUEST_ID: HeaderName = HeaderName::from_static("x-amzn-requestid");
const RATE: HeaderName = HeaderName::from_static("x-amzn-ratelimit-limit");
/// Bodies of calls are read as JSON up to this size; more is counted, not kept.
const BODY_KEPT: usize = 4 * 1024 * 1024;

/// The connection is to be reset instead of an answer.
#[derive(Debug, thiserror::Error)]
#[error("reset on purpose")]
pub(super) struct Reset;

/// Answers one request.
pub(super) async fn serve(
    world: Arc<World>,
    line: Arc<Line>,
    request: Request<Incoming>,
) -> Result<Answer, Reset> {
    let (parts, incoming) = request.into_parts();
    let call = Call::read(parts, &line);
    let rest = call.path().strip_prefix("/_sandbox/");
    if let Some(rest) = rest.filter(|rest| control::is_switch(rest)) {
        return Ok(switch(&world, &call, rest, incoming).await);
    }
    let entry = world.received.open(&call, world.clock.timestamp());
    let request = Tracked::new(incoming, entry.clone());
    let patience = lock(&world.troubles).close_idle_after();
    if patience.is_some_and(|most| line.served() > most) {
        entry.note(|received| received.fault = Some("close_idle".to_owned()));
        return Err(line.reset());
    }
    let fate = lock(&world.troubles).befall(&call);
    if !fate.names.is_empty() {
        entry.note(|received| received.fault = Some(fate.names.join(",")));
    }
    if !fate.latency.is_zero() {
        tokio::time::sleep(fate.latency).await;
    }
    if fate.reset || matches!(fate.lwa_down, Some(LwaDown::Reset)) {
        return Err(line.reset());
    }
    let answer = route(&world, &call, request, &entry, &fate).await;
    let mut answer = finish(&call, answer, &entry, &fate);
    if fate.clock_skew != 0
        && let Ok(date) = HeaderValue::try_from(world.clock.http_date(fate.clock_skew))
    {
        answer.headers_mut().insert(DATE, date);
    }
    Ok(answer)
}

async fn switch(world: &World, call: &Call, rest: &str, incoming: Incoming) -> Answer {
    match Limited::new(incoming, BODY_KEPT).collect().await {
        Ok(body) => control::answer(world, call, rest, &body.to_bytes()),
        Err(_) => respond::bare(StatusCode::PAYLOAD_TOO_LARGE),
    }
}

async fn route(world: &World, call: &Call, request: Tracked, entry: &Entry, fate: &Fate) -> Answer {
    if let Some(forced) = &fate.answer {
        drop(request.read(0).await);
        return forced_answer(call, forced);
    }
    if call.host.is_empty() {
        return respond::html_error(StatusCode::BAD_REQUEST, "400 Bad Request");
    }
    if !call.sni_agrees() {
        return respond::html_error(StatusCode::MISDIRECTED_REQUEST, "421 Misdirected Request");
    }
    if let Some(rest) = call.path().strip_prefix("/_sandbox/") {
        return echo::answer(call, rest, request).await;
    }
    match call.station {
        Station::SpApi { .. } => {
            let held = request.read(BODY_KEPT).await;
            let outcome = gate::admit(world, call, &held, entry)
                .and_then(|admitted| plausible::answer(world, call, &admitted));
            let answer = outcome.unwrap_or_else(Refusal::into_answer);
            sign(world, call, answer)
        }
        Station::Lwa => {
            let held = request.read(BODY_KEPT).await;
            match fate.lwa_down {
                None | Some(LwaDown::Reset) => lwa::answer(world, call, &held, entry),
                Some(LwaDown::Refuse) => respond::lwa_error(
                    StatusCode::SERVICE_UNAVAILABLE,
                    "temporarily_unavailable",
                    "The authorization server is temporarily unavailable",
                ),
                Some(LwaDown::Hang) => std::future::pending().await,
            }
        }
        Station::Central => {
            let held = request.read(BODY_KEPT).await;
            consent::answer(world, call, &held)
        }
        Station::Documents => document::answer(world, call, request, entry).await,
        Station::Elsewhere => {
            respond::html_error(StatusCode::MISDIRECTED_REQUEST, "421 Misdirected Request")
        }
    }
}

fn forced_answer(call: &Call, forced: &Forced) -> Answer {
    let mut answer = match call.station {
        Station::SpApi { .. } => Refusal::of_status(forced.status, &forced.details).into_answer(),
        Station::Lwa => respond::lwa_error(forced.status, "server_error", &forced.details),
        Station::Documents | Station::Central | Station::Elsewhere => {
            respond::xml_error(forced.status, "InternalError", &forced.details)
        }
    };
    if let Some(seconds) = forced.retry_after {
        answer
            .headers_mut()
            .insert(RETRY_AFTER, HeaderValue::from(seconds));
    }
    add_request_id(&mut answer);
    answer
}

/// Adds what SP-API adds: a request id always, the rate limit on 20x, 400 and 404 only.
fn sign(world: &World, call: &Call, mut answer: Answer) -> Answer {
    add_request_id(&mut answer);
    let told = answer.status().is_success() || matches!(answer.status().as_u16(), 400 | 404);
    let operation = world.operations.find(&call.method, call.path());
    if told && let Some(value) = operation.and_then(|operation| rate(world, call, operation)) {
        answer.headers_mut().insert(RATE, value);
    }
    answer
}

fn rate(world: &World, call: &Call, operation: &Operation) -> Option<HeaderValue> {
    let (rate, _) = plan(operation, on_sandbox(call))?;
    let factor = lock(&world.troubles).throttle_factor().unwrap_or(1.0);
    HeaderValue::try_from(format!("{:?}", rate * factor)).ok()
}

fn add_request_id(answer: &mut Answer) {
    if let Ok(id) = HeaderValue::try_from(random_uuid()) {
        answer.headers_mut().insert(REQUEST_ID, id);
    }
}

/// Slows the body down, takes it away from HEAD, and writes down what was answered.
fn finish(call: &Call, mut answer: Answer, entry: &Entry, fate: &Fate) -> Answer {
    let status = answer.status().as_u16();
    entry.note(|received| received.status = Some(status));
    let length = answer.body().size_hint().exact();
    let head = call.method == Method::HEAD;
    let bodiless = matches!(
        answer.status(),
        StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED
    );
    let framed = (head || fate.bytes_per_second.is_some()) && !bodiless;
    if let Some(length) = length.filter(|_| framed) {
        let headers = answer.headers_mut();
        headers
            .entry(CONTENT_LENGTH)
            .or_insert(HeaderValue::from(length));
    }
    if head {
        *answer.body_mut() = body::empty();
    } else if let Some(pace) = fate.bytes_per_second {
        let whole = std::mem::replace(answer.body_mut(), body::empty());
        *answer.body_mut() = body::slow(whole, pace);
    }
    answer
}
