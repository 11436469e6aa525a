//! `preflight`: the checks before a tenant is enabled.
//!
//! Job: compose what [`crate::preflight`] asks with, have it ask, print the rows, write a pass down where a profile wants one.
//! Invariants: the store, the way out and the trust are those that the sidecar would take with this configuration; a rehearsal
//! touches neither Amazon nor the store's secrets, and is never written down.
//! Failure mode: exit code 1 when a row fails; 2 when there is nothing to check.

use std::sync::Arc;

use serde_json::{Value, json};

use super::{Complaint, ConfigArg, Exit, kept, load, print, run, store, who};
use crate::app::errand;
use crate::config::{Config, Preflight, Tenant, Tenants};
use crate::preflight::{self, Check, Tools};
use crate::store::preflight::Passed;
use crate::task::Tasks;
use crate::telemetry;

mod rehearse;
mod table;

/// Check everything that a tenant's calls rest on, before it is enabled.
///
/// Store access and policy, client id and secret, exchange, the scopes of the routes, marketplaces or the vendor link, an RDT for
/// each restricted route, the charge method and other dates, the clock, DNS, TLS and trust: a row each, with what mends it.
/// It calls Amazon as the sidecar would, reads only, and shows no token. Exit code 1 when a row fails.
///
/// A tenant whose profile says `preflight: required` is served once this has passed; a profile that changes wants it again.
/// With --rehearse Amazon is played by the built-in sandbox, and the store by made-up credentials: no network is needed.
#[derive(clap::Args, Debug)]
#[command(
    after_help = "Examples:\n  spapi-sidecar preflight acme\n  spapi-sidecar preflight --json\n  spapi-sidecar preflight --rehearse --config proxy.yaml"
)]
pub struct Args {
    /// One tenant's id; all of them without.
    #[arg(value_name = "TENANT")]
    tenant: Option<String>,
    /// Rehearse against the built-in sandbox, without network or credentials.
    #[arg(long)]
    rehearse: bool,
    /// Print JSON.
    #[arg(long)]
    json: bool,
    /// Who runs it; the operating system's name for this user by default.
    #[arg(long, value_name = "NAME")]
    by: Option<String>,
    #[command(flatten)]
    config: ConfigArg,
}

/// Runs the command.
///
/// # Errors
/// When the configuration is not valid, nothing knows the tenant, or there is none.
pub fn run(args: &Args) -> Result<Exit, Complaint> {
    run::no_core_dumps();
    let config = load(&args.config.config)?;
    let tenants = match tenants(&config, args)? {
        Ok(tenants) => tenants,
        Err(error) => return store::finish(Err(error)),
    };
    if tenants.is_empty() {
        return Err(Complaint(
            "there is no tenant to check: list one in `tenants`, or put a profile into the store"
                .to_owned(),
        ));
    }
    let reports = run::control_runtime(1)?.block_on(check(args, config, &tenants))?;
    let passed = reports.iter().all(|(_, checks)| preflight::passed(checks));
    if args.json {
        print(format!("{:#}\n", as_json(args, &reports, passed)))?;
    } else {
        print(table::draw(&reports, args.rehearse))?;
    }
    Ok(if passed { Exit::Done } else { Exit::Failed })
}

type Report = (Arc<Tenant>, Vec<Check>);

/// Whom to check. A rehearsal of listed tenants needs no store; otherwise what is wrong with the store is the store's rows' to
/// say, unless it is what holds the profiles.
fn tenants(
    config: &Config,
    args: &Args,
) -> Result<Result<Vec<Arc<Tenant>>, crate::store::StoreError>, Complaint> {
    let only = args.tenant.as_deref();
    match &config.tenants {
        Tenants::Listed(tenants) => {
            let wanted = |tenant: &&Arc<Tenant>| only.is_none_or(|id| tenant.id.as_str() == id);
            let found: Vec<Arc<Tenant>> = tenants.iter().filter(wanted).map(Arc::clone).collect();
            match only {
                Some(id) if found.is_empty() => {
                    let ids: Vec<&str> = tenants.iter().map(|tenant| tenant.id.as_str()).collect();
                    Err(store::unknown("tenant", id, "the configuration", &ids))
                }
                Some(_) | None => Ok(Ok(found)),
            }
        }
        Tenants::FromStore => {
            let kept = kept::read(config, only)?;
            Ok(match kept.trouble {
                Some(error) if kept.tenants.is_empty() => Err(error),
                Some(_) | None => Ok(kept.tenants),
            })
        }
    }
}

async fn check(
    args: &Args,
    config: Config,
    tenants: &[Arc<Tenant>],
) -> Result<Vec<Report>, Complaint> {
    let tasks = Tasks::new(tokio::runtime::Handle::current());
    let (stage, tools) = if args.rehearse {
        let stage = rehearse::Stage::set(tenants).await?;
        let tools = stage.tools(config, &tasks)?;
        (Some(stage), tools)
    } else {
        let opened = crate::store::open(&config.store);
        let store = opened.unwrap_or_else(|error| Arc::new(rehearse::Closed(error)));
        (None, errand::tools(config, store, &tasks))
    };
    let mut reports = Vec::new();
    for tenant in tenants {
        let mut checks = tools.check(tenant).await;
        let wanted = tenant.preflight == Preflight::Required && !args.rehearse;
        if wanted && preflight::passed(&checks) {
            checks.push(record(args, &tools, tenant).await);
        }
        reports.push((Arc::clone(tenant), checks));
    }
    drop(tools);
    if let Some(stage) = stage {
        stage.end().await;
    }
    Ok(reports)
}

/// Writes a pass down where every sidecar of the store sees it.
async fn record(args: &Args, tools: &Tools, tenant: &Tenant) -> Check {
    let at = telemetry::clock(telemetry::now());
    let by = who::operator(args.by.as_deref());
    let passed = Passed::of(tenant, at, by);
    let written = passed.save(&*tools.store, &tenant.id).await;
    Check::recorded(match written {
        Ok(_version) => Ok(
            "written down: every sidecar of this store serves the tenant within seconds".to_owned(),
        ),
        Err(error) => Err(error.to_string()),
    })
}

fn as_json(args: &Args, reports: &[Report], passed: bool) -> Value {
    let tenants: Vec<Value> = reports
        .iter()
        .map(|(tenant, checks)| {
            let rows: Vec<Value> = checks.iter().map(Check::json).collect();
            json!({"id": tenant.id.as_str(), "passed": preflight::passed(checks), "checks": rows})
        })
        .collect();
    json!({
        "checked_at": telemetry::clock(telemetry::now()), "rehearsal": args.rehearse, "passed": passed, "tenants": tenants,
    })
}
