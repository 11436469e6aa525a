//! A start while Vault is down, and then sealed: the process lives, says so, and serves when Vault does.

use crate::support::fleet::{Plan, Stage, orders, until};
use crate::support::sidecar::{NA, refusal};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sidecar_that_starts_while_vault_is_down_or_sealed_waits_says_so_and_gets_ready_by_itself()
 {
    let Some(mut stage) = Stage::with(Plan::default()).await else {
        return;
    };
    stage.vault.stop();
    let member = stage.join("{ timeout: 2s }").await;
    for cause in ["store_unreachable", "store_sealed"] {
        if cause == "store_sealed" {
            stage.vault.start_again().await;
        }
        until("readiness names the cause", async || {
            let (status, ready) = member.admin("/health/ready").await;
            assert_eq!(status, 503, "{ready}");
            ready["waiting_for"][0] == format!("the store to be read ({cause})")
        })
        .await;
        let says = "the store cannot be read yet; the sidecar is not ready";
        until("the log names the cause", async || {
            member.process.said(says, cause) > 0
        })
        .await;
        assert_eq!(member.admin("/health/live").await.0, 200);
        let answer = member.client(None).get(orders()).send().await.unwrap();
        assert!(answer.headers().contains_key("retry-after"), "{answer:?}");
        let (status, code, details) = refusal(answer).await;
        assert_eq!((status, &*code), (503, "token_unavailable"));
        assert!(details.starts_with("store: "), "{details}");
    }
    let received = stage.sandbox.received();
    assert!(received.iter().all(|one| one.host != NA), "{received:?}");
    stage.vault.unseal().await;
    member.gets_ready().await;
    assert_eq!(member.call().await, 200);
    assert!(!member.process.has_ended());
}
