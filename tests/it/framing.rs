//! Byte-exactness: what a client sends is what arrives, and what an origin answers is what the client gets.

mod ending;
mod field;
mod memory;
mod size;
mod target;
mod turn;

use aws_lc_rs::digest;
use spapi_sidecar::sandbox::noise;

use crate::support::peer::Origin;
use crate::support::sidecar::Setup;

/// Pseudo-random bytes.
fn bytes(seed: u64, length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    noise(seed, 0, &mut bytes);
    bytes
}

/// SHA-256, hexadecimal.
fn sha256(bytes: &[u8]) -> String {
    hex(digest::digest(&digest::SHA256, bytes).as_ref())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The usual world, with an origin of the test's own in SP-API's place.
fn standing_in(origin: &Origin) -> Setup {
    Setup {
        connect_to: vec![origin.stands_for(crate::support::sidecar::NA)],
        trusted: origin.pem.clone(),
        ..Setup::default()
    }
}
