//! A lease that is ours, and how it ends.
//!
//! Job: commit a token, or give the lease up.
//! Invariants: every write names the version that was read last and is repeated only while the record still bears our nonce;
//! whoever took over in between is never written over.
//! Failure mode: a commit goes on until the process ends; giving up is tried a few times, since the lease ends by itself.

use std::sync::Arc;
use std::time::SystemTime;

use tokio::time::Instant;

use super::record::{Failure, Nonce, Shared, TokenRecord};
use crate::store::{Expect, GrantStore, RecordKey, StoreError};
use crate::token::Cause;
use crate::token::desk::pause_after;
use crate::token::settle::Pauses;

/// How often giving a lease up is tried.
const RELEASES: u32 = 3;

/// A lease that is ours.
pub(super) struct Held {
    store: Arc<dyn GrantStore>,
    place: RecordKey,
    /// As it was written with our lease in it.
    record: TokenRecord,
    nonce: Nonce,
    since: Instant,
}

/// How a write that ends a lease came out.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Outcome {
    /// The record holds it.
    Written,
    /// Somebody else has taken over: what is there counts.
    Fenced,
    /// It is not known, or the store did not take it.
    Unknown,
}

impl Held {
    /// `record` is what was written or read with our lease in it, `since` the moment before it was written.
    pub(super) const fn new(
        store: Arc<dyn GrantStore>,
        place: RecordKey,
        record: TokenRecord,
        nonce: Nonce,
        since: Instant,
    ) -> Self {
        Self {
            store,
            place,
            record,
            nonce,
            since,
        }
    }

    pub(super) const fn since(&self) -> Instant {
        self.since
    }

    /// The generation of the token that this lease is for. Never one that was taken before, although somebody may have begun
    /// the record anew.
    pub(super) fn next_generation(&self, taken: u64) -> u64 {
        self.record.generation.max(taken) + 1
    }

    /// What the fleet is to hear of a failed exchange: nothing where the store was its cause, which everybody finds out alone.
    pub(super) fn failure(&self, cause: &Cause, wall: SystemTime) -> Option<Failure> {
        if matches!(cause, Cause::Store(_) | Cause::Interrupted) {
            return None;
        }
        let before = self.record.failure.as_ref();
        let before = before.map_or(0, |failure| failure.failures);
        Some(Failure {
            word: cause.as_str().to_owned(),
            failures: before.saturating_add(1),
            retry_at: wall + pause_after(before, rand::random()),
        })
    }

    /// Puts the token into the record and ends the lease.
    pub(super) async fn commit(mut self, generation: u64, token: Shared) -> Outcome {
        self.record.generation = generation;
        self.record.token = Some(token);
        self.record.lease = None;
        self.record.failure = None;
        let mut pauses = Pauses::new();
        loop {
            match self.write_once().await {
                Outcome::Unknown => pauses.pause().await,
                Outcome::Fenced => {
                    tracing::warn!(record = %self.place, generation, "another sidecar took over while this one exchanged: its token counts");
                    return Outcome::Fenced;
                }
                Outcome::Written => return Outcome::Written,
            }
        }
    }

    /// Ends the lease without a token.
    pub(super) async fn release(mut self, failure: Option<Failure>) {
        self.record.lease = None;
        self.record.failure = failure;
        let mut pauses = Pauses::new();
        for _ in 0..RELEASES {
            match self.write_once().await {
                Outcome::Unknown => pauses.pause().await,
                Outcome::Fenced | Outcome::Written => return,
            }
        }
        tracing::warn!(record = %self.place, "the lease was not given up; it ends by itself");
    }

    /// One try; where it is refused or its outcome is not known, a look at the record says what to write over next.
    async fn write_once(&mut self) -> Outcome {
        let fields = self.record.fields();
        let expect = Expect::Version(self.record.version);
        let Err(error) = self.store.write(&self.place, fields, expect).await else {
            return Outcome::Written;
        };
        let found = self.store.read(&self.place).await;
        match found
            .as_ref()
            .map(|found| found.as_ref().map(TokenRecord::read))
        {
            Ok(Some(found)) if found.is_held_by(&self.nonce) => {
                self.record.version = found.version;
                if !matches!(error, StoreError::Conflict(_)) {
                    tracing::warn!(record = %self.place, %error, "the shared token record could not be written; trying again");
                }
                Outcome::Unknown
            }
            // our own write, of which the answer was lost
            Ok(Some(found)) if found.is_as_written(&self.record) => Outcome::Written,
            Ok(_) => Outcome::Fenced,
            Err(reading) => {
                tracing::warn!(record = %self.place, %error, %reading, "the shared token record could not be written; trying again");
                Outcome::Unknown
            }
        }
    }
}
