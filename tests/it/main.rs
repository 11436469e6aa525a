//! Everything that needs more than one room, in one binary, so that it is linked once.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stderr,
    clippy::indexing_slicing,
    clippy::string_slice,
    reason = "a test fails by panicking, and its helpers stand outside #[test] functions"
)]

mod alert;
mod audit;
mod authz;
mod command;
mod connect;
mod crash;
mod diagnose;
mod documents;
mod drain;
mod escape;
mod exhaustion;
mod fault;
mod fleet;
mod framing;
mod handed;
mod headers;
mod health;
mod hostile;
mod http2;
mod intercept;
mod isolation;
mod keys;
mod lease;
mod limits;
mod log;
mod metrics;
mod names;
mod next_hop;
mod onboard;
mod outage;
mod pace;
mod phantom;
mod policy;
mod preflight;
mod redaction;
mod refresh;
mod reload;
mod restricted;
mod review;
mod shutdown;
mod soak;
mod start;
mod store;
mod support;
mod swap;
mod traces;
mod transparent;
mod tunnel;
