//! What clients feel when more comes in than can be served, and while something happens to the sidecar.
//!
//! The sidecar runs in a process of its own. Rows are read beside each other: the unloaded and the quiet ones are their measure.
#![expect(clippy::print_stdout, reason = "a bench prints what it measured")]

use std::cell::RefCell;
use std::time::Duration;

use futures_util::future::join_all;
use tokio::time::Instant;

#[expect(dead_code, reason = "other benches use the rest")]
mod world;

use world::{Process, Protocol, Sender, Shape, Way, World};

/// How long each row is measured.
const ROW: Duration = Duration::from_secs(4);

/// How often something happens to the sidecar in a row of gaps.
const EVERY: Duration = Duration::from_millis(500);

fn main() {
    if std::env::args().any(|argument| argument == "--list" || argument == "--test") {
        return;
    }
    saturation();
    gaps();
}

/// Served and shed, at the bound of connections and beyond it.
fn saturation() {
    let world = World::apart(Shape {
        max_connections: 64,
        ..Shape::SMALL
    });
    println!(
        "{:<44} {:>9} {:>9} {:>8} {:>9} {:>10}",
        "max_connections: 64", "served", "shed", "p50", "p99", "memory"
    );
    let unloaded = row(&world, "1 connection", Protocol::Http1, 1, 1);
    for (name, protocol, connections, streams) in [
        ("64 connections", Protocol::Http1, 64, 1),
        (
            "256 connections, of which 64 are accepted",
            Protocol::Http1,
            256,
            1,
        ),
        (
            "HTTP/2, 4 connections of 16 streams",
            Protocol::Http2,
            4,
            16,
        ),
        (
            "HTTP/2, 8 connections of 100 streams",
            Protocol::Http2,
            8,
            100,
        ),
    ] {
        let p99 = row(&world, name, protocol, connections, streams);
        let ratio = p99.as_secs_f64() / unloaded.as_secs_f64();
        println!("{:<44} p99 is {ratio:.1} times the unloaded one", "");
    }
}

/// Prints a row; its 99th percentile.
fn row(
    world: &World,
    name: &str,
    protocol: Protocol,
    connections: usize,
    streams: usize,
) -> Duration {
    let (served, shed) = (RefCell::new(Vec::new()), RefCell::new(0_usize));
    world.block_on(async {
        let until = Instant::now() + ROW;
        let one = async || {
            // beyond the bound nobody accepts: then this one gets no turn within the row
            let opened = tokio::time::timeout_at(until, world.open(Way::Sidecar, protocol)).await;
            let Ok(mut sender) = opened else {
                return;
            };
            let mut senders: Vec<Sender> = (1..streams).filter_map(|_| sender.again()).collect();
            let others = senders
                .iter_mut()
                .map(|sender| stream(world, sender, until, &served, &shed));
            let first = stream(world, &mut sender, until, &served, &shed);
            let _ends = tokio::join!(first, join_all(others));
        };
        join_all((0..connections).map(|_| one())).await;
    });
    let mut served = served.into_inner();
    served.sort_unstable();
    let [p50, p99] = [50, 99].map(|part| {
        let place = served.len() * part / 100;
        served.get(place).copied().unwrap_or_default()
    });
    println!(
        "{name:<44} {:>9} {:>9} {:>8} {:>9} {:>6.1} MiB",
        served.len(),
        shed.into_inner(),
        format!("{p50:.1?}"),
        format!("{p99:.1?}"),
        world.process().memory() as f64 / 1024.0
    );
    p99
}

async fn stream(
    world: &World,
    sender: &mut Sender,
    until: Instant,
    served: &RefCell<Vec<Duration>>,
    shed: &RefCell<usize>,
) {
    while Instant::now() < until {
        let from = Instant::now();
        let (status, _bytes) = world.ask(sender, "/json").await;
        if status.is_success() {
            served.borrow_mut().push(from.elapsed());
        } else {
            assert_eq!(status, 503);
            *shed.borrow_mut() += 1;
            // as Retry-After asks, if shorter: a client that hammers measures itself
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
}

/// The longest that any of eight clients waited for an answer, while something happens to the sidecar.
fn gaps() {
    println!(
        "\n{:<44} {:>9} {:>9} {:>12}",
        "8 connections", "p50", "worst", "worst / quiet"
    );
    let shape = |life, tenants| Shape {
        life,
        tenants,
        ..Shape::SMALL
    };
    let still = World::apart(shape(3600, 100));
    let renewing = World::apart(shape(4, 100));
    let quiet = gap(&still, "nothing happens", None, |_, _| {});
    let again = Some(quiet);
    gap(&still, "a reload every 500 ms", again, |process, _| {
        process.reload()
    });
    gap(
        &still,
        "a tenant killed or resumed every second",
        again,
        |process, n| {
            let what = if n % 2 == 0 { "kill" } else { "resume" };
            process.run(&["tenant", what, "tenant-1", "--reason", "bench"]);
        },
    );
    gap(
        &renewing,
        "tokens live 4 s and are renewed",
        again,
        |_, _| {},
    );
    gap(&still, "nothing happens, again", again, |_, _| {});
}

fn gap(
    world: &World,
    name: &str,
    quiet: Option<Duration>,
    happens: impl Fn(&Process, u32) + Send + Sync,
) -> Duration {
    let (served, shed) = (RefCell::new(Vec::new()), RefCell::new(0_usize));
    let process = world.process();
    std::thread::scope(|scope| {
        let happens = &happens;
        scope.spawn(move || {
            let from = Instant::now();
            for n in 0.. {
                std::thread::sleep(EVERY);
                if from.elapsed() + EVERY > ROW {
                    return;
                }
                happens(process, n);
            }
        });
        world.block_on(async {
            let until = Instant::now() + ROW;
            join_all((0..8).map(|_| async {
                let mut sender = world.open(Way::Sidecar, Protocol::Http1).await;
                stream(world, &mut sender, until, &served, &shed).await;
            }))
            .await;
        });
    });
    assert_eq!(shed.into_inner(), 0, "{name}: a request was refused");
    let mut served = served.into_inner();
    served.sort_unstable();
    let worst = served.last().copied().unwrap_or_default();
    let p50 = served.get(served.len() / 2).copied().unwrap_or_default();
    println!(
        "{name:<44} {:>9} {:>9} {:>12.1}",
        format!("{p50:.1?}"),
        format!("{worst:.1?}"),
        worst.as_secs_f64() / quiet.unwrap_or(worst).as_secs_f64()
    );
    worst
}
