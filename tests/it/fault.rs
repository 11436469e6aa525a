//! The fault matrix: every peer of a sidecar, away in every way, one after the other.
//!
//! Job: for each peer a process of the binary, with a [`front`] before the peer that spoils what passes. Each row says what
//! the program sees of a call that needs the peer, what is logged, what fires, and that it is over by itself afterwards.
//! Invariants: what can be served without the peer is served meanwhile; the next call after the fault is served; no secret
//! is in anything that can be read. `tests/FAULTS.md` is written from the rows that were carried out.
//! Failure mode: a cell that comes out otherwise fails its peer's test, with what was seen.

mod clock;
mod collector;
mod disk;
mod dns;
mod front;
mod kind;
mod lwa;
mod next_hop;
mod scene;
mod soak;
mod sp_api;
mod store;
mod table;
mod webhook;
