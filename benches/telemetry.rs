//! What a request pays to be counted, and for traces where none are made.

use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use divan::Bencher;
use divan::counter::ItemsCount;
use spapi_sidecar::telemetry::Sink;
use spapi_sidecar::telemetry::event::{Event, Events, Observer as _};
use spapi_sidecar::telemetry::metrics::Metrics;
use spapi_sidecar::telemetry::record::{Outcome, Record, Recorder, RequestId};
use spapi_sidecar::telemetry::trace::Step;
use spapi_sidecar::telemetry::w3c::Parent;
use spapi_sidecar::tenant::TenantId;

fn main() {
    divan::main();
}

/// Notes in one measured run: reading the clock between two of them would cost as much as a note.
const NOTES: usize = 1_000;

/// The record of a usual request of one of many tenants, which writes nothing when it falls.
fn record(n: usize) -> Box<Record> {
    let recorder = Arc::new(Recorder {
        sink: Sink::discard(),
        release: "bench".into(),
        traffic: Arc::default(),
        events: Events::default(),
        pretty: false,
    });
    let host = "sellingpartnerapi-na.amazon.com".into();
    let mut record = Record::open(recorder, RequestId(7), host, http::Method::GET);
    record.tenant = TenantId::parse(&format!("tenant-{n}")).ok();
    record.operation = "getOrderItemsBuyerInfo".into();
    record.status = 200;
    record.outcome = Outcome::Forwarded;
    record.upstream = Duration::from_millis(3);
    record.head_is_ready();
    record.forget();
    record
}

/// A request counted: by tenant, operation, status and outcome, and in both histograms. Items are notes.
#[divan::bench(threads = [1, 2], args = [1, 1_000])]
fn note(bencher: Bencher<'_, '_>, tenants: usize) {
    let metrics = Metrics::new("bench".into());
    let records: Vec<Box<Record>> = (0..tenants).map(record).collect();
    for record in &records {
        metrics.note(&Event::Request(record));
    }
    bencher.counter(ItemsCount::new(NOTES)).bench(|| {
        for record in records.iter().cycle().take(NOTES) {
            metrics.note(black_box(&Event::Request(record)));
        }
    });
}

/// What is left of traces where no collector is configured: the request's span, its seven steps, and the look for a trace
/// context. Items are requests.
#[divan::bench]
fn no_trace(bencher: Bencher<'_, '_>) {
    let mut record = record(1);
    let fields = http::HeaderMap::new();
    let steps = [
        Step::Admit,
        Step::Authorize,
        Step::Pace,
        Step::Credential,
        Step::Inject,
        Step::Send,
        Step::Return,
    ];
    bencher.counter(ItemsCount::new(NOTES)).bench_local(|| {
        for _ in 0..NOTES {
            record.begin_trace(Parent::of(black_box(&fields)));
            for step in steps {
                black_box(step.span().in_scope(|| black_box(1)));
            }
        }
    });
}

/// The page of an installation with so many tenants.
#[divan::bench(args = [1, 1_000])]
fn page(bencher: Bencher<'_, '_>, tenants: usize) {
    let metrics = Metrics::new("bench".into());
    for record in (0..tenants).map(record) {
        metrics.note(&Event::Request(&record));
    }
    bencher.bench_local(|| metrics.page());
}
