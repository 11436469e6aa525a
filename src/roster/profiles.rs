//! The profiles that the store holds.
//!
//! Job: read a profile when it is first needed, refresh it behind the callers' backs while it is used, forget it when it is
//! not.
//! Invariants: memory is bounded ([`MOST_PROFILES`], [`MOST_MISSING`]); an id that the store does not know costs one look-up
//! a minute, whoever asks; at most [`LOOKUPS`] look-ups are under way, and at most ten a second are made to refresh; a
//! look-up is nobody's own, and no caller that goes away ends it.
//! Failure mode: [`Missing`]. A profile that was good and is broken now stays in force as it was, with a warning; one that is
//! gone is gone; with the store away, what is known stays.

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::Shared;
use moka::sync::Cache;
use tokio::sync::Semaphore;
use tokio::time::Instant;

use super::Missing;
use crate::config::Tenant;
use crate::store::{BoxFuture, GrantStore, StoreError, profile};
use crate::task::Tasks;
use crate::tenant::TenantId;

/// Most profiles in memory: twice a large installation's, about a kilobyte each.
const MOST_PROFILES: u64 = 20_000;

/// Most ids that are remembered as missing: names that are guessed push out each other, never a profile.
const MOST_MISSING: u64 = 10_000;

/// A profile that nobody has used for this long is forgotten; its token has expired long since.
const IDLE: Duration = Duration::from_hours(2);

/// How long an id is remembered as missing.
pub(super) const REMEMBERED: Duration = Duration::from_secs(60);

/// Age at which a profile in use is read again. With more than 3,000 of them in use it is read as often as ten look-ups a
/// second allow: 10,000 take 17 minutes.
pub(super) const AGED: Duration = Duration::from_mins(5);

/// Pause between two look-ups that refresh.
const PACE: Duration = Duration::from_millis(100);

/// Pause between two rounds that find nothing to refresh, or the store away.
pub(super) const ROUND: Duration = Duration::from_secs(5);

/// Most look-ups under way at once.
pub(super) const LOOKUPS: usize = 16;

/// Most ids that are looked up or wait for it; beyond it a look-up is refused.
const MOST_WAITING: usize = 1_000;

type Flight = Shared<BoxFuture<'static, Result<Arc<Tenant>, Missing>>>;

/// The profiles that the store holds, as far as they were needed.
pub struct Profiles {
    store: Arc<dyn GrantStore>,
    tasks: Tasks,
    tenants: Cache<TenantId, Arc<Entry>>,
    missing: Cache<TenantId, (Missing, Instant)>,
    flights: Mutex<HashMap<TenantId, Flight>>,
    lookups: Semaphore,
}

#[derive(Debug)]
struct Entry {
    tenant: Arc<Tenant>,
    /// The record's version: the last one that was read, good or not.
    version: u64,
    /// When it is to be read again, if it is used.
    due: Instant,
    used: AtomicBool,
}

impl Entry {
    fn new(tenant: Arc<Tenant>, version: u64, due: Instant) -> Arc<Self> {
        Arc::new(Self {
            tenant,
            version,
            due,
            used: AtomicBool::new(false),
        })
    }
}

impl Profiles {
    /// Reads from `store`, in tasks of its own.
    #[must_use]
    pub fn new(store: Arc<dyn GrantStore>, tasks: Tasks) -> Self {
        Self {
            store,
            tasks,
            tenants: Cache::builder()
                .max_capacity(MOST_PROFILES)
                .time_to_idle(IDLE)
                .build(),
            missing: Cache::builder().max_capacity(MOST_MISSING).build(),
            flights: Mutex::default(),
            lookups: Semaphore::new(LOOKUPS),
        }
    }

    pub(super) fn known(&self) -> Vec<Arc<Tenant>> {
        let all = self.tenants.iter();
        all.map(|(_, entry)| Arc::clone(&entry.tenant)).collect()
    }

    pub(super) fn len(&self) -> usize {
        usize::try_from(self.tenants.entry_count()).unwrap_or(usize::MAX)
    }

    pub(super) fn get(&self, id: &TenantId) -> Option<Arc<Tenant>> {
        let entry = self.tenants.get(id)?;
        entry.used.store(true, Ordering::Relaxed);
        Some(Arc::clone(&entry.tenant))
    }

    pub(super) async fn find(self: &Arc<Self>, id: &TenantId) -> Result<Arc<Tenant>, Missing> {
        if let Some(tenant) = self.get(id) {
            return Ok(tenant);
        }
        if let Some((missing, since)) = self.missing.get(id)
            && since.elapsed() < REMEMBERED
        {
            return Err(missing);
        }
        self.flight(id)?.await
    }

    /// The look-up under way, or a new one.
    fn flight(self: &Arc<Self>, id: &TenantId) -> Result<Flight, Missing> {
        let mut flights = self.flights.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(flight) = flights.get(id) {
            return Ok(flight.clone());
        }
        if flights.len() >= MOST_WAITING {
            let many = "too many profiles are looked up at once".to_owned();
            return Err(StoreError::Throttled(many).into());
        }
        let (profiles, wanted) = (Arc::clone(self), id.clone());
        let task = self.tasks.control("profile", async move {
            let landing = Landing {
                profiles: &profiles,
                id: &wanted,
            };
            landing.profiles.look_up(&wanted).await
        });
        let landed: BoxFuture<'static, _> = Box::pin(async move {
            task.await.unwrap_or_else(|_interrupted| {
                Err(StoreError::Timeout("the look-up was interrupted".to_owned()).into())
            })
        });
        let flight = landed.shared();
        flights.insert(id.clone(), flight.clone());
        Ok(flight)
    }

    async fn look_up(&self, id: &TenantId) -> Result<Arc<Tenant>, Missing> {
        let missing = match self.read(id).await? {
            Some((Ok(tenant), version)) => {
                let due = Instant::now() + AGED;
                self.missing.invalidate(id);
                self.tenants
                    .insert(id.clone(), Entry::new(Arc::clone(&tenant), version, due));
                return Ok(tenant);
            }
            Some((Err(fault), _)) => {
                tracing::warn!(tenant = %id, %fault, "a tenant's profile in the store is broken; the tenant is not served");
                Missing::Broken(fault)
            }
            None => Missing::Unknown,
        };
        self.missing
            .insert(id.clone(), (missing.clone(), Instant::now()));
        Err(missing)
    }

    async fn read(&self, id: &TenantId) -> Result<Option<profile::Found>, StoreError> {
        // the semaphore is never closed; without a permit the look-up is made all the same
        let _permit = self.lookups.acquire().await.ok();
        profile::load(&*self.store, id).await
    }

    /// Reads profiles in use again, for as long as it is polled. Never ends.
    pub async fn keep_fresh(&self) {
        loop {
            let now = Instant::now();
            let due = self.tenants.iter().filter(|(_, entry)| entry.due <= now);
            let mut due: Vec<(TenantId, Arc<Entry>)> = due
                .filter(|(_, entry)| entry.used.load(Ordering::Relaxed))
                .map(|(id, entry)| (TenantId::clone(&id), entry))
                .collect();
            due.sort_by_key(|(_, entry)| entry.due);
            for (id, entry) in due {
                if let Err(error) = self.refresh(&id, &entry).await {
                    tracing::debug!(tenant = %id, %error, "the store is away; profiles stay as they were read");
                    break;
                }
                tokio::time::sleep(PACE).await;
            }
            tokio::time::sleep(ROUND).await;
        }
    }

    async fn refresh(&self, id: &TenantId, entry: &Entry) -> Result<(), StoreError> {
        let found = self.read(id).await?;
        let due = Instant::now() + AGED;
        match found {
            Some((Ok(tenant), version)) => {
                if *tenant != *entry.tenant {
                    tracing::info!(tenant = %id, version, "a tenant's profile has changed");
                }
                self.tenants
                    .insert(id.clone(), Entry::new(tenant, version, due));
            }
            Some((Err(fault), version)) => {
                if version != entry.version {
                    tracing::warn!(tenant = %id, %fault, version, "a tenant's profile in the store is broken now; the one before stays in force until this sidecar ends");
                }
                let tenant = Arc::clone(&entry.tenant);
                self.tenants
                    .insert(id.clone(), Entry::new(tenant, version, due));
            }
            None => {
                tracing::info!(tenant = %id, "a tenant's profile is gone");
                self.tenants.invalidate(id);
            }
        }
        Ok(())
    }
}

/// Takes a look-up off the list when it has ended, by panic too.
struct Landing<'a> {
    profiles: &'a Profiles,
    id: &'a TenantId,
}

impl Drop for Landing<'_> {
    fn drop(&mut self) {
        let flights = self.profiles.flights.lock();
        flights
            .unwrap_or_else(PoisonError::into_inner)
            .remove(self.id);
    }
}

impl fmt::Debug for Profiles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Profiles").finish_non_exhaustive()
    }
}
