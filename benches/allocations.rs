//! Allocations of a request on a kept-alive connection: to an origin, through a relay that is hyper and nothing else, and
//! through the sidecar.
//!
//! All of it runs in this process, so client and origin are in every row: what a hop allocates is its row less the direct one,
//! and what of the sidecar's is not hyper's own is its row less the relay's. Counts hardly differ between runs.
#![expect(clippy::print_stdout, reason = "a bench prints what it measured")]

use std::alloc::System;

use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};

#[expect(dead_code, reason = "other benches use the rest")]
mod world;

use world::{Protocol, Way, World};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// Requests that are counted, after as many that are not.
const REQUESTS: u32 = 1_000;

/// What a request costs.
#[derive(Clone, Copy, Default)]
struct Cost {
    allocations: f64,
    bytes: f64,
}

fn main() {
    if std::env::args().any(|argument| argument == "--list" || argument == "--test") {
        return;
    }
    let world = World::start();
    println!(
        "{:<10} {:<10} {:>14} {:>10} {:>22} {:>22}",
        "", "", "allocations", "bytes", "allocations - direct", "allocations - relay"
    );
    for protocol in [Protocol::Http1, Protocol::Http2] {
        let [direct, relay, sidecar] =
            [Way::Direct, Way::Relay, Way::Sidecar].map(|way| (way, cost(&world, way, protocol)));
        for (way, cost) in [direct, relay, sidecar] {
            println!(
                "{:<10} {:<10} {:>14.1} {:>10.0} {:>22.1} {:>22.1}",
                format!("{protocol:?}"),
                format!("{way:?}"),
                cost.allocations,
                cost.bytes,
                cost.allocations - direct.1.allocations,
                cost.allocations - relay.1.allocations,
            );
        }
    }
}

fn cost(world: &World, way: Way, protocol: Protocol) -> Cost {
    let mut sender = world.block_on(world.open(way, protocol));
    let mut requests = || {
        for _ in 0..REQUESTS {
            world.block_on(world.get(&mut sender, "/json"));
        }
    };
    requests();
    let region = Region::new(ALLOCATOR);
    requests();
    let change = region.change();
    let each =
        |total: usize| f64::from(u32::try_from(total).unwrap_or(u32::MAX)) / f64::from(REQUESTS);
    Cost {
        allocations: each(change.allocations + change.reallocations),
        bytes: each(change.bytes_allocated),
    }
}
