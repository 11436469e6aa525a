use std::collections::BTreeSet;
use std::path::Path;

use super::*;

const ORDERS: (Method, &str) = (Method::GET, "/orders/v0/orders");
const ADDRESS: (Method, &str) = (Method::GET, "/orders/v0/orders/123-1/address");
const DESTINATIONS: (Method, &str) = (Method::POST, "/notifications/v1/destinations");
const NOWHERE: (Method, &str) = (Method::GET, "/orders/v9/orders");

const CORPUS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/corpus/answers");

/// One answer of the corpus: status, content type and body.
fn recorded(name: &str) -> (u16, Option<String>, String) {
    let text = std::fs::read_to_string(Path::new(CORPUS).join(format!("{name}.http"))).unwrap();
    let (head, body) = text.split_once("\n\n").unwrap();
    let status = head
        .split(' ')
        .nth(1)
        .and_then(|code| code.parse().ok())
        .unwrap();
    let kind = head
        .lines()
        .find_map(|line| line.strip_prefix("content-type: "));
    (status, kind.map(str::to_owned), body.to_owned())
}

fn judged(name: &str, (method, path): &(Method, &str), token_kind: &'static str) -> Meaning {
    judged_after(name, (method, path), token_kind, false)
}

fn judged_after(
    name: &str,
    (method, path): (&Method, &str),
    token_kind: &'static str,
    throttled_lately: bool,
) -> Meaning {
    let (status, kind, body) = recorded(name);
    let call = Call {
        method,
        path,
        token_kind,
        throttled_lately,
    };
    let kind = kind.as_deref().map(str::as_bytes);
    judge(status, kind, body.as_bytes(), &call)
}

/// What each recorded answer means to a call of getOrders with the tenant's token.
const MEANT: [(&str, Meaning); 30] = {
    use Denial as D;
    use Meaning::{Denied, Malformed, Neutral, Taken, Trouble};
    [
        ("200_orders", Taken),
        ("400_data_elements", Denied(D::DataElements)),
        ("400_invalid_input", Neutral),
        ("400_page", Malformed),
        (
            "401_invalid_authentication_token",
            Denied(D::Unauthenticated),
        ),
        ("401_unauthorized", Denied(D::Unauthenticated)),
        ("403_burst_forbidden", Denied(D::Forbidden)),
        ("403_denied", Denied(D::Role)),
        ("403_denied_by_another_code", Denied(D::Role)),
        ("403_denied_without_details", Denied(D::Role)),
        ("403_empty", Denied(D::Role)),
        ("403_missing_authentication_token", Denied(D::TokenMissing)),
        ("403_page", Denied(D::Role)),
        ("403_report_forbidden", Denied(D::Forbidden)),
        ("403_secret_lapsed", Denied(D::SecretLapsed)),
        ("403_token_expired", Denied(D::TokenExpired)),
        ("403_token_invalid", Denied(D::TokenInvalid)),
        ("403_token_missing", Denied(D::TokenMissing)),
        ("403_vendor_link", Denied(D::VendorLink)),
        ("403_wrong_region", Denied(D::Region)),
        ("404_not_found", Neutral),
        ("429_quota_exceeded", Denied(D::Throttled)),
        ("429_rate_limited", Denied(D::Throttled)),
        ("429_request_throttled", Denied(D::Throttled)),
        ("429_too_many_requests", Denied(D::Throttled)),
        ("429_too_many_requests_shouted", Denied(D::Throttled)),
        ("500_internal_failure", Trouble),
        ("502_page", Trouble),
        ("503_service_unavailable", Trouble),
        ("504_gateway_timeout", Trouble),
    ]
};

#[test]
fn every_recorded_answer_has_its_meaning() {
    for (name, want) in MEANT {
        assert_eq!(judged(name, &ORDERS, "access"), want, "{name}");
    }
    let listed = BTreeSet::from(MEANT.map(|(name, _)| name.to_owned()));
    let there: BTreeSet<String> = std::fs::read_dir(CORPUS)
        .unwrap()
        .filter_map(|entry| {
            let name = entry.unwrap().file_name().into_string().unwrap();
            name.strip_suffix(".http").map(str::to_owned)
        })
        .collect();
    assert_eq!(listed, there);
}

#[test]
fn what_a_denial_says_in_words_is_read_for_what_it_names() {
    for (text, want) in [
        ("The secret token has EXPIRED", Some(Denial::SecretLapsed)),
        ("The secret token is fine", None),
        ("The access token has expired", Some(Denial::TokenExpired)),
        ("The grant has expired", None),
        ("The access token was revoked", Some(Denial::TokenInvalid)),
        ("The access token is malformed", Some(Denial::TokenInvalid)),
        ("The access token is invalid", Some(Denial::TokenInvalid)),
        ("The request is invalid", None),
        ("The access token is missing", Some(Denial::TokenMissing)),
        ("A field is missing", None),
        ("Error SPSA2043", Some(Denial::VendorLink)),
        ("not linked to a vendor group", Some(Denial::VendorLink)),
        ("the marketplace is of another region", Some(Denial::Region)),
        ("the marketplace is closed", None),
        ("access is forbidden", Some(Denial::Forbidden)),
        ("", None),
    ] {
        assert_eq!(words(text), want, "{text}");
    }
}

#[test]
fn an_unexplained_403_is_explained_by_what_was_asked() {
    for (call, kind, want) in [
        (&ORDERS, "access", Denial::Role),
        (&ORDERS, "rdt", Denial::Role),
        (&ORDERS, "grantless", Denial::WrongKind),
        (&ADDRESS, "access", Denial::WrongKind),
        (&ADDRESS, "rdt", Denial::Role),
        (&DESTINATIONS, "access", Denial::WrongKind),
        (&DESTINATIONS, "rdt", Denial::WrongKind),
        (&DESTINATIONS, "grantless", Denial::Role),
        (&NOWHERE, "access", Denial::UnknownPath),
    ] {
        let meaning = judged("403_denied", call, kind);
        assert_eq!(meaning, Meaning::Denied(want), "{} with {kind}", call.1);
    }
}

#[test]
fn what_is_forbidden_soon_after_a_429_is_throttling_in_disguise_and_nothing_else_is() {
    let after = |name| judged_after(name, (&ORDERS.0, ORDERS.1), "access", true);
    let disguised = Meaning::Denied(Denial::ThrottledAsForbidden);
    assert_eq!(after("403_burst_forbidden"), disguised);
    assert_eq!(after("403_denied"), Meaning::Denied(Denial::Role));
    assert_eq!(
        after("403_token_expired"),
        Meaning::Denied(Denial::TokenExpired)
    );
}

#[test]
fn words_count_in_json_alone_and_in_any_letter_case() {
    let call = Call {
        method: &ORDERS.0,
        path: ORDERS.1,
        token_kind: "access",
        throttled_lately: false,
    };
    let of = |body: &str| judge(403, None, body.as_bytes(), &call);
    let page = "<html>the access token has expired</html>";
    assert_eq!(of(page), Meaning::Denied(Denial::Role));
    let shouted = r#"{"errors":[{"details":"The ACCESS TOKEN you provided has EXPIRED."}]}"#;
    assert_eq!(of(shouted), Meaning::Denied(Denial::TokenExpired));
    let second = r#"{"errors":[{"code":"x"},{"message":"The access token is malformed."}]}"#;
    assert_eq!(of(second), Meaning::Denied(Denial::TokenInvalid));
}
