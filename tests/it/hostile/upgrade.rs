//! Requests to speak something else from here on: only 101 switches, and none is ever asked for upstream.

use super::attack::{Attack, Meets, Way};
use super::{CANARY, ORDERS};
use crate::support::sidecar::NA;

pub(super) fn attacks() -> Vec<Attack> {
    let get = |fields: &str| format!("GET {ORDERS} HTTP/1.1\r\nHost: {NA}\r\n{fields}\r\n");
    vec![
        Attack::new(
            "an upgrade to WebSocket",
            Way::Http1,
            get(&format!(
                "Connection: upgrade, sec-websocket-key\r\nUpgrade: websocket\r\nSec-WebSocket-Key: {CANARY}\r\n"
            )),
            Meets::Dropped,
        ),
        Attack::new(
            "an upgrade to h2c",
            Way::Http1,
            get(&format!(
                "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: {CANARY}\r\n"
            )),
            Meets::Dropped,
        ),
        Attack::new(
            "an upgrade to h2c whose settings Connection does not name",
            Way::Http1,
            get(&format!(
                "Connection: Upgrade\r\nUpgrade: h2c\r\nHTTP2-Settings: {CANARY}\r\n"
            )),
            Meets::Dropped,
        ),
        Attack::new(
            "an upgrade with a request behind it",
            Way::Http1,
            get("Connection: upgrade\r\nUpgrade: websocket\r\n"),
            Meets::Served,
        ),
    ]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_upgrade_goes_on() {
    super::runner::run(attacks()).await;
}
