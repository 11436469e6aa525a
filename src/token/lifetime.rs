//! When a token may be used: pure arithmetic on instants.
//!
//! Job: from issue, expiry and now, say fresh, due or expired; draw the moment of renewal.
//! Invariants: time is an argument; an expired token is never called anything else; the tolerated clock difference is taken
//! off the end of a life, and never more than a tenth of it, so that a token of seconds is still of use.
//! Failure mode: an absurd life is refused by [`Life::parse`].

use std::time::Duration;

use tokio::time::Instant;

use crate::tenant::TenantId;

/// The longest life that is believed. LWA says one hour; ten days is somebody's mistake.
const LONGEST: Duration = Duration::from_hours(24);

/// Pause between two looks at an idle tenant's token, at least: a token that lives a second must not spin.
pub const SHORTEST_LOOK: Duration = Duration::from_millis(200);

/// And at most: a tenant that a reload took away is noticed by then.
pub const LONGEST_LOOK: Duration = Duration::from_mins(5);

/// Share of a usable life over which renewals are spread. An exchange takes a fifth of a second, and this of an hour is six
/// minutes: of a thousand sidecars the first has renewed the token before the second looks, as a rule.
const SPREAD: f64 = 0.1;

/// Share of the proven rest of a life after which a token is renewed whose age nobody can tell.
const LATEST_RENEWAL: f64 = 0.9;

/// A fleet that starts all at once asks LWA for no more than this many tenants' tokens a second.
const FIRST_LOOKS_A_SECOND: u32 = 100;

/// Longest that a standing tenant waits for its first token, whatever the number of tenants.
const LONGEST_START: Duration = Duration::from_secs(30);

/// Spread of the first looks of many sidecars at one record, where tokens are shared: a thousand of them then read it five
/// hundred times a second, one or two at a time. (`OpenBao`'s KV engine may lock up at 64 reads of one key at a time.)
const FIRST_LOOK_SPREAD: Duration = Duration::from_secs(2);

/// What a token is at some moment.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum State {
    /// Usable.
    Fresh,
    /// Usable, and to be renewed now.
    Due,
    /// Unusable.
    Expired,
}

/// The three moments of a token's life.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Life {
    /// When it is to be renewed.
    pub due: Instant,
    /// When it stops being usable.
    pub end: Instant,
}

/// What is known of the life of a token that another sidecar got.
///
/// Its end stands in the record by that sidecar's wall clock, and the two clocks may differ. So what the wall clocks say is
/// believed only between two bounds that need no clock but our own: the token lives no longer than its whole life from now
/// on, and, where we saw the record before the token was in it, no shorter than its whole life from then on. Where the wall
/// clocks say that it lives longer than its whole life, they disagree for certain, and the lower bound alone counts: not
/// knowing is refusing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Told {
    /// Its whole life, as LWA said it.
    pub whole: Duration,
    /// What is left of it by the wall clocks: their end less our now.
    pub claimed: Duration,
    /// How long ago we saw that the token did not exist yet; `None` where we never did.
    pub unborn: Option<Duration>,
}

impl Told {
    /// Whether the wall clocks agree, within what is tolerated, with what our own clock proves.
    #[must_use]
    pub fn agrees(self, skew: Duration) -> bool {
        self.claimed <= self.whole + skew && self.claimed + skew >= self.proven()
    }

    fn proven(self) -> Duration {
        self.unborn
            .map_or(Duration::ZERO, |ago| self.whole.saturating_sub(ago))
    }

    /// What is left of the life, before the tolerated difference between the clocks is taken off.
    fn left(self, skew: Duration) -> Duration {
        let proven = self.proven();
        if self.claimed > self.whole + skew {
            proven
        } else {
            self.claimed.clamp(proven, self.whole)
        }
    }
}

/// `expires_in` is zero or longer than a day.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("a token that lives {0} s is not believed; 1 to 86400 is")]
pub struct AbsurdLife(pub u64);

impl Life {
    /// A life that began at `asked` (when the request for the token was sent, so that its travel counts against it), of
    /// `expires_in` seconds, renewed at the share `refresh_at`, spread by `jitter` (0.0 to 1.0) over [`SPREAD`] from there on.
    ///
    /// # Errors
    /// When `expires_in` is absurd.
    pub fn parse(
        asked: Instant,
        expires_in: u64,
        refresh_at: f64,
        skew: Duration,
        jitter: f64,
    ) -> Result<Self, AbsurdLife> {
        let life = Duration::from_secs(expires_in);
        if life.is_zero() || life > LONGEST {
            return Err(AbsurdLife(expires_in));
        }
        let usable = life - skew.min(life / 10);
        let share = (refresh_at + jitter * SPREAD).clamp(0.0, 1.0);
        Ok(Self {
            due: asked + usable.mul_f64(share),
            end: asked + usable,
        })
    }

    /// The life of a token that another sidecar got and wrote down, read at `now`; drawn as in [`Life::parse`].
    ///
    /// # Errors
    /// When its whole life is absurd.
    pub fn told(
        now: Instant,
        told: Told,
        refresh_at: f64,
        skew: Duration,
        jitter: f64,
    ) -> Result<Self, AbsurdLife> {
        let left = told.left(skew);
        let age = told.whole - left;
        // `now - age` may lie before this machine was started, and then is no instant
        let fresh = Self::parse(now, told.whole.as_secs(), refresh_at, skew, jitter)?;
        let later = |at: Instant| now + (at - now).saturating_sub(age);
        let end = later(fresh.end);
        // whoever must believe it to be older than it may be does not renew it all the sooner: that would be an exchange for
        // every look of a sidecar whose clock is wrong
        let due = if told.agrees(skew) {
            later(fresh.due)
        } else {
            fresh.due.min(now + (end - now).mul_f64(LATEST_RENEWAL))
        };
        Ok(Self { due, end })
    }

    /// How long whoever keeps the token warm may leave it alone: until it is due; once it is (a renewal is under way, or
    /// failed and pauses), an eighth of what is left of its life.
    #[must_use]
    pub fn until_next_look(&self, now: Instant) -> Duration {
        let pause = match self.state(now) {
            State::Fresh => self.due.saturating_duration_since(now),
            State::Due => self.end.saturating_duration_since(now) / 8,
            State::Expired => Duration::ZERO,
        };
        pause.clamp(SHORTEST_LOOK, LONGEST_LOOK)
    }

    /// What the token is now.
    #[must_use]
    pub fn state(&self, now: Instant) -> State {
        if now >= self.end {
            State::Expired
        } else if now >= self.due {
            State::Due
        } else {
            State::Fresh
        }
    }
}

/// When the token of a standing tenant is first looked at, after a start: by its name, the same in every sidecar, so that a
/// fleet that starts at once does not ask LWA for all tenants' tokens at once; and, where tokens are shared, spread by `draw`
/// (0.0 to 1.0), so that it does not read one record at once either. A request does not wait for it.
#[must_use]
pub fn first_look(tenant: &TenantId, tenants: usize, shared: bool, draw: f64) -> Duration {
    let tenants = u32::try_from(tenants.saturating_sub(1)).unwrap_or(u32::MAX);
    let whole = (Duration::from_secs(1) / FIRST_LOOKS_A_SECOND)
        .saturating_mul(tenants)
        .min(LONGEST_START);
    // FNV-1a
    let hash = tenant.as_str().bytes().fold(0x811c_9dc5_u32, |hash, byte| {
        (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193)
    });
    let place = whole.mul_f64(f64::from(hash) / f64::from(u32::MAX));
    if shared {
        place + FIRST_LOOK_SPREAD.mul_f64(draw)
    } else {
        place
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    impl Life {
        fn not_before(self, now: Instant) -> Self {
            Self {
                due: self.due.max(now),
                end: self.end.max(now),
            }
        }
    }

    #[test]
    fn a_life_has_a_fresh_part_a_due_part_and_an_end() {
        let born = Instant::now();
        let life = Life::parse(born, 3600, 0.5, Duration::from_secs(30), 0.0).unwrap();
        for (after, want) in [
            (0, State::Fresh),
            (1784, State::Fresh),
            (1785, State::Due),
            (3569, State::Due),
            (3570, State::Expired),
            (9999, State::Expired),
        ] {
            assert_eq!(
                life.state(born + Duration::from_secs(after)),
                want,
                "after {after} s"
            );
        }
    }

    #[test]
    fn a_life_of_one_second_is_still_of_use() {
        let born = Instant::now();
        let life = Life::parse(born, 1, 0.5, Duration::from_secs(30), 1.0).unwrap();
        assert_eq!(life.state(born + Duration::from_millis(100)), State::Fresh);
        assert_eq!(life.state(born + Duration::from_millis(600)), State::Due);
        assert_eq!(
            life.state(born + Duration::from_millis(900)),
            State::Expired
        );
    }

    #[test]
    fn what_is_told_is_believed_only_as_far_as_our_own_clock_bears_it_out() {
        let seconds = Duration::from_secs;
        for (what, claimed, unborn, left) in [
            ("clocks that agree", 3000, None, 3000),
            ("just issued", 3600, None, 3600),
            (
                "a clock that differs by what is tolerated",
                3630,
                None,
                3600,
            ),
            ("a clock that is an hour ahead", 7200, None, 0),
            ("the same, seen to be new", 7200, Some(100), 3500),
            ("over, they say", 0, None, 0),
            ("over, they say, but seen to be new", 0, Some(600), 3000),
            ("older than what we saw", 3000, Some(3000), 3000),
            (
                "seen to be unborn longer ago than it lives",
                10,
                Some(9999),
                10,
            ),
        ] {
            let told = Told {
                whole: seconds(3600),
                claimed: seconds(claimed),
                unborn: unborn.map(seconds),
            };
            assert_eq!(told.left(seconds(30)), seconds(left), "{what}");
        }
    }

    #[test]
    fn clocks_agree_where_they_differ_from_what_is_proven_by_what_is_tolerated() {
        let seconds = Duration::from_secs;
        for (claimed, unborn, want) in [
            (3630, None, true),
            (3631, None, false),
            (0, None, true),
            (2970, Some(600), true),
            (2969, Some(600), false),
            (3631, Some(600), false),
        ] {
            let told = Told {
                whole: seconds(3600),
                claimed: seconds(claimed),
                unborn: unborn.map(seconds),
            };
            assert_eq!(told.agrees(seconds(30)), want, "{claimed} {unborn:?}");
        }
    }

    #[test]
    fn a_token_of_a_wrong_clock_is_renewed_as_a_new_one_or_late_in_what_is_proven() {
        let now = Instant::now();
        let seconds = Duration::from_secs;
        for (unborn, due, end) in [(100, 1785, 3470), (3000, 513, 570)] {
            let told = Told {
                whole: seconds(3600),
                claimed: seconds(7200),
                unborn: Some(seconds(unborn)),
            };
            let life = Life::told(now, told, 0.5, seconds(30), 0.0).unwrap();
            let want = Life {
                due: now + seconds(due),
                end: now + seconds(end),
            };
            assert_eq!(life, want, "seen to be unborn {unborn} s ago");
        }
    }

    #[test]
    fn renewal_is_drawn_from_a_tenth_of_the_life_that_begins_at_the_configured_share() {
        let born = Instant::now();
        for (jitter, due) in [(0.0, 500), (0.5, 550), (1.0, 600)] {
            let life = Life::parse(born, 1000, 0.5, Duration::ZERO, jitter).unwrap();
            assert_eq!(life.due, born + Duration::from_secs(due), "{jitter}");
        }
    }

    #[test]
    fn a_life_that_is_told_ends_when_the_one_at_its_source_does() {
        let asked = Instant::now();
        let skew = Duration::from_secs(30);
        for whole in [1, 2, 60, 3600, 86_400] {
            let source = Life::parse(asked, whole, 0.5, skew, 0.3).unwrap();
            for share in [0.0, 0.1, 0.4, 0.7, 1.0] {
                let age = Duration::from_secs(whole).mul_f64(share);
                let whole = Duration::from_secs(whole);
                let told = Told {
                    whole,
                    claimed: whole - age,
                    unborn: None,
                };
                let now = asked + age;
                let life = Life::told(now, told, 0.5, skew, 0.3).unwrap();
                assert_eq!(life.state(now), source.state(now), "{whole:?} {share}");
                assert!(life.end <= source.end.max(now), "{whole:?} {share}");
                if life.end > now {
                    assert_eq!(life, source.not_before(now), "{whole:?} {share}");
                }
                // the same where a clock is a year off, except that the end may have to come sooner
                for claimed in [Duration::ZERO, Duration::from_hours(8760)] {
                    let unborn = Some(age.mul_f64(1.5));
                    let told = Told {
                        claimed,
                        unborn,
                        ..told
                    };
                    let life = Life::told(now, told, 0.5, skew, 0.3).unwrap();
                    assert!(life.due <= life.end && life.end <= source.end.max(now));
                }
            }
        }
    }

    #[test]
    fn a_token_that_is_kept_warm_is_looked_at_when_it_is_due_and_then_more_and_more_often() {
        let born = Instant::now();
        let life = Life::parse(born, 800, 0.5, Duration::ZERO, 0.0).unwrap();
        for (after, pause) in [
            (0, 300_000),
            (200, 200_000),
            (400, 50_000),
            (720, 10_000),
            (799, 200),
            (900, 200),
        ] {
            let now = born + Duration::from_secs(after);
            let pause = Duration::from_millis(pause);
            assert_eq!(life.until_next_look(now), pause, "after {after} s");
        }
    }

    #[test]
    fn first_looks_are_spread_evenly_and_the_same_in_every_sidecar() {
        let id = |n: usize| TenantId::parse(&format!("seller-{n}")).unwrap();
        assert_eq!(first_look(&id(7), 1, false, 1.0), Duration::ZERO);
        let one = first_look(&id(7), 1, true, 0.5);
        assert_eq!(one, FIRST_LOOK_SPREAD / 2);
        let mut in_second = [0; 10];
        for n in 0..1000 {
            let at = first_look(&id(n), 1000, false, 0.0);
            assert_eq!(at, first_look(&id(n), 1000, false, 1.0));
            in_second[usize::try_from(at.as_secs()).unwrap().min(9)] += 1;
        }
        assert!(in_second.iter().all(|n| *n < 150), "{in_second:?}");
        assert!(first_look(&id(1), 1_000_000, true, 1.0) <= LONGEST_START + FIRST_LOOK_SPREAD);
    }

    #[test]
    fn an_absurd_life_is_refused() {
        for absurd in [0, 86_401, u64::MAX] {
            assert_eq!(
                Life::parse(Instant::now(), absurd, 0.5, Duration::ZERO, 0.0),
                Err(AbsurdLife(absurd))
            );
        }
        assert!(Life::parse(Instant::now(), 86_400, 0.5, Duration::ZERO, 0.0).is_ok());
    }
}
