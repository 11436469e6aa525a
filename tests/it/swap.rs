//! Memory that may not be swapped out, where the process is allowed to say so.

use rustix::process::{Resource, getrlimit};
use rustix::thread::{CapabilitySet, capabilities};

use crate::support::child::ChildSidecar;
use crate::support::kernel::kib;
use crate::support::sidecar::{NA, Setup};

const ORDERS: &str = "/orders/v0/orders?MarketplaceIds=ATVPDKIKX0DER";

/// Runs what follows with a limit on locked memory, in KiB or `unlimited`.
fn limited(limit: &str) -> String {
    format!("ulimit -l {limit} && exec \"$@\"")
}

/// Many connections at once are served: each takes memory that was not there at the start.
async fn serves(sidecar: &ChildSidecar) {
    let mut open = Vec::new();
    for _ in 0..40 {
        let mut inside = sidecar.inside(NA).await;
        assert_eq!(inside.get(NA, ORDERS, &[]).await.status, 200);
        open.push(inside);
    }
}

fn may(capability: CapabilitySet) -> bool {
    capabilities(None).unwrap().effective.contains(capability)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_any_amount_of_memory_may_be_locked_all_of_it_is() {
    let limit = if getrlimit(Resource::Memlock).maximum.is_none() {
        "unlimited"
    } else if may(CapabilitySet::IPC_LOCK) {
        // far less than the process takes: the capability alone helps
        "64"
    } else {
        eprintln!("SKIPPED: this process may not lock any amount of memory");
        return;
    };
    let wrapper = ["/bin/sh", "-c", &limited(limit), "sh"];
    let sidecar = ChildSidecar::under(&wrapper, &Setup::default()).await;
    serves(&sidecar).await;
    let (locked, there) = (kib(sidecar.id(), "VmLck"), kib(sidecar.id(), "VmSize"));
    // what the kernel maps into every process does not count
    assert!(locked > there / 2, "{locked} of {there} KiB");
    assert!(kib(sidecar.id(), "VmRSS") < 64 << 10, "it was all fetched");
    let log = sidecar.stdout();
    assert!(log.contains("memory is locked: none of it"), "{log}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_memory_may_be_locked_up_to_a_limit_none_is_and_the_log_says_what_to_do() {
    let limited = limited("1024");
    let mut wrapper = vec!["/bin/sh", "-c", &limited, "sh"];
    if may(CapabilitySet::SETPCAP) {
        wrapper.extend(["setpriv", "--bounding-set=-all", "--inh-caps=-all"]);
    }
    let sidecar = ChildSidecar::under(&wrapper, &Setup::default()).await;
    serves(&sidecar).await;
    assert_eq!(kib(sidecar.id(), "VmLck"), 0);
    let log = sidecar.stdout();
    assert!(log.contains("memory is not locked"), "{log}");
    assert!(log.contains("LimitMEMLOCK=infinity"), "{log}");
}
