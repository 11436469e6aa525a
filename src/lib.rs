//! A sidecar egress proxy for Amazon's Selling Partner API: programs stay unmodified and hold no credential.
//!
//! # Map
//!
//! Four floors; arrows point down only, and rooms on one floor do not know each other. `tests/architecture.rs` asserts it.
//!
//! * **Composition**: [`app`] is the one file that knows every room; [`cli`] asks a room and prints the answer.
//! * **Floor 3, the walk**: [`proxy`] (CONNECT → interception → admit, authorize, pace, credential, inject, send, return)
//!   and [`admin`] (health, on a listener of its own); [`preflight`] (whether a tenant may be enabled).
//! * **Floor 2, doers**: [`token`], [`pace`], [`store`], [`fleet`], [`roster`], [`tls`], [`upstream`], [`document`], [`onboard`],
//!   [`confine`], [`verdict`] (what is wrong, and what is due), [`audit`] (who read what for whom), [`alert`] (what a person is
//!   told of), [`sandbox`] (the stand-in for Amazon).
//! * **Floor 1, deciding and seeing**: [`policy`], [`telemetry`], [`task`].
//! * **Floor 0, words**: [`catalog`], [`map`], [`name`], [`address`], [`tenant`], [`secret`], [`phantom`], [`outcome`], [`redact`], [`config`].
//!
//! # Invariants
//!
//! * No path to `upstream` except through `Outbound`; no `Outbound` without `Authorized`. Not knowing is refusing: no
//!   expired token, no bare forward, no silent tunnel.
//! * One foreign crate, one room: vaultrs only in `store/vault`, moka only in `token/cache` and `tls/leaf`, YAML only in
//!   `config`. Status codes are chosen only in `proxy/respond`, `proxy/phantom`, `admin` and, as Amazon's, `sandbox`.
//! * Settings deserialise and never serialise; secret types do neither outside their room.
//! * `policy` and floor 0 have no `async`, no I/O, no clock, no logging. A request reads one compiled policy, once.
//! * A token, a secret or a body never reaches a log, a span, a metric label, an error string or an admin page.

pub mod address;
pub mod admin;
pub mod alert;
pub mod app;
pub mod audit;
pub mod catalog;
pub mod cli;
pub mod config;
pub mod confine;
pub mod document;
pub mod fleet;
pub mod map;
pub mod name;
pub mod onboard;
pub mod outcome;
pub mod pace;
pub mod phantom;
pub mod policy;
pub mod preflight;
pub mod proxy;
pub mod redact;
pub mod roster;
pub mod sandbox;
pub mod secret;
pub mod store;
pub mod task;
pub mod telemetry;
pub mod tenant;
pub mod tls;
pub mod token;
pub mod upstream;
pub mod verdict;
