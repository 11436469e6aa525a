//! Versions and connections: streams side by side, one version through, connections used again, and their failures.

mod failure;
mod goodbye;
mod pool;
mod version;

use crate::support::peer::Origin;
use crate::support::sidecar::{NA, Setup};

/// The usual world, with an origin of the test's own in SP-API's place.
fn standing_in(origin: &Origin) -> Setup {
    Setup {
        connect_to: vec![origin.stands_for(NA)],
        trusted: origin.pem.clone(),
        ..Setup::default()
    }
}

fn get(target: &str) -> String {
    format!("GET {target} HTTP/1.1\r\nhost: {NA}\r\n\r\n")
}

fn post(target: &str, body: &str) -> String {
    format!(
        "POST {target} HTTP/1.1\r\nhost: {NA}\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )
}
