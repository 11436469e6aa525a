//! `spapi-sidecar audit`: whether the audit is whole, and what an auditor asks it.

use std::path::{Path, PathBuf};

use serde_json::json;

use super::{Complaint, ConfigArg, Exit, load, print};
use crate::audit::verify::{self, Report};

mod export;

/// What can be done with the audit.
#[derive(clap::Subcommand, Clone, Debug)]
pub enum AuditCommand {
    /// Check the hash chain of the audit, older parts included: exit code 1, and the first line that is not as it was written.
    ///
    /// An edited, removed, reordered or cut line is found, also while a sidecar writes. The files are the whole of the
    /// evidence: who may write all of them could write them anew. The sidecar logs the last line's number and hash when it
    /// starts, every hour and when it stops; held against the file, they show that too.
    #[command(
        after_help = "Examples:\n  spapi-sidecar audit verify\n  spapi-sidecar audit verify /backup/audit.jsonl"
    )]
    Verify(VerifyArgs),
    /// Print what the audit holds of a tenant and a time, for an auditor.
    ///
    /// The chain is checked on the way: exit code 1 when a line is not as it was written, and nothing after it is printed.
    #[command(
        after_help = "Examples:\n  spapi-sidecar audit export --tenant acme --from 2026-01-01 --to 2026-03-31\n  spapi-sidecar audit export --tenant acme --from 2026-03-31T22:00:00Z --csv > acme.csv"
    )]
    Export(export::Args),
}

/// `audit verify [FILE]`.
#[derive(clap::Args, Clone, Debug)]
pub struct VerifyArgs {
    /// The file; the configuration's where none is named. Its older parts (FILE.1, FILE.2, …) and its head belong to it.
    #[arg(value_name = "FILE")]
    file: Option<PathBuf>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
    /// Which configuration.
    #[command(flatten)]
    config: ConfigArg,
}

/// Does it.
///
/// # Errors
/// When there is no such file, it cannot be read, or the configuration is not usable.
pub fn run(command: &AuditCommand) -> Result<Exit, Complaint> {
    match command {
        AuditCommand::Verify(args) => verify(args),
        AuditCommand::Export(args) => export::run(args),
    }
}

fn verify(args: &VerifyArgs) -> Result<Exit, Complaint> {
    let path = file(args.file.as_deref(), &args.config)?;
    let report = verify::read(&path, &mut |_, _| Ok(())).map_err(|error| unreadable(&error))?;
    if args.json {
        print(format!("{}\n", as_json(&report)))?;
    } else {
        print(as_text(&path, &report))?;
    }
    Ok(ending(&report))
}

/// The file that is meant.
fn file(named: Option<&Path>, config: &ConfigArg) -> Result<PathBuf, Complaint> {
    match named {
        Some(path) => Ok(path.to_owned()),
        None => Ok(crate::audit::existing(&load(&config.config)?.audit)),
    }
}

fn unreadable(error: &std::io::Error) -> Complaint {
    Complaint(format!(
        "{error}; name the audit's file, or read it as the user that the sidecar runs as"
    ))
}

const fn ending(report: &Report) -> Exit {
    match report.broken {
        None => Exit::Done,
        Some(_) => Exit::Failed,
    }
}

/// The first broken line, as `FILE:LINE: what is wrong`.
fn complaint(report: &Report) -> Option<String> {
    let broken = report.broken.as_ref()?;
    Some(format!(
        "{}:{}: {}",
        broken.file.display(),
        broken.line,
        broken.problem
    ))
}

fn as_text(path: &Path, report: &Report) -> String {
    let path = path.display();
    let (lines, files) = (report.lines, report.files.len());
    let mut text = match (complaint(report), report.first, report.last) {
        (Some(complaint), _, _) => {
            format!("{complaint}\nthe {lines} line(s) before it are good\n")
        }
        (None, Some(first), Some(last)) => format!(
            "{path}: good: {lines} line(s) in {files} file(s), seq {first} to {}, the last hash is {}\n",
            last.seq, last.hash
        ),
        (None, _, _) => format!("{path}: good: no line yet\n"),
    };
    for (applies, note) in [
        (
            report.first.is_some_and(|first| first > 1),
            "older parts are not here: it begins as the continuation of one",
        ),
        (
            !report.anchored,
            "there is no head beside it: lines cut off at its end would not be seen",
        ),
        (report.is_written, "a sidecar is writing it now"),
    ] {
        if applies {
            text.push_str("note: ");
            text.push_str(note);
            text.push('\n');
        }
    }
    text
}

fn as_json(report: &Report) -> serde_json::Value {
    json!({
        "good": report.broken.is_none(),
        "files": report.files.iter().map(|path| path.display().to_string()).collect::<Vec<_>>(),
        "lines": report.lines,
        "first_seq": report.first,
        "last_seq": report.last.map(|link| link.seq),
        "last_hash": report.last.map(|link| link.hash.to_string()),
        "has_head": report.anchored,
        "is_written": report.is_written,
        "broken": report.broken.as_ref().map(|broken| json!({
            "file": broken.file.display().to_string(),
            "line": broken.line,
            "problem": broken.problem.to_string(),
        })),
    })
}
