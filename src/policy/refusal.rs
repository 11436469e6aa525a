//! What a refused caller reads.
//!
//! Job: for each refusal, one sentence on what happened and what to do about it, down to the lines to add.
//! Invariants: no query value, no path parameter, no body value: templates, masked paths and what the configuration says
//! are all that is quoted. No text looks like Amazon's "access token … expired": an SDK would ask again for ever.
//! Failure mode: none.

use super::path::Ambiguity;
use super::region::{served_by, sp_api_host};
use super::suggestion::{known_elements, known_method, line, list, rdt_line};
use super::{Ask, Refusal, Route};
use crate::catalog::Catalog;
use crate::config::{EgressRule, Tenant};
use crate::name::{Authority, Host};
use crate::outcome::Reason;
use crate::redact;

pub(super) fn egress_denied(authority: &Authority) -> Refusal {
    let host = &authority.host;
    let details = match host {
        Host::Ip(_) => {
            "An IP address is reached only where a rule names exactly that address. Call the host by its name, or add the \
             address to `egress`."
                .to_owned()
        }
        Host::Name(name) => format!(
            "Add to `egress`: - {{ host: {host}, mode: {}, ports: [{}] }}",
            likely_mode(name.as_str()),
            authority.port
        ),
    };
    Refusal {
        reason: Reason::EgressDenied,
        message: format!("No egress rule names {host}."),
        details,
    }
}

/// Only a hint: what such a host usually is.
fn likely_mode(host: &str) -> &'static str {
    if host.contains("sellingpartnerapi") {
        "inject"
    } else if host == "api.amazon.com" {
        "lwa"
    } else if host.ends_with(".amazonaws.com") || host.ends_with(".cloudfront.net") {
        "document"
    } else {
        "tunnel"
    }
}

pub(super) fn port_denied(authority: &Authority, rule: &EgressRule) -> Refusal {
    let ports: Vec<_> = rule.ports.iter().map(u16::to_string).collect();
    Refusal {
        reason: Reason::PortDenied,
        message: format!(
            "The egress rule for {} does not name port {}.",
            rule.host, authority.port
        ),
        details: format!(
            "It names {}. The first rule that names the host decides; add {} to its `ports`.",
            list(&ports),
            authority.port
        ),
    }
}

pub(super) fn path_ambiguous(ambiguity: Ambiguity) -> Refusal {
    Refusal {
        reason: Reason::PathAmbiguous,
        message: format!(
            "The path could be read in two ways: {}.",
            ambiguity.message()
        ),
        details: ambiguity.remedy().to_owned(),
    }
}

pub(super) fn route_denied(ask: &Ask<'_>) -> Refusal {
    let catalog = Catalog::embedded();
    let method = known_method(ask.method);
    let known = catalog.find(ask.method, ask.path);
    let shown = redact::path(known.map(|operation| operation.path.as_str()), ask.path);
    let details = match (known, catalog.nearest(ask.method, ask.path)) {
        (Some(operation), _) => line(operation, ask.tenant),
        (None, Some(near)) => format!(
            "SP-API has no such operation that is known here; the nearest is {}. Literal segments are matched as they are, \
             case and all. {}",
            near.operation_id,
            line(near, ask.tenant)
        ),
        (None, None) => {
            "SP-API has no operation like it that is known here. If it exists, add to `routes`: \
             - { allow: \"METHOD /path/{parameter}\", scope: ROLE }"
                .to_owned()
        }
    };
    Refusal {
        reason: Reason::RouteDenied,
        message: format!("No route allows {method} {shown}."),
        details,
    }
}

pub(super) fn region_denied(tenant: &Tenant, host: &Host) -> Refusal {
    let own = sp_api_host(tenant.region, tenant.environment);
    let other = served_by(host).map_or_else(String::new, |(region, environment)| {
        format!(" ({} {})", region.as_str(), environment.as_str())
    });
    Refusal {
        reason: Reason::RegionDenied,
        message: format!(
            "Tenant {} is {} {}; {host} is another region or environment{other}.",
            tenant.id,
            tenant.region.as_str(),
            tenant.environment.as_str()
        ),
        details: format!("Call {own}, or name a tenant of that region and environment."),
    }
}

pub(super) fn scope_denied(tenant: &Tenant, route: &Route, scope: &str) -> Refusal {
    Refusal {
        reason: Reason::ScopeDenied,
        message: format!(
            "The route {} wants the scope {scope}, which tenant {} does not have.",
            route.template, tenant.id
        ),
        details: scope_remedy(tenant, scope),
    }
}

fn scope_remedy(tenant: &Tenant, scope: &str) -> String {
    format!(
        "Tenant {} has {}. Add the role to the app at Amazon, let the selling partner authorize it again (a role that is \
         added later needs re-authorization), then add {scope} to the tenant's `scopes`.",
        tenant.id,
        list(&tenant.scopes)
    )
}

pub(super) fn marketplace_denied(tenant: &Tenant) -> Refusal {
    Refusal {
        reason: Reason::MarketplaceDenied,
        message: format!(
            "The request names a marketplace that is not one of tenant {}'s.",
            tenant.id
        ),
        details: format!(
            "Tenant {} may use {}; `marketplaces` of the tenant is the list.",
            tenant.id,
            list(&tenant.marketplaces)
        ),
    }
}

pub(super) fn rdt_path_ambiguous(ambiguity: Ambiguity) -> Refusal {
    rdt_denied(
        format!(
            "A restricted resource's path could be read in two ways: {}.",
            ambiguity.message()
        ),
        ambiguity.remedy().to_owned(),
    )
}

pub(super) fn rdt_without_route(tenant: &Tenant, method: &http::Method, path: &str) -> Refusal {
    let known = Catalog::embedded().find(method, path);
    let shown = redact::path(known.map(|operation| operation.path.as_str()), path);
    let details = known.map_or_else(
        || "Ask for the path of an operation that a route allows, without query.".to_owned(),
        |operation| line(operation, tenant),
    );
    let method = known_method(method);
    rdt_denied(
        format!("No route allows {method} {shown}, so no restricted data token for it."),
        details,
    )
}

pub(super) fn rdt_without_scope(tenant: &Tenant, route: &Route, scope: &str) -> Refusal {
    rdt_denied(
        format!(
            "A restricted data token for {} wants the scope {scope}, which tenant {} does not have.",
            route.template, tenant.id
        ),
        scope_remedy(tenant, scope),
    )
}

pub(super) fn rdt_not_on_route(route: &Route, elements: &[&str]) -> Refusal {
    rdt_denied(
        format!(
            "The route {} has no `rdt`, so it takes no restricted data token.",
            route.template
        ),
        format!(
            "Add to the route: {}",
            rdt_line(&known_elements(&[], elements))
        ),
    )
}

pub(super) fn rdt_elements_denied(route: &Route, elements: &[&str]) -> Refusal {
    let own = route.rdt.as_ref().map_or(&[][..], |rdt| &rdt.data_elements);
    rdt_denied(
        format!(
            "More data elements were asked for than the route {} allows.",
            route.template
        ),
        format!(
            "It allows {}. If the app needs more, change the route's: {}",
            list(own),
            rdt_line(&known_elements(own, elements))
        ),
    )
}

const fn rdt_denied(message: String, details: String) -> Refusal {
    Refusal {
        reason: Reason::RdtDenied,
        message,
        details,
    }
}
