//! Egress mode `document`: presigned URLs, never a credential.
//!
//! Job: relay GET, HEAD and PUT to exactly the URLs that SP-API handed to this tenant through this sidecar; and watch answers
//! of SP-API for such URLs.
//! Invariants: framing, bytes and Content-Type are untouched; what was not handed out, or has expired, is refused; of an
//! answer that is watched no byte is held back.
//! Failure mode: `document_denied`. An answer too large to watch teaches nothing.
//! Source: CONTRACT section 2.9.

use std::sync::Arc;

use bytes::Bytes;
use http::{Method, Request, header};

use super::answer::Witness;
use super::replay::Source;
use super::request::{Answer, Authorized, whose};
use super::send::{self, Received, inflate};
use super::upload::Upload;
use super::{Connection, Shared, World, head};
use crate::config::EgressMode;
use crate::document::urls;
use crate::outcome::{Failure, Reason};
use crate::telemetry::record::Record;
use crate::tenant::TenantId;

/// Proof that a document URL was handed out to this tenant. Only [`relay`] makes one.
#[derive(Debug)]
pub struct Allowed(());

/// Largest answer that is watched for URLs: an answer with a presigned URL is a few kilobytes.
const WATCHED_BYTES: usize = 256 << 10;

/// Serves one request for a document.
pub(super) async fn relay(
    connection: &Connection,
    world: &World,
    request: Request<Upload>,
    record: &mut Record,
) -> Result<Answer, Failure> {
    record.path = "/…".to_owned();
    record.operation = "document".into();
    let admitted = head::admit(connection, request, world.config.listen.limits.header_bytes)?;
    let tenant = whose(connection, world, &admitted)?;
    record.tenant = Some(tenant.id.clone());
    let method_fits = matches!(admitted.method, Method::GET | Method::HEAD | Method::PUT);
    let handed_out = connection.shared().documents.may_use(
        &tenant.id,
        &connection.target,
        admitted.target.as_str(),
        crate::telemetry::now(),
    );
    if !(method_fits && handed_out) {
        return Err(Failure::new(
            Reason::DocumentDenied,
            "This document URL was not handed to this tenant through this sidecar, or has expired.",
            "Ask SP-API for the document (getReportDocument, createFeedDocument, …) through the sidecar and use exactly the URL it answers, with GET, HEAD or PUT, within its minutes.",
        ));
    }
    record.attempts = 1;
    let outbound = head::without_credential(&admitted, &Allowed(()));
    let body = Source::new(admitted.body, 0, Arc::clone(&record.bytes));
    let received = send::send(connection, &outbound, &body, admitted.http2, record).await?;
    Ok(Answer::Upstream(received, None))
}

/// A witness for answers that may hand out a document URL: JSON, not too large, where a `document` rule exists at all.
pub(super) fn witness(
    connection: &Connection,
    world: &World,
    authorized: &Authorized,
    received: &Received,
) -> Option<Box<dyn Witness>> {
    let fields = &received.parts.headers;
    let is_json = fields
        .get(header::CONTENT_TYPE)
        .is_some_and(|value| value.as_bytes().starts_with(b"application/json"));
    let length: Option<usize> = fields
        .get(header::CONTENT_LENGTH)
        .and_then(|value| value.to_str().ok())
        .and_then(|text| text.parse().ok());
    let has_rule = world
        .config
        .egress
        .iter()
        .any(|rule| rule.mode == EgressMode::Document);
    if !(received.parts.status.is_success() && is_json && has_rule)
        || length.is_some_and(|length| length > WATCHED_BYTES)
    {
        return None;
    }
    let gzip = fields
        .get(header::CONTENT_ENCODING)
        .is_some_and(|coding| coding.as_bytes().eq_ignore_ascii_case(b"gzip"));
    let tenant = authorized.tenant().id.clone();
    Some(Box::new(Watch {
        shared: Arc::clone(connection.shared()),
        tenant,
        gzip,
        parts: Vec::new(),
        bytes: 0,
    }))
}

/// Remembers an answer as it streams, and learns its URLs at the end.
#[derive(Debug)]
struct Watch {
    shared: Arc<Shared>,
    tenant: TenantId,
    gzip: bool,
    parts: Vec<Bytes>,
    bytes: usize,
}

impl Witness for Watch {
    fn part(&mut self, data: &Bytes) {
        self.bytes += data.len();
        if self.bytes > WATCHED_BYTES {
            self.parts = Vec::new();
        } else {
            self.parts.push(data.clone());
        }
    }

    fn whole(&mut self) {
        if self.bytes > WATCHED_BYTES {
            return;
        }
        let joined;
        let mut body: &[u8] = match &*self.parts {
            [one] => one,
            parts => {
                joined = parts.concat();
                &joined
            }
        };
        let plain;
        if self.gzip {
            plain = inflate(body);
            body = &plain;
        }
        // JSON is UTF-8 (RFC 8259 section 8.1)
        let Ok(text) = std::str::from_utf8(body) else {
            return;
        };
        if !mentions_a_url(text) {
            return;
        }
        let Ok(json) = serde_json::from_str(text) else {
            return;
        };
        let mut found = Vec::new();
        urls(&json, &mut found);
        for url in found {
            self.shared
                .documents
                .learn(&self.tenant, &url, crate::telemetry::now());
        }
    }
}

/// Most answers hold no URL: then nothing is parsed. What follows the colon may be escaped.
fn mentions_a_url(body: &str) -> bool {
    body.contains("https:")
}
