//! `tenants/ID/preflight`: that a tenant's preflight has passed.
//!
//! Job: a typed view over a small record beside the profile, one a tenant, so that the fleet's own record stays small.
//! Invariants: it names the profile that passed, whole: another one has not. Routes are not part of it, since they are the
//! file's and every tenant's: a new route is no reason to stop them all. Nor is the grant: a new authorization mends, and is
//! looked at by itself.
//! Failure mode: the store's; a record that says less has not passed.

use std::fmt;

use super::{Expect, Fields, GrantStore, RecordKey, StoreError};
use crate::config::{Account, Environment, Tenant};
use crate::secret::Opaque;
use crate::tenant::TenantId;

/// A preflight that has passed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Passed {
    /// When (RFC 3339).
    pub at: String,
    /// Who ran it.
    pub by: String,
    /// For which profile, in words.
    pub profile: String,
}

impl Passed {
    /// A pass of a tenant's profile as it is.
    #[must_use]
    pub fn of(tenant: &Tenant, at: String, by: String) -> Self {
        Self {
            at,
            by,
            profile: words(tenant),
        }
    }

    /// Whether it was this profile that passed.
    #[must_use]
    pub fn covers(&self, tenant: &Tenant) -> bool {
        self.profile == words(tenant)
    }

    /// Reads the record; `None` where no preflight has passed yet.
    ///
    /// # Errors
    /// The store's.
    pub async fn load(
        store: &dyn GrantStore,
        tenant: &TenantId,
    ) -> Result<Option<Self>, StoreError> {
        let record = store.read(&RecordKey::Preflight(tenant.clone())).await?;
        Ok(record.map(|record| {
            let text = |name: &str| {
                let value = record.fields.get(name).map(Opaque::expose);
                value.unwrap_or_default().trim().to_owned()
            };
            Self {
                at: text("passed_at"),
                by: text("by"),
                profile: text("profile"),
            }
        }))
    }

    /// Writes the record in place of an older one.
    ///
    /// # Errors
    /// The store's.
    pub async fn save(self, store: &dyn GrantStore, tenant: &TenantId) -> Result<u64, StoreError> {
        let fields = [
            ("passed_at", self.at),
            ("by", self.by),
            ("profile", self.profile),
        ];
        let fields: Fields = fields
            .into_iter()
            .map(|(name, value)| (name.to_owned(), Opaque::new(value)))
            .collect();
        let key = RecordKey::Preflight(tenant.clone());
        store.write(&key, fields, Expect::Any).await
    }
}

/// A profile on one line, as people can compare it. Lists keep their meaning in any order.
fn words(tenant: &Tenant) -> String {
    let account = match tenant.account {
        Account::Seller => "seller",
        Account::Vendor => "vendor",
    };
    let environment = match tenant.environment {
        Environment::Production => "production",
        Environment::Sandbox => "sandbox",
    };
    format!(
        "app={} account={account} region={} environment={environment} marketplaces={} vendor_groups={} scopes={}",
        tenant.app,
        tenant.region.as_str(),
        Sorted(&tenant.marketplaces),
        Sorted(&tenant.vendor_groups),
        Sorted(&tenant.scopes),
    )
}

struct Sorted<'a>(&'a [String]);

impl fmt::Display for Sorted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut items: Vec<&str> = self.0.iter().map(String::as_str).collect();
        items.sort_unstable();
        f.write_str(&items.join(","))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::config::profile;
    use crate::store::memory::MemoryStore;

    fn tenant(fields: &[(&str, &str)]) -> std::sync::Arc<Tenant> {
        let mut all = BTreeMap::from([("app".to_owned(), "erp"), ("region".to_owned(), "na")]);
        all.extend(
            fields
                .iter()
                .map(|(name, value)| ((*name).to_owned(), *value)),
        );
        profile::parse(&TenantId::parse("acme").unwrap(), &all).unwrap()
    }

    #[test]
    fn a_pass_is_one_profiles_and_every_other_wants_its_own() {
        let before = tenant(&[("scopes", "a,b"), ("preflight", "required")]);
        let passed = Passed::of(&before, String::new(), String::new());
        for (fields, want) in [
            (&[("scopes", "b,a"), ("preflight", "required")][..], true),
            (&[("scopes", "a,b")], true),
            (&[("scopes", "a")], false),
            (&[("scopes", "a,b"), ("app", "crm")], false),
            (&[("scopes", "a,b"), ("region", "eu")], false),
            (&[("scopes", "a,b"), ("account", "vendor")], false),
            (&[("scopes", "a,b"), ("environment", "sandbox")], false),
            (&[("scopes", "a,b"), ("vendor_groups", "g")], false),
            (
                &[("scopes", "a,b"), ("marketplaces", "ATVPDKIKX0DER")],
                false,
            ),
        ] {
            assert_eq!(passed.covers(&tenant(fields)), want, "{fields:?}");
        }
    }

    #[tokio::test]
    async fn what_was_written_is_read_and_a_record_without_a_profile_covers_nobody() {
        let store = MemoryStore::default();
        let acme = tenant(&[]);
        assert_eq!(Passed::load(&store, &acme.id).await.unwrap(), None);
        let passed = Passed::of(&acme, "2026-11-26T00:00:00Z".to_owned(), "ada".to_owned());
        passed.clone().save(&store, &acme.id).await.unwrap();
        assert_eq!(Passed::load(&store, &acme.id).await.unwrap(), Some(passed));
        let key = RecordKey::Preflight(acme.id.clone());
        store.write(&key, Fields::new(), Expect::Any).await.unwrap();
        let empty = Passed::load(&store, &acme.id).await.unwrap().unwrap();
        assert!(!empty.covers(&acme));
    }
}
