//! Who waits for which exchange: one state machine, without tasks, clocks or locks.
//!
//! Job: for each key, say whether a caller joins the exchange under way, begins one, or hears of a failure that is too recent;
//! take note of how exchanges end and of tokens that were refused.
//! Invariants: at most one flight a key is on the desks; a flight that was taken off (its tenant was forgotten) never lands;
//! after a failure the next flight waits, twice as long each time; a refused token leads to at most one flight.
//! Failure mode: none; the answers are values. The caller holds a lock around every call, and puts tokens where callers find
//! them under the same lock.

use std::collections::HashMap;
use std::hash::Hash;
use std::time::Duration;

use tokio::time::Instant;

use super::{Cause, TokenFailure};

/// Pause after the first failure.
pub(super) const FIRST_PAUSE: Duration = Duration::from_secs(1);

/// Longest pause between two attempts while they fail.
pub(super) const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// A replacement that is refused within this time, without ever having been taken, shows that exchanges do not help: an
/// incident, not an expiry.
pub(super) const BREAKER: Duration = Duration::from_secs(60);

/// Most replacements in a row, each refused within [`BREAKER`] of its issue although it had been taken: an origin that
/// refuses now and then leads to no storm either.
pub(super) const MOST_REPLACEMENTS: u32 = 10;

/// The desks of all keys. `F` is how a caller waits for a flight.
#[derive(Debug)]
pub(super) struct Desks<K, F> {
    desks: HashMap<K, Desk<F>>,
    departures: u64,
}

/// What is known of a key besides its token: the exchange under way, and how the last ones went.
#[derive(Debug)]
struct Desk<F> {
    flight: Option<(u64, F)>,
    failures: u32,
    failure: Option<(TokenFailure, Instant)>,
    /// What the next token will stand for, see [`super::Standing`].
    replaces: u32,
    /// Whether somebody asked for a new token although the old one is good.
    demanded: bool,
}

// not derived: a derive would ask `F` for a default
impl<F> Default for Desk<F> {
    fn default() -> Self {
        Self {
            flight: None,
            failures: 0,
            failure: None,
            replaces: 0,
            demanded: false,
        }
    }
}

/// What a caller without a fresh token does.
#[derive(Debug)]
pub(super) enum Course<F, T> {
    /// Wait for this flight.
    Wait(F),
    /// Use the token that landed since the caller looked.
    Landed(T),
}

/// A flight that begins.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Departure {
    /// Its number, never used twice.
    pub(super) flight: u64,
    /// How many refusals in a row led to it.
    pub(super) replaces: u32,
    /// Whether it replaces a token that is not at its end: a refused one, or one that somebody wants renewed.
    pub(super) forced: bool,
}

/// What becomes of a flight's result.
#[derive(Debug)]
pub(super) enum Landing {
    /// The token goes where callers find it. The number says how many refusals in a row led to it: one that came while the
    /// flight was under way counts, since this token is what replaces the refused one.
    Kept(u32),
    /// There is none; callers hear of it until it is time to try again.
    Failed(TokenFailure, u32),
    /// The flight was taken off meanwhile: its result must not be used.
    Stale,
}

/// What is known of a token that was refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Refused {
    /// How long ago it was issued.
    pub(super) age: Duration,
    /// Whether Amazon ever took it.
    pub(super) was_accepted: bool,
    /// How many refusals in a row led to it.
    pub(super) replaces: u32,
}

impl<K, F> Default for Desks<K, F> {
    fn default() -> Self {
        Self {
            desks: HashMap::new(),
            departures: 0,
        }
    }
}

impl<K: Eq + Hash + Clone, F: Clone> Desks<K, F> {
    /// What a caller does who found no fresh token. `landed` looks again; `depart` begins a flight.
    ///
    /// # Errors
    /// The last failure, while it is too recent to try again.
    pub(super) fn ask<T>(
        &mut self,
        key: &K,
        now: Instant,
        landed: impl FnOnce() -> Option<T>,
        depart: impl FnOnce(Departure) -> F,
    ) -> Result<Course<F, T>, TokenFailure> {
        if let Some((_, flight)) = self.desks.get(key).and_then(|desk| desk.flight.as_ref()) {
            return Ok(Course::Wait(flight.clone()));
        }
        let desk = self.desks.entry(key.clone()).or_default();
        if !desk.demanded {
            if let Some(token) = landed() {
                self.tidy(key);
                return Ok(Course::Landed(token));
            }
            if let Some((failure, until)) = &desk.failure
                && now < *until
            {
                return Err(TokenFailure {
                    cause: failure.cause.clone(),
                    retry_in: *until - now,
                });
            }
        }
        self.departures += 1;
        let replaces = std::mem::take(&mut desk.replaces);
        let departure = Departure {
            flight: self.departures,
            replaces,
            forced: std::mem::take(&mut desk.demanded) || replaces > 0,
        };
        let flight = depart(departure);
        desk.flight = Some((departure.flight, flight.clone()));
        Ok(Course::Wait(flight))
    }

    /// The end of a flight. `draw` (0.0 to 1.0) spreads the pause after a failure.
    pub(super) fn land(
        &mut self,
        key: &K,
        departure: Departure,
        outcome: Result<(), Cause>,
        now: Instant,
        draw: f64,
    ) -> Landing {
        let replaces = departure.replaces;
        let Some(desk) = self.flown(key, departure) else {
            return Landing::Stale;
        };
        let landing = match outcome {
            Ok(()) => {
                desk.failures = 0;
                desk.failure = None;
                Landing::Kept(replaces.max(std::mem::take(&mut desk.replaces)))
            }
            Err(cause) => {
                let pause = pause_after(desk.failures, draw);
                desk.failures = desk.failures.saturating_add(1);
                let failure = TokenFailure {
                    cause,
                    retry_in: pause,
                };
                desk.failure = Some((failure.clone(), now + pause));
                Landing::Failed(failure, desk.failures)
            }
        };
        desk.flight = None;
        self.tidy(key);
        landing
    }

    /// The end of a flight that will never land.
    pub(super) fn crash(&mut self, key: &K, departure: Departure) {
        if let Some(desk) = self.flown(key, departure) {
            desk.flight = None;
        }
        self.tidy(key);
    }

    /// Takes note that a token was refused; says whether another one would help.
    pub(super) fn refuse(&mut self, key: &K, refused: Refused) -> bool {
        let replaces = if refused.age < BREAKER {
            refused.replaces
        } else {
            0
        };
        let helped = refused.was_accepted && replaces < MOST_REPLACEMENTS;
        if replaces > 0 && !helped {
            return false;
        }
        self.desks.entry(key.clone()).or_default().replaces = replaces + 1;
        true
    }

    /// The next caller begins a flight, whatever is in memory and whatever failed a moment ago. The flight under way, if
    /// there is one, comes first.
    pub(super) fn demand(&mut self, key: &K) -> Option<F> {
        let desk = self.desks.entry(key.clone()).or_default();
        if let Some((_, flight)) = &desk.flight {
            return Some(flight.clone());
        }
        desk.demanded = true;
        None
    }

    /// Forgets that the last attempt failed.
    pub(super) fn forget_failure(&mut self, key: &K) {
        if let Some(desk) = self.desks.get_mut(key) {
            desk.failure = None;
        }
        self.tidy(key);
    }

    /// Takes every desk away that `which` names. A flight that is under way there lands nowhere.
    pub(super) fn forget(&mut self, which: impl Fn(&K) -> bool) {
        self.desks.retain(|key, _| !which(key));
    }

    /// The desk on which a flight still stands.
    fn flown(&mut self, key: &K, departure: Departure) -> Option<&mut Desk<F>> {
        let desk = self.desks.get_mut(key)?;
        matches!(&desk.flight, Some((number, _)) if *number == departure.flight).then_some(desk)
    }

    /// Takes a desk away when nothing is left on it.
    fn tidy(&mut self, key: &K) {
        if let Some(desk) = self.desks.get(key)
            && desk.flight.is_none()
            && desk.failure.is_none()
            && desk.replaces == 0
            && !desk.demanded
        {
            self.desks.remove(key);
        }
    }
}

/// Doubling from [`FIRST_PAUSE`] to [`LONGEST_PAUSE`], less up to a quarter so that a fleet does not march in step.
pub(super) fn pause_after(failures: u32, draw: f64) -> Duration {
    let full = FIRST_PAUSE
        .saturating_mul(1 << failures.min(10))
        .min(LONGEST_PAUSE);
    full.mul_f64(1.0 - 0.25 * draw)
}

#[cfg(test)]
mod tests;
