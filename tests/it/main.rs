//! Everything that needs more than one room, in one binary, so that it is linked once.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stderr,
    clippy::indexing_slicing,
    clippy::string_slice,
    reason = "a test fails by panicking, and its helpers stand outside #[test] functions"
)]

mod command;
mod connect;
mod documents;
mod drain;
mod framing;
mod headers;
mod http2;
mod intercept;
mod limits;
mod log;
mod names;
mod next_hop;
mod onboard;
mod phantom;
mod policy;
mod redaction;
mod refresh;
mod reload;
mod restricted;
mod shutdown;
mod start;
mod store;
mod support;
mod transparent;
mod tunnel;
