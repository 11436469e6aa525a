//! Endpoints for tests of byte-exactness and framing, on every host, below `/_sandbox/`.
//!
//! | path | what it does |
//! |---|---|
//! | `echo…` | streams the request's body back, trailers too |
//! | `sink…` | counts and hashes the body, answers JSON `{bytes, sha256, complete, method, target, version, header_names}` |
//! | `body/N?seed=S` | streams N pseudo-random bytes; `chunked=1` without a Content-Length |
//! | `status/CODE` | that status; `early=1` before the request's body is read; `location=URL` for a redirect |
//! | `trailers` | a chunked body of eight bytes and the trailer field `x-sandbox-trailer: end` |
//! | `truncate/N` | announces N bytes, sends half and breaks off |
//!
//! No token is checked here; every request is in the list of what was received.

use bytes::Bytes;
use futures_util::stream;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, HeaderValue, LOCATION, TRAILER};
use http::{HeaderMap, Response, StatusCode};
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use serde_json::json;

use super::body::{self, Body, BodyError, Filling};
use super::call::Call;
use super::received::Tracked;
use super::respond::{self, Answer};

/// Answers a request below `/_sandbox/`.
pub(super) async fn answer(call: &Call, rest: &str, request: Tracked) -> Answer {
    let (what, argument) = rest.split_once('/').unwrap_or((rest, ""));
    match what {
        "echo" => echo(call, request),
        "sink" => sink(call, request).await,
        "body" => {
            drop(request.read(0).await);
            noise(call, argument)
        }
        "status" => status(call, argument, request).await,
        "trailers" => {
            drop(request.read(0).await);
            trailers()
        }
        "truncate" => {
            drop(request.read(0).await);
            truncated(argument)
        }
        _ => respond::json(
            StatusCode::NOT_FOUND,
            &json!({"error": "no such endpoint", "endpoints": [
                "faults", "received", "grants", "apps", "echo", "sink", "body/N", "status/CODE", "trailers", "truncate/N"
            ]}),
        ),
    }
}

fn echo(call: &Call, request: Tracked) -> Answer {
    let mut answer = Response::new(request.map_err(BodyError::from).boxed_unsync());
    for name in [CONTENT_TYPE, CONTENT_LENGTH] {
        if let Some(value) = call.headers.get(&name) {
            answer.headers_mut().insert(name, value.clone());
        }
    }
    answer
}

async fn sink(call: &Call, request: Tracked) -> Answer {
    let held = request.read(0).await;
    let names: Vec<&str> = call.headers.keys().map(http::HeaderName::as_str).collect();
    respond::json(
        StatusCode::OK,
        &json!({
            "bytes": held.length,
            "sha256": held.sha256,
            "complete": held.complete,
            "method": call.method.as_str(),
            "target": call.target,
            "version": format!("{:?}", call.version),
            "header_names": names,
        }),
    )
}

fn noise(call: &Call, length: &str) -> Answer {
    let Ok(length) = length.parse() else {
        return respond::bare(StatusCode::BAD_REQUEST);
    };
    let seed = call.parameter("seed");
    let seed = seed.and_then(|seed| seed.parse().ok()).unwrap_or_default();
    let mut body = body::generated(Filling::Noise(seed), length);
    if call.parameter("chunked").is_some() {
        body = without_length(body);
    }
    let mut answer = Response::new(body);
    answer.headers_mut().insert(
        CONTENT_TYPE,
        HeaderValue::from_static("application/octet-stream"),
    );
    answer
}

fn without_length(body: Body) -> Body {
    let frames = stream::unfold(body, |mut body| async move {
        let frame = body.frame().await?;
        Some((frame, body))
    });
    StreamBody::new(frames).boxed_unsync()
}

async fn status(call: &Call, code: &str, request: Tracked) -> Answer {
    let code = code
        .parse()
        .ok()
        .and_then(|code| StatusCode::from_u16(code).ok());
    let Some(status) = code.filter(|code| code.as_u16() >= 200) else {
        return respond::bare(StatusCode::BAD_REQUEST);
    };
    if call.parameter("early").is_none() {
        drop(request.read(0).await);
    }
    let bodiless = matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
    let mut answer = if bodiless {
        respond::bare(status)
    } else {
        respond::json(status, &json!({"status": status.as_u16()}))
    };
    let location = call.parameter("location");
    if let Some(location) = location.and_then(|url| HeaderValue::try_from(url).ok()) {
        answer.headers_mut().insert(LOCATION, location);
    }
    answer
}

fn trailers() -> Answer {
    let mut fields = HeaderMap::new();
    fields.insert("x-sandbox-trailer", HeaderValue::from_static("end"));
    let frames: [Result<_, BodyError>; 2] = [
        Ok(Frame::data(Bytes::from_static(b"trailing"))),
        Ok(Frame::trailers(fields)),
    ];
    let mut answer = Response::new(StreamBody::new(stream::iter(frames)).boxed_unsync());
    let headers = answer.headers_mut();
    headers.insert(TRAILER, HeaderValue::from_static("x-sandbox-trailer"));
    answer
}

fn truncated(length: &str) -> Answer {
    let Ok(length) = length.parse::<u64>() else {
        return respond::bare(StatusCode::BAD_REQUEST);
    };
    let half = body::generated(Filling::Noise(0), length / 2);
    let frames = stream::unfold(Some(half), |half| async move {
        let mut half = half?;
        match half.frame().await {
            Some(frame) => Some((frame, Some(half))),
            // let what was sent be flushed before the connection goes down
            None => {
                tokio::time::sleep(std::time::Duration::from_millis(50)).await;
                Some((Err(BodyError::from("broken off on purpose")), None))
            }
        }
    });
    let mut answer = Response::new(StreamBody::new(frames).boxed_unsync());
    answer
        .headers_mut()
        .insert(CONTENT_LENGTH, HeaderValue::from(length));
    answer
}
