//! The room's tables: broken files with every word of their faults, good files with what they mean.

mod broken;
mod good;
mod outline;

use super::Config;
use super::error::Faults;

/// The least that a file has to say; three lines.
const LEAST: &str = "version: 1\nstore:\n  file: { path: a, key_file: b }\n";

/// What the tests find in their environment.
fn environment(name: &str) -> Option<String> {
    match name {
        "CANARY" => Some("canary-from-the-environment".to_owned()),
        "COUNT" => Some("12".to_owned()),
        "TRUTH" => Some("false".to_owned()),
        "EMPTY" => Some(String::new()),
        _ => None,
    }
}

fn parse(text: &str) -> Result<Config, Faults> {
    Config::parse("proxy.yaml", text, &environment)
}

fn good(text: &str) -> Config {
    parse(text)
        .map_err(|faults| format!("{faults}\n{text}"))
        .unwrap()
}

/// A good file: the least of one, and this.
fn least_and(text: &str) -> Config {
    good(&format!("{LEAST}{text}"))
}
