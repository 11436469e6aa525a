//! What several tests need.

use std::sync::Once;

pub(crate) mod vault;

/// Installs the one TLS provider. Every test that makes an HTTP client of its own calls this first.
pub(crate) fn crypto() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        rustls::crypto::aws_lc_rs::default_provider()
            .install_default()
            .expect("nobody else installs one");
    });
}
