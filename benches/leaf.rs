//! What a downstream handshake waits for: a leaf that is there already, and one that has to be minted.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use std::time::SystemTime;

use spapi_sidecar::config::CaMode;
use spapi_sidecar::config::Interception;
use spapi_sidecar::name::HostName;
use spapi_sidecar::tls::authority::CertificateAuthority;
use spapi_sidecar::tls::leaf::LeafCache;

fn main() {
    divan::main();
}

const NOW: SystemTime = SystemTime::UNIX_EPOCH;

fn host() -> HostName {
    HostName::parse("sellingpartnerapi-na.amazon.com").expect("a host name")
}

fn authority() -> CertificateAuthority {
    let interception = Interception {
        mode: CaMode::Ephemeral,
        cert_path: PathBuf::new(),
        bundle_path: PathBuf::new(),
        valid_for: Duration::from_hours(720),
        leaf_valid_for: Duration::from_hours(24),
    };
    CertificateAuthority::open(&interception, &[host()], NOW).expect("an authority")
}

/// A key of its own, a certificate, a signature.
#[divan::bench]
fn mint(bencher: divan::Bencher<'_, '_>) {
    let (authority, host) = (authority(), host());
    bencher.bench(|| authority.mint(&host, NOW).expect("a covered host"));
}

/// The look-up in front of every handshake but the first.
#[divan::bench(threads = [1, 2])]
fn hit(bencher: divan::Bencher<'_, '_>) {
    let (cache, host) = (
        LeafCache::new(Arc::new(authority())).expect("ticket keys"),
        host(),
    );
    cache.server_config(&host, NOW).expect("a covered host");
    bencher.bench(|| cache.server_config(&host, NOW).expect("a covered host"));
}
