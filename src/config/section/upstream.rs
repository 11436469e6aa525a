//! `upstream`.

use std::path::PathBuf;

use base64::Engine;
use serde_json::{Value, json};

use crate::config::error::{Fault, Wrong};
use crate::config::location::NEXT_HOP;
use crate::config::read::{Kind, List, Section, Shape, Table, Text};
use crate::config::tree::{Content, Node};
use crate::config::value::{
    OneOf, PATH, SOCKET, Span, authority, authority_schema, days, host_name, host_name_schema,
};
use crate::config::{KeyPair, MinTls, Resolver, Trust, Upstream};

/// `upstream`.
pub(super) fn upstream(s: &mut Section<'_>) -> Option<Upstream> {
    let trust = s.or(
        "trust",
        "system",
        &TrustKind,
        "trust anchors: the system's, or exactly those of a file",
    );
    let min_tls = s.or(
        "min_tls",
        "\"1.2\"",
        &OneOf(&[("1.2", MinTls::Tls12), ("1.3", MinTls::Tls13)]),
        "oldest TLS version spoken to an origin",
    );
    let pins = s.or(
        "pins",
        "{}",
        &Table {
            key: host_name,
            key_wanted: "a host",
            key_schema: host_name_schema,
            of: List::set(PIN).at_least_one(),
        },
        "host to pins, of which one has to be in the verified chain",
    );
    let client_cert = s.optional(
        "client_cert",
        &Shape(key_pair),
        "mTLS where a host asks for it",
    );
    let connect_to = s.or(
        "connect_to",
        "{}",
        &Table {
            key: authority,
            key_wanted: "host:port",
            key_schema: authority_schema,
            of: SOCKET,
        },
        "host:port to the address that is dialled instead; exempt from the address check",
    );
    let resolver = s.or(
        "resolver",
        "system",
        &OneOf(&[("system", Resolver::System), ("dns", Resolver::Dns)]),
        "dns skips the hosts file",
    );
    let connect_timeout = s.or(
        "connect_timeout",
        "5s",
        &Span::up_to(days(1)),
        "bound on TCP and TLS set-up",
    );
    let response_timeout = s.or(
        "response_timeout",
        "60s",
        &Span::up_to(days(1)),
        "bound on the wait for a response head",
    );
    let proxy = s.optional("proxy", &NEXT_HOP, "next-hop corporate proxy");
    Some(Upstream {
        trust: trust?,
        min_tls: min_tls?,
        pins: pins?,
        client_cert: client_cert?,
        connect_to: connect_to?,
        resolver: resolver?,
        connect_timeout: connect_timeout?,
        response_timeout: response_timeout?,
        proxy: proxy?,
    })
}

/// A certificate chain and its key.
pub(super) fn key_pair(s: &mut Section<'_>) -> Option<KeyPair> {
    let cert = s.required("cert", &PATH, "certificate chain, PEM");
    let key = s.required("key", &PATH, "private key, PEM");
    Some(KeyPair {
        cert: cert?,
        key: key?,
    })
}

const PIN: Text<[u8; 32]> = Text {
    wanted: "sha256/ and the base64 of 32 bytes",
    schema: || json!({ "type": "string", "pattern": "^sha256/[A-Za-z0-9+/]{43}=$" }),
    parse: |text| {
        text.strip_prefix("sha256/")
            .and_then(|pin| base64::engine::general_purpose::STANDARD.decode(pin).ok())
            .and_then(|pin| pin.try_into().ok())
            .ok_or_else(|| {
                Wrong::new(
                    "~ is not a pin",
                    "write sha256/ and the base64 of the SHA-256 of the key's SPKI, 44 characters",
                )
            })
    },
};

/// `system`, or a file of our own.
struct TrustKind;

const SYSTEM: OneOf<()> = OneOf(&[("system", ())]);

fn ca_file(s: &mut Section<'_>) -> Option<PathBuf> {
    s.required("ca_file", &PATH, "PEM certificates, the only ones trusted")
}

impl Kind for TrustKind {
    type Value = Trust;

    fn read(&self, node: &Node, path: &str, faults: &mut Vec<Fault>) -> Option<Trust> {
        if matches!(node.content, Content::Mapping(_)) {
            return Shape(ca_file).read(node, path, faults).map(Trust::File);
        }
        SYSTEM.read(node, path, faults).map(|()| Trust::System)
    }

    fn schema(&self) -> Value {
        json!({ "anyOf": [SYSTEM.schema(), Shape(ca_file).schema()] })
    }

    fn wanted(&self) -> String {
        "system, or { ca_file: PATH }".to_owned()
    }
}
