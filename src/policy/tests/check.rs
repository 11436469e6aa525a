//! Region, scope, marketplaces, and what a policy does that only reports.

use super::*;

#[test]
fn the_tenants_region_and_environment_are_the_only_sp_api_host() {
    let policy = enforcing(&[rule("GET /orders/v0/orders")]);
    for (host, allowed) in [
        (NA, true),
        ("sellingpartnerapi-eu.amazon.com", false),
        ("sandbox.sellingpartnerapi-na.amazon.com", false),
        ("private-link.example.com", true),
        ("192.0.2.7", true),
    ] {
        match verdict_at(&policy, host, "GET /orders/v0/orders", None) {
            Verdict::Allow(_) => assert!(allowed, "{host}"),
            refused @ (Verdict::WouldRefuse(..) | Verdict::Refuse(_)) => {
                assert!(!allowed, "{host}");
                let refusal = refusal_of(refused);
                assert_eq!(refusal.reason, Reason::RegionDenied);
                assert!(refusal.details.contains(NA), "{}", refusal.details);
            }
        }
    }
}

#[test]
fn a_scope_that_the_tenant_lacks_is_named() {
    let mut other = rule("GET /orders/v0/orders");
    other.scope = Some("role-b".to_owned());
    let refusal = refusal_of(verdict_at(
        &enforcing(&[other]),
        NA,
        "GET /orders/v0/orders",
        None,
    ));
    assert_eq!(refusal.reason, Reason::ScopeDenied);
    assert!(refusal.message.contains("role-b"), "{}", refusal.message);
    assert!(refusal.details.contains("[role-a]"), "{}", refusal.details);
    assert!(
        refusal.details.contains("re-authorization"),
        "{}",
        refusal.details
    );
}

#[test]
fn a_grantless_route_needs_no_scope_of_the_tenants() {
    let mut grantless = rule("POST /notifications/v1/destinations");
    grantless.scope = Some("role-b".to_owned());
    grantless.grantless = Some("sellingpartnerapi::notifications".to_owned());
    let verdict = verdict_at(
        &enforcing(&[grantless]),
        NA,
        "POST /notifications/v1/destinations",
        None,
    );
    let Verdict::Allow(route) = verdict else {
        panic!("{verdict:?}");
    };
    let want = Credential::Grantless("sellingpartnerapi::notifications".into());
    assert_eq!(route.credential, want);
    assert_eq!(&*route.operation, "createDestination");
}

#[test]
fn a_marketplace_of_somebody_else_is_refused_without_being_quoted() {
    let policy = enforcing(&[rule("GET /orders/v0/orders")]);
    let query = Some("MarketplaceIds=ATVPDKIKX0DER,A1PA6795UKMFR9");
    let refusal = refusal_of(verdict_at(&policy, NA, "GET /orders/v0/orders", query));
    assert_eq!(refusal.reason, Reason::MarketplaceDenied);
    assert!(
        refusal.details.contains("[ATVPDKIKX0DER]"),
        "{}",
        refusal.details
    );
    assert!(!format!("{refusal:?}").contains("A1PA6795UKMFR9"));
}

#[test]
fn a_tenant_may_ask_for_restricted_tokens_at_its_own_sp_api_host_alone() {
    let policy = enforcing(&[]);
    for (host, allowed) in [
        (NA, true),
        ("private-link.example.com", true),
        ("sellingpartnerapi-eu.amazon.com", false),
        ("sandbox.sellingpartnerapi-na.amazon.com", false),
    ] {
        let judged = policy.region(&tenant(), &Host::parse(host).unwrap());
        let reason = judged.map_err(|refusal| refusal.reason);
        let want = allowed.then_some(()).ok_or(Reason::RegionDenied);
        assert_eq!(reason, want, "{host}");
    }
}

#[test]
fn a_body_that_names_somebody_elses_marketplace_is_refused_without_being_quoted() {
    let policy = enforcing(&[]);
    let read = |text: &str| serde_json::from_str::<Body>(text).unwrap();
    let own = read(r#"{"marketplaceIds":["ATVPDKIKX0DER"],"reportOptions":{"n":-1}}"#);
    assert_eq!(policy.body(&tenant(), &own), Ok(()));
    let other = read(r#"{"marketplaceIds":["A1PA6795UKMFR9"]}"#);
    let refusal = policy.body(&tenant(), &other).unwrap_err();
    assert_eq!(refusal.reason, Reason::MarketplaceDenied);
    assert!(!format!("{refusal:?}").contains("A1PA6795UKMFR9"));
}

#[test]
fn a_body_is_read_where_the_operation_names_marketplaces_there() {
    for (allow, want) in [
        ("POST /reports/2021-06-30/reports", true),
        ("POST /reports/2021-06-30/schedules", true),
        ("POST /feeds/2021-06-30/feeds", true),
        ("POST /feeds/2021-06-30/documents", false),
        ("GET /reports/2021-06-30/reports", false),
        ("POST /made/up", false),
    ] {
        let enforced = verdict_at(&enforcing(&[rule(allow)]), NA, allow, None);
        let Verdict::Allow(route) = enforced else {
            panic!("{enforced:?}");
        };
        assert_eq!(route.marketplaces_in_body, want, "{allow}");
        let report = Policy::of(&[], &[], PolicyMode::Report);
        let reported = verdict_at(&report, NA, allow, None);
        let Verdict::WouldRefuse(route, _) = reported else {
            panic!("{reported:?}");
        };
        assert_eq!(route.marketplaces_in_body, want, "{allow}, not listed");
    }
}

#[test]
fn the_path_comes_before_the_route_the_route_before_the_region_and_so_on() {
    let mut other = rule("GET /orders/v0/orders");
    other.scope = Some("role-b".to_owned());
    let policy = enforcing(&[other]);
    let query = Some("MarketplaceIds=A1PA6795UKMFR9");
    let eu = "sellingpartnerapi-eu.amazon.com";
    for (host, request, want) in [
        (eu, "GET /unlisted/", Reason::PathAmbiguous),
        (eu, "GET /unlisted", Reason::RouteDenied),
        (eu, "GET /orders/v0/orders", Reason::RegionDenied),
        (NA, "GET /orders/v0/orders", Reason::ScopeDenied),
    ] {
        let refusal = refusal_of(verdict_at(&policy, host, request, query));
        assert_eq!(refusal.reason, want, "{request}");
    }
}

#[test]
fn a_reporting_policy_lets_through_what_it_would_refuse_but_never_an_ambiguous_path() {
    let mut other = rule("GET /orders/v0/orders");
    other.scope = Some("role-b".to_owned());
    let policy = Policy::of(&[], &[other], PolicyMode::Report);
    let would = |request| match verdict_at(&policy, NA, request, None) {
        Verdict::WouldRefuse(route, refusal) => (route, refusal.reason),
        other @ (Verdict::Allow(_) | Verdict::Refuse(_)) => panic!("{other:?}"),
    };
    let (route, reason) = would("GET /orders/v0/orders");
    assert_eq!(
        (&*route.operation, reason),
        ("getOrders", Reason::ScopeDenied)
    );
    let (route, reason) = would("GET /orders/v0/orders/canary/address");
    assert_eq!(reason, Reason::RouteDenied);
    assert_eq!(&*route.template, "/orders/v0/orders/{orderId}/address");
    assert!(route.restricted);
    let (route, _) = would("POST /notifications/v1/destinations");
    let want = Credential::Grantless("sellingpartnerapi::notifications".into());
    assert_eq!(route.credential, want);
    let (route, _) = would("GET /canary");
    assert_eq!((&*route.operation, &*route.template), ("unknown", "/{…}"));
    let refused = verdict_at(&policy, NA, "GET /orders/v0/../orders", None);
    assert!(matches!(refused, Verdict::Refuse(_)), "{refused:?}");
}

#[test]
fn what_can_return_personal_data_is_marked_for_the_audit() {
    for (allow, want) in [
        ("GET /orders/v0/orders/{orderId}/address", true),
        ("GET /orders/2026-01-01/orders/{orderId}", true),
        // wider than Amazon's template, and so no way round the audit
        ("GET /orders/v0/{anything}/{id}/{part}", true),
        ("GET /sellers/v1/marketplaceParticipations", false),
        ("GET /made/up", false),
        // shorter and longer than every such operation
        ("GET /orders/v0", false),
        ("GET /orders/v0/orders/{orderId}/address/more", false),
    ] {
        let path = allow.replace(['{', '}'], "");
        let verdict = verdict_at(&enforcing(&[rule(allow)]), NA, &path, None);
        let Verdict::Allow(route) = verdict else {
            panic!("{verdict:?}");
        };
        assert_eq!(route.restricted, want, "{allow}");
    }
}
