//! Declarations that read a file and describe it.
//!
//! Job: one declaration of each section serves both the reader, which collects every mistake, and the JSON Schema.
//! Invariants: a reader returns `None` only after it has noted a fault, or where one was noted before; a default is read
//! by the same kind as a value from the file.
//! Failure mode: faults in a list; nothing stops at the first.

use serde_json::{Map, Value, json};

use super::error::{Fault, Wrong};
use super::tree::{Content, Node};

mod collection;
mod shape;

pub(in crate::config) use collection::{List, Table};
pub(in crate::config) use shape::{Section, Shape};

/// What may stand at a place.
pub(in crate::config) trait Kind {
    /// What it is read into.
    type Value;

    /// Reads a node, noting what is wrong with it.
    fn read(&self, node: &Node, path: &str, faults: &mut Vec<Fault>) -> Option<Self::Value>;

    /// The JSON Schema of what is read.
    fn schema(&self) -> Value;

    /// What to write, as in "write …".
    fn wanted(&self) -> String;

    /// Whether a key with nothing behind it means its default.
    fn takes_nothing(&self) -> bool {
        false
    }
}

/// The fault of a value of another type.
pub(in crate::config) fn mistyped(node: &Node, path: &str, wanted: &str) -> Fault {
    node.place.fault(
        path,
        format!("{} stands here", node.noun()),
        format!("write {wanted}"),
    )
}

/// A scalar that is text, and what to make of it.
pub(in crate::config) struct Text<T> {
    /// What to write.
    pub(in crate::config) wanted: &'static str,
    /// Its schema.
    pub(in crate::config) schema: fn() -> Value,
    /// What is wrong with it, or what it is.
    pub(in crate::config) parse: fn(&str) -> Result<T, Wrong>,
}

impl<T> Clone for Text<T> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<T> Copy for Text<T> {}

impl<T> Kind for Text<T> {
    type Value = T;

    fn read(&self, node: &Node, path: &str, faults: &mut Vec<Fault>) -> Option<T> {
        read_text(node, path, faults, self.wanted, self.parse)
    }

    fn schema(&self) -> Value {
        (self.schema)()
    }

    fn wanted(&self) -> String {
        self.wanted.to_owned()
    }
}

/// Reads text. A problem that starts with `~` has the value put in front, where it may be shown.
pub(in crate::config) fn read_text<T>(
    node: &Node,
    path: &str,
    faults: &mut Vec<Fault>,
    wanted: &str,
    parse: impl Fn(&str) -> Result<T, Wrong>,
) -> Option<T> {
    let scalar = match &node.content {
        Content::Broken => return None,
        Content::Scalar(scalar) if scalar.is_text() => scalar,
        Content::Scalar(scalar) if !scalar.is_null() => {
            let remedy = format!("write {wanted}, in quotes if it looks like something else");
            faults.push(node.place.fault(
                path,
                format!("{} stands where text is wanted", node.noun()),
                remedy,
            ));
            return None;
        }
        Content::Scalar(_) | Content::List(_) | Content::Mapping(_) => {
            faults.push(mistyped(node, path, wanted));
            return None;
        }
    };
    parse(&scalar.text)
        .map_err(|wrong| faults.push(shown(node, path, wrong, &scalar.shown())))
        .ok()
}

/// A fault whose problem may start with `~`, which stands for the value.
pub(in crate::config) fn shown(node: &Node, path: &str, wrong: Wrong, value: &str) -> Fault {
    let problem = match wrong.problem.strip_prefix('~') {
        Some(problem) => format!("{value}{problem}"),
        None => wrong.problem,
    };
    node.place.fault(path, problem, wrong.remedy)
}

/// The same schema, null too.
pub(in crate::config) fn or_null(mut schema: Value) -> Value {
    match (schema.get("type").cloned(), schema.get_mut("enum")) {
        (Some(Value::String(kind)), None) => with(schema, "type", json!([kind, "null"])),
        (None, Some(Value::Array(values))) => {
            values.push(Value::Null);
            schema
        }
        _ => json!({ "anyOf": [schema, { "type": "null" }] }),
    }
}

/// A node as JSON, as the core schema types it.
pub(in crate::config) fn to_json(node: &Node) -> Value {
    match &node.content {
        Content::Broken => Value::Null,
        Content::List(items) => items.iter().map(to_json).collect(),
        Content::Mapping(entries) => entries
            .iter()
            .map(|entry| (entry.key.clone(), to_json(&entry.value)))
            .collect::<Map<_, _>>()
            .into(),
        Content::Scalar(scalar) if scalar.is_null() => Value::Null,
        Content::Scalar(scalar) => match (scalar.truth(), scalar.text.parse::<u64>()) {
            (Some(truth), _) => json!(truth),
            (None, Ok(number)) if scalar.is_number() => json!(number),
            (None, _) => json!(scalar.text),
        },
    }
}

/// The same schema with one more keyword.
fn with(mut schema: Value, keyword: &str, value: Value) -> Value {
    if let Value::Object(keywords) = &mut schema {
        keywords.insert(keyword.to_owned(), value);
    }
    schema
}
