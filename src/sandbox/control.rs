//! The sandbox's own switches, on every host: `/_sandbox/{faults,received,grants,apps}`.
//!
//! Requests to them are not in the list of what was received.
//! Failure mode: 400 with `{"error": …}` that names what cannot be read.

use http::{Method, StatusCode};
use serde::Deserialize;
use serde_json::{Value, json};

use super::call::{Call, Region};
use super::fault::{Fault, FaultKind};
use super::ledger::{AppRegistration, GrantRegistration};
use super::received::Received;
use super::respond::{self, Answer};
use super::world::{World, lock};
use crate::secret::{ClientId, ClientSecret, RefreshToken};

/// `POST /_sandbox/grants`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct GrantBody {
    refresh_token: String,
    selling_partner: String,
    roles: Option<Vec<String>>,
    region: Option<String>,
    #[serde(default)]
    vendor: bool,
    client_id: Option<String>,
}

/// `POST /_sandbox/apps`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct AppBody {
    client_id: String,
    client_secret: String,
    old_secret: Option<String>,
}

/// Whether the rest of a path after `/_sandbox/` is a switch.
pub(super) fn is_switch(rest: &str) -> bool {
    matches!(rest, "faults" | "received" | "grants" | "apps") || rest.starts_with("faults/")
}

/// Answers a request to a switch.
pub(super) fn answer(world: &World, call: &Call, rest: &str, body: &[u8]) -> Answer {
    let done = match (call.method.as_str(), rest) {
        ("GET", "faults") => Ok(json!(lock(&world.troubles).list())),
        ("POST", "faults") => switch_on(world, body),
        ("DELETE", "faults") => {
            lock(&world.troubles).clear();
            Ok(json!({}))
        }
        ("DELETE", one) if one.starts_with("faults/") => switch_off(world, one),
        ("GET", "received") => received(world, call),
        ("DELETE", "received") => {
            world.received.clear();
            Ok(json!({}))
        }
        ("POST", "grants") => grant(world, body),
        ("POST", "apps") => app(world, body),
        _ => return respond::bare(StatusCode::METHOD_NOT_ALLOWED),
    };
    let status = match (&done, &call.method) {
        (Err(_), _) => StatusCode::BAD_REQUEST,
        (Ok(_), &Method::POST) => StatusCode::CREATED,
        (Ok(_), _) => StatusCode::OK,
    };
    let value = done.unwrap_or_else(|error| json!({"error": error}));
    respond::json(status, &value)
}

fn received(world: &World, call: &Call) -> Result<Value, String> {
    let since = match call.parameter("since") {
        Some(text) => text
            .parse()
            .map_err(|_not_a_number| "`since` has to be a number".to_owned())?,
        None => 0,
    };
    let list: Vec<Received> = world.received.after(since);
    Ok(json!(list))
}

/// One fault, or a list of them; all are read before any is switched on.
fn switch_on(world: &World, body: &[u8]) -> Result<Value, String> {
    let value: Value = serde_json::from_slice(body).map_err(|error| error.to_string())?;
    let many = match value {
        Value::Array(many) => many,
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Object(_) => {
            vec![value]
        }
    };
    let faults: Vec<Fault> = many
        .into_iter()
        .map(Fault::from_json)
        .collect::<Result<_, _>>()
        .map_err(|error| error.to_string())?;
    let ids: Vec<u64> = faults
        .into_iter()
        .filter_map(|fault| apply(world, fault))
        .collect();
    Ok(json!({"ids": ids}))
}

/// Switches a fault on; its number, unless it happens once, now.
pub(super) fn apply(world: &World, fault: Fault) -> Option<u64> {
    if let FaultKind::ExpireTokensNow(whom) = &fault.kind {
        lock(&world.ledger).expire(whom);
        return None;
    }
    Some(lock(&world.troubles).add(fault))
}

fn switch_off(world: &World, rest: &str) -> Result<Value, String> {
    let id = rest.strip_prefix("faults/").unwrap_or_default();
    let id = id
        .parse()
        .map_err(|_not_a_number| "a fault has a number".to_owned())?;
    lock(&world.troubles).remove(id);
    Ok(json!({}))
}

fn grant(world: &World, body: &[u8]) -> Result<Value, String> {
    // the text of a JSON error never quotes a string's value except where its type is wrong, so only the place is told
    let asked: GrantBody = serde_json::from_slice(body).map_err(|error| place(&error))?;
    let region = match asked.region.as_deref() {
        Some(text) => Some(Region::parse(text).ok_or("`region` has to be na, eu or fe")?),
        None => None,
    };
    lock(&world.ledger).register_grant(&GrantRegistration {
        refresh_token: RefreshToken::new(asked.refresh_token),
        selling_partner: asked.selling_partner,
        roles: asked.roles,
        region,
        vendor: asked.vendor,
        client_id: asked.client_id.map(ClientId::new),
    });
    Ok(json!({}))
}

fn app(world: &World, body: &[u8]) -> Result<Value, String> {
    let asked: AppBody = serde_json::from_slice(body).map_err(|error| place(&error))?;
    lock(&world.ledger).register_app(&AppRegistration {
        client_id: ClientId::new(asked.client_id),
        client_secret: ClientSecret::new(asked.client_secret),
        old_secret: asked.old_secret.map(ClientSecret::new),
    });
    Ok(json!({}))
}

fn place(error: &serde_json::Error) -> String {
    format!(
        "the body cannot be read at line {} column {}; see `spapi-sidecar sandbox --help`",
        error.line(),
        error.column()
    )
}
