//! `schema`: the JSON Schema of `proxy.yaml`.

use super::{Complaint, Exit};
use crate::config::schema;

/// Print the JSON Schema (draft 2020-12) of proxy.yaml, for editors and other checkers.
#[derive(clap::Args, Clone, Copy, Debug)]
#[command(
    after_help = "Example:\n  spapi-sidecar schema > proxy.schema.json\nand, as the first line of proxy.yaml:\n  # yaml-language-server: $schema=proxy.schema.json"
)]
pub struct Args {}

/// Runs the command.
///
/// # Errors
/// When standard output cannot be written.
pub fn run(_args: &Args) -> Result<Exit, Complaint> {
    super::print(format!("{:#}\n", schema::json()))?;
    Ok(Exit::Done)
}
