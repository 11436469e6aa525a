//! What is asked when somebody looks, instead of being counted: the gauges.
//!
//! Job: hold what other rooms say of the present, in their own words.
//! Invariants: ids, closed words and numbers; asked at a scrape alone, so that no request pays for it.
//! Failure mode: what nobody says is not shown, except that a tenant of whom nothing is said is active.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::tenant::{AppId, TenantId, TenantState};

/// The present, as the rooms tell it. Each room fills in its own part.
#[derive(Debug, Default)]
pub struct Readings {
    /// Tenants that are configured. What was counted of others is forgotten; where nobody tells, nothing is.
    pub tenants: Option<BTreeSet<TenantId>>,
    /// Tenants that are not active.
    pub states: BTreeMap<TenantId, TenantState>,
    /// How long tokens in memory live from now: of several of a kind, the one that ends first.
    pub tokens: BTreeMap<(TenantId, &'static str), Duration>,
    /// Alerts, by name and by whom or what each is about; `true` while it fires.
    pub alerts: BTreeMap<(&'static str, String), bool>,
    /// Days until the charge method of an app lapses; below zero once it has.
    pub charge_method_days: BTreeMap<AppId, i64>,
    /// Days until the client secret of an app lapses.
    pub client_secret_days: BTreeMap<AppId, i64>,
    /// Days until the authorization of a tenant ends.
    pub authorization_days: BTreeMap<TenantId, i64>,
    /// Open client connections.
    pub connections: usize,
    /// Log lines that a stalled output lost.
    pub log_lines_lost: u64,
    /// Spans that were not delivered.
    pub spans_dropped: u64,
}

impl Readings {
    /// Notes the life of a token, unless one of its kind ends sooner.
    pub fn token(&mut self, tenant: TenantId, kind: &'static str, life: Duration) {
        let known = self.tokens.entry((tenant, kind)).or_insert(life);
        *known = life.min(*known);
    }
}

/// A room that tells its part.
pub type Source = Box<dyn Fn(&mut Readings) + Send + Sync>;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_several_tokens_of_a_kind_the_one_that_ends_first_is_shown() {
        let mut readings = Readings::default();
        let acme = TenantId::parse("acme").unwrap();
        for seconds in [9, 5, 7] {
            readings.token(acme.clone(), "rdt", Duration::from_secs(seconds));
        }
        assert_eq!(readings.tokens[&(acme, "rdt")], Duration::from_secs(5));
    }
}
