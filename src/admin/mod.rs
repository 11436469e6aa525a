//! The admin listener: health, state, events and actions, on an address of its own.
//!
//! Job: answer probes, show what happens, do what an operator asks.
//! Invariants: nothing secret is reachable here; Host has to be a loopback name or the address that was called, so that no web
//! page can reach it by DNS rebinding; no CORS, and nothing for another origin's page ([`origin`]); what changes anything needs the admin token ([`action`]).
//! Failure mode: 403 for a foreign Host or page, 404 for anything unknown, SP-API's error shape for both and for all else.
//! Each file brings the routes it answers; [`serve`] only puts them together.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Json;
use axum::Router;
use axum::extract::{Request, State};
use axum::http::{StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use serde_json::json;
use tokio::net::TcpListener;

use crate::name::{Authority, Host};
use crate::task::Tasks;

pub mod action;
pub mod authz;
pub mod console;
pub mod events;
mod metrics;
mod origin;
pub mod probe;
pub mod token;

pub use authz::Verdicts;

pub use probe::Readiness;

use self::action::Act;
use self::events::Feed;
use self::token::AdminToken;

/// What the admin listener answers from: handles that the composition root hands over.
#[derive(Clone)]
pub struct Office {
    /// What has to happen first.
    pub readiness: Arc<Readiness>,
    /// The sidecar's state as JSON, without secrets.
    pub status: Arc<dyn Fn() -> serde_json::Value + Send + Sync>,
    /// The verdicts on tenants.
    pub verdicts: Verdicts,
    /// What happens.
    pub feed: Arc<Feed>,
    /// Who may change anything.
    pub token: Arc<AdminToken>,
    /// What may be changed.
    pub act: Act,
    /// The metrics page.
    pub metrics: Arc<dyn Fn() -> String + Send + Sync>,
    /// What the console shows.
    pub views: console::Views,
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
        .merge(probe::routes())
        .merge(authz::routes())
        .merge(console::routes())
        .merge(metrics::routes())
        .merge(events::routes())
        .merge(action::routes(&office))
        .fallback(unknown)
        .layer(middleware::from_fn_with_state(own, only_our_own))
        .with_state(office);
    if let Err(error) = axum::serve(listener, router)
        .with_graceful_shutdown(tasks.stopping())
        .await
    {
        tracing::error!(%error, "the admin listener ended");
    }
}

async fn only_our_own(
    State(own): State<Option<SocketAddr>>,
    request: Request,
    next: Next,
) -> Response {
    let host = request
        .headers()
        .get(header::HOST)
        .and_then(|host| host.to_str().ok())
        .and_then(|host| Authority::parse_with_default(host, 80).ok());
    if !host.is_some_and(|host| is_known(&host.host, own)) {
        return refusal(
            StatusCode::FORBIDDEN,
            "forbidden_host",
            "This Host is not served here.",
            "Call the admin listener by its address or as localhost.",
        );
    }
    if origin::is_foreign(request.method(), request.headers()) {
        return refusal(
            StatusCode::FORBIDDEN,
            "cross_origin",
            "A page of another origin asked for this.",
            "Open the console at this listener's own address; a program sends neither Origin nor Sec-Fetch-Site.",
        );
    }
    next.run(request).await
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

async fn unknown() -> Response {
    refusal(
        StatusCode::NOT_FOUND,
        "not_found",
        "Nothing is answered on this path.",
        "See /health/ready, /api/v1/status and /api/v1/events; actions are POST /api/v1/…",
    )
}

/// A refusal in SP-API's own error shape.
fn refusal(status: StatusCode, code: &str, message: &str, details: &str) -> Response {
    let body = json!({"errors": [{"code": code, "message": message, "details": details}]});
    (status, Json(body)).into_response()
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
}
