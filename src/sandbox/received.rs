//! What reached the sandbox.
//!
//! Job: a bounded list of requests for tests, the demo and people, served as `GET /_sandbox/received?since=N`.
//! Invariants: a token is there as kind and fingerprint only; of header values only those in [`SHOWN`] are kept.
//! Failure mode: past [`KEPT`] entries the oldest are forgotten.

use std::collections::{BTreeMap, VecDeque};
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use aws_lc_rs::digest;
use bytes::{Bytes, BytesMut};
use http::HeaderMap;
use http_body::{Body as HttpBody, Frame, SizeHint};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use serde::Serialize;

use super::call::Call;
use super::world::{hex, lock};
use crate::secret::{Looks, fingerprint};

/// How many requests are remembered.
pub const KEPT: usize = 10_000;

/// Header fields whose values are kept: framing and routing, never a credential.
const SHOWN: [&str; 18] = [
    "accept-encoding",
    "connection",
    "content-encoding",
    "content-length",
    "content-type",
    "expect",
    "forwarded",
    "host",
    "te",
    "traceparent",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "user-agent",
    "via",
    "x-amz-date",
    "x-forwarded-for",
    "x-sandbox-note",
];

/// One request.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Received {
    /// Number of the request, from 1 without gaps.
    pub n: u64,
    /// When its head was read, RFC 3339.
    pub at: String,
    /// Number of the TLS connection it came on, from 1.
    pub connection: u64,
    /// Host or `:authority`, without port; empty where it was missing or contradictory.
    pub host: String,
    /// The `ClientHello`'s server name.
    pub sni: Option<String>,
    /// Method.
    pub method: String,
    /// Path and query, to the byte.
    pub target: String,
    /// `HTTP/1.1` or `HTTP/2.0`.
    pub version: String,
    /// Operation of SP-API, where the path is one.
    pub operation: Option<String>,
    /// Names of all header fields, one for each field line.
    pub header_names: Vec<String>,
    /// Values of the fields that cannot hold a credential.
    pub headers: BTreeMap<String, Vec<String>>,
    /// What was in `x-amz-access-token`.
    pub token: Option<Sighting>,
    /// What was in `authorization`.
    pub authorization: Option<Authorization>,
    /// Whose grant the token belongs to, once it was accepted.
    pub selling_partner: Option<String>,
    /// What was asked of LWA.
    pub exchange: Option<Exchange>,
    /// Whether a credential came to a document host.
    pub leak: bool,
    /// Bytes of the body that arrived.
    pub body_bytes: u64,
    /// SHA-256 of those bytes, hexadecimal; there once the body has ended.
    pub body_sha256: Option<String>,
    /// Whether the body was read to its end.
    pub body_complete: bool,
    /// Names of the request's trailer fields.
    pub trailer_names: Vec<String>,
    /// What was answered; `None` while it is being made, or where the connection was cut.
    pub status: Option<u16>,
    /// The fault that made the answer, if one did.
    pub fault: Option<String>,
}

/// A token seen: its kind and the end of its hash.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Sighting {
    /// `access`, `grantless`, `rdt`, `refresh`, `phantom` or `other`.
    pub kind: &'static str,
    /// As `secret::fingerprint` gives it.
    pub fingerprint: String,
}

impl Sighting {
    pub(super) fn of(text: &str) -> Self {
        Self {
            kind: Looks::of(text).as_str(),
            fingerprint: fingerprint(text),
        }
    }
}

/// An `authorization` field.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Authorization {
    /// `bearer`, `basic` or `other`.
    pub scheme: &'static str,
    /// What follows the scheme.
    pub token: Option<Sighting>,
    /// Whether it is what `x-amz-access-token` carries.
    pub same_token: bool,
}

/// A token request.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Exchange {
    /// `grant_type`.
    pub grant_type: String,
    /// Fingerprint of the client id.
    pub client: String,
    /// Fingerprint of the client secret.
    pub secret: String,
    /// The refresh token or code; `None` for client credentials.
    pub subject: Option<Sighting>,
    /// `ok`, or LWA's error.
    pub result: String,
}

/// The list.
#[derive(Clone, Debug, Default)]
pub(super) struct Log(Arc<Mutex<Ring>>);

#[derive(Debug, Default)]
struct Ring {
    last: u64,
    kept: VecDeque<Received>,
}

impl Log {
    /// Adds a request whose body is still to come.
    pub(super) fn open(&self, call: &Call, at: String) -> Entry {
        let mut ring = lock(&self.0);
        ring.last += 1;
        let n = ring.last;
        if ring.kept.len() == KEPT {
            ring.kept.pop_front();
        }
        ring.kept.push_back(describe(n, at, call));
        Entry {
            log: self.clone(),
            n,
        }
    }

    /// Everything after number `since`.
    pub(super) fn after(&self, since: u64) -> Vec<Received> {
        let ring = lock(&self.0);
        let newer = ring.kept.iter().filter(|received| received.n > since);
        newer.cloned().collect()
    }

    /// Forgets what there is; numbers go on.
    pub(super) fn clear(&self) {
        lock(&self.0).kept.clear();
    }
}

fn describe(n: u64, at: String, call: &Call) -> Received {
    let token = call.header("x-amz-access-token");
    let shown = SHOWN.iter().filter_map(|name| {
        let values: Vec<String> = call
            .headers
            .get_all(*name)
            .iter()
            .map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned())
            .collect();
        (!values.is_empty()).then(|| ((*name).to_owned(), values))
    });
    Received {
        n,
        at,
        connection: call.connection,
        host: call.host.clone(),
        sni: call.sni.clone(),
        method: call.method.to_string(),
        target: call.target.clone(),
        version: format!("{:?}", call.version),
        operation: None,
        header_names: names(&call.headers),
        headers: shown.collect(),
        token: token.map(Sighting::of),
        authorization: authorization(call, token),
        selling_partner: None,
        exchange: None,
        leak: false,
        body_bytes: 0,
        body_sha256: None,
        body_complete: false,
        trailer_names: Vec::new(),
        status: None,
        fault: None,
    }
}

fn authorization(call: &Call, token: Option<&str>) -> Option<Authorization> {
    let text = call.header("authorization")?;
    let (scheme, credential) = text.split_once(' ').unwrap_or((text, ""));
    let scheme = match scheme.to_ascii_lowercase().as_str() {
        "bearer" => "bearer",
        "basic" => "basic",
        _ => "other",
    };
    Some(Authorization {
        scheme,
        token: (!credential.is_empty()).then(|| Sighting::of(credential)),
        same_token: token == Some(credential),
    })
}

fn names(headers: &HeaderMap) -> Vec<String> {
    headers.iter().map(|(name, _)| name.to_string()).collect()
}

/// One request's place in the list.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    log: Log,
    n: u64,
}

impl Entry {
    /// Changes what is known of the request, unless it has been forgotten meanwhile.
    pub(super) fn note(&self, change: impl FnOnce(&mut Received)) {
        let mut ring = lock(&self.log.0);
        let known = ring
            .kept
            .binary_search_by_key(&self.n, |received| received.n);
        if let Ok(place) = known
            && let Some(received) = ring.kept.get_mut(place)
        {
            change(received);
        }
    }
}

/// A request's body that is counted and hashed while it is read.
pub(super) struct Tracked {
    inner: Incoming,
    entry: Entry,
    bytes: u64,
    hash: digest::Context,
    complete: bool,
    noted: bool,
}

impl Tracked {
    pub(super) fn new(inner: Incoming, entry: Entry) -> Self {
        Self {
            inner,
            entry,
            bytes: 0,
            hash: digest::Context::new(&digest::SHA256),
            complete: false,
            noted: false,
        }
    }

    /// Reads to the end; what is past `limit` is counted and hashed, but not kept.
    pub(super) async fn read(mut self, limit: usize) -> Held {
        let mut held = BytesMut::new();
        while let Some(frame) = self.frame().await {
            let Ok(frame) = frame else {
                break;
            };
            if let Some(bytes) = frame.data_ref()
                && held.len() + bytes.len() <= limit
            {
                held.extend_from_slice(bytes);
            }
        }
        self.note();
        Held {
            bytes: held.freeze(),
            length: self.bytes,
            sha256: hex(self.hash.clone().finish().as_ref()),
            complete: self.complete,
        }
    }

    fn note(&mut self) {
        if self.noted {
            return;
        }
        self.noted = true;
        let sha256 = hex(self.hash.clone().finish().as_ref());
        let (bytes, complete) = (self.bytes, self.complete);
        self.entry.note(|received| {
            received.body_bytes = bytes;
            received.body_sha256 = Some(sha256);
            received.body_complete = complete;
        });
    }
}

/// A body that has been read.
#[derive(Debug)]
pub(super) struct Held {
    /// What was kept of it.
    pub(super) bytes: Bytes,
    /// How long it was.
    pub(super) length: u64,
    /// SHA-256 of all of it, hexadecimal.
    pub(super) sha256: String,
    /// Whether it came to its end.
    pub(super) complete: bool,
}

impl Held {
    /// The body as JSON; null where it is none.
    pub(super) fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.bytes).unwrap_or_default()
    }
}

impl HttpBody for Tracked {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        task: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let polled = Pin::new(&mut self.inner).poll_frame(task);
        match &polled {
            Poll::Ready(Some(Ok(frame))) => {
                if let Some(bytes) = frame.data_ref() {
                    self.bytes += bytes.len() as u64;
                    self.hash.update(bytes);
                }
                if let Some(trailers) = frame.trailers_ref() {
                    let names = names(trailers);
                    self.entry.note(|received| received.trailer_names = names);
                }
                if self.inner.is_end_stream() {
                    self.complete = true;
                }
            }
            Poll::Ready(None) => {
                self.complete = true;
                self.note();
            }
            Poll::Ready(Some(Err(_))) => self.note(),
            Poll::Pending => {}
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

impl Drop for Tracked {
    fn drop(&mut self) {
        self.complete |= self.inner.is_end_stream();
        self.note();
    }
}
