//! What may be asked of the proxy listener.

use super::ORDERS;
use super::attack::{Attack, Meets, Way};
use crate::support::sidecar::NA;

const BAD: Meets = Meets::Refused(400, "bad_request");
const UNREADABLE: Meets = Meets::RefusedAndClosed(400, "bad_request");
const DENIED: Meets = Meets::Refused(403, "egress_denied");
const PORT: Meets = Meets::Refused(403, "port_denied");
const PLAIN: Meets = Meets::Refused(403, "plaintext_denied");
const LOGIN: Meets = Meets::Refused(407, "proxy_auth_failed");

pub(super) fn attacks() -> Vec<Attack> {
    let mut attacks = connects();
    attacks.extend(plain());
    attacks
}

/// CONNECT to where nobody may go, or in a form that is none.
fn connects() -> Vec<Attack> {
    let mut attacks: Vec<Attack> = [
        ("elsewhere.example:443", DENIED),
        ("169.254.169.254:80", DENIED),
        ("169.254.169.254:443", DENIED),
        ("127.0.0.1:443", DENIED),
        ("[::1]:443", DENIED),
        ("[::ffff:127.0.0.1]:443", BAD),
        ("[::ffff:a9fe:a9fe]:443", BAD),
        ("localhost:443", DENIED),
        ("sellingpartnerapi-na.amazon.com:80", PORT),
        ("sellingpartnerapi-na.amazon.com:22", PORT),
        ("tunnel.example:25", PORT),
        ("sellingpartnerapi-na.amazon.com:0", BAD),
        ("sellingpartnerapi-na.amazon.com", BAD),
        ("sellingpartnerapi-na.amazon.com:", BAD),
        ("sellingpartnerapi-na.amazon.com:65536", BAD),
        ("sellingpartnerapi-na.amazon.com:443/x", UNREADABLE),
        ("sellingpartnerapi-na.amazon.com:443:443", UNREADABLE),
        ("user@sellingpartnerapi-na.amazon.com:443", BAD),
        ("https://sellingpartnerapi-na.amazon.com:443", BAD),
        ("/orders/v0/orders", BAD),
        ("2130706433:443", BAD),
        ("0x7f.1:443", BAD),
        ("017700000001:443", BAD),
        ("127.1:443", BAD),
        ("[fe80::1%25eth0]:443", BAD),
        (
            "sellingpartnerapi-na.amazon.com%00.elsewhere.example:443",
            BAD,
        ),
        ("*.s3.amazonaws.com:443", BAD),
    ]
    .into_iter()
    .map(|(target, meets)| {
        let sends = format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n\r\n");
        Attack::new(format!("`CONNECT {target}`"), Way::Door, sends, meets)
    })
    .collect();
    for (name, fields) in [
        ("CONNECT with a length", "Content-Length: 5\r\n"),
        (
            "CONNECT with a transfer coding",
            "Transfer-Encoding: chunked\r\n",
        ),
        (
            "CONNECT with both",
            "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
        ),
        ("CONNECT with a bare LF", "x: y\n"),
    ] {
        let sends = format!("CONNECT {NA}:443 HTTP/1.1\r\nHost: {NA}:443\r\n{fields}\r\n0\r\n\r\n");
        attacks.push(Attack::new(name, Way::Door, sends, UNREADABLE));
    }
    attacks
}

/// What else may come: a request line, fields, and what they meet; `@` is a good target and `HOST` its host.
const REQUESTS: [(&str, &str, &str, Meets); 9] = [
    (
        "an absolute-form http:// request",
        "GET http://HOST@",
        "",
        PLAIN,
    ),
    (
        "an absolute-form https:// request",
        "GET https://HOST@",
        "",
        PLAIN,
    ),
    (
        "an absolute-form request for the metadata service",
        "GET http://169.254.169.254/latest/meta-data/",
        "",
        DENIED,
    ),
    ("a request for a path of the proxy", "GET @", "", BAD),
    (
        "an upgrade to h2c",
        "GET @",
        "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n",
        BAD,
    ),
    (
        "an upgrade to TLS (RFC 2817)",
        "OPTIONS *",
        "Connection: Upgrade\r\nUpgrade: TLS/1.0\r\n",
        BAD,
    ),
    (
        "a login that cannot be read",
        "CONNECT HOST:443",
        "Proxy-Authorization: Basic %%%\r\n",
        LOGIN,
    ),
    (
        "two logins",
        "CONNECT HOST:443",
        "Proxy-Authorization: Basic YWNtZTp4\r\nProxy-Authorization: Basic YmV0YTp4\r\n",
        LOGIN,
    ),
    (
        "CONNECT to a host that no rule names, with the Host of one that a rule names",
        "CONNECT elsewhere.example:443",
        "",
        DENIED,
    ),
];

fn plain() -> Vec<Attack> {
    let requests = REQUESTS.map(|(name, line, fields, meets)| {
        let line = line.replace('@', ORDERS).replace("HOST", NA);
        let sends = format!("{line} HTTP/1.1\r\nHost: {NA}\r\n{fields}\r\n");
        Attack::new(name, Way::Door, sends, meets)
    });
    let hello = super::hello::Hello::named(NA).bytes();
    let others = [
        (
            "HTTP/2 with prior knowledge",
            super::frames::PREFACE,
            UNREADABLE,
        ),
        ("a ClientHello", &hello, UNREADABLE),
        ("SOCKS5", &[5, 1, 0, b'\r', b'\n', b'\r', b'\n'], UNREADABLE),
        (
            "CONNECT in HTTP/1.0 without Host, to a host that no rule names",
            b"CONNECT elsewhere.example:443 HTTP/1.0\r\n\r\n",
            DENIED,
        ),
    ]
    .map(|(name, sends, meets)| Attack::new(name, Way::Door, sends, meets));
    requests.into_iter().chain(others).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_but_a_connect_for_an_allowed_host_opens_the_door() {
    super::runner::run(attacks()).await;
}
