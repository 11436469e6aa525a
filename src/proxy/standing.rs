//! Whether a tenant is served.
//!
//! Job: turn a tenant's state in the fleet, a preflight that has not passed, and a profile that cannot be had, into a refusal.
//! Invariants: nobody is served before the states have been read; a state holds for the next request of every connection.
//! Failure mode: `tenant_killed`, `tenant_quarantined`, `tenant_unknown`; `token_unavailable` where the store does not say.
//! Source: CONTRACT sections 2.12 and 4.

use std::sync::Arc;
use std::time::Duration;

use crate::config::Tenant;
use crate::fleet::Fleet;
use crate::outcome::{Failure, Reason};
use crate::roster::{Missing, Passes, Unready};
use crate::tenant::{TenantId, TenantState};

/// How long a call waits for the first look at the fleet's record: as long as it would be told to stay away.
const FIRST_LOOK: Duration = Duration::from_secs(2);

/// Waits for the first look at the fleet's record: who has queued during a restart comes sooner than the store answers.
pub(super) async fn looked(fleet: &Fleet) {
    if !fleet.is_known() {
        // boxed: the future of every request would be larger by it otherwise. Without an answer, `check` refuses.
        let _too_long = Box::pin(tokio::time::timeout(FIRST_LOOK, fleet.looked())).await;
    }
}

/// Lets an active tenant pass.
pub(super) fn check(fleet: &Fleet, tenant: &TenantId) -> Result<(), Failure> {
    if !fleet.is_known() {
        return Err(Failure::new(
            Reason::TokenUnavailable,
            "The store has not said yet which tenants are served.",
            "store: the fleet's record has not been read since the start; the sidecar keeps trying. See /health/ready.",
        )
        .retry_after(2));
    }
    match fleet.state(tenant) {
        TenantState::Active => Ok(()),
        TenantState::Quarantined => Err(set_aside(fleet, tenant, Reason::TenantQuarantined)),
        TenantState::Killed => Err(set_aside(fleet, tenant, Reason::TenantKilled)),
    }
}

fn set_aside(fleet: &Fleet, tenant: &TenantId, reason: Reason) -> Failure {
    let how = if reason == Reason::TenantKilled {
        "switched off"
    } else {
        "set aside"
    };
    let why = fleet.standing(tenant).map_or_else(String::new, |standing| {
        format!(
            "By {} since {}: {}. ",
            standing.by, standing.since, standing.reason
        )
    });
    Failure::new(
        reason,
        format!("Tenant {tenant} was {how}; nothing was sent."),
        format!(
            "{why}When the cause is mended, an operator runs `spapi-sidecar tenant resume {tenant} --reason \"…\"`."
        ),
    )
}

/// Lets a tenant pass that needs no preflight, or whose preflight has passed.
pub(super) async fn passed(passes: &Passes, tenant: &Arc<Tenant>) -> Result<(), Failure> {
    let checked = match passes.remembered(tenant) {
        Some(known) => known,
        // boxed: the future of every request would be larger by it otherwise
        None => Box::pin(passes.check(tenant)).await,
    };
    checked.map_err(|unready| not_ready(&tenant.id, unready))
}

fn not_ready(id: &TenantId, unready: Unready) -> Failure {
    match unready {
        Unready::NeverPassed | Unready::Changed(_) => Failure::new(
            Reason::TenantQuarantined,
            format!("Tenant {id} is not served before its preflight has passed; nothing was sent."),
            format!(
                "Of tenant {id}, {unready}. An operator runs `spapi-sidecar preflight {id}`; within seconds of its passing the tenant is served."
            ),
        ),
        Unready::Store(error) => Failure::new(
            Reason::TokenUnavailable,
            format!("The store cannot say now whether tenant {id} may be served."),
            "store: the record of the tenant's preflight could not be read; the sidecar tries again with the next request.",
        )
        .retry_after(2)
        .caused_by(error),
    }
}

/// What a caller is told for whom there is no tenant.
pub(super) fn missing(id: &TenantId, missing: Missing) -> Failure {
    match missing {
        Missing::Unknown => Failure::new(
            Reason::TenantUnknown,
            format!("Tenant {id} is not configured."),
            "Add it to `tenants`, or to the store where `tenants: { from: store }` is set, or use the placeholder of one that is there.",
        ),
        Missing::Broken(fault) => Failure::new(
            Reason::TenantUnknown,
            format!("Tenant {id} has a profile in the store that cannot be used."),
            format!("tenants/{id}/profile, {fault}. It is read again within a minute."),
        ),
        Missing::Store(error) => Failure::new(
            Reason::TokenUnavailable,
            format!("The store cannot say now who tenant {id} is."),
            "store: the tenant's profile could not be read; the sidecar tries again with the next request.",
        )
        .retry_after(2)
        .caused_by(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::StoreError;

    #[test]
    fn a_store_that_cannot_say_who_a_tenant_is_or_whether_it_may_be_served_is_no_no() {
        let acme = TenantId::parse("acme").unwrap();
        let away = || StoreError::Sealed("GET canary".to_owned());
        for failure in [
            missing(&acme, Missing::Store(away())),
            not_ready(&acme, Unready::Store(away())),
        ] {
            assert_eq!(failure.reason, Reason::TokenUnavailable);
            assert_eq!(failure.retry_after, Some(2));
            assert!(failure.details.starts_with("store: "), "{failure:?}");
            let said = format!("{} {}", failure.message, failure.details);
            assert!(said.contains("acme") && !said.contains("canary"), "{said}");
        }
        let unknown = missing(&acme, Missing::Unknown);
        assert_eq!(unknown.reason, Reason::TenantUnknown);
        let unready = not_ready(&acme, Unready::NeverPassed);
        assert_eq!(unready.reason, Reason::TenantQuarantined);
        assert!(unready.details.contains("spapi-sidecar preflight acme"));
    }
}
