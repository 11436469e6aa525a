//! Counts by the minute, for an hour.
//!
//! Job: count what came of calls, and sum it over a window.
//! Invariants: pure, time is an argument; a tenant that is not called takes no memory; windows are whole minutes, at least one,
//! at most [`MINUTES`].
//! Failure mode: a clock that is set back counts on in the newest minute.

use std::collections::VecDeque;
use std::time::{Duration, SystemTime};

/// Minutes that are remembered.
pub const MINUTES: u64 = 60;

/// What came of the calls of one minute.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Minute {
    /// Which one: minutes since 1970.
    pub number: u64,
    /// Calls that Amazon took, whatever it answered.
    pub taken: u32,
    /// Answers 401.
    pub unauthorized: u32,
    /// Answers 403.
    pub forbidden: u32,
    /// Answers 429.
    pub throttled: u32,
    /// Answers of Amazon from 500 up.
    pub erred: u32,
    /// Calls that policy refused here.
    pub refused: u32,
    /// Calls that something here, or on the way, failed.
    pub failed: u32,
    /// 429s that a program got to see, Amazon's or ours.
    pub throttled_through: u32,
}

/// Sums over a window.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Sums {
    /// Everything in it, as one minute.
    pub all: Minute,
    /// How long it is, in whole minutes' seconds.
    pub seconds: u64,
}

/// The minutes in which something happened.
#[derive(Clone, Default, Debug)]
pub struct Minutes(VecDeque<Minute>);

/// The number of the minute that a moment falls in.
#[must_use]
pub fn minute_of(moment: SystemTime) -> u64 {
    let since = moment.duration_since(SystemTime::UNIX_EPOCH);
    since.unwrap_or(Duration::ZERO).as_secs() / 60
}

impl Minutes {
    /// The minute that is running, to count in.
    pub(super) fn now(&mut self, now: SystemTime) -> &mut Minute {
        let number = minute_of(now);
        // a clock set back counts on in the newest minute
        if self.0.back().is_none_or(|last| last.number < number) {
            self.0.push_back(Minute {
                number,
                ..Minute::default()
            });
        }
        while self
            .0
            .front()
            .is_some_and(|first| first.number + MINUTES < number)
        {
            self.0.pop_front();
        }
        let last = self.0.len().saturating_sub(1);
        self.0
            .get_mut(last)
            .expect("one was pushed where there was none")
    }

    /// Sums over the last minutes: as many as begin within `window`, at least one, at most [`MINUTES`].
    #[must_use]
    pub fn sums(&self, window: Duration, now: SystemTime) -> Sums {
        let minutes = window.as_secs().div_ceil(60).clamp(1, MINUTES);
        let after = minute_of(now).saturating_sub(minutes);
        let mut all = Minute::default();
        for minute in self.0.iter().filter(|one| one.number > after) {
            all.add(minute);
        }
        Sums {
            all,
            seconds: minutes * 60,
        }
    }

    /// The last hour, minute by minute, the oldest first; minutes without a call are there, empty.
    #[must_use]
    pub fn history(&self, now: SystemTime) -> Vec<Minute> {
        let last = minute_of(now);
        (last.saturating_sub(MINUTES - 1)..=last)
            .map(|number| {
                let kept = self.0.iter().find(|one| one.number == number);
                let empty = || Minute {
                    number,
                    ..Minute::default()
                };
                kept.copied().unwrap_or_else(empty)
            })
            .collect()
    }
}

impl Minute {
    fn add(&mut self, other: &Self) {
        for (sum, more) in [
            (&mut self.taken, other.taken),
            (&mut self.unauthorized, other.unauthorized),
            (&mut self.forbidden, other.forbidden),
            (&mut self.throttled, other.throttled),
            (&mut self.erred, other.erred),
            (&mut self.refused, other.refused),
            (&mut self.failed, other.failed),
            (&mut self.throttled_through, other.throttled_through),
        ] {
            *sum = sum.saturating_add(more);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000 * 60 + seconds)
    }

    #[test]
    fn sums_are_over_whole_minutes_and_the_hour_is_bounded() {
        let mut minutes = Minutes::default();
        for minute in 0..200 {
            minutes.now(at(minute * 60)).taken += 1;
        }
        let now = at(199 * 60 + 30);
        let over = |seconds| {
            let sums = minutes.sums(Duration::from_secs(seconds), now);
            (sums.all.taken, sums.seconds)
        };
        assert_eq!(over(10), (1, 60));
        assert_eq!(over(300), (5, 300));
        assert_eq!(over(86_400), (60, 3600));
        assert_eq!(minutes.history(now).len(), 60);
        assert!(minutes.0.len() <= 61);
    }

    #[test]
    fn an_hour_without_a_call_is_sixty_empty_minutes() {
        let history = Minutes::default().history(at(0));
        assert_eq!(history.len(), 60);
        assert!(history.iter().all(|minute| minute.taken == 0));
        assert!(
            history
                .windows(2)
                .all(|pair| pair[0].number + 1 == pair[1].number)
        );
    }
}
