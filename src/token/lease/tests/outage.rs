//! LWA or the store away.

use super::*;

#[tokio::test(start_paused = true)]
async fn while_lwa_is_down_a_fleet_asks_it_as_seldom_as_one_sidecar_would() {
    let (world, fleet) = fleet(50).await;
    world.lwa.down.store(true, Ordering::Relaxed);
    let warm = join_all(fleet.iter().map(|sidecar| sidecar.keep_warm(0)));
    let _over = tokio::time::timeout(Duration::from_mins(10), warm).await;
    let exchanges = world.exchanges();
    // pauses of 1, 2, 4, 8, 16 and then at most 30 seconds, less up to a quarter
    assert!((20..=36).contains(&exchanges), "{exchanges}");
    let failure = fleet[7].token().await.unwrap_err();
    assert_eq!(failure.cause.as_str(), "lwa_unreachable");
    world.lwa.down.store(false, Ordering::Relaxed);
    tokio::time::sleep(Duration::from_secs(61)).await;
    assert!(all_the_same(&tokens(&fleet).await));
}

#[tokio::test(start_paused = true)]
async fn half_an_hour_without_lwa_or_without_the_store_costs_a_running_fleet_nothing() {
    for without_store in [false, true] {
        let (world, fleet) = fleet(5).await;
        let warm = join_all(fleet.iter().map(|sidecar| sidecar.keep_warm(0)));
        let story = async {
            // the worst moment: nobody has renewed yet
            tokio::time::sleep(Duration::from_mins(29)).await;
            for sidecar in &fleet {
                sidecar.line.cut.store(without_store, Ordering::Relaxed);
            }
            world.lwa.down.store(!without_store, Ordering::Relaxed);
            for _ in 0..30 {
                for sidecar in &fleet {
                    assert!(world.is_alive(&sidecar.token().await.unwrap()));
                }
                tokio::time::sleep(Duration::from_mins(1)).await;
            }
            for sidecar in &fleet {
                sidecar.line.cut.store(false, Ordering::Relaxed);
            }
            world.lwa.down.store(false, Ordering::Relaxed);
            tokio::time::sleep(Duration::from_mins(2)).await;
            for sidecar in &fleet {
                assert!(world.is_alive(&sidecar.token().await.unwrap()));
            }
        };
        tokio::select! { _ = warm => {}, () = story => {} }
    }
}

#[tokio::test(start_paused = true)]
async fn without_the_store_nothing_is_exchanged_and_the_cause_is_the_stores() {
    let (world, fleet) = fleet(1).await;
    fleet[0].token().await.unwrap();
    fleet[0].line.cut.store(true, Ordering::Relaxed);
    tokio::time::sleep(Duration::from_mins(61)).await;
    let failure = fleet[0].token().await.unwrap_err();
    assert_eq!(failure.cause.as_str(), "store_unreachable");
    assert_eq!(world.exchanges(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_store_that_is_read_but_not_written_keeps_nobody_waiting_and_is_named() {
    for error in [
        StoreError::NotLeader("no leader".to_owned()),
        StoreError::Throttled("a quota".to_owned()),
        StoreError::Timeout("no answer".to_owned()),
        StoreError::Unavailable("reset".to_owned()),
        StoreError::Protocol("a page".to_owned()),
        StoreError::Denied("no policy".to_owned()),
    ] {
        let (world, fleet) = fleet(1).await;
        let sidecar = &fleet[0];
        *sidecar.line.takes_no_writes.lock().unwrap() = Some(error.clone());
        let answer = tokio::time::timeout(Duration::from_secs(5), sidecar.token()).await;
        let failure = answer.expect("it is answered").unwrap_err();
        assert_eq!(failure.cause.as_str(), error.cause());
        assert_eq!(world.exchanges(), 0, "{error}: there is no lease");
        *sidecar.line.takes_no_writes.lock().unwrap() = None;
        tokio::time::sleep(failure.retry_in).await;
        assert!(sidecar.token().await.is_ok(), "{error}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_sidecar_that_hears_of_anothers_failure_names_its_cause_and_asks_nobody() {
    let (world, fleet) = fleet(2).await;
    world.lwa.down.store(true, Ordering::Relaxed);
    let own = fleet[0].token().await.unwrap_err().cause;
    let told = fleet[1].token().await.unwrap_err().cause;
    assert_eq!(own.as_str(), told.as_str());
    assert!(!own.was_shared() && told.was_shared());
    assert_eq!(world.exchanges(), 1);
    // a person who asks for a token is not kept waiting by it
    world.lwa.down.store(false, Ordering::Relaxed);
    assert!(fleet[1].tokens.renew(&key(0)).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn an_old_failure_in_the_record_keeps_no_newcomer_waiting_whatever_its_clock() {
    for clock in [
        Clock::Right,
        Clock::Ahead(Duration::from_hours(9)),
        Clock::Behind(Duration::from_hours(9)),
    ] {
        let (world, fleet) = fleet(1).await;
        world.lwa.down.store(true, Ordering::Relaxed);
        fleet[0].token().await.unwrap_err();
        world.lwa.down.store(false, Ordering::Relaxed);
        tokio::time::sleep(Duration::from_hours(1)).await;
        let newcomer = Sidecar::join(&world, clock);
        assert!(newcomer.token().await.is_ok(), "{clock:?}");
    }
}
