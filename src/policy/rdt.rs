//! Restricted data tokens that an app asks for.
//!
//! Job: whether one restricted resource of a Tokens API request is covered by a route of the tenant.
//! Invariants: the path may be concrete or the template itself; elements beyond the route's are refused, and so is a
//! restricted operation whose route has no `rdt`.
//! Failure mode: `rdt_denied`, with what to add to the route.
//! Source: Amazon's "Tokens API use case guide"; its model allows `dataElements` on three operations alone.

use super::Refusal;
use super::refusal;
use super::route::Routes;
use crate::catalog::Catalog;
use crate::config::Tenant;

pub(super) fn covers(
    routes: &Routes,
    tenant: &Tenant,
    method: &http::Method,
    path: &str,
    elements: &[&str],
) -> Result<(), Refusal> {
    let entry = match routes.resolve(method, path) {
        Ok(Some(entry)) => entry,
        Ok(None) => return Err(refusal::rdt_without_route(tenant, method, path)),
        Err(ambiguity) => return Err(refusal::rdt_path_ambiguous(ambiguity)),
    };
    if let Some(scope) = entry.missing_scope(&tenant.scopes) {
        return Err(refusal::rdt_without_scope(tenant, &entry.route, scope));
    }
    let operation = Catalog::embedded().find(method, path);
    let Some(rdt) = &entry.route.rdt else {
        let restricted = operation.is_some_and(|operation| operation.restricted);
        if elements.is_empty() && !restricted {
            return Ok(());
        }
        return Err(refusal::rdt_not_on_route(&entry.route, elements));
    };
    let covered = |element: &&str| rdt.data_elements.iter().any(|own| own == element);
    if elements.iter().all(covered) {
        return Ok(());
    }
    Err(refusal::rdt_elements_denied(&entry.route, elements))
}
