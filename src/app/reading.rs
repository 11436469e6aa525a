//! What metrics show of the present.
//!
//! Job: answer for the rooms that the composition alone knows together: connections, tokens, tenants, lost lines.
//! Invariants: asked at a scrape alone; ids, closed words and numbers.

use std::sync::Arc;
use std::time::Duration;

use super::alerting::Dues;
use crate::proxy::Shared;
use crate::telemetry::metrics::Metrics;
use crate::telemetry::metrics::reading::Readings;
use crate::tenant::{AppId, TenantId};
use crate::verdict::due::{Due, DueKind};

/// Lets the metrics ask.
pub(super) fn answer(metrics: &Metrics, shared: &Arc<Shared>, dues: &Dues) {
    let (shared, dues) = (Arc::clone(shared), Arc::clone(dues));
    metrics.ask(move |readings| {
        read(&shared, readings);
        note_days(&dues(), readings);
    });
}

/// Days left, by what ends.
fn note_days(dues: &[Due], readings: &mut Readings) {
    for due in dues {
        let (app, tenant) = (AppId::parse(&due.subject), TenantId::parse(&due.subject));
        let days = due.days_left;
        match (due.what, app, tenant) {
            (DueKind::ChargeMethod, Ok(app), _) => {
                readings.charge_method_days.insert(app, days);
            }
            (DueKind::ClientSecret, Ok(app), _) => {
                readings.client_secret_days.insert(app, days);
            }
            (DueKind::Authorization, _, Ok(tenant)) => {
                readings.authorization_days.insert(tenant, days);
            }
            (
                DueKind::ChargeMethod
                | DueKind::ClientSecret
                | DueKind::Authorization
                | DueKind::ProfileReview
                | DueKind::Ca,
                _,
                _,
            ) => {}
        }
    }
}

fn read(shared: &Shared, readings: &mut Readings) {
    let world = shared.world.load();
    let most = world.config.listen.limits.max_connections;
    readings.connections = most.saturating_sub(shared.permits.available_permits());
    readings.log_lines_lost = shared.recorder.sink.lost();
    for (tenant, kind, life) in shared.tokens.lives() {
        if world.tenants.get(&tenant).is_some() {
            readings.token(tenant, kind, life);
        }
    }
    let known = world.tenants.known();
    for tenant in &known {
        let access = (tenant.id.clone(), "access");
        readings.tokens.entry(access).or_insert(Duration::ZERO);
    }
    for (tenant, standing) in shared.fleet.standings() {
        readings.states.insert(tenant, standing.state);
    }
    for alert in shared.alerts.active() {
        let about = (alert.kind.as_str(), alert.subject.to_string());
        readings.alerts.insert(about, true);
    }
    readings.tenants = Some(known.iter().map(|tenant| tenant.id.clone()).collect());
}
