//! What an operator may change: tenants' states, break-glass, tokens, the configuration.
//!
//! Job: let the admin token in, read what is asked, have it done, say what came of it.
//! Invariants: nothing here is done without the token; a body is read whatever its Content-Type says, is small, and is never
//! quoted; every state and break-glass has a reason and a name.
//! Failure mode: SP-API's error shape: 400 for what cannot be read, 401 for the token, 404, 409, 422 for a file that is no
//! configuration, 503 where the store or Amazon does not play its part.
//! Source: CONTRACT section 4.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, Path, Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use serde::Deserialize;
use serde_json::{Value, json};

use super::token::Denied;
use super::{Office, refusal};
use crate::fleet::why::Why;
use crate::secret::Opaque;
use crate::store::BoxFuture;
use crate::tenant::TenantId;

/// Largest body: twenty routes and a reason.
const BODY_BYTES: usize = 16 << 10;

/// Who acts where the body does not say.
const SOMEBODY: &str = "admin token";

/// What is asked.
#[derive(Clone, Debug)]
pub enum Asked {
    /// Switch a tenant off.
    Kill(TenantId, Why),
    /// Set a tenant aside.
    Quarantine(TenantId, Why),
    /// Serve a tenant again.
    Resume(TenantId, Why),
    /// Exchange a tenant's access token now.
    Refresh(TenantId),
    /// Open a break-glass.
    BreakGlass {
        /// For whom.
        tenant: TenantId,
        /// `METHOD /template` each.
        allow: Vec<String>,
        /// For how long.
        lasts: Duration,
        /// Why, and who.
        why: Why,
    },
    /// End a break-glass.
    Revoke {
        /// Which.
        id: String,
        /// Who ends it.
        by: String,
    },
    /// Read the configuration again.
    Reload,
}

/// Does what is asked: the composition root hands it over.
pub type Act = Arc<dyn Fn(Asked) -> BoxFuture<'static, Result<Value, Refusal>> + Send + Sync>;

/// Why it was not done, or not wholly.
#[derive(Clone, Debug)]
pub struct Refusal {
    /// What kind of no.
    pub wrong: Wrong,
    /// At least one.
    pub entries: Vec<Entry>,
}

/// What kind of no it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Wrong {
    /// What was asked for cannot be.
    Request,
    /// There is no such thing.
    Unknown,
    /// It does not go with how things stand.
    Conflict,
    /// The configuration is not one, or takes a restart.
    Configuration,
    /// The store or Amazon did not play its part.
    Unavailable,
}

/// One error.
#[derive(Clone, Debug)]
pub struct Entry {
    /// A constant word.
    pub code: &'static str,
    /// What happened.
    pub message: String,
    /// What to do about it.
    pub details: String,
}

impl Refusal {
    /// A refusal with one error.
    #[must_use]
    pub fn new(
        wrong: Wrong,
        code: &'static str,
        message: impl Into<String>,
        details: impl Into<String>,
    ) -> Self {
        Self {
            wrong,
            entries: vec![Entry {
                code,
                message: message.into(),
                details: details.into(),
            }],
        }
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let status = match self.wrong {
            Wrong::Request => StatusCode::BAD_REQUEST,
            Wrong::Unknown => StatusCode::NOT_FOUND,
            Wrong::Conflict => StatusCode::CONFLICT,
            Wrong::Configuration => StatusCode::UNPROCESSABLE_ENTITY,
            Wrong::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        };
        let errors: Vec<Value> = self
            .entries
            .into_iter()
            .map(|entry| json!({"code": entry.code, "message": entry.message, "details": entry.details}))
            .collect();
        (status, Json(json!({ "errors": errors }))).into_response()
    }
}

/// What this file answers.
pub(super) fn routes(office: &Office) -> Router<Office> {
    Router::new()
        .route("/api/v1/tenants/{id}/{action}", post(on_tenant))
        .route("/api/v1/break-glass", post(break_glass))
        .route("/api/v1/break-glass/{id}/revoke", post(revoke))
        .route("/api/v1/reload", post(reload))
        .route_layer(middleware::from_fn_with_state(office.clone(), with_token))
        .layer(DefaultBodyLimit::max(BODY_BYTES))
}

async fn with_token(State(office): State<Office>, request: Request, next: Next) -> Response {
    let sent = bearer(request.headers());
    match office.token.check(sent.as_ref()).await {
        Ok(()) => next.run(request).await,
        Err(denied) => turned_away(denied),
    }
}

fn bearer(fields: &HeaderMap) -> Option<Opaque> {
    let text = fields.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = text.split_once(' ')?;
    scheme
        .eq_ignore_ascii_case("bearer")
        .then(|| Opaque::new(token.trim().to_owned()))
}

fn turned_away(denied: Denied) -> Response {
    let (status, code, message) = match denied {
        Denied::Missing => (
            StatusCode::UNAUTHORIZED,
            "admin_token_required",
            "This needs the admin token.",
        ),
        Denied::Wrong => (
            StatusCode::UNAUTHORIZED,
            "admin_token_wrong",
            "This is not the admin token.",
        ),
        Denied::TooMany => (
            StatusCode::TOO_MANY_REQUESTS,
            "too_many_attempts",
            "Too many wrong tokens were sent at once; this one was not looked at.",
        ),
        Denied::Unreadable => (
            StatusCode::SERVICE_UNAVAILABLE,
            "admin_token_unreadable",
            "The sidecar cannot read its admin token, and lets nobody in.",
        ),
    };
    let details = "Send `Authorization: Bearer TOKEN` with the content of listen.admin_token_file; its mode has to be 0600.";
    let mut response = refusal(status, code, message, details);
    if status == StatusCode::UNAUTHORIZED {
        response.headers_mut().insert(
            header::WWW_AUTHENTICATE,
            HeaderValue::from_static(r#"Bearer realm="spapi-sidecar""#),
        );
    }
    response
}

#[derive(Deserialize, Default)]
struct Body {
    #[serde(default)]
    reason: String,
    by: Option<String>,
}

impl Body {
    fn read(body: &[u8]) -> Result<Self, Refusal> {
        if body.is_empty() {
            return Ok(Self::default());
        }
        serde_json::from_slice(body)
            .map_err(|_quotes_the_body| unreadable(r#"{"reason": "why", "by": "your name"}"#))
    }

    fn by(&self) -> &str {
        self.by.as_deref().unwrap_or(SOMEBODY)
    }

    fn why(&self) -> Result<Why, Refusal> {
        why(&self.reason, self.by())
    }
}

fn why(reason: &str, by: &str) -> Result<Why, Refusal> {
    Why::new(reason, by).map_err(|unexplained| {
        Refusal::new(
            Wrong::Request,
            "unexplained",
            "The body does not say why.",
            format!(r#"{unexplained}: send {{"reason": "why", "by": "your name"}}; nothing was changed."#),
        )
    })
}

fn unreadable(shape: &str) -> Refusal {
    Refusal::new(
        Wrong::Request,
        "bad_request",
        "The body is not what is asked for here.",
        format!("Send JSON: {shape}. Nothing was changed."),
    )
}

async fn on_tenant(
    State(office): State<Office>,
    Path((id, action)): Path<(String, String)>,
    body: Bytes,
) -> Response {
    let asked = || -> Result<Asked, Refusal> {
        let unknown = |message: &str, details: &str| {
            Refusal::new(Wrong::Unknown, "not_found", message, details)
        };
        let body = Body::read(&body)?;
        let tenant = TenantId::parse(&id)
            .map_err(|error| unknown("No tenant has such an id.", &format!("{error}.")))?;
        Ok(match action.as_str() {
            "kill" => Asked::Kill(tenant, body.why()?),
            "quarantine" => Asked::Quarantine(tenant, body.why()?),
            "resume" => Asked::Resume(tenant, body.why()?),
            "refresh" => Asked::Refresh(tenant),
            _ => {
                return Err(unknown(
                    "There is no such action.",
                    "It is kill, quarantine, resume or refresh.",
                ));
            }
        })
    };
    answer(&office, asked()).await
}

async fn break_glass(State(office): State<Office>, body: Bytes) -> Response {
    #[derive(Deserialize)]
    struct Wire {
        tenant: String,
        allow: Routes,
        r#for: String,
        #[serde(default)]
        reason: String,
        by: Option<String>,
    }
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Routes {
        One(String),
        Many(Vec<String>),
    }
    let shape = r#"{"tenant": "acme", "allow": ["GET /path/{parameter}"], "for": "30m", "reason": "why", "by": "your name"}"#;
    let asked = || -> Result<Asked, Refusal> {
        let wire: Wire =
            serde_json::from_slice(&body).map_err(|_quotes_the_body| unreadable(shape))?;
        let lasts =
            humantime::parse_duration(&wire.r#for).map_err(|_quotes_it| unreadable(shape))?;
        Ok(Asked::BreakGlass {
            tenant: TenantId::parse(&wire.tenant).map_err(|_not_an_id| unreadable(shape))?,
            allow: match wire.allow {
                Routes::One(route) => vec![route],
                Routes::Many(routes) => routes,
            },
            lasts,
            why: why(&wire.reason, wire.by.as_deref().unwrap_or(SOMEBODY))?,
        })
    };
    answer(&office, asked()).await
}

async fn revoke(State(office): State<Office>, Path(id): Path<String>, body: Bytes) -> Response {
    let asked = Body::read(&body).and_then(|body| {
        // a name is checked as one; why a break-glass ends early needs no saying
        let why = why("ended", body.by())?;
        let by = why.by().to_owned();
        Ok(Asked::Revoke { id, by })
    });
    answer(&office, asked).await
}

async fn reload(State(office): State<Office>) -> Response {
    answer(&office, Ok(Asked::Reload)).await
}

async fn answer(office: &Office, asked: Result<Asked, Refusal>) -> Response {
    match asked {
        Ok(asked) => match (office.act)(asked).await {
            Ok(done) => Json(done).into_response(),
            Err(refusal) => refusal.into_response(),
        },
        Err(refusal) => refusal.into_response(),
    }
}
