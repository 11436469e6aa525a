//! Whether tenants' authorization holds, and why not.
//!
//! Job: `/health/authz` in the contract's exact shape, and `/api/v1/diagnosis`, with evidence and next steps, for `diagnose`.
//! Invariants: nothing is asked of Amazon on demand; no token is needed to read, and none is shown.
//! Failure mode: 503 where a tenant's calls cannot succeed, 404 for a tenant that is not served here.
//! Source: CONTRACT section 4.

use std::sync::Arc;

use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use serde::Deserialize;
use serde_json::{Value, json};

use super::Office;
use crate::store::BoxFuture;
use crate::verdict::cause::Severity;
use crate::verdict::report::Health;

/// The verdicts on all tenants, or on one; nothing where there is no such tenant.
pub type Verdicts = Arc<dyn Fn(Option<String>) -> BoxFuture<'static, Option<Health>> + Send + Sync>;

#[derive(Deserialize)]
struct Asked {
    tenant: Option<String>,
}

pub(super) fn routes() -> Router<Office> {
    Router::new()
        .route("/health/authz", get(authz))
        .route("/api/v1/diagnosis", get(diagnosis))
}

async fn authz(State(office): State<Office>, Query(asked): Query<Asked>) -> Response {
    answer(&office, asked, Health::authz).await
}

async fn diagnosis(State(office): State<Office>, Query(asked): Query<Asked>) -> Response {
    answer(&office, asked, Health::diagnosis).await
}

async fn answer(office: &Office, asked: Asked, body: fn(&Health) -> Value) -> Response {
    let Some(health) = (office.verdicts)(asked.tenant).await else {
        let body = json!({"errors": [{"code": "tenant_unknown", "message": "No such tenant is served here.", "details": "`spapi-sidecar tenant list` names those that are."}]});
        return (StatusCode::NOT_FOUND, Json(body)).into_response();
    };
    let status = match health.severity() {
        Severity::Failing => StatusCode::SERVICE_UNAVAILABLE,
        Severity::Degraded | Severity::Notice => StatusCode::OK,
    };
    (status, Json(body(&health))).into_response()
}
