//! When a token may be used: pure arithmetic on instants.
//!
//! Job: from issue, expiry and now, say fresh, due or expired; draw the moment of renewal.
//! Invariants: time is an argument; an expired token is never called anything else; the tolerated clock difference is taken
//! off the end of a life, and never more than a tenth of it, so that a token of seconds is still of use.
//! Failure mode: an absurd life is refused by [`Life::parse`].

use std::time::Duration;

use tokio::time::Instant;

/// The longest life that is believed. LWA says one hour; ten days is somebody's mistake.
const LONGEST: Duration = Duration::from_hours(24);

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

/// `expires_in` is zero or longer than a day.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("a token that lives {0} s is not believed; 1 to 86400 is")]
pub struct AbsurdLife(pub u64);

impl Life {
    /// A life that began at `asked` (when the request for the token was sent, so that its travel counts against it), of
    /// `expires_in` seconds, renewed at the share `refresh_at`, spread by `jitter` (0.0 to 1.0) over the following tenth.
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
        let share = (refresh_at + jitter * 0.1).clamp(0.0, 1.0);
        Ok(Self {
            due: asked + usable.mul_f64(share),
            end: asked + usable,
        })
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

#[cfg(test)]
mod tests {
    use super::*;

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
