use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::task::JoinSet;

use super::*;
use crate::catalog::Catalog;
use crate::config::{Account, Preflight, Region};

const LONG: Duration = Duration::from_secs(100);

fn tenant(id: &str, environment: Environment) -> Tenant {
    Tenant {
        id: TenantId::parse(id).unwrap(),
        app: AppId::parse("erp").unwrap(),
        account: Account::Seller,
        region: Region::Na,
        environment,
        marketplaces: Vec::new(),
        vendor_groups: Vec::new(),
        scopes: Vec::new(),
        preflight: Preflight::Optional,
    }
}

fn lane_of(pace: &Pace, tenant: &Tenant, path: &str, grantless: bool) -> Arc<Lane> {
    pace.lane(&Call {
        tenant,
        grantless,
        method: &http::Method::GET,
        operation: Catalog::embedded().find(&http::Method::GET, path),
        template: &path.into(),
    })
}

fn alone() -> Pace {
    Pace::new(Arc::new(|| 1))
}

fn lane(rate: f64, burst: f64) -> Arc<Lane> {
    let lane = Arc::new(Lane::new(Plan::parse(rate, burst), Arc::new(|| 1)));
    lane.answered(None);
    lane
}

/// Somebody else who wants a place.
fn another(lane: &Arc<Lane>, at_most: Duration) -> JoinSet<Result<(), Crowded>> {
    let (lane, mut one) = (Arc::clone(lane), JoinSet::new());
    one.spawn(async move { lane.enter(at_most).await.map(Place::spend) });
    one
}

async fn outcome(mut of: JoinSet<Result<(), Crowded>>) -> Result<(), Crowded> {
    of.join_next().await.unwrap().unwrap()
}

async fn at_once(lane: &Arc<Lane>) -> usize {
    let mut taken = 0;
    while let Ok(place) = lane.enter(Duration::ZERO).await {
        place.spend();
        taken += 1;
        assert!(taken < 1_000);
    }
    taken
}

#[tokio::test(start_paused = true)]
async fn each_application_selling_partner_and_operation_has_a_lane_of_its_own() {
    let pace = alone();
    let (acme, beta) = (
        tenant("acme", Environment::Production),
        tenant("beta", Environment::Production),
    );
    let orders = lane_of(&pace, &acme, "/orders/v0/orders", false);
    for (other, same) in [
        (lane_of(&pace, &acme, "/orders/v0/orders", false), true),
        (lane_of(&pace, &beta, "/orders/v0/orders", false), false),
        (lane_of(&pace, &acme, "/orders/v0/orders/1", false), false),
    ] {
        assert_eq!(Arc::ptr_eq(&orders, &other), same);
    }
    let one = lane_of(&pace, &acme, "/orders/v0/orders/1/address", false);
    let two = lane_of(&pace, &acme, "/orders/v0/orders/2/address", false);
    assert!(Arc::ptr_eq(&one, &two), "one operation, two paths");
    let grantless = |tenant| lane_of(&pace, tenant, "/notifications/v1/destinations", true);
    assert!(
        Arc::ptr_eq(&grantless(&acme), &grantless(&beta)),
        "a grantless call is the application's"
    );
}

#[tokio::test(start_paused = true)]
async fn a_lane_is_seeded_from_the_catalog_and_amazons_sandbox_has_one_plan_for_all() {
    let pace = alone();
    let production = tenant("acme", Environment::Production);
    let sandbox = tenant("play", Environment::Sandbox);
    for (tenant, path, want) in [
        (&production, "/orders/v0/orders", 20),
        (&production, "/orders/v0/orders/1", 30),
        (&sandbox, "/orders/v0/orders", 15),
        (&sandbox, "/unheard/of", 15),
    ] {
        let lane = lane_of(&pace, tenant, path, false);
        lane.answered(None);
        assert_eq!(at_once(&lane).await, want, "{path}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_the_catalog_does_not_know_is_not_held_back_until_an_answer_tells_a_rate() {
    let pace = alone();
    let acme = tenant("acme", Environment::Production);
    let lane = lane_of(&pace, &acme, "/unheard/of", false);
    for _ in 0..500 {
        lane.enter(Duration::ZERO).await.unwrap().spend();
    }
    lane.answered(Some(2.0));
    assert_eq!(at_once(&lane).await, 10);
}

#[tokio::test(start_paused = true)]
async fn the_line_is_served_in_order_of_arrival_and_at_the_rate() {
    let lane = lane(2.0, 2.0);
    assert_eq!(at_once(&lane).await, 2);
    let (from, order) = (Instant::now(), Arc::new(Mutex::new(Vec::new())));
    let mut callers = JoinSet::new();
    for n in 0..10 {
        let (lane, order) = (Arc::clone(&lane), Arc::clone(&order));
        callers.spawn(async move {
            lane.enter(LONG).await.unwrap().spend();
            order.lock().unwrap().push(n);
        });
        tokio::task::yield_now().await;
    }
    callers.join_all().await;
    assert_eq!(*order.lock().unwrap(), (0..10).collect::<Vec<_>>());
    let took = from.elapsed().as_millis();
    assert!((5_000..5_100).contains(&took), "{took}");
}

#[tokio::test(start_paused = true)]
async fn nobody_overtakes_the_line() {
    let lane = lane(1.0, 10.0);
    at_once(&lane).await;
    let first = another(&lane, LONG);
    tokio::task::yield_now().await;
    tokio::time::advance(Duration::from_millis(999)).await;
    let second = lane.enter(Duration::from_millis(1)).await;
    assert!(second.is_err(), "the next place is the first one's");
    outcome(first).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn whoever_would_wait_longer_than_it_may_is_told_at_once_and_how_long() {
    let lane = lane(0.5, 10.0);
    at_once(&lane).await;
    let from = Instant::now();
    let crowded = lane.enter(Duration::from_secs(1)).await.unwrap_err();
    assert_eq!(from.elapsed(), Duration::ZERO);
    assert_eq!(crowded.retry_in.as_millis(), 2_000);
}

#[tokio::test(start_paused = true)]
async fn before_any_answer_nobody_is_sent_away_early_and_a_higher_rate_lets_the_line_go() {
    let lane = Arc::new(Lane::new(Plan::parse(0.0167, 20.0), Arc::new(|| 1)));
    at_once(&lane).await;
    let mut callers = JoinSet::new();
    for _ in 0..20 {
        let lane = Arc::clone(&lane);
        callers.spawn(async move { lane.enter(Duration::from_secs(20)).await.map(Place::spend) });
    }
    tokio::time::sleep(Duration::from_secs(1)).await;
    lane.answered(Some(10.0));
    let served = callers.join_all().await;
    assert!(served.iter().all(Result::is_ok), "{served:?}");

    let slow = Arc::new(Lane::new(Plan::parse(0.0167, 1.0), Arc::new(|| 1)));
    slow.enter(LONG).await.unwrap().spend();
    let from = Instant::now();
    let waiting = another(&slow, Duration::from_secs(20));
    tokio::time::sleep(Duration::from_secs(1)).await;
    slow.answered(Some(0.0167));
    assert!(outcome(waiting).await.is_err());
    let took = from.elapsed().as_millis();
    assert!((1_000..1_100).contains(&took), "{took}");
}

#[tokio::test(start_paused = true)]
async fn a_caller_that_leaves_the_line_costs_those_behind_it_nothing() {
    let lane = lane(1.0, 2.0);
    at_once(&lane).await;
    let leaving: Vec<_> = (0..50).map(|_| another(&lane, LONG)).collect();
    tokio::task::yield_now().await;
    let staying = another(&lane, LONG);
    tokio::task::yield_now().await;
    let from = Instant::now();
    drop(leaving);
    outcome(staying).await.unwrap();
    let took = from.elapsed().as_millis();
    assert!((1_000..1_100).contains(&took), "{took}");
}

#[tokio::test(start_paused = true)]
async fn a_place_that_is_not_used_goes_to_the_next_in_line_at_once() {
    let lane = lane(0.02, 2.0);
    let unused = lane.enter(Duration::ZERO).await.unwrap();
    let next = another(&lane, LONG);
    tokio::task::yield_now().await;
    let from = Instant::now();
    drop(unused);
    outcome(next).await.unwrap();
    assert_eq!(from.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn after_a_429_nothing_goes_out_until_there_is_a_place_again() {
    let lane = lane(2.0, 30.0);
    assert!(!lane.was_throttled_lately());
    lane.throttled(Duration::ZERO);
    assert!(lane.was_throttled_lately());
    assert_eq!(at_once(&lane).await, 0);
    let place = lane.enter(LONG).await.unwrap();
    assert_eq!(place.waited().as_millis(), 500);
    place.spend();
    lane.throttled(Duration::from_secs(7));
    let waited = lane.enter(LONG).await.unwrap().waited().as_secs();
    assert_eq!(waited, 7, "as long as Amazon asks");
    tokio::time::advance(Duration::from_mins(1)).await;
    assert!(!lane.was_throttled_lately());
}

#[tokio::test(start_paused = true)]
async fn sidecars_that_come_and_go_change_the_share_of_each() {
    let count = Arc::new(AtomicUsize::new(1));
    let members = Arc::clone(&count);
    let pace = Pace::new(Arc::new(move || members.load(Ordering::Relaxed)));
    let acme = tenant("acme", Environment::Production);
    let lane = lane_of(&pace, &acme, "/orders/v0/orders/1", false);
    lane.answered(Some(2.0));
    at_once(&lane).await;
    for (members, want) in [(1, 500), (4, 2_000), (2, 1_000)] {
        count.store(members, Ordering::Relaxed);
        let place = lane.enter(LONG).await.unwrap();
        assert_eq!(place.waited().as_millis(), want, "{members}");
        place.spend();
    }
}

#[tokio::test(start_paused = true)]
async fn idle_lanes_are_dropped_and_their_number_is_bounded() {
    let pace = alone();
    let call = |n: usize| {
        let tenant = tenant(&format!("t{n}"), Environment::Production);
        lane_of(&pace, &tenant, "/orders/v0/orders", false)
    };
    let kept = call(0);
    kept.enter(Duration::ZERO).await.unwrap().spend();
    for n in 1..150_000 {
        drop(call(n));
    }
    assert!(pace.lanes() <= SHARDS * MOST_LANES, "{}", pace.lanes());
    tokio::time::advance(Duration::from_hours(1)).await;
    for n in 150_000..170_000 {
        drop(call(n));
    }
    assert!(pace.lanes() <= SHARDS * MOST_LANES, "{}", pace.lanes());
    assert!(Arc::ptr_eq(&kept, &call(0)), "what is in use stays");
}
