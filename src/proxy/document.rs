//! Egress mode `document`: presigned URLs, never a credential.
//!
//! Job: relay GET, HEAD and PUT to exactly the URLs that SP-API handed to this tenant through this sidecar
//! ([`super::learn`] watches for them).
//! Invariants: framing, bytes and Content-Type are untouched; what was not handed out, or has expired, is refused.
//! Failure mode: `document_denied`.
//! Source: CONTRACT section 2.9.

use std::sync::Arc;

use http::{Method, Request};

use super::replay::Source;
use super::request::{Answer, whose};
use super::send;
use super::upload::Upload;
use super::{Connection, World, audited, head, standing};
use crate::outcome::{Failure, Reason};
use crate::telemetry::record::Record;

/// Proof that a document URL was handed out to this tenant. Only [`relay`] makes one.
#[derive(Debug)]
pub struct Allowed(());

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
    let tenant = whose(connection, world, &admitted).await?;
    record.tenant = Some(tenant.id.clone());
    standing::looked(&connection.shared().fleet).await;
    standing::check(&connection.shared().fleet, &tenant.id)?;
    standing::passed(&connection.shared().passes, &tenant).await?;
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
    audited::document(connection, world, &tenant, &admitted.method, record).await?;
    record.attempts = 1;
    let body = Source::new(
        admitted.body,
        0,
        Arc::clone(&record.bytes),
        &connection.shared().room,
    );
    let outbound = head::without_credential(
        &admitted.method,
        &admitted.target,
        &admitted.fields,
        &Allowed(()),
    );
    let received = send::send(connection, &outbound, &body, admitted.http2, record).await?;
    Ok(Answer::Upstream(received, None))
}
