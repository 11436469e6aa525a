//! Which token a request gets.
//!
//! Job: from an authorized request to a usable token: the tenant's own, a grantless one, or a restricted data token.
//! Invariants: a route that requires an RDT never goes out with less, but for the document of a report that is known not to be
//! restricted; `required: false` falls back to the plain token only where Amazon refuses the data elements, which is remembered
//! for a while; getReportDocument's RDT names the concrete path, whatever `per` says.
//! Failure mode: `token_unavailable` or `rdt_unavailable`, naming the cause.

use std::future::Future as _;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;

use super::Shared;
use super::request::Authorized;
use super::respond::no_token;
use crate::catalog::{RdtWhen, as_get};
use crate::config::{Rdt, RdtPer};
use crate::outcome::{Failure, Reason};
use crate::policy::Credential as Wanted;
use crate::secret::AccessToken;
use crate::telemetry::record::Record;
use crate::tenant::GrantKind;
use crate::token::restricted::Resource;
use crate::token::{AccessKey, Cause, Issued, Standing, TokenFailure, TokenSource};

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

/// Gets the token that the request's route asks for, and notes in the record whether one was waiting.
///
/// # Errors
/// When it cannot be had now.
pub async fn obtain(
    shared: &Shared,
    authorized: &Authorized,
    record: &mut Record,
) -> Result<Credential, Failure> {
    let tokens = &shared.tokens;
    let route = authorized.route();
    let kind = match &route.credential {
        Wanted::Tenant => GrantKind::Refresh,
        Wanted::Grantless(scope) => GrantKind::Grantless(Arc::clone(scope)),
    };
    let access = AccessKey::new(authorized.tenant(), kind);
    if let Some(rdt) = &route.rdt {
        // an RDT for one call is always asked for anew: what can wait is the token that it is asked for with
        record.token_was_waiting(tokens.is_fresh(&access));
        match Box::pin(restricted(shared, authorized, rdt, &access)).await {
            Err(failure) => return Err(no_token(Reason::RdtUnavailable, failure)),
            Ok(Some(credential)) => return Ok(credential),
            Ok(None) => {}
        }
    }
    let issued = waiting_or_not(tokens, &access, record)
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

/// A token in memory is there at the first look: to see whether one is costs nothing more.
async fn waiting_or_not(
    tokens: &TokenSource,
    access: &AccessKey,
    record: &mut Record,
) -> Result<Issued, TokenFailure> {
    let mut token = pin!(tokens.access(access));
    let first = std::future::poll_fn(|cx| Poll::Ready(token.as_mut().poll(cx))).await;
    record.token_was_waiting(matches!(first, Poll::Ready(Ok(_))));
    match first {
        Poll::Ready(issued) => issued,
        Poll::Pending => token.await,
    }
}

/// The RDT that a route asks for; `None` where the plain token will do: for a report that is not restricted, and, unless the
/// route requires an RDT, where Amazon refuses the data.
async fn restricted(
    shared: &Shared,
    authorized: &Authorized,
    rdt: &Rdt,
    access: &AccessKey,
) -> Result<Option<Credential>, TokenFailure> {
    let path = authorized.target().path();
    let operation = authorized.operation();
    if operation.is_some_and(|one| one.rdt_when == Some(RdtWhen::RestrictedReportTypes))
        && is_of_an_ordinary_report(shared, authorized)
    {
        return Ok(None);
    }
    let resource = Resource::generic(
        Arc::clone(authorized.tenant()),
        authorized.host().clone(),
        // an RDT is asked for GET, and covers HEAD as policy does
        as_get(authorized.method()).clone(),
        // by Amazon's own template: a route may call its parameters something else, or be wider
        operation.map_or_else(
            || Arc::clone(&authorized.route().template),
            |operation| operation.path.as_str().into(),
        ),
        rdt.data_elements.clone().into(),
    );
    let tokens = &shared.tokens;
    if !rdt.required && tokens.was_refused_lately(&resource) {
        return Ok(None);
    }
    let per_call = rdt.per == RdtPer::Path || operation.is_some_and(|one| one.rdt_specific);
    let (issued, origin) = if per_call {
        let one = resource.clone().at(path);
        (tokens.restricted_once(&one, access).await, Origin::Once)
    } else {
        let kept = tokens.restricted(&resource, access).await;
        (kept, Origin::Kept(resource.clone()))
    };
    match issued {
        Ok(issued) => Ok(Some(Credential {
            token: issued.token,
            kind: "rdt",
            generation: issued.generation,
            standing: issued.standing,
            origin,
        })),
        Err(failure) if !rdt.required && matches!(failure.cause, Cause::RestrictedRefused(_)) => {
            tokens.remember_refusal(&resource);
            tracing::info!(tenant = %access.grant.tenant, operation = %authorized.route().operation, "Amazon refuses the data elements; the plain token goes out instead, without personal data");
            Ok(None)
        }
        Err(failure) => Err(failure),
    }
}

/// Whether the document of a getReportDocument is known not to be restricted. Where that is not known, the route decides.
fn is_of_an_ordinary_report(shared: &Shared, authorized: &Authorized) -> bool {
    let id = authorized.target().path().rsplit('/').next();
    let id = id.unwrap_or_default();
    shared.reports.is_restricted(&authorized.tenant().id, id) == Some(false)
}
