//! What has to be written down whoever waits: it is tried until it is done, or the process ends.
//!
//! Job: bring a refresh token that LWA replaced into the store, and let callers wait for such work without depending on it.
//! Invariants: the replacement is used from the moment it is known, whether the store has it yet or not; it is written over the
//! token that was spent for it and over nothing else, so that what a person put there meanwhile counts; the work is a task that
//! the drain waits for, and that tries at once when the drain begins.
//! Failure mode: a store that stays away. It is said at every try and by an event, and a process that ends before has lost the
//! replacement, which it says with its last words. It is written nowhere else: without the store there is no key but one beside
//! the file, and a file with its key beside it is plain text on a disk.
//! Source: RFC 6749 section 6 (a new refresh token replaces the old one); SP-API facts, section 3: LWA gives the same refresh
//! token with every answer, so that a replacement is not an everyday thing.

use std::collections::HashMap;
use std::future::Future;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::secret::{Opaque, RefreshToken};
use crate::store::record::Grant;
use crate::store::{Expect, GrantStore, RecordKey, StoreError};
use crate::task::Tasks;
use crate::telemetry::event::{Event, Events};
use crate::tenant::TenantId;

/// How long a caller waits for work that goes on without it.
const PATIENCE: Duration = Duration::from_secs(2);

/// Pause after the first try that failed.
const FIRST_PAUSE: Duration = Duration::from_millis(100);

/// Longest pause between two tries.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// Runs work as a task of its own and waits for its end, not longer than two seconds. Says whether it has ended.
pub(super) async fn patiently(
    tasks: &Tasks,
    name: &'static str,
    work: impl Future<Output = ()> + Send + 'static,
) -> bool {
    let task = tasks.control(name, work);
    matches!(tokio::time::timeout(PATIENCE, task).await, Ok(Ok(())))
}

/// Pauses between tries: doubling, with jitter.
#[derive(Debug)]
pub(super) struct Pauses(Duration);

impl Pauses {
    pub(super) const fn new() -> Self {
        Self(FIRST_PAUSE)
    }

    pub(super) async fn pause(&mut self) {
        let full = self.0;
        self.0 = (full * 2).min(LONGEST_PAUSE);
        tokio::time::sleep(full.mul_f64(1.0 - 0.5 * rand::random::<f64>())).await;
    }
}

/// Refresh tokens that LWA replaced and that are not in the store yet, by tenant.
#[derive(Clone, Debug)]
pub(super) struct Replacements {
    all: Arc<Mutex<HashMap<TenantId, Held>>>,
    events: Events,
}

/// The newest replacement of a tenant's refresh token.
#[derive(Debug)]
struct Held {
    newest: Arc<Replacement>,
    /// Whether it was said that the store does not take it.
    said: bool,
}

impl Replacements {
    pub(super) fn new(events: Events) -> Self {
        Self {
            all: Arc::default(),
            events,
        }
    }

    /// Whose new refresh tokens are in this process's memory alone.
    pub(super) fn tenants(&self) -> Vec<TenantId> {
        let mut tenants: Vec<TenantId> = self.all().keys().cloned().collect();
        tenants.sort();
        tenants
    }

    fn all(&self) -> MutexGuard<'_, HashMap<TenantId, Held>> {
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Holds a replacement until it is kept.
    pub(super) fn hold(
        &self,
        tenant: &TenantId,
        spent: RefreshToken,
        fresh: RefreshToken,
    ) -> Arc<Replacement> {
        let mut all = self.all();
        let before = all.get(tenant);
        let said = before.is_some_and(|before| before.said);
        // the one before may still be on its way: the store then holds what that one replaced
        let mut chain = match before {
            Some(before) if before.newest.fresh.same_as(&spent) => before.newest.spent.clone(),
            Some(_) | None => Vec::new(),
        };
        chain.push(spent);
        let replacement = Arc::new(Replacement {
            tenant: tenant.clone(),
            spent: chain,
            fresh,
            since: Instant::now(),
            all: self.clone(),
        });
        let newest = Arc::clone(&replacement);
        all.insert(tenant.clone(), Held { newest, said });
        replacement
    }

    /// The token to use where the store gives this one.
    pub(super) fn instead_of(&self, tenant: &TenantId, stored: RefreshToken) -> RefreshToken {
        match self.all().get(tenant) {
            Some(held) if held.newest.replaces(&stored) => held.newest.fresh.clone(),
            // somebody stored another one meanwhile, or this one
            Some(_) | None => stored,
        }
    }

    /// Says, once for each time, that the store does not take a tenant's new refresh token.
    fn say(&self, tenant: &TenantId) {
        let mut all = self.all();
        let held = all.get_mut(tenant);
        let is_news = held.is_some_and(|held| !std::mem::replace(&mut held.said, true));
        drop(all);
        if is_news {
            let over = false;
            self.events.note(&Event::GrantNotStored { tenant, over });
        }
    }

    fn let_go(&self, replacement: &Replacement) {
        let mut all = self.all();
        let tenant = &replacement.tenant;
        let is_newest = all
            .get(tenant)
            .is_some_and(|held| held.newest.fresh.same_as(&replacement.fresh));
        let gone = is_newest.then(|| all.remove(tenant)).flatten();
        drop(all);
        if gone.is_some_and(|held| held.said) {
            let over = true;
            self.events.note(&Event::GrantNotStored { tenant, over });
        }
    }
}

/// A refresh token that LWA put in another one's place.
#[derive(Debug)]
pub(super) struct Replacement {
    tenant: TenantId,
    /// What it was got for, and what that was got for, as far as the store may still hold it.
    spent: Vec<RefreshToken>,
    fresh: RefreshToken,
    since: Instant,
    all: Replacements,
}

impl Replacement {
    /// Brings it into the store, however long that takes. When the process is told to stop it tries at once, and soon again.
    pub(super) async fn keep(self: Arc<Self>, store: Arc<dyn GrantStore>, tasks: Tasks) {
        let (tenant, mut pauses) = (&self.tenant, Pauses::new());
        let (mut stop, mut stopping) = (pin!(tasks.stopping()), false);
        loop {
            match self.try_keep(&*store).await {
                Ok(Kept::Written) => {
                    tracing::info!(%tenant, "LWA replaced the refresh token; the store holds the new one");
                    break;
                }
                Ok(Kept::Overtaken) => {
                    tracing::warn!(%tenant, "LWA replaced the refresh token, and meanwhile somebody stored another one, which counts");
                    break;
                }
                Err(error) => {
                    let (cause, waiting_s) = (error.cause(), self.since.elapsed().as_secs());
                    tracing::error!(%tenant, cause, %error, waiting_s, "LWA replaced the refresh token and the store has not taken it yet; do not end this process");
                    self.all.say(tenant);
                    tokio::select! {
                        () = pauses.pause() => {}
                        () = &mut stop, if !stopping => {
                            stopping = true;
                            pauses = Pauses::new();
                        }
                    }
                }
            }
        }
        self.all.let_go(&self);
    }

    fn replaces(&self, stored: &RefreshToken) -> bool {
        self.spent.iter().any(|spent| spent.same_as(stored))
    }

    async fn try_keep(&self, store: &dyn GrantStore) -> Result<Kept, StoreError> {
        let key = RecordKey::Grant(self.tenant.clone());
        let Some(record) = store.read(&key).await? else {
            return Ok(Kept::Overtaken);
        };
        let held = Grant::from_record(&self.tenant, &record)?.refresh_token;
        if held.same_as(&self.fresh) {
            return Ok(Kept::Written);
        }
        if !self.replaces(&held) {
            return Ok(Kept::Overtaken);
        }
        let mut fields = record.fields;
        let fresh = Opaque::new(self.fresh.expose().to_owned());
        fields.insert("refresh_token".to_owned(), fresh);
        store
            .write(&key, fields, Expect::Version(record.version))
            .await?;
        Ok(Kept::Written)
    }
}

enum Kept {
    Written,
    /// The store holds neither the token that was spent nor its replacement.
    Overtaken,
}

#[cfg(test)]
mod tests {
    use tokio::runtime::Handle;

    use super::*;
    use crate::store::Fields;
    use crate::store::memory::MemoryStore;

    struct Bench {
        store: Arc<MemoryStore>,
        all: Replacements,
        tasks: Tasks,
        acme: TenantId,
    }

    impl Bench {
        /// A store that holds this refresh token.
        async fn with(token: &str) -> Self {
            let bench = Self {
                store: Arc::default(),
                all: Replacements::new(Events::default()),
                tasks: Tasks::new(Handle::current()),
                acme: TenantId::parse("acme").unwrap(),
            };
            bench.put(token).await;
            bench
        }

        async fn put(&self, token: &str) {
            let fields = [("refresh_token", token), ("selling_partner_id", "A1")]
                .map(|(name, value)| (name.to_owned(), Opaque::new(value.to_owned())));
            let place = RecordKey::Grant(self.acme.clone());
            let written = self.store.write(&place, Fields::from(fields), Expect::Any);
            written.await.unwrap();
        }

        fn replaced(&self, spent: &str, fresh: &str) -> Arc<Replacement> {
            let of = |token: &str| RefreshToken::new(token.to_owned());
            self.all.hold(&self.acme, of(spent), of(fresh))
        }

        async fn keep(&self, replacement: &Arc<Replacement>) {
            let store = Arc::clone(&self.store) as Arc<dyn GrantStore>;
            let kept = Arc::clone(replacement).keep(store, self.tasks.clone());
            kept.await;
        }

        /// The refresh token that the store holds, with the other field, and its version.
        async fn stored(&self) -> Option<(String, String, u64)> {
            let place = RecordKey::Grant(self.acme.clone());
            let record = self.store.read(&place).await.unwrap()?;
            let field = |name: &str| record.fields[name].expose().to_owned();
            let (token, id) = (field("refresh_token"), field("selling_partner_id"));
            Some((token, id, record.version))
        }

        fn used_instead_of(&self, stored: &str) -> String {
            let stored = RefreshToken::new(stored.to_owned());
            self.all.instead_of(&self.acme, stored).expose().to_owned()
        }
    }

    fn holding(token: &str, version: u64) -> Option<(String, String, u64)> {
        Some((token.to_owned(), "A1".to_owned(), version))
    }

    #[tokio::test]
    async fn a_replacement_is_used_at_once_and_written_over_what_was_spent_for_it() {
        let bench = Bench::with("old").await;
        let replacement = bench.replaced("old", "new");
        assert_eq!(bench.used_instead_of("old"), "new");
        assert_eq!(bench.all.tenants(), std::slice::from_ref(&bench.acme));
        bench.keep(&replacement).await;
        assert_eq!(bench.stored().await, holding("new", 2));
        assert!(bench.all.tenants().is_empty());
    }

    #[tokio::test]
    async fn what_somebody_stored_meanwhile_counts_and_is_not_written_over() {
        let bench = Bench::with("old").await;
        let replacement = bench.replaced("old", "new");
        bench.put("by hand").await;
        assert_eq!(bench.used_instead_of("by hand"), "by hand");
        bench.keep(&replacement).await;
        assert_eq!(bench.stored().await, holding("by hand", 2));
        assert!(bench.all.tenants().is_empty());
    }

    #[tokio::test]
    async fn a_grant_that_was_deleted_meanwhile_is_not_made_anew() {
        let bench = Bench::with("old").await;
        let replacement = bench.replaced("old", "new");
        bench.store.forget_all("acme");
        bench.keep(&replacement).await;
        assert_eq!(bench.stored().await, None);
        assert!(bench.all.tenants().is_empty());
    }

    #[tokio::test]
    async fn what_the_store_holds_already_is_not_written_again() {
        let bench = Bench::with("old").await;
        let replacement = bench.replaced("old", "new");
        bench.put("new").await;
        bench.keep(&replacement).await;
        assert_eq!(bench.stored().await, holding("new", 2));
        assert!(bench.all.tenants().is_empty());
    }

    #[tokio::test]
    async fn the_newest_of_two_replacements_is_written_over_what_the_first_was_spent_for() {
        let bench = Bench::with("old").await;
        let first = bench.replaced("old", "newer");
        let second = bench.replaced("newer", "newest");
        assert_eq!(bench.used_instead_of("old"), "newest");
        assert_eq!(bench.used_instead_of("newer"), "newest");
        bench.keep(&second).await;
        assert_eq!(bench.stored().await, holding("newest", 2));
        bench.keep(&first).await;
        assert_eq!(bench.stored().await, holding("newest", 2), "it was late");
        assert!(bench.all.tenants().is_empty());
    }

    #[tokio::test]
    async fn a_replacement_of_another_token_than_the_one_held_stands_alone() {
        let bench = Bench::with("old").await;
        let first = bench.replaced("old", "new");
        let other = bench.replaced("by hand", "of that");
        assert_eq!(bench.used_instead_of("old"), "old");
        bench.keep(&first).await;
        assert_eq!(
            bench.all.tenants(),
            std::slice::from_ref(&bench.acme),
            "the other is held"
        );
        bench.put("by hand").await;
        bench.keep(&other).await;
        assert_eq!(bench.stored().await, holding("of that", 4));
    }
}
