//! A diagnosis without a running sidecar.

use std::collections::HashMap;
use std::sync::Arc;

use serde_json::Value;

use crate::cli::{Complaint, store};
use crate::config::{Config, Date, Tenant, Tenants};
use crate::store::record::{AppCredentials, Grant};
use crate::store::{GrantStore, StoreError};
use crate::telemetry;
use crate::tenant::TenantState;
use crate::verdict::due::{self, Ages, DueKind};
use crate::verdict::facts::{self, Around, Charge, Coverage, Facts, Sidecar};
use crate::verdict::recent::Recent;
use crate::verdict::report::{Checked, Health};

/// What the store says.
#[derive(Default)]
struct Kept {
    ages: Ages,
    /// What it lacks, by tenant.
    lacks: HashMap<String, Vec<&'static str>>,
    /// Why it does not answer.
    trouble: Option<&'static str>,
}

/// What can be said from the configuration, the calendar and the store. `why` says what came of asking the sidecar.
pub(super) fn diagnosis(
    config: &Config,
    only: Option<&str>,
    why: &str,
) -> Result<Value, Complaint> {
    let all = match &config.tenants {
        Tenants::Listed(tenants) => tenants.as_slice(),
        Tenants::FromStore => &[],
    };
    let tenants: Vec<&Arc<Tenant>> = all
        .iter()
        .filter(|tenant| only.is_none_or(|id| tenant.id.as_str() == id))
        .collect();
    if let (Some(id), true) = (only, tenants.is_empty()) {
        let ids: Vec<&str> = all.iter().map(|tenant| tenant.id.as_str()).collect();
        return Err(store::unknown("tenant", id, "the configuration", &ids));
    }
    let kept = read(config, &tenants)?;
    let now = telemetry::now();
    let dues = due::dues(&config.apps, tenants.iter().copied(), &kept.ages, None, now);
    let needs = Arc::new(facts::needs(&config.routes));
    let days = due::days(&dues);
    let checked = tenants.iter().map(|tenant| {
        let app = config.apps.iter().find(|app| app.id == tenant.app);
        let days_of = |what, subject: &str| days.get(&(what, subject)).copied();
        Checked::of(Facts {
            now,
            window: config.alerts.auth_errors.1,
            profile: Arc::clone(tenant),
            state: TenantState::Active,
            token_left: None,
            scopes: Coverage::of(tenant, &needs),
            needs: Arc::clone(&needs),
            recent: Recent::default(),
            charge: app.map_or_else(Charge::default, |app| Charge::of(app, Date::of(now))),
            secret_days: days_of(DueKind::ClientSecret, tenant.app.as_str()),
            authorization_days: days_of(DueKind::Authorization, tenant.id.as_str()),
            around: Around::default(),
            store_trouble: kept.trouble,
            sidecar: Sidecar::Down {
                why: why.to_owned(),
                lacks: kept
                    .lacks
                    .get(tenant.id.as_str())
                    .cloned()
                    .unwrap_or_default(),
            },
            remind_within: config.remind_within(),
        })
    });
    let health = Health {
        checked_at: now,
        release: config.telemetry.release.clone(),
        apps: config.apps.clone(),
        tenants: checked.collect(),
        dues: dues.clone(),
        remind_within: config.remind_within(),
    };
    let mut value = health.diagnosis();
    if let Some(object) = value.as_object_mut() {
        object.insert("status".to_owned(), "failing".into());
        object.insert("sidecar".to_owned(), why.into());
    }
    Ok(value)
}

/// Reads what the store holds of these tenants and their apps. Nothing of it but dates and absences is kept.
fn read(config: &Config, tenants: &[&Arc<Tenant>]) -> Result<Kept, Complaint> {
    let store = match crate::store::open(&config.store) {
        Ok(store) => store,
        Err(error) => {
            return Ok(Kept {
                trouble: Some(error.cause()),
                ..Kept::default()
            });
        }
    };
    let mut kept = Kept::default();
    let outcome = store::block_on(fill(&*store, tenants, &mut kept))?;
    kept.trouble = outcome.err().map(|error| error.cause());
    Ok(kept)
}

async fn fill(
    store: &dyn GrantStore,
    tenants: &[&Arc<Tenant>],
    kept: &mut Kept,
) -> Result<(), StoreError> {
    let mut apps = HashMap::new();
    for tenant in tenants {
        let lacks = kept.lacks.entry(tenant.id.to_string()).or_default();
        match Grant::load(store, &tenant.id).await? {
            Some((grant, _)) => {
                let day = grant.authorized_at.as_deref().and_then(Date::parse);
                let ages = &mut kept.ages.authorizations;
                ages.extend(day.map(|day| (tenant.id.clone(), day)));
            }
            None => lacks.push("grant_missing"),
        }
        if !apps.contains_key(&tenant.app) {
            let found = AppCredentials::load(store, &tenant.app).await?;
            let made = found.as_ref().and_then(|(app, _)| app.rotated_at.clone());
            let day = made.as_deref().and_then(Date::parse);
            let ages = &mut kept.ages.secrets;
            ages.extend(day.map(|day| (tenant.app.clone(), day)));
            apps.insert(tenant.app.clone(), found.is_some());
        }
        if apps.get(&tenant.app) == Some(&false) {
            lacks.push("app_missing");
        }
    }
    Ok(())
}
