//! How many requests are served at once.
//!
//! Job: a bound on them. A connection of HTTP/2 carries a hundred, so that a bound on connections alone would bound no memory.
//! Invariants: the bound is that of connections, so that clients of HTTP/1.1, of whom each has one request under way, are never
//! refused here: for them accepting stops before.
//! Failure mode: `overloaded`, with `Retry-After`; nothing was done then.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::Worker;
use crate::outcome::{Failure, Reason};

/// The requests that are being served, by all cores.
#[derive(Debug)]
pub struct Load {
    serving: AtomicUsize,
    most: usize,
}

impl Load {
    /// At most so many at once.
    #[must_use]
    pub const fn new(most: usize) -> Self {
        Self {
            serving: AtomicUsize::new(0),
            most,
        }
    }
}

/// One request's place among those that are being served; given up when dropped.
#[derive(Debug)]
pub struct Place(Arc<Worker>);

impl Place {
    /// Takes a place.
    ///
    /// # Errors
    /// When all are taken.
    pub fn take(worker: &Arc<Worker>) -> Result<Self, Failure> {
        let Load { serving, most } = &worker.shared.load;
        // the core's own reference, because every core counts references to what they share
        let place = Self(Arc::clone(worker));
        if serving.fetch_add(1, Ordering::Relaxed) < *most {
            return Ok(place);
        }
        Err(Failure::new(
            Reason::Overloaded,
            "The sidecar serves as many requests as it may.",
            format!(
                "Nothing was sent. The bound is listen.limits.max_connections, now {most}: raise it, run another sidecar, or send fewer requests at once over HTTP/2."
            ),
        )
        .retry_after(1))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.shared.load.serving.fetch_sub(1, Ordering::Relaxed);
    }
}
