//! Break-glass on the walk.
//!
//! Job: where the route policy says no, ask the tenant's break-glasses.
//! Invariants: asked only after policy has refused for want of a route or a scope; every use is said.

use std::sync::Arc;

use http::Method;

use super::Shared;
use crate::config::Tenant;
use crate::outcome::Reason;
use crate::policy::{Ask, Refusal, Route};
use crate::store::fleet::BreakGlass;
use crate::telemetry;
use crate::telemetry::event::{BreakGlassPhase, Event};

/// The route of a break-glass for a request that policy refused.
pub(super) fn route(shared: &Shared, ask: &Ask<'_>, refusal: &Refusal) -> Option<Arc<Route>> {
    if !matches!(refusal.reason, Reason::RouteDenied | Reason::ScopeDenied) {
        return None;
    }
    let openings = shared.fleet.openings(&ask.tenant.id)?;
    let now = telemetry::now();
    let used = openings
        .iter()
        .find_map(|opening| Some((opening, opening.route(ask, now)?)));
    let (opening, route) = used?;
    say(shared, &opening.glass);
    Some(route)
}

/// Whether a break-glass covers a restricted resource that the routes do not.
pub(super) fn covers(
    shared: &Shared,
    tenant: &Tenant,
    method: &Method,
    path: &str,
    elements: &[&str],
) -> bool {
    let now = telemetry::now();
    shared.fleet.openings(&tenant.id).is_some_and(|openings| {
        openings
            .iter()
            .any(|opening| opening.covers(tenant, method, path, elements, now))
    })
}

fn say(shared: &Shared, glass: &BreakGlass) {
    shared.recorder.events.note(&Event::BreakGlass {
        tenant: &glass.tenant,
        allow: &glass.allow,
        what: BreakGlassPhase::Used,
        reason: &glass.reason,
        by: &glass.by,
    });
}
