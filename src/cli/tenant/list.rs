//! `tenant list`: who there is, and whether the store holds what each needs.

use std::collections::{BTreeMap, BTreeSet};

use crate::cli::{Complaint, ConfigArg, Exit, store};
use crate::config::{Config, Preflight, Tenant, Tenants};
use crate::roster::Unready;
use crate::store::fleet::FleetRecord;
use crate::store::record::{AppCredentials, Grant};
use crate::store::{Folder, GrantStore, StoreError, profile};
use crate::tenant::{AppId, TenantId, TenantState};

/// `tenant list`.
#[derive(clap::Args, Clone, Debug)]
pub struct ListArgs {
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
    /// Which configuration.
    #[command(flatten)]
    pub config: ConfigArg,
}

/// Does it.
pub(super) fn list(args: &ListArgs) -> Result<Exit, Complaint> {
    let config = crate::cli::load(&args.config.config)?;
    let store = store::open(&config)?;
    let lines = match store::block_on(lines(&config, store.as_ref()))? {
        Ok(lines) => lines,
        Err(error) => return store::finish(Err(error)),
    };
    let text = if args.json {
        as_json(&lines)
    } else {
        as_table(&lines)
    };
    crate::cli::print(text)?;
    if !args.json {
        crate::cli::note(&missing(&lines));
    }
    let failed = lines.iter().any(|line| line.error.is_some());
    Ok(if failed { Exit::Failed } else { Exit::Done })
}

/// What `tenant list` says of one tenant. Holds no value of the store but ids.
#[derive(serde::Serialize, PartialEq, Eq, Debug)]
pub(super) struct Line {
    id: String,
    app: String,
    region: String,
    environment: String,
    /// Active, quarantined or killed; nothing when the store could not say.
    state: Option<&'static str>,
    /// Optional, passed or pending; nothing when the store could not say.
    pub(super) preflight: Option<&'static str>,
    /// Whether the store holds a refresh token; nothing when it could not be read.
    pub(super) grant: Option<bool>,
    /// Whether the store holds the app's client id and secret; nothing when it could not be read.
    pub(super) credentials: Option<bool>,
    /// The kind of the store's first error.
    pub(super) error: Option<&'static str>,
}

pub(super) async fn lines(
    config: &Config,
    store: &dyn GrantStore,
) -> Result<Vec<Line>, StoreError> {
    let mut lines = match &config.tenants {
        Tenants::Listed(tenants) => {
            let mut lines = Vec::new();
            for tenant in tenants {
                lines.push(line(store, tenant.id.to_string(), Some(tenant)).await);
            }
            lines
        }
        Tenants::FromStore => profiles(store).await?,
    };
    let fleet = FleetRecord::load(store).await.map(|(fleet, _)| fleet).ok();
    let mut apps: BTreeMap<String, Result<bool, &'static str>> = BTreeMap::new();
    for line in &mut lines {
        let Ok(tenant) = TenantId::parse(&line.id) else {
            continue;
        };
        let grant = Grant::load(store, &tenant).await;
        let grant = grant.map_or_else(|error| Err(error.cause()), |found| Ok(found.is_some()));
        let app = match (apps.get(&line.app), AppId::parse(&line.app)) {
            (Some(known), _) => *known,
            (None, Err(_)) => Err("profile_broken"),
            (None, Ok(app)) => {
                let found = AppCredentials::load(store, &app).await;
                found.map_or_else(|error| Err(error.cause()), |found| Ok(found.is_some()))
            }
        };
        apps.insert(line.app.clone(), app);
        line.state = fleet.as_ref().map(|fleet| {
            let state = fleet.standing(&tenant).map(|standing| standing.state);
            state.unwrap_or(TenantState::Active).as_str()
        });
        line.grant = grant.ok();
        line.credentials = app.ok();
        line.error = line.error.or_else(|| grant.err()).or_else(|| app.err());
    }
    Ok(lines)
}

/// The tenants that have a profile in the store.
async fn profiles(store: &dyn GrantStore) -> Result<Vec<Line>, StoreError> {
    let mut lines = Vec::new();
    for id in store.list(Folder::Tenants).await? {
        let Ok(tenant) = TenantId::parse(&id) else {
            continue;
        };
        let Some((profile, _)) = profile::load(store, &tenant).await? else {
            continue;
        };
        lines.push(line(store, id, profile.ok().as_deref()).await);
    }
    Ok(lines)
}

/// What a profile says, and whether its preflight has passed; the rest is open.
async fn line(store: &dyn GrantStore, id: String, profile: Option<&Tenant>) -> Line {
    let word = |of: fn(&Tenant) -> &str| profile.map_or("?", of).to_owned();
    let preflight = match profile {
        Some(tenant) => preflight(store, tenant).await.ok(),
        None => None,
    };
    Line {
        id,
        app: word(|tenant| tenant.app.as_str()),
        region: word(|tenant| tenant.region.as_str()),
        environment: word(|tenant| tenant.environment.as_str()),
        state: None,
        preflight,
        grant: None,
        credentials: None,
        error: profile.is_none().then_some("profile_broken"),
    }
}

/// How it stands with a tenant's preflight, in a word.
pub(super) async fn preflight(
    store: &dyn GrantStore,
    tenant: &Tenant,
) -> Result<&'static str, StoreError> {
    let waits = Unready::of(store, tenant).await?;
    Ok(match (tenant.preflight, waits) {
        (Preflight::Optional, _) => "optional",
        (Preflight::Required, None) => "passed",
        (Preflight::Required, Some(_)) => "pending",
    })
}

pub(super) fn as_json(lines: &[Line]) -> String {
    // strings, booleans and nulls: there is nothing in it that could fail
    let text = serde_json::to_string_pretty(lines).unwrap_or_default();
    format!("{text}\n")
}

/// What to do about each thing that the store does not hold.
pub(super) fn missing(lines: &[Line]) -> String {
    let mut steps = Vec::new();
    for line in lines {
        if line.credentials == Some(false) {
            steps.push(format!(
                "app {} has no credentials in the store: run `spapi-sidecar app put {}`\n",
                line.app, line.app
            ));
        }
        if line.grant == Some(false) {
            steps.push(format!("tenant {} has no refresh token in the store: run `spapi-sidecar tenant put-token {}`\n", line.id, line.id));
        }
        if line.preflight == Some("pending") {
            steps.push(format!("tenant {} is not served before its preflight has passed: run `spapi-sidecar preflight {}`\n", line.id, line.id));
        }
    }
    // one app serves many tenants
    let mut said = BTreeSet::new();
    steps.retain(|step| said.insert(step.clone()));
    steps.concat()
}

pub(super) fn as_table(lines: &[Line]) -> String {
    let word = |found: Option<bool>, error: Option<&'static str>| match found {
        Some(true) => "yes",
        Some(false) => "no",
        None => error.unwrap_or("?"),
    };
    // an empty column is none: where nobody has to pass a preflight, there is nothing to say of it
    let some_have_to = lines
        .iter()
        .any(|line| matches!(line.preflight, Some("passed" | "pending")));
    let preflight = |text| if some_have_to { text } else { "" };
    let head = [
        "TENANT",
        "APP",
        "REGION",
        "ENVIRONMENT",
        "STATE",
        preflight("PREFLIGHT"),
        "GRANT",
        "CREDENTIALS",
    ];
    let rows: Vec<[&str; 8]> = std::iter::once(head)
        .chain(lines.iter().map(|line| {
            [
                line.id.as_str(),
                line.app.as_str(),
                line.region.as_str(),
                line.environment.as_str(),
                line.state.unwrap_or("?"),
                preflight(line.preflight.unwrap_or("?")),
                word(line.grant, line.error),
                word(line.credentials, line.error),
            ]
        }))
        .collect();
    let widths = rows.iter().fold([0; 8], |mut widths, row| {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = cell.len().max(*width);
        }
        widths
    });
    rows.iter()
        .map(|row| {
            let cells = row.iter().zip(widths).filter(|(_, width)| *width > 0);
            let line: String = cells
                .map(|(cell, width)| format!("{cell:width$}  "))
                .collect();
            format!("{}\n", line.trim_end())
        })
        .collect()
}
