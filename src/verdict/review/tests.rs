use std::time::Duration;

use super::*;
use crate::config::{Date, Tenants};
use crate::tenant::TenantId;
use crate::verdict::due::{self, Ages};

const TEXT: &str = r#"
version: 1
store: { file: { path: /x/s, key_file: /x/k } }
apps: [{ id: erp }]
tenants:
  - { id: acme, app: erp, region: na, scopes: [orders, labels, pricing] }
  - { id: vend, app: erp, region: na, account: vendor, vendor_groups: [north], scopes: [orders] }
routes:
  - { allow: GET /orders/v0/orders, scope: orders, owner: jo@example.com, reason: import }
  - { allow: "GET /orders/v0/orders/{orderId}", scope: labels }
  - { allow: GET /catalog/2022-04-01/items, scope: listing }
  - { allow: POST /notifications/v1/destinations, grantless: "sellingpartnerapi::notifications" }
"#;

fn day(number: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs((20_000 + number) * 86_400)
}

fn call(
    tenant: &str,
    method: &str,
    template: &str,
    (first, last): (u64, u64),
    reason: Option<Reason>,
) -> (Kind, Seen) {
    let kind = Kind {
        tenant: TenantId::parse(tenant).unwrap(),
        method: method.parse().unwrap(),
        template: template.into(),
    };
    let seen = Seen {
        requests: 7,
        refused: u64::from(reason.is_some()),
        would_refuse: 0,
        reason,
        first: day(first),
        last: day(last),
        last_sent: reason.is_none().then(|| day(last)),
    };
    (kind, seen)
}

fn made(kinds: &[(Kind, Seen)], seen_since: Option<SystemTime>) -> Review {
    let config = Config::parse("proxy.yaml", TEXT, &|_| None).unwrap();
    let Tenants::Listed(tenants) = &config.tenants else {
        panic!("they are listed")
    };
    let mut ages = Ages::default();
    let given = Date::of(day(100)).plus_days(-350);
    ages.authorizations.insert(tenants[1].id.clone(), given);
    let dues = due::dues(&config.apps, tenants, &ages, None, day(100));
    review(&Material {
        config: &config,
        tenants,
        kinds,
        openings: &[],
        seen_since,
        dues: &dues,
        since: day(10),
        now: day(100),
    })
}

fn calls() -> Vec<(Kind, Seen)> {
    vec![
        call("acme", "HEAD", "/orders/v0/orders", (1, 99), None),
        call("acme", "GET", "/orders/v0/orders/{orderId}", (1, 9), None),
        call(
            "acme",
            "GET",
            "/catalog/2022-04-01/items",
            (50, 60),
            Some(Reason::ScopeDenied),
        ),
        call(
            "acme",
            "DELETE",
            "/made/{up}",
            (70, 70),
            Some(Reason::RouteDenied),
        ),
    ]
}

#[test]
fn the_minimal_set_is_what_was_used_in_the_window_and_what_was_called_for_in_vain() {
    let review = made(&calls(), Some(day(0)));
    let acme = &review.tenants[0];
    assert_eq!(acme.minimal.as_deref().unwrap(), ["listing", "orders"]);
    assert_eq!(acme.drop, ["labels", "pricing"]);
    assert_eq!(acme.add, ["listing"]);
    assert_eq!(acme.reconsent.len(), 2);
    let labels = &acme.scopes[0];
    assert_eq!(
        (&*labels.scope, labels.endpoints, labels.used),
        ("labels", 1, Some(false))
    );
    assert_eq!(labels.last_used, Some(clock(day(9))), "before the window");
    assert!(review.covers_window);
}

#[test]
fn an_authorization_that_ends_soon_is_on_the_list_of_consents() {
    let review = made(&calls(), Some(day(0)));
    let why = &review.tenants[1].reconsent;
    assert!(
        why.iter().any(|why| why.contains("authorization ends")),
        "{why:?}"
    );
    assert_eq!(review.tenants[1].vendor_groups, ["north"]);
}

#[test]
fn routes_that_nobody_called_in_the_window_are_listed_and_head_counts_as_get() {
    let review = made(&calls(), Some(day(0)));
    let never = review.never_called.unwrap();
    let never: Vec<&str> = never.iter().map(|one| &*one.endpoint).collect();
    assert_eq!(
        never,
        [
            "GET /orders/v0/orders/{orderId}",
            "GET /catalog/2022-04-01/items",
            "POST /notifications/v1/destinations"
        ]
    );
}

#[test]
fn what_was_first_tried_in_the_window_is_new_whether_or_not_a_route_allows_it() {
    let review = made(&calls(), Some(day(0)));
    let new: Vec<(&str, bool)> = review
        .new_endpoints
        .iter()
        .map(|one| (&*one.endpoint, one.has_route))
        .collect();
    assert_eq!(
        new,
        [
            ("GET /catalog/2022-04-01/items", true),
            ("DELETE /made/{up}", false)
        ]
    );
    assert_eq!(review.owners[""].len(), 3);
    assert_eq!(review.owners["jo@example.com"], ["GET /orders/v0/orders"]);
}

#[test]
fn where_nothing_is_known_of_calls_nothing_is_called_unused() {
    let review = made(&[], None);
    assert_eq!(review.never_called, None);
    assert!(!review.covers_window);
    let acme = &review.tenants[0];
    assert_eq!((&acme.minimal, acme.scopes[0].used), (&None, None));
    assert!(acme.drop.is_empty() && acme.reconsent.is_empty());
}

#[test]
fn a_window_that_is_not_wholly_seen_says_so() {
    assert!(!made(&calls(), Some(day(11))).covers_window);
}
