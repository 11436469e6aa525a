//! What refused callers read, and what restricted resources are covered.

use super::*;
use crate::catalog::Catalog;
use crate::name::HostPattern;

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

/// What a refused caller reads, in one text.
fn words(refusal: &Refusal) -> String {
    format!("{} {}", refusal.message, refusal.details)
}

#[test]
fn a_refused_host_reads_what_such_a_host_usually_is() {
    let policy = enforcing(&[]);
    for (authority, want) in [
        (
            "sandbox.sellingpartnerapi-eu.amazon.com:443",
            "mode: inject, ports: [443]",
        ),
        ("api.amazon.com:443", "mode: lwa, "),
        ("bucket.s3.amazonaws.com:443", "mode: document, "),
        ("d1.cloudfront.net:8443", "mode: document, ports: [8443]"),
        ("api.amazon.com.example:443", "mode: tunnel, "),
        ("192.0.2.7:443", "a rule names exactly that address"),
    ] {
        let authority = Authority::parse(authority).unwrap();
        let refusal = policy.egress(&authority).unwrap_err();
        assert_eq!(refusal.reason, Reason::EgressDenied);
        let host = format!("No egress rule names {}.", authority.host);
        assert_eq!(refusal.message, host);
        assert!(refusal.details.contains(want), "{}", refusal.details);
    }
}

#[test]
fn a_refused_port_reads_the_ports_of_the_rule() {
    let rule = EgressRule {
        host: HostPattern::parse("*.example.com").unwrap(),
        mode: EgressMode::Tunnel,
        ports: vec![443, 8443],
    };
    let policy = Policy::of(&[rule], &[], PolicyMode::Enforce);
    let authority = Authority::parse("a.example.com:22").unwrap();
    let refusal = policy.egress(&authority).unwrap_err();
    assert_eq!(refusal.reason, Reason::PortDenied);
    assert_eq!(
        words(&refusal),
        "The egress rule for *.example.com does not name port 22. It names [443, 8443]. The first rule that names the \
         host decides; add 22 to its `ports`."
    );
}

#[test]
fn an_ambiguous_path_reads_what_is_wrong_with_it_and_what_to_send() {
    let policy = enforcing(&[rule("GET /a/{x}"), rule("GET /a/b")]);
    for (path, wrong, instead) in [
        ("a", "start with a slash", "its leading slash"),
        ("/a/..", "a dot segment", "without . and .. segments"),
        ("/a//b", "an empty segment", "without // and"),
        ("/a/%5C", "a backslash", "without backslashes"),
        ("/a/%00", "a control byte", "without control bytes"),
        ("/a/%zz", "a percent sign", "%25"),
        ("/a/b#c", "a ? or a #", "%3F and %23"),
        ("/a/c%2Fd", "an encoded slash", "`encoded_slash: true`"),
        ("/a/%62", "another operation's path", "no ; in"),
    ] {
        let refusal = refusal_of(verdict_at(&policy, NA, &format!("GET {path}"), None));
        assert_eq!(refusal.reason, Reason::PathAmbiguous, "{path}");
        assert!(refusal.message.contains(wrong), "{}", refusal.message);
        assert!(refusal.details.contains(instead), "{}", refusal.details);
        let asked = policy.restricted_resource(&tenant(), &http::Method::GET, path, &[]);
        let refusal = asked.unwrap_err();
        assert_eq!(refusal.reason, Reason::RdtDenied, "{path}");
        assert!(refusal.message.contains(wrong), "{}", refusal.message);
        assert!(refusal.details.contains(instead), "{}", refusal.details);
    }
}

#[test]
fn a_refused_route_names_a_scope_that_the_tenant_has_and_what_the_hint_rests_on() {
    let mut other = tenant();
    other.scopes = vec!["pricing".to_owned()];
    let policy = enforcing(&[]);
    let details = |tenant: &Tenant, method: &str, path: &str| {
        let verdict = policy.route(&Ask {
            tenant,
            host: &Host::parse(NA).unwrap(),
            method: &method.parse().unwrap(),
            path,
            query: None,
        });
        words(&refusal_of(verdict))
    };
    for (tenant, request, want) in [
        (&other, "GET /orders/v0/orders/1", ", scope: pricing }"),
        (
            &tenant(),
            "GET /orders/v0/orders/1",
            ", scope: inventory-and-order-tracking }",
        ),
        (
            &tenant(),
            "POST /feeds/2021-06-30/feeds",
            ", scope: amazon-fulfillment }",
        ),
        (
            &tenant(),
            "POST /feeds/2021-06-30/feeds",
            "(createFeed; scope: one of [amazon-fulfillment, ",
        ),
        (
            &tenant(),
            "POST /feeds/2021-06-30/feeds",
            "], by Amazon's role tables of 2022)",
        ),
        (
            &tenant(),
            "GET /orders/2026-01-01/orders/1",
            "], by Amazon's pages of 2026)",
        ),
        (
            &tenant(),
            "GET /fulfillment/outbound/2026-07-04/orders/1",
            "], known for the API as a whole)",
        ),
        (
            &tenant(),
            "GET /notifications/v1/destinations",
            "\" } (getDestinations)",
        ),
        (
            &tenant(),
            "DELETE /orders/v0/orders",
            "No route allows DELETE /orders/v0/orders.",
        ),
        // whatever a caller writes there is not repeated
        (
            &tenant(),
            "CANARY /orders/v0/orders",
            "No route allows that method on /orders/v0/orders.",
        ),
    ] {
        let (method, path) = request.split_once(' ').unwrap();
        let said = details(tenant, method, path);
        assert!(said.contains(want), "{want}: {said}");
    }
}

#[test]
fn a_refused_tenant_reads_its_own_side_of_the_matter() {
    let mut lacking = rule("GET /orders/v0/orders");
    lacking.scope = Some("role-b".to_owned());
    let lacking = enforcing(&[lacking]);
    let policy = enforcing(&[rule("GET /orders/v0/orders")]);
    let said = |policy: &Policy, host: &str| {
        let query = Some("MarketplaceIds=canary");
        words(&refusal_of(verdict_at(
            policy,
            host,
            "GET /orders/v0/orders",
            query,
        )))
    };
    assert_eq!(
        said(&policy, "sandbox.sellingpartnerapi-eu.amazon.com"),
        format!(
            "Tenant acme is na production; sandbox.sellingpartnerapi-eu.amazon.com is another region or environment \
             (eu sandbox). Call {NA}, or name a tenant of that region and environment."
        )
    );
    assert_eq!(
        said(&lacking, NA),
        "The route /orders/v0/orders wants the scope role-b, which tenant acme does not have. Tenant acme has [role-a]. \
         Add the role to the app at Amazon, let the selling partner authorize it again (a role that is added later needs \
         re-authorization), then add role-b to the tenant's `scopes`."
    );
    assert_eq!(
        said(&policy, NA),
        "The request names a marketplace that is not one of tenant acme's. Tenant acme may use [ATVPDKIKX0DER]; \
         `marketplaces` of the tenant is the list."
    );
}

#[test]
fn a_refused_restricted_resource_reads_which_elements_to_add_to_its_route() {
    let mut orders = rule("GET /orders/v0/orders/{orderId}");
    orders.rdt = Some(rdt(&["buyerInfo"]));
    let mut lacking = rule("GET /orders/v0/orders/{orderId}/address");
    lacking.scope = Some("role-b".to_owned());
    let policy = enforcing(&[
        orders,
        lacking,
        rule("GET /orders/v0/orders/{orderId}/buyerInfo"),
    ]);
    for (path, elements, want) in [
        (
            "/orders/v0/orders/1",
            // twice is once, and a caller's own word is not repeated
            &["shippingAddress", "buyerInfo", "shippingAddress", "canary"][..],
            "More data elements were asked for than the route /orders/v0/orders/{orderId} allows. It allows [buyerInfo]. If \
             the app needs more, change the route's: rdt: { data_elements: [buyerInfo, shippingAddress], per: template, \
             required: true }",
        ),
        (
            "/orders/v0/orders/1/buyerInfo",
            &["buyerInfo"],
            "The route /orders/v0/orders/{orderId}/buyerInfo has no `rdt`, so it takes no restricted data token. Add to the \
             route: rdt: { data_elements: [buyerInfo], per: template, required: true }",
        ),
        (
            "/orders/v0/orders/1/address",
            &[],
            "A restricted data token for /orders/v0/orders/{orderId}/address wants the scope role-b, which tenant acme does \
             not have. Tenant acme has [role-a]. Add the role to the app at Amazon, let the selling partner authorize it \
             again (a role that is added later needs re-authorization), then add role-b to the tenant's `scopes`.",
        ),
        (
            "/canary",
            &[],
            "No route allows GET /{…}, so no restricted data token for it. Ask for the path of an operation that a route \
             allows, without query.",
        ),
    ] {
        let asked = policy.restricted_resource(&tenant(), &http::Method::GET, path, elements);
        assert_eq!(words(&asked.unwrap_err()), want);
    }
    let asked = policy.restricted_resource(&tenant(), &http::Method::GET, "/orders/v0/orders", &[]);
    let said = words(&asked.unwrap_err());
    assert!(
        said.contains("- { allow: \"GET /orders/v0/orders\", scope: "),
        "{said}"
    );
}
