//! A fleet simulated: every sidecar keeps every tenant's token warm through the code that runs in production.
//!
//! The large one, in one command:
//! `cargo test --lib --release -- --ignored --nocapture a_thousand_sidecars_with_a_thousand_tenants`

use tokio::task::JoinSet;

use super::world::{Clock, Sidecar, World, id};
use super::*;
use crate::token::lifetime::first_look;

/// What a span of time cost.
#[derive(Debug)]
struct Cost {
    exchanges: usize,
    reads: u64,
    writes: u64,
    lost: u64,
}

/// A fleet at work.
struct Simulation {
    world: Arc<World>,
    tenants: usize,
    running: JoinSet<()>,
}

impl Simulation {
    async fn of(tenants: usize) -> Self {
        Self {
            world: World::with(tenants).await,
            tenants,
            running: JoinSet::new(),
        }
    }

    /// Starts this many sidecars at once, in the place of those that run.
    fn restart(&mut self, sidecars: usize) {
        self.running = JoinSet::new();
        let tenants = self.tenants;
        for _ in 0..sidecars {
            let sidecar = Arc::new(Sidecar::join(&self.world, Clock::Right));
            for tenant in 0..tenants {
                let sidecar = Arc::clone(&sidecar);
                self.running.spawn(async move {
                    let pause = first_look(&id(tenant), tenants, true, rand::random());
                    tokio::time::sleep(pause).await;
                    sidecar.keep_warm(tenant).await;
                });
            }
        }
    }

    async fn run(&self, span: Duration) -> Cost {
        let count = |what: &std::sync::atomic::AtomicU64| what.load(Ordering::Relaxed);
        let world = &self.world;
        let now = || {
            (
                world.exchanges(),
                count(&world.reads),
                count(&world.writes),
                count(&world.conflicts),
            )
        };
        let before = now();
        tokio::time::sleep(span).await;
        let after = now();
        Cost {
            exchanges: after.0 - before.0,
            reads: after.1 - before.1,
            writes: after.2 - before.2,
            lost: after.3 - before.3,
        }
    }

    /// Most exchanges in any second since this many exchanges ago.
    fn peak(&self, last: usize) -> usize {
        let seen = self.world.lwa.seen.lock().unwrap();
        let from = seen.exchanges.len() - last;
        let mut seconds = HashMap::new();
        for (at, _) in &seen.exchanges[from..] {
            *seconds.entry(at.as_secs()).or_insert(0) += 1;
        }
        seconds.into_values().max().unwrap_or(0)
    }
}

/// Cold start, a running hour, a restart of everything at once with tokens in the records, and one without.
async fn story(sidecars: usize, tenants: usize) -> [Cost; 4] {
    let minute = Duration::from_mins(1);
    let mut simulation = Simulation::of(tenants).await;
    simulation.restart(sidecars);
    let cold = simulation.run(minute).await;
    let cold_peak = simulation.peak(cold.exchanges);
    // past the first renewals, which all fall into the same six minutes
    simulation.run(minute * 89).await;
    let hour = simulation.run(minute * 60).await;
    let hour_peak = simulation.peak(hour.exchanges);
    simulation.restart(sidecars);
    let warm = simulation.run(minute).await;
    let warm_peak = simulation.peak(warm.exchanges);
    simulation.running.shutdown().await;
    simulation.run(minute * 120).await;
    simulation.restart(sidecars);
    let expired = simulation.run(minute).await;
    let expired_peak = simulation.peak(expired.exchanges);
    let most = simulation.world.most_reading.load(Ordering::Relaxed);
    println!("{sidecars} sidecars, each with the same {tenants} tenants; tokens of one hour");
    for (what, cost, peak) in [
        ("first minute, nothing in the store", &cold, cold_peak),
        ("an hour later on", &hour, hour_peak),
        ("minute after a restart of everything", &warm, warm_peak),
        (
            "the same after two hours of silence",
            &expired,
            expired_peak,
        ),
    ] {
        println!(
            "  {what}: {} exchanges (at most {peak} in a second), {} reads, {} writes, {} lost",
            cost.exchanges, cost.reads, cost.writes, cost.lost
        );
    }
    println!("  at most {most} reads of one token record at a time");
    assert!(most < 64, "{most} reads of one record at a time");
    for peak in [cold_peak, warm_peak, expired_peak] {
        assert!(peak <= 150.max(tenants / 4), "{peak} exchanges in a second");
    }
    [cold, hour, warm, expired]
}

#[tokio::test(start_paused = true)]
async fn fifty_sidecars_with_fifty_tenants_cost_what_one_sidecar_costs() {
    let [cold, hour, warm, expired] = story(50, 50).await;
    assert_eq!(cold.exchanges, 50, "one a tenant");
    assert!((85..=105).contains(&hour.exchanges), "{hour:?}");
    // each sidecar reads once a renewal, whoever waits for a lease a little more, and the holder the app and the grant
    assert!(hour.reads < 2 * 50 * 50 * 2, "{hour:?}");
    assert!(hour.writes < 3 * hour.exchanges as u64, "{hour:?}");
    assert!(warm.exchanges < 25, "most tokens are taken: {warm:?}");
    assert_eq!(expired.exchanges, 50, "one a tenant");
}

#[tokio::test(start_paused = true)]
#[ignore = "takes minutes; its figures go into the notes on load"]
async fn a_thousand_sidecars_with_a_thousand_tenants() {
    let [cold, hour, _warm, expired] = story(1000, 1000).await;
    assert_eq!((cold.exchanges, expired.exchanges), (1000, 1000));
    assert!(hour.exchanges < 2_100, "{hour:?}");
}
