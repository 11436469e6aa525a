//! YAML text as a tree of nodes that know where they stand.
//!
//! Job: parse the one document of a file, expand `${NAME}` in its values, and find keys that stand twice.
//! Invariants: no tags, no second document, bounded depth and size (aliases count for what they stand for); a value that
//! came from the environment is marked, so that no fault quotes it.
//! Failure mode: faults with their place; a value that cannot be expanded becomes [`Content::Broken`], which readers pass
//! over in silence because it has been reported.
//! Source: YAML 1.2.2, core schema (section 10.3).

use std::collections::HashMap;
use std::collections::hash_map::Entry as Slot;

use super::error::Fault;
use super::expand::{self, Lookup};
use build::build;

mod build;

/// A place in the file, from 1.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(in crate::config) struct Place {
    pub(in crate::config) line: usize,
    pub(in crate::config) column: usize,
}

impl Place {
    /// Where an empty document stands.
    pub(in crate::config) const START: Self = Self { line: 1, column: 1 };

    /// A fault here.
    pub(in crate::config) fn fault(
        self,
        path: &str,
        problem: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Fault {
        Fault {
            line: self.line,
            column: self.column,
            path: path.to_owned(),
            problem: problem.into(),
            remedy: remedy.into(),
        }
    }
}

/// A value and where it stands.
#[derive(Clone, Debug)]
pub(in crate::config) struct Node {
    pub(in crate::config) place: Place,
    pub(in crate::config) content: Content,
}

/// What a node holds.
#[derive(Clone, Debug)]
pub(in crate::config) enum Content {
    Scalar(Scalar),
    List(Vec<Node>),
    Mapping(Vec<Entry>),
    /// Already reported; nothing can be read from it.
    Broken,
}

/// A scalar as written, after escapes and expansion.
#[derive(Clone, Debug)]
pub(in crate::config) struct Scalar {
    pub(in crate::config) text: String,
    pub(in crate::config) style: Style,
    /// Whether part of the text came from the environment: then no fault quotes it.
    pub(in crate::config) from_environment: bool,
}

/// How a scalar was written, as far as that decides its type.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::config) enum Style {
    /// Bare: its text decides whether it is a number, a truth value, nothing or text.
    Plain,
    /// Expanded, bare or not: whatever its reader wants it to be. Quotes decide nothing here, since a flow mapping cannot
    /// hold `${NAME}` without them.
    Expanded,
    /// Double-quoted or a block: text.
    Quoted,
    /// Single-quoted: text, in which nothing expands.
    Verbatim,
}

/// A key and its value.
#[derive(Clone, Debug)]
pub(in crate::config) struct Entry {
    pub(in crate::config) key: String,
    pub(in crate::config) key_place: Place,
    pub(in crate::config) value: Node,
}

impl Node {
    /// The value of a key; the first where it stands twice.
    pub(in crate::config) fn child(&self, key: &str) -> Option<&Self> {
        self.entries()
            .iter()
            .find(|entry| entry.key == key)
            .map(|entry| &entry.value)
    }

    /// The entries of a mapping; none of anything else.
    pub(in crate::config) fn entries(&self) -> &[Entry] {
        match &self.content {
            Content::Mapping(entries) => entries,
            Content::Scalar(_) | Content::List(_) | Content::Broken => &[],
        }
    }

    /// The items of a list; none of anything else.
    pub(in crate::config) fn items(&self) -> &[Self] {
        match &self.content {
            Content::List(items) => items,
            Content::Scalar(_) | Content::Mapping(_) | Content::Broken => &[],
        }
    }

    /// The scalar, if this is one.
    pub(in crate::config) const fn scalar(&self) -> Option<&Scalar> {
        match &self.content {
            Content::Scalar(scalar) => Some(scalar),
            Content::List(_) | Content::Mapping(_) | Content::Broken => None,
        }
    }

    /// The text of a scalar that is text.
    pub(in crate::config) fn text(&self) -> Option<&str> {
        self.scalar()
            .filter(|scalar| scalar.is_text())
            .map(|scalar| scalar.text.as_str())
    }

    /// Whether this is null, or nothing at all.
    pub(in crate::config) fn is_null(&self) -> bool {
        self.scalar().is_some_and(Scalar::is_null)
    }

    /// What stands here, in the words of a fault.
    pub(in crate::config) fn noun(&self) -> &'static str {
        match &self.content {
            Content::Scalar(scalar) => scalar.noun(),
            Content::List(_) => "a list",
            Content::Mapping(_) => "a mapping",
            Content::Broken => "a value",
        }
    }
}

impl Scalar {
    const fn is_bare(&self) -> bool {
        matches!(self.style, Style::Plain | Style::Expanded)
    }

    /// Null or empty, by the core schema.
    pub(in crate::config) fn is_null(&self) -> bool {
        self.is_bare() && matches!(self.text.as_str(), "" | "~" | "null" | "Null" | "NULL")
    }

    /// A truth value, by the core schema.
    pub(in crate::config) fn truth(&self) -> Option<bool> {
        match self.text.as_str() {
            "true" | "True" | "TRUE" if self.is_bare() => Some(true),
            "false" | "False" | "FALSE" if self.is_bare() => Some(false),
            _ => None,
        }
    }

    /// Whether the text is a number by the core schema, decimal forms alone.
    pub(in crate::config) fn is_number(&self) -> bool {
        let text = self.text.as_str();
        self.is_bare()
            && text
                .strip_prefix(['-', '+'])
                .unwrap_or(text)
                .starts_with(|c: char| c.is_ascii_digit() || c == '.')
            && text.parse::<f64>().is_ok()
    }

    /// Whether the scalar may be read as text.
    pub(in crate::config) fn is_text(&self) -> bool {
        match self.style {
            Style::Quoted | Style::Verbatim => true,
            Style::Expanded => !self.is_null(),
            Style::Plain => !self.is_null() && self.truth().is_none() && !self.is_number(),
        }
    }

    fn noun(&self) -> &'static str {
        if self.is_null() {
            "nothing"
        } else if self.style == Style::Expanded {
            "a value from the environment"
        } else if self.truth().is_some() {
            "a truth value"
        } else if self.is_number() {
            "a number"
        } else {
            "text"
        }
    }

    /// The text as a fault may show it: never what came from the environment, nothing long, nothing unprintable.
    pub(in crate::config) fn shown(&self) -> String {
        let printable = !self.text.chars().any(char::is_control);
        if self.from_environment {
            "the value from the environment".to_owned()
        } else if printable && !self.text.is_empty() && self.text.chars().count() <= 64 {
            format!("`{}`", self.text)
        } else if self.text.is_empty() {
            "an empty text".to_owned()
        } else {
            "the value".to_owned()
        }
    }
}

/// Joins a key to a path.
pub(in crate::config) fn join(path: &str, key: &str) -> String {
    if path.is_empty() {
        key.to_owned()
    } else {
        format!("{path}.{key}")
    }
}

/// Joins a key that is not ours, and may hold dots, to a path.
pub(in crate::config) fn join_quoted(path: &str, key: &str) -> String {
    format!("{path}[\"{key}\"]")
}

/// Joins the index of an item to a path.
pub(in crate::config) fn item(path: &str, index: usize) -> String {
    format!("{path}[{index}]")
}

/// Parses the text of a file. `None` where the syntax itself is wrong.
pub(in crate::config) fn parse(
    text: &str,
    env: Lookup<'_>,
    faults: &mut Vec<Fault>,
) -> Option<Node> {
    match build(text) {
        Ok(mut root) => {
            settle(&mut root, "", env, faults);
            Some(root)
        }
        Err(fault) => {
            faults.push(*fault);
            None
        }
    }
}

/// The tree of a default, which is written as one line of YAML.
pub(in crate::config) fn literal(text: &str) -> Node {
    build(text).unwrap_or(Node {
        place: Place::START,
        content: Content::Broken,
    })
}

/// Expands values and removes keys that stand twice, reporting both.
fn settle(node: &mut Node, path: &str, env: Lookup<'_>, faults: &mut Vec<Fault>) {
    match &mut node.content {
        Content::Scalar(scalar) => {
            if let Err(wrong) = expand::expand(scalar, env) {
                faults.push(node.place.fault(path, wrong.problem, wrong.remedy));
                node.content = Content::Broken;
            }
        }
        Content::List(items) => {
            for (index, node) in items.iter_mut().enumerate() {
                settle(node, &item(path, index), env, faults);
            }
        }
        Content::Mapping(entries) => {
            drop_repeats(entries, path, faults);
            for entry in entries {
                settle(&mut entry.value, &join(path, &entry.key), env, faults);
            }
        }
        Content::Broken => {}
    }
}

fn drop_repeats(entries: &mut Vec<Entry>, path: &str, faults: &mut Vec<Fault>) {
    let mut lines: HashMap<String, usize> = HashMap::new();
    entries.retain(|entry| match lines.entry(entry.key.clone()) {
        Slot::Vacant(slot) => {
            slot.insert(entry.key_place.line);
            true
        }
        Slot::Occupied(slot) => {
            faults.push(entry.key_place.fault(
                &join(path, &entry.key),
                format!("the key stands twice, first on line {}", slot.get()),
                "keep one of the two",
            ));
            false
        }
    });
}
