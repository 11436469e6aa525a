//! What refused callers read, and what restricted resources are covered.

use super::*;
use crate::catalog::Catalog;

#[test]
fn a_restricted_resource_needs_a_route_with_at_least_its_elements() {
    let mut orders = rule("GET /orders/v0/orders/{orderId}");
    orders.rdt = Some(rdt(&["buyerInfo", "shippingAddress"]));
    let mut address = rule("GET /orders/v0/orders/{orderId}/address");
    address.rdt = Some(rdt(&[]));
    let mut lacking = rule("GET /orders/v0/orders/{orderId}/buyerInfo");
    lacking.rdt = Some(rdt(&[]));
    lacking.scope = Some("role-b".to_owned());
    let policy = enforcing(&[
        orders,
        address,
        lacking,
        rule("GET /orders/v0/orders/{orderId}/orderItems/buyerInfo"),
        rule("GET /sellers/v1/marketplaceParticipations"),
    ]);
    for (path, elements, want) in [
        ("/orders/v0/orders/1-2", vec!["buyerInfo"], true),
        (
            "/orders/v0/orders/{orderId}",
            vec!["shippingAddress", "buyerInfo"],
            true,
        ),
        ("/orders/v0/orders/1-2", vec![], true),
        ("/orders/v0/orders/1-2", vec!["buyerTaxInformation"], false),
        ("/orders/v0/orders/{orderId}/address", vec![], true),
        ("/orders/v0/orders/{id}/address", vec![], true),
        ("/orders/v0/orders/1/address", vec!["buyerInfo"], false),
        ("/orders/v0/orders/1/buyerInfo", vec![], false),
        ("/orders/v0/orders/1/orderItems/buyerInfo", vec![], false),
        ("/sellers/v1/marketplaceParticipations", vec![], true),
        (
            "/sellers/v1/marketplaceParticipations",
            vec!["buyerInfo"],
            false,
        ),
        ("/orders/v0/orders", vec![], false),
        ("/orders/v0/orders/../address", vec![], false),
        ("/orders/v0/orders/1?x", vec![], false),
        ("{orderId}", vec![], false),
    ] {
        let asked = policy.restricted_resource(&tenant(), &http::Method::GET, path, &elements);
        let reason = asked.map_err(|refusal| refusal.reason);
        let want = if want { Ok(()) } else { Err(Reason::RdtDenied) };
        assert_eq!(reason, want, "{path} {elements:?}");
    }
}

#[test]
fn a_refused_route_says_which_lines_would_allow_it() {
    let policy = enforcing(&[]);
    for (request, want) in [
        (
            "GET /orders/v0/orders/canary",
            "- { allow: \"GET /orders/v0/orders/{orderId}\", scope: inventory-and-order-tracking }",
        ),
        (
            "GET /orders/v0/orders/canary/address",
            "rdt: { data_elements: [], per: template, required: true } }",
        ),
        (
            "GET /reports/2021-06-30/documents/canary",
            "rdt: { data_elements: [], per: path, required: false } }",
        ),
        (
            "GET /notifications/v1/destinations",
            "grantless: \"sellingpartnerapi::notifications\" }",
        ),
        ("GET /orders/v0/Orders", "the nearest is getOrders"),
        ("GET /canary", "If it exists"),
    ] {
        let refusal = refusal_of(verdict_at(&policy, NA, request, None));
        assert!(refusal.details.contains(want), "{}", refusal.details);
    }
}

#[test]
fn no_refusal_quotes_a_parameter_or_reads_like_an_expired_token() {
    let report = Policy::of(&[], &[], PolicyMode::Report);
    for operation in Catalog::embedded().operations() {
        let path = operation.path.replace('{', "canary").replace('}', "");
        let request = format!("{} {path}", operation.method);
        let query = Some("x=canary&marketplaceIds=canary");
        let mut own = rule(&format!("{} {}", operation.method, operation.path));
        own.rdt = Some(rdt(&["buyerInfo"]));
        let allowed = enforcing(std::slice::from_ref(&own));
        own.scope = Some("role-b".to_owned());
        let lacking = enforcing(&[own]);
        let covers = |policy: &Policy, elements: &[&str]| {
            let method = &operation.method;
            policy
                .restricted_resource(&tenant(), method, &path, elements)
                .unwrap_err()
        };
        for refusal in [
            refusal_of(verdict_at(&report, NA, &request, query)),
            refusal_of(verdict_at(&report, NA, &format!("{request}/%41"), query)),
            refusal_of(verdict_at(&report, NA, &format!("{request}/"), query)),
            refusal_of(verdict_at(&allowed, NA, &request, query)),
            refusal_of(verdict_at(
                &allowed,
                "sellingpartnerapi-fe.amazon.com",
                &request,
                query,
            )),
            refusal_of(verdict_at(&lacking, NA, &request, query)),
            covers(&report, &[]),
            covers(&lacking, &[]),
            covers(&allowed, &["canary"]),
        ] {
            let text = format!("{} {}", refusal.message, refusal.details).to_lowercase();
            assert!(!text.contains("canary"), "{text}");
            assert!(!text.contains("access token"), "{text}");
            assert!(!text.contains("expired"), "{text}");
        }
    }
}
