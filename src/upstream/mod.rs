//! How origins are reached: resolve once, check, dial what was checked, speak HTTP over verified TLS.
//!
//! Job: [`client::Client`] sends one request and streams the answer; [`resolve::Resolver`] turns a name into addresses
//! that may be dialled; [`dial`] makes connections.
//! Invariants: an address that was not checked is never dialled; connections are pooled by authority and HTTP version, one
//! pool for each core; a pooled connection is used only if it is still open; time-outs bound every wait.
//! Failure mode: [`SendError`], a closed list with the side that is to blame.

use crate::address::AddressClass;

pub mod client;
pub mod dial;
pub mod linger;
pub mod plain;
mod pool;
pub mod resolve;
pub mod streamed;

/// Why a request got no answer.
#[derive(Debug, thiserror::Error)]
pub enum SendError {
    /// The name resolves to addresses of a class that is never dialled.
    #[error("every address of the host is of a class that is never dialled ({})", .0.as_str())]
    AddressDenied(AddressClass),
    /// The address is one of our own listeners.
    #[error("the address is one of our own listeners")]
    OwnListener,
    /// The name does not resolve.
    #[error("the host name does not resolve")]
    Resolve(#[source] std::io::Error),
    /// There is no file descriptor for another connection.
    #[error("no file descriptor is left")]
    Exhausted(#[source] std::io::Error),
    /// TCP was refused, reset or timed out, or ended so before TLS stood.
    #[error("no connection")]
    Connect(#[source] std::io::Error),
    /// TLS found fault with the other side, or the other side with us.
    #[error("the TLS handshake failed")]
    Tls(#[source] std::io::Error),
    /// No response head in time.
    #[error("no response head within the bound")]
    ResponseTimeout,
    /// The connection broke before a response head.
    #[error("the connection ended before an answer")]
    Broken(#[source] hyper::Error),
    /// The origin said of each try that it did not process the request.
    #[error("the origin turned the request away")]
    TurnedAway(#[source] hyper::Error),
    /// The client's own body failed while it was being sent.
    #[error("the request body ended early")]
    Body(#[source] hyper::Error),
}
