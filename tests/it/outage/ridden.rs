//! Half a token's life without LWA, or without Vault, or without both: no call notices.
//!
//! A token that lives fifty seconds stands for one of an hour. An outage begins when a token is new and ends when renewals,
//! which begin half way through its life, have failed twice: it has lasted for more than half of that life by then.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use tokio::task::JoinSet;

use crate::support::fleet::{Member, Plan, Stage, orders, until};
use crate::support::gate::Away;

/// Long enough that what is left of it after the outage does not hang on how busy this machine is.
const LIFE: Duration = Duration::from_secs(50);

/// Between two calls of one program.
const PACE: Duration = Duration::from_millis(100);

/// Programs that call all the time.
struct Programs {
    goes_on: Arc<AtomicBool>,
    calls: Arc<AtomicUsize>,
    callers: JoinSet<Vec<(u16, String)>>,
}

impl Programs {
    /// One that keeps its connections and one that does not.
    async fn of(member: &Arc<Member>) -> Self {
        let goes_on = Arc::new(AtomicBool::new(true));
        let calls = Arc::new(AtomicUsize::new(0));
        let mut callers = JoinSet::new();
        for keeps in [true, false] {
            let (member, goes_on) = (Arc::clone(member), Arc::clone(&goes_on));
            let calls = Arc::clone(&calls);
            callers.spawn(async move {
                let mut client = member.client(None);
                let mut bad = Vec::new();
                while goes_on.load(Ordering::Relaxed) {
                    if !keeps {
                        client = member.client(None);
                    }
                    let answer = client.get(orders()).send().await.unwrap();
                    let status = answer.status().as_u16();
                    if status != 200 {
                        bad.push((status, answer.text().await.unwrap()));
                    }
                    calls.fetch_add(1, Ordering::Relaxed);
                    tokio::time::sleep(PACE).await;
                }
                bad
            });
        }
        let programs = Self {
            goes_on,
            calls,
            callers,
        };
        programs.call_on().await;
        programs
    }

    /// Waits until both have called again.
    async fn call_on(&self) {
        let before = self.calls.load(Ordering::Relaxed);
        until("the programs call on", async || {
            self.calls.load(Ordering::Relaxed) > before + 4
        })
        .await;
    }

    async fn end_without_a_failed_call(self, what: &str) {
        self.goes_on.store(false, Ordering::Relaxed);
        for bad in self.callers.join_all().await {
            assert_eq!(bad, Vec::new(), "{what}");
        }
    }
}

/// One outage, from its beginning to its end.
struct Outage {
    name: &'static str,
    plan: Plan,
    /// The word of a renewal that fails of it.
    cause: &'static str,
    lwa: Option<Away>,
    vault: Option<Vault>,
}

/// How Vault is away.
#[derive(Clone, Copy)]
enum Vault {
    Stopped,
    Frozen,
    Sealed,
}

impl Outage {
    async fn begins(&self, stage: &mut Stage) {
        match self.vault {
            Some(Vault::Stopped) => stage.vault.stop(),
            Some(Vault::Frozen) => stage.vault.freeze(),
            Some(Vault::Sealed) => stage.vault.seal().await,
            None => {}
        }
        if let Some(how) = self.lwa {
            stage.lwa.shut(how).await;
        }
    }

    async fn ends(&self, stage: &mut Stage) {
        match self.vault {
            Some(Vault::Stopped) => {
                stage.vault.start_again().await;
                stage.vault.unseal().await;
            }
            Some(Vault::Frozen) => stage.vault.thaw(),
            Some(Vault::Sealed) => stage.vault.unseal().await,
            None => {}
        }
        if self.lwa.is_some() {
            stage.lwa.open().await;
        }
    }

    async fn costs_nothing(self) {
        let Some(mut stage) = Stage::with(self.plan).await else {
            return;
        };
        let member = stage.join("{ refresh_at: 50%, timeout: 1s }").await;
        member.gets_ready().await;
        let member = Arc::new(member);
        let programs = Programs::of(&member).await;
        let before = stage.exchanges();
        self.begins(&mut stage).await;
        until("two renewals have failed", async || {
            member.process.said("no token", self.cause) >= 2
        })
        .await;
        assert_eq!(stage.exchanges(), before, "{}: it was no outage", self.name);
        programs.call_on().await;
        self.ends(&mut stage).await;
        until("a renewal works again", async || {
            stage.exchanges()[0] > before[0]
        })
        .await;
        programs.call_on().await;
        programs.end_without_a_failed_call(self.name).await;
        if self.plan.transit {
            let raw = stage.token(0).await;
            assert!(raw.field("token").starts_with("vault:v1:"), "{}", self.name);
        }
    }
}

fn plan(shares: bool, transit: bool) -> Plan {
    Plan {
        expires_in: LIFE,
        shares,
        transit,
        ..Plan::default()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn half_a_life_without_lwa_costs_no_call_nor_does_it_when_vault_is_away_too() {
    let outage = |name, plan, how, vault, cause| Outage {
        name,
        plan,
        cause,
        lwa: Some(how),
        vault,
    };
    let (alone, shared, sealed) = (plan(false, false), plan(true, false), plan(true, true));
    let (stopped, frozen) = (Some(Vault::Stopped), Some(Vault::Frozen));
    let (lwa, store, slow) = ("lwa_unreachable", "store_unreachable", "store_timeout");
    tokio::join!(
        outage("LWA refuses", shared, Away::Refuses, None, lwa).costs_nothing(),
        outage("LWA hangs", alone, Away::Hangs, None, lwa).costs_nothing(),
        outage("both gone", sealed, Away::Refuses, stopped, store).costs_nothing(),
        outage("both hang", alone, Away::Hangs, frozen, slow).costs_nothing(),
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn half_a_life_without_vault_costs_no_call() {
    let outage = |name, plan, how, cause| Outage {
        name,
        plan,
        cause,
        lwa: None,
        vault: Some(how),
    };
    let (alone, shared, sealed) = (plan(false, false), plan(true, false), plan(true, true));
    tokio::join!(
        outage("stopped", alone, Vault::Stopped, "store_unreachable").costs_nothing(),
        outage("stopped", sealed, Vault::Stopped, "store_unreachable").costs_nothing(),
        outage("frozen", shared, Vault::Frozen, "store_timeout").costs_nothing(),
        outage("sealed", sealed, Vault::Sealed, "store_sealed").costs_nothing(),
    );
}
