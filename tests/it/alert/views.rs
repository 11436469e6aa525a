//! What fires is told everywhere, in the same words.

use serde_json::{Value, json};
use spapi_sidecar::config::Date;
use spapi_sidecar::store::RecordKey;
use spapi_sidecar::tenant::TenantId;

use super::{ORDERS, alerting, eventually_asked, of, plain_webhook, secret_file};
use crate::support::admin::Admin;
use crate::support::child::ChildSidecar;
use crate::support::peer::trouble;
use crate::support::sidecar::{Setup, TestSidecar, eventually, fault};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_alert_names_the_cause_and_the_next_step_that_every_other_view_names() {
    let folder = tempfile::tempdir().unwrap();
    let (address, got, _serving) = plain_webhook("200 OK").await;
    let sidecar = TestSidecar::with(Setup {
        apps: "[{ id: erp, charge_method: { status: declined, owner: finance@example.com } }]"
            .to_owned(),
        ..alerting(
            &format!("http://{address}/"),
            &secret_file(folder.path(), 0o600),
            "auth_errors: { count: 3, window: 5m }, quarantine_on: []",
        )
    })
    .await;
    trouble(&sidecar, json!({"status": 401}));
    eventually_asked(&sidecar, &got, "auth_errors", 1).await;
    let detail = got.lock().unwrap().iter().find_map(|(_, body)| {
        (body["alert"] == "auth_errors").then(|| body["detail"].as_str().unwrap().to_owned())
    });
    let detail = detail.unwrap();
    let read = async |path: &str| {
        let url = format!("http://{}{path}", sidecar.app.admin());
        reqwest::get(url).await.unwrap().text().await.unwrap()
    };
    let authz: Value = serde_json::from_str(&read("/health/authz?tenant=acme").await).unwrap();
    let acme = &authz["tenants"][0];
    assert_eq!(acme["probable_cause"], "charge_method_lapsed");
    let next_step = acme["next_step"].as_str().unwrap();
    let explained =
        format!("; likely charge_method_lapsed; finance (finance@example.com): {next_step}");
    assert!(detail.ends_with(&explained), "{detail}");
    let admin = sidecar.app.admin().to_string();
    let (_, said) = crate::diagnose::run(&sidecar, &admin, &["diagnose", "acme"]).await;
    assert!(
        said.contains("charge_method_lapsed (likely)") && said.contains(next_step),
        "{said}"
    );
    let page = read("/console/state")
        .await
        .replace("<code>", "`")
        .replace("</code>", "`");
    assert!(
        page.contains("<strong>charge method lapsed</strong>") && page.contains(next_step),
        "{page}"
    );
}

/// A path that no route allows.
const FEEDS: &str = "/feeds/2021-06-30/feeds";

/// What the log says of an alert, as `subject state`.
fn logged(sidecar: &ChildSidecar, alert: &str) -> Vec<String> {
    let text = sidecar.stdout();
    let lines = text
        .lines()
        .filter_map(|line| serde_json::from_str(line).ok());
    let of = lines.filter(|line: &Value| line["message"] == "alert" && line["alert"] == alert);
    let word = |line: &Value, key: &str| line[key].as_str().unwrap().to_owned();
    of.map(|line| format!("{} {}", word(&line, "subject"), word(&line, "state")))
        .collect()
}

/// Whether metric and status say that an alert fires.
async fn fires(admin: &Admin, alert: &str, subject: &str) -> (bool, bool) {
    let page = reqwest::get(admin.url("/metrics")).await.unwrap();
    let page = page.text().await.unwrap();
    let line = format!(r#"spapi_sidecar_alert_active{{alert="{alert}",subject="{subject}"}} 1"#);
    let status = admin.status().await;
    let listed = status["alerts"].as_array().unwrap().iter();
    let mut listed = listed.filter(|one| one["alert"] == alert && one["subject"] == subject);
    (page.lines().any(|one| one == line), listed.next().is_some())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_fires_is_in_webhook_log_metric_and_status_until_it_is_over() {
    let folder = tempfile::tempdir().unwrap();
    let (address, got, _serving) = plain_webhook("200 OK").await;
    let today = Date::of(spapi_sidecar::telemetry::now());
    let (rotated, authorized) = (today.plus_days(-150), today.plus_days(-340));
    let acme = RecordKey::Grant(TenantId::parse("acme").unwrap());
    let sidecar = ChildSidecar::with(
        Setup {
            apps: format!("[{{ id: erp, client_secret_rotated: {rotated} }}]"),
            ca: "mode: ephemeral, valid_for: 6d".to_owned(),
            records: vec![(acme, "authorized_at", authorized.to_string())],
            ..alerting(
                &format!("http://{address}/"),
                &secret_file(folder.path(), 0o600),
                "",
            )
        },
        &[],
    )
    .await;
    let admin = Admin::new(sidecar.admin, sidecar.stage.folder.path());
    let glass = json!({"tenant": "acme", "allow": [format!("GET {FEEDS}")], "for": "5m", "reason": "stuck feed", "by": "kim"});
    let (status, opened) = admin.post("/api/v1/break-glass", glass).await;
    assert_eq!(status, 200, "{opened}");
    assert_eq!(sidecar.call(FEEDS, &[]).await.status, 200);
    let _number = sidecar.stage.sandbox.fault(fault(r#"{"status":500}"#));
    for _ in 0..20 {
        assert_eq!(sidecar.call(ORDERS, &[]).await.status, 500);
    }
    for (alert, subject) in [
        ("client_secret_due", "erp"),
        ("authorization_due", "acme"),
        ("ca_due", "ca"),
        ("break_glass_used", "acme"),
        ("upstream_incident", "amazon"),
    ] {
        let once = [format!("{subject} firing")];
        eventually(alert, || {
            of(&got, alert) == once && logged(&sidecar, alert) == once
        })
        .await;
        assert_eq!(fires(&admin, alert, subject).await, (true, true), "{alert}");
    }
    let id = admin.status().await["fleet"]["break_glass"][0]["id"].clone();
    let path = format!("/api/v1/break-glass/{}/revoke", id.as_str().unwrap());
    assert_eq!(admin.post(&path, json!({})).await.0, 200);
    let both = ["acme firing", "acme cleared"];
    eventually("it is over", || {
        of(&got, "break_glass_used") == both && logged(&sidecar, "break_glass_used") == both
    })
    .await;
    let over = fires(&admin, "break_glass_used", "acme").await;
    assert_eq!(over, (false, false));
}
