//! `preflight`, as a process, with the sandbox in Amazon's place: each induced fault flips its own row, and what rests on it is
//! skipped; a tenant that has to pass is served by nobody before it has, and by everybody after.

mod record;
mod waits;

use std::collections::BTreeMap;

use serde_json::{Value, json};
use spapi_sidecar::sandbox::{AppRegistration, GrantRegistration, Options};
use spapi_sidecar::secret::{ClientId, ClientSecret, RefreshToken};
use spapi_sidecar::store::RecordKey;
use spapi_sidecar::telemetry;
use spapi_sidecar::tenant::{AppId, TenantId};

use crate::diagnose::run;
use crate::support::peer::trouble;
use crate::support::sidecar::{NA, Setup, TestSidecar};

const ORDERS: &str = "/orders/v0/orders?MarketplaceIds=ATVPDKIKX0DER";

const TENANTS: &str = "
  - { id: acme, app: erp, region: na, marketplaces: [ATVPDKIKX0DER], scopes: [inventory-and-order-tracking, brand-analytics, tax-invoicing, direct-to-consumer-shipping] }
  - { id: vera, app: erp, region: na, account: vendor, vendor_groups: [north], scopes: [amazon-fulfillment] }
";

const ROUTES: &str = r#"
  - { allow: GET /orders/v0/orders, scope: inventory-and-order-tracking }
  - { allow: "GET /dataKiosk/2023-11-15/queries/{queryId}", scope: brand-analytics }
  - { allow: "GET /orders/v0/orders/{orderId}/address", scope: direct-to-consumer-shipping, rdt: {} }
  - { allow: "GET /orders/v0/orders/{orderId}", scope: tax-invoicing, rdt: { data_elements: [buyerInfo] } }
  - { allow: "GET /vendor/orders/v1/purchaseOrders", scope: amazon-fulfillment }
  - { allow: POST /notifications/v1/destinations, grantless: "sellingpartnerapi::notifications" }
"#;

/// A client secret of today and a charge method of the day after tomorrow's century.
const APPS: &str = "[{ id: erp, charge_method: { status: valid, expires: 2999-12 } }]";

fn grant(tenant: &str, roles: &[&str], vendor: bool) -> GrantRegistration {
    GrantRegistration {
        roles: Some(roles.iter().map(|role| (*role).to_owned()).collect()),
        vendor,
        ..GrantRegistration::new(RefreshToken::new(format!("Atzr|canary-{tenant}")), tenant)
    }
}

fn setup() -> Setup {
    let now = telemetry::clock(telemetry::now());
    let acme = [
        "Inventory and Order Tracking",
        "Brand Analytics",
        "Tax Invoicing",
        "Direct to Consumer Shipping",
    ];
    let given = |tenant| {
        (
            RecordKey::Grant(TenantId::parse(tenant).unwrap()),
            "authorized_at",
            now.clone(),
        )
    };
    Setup {
        sandbox: Options {
            grants: vec![
                grant("acme", &acme, false),
                grant("vera", &["Amazon Fulfillment"], true),
            ],
            ..Options::default()
        },
        apps: APPS.to_owned(),
        tenants: TENANTS.to_owned(),
        routes: ROUTES.to_owned(),
        grants: vec!["acme", "vera"],
        records: vec![
            given("acme"),
            given("vera"),
            (
                RecordKey::App(AppId::parse("erp").unwrap()),
                "rotated_at",
                now.clone(),
            ),
        ],
        ..Setup::default()
    }
}

/// Outcomes by `name subject`, and the rows.
struct Report {
    code: i32,
    outcomes: BTreeMap<String, String>,
    all: Value,
}

impl Report {
    fn read((code, text): (i32, String)) -> Self {
        assert!(!text.contains("canary"), "{text}");
        let all: Value =
            serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"));
        let rows = all["tenants"][0]["checks"].as_array().unwrap();
        let word = |row: &Value, key: &str| row[key].as_str().unwrap().to_owned();
        let outcomes = rows.iter().map(|row| {
            let name = format!("{} {}", word(row, "name"), word(row, "subject"));
            (name.trim().to_owned(), word(row, "outcome"))
        });
        Self {
            code,
            outcomes: outcomes.collect(),
            all,
        }
    }

    /// The rows with an outcome.
    fn with(&self, outcome: &str) -> Vec<&str> {
        let rows = self.outcomes.iter().filter(|(_, said)| *said == outcome);
        rows.map(|(name, _)| name.as_str()).collect()
    }

    fn row(&self, name: &str) -> &Value {
        let rows = self.all["tenants"][0]["checks"].as_array().unwrap();
        rows.iter().find(|row| row["name"] == name).unwrap()
    }
}

async fn preflight(sidecar: &TestSidecar, tenant: &str) -> Report {
    let admin = sidecar.app.admin().to_string();
    Report::read(run(sidecar, &admin, &["preflight", tenant, "--json"]).await)
}

/// The preflight of `acme` by a configuration file.
async fn by(file: &std::path::Path) -> Report {
    let output = tokio::process::Command::new(env!("CARGO_BIN_EXE_spapi-sidecar"))
        .args(["preflight", "acme", "--json", "--config"])
        .arg(file)
        .output()
        .await
        .unwrap();
    let text = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
    Report::read((output.status.code().unwrap(), text))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tenant_whose_world_is_in_order_passes_and_nothing_secret_is_shown() {
    let sidecar = TestSidecar::with(setup()).await;
    for tenant in ["acme", "vera"] {
        let report = preflight(&sidecar, tenant).await;
        assert_eq!(
            (report.with("fail"), report.code),
            (vec![], 0),
            "{:#}",
            report.all
        );
    }
    let report = preflight(&sidecar, "acme").await;
    // brand-analytics is shown by a read; the scope of the vendor's route is not acme's
    assert_eq!(
        report.with("warn"),
        ["scope amazon-fulfillment"],
        "{:#}",
        report.all
    );
    assert_eq!(report.with("skip"), ["scope direct-to-consumer-shipping"]);
    assert_eq!(report.all["passed"], true);
    assert_eq!(report.all["rehearsal"], false);
    for row in report.all["tenants"][0]["checks"].as_array().unwrap() {
        let mut keys: Vec<&str> = row
            .as_object()
            .unwrap()
            .keys()
            .map(String::as_str)
            .collect();
        keys.sort_unstable();
        assert_eq!(
            keys,
            ["family", "found", "name", "outcome", "remedy", "subject"]
        );
        let nothing_to_do = ["pass", "skip"].contains(&row["outcome"].as_str().unwrap());
        assert_eq!(
            row["remedy"].as_str().unwrap().is_empty(),
            nothing_to_do,
            "{row}"
        );
    }
    let table = run(&sidecar, "127.0.0.1:1", &["preflight", "acme"]).await;
    assert_eq!(table.0, 0);
    assert!(
        table.1.starts_with("acme  PASSED:") && !table.1.contains("Atz"),
        "{}",
        table.1
    );
    let unknown = run(&sidecar, "127.0.0.1:1", &["preflight", "nobody"]).await;
    assert!(
        unknown.0 == 2 && unknown.1.contains("knows no tenant"),
        "{}",
        unknown.1
    );
}

/// Whose preflight, the fault, the row that fails of it, and one that rests on that.
fn faults() -> Vec<(&'static str, Value, &'static str, &'static str)> {
    vec![
        (
            "acme",
            json!({"revoke_grant": "acme"}),
            "refresh_token",
            "marketplace_participation",
        ),
        ("acme", json!({"lwa_down": "refuse"}), "lwa", "client"),
        ("acme", json!({"lwa_down": "reset"}), "lwa", "client"),
        (
            "acme",
            json!({"revoke_scope": "Brand Analytics"}),
            "scope brand-analytics",
            "",
        ),
        (
            "acme",
            json!({"revoke_scope": "Tax Invoicing"}),
            "rdt GET /orders/v0/orders/{orderId}",
            "",
        ),
        (
            "acme",
            json!({"lapse_charge_method": true}),
            "charge_method",
            "scope brand-analytics",
        ),
        (
            "acme",
            json!({"lapse_charge_method": 401}),
            "charge_method",
            "scope brand-analytics",
        ),
        (
            "acme",
            json!({"expire_client_secret": true}),
            "client_secret",
            "scope brand-analytics",
        ),
        ("acme", json!({"clock_skew": 1000}), "clock", ""),
        ("acme", json!({"clock_skew": -1000}), "clock", ""),
        (
            "vera",
            json!({"unlink_vendor_group": true}),
            "vendor_link",
            "scope amazon-fulfillment",
        ),
    ]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_induced_fault_fails_its_own_row_and_no_other() {
    let sidecar = TestSidecar::with(setup()).await;
    for (tenant, fault, row, skipped) in faults() {
        trouble(&sidecar, fault.clone());
        let report = preflight(&sidecar, tenant).await;
        sidecar.sandbox.clear_faults();
        assert_eq!(report.with("fail"), [row], "{fault}: {:#}", report.all);
        assert_eq!(report.code, 1, "{fault}");
        let skips = report.with("skip");
        assert!(
            skipped.is_empty() || skips.contains(&skipped),
            "{fault}: {skips:?}"
        );
        if skipped.is_empty() && tenant == "acme" {
            assert_eq!(skips, ["scope direct-to-consumer-shipping"], "{fault}");
        }
    }
    trouble(&sidecar, json!({"clock_skew": 100}));
    let report = preflight(&sidecar, "acme").await;
    assert!(
        report.with("warn").contains(&"clock") && report.code == 0,
        "{:#}",
        report.all
    );
    sidecar.sandbox.clear_faults();
    sidecar.sandbox.register_app(&AppRegistration {
        client_id: ClientId::new("amzn1.application-oa2-client.canary".to_owned()),
        client_secret: ClientSecret::new("another".to_owned()),
        old_secret: None,
    });
    let report = preflight(&sidecar, "acme").await;
    assert_eq!(report.with("fail"), ["client"], "{:#}", report.all);
    let remedy = report.row("client")["remedy"].as_str().unwrap();
    assert!(remedy.contains("spapi-sidecar app put erp"), "{remedy}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_role_that_no_route_needs_for_the_marketplaces_is_a_warning_and_an_rdt_names_its_roles() {
    let mut setup = setup();
    setup.sandbox.grants = vec![grant("acme", &["Brand Analytics", "Tax Invoicing"], false)];
    setup.tenants =
        "[{ id: acme, app: erp, region: na, scopes: [brand-analytics, tax-invoicing] }]".to_owned();
    setup.routes = r#"
  - { allow: "GET /dataKiosk/2023-11-15/queries/{queryId}", scope: brand-analytics }
  - { allow: "GET /orders/v0/orders/{orderId}", scope: tax-invoicing, rdt: { data_elements: [shippingAddress] } }
"#
    .to_owned();
    let sidecar = TestSidecar::with(setup).await;
    let report = preflight(&sidecar, "acme").await;
    assert_eq!(
        report.with("warn"),
        ["marketplace_participation"],
        "{:#}",
        report.all
    );
    assert_eq!(report.with("fail"), ["rdt GET /orders/v0/orders/{orderId}"]);
    let remedy = report.row("rdt")["remedy"].as_str().unwrap();
    assert!(
        remedy.contains("shippingAddress takes Direct to Consumer Shipping"),
        "{remedy}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn names_pins_trust_and_marketplaces_that_do_not_hold_fail_their_own_rows() {
    let sidecar = TestSidecar::with(setup()).await;
    let yaml = sidecar.configuration().to_owned();
    let pins = format!(
        "upstream:\n  pins: {{ {NA}: [\"sha256/AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\"] }}"
    );
    for (from, to, failed) in [
        (
            "upstream:",
            pins.as_str(),
            vec!["tls sellingpartnerapi-na.amazon.com:443"],
        ),
        (
            "throttle:",
            "lwa: { token_url: \"https://lwa.invalid/auth/o2/token\" }\nthrottle:",
            vec!["dns lwa.invalid:443"],
        ),
        (
            "/amazon.pem",
            "/ca.pem",
            vec![
                "tls api.amazon.com:443",
                "tls sellingpartnerapi-na.amazon.com:443",
            ],
        ),
        ("/amazon.pem", "/nowhere.pem", vec!["trust"]),
        (
            "marketplaces: [ATVPDKIKX0DER]",
            "marketplaces: [A1AM78C64UM0Y8]",
            vec![],
        ),
        (
            "expires: 2999-12",
            "expires: 2020-12",
            vec!["charge_method"],
        ),
        ("status: valid", "status: declined", vec!["charge_method"]),
    ] {
        let file = sidecar.folder.path().join("other.yaml");
        std::fs::write(&file, yaml.replacen(from, to, 1)).unwrap();
        let report = by(&file).await;
        assert_eq!(report.with("fail"), failed, "{to}: {:#}", report.all);
    }
}

#[tokio::test]
async fn the_sample_configuration_passes_a_rehearsal_without_network_or_store() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("proxy.yaml");
    // its dates are those of the day on which it was written
    let today = telemetry::clock(telemetry::now());
    let sample = include_str!("../../proxy.yaml")
        .replace("expires: 2027-03", "expires: 2999-03")
        .replace("2026-09-01", &today[..10]);
    std::fs::write(&file, &sample).unwrap();
    let rehearse = |words: &[&str]| {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_spapi-sidecar"));
        command
            .args(["preflight", "--rehearse", "--json", "--config"])
            .arg(&file)
            .args(words);
        let output = command.output().unwrap();
        let text = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
        Report::read((output.status.code().unwrap(), text))
    };
    let report = rehearse(&[]);
    assert_eq!(
        (report.code, report.with("fail")),
        (0, vec![]),
        "{:#}",
        report.all
    );
    assert_eq!(report.all["rehearsal"], true);
    // a route whose scope is not one that Amazon takes for it
    let wrong = sample.replace(
        "GET /orders/v0/orders\n",
        "GET /listings/2021-08-01/items/{sellerId}/{sku}\n",
    );
    std::fs::write(&file, wrong).unwrap();
    let report = rehearse(&["acme"]);
    assert_eq!(
        report.with("fail"),
        ["scope inventory-and-order-tracking"],
        "{:#}",
        report.all
    );
}
