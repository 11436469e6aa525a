//! `/metrics`: for whoever scrapes.
//!
//! Job: hand out the page with its type. It is OpenMetrics whatever is asked for: every scraper of today reads it.
//! Failure mode: none.

use axum::Router;
use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use axum::routing::get;

use super::Office;
use crate::telemetry::metrics::CONTENT_TYPE;

pub(super) fn routes() -> Router<Office> {
    Router::new().route("/metrics", get(page))
}

async fn page(State(office): State<Office>) -> Response {
    ([(header::CONTENT_TYPE, CONTENT_TYPE)], (office.metrics)()).into_response()
}
