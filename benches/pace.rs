//! What pacing costs a request that need not wait: to find its lane, and to take a place in it.

use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use divan::Bencher;
use spapi_sidecar::catalog::Catalog;
use spapi_sidecar::config::{Account, Environment, Preflight, Region, Tenant};
use spapi_sidecar::pace::bucket::{Bucket, Plan};
use spapi_sidecar::pace::{Call, Pace};
use spapi_sidecar::tenant::{AppId, TenantId};
use tokio::runtime::{Builder, Runtime};
use tokio::time::Instant;

fn main() {
    divan::main();
}

/// Places in one measured run: divide by it.
const PLACES: u32 = 1_000;

const PATH: &str = "/orders/v0/orders/123-1234567-1234567/address";

fn tenant(id: &str) -> Tenant {
    Tenant {
        id: TenantId::parse(id).expect("a good id"),
        app: AppId::parse("erp").expect("a good id"),
        account: Account::Seller,
        region: Region::Na,
        environment: Environment::Production,
        marketplaces: Vec::new(),
        vendor_groups: Vec::new(),
        scopes: Vec::new(),
        preflight: Preflight::Optional,
    }
}

fn call<'a>(tenant: &'a Tenant, template: &'a Arc<str>) -> Call<'a> {
    Call {
        tenant,
        grantless: false,
        method: &http::Method::GET,
        operation: Catalog::embedded().find(&http::Method::GET, PATH),
        template,
    }
}

/// One core of the sidecar.
fn core() -> Runtime {
    Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime")
}

/// The arithmetic alone.
#[divan::bench]
fn bucket(bencher: Bencher<'_, '_>) {
    let plan = Plan::parse(0.5, 30.0).expect("a plan");
    let now = Instant::now();
    let mut bucket = Bucket::new(plan, 1, now);
    bencher.bench_local(|| {
        for _ in 0..PLACES {
            let _taken = black_box(bucket.take(1, now));
            bucket.give_back();
        }
    });
}

/// The lane of a request, among those of ten thousand tenants.
#[divan::bench(threads = [1, 2])]
fn lane(bencher: Bencher<'_, '_>) {
    let pace = Pace::new(Arc::new(|| 1));
    let template = PATH.into();
    for n in 0..10_000 {
        drop(pace.lane(&call(&tenant(&format!("t{n}")), &template)));
    }
    let acme = tenant("acme");
    bencher.bench(|| {
        for _ in 0..PLACES {
            drop(black_box(pace.lane(&call(&acme, &template))));
        }
    });
}

/// A place taken and given back, lane and all, as the walk does: by cores that want the same lane.
#[divan::bench(threads = [1, 2])]
fn place(bencher: Bencher<'_, '_>) {
    let pace = Pace::new(Arc::new(|| 1));
    let (acme, template) = (tenant("acme"), PATH.into());
    bencher.with_inputs(core).bench_refs(|core| {
        core.block_on(async {
            for _ in 0..PLACES {
                let lane = pace.lane(&call(&acme, &template));
                drop(black_box(lane.enter(Duration::from_secs(1)).await));
            }
        });
    });
}
