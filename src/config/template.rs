//! `METHOD /template`: what a route allows.
//!
//! Job: parse one entry of `allow`, written out or as an operation id of the catalog.
//! Invariants: a template starts with `/`, has no empty and no dot segment, no query, no bad percent-encoding, and a
//! parameter fills a whole segment.
//! Failure mode: [`AllowError`], which says what to write and never quotes the entry.
//! Source: RFC 3986 section 3.3 (path segments); CONTRACT section 2.7.

use super::Allow;
use super::nearest::nearest;
use crate::catalog::{Catalog, Operation};

/// Why an entry of `allow` was refused.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{problem}; {remedy}")]
pub struct AllowError {
    /// What is wrong.
    pub problem: String,
    /// What to write instead.
    pub remedy: String,
}

fn wrong(problem: impl Into<String>, remedy: impl Into<String>) -> AllowError {
    AllowError {
        problem: problem.into(),
        remedy: remedy.into(),
    }
}

const METHODS: [&str; 7] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];
const EXAMPLE: &str = "write METHOD /path/{parameter}, as in GET /orders/v0/orders/{orderId}";

impl Allow {
    /// Parses `METHOD /template`, or the id of an operation of the catalog, as in `getOrderMetrics` or
    /// `orders/v0/getOrders`.
    ///
    /// # Errors
    /// When the text is neither, or the id belongs to several operations.
    pub fn parse(text: &str) -> Result<Self, AllowError> {
        let mut words = text.split_ascii_whitespace();
        match (words.next(), words.next(), words.next()) {
            (Some(method), Some(template), None) => Ok(Self {
                method: parse_method(method)?,
                template: parse_template(template)?,
            }),
            (Some(word), None, None) if word.starts_with('/') => {
                Err(wrong("the method is missing", EXAMPLE))
            }
            (Some(word), None, None) if METHODS.contains(&word.to_ascii_uppercase().as_str()) => {
                Err(wrong("the path is missing", EXAMPLE))
            }
            (Some(id), None, None) => by_id(id, Catalog::embedded().operations()),
            (None, _, _) => Err(wrong("nothing is allowed here", EXAMPLE)),
            (Some(_), _, _) => Err(wrong("more than a method and a path stand here", EXAMPLE)),
        }
    }

    /// The entry with every parameter's name taken away: equal for templates that match the same paths.
    pub(super) fn shape(&self) -> String {
        let segments = self.template.split('/').map(|segment| {
            if segment.starts_with('{') {
                "{}"
            } else {
                segment
            }
        });
        format!("{} {}", self.method, segments.collect::<Vec<_>>().join("/"))
    }
}

fn parse_method(text: &str) -> Result<http::Method, AllowError> {
    let known = METHODS.iter().find(|&&method| method == text);
    match known.and_then(|method| method.parse().ok()) {
        Some(method) => Ok(method),
        None => Err(wrong(
            "no such method may be allowed",
            match nearest(text, METHODS) {
                Some(method) => format!("did you mean {method}?"),
                None => format!("write one of {}", METHODS.join(", ")),
            },
        )),
    }
}

fn parse_template(text: &str) -> Result<String, AllowError> {
    let Some(path) = text.strip_prefix('/') else {
        return Err(wrong("the path does not start with `/`", EXAMPLE));
    };
    if path.contains(['?', '#']) {
        return Err(wrong(
            "the path holds a query or a fragment",
            "write the path alone: routes match paths, and a query is passed on as it is",
        ));
    }
    let mut parameters: Vec<&str> = Vec::new();
    for segment in path.split('/') {
        check_segment(segment, &mut parameters)?;
    }
    Ok(text.to_owned())
}

fn check_segment<'a>(segment: &'a str, parameters: &mut Vec<&'a str>) -> Result<(), AllowError> {
    if segment.is_empty() {
        return Err(wrong(
            "the path holds an empty segment",
            "remove the `//` or the `/` at the end: Amazon's paths have neither, and requests with one are refused",
        ));
    }
    if segment.contains(['{', '}']) {
        return check_parameter(segment, parameters);
    }
    if !well_encoded(segment) {
        return Err(wrong(
            "the path holds a badly percent-encoded segment",
            "write `%` and two hexadecimal digits",
        ));
    }
    let plain = segment.to_ascii_lowercase().replace("%2e", ".");
    if plain == "." || plain == ".." {
        return Err(wrong(
            "the path holds a dot segment",
            "write the path that it stands for",
        ));
    }
    // RFC 3986 section 3.3: pchar, percent-encoding apart
    let good = |b: u8| b.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=:@%".contains(&b);
    if segment.bytes().all(good) {
        Ok(())
    } else {
        Err(wrong(
            "the path holds a character that no path holds as it is",
            "percent-encode it",
        ))
    }
}

fn check_parameter<'a>(segment: &'a str, parameters: &mut Vec<&'a str>) -> Result<(), AllowError> {
    let name = segment
        .strip_prefix('{')
        .and_then(|rest| rest.strip_suffix('}'))
        .filter(|name| {
            name.starts_with(|c: char| c.is_ascii_alphabetic())
                && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
        });
    let Some(name) = name else {
        return Err(wrong(
            "a parameter has to fill a whole segment",
            "write {name} between two slashes; a name is letters, digits and `_`",
        ));
    };
    if parameters.contains(&name) {
        return Err(wrong(
            format!("the parameter {{{name}}} stands twice"),
            "give each parameter a name of its own",
        ));
    }
    parameters.push(name);
    Ok(())
}

fn well_encoded(segment: &str) -> bool {
    segment.split('%').skip(1).all(|rest| {
        let mut bytes = rest.bytes();
        let mut hex = || bytes.next().is_some_and(|b| b.is_ascii_hexdigit());
        hex() && hex()
    })
}

fn by_id(text: &str, operations: &[Operation]) -> Result<Allow, AllowError> {
    let id = text.rsplit_once('/').map_or(text, |(_, id)| id);
    let found: Vec<&Operation> = operations
        .iter()
        .filter(|operation| operation.operation_id == id)
        .filter(|operation| id == text || spelt(operation) == text)
        .collect();
    match found.as_slice() {
        [one] => Ok(Allow {
            method: one.method.clone(),
            template: one.path.clone(),
        }),
        [] => {
            let ids = operations.iter().map(|one| one.operation_id.as_str());
            let remedy = match nearest(id, ids) {
                Some(near) => format!("did you mean `{near}`? METHOD /path works too"),
                None => EXAMPLE.to_owned(),
            };
            Err(wrong("the catalog has no operation of this id", remedy))
        }
        [first, ..] if found.iter().all(|other| spelt(other) == spelt(first)) => Err(wrong(
            "several operations share this id, API and version",
            format!("write METHOD /path, as in {} {}", first.method, first.path),
        )),
        several => Err(wrong(
            "several operations have this id",
            format!(
                "write one of {}",
                several
                    .iter()
                    .map(|one| spelt(one))
                    .collect::<Vec<_>>()
                    .join(", ")
            ),
        )),
    }
}

/// An operation as `allow` may spell it: `orders/v0/getOrders`.
fn spelt(operation: &Operation) -> String {
    format!(
        "{}/{}/{}",
        operation.api, operation.version, operation.operation_id
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_method_and_a_template_are_allowed() {
        for text in [
            "GET /orders/v0/orders",
            "GET  /orders/v0/orders/{orderId}/address",
            "DELETE /a/{b}/c~d:e/{f_2}",
            "PUT /a%2Fb",
        ] {
            let allow = Allow::parse(text).unwrap();
            let want: Vec<&str> = text.split_whitespace().collect();
            assert_eq!([allow.method.as_str(), &allow.template], want.as_slice());
        }
    }

    #[test]
    fn a_template_that_could_be_read_in_two_ways_is_refused() {
        for (text, want) in [
            ("", "nothing is allowed here"),
            ("/orders", "the method is missing"),
            ("get", "the path is missing"),
            ("get /a", "no such method may be allowed"),
            ("CONNECT /a", "no such method may be allowed"),
            ("GET a/b", "the path does not start with `/`"),
            ("GET /a b", "more than a method and a path stand here"),
            ("GET /", "the path holds an empty segment"),
            ("GET /a//b", "the path holds an empty segment"),
            ("GET /a/", "the path holds an empty segment"),
            ("GET /a/./b", "the path holds a dot segment"),
            ("GET /a/%2E%2e/b", "the path holds a dot segment"),
            ("GET /a?b=c", "the path holds a query or a fragment"),
            (
                "GET /a%2/b",
                "the path holds a badly percent-encoded segment",
            ),
            (
                "GET /a%zz",
                "the path holds a badly percent-encoded segment",
            ),
            ("GET /a/x{b}", "a parameter has to fill a whole segment"),
            ("GET /a/{b", "a parameter has to fill a whole segment"),
            ("GET /a/b}", "a parameter has to fill a whole segment"),
            ("GET /a/{}", "a parameter has to fill a whole segment"),
            ("GET /a/{*b}", "a parameter has to fill a whole segment"),
            ("GET /{a}/{a}", "the parameter {a} stands twice"),
            (
                "GET /a\\b",
                "the path holds a character that no path holds as it is",
            ),
            (
                "GET /ä",
                "the path holds a character that no path holds as it is",
            ),
        ] {
            assert_eq!(Allow::parse(text).unwrap_err().problem, want, "{text}");
        }
    }

    fn operation(api: &str, version: &str, id: &str, entry: &str) -> Operation {
        let Allow { method, template } = Allow::parse(entry).unwrap();
        Operation {
            api: api.to_owned(),
            version: version.to_owned(),
            operation_id: id.to_owned(),
            method,
            path: template,
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

    #[test]
    fn an_operation_id_stands_for_one_operation_or_is_refused() {
        let operations = [
            operation("orders", "v0", "getOrders", "GET /orders/v0/orders"),
            operation(
                "orders",
                "v0",
                "getOrder",
                "GET /orders/v0/orders/{orderId}",
            ),
            operation(
                "orders",
                "v9",
                "getOrder",
                "GET /orders/v9/orders/{orderId}",
            ),
            operation("shipping", "v2", "link", "PUT /shipping/v2/accounts"),
            operation("shipping", "v2", "link", "POST /shipping/v2/accounts"),
        ];
        for (text, want) in [
            ("getOrders", Ok("GET /orders/v0/orders")),
            ("orders/v0/getOrders", Ok("GET /orders/v0/orders")),
            ("orders/v9/getOrder", Ok("GET /orders/v9/orders/{orderId}")),
            (
                "getOrder",
                Err(
                    "several operations have this id; write one of orders/v0/getOrder, orders/v9/getOrder",
                ),
            ),
            (
                "link",
                Err(
                    "several operations share this id, API and version; write METHOD /path, as in PUT /shipping/v2/accounts",
                ),
            ),
            (
                "getOrdesr",
                Err(
                    "the catalog has no operation of this id; did you mean `getOrders`? METHOD /path works too",
                ),
            ),
            (
                "orders/v8/getOrders",
                Err(
                    "the catalog has no operation of this id; did you mean `getOrders`? METHOD /path works too",
                ),
            ),
            (
                "nothing-like-it",
                Err(
                    "the catalog has no operation of this id; write METHOD /path/{parameter}, as in GET /orders/v0/orders/{orderId}",
                ),
            ),
        ] {
            let got = by_id(text, &operations)
                .map(|allow| format!("{} {}", allow.method, allow.template))
                .map_err(|error| error.to_string());
            let want = want.map(ToOwned::to_owned).map_err(ToOwned::to_owned);
            assert_eq!(got, want, "{text}");
        }
    }
}
