//! What the commands that read or write the store have in common.

use std::future::Future;
use std::io::Write;
use std::sync::Arc;

use super::{Complaint, Exit};
use crate::config::Config;
use crate::store::{GrantStore, StoreError};

/// Opens the store of a configuration.
pub(super) fn open(config: &Config) -> Result<Arc<dyn GrantStore>, Complaint> {
    crate::store::open(&config.store).map_err(|error| Complaint(error.to_string()))
}

/// Runs a command's work to its end, on this thread.
pub(super) fn block_on<T>(work: impl Future<Output = T>) -> Result<T, Complaint> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Complaint::while_doing("starting", error))?;
    Ok(runtime.block_on(work))
}

/// How a command that does one thing with the store ends: its text on standard output, or the store's on standard error.
pub(super) fn finish(outcome: Result<String, StoreError>) -> Result<Exit, Complaint> {
    match outcome {
        Ok(text) => {
            super::print(&text)?;
            Ok(Exit::Done)
        }
        Err(error) => {
            let text = format!("error: {error}\n{}", remedy(&error));
            std::io::stderr()
                .write_all(text.as_bytes())
                .map_err(|error| Complaint::while_doing("printing", error))?;
            Ok(Exit::Failed)
        }
    }
}

/// What a person does about an error of the store whose own words do not say it.
fn remedy(error: &StoreError) -> &'static str {
    match error {
        StoreError::Denied(_) => {
            "This command logs in as `store` in the configuration says, and a sidecar's own login need not be allowed to write.\n\
             Write the record with `vault kv put`, or name a configuration with an operator's login by --config.\n"
        }
        StoreError::Conflict(_)
        | StoreError::Throttled(_)
        | StoreError::Sealed(_)
        | StoreError::NotLeader(_)
        | StoreError::Timeout(_)
        | StoreError::Unavailable(_)
        | StoreError::Protocol(_)
        | StoreError::Local(_) => "",
    }
}

/// Today, UTC, as an RFC 3339 date.
pub(super) fn today() -> String {
    #[expect(
        clippy::disallowed_methods,
        reason = "a command runs once; the date goes down from here as an argument"
    )]
    let now = std::time::SystemTime::now();
    let text = humantime::format_rfc3339_seconds(now).to_string();
    text.split('T').next().unwrap_or_default().to_owned()
}

/// A complaint about an id that nothing knows.
pub(super) fn unknown(kind: &str, id: &str, place: &str, known: &[&str]) -> Complaint {
    let known = if known.is_empty() {
        "none".to_owned()
    } else {
        known.join(", ")
    };
    Complaint(format!(
        "{place} knows no {kind} \"{}\"; it knows: {known}",
        id.escape_debug()
    ))
}
