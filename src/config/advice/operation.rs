//! Routes against the catalog's operations.
//!
//! Job: say which token, RDT or template Amazon would refuse; pure, on operations that are handed in.

use super::{Warning, warn};
use crate::catalog::{Operation, RdtWhen};
use crate::config::nearest::nearest;
use crate::config::{Allow, RouteRule};

/// Compares a route with the operation that it allows.
pub(super) fn known(
    route: &RouteRule,
    operation: &Operation,
    path: &str,
    found: &mut Vec<Warning>,
) {
    let name = &operation.operation_id;
    if operation.rdt_when == Some(RdtWhen::Always) && route.rdt.is_none() {
        warn(
            found,
            path,
            format!("{name} is refused by Amazon without a restricted data token"),
            "add `rdt: {}` to the route",
        );
    }
    if operation.rdt_when == Some(RdtWhen::RestrictedReportTypes) && route.rdt.is_none() {
        warn(
            found,
            path,
            format!(
                "{name} is refused by Amazon for restricted report types without a restricted data token"
            ),
            "add `rdt: { per: path, required: false }` to the route, unless no such report is fetched",
        );
    }
    match (&operation.grantless_scope, &route.grantless) {
        (Some(scope), None) => warn(
            found,
            path,
            format!("{name} is grantless: Amazon refuses a tenant's token here"),
            format!("add `grantless: \"{scope}\"` to the route"),
        ),
        (Some(scope), Some(written)) if scope != written => warn(
            found,
            path,
            format!("{name} takes a token of scope {scope}"),
            format!("write `grantless: \"{scope}\"`"),
        ),
        (None, Some(_)) => warn(
            found,
            path,
            format!("{name} takes the tenant's token: Amazon refuses a grantless one here"),
            "remove `grantless` from the route",
        ),
        (Some(_), Some(_)) | (None, None) => {}
    }
    if operation.deprecated {
        warn(
            found,
            path,
            format!("Amazon has announced the end of {name}"),
            "plan the move to its successor",
        );
    }
    if operation.sandbox_only {
        warn(
            found,
            path,
            format!("{name} is answered by Amazon's sandbox alone"),
            "remove it from a production route",
        );
    }
}

/// Says that an entry is no operation of the catalog, and which of these is near.
pub(super) fn unknown(
    allow: &Allow,
    operations: &[Operation],
    path: &str,
    found: &mut Vec<Warning>,
) {
    let Allow { method, template } = allow;
    let spelt = |operation: &Operation| Allow {
        method: method.clone(),
        template: operation.path.clone(),
    };
    let shape = allow.shape();
    let same_path = operations
        .iter()
        .find(|operation| spelt(operation).shape() == shape);
    let near = || {
        let paths = operations
            .iter()
            .filter(|operation| operation.method == *method)
            .map(|operation| operation.path.as_str());
        nearest(template, paths).map(|path| (method, path))
    };
    let meant = same_path
        .map(|other| (&other.method, other.path.as_str()))
        .or_else(near);
    let remedy = match meant {
        Some((method, path)) => format!("did you mean {method} {path}?"),
        None => "keep it only if Amazon's documentation has it".to_owned(),
    };
    let problem = format!("the catalog has no operation {method} {template}");
    warn(found, path, problem, remedy);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    fn config(text: &str) -> Config {
        let least = "version: 1\nstore: { file: { path: a, key_file: b } }\n";
        Config::parse("proxy.yaml", &format!("{least}{text}"), &|_| None)
            .map_err(|faults| faults.to_string())
            .unwrap()
    }

    fn operation(id: &str, method: &str, path: &str) -> Operation {
        Operation {
            api: "api".to_owned(),
            version: "v0".to_owned(),
            operation_id: id.to_owned(),
            method: method.parse().unwrap(),
            path: path.to_owned(),
            rate: None,
            burst: None,
            restricted: false,
            rdt_when: None,
            rdt_specific: false,
            data_elements: Vec::new(),
            grantless_scope: None,
            roles: None,
            roles_basis: None,
            greedy: false,
            deprecated: false,
            sandbox_only: false,
            audience: None,
        }
    }

    fn said(found: Vec<Warning>) -> Vec<(String, String)> {
        let pair = |warning: Warning| (warning.problem, warning.remedy);
        found.into_iter().map(pair).collect()
    }

    #[test]
    fn a_route_that_amazon_would_refuse_is_told() {
        let always = Operation {
            rdt_when: Some(RdtWhen::Always),
            ..operation("getAddress", "GET", "/a")
        };
        let sometimes = Operation {
            rdt_when: Some(RdtWhen::PiiOnly),
            ..operation("getOrders", "GET", "/a")
        };
        let reports = Operation {
            rdt_when: Some(RdtWhen::RestrictedReportTypes),
            ..operation("getDocument", "GET", "/a")
        };
        let grantless = Operation {
            grantless_scope: Some("s".to_owned()),
            ..operation("create", "GET", "/a")
        };
        let old = Operation {
            deprecated: true,
            sandbox_only: true,
            audience: None,
            ..operation("old", "GET", "/a")
        };
        let plain = operation("plain", "GET", "/a");
        for (extra, entry, want) in [
            ("", &plain, vec![]),
            ("", &sometimes, vec![]),
            (
                "",
                &always,
                vec!["getAddress is refused by Amazon without a restricted data token"],
            ),
            (", rdt: {}", &always, vec![]),
            (
                "",
                &reports,
                vec![
                    "getDocument is refused by Amazon for restricted report types without a restricted data token",
                ],
            ),
            (", rdt: { required: false }", &reports, vec![]),
            (
                "",
                &grantless,
                vec!["create is grantless: Amazon refuses a tenant's token here"],
            ),
            (", grantless: s", &grantless, vec![]),
            (
                ", grantless: t",
                &grantless,
                vec!["create takes a token of scope s"],
            ),
            (
                ", grantless: s",
                &plain,
                vec!["plain takes the tenant's token: Amazon refuses a grantless one here"],
            ),
            (
                "",
                &old,
                vec![
                    "Amazon has announced the end of old",
                    "old is answered by Amazon's sandbox alone",
                ],
            ),
        ] {
            let config = config(&format!("routes: [{{ allow: GET /a{extra} }}]\n"));
            let mut found = Vec::new();
            known(&config.routes[0], entry, "", &mut found);
            let problems: Vec<_> = found.into_iter().map(|warning| warning.problem).collect();
            assert_eq!(problems, want, "{extra} {}", entry.operation_id);
        }
    }

    #[test]
    fn a_route_that_the_catalog_does_not_know_is_told_with_the_nearest() {
        let operations = [
            operation("getOrders", "GET", "/orders/v0/orders"),
            operation("getOrder", "GET", "/orders/v0/orders/{orderId}"),
        ];
        for (entry, want) in [
            (
                "GET /orders/v0/ordres",
                "did you mean GET /orders/v0/orders?",
            ),
            (
                "POST /orders/v0/orders/{id}",
                "did you mean GET /orders/v0/orders/{orderId}?",
            ),
            (
                "GET /nothing",
                "keep it only if Amazon's documentation has it",
            ),
        ] {
            let mut found = Vec::new();
            unknown(&Allow::parse(entry).unwrap(), &operations, "", &mut found);
            let problem = format!("the catalog has no operation {entry}");
            assert_eq!(said(found), [(problem, want.to_owned())]);
        }
    }
}
