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
//! * **Floor 1, deciding, seeing, keeping**: [`policy`], [`telemetry`], [`task`], [`durable`] (files that are whole or not there).
//! * **Floor 0, words**: [`catalog`], [`map`], [`name`], [`address`], [`tenant`], [`secret`], [`phantom`], [`outcome`], [`redact`], [`config`].
//!
//! # How a request walks
//!
//! [`proxy::listen`] accepts on the core that will serve it → [`proxy::connect`] reads CONNECT and its login, and asks
//! [`policy`] for the host's mode → [`proxy::intercept`] checks the ClientHello's name, takes a leaf from [`tls::leaf`], and lets
//! hyper serve what is inside → [`proxy::request`] is the table of contents of the rest: `head::admit` (one host, one target, no
//! credential of the program's), whose request it is, whether that tenant is served ([`fleet`], [`roster`]), [`policy`], [`audit`],
//! [`pace`], [`token`], `head::inject`, `send`, and back. [`telemetry::record`] goes along, and its end is the access line, the
//! metrics, the alerts and the verdict's memory, told once as an [`Event`](telemetry::event::Event). A refusal anywhere is a
//! [`Failure`](outcome::Failure) with what to do; its status is chosen in [`proxy::respond`].
//!
//! # Threads
//!
//! One current-thread runtime for each core, with its own listeners and its own pool of upstream connections: a request never
//! changes threads. One more runtime, `control`, runs everything else: the store, exchanges, leases, the admin listener, rounds.
//! A thread writes the log, one writes the audit, one watches the configuration file. What they share is read without a lock
//! (`World` behind an `ArcSwap`, replaced as a whole by a reload) or under a lock that is held for moments.
//!
//! # The life of a token
//!
//! A grant (refresh token) comes into the [`store`] by `authorize` or `tenant put-token`, sealed. The first call, or the start,
//! asks [`token::cache`]; a miss is one exchange in a task of its own, under a lease where a fleet shares the store
//! ([`token::lease`]); the answer is written to the store for the others, and to memory. It is renewed at half of its life,
//! refused when Amazon refuses it, dropped by a kill, never sent past its end ([`token::lifetime`]).
//!
//! # Where to add things
//!
//! A command: a file in [`cli`], and the room that it asks. A key of `proxy.yaml`: its declaration in [`config`], from which reader
//! and schema both come, and a row in `tests/KEYS.md`. A reason to refuse: [`outcome::Reason`], and its status in
//! [`proxy::respond`]. Something that happens: an [`Event`](telemetry::event::Event); observers are registered in [`app`] alone. A
//! new room: its floor in `tests/architecture.rs`.
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
pub mod durable;
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
