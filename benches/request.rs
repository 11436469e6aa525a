//! The same request three times, straight to an origin, through a relay that is hyper and nothing else, and through the sidecar,
//! and what the detour costs as a ratio.
//!
//! Client, relay, sidecar (one core), origin and log run in this process, each on a thread of its own. At the end stand the ratios
//! of the medians, direct = 1 and relay = 1: the figures to read, because all sides of one met the same weather.
#![expect(clippy::print_stdout, reason = "a bench prints what it measured")]

use std::collections::BTreeMap;
use std::sync::{LazyLock, Mutex, PoisonError};
use std::time::Duration;

use divan::Bencher;
use tokio::time::Instant;

#[expect(dead_code, reason = "other benches use the rest")]
mod world;

use world::origin::{LARGE, SMALL};
use world::{Protocol, Way, World};

fn main() {
    divan::main();
    print_ratios();
}

static WORLD: LazyLock<World> = LazyLock::new(World::start);

type Case = (&'static str, Protocol);

static SAMPLES: Mutex<BTreeMap<(Case, Way), Vec<Duration>>> = Mutex::new(BTreeMap::new());

const CASES: [(Protocol, Way); 6] = [
    (Protocol::Http1, Way::Direct),
    (Protocol::Http1, Way::Relay),
    (Protocol::Http1, Way::Sidecar),
    (Protocol::Http2, Way::Direct),
    (Protocol::Http2, Way::Relay),
    (Protocol::Http2, Way::Sidecar),
];

/// Runs one exchange and keeps how long it took.
fn timed<T>(case: Case, way: Way, exchange: impl Future<Output = T>) -> T {
    let from = Instant::now();
    let output = WORLD.block_on(exchange);
    let took = from.elapsed();
    SAMPLES
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .entry((case, way))
        .or_default()
        .push(took);
    output
}

#[divan::bench(args = CASES, sample_count = 500, sample_size = 10)]
fn keep_alive(bencher: Bencher<'_, '_>, (protocol, way): (Protocol, Way)) {
    let mut sender = WORLD.block_on(WORLD.open(way, protocol));
    WORLD.block_on(WORLD.get(&mut sender, "/json"));
    bencher.bench_local(|| {
        let exchange = WORLD.get(&mut sender, "/json");
        assert_eq!(timed(("keep-alive, 1 KiB", protocol), way, exchange), SMALL);
    });
}

#[divan::bench(args = CASES, sample_count = 500, sample_size = 1)]
fn new_connection(bencher: Bencher<'_, '_>, (protocol, way): (Protocol, Way)) {
    bencher.bench_local(|| {
        let exchange = async {
            let mut sender = WORLD.open(way, protocol).await;
            WORLD.get(&mut sender, "/json").await
        };
        let bytes = timed(("new connection, 1 KiB", protocol), way, exchange);
        assert_eq!(bytes, SMALL);
    });
}

#[divan::bench(args = CASES, sample_count = 20, sample_size = 1)]
fn download(bencher: Bencher<'_, '_>, (protocol, way): (Protocol, Way)) {
    let mut sender = WORLD.block_on(WORLD.open(way, protocol));
    bencher.bench_local(|| {
        let exchange = WORLD.get(&mut sender, "/big");
        assert_eq!(timed(("64 MiB down", protocol), way, exchange), LARGE);
    });
}

#[divan::bench(args = CASES, sample_count = 20, sample_size = 1)]
fn upload(bencher: Bencher<'_, '_>, (protocol, way): (Protocol, Way)) {
    let mut sender = WORLD.block_on(WORLD.open(way, protocol));
    bencher.bench_local(|| {
        let exchange = WORLD.upload(&mut sender);
        let answer = timed(("64 MiB up", protocol), way, exchange);
        assert_eq!(answer, LARGE.to_string().len());
    });
}

fn median(samples: &mut [Duration]) -> Option<Duration> {
    samples.sort_unstable();
    samples.get(samples.len() / 2).copied()
}

fn print_ratios() {
    let mut samples = SAMPLES.lock().unwrap_or_else(PoisonError::into_inner);
    let cases: Vec<Case> = samples
        .keys()
        .filter(|(_, way)| *way == Way::Direct)
        .map(|(case, _)| *case)
        .collect();
    if cases.is_empty() {
        return;
    }
    println!(
        "\n{:<34} {:>12} {:>12} {:>12} {:>9} {:>9}",
        "", "direct", "relay", "sidecar", "/ direct", "/ relay"
    );
    for case in cases {
        let mut of = |way| samples.get_mut(&(case, way)).and_then(|all| median(all));
        let (Some(direct), Some(relay), Some(sidecar)) =
            (of(Way::Direct), of(Way::Relay), of(Way::Sidecar))
        else {
            continue;
        };
        let (name, protocol) = case;
        let name = format!("{name}, {protocol:?}");
        let to_direct = sidecar.as_secs_f64() / direct.as_secs_f64();
        let to_relay = sidecar.as_secs_f64() / relay.as_secs_f64();
        println!(
            "{name:<34} {direct:>12.1?} {relay:>12.1?} {sidecar:>12.1?} {to_direct:>9.2} {to_relay:>9.2}"
        );
    }
}
