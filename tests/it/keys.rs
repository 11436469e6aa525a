//! Keys of `proxy.yaml` that no other file of these tests is about, each through the front door. `tests/KEYS.md` says which
//! test shows what of every key.

mod interception;
mod listen;
mod login;
mod lwa;
mod party;
mod route;
mod table;
mod telemetry;
mod upstream;
mod vault;

/// A call that every usual world allows.
pub(crate) const ORDERS: &str = "/orders/v0/orders?MarketplaceIds=ATVPDKIKX0DER";
