//! Data that Amazon has refused to an application, remembered for a while.
//!
//! Job: where a route does without an RDT, spare the Tokens API a question whose answer is known.
//! Invariants: bounded memory; what is remembered expires by itself, so that a role that was added takes effect.
//! Failure mode: what was forgotten is asked again.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::restricted::Resource;

/// How long a refusal is remembered: a role that was added takes effect within that time.
pub(super) const REMEMBERED: Duration = Duration::from_mins(10);

/// Most refusals remembered.
const MOST: usize = 16_384;

/// Refusals by the class of the resource.
#[derive(Debug, Default)]
pub(super) struct Refusals(Mutex<HashMap<Resource, Instant>>);

impl Refusals {
    pub(super) fn remember(&self, resource: &Resource) {
        let now = Instant::now();
        let mut until = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if until.len() >= MOST {
            until.retain(|_, until| now < *until);
        }
        if until.len() < MOST {
            until.insert(resource.class(), now + REMEMBERED);
        }
    }

    pub(super) fn holds(&self, resource: &Resource) -> bool {
        let mut refused = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if refused.is_empty() {
            return false;
        }
        let class = resource.class();
        match refused.get(&class) {
            Some(until) if Instant::now() < *until => true,
            Some(_) => {
                refused.remove(&class);
                false
            }
            None => false,
        }
    }
}
