//! Documents of reports: an RDT for restricted types alone, by what the traffic has shown.

use serde_json::{Value, json};

use super::asked;
use crate::support::peer::trouble;
use crate::support::sidecar::{NA, Setup, TestSidecar, refusal};

const RESTRICTED: &str = "GET_FLAT_FILE_ACTIONABLE_ORDER_DATA_SHIPPING";
const ORDINARY: &str = "GET_MERCHANT_LISTINGS_ALL_DATA";

fn with_route(rdt: &str) -> Setup {
    Setup {
        routes: format!(
            r#"
  - {{ allow: [POST /reports/2021-06-30/reports, GET /reports/2021-06-30/reports, "GET /reports/2021-06-30/reports/{{reportId}}"], scope: inventory-and-order-tracking }}
  - {{ allow: "GET /reports/2021-06-30/documents/{{reportDocumentId}}", scope: inventory-and-order-tracking, rdt: {rdt} }}"#
        ),
        ..Setup::default()
    }
}

fn url(path: &str) -> String {
    format!("https://{NA}/reports/2021-06-30/{path}")
}

/// Creates a report and asks after it; its document.
async fn document_of(client: &reqwest::Client, kind: &str) -> String {
    let wanted = json!({"reportType": kind, "marketplaceIds": ["ATVPDKIKX0DER"]});
    let created = client.post(url("reports")).json(&wanted).send().await;
    let created: Value = created.unwrap().json().await.unwrap();
    let id = created["reportId"].as_str().unwrap();
    let report = client.get(url(&format!("reports/{id}"))).send().await;
    let report: Value = report.unwrap().json().await.unwrap();
    report["reportDocumentId"].as_str().unwrap().to_owned()
}

async fn fetch(client: &reqwest::Client, document: &str) -> reqwest::Response {
    let call = client.get(url(&format!("documents/{document}")));
    call.send().await.unwrap()
}

/// The kinds of the tokens with which documents were asked for.
fn document_kinds(sidecar: &TestSidecar) -> Vec<&'static str> {
    let received = sidecar.received();
    let documents = received
        .iter()
        .filter(|one| one.target.contains("/documents/"));
    documents
        .map(|one| one.token.as_ref().unwrap().kind)
        .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restricted_report_takes_an_rdt_of_its_own_and_an_ordinary_one_costs_no_call() {
    let sidecar = TestSidecar::with(with_route("{}")).await;
    let client = sidecar.client();
    let ordinary = document_of(&client, ORDINARY).await;
    assert_eq!(fetch(&client, &ordinary).await.status(), 200);
    assert_eq!(asked(&sidecar).len(), 0);
    let restricted = document_of(&client, RESTRICTED).await;
    for _ in 0..2 {
        assert_eq!(fetch(&client, &restricted).await.status(), 200);
    }
    assert_eq!(document_kinds(&sidecar), ["access", "rdt", "rdt"]);
    assert_eq!(
        asked(&sidecar).len(),
        2,
        "kept by no one, although the route says per: template"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_list_of_reports_teaches_as_much() {
    let sidecar = TestSidecar::with(with_route("{}")).await;
    let client = sidecar.client();
    let wanted = json!({"reportType": ORDINARY, "marketplaceIds": ["ATVPDKIKX0DER"]});
    let created = client.post(url("reports")).json(&wanted).send().await;
    assert_eq!(created.unwrap().status(), 202);
    let list: Value = client
        .get(url("reports?reportTypes=GET_MERCHANT_LISTINGS_ALL_DATA"))
        .send()
        .await
        .unwrap()
        .json()
        .await
        .unwrap();
    let document = list["reports"][0]["reportDocumentId"].as_str().unwrap();
    assert_eq!(fetch(&client, document).await.status(), 200);
    assert_eq!(document_kinds(&sidecar), ["access"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_a_report_that_nothing_is_known_of_the_route_decides() {
    let sidecar = TestSidecar::with(with_route("{ required: true }")).await;
    let client = sidecar.client();
    assert_eq!(
        fetch(&client, "amzn1.spdoc.1.4.na.unheard-of")
            .await
            .status(),
        200
    );
    assert_eq!(document_kinds(&sidecar), ["rdt"]);

    trouble(&sidecar, json!({"status": 400, "path_prefix": "/tokens/"}));
    let answer = fetch(&client, "amzn1.spdoc.1.4.na.unheard-of").await;
    assert_eq!(refusal(answer).await.1, "rdt_unavailable");

    let sidecar = TestSidecar::with(with_route("{ required: false }")).await;
    trouble(&sidecar, json!({"status": 400, "path_prefix": "/tokens/"}));
    let answer = fetch(&sidecar.client(), "amzn1.spdoc.1.4.na.unheard-of").await;
    assert_eq!(answer.status(), 200);
    assert_eq!(document_kinds(&sidecar), ["access"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_one_tenants_traffic_has_shown_says_nothing_to_another() {
    let sidecar = TestSidecar::with(with_route("{}")).await;
    let client = sidecar.client();
    let document = document_of(&client, ORDINARY).await;
    let reports = &sidecar.app.shared().reports;
    let known_to = |tenant| {
        let tenant = spapi_sidecar::tenant::TenantId::parse(tenant).unwrap();
        reports.is_restricted(&tenant, &document)
    };
    assert_eq!((known_to("acme"), known_to("beta")), (Some(false), None));
}
