//! Which calls show that a role is there.
//!
//! Job: for a scope, one read-only call of the routes that needs it; for a route with an RDT, the resource to ask for.
//! Invariants: pure. A call that only asks, and best one for something that is not there: a 404 or a 400 shows the role as well
//! as a 200, and returns nobody's data. None that needs an RDT or an app's own token is chosen.
//! Sources: `catalog/operations.json`; SP-API facts, sections 4 and 5.

use crate::catalog::tree::{parameter_name, segments};
use crate::catalog::{Audience, Catalog, Operation, RdtWhen};
use crate::config::{Account, Allow, Rdt, RdtPer, RouteRule, Tenant};

/// What tells a seller's marketplaces.
pub(super) const PARTICIPATIONS: &str = "/sellers/v1/marketplaceParticipations";

/// A call of every vendor's, where the routes have none: purchase orders.
const PURCHASE_ORDERS: &str = "/vendor/orders/v1/purchaseOrders";

/// The call that shows a scope, if there is one: with a parameter in its path rather than without.
pub(super) fn of_scope(
    scope: &str,
    routes: &[RouteRule],
    tenant: &Tenant,
) -> Option<&'static Operation> {
    let of_scope = routes
        .iter()
        .filter(|route| route.grantless.is_none() && route.scope.as_deref() == Some(scope));
    of_scope
        .flat_map(|route| &route.allow)
        .filter_map(asks_only)
        .filter(|operation| is_for(operation, tenant))
        .min_by_key(|operation| !operation.path.contains('{'))
}

/// The call that shows a vendor's link.
pub(super) fn of_vendor(routes: &[RouteRule]) -> &'static str {
    let known = routes
        .iter()
        .filter(|route| route.grantless.is_none())
        .flat_map(|route| &route.allow)
        .filter_map(asks_only)
        .find(|operation| operation.audience == Some(Audience::Vendor));
    known.map_or(PURCHASE_ORDERS, |operation| &operation.path)
}

/// The operation of a route's line, where it is one that may be called to see what it says.
fn asks_only(allow: &Allow) -> Option<&'static Operation> {
    let operation = Catalog::embedded().by_template(&allow.method, &allow.template)?;
    let only_asks = operation.method == http::Method::GET
        && operation.grantless_scope.is_none()
        && operation.rdt_when != Some(RdtWhen::Always)
        && !operation.sandbox_only;
    only_asks.then_some(operation)
}

/// Whether an operation is for accounts of a tenant's kind.
fn is_for(operation: &Operation, tenant: &Tenant) -> bool {
    match operation.audience {
        Some(Audience::Seller) => tenant.account == Account::Seller,
        Some(Audience::Vendor) => tenant.account == Account::Vendor,
        Some(Audience::Both) | None => true,
    }
}

/// A path that could be, of something that is not there.
pub(super) fn concrete(template: &str, tenant: &Tenant) -> String {
    let marketplace = tenant
        .marketplaces
        .first()
        .map_or("ATVPDKIKX0DER", String::as_str);
    let value = |name: &str| {
        let name = name.to_ascii_lowercase();
        if name.contains("marketplace") {
            marketplace
        } else if name.contains("orderid") {
            "000-0000000-0000000"
        } else {
            "0"
        }
    };
    let parts = segments(template).map(|segment| parameter_name(segment).map_or(segment, value));
    format!("/{}", parts.collect::<Vec<_>>().join("/"))
}

/// An RDT that a route asks for.
pub(super) struct Wanted {
    /// `METHOD /template`, as the route says it.
    pub(super) route: String,
    pub(super) method: http::Method,
    /// Amazon's own template, or the route's where the catalog has none.
    pub(super) template: String,
    /// The concrete path, where the sidecar would name one.
    pub(super) path: Option<String>,
    pub(super) rdt: Rdt,
    /// The scope that the tenant lacks for it.
    pub(super) lacks: Option<String>,
    /// Roles of which one is enough, by Amazon's tables.
    pub(super) roles: Vec<String>,
}

/// The RDTs of all routes that are for this tenant's kind of account.
pub(super) fn restricted(routes: &[RouteRule], tenant: &Tenant) -> Vec<Wanted> {
    let mut all: Vec<Wanted> = Vec::new();
    for route in routes {
        let Some(rdt) = &route.rdt else { continue };
        for allow in &route.allow {
            let known = Catalog::embedded().by_template(&allow.method, &allow.template);
            if known.is_some_and(|operation| !is_for(operation, tenant)) {
                continue;
            }
            let template = known.map_or(&allow.template, |operation| &operation.path);
            let specific = known.is_some_and(|operation| operation.rdt_specific);
            let path = (specific || rdt.per == RdtPer::Path).then(|| concrete(template, tenant));
            let lacks = route
                .scope
                .clone()
                .filter(|scope| !tenant.scopes.contains(scope));
            all.push(Wanted {
                route: format!("{} {}", allow.method, allow.template),
                method: allow.method.clone(),
                template: template.clone(),
                path,
                rdt: rdt.clone(),
                lacks,
                roles: known
                    .and_then(|operation| operation.roles.clone())
                    .unwrap_or_default(),
            });
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Config, Tenants};

    fn config(account: &str) -> Config {
        let text = format!(
            r#"
version: 1
store: {{ file: {{ path: /x/s, key_file: /x/k }} }}
apps: [{{ id: erp }}]
tenants: [{{ id: acme, app: erp, region: na, account: {account}, scopes: [a] }}]
routes:
  - {{ allow: [GET /orders/v0/orders, "GET /orders/v0/orders/{{id}}"], scope: a }}
  - {{ allow: "GET /orders/v0/orders/{{id}}/address", scope: b, rdt: {{}} }}
  - {{ allow: "GET /reports/2021-06-30/documents/{{id}}", scope: a, rdt: {{}} }}
  - {{ allow: POST /reports/2021-06-30/reports, scope: c }}
  - {{ allow: GET /notifications/v1/destinations, scope: d, grantless: g }}
  - {{ allow: ["GET /vendor/orders/v1/purchaseOrders/{{n}}"], scope: e }}
"#
        );
        Config::parse("proxy.yaml", &text, &|_| None).unwrap_or_else(|faults| panic!("{faults}"))
    }

    fn tenant(config: &Config) -> &Tenant {
        let Tenants::Listed(tenants) = &config.tenants else {
            panic!("they are listed")
        };
        &tenants[0]
    }

    #[test]
    fn a_scope_is_shown_by_a_read_that_needs_nothing_but_the_role() {
        let seller = config("seller");
        let of =
            |scope| of_scope(scope, &seller.routes, tenant(&seller)).map(|one| one.path.as_str());
        assert_eq!(of("a"), Some("/orders/v0/orders/{orderId}"));
        for none in ["b", "c", "d", "e", "f"] {
            assert_eq!(of(none), None, "{none}");
        }
        let vendor = config("vendor");
        let e = of_scope("e", &vendor.routes, tenant(&vendor));
        assert!(e.is_some());
        assert_eq!(of_vendor(&vendor.routes), e.unwrap().path);
        assert_eq!(of_vendor(&[]), PURCHASE_ORDERS);
    }

    #[test]
    fn a_concrete_path_matches_its_template_and_names_nothing_that_is_there() {
        let config = config("seller");
        for operation in Catalog::embedded().operations() {
            let path = concrete(&operation.path, tenant(&config));
            let found = Catalog::embedded().find(&operation.method, &path);
            assert!(found.is_some() && !path.contains('{'), "{path}");
        }
        assert_eq!(
            concrete("/orders/v0/orders/{orderId}/address", tenant(&config)),
            "/orders/v0/orders/000-0000000-0000000/address"
        );
    }

    #[test]
    fn an_rdt_is_asked_for_as_the_sidecar_would_ask_for_it() {
        let config = config("seller");
        let wanted = restricted(&config.routes, tenant(&config));
        let said: Vec<_> = wanted
            .iter()
            .map(|one| {
                (
                    one.route.as_str(),
                    one.path.as_deref(),
                    one.lacks.as_deref(),
                )
            })
            .collect();
        assert_eq!(
            said,
            [
                ("GET /orders/v0/orders/{id}/address", None, Some("b")),
                (
                    "GET /reports/2021-06-30/documents/{id}",
                    Some("/reports/2021-06-30/documents/0"),
                    None
                ),
            ]
        );
    }
}
