//! What a selling partner is asked for, and why, in plain words.
//!
//! Job: from the routes, say for each role what is done with it and who answers for it.
//! Invariants: nothing is asked that no route needs; what the tenant's `scopes` name beyond that is listed as not needed.

use std::collections::{BTreeMap, BTreeSet};

use crate::config::{RouteRule, Tenant};

/// One role.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Asked {
    /// The role, as `inventory-and-order-tracking`.
    pub scope: String,
    /// What it is for: the reasons of the routes, each once.
    pub reasons: Vec<String>,
    /// Who answers for them.
    pub owners: Vec<String>,
    /// Whether buyers' personal data are read by it.
    pub personal: bool,
}

/// What is asked of a tenant.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Plea {
    /// By role.
    pub asked: Vec<Asked>,
    /// Roles that the tenant's profile names and no route needs.
    pub unneeded: Vec<String>,
}

impl Plea {
    /// Gathers it. A route that the tenant lacks the role for is asked for too: that is what the consent is for.
    #[must_use]
    pub fn of(tenant: &Tenant, routes: &[RouteRule]) -> Self {
        let mut roles: BTreeMap<&str, (BTreeSet<&str>, BTreeSet<&str>, bool)> = BTreeMap::new();
        for route in routes {
            let Some(scope) = &route.scope else { continue };
            let (reasons, owners, personal) = roles.entry(scope).or_default();
            reasons.extend(route.reason.as_deref());
            owners.extend(route.owner.as_deref());
            *personal |= route.rdt.is_some();
        }
        let owned = |set: BTreeSet<&str>| set.into_iter().map(str::to_owned).collect();
        let unneeded = tenant
            .scopes
            .iter()
            .filter(|scope| !roles.contains_key(scope.as_str()))
            .cloned()
            .collect();
        let asked = roles
            .into_iter()
            .map(|(scope, (reasons, owners, personal))| Asked {
                scope: scope.to_owned(),
                reasons: owned(reasons),
                owners: owned(owners),
                personal,
            })
            .collect();
        Self { asked, unneeded }
    }

    /// The text.
    #[must_use]
    pub fn text(&self) -> String {
        let mut text = String::from("What is asked for, and why:\n");
        for asked in &self.asked {
            text.push_str(&format!("  {}", asked.scope));
            if asked.personal {
                text.push_str(" (buyers' personal data)");
            }
            text.push('\n');
            let reasons = if asked.reasons.is_empty() {
                "no reason is given in proxy.yaml".to_owned()
            } else {
                asked.reasons.join("; ")
            };
            text.push_str(&format!("    for: {reasons}\n"));
            if !asked.owners.is_empty() {
                text.push_str(&format!("    ask: {}\n", asked.owners.join(", ")));
            }
        }
        if self.asked.is_empty() {
            text.push_str("  nothing: no route names a scope\n");
        }
        if !self.unneeded.is_empty() {
            text.push_str(&format!(
                "Not needed by any route, so better not granted: {}\n",
                self.unneeded.join(", ")
            ));
        }
        text.push_str(
            "The page shows the application's roles as a whole; a grant cannot be narrower than they are.\n",
        );
        text
    }
}
