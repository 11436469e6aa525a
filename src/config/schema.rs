//! The JSON Schema of `proxy.yaml`, from the declarations that read it.
//!
//! Job: let an editor complete, explain and check the file as it is written.
//! Invariants: the schema refuses no file that the reader accepts, `${NAME}` outside text fields apart; what depends on
//! several keys is left to `check`.
//! Failure mode: none.
//! Source: JSON Schema draft 2020-12.

use serde_json::{Map, Value, json};

use super::read::{Kind, Shape};
use super::section;

/// The schema.
#[must_use]
pub fn json() -> Value {
    let mut schema = Map::new();
    schema.insert(
        "$schema".to_owned(),
        json!("https://json-schema.org/draft/2020-12/schema"),
    );
    schema.insert("title".to_owned(), json!("proxy.yaml of spapi-sidecar"));
    if let Value::Object(document) = Shape(section::document).schema() {
        schema.extend(document);
    }
    Value::Object(schema)
}
