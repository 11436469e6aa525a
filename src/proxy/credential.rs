//! Which token a request gets.
//!
//! Job: from an authorized request to a usable token: the tenant's own, a grantless one, or a restricted data token.
//! Invariants: a route that requires an RDT never goes out with less; `required: false` falls back to the plain token only
//! where Amazon refuses the data elements.
//! Failure mode: `token_unavailable` or `rdt_unavailable`, naming the cause.

use std::sync::Arc;

use super::request::Authorized;
use super::respond::no_token;
use crate::config::{Rdt, RdtPer};
use crate::outcome::{Failure, Reason};
use crate::policy::Credential as Wanted;
use crate::secret::AccessToken;
use crate::tenant::GrantKind;
use crate::token::restricted::Resource;
use crate::token::{AccessKey, Cause, Issued, Standing, TokenSource};

/// A token, and how to say that Amazon refused it.
#[derive(Debug)]
pub struct Credential {
    /// The token.
    pub token: AccessToken,
    /// `access`, `grantless` or `rdt`.
    pub kind: &'static str,
    origin: Origin,
    generation: u64,
    standing: Standing,
}

#[derive(Debug)]
enum Origin {
    Access(AccessKey),
    Kept(Resource),
    Once,
}

impl Credential {
    /// Notes that Amazon took this token.
    pub fn accepted(&self) {
        self.standing.accept();
    }

    /// Tells the token room that Amazon refused this token; says whether another try makes sense.
    #[must_use]
    pub fn refused(&self, tokens: &TokenSource) -> bool {
        match &self.origin {
            Origin::Access(key) => tokens.refuse(key, self.generation),
            // where the access token died too, the Tokens API will say so
            Origin::Kept(resource) => tokens.refuse_restricted(resource, self.generation),
            Origin::Once => true,
        }
    }
}

/// Gets the token that the request's route asks for.
///
/// # Errors
/// When it cannot be had now.
pub async fn obtain(tokens: &TokenSource, authorized: &Authorized) -> Result<Credential, Failure> {
    let route = authorized.route();
    let kind = match &route.credential {
        Wanted::Tenant => GrantKind::Refresh,
        Wanted::Grantless(scope) => GrantKind::Grantless(Arc::clone(scope)),
    };
    let access = AccessKey::new(authorized.tenant(), kind);
    if let Some(rdt) = &route.rdt {
        match Box::pin(restricted(tokens, authorized, rdt, &access)).await {
            Err(failure)
                if !rdt.required && matches!(failure.cause, Cause::RestrictedRefused(_)) => {}
            Err(failure) => return Err(no_token(Reason::RdtUnavailable, failure)),
            Ok(credential) => return Ok(credential),
        }
    }
    let issued = tokens
        .access(&access)
        .await
        .map_err(|failure| no_token(Reason::TokenUnavailable, failure))?;
    Ok(Credential {
        token: issued.token,
        kind: access.grant.kind.as_str(),
        generation: issued.generation,
        standing: issued.standing,
        origin: Origin::Access(access),
    })
}

async fn restricted(
    tokens: &TokenSource,
    authorized: &Authorized,
    rdt: &Rdt,
    access: &AccessKey,
) -> Result<Credential, crate::token::TokenFailure> {
    let per_call = rdt.per == RdtPer::Path || authorized.is_document_of_a_report();
    let path: Arc<str> = if per_call {
        authorized.target().path().into()
    } else {
        Arc::clone(&authorized.route().template)
    };
    // an RDT is asked for GET, and covers HEAD as policy does
    let method = if authorized.method() == http::Method::HEAD {
        http::Method::GET
    } else {
        authorized.method().clone()
    };
    let resource = Resource::new(
        access.grant.tenant.clone(),
        authorized.host().clone(),
        method,
        path,
        rdt.data_elements.clone().into(),
    );
    let made = |issued: Issued, origin| Credential {
        token: issued.token,
        kind: "rdt",
        generation: issued.generation,
        standing: issued.standing,
        origin,
    };
    if per_call {
        tokens
            .restricted_once(&resource, access)
            .await
            .map(|issued| made(issued, Origin::Once))
    } else {
        tokens
            .restricted(&resource, access)
            .await
            .map(|issued| made(issued, Origin::Kept(resource)))
    }
}
