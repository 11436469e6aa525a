//! The protocol with several sidecars in one process: each has its own cache, clock and way to the store.

use std::sync::atomic::Ordering;

use futures_util::future::join_all;

use super::*;

mod endpoint;
mod kill;
mod outage;
mod seeds;
mod simulation;
mod world;

use world::{Clock, Sidecar, World, WriteFault, id, key};

async fn fleet(sidecars: usize) -> (Arc<World>, Vec<Sidecar>) {
    let world = World::with(1).await;
    let fleet = (0..sidecars)
        .map(|_| Sidecar::join(&world, Clock::Right))
        .collect();
    (world, fleet)
}

/// Every sidecar's token of tenant 0.
async fn tokens(fleet: &[Sidecar]) -> Vec<Issued> {
    let asked = fleet.iter().map(|sidecar| sidecar.token());
    let got = join_all(asked).await.into_iter();
    got.map(|token| token.unwrap()).collect()
}

/// Exchanges are counted when they begin, generations when they are written down.
async fn what_is_under_way_ends() {
    tokio::time::sleep(Duration::from_secs(60)).await;
}

fn all_the_same(tokens: &[Issued]) -> bool {
    let first = tokens.first().map(|issued| issued.token.expose());
    tokens
        .iter()
        .all(|issued| Some(issued.token.expose()) == first)
}

#[tokio::test(start_paused = true)]
async fn forty_sidecars_that_start_at_once_share_one_exchange() {
    let (world, fleet) = fleet(40).await;
    let tokens = tokens(&fleet).await;
    assert!(all_the_same(&tokens));
    assert_eq!(world.exchanges(), 1);
    let record = world.record(0).await;
    assert_eq!((record.generation, record.lease), (1, None));
    let own = world.events.own.load(Ordering::Relaxed);
    let shared = world.events.shared.load(Ordering::Relaxed);
    assert_eq!((own, shared), (1, 39), "who asked Amazon, and who was told");
}

#[tokio::test(start_paused = true)]
async fn over_ten_hours_there_is_one_exchange_a_renewal_whatever_the_number_of_sidecars() {
    let (world, fleet) = fleet(20).await;
    let warm = join_all(fleet.iter().map(|sidecar| sidecar.keep_warm(0)));
    let _over = tokio::time::timeout(Duration::from_hours(10), warm).await;
    what_is_under_way_ends().await;
    // a token of an hour is due after half an hour, less half of the tolerated difference of clocks
    let exchanges = world.exchanges();
    assert!((18..=21).contains(&exchanges), "{exchanges}");
    assert_eq!(world.record(0).await.generation, exchanges as u64);
    let refused = world.conflicts.load(Ordering::Relaxed);
    assert!(
        refused < 20,
        "{refused} lost leases: they do not take turns"
    );
}

#[tokio::test(start_paused = true)]
async fn the_lease_of_a_holder_that_died_goes_to_one_of_those_who_waited_its_length() {
    let (world, fleet) = fleet(10).await;
    world.lwa.swallows.store(1, Ordering::Relaxed);
    let (holder, others) = fleet.split_first().unwrap();
    let dead = tokio::time::timeout(Duration::from_secs(1), holder.token()).await;
    assert!(dead.is_err(), "it waits for LWA for ever");
    holder.line.cut.store(true, Ordering::Relaxed);
    let from = Instant::now();
    let tokens = tokens(others).await;
    assert!(all_the_same(&tokens));
    assert_eq!(world.exchanges(), 2, "the dead holder's, and one other");
    let waited = from.elapsed();
    let bound = holder.lease + LONGEST_LOOK;
    assert!(waited >= holder.lease && waited < bound, "{waited:?}");
}

#[tokio::test(start_paused = true)]
async fn the_late_write_of_a_holder_that_was_cut_off_is_fenced_off() {
    let (world, fleet) = fleet(2).await;
    let (old, new) = (&fleet[0], &fleet[1]);
    *world.lwa.takes.lock().unwrap() = Duration::from_secs(5);
    let (first, second) = tokio::join!(old.token(), async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        // it has the lease and has asked LWA; the answer comes, and cannot be written down
        old.line.cut.store(true, Ordering::Relaxed);
        new.token().await
    });
    let (first, second) = (first.unwrap(), second.unwrap());
    assert_ne!(first.token.expose(), second.token.expose());
    assert!(world.is_alive(&first), "what it got is good, for itself");
    let taken_over = world.record(0).await;
    assert_eq!(taken_over.generation, 1);
    old.line.cut.store(false, Ordering::Relaxed);
    // its commit is tried until it is known to be too late
    tokio::time::sleep(Duration::from_secs(30)).await;
    assert_eq!(old.tasks.running().get("commit-token"), None);
    let record = world.record(0).await;
    assert_eq!(record.version, taken_over.version, "nothing was written");
    let held = record.token.unwrap().token;
    assert_eq!(held.expose(), second.token.expose());
}

#[tokio::test(start_paused = true)]
async fn a_holder_that_stalled_does_not_send_when_its_lease_would_not_outlast_the_answer() {
    let (world, fleet) = fleet(2).await;
    let (slow, other) = (&fleet[0], &fleet[1]);
    *slow.line.stall.lock().unwrap() = Duration::from_secs(25);
    let (late, good) = tokio::join!(slow.token(), other.token());
    let late = late.unwrap_err().cause;
    assert_eq!(late.as_str(), "store_timeout", "{late}");
    assert!(late.to_string().contains("nothing was sent"), "{late}");
    assert!(good.is_ok());
    assert_eq!(world.exchanges(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_write_whose_outcome_is_not_known_is_looked_into_and_costs_no_second_exchange() {
    use WriteFault::{FalselyRefused, Late, Lost, Unheard};
    let late = Late(Duration::from_millis(700));
    for acquisition in [
        None,
        Some(Lost),
        Some(Unheard),
        Some(late),
        Some(FalselyRefused),
    ] {
        for commit in [
            None,
            Some(Lost),
            Some(Unheard),
            Some(late),
            Some(FalselyRefused),
        ] {
            let (world, fleet) = fleet(1).await;
            // faults are taken in order; a write that fails is repeated, and its repetition is good
            let faults: Vec<WriteFault> = acquisition.into_iter().chain(commit).collect();
            fleet[0].next_writes(&faults);
            let token = fleet[0].token().await.unwrap();
            let what = format!("{acquisition:?} {commit:?}");
            tokio::time::sleep(Duration::from_secs(5)).await;
            assert_eq!(world.exchanges(), 1, "{what}");
            let record = world.record(0).await;
            assert_eq!((record.generation, record.lease), (1, None), "{what}");
            let held = record.token.unwrap().token;
            assert_eq!(held.expose(), token.token.expose(), "{what}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_fleet_whose_store_loses_and_delays_writes_never_uses_a_spent_refresh_token() {
    let (world, fleet) = fleet(20).await;
    world.lwa.rotates.store(true, Ordering::Relaxed);
    world.lwa.expires_in.store(120, Ordering::Relaxed);
    let faults = [
        WriteFault::Lost,
        WriteFault::Unheard,
        WriteFault::FalselyRefused,
    ];
    for sidecar in &fleet {
        let unlucky = std::iter::repeat_with(|| faults[rand::random_range(0..faults.len())]);
        sidecar.next_writes(&unlucky.take(40).collect::<Vec<_>>());
    }
    let warm = join_all(fleet.iter().map(|sidecar| sidecar.keep_warm(0)));
    let _over = tokio::time::timeout(Duration::from_mins(60), warm).await;
    what_is_under_way_ends().await;
    let exchanges = world.exchanges();
    assert!(exchanges >= 40, "{exchanges}");
    let newest = {
        let seen = world.lwa.seen.lock().unwrap();
        assert_eq!(seen.reused, 0);
        seen.newest[id(0).as_str()].clone()
    };
    assert_eq!(world.refresh_token(0).await, newest, "none is lost");
    // a commit that fails for as long as the lease lasts is fenced off: its token is its own sidecar's, and has no generation
    let generation = world.record(0).await.generation;
    let takeovers = world.takeovers.load(Ordering::Relaxed);
    let generations = generation..=generation + takeovers;
    assert!(
        generations.contains(&(exchanges as u64)),
        "{exchanges} {generations:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_replaced_refresh_token_is_used_at_once_and_written_down_when_the_store_is_back() {
    let (world, fleet) = fleet(1).await;
    world.lwa.rotates.store(true, Ordering::Relaxed);
    let sidecar = &fleet[0];
    let before = world.refresh_token(0).await;
    let (first, ()) = tokio::join!(sidecar.token(), async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        sidecar.line.cut.store(true, Ordering::Relaxed);
    });
    assert!(first.is_ok(), "a token is served, whatever the store does");
    tokio::time::sleep(Duration::from_mins(2)).await;
    assert_eq!(world.refresh_token(0).await, before);
    // the drain waits for it
    assert_eq!(sidecar.tasks.running().get("commit-token"), Some(&1));
    sidecar.line.cut.store(false, Ordering::Relaxed);
    tokio::time::sleep(Duration::from_secs(10)).await;
    assert_ne!(world.refresh_token(0).await, before);
    assert_eq!(world.record(0).await.generation, 1);
    sidecar.tokens.renew(&key(0)).await.unwrap();
    assert_eq!(world.lwa.seen.lock().unwrap().reused, 0);
}

#[tokio::test(start_paused = true)]
async fn clocks_that_differ_cost_no_exchange_in_a_running_fleet_and_no_dead_token() {
    let hour = Duration::from_hours(1);
    for wrong in [
        Clock::Ahead(Duration::from_secs(20)),
        Clock::Behind(Duration::from_secs(20)),
        Clock::Ahead(hour),
        Clock::Behind(hour),
        Clock::Ahead(hour * 24 * 365),
        Clock::Behind(hour * 24 * 365),
    ] {
        let world = World::with(1).await;
        let fleet: Vec<Sidecar> = (0..8)
            .map(|n| Sidecar::join(&world, if n % 2 == 0 { wrong } else { Clock::Right }))
            .collect();
        let warm = join_all(fleet.iter().map(|sidecar| sidecar.keep_warm(0)));
        let watch = async {
            loop {
                tokio::time::sleep(Duration::from_secs(7)).await;
                for sidecar in &fleet {
                    let token = sidecar.token().await.unwrap();
                    assert!(world.is_alive(&token), "{wrong:?}");
                }
            }
        };
        let over = tokio::time::timeout(hour * 10, futures_util::future::join(warm, watch)).await;
        assert!(over.is_err());
        let exchanges = world.exchanges();
        // at the start those who cannot know how old a token is may each get one of their own
        assert!((18..=21 + 4).contains(&exchanges), "{wrong:?}: {exchanges}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_token_that_amazon_refused_is_exchanged_once_by_all_who_held_it() {
    let (world, fleet) = fleet(20).await;
    let first = tokens(&fleet).await;
    for (sidecar, token) in fleet.iter().zip(&first) {
        assert!(sidecar.tokens.refuse(&key(0), token.generation));
    }
    let second = tokens(&fleet).await;
    assert!(all_the_same(&second));
    assert_ne!(first[0].token.expose(), second[0].token.expose());
    assert_eq!(world.exchanges(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_renewal_that_a_person_asks_for_exchanges_although_the_record_is_good() {
    let (world, fleet) = fleet(2).await;
    tokens(&fleet).await;
    for (n, sidecar) in fleet.iter().enumerate() {
        let renewed = sidecar.tokens.renew(&key(0)).await.unwrap();
        assert!(!renewed.standing.was_shared());
        assert_eq!(world.exchanges(), n + 2);
    }
    // a newcomer too: what the record held before is not what was asked for
    let newcomer = Sidecar::join(&world, Clock::Right);
    newcomer.tokens.renew(&key(0)).await.unwrap();
    assert_eq!(
        (world.exchanges(), world.record(0).await.generation),
        (4, 4)
    );
}

#[tokio::test(start_paused = true)]
async fn a_record_that_was_begun_anew_goes_on_with_a_generation_that_nobody_has_seen() {
    let (world, fleet) = fleet(3).await;
    for _ in 0..4 {
        fleet[0].tokens.renew(&key(0)).await.unwrap();
    }
    assert_eq!(world.record(0).await.generation, 4);
    world.begin_anew();
    let newcomer = Sidecar::join(&world, Clock::Right);
    newcomer.token().await.unwrap();
    assert_eq!(world.record(0).await.generation, 1);
    fleet[0].tokens.renew(&key(0)).await.unwrap();
    assert_eq!(world.record(0).await.generation, 5);
}

#[tokio::test(start_paused = true)]
async fn a_record_that_somebody_wrote_by_hand_keeps_nobody_from_a_token() {
    let (world, fleet) = fleet(1).await;
    let place = RecordKey::Token(id(0), GrantKind::Refresh);
    let nonsense = [("token", "two words"), ("generation", "x")]
        .map(|(name, text)| (name.to_owned(), crate::secret::Opaque::new(text.to_owned())));
    world.overwrite(&place, nonsense.into()).await;
    assert!(fleet[0].token().await.is_ok());
    assert_eq!(world.record(0).await.generation, 1);
}

#[tokio::test(start_paused = true)]
async fn a_life_of_a_second_and_one_of_a_day_are_shared_alike() {
    for (expires_in, hours) in [(1, 0), (3, 0), (86_400, 48)] {
        let (world, fleet) = fleet(4).await;
        world.lwa.expires_in.store(expires_in, Ordering::Relaxed);
        let warm = join_all(fleet.iter().map(|sidecar| sidecar.keep_warm(0)));
        let span = Duration::from_hours(hours).max(Duration::from_secs(20));
        let _over = tokio::time::timeout(span, warm).await;
        what_is_under_way_ends().await;
        let exchanges = world.exchanges();
        let most = 2 * span.as_secs() / expires_in + 4;
        assert!(
            (2..=most).contains(&(exchanges as u64)),
            "{expires_in}: {exchanges}"
        );
        assert_eq!(world.record(0).await.generation, exchanges as u64);
    }
}

#[tokio::test(start_paused = true)]
async fn an_absurd_life_is_refused_and_shared_with_nobody() {
    let (world, fleet) = fleet(1).await;
    world.lwa.expires_in.store(86_401, Ordering::Relaxed);
    let failure = fleet[0].token().await.unwrap_err();
    assert_eq!(failure.cause.as_str(), "lwa_nonsense");
    let record = world.record(0).await;
    assert!(record.token.is_none() && record.lease.is_none());
    assert_eq!(record.failure.unwrap().word, "lwa_nonsense");
}
