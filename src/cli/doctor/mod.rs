//! `doctor`: would the programs of this place reach the sidecar, and trust it?
//!
//! Job: run one harmless call by each runtime and each SP-API library that is found here, with the environment as it is, and say
//! what came of it and exactly what to set.
//! Invariants: nothing is guessed that can be tried: the call names no route, so the sidecar refuses it inside TLS, and its
//! answer carries the sidecar's mark; no credential is sent or read; the environment is used, never printed.
//! Failure mode: a runtime that cannot be tried (no compiler, no answer in time) is reported as not tried, with the advice that
//! is known of it.
//! Source: how each client library behaves, as `tests/clients` shows it.

use std::ffi::OsString;
use std::fmt::Write as _;

use serde::Serialize;

use super::exec::variables::Setting;
use super::{Complaint, ConfigArg, Exit};
use crate::config::{EgressMode, EgressRule};
use crate::name::{Host, HostName, HostPattern};
use crate::tls::truststore;

mod advice;
mod probe;

/// Say whether the programs here would reach the sidecar and trust it, and what to set.
///
/// Run it where the program runs: same machine or container, same user, same environment. With a command, the runtime that the
/// command names is tried, and the libraries that it finds in this folder.
#[derive(clap::Args, Debug)]
#[command(
    override_usage = "spapi-sidecar doctor [OPTIONS] [-- <CMD>...]",
    after_help = "Examples:\n  spapi-sidecar doctor\n  spapi-sidecar doctor -- venv/bin/python import.py\n  spapi-sidecar exec -- spapi-sidecar doctor --json"
)]
pub struct Args {
    #[command(flatten)]
    config: ConfigArg,
    /// Print JSON.
    #[arg(long)]
    json: bool,
    /// The program's command: its first word names the runtime.
    #[arg(value_name = "CMD", trailing_var_arg = true)]
    command: Vec<OsString>,
}

/// What one stack or library came to.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// The sidecar answered, inside TLS that was trusted.
    Sidecar,
    /// The certificate was not trusted: it got there, and would fail.
    Untrusted,
    /// Somebody else answered: the call went round the sidecar.
    Direct,
    /// The sidecar wants a login.
    Login,
    /// The call came as plain text to the proxy (axios up to 1.16.0), which is refused.
    Plaintext,
    /// No answer.
    Unreachable,
    /// It could not be tried here.
    NotTried,
}

impl Outcome {
    const fn words(self) -> &'static str {
        match self {
            Self::Sidecar => "reaches the sidecar and trusts it",
            Self::Untrusted => "does not trust the certificate that it meets",
            Self::Direct => "GOES ROUND the sidecar",
            Self::Login => "reaches the sidecar, which wants a login",
            Self::Plaintext => "sends plain text to the proxy, which is refused",
            Self::Unreachable => "gets no answer",
            Self::NotTried => "was not tried",
        }
    }
}

/// One row.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Finding {
    /// Runtime or library.
    pub name: String,
    /// Its version, as it says itself.
    pub version: String,
    /// The program that was run.
    pub program: String,
    /// What came of it.
    pub outcome: Outcome,
    /// The error's own words, where there was one.
    pub detail: String,
    /// What to set, where anything has to be.
    pub set: Vec<String>,
}

#[derive(Serialize)]
struct Report<'a> {
    url: &'a str,
    good: bool,
    findings: &'a [Finding],
}

/// Runs the command. Exit code 1 when something found would not reach the sidecar or not trust it.
///
/// # Errors
/// When the configuration cannot be read, intercepts no host, or names no listener.
pub fn run(args: &Args) -> Result<Exit, Complaint> {
    let config = super::load(&args.config.config)?;
    let setting = Setting::of(&config)?;
    let host = config.egress.iter().find_map(the_api).ok_or_else(|| {
        Complaint("egress has no rule with `mode: inject` for a host; add SP-API's".to_owned())
    })?;
    let url = format!("https://{host}/");
    if let Err(why) = super::ask::get(&config, "/health/live")? {
        super::note(&format!("spapi-sidecar: warning: {why}\n"));
    }
    let store = truststore::read_root(&setting.cert)
        .and_then(|_root| truststore::refresh_pkcs12(&setting.cert, &setting.bundle));
    if let Err(error) = &store {
        super::note(&format!(
            "spapi-sidecar: warning: {} is not readable here ({error}); start `spapi-sidecar run`, and share that folder with the program\n",
            setting.cert.display()
        ));
    }
    let runtimes = probe::runtimes(args.command.first())?;
    let mut findings = super::run::control_runtime(1)?.block_on(probe::all(&runtimes, &url));
    for finding in &mut findings {
        finding.set = advice::of(finding, &setting, !config.listen.transparent.is_empty());
    }
    let good = findings
        .iter()
        .all(|finding| matches!(finding.outcome, Outcome::Sidecar | Outcome::NotTried));
    let text = if args.json {
        let report = Report {
            url: &url,
            good,
            findings: &findings,
        };
        serde_json::to_string_pretty(&report)
            .map_err(|error| Complaint::while_doing("writing JSON", error))?
            + "\n"
    } else {
        table(&url, &findings, good)
    };
    super::print(text)?;
    Ok(if good { Exit::Done } else { Exit::Failed })
}

/// The host of a rule that injects: the call has to go where SP-API's calls go.
fn the_api(rule: &EgressRule) -> Option<&HostName> {
    match (&rule.host, rule.mode) {
        (HostPattern::Exact(Host::Name(name)), EgressMode::Inject) => Some(name),
        _ => None,
    }
}

fn table(url: &str, findings: &[Finding], good: bool) -> String {
    let mut text = format!("GET {url} by everything that was found here:\n");
    let wide = findings
        .iter()
        .map(|finding| finding.name.len() + finding.version.len() + 1)
        .max()
        .unwrap_or_default();
    for finding in findings {
        let name = format!("{} {}", finding.name, finding.version);
        // writing to a String cannot fail
        let _infallible = writeln!(
            text,
            "\n{name:wide$}  {}  ({})",
            finding.outcome.words(),
            finding.program
        );
        if finding.outcome != Outcome::Sidecar && !finding.detail.is_empty() {
            let _infallible = writeln!(text, "    it says: {}", finding.detail);
        }
        for line in &finding.set {
            let _infallible = writeln!(text, "    - {line}");
        }
    }
    if findings.is_empty() {
        text.push_str("\nnothing: no curl, Python, Node, Java, PHP, .NET, Ruby or Go in PATH\n");
    }
    text.push_str(if good {
        "\nnothing has to be changed\n"
    } else {
        "\nsomething has to be changed: see the lines above\n"
    });
    text
}
