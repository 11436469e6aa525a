//! The console: the sidecar's state on one page.
//!
//! Job: `/` is the page, rendered here; `/console/state` is its changing part, which the page fetches when something has happened;
//! script and style are files of their own, so that nothing on the page runs or is styled inline. What is wrong, whose it is and
//! what to do stand first; what is news, far off or well comes after, or below a fold.
//! Invariants: it needs nothing from anywhere else and works offline; every text is escaped; it shows ids, templates, counts,
//! dates and closed words, never a secret; actions go to `/api/v1` with the admin token, which the page keeps in a
//! variable of its script alone, for minutes.
//! Failure mode: without script the page is still whole, and stands still.
//! Sources: Content Security Policy Level 3; WCAG 2.2 level AA.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Path, State};
use axum::http::{HeaderName, HeaderValue, header};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::get;

use super::Office;

mod aside;
mod card;
mod chart;
mod page;
mod runbook;
pub mod view;

use view::View;

/// Gives the console what it shows.
pub type Views = Arc<dyn Fn() -> View + Send + Sync>;

/// Nothing from elsewhere, nothing inline, in no frame.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; form-action 'none'; frame-ancestors 'none'; base-uri 'none'";

pub(super) fn routes() -> Router<Office> {
    Router::new()
        .route("/", get(whole))
        .route("/console/state", get(state))
        .route(
            "/console/runbook/{name}",
            get(async |Path(name): Path<String>| guarded(runbook::page(&name))),
        )
        .route("/console/script.js", get(script))
        .route("/console/style.css", get(style))
        .route(
            "/console/well.svg",
            get(async || icon(include_str!("well.svg"))),
        )
        .route(
            "/console/trouble.svg",
            get(async || icon(include_str!("trouble.svg"))),
        )
}

async fn whole(State(office): State<Office>) -> Response {
    guarded(Html(page::whole(&(office.views)()).into_string()))
}

async fn state(State(office): State<Office>) -> Response {
    guarded(Html(page::state(&(office.views)()).into_string()))
}

async fn script() -> Response {
    asset("text/javascript; charset=utf-8", include_str!("script.js"))
}

async fn style() -> Response {
    asset("text/css; charset=utf-8", include_str!("style.css"))
}

fn icon(text: &'static str) -> Response {
    asset("image/svg+xml", text)
}

fn asset(kind: &'static str, text: &'static str) -> Response {
    guarded(([(header::CONTENT_TYPE, kind)], text))
}

fn guarded(answer: impl IntoResponse) -> Response {
    let mut response = answer.into_response();
    let fields = response.headers_mut();
    for (name, value) in [
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::CACHE_CONTROL, "no-store"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (
            HeaderName::from_static("cross-origin-opener-policy"),
            "same-origin",
        ),
    ] {
        fields.insert(name, HeaderValue::from_static(value));
    }
    response
}
