//! The text of `proxy.yaml` to a [`Config`].
//!
//! Job: syntax, then every declaration, then meaning; all faults in the order of the file.
//! Invariants: a `Config` comes out only where there is no fault at all. YAML is known to this room alone.
//! Failure mode: [`Faults`], at least one.

use super::error::{Fault, Faults, Wrong};
use super::expand::Lookup;
use super::read::{Kind, Shape};
use super::tree::{self, Content, Node, Place};
use super::{Config, meaning, section};

/// Parses a whole file.
pub(super) fn parse(file: &str, text: &str, env: Lookup<'_>) -> Result<Config, Faults> {
    let mut faults = Vec::new();
    let config = tree::parse(text, env, &mut faults).and_then(|mut root| {
        // a file of comments alone lacks what any file has to have, and nothing else is wrong with it
        if root.is_null() {
            root.content = Content::Mapping(Vec::new());
        }
        let config = Shape(section::document).read(&root, "", &mut faults);
        meaning::check(&root, &mut faults);
        config.map(|config| with_release(config, &root, env))
    });
    faults.sort_by_key(|fault: &Fault| (fault.line, fault.column));
    match config {
        Some(config) if faults.is_empty() => Ok(config),
        Some(_) | None => Err(Faults {
            file: file.to_owned(),
            faults: at_least_one(faults),
        }),
    }
}

/// `telemetry.release` defaults to `${RELEASE:-dev}`, as the sample shows it.
fn with_release(mut config: Config, root: &Node, env: Lookup<'_>) -> Config {
    let written = root
        .child("telemetry")
        .is_some_and(|telemetry| telemetry.child("release").is_some());
    let usable = |text: &String| !text.trim().is_empty() && !text.chars().any(char::is_control);
    if let (false, Some(release)) = (written, env("RELEASE").filter(usable)) {
        config.telemetry.release = release;
    }
    config
}

/// A reader that refuses without saying why is a mistake of ours; the file is refused all the same, and not in silence.
fn at_least_one(mut faults: Vec<Fault>) -> Vec<Fault> {
    if faults.is_empty() {
        let wrong = Wrong::new(
            "the file was refused and no reason was given",
            "report this as a defect",
        );
        faults.push(Place::START.fault("", wrong.problem, wrong.remedy));
    }
    faults
}

/// Where the deepest part of a path stands in a file, as line and column: for warnings, which are about a valid `Config`.
#[must_use]
pub fn locate(text: &str, path: &str) -> Option<(usize, usize)> {
    let mut faults = Vec::new();
    let root = tree::parse(text, &|_| Some(String::new()), &mut faults)?;
    let mut node = &root;
    for step in path.split(['.', '[']) {
        let next = match step.strip_suffix(']') {
            Some(index) => index
                .parse()
                .ok()
                .and_then(|index: usize| node.items().get(index)),
            None => node.child(step),
        };
        match next {
            Some(next) => node = next,
            None => break,
        }
    }
    Some((node.place.line, node.place.column))
}
