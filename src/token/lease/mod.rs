//! One exchange for the whole fleet.
//!
//! Job: memory → the shared record → the lease → LWA → commit, over the store's check-and-set alone.
//! Invariants: only whoever won check-and-set on the lease exchanges, and it judges right before it sends whether its lease
//! outlasts the answer; a lease ends by the waiter's own monotonic clock, never by another machine's; a commit is refused to
//! whoever lost its lease (nonce) or its turn (generation); an outcome that is not known is read afresh, never guessed; a
//! refresh token that LWA replaced is written before the access token that came with it.
//! Failure mode: without the store there is no exchange, since the grant is in it: a token inside its life is served, past it
//! the cause is the store's. A holder that dies leaves its lease to whoever has waited its length. A holder that stalls past
//! its lease may exchange beside its successor; its commit is then refused.
//! Sources: CONTRACT section 3.2; the record's fields: `record`; the rules: `rule`.

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use tokio::time::Instant;

use super::cache::{Fetch, next_generation};
use super::exchange::{Exchanged, Lwa};
use super::lifetime::Life;
use super::settle;
use super::{AccessKey, Cause, Issued, Standing};
use crate::config;
use crate::secret::AccessToken;
use crate::store::{BoxFuture, Expect, GrantStore, RecordKey, StoreError};
use crate::task::Tasks;
use crate::tenant::{GrantKey, GrantKind, TenantId};

mod empty;
mod held;
mod record;
mod rule;

pub use empty::empty_records;
use held::{Held, Outcome};
use record::{Lease, Nonce, TokenRecord};
use rule::{Known, Step};

/// Shortest pause between two looks at a record while another sidecar holds its lease: an exchange takes about as long.
const FIRST_LOOK: Duration = Duration::from_millis(250);

/// Longest pause between two looks. A fleet of a thousand then reads a record five hundred times a second while it waits.
const LONGEST_LOOK: Duration = Duration::from_secs(2);

/// Shortest lease: the store's own bounds on a read and a write have to fit in.
const SHORTEST_LEASE: Duration = Duration::from_secs(3);

/// How often a lease is written where nobody says what became of the write. A store that is read and cannot be written, say a
/// standby without a leader, is told from one that lost an answer by its doing so again.
const MOST_UNHEARD: usize = 3;

/// Most records of which something is known at a time; beyond it everything is forgotten and learnt again.
const MOST_KNOWN: usize = 40_000;

/// Tells the wall-clock time, for the fields that are for people and for bounds.
pub type Wall = Arc<dyn Fn() -> SystemTime + Send + Sync>;

/// The settings that the protocol goes by.
#[derive(Clone, Debug)]
struct Rules {
    lwa: config::Lwa,
    /// How long a lease of ours is: three times the bound on an exchange, in whole seconds.
    lease: Duration,
}

impl Rules {
    fn new(lwa: config::Lwa) -> Self {
        let lease = (lwa.timeout * 3).max(SHORTEST_LEASE);
        Self {
            lease: Duration::from_secs(lease.as_secs() + u64::from(lease.subsec_nanos() > 0)),
            lwa,
        }
    }

    /// The last moment at which the holder of a lease may send: the answer, and a tenth of the lease, have to fit in.
    fn send_by(&self, held_since: Instant) -> Instant {
        held_since
            + self
                .lease
                .saturating_sub(self.lwa.timeout + self.lease / 10)
    }
}

/// What became of an acquisition.
enum Acquired {
    /// The lease is ours.
    Held(Box<Held>),
    /// Somebody else wrote first, as it seems; or nobody knows, and this is why. This nonce in the record, written after this
    /// moment, would be ours.
    Perhaps(Nonce, Instant, Option<StoreError>),
}

/// How long to wait before the next look at a record that somebody else holds.
struct Waiting {
    pause: Duration,
    version: u64,
}

impl Waiting {
    const fn new() -> Self {
        Self {
            pause: FIRST_LOOK,
            version: 0,
        }
    }

    /// Longer from look to look, and short again when there is a new holder; with jitter.
    fn pause(&mut self, version: u64) -> Duration {
        if self.version != version {
            *self = Self {
                version,
                ..Self::new()
            };
        }
        let pause = self.pause.mul_f64(1.0 + 0.5 * rand::random::<f64>());
        self.pause = (self.pause * 3 / 2).min(LONGEST_LOOK);
        pause
    }
}

type Knowledge = Arc<Mutex<HashMap<GrantKey, Known>>>;

/// Access tokens that a fleet shares.
pub struct Leases {
    lwa: Arc<Lwa>,
    store: Arc<dyn GrantStore>,
    tasks: Tasks,
    holder: String,
    wall: Wall,
    rules: Rules,
    known: Knowledge,
}

impl Leases {
    /// `holder` is what people call this process: host and process id. `wall` tells the wall-clock time.
    #[must_use]
    pub fn new(
        lwa: Arc<Lwa>,
        store: Arc<dyn GrantStore>,
        tasks: Tasks,
        holder: String,
        wall: Wall,
    ) -> Self {
        Self {
            rules: Rules::new(lwa.config().clone()),
            lwa,
            store,
            tasks,
            holder,
            wall,
            known: Knowledge::default(),
        }
    }

    /// How long a lease is.
    #[must_use]
    pub const fn lease(&self) -> Duration {
        self.rules.lease
    }

    async fn obtain(&self, key: &AccessKey, forced: bool) -> Result<Issued, Cause> {
        let place = RecordKey::Token(key.grant.tenant.clone(), key.grant.kind.clone());
        let patience = Instant::now() + self.rules.lease * 3;
        let insists = self.known(&key.grant, |known| known.demanded);
        let mut ours: Option<(Nonce, Instant)> = None;
        let mut unheard: Vec<StoreError> = Vec::new();
        let mut waiting = Waiting::new();
        loop {
            let looked = Instant::now();
            let record = self.store.read(&place).await?;
            let record = record.as_ref().map(TokenRecord::read);
            let nonce = ours.as_ref().map(|(nonce, _)| nonce);
            let step = self.judge(&key.grant, record.as_ref(), nonce, looked);
            let record = record.unwrap_or_default();
            let held = match (step, &ours) {
                (Step::Take(life), _) => return self.take(&key.grant, record, life),
                (Step::Fail(word), _) if !insists => return Err(shared_cause(&word, key)),
                (Step::Wait(_), _) if looked >= patience => {
                    return Err(Cause::Store(StoreError::Conflict(place.path())));
                }
                (Step::Wait(left), _) => {
                    tokio::time::sleep(waiting.pause(record.version).min(left)).await;
                    continue;
                }
                (Step::Held, Some((nonce, since))) if looked < self.rules.send_by(*since) => {
                    Held::new(
                        Arc::clone(&self.store),
                        place,
                        record,
                        nonce.clone(),
                        *since,
                    )
                }
                (Step::Held | Step::Acquire | Step::Fail(_), _) => {
                    if unheard.len() >= MOST_UNHEARD
                        && let Some(error) = unheard.pop()
                    {
                        return Err(error.into());
                    }
                    match self.acquire(&place, record).await? {
                        Acquired::Held(held) => *held,
                        // lost, or not known: the next look tells
                        Acquired::Perhaps(nonce, since, why) => {
                            ours = Some((nonce, since));
                            unheard.extend(why);
                            let jitter = FIRST_LOOK.mul_f64(rand::random::<f64>());
                            tokio::time::sleep(jitter).await;
                            continue;
                        }
                    }
                }
            };
            return self.exchange(key, held, forced).await;
        }
    }

    /// `looked` is the moment before the record was read: what it says was so then, or became so later.
    fn judge(
        &self,
        key: &GrantKey,
        record: Option<&TokenRecord>,
        ours: Option<&Nonce>,
        looked: Instant,
    ) -> Step {
        let (now, wall) = (Instant::now(), (self.wall)());
        self.known(key, |known| {
            known.judge(record, ours, &self.rules, looked, now, wall)
        })
    }

    /// Uses the record's token.
    fn take(&self, key: &GrantKey, record: TokenRecord, life: Life) -> Result<Issued, Cause> {
        let generation = record.generation;
        let shared = record.token.ok_or(Cause::Interrupted)?;
        self.known(key, |known| {
            known.taken = generation;
            known.life = Some(life);
        });
        tracing::debug!(tenant = %key.tenant, kind = key.kind.as_str(), generation, "token taken from the shared record");
        Ok(issued(
            shared.token,
            Instant::now(),
            life,
            Some(generation),
            true,
        ))
    }

    /// Writes our lease over the version that was read.
    async fn acquire(&self, place: &RecordKey, mut record: TokenRecord) -> Result<Acquired, Cause> {
        let (nonce, since) = (Nonce::draw(), Instant::now());
        let before = record.lease.replace(Lease {
            holder: self.holder.clone(),
            nonce: nonce.clone(),
            until: (self.wall)() + self.rules.lease,
            length: self.rules.lease,
        });
        let expect = match record.version {
            0 => Expect::Absent,
            version => Expect::Version(version),
        };
        match self.store.write(place, record.fields(), expect).await {
            Ok(version) => {
                if let Some(before) = before.filter(|before| before.holder != self.holder) {
                    tracing::warn!(record = %place, holder = before.holder, "the lease of a sidecar that did not come back was taken over");
                }
                record.version = version;
                let store = Arc::clone(&self.store);
                let held = Held::new(store, place.clone(), record, nonce, since);
                Ok(Acquired::Held(Box::new(held)))
            }
            Err(
                error @ (StoreError::Denied(_)
                | StoreError::Sealed(_)
                | StoreError::Throttled(_)
                | StoreError::Local(_)),
            ) => Err(error.into()),
            // it may be with our own write, sent twice by whatever stands between
            Err(StoreError::Conflict(_)) => Ok(Acquired::Perhaps(nonce, since, None)),
            Err(error) => {
                tracing::debug!(record = %place, cause = error.cause(), "the lease was not acquired for certain");
                Ok(Acquired::Perhaps(nonce, since, Some(error)))
            }
        }
    }

    async fn exchange(&self, key: &AccessKey, held: Held, forced: bool) -> Result<Issued, Cause> {
        let send_by = self.rules.send_by(held.since());
        let exchanged = self.lwa.exchange(key, Some(send_by)).await;
        let life = match &exchanged {
            Ok(exchanged) => exchanged.life.clone(),
            Err(cause) => Err(cause.clone()),
        };
        let (exchanged, life) = match (exchanged, life) {
            (Ok(exchanged), Ok(life)) => (exchanged, life),
            (exchanged, Err(cause)) => {
                let replaced = exchanged.ok().and_then(|exchanged| exchanged.replaced);
                self.release(held, &cause, replaced).await;
                return Err(cause);
            }
            (Err(cause), Ok(_)) => return Err(cause),
        };
        let generation = self.commit(&key.grant, held, &exchanged, life).await;
        let Exchanged {
            token,
            asked,
            expires_in,
            ..
        } = exchanged;
        tracing::info!(tenant = %key.tenant.id, kind = key.grant.kind.as_str(), expires_in_s = expires_in.as_secs(), forced, generation, "token exchanged");
        Ok(issued(token, asked, life, generation, false))
    }

    /// Writes down what an exchange brought, in a task that goes on without us where the store is slow. The generation, where
    /// the record holds this token now.
    async fn commit(
        &self,
        key: &GrantKey,
        held: Held,
        exchanged: &Exchanged,
        life: Life,
    ) -> Option<u64> {
        let known = Arc::clone(&self.known);
        let taken = self.known(key, |known| known.taken);
        let generation = held.next_generation(taken);
        let expires_at = (self.wall)()
            + exchanged
                .expires_in
                .saturating_sub(exchanged.asked.elapsed());
        let shared = record::Shared {
            token: exchanged.token.clone(),
            expires_at,
            expires_in: exchanged.expires_in,
        };
        let (key, replaced) = (key.clone(), exchanged.replaced.clone());
        let (store, tasks) = (Arc::clone(&self.store), self.tasks.clone());
        let committed = Arc::new(AtomicBool::new(false));
        let done = Arc::clone(&committed);
        let work = async move {
            if let Some(replaced) = replaced {
                replaced.keep(store, tasks).await;
            }
            if held.commit(generation, shared).await == Outcome::Written {
                done.store(true, Ordering::Release);
                learn(&known, &key, |known| {
                    if known.taken < generation {
                        known.taken = generation;
                        known.life = Some(life);
                    }
                });
            }
        };
        settle::patiently(&self.tasks, "commit-token", work).await;
        committed.load(Ordering::Acquire).then_some(generation)
    }

    /// Gives the lease up after an exchange that brought no token, and lets the fleet know why. A replaced refresh token is
    /// written first, as ever.
    async fn release(&self, held: Held, cause: &Cause, replaced: Option<Arc<settle::Replacement>>) {
        let failure = held.failure(cause, (self.wall)());
        let (store, tasks) = (Arc::clone(&self.store), self.tasks.clone());
        let work = async move {
            if let Some(replaced) = replaced {
                replaced.keep(store, tasks).await;
            }
            held.release(failure).await;
        };
        settle::patiently(&self.tasks, "release-lease", work).await;
    }

    fn known<T>(&self, key: &GrantKey, work: impl FnOnce(&mut Known) -> T) -> T {
        learn(&self.known, key, work)
    }
}

fn learn<T>(known: &Knowledge, key: &GrantKey, work: impl FnOnce(&mut Known) -> T) -> T {
    let mut known = known.lock().unwrap_or_else(PoisonError::into_inner);
    if known.len() >= MOST_KNOWN && !known.contains_key(key) {
        known.clear();
    }
    work(known.entry(key.clone()).or_default())
}

fn issued(token: AccessToken, at: Instant, life: Life, fleet: Option<u64>, shared: bool) -> Issued {
    Issued {
        token,
        generation: next_generation(),
        issued: at,
        life,
        standing: Standing {
            fleet,
            shared,
            ..Standing::default()
        },
    }
}

/// What another sidecar found out, from its word.
fn shared_cause(word: &str, key: &AccessKey) -> Cause {
    let cause = match word {
        "grant_revoked" => Cause::GrantRevoked,
        "client_refused" => Cause::ClientRefused("as another sidecar heard"),
        "grant_missing" => Cause::NoGrant(key.tenant.id.clone()),
        "app_missing" => Cause::NoApp(key.tenant.app.clone()),
        "lwa_refused" => Cause::Refused("as another sidecar heard"),
        "lwa_nonsense" => Cause::Nonsense("what it answered makes no sense"),
        _ => Cause::Unreachable("it could not be reached".to_owned()),
    };
    Cause::Shared(Box::new(cause))
}

impl Fetch<AccessKey> for Leases {
    fn fetch<'a>(
        &'a self,
        key: &'a AccessKey,
        forced: bool,
    ) -> BoxFuture<'a, Result<Issued, Cause>> {
        Box::pin(self.obtain(key, forced))
    }

    fn replace(&self, key: &AccessKey, refused: Option<&Issued>) {
        self.known(&key.grant, |known| match refused {
            Some(issued) => {
                let generation = issued.standing.fleet.unwrap_or(known.taken);
                known.refused = known.refused.max(generation);
            }
            None => known.demanded = true,
        });
    }

    fn forget(&self, tenant: &TenantId) {
        self.known
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .retain(|key, _| key.tenant != *tenant);
    }
}

impl Leases {
    /// Empties the records of a tenant's tokens: of these kinds, of its access token, and of every grantless scope that the
    /// catalog knows, since another sidecar may have used one that this one never did.
    ///
    /// # Errors
    /// The store's, the first of them; every record is tried.
    pub(super) async fn empty(
        &self,
        tenant: &TenantId,
        kinds: impl Iterator<Item = GrantKind>,
    ) -> Result<(), StoreError> {
        empty::empty(&*self.store, tenant, kinds).await
    }
}

impl fmt::Debug for Leases {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Leases")
            .field("holder", &self.holder)
            .field("lease", &self.rules.lease)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
