//! `review`: the access review.

use std::time::{Duration, SystemTime};

use serde_json::Value;

use super::{Complaint, ConfigArg, Exit, ask, kept, load, print};
use crate::config::{Config, Date};
use crate::telemetry;
use crate::telemetry::traffic::kept::{self as file, Snapshot};
use crate::verdict::due;
use crate::verdict::review::{Material, review};

mod page;

/// The access review, as Markdown: scopes granted and not used, routes never called, what is new, ages, owners, break-glass.
///
/// For each tenant it names the smallest set of scopes with which its calls work, and why its consent should be asked for
/// again. Calls are those of the running sidecar, or of the file that it keeps beside its audit; a review says from when on
/// they were seen. Of a fleet, each sidecar reviews what it served.
#[derive(clap::Args, Debug)]
#[command(
    after_help = "Examples:\n  spapi-sidecar review > REVIEW.md\n  spapi-sidecar review --since 2026-09-01\n  spapi-sidecar review --days 30 --json"
)]
pub struct Args {
    /// How many days to look back: a quarter, unless said otherwise.
    #[arg(long, value_name = "N", default_value_t = 90, value_parser = clap::value_parser!(u32).range(1..=450))]
    days: u32,
    /// The day of the last review, in place of --days.
    #[arg(long, value_name = "DAY", conflicts_with = "days")]
    since: Option<String>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    config: ConfigArg,
}

/// What was called, and how that is known.
struct Calls {
    snapshot: Option<Snapshot>,
    source: String,
}

/// Runs the command.
///
/// # Errors
/// When the configuration or an argument is not valid.
pub fn run(args: &Args) -> Result<Exit, Complaint> {
    let config = load(&args.config.config)?;
    let now = telemetry::now();
    let since = begin(args, now)?;
    let calls = calls(&config)?;
    let kept = kept::read(&config, None)?;
    let store_error = kept.trouble.map(|error| error.to_string());
    let dues = due::dues(&config.apps, &kept.tenants, &kept.ages, None, now);
    let snapshot = calls.snapshot.as_ref();
    let kinds: Vec<_> = snapshot
        .iter()
        .flat_map(|snapshot| &snapshot.kinds)
        .filter_map(file::Line::parse)
        .collect();
    let openings: Vec<_> = snapshot
        .iter()
        .flat_map(|snapshot| &snapshot.openings)
        .filter_map(file::OpeningLine::parse)
        .collect();
    let review = review(&Material {
        config: &config,
        tenants: &kept.tenants,
        kinds: &kinds,
        openings: &openings,
        seen_since: snapshot.and_then(|snapshot| file::moment(&snapshot.since)),
        dues: &dues,
        since,
        now,
    });
    if args.json {
        let mut value = serde_json::json!(review);
        if let Some(object) = value.as_object_mut() {
            object.insert("source".to_owned(), calls.source.into());
            object.insert("store_error".to_owned(), store_error.into());
        }
        // a value that was just made can be written
        let text = serde_json::to_string_pretty(&value).unwrap_or_default();
        print(format!("{text}\n"))?;
    } else {
        print(page::write(&review, &calls.source, store_error.as_deref()))?;
    }
    Ok(Exit::Done)
}

fn begin(args: &Args, now: SystemTime) -> Result<SystemTime, Complaint> {
    let Some(text) = &args.since else {
        let days = Duration::from_hours(24) * args.days;
        return Ok(now.checked_sub(days).unwrap_or(SystemTime::UNIX_EPOCH));
    };
    match Date::parse(text) {
        Some(day) if text.len() == 10 && day.begins() <= now => Ok(day.begins()),
        Some(_) | None => Err(Complaint(format!(
            "--since: \"{}\" is no day that is over; write one as in 2026-09-01",
            text.escape_debug()
        ))),
    }
}

/// The running sidecar's calls; where it does not answer, those of the file that it keeps.
fn calls(config: &Config) -> Result<Calls, Complaint> {
    let why = match ask::get(config, "/api/v1/status")? {
        Ok((200, body)) => match of_status(&body) {
            Some(calls) => return Ok(calls),
            None => "the admin listener's answer is no status of a sidecar".to_owned(),
        },
        Ok((status, _)) => format!("the admin listener answered {status}"),
        Err(why) => why.to_string(),
    };
    let path = file::beside(&config.audit.path);
    let shown = path.display();
    Ok(match file::read(&path) {
        Ok(Some(snapshot)) => Calls {
            snapshot: Some(snapshot),
            source: format!("{shown}, as the sidecar last wrote it ({why})"),
        },
        Ok(None) => Calls {
            snapshot: None,
            source: format!("nothing: there is no {shown} ({why})"),
        },
        Err(error) => Calls {
            snapshot: None,
            source: format!("nothing: {shown} cannot be read: {error} ({why})"),
        },
    })
}

fn of_status(body: &str) -> Option<Calls> {
    let mut status: Value = serde_json::from_str(body).ok()?;
    let snapshot = Snapshot {
        version: 1,
        since: status.get("traffic_since")?.as_str()?.to_owned(),
        kinds: serde_json::from_value(status.get_mut("traffic")?.take()).ok()?,
        openings: serde_json::from_value(status.get_mut("break_glass_seen")?.take()).ok()?,
    };
    let error = status.pointer("/traffic_file/error");
    let error = error.and_then(Value::as_str);
    let source = error.map_or_else(
        || "the running sidecar".to_owned(),
        |error| format!("the running sidecar, which cannot keep it over a restart: {error}"),
    );
    Some(Calls {
        snapshot: Some(snapshot),
        source,
    })
}
