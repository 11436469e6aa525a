//! `schema`: the JSON Schema of `proxy.yaml`.
#![expect(clippy::print_stdout, reason = "commands print")]

use super::{Complaint, Exit};
use crate::config::schema;

/// Print the JSON Schema (draft 2020-12) of proxy.yaml, for editors and other checkers.
///
/// Example: spapi-sidecar schema > proxy.schema.json
///
/// and, as the first line of proxy.yaml: # yaml-language-server: $schema=proxy.schema.json
#[derive(clap::Args, Clone, Copy, Debug)]
pub struct Args {}

/// Runs the command.
///
/// # Errors
/// None today.
pub fn run(_args: &Args) -> Result<Exit, Complaint> {
    println!("{:#}", schema::json());
    Ok(Exit::Done)
}
