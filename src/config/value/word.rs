//! Truth values, closed lists of words, and texts that may say anything on one line.

use std::path::PathBuf;

use serde_json::{Value, json};

use super::bare;
use crate::config::error::{Fault, Wrong};
use crate::config::nearest::nearest;
use crate::config::read::{Kind, Text, shown};
use crate::config::tree::Node;

/// `true` or `false`.
pub(in crate::config) struct Truth;

impl Kind for Truth {
    type Value = bool;

    fn read(&self, node: &Node, path: &str, faults: &mut Vec<Fault>) -> Option<bool> {
        let scalar = bare(node, path, faults, &self.wanted())?;
        let truth = scalar.truth();
        if truth.is_none() {
            let wrong = Wrong::new(
                "~ is not a truth value",
                "write true or false, without quotes",
            );
            faults.push(shown(node, path, wrong, &scalar.shown()));
        }
        truth
    }

    fn schema(&self) -> Value {
        json!({ "type": "boolean" })
    }

    fn wanted(&self) -> String {
        "true or false".to_owned()
    }
}

/// One of a closed list of words.
pub(in crate::config) struct OneOf<T: 'static>(pub(in crate::config) &'static [(&'static str, T)]);

impl<T> Clone for OneOf<T> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<T> Copy for OneOf<T> {}

impl<T: Copy> Kind for OneOf<T> {
    type Value = T;

    fn read(&self, node: &Node, path: &str, faults: &mut Vec<Fault>) -> Option<T> {
        // 1.2 without quotes is a number to YAML and the same word to a person
        let scalar = bare(node, path, faults, &self.wanted())?;
        let found = self.0.iter().find(|&&(word, _)| word == scalar.text);
        if let Some(&(_, value)) = found {
            return Some(value);
        }
        let words = self.0.iter().map(|&(word, _)| word);
        let remedy = match nearest(&scalar.text, words) {
            Some(word) if !scalar.from_environment => format!("did you mean `{word}`?"),
            Some(_) | None => format!("write {}", self.wanted()),
        };
        let wrong = Wrong::new("~ may not stand here", remedy);
        faults.push(shown(node, path, wrong, &scalar.shown()));
        None
    }

    fn schema(&self) -> Value {
        json!({ "enum": self.0.iter().map(|&(word, _)| word).collect::<Vec<_>>() })
    }

    fn wanted(&self) -> String {
        match self.0 {
            [(word, _)] => (*word).to_owned(),
            many => {
                let words: Vec<&str> = many.iter().map(|&(word, _)| word).collect();
                format!("one of {}", words.join(", "))
            }
        }
    }
}

/// One line that says something: no control character, and not white space alone.
fn string() -> Value {
    json!({ "type": "string", "minLength": 1, "pattern": "^[^\\p{Cc}]*[^\\s\\p{Cc}][^\\p{Cc}]*$" })
}

/// Text of any kind, but not empty and on one line.
pub(in crate::config) const WORDS: Text<String> = Text {
    wanted: "a text",
    schema: string,
    parse: |text| one_line(text).map(ToOwned::to_owned),
};

/// A path on this machine.
pub(in crate::config) const PATH: Text<PathBuf> = Text {
    wanted: "a path",
    schema: string,
    parse: |text| one_line(text).map(PathBuf::from),
};

fn one_line(text: &str) -> Result<&str, Wrong> {
    if text.trim().is_empty() {
        Err(Wrong::new("~ says nothing", "write at least one character"))
    } else if text.chars().any(char::is_control) {
        Err(Wrong::new(
            "~ holds a control character",
            "write it on one line",
        ))
    } else {
        Ok(text)
    }
}
