//! Restricted data tokens.
//!
//! Job: ask the Tokens API for an RDT that covers one resource, with the tenant's access token.
//! Invariants: an RDT is keyed by tenant, host, method, path and data elements; the access token that asks for it is no part
//! of the key; the answer is read strictly, flat or inside `payload`.
//! Failure mode: [`Cause::AccessRefused`] when the Tokens API says that the access token was the problem,
//! [`Cause::RestrictedRefused`] when the application may not have the data.
//! Source: Tokens API 2021-03-01 `createRestrictedDataToken`; SP-API facts, section 5.

use std::hash::{Hash, Hasher};
use std::sync::Arc;

use bytes::Bytes;
use serde::Deserialize;
use tokio::time::Instant;
use zeroize::Zeroizing;

use super::cache::{Fetch, Subject, next_generation};
use super::exchange::{Answer, Post, Transport};
use super::judge;
use super::lifetime::Life;
use super::{Cause, Issued, Standing};
use crate::config::{self, InjectHeader};
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
    pub tenant: TenantId,
    /// At which host.
    pub host: Authority,
    /// Method of the restricted operation.
    pub method: http::Method,
    /// Its path: the template for a generic RDT, the concrete path for a specific one.
    pub path: Arc<str>,
    /// `dataElements`.
    pub data_elements: Arc<[String]>,
    access: Option<AccessToken>,
}

impl Subject for Resource {
    fn tenant(&self) -> &TenantId {
        &self.tenant
    }

    fn app(&self) -> Option<&AppId> {
        None
    }

    fn kind(&self) -> &'static str {
        "rdt"
    }
}

impl Resource {
    /// Names a resource.
    #[must_use]
    pub const fn new(
        tenant: TenantId,
        host: Authority,
        method: http::Method,
        path: Arc<str>,
        data_elements: Arc<[String]>,
    ) -> Self {
        Self {
            tenant,
            host,
            method,
            path,
            data_elements,
            access: None,
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
            &self.tenant,
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
        write!(f, "{}/rdt", self.tenant)
    }
}

/// Asks the Tokens API.
#[derive(Debug)]
pub struct Restricted {
    lwa: config::Lwa,
    inject: Vec<InjectHeader>,
    transport: Arc<dyn Transport>,
}

impl Restricted {
    /// `lwa` gives the rules of a life, `inject` the fields that carry the access token.
    #[must_use]
    pub fn new(lwa: config::Lwa, inject: Vec<InjectHeader>, transport: Arc<dyn Transport>) -> Self {
        Self {
            lwa,
            inject,
            transport,
        }
    }

    async fn ask(&self, resource: &Resource) -> Result<Issued, Cause> {
        let access = resource.access.as_ref().ok_or(Cause::Interrupted)?;
        let fields = self
            .inject
            .iter()
            .map(|field| match field {
                InjectHeader::Authorization => {
                    (http::header::AUTHORIZATION, access.expose_bearer())
                }
                InjectHeader::XAmzAccessToken => (
                    http::HeaderName::from_static("x-amz-access-token"),
                    access.expose_plain(),
                ),
            })
            .collect();
        let post = Post {
            to: &resource.host,
            target: TOKENS_PATH,
            content_type: "application/json",
            fields,
            body: body(resource),
        };
        let asked = Instant::now();
        let answer = self
            .transport
            .post(post)
            .await
            .map_err(Cause::Unreachable)?;
        let (token, expires_in) = read(&answer)?;
        let life = Life::parse(
            asked,
            expires_in,
            self.lwa.refresh_at,
            self.lwa.clock_skew,
            rand::random(),
        )
        .map_err(|_absurd| Cause::Nonsense("an RDT whose expiresIn is not believable"))?;
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
        Box::pin(self.ask(key))
    }
}

fn body(resource: &Resource) -> Bytes {
    let mut wanted =
        serde_json::json!({ "method": resource.method.as_str(), "path": &*resource.path });
    if let (false, Some(object)) = (resource.data_elements.is_empty(), wanted.as_object_mut()) {
        object.insert(
            "dataElements".to_owned(),
            resource.data_elements.iter().cloned().collect(),
        );
    }
    serde_json::json!({ "restrictedResources": [wanted] })
        .to_string()
        .into()
}

fn read(answer: &Answer) -> Result<(AccessToken, u64), Cause> {
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
    match answer.status {
        200 => {}
        401 => return Err(Cause::AccessRefused),
        403 => {
            return Err(match judge::forbidden(&answer.body) {
                Denial::Unauthenticated | Denial::TokenExpired | Denial::TokenInvalid => {
                    Cause::AccessRefused
                }
                // a missing role, a lapsed account: no other access token helps
                Denial::SecretLapsed
                | Denial::Role
                | Denial::Forbidden
                | Denial::Region
                | Denial::DataElements
                | Denial::Throttled => Cause::RestrictedRefused(403),
            });
        }
        429 => return Err(Cause::Refused("throttled")),
        400..=499 => return Err(Cause::RestrictedRefused(answer.status)),
        500..=599 => {
            return Err(Cause::Unreachable(format!(
                "the Tokens API answered {}",
                answer.status
            )));
        }
        _ => {
            return Err(Cause::Nonsense(
                "an answer of the Tokens API with an unexpected status",
            ));
        }
    }
    let flat = serde_json::from_slice::<Flat>(&answer.body)
        .or_else(|_not_flat| {
            serde_json::from_slice::<Wrapped>(&answer.body).map(|wrapped| wrapped.payload)
        })
        .map_err(|_quotes_the_body| {
            Cause::Nonsense("an answer of the Tokens API that is not a token")
        })?;
    let token = AccessToken::new(&flat.token)
        .map_err(|_bad| Cause::Nonsense("an RDT that no header can carry"))?;
    Ok((token, flat.expires_in))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_shapes_of_an_answer_are_read() {
        for body in [
            r#"{"restrictedDataToken":"Atz.sprdt|x","expiresIn":3600}"#,
            r#"{"payload":{"restrictedDataToken":"Atz.sprdt|x","expiresIn":3600}}"#,
        ] {
            let (token, life) = read(&Answer {
                status: 200,
                body: Bytes::from_static(body.as_bytes()),
            })
            .unwrap();
            assert_eq!((token.expose(), life), ("Atz.sprdt|x", 3600));
        }
    }

    #[test]
    fn a_403_blames_the_access_token_only_where_it_says_so() {
        for (details, want) in [
            (
                "The access token you provided has expired.",
                "rdt_access_refused",
            ),
            ("", "rdt_refused"),
        ] {
            let body = serde_json::json!({"errors": [{"code": "Unauthorized", "message": "Access to requested resource is denied.", "details": details}]});
            let refused = read(&Answer {
                status: 403,
                body: body.to_string().into(),
            });
            assert_eq!(refused.map(drop).unwrap_err().as_str(), want, "{details}");
        }
    }

    #[test]
    fn the_body_names_one_resource_and_its_elements_only_where_there_are_some() {
        let resource = |elements: &[&str]| {
            let elements: Vec<String> =
                elements.iter().map(|&element| element.to_owned()).collect();
            Resource::new(
                TenantId::parse("acme").unwrap(),
                Authority::parse("a.example:443").unwrap(),
                http::Method::GET,
                "/orders/v0/orders/{orderId}".into(),
                elements.into(),
            )
        };
        assert_eq!(&body(&resource(&["buyerInfo"]))[..], br#"{"restrictedResources":[{"dataElements":["buyerInfo"],"method":"GET","path":"/orders/v0/orders/{orderId}"}]}"#);
        assert_eq!(
            &body(&resource(&[]))[..],
            br#"{"restrictedResources":[{"method":"GET","path":"/orders/v0/orders/{orderId}"}]}"#
        );
    }
}
