//! Everything that needs more than one room, in one binary, so that it is linked once.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stderr,
    clippy::indexing_slicing,
    reason = "a test fails by panicking, and its helpers stand outside #[test] functions"
)]

mod drain;
mod intercept;
mod store;
mod support;
