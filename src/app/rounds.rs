//! When verdicts are given.
//!
//! Job: on everybody at once and then every hour, and in between on those of whom there is news.
//! Invariants: a wave is one piece of news; news never puts off the hour.

use std::time::Duration;

use tokio::time::Instant;

use crate::verdict::memory::Memory;

/// Between two rounds.
const ROUND: Duration = Duration::from_hours(1);

/// How long news gathers before it is judged.
const GATHER: Duration = Duration::from_secs(2);

/// On whom verdicts are to be given now.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Turn {
    /// On everybody.
    All,
    /// On those whom memory names.
    News,
}

/// The turns.
#[derive(Debug)]
pub(super) struct Rounds {
    next: Instant,
}

impl Default for Rounds {
    fn default() -> Self {
        Self {
            next: Instant::now(),
        }
    }
}

impl Rounds {
    /// Waits for the next turn.
    pub(super) async fn next(&mut self, memory: &Memory) -> Turn {
        let is_due = Instant::now() >= self.next;
        let news = tokio::time::timeout_at(self.next, memory.changed());
        if !is_due && news.await.is_ok() {
            tokio::time::sleep(GATHER).await;
            return Turn::News;
        }
        self.next = Instant::now() + ROUND;
        Turn::All
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::tenant::TenantId;

    #[tokio::test(start_paused = true)]
    async fn everybody_has_a_turn_at_once_and_every_hour_though_nothing_happens() {
        let (memory, mut rounds) = (Memory::default(), Rounds::default());
        for hour in 0..3 {
            let before = Instant::now();
            assert_eq!(rounds.next(&memory).await, Turn::All);
            assert_eq!(before.elapsed() >= ROUND, hour > 0, "{hour}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn news_has_a_turn_once_it_has_gathered_and_puts_off_nobodys_hour() {
        let (memory, mut rounds) = (Memory::default(), Rounds::default());
        let acme = TenantId::parse("acme").unwrap();
        assert_eq!(rounds.next(&memory).await, Turn::All);
        let from = Instant::now();
        loop {
            memory.look_again(&acme);
            memory.look_again(&acme);
            let before = Instant::now();
            if rounds.next(&memory).await == Turn::All {
                break;
            }
            assert!(before.elapsed() >= GATHER);
            assert_eq!(memory.take_changed(), BTreeSet::from([acme.clone()]));
            assert!(from.elapsed() <= ROUND + GATHER, "the hour is over");
        }
    }
}
