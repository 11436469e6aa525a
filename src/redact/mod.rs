//! What may be shown.
//!
//! Job: heads, paths, queries and foreign texts, cut down to what a log, a refusal or a page may hold.
//! Invariants: an allow-list: what is not known to be harmless is replaced, never passed because nothing forbids it.
//! Everything that leaves here is bounded, printable and on one line.
//! Failure mode: too much is masked; never too little on purpose.

mod head;
mod text;

pub use head::{path, path_kept, query_keys};
pub use text::{looks_secret, text};
