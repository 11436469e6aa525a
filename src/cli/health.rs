//! `health`: for a container's health check.

use super::{Complaint, ConfigArg, Exit, ask, load};

/// Ask the running sidecar whether it is ready, as a container's health check does.
///
/// Exit code 0 when it is, 1 when it is not or does not answer.
#[derive(clap::Args, Debug)]
#[command(after_help = "Example:\n  spapi-sidecar health --config proxy.yaml && echo ready")]
pub struct Args {
    #[command(flatten)]
    config: ConfigArg,
}

/// Runs the command.
///
/// # Errors
/// When the configuration is not valid.
pub fn run(args: &Args) -> Result<Exit, Complaint> {
    let config = load(&args.config.config)?;
    let (text, exit) = match ask::get(&config, "/health/ready")? {
        Ok((200, _)) => ("ready".to_owned(), Exit::Done),
        Ok((status, body)) => (format!("not ready ({status}): {body}"), Exit::Failed),
        Err(silence) => (silence.to_string(), Exit::Failed),
    };
    super::print(format!("{text}\n"))?;
    Ok(exit)
}
