//! `/health/authz`: each induced fault flips exactly its own field.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use spapi_sidecar::config::Config;
use spapi_sidecar::sandbox::{GrantRegistration, Options};
use spapi_sidecar::secret::RefreshToken;
use spapi_sidecar::store::RecordKey;
use spapi_sidecar::tenant::TenantId;

use crate::support::child::ChildSidecar;
use crate::support::peer::trouble;
use crate::support::sidecar::{NA, Setup, TestSidecar, eventually};

const ORDERS: &str = "/orders/v0/orders?MarketplaceIds=ATVPDKIKX0DER";
const INVENTORY: &str = "/awd/2024-05-09/inventory";
const PURCHASE_ORDERS: &str = "/vendor/orders/v1/purchaseOrders";

/// The role that [`INVENTORY`] alone needs.
const AWD: &str = "amazon-warehousing-and-distribution";

/// A seller and a vendor of one app, whose routes need three scopes.
fn setup(default_tenant: &str) -> Setup {
    let grant = |tenant: &str| {
        GrantRegistration::new(RefreshToken::new(format!("Atzr|canary-{tenant}")), tenant)
    };
    let mut vendor = grant("vend");
    vendor.vendor = true;
    Setup {
        sandbox: Options {
            grants: vec![grant("acme"), vendor],
            ..Options::default()
        },
        tenants: format!(
            "
  - {{ id: acme, app: erp, region: na, marketplaces: [ATVPDKIKX0DER], scopes: [inventory-and-order-tracking, {AWD}, pricing] }}
  - {{ id: vend, app: erp, region: na, account: vendor, vendor_groups: [north], scopes: [amazon-fulfillment] }}
"
        ),
        default_tenant: default_tenant.to_owned(),
        routes: format!(
            "
  - {{ allow: GET /orders/v0/orders, scope: inventory-and-order-tracking }}
  - {{ allow: GET {INVENTORY}, scope: {AWD} }}
  - {{ allow: GET {PURCHASE_ORDERS}, scope: amazon-fulfillment }}
"
        ),
        grants: vec!["acme", "vend"],
        // what sets a tenant aside by itself would flip its state too
        sections: "alerts: { quarantine_on: [] }".to_owned(),
        ..Setup::default()
    }
}

async fn ask(sidecar: &TestSidecar, path: &str) -> (u16, Value) {
    let url = format!("http://{}{path}", sidecar.app.admin());
    let response = reqwest::get(url).await.unwrap();
    (response.status().as_u16(), response.json().await.unwrap())
}

async fn authz(sidecar: &TestSidecar) -> Value {
    ask(sidecar, "/health/authz").await.1
}

/// Calls, and waits until the access record is written: what a verdict knows of a call, it knows by then.
async fn call(sidecar: &TestSidecar, path: &str) -> u16 {
    let before = sidecar.records().len();
    let url = format!("https://{NA}{path}");
    let response = sidecar.client().get(url).send().await.unwrap();
    let status = response.status().as_u16();
    drop(response.bytes().await.unwrap());
    eventually("the access record", || sidecar.records().len() > before).await;
    status
}

/// The places where two values differ, as JSON pointers.
fn differences(at: &str, one: &Value, other: &Value, into: &mut BTreeSet<String>) {
    match (one, other) {
        (Value::Object(one), Value::Object(other)) => {
            for key in one.keys().chain(other.keys()).collect::<BTreeSet<_>>() {
                let (one, other) = (one.get(key), other.get(key));
                let null = Value::Null;
                let at = format!("{at}/{key}");
                differences(&at, one.unwrap_or(&null), other.unwrap_or(&null), into);
            }
        }
        (Value::Array(one), Value::Array(other))
            if one.len() == other.len() && one.iter().all(Value::is_object) =>
        {
            for (n, (one, other)) in one.iter().zip(other).enumerate() {
                differences(&format!("{at}/{n}"), one, other, into);
            }
        }
        (one, other) if one != other => {
            into.insert(at.to_owned());
        }
        _ => {}
    }
}

/// What differs, without what differs by itself with time.
pub(crate) fn flipped(before: &Value, after: &Value) -> BTreeSet<String> {
    let mut all = BTreeSet::new();
    differences("", before, after, &mut all);
    all.retain(|at| {
        !["/checked_at", "/expires_in_s", "/last_refresh_at"]
            .iter()
            .any(|volatile| at.ends_with(volatile))
    });
    all
}

/// What follows from any fault: the verdict in words.
const VERDICT: [&str; 3] = [
    "/status",
    "/tenants/0/probable_cause",
    "/tenants/0/next_step",
];

fn fields(own: &[&str]) -> BTreeSet<String> {
    own.iter().map(|at| (*at).to_owned()).collect()
}

fn with_verdict(own: &[&str]) -> BTreeSet<String> {
    fields(&[own, &VERDICT].concat())
}

/// A seller's sidecar that has been called, and what it says.
async fn well() -> (TestSidecar, Value) {
    let sidecar = TestSidecar::with(setup("acme")).await;
    for path in [ORDERS, INVENTORY] {
        assert_eq!(call(&sidecar, path).await, 200, "{path}");
    }
    let before = authz(&sidecar).await;
    assert_eq!(before["status"], "ok", "{before:#}");
    (sidecar, before)
}

/// Induces a fault, calls, and compares.
async fn induce(fault: Value, calls: &[&str], own: &[&str], cause: &str) -> Value {
    let (sidecar, before) = well().await;
    trouble(&sidecar, fault.clone());
    for path in calls {
        call(&sidecar, path).await;
    }
    let after = authz(&sidecar).await;
    assert_eq!(
        flipped(&before, &after),
        with_verdict(own),
        "{fault}: {after:#}"
    );
    assert_eq!(after["tenants"][0]["probable_cause"], cause, "{fault}");
    after
}

const FORBIDDEN: &str = "/tenants/0/auth_errors/forbidden";
const UNAUTHORIZED: &str = "/tenants/0/auth_errors/unauthorized";
const VALID: &str = "/tenants/0/token/valid";
const LAST_ERROR: &str = "/tenants/0/token/last_error";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_answer_has_the_contracts_shape_and_no_other() {
    let (_sidecar, health) = well().await;
    let keys = |at: &str| {
        let object = health.pointer(at).unwrap().as_object().unwrap();
        object.keys().cloned().collect::<Vec<_>>().join(" ")
    };
    for (at, want) in [
        ("", "apps checked_at release status tenants"),
        ("/apps/0", "charge_method client_secret id"),
        ("/apps/0/charge_method", "days_left status"),
        ("/apps/0/client_secret", "days_left"),
        (
            "/tenants/0",
            "auth_errors authorization id next_step probable_cause scopes state token vendor_linkage",
        ),
        (
            "/tenants/0/token",
            "expires_in_s last_error last_refresh_at valid",
        ),
        ("/tenants/0/scopes", "granted missing required unused"),
        ("/tenants/0/vendor_linkage", "groups status"),
        ("/tenants/0/authorization", "days_left"),
        ("/tenants/0/auth_errors", "forbidden unauthorized window_s"),
    ] {
        assert_eq!(keys(at), want, "{at}");
    }
    let acme = &health["tenants"][0];
    assert_eq!(acme["id"], "acme");
    assert_eq!(acme["state"], "active");
    assert_eq!(acme["token"]["valid"], true);
    assert_eq!(acme["token"]["last_error"], Value::Null);
    assert!(acme["token"]["expires_in_s"].as_u64().unwrap() > 3000);
    assert!(acme["token"]["last_refresh_at"].is_string());
    assert_eq!(acme["scopes"]["unused"], json!(["pricing"]));
    assert_eq!(
        acme["vendor_linkage"],
        json!({"status": "not_applicable", "groups": []})
    );
    assert_eq!(
        acme["auth_errors"],
        json!({"unauthorized": 0, "forbidden": 0, "window_s": 300})
    );
    assert_eq!(acme["probable_cause"], Value::Null);
    assert_eq!(
        health["tenants"][1]["vendor_linkage"],
        json!({"status": "unknown", "groups": ["north"]})
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_revoked_grant_flips_the_token_of_its_tenant_and_answers_503() {
    let fault = json!({"revoke_grant": "acme"});
    let after = induce(
        fault,
        &[ORDERS],
        &[VALID, LAST_ERROR, FORBIDDEN],
        "grant_revoked",
    )
    .await;
    assert_eq!(after["status"], "failing");
    assert_eq!(after["tenants"][0]["token"]["last_error"], "grant_revoked");
    assert_eq!(after["tenants"][1]["token"]["valid"], true);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_revoked_scope_flips_missing_scopes() {
    let fault = json!({"revoke_scope": AWD});
    let own = ["/tenants/0/scopes/missing", FORBIDDEN];
    let after = induce(fault, &[INVENTORY, ORDERS], &own, "role_missing").await;
    assert_eq!(
        after["tenants"][0]["scopes"]["missing"],
        json!(["amazon-fulfillment", AWD])
    );
    assert_eq!(after["status"], "degraded");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_charge_method_that_lapses_unseen_flips_its_apps_charge_method() {
    for (status, errors) in [(403, FORBIDDEN), (401, UNAUTHORIZED)] {
        let fault = json!({"lapse_charge_method": status});
        let (sidecar, before) = well().await;
        trouble(&sidecar, fault);
        for path in [ORDERS, INVENTORY, ORDERS] {
            call(&sidecar, path).await;
        }
        let after = authz(&sidecar).await;
        let own = ["/apps/0/charge_method/status", errors];
        assert_eq!(flipped(&before, &after), with_verdict(&own), "{after:#}");
        assert_eq!(after["apps"][0]["charge_method"]["status"], "suspected");
        assert_eq!(after["status"], "failing");
        let (_, diagnosis) = ask(&sidecar, "/api/v1/diagnosis?tenant=acme").await;
        let text = diagnosis.to_string();
        assert!(
            text.contains("charge method: not in the configuration"),
            "{text}"
        );
        assert!(text.contains("charge_method_suspected"), "{text}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unlinked_vendor_group_flips_the_vendor_linkage() {
    let sidecar = TestSidecar::with(setup("vend")).await;
    assert_eq!(call(&sidecar, PURCHASE_ORDERS).await, 200);
    let before = authz(&sidecar).await;
    assert_eq!(before["tenants"][1]["vendor_linkage"]["status"], "linked");
    trouble(&sidecar, json!({"unlink_vendor_group": true}));
    assert_eq!(call(&sidecar, PURCHASE_ORDERS).await, 403);
    let after = authz(&sidecar).await;
    let own = [
        "/status",
        "/tenants/1/vendor_linkage/status",
        "/tenants/1/auth_errors/forbidden",
        "/tenants/1/probable_cause",
        "/tenants/1/next_step",
    ];
    assert_eq!(flipped(&before, &after), fields(&own), "{after:#}");
    assert_eq!(after["tenants"][1]["vendor_linkage"]["status"], "broken");
    assert_eq!(after["tenants"][1]["probable_cause"], "vendor_link_broken");
    sidecar.sandbox.clear_faults();
    assert_eq!(call(&sidecar, PURCHASE_ORDERS).await, 200);
    let mended = authz(&sidecar).await;
    assert_eq!(mended["tenants"][1]["vendor_linkage"]["status"], "linked");
    assert_eq!(mended["status"], "ok");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_secret_that_amazon_calls_lapsed_flips_its_days() {
    let fault = json!({"expire_client_secret": true});
    let own = ["/apps/0/client_secret/days_left", FORBIDDEN];
    let after = induce(fault, &[ORDERS], &own, "client_secret_lapsed").await;
    assert_eq!(after["apps"][0]["client_secret"]["days_left"], 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tokens_that_end_early_flip_nothing_but_the_count_once_a_new_one_is_taken() {
    let (sidecar, before) = well().await;
    trouble(&sidecar, json!({"expire_tokens_now": true}));
    assert_eq!(call(&sidecar, ORDERS).await, 200);
    let after = authz(&sidecar).await;
    assert_eq!(flipped(&before, &after), fields(&[FORBIDDEN]), "{after:#}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn throttling_that_programs_see_flips_nothing_but_the_verdict() {
    let fault = json!({"status": 429});
    let (sidecar, before) = {
        let mut setup = setup("acme");
        setup.throttle = "{ mode: pass }".to_owned();
        let sidecar = TestSidecar::with(setup).await;
        call(&sidecar, ORDERS).await;
        let before = authz(&sidecar).await;
        (sidecar, before)
    };
    trouble(&sidecar, fault);
    assert_eq!(call(&sidecar, ORDERS).await, 429);
    let after = authz(&sidecar).await;
    assert_eq!(flipped(&before, &after), with_verdict(&[]), "{after:#}");
    assert_eq!(after["tenants"][0]["probable_cause"], "throttled");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_lwa_outage_flips_the_token_of_a_tenant_that_needs_a_new_one() {
    let (sidecar, before) = well().await;
    trouble(&sidecar, json!({"lwa_down": "refuse"}));
    assert_eq!(
        flipped(&before, &authz(&sidecar).await),
        BTreeSet::new(),
        "a token lives"
    );
    trouble(&sidecar, json!({"expire_tokens_now": "acme"}));
    call(&sidecar, ORDERS).await;
    let after = authz(&sidecar).await;
    let own = [VALID, LAST_ERROR, FORBIDDEN];
    assert_eq!(flipped(&before, &after), with_verdict(&own), "{after:#}");
    assert_eq!(after["tenants"][0]["probable_cause"], "lwa_unreachable");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn errors_of_amazons_own_flip_nothing_but_the_verdict() {
    let calls = [ORDERS; 5];
    let fault = json!({"status": 500});
    let after = induce(fault, &calls, &[], "upstream_errors").await;
    assert!(
        after["tenants"][0]["next_step"]
            .as_str()
            .unwrap()
            .contains("status page")
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_marketplace_of_another_region_flips_nothing_but_the_verdict_and_the_count() {
    let details = "The marketplaces you provided are not valid for region.";
    let fault = json!({"status": 403, "details": details});
    induce(fault, &[ORDERS], &[FORBIDDEN], "wrong_region").await;
}

/// The running configuration with one replacement, in force.
fn reload(sidecar: &TestSidecar, from: &str, to: &str) {
    let text = sidecar.configuration().replace(from, to);
    assert_ne!(text, sidecar.configuration(), "{from}");
    let config =
        Config::parse("proxy.yaml", &text, &|_| None).unwrap_or_else(|faults| panic!("{faults}"));
    sidecar.app.reload(config).unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_configuration_says_flips_the_field_that_says_it() {
    let app = "apps: [{ id: erp }]";
    let both: &[&str] = &[
        "/tenants/0/probable_cause",
        "/tenants/0/next_step",
        "/tenants/1/probable_cause",
        "/tenants/1/next_step",
        "/status",
    ];
    for (from, to, own, cause) in [
        (
            app,
            "apps: [{ id: erp, charge_method: { status: declined } }]",
            &[both, &["/apps/0/charge_method/status"]].concat()[..],
            json!("charge_method_lapsed"),
        ),
        (
            app,
            "apps: [{ id: erp, charge_method: { expires: 2020-03 } }]",
            &[
                both,
                &[
                    "/apps/0/charge_method/status",
                    "/apps/0/charge_method/days_left",
                ],
            ]
            .concat(),
            json!("charge_method_lapsed"),
        ),
        (
            app,
            "apps: [{ id: erp, client_secret_rotated: 2020-03-01 }]",
            &[both, &["/apps/0/client_secret/days_left"]].concat(),
            json!("client_secret_lapsed"),
        ),
        (
            "vendor_groups: [north]",
            "vendor_groups: [south]",
            &["/tenants/1/vendor_linkage/groups"],
            Value::Null,
        ),
        (
            ", pricing]",
            "]",
            &["/tenants/0/scopes/granted", "/tenants/0/scopes/unused"],
            Value::Null,
        ),
    ] {
        let (sidecar, before) = well().await;
        reload(&sidecar, from, to);
        let after = authz(&sidecar).await;
        assert_eq!(flipped(&before, &after), fields(own), "{to}: {after:#}");
        assert_eq!(after["tenants"][0]["probable_cause"], cause, "{to}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_age_of_an_authorization_is_read_from_the_store() {
    let mut setup = setup("acme");
    let grant = RecordKey::Grant(TenantId::parse("acme").unwrap());
    setup.records = vec![(grant, "authorized_at", "2020-01-01".to_owned())];
    let sidecar = TestSidecar::with(setup).await;
    let url = format!("http://{}/health/authz", sidecar.app.admin());
    for _ in 0..500 {
        let health: Value = reqwest::get(&url).await.unwrap().json().await.unwrap();
        let days = &health["tenants"][0]["authorization"]["days_left"];
        if let Some(days) = days.as_i64() {
            assert!(days < -1000, "{days}");
            assert_eq!(
                health["tenants"][1]["authorization"]["days_left"],
                Value::Null
            );
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    panic!("it was never read");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_tenant_can_be_asked_for_and_an_unknown_one_is_not_found() {
    let (sidecar, _) = well().await;
    trouble(&sidecar, json!({"revoke_grant": "acme"}));
    call(&sidecar, ORDERS).await;
    assert_eq!(ask(&sidecar, "/health/authz").await.0, 503);
    let (status, acme) = ask(&sidecar, "/health/authz?tenant=acme").await;
    assert_eq!((status, &acme["status"]), (503, &json!("failing")));
    assert_eq!(acme["tenants"].as_array().unwrap().len(), 1);
    let (status, vend) = ask(&sidecar, "/health/authz?tenant=vend").await;
    assert_eq!((status, &vend["status"]), (200, &json!("ok")));
    assert_eq!(ask(&sidecar, "/health/authz?tenant=nobody").await.0, 404);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_degraded_tenant_answers_200() {
    let (sidecar, _) = well().await;
    trouble(&sidecar, json!({"revoke_scope": AWD}));
    call(&sidecar, INVENTORY).await;
    let (status, health) = ask(&sidecar, "/health/authz").await;
    assert_eq!((status, &health["status"]), (200, &json!("degraded")));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_verdict_that_changes_is_said_by_itself_and_so_is_its_end() {
    let sidecar = ChildSidecar::with(setup("acme"), &[]).await;
    let fault = spapi_sidecar::sandbox::Fault::from_json(json!({"revoke_scope": AWD})).unwrap();
    let _number = sidecar.stage.sandbox.fault(fault);
    let get = async |path: &str| {
        let answer = sidecar.inside(NA).await.get(NA, path, &[]).await;
        answer.status
    };
    assert_eq!(get(INVENTORY).await, 403);
    let said = |message: &str, word: &str| {
        let text = sidecar.stdout();
        text.lines()
            .any(|line| line.contains(&format!("\"message\":\"{message}\"")) && line.contains(word))
    };
    eventually("the verdict", || {
        said("verdict", "\"cause\":\"role_missing\"")
    })
    .await;
    sidecar.stage.sandbox.clear_faults();
    assert_eq!(get(INVENTORY).await, 200);
    eventually("its end", || {
        said("verdict: all is well again", "role_missing")
    })
    .await;
}

const KILLED: &str =
    r#"{"acme":{"state":"killed","reason":"token leak","since":"2026-11-25T10:00:00Z","by":"jo"}}"#;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_tenant_says_why_and_no_round_brings_its_token_back() {
    let mut setup = setup("vend");
    setup.records = vec![(RecordKey::Fleet, "states", KILLED.to_owned())];
    let sidecar = ChildSidecar::with(setup, &[]).await;
    let said = || {
        let text = sidecar.stdout();
        text.lines()
            .any(|line| line.contains("\"message\":\"verdict\"") && line.contains("tenant_killed"))
    };
    eventually("the first round", said).await;
    let received = sidecar.stage.sandbox.received();
    let exchanges = received.iter().filter(|one| one.exchange.is_some());
    assert_eq!(exchanges.count(), 1, "the vendor's");
    let url = format!("http://{}/health/authz?tenant=acme", sidecar.admin);
    let health: Value = reqwest::get(url).await.unwrap().json().await.unwrap();
    let acme = &health["tenants"][0];
    assert_eq!(health["status"], "degraded");
    assert_eq!(acme["state"], "killed");
    assert_eq!(acme["token"]["valid"], false);
    assert_eq!(acme["probable_cause"], "tenant_killed");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tenant_of_the_store_is_found_before_its_first_call() {
    let mut setup = setup("null");
    setup.tenants = "{ from: store }".to_owned();
    let id = TenantId::parse("acme").unwrap();
    let profile = vec![("app", "erp"), ("region", "na"), ("scopes", "pricing")];
    setup.whole_records = vec![(RecordKey::Profile(id), profile)];
    let sidecar = TestSidecar::with(setup).await;
    let (_, acme) = ask(&sidecar, "/health/authz?tenant=acme").await;
    assert_eq!(acme["tenants"][0]["scopes"]["granted"], json!(["pricing"]));
    assert_eq!(ask(&sidecar, "/health/authz?tenant=nobody").await.0, 404);
    let nobody = format!("127.0.0.1:{}", crate::support::free_port());
    let (code, page) = crate::diagnose::run(&sidecar, &nobody, &["diagnose", "acme"]).await;
    assert_eq!(code, 1);
    assert!(
        page.contains("acme (active)  FAILING: sidecar_down"),
        "{page}"
    );
    let (code, page) = crate::diagnose::run(&sidecar, &nobody, &["diagnose", "beta"]).await;
    assert_eq!(code, 2, "{page}");
}
