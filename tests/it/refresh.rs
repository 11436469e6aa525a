//! Tokens that Amazon refuses, token endpoints that fail, and calls that are throttled: what the client notices of it.

mod answers;
mod endpoint;
mod refused;
mod storm;
mod throttled;
