//! What one thread has counted.
//!
//! Job: counters by tenant, and by what there is to a tenant: operations, endings, codes, exchanges.
//! Invariants: counting something seen before allocates nothing and formats nothing: names are looked up as they stand in the
//! record, and numbers are kept as numbers until a scrape; how many tenants and operations are told apart is bounded by
//! [`MOST`], what is beyond it goes by the name `other`.
//! Failure mode: none.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::histogram::Histogram;
use crate::map::Map;
use crate::outcome::Reason;
use crate::telemetry::record::Outcome;

/// Most pairs of tenant and operation that are told apart: a large installation, as in [`crate::telemetry::traffic`].
pub(super) const MOST: usize = 20_000;

/// What is beyond [`MOST`].
const OTHER: &str = "other";

/// What stands where nothing is known: no tenant and no operation is called so.
pub(super) const NONE: &str = "-";

/// How a request ended, as metrics tell endings apart.
pub(super) type Ending = (u16, Outcome);

/// How often a token was needed.
#[derive(Clone, Copy, Default, Debug)]
pub(super) struct Needed {
    /// And was in memory.
    pub(super) waiting: u64,
    /// And had to be waited for.
    pub(super) missing: u64,
}

/// What one thread has counted.
#[derive(Default, Debug)]
pub(super) struct Tally {
    /// By tenant.
    pub(super) tenants: Map<Arc<str>, TenantTally>,
    /// Whole requests.
    pub(super) request: Histogram,
    /// Their time spent here.
    pub(super) overhead: Histogram,
}

/// What was counted of one tenant. Few of a kind are kept in a list: it is searched faster than it is hashed.
#[derive(Default, Debug)]
pub(super) struct TenantTally {
    /// Requests by operation, and by how they ended.
    pub(super) requests: Map<Arc<str>, Vec<(Ending, u64)>>,
    /// Tokens that its requests needed.
    pub(super) needed: Needed,
    /// Answers made here.
    pub(super) refused: Vec<(Reason, u64)>,
    /// 401 and 403 from upstream, by status.
    pub(super) auth_errors: Vec<(u16, u64)>,
    /// Exchanges, by kind and result.
    pub(super) exchanges: Vec<((&'static str, &'static str), u64)>,
    /// 429s, by operation.
    pub(super) throttled: Map<Arc<str>, u64>,
}

impl Tally {
    /// Counts a request; `waiting` says whether its token was in memory.
    pub(super) fn request(
        &mut self,
        tenant: &str,
        operation: &str,
        ending: Ending,
        waiting: Option<bool>,
        pairs: &AtomicUsize,
    ) {
        if let Some(known) = self.tenants.get_mut(tenant) {
            return known.request(operation, ending, waiting, pairs);
        }
        self.tenant(tenant, pairs)
            .request(operation, ending, waiting, pairs);
    }

    /// A tenant's counters; `pairs` counts the pairs of tenant and operation that all threads tell apart.
    pub(super) fn tenant(&mut self, name: &str, pairs: &AtomicUsize) -> &mut TenantTally {
        let name = if !self.tenants.contains_key(name) && pairs.load(Ordering::Relaxed) >= MOST {
            OTHER
        } else {
            name
        };
        entry(&mut self.tenants, name)
    }

    /// Forgets tenants that are not there any more.
    pub(super) fn retain(&mut self, is_there: impl Fn(&str) -> bool, pairs: &AtomicUsize) {
        self.tenants.retain(|name, tally| {
            let stays = **name == *NONE || **name == *OTHER || is_there(name);
            if !stays {
                pairs.fetch_sub(
                    tally.requests.len() + tally.throttled.len(),
                    Ordering::Relaxed,
                );
            }
            stays
        });
    }
}

impl TenantTally {
    fn request(
        &mut self,
        operation: &str,
        ending: Ending,
        waiting: Option<bool>,
        pairs: &AtomicUsize,
    ) {
        match waiting {
            Some(true) => self.needed.waiting += 1,
            Some(false) => self.needed.missing += 1,
            None => {}
        }
        if let Some(endings) = self.requests.get_mut(operation) {
            return bump(endings, ending);
        }
        let operation = admitted(&self.requests, operation, pairs);
        bump(entry(&mut self.requests, operation), ending);
    }

    /// Counts a 429.
    pub(super) fn throttled(&mut self, operation: &str, pairs: &AtomicUsize) {
        let operation = admitted(&self.throttled, operation, pairs);
        *entry(&mut self.throttled, operation) += 1;
    }
}

/// The name under which an operation is counted.
fn admitted<'a, T>(known: &Map<Arc<str>, T>, operation: &'a str, pairs: &AtomicUsize) -> &'a str {
    let operation = if operation.is_empty() {
        NONE
    } else {
        operation
    };
    if known.contains_key(operation) {
        return operation;
    }
    if pairs.fetch_add(1, Ordering::Relaxed) < MOST {
        return operation;
    }
    if known.contains_key(OTHER) {
        pairs.fetch_sub(1, Ordering::Relaxed);
    }
    OTHER
}

/// The entry of a name, made where there is none.
fn entry<'a, T: Default>(map: &'a mut Map<Arc<str>, T>, name: &str) -> &'a mut T {
    if !map.contains_key(name) {
        map.insert(name.into(), T::default());
    }
    map.get_mut(name).expect("it was inserted above")
}

/// Adds one to a counter of a short list.
pub(super) fn bump<K: PartialEq>(list: &mut Vec<(K, u64)>, key: K) {
    match list.iter_mut().find(|(known, _)| *known == key) {
        Some((_, count)) => *count += 1,
        None => list.push((key, 1)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn beyond_the_bound_operations_and_tenants_are_counted_as_other_ones() {
        let (mut tally, pairs) = (Tally::default(), AtomicUsize::new(0));
        let ending = (200, Outcome::Forwarded);
        for n in 0..MOST + 5 {
            tally.request("acme", &format!("/{n}"), ending, None, &pairs);
        }
        tally.request("beta", "/0", ending, None, &pairs);
        let acme = &tally.tenants["acme"].requests;
        assert_eq!(acme.len(), MOST + 1);
        assert_eq!(acme["other"], [(ending, 5)]);
        assert_eq!(tally.tenants["other"].requests["other"], [(ending, 1)]);
        assert!(!tally.tenants.contains_key("beta"));
        tally.request("acme", "/0", ending, None, &pairs);
        assert_eq!(tally.tenants["acme"].requests["/0"], [(ending, 2)]);
    }

    #[test]
    fn a_tenant_that_is_gone_makes_room() {
        let (mut tally, pairs) = (Tally::default(), AtomicUsize::new(0));
        for tenant in ["acme", "beta", NONE] {
            tally.request(tenant, "getOrders", (200, Outcome::Forwarded), None, &pairs);
            tally.tenant(tenant, &pairs).throttled("getOrders", &pairs);
        }
        tally.retain(|name| name == "beta", &pairs);
        let mut left: Vec<&str> = tally.tenants.keys().map(|name| &**name).collect();
        left.sort_unstable();
        assert_eq!(
            (left, pairs.load(Ordering::Relaxed)),
            (vec![NONE, "beta"], 4)
        );
    }
}
