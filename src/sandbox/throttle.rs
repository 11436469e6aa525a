//! Token buckets, one for each operation and account-application pair.

use std::collections::HashMap;

use tokio::time::Instant;

use super::ledger::{Digest, Token};
use super::operation::Operation;

/// Sandbox endpoints have one plan for all operations.
const SANDBOX_PLAN: (f64, f64) = (5.0, 15.0);

/// Operation, app, selling partner.
type Key = (String, Digest, String);

/// All buckets.
#[derive(Debug, Default)]
pub(super) struct Buckets(HashMap<Key, Bucket>);

#[derive(Debug)]
struct Bucket {
    tokens: f64,
    filled_at: Instant,
}

/// Rate in requests a second, and burst, of an operation; `None` where the catalog knows none.
pub(super) fn plan(operation: &Operation, sandbox: bool) -> Option<(f64, f64)> {
    if sandbox {
        return Some(SANDBOX_PLAN);
    }
    Some((operation.rate?, operation.burst?.max(1.0)))
}

impl Buckets {
    /// Takes one token, if there is one.
    pub(super) fn take(
        &mut self,
        operation: &Operation,
        token: &Token,
        rate: f64,
        burst: f64,
    ) -> bool {
        let partner = token.grant.as_ref();
        let partner = partner.map_or_else(String::new, |grant| grant.selling_partner.clone());
        let name = format!("{}/{}/{}", operation.api, operation.version, operation.path);
        let now = Instant::now();
        let bucket = self.0.entry((name, token.client, partner));
        let bucket = bucket.or_insert(Bucket {
            tokens: burst,
            filled_at: now,
        });
        let passed = now.duration_since(bucket.filled_at).as_secs_f64();
        bucket.tokens = (bucket.tokens + passed * rate).min(burst);
        bucket.filled_at = now;
        if bucket.tokens < 1.0 {
            return false;
        }
        bucket.tokens -= 1.0;
        true
    }
}
