//! What a decision costs, by the number of routes: it should not matter.
//!
//! At the end stand ratios of medians, 10 routes = 1, of rounds in which the sizes take turns: the figures to read, because
//! all sizes met the same weather.
#![expect(clippy::print_stdout, reason = "a bench prints what it measured")]

use std::time::Duration;

use divan::{Bencher, black_box};
use spapi_sidecar::catalog::Catalog;
use spapi_sidecar::config::Tenant;
use spapi_sidecar::name::{Authority, Host};
use spapi_sidecar::policy::{Ask, Policy};
use tokio::time::Instant;

#[expect(dead_code, reason = "other benches use the rest")]
mod parts;

use parts::{SP_API, policy, tenant};

const SIZES: [usize; 3] = [10, 1_000, 10_000];

/// What is asked in the rounds that ratios are made of.
const PATHS: [(&str, &str); 3] = [
    ("allowed", "/orders/v0/orders/123-4567890-1234567/address"),
    (
        "allowed, with escapes",
        "/orders/v0/orders/123%204567890/address",
    ),
    ("refused", "/orders/v0/orders/1/buyerInfo"),
];

/// Rounds, and decisions in one.
const ROUNDS: usize = 101;
const DECISIONS: u32 = 200;

fn main() {
    divan::main();
    // a list or a trial run measures nothing
    if !std::env::args().any(|argument| argument == "--list" || argument == "--test") {
        print_ratios();
    }
}

fn print_ratios() {
    let policies = SIZES.map(policy);
    let authority = Authority::parse("tortuga.s3.amazonaws.com:443").expect("a good authority");
    println!(
        "\n{:<24}{:>24}{:>24}{:>24}",
        "routes", SIZES[0], SIZES[1], SIZES[2]
    );
    for (name, path) in PATHS {
        let (tenant, host) = (tenant(), host());
        print_row(name, &policies, |policy| {
            black_box(policy.route(black_box(&ask(&tenant, &host, path))));
        });
    }
    print_row("egress", &policies, |policy| {
        black_box(policy.egress(black_box(&authority)).is_ok());
    });
}

/// Medians of one kind of decision by size, each with its ratio to the smallest size's.
fn print_row(name: &str, policies: &[Policy; 3], decide: impl Fn(&Policy)) {
    let mut samples = [const { Vec::new() }; 3];
    for _round in 0..ROUNDS {
        for (policy, samples) in policies.iter().zip(&mut samples) {
            let from = Instant::now();
            for _ in 0..DECISIONS {
                decide(policy);
            }
            samples.push(from.elapsed() / DECISIONS);
        }
    }
    let medians = samples.map(|mut samples| {
        samples.sort_unstable();
        samples.get(ROUNDS / 2).copied().unwrap_or(Duration::ZERO)
    });
    let cells = medians.map(|median| {
        let ratio = median.as_secs_f64() / medians[0].as_secs_f64();
        format!("{:>24}", format!("{median:.1?} ({ratio:.2})"))
    });
    println!("{name:<24}{}", cells.concat());
}

fn host() -> Host {
    Host::parse(SP_API).expect("a good host")
}

fn ask<'a>(tenant: &'a Tenant, host: &'a Host, path: &'a str) -> Ask<'a> {
    Ask {
        tenant,
        host,
        method: &http::Method::GET,
        path,
        query: Some("MarketplaceIds=ATVPDKIKX0DER&CreatedAfter=2026-01-01T00%3A00%3A00Z"),
    }
}

fn decide(bencher: Bencher<'_, '_>, routes: usize, path: &str) {
    let (policy, tenant, host) = (policy(routes), tenant(), host());
    bencher.bench(|| policy.route(black_box(&ask(&tenant, &host, path))));
}

#[divan::bench(args = SIZES)]
fn allowed(bencher: Bencher<'_, '_>, routes: usize) {
    decide(bencher, routes, PATHS[0].1);
}

#[divan::bench(args = SIZES)]
fn allowed_with_escapes(bencher: Bencher<'_, '_>, routes: usize) {
    decide(bencher, routes, PATHS[1].1);
}

#[divan::bench(args = SIZES)]
fn refused(bencher: Bencher<'_, '_>, routes: usize) {
    decide(bencher, routes, PATHS[2].1);
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
