//! The command line: one file a command. Each asks a room and prints the answer; nothing else prints.
//!
//! Exit codes: 0 done, 1 the check failed, 2 usage or configuration.

use std::fmt;
use std::io::{ErrorKind, Write as _};
use std::path::{Path, PathBuf};

use crate::config::Config;

pub mod app;
mod ask;
pub mod audit;
pub mod authorize;
pub mod backup;
pub mod break_glass;
pub mod ca;
pub mod check;
pub mod demo;
pub mod diagnose;
pub mod doctor;
pub mod exec;
pub mod generate;
mod handed;
pub mod health;
pub mod init;
mod kept;
pub mod ledger;
pub mod preflight;
mod prompt;
pub mod review;
pub mod run;
pub mod sandbox;
pub mod schema;
mod store;
pub mod tenant;
mod who;

/// How a command ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Exit {
    /// It did what was asked.
    Done,
    /// It ran, and the answer is no.
    Failed,
    /// Whatever the child process of `exec` said.
    Code(u8),
}

/// A mistake in usage or configuration: exit code 2 and a text that says what to do.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Complaint(pub String);

impl fmt::Display for Complaint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Complaint {
    /// Any error, after a few words on what was being done.
    pub fn while_doing(what: &str, error: impl fmt::Display) -> Self {
        Self(format!("{what}: {error}"))
    }
}

/// `--config FILE`, the same for every command that reads it.
#[derive(clap::Args, Clone, Debug)]
pub struct ConfigArg {
    /// The configuration file.
    #[arg(long, value_name = "FILE", default_value = "proxy.yaml")]
    pub config: PathBuf,
}

/// Reads and checks a configuration file.
///
/// # Errors
/// Every mistake in it, or why it cannot be read.
pub fn load(path: &Path) -> Result<Config, Complaint> {
    parse(path, &read(path)?)
}

/// Checks the text of a configuration file.
fn parse(path: &Path, text: &str) -> Result<Config, Complaint> {
    Config::parse(&path.display().to_string(), text, &environment)
        .map_err(|faults| Complaint(faults.to_string()))
}

/// Reads the text of a configuration file.
fn read(path: &Path) -> Result<String, Complaint> {
    std::fs::read_to_string(path).map_err(|error| {
        let path = path.display();
        let kind = error.kind();
        Complaint(if kind == ErrorKind::NotFound {
            format!("{path} does not exist; name the file with --config, or write a commented one with `spapi-sidecar init DIR`")
        } else if kind == ErrorKind::InvalidData {
            format!("{path} is not a text file (UTF-8)")
        } else {
            format!("{path} cannot be read: {error}")
        })
    })
}

/// Writes a word of advice to standard error, where it is in nobody's way.
pub(crate) fn note(text: &str) {
    // nobody is there to be told
    let _unseen = std::io::stderr().write_all(text.as_bytes());
}

/// Writes to standard output. Whoever reads it may stop early (`| head`): that is no failure.
///
/// # Errors
/// When it cannot be written for another reason.
pub(crate) fn print(text: impl AsRef<[u8]>) -> Result<(), Complaint> {
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_ref()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            Err(Complaint::while_doing("standard output", error))
        }
        Ok(()) | Err(_) => Ok(()),
    }
}

/// Looks up a variable: `${NAME}` of a configuration file, and what `exec` adds to.
pub(crate) fn environment(name: &str) -> Option<String> {
    #[expect(
        clippy::disallowed_methods,
        reason = "the one look-up that commands and configuration files are given"
    )]
    std::env::var(name).ok()
}
