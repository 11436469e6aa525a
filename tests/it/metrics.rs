//! What the metrics page shows, and what it never does.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::json;
use spapi_sidecar::config::Config;

use crate::support::peer::trouble;
use crate::support::sidecar::{NA, Setup, TestSidecar, eventually};

const ORDERS: &str = "/orders/v0/orders?MarketplaceIds=ATVPDKIKX0DER";
const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";

/// The contract's metrics and a few more, by type, and the labels of each.
const CONTRACT: [(&str, &str, &[&str]); 20] = [
    (
        "requests",
        "counter",
        &["operation", "outcome", "status", "tenant"],
    ),
    ("request_seconds", "histogram", &["le"]),
    ("overhead_seconds", "histogram", &["le"]),
    ("refused", "counter", &["code", "tenant"]),
    ("upstream_auth_errors", "counter", &["status", "tenant"]),
    ("exchanges", "counter", &["kind", "result", "tenant"]),
    ("token_expires_in_seconds", "gauge", &["kind", "tenant"]),
    ("throttled", "counter", &["operation", "tenant"]),
    ("tenant_state", "gauge", &["state", "tenant"]),
    ("alert_active", "gauge", &["alert", "subject"]),
    ("charge_method_days_left", "gauge", &["app"]),
    ("client_secret_days_left", "gauge", &["app"]),
    ("authorization_days_left", "gauge", &["tenant"]),
    ("store_up", "gauge", &[]),
    ("connections", "gauge", &[]),
    ("reloads", "counter", &["result"]),
    ("build", "info", &["release", "version"]),
    ("token_needed", "counter", &["tenant", "waiting"]),
    ("log_lines_lost", "counter", &[]),
    ("telemetry_dropped", "counter", &[]),
];

/// A page, read strictly.
struct Page {
    text: String,
    /// Type by metric, in full.
    types: BTreeMap<String, String>,
    /// Value by sample: name and labels as they stand.
    samples: BTreeMap<String, f64>,
}

impl Page {
    async fn of(sidecar: &TestSidecar) -> Self {
        let url = format!("http://{}/metrics", sidecar.app.admin());
        let answer = reqwest::get(url).await.unwrap();
        assert_eq!(
            answer.headers()["content-type"],
            "application/openmetrics-text; version=1.0.0; charset=utf-8"
        );
        Self::read(answer.text().await.unwrap())
    }

    fn read(text: String) -> Self {
        let (mut types, mut samples) = (BTreeMap::new(), BTreeMap::new());
        let lines = text.strip_suffix("# EOF\n").expect("it ends as it should");
        for line in lines.lines() {
            if let Some(rest) = line.strip_prefix("# TYPE ") {
                let (name, kind) = rest.split_once(' ').unwrap();
                let before = types.insert(name.to_owned(), kind.to_owned());
                assert_eq!(before, None, "announced twice: {line}");
            } else if !line.starts_with("# ") {
                // what follows a hash is an example
                let sample = line.split(" # ").next().unwrap();
                let (name, value) = sample.rsplit_once(' ').unwrap();
                let before = samples.insert(name.to_owned(), value.parse().unwrap());
                assert_eq!(before, None, "twice: {line}");
            }
        }
        Self {
            text,
            types,
            samples,
        }
    }

    /// A sample of ours; 0 where it is not there, as for a counter that nothing has counted.
    fn value(&self, sample: &str) -> f64 {
        let sample = format!("spapi_sidecar_{sample}");
        self.samples.get(&sample).copied().unwrap_or_default()
    }

    /// The metric that a sample belongs to, and its labels.
    fn parts(&self, sample: &str) -> (String, BTreeMap<String, String>) {
        let (name, labels) = sample.split_once('{').unwrap_or((sample, "}"));
        let labels = labels.strip_suffix('}').unwrap();
        let labels = labels.split(',').filter(|label| !label.is_empty());
        let labels = labels.map(|label| {
            let (key, value) = label.split_once('=').unwrap();
            (key.to_owned(), value.trim_matches('"').to_owned())
        });
        let suffix = ["_total", "_bucket", "_sum", "_count", "_info"]
            .into_iter()
            .filter_map(|suffix| name.strip_suffix(suffix))
            .find(|metric| self.types.contains_key(*metric));
        let metric = suffix.unwrap_or(name);
        assert!(self.types.contains_key(metric), "not announced: {sample}");
        (metric.to_owned(), labels.collect())
    }
}

/// The running configuration with one replacement.
fn edited(sidecar: &TestSidecar, from: &str, to: &str) -> Config {
    let text = sidecar.configuration().replace(from, to);
    assert_ne!(text, sidecar.configuration());
    Config::parse("proxy.yaml", &text, &|_| None).unwrap_or_else(|faults| panic!("{faults}"))
}

/// Some of everything: answered, refused, throttled and unauthorized calls, and reloads.
async fn some_of_everything(sidecar: &TestSidecar) {
    assert_eq!(sidecar.call(ORDERS, &[]).await.status, 200);
    let unknown = "/canary-unknown/canary-value?canary=1";
    assert_eq!(sidecar.call(unknown, &[]).await.status, 403);
    let known = "/catalog/2022-04-01/items/canary-asin";
    assert_eq!(sidecar.call(known, &[]).await.status, 403);
    trouble(sidecar, json!({"status": 429, "times": 1}));
    assert_eq!(sidecar.call(ORDERS, &[]).await.status, 200);
    trouble(sidecar, json!({"status": 401, "times": 1}));
    assert_eq!(sidecar.call(ORDERS, &[]).await.status, 200);
    sidecar
        .app
        .reload(edited(sidecar, "policy_is_not_there", ""))
        .unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_metric_of_the_contract_is_announced_and_has_exactly_its_labels() {
    let sidecar = TestSidecar::with(Setup {
        sections: "# policy_is_not_there".to_owned(),
        throttle: "{}".to_owned(),
        ..Setup::default()
    })
    .await;
    some_of_everything(&sidecar).await;
    let page = Page::of(&sidecar).await;
    let mut seen: BTreeMap<String, BTreeSet<Vec<String>>> = BTreeMap::new();
    for sample in page.samples.keys() {
        let (metric, labels) = page.parts(sample);
        let labels = labels.into_keys().collect();
        seen.entry(metric).or_default().insert(labels);
    }
    for (metric, kind, labels) in CONTRACT {
        let name = format!("spapi_sidecar_{metric}");
        assert_eq!(page.types.get(&name).map(String::as_str), Some(kind));
        let mut want = BTreeSet::from([labels.iter().map(ToString::to_string).collect()]);
        if kind == "histogram" {
            // its sum and its count have none
            want.insert(Vec::new());
        }
        // nobody says anything of alerts and days yet
        if let Some(seen) = seen.get(&name) {
            assert_eq!(*seen, want, "{metric}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_refusals_exchanges_throttling_and_reloads_are_counted_as_they_were() {
    let sidecar = TestSidecar::with(Setup {
        sections: "# policy_is_not_there".to_owned(),
        throttle: "{}".to_owned(),
        ..Setup::default()
    })
    .await;
    some_of_everything(&sidecar).await;
    let page = Page::of(&sidecar).await;
    let text = &page.text;
    for (sample, want) in [
        (
            r#"requests_total{tenant="acme",operation="getOrders",status="200",outcome="forwarded"}"#,
            3.0,
        ),
        (
            r#"requests_total{tenant="acme",operation="getCatalogItem",status="403",outcome="refused"}"#,
            1.0,
        ),
        (
            r#"requests_total{tenant="acme",operation="-",status="403",outcome="refused"}"#,
            1.0,
        ),
        (r#"refused_total{tenant="acme",code="route_denied"}"#, 2.0),
        (
            r#"throttled_total{tenant="acme",operation="getOrders"}"#,
            1.0,
        ),
        (
            r#"upstream_auth_errors_total{tenant="acme",status="401"}"#,
            1.0,
        ),
        (
            r#"exchanges_total{tenant="acme",kind="access",result="ok"}"#,
            2.0,
        ),
        (
            r#"exchanges_total{tenant="beta",kind="access",result="ok"}"#,
            1.0,
        ),
        (
            r#"upstream_auth_errors_total{tenant="beta",status="403"}"#,
            0.0,
        ),
        (r#"token_needed_total{tenant="acme",waiting="true"}"#, 3.0),
        (r#"token_needed_total{tenant="acme",waiting="false"}"#, 0.0),
        (r#"reloads_total{result="taken"}"#, 1.0),
        (r#"reloads_total{result="refused"}"#, 0.0),
        ("request_seconds_count", 5.0),
        (r#"request_seconds_bucket{le="+Inf"}"#, 5.0),
        ("overhead_seconds_count", 5.0),
        (r#"tenant_state{tenant="acme",state="active"}"#, 1.0),
        (r#"tenant_state{tenant="acme",state="killed"}"#, 0.0),
        ("store_up", 1.0),
    ] {
        let value = page.value(sample);
        assert!((value - want).abs() < 1e-9, "{sample} is {value}\n{text}");
    }
    let life = page.value(r#"token_expires_in_seconds{tenant="acme",kind="access"}"#);
    assert!((3000.0..=3600.0).contains(&life), "{life}");
    assert!(text.contains(r#"spapi_sidecar_build_info{version=""#));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_that_a_program_makes_up_becomes_a_label() {
    let sidecar = TestSidecar::start().await;
    for n in 0..50 {
        for target in [
            format!("/canary-{n}/x"),
            format!("/orders/v0/orders/canary-{n}?canary-{n}=1"),
            format!("/orders/v0/canary-{n}"),
            format!("/catalog/2022-04-01/items/canary-{n}"),
        ] {
            let _answered = sidecar.call(&target, &[("canary-field", "1")]).await;
        }
    }
    let page = Page::of(&sidecar).await;
    assert!(!page.text.contains("canary"), "{}", page.text);
    let requests = page
        .samples
        .keys()
        .filter(|sample| sample.starts_with("spapi_sidecar_requests_total"));
    assert_eq!(requests.count(), 3, "{}", page.text);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tenant_that_a_reload_took_away_is_on_the_page_no_more() {
    let sidecar = TestSidecar::start().await;
    assert_eq!(sidecar.call(ORDERS, &[]).await.status, 200);
    let before = Page::of(&sidecar).await.text;
    assert!(before.contains(r#"tenant="beta""#), "{before}");
    let beta = "  - { id: beta, app: erp, region: na, scopes: [inventory-and-order-tracking] }\n";
    sidecar.app.reload(edited(&sidecar, beta, "")).unwrap();
    let after = Page::of(&sidecar).await;
    assert!(!after.text.contains(r#"tenant="beta""#), "{}", after.text);
    let kept =
        r#"requests_total{tenant="acme",operation="getOrders",status="200",outcome="forwarded"}"#;
    assert!((after.value(kept) - 1.0).abs() < 1e-9);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn open_connections_and_a_store_that_is_gone_are_seen_at_the_next_look() {
    let sidecar = TestSidecar::with(Setup {
        grants: vec!["acme"],
        ..Setup::default()
    })
    .await;
    let inside = sidecar.inside(NA).await;
    let connections = Page::of(&sidecar).await.value("connections");
    assert!((connections - 1.0).abs() < 1e-9, "{connections}");
    drop(inside);
    std::fs::write(sidecar.folder.path().join("store.sealed"), "broken").unwrap();
    // beta has no grant: it is looked for again and again
    let mut last = String::new();
    for _ in 0..200 {
        let page = Page::of(&sidecar).await;
        if page.value("store_up") == 0.0 && page.value("connections") == 0.0 {
            return;
        }
        last = page.text;
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    panic!("{last}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_programs_trace_is_an_example_of_its_bucket_and_stands_in_the_record() {
    let sidecar = TestSidecar::start().await;
    let parent = format!("00-{TRACE}-00f067aa0ba902b7-01");
    let fields = [("traceparent", &*parent), ("tracestate", "x=1")];
    assert_eq!(sidecar.call(ORDERS, &fields).await.status, 200);
    assert_eq!(sidecar.call(ORDERS, &[]).await.status, 200);
    eventually("both records", || sidecar.records().len() == 2).await;
    let records = sidecar.records();
    assert_eq!(records[0]["trace_id"], TRACE);
    assert!(records[1]["trace_id"].is_null(), "{records:?}");
    let page = Page::of(&sidecar).await.text;
    let example = format!(" # {{trace_id=\"{TRACE}\"}} ");
    assert_eq!(page.matches(&example).count(), 2, "{page}");
    let received = sidecar.received();
    assert_eq!(received[0].headers["traceparent"], [parent]);
    assert!(
        received[1]
            .header_names
            .iter()
            .all(|name| !name.starts_with("trace")),
        "{received:?}"
    );
}

/// The metrics of ours that a text of `deploy/` asks for; what a recording rule names has a colon before it.
fn asked_for(text: &str) -> BTreeSet<String> {
    let of_a_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let places = text.match_indices("spapi_sidecar_");
    places
        .filter(|(at, _)| !text[..*at].ends_with(|c: char| of_a_name(c) || c == ':'))
        .map(|(at, _)| text[at..].chars().take_while(|c| of_a_name(*c)).collect())
        .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_metric_that_a_rule_or_the_dashboard_asks_for_is_on_the_page() {
    let sidecar = TestSidecar::start().await;
    let page = Page::of(&sidecar).await;
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy");
    for file in [
        "prometheus/recording.yml",
        "prometheus/alerts.yml",
        "prometheus/tests.yml",
        "grafana/dashboard.json",
    ] {
        let names = asked_for(&std::fs::read_to_string(folder.join(file)).unwrap());
        assert!(names.len() > 8, "{file}: {names:?}");
        for name in names {
            let kind = ["_total", "_bucket", "_info"]
                .into_iter()
                .find_map(|suffix| name.strip_suffix(suffix))
                .unwrap_or(&name);
            assert!(page.types.contains_key(kind), "{file} asks for {name}");
        }
    }
}
