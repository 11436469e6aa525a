//! `listen` and `interception`.

use crate::config::error::Wrong;
use crate::config::read::{List, Section};
use crate::config::value::{Count, OneOf, PATH, SOCKET, Size, Span, days, seconds};
use crate::config::{CaMode, Interception, Limits, Listen, Plaintext, ProxyAuth};

/// `listen`.
pub(super) fn listen(s: &mut Section<'_>) -> Option<Listen> {
    let proxy = s.or(
        "proxy",
        "[\"127.0.0.1:3128\"]",
        &List::of(SOCKET),
        "CONNECT listeners: HTTPS_PROXY=http://127.0.0.1:3128",
    );
    let transparent = s.or(
        "transparent",
        "[]",
        &List::of(SOCKET),
        "raw TLS, the host taken from SNI",
    );
    let admin = s.or(
        "admin",
        "\"127.0.0.1:9902\"",
        &SOCKET,
        "health, metrics, console, actions",
    );
    let admin_token_file = s.or(
        "admin_token_file",
        "/run/spapi-sidecar/admin.token",
        &PATH,
        "created 0600 on first start; every action needs it as a Bearer token",
    );
    let proxy_auth = s.or(
        "proxy_auth",
        "optional",
        &OneOf(&[
            ("optional", ProxyAuth::Optional),
            ("required", ProxyAuth::Required),
        ]),
        "whether callers have to log in to the proxy; required off loopback",
    );
    let plaintext = s.or(
        "plaintext",
        "deny",
        &OneOf(&[("deny", Plaintext::Deny), ("upgrade", Plaintext::Upgrade)]),
        "upgrade: an absolute-form request to an inject host leaves over TLS",
    );
    let limits = s.nested("limits", limits, "bounds on connections and heads");
    let drain_timeout = s.or(
        "drain_timeout",
        "30s",
        &Span::none_to(days(1)),
        "how long SIGTERM waits for what is in flight",
    );
    Some(Listen {
        proxy: proxy?,
        transparent: transparent?,
        admin: admin?,
        admin_token_file: admin_token_file?,
        proxy_auth: proxy_auth?,
        plaintext: plaintext?,
        limits: limits?,
        drain_timeout: drain_timeout?,
    })
}

fn limits(s: &mut Section<'_>) -> Option<Limits> {
    let max_connections = s.or(
        "max_connections",
        "4096",
        &Count {
            least: 1,
            most: 1_000_000,
        },
        "connections beyond which accepting stops",
    );
    let header_bytes = s.or(
        "header_bytes",
        "64KiB",
        &Size {
            least: 1 << 10,
            most: 16 << 20,
        },
        "largest request head",
    );
    let header_timeout = s.or(
        "header_timeout",
        "10s",
        &Span::up_to(days(1)),
        "longest wait for a whole head or a TLS handshake",
    );
    let idle_timeout = s.or(
        "idle_timeout",
        "90s",
        &Span::up_to(days(1)),
        "longest silence on a connection or a tunnel",
    );
    let replay_body = s.or(
        "replay_body",
        "1MiB",
        &Size {
            least: 0,
            most: 1 << 30,
        },
        "request bodies up to this size are kept for the one replay",
    );
    Some(Limits {
        max_connections: usize::try_from(max_connections?).ok()?,
        header_bytes: header_bytes?,
        header_timeout: header_timeout?,
        idle_timeout: idle_timeout?,
        replay_body: replay_body?,
    })
}

/// `interception`.
pub(super) fn interception(s: &mut Section<'_>) -> Option<Interception> {
    let ca = s.nested(
        "ca",
        ca,
        "keys, where they live and how long they are valid",
    );
    let leaf_valid_for = s.or(
        "leaf_valid_for",
        "24h",
        &VALIDITY,
        "how long the certificate of one host is valid",
    );
    let Ca {
        mode,
        cert_path,
        bundle_path,
        valid_for,
    } = ca?;
    Some(Interception {
        mode,
        cert_path,
        bundle_path,
        valid_for,
        leaf_valid_for: leaf_valid_for?,
    })
}

const VALIDITY: Span = Span {
    least: seconds(1),
    most: days(3650),
};

struct Ca {
    mode: CaMode,
    cert_path: std::path::PathBuf,
    bundle_path: std::path::PathBuf,
    valid_for: std::time::Duration,
}

#[derive(Clone, Copy)]
enum Mode {
    Ephemeral,
    File,
}

fn ca(s: &mut Section<'_>) -> Option<Ca> {
    let mode = s.or(
        "mode",
        "ephemeral",
        &OneOf(&[("ephemeral", Mode::Ephemeral), ("file", Mode::File)]),
        "ephemeral: keys in memory only, new at every start; file: created once",
    );
    let cert_path = s.or(
        "cert_path",
        "/run/spapi-sidecar/ca.pem",
        &PATH,
        "where the public root is written: what apps trust",
    );
    let bundle_path = s.or(
        "bundle_path",
        "/run/spapi-sidecar/ca-bundle.pem",
        &PATH,
        "where system roots plus this root are written",
    );
    let key_path = s.optional(
        "key_path",
        &PATH,
        "where the intermediate and its key are kept, mode 0600; mode file only",
    );
    let valid_for = s.or(
        "valid_for",
        "30d",
        &VALIDITY,
        "how long root and intermediate are valid",
    );
    let mode = match (mode?, key_path?) {
        (Mode::Ephemeral, None) => CaMode::Ephemeral,
        (Mode::File, Some(path)) => CaMode::File(path),
        (Mode::Ephemeral, Some(_)) => {
            s.refuse(
                "key_path",
                Wrong::new(
                    "mode ephemeral keeps no key on disk",
                    "write `key_path: null`, or `mode: file`",
                ),
            );
            return None;
        }
        (Mode::File, None) => {
            s.refuse(
                "mode",
                Wrong::new(
                    "mode file needs a place for its key",
                    "add `key_path:` and a path, or write `mode: ephemeral`",
                ),
            );
            return None;
        }
    };
    Some(Ca {
        mode,
        cert_path: cert_path?,
        bundle_path: bundle_path?,
        valid_for: valid_for?,
    })
}
