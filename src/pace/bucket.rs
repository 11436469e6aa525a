//! A token bucket: pure arithmetic on instants.
//!
//! Job: say whether a request may go now, or how long until it may.
//! Invariants: time is an argument; between two moments never more goes out than Amazon's bucket holds plus what the rate adds;
//! what goes out by [`Bucket::take`] arrives at a bucket of Amazon's plan without overflowing it, as long as no request travels
//! longer than [`Plan::tolerated`] than another. A place that is given back is there for the next.
//! Failure mode: a plan that makes no sense is refused by [`Plan::parse`]. A 429 that the plan does not explain is believed at
//! first; a repeat that is taken too soon for it to be true gives half back, so that a wrong guess costs less each time.
//! Source: SP-API's "usage plans and rate limits": a bucket of `burst` tokens, filled at `rate` a second.

use std::time::Duration;

use tokio::time::Instant;

/// By how much the ways of two requests to Amazon may differ, at least, without a bucket there running dry.
const SPREAD: f64 = 0.1;

/// What is lost in adding up fractions.
const GRAIN: f64 = 1e-6;

/// Believable rates: the slowest plan is one request a minute, the fastest known is a hundred a second.
const RATES: std::ops::RangeInclusive<f64> = 0.000_1..=100_000.0;

/// Longest wait that is computed.
const LONGEST: f64 = 86_400.0;

/// A usage plan of Amazon's.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Plan {
    rate: f64,
    burst: f64,
}

/// What one of several sidecars keeps to.
#[derive(Clone, Copy, PartialEq, Debug)]
struct Share {
    rate: f64,
    capacity: f64,
    reserve: f64,
}

impl Plan {
    /// `rate` in requests a second, `burst` in requests. `None` where the rate is not believable.
    #[must_use]
    pub fn parse(rate: f64, burst: f64) -> Option<Self> {
        let burst = if burst.is_finite() {
            burst.clamp(1.0, 1e6)
        } else {
            1.0
        };
        RATES.contains(&rate).then_some(Self { rate, burst })
    }

    /// The same with another rate, where that is believable.
    #[must_use]
    pub fn with_rate(self, rate: f64) -> Option<Self> {
        Self::parse(rate, self.burst)
    }

    /// By how much the ways of two requests may differ before Amazon's bucket, filled by this plan, can run dry.
    #[must_use]
    pub fn tolerated(self) -> Duration {
        Duration::from_secs_f64(self.kept_back() / self.rate)
    }

    /// Tokens that [`Bucket::take`] leaves, so that requests that bunch together on their way do not overflow Amazon's bucket.
    fn kept_back(self) -> f64 {
        (self.rate * SPREAD).max((self.burst - 1.0).min(1.0))
    }

    /// One of `members` equal parts. Where a bucket is too small to keep anything back, requests are spread further apart.
    fn share(self, members: usize) -> Share {
        let spread = (2.0 - self.burst + self.rate * SPREAD).max(1.0);
        #[expect(clippy::cast_precision_loss, reason = "a fleet is no larger than 2^52")]
        let members = members.max(1) as f64;
        Share {
            rate: self.rate / spread / members,
            capacity: ((self.burst - self.kept_back()) / members).max(1.0),
            reserve: self.kept_back() / members,
        }
    }
}

/// What is in a bucket at some moment.
#[derive(Clone, Copy, Debug)]
pub struct Bucket {
    plan: Plan,
    tokens: f64,
    /// What is left of the tokens kept back. Filled last.
    reserve: f64,
    doubted: Option<Doubt>,
    filled: Instant,
}

/// Amazon says that its bucket is empty, where ours is not.
#[derive(Clone, Copy, Debug)]
struct Doubt {
    /// What ours held when Amazon first said so.
    tokens: f64,
    /// When it last said so.
    at: Instant,
}

impl Bucket {
    /// A full one.
    #[must_use]
    pub fn new(plan: Plan, members: usize, now: Instant) -> Self {
        let share = plan.share(members);
        Self {
            plan,
            tokens: share.capacity,
            reserve: share.reserve,
            doubted: None,
            filled: now,
        }
    }

    /// Takes one token.
    ///
    /// # Errors
    /// How long until there is one.
    pub fn take(&mut self, members: usize, now: Instant) -> Result<(), Duration> {
        let share = self.fill(members, now);
        if self.tokens >= 1.0 - GRAIN {
            self.tokens -= 1.0;
            return Ok(());
        }
        Err(until(1.0 - self.tokens, share.rate))
    }

    /// Takes one of those kept back: for whoever would be sent away, and whom Amazon may well serve. The part of one of several
    /// sidecars is mostly less than one, and gives nothing.
    pub fn take_reserve(&mut self, members: usize, now: Instant) -> bool {
        self.fill(members, now);
        let some = self.reserve >= 1.0 - GRAIN;
        if some {
            self.reserve -= 1.0;
        }
        some
    }

    /// How long until whoever stands behind `ahead` others may go.
    #[must_use]
    pub fn wait(&mut self, ahead: usize, members: usize, now: Instant) -> Duration {
        let share = self.fill(members, now);
        #[expect(clippy::cast_precision_loss, reason = "a line is no longer than 2^52")]
        let lacking = ahead as f64 + 1.0 - self.tokens;
        if lacking <= GRAIN {
            return Duration::ZERO;
        }
        until(lacking, share.rate)
    }

    /// Puts a token back that was taken and not used.
    pub fn give_back(&mut self) {
        self.tokens += 1.0;
    }

    /// Amazon says that its bucket is empty: nothing goes out for `pause`, and until there is a token again.
    pub fn drain(&mut self, pause: Duration, members: usize, now: Instant) {
        let share = self.fill(members, now);
        let held = 1.0 - pause.as_secs_f64() * share.rate;
        let tokens = self.doubted.map_or(self.tokens, |before| before.tokens);
        self.doubted = Some(Doubt { tokens, at: now });
        self.tokens = self.tokens.min(held).min(0.0);
        self.reserve = 0.0;
    }

    /// A request that was refused for the quota was repeated and taken. Where Amazon's bucket, had it been empty, could not have
    /// gained a token since, half of what the refusal cast doubt on is believed again.
    pub fn relent(&mut self, members: usize, now: Instant) {
        self.fill(members, now);
        if let Some(doubt) = self.doubted.take()
            && now.saturating_duration_since(doubt.at) < until(1.0, self.plan.rate)
        {
            self.tokens = self.tokens.max(doubt.tokens / 2.0);
        }
    }

    /// Amazon says what its rate is. Whether that changes anything.
    pub fn learn(&mut self, rate: f64, members: usize, now: Instant) -> bool {
        let Some(plan) = self.plan.with_rate(rate) else {
            return false;
        };
        if plan == self.plan {
            return false;
        }
        self.fill(members, now);
        self.plan = plan;
        true
    }

    /// Whether it is full, so that a new one would be the same.
    #[must_use]
    pub fn is_full(&mut self, members: usize, now: Instant) -> bool {
        let share = self.fill(members, now);
        self.tokens >= share.capacity - GRAIN && self.reserve >= share.reserve - GRAIN
    }

    fn fill(&mut self, members: usize, now: Instant) -> Share {
        let share = self.plan.share(members);
        let passed = now.saturating_duration_since(self.filled).as_secs_f64();
        let filled = self.tokens + passed * share.rate;
        self.tokens = filled.min(share.capacity);
        self.reserve = (self.reserve + filled - self.tokens).min(share.reserve);
        if self.tokens >= share.capacity {
            self.doubted = None;
        }
        self.filled = self.filled.max(now);
        share
    }
}

fn until(tokens: f64, rate: f64) -> Duration {
    Duration::from_secs_f64((tokens / rate).clamp(0.0, LONGEST))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn bucket(rate: f64, burst: f64, now: Instant) -> Bucket {
        Bucket::new(Plan::parse(rate, burst).unwrap(), 1, now)
    }

    fn taken_at_once(bucket: &mut Bucket, now: Instant) -> usize {
        (0..1_000)
            .take_while(|_| bucket.take(1, now).is_ok())
            .count()
    }

    #[test]
    fn the_burst_goes_at_once_but_for_one_and_the_rest_at_the_rate() {
        let now = Instant::now();
        for (rate, burst, at_once) in [
            (0.0167, 20.0, 19),
            (0.5, 30.0, 29),
            (1.0, 1.0, 1),
            (2.0, 2.0, 1),
            (10.0, 10.0, 9),
            (80.0, 100.0, 92),
        ] {
            let mut bucket = bucket(rate, burst, now);
            assert_eq!(taken_at_once(&mut bucket, now), at_once, "{rate} {burst}");
            let wait = bucket.wait(0, 1, now);
            assert!(bucket.take(1, now + wait).is_ok(), "{rate} {burst}");
            assert!(bucket.take(1, now + wait).is_err(), "{rate} {burst}");
            assert!(wait.as_secs_f64() <= 1.0 / rate + SPREAD + 1e-3, "{wait:?}");
        }
    }

    #[test]
    fn the_wait_grows_with_those_ahead() {
        let now = Instant::now();
        let mut bucket = bucket(2.0, 10.0, now);
        assert_eq!(taken_at_once(&mut bucket, now), 9);
        let waits = [0, 1, 5].map(|ahead| bucket.wait(ahead, 1, now).as_millis());
        assert_eq!(waits, [500, 1000, 3000]);
    }

    #[test]
    fn a_fleet_divides_rate_and_burst() {
        let now = Instant::now();
        let plan = Plan::parse(10.0, 41.0).unwrap();
        let mut one_of_four = Bucket::new(plan, 4, now);
        let mut at_once = 0;
        while one_of_four.take(4, now).is_ok() {
            at_once += 1;
        }
        assert_eq!(at_once, 10);
        assert_eq!(one_of_four.wait(0, 4, now).as_millis(), 400);
        assert_eq!(one_of_four.wait(0, 1, now).as_millis(), 100);
        assert!(!one_of_four.take_reserve(4, now), "a quarter of one");
    }

    #[test]
    fn a_drained_bucket_is_empty_for_the_pause_and_not_a_moment_longer_than_its_rate_asks() {
        let now = Instant::now();
        for (rate, pause, want) in [(1.0, 5, 5_000), (1.0, 0, 1_100), (0.5, 1, 2_000)] {
            let mut bucket = bucket(rate, if rate < 1.0 { 30.0 } else { 1.0 }, now);
            bucket.drain(SECOND * pause, 1, now);
            let wait = bucket.wait(0, 1, now).as_millis();
            assert!(wait.abs_diff(want) <= 1, "{rate} {pause}: {wait}");
        }
    }

    #[test]
    fn what_is_kept_back_is_for_whoever_would_go_without_and_is_filled_last() {
        let now = Instant::now();
        let mut bucket = bucket(0.5, 20.0, now);
        assert_eq!(taken_at_once(&mut bucket, now), 19);
        assert!(bucket.take_reserve(1, now), "Amazon's bucket holds 20");
        assert!(!bucket.take_reserve(1, now));
        assert!(!bucket.take_reserve(1, now + SECOND * 2));
        let full = now + SECOND * 38;
        assert!(!bucket.take_reserve(1, full));
        assert!(bucket.take_reserve(1, full + SECOND * 2));
    }

    #[test]
    fn half_of_what_a_429_cast_doubt_on_is_believed_again_once_its_repeat_was_taken() {
        let now = Instant::now();
        let mut bucket = bucket(0.0167, 21.0, now);
        bucket.drain(Duration::ZERO, 1, now);
        bucket.drain(Duration::ZERO, 1, now);
        assert!(bucket.take(1, now).is_err());
        assert!(!bucket.take_reserve(1, now));
        bucket.relent(1, now);
        assert_eq!(taken_at_once(&mut bucket, now), 10);
        bucket.relent(1, now);
        assert!(bucket.take(1, now).is_err(), "once for each 429");
    }

    #[test]
    fn a_repeat_that_waited_for_a_token_of_amazons_gives_nothing_back() {
        let now = Instant::now();
        let mut bucket = bucket(0.5, 21.0, now);
        bucket.drain(Duration::ZERO, 1, now);
        bucket.drain(Duration::ZERO, 1, now + SECOND);
        let later = now + SECOND * 3;
        bucket.relent(1, later);
        assert_eq!(taken_at_once(&mut bucket, later), 1, "what the rate added");
        bucket.relent(1, later);
        assert!(bucket.take(1, later).is_err());
    }

    #[test]
    fn a_place_given_back_is_there_again_and_a_learnt_rate_counts_from_now_on() {
        let now = Instant::now();
        let mut bucket = bucket(1.0, 10.0, now);
        assert_eq!(taken_at_once(&mut bucket, now), 9);
        bucket.give_back();
        assert_eq!(taken_at_once(&mut bucket, now), 1);
        assert!(bucket.learn(4.0, 1, now));
        assert!(!bucket.learn(4.0, 1, now));
        assert_eq!(bucket.wait(0, 1, now).as_millis(), 250);
        for absurd in [0.0, -1.0, f64::NAN, f64::INFINITY, 1e9] {
            assert!(!bucket.learn(absurd, 1, now), "{absurd}");
        }
    }

    #[test]
    fn a_repeat_after_as_long_as_amazons_bucket_needs_for_a_token_gives_nothing_back() {
        let now = Instant::now();
        let mut bucket = bucket(0.5, 21.0, now);
        bucket.drain(Duration::ZERO, 1, now);
        let later = now + SECOND * 2;
        bucket.relent(1, later);
        assert_eq!(taken_at_once(&mut bucket, later), 1, "what the rate added");
    }

    #[test]
    fn a_bucket_is_full_where_neither_a_token_nor_one_kept_back_is_missing() {
        let now = Instant::now();
        let mut bucket = bucket(1.0, 3.0, now);
        assert!(bucket.is_full(1, now));
        assert!(bucket.take_reserve(1, now));
        assert!(!bucket.is_full(1, now), "one kept back is missing");
        assert!(bucket.is_full(1, now + SECOND));
        assert!(bucket.take(1, now + SECOND).is_ok());
        assert!(!bucket.is_full(1, now + SECOND), "a token is missing");
        assert!(bucket.is_full(1, now + SECOND * 2));
    }

    #[test]
    fn ways_may_differ_by_what_is_kept_back_and_by_a_tenth_of_a_second_at_least() {
        for (rate, burst, want) in [
            (0.5, 30.0, 2_000),
            (1.0, 1.0, 100),
            (1.0, 1.5, 500),
            (80.0, 100.0, 100),
        ] {
            let tolerated = Plan::parse(rate, burst).unwrap().tolerated();
            assert_eq!(tolerated.as_millis(), want, "{rate} {burst}");
        }
    }

    /// Amazon's side: whether a bucket of the plan takes requests that arrive at these moments.
    fn takes_all(rate: f64, burst: f64, arrivals: &[f64]) -> bool {
        let (mut tokens, mut filled) = (burst, 0.0);
        arrivals.iter().all(|at| {
            tokens = f64::min(tokens + (at - filled) * rate, burst);
            filled = *at;
            tokens -= 1.0;
            tokens >= -1e-3
        })
    }

    proptest! {
        #[test]
        fn what_goes_by_a_plan_never_runs_amazons_bucket_dry_although_ways_differ(
            (rate, burst) in (0.05_f64..50.0, 1_u32..60),
            asks in prop::collection::vec((0.0_f64..3.0, 0.0_f64..1.0), 1..200),
        ) {
            let plan = Plan::parse(rate, f64::from(burst)).unwrap();
            let start = Instant::now();
            let mut bucket = Bucket::new(plan, 1, start);
            let tolerated = plan.tolerated().as_secs_f64();
            let (mut clock, mut arrivals) = (0.0, Vec::new());
            for (pause, way) in asks {
                clock += pause / rate;
                let mut now = start + Duration::from_secs_f64(clock);
                if let Err(wait) = bucket.take(1, now) {
                    now += wait;
                    clock = (now - start).as_secs_f64();
                    prop_assert!(bucket.take(1, now).is_ok(), "the wait is enough");
                }
                arrivals.push(clock + way * tolerated);
            }
            arrivals.sort_by(f64::total_cmp);
            prop_assert!(takes_all(rate, f64::from(burst), &arrivals));
        }

        #[test]
        fn a_clock_that_stands_or_runs_back_adds_nothing(back in 0_u64..10_000) {
            let now = Instant::now() + Duration::from_secs(100);
            let mut bucket = bucket(5.0, 5.0, now);
            let _all = taken_at_once(&mut bucket, now);
            prop_assert!(bucket.take(1, now - Duration::from_millis(back)).is_err());
            prop_assert!(bucket.take(1, now).is_err());
        }
    }
}
