//! `break-glass`: routes that one tenant has for a while, opened, listed and ended by a running sidecar.

use std::time::Duration;

use serde_json::{Value, json};

use super::ask;
use super::{Complaint, ConfigArg, Exit, who};
use crate::config::Config;

/// Open routes to one tenant for a while; without a tenant, list what is open.
///
/// They reach the whole fleet within ten seconds, end by themselves by each sidecar's own clock, need no scope of the
/// tenant's, and open no host: the egress rules, the tenant's region and its marketplaces hold as ever. The calls go out with
/// the tenant's access token, or with a restricted data token where Amazon's catalog says that the operation needs one. Every
/// opening, use and end is an event of its own in the log, the audit and the alerts.
#[derive(clap::Args, Clone, Debug)]
#[command(
    after_help = "Examples:\n  spapi-sidecar break-glass acme --allow \"GET /orders/v0/orders/{orderId}\" --for 30m --reason \"lost shipment, INC-1234\"\n  spapi-sidecar break-glass\n  spapi-sidecar break-glass --revoke 5f1c2a9b"
)]
pub struct Args {
    /// The tenant's id.
    #[arg(value_name = "TENANT", requires_all = ["allow", "lasts", "reason"])]
    tenant: Option<String>,
    /// `METHOD /path/{parameter}`, or an operation id of the catalog; may stand several times.
    #[arg(long, value_name = "ROUTE", requires = "tenant")]
    allow: Vec<String>,
    /// How long, at most 24h.
    #[arg(long = "for", id = "lasts", value_name = "TIME", requires = "tenant", value_parser = humantime::parse_duration)]
    lasts: Option<Duration>,
    /// Why: it stands in the store's record, the audit and the alert.
    #[arg(long, value_name = "TEXT", requires = "tenant")]
    reason: Option<String>,
    /// End the one with this id before its time.
    #[arg(long, value_name = "ID", conflicts_with = "tenant")]
    revoke: Option<String>,
    /// Who does it; the operating system's name for this user by default.
    #[arg(long, value_name = "NAME")]
    by: Option<String>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    config: ConfigArg,
}

/// Runs the command.
///
/// # Errors
/// When the configuration is not valid or the admin token cannot be read.
pub fn run(args: &Args) -> Result<Exit, Complaint> {
    let config = super::load(&args.config.config)?;
    let by = who::operator(args.by.as_deref());
    if let Some(id) = &args.revoke {
        let plain = id.bytes().all(|byte| byte.is_ascii_alphanumeric());
        if id.is_empty() || !plain {
            return Err(Complaint(
                "--revoke takes an id as `break-glass` lists them".to_owned(),
            ));
        }
        let path = format!("/api/v1/break-glass/{id}/revoke");
        return act(args, &config, &path, &json!({ "by": by }));
    }
    let (Some(tenant), Some(lasts)) = (&args.tenant, args.lasts) else {
        return list(args, &config);
    };
    let body = json!({
        "tenant": tenant, "allow": args.allow, "for": humantime::format_duration(lasts).to_string(),
        "reason": args.reason, "by": by,
    });
    act(args, &config, "/api/v1/break-glass", &body)
}

fn act(args: &Args, config: &Config, path: &str, body: &Value) -> Result<Exit, Complaint> {
    match ask::post(config, path, body)? {
        Ok((200, answer)) => {
            let text = if args.json {
                format!("{answer:#}\n")
            } else if answer.get("revoked").is_some() {
                format!(
                    "break-glass {} has ended; the whole fleet follows within 10 s\n",
                    word(&answer, "id")
                )
            } else {
                format!(
                    "break-glass {} is open for tenant {} until {}; the whole fleet follows within 10 s\n",
                    word(&answer, "id"),
                    word(&answer, "tenant"),
                    word(&answer, "until")
                )
            };
            super::print(text)?;
            Ok(Exit::Done)
        }
        Ok((status, body)) => Ok(ask::failed(status, &body)),
        Err(silence) => {
            super::note(&format!("error: {silence}\n"));
            Ok(Exit::Failed)
        }
    }
}

fn list(args: &Args, config: &Config) -> Result<Exit, Complaint> {
    let status = match ask::get(config, "/api/v1/status")? {
        Ok((200, body)) => serde_json::from_str::<Value>(&body).unwrap_or_default(),
        Ok((status, _)) => return Ok(ask::failed(status, &Value::Null)),
        Err(silence) => {
            super::note(&format!("error: {silence}\n"));
            return Ok(Exit::Failed);
        }
    };
    let open = status.pointer("/fleet/break_glass").cloned();
    let open = open.unwrap_or_else(|| json!([]));
    if args.json {
        super::print(format!("{open:#}\n"))?;
        return Ok(Exit::Done);
    }
    let mut text = String::new();
    for one in open.as_array().into_iter().flatten() {
        let routes: Vec<&str> = one
            .get("allow")
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .collect();
        text.push_str(&format!(
            "{}  {}  until {}  {}  by {}: {}\n",
            word(one, "id"),
            word(one, "tenant"),
            word(one, "until"),
            routes.join(", "),
            word(one, "by"),
            word(one, "reason")
        ));
    }
    if text.is_empty() {
        text = "no break-glass is open\n".to_owned();
    }
    super::print(text)?;
    Ok(Exit::Done)
}

fn word<'a>(value: &'a Value, key: &str) -> &'a str {
    value.get(key).and_then(Value::as_str).unwrap_or_default()
}
