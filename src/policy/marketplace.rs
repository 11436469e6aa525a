//! The marketplaces that a query or a JSON body names.
//!
//! Job: whether a raw query, or a body of an operation that names marketplaces there, names one that is not the tenant's.
//! Invariants: keys are compared decoded and without regard to case, underscores or an index (`MarketplaceIds.1`,
//! `marketplaceIds[]`), because what an origin takes for the key is not ours to know; every repetition counts, and every
//! id of a list. An id that cannot be decoded is nobody's.
//! Failure mode: none; the caller words the refusal and quotes nothing.

use std::borrow::Cow;

use super::Body;
use crate::catalog::Operation;

/// Whether every marketplace that the query names is one of `allowed`. A tenant without a list may use any.
pub(super) fn are_allowed(query: Option<&str>, allowed: &[String]) -> bool {
    let (Some(query), false) = (query, allowed.is_empty()) else {
        return true;
    };
    query
        .split('&')
        .all(|pair| pair_is_allowed(pair, allowed) && parts_are_allowed(pair, allowed))
}

/// Whether every marketplace that a JSON body names, at any depth, is one of `allowed`. A key counts as in a query; what
/// stands under it has to be text, or a list of texts.
pub(super) fn are_allowed_in(body: &Body, allowed: &[String]) -> bool {
    if allowed.is_empty() {
        return true;
    }
    match body {
        Body::Object(fields) => fields.iter().all(|(key, value)| {
            if names_marketplaces(key.as_bytes()) {
                ids_are_allowed(value, allowed)
            } else {
                are_allowed_in(value, allowed)
            }
        }),
        Body::Array(items) => items.iter().all(|item| are_allowed_in(item, allowed)),
        Body::Null | Body::Text(_) | Body::Other => true,
    }
}

fn ids_are_allowed(ids: &Body, allowed: &[String]) -> bool {
    match ids {
        Body::Null => true,
        Body::Text(ids) => ids
            .split([',', ';', ' '])
            .filter(|id| !id.is_empty())
            .all(|id| allowed.iter().any(|own| own == id)),
        Body::Array(items) => items.iter().all(|item| ids_are_allowed(item, allowed)),
        Body::Object(_) | Body::Other => false,
    }
}

/// Operations whose JSON body names the marketplaces that they are for.
pub(super) fn are_in_the_body(operation: &Operation) -> bool {
    matches!(
        operation.operation_id.as_str(),
        "createReport" | "createReportSchedule" | "createFeed"
    )
}

/// Some servers take `;` for `&`.
fn parts_are_allowed(pair: &str, allowed: &[String]) -> bool {
    !pair.contains(';') || pair.split(';').all(|part| pair_is_allowed(part, allowed))
}

fn pair_is_allowed(pair: &str, allowed: &[String]) -> bool {
    let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
    if !names_marketplaces(&decoded(key)) {
        return true;
    }
    decoded(value)
        .split(|byte| matches!(byte, b',' | b';' | b' '))
        .filter(|id| !id.is_empty())
        .all(|id| allowed.iter().any(|own| own.as_bytes() == id))
}

fn names_marketplaces(key: &[u8]) -> bool {
    let base = key
        .split(|byte| matches!(byte, b'.' | b'['))
        .next()
        .unwrap_or_default();
    let letters: Vec<u8> = base
        .iter()
        .filter(|byte| !matches!(byte, b'_' | b'-'))
        .map(u8::to_ascii_lowercase)
        .collect();
    matches!(letters.as_slice(), b"marketplaceid" | b"marketplaceids")
}

/// `application/x-www-form-urlencoded`, with a bad escape left as it is.
fn decoded(text: &str) -> Cow<'_, [u8]> {
    if !text.contains(['%', '+']) {
        return Cow::Borrowed(text.as_bytes());
    }
    let spaced = text.replace('+', " ");
    let mut out = Vec::with_capacity(spaced.len());
    let mut bytes = spaced.bytes();
    while let Some(byte) = bytes.next() {
        let mut ahead = bytes.clone();
        let escape = (byte == b'%').then(|| escape(ahead.next(), ahead.next()));
        if let Some(value) = escape.flatten() {
            out.push(value);
            bytes = ahead;
        } else {
            out.push(byte);
        }
    }
    Cow::Owned(out)
}

fn escape(high: Option<u8>, low: Option<u8>) -> Option<u8> {
    let digit = |byte: Option<u8>| char::from(byte?).to_digit(16);
    u8::try_from(digit(high)? << 4 | digit(low)?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_marketplace_that_is_not_the_tenants_is_seen_in_every_spelling() {
        let own = ["ATVPDKIKX0DER".to_owned(), "A2EUQ1WTGCTBG2".to_owned()];
        for (query, want) in [
            ("", true),
            ("MarketplaceIds=", true),
            ("MarketplaceIds=ATVPDKIKX0DER", true),
            ("MarketplaceIds=ATVPDKIKX0DER,A2EUQ1WTGCTBG2", true),
            ("MarketplaceIds=ATVPDKIKX0DER%2CA2EUQ1WTGCTBG2", true),
            ("marketplaceIds=%41TVPDKIKX0DER", true),
            ("marketplaceIds=ATVPDKIKX0DER,+A2EUQ1WTGCTBG2", true),
            ("x=A1PA6795UKMFR9", true),
            ("CreatedAfter=2026-01-01&MarketplaceId=ATVPDKIKX0DER", true),
            ("x=1;marketplaceIds=ATVPDKIKX0DER;y=2", true),
            ("marketplaceIds=ATVPDKIKX0DER;A2EUQ1WTGCTBG2", true),
            ("MarketplaceId=A1PA6795UKMFR9", false),
            ("MarketplaceIds=A1PA6795UKMFR9", false),
            ("marketplaceId=A1PA6795UKMFR9", false),
            ("marketplaceIds=A1PA6795UKMFR9", false),
            ("marketplace_ids=A1PA6795UKMFR9", false),
            ("MARKETPLACEIDS=A1PA6795UKMFR9", false),
            ("marketplaceIds%5B%5D=A1PA6795UKMFR9", false),
            ("MarketplaceId.Id.1=A1PA6795UKMFR9", false),
            ("marketplace%49ds=A1PA6795UKMFR9", false),
            ("marketplaceIds=ATVPDKIKX0DER,A1PA6795UKMFR9", false),
            ("marketplaceIds=ATVPDKIKX0DER%2cA1PA6795UKMFR9", false),
            (
                "marketplaceIds=ATVPDKIKX0DER&marketplaceIds=A1PA6795UKMFR9",
                false,
            ),
            ("x=1;marketplaceIds=A1PA6795UKMFR9", false),
            ("marketplaceIds=ATVPDKIKX0DER;A1PA6795UKMFR9", false),
            ("marketplaceIds=atvpdkikx0der", false),
            ("marketplaceIds=%zz", false),
            ("marketplaceIds=%FF", false),
        ] {
            assert_eq!(are_allowed(Some(query), &own), want, "{query}");
        }
    }

    #[test]
    fn a_marketplace_in_a_body_is_seen_at_any_depth_and_in_every_spelling() {
        let own = ["ATVPDKIKX0DER".to_owned()];
        for (body, want) in [
            (
                r#"{"reportType":"X","marketplaceIds":["ATVPDKIKX0DER"]}"#,
                true,
            ),
            (r#"{"reportType":"X","marketplaceIds":[]}"#, true),
            (r#"{"reportType":"X"}"#, true),
            (r#"{"marketplaceIds":["A1PA6795UKMFR9"]}"#, false),
            (
                r#"{"marketplaceIds":["ATVPDKIKX0DER","A1PA6795UKMFR9"]}"#,
                false,
            ),
            (r#"{"MarketplaceId":"A1PA6795UKMFR9"}"#, false),
            (
                r#"{"marketplace_ids":"ATVPDKIKX0DER,A1PA6795UKMFR9"}"#,
                false,
            ),
            (r#"{"a":[{"marketplaceIds":["A1PA6795UKMFR9"]}]}"#, false),
            (r#"{"marketplaceIds":null,"n":[-1,0.5,true,null]}"#, true),
            (r#"{"marketplaceIds":[1]}"#, false),
            (r#"{"marketplaceIds":-1}"#, false),
            (r#"{"marketplaceIds":0.5}"#, false),
            (r#"{"marketplaceIds":true}"#, false),
            (r#"{"marketplaceIds":{}}"#, false),
            (
                r#"{"marketplaceIds":["A1PA6795UKMFR9"],"marketplaceIds":["ATVPDKIKX0DER"]}"#,
                false,
            ),
            (
                r#"{"marketplaceIds":["ATVPDKIKX0DER"],"marketplace\u0049ds":["A1PA6795UKMFR9"]}"#,
                false,
            ),
        ] {
            let value = serde_json::from_str(body).unwrap();
            assert_eq!(are_allowed_in(&value, &own), want, "{body}");
        }
    }

    #[test]
    fn a_tenant_without_a_list_may_use_any() {
        assert!(are_allowed(Some("marketplaceIds=A1PA6795UKMFR9"), &[]));
        assert!(are_allowed(None, &["ATVPDKIKX0DER".to_owned()]));
    }
}
