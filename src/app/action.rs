//! What an operator asks of a running sidecar.
//!
//! Job: have it done by the rooms that can, and put what comes of it into words.
//! Invariants: an action is for a tenant that exists, so that a misspelt kill is no kill that somebody relies on; what it
//! came to is said as it is, half-done where it is half-done.

use std::sync::Arc;

use serde_json::{Value, json};

use super::reload::{Reload, ReloadError};
use crate::admin::action::{Asked, Entry, Refusal, Wrong};
use crate::config::Tenant;
use crate::fleet::change::{Change, ChangeError};
use crate::fleet::glass;
use crate::fleet::why::Why;
use crate::proxy::Shared;
use crate::roster::Missing;
use crate::store::StoreError;
use crate::store::fleet::BreakGlass;
use crate::telemetry;
use crate::tenant::{GrantKind, TenantId, TenantState};
use crate::token::AccessKey;

pub(super) async fn act(
    shared: Arc<Shared>,
    reload: Arc<Reload>,
    asked: Asked,
) -> Result<Value, Refusal> {
    match asked {
        Asked::Kill(tenant, why) => {
            exists(&shared, &tenant).await?;
            set(&shared, &tenant, &why, Change::Kill(tenant.clone(), why.clone())).await
        }
        Asked::Quarantine(tenant, why) => {
            exists(&shared, &tenant).await?;
            let change = Change::Quarantine(tenant.clone(), why.clone());
            set(&shared, &tenant, &why, change).await
        }
        Asked::Resume(tenant, why) => {
            if shared.fleet.standing(&tenant).is_none() {
                exists(&shared, &tenant).await?;
            }
            let change = Change::Resume(tenant.clone(), why.clone());
            set(&shared, &tenant, &why, change).await
        }
        Asked::Refresh(tenant) => refresh(&shared, &tenant).await,
        Asked::BreakGlass {
            tenant,
            allow,
            lasts,
            why,
        } => {
            exists(&shared, &tenant).await?;
            let glass = glass::new_break_glass(tenant, &allow, lasts, &why, telemetry::now())
                .map_err(|error| {
                    let details = format!("{error}. Nothing was opened.");
                    Refusal::new(Wrong::Request, "bad_request", "This is no break-glass.", details)
                })?;
            let shown = shown(&glass);
            change(&shared, Change::Open(glass)).await?;
            Ok(shown)
        }
        Asked::Revoke { id, by } => {
            let revoke = Change::Revoke { id: id.clone(), by };
            let changed = change(&shared, revoke).await?;
            Ok(json!({"id": id, "revoked": true, "changed": changed}))
        }
        Asked::Reload => reload.again("the admin listener").map_or_else(
            |error| Err(not_taken(error)),
            |taken| Ok(json!({"generation": taken.generation, "routes": taken.routes, "tenants": taken.tenants})),
        ),
    }
}

/// A break-glass as JSON.
pub(super) fn shown(glass: &BreakGlass) -> Value {
    json!({
        "id": glass.id, "tenant": glass.tenant.as_str(), "allow": glass.allow, "reason": glass.reason, "by": glass.by,
        "since": glass.since, "until": humantime::format_rfc3339_seconds(glass.until).to_string(),
    })
}

/// Whether there is such a tenant. One of whom the store cannot say it now may be: an action on it must not wait for that.
async fn exists(shared: &Shared, tenant: &TenantId) -> Result<Option<Arc<Tenant>>, Refusal> {
    let world = shared.world.load_full();
    match world.tenants.find(tenant).await {
        Ok(found) => Ok(Some(found)),
        Err(Missing::Broken(_) | Missing::Store(_)) => Ok(None),
        Err(Missing::Unknown) => Err(Refusal::new(
            Wrong::Unknown,
            "tenant_unknown",
            format!("No tenant is called {tenant}; nothing was changed."),
            "`spapi-sidecar tenant list` names those that are.",
        )),
    }
}

async fn set(shared: &Shared, tenant: &TenantId, why: &Why, to: Change) -> Result<Value, Refusal> {
    let changed = change(shared, to).await?;
    let standing = shared.fleet.standing(tenant);
    let state = shared.fleet.state(tenant);
    Ok(json!({
        "tenant": tenant.as_str(),
        "state": state.as_str(),
        "changed": changed,
        "reason": standing.as_ref().map_or_else(|| why.reason(), |standing| &standing.reason),
        "by": standing.as_ref().map_or_else(|| why.by(), |standing| &standing.by),
        "since": standing.as_ref().map(|standing| &standing.since),
    }))
}

async fn change(shared: &Shared, to: Change) -> Result<bool, Refusal> {
    shared
        .fleet
        .change(to.clone())
        .await
        .map_err(|error| match error {
            ChangeError::Killed { .. } => Refusal::new(
                Wrong::Conflict,
                "tenant_killed",
                format!("{error}; nothing was changed."),
                "A killed tenant is more than quarantined; `resume` serves it again.",
            ),
            ChangeError::NoSuchBreakGlass(_) => Refusal::new(
                Wrong::Unknown,
                "break_glass_unknown",
                format!("{error}; nothing was changed."),
                "`spapi-sidecar break-glass` lists those that are; others have ended by themselves.",
            ),
            ChangeError::TooManyBreakGlasses => Refusal::new(
                Wrong::Conflict,
                "too_many",
                format!("{error}; nothing was opened."),
                "Revoke one that is not needed any more.",
            ),
            ChangeError::Store(error) => unwritten(shared, &to, &error),
        })
}

/// The store did not take a change: what holds here all the same, and what does not.
fn unwritten(shared: &Shared, to: &Change, error: &StoreError) -> Refusal {
    tracing::warn!(%error, "the fleet's record was not written");
    let (message, details) = match to {
        Change::Kill(tenant, _) | Change::Quarantine(tenant, _) | Change::SetAside(tenant, _) => (
            format!(
                "Tenant {tenant} is {} in this sidecar from now on, and the store was not written.",
                shared.fleet.state(tenant).as_str()
            ),
            "The others do not know it, and a restart forgets it, until it is written: this sidecar keeps trying.",
        ),
        Change::Resume(tenant, _) | Change::Release(tenant, _) => (
            format!(
                "Tenant {tenant} is still {}: the store was not written.",
                shared.fleet.state(tenant).as_str()
            ),
            "Ask again when the store can be written.",
        ),
        Change::Open(_) | Change::Revoke { .. } => (
            "Nothing is known to have changed: the store was not written.".to_owned(),
            "Ask again when the store can be written; GET /api/v1/status shows what is in force.",
        ),
    };
    let details = format!("{}. {details}", error.cause());
    Refusal::new(Wrong::Unavailable, "store_unavailable", message, details)
}

async fn refresh(shared: &Shared, tenant: &TenantId) -> Result<Value, Refusal> {
    let Some(profile) = exists(shared, tenant).await? else {
        return Err(Refusal::new(
            Wrong::Unavailable,
            "store_unavailable",
            format!("The store does not say now who tenant {tenant} is."),
            "Ask again when it answers, or mend the tenant's profile: `spapi-sidecar tenant show` names what is wrong.",
        ));
    };
    if shared.fleet.state(tenant) == TenantState::Killed {
        return Err(Refusal::new(
            Wrong::Conflict,
            "tenant_killed",
            format!("Tenant {tenant} is killed: no token is exchanged for it."),
            "`resume` serves it again.",
        ));
    }
    let key = AccessKey::new(&profile, GrantKind::Refresh);
    match shared.tokens.renew(&key).await {
        Ok(issued) => {
            let left = issued
                .life
                .end
                .saturating_duration_since(tokio::time::Instant::now());
            Ok(
                json!({"tenant": tenant.as_str(), "refreshed": true, "expires_in_s": left.as_secs()}),
            )
        }
        Err(failure) => Err(Refusal::new(
            Wrong::Unavailable,
            "token_unavailable",
            format!("No token was had for tenant {tenant}: {}.", failure.cause),
            format!("To do: {}.", failure.cause.remedy()),
        )),
    }
}

/// A configuration that was not taken, a mistake each: what `check` says.
fn not_taken(error: ReloadError) -> Refusal {
    let one = |message: String, details: &str| {
        Refusal::new(
            Wrong::Configuration,
            "configuration_refused",
            message,
            format!("{details}The configuration in force stays so."),
        )
    };
    match error {
        ReloadError::Invalid(faults) => Refusal {
            wrong: Wrong::Configuration,
            entries: faults
                .faults
                .iter()
                .map(|fault| Entry {
                    code: "configuration_invalid",
                    message: format!(
                        "{}:{}:{}: {}: {}",
                        faults.file, fault.line, fault.column, fault.path, fault.problem
                    ),
                    details: fault.remedy.clone(),
                })
                .collect(),
        },
        ReloadError::NeedsRestart(_)
        | ReloadError::NotCovered(_)
        | ReloadError::Unreadable { .. } => one(format!("{error}."), ""),
        ReloadError::NoFile => one(
            format!("{error}."),
            "Start it with `spapi-sidecar run --config FILE`. ",
        ),
    }
}
