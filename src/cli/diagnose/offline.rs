//! A diagnosis without a running sidecar.

use std::sync::Arc;

use serde_json::Value;

use crate::cli::{Complaint, kept};
use crate::config::{Config, Date, Tenant};
use crate::roster::Unready;
use crate::store::StoreError;
use crate::store::fleet::Standing;
use crate::telemetry;
use crate::verdict::due::{self, DueKind};
use crate::verdict::facts::{self, Around, Charge, Coverage, Facts, Sidecar, StateNote};
use crate::verdict::recent::Recent;
use crate::verdict::report::{Checked, Health};

/// What can be said from the configuration, the calendar and the store. `why` says what came of asking the sidecar.
pub(super) fn diagnosis(
    config: &Config,
    only: Option<&str>,
    why: &str,
) -> Result<Value, Complaint> {
    let kept = kept::read(config, only)?;
    let now = telemetry::now();
    let dues = due::dues(&config.apps, &kept.tenants, &kept.ages, None, now);
    let needs = Arc::new(facts::needs(&config.routes));
    let days = due::days(&dues);
    let checked = kept.tenants.iter().map(|tenant: &Arc<Tenant>| {
        let app = config.apps.iter().find(|app| app.id == tenant.app);
        let days_of = |what, subject: &str| days.get(&(what, subject)).copied();
        let lacks = kept.lacks.get(&tenant.id).cloned();
        Checked::of(Facts {
            now,
            window: config.alerts.auth_errors.1,
            profile: Arc::clone(tenant),
            aside: kept.aside.get(&tenant.id).map(note),
            waits: kept.waits.get(&tenant.id).map(Unready::to_string),
            token_left: None,
            scopes: Coverage::of(tenant, &needs),
            needs: Arc::clone(&needs),
            recent: Recent::default(),
            charge: app.map_or_else(Charge::default, |app| Charge::of(app, Date::of(now))),
            secret_days: days_of(DueKind::ClientSecret, tenant.app.as_str()),
            authorization_days: days_of(DueKind::Authorization, tenant.id.as_str()),
            around: Around::default(),
            store_trouble: kept.trouble.as_ref().map(StoreError::cause),
            sidecar: Sidecar::Down {
                why: why.to_owned(),
                lacks: lacks.unwrap_or_default(),
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
        let trouble = kept.trouble.map(|error| error.to_string());
        object.insert("status".to_owned(), "failing".into());
        object.insert("sidecar".to_owned(), why.into());
        object.insert("store".to_owned(), trouble.into());
    }
    Ok(value)
}

fn note(standing: &Standing) -> StateNote {
    StateNote {
        state: standing.state,
        reason: standing.reason.clone(),
        by: standing.by.clone(),
        since: standing.since.clone(),
    }
}
