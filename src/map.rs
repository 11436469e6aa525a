//! The maps that requests look into.
//!
//! Job: one hash function for them: foldhash, which costs a fraction of `SipHash` for keys as short as ours.
//! Invariants: seeded anew in every process; keys are ids, hosts and templates of the configuration, and what is taken from
//! requests is bounded in number by its map, so that nobody can grow a map by choosing keys that collide.
//! Failure mode: none.

/// Hashes for [`Map`], and for what takes a hasher of its own.
pub type Hasher = foldhash::fast::RandomState;

/// A map that a request looks into. Made by `Map::default()`.
pub type Map<K, V> = std::collections::HashMap<K, V, Hasher>;
