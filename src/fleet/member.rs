//! Who else is there.
//!
//! Job: announce this sidecar in the store's `members` record, and count those that do.
//! Invariants: clocks are never compared: a member lives while its count of announcements grows, judged by this process's own
//! monotonic clock. The whole fleet writes about once a second at most, however large it is: each announces itself every
//! 45 s ± 15, or every N s ± a third where N are more than 45. A member is gone after three such intervals; one that ends
//! in order takes itself off the roll. Until then it counts, so that a quota is divided by too many rather than too few.
//! Failure mode: without the store the count stays as it was; a lost race is tried again at the next look.

use std::collections::HashMap;
use std::time::Duration;

use tokio::time::Instant;

use crate::store::roll::{Member, Roll};
use crate::store::{GrantStore, RecordKey, StoreError};
use crate::telemetry;

/// Time between two announcements of one sidecar in a small fleet, on average; also between two looks at the roll.
const INTERVAL: Duration = Duration::from_secs(45);

/// Intervals without an announcement after which a member is gone.
const MISSED: u32 = 3;

/// How often an announcement is tried when others announce themselves at the same moment.
const TRIES: u32 = 4;

/// Longest pause between two tries.
const PAUSE: Duration = Duration::from_millis(400);

/// Time over which a fleet that starts at once announces itself.
const SPREAD_START: Duration = Duration::from_secs(10);

/// Longest that an end waits for the roll.
const LEAVING: Duration = Duration::from_secs(2);

/// What one sidecar knows of the others.
#[derive(Debug)]
pub(super) struct Attendance {
    id: String,
    since: String,
    beats: u64,
    on_the_roll: bool,
    seen: HashMap<String, (u64, Instant)>,
    next: Instant,
}

impl Attendance {
    /// A sidecar that announces itself for the first time at `first`.
    pub(super) fn new(since: String, first: Instant) -> Self {
        Self {
            id: format!("{:016x}", rand::random::<u64>()),
            since,
            beats: 0,
            on_the_roll: false,
            seen: HashMap::new(),
            next: first,
        }
    }

    /// Looks at the roll, and announces this sidecar where it is due. Returns how many live, this one included.
    ///
    /// # Errors
    /// The store's.
    pub(super) async fn attend(
        &mut self,
        store: &dyn GrantStore,
        now: Instant,
    ) -> Result<usize, StoreError> {
        let mut outcome = Ok(());
        for _try in 0..TRIES {
            let (mut roll, expect) = Roll::load(store).await?;
            self.observe(&roll, now);
            if now < self.next {
                break;
            }
            for id in self.gone(&roll, now) {
                roll.remove(&id);
            }
            let announced = Member {
                beats: self.beats + 1,
                since: self.since.clone(),
            };
            if !roll.put(&self.id, announced) {
                break;
            }
            outcome = store
                .write(&RecordKey::Members, roll.into_fields(), expect)
                .await
                .map(drop);
            match outcome {
                Ok(()) => {
                    self.beats += 1;
                    self.on_the_roll = true;
                    self.next = now + spread(self.interval());
                    break;
                }
                Err(StoreError::Conflict(_)) => {
                    tokio::time::sleep(PAUSE.mul_f64(rand::random())).await;
                }
                Err(_) => break,
            }
        }
        outcome.map(|()| self.living(now))
    }

    /// Takes this sidecar off the roll.
    ///
    /// # Errors
    /// The store's.
    pub(super) async fn leave(&mut self, store: &dyn GrantStore) -> Result<(), StoreError> {
        for _try in 0..TRIES {
            if !self.on_the_roll {
                break;
            }
            let (mut roll, expect) = Roll::load(store).await?;
            if !roll.remove(&self.id) {
                break;
            }
            match store
                .write(&RecordKey::Members, roll.into_fields(), expect)
                .await
            {
                Err(StoreError::Conflict(_)) => {
                    tokio::time::sleep(PAUSE.mul_f64(rand::random())).await;
                }
                outcome => {
                    outcome?;
                    break;
                }
            }
        }
        self.on_the_roll = false;
        Ok(())
    }

    /// Until the roll is looked at again.
    pub(super) fn pause(&self, now: Instant) -> Duration {
        let due = self.next.saturating_duration_since(now);
        spread(INTERVAL).min(due.max(Duration::from_millis(200)))
    }

    fn observe(&mut self, roll: &Roll, now: Instant) {
        self.seen
            .retain(|id, _| roll.members().any(|(other, _)| other == id));
        for (id, member) in roll.members().filter(|(id, _)| *id != self.id) {
            let seen = self
                .seen
                .entry(id.to_owned())
                .or_insert((member.beats, now));
            if seen.0 != member.beats {
                *seen = (member.beats, now);
            }
        }
    }

    fn living(&self, now: Instant) -> usize {
        let patience = self.interval() * MISSED;
        let lives = |seen: &&(u64, Instant)| now.saturating_duration_since(seen.1) <= patience;
        self.seen.values().filter(lives).count() + 1
    }

    fn gone(&self, roll: &Roll, now: Instant) -> Vec<String> {
        let patience = self.interval() * MISSED;
        let is_gone = |id: &str| {
            let seen = self.seen.get(id);
            seen.is_some_and(|seen| now.saturating_duration_since(seen.1) > patience)
        };
        let gone = roll.members().filter(|(id, _)| is_gone(id));
        gone.map(|(id, _)| id.to_owned()).collect()
    }

    /// Time between two announcements of one sidecar, among as many as are on the roll.
    fn interval(&self) -> Duration {
        let all = u64::try_from(self.seen.len() + 1).unwrap_or(u64::MAX);
        Duration::from_secs(all).max(INTERVAL)
    }
}

/// A third more or less.
fn spread(interval: Duration) -> Duration {
    interval.mul_f64((2.0 + 2.0 * rand::random::<f64>()) / 3.0)
}

/// Announces this sidecar and counts the others, and tells how many there are, until `stop` completes; then takes it off
/// the roll. Where `wanted` says no, this sidecar is not on the roll and counts for itself alone.
pub(super) async fn attend(
    store: &dyn GrantStore,
    wanted: impl Fn() -> bool + Send,
    tell: impl Fn(usize) + Send,
    stop: impl Future<Output = ()>,
) {
    let mut stop = std::pin::pin!(stop);
    // a fleet that starts at once does not write at once
    let first = Instant::now() + SPREAD_START.mul_f64(rand::random());
    let since = humantime::format_rfc3339_seconds(telemetry::now()).to_string();
    let mut attendance = Attendance::new(since, first);
    loop {
        let outcome = if wanted() {
            attendance.attend(store, Instant::now()).await
        } else {
            attendance.leave(store).await.map(|()| 1)
        };
        match outcome {
            Ok(members) => tell(members.max(1)),
            Err(error) => {
                tracing::debug!(%error, "the roll of sidecars could not be read or written");
            }
        }
        tokio::select! {
            () = tokio::time::sleep(attendance.pause(Instant::now())) => {}
            () = stop.as_mut() => break,
        }
    }
    let left = tokio::time::timeout(LEAVING, attendance.leave(store));
    if !matches!(left.await, Ok(Ok(()))) {
        tracing::debug!("this sidecar stays on the roll until the others miss it");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::memory::MemoryStore;

    #[tokio::test(start_paused = true)]
    async fn those_who_announce_themselves_are_counted_and_those_who_stop_are_not() {
        let store = MemoryStore::default();
        let start = Instant::now();
        let mut all: Vec<Attendance> = (0..3)
            .map(|_| Attendance::new(String::new(), start))
            .collect();
        for one in &mut all {
            one.attend(&store, Instant::now()).await.unwrap();
        }
        let mut silent = all.pop().unwrap();
        for one in &mut all {
            assert_eq!(one.attend(&store, Instant::now()).await.unwrap(), 3);
        }
        // two of them go on; the third says nothing for longer than three intervals
        for _ in 0..6 {
            tokio::time::advance(Duration::from_secs(60)).await;
            for one in &mut all {
                one.attend(&store, Instant::now()).await.unwrap();
            }
        }
        for one in &mut all {
            assert_eq!(one.attend(&store, Instant::now()).await.unwrap(), 2);
        }
        let (roll, _) = Roll::load(&store).await.unwrap();
        assert_eq!(roll.members().count(), 2);
        // it was taken off by the others, and comes back
        assert_eq!(silent.attend(&store, Instant::now()).await.unwrap(), 3);
        silent.leave(&store).await.unwrap();
        assert_eq!(all[0].attend(&store, Instant::now()).await.unwrap(), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn many_sidecars_write_about_once_a_second_in_all() {
        const MANY: usize = 150;
        let store = MemoryStore::default();
        let start = Instant::now();
        let mut all: Vec<Attendance> = (0..MANY)
            .map(|_| Attendance::new(String::new(), start))
            .collect();
        for one in &mut all {
            one.attend(&store, start).await.unwrap();
        }
        // each sees all others at its next look; from then on they share one write a second
        for one in &mut all {
            assert_eq!(one.attend(&store, start).await.unwrap(), MANY);
            one.next = start + spread(one.interval());
        }
        let written = |all: &[Attendance]| all.iter().map(|one| one.beats).sum::<u64>();
        let before = written(&all);
        for _ in 0..60 {
            tokio::time::advance(Duration::from_secs(10)).await;
            let now = Instant::now();
            for one in all.iter_mut().filter(|one| one.next <= now) {
                one.attend(&store, now).await.unwrap();
            }
        }
        let during = written(&all) - before;
        assert!((450..=750).contains(&during), "{during} writes in 600 s");
        assert_eq!(all[0].attend(&store, Instant::now()).await.unwrap(), MANY);
    }
}
