//! What happened lately, to every tenant.
//!
//! Job: hear of every event and keep, for each tenant, what a diagnosis and a chart of the last hour need ([`Recent`]).
//! Invariants: bounded in tenants, kinds and time; nothing is written to disk; a note costs one lock that other tenants do not
//! share. Ids, templates, counts and closed causes alone.
//! Failure mode: beyond [`MOST`] tenants, those heard of later are not remembered.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::{Duration, SystemTime};

use tokio::sync::Notify;

use super::facts::Around;
use super::minute::Minute;
use super::recent::{Exchanged, Recent, Vended};
use crate::map::Map;
use crate::outcome::{Denial, Reason};
use crate::telemetry;
use crate::telemetry::event::{Event, Observer};
use crate::telemetry::record::{Outcome, Record};
use crate::tenant::TenantId;

/// Most tenants that are remembered.
const MOST: usize = 20_000;

/// Remembers what the rooms say.
pub struct Memory {
    clock: fn() -> SystemTime,
    tenants: RwLock<Map<TenantId, Arc<Mutex<Recent>>>>,
    /// Why the store does not answer, where it does not.
    store: Mutex<Option<&'static str>>,
    changed: Mutex<BTreeSet<TenantId>>,
    news: Notify,
}

impl Default for Memory {
    fn default() -> Self {
        Self::with_clock(telemetry::now)
    }
}

impl fmt::Debug for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Memory").finish_non_exhaustive()
    }
}

impl Memory {
    /// Remembers by this clock.
    #[must_use]
    pub fn with_clock(clock: fn() -> SystemTime) -> Self {
        Self {
            clock,
            tenants: RwLock::default(),
            store: Mutex::default(),
            changed: Mutex::default(),
            news: Notify::new(),
        }
    }

    /// The last hour of a tenant, minute by minute, the oldest first.
    #[must_use]
    pub fn history(&self, tenant: &TenantId) -> Vec<Minute> {
        self.recent(tenant).minutes.history((self.clock)())
    }

    /// Everything that is remembered of a tenant.
    #[must_use]
    pub fn recent(&self, tenant: &TenantId) -> Recent {
        let kept = self.find(tenant);
        kept.map_or_else(Recent::default, |recent| lock(&recent).clone())
    }

    /// Why the store did not answer when it was last asked; `None` where it did.
    #[must_use]
    pub fn store_trouble(&self) -> Option<&'static str> {
        *lock(&self.store)
    }

    /// How many tenants are in trouble at the same time, within `window`.
    #[must_use]
    pub fn around(&self, window: Duration) -> Around {
        let now = (self.clock)();
        let mut around = Around::default();
        let all: Vec<_> = read(&self.tenants).values().map(Arc::clone).collect();
        for recent in all {
            let recent = lock(&recent);
            around.count(&recent, window, now);
        }
        around
    }

    /// Completes when something has changed that a verdict may turn on.
    pub async fn changed(&self) {
        self.news.notified().await;
    }

    /// Whose verdict may have changed since this was last asked.
    #[must_use]
    pub fn take_changed(&self) -> BTreeSet<TenantId> {
        std::mem::take(&mut *lock(&self.changed))
    }

    /// Says that a tenant's verdict may have changed for a reason that no event tells.
    pub fn look_again(&self, tenant: &TenantId) {
        self.of(tenant, |_nothing_happened_to_it| true);
    }

    fn find(&self, tenant: &TenantId) -> Option<Arc<Mutex<Recent>>> {
        read(&self.tenants).get(tenant).map(Arc::clone)
    }

    /// Takes note for one tenant; `note` says whether its verdict may have changed.
    fn of(&self, tenant: &TenantId, note: impl FnOnce(&mut Recent) -> bool) {
        let recent = match self.find(tenant) {
            Some(recent) => recent,
            None => {
                let mut tenants = self.tenants.write().unwrap_or_else(PoisonError::into_inner);
                if tenants.len() >= MOST {
                    return;
                }
                Arc::clone(tenants.entry(tenant.clone()).or_default())
            }
        };
        let is_news = note(&mut lock(&recent));
        if is_news {
            lock(&self.changed).insert(tenant.clone());
            self.news.notify_one();
        }
    }

    fn request(&self, record: &Record, now: SystemTime) {
        let Some(tenant) = &record.tenant else {
            return;
        };
        self.of(tenant, |recent| request(recent, record, now));
    }
}

/// The end of a request; says whether it is news.
fn request(recent: &mut Recent, record: &Record, now: SystemTime) -> bool {
    let went_out = record.token_kind.is_some();
    if went_out {
        recent.vended = Vended::default();
    }
    if record.status == 429 {
        recent.minutes.now(now).throttled_through += 1;
    }
    let operation: &str = if record.operation.is_empty() {
        &record.template
    } else {
        &record.operation
    };
    match record.outcome {
        Outcome::Forwarded | Outcome::WouldRefuse if went_out => match record.status {
            401 | 403 | 429 => false,
            500.. => {
                recent.minutes.now(now).erred += 1;
                false
            }
            // the paths of operations that vendors alone have begin so, every one
            _ => recent.took(operation, record.template.starts_with("/vendor/"), now),
        },
        Outcome::Refused | Outcome::Failed => {
            let Some(reason) = record.reason else {
                return false;
            };
            let minute = recent.minutes.now(now);
            if record.outcome == Outcome::Refused {
                minute.refused += 1;
            } else {
                minute.failed += 1;
            }
            recent.was_stopped(operation, reason, now);
            reason == Reason::TokenRefused
        }
        Outcome::Forwarded
        | Outcome::WouldRefuse
        | Outcome::Answered
        | Outcome::Tunnelled
        | Outcome::Cancelled => false,
    }
}

impl Observer for Memory {
    fn note(&self, event: &Event<'_>) {
        let now = (self.clock)();
        match event {
            Event::Request(record) => self.request(record, now),
            Event::Denied {
                tenant,
                operation,
                status,
                denial,
                token_kind,
            } => self.of(tenant, |recent| {
                recent.was_denied(operation, (*status, *denial), token_kind, now);
                *denial != Denial::Throttled
            }),
            Event::Exchange(exchange) => self.of(exchange.tenant, |recent| {
                recent.exchanged(Exchanged {
                    at: now,
                    kind: exchange.kind,
                    forced: exchange.forced,
                    result: exchange.result.map(drop),
                })
            }),
            Event::PhantomVended {
                tenant: Some(tenant),
            } => self.of(tenant, |recent| {
                recent.vended(now);
                false
            }),
            Event::RealTokenSeen {
                tenant: Some(tenant),
            } => self.of(tenant, |recent| {
                recent.real_token = Some(now);
                false
            }),
            Event::GrantNotStored { tenant, over } => self.of(tenant, |recent| {
                recent.grant_not_stored = (!over).then_some(now);
                true
            }),
            Event::State { tenant, .. } => self.of(tenant, |_whose_is_the_fleets| true),
            Event::Store { up, cause } => {
                *lock(&self.store) = if *up {
                    None
                } else {
                    Some(cause.unwrap_or("store_unreachable"))
                };
            }
            Event::PhantomVended { tenant: None }
            | Event::RealTokenSeen { tenant: None }
            | Event::BreakGlass { .. }
            | Event::Verdict { .. }
            | Event::FreshTokenRefused { .. }
            | Event::Audit { .. }
            | Event::Reload { .. }
            | Event::Started
            | Event::Stopping => {}
        }
    }
}

/// Locks; a panic elsewhere leaves counts that are still counts.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn read<T>(lock: &RwLock<T>) -> std::sync::RwLockReadGuard<'_, T> {
    lock.read().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::event::Exchange;

    fn tenant(n: usize) -> TenantId {
        TenantId::parse(&format!("t{n}")).unwrap()
    }

    fn memory() -> Memory {
        Memory::with_clock(|| SystemTime::UNIX_EPOCH + Duration::from_secs(1_795_000_000))
    }

    fn denied(tenant: &TenantId, denial: Denial) -> Event<'_> {
        Event::Denied {
            tenant,
            operation: "getOrders",
            status: if denial == Denial::Throttled {
                429
            } else {
                403
            },
            denial,
            token_kind: "access",
        }
    }

    fn exchange<'a>(tenant: &'a TenantId, result: Result<Duration, &'static str>) -> Event<'a> {
        Event::Exchange(Exchange {
            tenant,
            app: None,
            kind: "access",
            forced: false,
            result,
            shared: false,
        })
    }

    #[test]
    fn what_a_verdict_may_turn_on_is_news_and_throttling_is_not() {
        let (memory, one, two) = (memory(), tenant(1), tenant(2));
        memory.note(&denied(&one, Denial::Throttled));
        memory.note(&exchange(&one, Ok(Duration::from_secs(9))));
        assert!(memory.take_changed().is_empty());
        memory.note(&denied(&one, Denial::Role));
        memory.note(&exchange(&two, Err("grant_revoked")));
        assert_eq!(
            memory.take_changed().into_iter().collect::<Vec<_>>(),
            [one, two]
        );
        assert!(memory.take_changed().is_empty(), "it was told");
    }

    #[test]
    fn the_store_is_in_trouble_until_it_answers() {
        let memory = memory();
        let store = |up, cause| Event::Store { up, cause };
        memory.note(&store(false, Some("store_sealed")));
        assert_eq!(memory.store_trouble(), Some("store_sealed"));
        memory.note(&store(true, None));
        assert_eq!(memory.store_trouble(), None);
    }

    #[test]
    fn tenants_in_the_same_trouble_are_counted_together() {
        let memory = memory();
        for n in 0..3 {
            memory.note(&exchange(&tenant(n), Err("lwa_unreachable")));
        }
        memory.note(&exchange(&tenant(3), Ok(Duration::from_secs(9))));
        memory.note(&denied(&tenant(4), Denial::Role));
        let around = memory.around(Duration::from_mins(5));
        assert_eq!((around.busy, around.without_lwa), (4, 3));
        assert!(around.is_many(around.without_lwa));
    }

    #[test]
    fn tenants_beyond_the_bound_are_not_remembered_and_harm_nobody() {
        let memory = memory();
        for n in 0..=MOST {
            memory.note(&denied(&tenant(n), Denial::Role));
        }
        let now = (memory.clock)();
        assert_eq!(memory.recent(&tenant(0)).denied(now).count(), 1);
        assert_eq!(memory.recent(&tenant(MOST)).denied(now).count(), 0);
        assert_eq!(memory.history(&tenant(0)).last().unwrap().forbidden, 1);
    }
}
