//! Four processes, twenty tenants, many expiries.

use std::time::Duration;

use crate::support::fleet::{Stage, until};

const TENANTS: usize = 20;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn four_sidecars_with_twenty_tenants_exchange_once_an_expiry_and_tenant() {
    let Some(stage) = Stage::set(TENANTS, Duration::from_secs(4)).await else {
        return;
    };
    let lwa = "{ refresh_at: 50%, timeout: 5s }";
    let mut fleet = Vec::new();
    for _ in 0..4 {
        fleet.push(stage.join(lwa).await);
    }
    for member in &fleet {
        member.gets_ready().await;
    }
    // five tokens a tenant, one after the other
    until("every tenant has had five tokens", async || {
        for member in &fleet {
            assert_eq!(member.call().await, 200);
        }
        let mut fewest = usize::MAX;
        for n in 0..TENANTS {
            fewest = fewest.min(stage.token(n).await.generation());
        }
        fewest >= 5
    })
    .await;
    for member in &fleet {
        member.process.terminate();
    }
    let mut logs = Vec::new();
    for member in fleet {
        let (status, stdout, _stderr) = member.process.ended().await;
        assert!(status.success());
        logs.push(stdout);
    }
    // every exchange was one generation of one tenant's record, and there was no other
    let exchanges = stage.exchanges();
    for (n, exchanges) in exchanges.iter().enumerate() {
        let record = stage.token(n).await;
        assert_eq!(record.generation(), *exchanges, "tenant {n}");
        assert_eq!(record.field("nonce"), "", "the drain waits for commits");
    }
    // and nobody was left out of the work, nor did it all
    let own = |log: &String| log.matches("\"token exchanged\"").count();
    let total: usize = exchanges.iter().sum();
    assert_eq!(logs.iter().map(own).sum::<usize>(), total);
    assert!(logs.iter().all(|log| own(log) < total));
}
