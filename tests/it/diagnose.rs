//! `diagnose`, with a running sidecar and without one.

use serde_json::{Value, json};
use spapi_sidecar::store::RecordKey;

use crate::support::peer::trouble;
use crate::support::sidecar::{NA, Setup, TestSidecar, eventually};

const ORDERS: &str = "/orders/v0/orders?MarketplaceIds=ATVPDKIKX0DER";

/// Runs a command with the configuration that names the admin listener as it is bound; its exit code and output.
pub(crate) async fn run(sidecar: &TestSidecar, admin: &str, words: &[&str]) -> (i32, String) {
    let text = sidecar
        .configuration()
        .replace(r#"admin: "127.0.0.1:0""#, &format!("admin: \"{admin}\""));
    let file = sidecar.folder.path().join("as-bound.yaml");
    std::fs::write(&file, text).unwrap();
    let output = tokio::process::Command::new(env!("CARGO_BIN_EXE_spapi-sidecar"))
        .args(words)
        .arg("--config")
        .arg(file)
        .output()
        .await
        .unwrap();
    let text = [output.stdout, output.stderr].concat();
    (
        output.status.code().unwrap(),
        String::from_utf8(text).unwrap(),
    )
}

async fn diagnose(sidecar: &TestSidecar, words: &[&str]) -> (i32, String) {
    let admin = sidecar.app.admin().to_string();
    run(sidecar, &admin, &[&["diagnose"], words].concat()).await
}

async fn call(sidecar: &TestSidecar) {
    let before = sidecar.records().len();
    let answer = sidecar.client().get(format!("https://{NA}{ORDERS}")).send();
    drop(answer.await.unwrap().bytes().await.unwrap());
    eventually("the access record", || sidecar.records().len() > before).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_running_sidecar_that_is_well_says_so_and_the_exit_code_is_0() {
    let sidecar = TestSidecar::start().await;
    call(&sidecar).await;
    let (code, page) = diagnose(&sidecar, &[]).await;
    assert_eq!((code, &*page), (0, "2 of 2 tenant(s): nothing found.\n"));
    let (code, page) = diagnose(&sidecar, &["acme"]).await;
    assert_eq!(code, 0);
    assert!(page.starts_with("acme (active)  OK\n"), "{page}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_revoked_grant_is_named_with_its_evidence_next_step_and_owner() {
    let sidecar = TestSidecar::with(Setup {
        // the cause itself is looked at, before it sets the tenant aside
        sections: "alerts: { quarantine_on: [] }".to_owned(),
        ..Setup::default()
    })
    .await;
    trouble(&sidecar, json!({"revoke_grant": "acme"}));
    call(&sidecar).await;
    let (code, page) = diagnose(&sidecar, &[]).await;
    assert_eq!(code, 1);
    for line in [
        "acme (active)  FAILING: grant_revoked",
        "  ! grant_revoked (certain)",
        "there is no usable token in memory",
        "spapi-sidecar authorize acme",
        "whose: engineering; runbook: refresh_failing.md",
        "1 of 2 tenant(s): nothing found.",
    ] {
        assert!(page.contains(line), "{line}: {page}");
    }
    assert!(!page.contains("canary"), "{page}");
    let (code, json) = diagnose(&sidecar, &["--json", "acme"]).await;
    let said: Value = serde_json::from_str(&json).unwrap();
    assert_eq!((code, &said["status"]), (1, &json!("failing")));
    let first = &said["tenants"][0]["findings"][0];
    assert_eq!(first["cause"], "grant_revoked");
    assert_eq!(first["whose"], "engineering");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tenant_that_nobody_serves_is_a_usage_mistake() {
    let sidecar = TestSidecar::start().await;
    let (code, page) = diagnose(&sidecar, &["nobody"]).await;
    assert_eq!(code, 2, "{page}");
    assert!(page.contains("nobody"), "{page}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_sidecar_it_says_what_configuration_dates_and_store_say() {
    let sidecar = TestSidecar::with(Setup {
        grants: vec!["acme"],
        records: vec![(
            RecordKey::Fleet,
            "states",
            r#"{"gamma":{"state":"killed","reason":"leak","since":"2026-11-25T10:00:00Z","by":"jo"}}"#.to_owned(),
        )],
        tenants: "
  - { id: acme, app: erp, region: na }
  - { id: beta, app: erp, region: na }
  - { id: gamma, app: erp, region: na }
"
        .to_owned(),
        ..Setup::default()
    })
    .await;
    let nobody = format!("127.0.0.1:{}", crate::support::free_port());
    let (code, page) = run(&sidecar, &nobody, &["diagnose"]).await;
    assert_eq!(code, 1);
    for line in [
        "THE SIDECAR DOES NOT ANSWER: no answer from http://127.0.0.1:",
        "acme (active)  FAILING: sidecar_down",
        "beta (active)  FAILING: grant_missing",
        "spapi-sidecar tenant put-token beta",
        "gamma (killed)  DEGRADED: tenant_killed",
        "killed since 2026-11-25T10:00:00Z by jo: leak",
    ] {
        assert!(page.contains(line), "{line}: {page}");
    }
    assert!(!page.contains("canary"), "{page}");
    let (code, _) = run(&sidecar, &nobody, &["diagnose", "nobody"]).await;
    assert_eq!(code, 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_sidecar_and_store_the_store_is_named_too() {
    let sidecar = TestSidecar::start().await;
    let nobody = format!("127.0.0.1:{}", crate::support::free_port());
    std::fs::write(sidecar.folder.path().join("store.key"), "no key\n").unwrap();
    let (code, json) = run(&sidecar, &nobody, &["diagnose", "acme", "--json"]).await;
    assert_eq!(code, 1);
    let said: Value = serde_json::from_str(&json).unwrap_or_else(|error| panic!("{error}: {json}"));
    let causes: Vec<&str> = said["tenants"][0]["findings"]
        .as_array()
        .unwrap()
        .iter()
        .map(|finding| finding["cause"].as_str().unwrap())
        .collect();
    assert_eq!(causes, ["sidecar_down", "store_unavailable"]);
}
