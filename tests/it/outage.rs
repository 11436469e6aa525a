//! LWA and Vault away, for real: listeners that are closed, processes that are stopped, sealed and started again.

mod cause;
mod expired;
mod grant;
mod ridden;
mod start;
