//! What the machine runs out of: descriptors and memory, and clients that take many connections and give nothing for them.

mod connections;
mod memory;

use std::time::Duration;

use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;

use crate::support::child::ChildSidecar;
use crate::support::kernel::descriptors;
use crate::support::sidecar::{NA, Setup};

const ORDERS: &str = "/orders/v0/orders?MarketplaceIds=ATVPDKIKX0DER";

/// Waits until the number of descriptors that the process has open is as wanted.
async fn until(sidecar: &ChildSidecar, wanted: impl Fn(usize) -> bool) {
    for _ in 0..1_000 {
        if wanted(descriptors(sidecar.id())) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("{} descriptors are open", descriptors(sidecar.id()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_descriptors_calls_are_refused_as_overloaded_and_served_again_when_there_are_some()
{
    let wrapper = ["/bin/sh", "-c", "ulimit -n 128 && exec \"$@\"", "sh"];
    let sidecar = ChildSidecar::under(&wrapper, &Setup::default()).await;
    let mut first = sidecar.inside(NA).await;
    let before = descriptors(sidecar.id());
    // each holds one; those that wait in the backlog hold none, and the accept loop waits for one
    let mut held = Vec::new();
    for _ in 0..128 {
        held.push(TcpStream::connect(sidecar.proxy()).await.unwrap());
    }
    until(&sidecar, |open| open >= 128).await;
    let answer = first.get(NA, ORDERS, &[]).await;
    assert_eq!(
        answer.refused(),
        (503, "overloaded".to_owned()),
        "{}",
        sidecar.stdout()
    );
    assert!(answer.text().contains("LimitNOFILE"), "{}", answer.text());
    drop(held);
    until(&sidecar, |open| open <= before + 2).await;
    assert_eq!(
        first.get(NA, ORDERS, &[]).await.status,
        200,
        "the same connection"
    );
    let mut anew = sidecar.inside(NA).await;
    assert_eq!(anew.get(NA, ORDERS, &[]).await.status, 200, "a new one");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_that_speak_slowly_keep_nobody_waiting_and_leave_nothing_behind() {
    #[expect(clippy::disallowed_methods, reason = "a test's own size")]
    let clients = std::env::var("SLOW_CLIENTS").map_or(500, |text| text.parse().unwrap());
    let setup = Setup {
        listen: "  limits: { header_timeout: 3s, max_connections: 20000 }\n".to_owned(),
        ..Setup::default()
    };
    let sidecar = ChildSidecar::with(setup, &[]).await;
    let mut other = sidecar.inside(NA).await;
    assert_eq!(other.get(NA, ORDERS, &[]).await.status, 200);
    let before = descriptors(sidecar.id());
    let mut slow = Vec::new();
    for n in 0..clients {
        let mut stream = TcpStream::connect(sidecar.proxy()).await.unwrap();
        stream.write_all(b"CONNECT sellingpartn").await.unwrap();
        slow.push(stream);
        if n % 100 == 0 {
            assert_eq!(other.get(NA, ORDERS, &[]).await.status, 200, "beside {n}");
        }
    }
    until(&sidecar, |open| open <= before).await;
    assert_eq!(other.get(NA, ORDERS, &[]).await.status, 200);
    drop(slow);
}
