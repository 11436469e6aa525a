//! Everything that needs more than one room, in one binary, so that it is linked once.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stderr,
    clippy::indexing_slicing,
    reason = "a test fails by panicking, and its helpers stand outside #[test] functions"
)]

mod documents;
mod framing;
mod http2;
mod intercept;
mod limits;
mod refresh;
mod restricted;
mod store;
mod support;
