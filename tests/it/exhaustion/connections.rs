//! Thousands of intercepted connections that say nothing.

use std::sync::Arc;

use futures_util::future::join_all;
use rustls::pki_types::ServerName;
use tokio_rustls::TlsConnector;

use super::{ORDERS, until};
use crate::support::child::ChildSidecar;
use crate::support::draw::{figure, size};
use crate::support::kernel::{descriptors, kib, raise_descriptors};
use crate::support::peer::{Http1, Tls, tunnel};
use crate::support::sidecar::{NA, Setup};
use crate::support::wire::request;

/// Handshakes at once: fewer than the kernel's queue of connections that wait to be accepted.
const AT_ONCE: usize = 50;

/// What one of them may cost in memory. An idle one is measured at 35 KiB in a release build and at 42 in a debug one; a second
/// buffer of 16 KiB, the least that anything on the way adds, breaks this.
const KIB_EACH: f64 = 56.0;

/// So many, which have said nothing yet.
pub(super) async fn held(sidecar: &ChildSidecar, count: usize) -> Vec<Tls> {
    let connector = TlsConnector::from(Arc::new(sidecar.tls(&["http/1.1"])));
    let mut held = Vec::new();
    while held.len() < count {
        let more = AT_ONCE.min(count - held.len());
        held.extend(join_all((0..more).map(|_| open(sidecar, &connector))).await);
    }
    held
}

async fn open(sidecar: &ChildSidecar, connector: &TlsConnector) -> Tls {
    let stream = tunnel(sidecar.proxy(), NA).await;
    let name = ServerName::try_from(NA).unwrap();
    connector.connect(name, stream).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn thousands_of_idle_connections_are_held_beside_calls_that_are_served_and_leave_nothing() {
    let count = size("CONNECTIONS", 500);
    raise_descriptors(count as u64 + 1_000);
    let setup = Setup {
        listen: "  limits: { max_connections: 12000, idle_timeout: 1h, header_timeout: 1m }\n"
            .to_owned(),
        ..Setup::default()
    };
    let sidecar = ChildSidecar::with(setup, &[]).await;
    let mut other = sidecar.inside(NA).await;
    assert_eq!(other.get(NA, ORDERS, &[]).await.status, 200);
    let (before, memory) = (descriptors(sidecar.id()), kib(sidecar.id(), "VmRSS"));
    let mut open = Vec::new();
    while open.len() < count {
        open.extend(held(&sidecar, 500.min(count - open.len())).await);
        assert_eq!(other.get(NA, ORDERS, &[]).await.status, 200, "an old one");
        assert_eq!(sidecar.call(ORDERS, &[]).await.status, 200, "a new one");
    }
    assert!(descriptors(sidecar.id()) >= before + count);
    let grown = kib(sidecar.id(), "VmRSS").saturating_sub(memory);
    let each = grown as f64 / count as f64;
    figure(&format!(
        "{count} idle intercepted connections, {} MiB more, {each:.1} KiB each; calls beside them were served",
        grown >> 10
    ));
    assert!(each < KIB_EACH, "{each} KiB for a connection");
    // they are not merely open
    for place in [count - 1, count / 2, 0] {
        let mut one = Http1::over(open.swap_remove(place));
        let answer = one.ask(request("GET", NA, ORDERS, &[], "")).await;
        assert_eq!(answer.head.status, 200, "number {place}");
    }
    drop(open);
    // each core may keep a connection to Amazon that it has made meanwhile
    until(&sidecar, |open| open <= before + 2).await;
    assert_eq!(other.get(NA, ORDERS, &[]).await.status, 200);
    assert_eq!(sidecar.call(ORDERS, &[]).await.status, 200);
}
