//! What answers of SP-API teach, as they stream by.
//!
//! Job: watch for presigned URLs, which open the document hosts, and for the types of reports, which say whether their
//! documents need an RDT.
//! Invariants: no byte of an answer is held back for it; nothing is learnt from an answer that did not end well; only JSON is
//! read, and of a request only what was kept for its replay.
//! Failure mode: an answer too large to watch teaches nothing.
//! Source: CONTRACT sections 2.9 and 3.5.

use std::sync::{Arc, LazyLock};

use bytes::Bytes;
use http::header;
use memchr::memmem::Finder;
use serde_json::Value;

use super::answer::Witness;
use super::replay::Source;
use super::request::Authorized;
use super::send::{Received, inflate};
use super::{Connection, Shared, World};
use crate::config::EgressMode;
use crate::document::{ENCODED, Where, urls};
use crate::tenant::TenantId;

/// Largest answer that is watched: one with a presigned URL is a few kilobytes, a page of reports a few tens.
const WATCHED_BYTES: usize = 256 << 10;

/// What an answer may teach of reports.
#[derive(Debug)]
enum Report {
    /// createReport: the type stands in the request.
    Created(Source),
    /// getReport and getReports.
    Told,
}

/// A witness for answers that may teach something: JSON, not too large.
pub(super) fn witness(
    connection: &Connection,
    world: &World,
    authorized: &Authorized,
    received: &Received,
) -> Option<Box<dyn Witness>> {
    let report = match &*authorized.route().operation {
        "createReport" => Some(Report::Created(authorized.body().clone())),
        "getReport" | "getReports" => Some(Report::Told),
        _ => None,
    };
    let mut rules = world.config.egress.iter();
    let urls = handed_out_where(authorized)
        .filter(|_place| rules.any(|rule| rule.mode == EgressMode::Document));
    if !(urls.is_some() || report.is_some()) || !received.parts.status.is_success() {
        return None;
    }
    let fields = &received.parts.headers;
    let is_json = fields
        .get(header::CONTENT_TYPE)
        .is_some_and(|value| value.as_bytes().starts_with(b"application/json"));
    let length: Option<usize> = fields
        .get(header::CONTENT_LENGTH)
        .and_then(|value| value.to_str().ok())
        .and_then(|text| text.parse().ok());
    if !is_json || length.is_some_and(|length| length > WATCHED_BYTES) {
        return None;
    }
    let gzip = fields
        .get(header::CONTENT_ENCODING)
        .is_some_and(|coding| coding.as_bytes().eq_ignore_ascii_case(b"gzip"));
    Some(Box::new(Watch {
        shared: Arc::clone(connection.shared()),
        tenant: authorized.tenant().id.clone(),
        urls,
        report,
        gzip,
        parts: Vec::new(),
        bytes: 0,
    }))
}

/// Where the answer to a request may hold the URL of a document; `None` where nowhere. Those of operations that hand documents
/// out, in the field where they do, since any other field may hold what a program, a seller or a buyer wrote there. Of an operation
/// that the catalog does not know, and that a route allows all the same, every field is taken.
fn handed_out_where(authorized: &Authorized) -> Option<Where> {
    match authorized.operation() {
        Some(operation) => operation.document_field().map(Where::Field),
        None => Some(Where::Anywhere),
    }
}

/// Remembers an answer as it streams, and learns from it at the end.
#[derive(Debug)]
struct Watch {
    shared: Arc<Shared>,
    tenant: TenantId,
    /// Where URLs are looked for.
    urls: Option<Where>,
    report: Option<Report>,
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
        let place = self.urls.filter(|_place| mentions_a_url(body));
        if place.is_none() && self.report.is_none() {
            return;
        }
        let Ok(json) = serde_json::from_slice(body) else {
            return;
        };
        if let Some(place) = place {
            self.learn_urls(&json, place);
        }
        if let Some(report) = &self.report {
            self.learn_report(report, &json);
        }
    }
}

impl Watch {
    fn learn_urls(&self, json: &Value, place: Where) {
        for url in urls(json, place) {
            self.shared
                .documents
                .learn(&self.tenant, &url, crate::telemetry::now());
        }
    }

    fn learn_report(&self, report: &Report, json: &Value) {
        let reports = &self.shared.reports;
        match report {
            Report::Told => reports.told(&self.tenant, json),
            Report::Created(body) => {
                let kept = body.kept().unwrap_or_default();
                if let Ok(request) = serde_json::from_slice(&kept) {
                    reports.created(&self.tenant, &request, json);
                }
            }
        }
    }
}

/// Most answers hold no URL: then nothing is parsed. What follows the colon may be escaped.
fn mentions_a_url(body: &[u8]) -> bool {
    static WRITTEN_OUT: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new("https:"));
    static IN_BASE64: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(ENCODED));
    WRITTEN_OUT.find(body).is_some() || IN_BASE64.find(body).is_some()
}
