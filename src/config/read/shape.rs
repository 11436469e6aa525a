//! Mappings with keys of ours: read and described by one function each.
//!
//! Job: hand the function a [`Section`] that looks its keys up, notes which were asked for, and refuses the others.
//! Invariants: described and read keys are the same by construction.

use serde_json::{Map, Value, json};

use super::{Kind, mistyped, or_null, to_json, with};
use crate::config::error::{Fault, Wrong};
use crate::config::nearest::nearest;
use crate::config::tree::{self, Content, Entry, Node, Place, join};

/// A mapping with keys of ours.
pub(in crate::config) struct Shape<T>(pub(in crate::config) fn(&mut Section<'_>) -> Option<T>);

impl<T> Clone for Shape<T> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<T> Copy for Shape<T> {}

impl<T> Shape<T> {
    fn read_entries(
        self,
        entries: &[Entry],
        place: Place,
        path: &str,
        faults: &mut Vec<Fault>,
    ) -> Option<T> {
        let mut section = Section {
            entries,
            place,
            path,
            faults,
            known: Vec::new(),
            outline: None,
        };
        let value = (self.0)(&mut section);
        section.refuse_unknown_keys();
        value
    }
}

impl<T> Kind for Shape<T> {
    type Value = T;

    fn read(&self, node: &Node, path: &str, faults: &mut Vec<Fault>) -> Option<T> {
        match &node.content {
            Content::Broken => None,
            Content::Mapping(entries) => self.read_entries(entries, node.place, path, faults),
            Content::Scalar(_) | Content::List(_) => {
                faults.push(mistyped(node, path, &self.wanted()));
                None
            }
        }
    }

    fn schema(&self) -> Value {
        let mut faults = Vec::new();
        let mut section = Section {
            entries: &[],
            place: Place::START,
            path: "",
            faults: &mut faults,
            known: Vec::new(),
            outline: Some(Outline::default()),
        };
        // the value is of no interest: an empty section was read, to see what is asked of it
        drop((self.0)(&mut section));
        section.outline.unwrap_or_default().schema()
    }

    fn wanted(&self) -> String {
        let mut faults = Vec::new();
        let mut section = Section {
            entries: &[],
            place: Place::START,
            path: "",
            faults: &mut faults,
            known: Vec::new(),
            outline: None,
        };
        drop((self.0)(&mut section));
        format!("a mapping of {}", section.known.join(", "))
    }
}

/// What has been asked of a section: its schema in the making.
#[derive(Default)]
struct Outline {
    properties: Map<String, Value>,
    required: Vec<&'static str>,
    one_of: Vec<&'static str>,
}

impl Outline {
    fn schema(self) -> Value {
        let mut schema = json!({
            "type": "object",
            "properties": self.properties,
            "additionalProperties": false,
        });
        if !self.required.is_empty() {
            schema = with(schema, "required", json!(self.required));
        }
        if !self.one_of.is_empty() {
            let branches = self.one_of.iter().map(|key| {
                json!({ "required": [key], "properties": { *key: { "not": { "type": "null" } } } })
            });
            schema = with(schema, "oneOf", branches.collect());
        }
        schema
    }
}

/// A mapping that is being read, or described.
pub(in crate::config) struct Section<'a> {
    entries: &'a [Entry],
    place: Place,
    path: &'a str,
    faults: &'a mut Vec<Fault>,
    known: Vec<&'static str>,
    outline: Option<Outline>,
}

impl<'a> Section<'a> {
    /// A key that may be left out.
    pub(in crate::config) fn or<K: Kind>(
        &mut self,
        key: &'static str,
        default: &'static str,
        kind: &K,
        about: &str,
    ) -> Option<K::Value> {
        let default = tree::literal(default);
        self.describe(key, about, || {
            let mut schema = kind.schema();
            if kind.takes_nothing() {
                schema = or_null(schema);
            }
            with(schema, "default", to_json(&default))
        });
        match self.find(key) {
            Some(entry) if !(kind.takes_nothing() && entry.value.is_null()) => {
                kind.read(&entry.value, &join(self.path, key), self.faults)
            }
            _ => kind.read(&default, &join(self.path, key), self.faults),
        }
    }

    /// A key that may be left out or null.
    pub(in crate::config) fn optional<K: Kind>(
        &mut self,
        key: &'static str,
        kind: &K,
        about: &str,
    ) -> Option<Option<K::Value>> {
        self.describe(key, about, || {
            with(or_null(kind.schema()), "default", Value::Null)
        });
        match self.find(key) {
            Some(entry) if !entry.value.is_null() => kind
                .read(&entry.value, &join(self.path, key), self.faults)
                .map(Some),
            _ => Some(None),
        }
    }

    /// A key that has to be there.
    pub(in crate::config) fn required<K: Kind>(
        &mut self,
        key: &'static str,
        kind: &K,
        about: &str,
    ) -> Option<K::Value> {
        self.describe(key, about, || kind.schema());
        if let Some(outline) = &mut self.outline {
            outline.required.push(key);
        }
        let path = join(self.path, key);
        if let Some(entry) = self.find(key) {
            return kind.read(&entry.value, &path, self.faults);
        }
        // a description reads nothing, and wants no remedy spelt out for it
        if self.outline.is_none() {
            self.faults.push(self.place.fault(
                &path,
                "the key is missing",
                format!("add `{key}:` with {}", kind.wanted()),
            ));
        }
        None
    }

    /// A section that may be left out or empty: then all its keys have their defaults.
    pub(in crate::config) fn nested<T>(
        &mut self,
        key: &'static str,
        shape: fn(&mut Section<'_>) -> Option<T>,
        about: &str,
    ) -> Option<T> {
        let shape = Shape(shape);
        self.describe(key, about, || or_null(shape.schema()));
        let path = join(self.path, key);
        match self.find(key) {
            Some(entry) if !entry.value.is_null() => shape.read(&entry.value, &path, self.faults),
            Some(entry) => shape.read_entries(&[], entry.key_place, &path, self.faults),
            None => shape.read_entries(&[], self.place, &path, self.faults),
        }
    }

    /// Says that exactly one of these keys has to be there. Whether that is so.
    pub(in crate::config) fn exactly_one(&mut self, keys: &'static [&'static str]) -> bool {
        if let Some(outline) = &mut self.outline {
            outline.one_of = keys.to_vec();
            return false;
        }
        let present: Vec<&Entry> = keys
            .iter()
            .filter_map(|key| self.find(key))
            .filter(|entry| !entry.value.is_null())
            .collect();
        let all = keys.join(", ");
        let fault = match present.as_slice() {
            [_one] => return true,
            [] => self.place.fault(
                self.path,
                format!("none of {all} is here"),
                format!("write exactly one of {all}"),
            ),
            [first, second, ..] => second.key_place.fault(
                &join(self.path, &second.key),
                format!("`{}` and `{}` exclude each other", first.key, second.key),
                format!("keep exactly one of {all}"),
            ),
        };
        self.faults.push(fault);
        false
    }

    /// Notes a fault at a key, or at the section where the key is absent.
    pub(in crate::config) fn refuse(&mut self, key: &str, wrong: Wrong) {
        if self.outline.is_some() {
            return;
        }
        let place = self.find(key).map_or(self.place, |entry| entry.value.place);
        let path = join(self.path, key);
        self.faults
            .push(place.fault(&path, wrong.problem, wrong.remedy));
    }

    /// Whether the file has this key.
    pub(in crate::config) fn names(&self, key: &str) -> bool {
        self.find(key).is_some()
    }

    fn find(&self, key: &str) -> Option<&'a Entry> {
        self.entries.iter().find(|entry| entry.key == key)
    }

    fn describe(&mut self, key: &'static str, about: &str, schema: impl FnOnce() -> Value) {
        self.known.push(key);
        if let Some(outline) = &mut self.outline {
            let schema = with(schema(), "description", json!(about));
            outline.properties.insert(key.to_owned(), schema);
        }
    }

    fn refuse_unknown_keys(&mut self) {
        for entry in self.entries {
            if self.known.contains(&entry.key.as_str()) {
                continue;
            }
            let remedy = if is_secret(&entry.key) {
                "remove it: secrets never stand in this file; `app put`, `authorize` and `tenant put-token` store them".to_owned()
            } else {
                match nearest(&entry.key, self.known.iter().copied()) {
                    Some(key) => format!("did you mean `{key}`?"),
                    None => format!("write one of {}", self.known.join(", ")),
                }
            };
            self.faults.push(entry.key_place.fault(
                &join(self.path, &entry.key),
                "unknown key",
                remedy,
            ));
        }
    }
}

/// Keys under which people try to write a secret here.
fn is_secret(key: &str) -> bool {
    matches!(
        key,
        "client_id" | "client_secret" | "refresh_token" | "token" | "secret_id" | "password"
    )
}
