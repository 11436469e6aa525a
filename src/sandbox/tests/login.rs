//! Login with Amazon.

use serde_json::json;

use super::{LWA, Scene, get, post};
use crate::sandbox::{AppRegistration, GrantRegistration, Options};
use crate::secret::{ClientId, ClientSecret, RefreshToken};

#[tokio::test]
async fn a_refresh_grant_answers_in_amazons_shape_for_forms_and_json() {
    let scene = Scene::start().await;
    let form = post(
        LWA,
        "/auth/o2/token",
        // a raw `|`, as one client sends it
        "grant_type=refresh_token&client_id=app&client_secret=secret&refresh_token=Atzr|one",
    )
    .header(
        "content-type",
        "application/x-www-form-urlencoded;charset=UTF-8",
    );
    let body = json!({
        "grant_type": "refresh_token",
        "client_id": "app",
        "client_secret": "secret",
        "refresh_token": "Atzr|one",
    });
    let as_json = post(LWA, "/auth/o2/token", body.to_string())
        .header("content-type", "application/json; charset=utf-8");
    for ask in [form, as_json] {
        let reply = scene.send(ask).await;
        assert_eq!(reply.status, 200);
        assert_eq!(reply.headers["cache-control"], "no-store");
        assert_eq!(reply.headers["content-type"], "application/json");
        let answer = reply.json();
        let token = answer["access_token"].as_str().unwrap();
        assert!(token.starts_with("Atza|") && token.len() > 300 && token.len() < 2048);
        assert_eq!(answer["refresh_token"], "Atzr|one");
        assert_eq!(answer["token_type"], "bearer");
        assert_eq!(answer["expires_in"], 3600);
    }
}

#[tokio::test]
async fn a_refresh_token_that_was_replaced_is_void_and_its_successor_stands_for_the_same_grant() {
    let scene = Scene::start().await;
    scene.fault(r#"{"rotate_refresh_token":true}"#);
    let exchange = async |token: &str| {
        let fields = [
            ("grant_type", "refresh_token"),
            ("client_id", "app"),
            ("client_secret", "secret"),
            ("refresh_token", token),
        ];
        scene.login(&fields).await.json()
    };
    let first = exchange("Atzr|one").await;
    let fresh = first["refresh_token"].as_str().unwrap();
    assert!(fresh.starts_with("Atzr|") && fresh != "Atzr|one");
    assert_eq!(exchange("Atzr|one").await["error"], "invalid_grant");
    let second = exchange(fresh).await;
    assert!(second["access_token"].is_string(), "{second}");
    assert_ne!(second["refresh_token"], first["refresh_token"]);
}

#[tokio::test]
async fn every_refusal_has_amazons_status_and_words() {
    let scene = Scene::start().await;
    let client = [("client_id", "app"), ("client_secret", "secret")];
    scene
        .login(&[
            ("grant_type", "client_credentials"),
            client[0],
            client[1],
            ("scope", "sellingpartnerapi::notifications"),
        ])
        .await;
    let refresh = ("grant_type", "refresh_token");
    for (fields, status, error, description) in [
        (
            vec![],
            400,
            "invalid_request",
            "missing a required parameter : grant_type",
        ),
        (
            vec![refresh, client[0], client[1]],
            400,
            "invalid_request",
            "missing a required parameter : refresh_token",
        ),
        (
            vec![refresh, client[0], client[1], ("refresh_token", "nonsense")],
            400,
            "invalid_grant",
            "invalid grant parameter : refresh_token",
        ),
        (
            vec![
                refresh,
                client[0],
                ("client_secret", "other"),
                ("refresh_token", "Atzr|x"),
            ],
            401,
            "invalid_client",
            "Client authentication failed",
        ),
        (
            vec![("grant_type", "password"), client[0], client[1]],
            400,
            "unsupported_grant_type",
            "not supported",
        ),
        (
            vec![
                ("grant_type", "client_credentials"),
                client[0],
                client[1],
                ("scope", "profile"),
            ],
            400,
            "invalid_scope",
            "invalid parameter : scope",
        ),
        (
            vec![
                ("grant_type", "authorization_code"),
                client[0],
                client[1],
                ("code", "c"),
            ],
            400,
            "invalid_request",
            "redirect_uri",
        ),
    ] {
        let reply = scene.login(&fields).await;
        assert_eq!(reply.status, status, "{error}");
        assert_eq!(reply.json()["error"], error);
        let said = reply.json()["error_description"].to_string();
        assert!(said.contains(description), "{said}");
    }
    assert_eq!(scene.send(get(LWA, "/auth/o2/token")).await.status, 405);
    assert_eq!(scene.send(get(LWA, "/")).await.status, 404);
}

#[tokio::test]
async fn a_code_is_redeemed_once_for_a_grant_of_its_own() {
    let scene = Scene::start().await;
    let fields = [
        ("grant_type", "authorization_code"),
        ("client_id", "app"),
        ("client_secret", "secret"),
        ("code", "a-code"),
        ("redirect_uri", "https://app.example/callback"),
    ];
    let first = scene.login(&fields).await.json();
    let refresh_token = first["refresh_token"].as_str().unwrap();
    assert!(refresh_token.starts_with("Atzr|"));
    assert!(scene.access_token(refresh_token).await.starts_with("Atza|"));
    let second = scene.login(&fields).await;
    assert_eq!(second.status, 400);
    assert_eq!(second.json()["error"], "invalid_grant");
}

#[tokio::test]
async fn a_grant_of_one_app_is_no_grant_of_another() {
    let mut grant = GrantRegistration::new(RefreshToken::new("Atzr|bound".into()), "acme");
    grant.client_id = Some(ClientId::new("other-app".into()));
    let scene = Scene::with(Options {
        grants: vec![grant],
        ..Options::default()
    })
    .await;
    let fields = |client| {
        [
            ("grant_type", "refresh_token"),
            ("client_id", client),
            ("client_secret", "secret"),
            ("refresh_token", "Atzr|bound"),
        ]
    };
    assert_eq!(
        scene.login(&fields("app")).await.json()["error"],
        "invalid_grant"
    );
    assert_eq!(scene.login(&fields("other-app")).await.status, 200);
}

#[tokio::test]
async fn a_rotated_secret_refuses_the_old_one() {
    let scene = Scene::start().await;
    scene.access_token("Atzr|one").await;
    scene.sandbox.register_app(&AppRegistration {
        client_id: ClientId::new("app".into()),
        client_secret: ClientSecret::new("new".into()),
        old_secret: None,
    });
    let fields = |secret| {
        [
            ("grant_type", "refresh_token"),
            ("client_id", "app"),
            ("client_secret", secret),
            ("refresh_token", "Atzr|one"),
        ]
    };
    assert_eq!(scene.login(&fields("secret")).await.status, 401);
    assert_eq!(scene.login(&fields("new")).await.status, 200);
}

#[tokio::test]
async fn an_exchange_is_recorded_without_its_secrets() {
    let scene = Scene::start().await;
    let token = scene.access_token("Atzr|canary-refresh").await;
    let received = scene.sandbox.received();
    let exchange = received[0].exchange.clone().unwrap();
    assert_eq!(exchange.grant_type, "refresh_token");
    assert_eq!(exchange.result, "ok");
    assert_eq!(exchange.subject.unwrap().kind, "refresh");
    let text = serde_json::to_string(&received).unwrap() + &format!("{received:?}");
    assert!(!text.contains("canary-refresh") && !text.contains(&token));
}
