//! The token endpoint: outages, refusals, rotation, and one exchange for all who wait.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};
use spapi_sidecar::sandbox::{AppRegistration, Options};
use spapi_sidecar::secret::{ClientId, ClientSecret, Opaque};
use spapi_sidecar::store::{Expect, GrantStore as _, RecordKey};
use spapi_sidecar::tenant::{AppId, TenantId};
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::support::peer::{Http1, Origin, soon, trouble};
use crate::support::sidecar::{NA, Setup, TestSidecar, eventually, refusal};

const LWA: &str = "api.amazon.com";

fn orders() -> String {
    format!("https://{NA}/orders/v0/orders?MarketplaceIds=ATVPDKIKX0DER")
}

fn app(secret: &str) -> AppRegistration {
    AppRegistration {
        client_id: ClientId::new("amzn1.application-oa2-client.canary".to_owned()),
        client_secret: ClientSecret::new(secret.to_owned()),
        old_secret: None,
    }
}

fn quick_lwa() -> Setup {
    Setup {
        sections: "lwa: { timeout: 1s }".to_owned(),
        ..Setup::default()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_a_token_lives_an_outage_of_lwa_costs_nothing() {
    for how in ["refuse", "hang", "reset"] {
        let sidecar = TestSidecar::start().await;
        trouble(&sidecar, json!({"lwa_down": how}));
        for _ in 0..5 {
            let response = soon("an answer", sidecar.client().get(orders()).send()).await;
            assert_eq!(response.unwrap().status(), 200, "{how}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_token_an_outage_of_lwa_is_named_and_nothing_is_sent() {
    for how in ["refuse", "hang", "reset"] {
        let sidecar = TestSidecar::with(quick_lwa()).await;
        trouble(&sidecar, json!({"expire_tokens_now": true}));
        trouble(&sidecar, json!({"lwa_down": how}));
        let client = sidecar.client();
        // this one finds out that the token is gone
        let response = client.get(orders()).send().await.unwrap();
        assert_eq!(refusal(response).await.1, "token_unavailable");
        let reached = sidecar.received().len();
        let response = client.get(orders()).send().await.unwrap();
        assert!(response.headers().contains_key("retry-after"), "{how}");
        let (status, code, details) = refusal(response).await;
        assert_eq!((status, &*code), (503, "token_unavailable"), "{how}");
        assert!(details.contains("LWA"), "{how}: {details}");
        assert_eq!(sidecar.received().len(), reached, "{how}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn when_lwa_is_back_calls_work_again_by_themselves() {
    let sidecar = TestSidecar::with(quick_lwa()).await;
    trouble(&sidecar, json!({"expire_tokens_now": true}));
    trouble(&sidecar, json!({"lwa_down": "refuse"}));
    let client = sidecar.client();
    let response = client.get(orders()).send().await.unwrap();
    assert_eq!(response.status(), 503);
    sidecar.sandbox.clear_faults();
    let from = Instant::now();
    loop {
        let response = client.get(orders()).send().await.unwrap();
        if response.status() == 200 {
            break;
        }
        assert!(from.elapsed() < Duration::from_secs(10));
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// What the first call is told when its token cannot be had.
async fn told(setup: Setup, wrong: Option<Value>) -> String {
    let sidecar = TestSidecar::with(setup).await;
    if let Some(wrong) = wrong {
        trouble(&sidecar, wrong);
        trouble(&sidecar, json!({"expire_tokens_now": true}));
    }
    let response = sidecar.client().get(orders()).send().await.unwrap();
    assert!(response.headers().contains_key("retry-after"));
    let (status, code, details) = refusal(response).await;
    assert_eq!((status, &*code), (503, "token_unavailable"));
    assert!(!details.contains("canary"), "{details}");
    details
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_revoked_grant_is_named_with_what_to_do() {
    let details = told(Setup::default(), Some(json!({"revoke_grant": true}))).await;
    assert!(details.contains("grant"), "{details}");
    assert!(details.contains("authorize"), "{details}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tenant_without_a_grant_in_the_store_is_told_how_to_put_one_there() {
    let setup = Setup {
        default_tenant: "beta".to_owned(),
        grants: vec!["acme"],
        ..Setup::default()
    };
    let details = told(setup, None).await;
    assert!(details.contains("grant"), "{details}");
    assert!(details.contains("put-token beta"), "{details}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_client_secret_is_told_apart_from_a_revoked_grant() {
    let setup = Setup {
        sandbox: Options {
            apps: vec![app("another")],
            ..Options::default()
        },
        ..Setup::default()
    };
    let details = told(setup, None).await;
    assert!(details.contains("secret"), "{details}");
    assert!(details.contains("app put"), "{details}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_next_client_secret_is_tried_and_takes_the_place_of_the_one_that_lapsed() {
    let sidecar = TestSidecar::start().await;
    let store = sidecar.store();
    let key = RecordKey::App(AppId::parse("erp").unwrap());
    let mut record = store.read(&key).await.unwrap().unwrap();
    let next = Opaque::new("amzn1.oa2-cs.v1.next".to_owned());
    record.fields.insert("client_secret_next".to_owned(), next);
    store.write(&key, record.fields, Expect::Any).await.unwrap();
    sidecar.sandbox.register_app(&app("amzn1.oa2-cs.v1.next"));
    trouble(&sidecar, json!({"expire_tokens_now": true}));
    let response = sidecar.client().get(orders()).send().await.unwrap();
    assert_eq!(response.status(), 200);
    let record = store.read(&key).await.unwrap().unwrap();
    let secret = record.fields.get("client_secret").map(Opaque::expose);
    assert_eq!(secret, Some("amzn1.oa2-cs.v1.next"));
    assert!(!record.fields.contains_key("client_secret_next"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refresh_token_that_lwa_replaces_is_stored_and_used_from_then_on() {
    let asked = Arc::new(Mutex::new(String::new()));
    let seen = Arc::clone(&asked);
    let origin = Origin::raw(LWA, move |text| {
        // the raw origin reads no bodies: a form stands before the next head
        seen.lock().unwrap().push_str(text);
        let body = json!({"access_token": "Atza|made-here", "refresh_token": "Atzr|second", "token_type": "bearer", "expires_in": 2}).to_string();
        format!("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}", body.len()).into_bytes()
    })
    .await;
    let sidecar = TestSidecar::with(Setup {
        connect_to: vec![origin.stands_for(LWA)],
        trusted: origin.pem.clone(),
        grants: vec!["acme"],
        ..Setup::default()
    })
    .await;
    let record = sidecar
        .store()
        .read(&RecordKey::Grant(TenantId::parse("acme").unwrap()))
        .await
        .unwrap()
        .unwrap();
    let stored = record.fields.get("refresh_token").map(Opaque::expose);
    assert_eq!(stored, Some("Atzr|second"));
    eventually("the stored token is used", || {
        asked
            .lock()
            .unwrap()
            .contains("refresh_token=Atzr%7Csecond")
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tokens_that_live_two_seconds_are_renewed_under_a_stream_of_calls() {
    let sidecar = TestSidecar::with(Setup {
        sandbox: Options {
            expires_in: Duration::from_secs(2),
            ..Options::default()
        },
        ..Setup::default()
    })
    .await;
    let before = sidecar.exchanges();
    let client = sidecar.client();
    let from = Instant::now();
    let mut calls = 0;
    while from.elapsed() < Duration::from_secs(5) {
        let response = client.get(orders()).send().await.unwrap();
        assert_eq!(response.status(), 200);
        calls += 1;
    }
    let received = sidecar.received();
    assert!(
        received.iter().all(|one| one.status == Some(200)),
        "{calls}"
    );
    assert!(sidecar.exchanges() > before + 2);
}

fn destination() -> String {
    format!("https://{NA}/notifications/v1/destinations")
}

fn token_requests(sidecar: &TestSidecar) -> usize {
    sidecar
        .sandbox
        .received()
        .iter()
        .filter(|one| one.host == LWA)
        .count()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_first_callers_share_one_exchange() {
    let sidecar = TestSidecar::start().await;
    trouble(&sidecar, json!({"latency_ms": 500, "host": LWA}));
    let before = token_requests(&sidecar);
    let client = sidecar.client_with(&["h2"], None);
    let mut calls = JoinSet::new();
    for _ in 0..100 {
        let call = client
            .post(destination())
            .json(&json!({"name": "n"}))
            .send();
        calls.spawn(async move { call.await.unwrap().status().as_u16() });
    }
    assert_eq!(calls.join_all().await, vec![200; 100]);
    assert_eq!(token_requests(&sidecar), before + 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_exchange_goes_on_for_the_others_when_the_first_caller_hangs_up() {
    let sidecar = TestSidecar::start().await;
    trouble(&sidecar, json!({"latency_ms": 500, "host": LWA}));
    let before = token_requests(&sidecar);
    let mut first = Http1::open(&sidecar, NA).await;
    let call = format!(
        "POST /notifications/v1/destinations HTTP/1.1\r\nhost: {NA}\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{{}}"
    );
    first.write(call).await;
    eventually("the exchange is under way", || {
        token_requests(&sidecar) == before + 1
    })
    .await;
    drop(first);
    let client = sidecar.client();
    let mut calls = JoinSet::new();
    for _ in 0..20 {
        let call = client
            .post(destination())
            .json(&json!({"name": "n"}))
            .send();
        calls.spawn(async move { call.await.unwrap().status().as_u16() });
    }
    assert_eq!(calls.join_all().await, vec![200; 20]);
    assert_eq!(token_requests(&sidecar), before + 1);
}
