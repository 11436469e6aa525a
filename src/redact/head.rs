//! Paths and queries as a log may show them.
//!
//! Job: a path with its parameters masked, and a query's keys without their values.
//! Invariants: of a path that is no known template, only segments that some operation has as a literal at that place are
//! shown. Of a query nothing but keys that look like names.
//! Failure mode: `{…}` and `…` stand for what is not shown.

use std::borrow::Cow;

use super::text::{looks_secret, names_credential};
use crate::catalog::Catalog;

/// Segments shown of a path; the deepest operation has ten.
const SEGMENTS: usize = 16;
/// Bytes shown of a path whose parameters are kept.
const PATH_BYTES: usize = 512;
/// Keys shown of a query; the longest that SP-API documents has about thirty.
const KEYS: usize = 32;
/// Longest key shown.
const KEY_BYTES: usize = 40;

/// A path for a log: the template that it matched, or itself with every segment masked that is not a known literal.
#[must_use]
pub fn path<'a>(template: Option<&'a str>, raw: &str) -> Cow<'a, str> {
    if let Some(template) = template {
        return Cow::Borrowed(template);
    }
    let mut shown = String::new();
    for (place, (segment, known)) in Catalog::embedded().literals(raw).enumerate() {
        shown.push('/');
        if place == SEGMENTS {
            shown.push('…');
            break;
        }
        match (known, segment) {
            (true, literal) => shown.push_str(literal),
            (false, "") => {}
            (false, _) => shown.push_str("{…}"),
        }
    }
    if shown.is_empty() {
        shown.push('/');
    }
    Cow::Owned(shown)
}

/// A path for a log that keeps path parameters: as it came, bounded, and with what is not printable or begins as
/// a credential does masked.
#[must_use]
pub fn path_kept(raw: &str) -> Cow<'_, str> {
    let printable = raw.bytes().all(|byte| byte.is_ascii_graphic());
    if printable && raw.len() <= PATH_BYTES && !raw.split('/').any(names_credential) {
        return Cow::Borrowed(raw);
    }
    path(None, raw)
}

/// The keys of a raw query, in order; what does not look like a name, and what is beyond the bound, is `…`.
#[must_use]
pub fn query_keys(query: &str) -> Vec<&str> {
    let mut pairs = query.split('&').filter(|pair| !pair.is_empty());
    let mut keys: Vec<_> = pairs.by_ref().take(KEYS).map(shown_key).collect();
    if pairs.next().is_some() {
        keys.push("…");
    }
    keys
}

fn shown_key(pair: &str) -> &str {
    let key = pair.split_once('=').map_or(pair, |(key, _)| key);
    let may_stand =
        |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'[' | b']' | b'-');
    let is_name = (1..=KEY_BYTES).contains(&key.len()) && key.bytes().all(may_stand);
    if is_name && !looks_secret(key) {
        key
    } else {
        "…"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_known_literals_are_shown_of_a_path_that_nothing_matches() {
        for (raw, want) in [
            ("/", "/"),
            ("", "/"),
            ("/orders/v0/orders/123-canary", "/orders/v0/orders/{…}"),
            (
                "/orders/v0/orders/123-canary/address",
                "/orders/v0/orders/{…}/address",
            ),
            (
                "/orders/v0/orders/123/canary/address",
                "/orders/v0/orders/{…}/{…}/{…}",
            ),
            ("/canary/v0/orders", "/{…}/{…}/{…}"),
            ("/orders//v0", "/orders//{…}"),
            ("/%6frders/canary", "/{…}/{…}"),
        ] {
            assert_eq!(path(None, raw), want, "{raw}");
        }
        let deep = "/x".repeat(100);
        assert!(path(None, &deep).len() < 120);
        assert_eq!(path(Some("/a/{b}"), "/a/canary"), "/a/{b}");
    }

    #[test]
    fn a_kept_path_is_still_bounded_printable_and_without_secrets() {
        for (raw, want) in [
            ("/orders/v0/orders/123-4567", "/orders/v0/orders/123-4567"),
            ("/orders/v0/orders/a\nb", "/orders/v0/orders/{…}"),
            ("/orders/v0/orders/Atza%7Ccanary", "/orders/v0/orders/{…}"),
            ("/orders/v0/orders/Atzr|canary", "/orders/v0/orders/{…}"),
        ] {
            assert_eq!(path_kept(raw), want, "{raw}");
        }
        let long = format!("/orders/{}", "a".repeat(PATH_BYTES));
        assert_eq!(path_kept(&long), "/orders/{…}");
    }

    #[test]
    fn of_a_query_nothing_but_plain_keys_is_shown() {
        for (query, want) in [
            ("", vec![]),
            ("&&", vec![]),
            (
                "MarketplaceIds=canary&CreatedAfter=canary",
                vec!["MarketplaceIds", "CreatedAfter"],
            ),
            ("skus[0]=canary&a.b-c_d=1", vec!["skus[0]", "a.b-c_d"]),
            ("X-Amz-Security-Token=x", vec!["X-Amz-Security-Token"]),
            ("=canary", vec!["…"]),
            ("Atza|canary", vec!["…"]),
            ("spx-a-canary=1", vec!["…"]),
            ("can%61ry=1", vec!["…"]),
            ("0123456789abcdef0123456789abcdef", vec!["…"]),
            (&"k".repeat(41), vec!["…"]),
        ] {
            assert_eq!(query_keys(query), want, "{query}");
        }
        let many = "k=1&".repeat(100);
        let keys = query_keys(&many);
        assert_eq!((keys.len(), keys.last()), (KEYS + 1, Some(&"…")));
    }
}
