//! `audit export`: the lines of a tenant and a time.

use std::io;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::SystemTime;

use serde_json::{Map, Value};

use super::super::{Complaint, ConfigArg, Exit, note, print};
use super::{complaint, ending, file, unreadable};
use crate::audit::chain::Line;
use crate::audit::verify;
use crate::config::Date;
use crate::tenant::TenantId;

/// Bytes that gather before they are printed.
const CHUNK: usize = 64 << 10;

/// Columns of the CSV, and the members that they hold.
const COLUMNS: [&str; 17] = [
    "seq",
    "ts",
    "kind",
    "tenant",
    "request_id",
    "client",
    "method",
    "operation",
    "template",
    "data_elements",
    "outcome",
    "status",
    "result",
    "reason",
    "by",
    "state",
    "hash",
];

/// `audit export`.
#[derive(clap::Args, Clone, Debug)]
pub struct Args {
    /// Lines of this tenant; all where none is named.
    #[arg(long, value_name = "ID", value_parser = TenantId::parse)]
    tenant: Option<TenantId>,
    /// From this day, or this moment (2026-01-31T09:00:00Z) on, UTC.
    #[arg(long, value_name = "DATE")]
    from: Option<Moment>,
    /// Through this day, or until this moment.
    #[arg(long, value_name = "DATE")]
    to: Option<Moment>,
    /// Print the lines as they stand in the file, one JSON object each.
    #[arg(long, conflicts_with = "csv")]
    json: bool,
    /// Print comma-separated values, with a head.
    #[arg(long)]
    csv: bool,
    /// Read this file and its older parts, instead of the configuration's.
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,
    /// Which configuration.
    #[command(flatten)]
    config: ConfigArg,
}

/// A day or a moment of it.
#[derive(Clone, Copy, PartialEq, Debug)]
enum Moment {
    Day(Date),
    Exactly(SystemTime),
}

impl FromStr for Moment {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let day = (text.len() == 10).then(|| Date::parse(text)).flatten();
        if let Some(day) = day {
            return Ok(Self::Day(day));
        }
        humantime::parse_rfc3339(text)
            .map(Self::Exactly)
            .map_err(|_other| {
                "write a day as in 2026-01-31, or a moment as in 2026-01-31T09:00:00Z (UTC)"
                    .to_owned()
            })
    }
}

impl Moment {
    fn begins(self) -> SystemTime {
        match self {
            Self::Day(day) => day.begins(),
            Self::Exactly(moment) => moment,
        }
    }

    /// The first moment after it.
    fn ends(self) -> SystemTime {
        match self {
            Self::Day(day) => day.plus_days(1).begins(),
            Self::Exactly(moment) => moment,
        }
    }
}

impl Args {
    fn wants(&self, line: &Line) -> bool {
        let of_tenant = |id: &TenantId| line.tenant.as_deref() == Some(id.as_str());
        // a line whose time cannot be read is shown rather than hidden
        let at = humantime::parse_rfc3339(&line.ts).ok();
        let after = |from: Moment| at.is_none_or(|at| at >= from.begins());
        let before = |to: Moment| at.is_none_or(|at| at < to.ends());
        self.tenant.as_ref().is_none_or(of_tenant)
            && self.from.is_none_or(after)
            && self.to.is_none_or(before)
    }

    fn write(&self, text: &[u8], out: &mut String) {
        if self.json {
            return out.push_str(&String::from_utf8_lossy(text));
        }
        // the chain was checked, so that it is an object
        let told: Map<String, Value> = serde_json::from_slice(text).unwrap_or_default();
        if self.csv {
            let cells: Vec<String> = COLUMNS.iter().map(|column| cell(&told, column)).collect();
            out.push_str(&cells.join(","));
        } else {
            row(&told, out);
        }
        out.push('\n');
    }
}

pub(super) fn run(args: &Args) -> Result<Exit, Complaint> {
    let path = file(args.file.as_deref(), &args.config)?;
    let mut out = String::new();
    if args.csv {
        out.push_str(&COLUMNS.join(","));
        out.push('\n');
    }
    let mut unprintable = None;
    let read = verify::read(&path, &mut |line, text| {
        if args.wants(line) {
            args.write(text, &mut out);
        }
        if out.len() >= CHUNK
            && let Err(error) = print(std::mem::take(&mut out))
        {
            unprintable = Some(error);
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        Ok(())
    });
    if let Some(error) = unprintable {
        return Err(error);
    }
    let report = read.map_err(|error| unreadable(&error))?;
    print(out)?;
    if let Some(broken) = complaint(&report) {
        note(&format!(
            "{broken}\nnothing after that line is shown; `spapi-sidecar audit verify` says more\n"
        ));
    }
    Ok(ending(&report))
}

/// A member as text.
fn plain(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        Value::Array(values) => values.iter().map(plain).collect::<Vec<_>>().join(" "),
        Value::Bool(_) | Value::Number(_) | Value::Object(_) => value.to_string(),
    }
}

/// A cell of RFC 4180. A text that a spreadsheet would take for a formula is marked as text.
fn cell(told: &Map<String, Value>, column: &str) -> String {
    let mut text = told.get(column).map(plain).unwrap_or_default();
    if text.starts_with(['=', '+', '-', '@', '\t']) {
        text.insert(0, '\'');
    }
    if text.contains([',', '"', '\n', '\r']) {
        return format!("\"{}\"", text.replace('"', "\"\""));
    }
    text
}

/// A line for a person: when, what, whose, and then everything else but the chain.
fn row(told: &Map<String, Value>, out: &mut String) {
    let head = ["ts", "kind", "tenant"];
    let [ts, kind, tenant] = head.map(|key| told.get(key).map(plain).unwrap_or_default());
    out.push_str(&format!("{ts}  {kind:<9}  {tenant:<12}"));
    let chain = ["seq", "prev", "hash"];
    for (key, value) in told {
        if !head.contains(&key.as_str()) && !chain.contains(&key.as_str()) {
            out.push_str(&format!("  {key}={}", plain(value)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(json: &str) -> Map<String, Value> {
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn a_day_lasts_through_its_end_and_a_moment_does_not() {
        let at = |text| humantime::parse_rfc3339(text).unwrap();
        let day: Moment = "2026-02-28".parse().unwrap();
        assert_eq!(day.begins(), at("2026-02-28T00:00:00Z"));
        assert_eq!(day.ends(), at("2026-03-01T00:00:00Z"));
        let moment: Moment = "2026-02-28T10:30:00Z".parse().unwrap();
        assert_eq!(moment.begins(), moment.ends());
        for bad in ["", "yesterday", "2026-02-30", "2026-02-28T10:30"] {
            assert!(bad.parse::<Moment>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_cell_is_one_cell_and_no_formula() {
        let told = told(r#"{"reason":"a \"b\", c","by":"=1+1","data_elements":["x","y"],"seq":7}"#);
        for (column, want) in [
            ("reason", r#""a ""b"", c""#),
            ("by", "'=1+1"),
            ("data_elements", "x y"),
            ("seq", "7"),
            ("client", ""),
        ] {
            assert_eq!(cell(&told, column), want, "{column}");
        }
    }
}
