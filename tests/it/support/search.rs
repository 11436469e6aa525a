//! The search for secrets in everything that can be read from outside.

use std::collections::{BTreeMap, BTreeSet};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};

/// Shortest text that does not stand somewhere by chance.
const SHORTEST: usize = 8;

/// Shortest text whose base64 does not.
const SHORTEST_ENCODED: usize = 12;

/// What must not show, and where it was looked for.
#[derive(Default)]
pub(crate) struct Search {
    secrets: BTreeSet<String>,
    pub(crate) places: BTreeMap<String, String>,
}

impl Search {
    /// Adds what must not show.
    pub(crate) fn secret(&mut self, text: &str) {
        assert!(text.len() >= SHORTEST, "{text} could stand anywhere");
        self.secrets.insert(text.to_owned());
    }

    /// Adds a place to look.
    pub(crate) fn place(&mut self, name: impl Into<String>, text: impl Into<String>) {
        self.places.insert(name.into(), text.into());
    }

    /// Every secret that is found, with its spelling and its place.
    pub(crate) fn found(&self) -> Vec<String> {
        let spelt: Vec<(&String, Vec<String>)> = self
            .secrets
            .iter()
            .map(|secret| (secret, spellings(secret)))
            .collect();
        let mut found = Vec::new();
        for (place, text) in &self.places {
            for (secret, spellings) in &spelt {
                for spelling in spellings {
                    if let Some(at) = text.find(spelling) {
                        let before: Vec<char> = text[..at].chars().rev().take(80).collect();
                        let around: String = before.into_iter().rev().collect();
                        found.push(format!("{place}: {spelling} (of {secret}) after …{around}"));
                    }
                }
            }
        }
        found
    }
}

/// A secret as it is and encoded, whole and by halves: wherever two writes split it, one half of it is in one of them.
fn spellings(secret: &str) -> Vec<String> {
    let mut all = encodings(secret);
    let middle = secret.len() / 2;
    if secret.len() >= 2 * SHORTEST && secret.is_char_boundary(middle) {
        all.extend(encodings(&secret[..middle]));
        all.extend(encodings(&secret[middle..]));
    }
    all
}

/// A text as it is, percent-encoded, in hexadecimal and in base64 wherever it may begin.
fn encodings(secret: &str) -> Vec<String> {
    let hex: String = secret.bytes().map(|byte| format!("{byte:02x}")).collect();
    let percent: String = secret.bytes().map(|byte| format!("%{byte:02X}")).collect();
    let form: String = url::form_urlencoded::byte_serialize(secret.as_bytes()).collect();
    let mut all = vec![
        secret.to_owned(),
        hex.to_ascii_uppercase(),
        hex,
        percent.to_ascii_lowercase(),
        percent,
        form,
    ];
    for shift in 0..3 {
        let bytes = [&[0; 3][..shift], secret.as_bytes()].concat();
        for encoded in [
            STANDARD_NO_PAD.encode(&bytes),
            URL_SAFE_NO_PAD.encode(&bytes),
        ] {
            // the first and last characters also hold bits of what stands around it
            if secret.len() >= SHORTEST_ENCODED {
                all.push(encoded[4..encoded.len() - 2].to_owned());
            }
        }
    }
    all
}

#[test]
fn the_search_finds_a_secret_in_every_spelling() {
    let secret = "Atzr|canary-of-acme";
    for text in [
        format!("x {secret} y"),
        "Atzr%7Ccanary-of-acme".to_owned(),
        "41747a727c63616e6172792d6f662d61636d65".to_owned(),
        STANDARD_NO_PAD.encode(format!("acme:{secret}!")),
        URL_SAFE_NO_PAD.encode(format!("a:{secret}")),
        "one line ends in Atzr|canary-o\nand the next begins with f-acme".to_owned(),
        "Atz\nr|canary-of-acme".to_owned(),
    ] {
        let mut search = Search::default();
        search.secret(secret);
        search.place("here", text.clone());
        assert!(!search.found().is_empty(), "{text}");
    }
}

#[test]
fn the_search_finds_nothing_where_there_is_nothing() {
    let mut search = Search::default();
    search.secret("Atzr|canary-of-acme");
    search.place("here", r#"{"tenant":"acme","path":"/orders/v0/orders"}"#);
    assert_eq!(search.found(), Vec::<String>::new());
}
