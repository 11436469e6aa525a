//! One line of `operations.json`.
//!
//! Job: turn the embedded table into [`Operation`]s.
//! Invariants: columns that nothing reads are skipped while parsing.
//! Failure mode: an error of `serde_json`, which the catalog's tests rule out for the embedded text.

use serde::Deserialize;
use serde::de::{Deserializer, Error as _};

use super::{Audience, Operation, RdtWhen};

/// Parses the table.
pub(super) fn parse(text: &str) -> Result<Vec<Operation>, serde_json::Error> {
    let rows: Vec<Row> = serde_json::from_str(text)?;
    Ok(rows.into_iter().map(Row::into_operation).collect())
}

#[derive(Deserialize)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "a line of the table, column for column"
)]
struct Row {
    api: String,
    version: String,
    operation_id: String,
    #[serde(deserialize_with = "method")]
    method: http::Method,
    path: String,
    rate: Option<f64>,
    burst: Option<f64>,
    restricted: bool,
    rdt_when: Option<When>,
    rdt_path: Option<Form>,
    data_elements: Vec<String>,
    grantless_scope: Option<String>,
    roles: Option<Vec<String>>,
    roles_basis: Option<String>,
    greedy: bool,
    deprecated: bool,
    sandbox_only: bool,
    audience: Option<Whom>,
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum When {
    Always,
    PiiOnly,
    RestrictedReportTypes,
}

#[derive(Deserialize, PartialEq)]
#[serde(rename_all = "snake_case")]
enum Form {
    Generic,
    Specific,
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum Whom {
    Seller,
    Vendor,
    Both,
}

fn method<'de, D: Deserializer<'de>>(from: D) -> Result<http::Method, D::Error> {
    let text = String::deserialize(from)?;
    text.parse().map_err(D::Error::custom)
}

impl Row {
    fn into_operation(self) -> Operation {
        Operation {
            api: self.api,
            version: self.version,
            operation_id: self.operation_id,
            method: self.method,
            path: self.path,
            rate: self.rate,
            burst: self.burst,
            restricted: self.restricted,
            rdt_when: self.rdt_when.map(|when| match when {
                When::Always => RdtWhen::Always,
                When::PiiOnly => RdtWhen::PiiOnly,
                When::RestrictedReportTypes => RdtWhen::RestrictedReportTypes,
            }),
            rdt_specific: self.rdt_path == Some(Form::Specific),
            data_elements: self.data_elements,
            grantless_scope: self.grantless_scope,
            roles: self.roles,
            roles_basis: self.roles_basis,
            greedy: self.greedy,
            deprecated: self.deprecated,
            sandbox_only: self.sandbox_only,
            audience: self.audience.map(|whom| match whom {
                Whom::Seller => Audience::Seller,
                Whom::Vendor => Audience::Vendor,
                Whom::Both => Audience::Both,
            }),
        }
    }
}
