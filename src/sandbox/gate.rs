//! SP-API's gateway: what it refuses before an operation runs.
//!
//! Job: the checks of Amazon in Amazon's order and words: path, framing, token, kind, account, roles, marketplace, quota.
//! Invariant: what passes carries a live token of the kind that the operation takes.
//! Failure mode: a [`Refusal`], 403 above all; an unknown path is 403 too, as at Amazon.

use http::Method;
use serde_json::Value;

use super::call::{Call, MARKETPLACES, Region, Station};
use super::ledger::{BadToken, Token, TokenKind};
use super::operation::{Operation, RdtWhen, covers};
use super::received::{Entry, Held};
use super::respond::Refusal;
use super::throttle::plan;
use super::world::{World, lock};

/// A call that the gateway let through.
pub(super) struct Admitted<'a> {
    pub(super) operation: &'a Operation,
    pub(super) token: Token,
    /// What an RDT opens: data elements, empty with a plain token.
    pub(super) data_elements: Vec<String>,
    /// The call's body, as far as it is JSON.
    pub(super) body: Value,
}

/// Judges a call.
pub(super) fn admit<'a>(
    world: &'a World,
    call: &Call,
    held: &Held,
    entry: &Entry,
) -> Result<Admitted<'a>, Refusal> {
    let operation = world.operations.find(&call.method, call.path());
    let operation = operation.ok_or_else(|| Refusal::denied(""))?;
    entry.note(|received| received.operation = Some(operation.operation_id.clone()));
    check_framing(call, held)?;
    let text = presented(call)?;
    let token = lock(&world.ledger).token(text).map_err(|bad| {
        Refusal::denied(match bad {
            BadToken::Unknown => "The access token you provided is revoked, malformed or invalid.",
            BadToken::Expired => "The access token you provided has expired.",
        })
    })?;
    if let Some(grant) = &token.grant {
        entry.note(|received| received.selling_partner = Some(grant.selling_partner.clone()));
    }
    let data_elements = check_kind(world, call, operation, &token)?;
    check_account(world, call, operation, &token, entry)?;
    let body = held.json();
    check_region(call, &token, &body)?;
    check_quota(world, call, operation, &token, entry)?;
    Ok(Admitted {
        operation,
        token,
        data_elements,
        body,
    })
}

/// SP-API refuses a GET that has a body, or a Content-Length.
fn check_framing(call: &Call, held: &Held) -> Result<(), Refusal> {
    let bodiless = call.method == Method::GET || call.method == Method::HEAD;
    if bodiless && (call.headers.contains_key("content-length") || held.length > 0) {
        return Err(Refusal::invalid(
            "A GET request must not have a body or a Content-Length.",
        ));
    }
    Ok(())
}

/// The text in `x-amz-access-token`, which an `authorization` beside it has to agree with.
fn presented(call: &Call) -> Result<&str, Refusal> {
    let mut fields = call.headers.get_all("x-amz-access-token").iter();
    let malformed =
        || Refusal::denied("The access token you provided is revoked, malformed or invalid.");
    let text = match (fields.next(), fields.next()) {
        (None, _) => {
            return Err(Refusal::denied(
                "Access token is missing in the request header.",
            ));
        }
        (Some(one), None) => one.to_str().map_err(|_not_text| malformed())?,
        (Some(_), Some(_)) => return Err(malformed()),
    };
    if text.is_empty() {
        return Err(Refusal::denied(
            "Access token is missing in the request header.",
        ));
    }
    let agrees = call.headers.get_all("authorization").iter().all(|field| {
        let field = field.to_str().unwrap_or_default();
        field
            .split_once(' ')
            .is_some_and(|(scheme, rest)| scheme.eq_ignore_ascii_case("bearer") && rest == text)
    });
    if !agrees {
        return Err(Refusal::denied(
            "The authorization header does not carry the token of x-amz-access-token.",
        ));
    }
    Ok(text)
}

/// Whether the token is of the kind that the operation takes; the data elements that it opens.
fn check_kind(
    world: &World,
    call: &Call,
    operation: &Operation,
    token: &Token,
) -> Result<Vec<String>, Refusal> {
    let denied = || Refusal::denied("");
    match (&token.kind, &operation.grantless_scope) {
        (TokenKind::Grantless(held), Some(scope)) if held.contains(scope) => Ok(Vec::new()),
        (TokenKind::Grantless(_), _) | (TokenKind::Access | TokenKind::Restricted(_), Some(_)) => {
            Err(denied())
        }
        (TokenKind::Access, None) => match operation.rdt_when {
            Some(RdtWhen::Always) => Err(denied()),
            Some(RdtWhen::RestrictedReportTypes) if restricted_document(world, call) => {
                let mut refusal = denied();
                "Access to the resource is forbidden".clone_into(&mut refusal.message);
                Err(refusal)
            }
            Some(RdtWhen::PiiOnly | RdtWhen::RestrictedReportTypes) | None => Ok(Vec::new()),
        },
        (TokenKind::Restricted(resources), None) => {
            let asked = if call.method == Method::HEAD {
                &Method::GET
            } else {
                &call.method
            };
            let mut covering = resources
                .iter()
                .filter(|resource| resource.method == *asked && covers(&resource.path, call.path()))
                .peekable();
            covering.peek().ok_or_else(denied)?;
            Ok(covering
                .flat_map(|resource| resource.data_elements.clone())
                .collect())
        }
    }
}

fn restricted_document(world: &World, call: &Call) -> bool {
    let id = call.path().rsplit('/').next().unwrap_or_default();
    lock(&world.reports).is_restricted(id)
}

/// Faults of the account, the grant's region and its roles.
fn check_account(
    world: &World,
    call: &Call,
    operation: &Operation,
    token: &Token,
    entry: &Entry,
) -> Result<(), Refusal> {
    let grant = token.grant.as_deref();
    let mut troubles = lock(&world.troubles);
    if let Some((name, refusal)) = troubles.refuse(call, operation, grant) {
        entry.note(|received| received.fault = Some(name.to_owned()));
        return Err(refusal);
    }
    // the Tokens API judges the roles of what is asked for, and says 400
    let revoked = if operation.api == "tokens" {
        Vec::new()
    } else {
        troubles.revoked_roles()
    };
    drop(troubles);
    let Some(grant) = grant else {
        return Ok(());
    };
    if !grant.holds_any(&operation.role_slugs, &revoked) {
        let by_fault = grant.holds_any(&operation.role_slugs, &[]);
        if by_fault {
            entry.note(|received| received.fault = Some("revoke_scope".to_owned()));
        }
        return Err(Refusal::denied(""));
    }
    match (grant.region, region_of(call)) {
        (Some(granted), Some(asked)) if granted != asked => Err(Refusal::denied("")),
        _ => Ok(()),
    }
}

const fn region_of(call: &Call) -> Option<Region> {
    match call.station {
        Station::SpApi { region, .. } => region,
        Station::Lwa | Station::Documents | Station::Central | Station::Elsewhere => None,
    }
}

/// Whether all marketplaces named in query and body are of the host's region.
fn check_region(call: &Call, token: &Token, body: &Value) -> Result<(), Refusal> {
    let Some(region) = region_of(call) else {
        return Ok(());
    };
    if token.grant.is_none() {
        return Ok(());
    }
    let in_query = call
        .parameters()
        .filter(|(key, _)| is_marketplace(key))
        .flat_map(|(_, value)| value.split(',').map(str::to_owned).collect::<Vec<_>>());
    let in_body = body
        .as_object()
        .into_iter()
        .flatten()
        .filter(|(key, _)| is_marketplace(key))
        .flat_map(|(_, value)| texts(value));
    let elsewhere = |id: &str| {
        MARKETPLACES
            .iter()
            .any(|(known, of)| *known == id && *of != region)
    };
    if in_query.chain(in_body).any(|id| elsewhere(id.trim())) {
        return Err(Refusal::denied(
            "The marketplaces you provided are not valid for region.",
        ));
    }
    Ok(())
}

fn is_marketplace(key: &str) -> bool {
    let key = key.replace('_', "").to_ascii_lowercase();
    key == "marketplaceid" || key == "marketplaceids"
}

fn texts(value: &Value) -> Vec<String> {
    let one = value.as_str().map(str::to_owned);
    let many = value.as_array().into_iter().flatten();
    one.into_iter()
        .chain(many.filter_map(Value::as_str).map(str::to_owned))
        .collect()
}

fn check_quota(
    world: &World,
    call: &Call,
    operation: &Operation,
    token: &Token,
    entry: &Entry,
) -> Result<(), Refusal> {
    let Some(factor) = lock(&world.troubles).throttle(call) else {
        return Ok(());
    };
    let Some((rate, burst)) = plan(operation, on_sandbox(call)) else {
        return Ok(());
    };
    if lock(&world.buckets).take(operation, token, rate * factor, burst) {
        return Ok(());
    }
    entry.note(|received| received.fault = Some("throttle".to_owned()));
    Err(Refusal::quota())
}

/// Whether the call came to a sandbox endpoint.
pub(super) const fn on_sandbox(call: &Call) -> bool {
    matches!(call.station, Station::SpApi { sandbox: true, .. })
}
