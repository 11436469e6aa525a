//! What the store holds, and what its policies allow.
//!
//! Invariants: a record is looked at for being there and having its fields; none of its values is shown.

use crate::config::{Date, Preflight, Tenant};
use crate::store::fleet::FleetRecord;
use crate::store::record::{AppCredentials, Grant};
use crate::store::rights::Right;
use crate::store::{GrantStore, StoreError};
use crate::tenant::AppId;
use crate::verdict::cause::Cause;
use crate::verdict::due::Ages;

use super::{Check, Outcome, Tools};

const ACCESS: (&str, &str) = ("store", "access");
const STATE: (&str, &str) = ("store", "state");
const POLICY: (&str, &str) = ("store", "policy");
const APP: (&str, &str) = ("store", "app");
const GRANT: (&str, &str) = ("store", "grant");

/// What was found.
pub(super) struct Stored {
    pub(super) checks: Vec<Check>,
    pub(super) ages: Ages,
}

impl Stored {
    /// Whether the app's credentials are there.
    pub(super) fn has_app(&self) -> bool {
        self.holds(APP)
    }

    /// Whether the refresh token is there.
    pub(super) fn has_grant(&self) -> bool {
        self.holds(GRANT)
    }

    fn holds(&self, at: (&str, &str)) -> bool {
        let good = |check: &Check| check.name == at.1 && check.outcome == Outcome::Pass;
        self.checks.iter().any(good)
    }
}

pub(super) async fn ask(tools: &Tools, tenant: &Tenant) -> Stored {
    let store = &*tools.store;
    let mut ages = Ages::default();
    let mut checks = Vec::new();
    match FleetRecord::load(store).await {
        Ok((fleet, _)) => {
            checks.push(Check::pass(ACCESS, format!("{} answers", store.describe())));
            checks.push(state(&fleet, tenant));
        }
        Err(error) => {
            let away = is_away(&error);
            checks.push(broken(ACCESS, &error));
            checks.push(Check::skip(STATE, "rests on `access`"));
            if away {
                let skipped = |at| Check::skip(at, "rests on `access`");
                checks.extend([POLICY, APP, GRANT].map(skipped));
                return Stored { checks, ages };
            }
        }
    }
    checks.push(policy(store.rights(tenant).await, tenant));
    checks.push(app(store, tenant, &mut ages).await);
    checks.push(grant(store, tenant, &mut ages).await);
    Stored { checks, ages }
}

/// Whether no other record could be read either: a policy speaks of one place, everything else of the store.
const fn is_away(error: &StoreError) -> bool {
    !matches!(error, StoreError::Denied(_))
}

fn broken(at: (&'static str, &'static str), error: &StoreError) -> Check {
    Check::fail(at, error.to_string(), error.remedy())
}

fn state(fleet: &FleetRecord, tenant: &Tenant) -> Check {
    match fleet.standing(&tenant.id) {
        None => Check::pass(STATE, "active"),
        Some(standing) => Check::warn(
            STATE,
            format!(
                "{} since {} by {}: {}",
                standing.state.as_str(),
                standing.since,
                standing.by,
                standing.reason
            ),
            Cause::TenantQuarantined.next_step(tenant),
        ),
    }
}

/// What the login may do, and what of that is too much or too little.
fn policy(rights: Result<Option<Vec<Right>>, StoreError>, tenant: &Tenant) -> Check {
    let rights = match rights {
        Ok(Some(rights)) => rights,
        Ok(None) => {
            return Check::pass(
                POLICY,
                "this store has no policies: who may read its files may do everything",
            );
        }
        Err(StoreError::Denied(_)) => {
            return Check::warn(
                POLICY,
                "this login may not ask what it may do",
                "allow `update` on sys/capabilities-self (deploy/vault/policy.hcl)",
            );
        }
        Err(error) => return broken(POLICY, &error),
    };
    let told = |say: fn(&Right) -> Vec<String>| {
        let lines = rights.iter().filter_map(|right| {
            let words = say(right);
            (!words.is_empty()).then(|| format!("{} {}", words.join(", "), right.path))
        });
        lines.collect::<Vec<_>>().join("; ")
    };
    let lacking = told(|right| right.lacking().map(str::to_owned).collect());
    let excess = told(|right| right.excess().map(str::to_owned).collect());
    let missed = told(|right| right.missed().map(str::to_owned).collect());
    if !lacking.is_empty() {
        Check::fail(
            POLICY,
            format!("this login may not: {lacking}"),
            Cause::StoreDenied.next_step(tenant),
        )
    } else if !excess.is_empty() {
        Check::warn(
            POLICY,
            format!("this login may, and need not: {excess}"),
            "give the sidecar the policy deploy/vault/policy.hcl and nothing beside it",
        )
    } else if !missed.is_empty() {
        Check::warn(
            POLICY,
            format!("this login may not: {missed}; what it spares operators is then theirs to do"),
            "compare with deploy/vault/policy.hcl",
        )
    } else {
        Check::pass(
            POLICY,
            format!(
                "what is needed in {} places, and nothing beside it",
                rights.len()
            ),
        )
    }
}

async fn app(store: &dyn GrantStore, tenant: &Tenant, ages: &mut Ages) -> Check {
    let id: &AppId = &tenant.app;
    match AppCredentials::load(store, id).await {
        Ok(Some((app, _))) => {
            let made = app.rotated_at.as_deref().and_then(Date::parse);
            ages.secrets.extend(made.map(|day| (id.clone(), day)));
            Check::pass(APP, "client id and client secret are there")
        }
        Ok(None) => Check::fail(
            APP,
            "the store holds no client id and secret",
            Cause::AppMissing.next_step(tenant),
        ),
        Err(error) => broken(APP, &error),
    }
    .about(id.as_str())
}

async fn grant(store: &dyn GrantStore, tenant: &Tenant, ages: &mut Ages) -> Check {
    match Grant::load(store, &tenant.id).await {
        Ok(Some((grant, _))) => {
            let given = grant.authorized_at.as_deref().and_then(Date::parse);
            ages.authorizations
                .extend(given.map(|day| (tenant.id.clone(), day)));
            let required = tenant.preflight == Preflight::Required;
            Check::pass(
                GRANT,
                if required {
                    "the refresh token is there; nothing is served before this preflight has passed"
                } else {
                    "the refresh token is there"
                },
            )
        }
        Ok(None) => Check::fail(
            GRANT,
            "the store holds no refresh token",
            Cause::GrantMissing.next_step(tenant),
        ),
        Err(error) => broken(GRANT, &error),
    }
}
