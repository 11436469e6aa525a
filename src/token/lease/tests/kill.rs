//! What a kill does to the records: emptied, and closed to whoever exchanges just then.

use super::world::profile;
use super::*;

#[tokio::test(start_paused = true)]
async fn an_emptied_record_gives_its_token_to_nobody() {
    let (world, fleet) = fleet(2).await;
    fleet[0].token().await.unwrap();
    fleet[0].tokens.forget_tenant(&id(0));
    fleet[0].tokens.empty_records(&profile(0)).await.unwrap();
    let record = world.record(0).await;
    assert!(record.token.is_none());
    assert_eq!(record.generation, 2);
    assert!(!fleet[0].tokens.is_fresh(&key(0)));
    // and when the tenant is served again, it takes an exchange
    fleet[1].token().await.unwrap();
    assert_eq!(
        (world.exchanges(), world.record(0).await.generation),
        (2, 3)
    );
}

#[tokio::test(start_paused = true)]
async fn whoever_exchanges_during_a_kill_does_not_put_the_token_back() {
    let (world, fleet) = fleet(2).await;
    let (holder, killer) = (&fleet[0], &fleet[1]);
    let (_told, ()) = tokio::join!(holder.token(), async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        assert!(world.record(0).await.lease.is_some(), "under way");
        killer.tokens.empty_records(&profile(0)).await.unwrap();
    });
    tokio::time::sleep(Duration::from_secs(60)).await;
    let record = world.record(0).await;
    assert!(
        record.token.is_none() && record.lease.is_none(),
        "{record:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn records_that_are_not_there_are_not_made_and_a_store_that_is_away_is_said() {
    let (world, fleet) = fleet(1).await;
    fleet[0].tokens.empty_records(&profile(0)).await.unwrap();
    assert_eq!(world.writes.load(Ordering::Relaxed), 0);
    fleet[0].token().await.unwrap();
    fleet[0].line.cut.store(true, Ordering::Relaxed);
    let error = fleet[0].tokens.empty_records(&profile(0)).await;
    assert_eq!(error.unwrap_err().cause(), "store_unreachable");
}

#[tokio::test(start_paused = true)]
async fn grantless_records_are_emptied_too() {
    let (world, fleet) = fleet(2).await;
    let scope = GrantKind::Grantless("sellingpartnerapi::notifications".into());
    let place = RecordKey::Token(id(0), scope);
    let record = TokenRecord {
        generation: 4,
        token: Some(record::Shared {
            token: AccessToken::new(&zeroize::Zeroizing::new("Atc|x".to_owned())).unwrap(),
            expires_at: SystemTime::UNIX_EPOCH,
            expires_in: Duration::from_secs(3600),
        }),
        ..TokenRecord::default()
    };
    world.overwrite(&place, record.fields()).await;
    // this sidecar has never used the scope
    fleet[1].tokens.empty_records(&profile(0)).await.unwrap();
    let emptied = fleet[1].line.read(&place).await.unwrap().unwrap();
    let emptied = TokenRecord::read(&emptied);
    assert!(emptied.token.is_none());
    assert_eq!(emptied.generation, 5);
}
