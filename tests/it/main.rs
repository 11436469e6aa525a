//! Everything that needs more than one room, in one binary, so that it is linked once.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stderr,
    clippy::indexing_slicing,
    reason = "a test fails by panicking, and its helpers stand outside #[test] functions"
)]

mod command;
mod drain;
mod headers;
mod intercept;
mod log;
mod next_hop;
mod phantom;
mod policy;
mod redaction;
mod reload;
mod start;
mod store;
mod support;
