//! The admin listener's door, and what it answers.

use serde_json::{Value, json};
use spapi_sidecar::store::{GrantStore, RecordKey};

use super::{operator, set};
use crate::support::sidecar::{Setup, TestSidecar};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_action_needs_the_admin_token_and_a_known_host() {
    let sidecar = TestSidecar::start().await;
    let admin = operator(&sidecar);
    let client = reqwest::Client::new();
    for path in [
        "/api/v1/tenants/acme/kill",
        "/api/v1/tenants/acme/quarantine",
        "/api/v1/tenants/acme/resume",
        "/api/v1/tenants/acme/refresh",
        "/api/v1/break-glass",
        "/api/v1/break-glass/1/revoke",
        "/api/v1/reload",
    ] {
        let post = || client.post(admin.url(path)).body(r#"{"reason":"x"}"#);
        for (request, want, code) in [
            (post(), 401, "admin_token_required"),
            (
                post().bearer_auth("not-the-token-of-it"),
                401,
                "admin_token_wrong",
            ),
            (
                post().basic_auth("x", Some(admin.token())),
                401,
                "admin_token_required",
            ),
            (
                post()
                    .bearer_auth(admin.token())
                    .header("host", "evil.example"),
                403,
                "forbidden_host",
            ),
            (
                post()
                    .bearer_auth(admin.token())
                    .header("origin", "https://evil.example"),
                403,
                "cross_origin",
            ),
            (
                post()
                    .bearer_auth(admin.token())
                    .header("sec-fetch-site", "cross-site"),
                403,
                "cross_origin",
            ),
        ] {
            let response = request.send().await.unwrap();
            assert_eq!(response.status(), want, "{path}");
            assert!(
                !response
                    .headers()
                    .contains_key("access-control-allow-origin")
            );
            let body: Value = response.json().await.unwrap();
            assert_eq!(body["errors"][0]["code"], code, "{path}");
            assert!(!body["errors"][0]["details"].as_str().unwrap().is_empty());
        }
    }
    assert_eq!(admin.status().await["fleet"]["states"], json!({}));
    let text = sidecar.text();
    assert!(!text.contains(admin.token()), "the token is in the log");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_asked_wrongly_is_refused_with_what_to_send_and_changes_nothing() {
    let sidecar = TestSidecar::start().await;
    let admin = operator(&sidecar);
    let glass = |change: Value| {
        let mut body = json!({"tenant": "acme", "allow": ["GET /a"], "for": "5m", "reason": "x"});
        body.as_object_mut()
            .unwrap()
            .extend(change.as_object().unwrap().clone());
        body
    };
    for (path, body, want) in [
        ("/api/v1/tenants/acme/kill", json!({}), 400),
        ("/api/v1/tenants/acme/kill", json!({"reason": " "}), 400),
        (
            "/api/v1/tenants/acme/kill",
            json!({"reason": "x", "by": ""}),
            400,
        ),
        ("/api/v1/tenants/acme/kill", json!([]), 400),
        ("/api/v1/tenants/amce/kill", json!({"reason": "x"}), 404),
        ("/api/v1/tenants/NO/kill", json!({"reason": "x"}), 404),
        ("/api/v1/tenants/acme/burn", json!({"reason": "x"}), 404),
        ("/api/v1/tenants/acme", json!({"reason": "x"}), 404),
        ("/api/v1/break-glass", json!({"tenant": "acme"}), 400),
        ("/api/v1/break-glass", glass(json!({"reason": ""})), 400),
        ("/api/v1/break-glass", glass(json!({"allow": []})), 400),
        ("/api/v1/break-glass", glass(json!({"allow": "/a"})), 400),
        ("/api/v1/break-glass", glass(json!({"for": "2 days"})), 400),
        ("/api/v1/break-glass", glass(json!({"tenant": "amce"})), 404),
        ("/api/v1/break-glass/00/revoke", json!({}), 404),
    ] {
        let (status, answer) = admin.post(path, body.clone()).await;
        assert_eq!(status, want, "{path} {body}: {answer}");
        let error = &answer["errors"][0];
        assert!(!error["details"].as_str().unwrap().is_empty(), "{answer}");
    }
    let fleet = &admin.status().await["fleet"];
    assert_eq!(
        (&fleet["states"], &fleet["break_glass"]),
        (&json!({}), &json!([]))
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refresh_exchanges_one_tenants_token_now() {
    let sidecar = TestSidecar::start().await;
    let before = sidecar.exchanges();
    let (code, body) = operator(&sidecar)
        .post("/api/v1/tenants/acme/refresh", json!({}))
        .await;
    assert_eq!((code, &body["refreshed"]), (200, &json!(true)), "{body}");
    assert_eq!(sidecar.exchanges(), before + 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reload_is_taken_whole_or_answered_with_what_check_says() {
    let sidecar = TestSidecar::start().await;
    let admin = operator(&sidecar);
    let (code, body) = admin.post("/api/v1/reload", json!({})).await;
    assert_eq!(code, 422, "{body}");
    let path = sidecar.folder.path().join("proxy.yaml");
    sidecar.app.follow(&path, sidecar.configuration(), |_| None);
    let bad = sidecar
        .configuration()
        .replace("region: na,", "region: us,");
    std::fs::write(&path, bad).unwrap();
    let (code, body) = admin.post("/api/v1/reload", json!({})).await;
    assert_eq!(code, 422, "{body}");
    let errors = body["errors"].as_array().unwrap();
    assert_eq!(errors.len(), 2);
    let message = errors[0]["message"].as_str().unwrap();
    assert!(
        message.contains("proxy.yaml:") && message.contains("tenants[0].region"),
        "{message}"
    );
    assert_eq!(errors[0]["details"], "write one of na, eu, fe");
    assert_eq!(admin.status().await["generation"], 0);
    std::fs::write(&path, sidecar.configuration()).unwrap();
    let (code, body) = admin.post("/api/v1/reload", json!({})).await;
    assert_eq!((code, &body["tenants"]), (200, &json!(2)), "{body}");
    assert!(admin.status().await["generation"].as_u64().unwrap() >= 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_shown_to_a_page_of_another_origin_nor_to_a_name_that_was_bound_to_us() {
    let sidecar = TestSidecar::start().await;
    let admin = operator(&sidecar);
    let client = reqwest::Client::new();
    for path in [
        "/",
        "/metrics",
        "/api/v1/status",
        "/api/v1/events",
        "/console/state",
        "/health/authz",
    ] {
        for (name, value, code) in [
            ("host", "rebound.example", "forbidden_host"),
            ("origin", "https://evil.example", "cross_origin"),
            ("origin", "null", "cross_origin"),
            ("sec-fetch-site", "cross-site", "cross_origin"),
            ("sec-fetch-site", "same-site", "cross_origin"),
        ] {
            let answer = client
                .get(admin.url(path))
                .header(name, value)
                .send()
                .await
                .unwrap();
            assert_eq!(answer.status(), 403, "{path} {name}: {value}");
            let body: Value = answer.json().await.unwrap();
            assert_eq!(body["errors"][0]["code"], code, "{path} {name}: {value}");
        }
    }
    // the console's own calls, and a link to it
    let own = admin.url("").trim_end_matches('/').to_owned();
    let asked = client
        .get(admin.url("/console/state"))
        .header("origin", own)
        .header("sec-fetch-site", "same-origin");
    assert_eq!(asked.send().await.unwrap().status(), 200);
    let link = client
        .get(admin.url("/"))
        .header("sec-fetch-site", "cross-site")
        .header("sec-fetch-mode", "navigate");
    assert_eq!(
        link.header("sec-fetch-dest", "document")
            .send()
            .await
            .unwrap()
            .status(),
        200
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_wrong_admin_tokens_wait_for_their_answers_no_more_are_compared() {
    let sidecar = TestSidecar::start().await;
    let admin = operator(&sidecar);
    let mut guesses = tokio::task::JoinSet::new();
    for n in 0..100 {
        let guess = reqwest::Client::new()
            .post(admin.url("/api/v1/reload"))
            .bearer_auth(format!("a-guess-at-the-token-{n}"));
        guesses.spawn(async move {
            let answer = guess.send().await.unwrap();
            let body: Value = answer.json().await.unwrap();
            body["errors"][0]["code"].as_str().unwrap().to_owned()
        });
    }
    let codes = guesses.join_all().await;
    // a second for eight of them: that few, unless the machine takes seconds over a hundred requests
    assert!(
        codes
            .iter()
            .all(|code| matches!(&**code, "admin_token_wrong" | "too_many_attempts")),
        "{codes:?}"
    );
    assert!(
        codes.iter().any(|code| code == "too_many_attempts"),
        "{codes:?}"
    );
}

/// Reads server-sent events until one of a name has come; all that came.
async fn heard_until(response: &mut reqwest::Response, name: &str) -> String {
    let mut text = String::new();
    while !text.contains(&format!("event: {name}\n")) || !text.ends_with("\n\n") {
        let chunk = tokio::time::timeout(std::time::Duration::from_secs(20), response.chunk());
        let chunk = chunk.await.expect("an event comes").unwrap().unwrap();
        text.push_str(std::str::from_utf8(&chunk).unwrap());
    }
    text
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn events_are_heard_as_they_happen_and_requests_once_a_second() {
    let sidecar = TestSidecar::start().await;
    let admin = operator(&sidecar);
    let mut response = reqwest::get(admin.url("/api/v1/events")).await.unwrap();
    assert_eq!(response.headers()["content-type"], "text/event-stream");
    heard_until(&mut response, "hello").await;
    for _ in 0..20 {
        sidecar.call(super::ORDERS, &[]).await;
    }
    let heard = heard_until(&mut response, "traffic").await;
    assert!(heard.matches("event:").count() < 20, "{heard}");
    set(&admin, "beta", "kill").await;
    let heard = heard_until(&mut response, "state").await;
    let line = heard
        .lines()
        .rfind(|line| line.starts_with("data: "))
        .unwrap();
    let state: Value = serde_json::from_str(&line["data: ".len()..]).unwrap();
    assert_eq!(
        (&state["tenant"], &state["state"]),
        (&json!("beta"), &json!("killed"))
    );
    assert!(!heard.contains("Atz"), "{heard}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_listener_does_not_hold_up_the_end() {
    let sidecar = TestSidecar::start().await;
    let admin = operator(&sidecar);
    let mut response = reqwest::get(admin.url("/api/v1/events")).await.unwrap();
    heard_until(&mut response, "hello").await;
    let left = sidecar.app.drain().await;
    assert!(left.is_empty(), "{left:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_sidecars_that_pace_know_of_each_other_until_one_ends() {
    let sidecar = TestSidecar::with(Setup {
        throttle: "{}".to_owned(),
        ..Setup::default()
    })
    .await;
    let other = super::another(&sidecar).await;
    let know = || {
        let fleets = [&sidecar.app, &other].map(|app| &app.shared().fleet);
        fleets.iter().any(|fleet| fleet.members() == 2)
    };
    // each announces itself within ten seconds of its start, and whoever is second sees both
    for _ in 0..500 {
        if know() {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(40)).await;
    }
    assert!(know());
    let left = other.drain().await;
    assert!(left.is_empty(), "{left:?}");
    let roll = sidecar.store().read(&RecordKey::Members).await.unwrap();
    let roll = roll.unwrap().fields["members"].expose().to_owned();
    assert_eq!(roll.matches("beats").count(), 1, "{roll}");
}
