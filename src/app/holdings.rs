//! What a kill takes away.
//!
//! Job: let the fleet reach the tokens in memory and in the store, which are other rooms'.

use std::sync::{Arc, Weak};

use crate::fleet::Holdings;
use crate::proxy::Shared;
use crate::store::{BoxFuture, GrantStore, StoreError};
use crate::tenant::TenantId;
use crate::token::lease::empty_records;

/// The tokens of the tenants in the world in force.
#[derive(Debug)]
pub(super) struct Tokens {
    /// Held by what it holds: a strong one would keep both alive.
    shared: Weak<Shared>,
    store: Arc<dyn GrantStore>,
}

impl Tokens {
    pub(super) fn of(shared: &Arc<Shared>, store: &Arc<dyn GrantStore>) -> Arc<Self> {
        Arc::new(Self {
            shared: Arc::downgrade(shared),
            store: Arc::clone(store),
        })
    }
}

impl Holdings for Tokens {
    fn forget(&self, tenant: &TenantId) {
        if let Some(shared) = self.shared.upgrade() {
            shared.tokens.forget_tenant(tenant);
        }
    }

    fn empty<'a>(&'a self, tenant: &'a TenantId) -> BoxFuture<'a, Result<(), StoreError>> {
        Box::pin(async move {
            let shared = self.shared.upgrade();
            let known = shared
                .as_ref()
                .and_then(|shared| shared.world.load().tenants.get(tenant));
            match (shared, known) {
                (Some(shared), Some(tenant)) if shared.tokens.is_shared() => {
                    shared.tokens.empty_records(&tenant).await
                }
                // one that is in the file no longer, or whose profile was never needed here; or whose tokens others share
                _ => empty_records(&*self.store, tenant).await,
            }
        })
    }
}
