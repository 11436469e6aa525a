//! Who is served: the tenants of the file, or those whose profiles the store holds.
//!
//! Job: a tenant by its id. Profiles of the store are read when they are first needed, refreshed behind the callers' backs
//! while they are used, and forgotten when they are not.
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

use crate::config::profile::ProfileFault;
use crate::config::{Config, Tenant, Tenants};
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
const REMEMBERED: Duration = Duration::from_secs(60);

/// Age at which a profile in use is read again. With more than 3,000 of them in use it is read as often as ten look-ups a
/// second allow: 10,000 take 17 minutes.
const AGED: Duration = Duration::from_mins(5);

/// Pause between two look-ups that refresh.
const PACE: Duration = Duration::from_millis(100);

/// Pause between two rounds that find nothing to refresh, or the store away.
const ROUND: Duration = Duration::from_secs(5);

/// Most look-ups under way at once.
const LOOKUPS: usize = 16;

/// Most ids that are looked up or wait for it; beyond it a look-up is refused.
const MOST_WAITING: usize = 1_000;

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
    Listed(HashMap<TenantId, Arc<Tenant>>),
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
            Self::Stored(profiles) => profiles
                .tenants
                .iter()
                .map(|(_, entry)| Arc::clone(&entry.tenant))
                .collect(),
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
            Self::Stored(profiles) => {
                usize::try_from(profiles.tenants.entry_count()).unwrap_or(usize::MAX)
            }
        }
    }

    /// Whether none is known now.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

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

    fn get(&self, id: &TenantId) -> Option<Arc<Tenant>> {
        let entry = self.tenants.get(id)?;
        entry.used.store(true, Ordering::Relaxed);
        Some(Arc::clone(&entry.tenant))
    }

    async fn find(self: &Arc<Self>, id: &TenantId) -> Result<Arc<Tenant>, Missing> {
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

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;

    use tokio::runtime::Handle;

    use super::*;
    use crate::secret::Opaque;
    use crate::store::memory::MemoryStore;
    use crate::store::{Expect, Fields, Folder, Record, RecordKey};

    /// A store that counts its readers, and can be away.
    #[derive(Debug, Default)]
    struct Store {
        records: MemoryStore,
        reads: AtomicUsize,
        at_once: AtomicUsize,
        most_at_once: AtomicUsize,
        away: AtomicBool,
    }

    impl GrantStore for Store {
        fn read<'a>(
            &'a self,
            key: &'a RecordKey,
        ) -> BoxFuture<'a, Result<Option<Record>, StoreError>> {
            Box::pin(async move {
                self.reads.fetch_add(1, Ordering::Relaxed);
                let at_once = self.at_once.fetch_add(1, Ordering::Relaxed) + 1;
                self.most_at_once.fetch_max(at_once, Ordering::Relaxed);
                tokio::time::sleep(Duration::from_millis(1)).await;
                self.at_once.fetch_sub(1, Ordering::Relaxed);
                if self.away.load(Ordering::Relaxed) {
                    return Err(StoreError::Unavailable("away".to_owned()));
                }
                self.records.read(key).await
            })
        }

        fn write<'a>(
            &'a self,
            key: &'a RecordKey,
            fields: Fields,
            expect: Expect,
        ) -> BoxFuture<'a, Result<u64, StoreError>> {
            self.records.write(key, fields, expect)
        }

        fn list(&self, folder: Folder) -> BoxFuture<'_, Result<Vec<String>, StoreError>> {
            self.records.list(folder)
        }

        fn describe(&self) -> String {
            "memory".to_owned()
        }
    }

    impl Store {
        async fn put(&self, id: &str, region: &str) {
            let fields = [("app", "erp"), ("region", region)]
                .map(|(name, value)| (name.to_owned(), Opaque::new(value.to_owned())));
            let key = RecordKey::Profile(tenant(id));
            self.write(&key, fields.into(), Expect::Any).await.unwrap();
        }

        fn reads(&self) -> usize {
            self.reads.swap(0, Ordering::Relaxed)
        }
    }

    fn tenant(id: &str) -> TenantId {
        TenantId::parse(id).unwrap()
    }

    fn roster() -> (Arc<Store>, Roster) {
        let store = Arc::<Store>::default();
        let tasks = Tasks::new(Handle::current());
        let profiles = Arc::new(Profiles::new(Arc::clone(&store) as _, tasks));
        (store, Roster::Stored(profiles))
    }

    #[tokio::test(start_paused = true)]
    async fn a_profile_is_read_once_however_many_wait_for_it() {
        let (store, roster) = roster();
        store.put("acme", "na").await;
        let acme = tenant("acme");
        assert!(roster.get(&acme).is_none());
        let all = futures_util::future::join_all((0..100).map(|_| roster.find(&acme))).await;
        assert!(all.iter().all(|found| found.as_ref().unwrap().id == acme));
        roster.find(&acme).await.unwrap();
        assert_eq!(store.reads(), 1);
        assert!(roster.get(&acme).is_some());
        assert!(roster.standing().is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn a_caller_that_goes_away_ends_no_look_up() {
        let (store, roster) = roster();
        store.put("acme", "na").await;
        let acme = tenant("acme");
        let gone = tokio::time::timeout(Duration::from_micros(10), roster.find(&acme));
        assert!(gone.await.is_err());
        roster.find(&acme).await.unwrap();
        assert_eq!(store.reads(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn an_unknown_tenant_costs_one_look_up_a_minute() {
        let (store, roster) = roster();
        let acme = tenant("acme");
        for _ in 0..100 {
            let missing = roster.find(&acme).await.unwrap_err();
            assert!(matches!(missing, Missing::Unknown), "{missing}");
        }
        assert_eq!(store.reads(), 1);
        store.put("acme", "na").await;
        tokio::time::advance(REMEMBERED).await;
        roster.find(&acme).await.unwrap();
        assert_eq!(store.reads(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn a_store_that_is_away_is_no_proof_that_a_tenant_is_unknown() {
        let (store, roster) = roster();
        store.put("acme", "na").await;
        store.away.store(true, Ordering::Relaxed);
        let missing = roster.find(&tenant("acme")).await.unwrap_err();
        assert!(matches!(missing, Missing::Store(_)), "{missing}");
        store.away.store(false, Ordering::Relaxed);
        roster.find(&tenant("acme")).await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn a_broken_profile_names_its_field_and_stands_for_nobody() {
        let (store, roster) = roster();
        store.put("acme", "mars").await;
        store.put("beta", "na").await;
        roster.find(&tenant("beta")).await.unwrap();
        let missing = roster.find(&tenant("acme")).await.unwrap_err();
        assert!(missing.to_string().contains("region: `mars`"), "{missing}");
    }

    #[tokio::test(start_paused = true)]
    async fn ten_thousand_profiles_are_looked_up_a_few_at_a_time_and_refreshed_while_they_are_used()
    {
        let (store, roster) = roster();
        let ids: Vec<TenantId> = (0..10_000).map(|n| tenant(&format!("t{n}"))).collect();
        for id in &ids {
            store.put(id.as_str(), "na").await;
        }
        for some in ids.chunks(500) {
            futures_util::future::join_all(some.iter().map(|id| roster.find(id))).await;
        }
        assert_eq!(store.reads(), 10_000);
        assert!(store.most_at_once.load(Ordering::Relaxed) <= LOOKUPS);
        assert_eq!(roster.known().len(), 10_000);
        // a tenth of them is used, and one of those changes
        for id in ids.iter().step_by(10) {
            assert!(roster.get(id).is_some());
        }
        store.put("t10", "eu").await;
        let Roster::Stored(profiles) = &roster else {
            unreachable!("it was made so")
        };
        let _late = tokio::time::timeout(AGED * 2, profiles.keep_fresh()).await;
        assert_eq!(store.reads(), 1_000);
        let changed = roster.get(&tenant("t10")).unwrap();
        assert_eq!(changed.region, crate::config::Region::Eu);
    }

    #[tokio::test(start_paused = true)]
    async fn a_profile_that_breaks_while_it_is_used_stays_as_it_was() {
        let (store, roster) = roster();
        let acme = tenant("acme");
        store.put("acme", "na").await;
        roster.find(&acme).await.unwrap();
        let Roster::Stored(profiles) = &roster else {
            unreachable!("it was made so")
        };
        store.put("acme", "mars").await;
        assert!(roster.get(&acme).is_some());
        let _late = tokio::time::timeout(AGED + ROUND * 2, profiles.keep_fresh()).await;
        assert_eq!(store.reads(), 2);
        assert_eq!(roster.get(&acme).unwrap().region, crate::config::Region::Na);
    }
}
