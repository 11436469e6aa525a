//! Kill, quarantine and resume.

use serde_json::json;
use spapi_sidecar::phantom::Kind;
use spapi_sidecar::secret::Opaque;
use spapi_sidecar::store::{Expect, Fields, GrantStore, RecordKey};
use spapi_sidecar::tenant::{GrantKind, TenantId, TenantState};

use super::{ORDERS, another, operator, set};
use crate::support::sidecar::{NA, Setup, TestSidecar, eventually, fault};
use crate::support::wire::request;

fn acme() -> TenantId {
    TenantId::parse("acme").unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_tenant_is_refused_at_once_on_the_connections_it_has_open() {
    let sidecar = TestSidecar::start().await;
    let mut inside = sidecar.inside(NA).await;
    assert_eq!(inside.get(NA, ORDERS, &[]).await.status, 200);
    let (status, body) = set(&operator(&sidecar), "acme", "kill").await;
    assert_eq!((status, &body["state"]), (200, &json!("killed")), "{body}");
    let answer = inside.get(NA, ORDERS, &[]).await;
    let refusal = answer.refusal();
    assert_eq!(answer.refused(), (403, "tenant_killed".to_owned()));
    assert!(refusal.details.contains("ada") && refusal.details.contains("INC-1"));
    let tokens = r#"{"restrictedResources":[{"method":"GET","path":"/orders/v0/orders/{orderId}/address"}]}"#;
    let asked = request(
        "POST",
        NA,
        "/tokens/2021-03-01/restrictedDataToken",
        &[],
        tokens,
    );
    let answer = inside.ask(asked).await;
    assert_eq!(answer.refused(), (403, "tenant_killed".to_owned()));
    assert_eq!(sidecar.received().len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_kill_is_one_tenants_alone_and_the_token_endpoint_vends_all_the_same() {
    let sidecar = TestSidecar::start().await;
    set(&operator(&sidecar), "acme", "kill").await;
    let beta = sidecar.phantom(Kind::Access, "beta");
    let answer = sidecar
        .call("/orders/v0/orders", &[("x-amz-access-token", &beta)])
        .await;
    assert_eq!(answer.status, 200);
    let vended = sidecar
        .client()
        .post("https://api.amazon.com/auth/o2/token")
        .body("grant_type=refresh_token&refresh_token=anything")
        .send()
        .await
        .unwrap();
    assert_eq!(vended.status(), 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_in_flight_is_finished_when_its_tenant_is_killed() {
    let sidecar = TestSidecar::start().await;
    sidecar.sandbox.fault(fault(
        r#"{"latency_ms":1000,"path_prefix":"/_sandbox/sink"}"#,
    ));
    let mut inside = sidecar.inside(NA).await;
    inside
        .send(request("POST", NA, "/_sandbox/sink", &[], "hello"))
        .await;
    eventually("the request reaches Amazon", || {
        sidecar.received().len() == 1
    })
    .await;
    set(&operator(&sidecar), "acme", "kill").await;
    assert_eq!(inside.answer().await.status, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_tenant_has_no_token_and_gets_none_until_a_resume_that_says_why() {
    let sidecar = TestSidecar::start().await;
    let admin = operator(&sidecar);
    set(&admin, "acme", "kill").await;
    let status = admin.status().await;
    assert_eq!(status["tenants"][0]["id"], "acme");
    assert_eq!(status["tenants"][0]["token_is_fresh"], false);
    assert_eq!(status["fleet"]["states"]["acme"]["by"], "ada");
    let before = sidecar.exchanges();
    let (code, body) = admin.post("/api/v1/tenants/acme/refresh", json!({})).await;
    assert_eq!(code, 409, "{body}");
    let (code, body) = admin.post("/api/v1/tenants/acme/resume", json!({})).await;
    assert_eq!(code, 400, "{body}");
    assert!(
        body["errors"][0]["details"]
            .as_str()
            .unwrap()
            .contains("reason")
    );
    let answer = sidecar.call(ORDERS, &[]).await;
    assert_eq!(answer.refused(), (403, "tenant_killed".to_owned()));
    assert_eq!(sidecar.exchanges(), before);
    let (code, body) = set(&admin, "acme", "resume").await;
    assert_eq!((code, &body["state"]), (200, &json!("active")), "{body}");
    assert_eq!(sidecar.call(ORDERS, &[]).await.status, 200);
    assert_eq!(sidecar.exchanges(), before + 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_kill_empties_the_tenants_token_records_in_the_store() {
    let sidecar = TestSidecar::start().await;
    let store = sidecar.store();
    let kinds = [
        GrantKind::Refresh,
        GrantKind::Grantless("sellingpartnerapi::notifications".into()),
    ];
    let keys = kinds.map(|kind| RecordKey::Token(acme(), kind));
    for key in &keys {
        let fields = [
            ("token", "Atza|canary"),
            ("generation", "7"),
            ("nonce", "n"),
        ]
        .map(|(name, value)| (name.to_owned(), Opaque::new(value.to_owned())));
        store
            .write(key, Fields::from(fields), Expect::Any)
            .await
            .unwrap();
    }
    let (code, body) = set(&operator(&sidecar), "acme", "kill").await;
    assert_eq!(code, 200, "{body}");
    for key in &keys {
        let record = store.read(key).await.unwrap().unwrap();
        let token = record.fields.get("token").map(Opaque::expose);
        assert!(token.is_none_or(str::is_empty), "{key}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_quarantined_tenant_is_told_so_until_it_is_resumed() {
    let sidecar = TestSidecar::start().await;
    let admin = operator(&sidecar);
    let (code, body) = set(&admin, "acme", "quarantine").await;
    assert_eq!(
        (code, &body["state"]),
        (200, &json!("quarantined")),
        "{body}"
    );
    let answer = sidecar.call(ORDERS, &[]).await;
    assert_eq!(answer.refused(), (503, "tenant_quarantined".to_owned()));
    set(&admin, "acme", "kill").await;
    let (code, body) = set(&admin, "acme", "quarantine").await;
    assert_eq!(
        (code, &body["errors"][0]["code"]),
        (409, &json!("tenant_killed"))
    );
    set(&admin, "acme", "resume").await;
    assert_eq!(sidecar.call(ORDERS, &[]).await.status, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_kill_reaches_the_other_sidecars_of_the_store_and_survives_a_restart() {
    let sidecar = TestSidecar::start().await;
    let other = another(&sidecar).await;
    set(&operator(&sidecar), "acme", "kill").await;
    let state = |app: &spapi_sidecar::app::App| app.shared().fleet.state(&acme());
    // `eventually` waits for ten seconds, which is what is promised
    eventually("the other sidecar follows", || {
        state(&other) == TenantState::Killed
    })
    .await;
    let restarted = another(&sidecar).await;
    assert_eq!(state(&restarted), TenantState::Killed);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_kill_that_the_store_does_not_take_holds_here_says_so_and_is_written_later() {
    let sidecar = TestSidecar::start().await;
    let admin = operator(&sidecar);
    let lock = sidecar.folder.path().join("store.sealed.lock");
    std::fs::remove_file(&lock).unwrap();
    // a folder in the place of the lock: nothing can be written, and everything read
    std::fs::create_dir(&lock).unwrap();
    let (code, body) = set(&admin, "acme", "kill").await;
    let error = &body["errors"][0];
    assert_eq!((code, &error["code"]), (503, &json!("store_unavailable")));
    let message = error["message"].as_str().unwrap();
    assert!(message.contains("killed in this sidecar"), "{message}");
    let answer = sidecar.call(ORDERS, &[]).await;
    assert_eq!(answer.refused(), (403, "tenant_killed".to_owned()));
    // what nobody else knows yet may be taken back here
    let (code, body) = set(&admin, "acme", "resume").await;
    assert_eq!((code, &body["changed"]), (200, &json!(true)), "{body}");
    assert_eq!(sidecar.call(ORDERS, &[]).await.status, 200);
    assert_eq!(set(&admin, "acme", "kill").await.0, 503);
    std::fs::remove_dir(&lock).unwrap();
    let store = sidecar.store();
    let mut written = false;
    for _ in 0..500 {
        let record = store.read(&RecordKey::Fleet).await.unwrap();
        written = record.is_some_and(|record| record.fields["states"].expose().contains("killed"));
        if written {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    assert!(written, "the kill was never written");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_is_served_before_the_store_has_said_who_is() {
    let sidecar = TestSidecar::with(Setup {
        records: vec![(RecordKey::Fleet, "states", "not an object".to_owned())],
        gets_ready: false,
        ..Setup::default()
    })
    .await;
    let answer = sidecar.call(ORDERS, &[]).await;
    assert_eq!(answer.refused(), (503, "token_unavailable".to_owned()));
    assert!(answer.refusal().details.starts_with("store:"));
    assert_eq!(sidecar.exchanges(), 0);
    let mended = Fields::from([("states".to_owned(), Opaque::new("{}".to_owned()))]);
    sidecar
        .store()
        .write(&RecordKey::Fleet, mended, Expect::Any)
        .await
        .unwrap();
    sidecar.app.ready().await;
    assert_eq!(sidecar.call(ORDERS, &[]).await.status, 200);
}
