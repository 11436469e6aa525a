//! Carries floods out: what they cost is bounded, and everybody else is served meanwhile.

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::ORDERS;
use super::attack::Way;
use super::flood::{Ends, Flood, floods};
use super::frames::{PREFACE, SETTINGS, frame};
use crate::support::child::ChildSidecar;
use crate::support::peer::soon;
use crate::support::sidecar::{NA, Setup};
use crate::support::wire::dial;

/// Most memory that the process may have had resident when all is over. At rest it has some 30 MiB.
pub(super) const BOUND_KIB: u64 = 128 << 10;

/// Most requests of a flood that reach upstream: as many as may be open at once, and those that make room.
pub(super) const MOST_REQUESTS: usize = 300;

/// Sends a flood; whether the sidecar ended it.
async fn pour(child: &ChildSidecar, flood: &Flood) -> Ends {
    match flood.way {
        Way::Http2 => {
            let tunnel = connected(child).await;
            let mut io = child.handshake(tunnel, NA, &["h2"]).await.unwrap();
            let settings = frame(SETTINGS, 0, 0, &[]);
            let first = [PREFACE, &settings, &flood.open].concat();
            io.write_all(&first).await.unwrap();
            send(io, flood).await
        }
        Way::Http1 => {
            let mut io = child.inside(NA).await.io;
            io.write_all(&flood.open).await.unwrap();
            send(io, flood).await
        }
        Way::Door => {
            let mut io = dial(child.proxy()).await.io;
            io.write_all(&flood.open).await.unwrap();
            send(io, flood).await
        }
        Way::Connect => send(connected(child).await, flood).await,
        Way::Transparent => send(dial(child.transparent()).await.io, flood).await,
        other @ (Way::Tunnel | Way::Answer) => panic!("no floods by {other:?}"),
    }
}

async fn connected(child: &ChildSidecar) -> TcpStream {
    let (answer, wire) = child.connect(&format!("{NA}:443"), &[]).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    wire.io
}

async fn send(io: impl AsyncRead + AsyncWrite, flood: &Flood) -> Ends {
    let (mut from, mut to) = tokio::io::split(io);
    let listens = async {
        if flood.deaf {
            return std::future::pending().await;
        }
        let mut heard = vec![0; 64 << 10];
        while from.read(&mut heard).await.is_ok_and(|read| read > 0) {}
    };
    let pours = async {
        let mut batch = Vec::new();
        for n in 0..flood.times {
            batch.extend((flood.again)(n));
            if batch.len() > 16 << 10 {
                to.write_all(&batch).await?;
                batch.clear();
            }
        }
        to.write_all(&batch).await?;
        to.flush().await
    };
    let mut listens = std::pin::pin!(listens);
    tokio::select! {
        () = listens.as_mut() => return Ends::Closed,
        poured = pours => if poured.is_err() {
            return Ends::Closed;
        }
    }
    if flood.ends == Ends::Closed {
        soon("the end of the connection", listens).await;
        return Ends::Closed;
    }
    Ends::Served
}

fn peak_kib(child: &ChildSidecar) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:"));
    let digits = line.unwrap().split_whitespace().nth(1).unwrap();
    digits.parse().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_is_bounded_in_memory_and_everybody_else_is_served_meanwhile() {
    let setup = Setup {
        listen: "  limits: { idle_timeout: 2s }\n".to_owned(),
        upstream: "  response_timeout: 2s\n".to_owned(),
        ..Setup::default()
    };
    let child = ChildSidecar::with(setup, &[]).await;
    let mut defects = Vec::new();
    for flood in floods() {
        let before = child.stage.sandbox.received().len();
        let mut served = 0;
        let meanwhile = async {
            loop {
                assert_eq!(child.call(ORDERS, &[]).await.status, 200, "{}", flood.name);
                served += 1;
            }
        };
        let ended = tokio::select! {
            ended = pour(&child, &flood) => ended,
            () = meanwhile => unreachable!("a loop without an end"),
        };
        assert_eq!(child.call(ORDERS, &[]).await.status, 200, "{}", flood.name);
        let (peak, came) = (
            peak_kib(&child),
            child.stage.sandbox.received().len() - before - served,
        );
        let as_said = flood.ends == Ends::Served || ended == Ends::Closed;
        if peak > BOUND_KIB || came > MOST_REQUESTS || !as_said {
            let way = flood.way.text();
            defects.push(format!(
                "{way}, {}: {ended:?}, {peak} KiB, {came} requests",
                flood.name
            ));
        }
    }
    assert!(defects.is_empty(), "{}", defects.join("\n"));
}
