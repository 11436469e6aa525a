//! What a person is told of: once, signed, in the log and on the board, and until it is over.

mod views;

use std::net::SocketAddr;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};
use spapi_sidecar::config::Date;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use crate::support::child::{ChildSidecar, Process};
use crate::support::peer::{Origin, trouble};
use crate::support::sidecar::{NA, Setup, Stage, TestSidecar, eventually, fault};

const SECRET: &str = "hook-secret-canary";
const ORDERS: &str = "/orders/v0/orders?MarketplaceIds=ATVPDKIKX0DER";

/// A request that the webhook got: its head and its body.
type Got = Arc<Mutex<Vec<(String, Value)>>>;

/// Splits a request into its head and its JSON body.
fn split(text: &str) -> (String, Value) {
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    (head.to_owned(), serde_json::from_str(body).unwrap())
}

fn content_length(head: &str) -> usize {
    let length = head.lines().find_map(|line| {
        line.to_ascii_lowercase()
            .strip_prefix("content-length: ")
            .map(str::to_owned)
    });
    length.unwrap().parse().unwrap()
}

/// A webhook in plain text on loopback, which answers with this status.
async fn plain_webhook(status: &'static str) -> (SocketAddr, Got, JoinSet<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (address, got) = (listener.local_addr().unwrap(), Got::default());
    let kept = Arc::clone(&got);
    let mut serving = JoinSet::new();
    serving.spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut text = Vec::new();
            loop {
                let mut part = [0; 4096];
                let read = stream.read(&mut part).await.unwrap();
                text.extend_from_slice(&part[..read]);
                let so_far = String::from_utf8_lossy(&text).into_owned();
                let whole = so_far
                    .split_once("\r\n\r\n")
                    .is_some_and(|(head, body)| body.len() >= content_length(head));
                if whole {
                    kept.lock().unwrap().push(split(&so_far));
                    break;
                }
                assert!(read > 0, "a notice was cut off: {so_far}");
            }
            let answer =
                format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
            stream.write_all(answer.as_bytes()).await.unwrap();
        }
    });
    (address, got, serving)
}

fn secret_file(folder: &Path, mode: u32) -> std::path::PathBuf {
    use std::io::Write as _;
    use std::os::unix::fs::PermissionsExt as _;
    let path = folder.join("hook.secret");
    let mut file = std::fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(mode)
        .open(&path)
        .unwrap();
    file.write_all(format!("{SECRET}\n").as_bytes()).unwrap();
    file.set_permissions(std::fs::Permissions::from_mode(mode))
        .unwrap();
    path
}

/// A world whose alerts go to this address.
fn alerting(url: &str, secret: &Path, more: &str) -> Setup {
    let secret = secret.display();
    Setup {
        sections: format!(
            "alerts: {{ webhook: {{ url: \"{url}\", secret_file: {secret} }}, {more} }}"
        ),
        ..Setup::default()
    }
}

/// The notices of one alert, as `subject state`.
fn of(got: &Got, alert: &str) -> Vec<String> {
    let got = got.lock().unwrap();
    let of = got.iter().filter(|(_, body)| body["alert"] == alert);
    of.map(|(_, body)| {
        format!(
            "{} {}",
            body["subject"].as_str().unwrap(),
            body["state"].as_str().unwrap()
        )
    })
    .collect()
}

async fn ask(sidecar: &TestSidecar, target: &str) -> u16 {
    let url = format!("https://{NA}{target}");
    let answer = sidecar.client().get(url).send().await.unwrap();
    let status = answer.status().as_u16();
    answer.bytes().await.unwrap();
    status
}

/// Asks until the webhook has so many notices of an alert.
async fn eventually_asked(sidecar: &TestSidecar, got: &Got, alert: &str, least: usize) {
    for _ in 0..500 {
        if of(got, alert).len() >= least {
            return;
        }
        ask(sidecar, ORDERS).await;
    }
    panic!("never: {alert}");
}

/// The names of what fires, by the word of `GET status`.
async fn active(sidecar: &TestSidecar) -> Vec<String> {
    let url = format!("http://{}/api/v1/status", sidecar.app.admin());
    let status: Value = reqwest::get(url).await.unwrap().json().await.unwrap();
    let alerts = status["alerts"].as_array().unwrap();
    alerts
        .iter()
        .map(|alert| alert["alert"].as_str().unwrap().to_owned())
        .collect()
}

/// HMAC-SHA256 (RFC 2104) by python, which shares nothing with us.
fn hmac_by_python(secret: &str, message: &str) -> String {
    let script = "import hmac, sys; print(hmac.new(sys.argv[1].encode(), sys.argv[2].encode(), 'sha256').hexdigest())";
    let output = std::process::Command::new("python3")
        .args(["-c", script, secret, message])
        .output()
        .unwrap();
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wave_of_refusals_is_told_once_signed_and_with_the_charge_method_beside_it() {
    let folder = tempfile::tempdir().unwrap();
    let (address, got, _serving) = plain_webhook("204 No Content").await;
    let url = format!("http://{address}/alerts");
    let sidecar = TestSidecar::with(alerting(
        &url,
        &secret_file(folder.path(), 0o600),
        "auth_errors: { count: 3, window: 5m }",
    ))
    .await;
    trouble(&sidecar, json!({"status": 401}));
    for _ in 0..4 {
        assert_eq!(ask(&sidecar, ORDERS).await, 403);
    }
    eventually("the notice arrives", || !of(&got, "auth_errors").is_empty()).await;
    assert!(active(&sidecar).await.contains(&"auth_errors".to_owned()));
    assert_eq!(of(&got, "auth_errors"), ["acme firing"]);
    let got = got.lock().unwrap();
    let (head, body) = got
        .iter()
        .find(|(_, body)| body["alert"] == "auth_errors")
        .unwrap();
    assert!(head.starts_with("POST /alerts HTTP/1.1\r\n"), "{head}");
    let members: Vec<&String> = body.as_object().unwrap().keys().collect();
    assert_eq!(
        members,
        ["alert", "detail", "runbook", "since", "state", "subject"]
    );
    assert_eq!(body["runbook"], "deploy/runbooks/auth_errors.md");
    let detail = body["detail"].as_str().unwrap();
    assert!(
        detail.contains("401 unauthenticated to getOrders")
            && detail.contains("charge method of app erp"),
        "{detail}"
    );
    let field = head
        .lines()
        .find_map(|line| line.strip_prefix("x-spapi-sidecar-signature: "));
    let (unix, signature) = field
        .unwrap()
        .strip_prefix("t=")
        .unwrap()
        .split_once(",v1=")
        .unwrap();
    assert_eq!(
        hmac_by_python(SECRET, &format!("{unix}.{}", raw(body))),
        signature
    );
}

/// A body as it stood on the wire: members in the order of the contract.
fn raw(body: &Value) -> String {
    let member = |name: &str| format!("\"{name}\":{}", body[name]);
    let members = ["alert", "subject", "state", "since", "detail", "runbook"].map(member);
    format!("{{{}}}", members.join(","))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_webhook_over_tls_is_reached_by_trust_and_connect_to_and_a_refresh_that_works_again_clears()
 {
    let folder = tempfile::tempdir().unwrap();
    let got = Got::default();
    let kept = Arc::clone(&got);
    let origin = Origin::start(
        "hooks.example",
        crate::support::peer::Face::speaking(&["http/1.1"]),
        move |_, mut stream| {
            let kept = Arc::clone(&kept);
            async move {
                let mut text = Vec::new();
                let mut part = [0; 4096];
                while let Ok(read @ 1..) = stream.read(&mut part).await {
                    text.extend_from_slice(&part[..read]);
                    let so_far = String::from_utf8_lossy(&text).into_owned();
                    let whole = so_far
                        .split_once("\r\n\r\n")
                        .is_some_and(|(head, body)| body.len() >= content_length(head));
                    if whole {
                        kept.lock().unwrap().push(split(&so_far));
                        text.clear();
                        stream
                            .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
                            .await
                            .unwrap();
                    }
                }
            }
        },
    )
    .await;
    let secret = secret_file(folder.path(), 0o600);
    let sidecar = TestSidecar::with(Setup {
        connect_to: vec![origin.stands_for("hooks.example")],
        trusted: origin.pem.clone(),
        gets_ready: false,
        sandbox: spapi_sidecar::sandbox::Options {
            faults: vec![fault(r#"{"lwa_down":"refuse"}"#)],
            ..Setup::default().sandbox
        },
        ..alerting("https://hooks.example/x", &secret, "refresh_failures: 2")
    })
    .await;
    eventually("refreshes fail", || of(&got, "refresh_failing").len() >= 2).await;
    sidecar.sandbox.clear_faults();
    eventually("they succeed again", || {
        of(&got, "refresh_failing").len() >= 4
    })
    .await;
    let mut told = of(&got, "refresh_failing");
    told.sort();
    assert_eq!(
        told,
        ["acme cleared", "acme firing", "beta cleared", "beta firing"]
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_webhook_never_takes_is_a_line_of_the_audit_by_the_end() {
    let folder = tempfile::tempdir().unwrap();
    let (address, got, _serving) = plain_webhook("500 Internal Server Error").await;
    let url = format!("http://{address}/");
    let sidecar = TestSidecar::with(alerting(&url, &secret_file(folder.path(), 0o600), "")).await;
    assert_eq!(ask(&sidecar, ORDERS).await, 200);
    eventually("the notice is tried", || {
        !of(&got, "new_endpoint").is_empty()
    })
    .await;
    let kept = sidecar.ended().await;
    let text = std::fs::read_to_string(kept.path().join("audit.jsonl")).unwrap();
    let dead = text.lines().find(|line| line.contains("alert_undelivered"));
    let dead: Value = serde_json::from_str(dead.unwrap_or_else(|| panic!("{text}"))).unwrap();
    assert_eq!(
        (&dead["alert"], &dead["subject"], &dead["state"]),
        (&json!("new_endpoint"), &json!("acme"), &json!("firing"))
    );
    assert!(dead["attempts"].as_u64().unwrap() >= 1);
    assert_eq!(dead["error"], "the webhook answered 500");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_first_call_and_a_first_refusal_are_told_once_each() {
    let folder = tempfile::tempdir().unwrap();
    let (address, got, _serving) = plain_webhook("200 OK").await;
    let url = format!("http://{address}/");
    let sidecar = TestSidecar::with(alerting(&url, &secret_file(folder.path(), 0o600), "")).await;
    for _ in 0..3 {
        assert_eq!(ask(&sidecar, ORDERS).await, 200);
        assert_eq!(
            ask(&sidecar, "/orders/v0/orders/canary-1/regulatedInfo").await,
            403
        );
    }
    eventually("both are told", || of(&got, "new_endpoint").len() >= 2).await;
    assert_eq!(of(&got, "new_endpoint"), ["acme firing", "acme firing"]);
    assert!(!format!("{:?}", got.lock().unwrap()).contains("canary"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dates_of_the_configuration_are_reminded_of_with_the_owner_and_a_reload_moves_them() {
    let folder = tempfile::tempdir().unwrap();
    let (address, got, _serving) = plain_webhook("200 OK").await;
    let apps = "[{ id: erp, charge_method: { status: valid, expires: 2020-01, owner: finance@example.com }, developer_profile_review: 2020-02-01 }]";
    let url = format!("http://{address}/");
    let sidecar = TestSidecar::with(Setup {
        apps: apps.to_owned(),
        ..alerting(&url, &secret_file(folder.path(), 0o600), "")
    })
    .await;
    eventually("both are told", || {
        !of(&got, "charge_method_due").is_empty() && !of(&got, "profile_review_due").is_empty()
    })
    .await;
    let detail = sidecar
        .app
        .shared()
        .alerts
        .active()
        .into_iter()
        .find(|alert| alert.kind.as_str() == "charge_method_due")
        .unwrap()
        .detail;
    assert!(
        detail.contains("2020-01-31") && detail.contains("finance@example.com"),
        "{detail}"
    );
    let moved = sidecar.configuration().replace("2020-01,", "2999-01,");
    let moved = spapi_sidecar::config::Config::parse("proxy.yaml", &moved, &|_| None).unwrap();
    sidecar.app.reload(moved).unwrap();
    eventually("it is over", || of(&got, "charge_method_due").len() >= 2).await;
    assert_eq!(of(&got, "charge_method_due"), ["erp firing", "erp cleared"]);
    assert_eq!(of(&got, "profile_review_due"), ["erp firing"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wave_of_refusals_is_over_when_its_window_has_passed() {
    let folder = tempfile::tempdir().unwrap();
    let (address, got, _serving) = plain_webhook("200 OK").await;
    let sidecar = TestSidecar::with(alerting(
        &format!("http://{address}/"),
        &secret_file(folder.path(), 0o600),
        "auth_errors: { count: 2, window: 2s }",
    ))
    .await;
    trouble(&sidecar, json!({"status": 401}));
    eventually_asked(&sidecar, &got, "auth_errors", 1).await;
    sidecar.sandbox.clear_faults();
    eventually("it is over", || of(&got, "auth_errors").len() >= 2).await;
    assert_eq!(of(&got, "auth_errors"), ["acme firing", "acme cleared"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_that_find_no_token_waiting_spend_the_budget_that_the_file_gives() {
    let folder = tempfile::tempdir().unwrap();
    let (address, got, _serving) = plain_webhook("200 OK").await;
    let sidecar = TestSidecar::with(Setup {
        gets_ready: false,
        sandbox: spapi_sidecar::sandbox::Options {
            faults: vec![fault(r#"{"lwa_down":"refuse"}"#)],
            ..Setup::default().sandbox
        },
        ..alerting(
            &format!("http://{address}/"),
            &secret_file(folder.path(), 0o600),
            "freshness_slo: 99%",
        )
    })
    .await;
    eventually_asked(&sidecar, &got, "freshness_slo", 1).await;
    let detail = got.lock().unwrap().iter().find_map(|(_, body)| {
        (body["alert"] == "freshness_slo").then(|| body["detail"].as_str().unwrap().to_owned())
    });
    assert!(
        detail.as_ref().unwrap().contains("error budget of 1.000 %"),
        "{detail:?}"
    );
    // all of them missed: twice the budget of 50 %, which is no alert
    let easy = sidecar
        .configuration()
        .replace("freshness_slo: 99%", "freshness_slo: 50%");
    let easy = spapi_sidecar::config::Config::parse("proxy.yaml", &easy, &|_| None).unwrap();
    sidecar.app.reload(easy).unwrap();
    eventually("both windows are over", || {
        let told = of(&got, "freshness_slo");
        let firing = told.iter().filter(|told| *told == "sidecar firing").count();
        told.len() == firing * 2
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_date_is_reminded_of_as_many_days_before_it_as_the_file_says() {
    let folder = tempfile::tempdir().unwrap();
    let (address, got, _serving) = plain_webhook("200 OK").await;
    let day = Date::of(spapi_sidecar::telemetry::now()).plus_days(35);
    let sidecar = TestSidecar::with(Setup {
        apps: format!("[{{ id: erp, developer_profile_review: {day} }}]"),
        ..alerting(
            &format!("http://{address}/"),
            &secret_file(folder.path(), 0o600),
            "reminders: [30d]",
        )
    })
    .await;
    let reload = async |reminders: &str| {
        let text = sidecar
            .configuration()
            .replace("reminders: [30d]", reminders);
        let config = spapi_sidecar::config::Config::parse("proxy.yaml", &text, &|_| None);
        sidecar.app.reload(config.unwrap()).unwrap();
    };
    reload("reminders: [40d, 30d]").await;
    eventually("it is due", || !of(&got, "profile_review_due").is_empty()).await;
    assert_eq!(of(&got, "profile_review_due"), ["erp firing"]);
    reload("reminders: [30d]").await;
    eventually("it is not due yet", || {
        of(&got, "profile_review_due").len() >= 2
    })
    .await;
    assert_eq!(
        of(&got, "profile_review_due"),
        ["erp firing", "erp cleared"]
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_revoked_grant_sets_its_tenant_aside_by_itself_where_the_file_says_so() {
    for (causes, sets_aside) in [("grant_revoked", true), ("charge_method_lapsed", false)] {
        let folder = tempfile::tempdir().unwrap();
        let (address, got, _serving) = plain_webhook("200 OK").await;
        let url = format!("http://{address}/");
        let more = format!("quarantine_on: [{causes}]");
        let setup = alerting(&url, &secret_file(folder.path(), 0o600), &more);
        let sidecar = TestSidecar::with(Setup {
            sandbox: spapi_sidecar::sandbox::Options {
                faults: vec![fault(r#"{"revoke_grant":"acme"}"#)],
                ..setup.sandbox.clone()
            },
            ..setup
        })
        .await;
        eventually("the exchange fails twice", || {
            !of(&got, "refresh_failing").is_empty()
        })
        .await;
        let is_aside = || of(&got, "tenant_quarantined") == ["acme firing"];
        if sets_aside {
            eventually("it is told", is_aside).await;
            let text = std::fs::read_to_string(sidecar.folder.path().join("audit.jsonl"));
            let text = text.unwrap();
            assert!(text.contains(r#""kind":"state","tenant":"acme","state":"quarantined","reason":"grant_revoked","by":"automatic""#), "{text}");
        } else {
            assert!(!is_aside());
        }
        let url = format!("https://{NA}{ORDERS}");
        let answer = sidecar.client().get(url).send().await.unwrap();
        let code = crate::support::sidecar::refusal(answer).await.1;
        let expected = if sets_aside {
            "tenant_quarantined"
        } else {
            "token_unavailable"
        };
        assert_eq!(code, expected);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_audit_that_cannot_be_written_fires_and_clears() {
    let folder = tempfile::tempdir().unwrap();
    let (address, got, _serving) = plain_webhook("200 OK").await;
    let blocked = folder.path().join("disk");
    std::fs::write(&blocked, "no folder").unwrap();
    let url = format!("http://{address}/");
    let _sidecar = TestSidecar::with(Setup {
        audit_path: Some(blocked.join("audit.jsonl")),
        ..alerting(&url, &secret_file(folder.path(), 0o600), "")
    })
    .await;
    eventually("it is told", || {
        of(&got, "audit_unavailable") == ["audit firing"]
    })
    .await;
    std::fs::remove_file(&blocked).unwrap();
    std::fs::create_dir(&blocked).unwrap();
    eventually("it is over", || {
        of(&got, "audit_unavailable") == ["audit firing", "audit cleared"]
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_secret_that_everybody_can_read_or_nobody_wrote_is_an_error_of_the_start() {
    let folder = tempfile::tempdir().unwrap();
    for (path, want) in [
        (secret_file(folder.path(), 0o644), "chmod o="),
        (folder.path().join("missing"), "cannot be read"),
    ] {
        let setup = alerting("https://hooks.example/", &path, "");
        let stage = Stage::set(&setup).await;
        let (status, stdout, stderr) = Process::start(stage.folder.path(), &[]).ended().await;
        assert_eq!(status.code(), Some(2), "{stdout}{stderr}");
        assert!(
            stderr.contains("alerts.webhook.secret_file") && stderr.contains(want),
            "{stderr}"
        );
        assert!(!(stdout + &stderr).contains(SECRET));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_alert_is_a_line_of_the_log_with_its_runbook() {
    let sidecar = ChildSidecar::with(Setup::default(), &[]).await;
    let client = crate::audit::client(&sidecar);
    let url = format!("https://{NA}{ORDERS}");
    for _ in 0..2 {
        let token = "Atza|canary-of-a-program";
        let answer = client
            .get(&url)
            .header("x-amz-access-token", token)
            .send()
            .await
            .unwrap();
        assert_eq!(answer.status(), 200);
        answer.bytes().await.unwrap();
    }
    let lines = || -> Vec<Value> {
        let text = sidecar.stdout();
        let lines = text
            .lines()
            .filter_map(|line| serde_json::from_str(line).ok());
        lines
            .filter(|line: &Value| line["alert"] == "app_holds_real_token")
            .collect()
    };
    eventually("it is in the log", || !lines().is_empty()).await;
    let told = lines();
    assert_eq!(told.len(), 1, "{told:?}");
    for (member, want) in [
        ("level", "warn"),
        ("subject", "acme"),
        ("state", "firing"),
        ("runbook", "deploy/runbooks/app_holds_real_token.md"),
    ] {
        assert_eq!(told[0][member], want, "{}", told[0]);
    }
    assert!(!sidecar.stdout().contains("canary"));
}
