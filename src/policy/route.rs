//! What may be called.
//!
//! Job: the routes, compiled into one tree a method, and the checks on a request, in order: the path's form, the route,
//! region and environment, scope, marketplaces.
//! Invariants: a look-up costs the depth of the path, not the number of routes; HEAD is covered by GET; of two routes of one
//! shape the first stays. A path that a decoding reader would take for another route is refused, in every mode.
//! Failure mode: [`Denied`]: the refusal, and the route where one matched.

use std::sync::Arc;

use super::path::{self, Ambiguity};
use super::{Ask, Credential, Refusal, Route, marketplace, refusal, region};
use crate::catalog::tree::{Tree, parameter_name, segments};
use crate::catalog::{Catalog, Operation, as_get, is_sku_parameter};
use crate::config::{Allow, Rdt, RdtPer, RouteRule};
use crate::map::Map;
use crate::redact;

/// Compiled routes.
#[derive(Debug, Default)]
pub(super) struct Routes {
    trees: Map<http::Method, Tree<Entry>>,
}

/// A route and what a request needs to have it.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) route: Arc<Route>,
    /// The scope that the tenant's grant has to cover.
    pub(super) scope: Option<Box<str>>,
    slashes: EncodedSlashes,
}

/// A request that may not go.
#[derive(Debug)]
pub(super) struct Denied {
    /// The route, where one matched and something else was wrong.
    pub(super) route: Option<Arc<Route>>,
    pub(super) refusal: Refusal,
}

impl Routes {
    pub(super) fn compile(rules: &[RouteRule]) -> Self {
        let mut routes = Self::default();
        for rule in rules {
            for allow in &rule.allow {
                let known = Catalog::embedded().by_template(&allow.method, &allow.template);
                let tree = routes.trees.entry(allow.method.clone()).or_default();
                let greedy = known.is_some_and(|operation| operation.greedy);
                tree.insert(&allow.template, greedy, Entry::compile(rule, allow, known));
            }
        }
        routes
    }

    /// The five checks, in the order in which a person would mend them.
    pub(super) fn decide(&self, ask: &Ask<'_>) -> Result<Arc<Route>, Denied> {
        let tenant = ask.tenant;
        let entry = self
            .resolve(ask.method, ask.path)
            .map_err(|ambiguity| Denied::outright(refusal::path_ambiguous(ambiguity)))?
            .ok_or_else(|| Denied::outright(refusal::route_denied(ask)))?;
        let denied = |refusal| Denied {
            route: Some(Arc::clone(&entry.route)),
            refusal,
        };
        region::check(tenant, ask.host).map_err(denied)?;
        if let Some(scope) = entry.missing_scope(&tenant.scopes) {
            return Err(denied(refusal::scope_denied(tenant, &entry.route, scope)));
        }
        if !marketplace::are_allowed(ask.query, &tenant.marketplaces) {
            return Err(denied(refusal::marketplace_denied(tenant)));
        }
        Ok(Arc::clone(&entry.route))
    }

    /// The route of a raw path, unless the path is not one thing to everybody.
    pub(super) fn resolve(
        &self,
        method: &http::Method,
        raw: &str,
    ) -> Result<Option<&Entry>, Ambiguity> {
        let form = path::form(raw)?;
        let entry = self.find(method, raw);
        if !form.other_readings {
            return Ok(entry);
        }
        let operation = Catalog::embedded().find(method, raw);
        if form.encoded_slash && !slashes_are_data(entry, operation, raw) {
            return Err(Ambiguity::EncodedSlash);
        }
        let matched = entry.is_some() || operation.is_some();
        if matched && self.reads_differently(method, raw, entry, operation) {
            return Err(Ambiguity::TwoRoutes);
        }
        Ok(entry)
    }

    fn find(&self, method: &http::Method, raw: &str) -> Option<&Entry> {
        let of = |method| self.trees.get(method).and_then(|tree| tree.find(raw));
        of(method).or_else(|| of(as_get(method)))
    }

    /// Whether a reader with other habits would see a route or an operation other than what the raw path is.
    fn reads_differently(
        &self,
        method: &http::Method,
        raw: &str,
        entry: Option<&Entry>,
        operation: Option<&Operation>,
    ) -> bool {
        path::readings(raw).iter().any(|reading| {
            differs(entry, self.find(method, reading))
                || differs(operation, Catalog::embedded().find(method, reading))
        })
    }
}

fn differs<T>(raw: Option<&T>, read: Option<&T>) -> bool {
    read.is_some_and(|read| raw.is_none_or(|raw| !std::ptr::eq(raw, read)))
}

/// Whether every encoded slash of a path stands in a parameter that may hold one.
fn slashes_are_data(entry: Option<&Entry>, operation: Option<&Operation>, raw: &str) -> bool {
    let of_catalog;
    let slashes = match (entry, operation) {
        (Some(entry), _) => &entry.slashes,
        (None, Some(operation)) => {
            of_catalog = EncodedSlashes::of(&operation.path, operation.greedy);
            &of_catalog
        }
        (None, None) => return false,
    };
    segments(raw)
        .enumerate()
        .all(|(place, segment)| slashes.are_data_at(place) || !holds_encoded_slash(segment))
}

fn holds_encoded_slash(segment: &str) -> bool {
    segment.contains("%2F") || segment.contains("%2f")
}

impl Entry {
    fn compile(rule: &RouteRule, allow: &Allow, known: Option<&Operation>) -> Self {
        let credential = match &rule.grantless {
            Some(scope) => Credential::Grantless(scope.as_str().into()),
            None => Credential::Tenant,
        };
        let (names, greedy) = known.map_or((allow.template.as_str(), false), |operation| {
            (operation.path.as_str(), operation.greedy)
        });
        let mut slashes = EncodedSlashes::of(names, greedy);
        slashes.everywhere = rule.encoded_slash;
        let route = Route {
            operation: known
                .map_or(allow.template.as_str(), |o| &o.operation_id)
                .into(),
            template: allow.template.as_str().into(),
            credential,
            rdt: rule.rdt.clone(),
            restricted: rule.rdt.is_some() || may_return_personal_data(allow),
            marketplaces_in_body: known.is_some_and(marketplace::are_in_the_body),
        };
        Self {
            route: Arc::new(route),
            scope: rule.scope.as_deref().map(Into::into),
            slashes,
        }
    }

    /// The scope that this route wants and that is not among `granted`. A client-credentials token carries its own.
    pub(super) fn missing_scope(&self, granted: &[String]) -> Option<&str> {
        match self.route.credential {
            Credential::Grantless(_) => None,
            Credential::Tenant => self
                .scope
                .as_deref()
                .filter(|scope| !granted.iter().any(|own| own == scope)),
        }
    }
}

/// Whether some operation that returns personal data could be what a template matches: a template wider than Amazon's
/// own must not hide it from the audit.
fn may_return_personal_data(allow: &Allow) -> bool {
    Catalog::embedded().operations().iter().any(|operation| {
        operation.returns_personal_data()
            && operation.method == *as_get(&allow.method)
            && overlap(&operation.path, &allow.template)
    })
}

fn overlap(one: &str, other: &str) -> bool {
    let mut other = segments(other);
    let same = |(a, b)| a == b || [a, b].into_iter().any(|s| parameter_name(s).is_some());
    segments(one).all(|a| other.next().is_some_and(|b| same((a, b)))) && other.next().is_none()
}

/// Where in a template `%2F` is data.
#[derive(Debug)]
struct EncodedSlashes {
    everywhere: bool,
    /// Places of parameters that hold a seller's SKU.
    skus: Vec<usize>,
    /// Where a greedy parameter starts.
    greedy_from: Option<usize>,
}

impl EncodedSlashes {
    fn of(template: &str, greedy: bool) -> Self {
        let is_sku = |segment| parameter_name(segment).is_some_and(is_sku_parameter);
        let skus = segments(template).enumerate().filter(|(_, s)| is_sku(s));
        Self {
            everywhere: false,
            skus: skus.map(|(place, _)| place).collect(),
            greedy_from: greedy.then(|| segments(template).count().saturating_sub(1)),
        }
    }

    fn are_data_at(&self, place: usize) -> bool {
        self.everywhere
            || self.greedy_from.is_some_and(|from| place >= from)
            || self.skus.contains(&place)
    }
}

impl Denied {
    const fn outright(refusal: Refusal) -> Self {
        Self {
            route: None,
            refusal,
        }
    }
}

/// What a request that no route names would be sent as, where the policy only reports.
pub(super) fn unlisted(ask: &Ask<'_>) -> Route {
    let Some(operation) = Catalog::embedded().find(ask.method, ask.path) else {
        return Route {
            operation: "unknown".into(),
            template: redact::path(None, ask.path).into(),
            credential: Credential::Tenant,
            rdt: None,
            restricted: false,
            marketplaces_in_body: false,
        };
    };
    Route {
        operation: operation.operation_id.as_str().into(),
        template: operation.path.as_str().into(),
        credential: match &operation.grantless_scope {
            Some(scope) => Credential::Grantless(scope.as_str().into()),
            None => Credential::Tenant,
        },
        rdt: operation.restricted.then(|| optional_rdt(operation)),
        restricted: operation.returns_personal_data(),
        marketplaces_in_body: marketplace::are_in_the_body(operation),
    }
}

/// The RDT that Amazon would take for an operation; where it refuses, the plain token does.
fn optional_rdt(operation: &Operation) -> Rdt {
    Rdt {
        data_elements: operation.data_elements.clone(),
        per: if operation.rdt_specific {
            RdtPer::Path
        } else {
            RdtPer::Template
        },
        required: false,
    }
}
