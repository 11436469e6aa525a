//! The API server of a Kubernetes cluster, as far as Vault asks it.

use axum::extract::Request;
use axum::http::StatusCode;
use axum::response::IntoResponse;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use super::vault::{SIDECAR_POLICY, TestVault};

/// Has a Vault log in, at this mount and by the role `sidecar`, whom the cluster knows as `shop`'s service account.
pub(crate) async fn trusted_by(vault: &TestVault, mount: &str) {
    vault.policy("sidecar", SIDECAR_POLICY).await;
    let kind = json!({"type": "kubernetes"});
    vault.api("POST", &format!("sys/auth/{mount}"), kind).await;
    let settings = json!({
        "kubernetes_host": format!("http://{}", cluster().await),
        // over plain HTTP nothing is checked with it, but Vault wants one
        "kubernetes_ca_cert": some_certificate(),
        "token_reviewer_jwt": "the-reviewer", "disable_local_ca_jwt": true, "disable_iss_validation": true
    });
    let path = format!("auth/{mount}/config");
    vault.api("POST", &path, settings).await;
    let role = json!({
        "bound_service_account_names": ["sidecar"], "bound_service_account_namespaces": ["shop"],
        "audience": "vault", "token_policies": ["sidecar"]
    });
    let path = format!("auth/{mount}/role/sidecar");
    vault.api("POST", &path, role).await;
}

/// The API server of a cluster, as far as Vault asks it: whose a service account's token is.
async fn cluster() -> std::net::SocketAddr {
    async fn review(request: Request) -> axum::response::Response {
        let path = request.uri().path().to_owned();
        let reviewer = request.headers().get("authorization").cloned();
        let body = axum::body::to_bytes(request.into_body(), 1 << 20).await;
        let asked: Value = serde_json::from_slice(&body.unwrap()).unwrap_or_default();
        let expected = reviewer.is_some_and(|reviewer| reviewer == "Bearer the-reviewer");
        if path != "/apis/authentication.k8s.io/v1/tokenreviews" || !expected {
            return StatusCode::FORBIDDEN.into_response();
        }
        let known = asked["spec"]["token"] == service_account("shop");
        let status = if known {
            json!({"authenticated": true, "audiences": ["vault"], "user": {
                "username": "system:serviceaccount:shop:sidecar", "uid": "8b1f",
                "groups": ["system:serviceaccounts", "system:serviceaccounts:shop"]
            }})
        } else {
            json!({"authenticated": false, "error": "no such token"})
        };
        let review = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "status": status});
        (StatusCode::CREATED, axum::Json(review)).into_response()
    }
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let mut tasks = tokio::task::JoinSet::new();
    let router = axum::Router::new().fallback(review);
    tasks.spawn(async move { axum::serve(listener, router).await });
    tasks.detach_all();
    address
}

/// A service account's token: Vault reads whose it says it is, and leaves it to the cluster whether that is so.
pub(crate) fn service_account(namespace: &str) -> String {
    let part = |value: Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let head = part(json!({"alg": "RS256", "kid": "made-up"}));
    let claims = part(json!({
        "iss": "kubernetes/serviceaccount", "aud": ["vault"], "sub": format!("system:serviceaccount:{namespace}:sidecar"),
        "kubernetes.io/serviceaccount/namespace": namespace,
        "kubernetes.io/serviceaccount/service-account.name": "sidecar",
        "kubernetes.io/serviceaccount/service-account.uid": "8b1f",
        "exp": 4_102_444_800_u64, "iat": 1_700_000_000_u64
    }));
    format!("{head}.{claims}.{}", URL_SAFE_NO_PAD.encode([0x5a; 256]))
}

fn some_certificate() -> String {
    let key = rcgen::KeyPair::generate().unwrap();
    let params = rcgen::CertificateParams::new(vec!["cluster.example".to_owned()]).unwrap();
    params.self_signed(&key).unwrap().pem()
}
