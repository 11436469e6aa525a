//! What `GET /api/v1/status` answers.
//!
//! Job: the sidecar's state as JSON, for people and for `ledger`.
//! Invariants: ids, templates, counts and times; no token, no path parameter, no query value.

use std::sync::Arc;

use serde_json::{Map, Value, json};

use super::action;
use crate::alert::Alert;
use crate::audit;
use crate::catalog::Catalog;
use crate::config::{PolicyMode, Tenant};
use crate::proxy::Shared;
use crate::store::fleet::Standing;
use crate::telemetry;
use crate::telemetry::traffic::kept::{Line, OpeningLine};
use crate::telemetry::traffic::{Kind, Seen};
use crate::tenant::GrantKind;
use crate::token::AccessKey;
use crate::verdict::due::Due;
use crate::verdict::report;

pub(super) fn status(shared: &Shared, dues: &[Due]) -> Value {
    let world = shared.world.load_full();
    let tenants = world.tenants.known();
    let glasses = shared.fleet.break_glasses();
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
        "tenants": tenants.iter().map(|tenant| of_tenant(shared, tenant)).collect::<Vec<_>>(),
        "fleet": {
            "known": shared.fleet.is_known(),
            "generation": shared.fleet.generation(),
            "members": shared.fleet.members(),
            "states": shared.fleet.standings().iter().map(|(tenant, standing)| (tenant.to_string(), of_standing(standing))).collect::<Map<_, _>>(),
            "break_glass": glasses.iter().map(action::shown).collect::<Vec<_>>(),
        },
        "traffic": shared.recorder.traffic.seen().iter().map(of_kind).collect::<Vec<_>>(),
        "due": dues.iter().map(|due| report::due(due, world.config.remind_within())).collect::<Vec<_>>(),
        "traffic_since": telemetry::clock(shared.recorder.traffic.seen_since()),
        "traffic_file": shared.recorder.traffic.standing(),
        "break_glass_seen": shared.recorder.traffic.openings().iter().map(OpeningLine::of).collect::<Vec<_>>(),
        "alerts": shared.alerts.active().iter().map(of_alert).collect::<Vec<_>>(),
        "audit": of_audit(&shared.audit.state()),
        "log_lines_lost": shared.recorder.sink.lost(),
        "tasks": shared.tasks.running(),
    })
}

fn of_alert(alert: &Alert) -> Value {
    json!({
        "alert": alert.kind.as_str(),
        "subject": &*alert.subject,
        "since": humantime::format_rfc3339_seconds(alert.since).to_string(),
        "detail": alert.detail,
        "runbook": alert.kind.runbook(),
    })
}

fn of_audit(state: &audit::State) -> Value {
    json!({
        "path": state.path.as_ref().map(|path| path.display().to_string()),
        "unavailable": state.unavailable,
        "seq": state.last.seq,
        "hash": state.last.hash.to_string(),
        "lines_lost": state.lost,
        "calls_refused": state.refused,
    })
}

fn of_tenant(shared: &Shared, tenant: &Arc<Tenant>) -> Value {
    json!({
        "id": tenant.id.as_str(),
        "app": tenant.app.as_str(),
        "region": tenant.region.as_str(),
        "environment": tenant.environment.as_str(),
        "state": shared.fleet.state(&tenant.id).as_str(),
        "preflight_pending": shared.passes.waits(tenant).is_some(),
        "token_is_fresh": shared.tokens.is_fresh(&AccessKey::new(tenant, GrantKind::Refresh)),
    })
}

fn of_standing(standing: &Standing) -> Value {
    json!({
        "state": standing.state.as_str(),
        "reason": standing.reason,
        "since": standing.since,
        "by": standing.by,
    })
}

fn of_kind(seen: &(Kind, Seen)) -> Value {
    let kind = &seen.0;
    let operation = Catalog::embedded()
        .by_template(&kind.method, &kind.template)
        .map(|operation| operation.operation_id.as_str());
    let mut line = json!(Line::of(seen));
    if let Some(line) = line.as_object_mut() {
        line.insert("operation".to_owned(), operation.into());
    }
    line
}
