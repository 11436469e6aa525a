//! Profiles over a store in memory that counts its readers.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use tokio::runtime::Handle;

use super::profiles::{AGED, LOOKUPS, REMEMBERED, ROUND};
use super::*;
use crate::secret::Opaque;
use crate::store::memory::MemoryStore;
use crate::store::{BoxFuture, Expect, Fields, Folder, GrantStore, Record, RecordKey};
use crate::task::Tasks;

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
    fn read<'a>(&'a self, key: &'a RecordKey) -> BoxFuture<'a, Result<Option<Record>, StoreError>> {
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
async fn ten_thousand_profiles_are_looked_up_a_few_at_a_time_and_refreshed_while_they_are_used() {
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
