//! The access review: what is granted, against what is used.
//!
//! Job: from the configuration and what was called, the scopes and routes that nobody used, what is new, and the smallest set of
//! scopes with which each tenant's calls would have worked.
//! Invariants: pure, time is an argument; where nothing is known of calls, nothing is called unused. Grantless routes need no
//! consent and are left out of it.
//! Failure mode: none.
//! Source: SP-API facts, section 6 (every access token has all roles of the authorization: an unused role is only a risk).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::SystemTime;

use serde::Serialize;

use super::due::{Due, DueKind};
use crate::catalog::{Catalog, as_get};
use crate::config::{Account, Allow, Config, RouteRule, Tenant};
use crate::outcome::Reason;
use crate::telemetry::clock;
use crate::telemetry::traffic::kept::OpeningLine;
use crate::telemetry::traffic::{Kind, Opening, Seen};

/// What a review is made from.
#[derive(Clone, Copy, Debug)]
pub struct Material<'a> {
    /// Routes, apps and owners.
    pub config: &'a Config,
    /// The tenants.
    pub tenants: &'a [Arc<Tenant>],
    /// What was called.
    pub kinds: &'a [(Kind, Seen)],
    /// What was opened by break-glass.
    pub openings: &'a [Opening],
    /// From when on all calls were seen; nothing where nobody knows of any.
    pub seen_since: Option<SystemTime>,
    /// What comes due.
    pub dues: &'a [Due],
    /// Where the window begins: the last review, or so many days ago.
    pub since: SystemTime,
    /// When the review is made.
    pub now: SystemTime,
}

/// A review. Times are RFC 3339.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Review {
    /// When it was made.
    pub made_at: String,
    /// Where its window begins.
    pub since: String,
    /// From when on all calls were seen; nothing where nobody knows of any.
    pub seen_since: Option<String>,
    /// Whether that is the whole window.
    pub covers_window: bool,
    /// The tenants' scopes.
    pub tenants: Vec<TenantReview>,
    /// Endpoints that the routes allow and nobody called in the window; nothing where nobody knows of any calls.
    pub never_called: Option<Vec<Endpoint>>,
    /// What was called, or tried, for the first time in the window.
    pub new_endpoints: Vec<NewEndpoint>,
    /// Ages and due dates.
    pub due: Vec<serde_json::Value>,
    /// Endpoints by who answers for them; the empty name has those that nobody does.
    pub owners: BTreeMap<String, Vec<String>>,
    /// What was opened by break-glass in the window.
    pub break_glass: Vec<OpeningLine>,
}

/// One tenant's scopes.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct TenantReview {
    /// Who.
    pub id: String,
    /// By which app.
    pub app: String,
    /// `seller` or `vendor`.
    pub account: &'static str,
    /// Its vendor groups.
    pub vendor_groups: Vec<String>,
    /// What is granted, with its last use.
    pub scopes: Vec<ScopeUse>,
    /// The smallest set with which its calls work; nothing where nobody knows of any calls.
    pub minimal: Option<Vec<String>>,
    /// What is granted beyond that.
    pub drop: Vec<String>,
    /// What that has beyond what is granted.
    pub add: Vec<String>,
    /// Why its consent should be asked for again; empty where it need not.
    pub reconsent: Vec<String>,
}

/// A granted scope.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct ScopeUse {
    /// Which.
    pub scope: String,
    /// How many endpoints of the routes need it.
    pub endpoints: usize,
    /// When a call that needs it last went to Amazon.
    pub last_used: Option<String>,
    /// Whether that was in the window; nothing where nobody knows of any calls.
    pub used: Option<bool>,
}

/// An endpoint of the routes.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Endpoint {
    /// `METHOD /template`.
    pub endpoint: String,
    /// Amazon's name for it.
    pub operation: Option<String>,
    /// What it needs.
    pub scope: Option<String>,
    /// Why it is allowed.
    pub reason: Option<String>,
    /// Who answers for it.
    pub owner: Option<String>,
    /// When last a call of it went to Amazon.
    pub last_called: Option<String>,
}

/// An endpoint that a tenant first called in the window.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct NewEndpoint {
    /// Who.
    pub tenant: String,
    /// `METHOD /template`.
    pub endpoint: String,
    /// Amazon's name for it.
    pub operation: Option<String>,
    /// When first.
    pub first_seen: String,
    /// How often.
    pub requests: u64,
    /// How often it was refused.
    pub refused: u64,
    /// Whether a route allows it now.
    pub has_route: bool,
}

/// Makes a review.
#[must_use]
pub fn review(material: &Material<'_>) -> Review {
    let mut owners: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (route, allow) in endpoints(material.config) {
        let owner = route.owner.clone().unwrap_or_default();
        owners.entry(owner).or_default().push(name(allow));
    }
    let (seen_since, since) = (material.seen_since, material.since);
    let in_window = |opening: &&Opening| opening.at >= since;
    let due = |due| super::report::due(due, material.config.remind_within());
    Review {
        made_at: clock(material.now),
        since: clock(since),
        seen_since: seen_since.map(clock),
        covers_window: seen_since.is_some_and(|seen| seen <= since),
        tenants: material
            .tenants
            .iter()
            .map(|tenant| of_tenant(material, tenant))
            .collect(),
        never_called: seen_since.is_some().then(|| never_called(material)),
        new_endpoints: new_endpoints(material),
        due: material.dues.iter().map(due).collect(),
        owners,
        break_glass: material
            .openings
            .iter()
            .filter(in_window)
            .map(OpeningLine::of)
            .collect(),
    }
}

fn endpoints(config: &Config) -> impl Iterator<Item = (&RouteRule, &Allow)> {
    let routes = config.routes.iter();
    routes.flat_map(|route| route.allow.iter().map(move |allow| (route, allow)))
}

fn name(allow: &Allow) -> String {
    format!("{} {}", allow.method, allow.template)
}

/// Whether a kind of call is one of an endpoint. HEAD is covered by GET.
fn is_of(kind: &Kind, allow: &Allow) -> bool {
    *kind.template == *allow.template
        && (kind.method == allow.method || *as_get(&kind.method) == allow.method)
}

fn operation(method: &http::Method, template: &str) -> Option<String> {
    let known = Catalog::embedded().by_template(method, template);
    known.map(|operation| operation.operation_id.clone())
}

fn of_tenant(material: &Material<'_>, tenant: &Tenant) -> TenantReview {
    let (mut last_used, mut wanted) = (BTreeMap::new(), BTreeSet::new());
    let mut needing: BTreeMap<&str, usize> = BTreeMap::new();
    for (route, allow) in endpoints(material.config) {
        let (Some(scope), None) = (&route.scope, &route.grantless) else {
            continue;
        };
        *needing.entry(scope).or_default() += 1;
        let its = material.kinds.iter();
        let its = its.filter(|(kind, _)| kind.tenant == tenant.id && is_of(kind, allow));
        for (_, seen) in its {
            let last = last_used.entry(scope.as_str()).or_insert(None);
            *last = (*last).max(seen.last_sent);
            let lacked = seen.reason == Some(Reason::ScopeDenied) && seen.last >= material.since;
            if lacked || seen.last_sent.is_some_and(|sent| sent >= material.since) {
                wanted.insert(scope.clone());
            }
        }
    }
    let is_known = material.seen_since.is_some();
    let granted: BTreeSet<String> = tenant.scopes.iter().cloned().collect();
    let scopes = granted.iter().map(|scope| ScopeUse {
        scope: scope.clone(),
        endpoints: needing.get(scope.as_str()).copied().unwrap_or(0),
        last_used: last_used.get(scope.as_str()).copied().flatten().map(clock),
        used: is_known.then(|| wanted.contains(scope)),
    });
    let only = |one: &BTreeSet<String>, other: &BTreeSet<String>| {
        let rest: Vec<String> = one.difference(other).cloned().collect();
        if is_known { rest } else { Vec::new() }
    };
    let (drop, add) = (only(&granted, &wanted), only(&wanted, &granted));
    TenantReview {
        id: tenant.id.to_string(),
        app: tenant.app.to_string(),
        account: match tenant.account {
            Account::Seller => "seller",
            Account::Vendor => "vendor",
        },
        vendor_groups: tenant.vendor_groups.clone(),
        scopes: scopes.collect(),
        reconsent: reconsent(material, tenant, &drop, &add),
        minimal: is_known.then(|| wanted.into_iter().collect()),
        drop,
        add,
    }
}

fn reconsent(
    material: &Material<'_>,
    tenant: &Tenant,
    drop: &[String],
    add: &[String],
) -> Vec<String> {
    let mut why = Vec::new();
    if !drop.is_empty() {
        why.push(format!("{} granted scope(s) were not used", drop.len()));
    }
    if !add.is_empty() {
        why.push(format!(
            "{} scope(s) are called for and not granted",
            add.len()
        ));
    }
    let within = material.config.remind_within();
    let authorization = material
        .dues
        .iter()
        .find(|due| due.what == DueKind::Authorization && due.subject == tenant.id.as_str());
    if let Some(due) = authorization.filter(|due| due.is_soon(within)) {
        why.push(format!("the authorization ends on {}", due.date));
    }
    why
}

fn never_called(material: &Material<'_>) -> Vec<Endpoint> {
    let mut list = Vec::new();
    for (route, allow) in endpoints(material.config) {
        let its = material.kinds.iter().filter(|(kind, _)| is_of(kind, allow));
        let last = its.filter_map(|(_, seen)| seen.last_sent).max();
        if last.is_none_or(|last| last < material.since) {
            list.push(Endpoint {
                endpoint: name(allow),
                operation: operation(&allow.method, &allow.template),
                scope: route.grantless.clone().or_else(|| route.scope.clone()),
                reason: route.reason.clone(),
                owner: route.owner.clone(),
                last_called: last.map(clock),
            });
        }
    }
    list
}

fn new_endpoints(material: &Material<'_>) -> Vec<NewEndpoint> {
    let is_new = |(_, seen): &&(Kind, Seen)| seen.first >= material.since;
    let new = material.kinds.iter().filter(is_new);
    new.map(|(kind, seen)| NewEndpoint {
        tenant: kind.tenant.to_string(),
        endpoint: format!("{} {}", kind.method, kind.template),
        operation: operation(&kind.method, &kind.template),
        first_seen: clock(seen.first),
        requests: seen.requests,
        refused: seen.refused,
        has_route: endpoints(material.config).any(|(_, allow)| is_of(kind, allow)),
    })
    .collect()
}

#[cfg(test)]
mod tests;
