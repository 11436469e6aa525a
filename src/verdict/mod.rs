//! What is wrong, why, and what is due.
//!
//! Job: facts in, verdict out: the one diagnosis of `diagnose`, `/health/authz`, alerts and the console ([`rule`]), in the
//! closed words of [`cause`]; dates that come due ([`due`]); the [`review`] of access; and
//! the [`memory`] of what happened in the last hour.
//! Invariants: no I/O, and time is an argument (the memory is given a clock); nothing here holds a token, a secret or a body.
//! Failure mode: none; what is not known is said to be unknown.
//! What is measured: answers and exchanges of this process, and its token. What is inferred: everything a [`cause::Finding`]
//! says with less than certainty. What is somebody's word: scopes, marketplaces, vendor groups and dates of the configuration.

pub mod cause;
pub mod due;
pub mod facts;
pub mod memory;
pub mod minute;
pub mod recent;
pub mod report;
pub mod review;
pub mod rule;
