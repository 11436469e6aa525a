//! Whose preflight has passed.
//!
//! Job: whether a tenant whose profile says `preflight: required` may be served.
//! Invariants: the store is asked when such a tenant is called for or judged; a pass is remembered for the profile that it was
//! given to, so that a request finds it without waiting, and another profile is asked for again; that there is none is
//! remembered for [`REMEMBERED`], so that the whole fleet serves within that time of a pass; one look-up for a tenant at a time.
//! Failure mode: [`Unready`]; with the store away, who has passed stays so.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Duration;

use tokio::time::Instant;

use crate::config::{Preflight, Tenant};
use crate::map::Map;
use crate::store::preflight::Passed;
use crate::store::{GrantStore, StoreError};
use crate::tenant::TenantId;

/// How long it is remembered that no preflight has passed.
const REMEMBERED: Duration = Duration::from_secs(5);

/// Most tenants that are remembered, as many as there are profiles in memory.
const MOST: usize = 20_000;

/// Why a tenant may not be served yet.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Unready {
    /// No preflight has passed.
    #[error("its profile says `preflight: required`, and none has passed yet")]
    NeverPassed,
    /// One has, of another profile.
    #[error("its profile has changed since its preflight passed on {0}")]
    Changed(String),
    /// The store does not say.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Unready {
    /// What the store says; nothing where the tenant may be served.
    ///
    /// # Errors
    /// The store's.
    pub async fn of(store: &dyn GrantStore, tenant: &Tenant) -> Result<Option<Self>, StoreError> {
        match tenant.preflight {
            Preflight::Optional => return Ok(None),
            Preflight::Required => {}
        }
        Ok(match Passed::load(store, &tenant.id).await? {
            Some(passed) if passed.covers(tenant) => None,
            Some(passed) => Some(Self::Changed(passed.at)),
            None => Some(Self::NeverPassed),
        })
    }
}

/// The passes, as far as they were asked for.
pub struct Passes {
    store: Arc<dyn GrantStore>,
    known: RwLock<Map<TenantId, Arc<Entry>>>,
}

#[derive(Default)]
struct Entry {
    found: Mutex<Option<Found>>,
    turn: tokio::sync::Mutex<()>,
}

enum Found {
    /// For this profile.
    Passed(Arc<Tenant>),
    Not(Unready, Instant),
}

impl Passes {
    /// Asks `store`.
    #[must_use]
    pub fn new(store: Arc<dyn GrantStore>) -> Self {
        Self {
            store,
            known: RwLock::default(),
        }
    }

    /// Lets a tenant pass that needs no preflight, or whose preflight has passed.
    ///
    /// # Errors
    /// When it may not be served yet, or the store does not say.
    pub async fn check(&self, tenant: &Arc<Tenant>) -> Result<(), Unready> {
        if let Some(known) = self.remembered(tenant) {
            return known;
        }
        let entry = self.entry(&tenant.id);
        let _turn = entry.turn.lock().await;
        // somebody else has asked in the meantime
        if let Some(known) = entry.knows(tenant) {
            return known;
        }
        let Some(unready) = Unready::of(&*self.store, tenant).await? else {
            *entry.found() = Some(Found::Passed(Arc::clone(tenant)));
            return Ok(());
        };
        *entry.found() = Some(Found::Not(unready.clone(), Instant::now()));
        Err(unready)
    }

    /// What [`Self::check`] says without asking; nothing where it has to ask.
    #[must_use]
    pub fn remembered(&self, tenant: &Arc<Tenant>) -> Option<Result<(), Unready>> {
        match tenant.preflight {
            Preflight::Optional => Some(Ok(())),
            Preflight::Required => self.find(&tenant.id)?.knows(tenant),
        }
    }

    /// Why it may not be served yet, by what was last heard; nothing where it may, or nobody has asked.
    #[must_use]
    pub fn waits(&self, tenant: &Tenant) -> Option<Unready> {
        if tenant.preflight == Preflight::Optional {
            return None;
        }
        match &*self.find(&tenant.id)?.found() {
            Some(Found::Not(unready, _)) => Some(unready.clone()),
            Some(Found::Passed(_)) | None => None,
        }
    }

    fn find(&self, id: &TenantId) -> Option<Arc<Entry>> {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        known.get(id).map(Arc::clone)
    }

    fn entry(&self, id: &TenantId) -> Arc<Entry> {
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(entry) = known.get(id) {
            return Arc::clone(entry);
        }
        if known.len() >= MOST {
            // they are asked for again, one read each
            known.clear();
        }
        Arc::clone(known.entry(id.clone()).or_default())
    }
}

impl Entry {
    fn found(&self) -> MutexGuard<'_, Option<Found>> {
        self.found.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn knows(&self, tenant: &Arc<Tenant>) -> Option<Result<(), Unready>> {
        match &*self.found() {
            Some(Found::Passed(profile)) => {
                (Arc::ptr_eq(profile, tenant) || profile == tenant).then_some(Ok(()))
            }
            Some(Found::Not(unready, since)) => {
                (since.elapsed() < REMEMBERED).then(|| Err(unready.clone()))
            }
            None => None,
        }
    }
}

impl fmt::Debug for Passes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Passes").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::profile;
    use crate::store::memory::MemoryStore;

    fn tenant(scopes: &str) -> Arc<Tenant> {
        let fields = [
            ("app", "erp"),
            ("region", "na"),
            ("scopes", scopes),
            ("preflight", "required"),
        ];
        let fields = fields.map(|(name, value)| (name.to_owned(), value));
        profile::parse(&TenantId::parse("acme").unwrap(), &fields.into()).unwrap()
    }

    async fn pass(store: &MemoryStore, tenant: &Tenant) {
        let passed = Passed::of(tenant, "2026-11-26".to_owned(), "ada".to_owned());
        passed.save(store, &tenant.id).await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn a_pass_is_seen_once_what_is_remembered_is_old() {
        let store = Arc::new(MemoryStore::default());
        let passes = Passes::new(Arc::clone(&store) as _);
        let acme = tenant("a");
        let before = passes.check(&acme).await;
        assert!(matches!(before, Err(Unready::NeverPassed)), "{before:?}");
        pass(&store, &acme).await;
        assert!(passes.check(&acme).await.is_err(), "remembered");
        assert!(passes.waits(&acme).is_some());
        tokio::time::advance(REMEMBERED).await;
        assert!(passes.waits(&acme).is_some(), "nobody has asked again");
        assert!(passes.check(&acme).await.is_ok());
        assert!(passes.waits(&acme).is_none());
        let other = passes.check(&tenant("a,b")).await;
        assert!(matches!(other, Err(Unready::Changed(_))), "{other:?}");
        pass(&store, &tenant("a,b")).await;
        tokio::time::advance(REMEMBERED).await;
        assert!(passes.check(&tenant("a,b")).await.is_ok());
    }

    #[tokio::test]
    async fn who_needs_no_preflight_is_not_asked_for() {
        let fields = [("app", "erp"), ("region", "na")].map(|(k, v)| (k.to_owned(), v));
        let free = profile::parse(&TenantId::parse("acme").unwrap(), &fields.into()).unwrap();
        let passes = Passes::new(Arc::new(MemoryStore::default()));
        assert!(passes.check(&free).await.is_ok());
        assert!(passes.known.read().unwrap().is_empty());
    }
}
