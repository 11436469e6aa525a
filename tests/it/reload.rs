//! A reload changes what open connections may do next, or changes nothing.

use spapi_sidecar::config::Config;

use crate::support::sidecar::{NA, Setup, TestSidecar};

/// The running configuration's text with one replacement.
fn edited(sidecar: &TestSidecar, from: &str, to: &str) -> Config {
    let text = sidecar.configuration().replace(from, to);
    assert_ne!(
        text,
        sidecar.configuration(),
        "{from} is not in the configuration"
    );
    Config::parse("proxy.yaml", &text, &|_| None).unwrap_or_else(|faults| panic!("{faults}"))
}

const ORDERS: &str = "/orders/v0/orders?MarketplaceIds=ATVPDKIKX0DER";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_route_taken_away_is_refused_to_the_next_request_of_an_open_connection() {
    let sidecar = TestSidecar::start().await;
    let mut inside = sidecar.inside(NA).await;
    assert_eq!(inside.get(NA, ORDERS, &[]).await.status, 200);
    let without = edited(
        &sidecar,
        "GET /orders/v0/orders,",
        "DELETE /orders/v0/orders,",
    );
    sidecar.app.reload(without).unwrap();
    let answer = inside.get(NA, ORDERS, &[]).await;
    assert_eq!(answer.refused(), (403, "route_denied".to_owned()));
    assert_eq!(sidecar.received().len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_egress_rule_taken_away_is_refused_on_the_connection_it_had_opened() {
    let sidecar = TestSidecar::start().await;
    let mut inside = sidecar.inside(NA).await;
    assert_eq!(inside.get(NA, ORDERS, &[]).await.status, 200);
    let rule = "  - { host: sellingpartnerapi-na.amazon.com, mode: inject }\n";
    sidecar.app.reload(edited(&sidecar, rule, "")).unwrap();
    let answer = inside.get(NA, ORDERS, &[]).await;
    assert_eq!(answer.refused(), (403, "egress_denied".to_owned()));
    assert_eq!(sidecar.received().len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tenant_that_a_reload_brings_is_served() {
    let sidecar = TestSidecar::with(Setup {
        grants: vec!["acme", "beta", "gamma"],
        ..Setup::default()
    })
    .await;
    let tenant = "  - { id: beta, app: erp, region: na,";
    let gamma = "  - { id: gamma, app: erp, region: na, scopes: [inventory-and-order-tracking] }\n";
    let more = edited(&sidecar, tenant, &format!("{gamma}{tenant}"));
    sidecar.app.reload(more).unwrap();
    let default = edited(&sidecar, "default_tenant: acme", "default_tenant: beta");
    sidecar.app.reload(default).unwrap();
    let url = format!("https://{NA}/orders/v0/orders");
    assert_eq!(
        sidecar.client().get(url).send().await.unwrap().status(),
        200
    );
    assert_eq!(sidecar.records().last().unwrap()["tenant"], "beta");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_takes_a_restart_is_refused_by_name_and_nothing_changes() {
    let sidecar = TestSidecar::start().await;
    let moved = edited(&sidecar, "amazon.pem }", "ca.pem }");
    let error = sidecar.app.reload(moved).unwrap_err().to_string();
    assert!(error.starts_with("upstream changed"), "{error}");
    let uncovered = edited(
        &sidecar,
        "egress:",
        "egress: \n  - { host: other.example, mode: inject }",
    );
    let error = sidecar.app.reload(uncovered).unwrap_err().to_string();
    assert!(
        error.contains("other.example is not among the hosts"),
        "{error}"
    );
    let url = format!("https://{NA}/orders/v0/orders?MarketplaceIds=ATVPDKIKX0DER");
    assert_eq!(
        sidecar.client().get(url).send().await.unwrap().status(),
        200
    );
}
