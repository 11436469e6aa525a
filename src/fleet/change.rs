//! Changes of the fleet's record.
//!
//! Job: what a change makes of the record, and writing it by check-and-set, whoever else writes.
//! Invariants: a change that is there already is not written again, so that a write whose outcome is unknown may be repeated;
//! a killed tenant is never made less than killed but by a person's resume; what came by itself ends by itself alone where
//! its cause is the one that is gone.
//! Failure mode: [`ChangeError`]; a lost race is read afresh and tried again, [`TRIES`] times.

use std::time::{Duration, SystemTime};

use super::why::Why;
use crate::config::QuarantineCause;
use crate::store::fleet::{AUTOMATIC, BreakGlass, FleetRecord, Standing};
use crate::store::{GrantStore, RecordKey, StoreError};
use crate::tenant::{TenantId, TenantState};

/// How often a write is tried when others write as well: more than a handful of operators act at once only by mistake.
const TRIES: u32 = 8;

/// Pause before the second try; longer with each, and never the same for two.
const PAUSE: Duration = Duration::from_millis(50);

/// Most break-glasses in the record: it is polled by every sidecar, and stays small.
const MOST_BREAK_GLASSES: usize = 32;

/// What is to become of the record.
#[derive(Clone, Debug)]
pub enum Change {
    /// The tenant is switched off.
    Kill(TenantId, Why),
    /// The tenant is set aside by a person.
    Quarantine(TenantId, Why),
    /// The tenant is served again.
    Resume(TenantId, Why),
    /// The tenant is set aside for a cause that was seen.
    SetAside(TenantId, QuarantineCause),
    /// A cause is gone: the tenant is served again if that alone set it aside.
    Release(TenantId, QuarantineCause),
    /// A break-glass is opened.
    Open(BreakGlass),
    /// A break-glass is ended.
    Revoke {
        /// Which.
        id: String,
        /// Who ends it.
        by: String,
    },
}

/// Why a change was not made.
#[derive(Clone, Debug, thiserror::Error)]
pub enum ChangeError {
    /// A quarantine would make a killed tenant less than killed.
    #[error("tenant {tenant} was killed by {} ({})", standing.by, standing.reason)]
    Killed {
        /// Which.
        tenant: TenantId,
        /// As the record says.
        standing: Standing,
    },
    /// No such break-glass is in force.
    #[error("no break-glass {0} is in force")]
    NoSuchBreakGlass(String),
    /// The record holds as many as it may.
    #[error("{MOST_BREAK_GLASSES} break-glasses are in force, and no more may be")]
    TooManyBreakGlasses,
    /// The store did not do it.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// A change that is in the record.
#[derive(Clone, Debug)]
pub struct Committed {
    /// The record as it is now.
    pub record: FleetRecord,
    /// Whether it was written; not where it said so before.
    pub written: bool,
}

/// Makes a change in the store's record.
///
/// # Errors
/// When the record forbids it, or the store does not take it.
pub async fn commit(
    store: &dyn GrantStore,
    change: &Change,
    now: SystemTime,
) -> Result<Committed, ChangeError> {
    let mut last = StoreError::Conflict(RecordKey::Fleet.path());
    for n in 0..TRIES {
        let (mut record, expect) = FleetRecord::load(store).await?;
        record.prune(now);
        if !change.make(&mut record, now)? {
            return Ok(Committed {
                record,
                written: false,
            });
        }
        record.step();
        let fields = record.clone().into_fields();
        match store.write(&RecordKey::Fleet, fields, expect).await {
            Ok(_version) => {
                return Ok(Committed {
                    record,
                    written: true,
                });
            }
            // lost, or not known to be done: the record, read afresh, tells
            Err(
                error @ (StoreError::Conflict(_)
                | StoreError::NotLeader(_)
                | StoreError::Timeout(_)
                | StoreError::Unavailable(_)),
            ) => last = error,
            Err(error) => return Err(error.into()),
        }
        let pause = PAUSE * (n + 1);
        tokio::time::sleep(pause.mul_f64(0.5 + rand::random::<f64>())).await;
    }
    Err(last.into())
}

impl Change {
    /// Whose state it changes, if anybody's.
    #[must_use]
    pub const fn tenant(&self) -> Option<&TenantId> {
        match self {
            Self::Kill(tenant, _)
            | Self::Quarantine(tenant, _)
            | Self::Resume(tenant, _)
            | Self::SetAside(tenant, _)
            | Self::Release(tenant, _) => Some(tenant),
            Self::Open(_) | Self::Revoke { .. } => None,
        }
    }

    /// What the tenant is to be, where it is not to be served: that holds here even while the store cannot be written.
    pub(super) fn standing(&self, now: SystemTime) -> Option<Standing> {
        let (state, reason, by) = match self {
            Self::Kill(_, why) => (TenantState::Killed, why.reason(), why.by()),
            Self::Quarantine(_, why) => (TenantState::Quarantined, why.reason(), why.by()),
            Self::SetAside(_, cause) => (TenantState::Quarantined, cause.as_str(), AUTOMATIC),
            Self::Resume(..) | Self::Release(..) | Self::Open(_) | Self::Revoke { .. } => {
                return None;
            }
        };
        Some(Standing {
            state,
            reason: reason.to_owned(),
            since: humantime::format_rfc3339_seconds(now).to_string(),
            by: by.to_owned(),
        })
    }

    /// Makes the change; says whether the record is another now.
    fn make(&self, record: &mut FleetRecord, now: SystemTime) -> Result<bool, ChangeError> {
        match self {
            Self::Kill(tenant, _) => {
                let killed = record
                    .standing(tenant)
                    .is_some_and(|standing| standing.state == TenantState::Killed);
                if !killed {
                    record.set(tenant, self.standing(now).as_ref());
                }
                Ok(!killed)
            }
            Self::Quarantine(tenant, _) => match record.standing(tenant) {
                Some(standing) if standing.state == TenantState::Killed => {
                    Err(ChangeError::Killed {
                        tenant: tenant.clone(),
                        standing,
                    })
                }
                Some(standing) if standing.by != AUTOMATIC => Ok(false),
                // a person's word outlasts the cause that came by itself
                Some(_) | None => {
                    record.set(tenant, self.standing(now).as_ref());
                    Ok(true)
                }
            },
            Self::SetAside(tenant, _) => {
                let active = record.standing(tenant).is_none();
                if active {
                    record.set(tenant, self.standing(now).as_ref());
                }
                Ok(active)
            }
            Self::Resume(tenant, _) => {
                let aside = record.standing(tenant).is_some();
                record.set(tenant, None);
                Ok(aside)
            }
            Self::Release(tenant, cause) => {
                let theirs = record.standing(tenant).is_some_and(|standing| {
                    standing.state == TenantState::Quarantined
                        && standing.by == AUTOMATIC
                        && standing.reason == cause.as_str()
                });
                if theirs {
                    record.set(tenant, None);
                }
                Ok(theirs)
            }
            Self::Open(glass) => {
                if record.break_glasses().any(|other| other.id == glass.id) {
                    return Ok(false);
                }
                if record.break_glasses().count() >= MOST_BREAK_GLASSES {
                    return Err(ChangeError::TooManyBreakGlasses);
                }
                record.put(glass);
                Ok(true)
            }
            Self::Revoke { id, by } => {
                let glass = record.break_glasses().find(|glass| glass.id == *id);
                let Some(glass) = glass else {
                    return Err(ChangeError::NoSuchBreakGlass(id.clone()));
                };
                if glass.revoked_by.is_some() {
                    return Ok(false);
                }
                record.put(&BreakGlass {
                    revoked_by: Some(by.clone()),
                    ..glass
                });
                Ok(true)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::memory::MemoryStore;

    const NOW: SystemTime = SystemTime::UNIX_EPOCH;

    fn acme() -> TenantId {
        TenantId::parse("acme").unwrap()
    }

    fn why(by: &str) -> Why {
        Why::new("a reason", by).unwrap()
    }

    /// What a series of changes makes of a tenant: state and who did it, or the last refusal.
    async fn after(changes: &[Change]) -> String {
        let store = MemoryStore::default();
        let mut last = String::new();
        for change in changes {
            last = match commit(&store, change, NOW).await {
                Ok(committed) => committed.record.standing(&acme()).map_or_else(
                    || "active".to_owned(),
                    |standing| format!("{} by {}", standing.state.as_str(), standing.by),
                ),
                Err(error) => error.to_string(),
            };
        }
        last
    }

    #[tokio::test]
    async fn a_state_follows_from_the_changes_before_it() {
        use QuarantineCause::{ChargeMethodLapsed, GrantRevoked};
        let kill = || Change::Kill(acme(), why("ada"));
        let quarantine = || Change::Quarantine(acme(), why("bob"));
        let resume = || Change::Resume(acme(), why("eve"));
        let aside = || Change::SetAside(acme(), GrantRevoked);
        let release = |cause| Change::Release(acme(), cause);
        for (changes, want) in [
            (vec![resume()], "active"),
            (vec![quarantine()], "quarantined by bob"),
            (vec![quarantine(), kill()], "killed by ada"),
            (vec![kill(), resume()], "active"),
            (
                vec![kill(), quarantine()],
                "tenant acme was killed by ada (a reason)",
            ),
            (vec![kill(), aside()], "killed by ada"),
            (vec![aside()], "quarantined by automatic"),
            (vec![aside(), release(GrantRevoked)], "active"),
            (
                vec![aside(), release(ChargeMethodLapsed)],
                "quarantined by automatic",
            ),
            (
                vec![aside(), quarantine(), release(GrantRevoked)],
                "quarantined by bob",
            ),
            (vec![quarantine(), aside()], "quarantined by bob"),
            (vec![kill(), release(GrantRevoked)], "killed by ada"),
        ] {
            assert_eq!(after(&changes).await, want, "{changes:?}");
        }
    }

    #[tokio::test]
    async fn a_change_that_is_there_already_is_not_written_again() {
        let store = MemoryStore::default();
        let kill = Change::Kill(acme(), why("ada"));
        let first = commit(&store, &kill, NOW).await.unwrap();
        let second = commit(&store, &kill, NOW).await.unwrap();
        assert_eq!((first.written, second.written), (true, false));
        assert_eq!(second.record.generation(), 1);
    }

    #[tokio::test]
    async fn of_many_writers_at_once_none_is_lost() {
        let store = MemoryStore::default();
        let changes: Vec<Change> = (0..5)
            .map(|n| Change::Kill(TenantId::parse(&format!("t{n}")).unwrap(), why("ada")))
            .collect();
        let done = changes.iter().map(|change| commit(&store, change, NOW));
        for done in futures_util::future::join_all(done).await {
            done.unwrap();
        }
        let (record, _) = FleetRecord::load(&store).await.unwrap();
        assert_eq!((record.standings().count(), record.generation()), (5, 5));
    }
}
