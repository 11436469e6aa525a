//! `diagnose`: what is wrong, why, and what to do next.

use super::{Complaint, ConfigArg, Exit, ask, load, print};
use crate::config::Config;

mod offline;
mod page;

/// Say what is wrong with the tenants' authorization, with the evidence, the next step and whose it is.
///
/// The running sidecar is asked: it knows its tokens and what Amazon answered lately. Where it does not answer, what can be
/// said from the configuration, the calendar and the store is said. Exit code 1 when something is wrong.
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:\n  spapi-sidecar diagnose\n  spapi-sidecar diagnose acme --json")]
pub struct Args {
    /// One tenant's id; all of them without.
    #[arg(value_name = "TENANT")]
    tenant: Option<String>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    config: ConfigArg,
}

/// Runs the command.
///
/// # Errors
/// When the configuration is not valid, or nothing knows the tenant.
pub fn run(args: &Args) -> Result<Exit, Complaint> {
    let config = load(&args.config.config)?;
    let only = args.tenant.as_deref();
    let diagnosis = match asked(&config, only)? {
        Ok(diagnosis) => diagnosis,
        Err(why) => offline::diagnosis(&config, only, &why)?,
    };
    if args.json {
        // a value that was parsed, or made of strings and numbers, can be written
        let text = serde_json::to_string_pretty(&diagnosis).unwrap_or_default();
        print(format!("{text}\n"))?;
    } else {
        print(page::write(&diagnosis, only.is_some()))?;
    }
    Ok(
        match diagnosis.get("status").and_then(|status| status.as_str()) {
            Some("ok") => Exit::Done,
            Some(_) | None => Exit::Failed,
        },
    )
}

/// What the running sidecar says, or why nothing does.
fn asked(
    config: &Config,
    only: Option<&str>,
) -> Result<Result<serde_json::Value, String>, Complaint> {
    let mut path = "/api/v1/diagnosis".to_owned();
    if let Some(tenant) = only {
        let encoded: String = url::form_urlencoded::byte_serialize(tenant.as_bytes()).collect();
        path.push_str("?tenant=");
        path.push_str(&encoded);
    }
    let (status, body) = match ask::get(config, &path)? {
        Ok(answer) => answer,
        Err(why) => return Ok(Err(why.to_string())),
    };
    match (status, serde_json::from_str(&body)) {
        (200 | 503, Ok(diagnosis)) => Ok(Ok(diagnosis)),
        (404, Ok(serde_json::Value::Object(_))) => Err(Complaint(format!(
            "the running sidecar serves no tenant \"{}\"; `spapi-sidecar tenant list` names those of the configuration",
            only.unwrap_or_default().escape_debug()
        ))),
        _ => Ok(Err(format!(
            "the admin listener answered {status}, which is no diagnosis of a sidecar; is `listen.admin` its address?"
        ))),
    }
}
