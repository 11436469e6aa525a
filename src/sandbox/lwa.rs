//! Login with Amazon's token endpoint.
//!
//! Job: `POST /auth/o2/token`, form and JSON bodies, the three grants, with Amazon's statuses and words.
//! Invariants: the client is authenticated before its grant is looked at; refresh tokens are not rotated unless a fault says
//! so, and earlier access tokens stay good.
//! Failure mode: RFC 6749 section 5.2 errors in LWA's wording.

use std::collections::HashMap;

use http::{Method, StatusCode};
use serde_json::{Value, json};

use super::call::Call;
use super::ledger::{Digest, TokenKind};
use super::received::{Entry, Exchange, Held, Sighting};
use super::respond::{self, Answer};
use super::world::{World, lock};
use crate::secret::fingerprint;

/// Scopes of grantless operations.
const SCOPES: [&str; 4] = [
    "sellingpartnerapi::notifications",
    "sellingpartnerapi::client_credential:rotation",
    "sellingpartnerapi::shipments:track",
    "sellingpartnerapi::migration",
];

/// An error of LWA.
struct LwaError {
    status: StatusCode,
    error: &'static str,
    description: String,
}

impl LwaError {
    fn new(error: &'static str, description: &str) -> Self {
        Self {
            status: StatusCode::BAD_REQUEST,
            error,
            description: description.to_owned(),
        }
    }

    fn missing(field: &str) -> Self {
        let text = format!("The request is missing a required parameter : {field}");
        Self::new("invalid_request", &text)
    }

    fn client() -> Self {
        Self {
            status: StatusCode::UNAUTHORIZED,
            error: "invalid_client",
            description: "Client authentication failed".to_owned(),
        }
    }
}

type Fields = HashMap<String, String>;

/// Answers a request to an LWA host.
pub(super) fn answer(world: &World, call: &Call, held: &Held, entry: &Entry) -> Answer {
    if call.path() != "/auth/o2/token" {
        return respond::bare(StatusCode::NOT_FOUND);
    }
    if call.method != Method::POST {
        return respond::bare(StatusCode::METHOD_NOT_ALLOWED);
    }
    let fields = read(call, held);
    let outcome = exchange(world, &fields);
    let result = outcome
        .as_ref()
        .map_or_else(|error| error.error, |_| "ok")
        .to_owned();
    entry.note(|received| received.exchange = Some(describe(&fields, result)));
    match outcome {
        Ok(value) => respond::lwa(StatusCode::OK, &value),
        Err(error) => respond::lwa_error(error.status, error.error, &error.description),
    }
}

fn describe(fields: &Fields, result: String) -> Exchange {
    let seen = |field: &str| {
        fields
            .get(field)
            .map_or_else(String::new, |text| fingerprint(text))
    };
    let subject = fields.get("refresh_token").or_else(|| fields.get("code"));
    Exchange {
        grant_type: fields.get("grant_type").cloned().unwrap_or_default(),
        client: seen("client_id"),
        secret: seen("client_secret"),
        subject: subject.map(|text| Sighting::of(text)),
        result,
    }
}

/// The body's fields: JSON where it says so, form otherwise. A raw `|` in a form is data.
fn read(call: &Call, held: &Held) -> Fields {
    let kind = call.header("content-type").unwrap_or_default();
    if kind.to_ascii_lowercase().contains("json") {
        let Value::Object(map) = held.json() else {
            return Fields::new();
        };
        let texts = map
            .into_iter()
            .filter_map(|(key, value)| Some((key, value.as_str()?.to_owned())));
        return texts.collect();
    }
    url::form_urlencoded::parse(&held.bytes)
        .map(|(key, value)| (key.into_owned(), value.into_owned()))
        .collect()
}

fn required<'a>(fields: &'a Fields, name: &str) -> Result<&'a str, LwaError> {
    match fields.get(name) {
        Some(text) if !text.is_empty() => Ok(text),
        Some(_) | None => Err(LwaError::missing(name)),
    }
}

fn exchange(world: &World, fields: &Fields) -> Result<Value, LwaError> {
    let grant_type = required(fields, "grant_type")?;
    if !matches!(
        grant_type,
        "refresh_token" | "authorization_code" | "client_credentials"
    ) {
        return Err(LwaError::new(
            "unsupported_grant_type",
            "The authorization grant type is not supported by the authorization server",
        ));
    }
    let client_id = required(fields, "client_id")?;
    let secret = required(fields, "client_secret")?;
    let client = lock(&world.ledger).authenticate(client_id, secret);
    let client = client.ok_or_else(LwaError::client)?;
    match grant_type {
        "refresh_token" => refresh(world, client, required(fields, "refresh_token")?),
        "authorization_code" => redeem(world, client, fields),
        _ => grantless(world, client, required(fields, "scope")?),
    }
}

fn refresh(world: &World, client: Digest, refresh_token: &str) -> Result<Value, LwaError> {
    let grant = lock(&world.ledger).grant(refresh_token, client);
    let grant = grant.ok_or_else(|| {
        LwaError::new(
            "invalid_grant",
            "The request has an invalid grant parameter : refresh_token",
        )
    })?;
    if lock(&world.troubles).revoked(&grant) {
        return Err(LwaError::new(
            "invalid_grant",
            "The request has an invalid grant parameter : refresh_token. User may have revoked or didn't grant the permission.",
        ));
    }
    let rotates = lock(&world.troubles).rotates(&grant);
    let mut ledger = lock(&world.ledger);
    let token = ledger.issue(TokenKind::Access, client, Some(grant), world.expires_in);
    let refresh_token = if rotates {
        ledger.replace(refresh_token)
    } else {
        refresh_token.to_owned()
    };
    Ok(json!({
        "access_token": token,
        "refresh_token": refresh_token,
        "token_type": "bearer",
        "expires_in": world.expires_in.as_secs(),
    }))
}

fn redeem(world: &World, client: Digest, fields: &Fields) -> Result<Value, LwaError> {
    let code = required(fields, "code")?;
    required(fields, "redirect_uri")?;
    let refresh_token = lock(&world.ledger).redeem(code);
    let refresh_token = refresh_token.ok_or_else(|| {
        LwaError::new(
            "invalid_grant",
            "The request has an invalid grant parameter : code",
        )
    })?;
    refresh(world, client, &refresh_token)
}

fn grantless(world: &World, client: Digest, scope: &str) -> Result<Value, LwaError> {
    let scopes: Vec<String> = scope.split_whitespace().map(str::to_owned).collect();
    if scopes.is_empty() || !scopes.iter().all(|scope| SCOPES.contains(&scope.as_str())) {
        return Err(LwaError::new(
            "invalid_scope",
            "The request has an invalid parameter : scope",
        ));
    }
    let kind = TokenKind::Grantless(scopes);
    let token = lock(&world.ledger).issue(kind, client, None, world.expires_in);
    Ok(json!({
        "access_token": token,
        "scope": scope,
        "token_type": "bearer",
        "expires_in": world.expires_in.as_secs(),
    }))
}
