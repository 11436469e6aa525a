//! Tokens that Amazon refuses, token endpoints that fail, and calls that are throttled: what the client notices of it.

mod endpoint;
mod refused;
mod throttled;
