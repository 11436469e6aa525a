//! What several tests need.

use std::sync::Once;

pub(crate) mod admin;
pub(crate) mod child;
pub(crate) mod cluster;
pub(crate) mod collector;
pub(crate) mod command;
pub(crate) mod draw;
pub(crate) mod fleet;
pub(crate) mod gate;
pub(crate) mod kernel;
pub(crate) mod peer;
pub(crate) mod search;
pub(crate) mod sidecar;
pub(crate) mod vault;
pub(crate) mod wire;

/// Installs the one TLS provider. Every test that makes an HTTP client of its own calls this first.
pub(crate) fn crypto() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        // somebody else may have installed it already: there is only one that it could be
        let _already = rustls::crypto::aws_lc_rs::default_provider().install_default();
    });
}

/// A port of loopback that nobody listens on now.
pub(crate) fn free_port() -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}
