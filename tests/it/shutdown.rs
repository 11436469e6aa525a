//! How the process ends, and that it does not start where another one listens.

use std::time::Duration;

use tokio::net::TcpStream;
use tokio::time::Instant;

use crate::support::child::{ChildSidecar, Process};
use crate::support::free_port;
use crate::support::sidecar::{NA, Setup, eventually, fault};
use crate::support::wire::request;

/// Waits until nobody accepts connections any more.
async fn refuses_connections(sidecar: &ChildSidecar) {
    for _ in 0..500 {
        if TcpStream::connect(sidecar.proxy()).await.is_err() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("still accepts connections");
}

/// A request that Amazon has received and does not answer for a while.
async fn pending_request(
    sidecar: &ChildSidecar,
    milliseconds: u32,
) -> crate::support::wire::Wire<tokio_rustls::client::TlsStream<TcpStream>> {
    let late = format!(r#"{{"latency_ms":{milliseconds},"path_prefix":"/_sandbox/sink"}}"#);
    sidecar.stage.sandbox.fault(fault(&late));
    let mut inside = sidecar.inside(NA).await;
    inside
        .send(request("POST", NA, "/_sandbox/sink", &[], "hello"))
        .await;
    let received = || sidecar.stage.sandbox.received();
    eventually("the request reaches Amazon", || {
        received().iter().any(|one| one.target == "/_sandbox/sink")
    })
    .await;
    inside
}

#[tokio::test]
async fn a_request_in_flight_is_finished_while_new_connections_are_refused() {
    let sidecar = ChildSidecar::with(Setup::default(), &[]).await;
    let mut inside = pending_request(&sidecar, 1500).await;
    sidecar.terminate();
    refuses_connections(&sidecar).await;
    assert!(!sidecar.has_ended());
    let answer = inside.answer().await;
    assert_eq!((answer.status, &answer.json()["bytes"]), (200, &5.into()));
    let (_, status, stdout, stderr) = sidecar.ended().await;
    assert_eq!(status.code(), Some(0), "{stdout}{stderr}");
    assert!(stdout.contains("\"drained\""), "{stdout}");
}

#[tokio::test]
async fn idle_connections_do_not_hold_up_the_end() {
    let sidecar = ChildSidecar::with(Setup::default(), &[]).await;
    let mut inside = sidecar.inside(NA).await;
    assert_eq!(inside.get(NA, "/orders/v0/orders", &[]).await.status, 200);
    let mut client = sidecar.inside_h2(NA).await;
    let url = format!("https://{NA}/orders/v0/orders");
    assert_eq!(
        crate::support::wire::get_h2(&mut client, &url, &[])
            .await
            .status,
        200
    );
    let from = Instant::now();
    sidecar.terminate();
    let (_, status, stdout, stderr) = sidecar.ended().await;
    assert_eq!(status.code(), Some(0), "{stdout}{stderr}");
    let took = from.elapsed();
    assert!(
        took < Duration::from_secs(3),
        "{took:?} of drain_timeout's five seconds: {stdout}"
    );
}

#[tokio::test]
async fn a_request_that_outlasts_the_drain_is_cut_and_recorded_and_the_exit_code_is_0() {
    let setup = Setup {
        drain_timeout: "300ms".to_owned(),
        ..Setup::default()
    };
    let sidecar = ChildSidecar::with(setup, &[]).await;
    let mut inside = pending_request(&sidecar, 60_000).await;
    sidecar.terminate();
    assert!(inside.try_answer().await.is_err(), "an answer came");
    let (_, status, stdout, stderr) = sidecar.ended().await;
    assert_eq!(status.code(), Some(0), "{stdout}{stderr}");
    let records: Vec<&str> = stdout
        .lines()
        .filter(|line| line.contains("\"outcome\""))
        .collect();
    assert_eq!(records.len(), 1, "{stdout}");
    assert!(
        records[0].contains("\"outcome\":\"cancelled\""),
        "{}",
        records[0]
    );
}

#[tokio::test]
async fn a_second_sidecar_on_the_same_port_says_so_and_leaves_the_first_one_as_it_is() {
    let port = free_port();
    let setup = Setup {
        proxy: format!("127.0.0.1:{port}"),
        ..Setup::default()
    };
    let sidecar = ChildSidecar::with(setup, &[]).await;
    let before = std::fs::read(sidecar.ca_file()).unwrap();
    let folder = sidecar.stage.folder.path();
    let (status, _, stderr) = Process::start(folder, &[]).ended().await;
    assert_eq!(status.code(), Some(2), "{stderr}");
    let clear = stderr.contains(&format!("cannot listen on 127.0.0.1:{port}"))
        && stderr.contains("`listen.proxy`");
    assert!(clear, "{stderr}");
    assert_eq!(
        std::fs::read(sidecar.ca_file()).unwrap(),
        before,
        "the first one's CA file was replaced"
    );
    assert_eq!(sidecar.call("/orders/v0/orders", &[]).await.status, 200);
}
