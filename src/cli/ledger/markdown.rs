//! The ledger as a Markdown table.

use std::fmt::Write as _;

use serde_json::Value;

use crate::catalog::Catalog;
use crate::config::{Allow, Config, Rdt, RdtPer, RouteRule};

/// Writes the ledger; with `status`, a column that says when each endpoint was last called.
pub(super) fn write(config: &Config, status: Option<&Value>) -> String {
    let mut text = String::from(
        "# Scope-to-endpoint ledger\n\nWhat programs may call through the sidecar, with which scope, why, and who answers for it. Written by\n`spapi-sidecar ledger`; change `routes` in the configuration, then write it anew.\n\n",
    );
    let last_seen = if status.is_some() { " last seen |" } else { "" };
    let rule = if status.is_some() { "---|" } else { "" };
    let _infallible = writeln!(
        text,
        "| endpoint | operation | scope | RDT | reason | owner |{last_seen}\n|---|---|---|---|---|---|{rule}"
    );
    for route in &config.routes {
        for allow in &route.allow {
            let _infallible = write!(
                text,
                "| `{} {}` | {} | {} | {} | {} | {} |",
                allow.method,
                allow.template,
                operation(allow),
                scope(route),
                route.rdt.as_ref().map_or_else(|| "–".to_owned(), rdt),
                cell(route.reason.as_deref()),
                cell(route.owner.as_deref()),
            );
            if let Some(status) = status {
                let _infallible = write!(text, " {} |", last_call(status, allow));
            }
            text.push('\n');
        }
    }
    text
}

fn operation(allow: &Allow) -> &'static str {
    Catalog::embedded()
        .by_template(&allow.method, &allow.template)
        .map_or("–", |operation| &operation.operation_id)
}

fn scope(route: &RouteRule) -> String {
    match (&route.grantless, &route.scope) {
        (Some(grantless), _) => format!("grantless `{grantless}`"),
        (None, Some(scope)) => cell(Some(scope)),
        (None, None) => "–".to_owned(),
    }
}

fn rdt(rdt: &Rdt) -> String {
    let per = match rdt.per {
        RdtPer::Template => "per template",
        RdtPer::Path => "per path",
    };
    let elements = if rdt.data_elements.is_empty() {
        String::new()
    } else {
        format!(": {}", rdt.data_elements.join(", "))
    };
    let optional = if rdt.required { "" } else { ", optional" };
    format!("{per}{optional}{elements}")
}

/// A cell's text: a bar or a line end would break the table.
pub(in crate::cli) fn cell(text: Option<&str>) -> String {
    text.map_or_else(
        || "–".to_owned(),
        |text| text.replace('|', "\\|").replace(['\n', '\r'], " "),
    )
}

fn last_call(status: &Value, allow: &Allow) -> String {
    let kinds = status.get("traffic").and_then(Value::as_array);
    let of = |kind: &Value, key: &str| kind.get(key).and_then(Value::as_str).map(str::to_owned);
    kinds
        .into_iter()
        .flatten()
        .filter(|kind| {
            of(kind, "template").as_deref() == Some(&*allow.template)
                && of(kind, "method").as_deref() == Some(allow.method.as_str())
        })
        .filter_map(|kind| of(kind, "last_seen"))
        .max()
        .unwrap_or_else(|| {
            let since = status.get("traffic_since").and_then(Value::as_str);
            format!("not since {}", since.unwrap_or("the start"))
        })
}

/// Lines that only one of two texts has, in order, as a diff without context.
pub(super) fn difference(kept: &str, now: &str) -> String {
    let mut text = String::new();
    for line in kept
        .lines()
        .filter(|line| !now.lines().any(|other| other == *line))
    {
        let _infallible = writeln!(text, "- {line}");
    }
    for line in now
        .lines()
        .filter(|line| !kept.lines().any(|other| other == *line))
    {
        let _infallible = writeln!(text, "+ {line}");
    }
    if text.is_empty() {
        text.push_str("the same lines, in another order or number\n");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(routes: &str) -> Config {
        let text = format!(
            "version: 1\nstore: {{ file: {{ path: /x/s, key_file: /x/k }} }}\nroutes:\n{routes}"
        );
        Config::parse("proxy.yaml", &text, &|_| None).unwrap_or_else(|faults| panic!("{faults}"))
    }

    #[test]
    fn every_endpoint_has_a_line_with_its_scope_reason_and_owner() {
        let config = config(
            r#"
  - { allow: [GET /orders/v0/orders, "GET /orders/v0/orders/{orderId}/address"], scope: direct-to-consumer-shipping, rdt: { data_elements: [buyerInfo] }, reason: "labels | returns", owner: w@example.com }
  - { allow: POST /notifications/v1/destinations, grantless: "sellingpartnerapi::notifications" }
"#,
        );
        let text = write(&config, None);
        assert!(text.contains("| `GET /orders/v0/orders` | getOrders | direct-to-consumer-shipping | per template: buyerInfo | labels \\| returns | w@example.com |"), "{text}");
        assert!(text.contains("| `POST /notifications/v1/destinations` | createDestination | grantless `sellingpartnerapi::notifications` | – | – | – |"), "{text}");
    }

    #[test]
    fn a_difference_names_what_went_and_what_came() {
        assert_eq!(difference("a\nb\n", "a\nc\n"), "- b\n+ c\n");
    }
}
