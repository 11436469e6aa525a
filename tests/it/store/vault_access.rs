//! Reaching Vault: whom we trust, what we wait for, and what each kind of failure is called.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::Router;
use axum::extract::Request;
use axum::http::StatusCode;
use axum::response::IntoResponse;
use futures_util::future::join_all;
use serde_json::{Value, json};
use spapi_sidecar::config::{VaultAuth, VaultStore as Config};
use spapi_sidecar::store::vault::VaultStore;
use spapi_sidecar::store::{Expect, Folder, GrantStore};

use super::contract::{app, fields};
use crate::support::vault::{SIDECAR_POLICY, TestVault};

async fn cause_of_reading(config: &Config) -> (&'static str, String) {
    let store = VaultStore::new(config).unwrap();
    let error = store.read(&app("erp")).await.unwrap_err();
    (error.cause(), error.to_string())
}

#[tokio::test]
async fn a_store_that_seals_or_dies_says_so() {
    let Some(mut vault) = TestVault::start().await else {
        return;
    };
    let store = VaultStore::new(&vault.root_config()).unwrap();
    assert!(store.read(&app("erp")).await.unwrap().is_none());
    vault.api("PUT", "sys/seal", Value::Null).await;
    let error = store.read(&app("erp")).await.unwrap_err();
    assert_eq!(error.cause(), "store_sealed", "{error}");
    let write = store
        .write(&app("erp"), fields(&[("a", "b")]), Expect::Any)
        .await;
    assert_eq!(write.unwrap_err().cause(), "store_sealed");
    assert_eq!(
        cause_of_reading(&vault.root_config()).await.0,
        "store_sealed"
    );

    vault.stop();
    let error = store.read(&app("erp")).await.unwrap_err();
    assert_eq!(error.cause(), "store_unreachable", "{error}");
}

#[tokio::test]
async fn only_the_named_ca_is_trusted() {
    let Some(vault) = TestVault::start_tls().await else {
        return;
    };
    let mut config = vault.root_config();
    assert_eq!(config.ca_file, vault.ca_file());
    let store = VaultStore::new(&config).unwrap();
    assert!(store.read(&app("erp")).await.unwrap().is_none());

    let key = rcgen::KeyPair::generate().unwrap();
    let params = rcgen::CertificateParams::new(vec!["other.example".to_owned()]).unwrap();
    let other = params.self_signed(&key).unwrap().pem();
    config.ca_file = Some(vault.file("other-ca.pem", &other));
    let (cause, text) = cause_of_reading(&config).await;
    assert_eq!(cause, "store_unreachable", "{text}");
    assert!(text.contains("UnknownIssuer"), "{text}");

    config.ca_file = None;
    let (cause, text) = cause_of_reading(&config).await;
    assert_eq!(cause, "store_unreachable", "{text}");
}

#[tokio::test]
async fn a_ca_file_without_a_certificate_is_refused_at_once() {
    let Some(vault) = TestVault::start_tls().await else {
        return;
    };
    let mut config = vault.root_config();
    for text in ["", "not PEM"] {
        config.ca_file = Some(vault.file("empty.pem", text));
        let error = VaultStore::new(&config).unwrap_err();
        assert!(error.to_string().contains("empty.pem"), "{error}");
    }
}

/// Answers every request in one way, and counts them.
async fn stand_in(
    answer: fn(&Request) -> axum::response::Response,
) -> (SocketAddr, Arc<AtomicUsize>) {
    crate::support::crypto();
    let seen = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&seen);
    let router = Router::new().fallback(move |request: Request| {
        count.fetch_add(1, Ordering::SeqCst);
        async move { answer(&request) }
    });
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let mut tasks = tokio::task::JoinSet::new();
    tasks.spawn(async move { axum::serve(listener, router).await });
    tasks.detach_all();
    (address, seen)
}

fn config(folder: &tempfile::TempDir, address: SocketAddr, auth: &str) -> Config {
    let file = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    };
    Config {
        address: format!("http://{address}").parse().unwrap(),
        namespace: Some("team-a".to_owned()),
        ca_file: None,
        auth: if auth == "token" {
            VaultAuth::TokenFile(file("token", "s.made-up"))
        } else {
            VaultAuth::Kubernetes {
                role: "sidecar".to_owned(),
                jwt_file: file("jwt", "made.up.jwt\n"),
                mount: "k8s/eu".to_owned(),
            }
        },
        kv_mount: "kv".to_owned(),
        prefix: "spapi-sidecar".to_owned(),
        transit: None,
        share_tokens: true,
        next_hop: None,
    }
}

#[tokio::test]
async fn a_redirect_is_not_followed_and_the_token_stays_here() {
    fn redirect(request: &Request) -> axum::response::Response {
        let target = request.uri().path().to_owned();
        let host = request.headers()["host"].to_str().unwrap();
        // another name for the same listener: if it were followed, this would be asked twice
        let port = host.rsplit(':').next().unwrap();
        let location = format!("http://localhost:{port}{target}");
        (StatusCode::TEMPORARY_REDIRECT, [("location", location)]).into_response()
    }
    let (address, seen) = stand_in(redirect).await;
    let folder = tempfile::tempdir().unwrap();
    let (cause, text) = cause_of_reading(&config(&folder, address, "token")).await;
    assert_eq!(cause, "store_standby", "{text}");
    assert_eq!(seen.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn a_server_that_says_nothing_is_given_up_after_two_seconds() {
    crate::support::crypto();
    // connections are accepted by the kernel and never served
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let folder = tempfile::tempdir().unwrap();
    let config = config(&folder, listener.local_addr().unwrap(), "token");
    let started = tokio::time::Instant::now();
    let (cause, text) = cause_of_reading(&config).await;
    assert_eq!(cause, "store_timeout", "{text}");
    assert!(started.elapsed() < Duration::from_secs(4));
}

#[tokio::test]
async fn many_callers_share_one_failing_login() {
    fn down(_request: &Request) -> axum::response::Response {
        (StatusCode::BAD_GATEWAY, "<html>canary</html>").into_response()
    }
    let (address, seen) = stand_in(down).await;
    let folder = tempfile::tempdir().unwrap();
    let store = VaultStore::new(&config(&folder, address, "kubernetes")).unwrap();
    let keys: Vec<_> = (0..50).map(|n| app(&format!("app-{n}"))).collect();
    for outcome in join_all(keys.iter().map(|key| store.read(key))).await {
        let error = outcome.unwrap_err();
        assert_eq!(error.cause(), "store_unreachable", "{error}");
        assert!(!error.to_string().contains("canary"), "{error}");
    }
    assert_eq!(seen.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn kubernetes_logs_in_with_the_service_accounts_jwt_in_the_namespace() {
    fn answer(request: &Request) -> axum::response::Response {
        let header = |name: &str| request.headers().get(name).map(|v| v.to_str().unwrap());
        assert_eq!(header("x-vault-namespace"), Some("team-a"));
        let body = match (request.method().as_str(), request.uri().path()) {
            ("POST", "/v1/auth/k8s/eu/login") => {
                assert_eq!(header("x-vault-token"), None);
                json!({"auth": {"client_token": "hvs.x", "lease_duration": 60, "renewable": true}})
            }
            ("GET", "/v1/kv/data/spapi-sidecar/apps/erp") => {
                assert_eq!(header("x-vault-token"), Some("hvs.x"));
                json!({"data": {"data": {"client_id": "a"}, "metadata": {"version": 3}}})
            }
            _other => return StatusCode::NOT_IMPLEMENTED.into_response(),
        };
        axum::Json(body).into_response()
    }
    let (address, _seen) = stand_in(answer).await;
    let folder = tempfile::tempdir().unwrap();
    let store = VaultStore::new(&config(&folder, address, "kubernetes")).unwrap();
    let record = store.read(&app("erp")).await.unwrap().unwrap();
    assert_eq!(record.version, 3);
}

#[tokio::test]
async fn an_answer_that_is_not_vaults_is_refused_and_not_quoted() {
    fn page(_request: &Request) -> axum::response::Response {
        axum::response::Html("<html>canary</html>").into_response()
    }
    let (address, _seen) = stand_in(page).await;
    let folder = tempfile::tempdir().unwrap();
    let (cause, text) = cause_of_reading(&config(&folder, address, "token")).await;
    assert_eq!(cause, "store_protocol", "{text}");
    assert!(!text.contains("canary"), "{text}");
}

/// Everything that is logged on this thread while the guard lives.
#[derive(Clone, Default)]
struct Sink(Arc<std::sync::Mutex<Vec<u8>>>);

impl std::io::Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn no_secret_is_logged_at_any_level() {
    let Some(vault) = TestVault::start().await else {
        return;
    };
    let role_id = vault.role("sidecar", SIDECAR_POLICY, json!({})).await;
    let wrapped = vault.wrapped_secret_id("sidecar").await;
    let made = json!({"policies": ["sidecar"], "period": "1h"});
    let made = vault.api("POST", "auth/token/create", made).await;
    let token = made["auth"]["client_token"].as_str().unwrap().to_owned();
    let logins = [
        vault.approle(&role_id, &wrapped, true),
        VaultAuth::TokenFile(vault.file("token", &token)),
    ];

    let sink = Sink::default();
    let writer = sink.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_writer(move || writer.clone())
        .finish();
    let logging = tracing::subscriber::set_default(subscriber);
    for (n, auth) in logins.into_iter().enumerate() {
        let store = VaultStore::new(&vault.config(auth)).unwrap();
        let key = app(&format!("app-{n}"));
        let secret = fields(&[("client_secret", "canary-5f2e")]);
        let version = store
            .write(&key, secret.clone(), Expect::Absent)
            .await
            .unwrap();
        store.read(&key).await.unwrap();
        store
            .write(&key, secret.clone(), Expect::Absent)
            .await
            .unwrap_err();
        let write = store.write(&key, secret, Expect::Version(version));
        write.await.unwrap();
        store.list(Folder::Apps).await.unwrap();
        // refused by the policy, and looked into
        let mut denied = vault.config(VaultAuth::TokenFile(vault.file("token", &token)));
        denied.prefix = "elsewhere".to_owned();
        assert_eq!(cause_of_reading(&denied).await.0, "store_denied");
    }
    drop(logging);

    let logged = String::from_utf8_lossy(&sink.0.lock().unwrap()).into_owned();
    // it did listen: the HTTP client speaks too; what libraries would say below debug is not in the program
    assert!(logged.contains("logged in to the store"), "{logged}");
    assert!(logged.contains("hyper_util"), "{logged}");
    assert!(!logged.contains("TRACE"), "{logged}");
    for secret in ["canary", &role_id, &wrapped, &token] {
        assert!(!logged.contains(secret), "a secret was logged");
    }
}
