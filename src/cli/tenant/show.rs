//! `tenant show`: one tenant, as the configuration, the store and the running sidecar know it.

use std::sync::Arc;

use serde_json::{Value, json};

use super::{known_tenant, list};
use crate::cli::{Complaint, ConfigArg, Exit, ask, store};
use crate::config::{Account, Config, Tenant, Tenants};
use crate::store::fleet::FleetRecord;
use crate::store::record::{AppCredentials, Grant};
use crate::store::{GrantStore, StoreError, profile};
use crate::tenant::TenantId;

/// `tenant show`.
#[derive(clap::Args, Clone, Debug)]
pub struct ShowArgs {
    /// The tenant's id.
    #[arg(value_name = "ID")]
    pub id: String,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
    /// Which configuration.
    #[command(flatten)]
    pub config: ConfigArg,
}

/// Does it.
pub(super) fn show(args: &ShowArgs) -> Result<Exit, Complaint> {
    let config = crate::cli::load(&args.config.config)?;
    let store = store::open(&config)?;
    let found = store::block_on(async {
        let tenant = match known_tenant(&config, store.as_ref(), &args.id).await {
            Ok(tenant) => tenant?,
            Err(error) => return Ok(Err(error)),
        };
        Ok(gathered(&config, store.as_ref(), &tenant).await)
    })??;
    let mut found = match found {
        Ok(found) => found,
        Err(error) => return store::finish(Err(error)),
    };
    if let Some(fields) = found.as_object_mut() {
        fields.insert("running".to_owned(), running(&config, &args.id)?);
    }
    let text = if args.json {
        format!("{found:#}\n")
    } else {
        as_text(&found)
    };
    crate::cli::print(text)?;
    let broken = found
        .get("profile_error")
        .is_some_and(|error| !error.is_null());
    Ok(if broken { Exit::Failed } else { Exit::Done })
}

/// What the configuration and the store know. Holds no secret.
pub(super) async fn gathered(
    config: &Config,
    store: &dyn GrantStore,
    id: &TenantId,
) -> Result<Value, StoreError> {
    let profile = match &config.tenants {
        Tenants::Listed(tenants) => tenants
            .iter()
            .find(|tenant| tenant.id == *id)
            .map(|tenant| Ok(Arc::clone(tenant))),
        Tenants::FromStore => profile::load(store, id).await?.map(|(profile, _)| profile),
    };
    let (fleet, _) = FleetRecord::load(store).await?;
    let standing = fleet.standing(id);
    let grant = Grant::load(store, id).await?.map(|(grant, _)| grant);
    let mut shown = json!({
        "id": id.as_str(),
        "state": standing.as_ref().map_or("active", |standing| standing.state.as_str()),
        "state_reason": standing.as_ref().map(|standing| &standing.reason),
        "state_since": standing.as_ref().map(|standing| &standing.since),
        "state_by": standing.as_ref().map(|standing| &standing.by),
        "grant": grant.is_some(),
        "selling_partner_id": grant.as_ref().and_then(|grant| grant.selling_partner_id.as_deref()),
        "authorized_at": grant.as_ref().and_then(|grant| grant.authorized_at.as_deref()),
        "profile_error": Value::Null,
    });
    let Some(fields) = shown.as_object_mut() else {
        return Ok(shown);
    };
    match profile {
        Some(Ok(tenant)) => {
            let credentials = AppCredentials::load(store, &tenant.app).await?;
            fields.insert("credentials".to_owned(), credentials.is_some().into());
            let preflight = list::preflight(store, &tenant).await?;
            fields.insert("preflight".to_owned(), preflight.into());
            if let Value::Object(profile) = of_profile(&tenant) {
                fields.extend(profile);
            }
        }
        Some(Err(fault)) => {
            fields.insert("profile_error".to_owned(), fault.to_string().into());
        }
        None => {}
    }
    Ok(shown)
}

fn of_profile(tenant: &Tenant) -> Value {
    let account = match tenant.account {
        Account::Seller => "seller",
        Account::Vendor => "vendor",
    };
    json!({
        "app": tenant.app.as_str(),
        "account": account,
        "region": tenant.region.as_str(),
        "environment": tenant.environment.as_str(),
        "marketplaces": tenant.marketplaces,
        "vendor_groups": tenant.vendor_groups,
        "scopes": tenant.scopes,
    })
}

/// What the running sidecar says of it; null where none runs or it does not know the tenant.
fn running(config: &Config, id: &str) -> Result<Value, Complaint> {
    let Ok((200, body)) = ask::get(config, "/api/v1/status")? else {
        return Ok(Value::Null);
    };
    let status: Value = serde_json::from_str(&body).unwrap_or_default();
    let tenants = status.get("tenants").and_then(Value::as_array);
    let mut ours = tenants
        .into_iter()
        .flatten()
        .filter(|tenant| tenant.get("id").and_then(Value::as_str) == Some(id));
    let word = |tenant: &Value, key: &str| tenant.get(key).cloned().unwrap_or_default();
    Ok(ours.next().map_or(Value::Null, |tenant| {
        json!({"state": word(tenant, "state"), "preflight_pending": word(tenant, "preflight_pending"), "token_is_fresh": word(tenant, "token_is_fresh")})
    }))
}

/// A line for each thing that is known.
fn as_text(found: &Value) -> String {
    let mut text = String::new();
    for (key, value) in found.as_object().into_iter().flatten() {
        let value = match value {
            Value::Null => continue,
            Value::String(word) => word.clone(),
            Value::Bool(truth) => if *truth { "yes" } else { "no" }.to_owned(),
            Value::Array(list) => {
                let words: Vec<&str> = list.iter().filter_map(Value::as_str).collect();
                words.join(", ")
            }
            Value::Number(_) | Value::Object(_) => value.to_string(),
        };
        text.push_str(&format!("{key:<20}{value}\n"));
    }
    text
}
