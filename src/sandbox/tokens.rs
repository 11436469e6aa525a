//! The Tokens API: restricted data tokens.
//!
//! Job: `POST /tokens/2021-03-01/restrictedDataToken`, judged as Amazon does.
//! Invariants: at most 50 resources; getReportDocument by its concrete path only; data elements only where the grant has
//! a role for them. Unknown further fields are tolerated, as at Amazon.
//! Failure mode: 400 `InvalidInput`, never 403, where the grant lacks a role.

use std::sync::Arc;

use http::{Method, StatusCode};
use serde_json::{Value, json};

use super::gate::Admitted;
use super::ledger::{Resource, TokenKind};
use super::operation::{Operation, slug};
use super::respond::{self, Answer, Refusal};
use super::world::{World, lock};

const MOST: usize = 50;

/// Issues a restricted data token.
pub(super) fn create(world: &World, admitted: &Admitted<'_>) -> Result<Answer, Refusal> {
    let asked = admitted.body.get("restrictedResources");
    let asked = asked
        .and_then(Value::as_array)
        .map_or(&[][..], Vec::as_slice);
    if asked.is_empty() || asked.len() > MOST {
        return Err(Refusal::invalid(format!(
            "restrictedResources must hold 1 to {MOST} resources."
        )));
    }
    let resources: Vec<Resource> = asked
        .iter()
        .map(|resource| judge(world, admitted, resource))
        .collect::<Result<_, _>>()?;
    let kind = TokenKind::Restricted(Arc::from(resources));
    let (client, grant) = (admitted.token.client, admitted.token.grant.clone());
    let token = lock(&world.ledger).issue(kind, client, grant, world.expires_in);
    Ok(respond::json(
        StatusCode::OK,
        &json!({"restrictedDataToken": token, "expiresIn": world.expires_in.as_secs()}),
    ))
}

fn judge(world: &World, admitted: &Admitted<'_>, asked: &Value) -> Result<Resource, Refusal> {
    let text = |key: &str| asked.get(key).and_then(Value::as_str).unwrap_or_default();
    let (method, path) = (text("method"), text("path"));
    if !matches!(method, "GET" | "PUT" | "POST" | "DELETE") {
        return Err(Refusal::invalid(
            "The method of a restricted resource is not valid.",
        ));
    }
    let method = Method::from_bytes(method.as_bytes()).unwrap_or_default();
    let generic = path.contains('{');
    let found = if generic {
        world.operations.by_template(&method, path)
    } else {
        world.operations.find(&method, path)
    };
    let Some(operation) = found.filter(|operation| operation.restricted) else {
        return Err(Refusal::invalid(format!(
            "The path {path} is not a restricted resource."
        )));
    };
    if generic && operation.rdt_specific() {
        return Err(Refusal::invalid(
            "getReportDocument takes a specific path only.",
        ));
    }
    let data_elements = elements(operation, asked)?;
    check_roles(world, admitted, operation, &data_elements)?;
    Ok(Resource {
        method,
        path: path.to_owned(),
        data_elements,
    })
}

/// Data elements are required where the operation has any, and mean nothing elsewhere.
fn elements(operation: &Operation, asked: &Value) -> Result<Vec<String>, Refusal> {
    if operation.data_elements.is_empty() {
        return Ok(Vec::new());
    }
    let given = asked.get("dataElements").and_then(Value::as_array);
    let given: Vec<String> = given
        .into_iter()
        .flatten()
        .filter_map(|element| element.as_str().map(str::to_owned))
        .collect();
    if given.is_empty() {
        return Err(Refusal::invalid(format!(
            "dataElements are required for {}.",
            operation.operation_id
        )));
    }
    match given
        .iter()
        .find(|element| !operation.data_elements.contains(element))
    {
        Some(unknown) => Err(Refusal::invalid(format!(
            "{unknown} is not a data element of {}.",
            operation.operation_id
        ))),
        None => Ok(given),
    }
}

fn check_roles(
    world: &World,
    admitted: &Admitted<'_>,
    operation: &Operation,
    elements: &[String],
) -> Result<(), Refusal> {
    let Some(grant) = &admitted.token.grant else {
        return Err(Refusal::denied(""));
    };
    let revoked = lock(&world.troubles).revoked_roles();
    let lacking: Vec<&str> = elements
        .iter()
        .filter(|element| !grant.holds_any(&roles_for(element), &revoked))
        .map(String::as_str)
        .collect();
    if lacking.is_empty() && grant.holds_any(&operation.role_slugs, &revoked) {
        return Ok(());
    }
    Err(Refusal::invalid(format!(
        "Application does not have access to one or more requested data elements: [{}]",
        lacking.join(", ")
    )))
}

/// Any one of these opens the data element.
fn roles_for(element: &str) -> Vec<String> {
    let roles: &[&str] = match element {
        "shippingAddress" => &["Direct-to-Consumer Shipping"],
        "buyerInfo" | "buyerTaxInformation" => &["Tax Remittance", "Tax Invoicing"],
        _ => &[],
    };
    roles.iter().map(|role| slug(role)).collect()
}
