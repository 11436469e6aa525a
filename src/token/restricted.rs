//! Restricted data tokens.
//!
//! Job: ask the Tokens API for an RDT that covers one resource or several, with the tenant's access token.
//! Invariants: an RDT is keyed by tenant, host, method, path and data elements; the access token that asks for it is no part
//! of the key; every call has a place in the quota of the Tokens API; the answer is read strictly, flat or inside `payload`.
//! Failure mode: [`Cause::AccessRefused`] when the Tokens API says that the access token was the problem,
//! [`Cause::RestrictedRefused`] when the application may not have the data, [`Cause::RestrictedThrottled`] when the quota is
//! used up.
//! Source: Tokens API 2021-03-01 `createRestrictedDataToken`; SP-API facts, section 5.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{Hash, Hasher};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde::Deserialize;
use serde_json::json;
use tokio::time::Instant;
use zeroize::Zeroizing;

use super::cache::{Fetch, Subject, next_generation};
use super::exchange::{Answer, Post, Transport};
use super::judge::{self, Meaning};
use super::lifetime::Life;
use super::probe;
use super::{Cause, Issued, Standing};
use crate::config::{self, InjectHeader, Tenant};
use crate::name::Authority;
use crate::outcome::Denial;
use crate::secret::AccessToken;
use crate::store::BoxFuture;
use crate::tenant::{AppId, TenantId};

/// Where RDTs come from.
pub const TOKENS_PATH: &str = "/tokens/2021-03-01/restrictedDataToken";

/// What an RDT is for.
#[derive(Clone)]
pub struct Resource {
    /// Whose.
    pub tenant: Arc<Tenant>,
    /// At which host.
    pub host: Authority,
    /// Method of the restricted operation.
    pub method: http::Method,
    /// Its path template.
    pub template: Arc<str>,
    /// The path to ask for: the template for a generic RDT, the concrete path for a specific one.
    pub path: Arc<str>,
    /// `dataElements`.
    pub data_elements: Arc<[String]>,
    access: Option<AccessToken>,
}

impl Subject for Resource {
    fn tenant(&self) -> &TenantId {
        &self.tenant.id
    }

    fn app(&self) -> Option<&AppId> {
        None
    }

    fn kind(&self) -> &'static str {
        "rdt"
    }
}

impl Resource {
    /// Every path of a template.
    #[must_use]
    pub fn generic(
        tenant: Arc<Tenant>,
        host: Authority,
        method: http::Method,
        template: Arc<str>,
        data_elements: Arc<[String]>,
    ) -> Self {
        Self {
            tenant,
            host,
            method,
            path: Arc::clone(&template),
            template,
            data_elements,
            access: None,
        }
    }

    /// One concrete path of the template.
    #[must_use]
    pub fn at(self, path: &str) -> Self {
        Self {
            path: path.into(),
            ..self
        }
    }

    /// What the resource is one of: every path of its template, without the access token.
    #[must_use]
    pub fn class(&self) -> Self {
        Self {
            path: Arc::clone(&self.template),
            access: None,
            ..self.clone()
        }
    }

    /// The same resource, with the access token to ask with.
    #[must_use]
    pub fn with_access(&self, access: AccessToken) -> Self {
        Self {
            access: Some(access),
            ..self.clone()
        }
    }

    fn identity(&self) -> (&TenantId, &Authority, &http::Method, &str, &[String]) {
        (
            &self.tenant.id,
            &self.host,
            &self.method,
            &self.path,
            &self.data_elements,
        )
    }
}

impl PartialEq for Resource {
    fn eq(&self, other: &Self) -> bool {
        self.identity() == other.identity()
    }
}

impl Eq for Resource {}

impl Hash for Resource {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.identity().hash(state);
    }
}

impl std::fmt::Debug for Resource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // the path may be concrete, and then holds an order id
        write!(f, "{}/rdt", self.tenant.id)
    }
}

/// The quota of createRestrictedDataToken, which every call of it needs a place in: one a second, ten at once.
pub trait Quota: Send + Sync + std::fmt::Debug {
    /// Waits for a place.
    ///
    /// # Errors
    /// How long until there may be one, where that is too long.
    fn place<'a>(&'a self, tenant: &'a Tenant) -> BoxFuture<'a, Result<(), Duration>>;

    /// Amazon says that the quota is used up.
    fn is_used_up(&self, tenant: &Tenant);
}

/// Why there is no RDT.
#[derive(Debug)]
pub(super) struct Refused {
    /// The cause.
    pub(super) cause: Cause,
    /// Whether it concerns every resource that was asked for, and not perhaps one among them.
    pub(super) all: bool,
}

impl Refused {
    const fn all(cause: Cause) -> Self {
        Self { cause, all: true }
    }
}

/// Asks the Tokens API.
#[derive(Debug)]
pub struct Restricted {
    lwa: config::Lwa,
    inject: Vec<InjectHeader>,
    transport: Arc<dyn Transport>,
    quota: Option<Arc<dyn Quota>>,
}

impl Restricted {
    /// `lwa` gives the rules of a life, `inject` the fields that carry the access token.
    #[must_use]
    pub fn new(lwa: config::Lwa, inject: Vec<InjectHeader>, transport: Arc<dyn Transport>) -> Self {
        Self {
            lwa,
            inject,
            transport,
            quota: None,
        }
    }

    /// The same, kept to a quota.
    #[must_use]
    pub fn within(self, quota: Arc<dyn Quota>) -> Self {
        Self {
            quota: Some(quota),
            ..self
        }
    }

    /// Waits for leave to ask.
    pub(super) async fn place(&self, tenant: &Tenant) -> Result<(), Cause> {
        let Some(quota) = &self.quota else {
            return Ok(());
        };
        let placed = quota.place(tenant).await;
        placed.map_err(|_too_long| Cause::RestrictedThrottled)
    }

    /// Asks for one RDT that covers these resources, which are one tenant's at one host, with the access token of the last.
    pub(super) async fn ask(&self, resources: &[Resource]) -> Result<Issued, Refused> {
        let Some((last, access)) = resources
            .last()
            .and_then(|last| Some((last, last.access.as_ref()?)))
        else {
            return Err(Refused::all(Cause::Interrupted));
        };
        let post = Post {
            to: &last.host,
            target: TOKENS_PATH,
            content_type: "application/json",
            fields: probe::fields(&self.inject, access),
            body: body(resources),
        };
        let asked = Instant::now();
        let answer = self.transport.post(post).await;
        let answer = answer.map_err(|error| Refused::all(Cause::Unreachable(error)))?;
        if let (429, Some(quota)) = (answer.status, &self.quota) {
            quota.is_used_up(&last.tenant);
        }
        let (token, expires_in) = read(&answer)?;
        let life = Life::parse(
            asked,
            expires_in,
            self.lwa.refresh_at,
            self.lwa.clock_skew,
            rand::random(),
        )
        .map_err(|_absurd| nonsense("an RDT whose expiresIn is not believable"))?;
        Ok(Issued {
            token,
            generation: next_generation(),
            issued: asked,
            life,
            standing: Standing::default(),
        })
    }
}

impl Fetch<Resource> for Restricted {
    fn fetch<'a>(
        &'a self,
        key: &'a Resource,
        _forced: bool,
    ) -> BoxFuture<'a, Result<Issued, Cause>> {
        Box::pin(async move {
            self.place(&key.tenant).await?;
            let issued = self.ask(std::slice::from_ref(key)).await;
            issued.map_err(|refused| refused.cause)
        })
    }
}

/// The request: each path once, with all the elements that anybody asks for it.
fn body(resources: &[Resource]) -> Bytes {
    let mut wanted: BTreeMap<(&str, &str), BTreeSet<&str>> = BTreeMap::new();
    for resource in resources {
        let elements = wanted
            .entry((&resource.path, resource.method.as_str()))
            .or_default();
        elements.extend(resource.data_elements.iter().map(String::as_str));
    }
    let wanted: Vec<_> = wanted
        .into_iter()
        .map(|((path, method), elements)| {
            if elements.is_empty() {
                json!({ "method": method, "path": path })
            } else {
                json!({ "method": method, "path": path, "dataElements": elements })
            }
        })
        .collect();
    json!({ "restrictedResources": wanted }).to_string().into()
}

const fn nonsense(what: &'static str) -> Refused {
    Refused::all(Cause::Nonsense(what))
}

fn read(answer: &Answer) -> Result<(AccessToken, u64), Refused> {
    #[derive(Deserialize)]
    struct Flat {
        #[serde(rename = "restrictedDataToken")]
        token: Zeroizing<String>,
        #[serde(rename = "expiresIn")]
        expires_in: u64,
    }
    #[derive(Deserialize)]
    struct Wrapped {
        payload: Flat,
    }
    if answer.status != 200 {
        return Err(refused(answer));
    }
    let flat = serde_json::from_slice::<Flat>(&answer.body)
        .or_else(|_not_flat| {
            serde_json::from_slice::<Wrapped>(&answer.body).map(|wrapped| wrapped.payload)
        })
        .map_err(|_quotes_the_body| nonsense("an answer of the Tokens API that is not a token"))?;
    let token = AccessToken::new(&flat.token)
        .map_err(|_bad| nonsense("an RDT that no header can carry"))?;
    Ok((token, flat.expires_in))
}

/// What an answer without an RDT means.
fn refused(answer: &Answer) -> Refused {
    let cause = match answer.status {
        429 => Cause::RestrictedThrottled,
        401 | 403 if blames_the_access_token(answer) => Cause::AccessRefused,
        // a missing role, a lapsed account, data that the application may not have: no other access token helps
        400..=499 => Cause::RestrictedRefused(answer.status),
        500..=599 => Cause::Unreachable(format!("the Tokens API answered {}", answer.status)),
        _ => Cause::Nonsense("an answer of the Tokens API with an unexpected status"),
    };
    // any other 400 may be about one path among several
    let about_one =
        answer.status == 400 && meaning(answer) != Meaning::Denied(Denial::DataElements);
    Refused {
        cause,
        all: !about_one,
    }
}

fn meaning(answer: &Answer) -> Meaning {
    let call = judge::Call {
        method: &http::Method::POST,
        path: TOKENS_PATH,
        token_kind: "access",
        throttled_lately: false,
    };
    judge::judge(answer.status, None, &answer.body, &call)
}

fn blames_the_access_token(answer: &Answer) -> bool {
    [
        Denial::Unauthenticated,
        Denial::TokenExpired,
        Denial::TokenInvalid,
    ]
    .map(Meaning::Denied)
    .contains(&meaning(answer))
}

#[cfg(test)]
mod tests;
