//! The lines that would allow what was refused.
//!
//! Job: an operation of the catalog as a route of `proxy.yaml`, with its role as a hint and what the hint rests on.
//! Invariants: one line of YAML that can be pasted; names come from the catalog and the configuration alone.
//! Failure mode: none; what is not known is written as `ROLE`, to be filled in.

use std::fmt::Display;

use crate::catalog::{Catalog, Operation, RdtWhen};
use crate::config::Tenant;

/// The route for an operation, preferring a scope that the tenant has.
pub(super) fn line(operation: &Operation, tenant: &Tenant) -> String {
    let scopes = operation.scopes();
    let credential = operation.grantless_scope.as_ref().map_or_else(
        || {
            let scope = likely_scope(operation, &scopes, tenant);
            format!("scope: {}", scope.map_or("ROLE", |scope| scope))
        },
        |grantless| format!("grantless: \"{grantless}\""),
    );
    let rdt = match operation.rdt_when {
        Some(RdtWhen::Always | RdtWhen::RestrictedReportTypes) => {
            format!(", {}", rdt_of(operation))
        }
        Some(RdtWhen::PiiOnly) | None => String::new(),
    };
    format!(
        "Add to `routes`: - {{ allow: \"{} {}\", {credential}{rdt} }} ({}{})",
        operation.method,
        operation.path,
        operation.operation_id,
        hint(operation, &scopes)
    )
}

/// One that the tenant has; else one that is called as the API is; else the first.
fn likely_scope<'a>(
    operation: &Operation,
    scopes: &'a [String],
    tenant: &Tenant,
) -> Option<&'a String> {
    let subject = operation.api.trim_end_matches('s');
    let mut all = scopes.iter();
    let own = all.clone().find(|scope| tenant.scopes.contains(scope));
    let akin = || scopes.iter().find(|scope| scope.contains(subject));
    own.or_else(akin).or_else(|| all.next())
}

fn rdt_of(operation: &Operation) -> String {
    let per = if operation.rdt_specific {
        "path"
    } else {
        "template"
    };
    // a report's type decides whether the token is needed, so there the plain token has to do for the others
    let required = operation.rdt_when == Some(RdtWhen::Always);
    format!("rdt: {{ data_elements: [], per: {per}, required: {required} }}")
}

fn hint(operation: &Operation, scopes: &[String]) -> String {
    if operation.grantless_scope.is_some() {
        return String::new();
    }
    if scopes.is_empty() {
        return "; its role is not known here, see Amazon's list of roles".to_owned();
    }
    let basis = match operation.roles_basis.as_deref() {
        Some("docs-2022") => "by Amazon's role tables of 2022",
        Some("docs-2026") => "by Amazon's pages of 2026",
        _ => "known for the API as a whole",
    };
    format!("; scope: one of {}, {basis}", list(scopes))
}

/// `rdt` with these elements.
pub(super) fn rdt_line(elements: &[String]) -> String {
    format!(
        "rdt: {{ data_elements: {}, per: template, required: true }}",
        list(elements)
    )
}

/// What a route has, and what was asked for beyond it as far as Amazon documents such an element: a caller's own words
/// are not repeated.
pub(super) fn known_elements(own: &[String], asked: &[&str]) -> Vec<String> {
    let mut all = own.to_vec();
    for operation in Catalog::embedded().operations() {
        for element in &operation.data_elements {
            if asked.contains(&element.as_str()) && !all.contains(element) {
                all.push(element.clone());
            }
        }
    }
    all
}

/// A list as YAML writes it.
pub(super) fn list<T: Display>(items: &[T]) -> String {
    let items: Vec<_> = items.iter().map(ToString::to_string).collect();
    format!("[{}]", items.join(", "))
}

/// A method by its name; an unregistered one is a caller's own word.
pub(super) fn known_method(method: &http::Method) -> &str {
    match method.as_str() {
        name @ ("GET" | "HEAD" | "POST" | "PUT" | "PATCH" | "DELETE" | "OPTIONS" | "TRACE"
        | "CONNECT") => name,
        _ => "that method on",
    }
}
