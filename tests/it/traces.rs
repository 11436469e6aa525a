//! Traces as a collector receives them.

use std::collections::BTreeSet;

use opentelemetry_proto::tonic::trace::v1::Span;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use opentelemetry_proto::tonic::trace::v1::status::StatusCode;

use crate::support::child::ChildSidecar;
use crate::support::collector::{Collector, Manner, attribute};
use crate::support::sidecar::{NA, Setup, eventually, fault};
use crate::support::wire::request;

const ORDERS: &str = "/orders/v0/orders?MarketplaceIds=ATVPDKIKX0DER";
const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const PARENT: &str = "00f067aa0ba902b7";

/// A sidecar that sends its traces to a collector of this manner.
async fn traced(manner: Manner) -> (Collector, ChildSidecar) {
    let collector = Collector::start(manner).await;
    let setup = Setup {
        sections: collector.section(""),
        throttle: "{}".to_owned(),
        ..Setup::default()
    };
    (collector, ChildSidecar::with(setup, &[]).await)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The spans of requests, once there are so many.
async fn requests(collector: &Collector, many: usize) -> Vec<Span> {
    let all = || {
        let mut spans = collector.spans();
        spans.retain(|span| span.kind() == SpanKind::Server);
        spans.sort_by_key(|span| span.start_time_unix_nano);
        spans
    };
    eventually("the spans of the requests", || all().len() >= many).await;
    all()
}

/// The names of the steps of a request, in the order in which they began.
fn steps(collector: &Collector, request: &Span) -> Vec<String> {
    let mut steps = collector.spans();
    steps.retain(|span| span.parent_span_id == request.span_id);
    steps.sort_by_key(|span| span.start_time_unix_nano);
    for step in &steps {
        assert_eq!(step.trace_id, request.trace_id);
        assert!(step.start_time_unix_nano >= request.start_time_unix_nano);
        assert!(
            step.end_time_unix_nano <= request.end_time_unix_nano,
            "{} outlasts its request",
            step.name
        );
    }
    steps.into_iter().map(|step| step.name).collect()
}

async fn metric(sidecar: &ChildSidecar, name: &str) -> u64 {
    let url = format!("http://{}/metrics", sidecar.admin);
    let page = reqwest::get(url).await.unwrap().text().await.unwrap();
    let line = page.lines().find_map(|line| line.strip_prefix(name));
    line.unwrap_or_else(|| panic!("{page}"))
        .trim()
        .parse()
        .unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_is_a_span_with_one_below_it_for_each_step_of_the_walk() {
    let (collector, sidecar) = traced(Manner::Takes).await;
    assert_eq!(sidecar.call(ORDERS, &[]).await.status, 200);
    let request = requests(&collector, 1).await.remove(0);
    assert_eq!(request.name, "GET /orders/v0/orders");
    assert!(request.parent_span_id.is_empty());
    for (key, want) in [
        ("http.request.method", "GET"),
        ("http.route", "/orders/v0/orders"),
        ("server.address", "sellingpartnerapi-na.amazon.com"),
        ("proxy.tenant", "acme"),
        ("proxy.rule", "getOrders"),
        ("proxy.decision", "forwarded"),
        ("proxy.token_kind", "access"),
        ("http.response.status_code", "Some(IntValue(200))"),
    ] {
        assert_eq!(attribute(&request, key).as_deref(), Some(want), "{key}");
    }
    assert_eq!(
        steps(&collector, &request),
        [
            "admit",
            "authorize",
            "pace",
            "credential",
            "inject",
            "send",
            "return"
        ]
    );
    let record = sidecar.records().remove(0);
    assert_eq!(record["trace_id"], hex(&request.trace_id));
    let resource = collector.resources().remove(0);
    for (key, value) in [
        ("service.name", "spapi-sidecar"),
        ("release", "r-canary-free"),
    ] {
        assert!(
            resource.contains(&(key.to_owned(), value.to_owned())),
            "{resource:?}"
        );
    }
    assert_eq!(
        collector.heads().into_iter().collect::<BTreeSet<_>>(),
        BTreeSet::from(["POST /v1/traces Some(\"application/x-protobuf\")".to_owned()])
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_programs_trace_is_continued_and_its_field_goes_on_as_it_came() {
    let (collector, sidecar) = traced(Manner::Takes).await;
    let parent = format!("00-{TRACE}-{PARENT}-01");
    let unsampled = format!("00-{}-{PARENT}-00", "7".repeat(32));
    for fields in [
        vec![("traceparent", &*parent)],
        vec![],
        vec![("traceparent", "00-not-one")],
        vec![("traceparent", &*unsampled)],
    ] {
        assert_eq!(sidecar.call(ORDERS, &fields).await.status, 200);
    }
    let spans = requests(&collector, 3).await;
    assert_eq!(hex(&spans[0].trace_id), TRACE);
    assert_eq!(hex(&spans[0].parent_span_id), PARENT);
    for own in &spans[1..] {
        assert_ne!(hex(&own.trace_id), TRACE);
        assert!(own.parent_span_id.is_empty());
    }
    let ids: Vec<_> = sidecar
        .records()
        .into_iter()
        .map(|record| record["trace_id"].as_str().unwrap().to_owned())
        .collect();
    let mut want: Vec<_> = spans.iter().map(|span| hex(&span.trace_id)).collect();
    want.push("7".repeat(32));
    assert_eq!(ids, want, "what the program does not record is not sent");
    assert_eq!(spans.len(), 3);
    let received = sidecar.stage.sandbox.received();
    let arrived: Vec<_> = received
        .iter()
        .filter(|one| one.exchange.is_none())
        .map(|one| one.headers.get("traceparent").cloned())
        .collect();
    assert_eq!(
        arrived,
        [
            Some(vec![parent]),
            None,
            Some(vec!["00-not-one".to_owned()]),
            Some(vec![unsampled])
        ]
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_refused_repeated_or_fails_is_told_by_its_span_and_its_lines_name_the_trace() {
    let (collector, sidecar) = traced(Manner::Takes).await;
    assert_eq!(sidecar.call("/canary/path", &[]).await.status, 403);
    let sandbox = &sidecar.stage.sandbox;
    sandbox.fault(fault(r#"{"status":401,"times":1}"#));
    assert_eq!(sidecar.call(ORDERS, &[]).await.status, 200);
    sandbox.fault(fault(r#"{"status":429,"times":1}"#));
    assert_eq!(sidecar.call(ORDERS, &[]).await.status, 200);
    sandbox.fault(fault(
        r#"{"reset_connections":true,"path_prefix":"/orders"}"#,
    ));
    assert_eq!(sidecar.call(ORDERS, &[]).await.status, 502);
    let spans = requests(&collector, 4).await;
    let told: Vec<_> = spans
        .iter()
        .map(|span| {
            (
                attribute(span, "proxy.decision").unwrap(),
                attribute(span, "error.type"),
                span.status
                    .as_ref()
                    .map_or(StatusCode::Unset, |status| status.code()),
            )
        })
        .collect();
    let some = |text: &str| Some(text.to_owned());
    assert_eq!(
        told,
        [
            (
                "refused".to_owned(),
                some("route_denied"),
                StatusCode::Unset
            ),
            ("forwarded".to_owned(), None, StatusCode::Unset),
            ("forwarded".to_owned(), None, StatusCode::Unset),
            (
                "failed".to_owned(),
                some("upstream_unreachable"),
                StatusCode::Error
            ),
        ]
    );
    assert_eq!(steps(&collector, &spans[0]), ["admit", "authorize"]);
    let twice = [
        "credential",
        "inject",
        "send",
        "credential",
        "inject",
        "send",
        "return",
    ];
    assert_eq!(steps(&collector, &spans[1])[3..], twice);
    let paced = ["pace", "credential", "inject", "send"];
    let steps = steps(&collector, &spans[2]);
    assert_eq!(
        steps[2..],
        [&paced[..], &paced[..], &["return"]].concat(),
        "a place in line at first, a pause after the 429"
    );
    let spoken = sidecar.stdout();
    let trace = format!("\"trace_id\":\"{}\"", hex(&spans[1].trace_id));
    assert!(
        spoken
            .lines()
            .any(|line| line.contains("Amazon refused a token") && line.contains(&trace)),
        "{spoken}"
    );
    let trace = format!("\"trace_id\":\"{}\"", hex(&spans[3].trace_id));
    assert_eq!(
        spoken.matches(&trace).count(),
        2,
        "the failure and its record"
    );
}

/// listInboundPlans: two a second and a burst of six, by the catalog.
const PLANS: &str = "/inbound/fba/2024-03-20/inboundPlans";

/// A sidecar that is asked for one operation more often than its burst allows, and the spans of those requests.
async fn crowd(throttle: &str) -> (Collector, ChildSidecar, Vec<Span>) {
    let collector = Collector::start(Manner::Takes).await;
    let setup = Setup {
        sections: collector.section(""),
        throttle: throttle.to_owned(),
        routes: format!("\n  - {{ allow: GET {PLANS}, scope: amazon-fulfillment }}"),
        ..Setup::default()
    };
    let sidecar = ChildSidecar::with(setup, &[]).await;
    // what the quota is, is known from the first answer on
    assert_eq!(sidecar.call(PLANS, &[]).await.status, 200);
    let calls = (0..9).map(|_| sidecar.call(PLANS, &[]));
    let _answers = futures_util::future::join_all(calls).await;
    let spans = requests(&collector, 10).await;
    (collector, sidecar, spans)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_wait_in_line_is_a_step_of_its_own() {
    let (collector, _sidecar, spans) = crowd("{}").await;
    let all = collector.spans();
    let named =
        |name: &str| -> Vec<&Span> { all.iter().filter(|span| span.name == name).collect() };
    assert_eq!(named("pace").len(), spans.len());
    // who stands in line to the end sees those before it go out and come back
    let saw_one_go = |pace: &Span| {
        named("send").iter().any(|send| {
            send.trace_id != pace.trace_id
                && send.start_time_unix_nano > pace.start_time_unix_nano
                && send.end_time_unix_nano < pace.end_time_unix_nano
        })
    };
    assert!(named("pace").into_iter().any(saw_one_go), "{all:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_for_which_there_is_no_place_in_line_ends_with_that_step() {
    let (collector, _sidecar, spans) = crowd("{ max_wait: 0s }").await;
    let refused = spans
        .iter()
        .find(|span| attribute(span, "error.type").as_deref() == Some("throttled"));
    let refused = refused.expect("there are more calls than places");
    assert_eq!(steps(&collector, refused), ["admit", "authorize", "pace"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_tells_whether_its_token_was_waiting_for_it() {
    let (collector, sidecar) = traced(Manner::Takes).await;
    let subscribe = request("POST", NA, "/notifications/v1/destinations", &[], "{}");
    for _ in 0..2 {
        let _answered = sidecar.inside(NA).await.ask(&subscribe).await;
    }
    let address = "/orders/v0/orders/902-1111111-1111111/address";
    assert_eq!(sidecar.call(address, &[]).await.status, 200);
    sidecar
        .stage
        .sandbox
        .fault(fault(r#"{"status":401,"times":1}"#));
    assert_eq!(sidecar.call(ORDERS, &[]).await.status, 200);
    let waited: Vec<_> = requests(&collector, 4)
        .await
        .iter()
        .map(|span| {
            (
                attribute(span, "proxy.token_kind").unwrap(),
                attribute(span, "proxy.token_was_waiting").unwrap(),
            )
        })
        .collect();
    let (yes, no) = ("Some(BoolValue(true))", "Some(BoolValue(false))");
    assert_eq!(
        waited,
        [
            ("grantless", no),
            ("grantless", yes),
            ("rdt", yes),
            ("access", yes)
        ]
        .map(|(kind, waited)| (kind.to_owned(), waited.to_owned()))
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_last_spans_are_delivered_before_the_process_ends() {
    let (collector, sidecar) = traced(Manner::Takes).await;
    assert_eq!(sidecar.call(ORDERS, &[]).await.status, 200);
    sidecar.terminate();
    let (_stage, status, stdout, stderr) = sidecar.ended().await;
    assert!(status.success(), "{stdout}{stderr}");
    let spans = collector.spans();
    assert!(
        spans.iter().any(|span| span.kind() == SpanKind::Server),
        "{spans:?}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_collector_that_stalls_costs_no_request_and_holds_up_no_end() {
    let (_collector, sidecar) = traced(Manner::Stalls).await;
    for _ in 0..20 {
        assert_eq!(sidecar.call(ORDERS, &[]).await.status, 200);
    }
    sidecar.terminate();
    let (_stage, status, stdout, stderr) = sidecar.ended().await;
    assert!(status.success(), "{stdout}{stderr}");
    assert!(
        stdout.contains("the last spans were not delivered"),
        "{stdout}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn spans_that_the_collector_does_not_take_are_counted_and_that_is_said_once_each_way() {
    let (collector, sidecar) = traced(Manner::Refuses(400)).await;
    let says = |text: &str| sidecar.stdout().matches(text).count();
    for round in 1..=2 {
        assert_eq!(sidecar.call(ORDERS, &[]).await.status, 200);
        // seven steps and the request
        let mut dropped = 0;
        for _ in 0..200 {
            dropped = metric(&sidecar, "spapi_sidecar_telemetry_dropped_total").await;
            if dropped == round * 8 {
                break;
            }
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
        assert_eq!(dropped, round * 8);
    }
    assert_eq!(says("the OTLP collector does not take traces"), 1);
    collector.behave(Manner::Takes);
    assert_eq!(sidecar.call(ORDERS, &[]).await.status, 200);
    let _delivered = requests(&collector, 1).await;
    eventually("the good word", || {
        says("the OTLP collector takes traces again") == 1
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_collector_is_reached_with_is_in_no_line_whatever_becomes_of_it() {
    let setup = Setup {
        sections: "telemetry: { otlp: { endpoint: \"http://127.0.0.1:9/canary-base\" } }"
            .to_owned(),
        ..Setup::default()
    };
    let variables = [
        ("RUST_LOG", "trace"),
        (
            "OTEL_EXPORTER_OTLP_HEADERS",
            "authorization=Bearer%20canary-login",
        ),
    ];
    let sidecar = ChildSidecar::with(setup, &variables).await;
    assert_eq!(sidecar.call(ORDERS, &[]).await.status, 200);
    eventually("a complaint", || {
        sidecar
            .stdout()
            .contains("the OTLP collector does not take traces")
    })
    .await;
    sidecar.terminate();
    let (_stage, _status, stdout, stderr) = sidecar.ended().await;
    let all = stdout + &stderr;
    assert!(
        !all.contains("canary-base") && !all.contains("canary-login"),
        "{all}"
    );
}
