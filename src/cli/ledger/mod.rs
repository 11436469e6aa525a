//! `ledger`: which endpoint is called with which scope, why, and who answers for it.

use std::path::{Path, PathBuf};

use serde_json::Value;

use super::{Complaint, ConfigArg, Exit, ask, load, print};
use crate::config::Config;

mod markdown;
mod traffic;

pub(super) use markdown::cell;

/// The scope-to-endpoint ledger, as Markdown, for people who review access.
///
/// `--check FILE` compares it with a file that is kept in version control: exit code 1 and a diff when the file is out of
/// date, so that a change of `routes` cannot be merged without its ledger. `--from-traffic` asks the running sidecar what was
/// called under `policy: report` and prints the `routes:` that would allow it, with roles filled in from Amazon's tables.
#[derive(clap::Args, Debug)]
#[command(
    after_help = "Examples:\n  spapi-sidecar ledger > LEDGER.md\n  spapi-sidecar ledger --check LEDGER.md\n  spapi-sidecar ledger --from-traffic"
)]
pub struct Args {
    #[command(flatten)]
    config: ConfigArg,
    /// Compare with this file: exit code 1 and a diff when it is out of date.
    #[arg(long, value_name = "FILE", conflicts_with = "from_traffic")]
    check: Option<PathBuf>,
    /// Print the routes that what the running sidecar saw would need.
    #[arg(long)]
    from_traffic: bool,
    /// Add when each endpoint was last called, by the running sidecar's word.
    #[arg(long, conflicts_with_all = ["check", "from_traffic"])]
    last_seen: bool,
}

/// Runs the command.
///
/// # Errors
/// When the configuration or the file to check cannot be read, or the sidecar does not answer.
pub fn run(args: &Args) -> Result<Exit, Complaint> {
    let config = load(&args.config.config)?;
    if args.from_traffic {
        print(traffic::routes(&config, &status(&config)?))?;
        return Ok(Exit::Done);
    }
    if let Some(path) = &args.check {
        return check(&config, path);
    }
    let seen = args.last_seen.then(|| status(&config)).transpose()?;
    print(markdown::write(&config, seen.as_ref()))?;
    Ok(Exit::Done)
}

fn status(config: &Config) -> Result<Value, Complaint> {
    let (code, body) =
        ask::get(config, "/api/v1/status")?.map_err(|silence| Complaint(silence.to_string()))?;
    match serde_json::from_str(&body) {
        Ok(status) if code == 200 => Ok(status),
        _ => Err(Complaint(format!(
            "the admin listener answered {code}, which is no status of a sidecar; is `listen.admin` its address?"
        ))),
    }
}

fn check(config: &Config, path: &Path) -> Result<Exit, Complaint> {
    let kept = std::fs::read_to_string(path).map_err(|error| {
        Complaint(format!(
            "{}: {error}; write it with `spapi-sidecar ledger > {}`",
            path.display(),
            path.display()
        ))
    })?;
    let now = markdown::write(config, None);
    if kept == now {
        print(format!("{}: up to date\n", path.display()))?;
        return Ok(Exit::Done);
    }
    print(markdown::difference(&kept, &now))?;
    let file = path.display();
    print(format!(
        "{file}: out of date; write it anew with `spapi-sidecar ledger > {file}`
"
    ))?;
    Ok(Exit::Failed)
}
