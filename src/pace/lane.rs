//! One quota, and the line of those who want a part of it.
//!
//! Job: a place at once where there is one; else the end of the line, as long as that is worth the wait.
//! Invariants: the line is fair; only its head watches the bucket; a place is used or given back; no lock is held across a wait
//! but the head's own.
//! Failure mode: [`Crowded`], at once where the line is too long by what is known, else when the caller's patience ends. As long as
//! no answer has confirmed the seeded rate, nobody is sent away at once: the first answer may tell a higher one.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

use super::bucket::{Bucket, Plan};
use super::{Members, USUAL_BURST};

/// How long a 429 casts doubt on what else is refused.
const LATELY: Duration = Duration::from_mins(1);

/// A quota.
pub struct Lane {
    state: Mutex<State>,
    /// Held by the head of the line; waiters queue for it in order (tokio's mutex is fair).
    line: tokio::sync::Mutex<()>,
    /// Told when the head has reason to look again.
    changed: Notify,
    members: Members,
}

#[derive(Debug)]
struct State {
    bucket: Option<Bucket>,
    /// How many stand in line.
    waiting: usize,
    /// Whether an answer has confirmed or corrected the rate.
    confirmed: bool,
    throttled: Option<Instant>,
    used: Instant,
}

/// Leave to send one request. Dropped without having been used, it goes to the next in line.
#[derive(Debug)]
pub struct Place {
    lane: Arc<Lane>,
    waited: Duration,
    used: bool,
}

/// It would take too long.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("the quota is used up; there is a place in {retry_in:?}")]
pub struct Crowded {
    /// When there may be a place.
    pub retry_in: Duration,
}

impl Lane {
    pub(super) fn new(plan: Option<Plan>, members: Members) -> Self {
        let now = Instant::now();
        let state = State {
            bucket: plan.map(|plan| Bucket::new(plan, members(), now)),
            waiting: 0,
            confirmed: false,
            throttled: None,
            used: now,
        };
        Self {
            state: Mutex::new(state),
            line: tokio::sync::Mutex::default(),
            changed: Notify::new(),
            members,
        }
    }

    /// Waits for a place, at most so long.
    ///
    /// # Errors
    /// When there will be none by then.
    pub async fn enter(self: &Arc<Self>, at_most: Duration) -> Result<Place, Crowded> {
        let from = Instant::now();
        let Some(standing) = self.arrive(at_most, from)? else {
            return Ok(self.place(Duration::ZERO));
        };
        let deadline = from + at_most;
        let turn = tokio::time::timeout_at(deadline, self.turn(deadline)).await;
        drop(standing);
        match turn {
            Ok(Ok(())) => Ok(self.place(from.elapsed())),
            Ok(Err(crowded)) => Err(crowded),
            Err(_elapsed) => Err(self.crowded()),
        }
    }

    /// What an answer says that was not refused for its quota or its token: the rate, where it does.
    pub fn answered(&self, rate: Option<f64>) {
        let (now, members) = (Instant::now(), (self.members)());
        let mut state = self.state();
        let confirms = !std::mem::replace(&mut state.confirmed, true);
        let learns = match (rate, &mut state.bucket) {
            (Some(rate), Some(bucket)) => bucket.learn(rate, members, now),
            (Some(rate), empty) => {
                let plan = Plan::parse(rate, USUAL_BURST);
                *empty = plan.map(|plan| Bucket::new(plan, members, now));
                empty.is_some()
            }
            (None, _) => false,
        };
        drop(state);
        if confirms || learns {
            self.changed.notify_waiters();
        }
    }

    /// Amazon answered 429, and asks for a pause where it says so.
    pub fn throttled(&self, pause: Duration) {
        let (now, members) = (Instant::now(), (self.members)());
        let mut state = self.state();
        state.throttled = Some(now);
        if let Some(bucket) = &mut state.bucket {
            bucket.drain(pause, members, now);
        }
    }

    /// A request that Amazon had answered 429 was repeated and taken.
    pub fn relents(&self) {
        let (now, members) = (Instant::now(), (self.members)());
        if let Some(bucket) = &mut self.state().bucket {
            bucket.relent(members, now);
        }
        self.changed.notify_waiters();
    }

    /// Whether there was a 429 within the last minute.
    #[must_use]
    pub fn was_throttled_lately(&self) -> bool {
        self.state()
            .throttled
            .is_some_and(|at| at.elapsed() < LATELY)
    }

    /// How many stand in line.
    pub(super) fn waiting(&self) -> usize {
        self.state().waiting
    }

    /// When it was last used.
    pub(super) fn used(&self) -> Instant {
        self.state().used
    }

    /// Whether dropping it would change nothing but what it has learnt.
    pub(super) fn is_idle(self: &Arc<Self>, idle: Duration, now: Instant) -> bool {
        let members = (self.members)();
        let mut state = self.state();
        let full = state
            .bucket
            .as_mut()
            .is_none_or(|bucket| bucket.is_full(members, now));
        full && Arc::strong_count(self) == 1 && now.saturating_duration_since(state.used) >= idle
    }

    /// Takes a place where nobody waits for one; else joins the line, unless that is hopeless.
    fn arrive(&self, at_most: Duration, now: Instant) -> Result<Option<Standing<'_>>, Crowded> {
        let members = (self.members)();
        let mut state = self.state();
        state.used = now;
        let (waiting, confirmed) = (state.waiting, state.confirmed);
        let Some(bucket) = &mut state.bucket else {
            return Ok(None);
        };
        if waiting == 0 && bucket.take(members, now).is_ok() {
            return Ok(None);
        }
        let retry_in = bucket.wait(waiting, members, now);
        if confirmed && retry_in > at_most {
            return if waiting == 0 {
                last_resort(bucket, members, now, retry_in).map(|()| None)
            } else {
                Err(Crowded { retry_in })
            };
        }
        state.waiting += 1;
        Ok(Some(Standing(self)))
    }

    /// Moves up to the head of the line, and takes the next place.
    async fn turn(&self, deadline: Instant) -> Result<(), Crowded> {
        let _head = self.line.lock().await;
        loop {
            let changed = self.changed.notified();
            let wait = {
                let now = Instant::now();
                let mut state = self.state();
                let confirmed = state.confirmed;
                let Some(bucket) = &mut state.bucket else {
                    return Ok(());
                };
                let members = (self.members)();
                match bucket.take(members, now) {
                    Ok(()) => return Ok(()),
                    Err(wait) if confirmed && now + wait > deadline => {
                        return last_resort(bucket, members, now, wait);
                    }
                    Err(wait) => wait,
                }
            };
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                () = changed => {}
            }
        }
    }

    fn place(self: &Arc<Self>, waited: Duration) -> Place {
        Place {
            lane: Arc::clone(self),
            waited,
            used: false,
        }
    }

    fn crowded(&self) -> Crowded {
        let (now, members) = (Instant::now(), (self.members)());
        let mut state = self.state();
        let waiting = state.waiting;
        let wait = |bucket: &mut Bucket| bucket.wait(waiting, members, now);
        Crowded {
            retry_in: state.bucket.as_mut().map_or(Duration::ZERO, wait),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A place out of what is kept back, for whoever would otherwise be sent away.
fn last_resort(
    bucket: &mut Bucket,
    members: usize,
    now: Instant,
    retry_in: Duration,
) -> Result<(), Crowded> {
    if bucket.take_reserve(members, now) {
        Ok(())
    } else {
        Err(Crowded { retry_in })
    }
}

impl fmt::Debug for Lane {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lane")
            .field("state", &self.state())
            .finish_non_exhaustive()
    }
}

/// One who stands in line.
struct Standing<'a>(&'a Lane);

impl Drop for Standing<'_> {
    fn drop(&mut self) {
        self.0.state().waiting -= 1;
    }
}

impl Place {
    /// How long the wait for it was.
    #[must_use]
    pub const fn waited(&self) -> Duration {
        self.waited
    }

    /// The request goes out: the place is used.
    pub fn spend(mut self) {
        self.used = true;
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if self.used {
            return;
        }
        if let Some(bucket) = &mut self.lane.state().bucket {
            bucket.give_back();
        }
        self.lane.changed.notify_waiters();
    }
}
