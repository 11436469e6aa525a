//! What happened lately, in numbers.
//!
//! Job: count over a rolling window; say how fast an error budget is spent.
//! Invariants: pure arithmetic, time is an argument; a fixed amount of memory however much happens; an event leaves the window
//! at most one step (a sixtieth of it) early, and never late. A clock that goes back adds to the newest step.
//! Failure mode: none; counts saturate.
//! Source: Google's SRE workbook, "Alerting on SLOs" (burn rate over two windows).

use std::time::Duration;

/// Steps of a window.
const STEPS: u64 = 60;

/// A rolling count.
#[derive(Clone, Debug)]
pub struct Window {
    step: Duration,
    counts: [u32; 60],
    /// The newest step that was counted in, from the beginning of time.
    newest: u64,
}

impl Window {
    /// Counts over the last `length`.
    #[must_use]
    pub fn new(length: Duration) -> Self {
        Self {
            step: (length / 60).max(Duration::from_millis(1)),
            counts: [0; 60],
            newest: 0,
        }
    }

    /// Counts one at this time.
    pub fn add(&mut self, at: Duration) {
        self.add_many(at, 1);
    }

    /// Counts so many at this time.
    pub fn add_many(&mut self, at: Duration, more: u32) {
        self.advance(at);
        if let Some(count) = self.slot(self.newest) {
            *count = count.saturating_add(more);
        }
    }

    /// How many there are at this time.
    pub fn sum(&mut self, at: Duration) -> u64 {
        self.advance(at);
        self.counts.iter().map(|count| u64::from(*count)).sum()
    }

    fn advance(&mut self, at: Duration) {
        let step = u64::try_from(at.as_nanos() / self.step.as_nanos()).unwrap_or(u64::MAX);
        let passed = step.saturating_sub(self.newest).min(STEPS);
        for n in 1..=passed {
            let gone = step - passed + n;
            if let Some(count) = self.slot(gone) {
                *count = 0;
            }
        }
        self.newest = self.newest.max(step);
    }

    fn slot(&mut self, step: u64) -> Option<&mut u32> {
        self.counts
            .get_mut(usize::try_from(step % STEPS).unwrap_or_default())
    }
}

/// Good and bad over one window.
#[derive(Clone, Debug)]
pub struct Share {
    all: Window,
    bad: Window,
}

impl Share {
    /// Counts over the last `length`.
    #[must_use]
    pub fn new(length: Duration) -> Self {
        Self {
            all: Window::new(length),
            bad: Window::new(length),
        }
    }

    /// Counts one at this time.
    pub fn add(&mut self, at: Duration, is_bad: bool) {
        self.all.add(at);
        if is_bad {
            self.bad.add(at);
        }
    }

    /// Counts so many good ones at this time.
    pub fn add_good(&mut self, at: Duration, more: u32) {
        self.all.add_many(at, more);
    }

    /// How many were bad, of how many.
    pub fn sum(&mut self, at: Duration) -> (u64, u64) {
        (self.bad.sum(at), self.all.sum(at))
    }

    /// How many times faster than allowed the budget of an objective is spent: 1 spends it exactly, 0 where nothing happened.
    pub fn burn(&mut self, at: Duration, objective: f64) -> f64 {
        let (bad, all) = self.sum(at);
        if bad == 0 || all == 0 {
            return 0.0;
        }
        #[expect(
            clippy::cast_precision_loss,
            reason = "counts of a window are far below 2^52"
        )]
        let share = bad as f64 / all as f64;
        // an objective of 100 % has no budget: whatever is spent is too much
        share / (1.0 - objective).max(1e-9)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn s(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn an_event_is_counted_for_the_length_of_the_window_less_at_most_a_step() {
        for (length, at, asked, want) in [
            (300, 0, 0, 1),
            (300, 0, 294, 1),
            (300, 7, 299, 1),
            (300, 0, 300, 0),
            (300, 4, 299, 1),
            (300, 4, 300, 0),
            (300, 5, 304, 1),
            (300, 5, 305, 0),
            (300, 0, 1_000_000, 0),
            (60, 30, 89, 1),
            (60, 30, 90, 0),
        ] {
            let mut window = Window::new(s(length));
            window.add(s(at));
            assert_eq!(window.sum(s(asked)), want, "{length} s: {at} at {asked}");
        }
    }

    #[test]
    fn a_clock_that_goes_back_loses_nothing() {
        let mut window = Window::new(s(60));
        window.add(s(100));
        window.add(s(10));
        assert_eq!(window.sum(s(100)), 2);
        assert_eq!(window.sum(s(10)), 2);
        assert_eq!(window.sum(s(161)), 0);
    }

    #[test]
    fn a_window_counts_as_a_list_of_times_would() {
        let mut window = Window::new(s(60));
        let times: Vec<u64> = (0..400).map(|n| n * n % 397).collect();
        let mut sorted = times;
        sorted.sort_unstable();
        let mut seen: Vec<u64> = Vec::new();
        for at in sorted {
            window.add(s(at));
            seen.push(at);
            let want = seen.iter().filter(|then| at - **then < 60).count();
            assert_eq!(window.sum(s(at)), u64::try_from(want).unwrap(), "at {at}");
        }
    }

    #[test]
    fn the_budget_of_99_9_percent_is_spent_ten_times_too_fast_by_one_in_a_hundred() {
        let mut share = Share::new(s(3600));
        assert!(share.burn(s(0), 0.999).abs() < 1e-9);
        for n in 0..1000 {
            share.add(s(1), n % 100 == 0);
        }
        assert!((share.burn(s(1), 0.999) - 10.0).abs() < 1e-6);
        assert!(share.burn(s(1), 1.0) > 1e6);
        assert!(share.burn(s(9000), 0.999).abs() < 1e-9);
    }
}
