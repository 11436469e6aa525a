//! A hostile program next door: what it may send, and what comes of it.
//!
//! The attacks are data ([`attack::Attack`]): each says what is sent, by which way in, and what it meets. Where it meets a
//! refusal, no byte reaches upstream; whatever it meets, the next good request is served. `tests/HOSTILE.md` is written from
//! the same data.

mod answer;
mod attack;
mod chunk;
mod door;
mod field;
mod flood;
pub(crate) mod frames;
mod framing;
mod hello;
mod http2;
mod line;
mod name;
mod plain;
mod pour;
mod runner;
mod slow;
mod table;
mod target;
mod upgrade;
mod upstream;

/// A call that the routes of the usual world allow.
const ORDERS: &str = "/orders/v0/orders?MarketplaceIds=ATVPDKIKX0DER";

/// What stands in every field that has to be dropped: it must not be found in what reaches upstream.
const CANARY: &str = "canary-of-the-attacker";
