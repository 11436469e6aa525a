//! `tenants/ID/profile`: a selling partner's profile, where the file says `tenants: { from: store }`.
//!
//! Job: a typed view, by the rules of the file.
//! Invariants: a profile is the tenant's whose record it is, and no other's.
//! Failure mode: the store's, or [`ProfileFault`], which names the field.

use std::sync::Arc;

use super::{GrantStore, RecordKey, StoreError};
use crate::config::Tenant;
use crate::config::profile::{self, ProfileFault};
use crate::tenant::TenantId;

/// A profile as it was found, with the record's version.
pub type Found = (Result<Arc<Tenant>, ProfileFault>, u64);

/// Reads a tenant's profile; `None` where the store has none.
///
/// # Errors
/// The store's.
pub async fn load(store: &dyn GrantStore, id: &TenantId) -> Result<Option<Found>, StoreError> {
    let record = store.read(&RecordKey::Profile(id.clone())).await?;
    Ok(record.map(|record| {
        let fields = record.fields.iter();
        let fields = fields.map(|(name, value)| (name.clone(), value.expose()));
        (profile::parse(id, &fields.collect()), record.version)
    }))
}
