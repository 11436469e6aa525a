//! How the cost of the sidecar grows: with routes, tenants, connections and bodies.
//!
//! The sidecar runs in a process of its own, so that its memory is its own. Rows are ratios within this run: to the smallest
//! size, measured in turns, or to the same request straight to the origin.
#![expect(clippy::print_stdout, reason = "a bench prints what it measured")]

use std::time::Duration;

use tokio::time::Instant;

#[expect(dead_code, reason = "other benches use the rest")]
mod world;

use world::{Protocol, Sender, Shape, Way, World};

/// Rounds in which sizes take turns, and requests in one.
const ROUNDS: usize = 21;
const REQUESTS: u32 = 50;

fn main() {
    if std::env::args().any(|argument| argument == "--list" || argument == "--test") {
        return;
    }
    configurations();
    connections();
    bodies();
}

/// Requests and memory by the size of the configuration.
fn configurations() {
    let shape = |routes, tenants| Shape {
        routes,
        tenants,
        ..Shape::SMALL
    };
    let shapes = [
        shape(10, 1),
        shape(1_000, 1),
        shape(10_000, 1),
        shape(10, 100),
        shape(10, 10_000),
    ];
    let worlds = shapes.map(World::apart);
    let mut senders: Vec<Sender> = worlds.iter().map(warm).collect();
    let mut samples: Vec<Vec<Duration>> = worlds.iter().map(|_| Vec::new()).collect();
    for _ in 0..ROUNDS {
        for ((world, sender), samples) in worlds.iter().zip(&mut senders).zip(&mut samples) {
            samples.push(requests(world, sender));
        }
    }
    let times: Vec<f64> = samples
        .iter_mut()
        .map(|all| median(all).as_secs_f64())
        .collect();
    println!(
        "{:>8} {:>8} {:>14} {:>10} {:>20}",
        "routes", "tenants", "a request", "memory", "memory of each"
    );
    let first = times.first().copied().unwrap_or(1.0);
    let memory: Vec<u64> = worlds
        .iter()
        .map(|world| world.process().memory())
        .collect();
    let base = memory.first().copied().unwrap_or_default();
    for ((shape, time), memory) in shapes.iter().zip(&times).zip(&memory) {
        let more = shape.routes.max(shape.tenants) as f64;
        println!(
            "{:>8} {:>8} {:>14} {:>7.1} MiB {:>13.2} KiB",
            shape.routes,
            shape.tenants,
            format!("{:.2}", time / first),
            *memory as f64 / 1024.0,
            memory.saturating_sub(base) as f64 / more,
        );
    }
}

/// Memory of intercepted connections that are idle.
fn connections() {
    let world = World::apart(Shape::SMALL);
    let _first = warm(&world);
    let before = world.process().memory();
    println!("\n{:>12} {:>22}", "connections", "memory of each");
    let mut open = Vec::new();
    for count in [500, 1_000, 2_500, 5_000] {
        while open.len() < count {
            open.push(warm(&world));
        }
        let memory = world.process().memory().saturating_sub(before);
        println!("{count:>12} {:>18.1} KiB", memory as f64 / count as f64);
    }
}

/// Time and memory by the size of a body.
fn bodies() {
    let world = World::apart(Shape::SMALL);
    println!(
        "\n{:>12} {:>18} {:>12}",
        "body", "sidecar / direct", "memory"
    );
    for bytes in [1_usize << 10, 1 << 20, 64 << 20, 1 << 30] {
        let path = format!("/big?{bytes}");
        let mut medians = [Way::Direct, Way::Sidecar].map(|way| {
            let mut sender = world.block_on(world.open(way, Protocol::Http1));
            let mut samples: Vec<_> = (0..if bytes > 1 << 28 { 3 } else { 15 })
                .map(|_| {
                    let from = Instant::now();
                    let read = world.block_on(world.get(&mut sender, &path));
                    assert_eq!(read, bytes);
                    from.elapsed()
                })
                .collect();
            median(&mut samples).as_secs_f64()
        });
        let [direct, sidecar] = &mut medians;
        println!(
            "{:>12} {:>18.2} {:>8.1} MiB",
            bytes,
            *sidecar / *direct,
            world.process().memory() as f64 / 1024.0
        );
    }
}

/// An open connection over which a request has gone.
fn warm(world: &World) -> Sender {
    world.block_on(async {
        let mut sender = world.open(Way::Sidecar, Protocol::Http1).await;
        world.get(&mut sender, "/json").await;
        sender
    })
}

fn requests(world: &World, sender: &mut Sender) -> Duration {
    let from = Instant::now();
    world.block_on(async {
        for _ in 0..REQUESTS {
            world.get(sender, "/json").await;
        }
    });
    from.elapsed() / REQUESTS
}

fn median(samples: &mut [Duration]) -> Duration {
    samples.sort_unstable();
    samples.get(samples.len() / 2).copied().unwrap_or_default()
}
