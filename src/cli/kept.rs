//! What configuration and store say of the tenants, for commands that work without a running sidecar.

use std::collections::HashMap;
use std::sync::Arc;

use super::{Complaint, store};
use crate::config::{Config, Date, Tenant, Tenants};
use crate::roster::Unready;
use crate::store::fleet::{FleetRecord, Standing};
use crate::store::record::{AppCredentials, Grant};
use crate::store::{Folder, GrantStore, StoreError, profile};
use crate::tenant::{AppId, TenantId};
use crate::verdict::due::Ages;

/// What was found. Nothing of a record is in it but its profile, dates, states and absences.
#[derive(Default)]
pub(super) struct Kept {
    /// The tenants: the file's, or those with a good profile in the store.
    pub(super) tenants: Vec<Arc<Tenant>>,
    /// Their dates.
    pub(super) ages: Ages,
    /// What the store lacks of each: `grant_missing`, `app_missing`.
    pub(super) lacks: HashMap<TenantId, Vec<&'static str>>,
    /// Those that are not active.
    pub(super) aside: HashMap<TenantId, Standing>,
    /// Why those are not served who wait for a preflight.
    pub(super) waits: HashMap<TenantId, Unready>,
    /// Why the store gave no more than this.
    pub(super) trouble: Option<StoreError>,
}

/// Reads what there is of all tenants, or of one.
///
/// # Errors
/// Where nothing knows the one that is asked for.
pub(super) fn read(config: &Config, only: Option<&str>) -> Result<Kept, Complaint> {
    let mut kept = Kept::default();
    if let Tenants::Listed(tenants) = &config.tenants {
        let wanted = |tenant: &&Arc<Tenant>| only.is_none_or(|id| tenant.id.as_str() == id);
        kept.tenants = tenants.iter().filter(wanted).map(Arc::clone).collect();
        if let (Some(id), true) = (only, kept.tenants.is_empty()) {
            let ids: Vec<&str> = tenants.iter().map(|tenant| tenant.id.as_str()).collect();
            return Err(store::unknown("tenant", id, "the configuration", &ids));
        }
    }
    let outcome = match crate::store::open(&config.store) {
        Ok(opened) => store::block_on(fill(&*opened, config, only, &mut kept))?,
        Err(error) => Err(error),
    };
    kept.trouble = outcome.err();
    match (only, &config.tenants) {
        (Some(id), Tenants::FromStore) if kept.tenants.is_empty() && kept.trouble.is_none() => Err(
            store::unknown("tenant with a good profile", id, "the store", &[]),
        ),
        _ => Ok(kept),
    }
}

async fn fill(
    store: &dyn GrantStore,
    config: &Config,
    only: Option<&str>,
    kept: &mut Kept,
) -> Result<(), StoreError> {
    if matches!(config.tenants, Tenants::FromStore) {
        kept.tenants = profiles(store, only).await?;
    }
    let (fleet, _) = FleetRecord::load(store).await?;
    kept.aside = fleet.standings().collect();
    let mut apps: HashMap<AppId, bool> = HashMap::new();
    for app in &config.apps {
        let found = AppCredentials::load(store, &app.id).await?;
        let made = found.as_ref().and_then(|(app, _)| app.rotated_at.clone());
        let day = made.as_deref().and_then(Date::parse);
        kept.ages
            .secrets
            .extend(day.map(|day| (app.id.clone(), day)));
        apps.insert(app.id.clone(), found.is_some());
    }
    for tenant in &kept.tenants {
        let why = Unready::of(store, tenant).await?;
        kept.waits.extend(why.map(|why| (tenant.id.clone(), why)));
        let lacks = kept.lacks.entry(tenant.id.clone()).or_default();
        match Grant::load(store, &tenant.id).await? {
            Some((grant, _)) => {
                let day = grant.authorized_at.as_deref().and_then(Date::parse);
                let ages = &mut kept.ages.authorizations;
                ages.extend(day.map(|day| (tenant.id.clone(), day)));
            }
            None => lacks.push("grant_missing"),
        }
        if apps.get(&tenant.app) == Some(&false) {
            lacks.push("app_missing");
        }
    }
    Ok(())
}

/// The good profiles of the store; `tenant list` names the broken ones.
async fn profiles(
    store: &dyn GrantStore,
    only: Option<&str>,
) -> Result<Vec<Arc<Tenant>>, StoreError> {
    let ids = match only {
        Some(id) => vec![id.to_owned()],
        None => store.list(Folder::Tenants).await?,
    };
    let mut tenants = Vec::new();
    for id in ids.iter().filter_map(|id| TenantId::parse(id).ok()) {
        let found = profile::load(store, &id).await?;
        tenants.extend(found.and_then(|(profile, _)| profile.ok()));
    }
    Ok(tenants)
}
