//! Emptying a tenant's token records.
//!
//! Job: take the token and the lease out of every token record of a tenant.
//! Invariants: the generation grows, so that nobody takes the old token for a new one, and the lease goes, so that whoever
//! exchanges just now is refused its commit; records that do not exist are not made.
//! Failure mode: the first error; every record is tried all the same.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::record::TokenRecord;
use crate::catalog::Catalog;
use crate::store::{Expect, GrantStore, RecordKey, StoreError};
use crate::tenant::{GrantKind, TenantId};

/// How often a record is tried that others write as well: a lease is acquired and committed, and no more than that at a time.
const TRIES: u32 = 8;

/// Empties the token records of a tenant whose tokens are shared no longer, or are of no interest to this process: those of
/// its own access token, and of every scope that the catalog knows.
///
/// # Errors
/// The store's, when a record could not be emptied. The others were tried all the same.
pub async fn empty_records(store: &dyn GrantStore, tenant: &TenantId) -> Result<(), StoreError> {
    empty(store, tenant, std::iter::empty()).await
}

pub(super) async fn empty(
    store: &dyn GrantStore,
    tenant: &TenantId,
    kinds: impl Iterator<Item = GrantKind>,
) -> Result<(), StoreError> {
    let catalog = Catalog::embedded().operations().iter();
    let scopes = catalog.filter_map(|operation| operation.grantless_scope.as_deref());
    let scopes: BTreeSet<&str> = scopes.collect();
    let scopes = scopes
        .into_iter()
        .map(|scope| GrantKind::Grantless(Arc::from(scope)));
    let mut seen = BTreeSet::new();
    let mut outcome = Ok(());
    for kind in std::iter::once(GrantKind::Refresh)
        .chain(scopes)
        .chain(kinds)
    {
        let place = RecordKey::Token(tenant.clone(), kind);
        if seen.insert(place.path()) {
            outcome = outcome.and(empty_one(store, &place).await);
        }
    }
    outcome
}

async fn empty_one(store: &dyn GrantStore, place: &RecordKey) -> Result<(), StoreError> {
    for _ in 0..TRIES {
        let Some(record) = store.read(place).await? else {
            return Ok(());
        };
        let record = TokenRecord::read(&record);
        if record.token.is_none() && record.lease.is_none() {
            return Ok(());
        }
        let emptied = TokenRecord {
            generation: record.generation + 1,
            ..TokenRecord::default()
        };
        match store
            .write(place, emptied.fields(), Expect::Version(record.version))
            .await
        {
            Err(StoreError::Conflict(_)) => {}
            outcome => return outcome.map(drop),
        }
    }
    Err(StoreError::Conflict(place.path()))
}
