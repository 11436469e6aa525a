//! The admin listener: health, on an address of its own.
//!
//! Job: answer probes.
//! Invariants: nothing secret is reachable here; Host has to be a loopback name or the address that was called, so that no web
//! page can reach it by DNS rebinding; no CORS.
//! Failure mode: 403 for a foreign Host, 404 for anything unknown.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use axum::Json;
use axum::Router;
use axum::extract::{Request, State};
use axum::http::{StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use serde_json::json;
use tokio::net::TcpListener;
use tokio::sync::watch;

use crate::name::{Authority, Host};
use crate::task::Tasks;

/// What has to happen before traffic may come. The listeners are bound and the CA is written before this exists.
#[derive(Debug)]
pub struct Readiness {
    store_read: AtomicBool,
    tenants_left: AtomicUsize,
    ready: watch::Sender<bool>,
}

impl Readiness {
    /// Waits for the store and for the first exchange of this many tenants.
    #[must_use]
    pub fn new(tenants: usize) -> Self {
        Self {
            store_read: AtomicBool::new(false),
            tenants_left: AtomicUsize::new(tenants),
            ready: watch::Sender::new(false),
        }
    }

    /// The store has been read.
    pub fn store_was_read(&self) {
        self.store_read.store(true, Ordering::Release);
        self.check();
    }

    /// A standing tenant's first exchange has ended, well or badly.
    pub fn tenant_has_answered(&self) {
        self.tenants_left.fetch_sub(1, Ordering::AcqRel);
        self.check();
    }

    /// Completes when everything has happened.
    pub async fn wait(&self) {
        let mut ready = self.ready.subscribe();
        // the sender is ours, so it cannot be gone
        let _never_gone = ready.wait_for(|ready| *ready).await.is_ok();
    }

    fn check(&self) {
        if self.store_read.load(Ordering::Acquire) && self.tenants_left.load(Ordering::Acquire) == 0
        {
            self.ready.send_replace(true);
        }
    }

    fn waiting_for(&self) -> Vec<String> {
        let mut waiting = Vec::new();
        if !self.store_read.load(Ordering::Acquire) {
            waiting.push("the store to be read".to_owned());
        }
        let tenants = self.tenants_left.load(Ordering::Acquire);
        if tenants > 0 {
            waiting.push(format!("the first exchange of {tenants} tenant(s)"));
        }
        waiting
    }
}

/// What the admin listener answers from: handles that the composition root hands over.
#[derive(Clone)]
pub struct Office {
    /// What has to happen first.
    pub readiness: Arc<Readiness>,
    /// The sidecar's state as JSON, without secrets.
    pub status: Arc<dyn Fn() -> serde_json::Value + Send + Sync>,
    /// To know of a drain.
    pub tasks: Tasks,
}

impl std::fmt::Debug for Office {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Office").finish_non_exhaustive()
    }
}

/// Serves until the drain begins.
pub async fn serve(listener: TcpListener, office: Office) {
    let own = listener.local_addr().ok();
    let tasks = office.tasks.clone();
    let router = Router::new()
        .route("/health/live", get(live))
        .route("/health/ready", get(ready))
        .route("/api/v1/status", get(status))
        .layer(middleware::from_fn_with_state(own, only_known_hosts))
        .with_state(office);
    if let Err(error) = axum::serve(listener, router)
        .with_graceful_shutdown(tasks.stopping())
        .await
    {
        tracing::error!(%error, "the admin listener ended");
    }
}

async fn only_known_hosts(
    State(own): State<Option<SocketAddr>>,
    request: Request,
    next: Next,
) -> Response {
    let host = request
        .headers()
        .get(header::HOST)
        .and_then(|host| host.to_str().ok())
        .and_then(|host| Authority::parse_with_default(host, 80).ok());
    if host.is_some_and(|host| is_known(&host.host, own)) {
        return next.run(request).await;
    }
    let body = json!({"errors": [{"code": "forbidden_host", "message": "This Host is not served here.", "details": "Call the admin listener by its address or as localhost."}]});
    (StatusCode::FORBIDDEN, Json(body)).into_response()
}

/// Loopback, `localhost`, or the very address we listen on.
fn is_known(host: &Host, own: Option<SocketAddr>) -> bool {
    match host {
        Host::Name(name) => name.as_str() == "localhost",
        Host::Ip(ip) => {
            ip.is_loopback()
                || own.is_some_and(|own| {
                    own.ip() == *ip || (own.ip().is_unspecified() && !ip.is_unspecified())
                })
        }
    }
}

async fn live() -> Response {
    Json(json!({"status": "live"})).into_response()
}

async fn status(State(admin): State<Office>) -> Response {
    Json((admin.status)()).into_response()
}

async fn ready(State(admin): State<Office>) -> Response {
    if admin.tasks.is_stopping() {
        return (
            StatusCode::SERVICE_UNAVAILABLE,
            Json(json!({"status": "draining"})),
        )
            .into_response();
    }
    let waiting = admin.readiness.waiting_for();
    if waiting.is_empty() {
        return Json(json!({"status": "ready"})).into_response();
    }
    (
        StatusCode::SERVICE_UNAVAILABLE,
        Json(json!({"status": "waiting", "waiting_for": waiting})),
    )
        .into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_loopback_and_the_own_address_are_known_hosts() {
        let own = Some("10.1.2.3:9902".parse().unwrap());
        for (host, want) in [
            ("localhost", true),
            ("127.0.0.1", true),
            ("[::1]", true),
            ("10.1.2.3", true),
            ("10.1.2.4", false),
            ("evil.example", false),
        ] {
            assert_eq!(is_known(&Host::parse(host).unwrap(), own), want, "{host}");
        }
    }

    #[tokio::test]
    async fn ready_is_what_happens_when_the_store_was_read_and_every_tenant_answered() {
        let readiness = Readiness::new(1);
        assert_eq!(readiness.waiting_for().len(), 2);
        readiness.store_was_read();
        readiness.tenant_has_answered();
        assert!(readiness.waiting_for().is_empty());
        readiness.wait().await;
    }
}
