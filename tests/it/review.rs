//! `review`: what is granted, against what was called, over restarts too.

use serde_json::{Value, json};
use spapi_sidecar::app::App;
use spapi_sidecar::config::Config;
use spapi_sidecar::telemetry::Sink;

use crate::diagnose::run;
use crate::support::free_port;
use crate::support::sidecar::{NA, TestSidecar, eventually};

const ORDERS: &str = "/orders/v0/orders?MarketplaceIds=ATVPDKIKX0DER";

async fn call(sidecar: &TestSidecar, path: &str) {
    let before = sidecar.records().len();
    let answer = sidecar.client().get(format!("https://{NA}{path}")).send();
    drop(answer.await.unwrap().bytes().await.unwrap());
    eventually("the access record", || sidecar.records().len() > before).await;
}

async fn called() -> TestSidecar {
    let sidecar = TestSidecar::start().await;
    call(&sidecar, ORDERS).await;
    call(&sidecar, "/not/a/route/canary-path").await;
    sidecar
}

fn parsed((code, text): (i32, String)) -> Value {
    assert_eq!(code, 0, "{text}");
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_running_sidecars_calls_tell_used_scopes_from_unused_ones() {
    let sidecar = called().await;
    let admin = sidecar.app.admin().to_string();
    let review = parsed(run(&sidecar, &admin, &["review", "--json"]).await);
    assert_eq!(review["source"], "the running sidecar");
    assert_eq!(review["covers_window"], false, "it has just begun to see");
    let acme = &review["tenants"][0];
    assert_eq!(acme["minimal"], json!(["inventory-and-order-tracking"]));
    assert_eq!(
        acme["drop"],
        json!([
            "amazon-fulfillment",
            "direct-to-consumer-shipping",
            "selling-partner-insights"
        ])
    );
    let never = review["never_called"].to_string();
    assert!(
        !never.contains("\"GET /orders/v0/orders\"") && never.contains("getOrderAddress"),
        "{never}"
    );
    let new: Vec<&Value> = review["new_endpoints"].as_array().unwrap().iter().collect();
    assert_eq!(new.len(), 2);
    assert_eq!(
        new.iter()
            .map(|one| one["has_route"] == true)
            .collect::<Vec<_>>(),
        [true, false]
    );
    assert!(!review.to_string().contains("canary"), "{review}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_page_has_every_part_of_a_review() {
    let sidecar = called().await;
    let admin = sidecar.app.admin().to_string();
    let (code, page) = run(&sidecar, &admin, &["review", "--days", "30"]).await;
    assert_eq!(code, 0);
    for heading in [
        "# Access review",
        "## Consents to ask for again",
        "## Scopes granted and not used",
        "## Routes never called",
        "## New endpoints",
        "## Ages and due dates",
        "## Vendor groups",
        "## Owners",
        "## Break-glass",
        "only: what is unused below is unused since then",
    ] {
        assert!(page.contains(heading), "{heading}: {page}");
    }
    assert!(!page.contains("canary"), "{page}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_called_before_a_stop_is_reviewed_after_it_and_counted_on_by_the_next_start() {
    let sidecar = called().await;
    let nobody = format!("127.0.0.1:{}", free_port());
    let configuration = sidecar.configuration().to_owned();
    let path = sidecar.folder.path().join("traffic.json");
    let seen = |app: &App| {
        let seen = app.shared().recorder.traffic.seen();
        seen.into_iter().map(|(_, seen)| seen.requests).sum::<u64>()
    };
    let before = seen(&sidecar.app);
    sidecar
        .app
        .shared()
        .recorder
        .traffic
        .save(spapi_sidecar::telemetry::now());
    let review = parsed(run(&sidecar, &nobody, &["review", "--json"]).await);
    let source = review["source"].as_str().unwrap();
    assert!(source.contains("as the sidecar last wrote it"), "{source}");
    assert_eq!(
        review["tenants"][0]["minimal"],
        json!(["inventory-and-order-tracking"])
    );
    let TestSidecar {
        app,
        folder: _kept,
        sandbox: _up,
        ..
    } = sidecar;
    std::fs::remove_file(&path).unwrap();
    app.drain().await;
    assert!(path.is_file(), "the drain writes it a last time");
    let text = std::fs::read_to_string(&path).unwrap();
    assert!(!text.contains("canary") && !text.contains("Atz"), "{text}");
    let config = Config::parse("proxy.yaml", &configuration, &|_| None).unwrap();
    let next = App::start(config, Sink::new(std::io::sink()), 1)
        .await
        .unwrap();
    assert_eq!(seen(&next), before);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_nothing_is_known_of_calls_nothing_is_called_unused() {
    let sidecar = TestSidecar::start().await;
    let path = sidecar.folder.path().join("traffic.json");
    eventually("the first writing", || path.is_file()).await;
    std::fs::remove_file(&path).unwrap();
    let nobody = format!("127.0.0.1:{}", free_port());
    let (code, page) = run(&sidecar, &nobody, &["review"]).await;
    assert_eq!(code, 0);
    assert!(
        page.contains("Nothing below says that anything is unused"),
        "{page}"
    );
    assert!(!page.contains("never seen"), "{page}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_day_that_is_none_is_a_usage_mistake() {
    let sidecar = TestSidecar::start().await;
    let nobody = format!("127.0.0.1:{}", free_port());
    for since in ["soon", "2026-02-30", "2999-01-01"] {
        let (code, text) = run(&sidecar, &nobody, &["review", "--since", since]).await;
        assert_eq!(code, 2, "{since}: {text}");
    }
}
