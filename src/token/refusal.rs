//! Data that Amazon has refused to an application, remembered for a while.
//!
//! Job: where a route does without an RDT, spare the Tokens API a question whose answer is known.
//! Invariants: bounded memory; what is remembered expires by itself, so that a role that was added takes effect.
//! Failure mode: what was forgotten is asked again.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::restricted::Resource;

/// How long a refusal is remembered: a role that was added takes effect within that time.
pub(super) const REMEMBERED: Duration = Duration::from_mins(10);

/// Most refusals remembered.
const MOST: usize = 16_384;

/// Refusals by the class of the resource.
#[derive(Debug, Default)]
pub(super) struct Refusals(Mutex<HashMap<Resource, Instant>>);

impl Refusals {
    pub(super) fn remember(&self, resource: &Resource) {
        let now = Instant::now();
        let mut until = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if until.len() >= MOST {
            until.retain(|_, until| now < *until);
        }
        if until.len() < MOST {
            until.insert(resource.class(), now + REMEMBERED);
        }
    }

    pub(super) fn holds(&self, resource: &Resource) -> bool {
        let mut refused = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if refused.is_empty() {
            return false;
        }
        let class = resource.class();
        match refused.get(&class) {
            Some(until) if Instant::now() < *until => true,
            Some(_) => {
                refused.remove(&class);
                false
            }
            None => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::config::{Account, Environment, Preflight, Region, Tenant};
    use crate::name::Authority;
    use crate::tenant::{AppId, TenantId};

    fn resource(template: &str) -> Resource {
        let tenant = Tenant {
            id: TenantId::parse("acme").unwrap(),
            app: AppId::parse("erp").unwrap(),
            account: Account::Seller,
            region: Region::Na,
            environment: Environment::Production,
            marketplaces: Vec::new(),
            vendor_groups: Vec::new(),
            scopes: Vec::new(),
            preflight: Preflight::Optional,
        };
        Resource::generic(
            Arc::new(tenant),
            Authority::parse("a.example:443").unwrap(),
            http::Method::GET,
            template.into(),
            Vec::new().into(),
        )
    }

    #[tokio::test(start_paused = true)]
    async fn a_refusal_is_remembered_for_ten_minutes_and_for_its_own_resource() {
        let refusals = Refusals::default();
        let (one, other) = (resource("/a/{x}"), resource("/b/{x}"));
        assert!(!refusals.holds(&one));
        refusals.remember(&one);
        assert!(refusals.holds(&one));
        assert!(!refusals.holds(&other));
        tokio::time::advance(REMEMBERED - Duration::from_millis(1)).await;
        assert!(refusals.holds(&one));
        tokio::time::advance(Duration::from_millis(1)).await;
        assert!(!refusals.holds(&one));
        assert!(refusals.0.lock().unwrap().is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn no_more_refusals_are_remembered_than_the_bound_and_old_ones_make_room() {
        let refusals = Refusals::default();
        for n in 0..MOST {
            refusals.remember(&resource(&format!("/{n}")));
        }
        let late = resource("/late");
        refusals.remember(&late);
        assert!(!refusals.holds(&late));
        assert_eq!(refusals.0.lock().unwrap().len(), MOST);
        tokio::time::advance(REMEMBERED).await;
        refusals.remember(&late);
        assert!(refusals.holds(&late));
        assert_eq!(refusals.0.lock().unwrap().len(), 1);
    }
}
