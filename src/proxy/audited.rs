//! The audit's line of a call, before it leaves.
//!
//! Job: ask the audit for a line of every call that `audit.requests` names, and wait until it is on disk.
//! Invariants: a call that has to be audited and cannot be does not leave; a call that need not be costs one comparison; the
//! line names templates and data elements, never a path parameter or a value.
//! Failure mode: `audit_unavailable`.

use http::Method;

use super::request::Authorized;
use super::{Connection, World};
use crate::audit::{Call, Unavailable};
use crate::config::{AuditRequests, Tenant};
use crate::outcome::{Failure, Reason};
use crate::telemetry::record::Record;

/// After how many seconds a client may try again: the sidecar does so every second.
const RETRY_AFTER: u64 = 5;

/// Brings the line of a call for SP-API to disk, where one is wanted.
///
/// # Errors
/// When it cannot be.
pub(super) async fn call(
    connection: &Connection,
    world: &World,
    authorized: &Authorized,
    record: &mut Record,
) -> Result<(), Failure> {
    let route = authorized.route();
    if !is_wanted(world, route.restricted) {
        return Ok(());
    }
    let line = Call {
        method: authorized.method(),
        operation: &route.operation,
        template: &route.template,
        data_elements: route.rdt.as_ref().map(|rdt| &*rdt.data_elements),
        ..of(connection, authorized.tenant(), record)
    };
    Box::pin(written(connection, &line, &mut record.audited)).await
}

/// Brings the line of a document's download or upload to disk, where one is wanted. What a presigned URL leads to may be a
/// restricted report: not knowing, we take every download for one.
///
/// # Errors
/// When it cannot be.
pub(super) async fn document(
    connection: &Connection,
    world: &World,
    tenant: &Tenant,
    method: &Method,
    record: &mut Record,
) -> Result<(), Failure> {
    if !is_wanted(world, method == Method::GET) {
        return Ok(());
    }
    let line = Call {
        method,
        ..of(connection, tenant, record)
    };
    written(connection, &line, &mut record.audited).await
}

const fn is_wanted(world: &World, may_return_personal_data: bool) -> bool {
    match world.config.audit.requests {
        AuditRequests::Restricted => may_return_personal_data,
        AuditRequests::All => true,
        AuditRequests::None => false,
    }
}

fn of<'a>(connection: &'a Connection, tenant: &'a Tenant, record: &Record) -> Call<'a> {
    Call {
        request: record.id,
        tenant: &tenant.id,
        app: &tenant.app,
        client: connection.client,
        login: connection.login.tenant().is_some(),
        method: &Method::GET,
        host: &connection.host,
        operation: "document",
        template: "",
        data_elements: None,
    }
}

async fn written(
    connection: &Connection,
    line: &Call<'_>,
    audited: &mut bool,
) -> Result<(), Failure> {
    let _held = connection.pulse.hold();
    let audit = &connection.shared().audit;
    // one that was refused at once has no line, and wants none of its end
    let pending = audit
        .before_call(line)
        .map_err(|error| unavailable(&error))?;
    *audited = true;
    pending.on_disk().await.map_err(|error| unavailable(&error))
}

fn unavailable(error: &Unavailable) -> Failure {
    Failure::new(
        Reason::AuditUnavailable,
        "This call can return personal data, and the audit cannot be written now: nobody could say later who read it.",
        format!("audit: {}. Such calls are refused until the audit's file can be written again; the others go on. The sidecar's log says what is wrong.", error.cause),
    )
    .retry_after(RETRY_AFTER)
}
