//! Health and state: what probes and people read, without a token.
//!
//! Job: `/health/live`, `/health/ready`, `GET /api/v1/status`.
//! Invariants: nothing secret is in any of them; live says that the process answers, ready that it may take traffic.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use axum::Json;
use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use serde_json::json;
use tokio::sync::watch;

use super::Office;

/// What has to happen before traffic may come. The listeners are bound and the CA is written before this exists.
#[derive(Debug)]
pub struct Readiness {
    store_read: AtomicBool,
    /// Why it was not read when it was last tried.
    store_cause: Mutex<Option<&'static str>>,
    tenants_left: AtomicUsize,
    ready: watch::Sender<bool>,
}

impl Readiness {
    /// Waits for the store and for the first exchange of this many tenants.
    #[must_use]
    pub fn new(tenants: usize) -> Self {
        Self {
            store_read: AtomicBool::new(false),
            store_cause: Mutex::default(),
            tenants_left: AtomicUsize::new(tenants),
            ready: watch::Sender::new(false),
        }
    }

    /// The store has been read.
    pub fn store_was_read(&self) {
        self.store_read.store(true, Ordering::Release);
        self.check();
    }

    /// The store could not be read; the cause is [`crate::store::StoreError::cause`].
    pub fn store_was_not_read(&self, cause: &'static str) {
        let known = self.store_cause.lock();
        *known.unwrap_or_else(PoisonError::into_inner) = Some(cause);
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

    /// Whether everything has happened.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        *self.ready.borrow()
    }

    fn waiting_for(&self) -> Vec<String> {
        let mut waiting = Vec::new();
        if !self.store_read.load(Ordering::Acquire) {
            let cause = self.store_cause.lock();
            let cause = *cause.unwrap_or_else(PoisonError::into_inner);
            let cause = cause.map_or_else(String::new, |cause| format!(" ({cause})"));
            waiting.push(format!("the store to be read{cause}"));
        }
        let tenants = self.tenants_left.load(Ordering::Acquire);
        if tenants > 0 {
            waiting.push(format!("the first exchange of {tenants} tenant(s)"));
        }
        waiting
    }
}

/// What this file answers.
pub(super) fn routes() -> Router<Office> {
    Router::new()
        .route("/health/live", get(live))
        .route("/health/ready", get(ready))
        .route("/api/v1/status", get(status))
}

async fn live() -> Response {
    Json(json!({"status": "live"})).into_response()
}

async fn status(State(office): State<Office>) -> Response {
    Json((office.status)()).into_response()
}

async fn ready(State(office): State<Office>) -> Response {
    if office.tasks.is_stopping() {
        return (
            StatusCode::SERVICE_UNAVAILABLE,
            Json(json!({"status": "draining"})),
        )
            .into_response();
    }
    let waiting = office.readiness.waiting_for();
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

    #[tokio::test]
    async fn ready_is_what_happens_when_the_store_was_read_and_every_tenant_answered() {
        let readiness = Readiness::new(1);
        assert_eq!(readiness.waiting_for().len(), 2);
        readiness.store_was_not_read("store_sealed");
        let waiting = readiness.waiting_for();
        assert_eq!(waiting[0], "the store to be read (store_sealed)");
        readiness.store_was_read();
        readiness.tenant_has_answered();
        assert!(readiness.waiting_for().is_empty());
        readiness.wait().await;
    }
}
