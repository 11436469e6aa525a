//! Egress mode `lwa`, and the Tokens API: token requests answered here, with phantoms.
//!
//! Job: let an SDK run on placeholders: whatever it asks LWA for, it gets a phantom; an RDT too, where the routes cover it.
//! Invariants: nothing goes out; LWA always vends (SDKs stall or retry on a refusal; the refusal comes with the API call);
//! the answer has LWA's shape, in letters, digits and `-`; what the program sent as a secret is read for the name of its
//! tenant and dropped.
//! Sources: CONTRACT section 3.1; RFC 6749 sections 4.4.3, 5.1 and 6; Tokens API 2021-03-01; CLIENTS section 1.

use std::sync::atomic::Ordering;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, StatusCode, header};
use http_body_util::{BodyExt as _, Limited};
use serde::Deserialize;
use zeroize::Zeroizing;

use super::body;
use super::head::{self, Admitted};
use super::login::Login;
use super::request::{Answer, unnamed};
use super::respond::Local;
use super::upload::Upload;
use super::{Connection, World, break_glass};
use crate::config::Tenant;
use crate::outcome::{Failure, Reason};
use crate::phantom::{Kind, PhantomKey, Reading};
use crate::policy::Body;
use crate::redact;
use crate::secret::Looks;
use crate::telemetry::event::Event;
use crate::telemetry::record::{Outcome, Record};
use crate::tenant::TenantId;
use crate::token::restricted::TOKENS_PATH;

/// Largest body of a token request: two tokens and a few fields, or fifty restricted resources.
const BODY_BYTES: usize = 256 << 10;

/// What phantoms claim to live, in seconds: what LWA says of real ones.
const LIFE: u32 = 3600;

/// Most resources in one request to the Tokens API.
const MOST_RESOURCES: usize = 50;

/// Whether a request is one for the Tokens API.
#[must_use]
pub fn is_tokens_call(admitted: &Admitted) -> bool {
    admitted.method == Method::POST && admitted.path() == TOKENS_PATH
}

/// Answers a token request.
pub(super) async fn token_endpoint(
    connection: &Connection,
    world: &World,
    request: Request<Upload>,
    record: &mut Record,
) -> Result<Answer, Failure> {
    let token_path = world.config.lwa.token_url.path();
    let shown = if request.uri().path() == token_path {
        Some(token_path)
    } else {
        None
    };
    record.path = redact::path(shown, request.uri().path()).into_owned();
    let admitted = head::admit(connection, request, world.config.listen.limits.header_bytes)?;
    if admitted.method != Method::POST || admitted.path() != token_path {
        return Err(Failure::new(
            Reason::RouteDenied,
            "Nothing but the token endpoint is answered on this host.",
            format!("POST {token_path} is answered here; every other call to it stays inside."),
        ));
    }
    record.operation = "token".into();
    let key = key(connection)?;
    let json = is_json(&admitted.fields);
    let body = whole(admitted.body, record).await?;
    let asked = if json {
        Asked::from_json(&body)
    } else {
        Asked::from_form(&body)
    };
    let named = asked
        .refresh_token
        .as_deref()
        .and_then(|text| named_by(key, text));
    let tenant = named.or_else(|| match &connection.login {
        Login::Tenant(tenant) => Some(tenant.clone()),
        Login::Missing => unnamed(world),
        Login::Unconfirmed => None,
    });
    let looks_real = |text: &Zeroizing<String>| Looks::of(text).is_real();
    if asked.refresh_token.as_ref().is_some_and(looks_real) {
        connection.shared().real_token_was_seen(tenant.as_ref());
    }
    record.tenant.clone_from(&tenant);
    record.outcome = Outcome::Answered;
    connection
        .shared()
        .recorder
        .events
        .note(&Event::PhantomVended {
            tenant: tenant.as_ref(),
        });
    Ok(Answer::Local(vend(key, &asked, tenant.as_ref())))
}

/// The tenant that a refresh token names, if it is one of ours.
fn named_by(key: &PhantomKey, text: &str) -> Option<TenantId> {
    match key.read(text) {
        Reading::Genuine(_, id) => Some(id),
        Reading::Foreign | Reading::Nobody(_) | Reading::Forged => None,
    }
}

fn vend(key: &PhantomKey, asked: &Asked, tenant: Option<&TenantId>) -> Local {
    let mut answer = serde_json::json!({
        "access_token": key.mint(Kind::Access, tenant, rand::random()),
        "token_type": "bearer",
        "expires_in": LIFE,
    });
    if let Some(object) = answer.as_object_mut() {
        match (&asked.scope, asked.grantless) {
            (Some(scope), true) => object.insert("scope".to_owned(), redact::text(scope).into()),
            // LWA gives the same refresh token back; a real one is replaced by a phantom, so that it goes no further
            _ => object.insert(
                "refresh_token".to_owned(),
                asked.returned(key, tenant).into(),
            ),
        };
    }
    let mut fields = HeaderMap::new();
    fields.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("application/json;charset=UTF-8"),
    );
    fields.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    fields.insert(header::PRAGMA, HeaderValue::from_static("no-cache"));
    Local {
        status: StatusCode::OK,
        fields,
        body: answer.to_string().into(),
    }
}

/// Answers createRestrictedDataToken.
pub(super) async fn tokens_api(
    connection: &Connection,
    world: &World,
    tenant: &Tenant,
    admitted: Admitted,
    record: &mut Record,
) -> Result<Local, Failure> {
    record.operation = "createRestrictedDataToken".into();
    let key = key(connection)?;
    let host = &connection.target.host;
    body::judge(world, record, world.policy.region(tenant, host))?;
    let body = whole(admitted.body, record).await?;
    let not_one = || malformed("The body is not a request for a restricted data token.");
    let json: Body = serde_json::from_slice(&body).map_err(|_quotes_the_body| not_one())?;
    body::judge(world, record, world.policy.body(tenant, &json))?;
    let asked: Resources = serde_json::from_slice(&body).map_err(|_quotes_the_body| not_one())?;
    if asked.restricted_resources.is_empty() || asked.restricted_resources.len() > MOST_RESOURCES {
        return Err(malformed(
            "A request for a restricted data token names 1 to 50 resources.",
        ));
    }
    for resource in &asked.restricted_resources {
        let method = Method::from_bytes(resource.method.as_bytes())
            .map_err(|_invalid| malformed("A restricted resource names no method."))?;
        let elements: Vec<&str> = resource
            .data_elements
            .iter()
            .flatten()
            .map(String::as_str)
            .collect();
        let covered = world
            .policy
            .restricted_resource(tenant, &method, &resource.path, &elements);
        if let Err(refusal) = covered
            && !break_glass::covers(
                connection.shared(),
                tenant,
                &method,
                &resource.path,
                &elements,
            )
        {
            return Err(refusal.into());
        }
    }
    if record.outcome == Outcome::Cancelled {
        record.outcome = Outcome::Answered;
    }
    let answer = serde_json::json!({ "restrictedDataToken": key.mint(Kind::Restricted, Some(&tenant.id), rand::random()), "expiresIn": LIFE });
    let mut fields = HeaderMap::new();
    fields.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("application/json"),
    );
    Ok(Local {
        status: StatusCode::OK,
        fields,
        body: answer.to_string().into(),
    })
}

fn malformed(message: &str) -> Failure {
    Failure::new(
        Reason::BadRequest,
        message,
        "The shape is {\"restrictedResources\":[{\"method\":\"GET\",\"path\":\"/orders/v0/orders/{orderId}\",\"dataElements\":[\"buyerInfo\"]}]}.",
    )
}

fn key(connection: &Connection) -> Result<&PhantomKey, Failure> {
    connection
        .shared()
        .phantoms
        .get()
        .ok_or_else(key_is_missing)
}

/// Without the key no phantom can be made or read.
pub(super) fn key_is_missing() -> Failure {
    Failure::new(Reason::TokenUnavailable, "The sidecar can neither vend nor read placeholders yet.", "store: the key of phantom tokens has not been read yet; the sidecar keeps trying. See /health/ready.").retry_after(2)
}

fn is_json(fields: &HeaderMap) -> bool {
    fields
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .is_some_and(|value| value.to_ascii_lowercase().contains("json"))
}

async fn whole(body: Upload, record: &Record) -> Result<Zeroizing<Vec<u8>>, Failure> {
    let collected = Limited::new(body, BODY_BYTES)
        .collect()
        .await
        .map_err(|error| {
            Failure::new(
                Reason::BadRequest,
                "The body of a token request is too large or was cut off.",
                "A token request is a few kilobytes.",
            )
            .caused_by(error)
        })?;
    let bytes: Bytes = collected.to_bytes();
    record.bytes.inward.fetch_add(
        u64::try_from(bytes.len()).unwrap_or(u64::MAX),
        Ordering::Relaxed,
    );
    Ok(Zeroizing::new(bytes.to_vec()))
}

/// What a token request asks for. Everything else in it is ignored.
#[derive(Default)]
struct Asked {
    grantless: bool,
    scope: Option<String>,
    refresh_token: Option<Zeroizing<String>>,
}

impl Asked {
    fn from_json(body: &[u8]) -> Self {
        #[derive(Deserialize)]
        struct Wire {
            grant_type: Option<String>,
            scope: Option<String>,
            refresh_token: Option<Zeroizing<String>>,
        }
        serde_json::from_slice::<Wire>(body).map_or_else(
            |_not_json| Self::from_form(body),
            |wire| Self {
                grantless: wire.grant_type.as_deref() == Some("client_credentials"),
                scope: wire.scope,
                refresh_token: wire.refresh_token,
            },
        )
    }

    /// Reads a form; a raw `|` is data to it.
    fn from_form(body: &[u8]) -> Self {
        let mut asked = Self::default();
        for (name, value) in url::form_urlencoded::parse(body) {
            match &*name {
                "grant_type" => asked.grantless = value == "client_credentials",
                "scope" => asked.scope = Some(value.into_owned()),
                "refresh_token" => asked.refresh_token = Some(Zeroizing::new(value.into_owned())),
                _ => {}
            }
        }
        asked
    }

    fn returned(&self, key: &PhantomKey, tenant: Option<&TenantId>) -> String {
        match &self.refresh_token {
            Some(text) if !Looks::of(text).is_real() => (**text).clone(),
            Some(_) | None => key.mint(Kind::Refresh, tenant, rand::random()),
        }
    }
}

#[derive(Deserialize)]
struct Resources {
    #[serde(rename = "restrictedResources")]
    restricted_resources: Vec<ResourceAsked>,
}

#[derive(Deserialize)]
struct ResourceAsked {
    method: String,
    path: String,
    #[serde(default, rename = "dataElements")]
    data_elements: Option<Vec<String>>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms_with_a_raw_bar_and_json_are_read_alike() {
        for asked in [
            Asked::from_form(
                b"grant_type=refresh_token&refresh_token=Atzr|x&client_id=c&client_secret=s",
            ),
            Asked::from_form(b"refresh_token=Atzr%7Cx&grant_type=refresh_token"),
            Asked::from_json(
                br#"{"grant_type":"refresh_token","refresh_token":"Atzr|x","client_secret":"s"}"#,
            ),
        ] {
            assert_eq!(
                asked.refresh_token.as_deref().map(String::as_str),
                Some("Atzr|x")
            );
            assert!(!asked.grantless);
        }
        let grantless = Asked::from_form(
            b"grant_type=client_credentials&scope=sellingpartnerapi::notifications",
        );
        assert!(grantless.grantless);
        assert_eq!(
            grantless.scope.as_deref(),
            Some("sellingpartnerapi::notifications")
        );
    }

    #[test]
    fn a_real_refresh_token_is_not_handed_back() {
        let key = PhantomKey::new(&Zeroizing::new([1; 32]));
        let answer = vend(&key, &Asked::from_form(b"refresh_token=Atzr|canary"), None);
        let text = String::from_utf8(answer.body.to_vec()).unwrap();
        assert!(
            !text.contains("canary") && text.contains("spx-r-"),
            "{text}"
        );
    }
}
