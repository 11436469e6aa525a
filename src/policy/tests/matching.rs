//! Which paths match which route.

use proptest::prelude::*;

use super::*;
use crate::catalog::Catalog;
use crate::catalog::tree::{parameter_name, segments};

#[test]
fn a_route_allows_its_method_and_template_and_nothing_else() {
    let policy = enforcing(&[
        rule("GET /orders/v0/orders"),
        rule("GET /orders/v0/orders/{orderId}"),
        rule("POST /feeds/2021-06-30/feeds"),
    ]);
    for (request, want) in [
        ("GET /orders/v0/orders", Ok("/orders/v0/orders")),
        ("HEAD /orders/v0/orders", Ok("/orders/v0/orders")),
        (
            "GET /orders/v0/orders/1-2",
            Ok("/orders/v0/orders/{orderId}"),
        ),
        (
            "GET /orders/v0/orders/%FF%20",
            Ok("/orders/v0/orders/{orderId}"),
        ),
        (
            "POST /feeds/2021-06-30/feeds",
            Ok("/feeds/2021-06-30/feeds"),
        ),
        ("HEAD /feeds/2021-06-30/feeds", Err(Reason::RouteDenied)),
        ("POST /orders/v0/orders", Err(Reason::RouteDenied)),
        ("get /orders/v0/orders", Err(Reason::RouteDenied)),
        ("GET /Orders/v0/orders", Err(Reason::RouteDenied)),
        ("GET /orders/v0/%6frders", Err(Reason::RouteDenied)),
        ("GET /orders/v0/orders/1/address", Err(Reason::RouteDenied)),
        ("GET /", Err(Reason::RouteDenied)),
        ("GET /orders/v0/orders/", Err(Reason::PathAmbiguous)),
        ("GET /orders/v0//orders", Err(Reason::PathAmbiguous)),
        ("GET /orders/v0/x/../orders", Err(Reason::PathAmbiguous)),
        ("GET /orders/v0/orders/%2e%2E", Err(Reason::PathAmbiguous)),
        ("GET /orders/v0/orders/a%2Fb", Err(Reason::PathAmbiguous)),
        ("GET /unlisted/a%2fb", Err(Reason::PathAmbiguous)),
        ("GET /orders/v0/orders/a%5Cb", Err(Reason::PathAmbiguous)),
        ("GET /orders/v0/orders/%00", Err(Reason::PathAmbiguous)),
        ("GET /orders/v0/orders/%zz", Err(Reason::PathAmbiguous)),
        ("GET orders", Err(Reason::PathAmbiguous)),
    ] {
        assert_eq!(
            outcome(&policy, request),
            want.map(str::to_owned),
            "{request}"
        );
    }
}

#[test]
fn an_encoded_slash_is_data_in_a_sku_a_greedy_parameter_or_where_the_route_says_so() {
    let mut says_so = rule("GET /orders/v0/orders/{orderId}");
    says_so.encoded_slash = true;
    let sku = "/listings/2021-08-01/items/{sellerId}/{sku}";
    let upload = "/uploads/2020-11-01/uploadDestinations/{resource}";
    let policy = enforcing(&[
        // the catalog's names count, not the route's
        rule("GET /listings/2021-08-01/items/{sku}/{name}"),
        rule("GET /made/up/{sku}/{id}"),
        rule(&format!("POST {upload}")),
        says_so,
    ]);
    let listing = "/listings/2021-08-01/items/{sku}/{name}";
    for (request, want) in [
        ("GET /listings/2021-08-01/items/S/a%2Fb", Ok(listing)),
        ("GET /listings/2021-08-01/items/S/a%2fb%2F", Ok(listing)),
        (
            "GET /listings/2021-08-01/items/S%2F/b",
            Err(Reason::PathAmbiguous),
        ),
        (
            "GET /listings/2021-08-01/items/S/a%2F..%2Fb",
            Err(Reason::PathAmbiguous),
        ),
        // the operation is known and its parameter is a SKU: it is the route that is missing
        (
            "PUT /listings/2021-08-01/items/S/a%2Fb",
            Err(Reason::RouteDenied),
        ),
        ("GET /made/up/a%2Fb/c", Ok("/made/up/{sku}/{id}")),
        ("GET /made/up/a/b%2Fc", Err(Reason::PathAmbiguous)),
        (
            "POST /uploads/2020-11-01/uploadDestinations/a%2Fb",
            Ok(upload),
        ),
        (
            "POST /uploads/2020-11-01/uploadDestinations/a/b%2Fc/d",
            Ok(upload),
        ),
        (
            "POST /uploads/2020-11-01/uploadDestinations/a//b",
            Err(Reason::PathAmbiguous),
        ),
        (
            "GET /orders/v0/orders/a%2Fb",
            Ok("/orders/v0/orders/{orderId}"),
        ),
        // decoded, that would be getOrderAddress
        (
            "GET /orders/v0/orders/a%2Faddress",
            Err(Reason::PathAmbiguous),
        ),
    ] {
        assert_eq!(
            outcome(&policy, request),
            want.map(str::to_owned),
            "{request}"
        );
    }
    assert!(
        Catalog::embedded()
            .by_template(&http::Method::GET, sku)
            .is_some()
    );
}

#[test]
fn an_encoded_literal_does_not_slip_into_a_parameter() {
    let policy = enforcing(&[
        rule("GET /made/up/{any}"),
        rule("GET /made/up/secret"),
        rule("GET /orders/{version}/orders"),
    ]);
    for (request, want) in [
        ("GET /made/up/secret", Ok("/made/up/secret")),
        ("GET /made/up/Secret", Ok("/made/up/{any}")),
        ("GET /made/up/%73ecret2", Ok("/made/up/{any}")),
        ("GET /made/up/%73ecret", Err(Reason::PathAmbiguous)),
        ("GET /made/up/secret;x=1", Err(Reason::PathAmbiguous)),
        ("GET /made/up/secret%3Bx", Err(Reason::PathAmbiguous)),
        ("GET /orders/v0/orders", Ok("/orders/{version}/orders")),
        // decoded, the catalog knows it
        ("GET /orders/%760/orders", Err(Reason::PathAmbiguous)),
    ] {
        assert_eq!(
            outcome(&policy, request),
            want.map(str::to_owned),
            "{request}"
        );
    }
}

#[test]
fn of_two_routes_of_one_shape_the_first_counts() {
    let mut second = rule("GET /a/{y}");
    second.scope = Some("role-b".to_owned());
    let policy = enforcing(&[rule("GET /a/{x}"), second]);
    assert_eq!(outcome(&policy, "GET /a/1"), Ok("/a/{x}".to_owned()));
}

fn segment() -> impl Strategy<Value = String> {
    prop_oneof![Just("a"), Just("b"), Just("c"), Just("{x}")].prop_map(str::to_owned)
}

fn template() -> impl Strategy<Value = String> {
    prop::collection::vec(segment(), 1..4).prop_map(|all| format!("/{}", all.join("/")))
}

/// Another spelling of a path: some characters percent-encoded, some segments with a matrix parameter.
fn respelt(path: &str, choices: &[u8]) -> String {
    let mut choices = choices.iter().cycle();
    let mut spelt = String::new();
    for part in segments(path) {
        spelt.push('/');
        for byte in part.bytes() {
            match choices.next().map(|choice| choice % 3) {
                Some(0) => spelt.push_str(&format!("%{byte:02x}")),
                Some(1) => spelt.push_str(&format!("%{byte:02X}")),
                _ => spelt.push(char::from(byte)),
            }
        }
        if choices.next().is_some_and(|choice| choice % 4 == 0) {
            spelt.push_str(";m=1");
        }
    }
    spelt
}

proptest! {
    /// Whatever spelling is allowed, is allowed as what the plain spelling is: no reader can take it for another route.
    #[test]
    fn two_spellings_of_a_path_are_never_two_routes(
        templates in prop::collection::vec(template(), 1..8),
        path in template(),
        choices in prop::collection::vec(any::<u8>(), 8),
    ) {
        let path = path.replace("{x}", "z");
        let rules: Vec<_> = templates.iter().map(|t| rule(&format!("GET {t}"))).collect();
        let policy = enforcing(&rules);
        let plain = outcome(&policy, &format!("GET {path}"));
        if let Ok(spelt) = outcome(&policy, &format!("GET {}", respelt(&path, &choices))) {
            prop_assert_eq!(Ok(spelt), plain);
        }
    }

    /// What is allowed matches its template, segment by raw segment.
    #[test]
    fn an_allowed_path_matches_its_template_literally(
        templates in prop::collection::vec(template(), 1..8),
        path in "(/[abc.%2fFeE;\\\\]{0,4}){1,4}",
    ) {
        let rules: Vec<_> = templates.iter().map(|t| rule(&format!("GET {t}"))).collect();
        if let Ok(allowed) = outcome(&enforcing(&rules), &format!("GET {path}")) {
            prop_assert_eq!(segments(&allowed).count(), segments(&path).count());
            for (want, have) in segments(&allowed).zip(segments(&path)) {
                prop_assert!(want == have || parameter_name(want).is_some());
                prop_assert!(!have.is_empty() && have != "." && have != "..");
                prop_assert!(!have.to_lowercase().contains("%2f"));
            }
        }
    }
}
