//! Everything that needs more than one room, in one binary, so that it is linked once.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stderr,
    clippy::indexing_slicing,
    clippy::string_slice,
    reason = "a test fails by panicking, and its helpers stand outside #[test] functions"
)]

mod connect;
mod headers;
mod intercept;
mod names;
mod phantom;
mod policy;
mod redaction;
mod shutdown;
mod store;
mod support;
mod transparent;
mod tunnel;
