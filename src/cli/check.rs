//! `check`: every mistake of a configuration file, and what else looks odd.

use serde_json::{Value, json};

use super::{Complaint, ConfigArg, Exit, environment};
use crate::config::advice::{self, Warning};
use crate::config::error::Faults;
use crate::config::file::locate;
use crate::config::{Config, Tenants};

/// Check a configuration file: every mistake with its line, column and remedy.
///
/// Exit code 0 when the file is good, 1 when it holds a mistake, 2 when it cannot be read. Warnings change no exit code.
#[derive(clap::Args, Clone, Debug)]
#[command(after_help = "Example:\n  spapi-sidecar check --config /etc/spapi-sidecar/proxy.yaml")]
pub struct Args {
    #[command(flatten)]
    config: ConfigArg,
    /// Print one JSON object: {"ok", "faults": […], "warnings": […]}.
    #[arg(long)]
    json: bool,
}

/// Runs the command.
///
/// # Errors
/// When the file cannot be read.
pub fn run(args: &Args) -> Result<Exit, Complaint> {
    let path = &args.config.config;
    let file = path.display().to_string();
    let text = super::read(path)?;
    let report = report(&file, &text, &environment);
    let text = if args.json {
        format!("{:#}\n", report.json())
    } else {
        format!("{}\n", report.text())
    };
    super::print(&text)?;
    Ok(match report.answer {
        Ok(_) => Exit::Done,
        Err(_) => Exit::Failed,
    })
}

/// What there is to say about a file.
struct Report {
    file: String,
    answer: Result<Good, Faults>,
}

/// What there is to say about a good one.
struct Good {
    summary: String,
    /// With line and column, where the place was found.
    warnings: Vec<(Option<(usize, usize)>, Warning)>,
}

fn report(file: &str, text: &str, env: &dyn Fn(&str) -> Option<String>) -> Report {
    let answer = Config::parse(file, text, env).map(|config| Good {
        summary: summary(&config),
        warnings: advice::warnings(&config)
            .into_iter()
            .map(|warning| (locate(text, &warning.path), warning))
            .collect(),
    });
    Report {
        file: file.to_owned(),
        answer,
    }
}

fn summary(config: &Config) -> String {
    let listeners = config.listen.proxy.len() + config.listen.transparent.len() + 1;
    let tenants = match &config.tenants {
        Tenants::Listed(tenants) => counted(tenants.len(), "tenant"),
        Tenants::FromStore => "tenants from the store".to_owned(),
    };
    format!(
        "{}, {tenants}, {}",
        counted(listeners, "listener"),
        counted(config.routes.len(), "route")
    )
}

fn counted(count: usize, noun: &str) -> String {
    let plural = if count == 1 { "" } else { "s" };
    format!("{count} {noun}{plural}")
}

impl Report {
    fn text(&self) -> String {
        let good = match &self.answer {
            Ok(good) => good,
            Err(faults) => return faults.to_string(),
        };
        let mut lines: Vec<String> = good
            .warnings
            .iter()
            .map(|(place, warning)| {
                let place =
                    place.map_or_else(String::new, |(line, column)| format!(":{line}:{column}"));
                let Warning {
                    path,
                    problem,
                    remedy,
                } = warning;
                format!("warning: {}{place}: {path}: {problem}; {remedy}", self.file)
            })
            .collect();
        lines.push(format!("{}: good: {}", self.file, good.summary));
        lines.join("\n")
    }

    fn json(&self) -> Value {
        let faults: Vec<Value> = self
            .answer
            .as_ref()
            .err()
            .into_iter()
            .flat_map(|faults| &faults.faults)
            .map(|fault| {
                json!({
                    "file": self.file, "line": fault.line, "column": fault.column,
                    "path": fault.path, "problem": fault.problem, "remedy": fault.remedy,
                })
            })
            .collect();
        let warnings: Vec<Value> = self
            .answer
            .as_ref()
            .ok()
            .into_iter()
            .flat_map(|good| &good.warnings)
            .map(|(place, warning)| {
                json!({
                    "file": self.file,
                    "line": place.map(|(line, _)| line), "column": place.map(|(_, column)| column),
                    "path": warning.path, "problem": warning.problem, "remedy": warning.remedy,
                })
            })
            .collect();
        json!({ "ok": self.answer.is_ok(), "faults": faults, "warnings": warnings })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "version: 1\nstore:\n  file: { path: a, key_file: b }\n";

    #[test]
    fn a_good_file_is_summed_up_in_one_line() {
        let report = report("proxy.yaml", GOOD, &|_| None);
        assert_eq!(
            report.text(),
            "proxy.yaml: good: 2 listeners, 0 tenants, 0 routes"
        );
        assert_eq!(
            report.json(),
            json!({ "ok": true, "faults": [], "warnings": [] })
        );
    }

    #[test]
    fn every_mistake_of_a_bad_file_is_a_line_of_its_own() {
        let text = format!("{GOOD}policy: lenient\nrotues: []\n");
        let report = report("proxy.yaml", &text, &|_| None);
        assert_eq!(
            report.text(),
            "proxy.yaml:4:9: policy: `lenient` may not stand here; write one of enforce, report\n\
             proxy.yaml:5:1: rotues: unknown key; did you mean `routes`?"
        );
        assert_eq!(report.json()["ok"], json!(false));
        assert_eq!(
            report.json()["faults"][1],
            json!({ "file": "proxy.yaml", "line": 5, "column": 1, "path": "rotues", "problem": "unknown key", "remedy": "did you mean `routes`?" })
        );
    }

    #[test]
    fn a_warning_says_where_it_points() {
        let text = format!("{GOOD}egress:\n  - {{ host: stand-in.example, mode: inject }}\n");
        let report = report("proxy.yaml", &text, &|_| None);
        assert!(
            report.text().starts_with(
                "warning: proxy.yaml:5:13: egress[0].host: access tokens would be sent"
            ),
            "{}",
            report.text()
        );
        assert_eq!(report.json()["warnings"][0]["line"], json!(5));
    }
}
