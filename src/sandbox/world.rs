//! What one sandbox knows, shared by all its connections.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use aws_lc_rs::hmac;

use super::clock::Clock;
use super::ledger::Ledger;
use super::operation::Operations;
use super::received::Log;
use super::report::Reports;
use super::throttle::Buckets;
use super::trouble::Troubles;

/// The state of a sandbox.
#[derive(Debug)]
pub(super) struct World {
    pub(super) clock: Clock,
    pub(super) expires_in: Duration,
    pub(super) document_expires_in: Duration,
    pub(super) operations: Operations,
    pub(super) ledger: Mutex<Ledger>,
    pub(super) troubles: Mutex<Troubles>,
    pub(super) received: Log,
    pub(super) buckets: Mutex<Buckets>,
    pub(super) reports: Mutex<Reports>,
    /// Signs presigned URLs.
    pub(super) url_key: hmac::Key,
}

/// Locks; a panic elsewhere leaves a list that is still a list.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
