//! What to do about a token record: pure, so that every case stands in a table.
//!
//! Job: from the record as it was read, and from what this process knows, say take, wait, fail or acquire.
//! Invariants: a token is taken only where its generation is neither refused nor older than one that was taken before; a lease
//! is over when its *version* has stood unchanged for the lease's length since we first saw it, by our own monotonic clock;
//! wall clocks bound how long a token or a failure is believed, and decide nothing else.
//! Failure mode: none; where nothing else is right, the lease is to be acquired, and the store decides by check-and-set.

use std::time::{Duration, SystemTime};

use tokio::time::Instant;

use super::Rules;
use super::record::{Nonce, Shared, TokenRecord};
use crate::config;
use crate::token::desk::LONGEST_PAUSE;
use crate::token::lifetime::{Life, State, Told};

/// What this process knows of a record.
#[derive(Clone, Debug, Default)]
pub(super) struct Known {
    /// The generation of the newest token that it took, or made.
    pub(super) taken: u64,
    /// That token's life.
    pub(super) life: Option<Life>,
    /// No token of this generation or an older one is taken: Amazon refused it, or somebody wants a new one.
    pub(super) refused: u64,
    /// Somebody wants a token that is newer than whatever the record holds.
    pub(super) demanded: bool,
    /// The version that was seen last, and when it was seen first.
    watched: Option<(u64, Instant)>,
    /// The generation that was seen last, and a moment before which no later generation was asked for.
    looked: Option<(u64, Instant)>,
}

impl Known {
    /// Takes note of a look at the record, which was asked for at `looked` and had answered by `now`.
    fn look(&mut self, record: Option<&TokenRecord>, looked: Instant, now: Instant) {
        let version = record.map_or(0, |record| record.version);
        if self.watched.is_none_or(|(watched, _)| watched != version) {
            self.watched = Some((version, now));
        }
        let generation = record.map_or(0, |record| record.generation);
        let held = record.is_some_and(|record| record.lease.is_some());
        // whoever held the lease may have asked at any time before; without one, nobody can have
        self.looked = match self.looked {
            same @ Some((seen, _)) if held && seen == generation => same,
            Some(_) | None if held => None,
            Some(_) | None => Some((generation, looked)),
        };
        if std::mem::take(&mut self.demanded) {
            self.refused = self.refused.max(generation);
        }
    }

    /// How long the version that was seen last has stood.
    fn stood(&self, now: Instant) -> Duration {
        self.watched
            .map_or(Duration::ZERO, |(_, since)| now - since)
    }

    /// How long ago a generation was seen not to exist.
    fn unborn(&self, generation: u64, now: Instant) -> Option<Duration> {
        self.looked
            .filter(|(seen, _)| *seen < generation)
            .map(|(_, at)| now.saturating_duration_since(at))
    }

    /// The life of the record's token, if it may be used.
    fn life(&self, record: &TokenRecord, facts: &Facts<'_>) -> Option<Life> {
        let Shared {
            expires_at,
            expires_in,
            ..
        } = record.token.as_ref()?;
        if record.generation <= self.refused || record.generation < self.taken {
            return None;
        }
        let again = self.life.filter(|_| record.generation == self.taken);
        let life = again.or_else(|| {
            let told = Told {
                whole: *expires_in,
                claimed: expires_at.duration_since(facts.wall).unwrap_or_default(),
                unborn: facts.unborn,
            };
            let (share, skew) = (facts.lwa.refresh_at, facts.lwa.clock_skew);
            if !told.agrees(skew) && told.unborn.is_some() {
                tracing::warn!(generation = record.generation, claimed_s = told.claimed.as_secs(), "a shared token's end does not fit this machine's wall clock: one of the fleet's clocks is wrong by more than lwa.clock_skew");
            }
            Life::told(facts.now, told, share, skew, facts.draw).ok()
        })?;
        let good = match life.state(facts.now) {
            State::Fresh => true,
            // one that we have had is ours to renew; one that is news is better than none
            State::Due => record.generation > self.taken,
            State::Expired => false,
        };
        good.then_some(life)
    }
}

/// What a judgement rests on, besides the record and what is known.
#[derive(Debug)]
pub(super) struct Facts<'a> {
    pub(super) now: Instant,
    pub(super) wall: SystemTime,
    pub(super) lwa: &'a config::Lwa,
    /// How long a lease of ours is.
    pub(super) lease: Duration,
    /// The nonce of an acquisition of ours whose outcome is not known.
    pub(super) ours: Option<&'a Nonce>,
    /// How long ago the record's generation was seen not to exist.
    pub(super) unborn: Option<Duration>,
    /// From 0.0 to 1.0: spreads renewals.
    pub(super) draw: f64,
}

/// What to do.
#[derive(Clone, PartialEq, Debug)]
pub(super) enum Step {
    /// Use the record's token for this life.
    Take(Life),
    /// Another sidecar has just failed: hear this word instead of trying as well.
    Fail(String),
    /// Somebody else exchanges: look again, at the latest after this.
    Wait(Duration),
    /// Our acquisition did go through.
    Held,
    /// Acquire the lease.
    Acquire,
}

/// Judges what was read.
pub(super) fn judge(record: Option<&TokenRecord>, known: &Known, facts: &Facts<'_>) -> Step {
    let Some(record) = record else {
        return Step::Acquire;
    };
    if facts.ours.is_some_and(|ours| record.is_held_by(ours)) {
        return Step::Held;
    }
    if let Some(life) = known.life(record, facts) {
        return Step::Take(life);
    }
    let stood = known.stood(facts.now);
    if let Some(lease) = &record.lease {
        let left = lease.length.max(facts.lease).saturating_sub(stood);
        return if left.is_zero() {
            Step::Acquire
        } else {
            Step::Wait(left)
        };
    }
    if let Some(failure) = &record.failure {
        let claimed = failure
            .retry_at
            .duration_since(facts.wall)
            .unwrap_or_default();
        // a clock that is ahead keeps nobody waiting for longer than a pause can be
        let left = claimed.min(LONGEST_PAUSE.saturating_sub(stood));
        if !left.is_zero() && claimed <= LONGEST_PAUSE + facts.lwa.clock_skew {
            return Step::Fail(failure.word.clone());
        }
    }
    Step::Acquire
}

impl Known {
    /// Judges what a look brought that was begun at `looked` and had ended by `now`.
    pub(super) fn judge(
        &mut self,
        record: Option<&TokenRecord>,
        ours: Option<&Nonce>,
        rules: &Rules,
        looked: Instant,
        now: Instant,
        wall: SystemTime,
    ) -> Step {
        let unborn = record.and_then(|record| self.unborn(record.generation, now));
        self.look(record, looked, now);
        let facts = Facts {
            now,
            wall,
            lwa: &rules.lwa,
            lease: rules.lease,
            ours,
            unborn,
            draw: rand::random(),
        };
        judge(record, self, &facts)
    }
}

#[cfg(test)]
mod tests;
