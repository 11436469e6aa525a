//! Bringing a tenant in: the consent of a selling partner, and what has to hold before the tenant is served.
//!
//! Job: [`consent`] makes the link and reads what comes back, [`central`] knows where Amazon's pages are, [`plea`] says in plain
//! words what is asked for and why.
//! Invariants: pure but for randomness; a `state` is good once and for [`consent::WITHIN`]; an authorization code is never
//! shown.
//! Failure mode: [`consent::CallbackError`], each with what to do.
//! Source: SP-API's website authorization workflow and its page of authorization errors; RFC 6749 sections 4.1 and 10.12.

pub mod central;
pub mod consent;
pub mod plea;
