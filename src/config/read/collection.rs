//! Lists, and mappings whose keys are not ours to name.

use serde_json::{Value, json};

use super::{Kind, mistyped, with};
use crate::config::error::{Fault, Wrong};
use crate::config::tree::{Content, Node, item, join_quoted};

/// A list.
#[derive(Clone, Copy)]
pub(in crate::config) struct List<K> {
    pub(in crate::config) of: K,
    /// Fewest items.
    pub(in crate::config) least: usize,
    /// Whether each item may stand once only.
    pub(in crate::config) unique: bool,
}

impl<K> List<K> {
    /// Any number of items.
    pub(in crate::config) const fn of(of: K) -> Self {
        Self {
            of,
            least: 0,
            unique: false,
        }
    }

    /// Any number of items, each once.
    pub(in crate::config) const fn set(of: K) -> Self {
        Self {
            of,
            least: 0,
            unique: true,
        }
    }
}

impl<K: Copy> List<K> {
    /// At least one item.
    pub(in crate::config) const fn at_least_one(self) -> Self {
        Self { least: 1, ..self }
    }
}

impl<K: Kind<Value: PartialEq>> Kind for List<K> {
    type Value = Vec<K::Value>;

    fn read(&self, node: &Node, path: &str, faults: &mut Vec<Fault>) -> Option<Self::Value> {
        let items = match &node.content {
            Content::Broken => return None,
            Content::List(items) => items,
            Content::Scalar(_) | Content::Mapping(_) => {
                faults.push(mistyped(node, path, &self.wanted()));
                return None;
            }
        };
        if items.len() < self.least {
            faults.push(node.place.fault(
                path,
                "the list is empty",
                format!("write {}", self.wanted()),
            ));
            return None;
        }
        let mut values = Vec::with_capacity(items.len());
        let mut good = true;
        for (index, node) in items.iter().enumerate() {
            let path = item(path, index);
            match self.of.read(node, &path, faults) {
                Some(value) if self.unique && values.contains(&value) => {
                    good = false;
                    faults.push(node.place.fault(&path, "the item stands twice", "keep one"));
                }
                Some(value) => values.push(value),
                None => good = false,
            }
        }
        good.then_some(values)
    }

    fn schema(&self) -> Value {
        let mut schema = json!({ "type": "array", "items": self.of.schema() });
        if self.least > 0 {
            schema = with(schema, "minItems", json!(self.least));
        }
        if self.unique {
            schema = with(schema, "uniqueItems", json!(true));
        }
        schema
    }

    fn wanted(&self) -> String {
        format!("a list, each item {}", self.of.wanted())
    }

    fn takes_nothing(&self) -> bool {
        self.least == 0
    }
}

/// A mapping whose keys are not ours to name.
pub(in crate::config) struct Table<T, K> {
    /// What a key is.
    pub(in crate::config) key: fn(&str) -> Result<T, Wrong>,
    /// What to write as a key.
    pub(in crate::config) key_wanted: &'static str,
    /// The schema of a key.
    pub(in crate::config) key_schema: fn() -> Value,
    pub(in crate::config) of: K,
}

impl<T: Ord, K: Kind> Kind for Table<T, K> {
    type Value = std::collections::BTreeMap<T, K::Value>;

    fn read(&self, node: &Node, path: &str, faults: &mut Vec<Fault>) -> Option<Self::Value> {
        let entries = match &node.content {
            Content::Broken => return None,
            Content::Mapping(entries) => entries,
            Content::Scalar(_) | Content::List(_) => {
                faults.push(mistyped(node, path, &self.wanted()));
                return None;
            }
        };
        let before = faults.len();
        let mut values = Self::Value::new();
        for entry in entries {
            let path = join_quoted(path, &entry.key);
            let value = self.of.read(&entry.value, &path, faults);
            match (self.key)(&entry.key) {
                Ok(key) if values.contains_key(&key) => faults.push(entry.key_place.fault(
                    &path,
                    "the key stands twice in another spelling",
                    "keep one of the two",
                )),
                Ok(key) => {
                    values.extend(value.map(|value| (key, value)));
                }
                Err(wrong) => faults.push(entry.key_place.fault(
                    &path,
                    wrong.problem.replacen('~', "the key", 1),
                    wrong.remedy,
                )),
            }
        }
        let broken = entries
            .iter()
            .any(|entry| matches!(entry.value.content, Content::Broken));
        (faults.len() == before && !broken).then_some(values)
    }

    fn schema(&self) -> Value {
        json!({ "type": "object", "propertyNames": (self.key_schema)(), "additionalProperties": self.of.schema() })
    }

    fn wanted(&self) -> String {
        format!("a mapping of {} to {}", self.key_wanted, self.of.wanted())
    }

    fn takes_nothing(&self) -> bool {
        true
    }
}
