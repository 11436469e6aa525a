//! What a downstream handshake waits for: a leaf that is there already, and one that has to be minted.

use spapi_sidecar::tls::leaf::LeafCache;

#[expect(dead_code, reason = "other benches use the rest")]
mod parts;

use parts::{NOW, authority, leaf_host};

fn main() {
    divan::main();
}

/// A key of its own, a certificate, a signature.
#[divan::bench]
fn mint(bencher: divan::Bencher<'_, '_>) {
    let (authority, host) = (authority(), leaf_host());
    bencher.bench(|| authority.mint(&host, NOW).expect("a covered host"));
}

/// The look-up in front of every handshake but the first.
#[divan::bench(threads = [1, 2])]
fn hit(bencher: divan::Bencher<'_, '_>) {
    let cache = LeafCache::new(authority()).expect("ticket keys");
    let host = leaf_host();
    cache.server_config(&host, NOW).expect("a covered host");
    bencher.bench(|| cache.server_config(&host, NOW).expect("a covered host"));
}
