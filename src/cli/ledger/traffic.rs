//! Routes that what was seen would need.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use http::Method;
use serde_json::Value;

use crate::catalog::{Catalog, Operation, RdtWhen, as_get};
use crate::config::Config;

/// Prints `routes:` for every call that the running sidecar let through although no route names it.
pub(super) fn routes(config: &Config, status: &Value) -> String {
    let mut wanted: BTreeMap<(String, String), Vec<String>> = BTreeMap::new();
    for kind in status
        .get("traffic")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
    {
        let text = |key: &str| {
            kind.get(key)
                .and_then(Value::as_str)
                .unwrap_or_default()
                .to_owned()
        };
        let lacks_a_route = text("reason") == "route_denied"
            && kind
                .get("would_refuse")
                .and_then(Value::as_u64)
                .unwrap_or(0)
                > 0;
        if lacks_a_route {
            let method = Method::from_bytes(text("method").as_bytes()).map_or_else(
                |_invalid| text("method"),
                |method| as_get(&method).to_string(),
            );
            let tenants = wanted.entry((text("template"), method)).or_default();
            tenants.push(text("tenant"));
            tenants.sort();
            tenants.dedup();
        }
    }
    if wanted.is_empty() {
        return "# nothing was let through that no route names; run with `policy: report` and let the programs work for a while\n".to_owned();
    }
    let mut lines = String::from(
        "# what was called under `policy: report`, by the running sidecar's word; review each line, then add it to `routes`\nroutes:\n",
    );
    for ((template, method), tenants) in wanted {
        let operation = Method::from_bytes(method.as_bytes())
            .ok()
            .and_then(|method| Catalog::embedded().by_template(&method, &template));
        let _infallible = write!(
            lines,
            "  - allow: \"{method} {template}\"\n{}    reason: called by {}; say why\n    owner: OWNER\n",
            operation.map_or_else(unknown, |operation| known(operation, config)),
            tenants.join(", ")
        );
    }
    lines
}

fn unknown() -> String {
    "    scope: ROLE   # Amazon's catalog does not know this operation: check the path, and write its parameters as {name}\n".to_owned()
}

fn known(operation: &Operation, config: &Config) -> String {
    let mut lines = String::new();
    match &operation.grantless_scope {
        Some(grantless) => {
            let _infallible = writeln!(
                lines,
                "    grantless: \"{grantless}\"   # {}",
                operation.operation_id
            );
        }
        None => {
            let scopes = operation.scopes();
            let in_use = scopes.iter().find(|scope| {
                config
                    .routes
                    .iter()
                    .any(|route| route.scope.as_ref() == Some(scope))
            });
            let scope = in_use
                .or_else(|| scopes.first())
                .map_or("ROLE", String::as_str);
            let _infallible = writeln!(
                lines,
                "    scope: {scope}   # {}; any one of [{}]",
                operation.operation_id,
                scopes.join(", ")
            );
        }
    }
    if operation.rdt_when == Some(RdtWhen::Always) {
        let per = if operation.rdt_specific {
            "path"
        } else {
            "template"
        };
        let _infallible = writeln!(
            lines,
            "    rdt: {{ data_elements: [], per: {per}, required: true }}"
        );
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_let_through_becomes_routes_that_the_reader_takes() {
        let status = serde_json::json!({"traffic": [
            {"tenant": "acme", "method": "HEAD", "template": "/orders/v0/orders", "reason": "route_denied", "would_refuse": 2},
            {"tenant": "beta", "method": "GET", "template": "/orders/v0/orders", "reason": "route_denied", "would_refuse": 1},
            {"tenant": "beta", "method": "GET", "template": "/orders/v0/orders/{orderId}/address", "reason": "route_denied", "would_refuse": 1},
            {"tenant": "beta", "method": "POST", "template": "/notifications/v1/destinations", "reason": "route_denied", "would_refuse": 1},
            {"tenant": "beta", "method": "GET", "template": "/sellers/v1/marketplaceParticipations", "reason": null, "would_refuse": 0},
        ]});
        let base = "version: 1\nstore: { file: { path: /x/s, key_file: /x/k } }\n";
        let config = Config::parse("proxy.yaml", base, &|_| None).unwrap();
        let text = routes(&config, &status);
        let parsed = Config::parse("proxy.yaml", &format!("{base}{text}"), &|_| None)
            .unwrap_or_else(|faults| panic!("{faults}\n{text}"));
        let allowed: Vec<String> = parsed
            .routes
            .iter()
            .flat_map(|route| &route.allow)
            .map(|allow| format!("{} {}", allow.method, allow.template))
            .collect();
        assert_eq!(
            allowed,
            [
                "POST /notifications/v1/destinations",
                "GET /orders/v0/orders",
                "GET /orders/v0/orders/{orderId}/address"
            ]
        );
        assert!(
            parsed.routes[2].rdt.is_some() && parsed.routes[0].grantless.is_some(),
            "{text}"
        );
        assert!(text.contains("called by acme, beta"), "{text}");
    }
}
