//! Who is served: the tenants of the file, or those whose profiles the store holds.
//!
//! Job: a tenant by its id.
//! Invariants: one id, one tenant, and never another's; the file's are known at once, the store's when they are needed
//! ([`profiles`]); who has to pass a preflight first is served once it has ([`passes`]).
//! Failure mode: [`Missing`].

use std::sync::Arc;

use crate::config::profile::ProfileFault;
use crate::config::{Config, Tenant, Tenants};
use crate::map::Map;
use crate::store::StoreError;
use crate::tenant::TenantId;

mod passes;
mod profiles;

pub use passes::{Passes, Unready};
pub use profiles::Profiles;

/// Why there is no tenant of an id.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Missing {
    /// Nobody has it.
    #[error("no tenant has this id")]
    Unknown,
    /// The store has a profile that is not one.
    #[error("its profile in the store is broken: {0}")]
    Broken(ProfileFault),
    /// The store does not say.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// The tenants of a configuration.
#[derive(Clone, Debug)]
pub enum Roster {
    /// The file's.
    Listed(Map<TenantId, Arc<Tenant>>),
    /// The store's.
    Stored(Arc<Profiles>),
}

impl Roster {
    /// The tenants that a configuration names, or `profiles` where it leaves that to the store.
    #[must_use]
    pub fn of(config: &Config, profiles: &Arc<Profiles>) -> Self {
        match &config.tenants {
            Tenants::Listed(tenants) => Self::Listed(
                tenants
                    .iter()
                    .map(|tenant| (tenant.id.clone(), Arc::clone(tenant)))
                    .collect(),
            ),
            Tenants::FromStore => Self::Stored(Arc::clone(profiles)),
        }
    }

    /// A tenant that is known without asking anybody.
    #[must_use]
    pub fn get(&self, id: &TenantId) -> Option<Arc<Tenant>> {
        match self {
            Self::Listed(tenants) => tenants.get(id).map(Arc::clone),
            Self::Stored(profiles) => profiles.get(id),
        }
    }

    /// A tenant, from the store where that holds the profiles and this one is not known yet.
    ///
    /// # Errors
    /// When there is none, or the store does not say.
    pub async fn find(&self, id: &TenantId) -> Result<Arc<Tenant>, Missing> {
        match self {
            Self::Listed(tenants) => tenants.get(id).map(Arc::clone).ok_or(Missing::Unknown),
            Self::Stored(profiles) => profiles.find(id).await,
        }
    }

    /// The tenants that are known now, sorted by id. Of the store's, those that were needed.
    #[must_use]
    pub fn known(&self) -> Vec<Arc<Tenant>> {
        let mut known: Vec<Arc<Tenant>> = match self {
            Self::Listed(tenants) => tenants.values().map(Arc::clone).collect(),
            Self::Stored(profiles) => profiles.known(),
        };
        known.sort_by(|a, b| a.id.cmp(&b.id));
        known
    }

    /// The tenants whose tokens are kept fresh whether or not they are used: the file's. The store's may be ten thousand.
    #[must_use]
    pub fn standing(&self) -> Vec<Arc<Tenant>> {
        match self {
            Self::Listed(_) => self.known(),
            Self::Stored(_) => Vec::new(),
        }
    }

    /// How many are known now.
    #[must_use]
    pub fn len(&self) -> usize {
        match self {
            Self::Listed(tenants) => tenants.len(),
            Self::Stored(profiles) => profiles.len(),
        }
    }

    /// Whether none is known now.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

#[cfg(test)]
mod tests;
