//! An outage that outlasts the token: the call is refused with the cause, nothing is sent, and it ends by itself.

use std::time::Duration;

use crate::support::fleet::{Member, Plan, Stage, orders, until};
use crate::support::gate::Away;
use crate::support::sidecar::{NA, refusal};

/// Short, because the outage is to outlast it; a tenth of it is what a busy machine may lose between the sidecar and Amazon.
const LIFE: Duration = Duration::from_secs(8);

/// The statuses with which Amazon's stand-in answered calls.
fn answered(stage: &Stage) -> Vec<Option<u16>> {
    let received = stage.sandbox.received().into_iter();
    let calls = received.filter(|one| one.host == NA);
    calls.map(|one| one.status).collect()
}

/// Calls until the token is over: every call before is served, this one is refused. How many there were, and the refusal.
async fn until_refused(member: &Member) -> (usize, String) {
    let client = member.client(None);
    for served in 0.. {
        let answer = client.get(orders()).send().await.unwrap();
        if answer.status() == 200 {
            tokio::time::sleep(Duration::from_millis(50)).await;
            continue;
        }
        assert!(answer.headers().contains_key("retry-after"), "{answer:?}");
        let (status, code, details) = refusal(answer).await;
        assert_eq!((status, &*code), (503, "token_unavailable"), "{details}");
        return (served, details);
    }
    unreachable!()
}

/// From the outage to its end; `words` are in the refusal.
async fn is_refused_until_it_ends(
    words: &str,
    out: impl AsyncFnOnce(&mut Stage),
    back: impl AsyncFnOnce(&mut Stage),
) {
    let plan = Plan {
        expires_in: LIFE,
        ..Plan::default()
    };
    let Some(mut stage) = Stage::with(plan).await else {
        return;
    };
    let member = stage.join("{ timeout: 1s }").await;
    member.gets_ready().await;
    assert_eq!(member.call().await, 200);
    out(&mut stage).await;
    let (served, details) = until_refused(&member).await;
    assert!(details.contains(words), "{details}");
    assert!(!details.contains("canary"), "{details}");
    for _ in 0..5 {
        assert_eq!(until_refused(&member).await.0, 0);
    }
    // what was served was sent, nothing else was, and Amazon took every token
    assert_eq!(answered(&stage), vec![Some(200); served + 1]);
    back(&mut stage).await;
    until("calls are served again", async || {
        member.call().await == 200
    })
    .await;
    assert!(answered(&stage).iter().all(|status| *status == Some(200)));
    assert!(!member.process.has_ended());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn past_the_life_of_a_token_an_outage_of_lwa_is_named_and_nothing_is_sent() {
    let away = |how, words| {
        is_refused_until_it_ends(
            words,
            async move |stage| stage.lwa.shut(how).await,
            async |stage| stage.lwa.open().await,
        )
    };
    tokio::join!(away(Away::Refuses, "LWA: "), away(Away::Hangs, "LWA: "));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn past_the_life_of_a_token_an_outage_of_vault_is_named_and_nothing_is_sent() {
    is_refused_until_it_ends(
        "store: it cannot be reached. ",
        async |stage| stage.vault.stop(),
        async |stage| {
            stage.vault.start_again().await;
            stage.vault.unseal().await;
        },
    )
    .await;
}
