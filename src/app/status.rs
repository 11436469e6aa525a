//! What `GET /api/v1/status` answers.
//!
//! Job: the sidecar's state as JSON, for people and for `ledger`.
//! Invariants: ids, templates, counts and times; no token, no path parameter, no query value.

use std::sync::Arc;

use serde_json::{Value, json};

use crate::catalog::Catalog;
use crate::config::{PolicyMode, Tenant};
use crate::outcome::Reason;
use crate::proxy::Shared;
use crate::telemetry::traffic::{Kind, Seen};
use crate::tenant::GrantKind;
use crate::token::AccessKey;

pub(super) fn status(shared: &Shared) -> Value {
    let world = shared.world.load_full();
    let mut tenants: Vec<&Arc<Tenant>> = world.tenants.values().collect();
    tenants.sort_by(|a, b| a.id.cmp(&b.id));
    let policy = match world.config.policy {
        PolicyMode::Enforce => "enforce",
        PolicyMode::Report => "report",
    };
    json!({
        "version": env!("CARGO_PKG_VERSION"),
        "release": &*shared.recorder.release,
        "generation": world.generation,
        "policy": policy,
        "routes": world.config.routes.len(),
        "tenants": tenants.into_iter().map(|tenant| of_tenant(shared, tenant)).collect::<Vec<_>>(),
        "traffic": shared.recorder.traffic.seen().iter().map(of_kind).collect::<Vec<_>>(),
        "log_lines_lost": shared.recorder.sink.lost(),
        "tasks": shared.tasks.running(),
    })
}

fn of_tenant(shared: &Shared, tenant: &Arc<Tenant>) -> Value {
    json!({
        "id": tenant.id.as_str(),
        "app": tenant.app.as_str(),
        "region": tenant.region.as_str(),
        "environment": tenant.environment.as_str(),
        "token_is_fresh": shared.tokens.is_fresh(&AccessKey::new(tenant, GrantKind::Refresh)),
    })
}

fn of_kind((kind, seen): &(Kind, Seen)) -> Value {
    let operation = Catalog::embedded()
        .by_template(&kind.method, &kind.template)
        .map(|operation| operation.operation_id.as_str());
    json!({
        "tenant": kind.tenant.as_str(),
        "method": kind.method.as_str(),
        "template": &*kind.template,
        "operation": operation,
        "requests": seen.requests,
        "refused": seen.refused,
        "would_refuse": seen.would_refuse,
        "reason": seen.reason.map(Reason::code),
        "last_seen": humantime::format_rfc3339_seconds(seen.last).to_string(),
    })
}
