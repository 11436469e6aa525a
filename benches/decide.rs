//! What a decision costs, by the number of routes: it should not matter.

use divan::{Bencher, black_box};
use spapi_sidecar::catalog::Catalog;
use spapi_sidecar::config::{
    Account, Allow, EgressMode, EgressRule, Environment, PolicyMode, Region, RouteRule, Tenant,
};
use spapi_sidecar::name::{Authority, Host, HostPattern};
use spapi_sidecar::policy::{Ask, Policy};
use spapi_sidecar::tenant::{AppId, TenantId};

const SIZES: [usize; 3] = [10, 1_000, 10_000];

fn main() {
    divan::main();
}

fn tenant() -> Tenant {
    Tenant {
        id: TenantId::parse("acme").expect("a good id"),
        app: AppId::parse("erp").expect("a good id"),
        account: Account::Seller,
        region: Region::Na,
        environment: Environment::Production,
        marketplaces: vec!["ATVPDKIKX0DER".to_owned()],
        vendor_groups: Vec::new(),
        scopes: vec!["orders".to_owned()],
    }
}

fn rule(template: String) -> RouteRule {
    RouteRule {
        allow: vec![Allow {
            method: http::Method::GET,
            template,
        }],
        scope: Some("orders".to_owned()),
        grantless: None,
        rdt: None,
        encoded_slash: false,
        reason: None,
        owner: None,
    }
}

/// `routes` routes and as many egress rules; the ones that are asked for come last.
fn policy(routes: usize) -> Policy {
    let mut rules: Vec<_> = (2..routes)
        .map(|n| rule(format!("/made-up-{}/v{n}/things/{{id}}", n % 7)))
        .collect();
    rules.push(rule("/orders/v0/orders".to_owned()));
    rules.push(rule("/orders/v0/orders/{orderId}/address".to_owned()));
    let hosts = (1..routes).map(|n| format!("host-{n}.example.com"));
    let egress: Vec<_> = hosts
        .chain(["*.s3.amazonaws.com".to_owned()])
        .map(|host| EgressRule {
            host: HostPattern::parse(&host).expect("a good pattern"),
            mode: EgressMode::Document,
            ports: vec![443],
        })
        .collect();
    Policy::of(&egress, &rules, PolicyMode::Enforce)
}

fn decide(bencher: Bencher<'_, '_>, routes: usize, path: &str) {
    let (policy, tenant) = (policy(routes), tenant());
    let host = Host::parse("sellingpartnerapi-na.amazon.com").expect("a good host");
    bencher.bench(|| {
        policy.route(black_box(&Ask {
            tenant: &tenant,
            host: &host,
            method: &http::Method::GET,
            path,
            query: Some("MarketplaceIds=ATVPDKIKX0DER&CreatedAfter=2026-01-01T00%3A00%3A00Z"),
        }))
    });
}

#[divan::bench(args = SIZES)]
fn allowed(bencher: Bencher<'_, '_>, routes: usize) {
    decide(
        bencher,
        routes,
        "/orders/v0/orders/123-4567890-1234567/address",
    );
}

#[divan::bench(args = SIZES)]
fn allowed_with_escapes(bencher: Bencher<'_, '_>, routes: usize) {
    decide(bencher, routes, "/orders/v0/orders/123%204567890/address");
}

#[divan::bench(args = SIZES)]
fn refused(bencher: Bencher<'_, '_>, routes: usize) {
    decide(bencher, routes, "/orders/v0/orders/1/buyerInfo");
}

#[divan::bench(args = SIZES)]
fn egress(bencher: Bencher<'_, '_>, routes: usize) {
    let policy = policy(routes);
    let authority = Authority::parse("tortuga.s3.amazonaws.com:443").expect("a good authority");
    bencher.bench(|| policy.egress(black_box(&authority)));
}

#[divan::bench]
fn look_up_in_the_catalog(bencher: Bencher<'_, '_>) {
    let catalog = Catalog::embedded();
    bencher.bench(|| catalog.find(&http::Method::GET, black_box("/orders/v0/orders/1/address")));
}
