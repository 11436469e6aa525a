//! What was refused lately, and what would allow it.
//!
//! Job: a row for each kind of call that policy refused, and one for each tenant that is not served at all, the latest first.
//! Invariants: ids, templates, codes and counts; at most [`MOST`] rows.

use std::cmp::Reverse;
use std::time::{Duration, SystemTime};

use crate::admin::console::view::Refused;
use crate::catalog::Catalog;
use crate::outcome::Reason;
use crate::proxy::Shared;
use crate::telemetry;
use crate::telemetry::traffic::{Kind, Seen};
use crate::tenant::TenantState;
use crate::verdict::recent::Stopped;
use crate::verdict::report::Checked;

/// How far back they are shown.
const LATELY: Duration = Duration::from_mins(15);

/// Most rows.
const MOST: usize = 30;

/// The rows.
pub(super) fn rows(shared: &Shared, tenants: &[Checked], now: SystemTime) -> Vec<Refused> {
    let lately = |last: SystemTime| now.duration_since(last).unwrap_or_default() < LATELY;
    let kinds = shared.recorder.traffic.seen();
    let by_policy = kinds
        .iter()
        .filter(|(_, seen)| seen.refused > 0 && lately(seen.last))
        .map(|(kind, seen)| (seen.last, of_kind(kind, seen)));
    let by_state = tenants.iter().flat_map(|one| {
        let stopped = one.facts.recent.stopped(now);
        stopped
            .filter(|stopped| is_state(stopped.reason) && lately(stopped.last))
            .map(|stopped| (stopped.last, of_state(one, stopped)))
    });
    let mut rows: Vec<(SystemTime, Refused)> = by_policy.chain(by_state).collect();
    rows.sort_by_key(|(last, _)| Reverse(*last));
    rows.truncate(MOST);
    rows.into_iter().map(|(_, row)| row).collect()
}

/// Whether it is the tenant that is refused, before anybody asks what it calls.
const fn is_state(reason: Reason) -> bool {
    matches!(reason, Reason::TenantKilled | Reason::TenantQuarantined)
}

fn of_kind(kind: &Kind, seen: &Seen) -> Refused {
    Refused {
        tenant: kind.tenant.to_string(),
        call: format!("{} {}", kind.method, kind.template),
        code: seen.reason.map_or("", Reason::code),
        count: seen.refused,
        last: telemetry::clock(seen.last),
        route: route(kind, seen.reason),
        remedy: remedy(kind, seen.reason),
    }
}

fn of_state(one: &Checked, stopped: &Stopped) -> Refused {
    let facts = &one.facts;
    let tenant = &facts.profile.id;
    let remedy = if facts.state() != TenantState::Active {
        format!("`spapi-sidecar tenant resume {tenant}`, once the reason is gone")
    } else if facts.waits.is_some() {
        format!("`spapi-sidecar preflight {tenant}`; it is served within seconds of its passing")
    } else {
        "nothing more: it is served again".to_owned()
    };
    Refused {
        tenant: tenant.to_string(),
        call: "any call".to_owned(),
        code: stopped.reason.code(),
        count: stopped.count.into(),
        last: telemetry::clock(stopped.last),
        route: String::new(),
        remedy,
    }
}

/// The line of `routes` that would allow a call of the catalog, where a route is what it lacks.
fn route(kind: &Kind, reason: Option<Reason>) -> String {
    let operation = Catalog::embedded().by_template(&kind.method, &kind.template);
    let Some(operation) = operation.filter(|_| reason == Some(Reason::RouteDenied)) else {
        return String::new();
    };
    let scope = operation.scopes().into_iter().next();
    format!(
        "- {{ allow: \"{} {}\", scope: {} }}",
        kind.method,
        kind.template,
        scope.as_deref().unwrap_or("ROLE")
    )
}

/// What else would allow it, in words.
fn remedy(kind: &Kind, reason: Option<Reason>) -> String {
    let tenant = &kind.tenant;
    match reason {
        Some(Reason::RouteDenied) => {
            "no operation of SP-API that is known here; if there is one, its path under `routes`"
                .to_owned()
        }
        Some(Reason::ScopeDenied) => format!(
            "the route's scope among `scopes` of tenant {tenant}, once its authorization covers it: `spapi-sidecar authorize {tenant}`"
        ),
        Some(Reason::MarketplaceDenied) => format!(
            "the marketplace among `marketplaces` of tenant {tenant}, if its authorization covers it"
        ),
        Some(Reason::RegionDenied) => {
            format!("the host of the region of tenant {tenant}, or a tenant of that region")
        }
        Some(Reason::RdtDenied) => {
            "a route with `rdt` and those data elements; see `spapi-sidecar ledger`".to_owned()
        }
        Some(Reason::PathAmbiguous | Reason::BadRequest) => {
            "a path that can be read in one way only: the program has to be mended".to_owned()
        }
        Some(_) | None => "nothing should".to_owned(),
    }
}
