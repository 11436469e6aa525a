//! What a request waits for before its token is there: a hit in memory, and a miss that every caller shares.

use std::hint::black_box;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use divan::Bencher;
use futures_util::future::join_all;
use spapi_sidecar::task::Tasks;
use spapi_sidecar::telemetry::event::Events;
use spapi_sidecar::tenant::{AppId, GrantKind, TenantId};
use spapi_sidecar::token::AccessKey;
use spapi_sidecar::token::cache::{Subject, TokenCache};
use tokio::runtime::{Builder, Runtime};

#[expect(dead_code, reason = "other benches use the rest")]
mod parts;

use parts::{Endpoint, tenant};

fn main() {
    divan::main();
}

/// A key that differs at every miss.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
struct Numbered(u64, TenantId);

impl Subject for Numbered {
    fn tenant(&self) -> &TenantId {
        &self.1
    }

    fn app(&self) -> Option<&AppId> {
        None
    }

    fn kind(&self) -> &'static str {
        "access"
    }
}

/// Where exchanges run: a thread of its own, as in the sidecar.
fn control() -> Runtime {
    Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .expect("a thread")
}

/// One core of the sidecar.
fn core() -> Runtime {
    Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime")
}

/// A token that is fresh, key and all as the walk asks for it.
#[divan::bench(threads = [1, 2])]
fn hit(bencher: Bencher<'_, '_>) {
    let (control, tenant) = (control(), Arc::new(tenant()));
    let tasks = Tasks::new(control.handle().clone());
    let cache = TokenCache::new("exchange", Arc::new(Endpoint), tasks, Events::default());
    let key = || AccessKey::new(&tenant, GrantKind::Refresh);
    control
        .block_on(cache.usable(&key()))
        .expect("the endpoint answers");
    bencher.with_inputs(core).bench_refs(|core| {
        core.block_on(async {
            // many to one entry into the runtime, which a request does not pay for
            for _ in 0..HITS {
                black_box(cache.usable(&key()).await.expect("a fresh token"));
            }
        });
    });
}

/// Hits in one measured run of [`hit`]: divide by it.
const HITS: u32 = 1_000;

/// A token that is not there: one exchange, however many ask.
#[divan::bench(args = [1, 100])]
fn miss(bencher: Bencher<'_, '_>, callers: usize) {
    let (control, core) = (control(), core());
    let tasks = Tasks::new(control.handle().clone());
    let cache = TokenCache::new("exchange", Arc::new(Endpoint), tasks, Events::default());
    let next = AtomicU64::new(0);
    bencher.bench_local(|| {
        let key = Numbered(next.fetch_add(1, Ordering::Relaxed), tenant().id);
        core.block_on(join_all((0..callers).map(|_| cache.usable(&key))))
    });
}
