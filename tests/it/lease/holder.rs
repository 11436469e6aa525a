//! Whoever exchanges, when it is killed or stopped in the middle.

use std::time::Duration;

use serde_json::json;
use spapi_sidecar::sandbox::Fault;

use crate::support::fleet::{Member, Stage, until};

const LWA: &str = "{ timeout: 2s }";

/// Two sidecars, of which one has asked Amazon and waits for the answer, and the other waits for it.
async fn mid_exchange(latency_ms: u64) -> Option<(Stage, Member, Member)> {
    let stage = Stage::set(1, Duration::from_hours(1)).await?;
    let slow = json!({"latency_ms": latency_ms, "host": "api.amazon.com"});
    let _number = stage.sandbox.fault(Fault::from_json(slow).unwrap());
    let one = stage.join(LWA).await;
    let two = stage.join(LWA).await;
    until("somebody asks Amazon", async || asked(&stage) == 1).await;
    let lease = stage.token(0).await;
    assert_ne!(lease.field("nonce"), "");
    Some(if one.holds(&lease) {
        (stage, one, two)
    } else {
        assert!(two.holds(&lease), "{}", lease.field("holder"));
        (stage, two, one)
    })
}

/// How often Amazon was asked for a token, answered or not.
fn asked(stage: &Stage) -> usize {
    let received = stage.sandbox.received().into_iter();
    received.filter(|one| one.host == "api.amazon.com").count()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn when_the_holder_is_killed_another_takes_over_when_the_lease_is_over() {
    let Some((stage, holder, other)) = mid_exchange(1500).await else {
        return;
    };
    holder.process.kill();
    stage.sandbox.clear_faults();
    other.gets_ready().await;
    assert_eq!(other.call().await, 200);
    let record = stage.token(0).await;
    assert_eq!((record.generation(), record.field("nonce")), (1, ""));
    assert_eq!(asked(&stage), 2);
    // said once, with the name of whoever did not come back
    other.process.terminate();
    let (_status, log, _stderr) = other.process.ended().await;
    assert_eq!(log.matches("did not come back").count(), 1, "{log}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_late_write_of_a_holder_that_was_stopped_is_fenced_off() {
    let Some((stage, holder, other)) = mid_exchange(1500).await else {
        return;
    };
    holder.process.signal(rustix::process::Signal::STOP);
    stage.sandbox.clear_faults();
    other.gets_ready().await;
    let taken_over = stage.token(0).await;
    assert_eq!(taken_over.generation(), 1);
    holder.process.signal(rustix::process::Signal::CONT);
    // the answer of back then has lain in its socket; it comes to the same token as everybody in the end, or to its own
    holder.gets_ready().await;
    holder.process.terminate();
    let (_status, log, _stderr) = holder.process.ended().await;
    let record = stage.token(0).await;
    assert_eq!(record.version, taken_over.version, "{log}");
    assert_eq!(record.field("token"), taken_over.field("token"));
    assert_eq!(other.call().await, 200);
}
