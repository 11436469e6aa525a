//! `health`: for a container's health check.
#![expect(clippy::print_stdout, reason = "commands print")]

use super::{Complaint, ConfigArg, Exit, ask, load};

/// Asks the running sidecar whether it is ready. Exit code 0 when it is, 1 when it is not or does not answer.
///
/// Example: spapi-sidecar health --config proxy.yaml && echo ready
#[derive(clap::Args, Debug)]
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
    match ask::get(&config, "/health/ready")? {
        Ok((200, _)) => {
            println!("ready");
            return Ok(Exit::Done);
        }
        Ok((status, body)) => println!("not ready ({status}): {body}"),
        Err(error) => println!("{error}"),
    }
    Ok(Exit::Failed)
}
