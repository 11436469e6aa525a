//! What the rules read of the configuration.
//!
//! Job: thresholds, and for a tenant its app, and for an app what is known of its charge method.
//! Invariants: read once for each configuration; pure.
//! Failure mode: none; what the file does not say is said to be unknown.

use std::collections::HashMap;

use crate::config::{Alerts, ChargeStatus, Config};
use crate::tenant::{AppId, TenantId};

/// The thresholds in force.
#[derive(Debug)]
pub(super) struct Settings {
    pub(super) alerts: Alerts,
    apps: HashMap<TenantId, AppId>,
    charges: HashMap<AppId, String>,
    /// Apps whose charge method is known to have been declined, with whoever mends it.
    pub(super) declined: HashMap<AppId, Option<String>>,
}

impl Settings {
    pub(super) fn new(config: &Config, apps: impl Iterator<Item = (TenantId, AppId)>) -> Self {
        let mut settings = Self {
            alerts: config.alerts.clone(),
            apps: apps.collect(),
            charges: HashMap::new(),
            declined: HashMap::new(),
        };
        for app in &config.apps {
            let Some(charge) = &app.charge_method else {
                continue;
            };
            let owner = charge.owner.as_ref();
            let mut text = match charge.status {
                ChargeStatus::Valid => "valid".to_owned(),
                ChargeStatus::Declined => "declined".to_owned(),
            };
            if let Some(day) = charge.expires {
                text.push_str(&format!(" through {day}"));
            }
            if let Some(owner) = owner {
                text.push_str(&format!(", owner {owner}"));
            }
            settings.charges.insert(app.id.clone(), text);
            if charge.status == ChargeStatus::Declined {
                settings.declined.insert(app.id.clone(), owner.cloned());
            }
        }
        settings
    }

    /// The app of a tenant.
    pub(super) fn app(&self, tenant: &TenantId) -> Option<&AppId> {
        self.apps.get(tenant)
    }

    /// The tenants.
    pub(super) fn tenants(&self) -> impl Iterator<Item = (&TenantId, &AppId)> {
        self.apps.iter()
    }

    /// What is known of the charge method of a tenant's app, for whoever looks at a wave of refusals.
    pub(super) fn charge(&self, tenant: &TenantId) -> String {
        let Some(app) = self.app(tenant) else {
            return "charge method: unknown".to_owned();
        };
        match self.charges.get(app) {
            Some(charge) => format!("charge method of app {app}: {charge}"),
            None => format!(
                "charge method of app {app}: not written in `apps[].charge_method`, so nobody watches it"
            ),
        }
    }
}
