//! Hosts that disagree with the connection, and pseudo-fields.

use super::ORDERS;
use super::attack::{Attack, Meets, Way};
use super::frames::{END_STREAM, head};
use crate::support::sidecar::NA;

const BAD: Meets = Meets::Refused(400, "bad_request");
const MISDIRECTED: Meets = Meets::Refused(421, "name_mismatch");

pub(super) fn attacks() -> Vec<Attack> {
    let mut attacks = hosts();
    attacks.extend(authorities());
    attacks.extend(pseudo_fields());
    attacks
}

/// What may stand in Host.
fn hosts() -> Vec<Attack> {
    let mut attacks: Vec<Attack> = [
        ("sellingpartnerapi-eu.amazon.com", MISDIRECTED),
        ("api.amazon.com", MISDIRECTED),
        ("169.254.169.254", MISDIRECTED),
        ("127.0.0.1", MISDIRECTED),
        ("", MISDIRECTED),
        ("sellingpartnerapi-na.amazon.com:444", MISDIRECTED),
        ("sellingpartnerapi-na.amazon.com:80", MISDIRECTED),
        ("sellingpartnerapi-na.amazon.com:443:443", MISDIRECTED),
        (
            "sellingpartnerapi-na.amazon.com.elsewhere.example",
            MISDIRECTED,
        ),
        (
            "elsewhere.example#sellingpartnerapi-na.amazon.com",
            MISDIRECTED,
        ),
        ("user@sellingpartnerapi-na.amazon.com", MISDIRECTED),
        (
            "sellingpartnerapi-na.amazon.com@elsewhere.example",
            MISDIRECTED,
        ),
        (
            "sellingpartnerapi-na.amazon.com, elsewhere.example",
            MISDIRECTED,
        ),
        (
            "sellingpartnerapi-na.amazon.com elsewhere.example",
            MISDIRECTED,
        ),
        ("sellingpartnerapi-na.amazon.com/orders", MISDIRECTED),
        ("sellingpartnerapi-na%2eamazon.com", MISDIRECTED),
        ("sellingpartnerapi-na.amazon.com..", MISDIRECTED),
        ("ｓellingpartnerapi-na.amazon.com", MISDIRECTED),
    ]
    .into_iter()
    .map(|(host, meets)| {
        let sends = format!("GET {ORDERS} HTTP/1.1\r\nHost: {host}\r\n\r\n");
        Attack::new(format!("`Host: {host}`"), Way::Http1, sends, meets)
    })
    .collect();
    for (name, fields, meets) in [
        ("no Host at all", String::new(), BAD),
        (
            "Host twice, and they agree",
            format!("Host: {NA}\r\nHost: {NA}\r\n"),
            BAD,
        ),
        (
            "Host twice, and they differ",
            format!("Host: {NA}\r\nhost: elsewhere.example\r\n"),
            BAD,
        ),
    ] {
        let sends = format!("GET {ORDERS} HTTP/1.1\r\n{fields}\r\n");
        attacks.push(Attack::new(name, Way::Http1, sends, meets));
    }
    attacks
}

/// A head of a GET with these in the place of its authority.
fn get(fields: &[(&str, &str)]) -> Vec<u8> {
    let mut all = vec![(":method", "GET"), (":scheme", "https"), (":path", ORDERS)];
    all.extend_from_slice(fields);
    head(1, &all, END_STREAM)
}

fn authorities() -> Vec<Attack> {
    [
        (
            "`:authority` of another host",
            get(&[(":authority", "elsewhere.example")]),
            MISDIRECTED,
        ),
        (
            "`:authority` with another port",
            get(&[(":authority", "sellingpartnerapi-na.amazon.com:444")]),
            MISDIRECTED,
        ),
        (
            "`:authority` of ours and `host` of another",
            get(&[(":authority", NA), ("host", "elsewhere.example")]),
            MISDIRECTED,
        ),
        (
            "`:authority` of another and `host` of ours",
            get(&[(":authority", "elsewhere.example"), ("host", NA)]),
            MISDIRECTED,
        ),
        (
            "`host` twice beside `:authority`",
            get(&[(":authority", NA), ("host", NA), ("host", NA)]),
            BAD,
        ),
        (
            "`host` of another and no `:authority`",
            get(&[("host", "elsewhere.example")]),
            MISDIRECTED,
        ),
        ("neither `:authority` nor `host`", get(&[]), MISDIRECTED),
        (
            "`:authority` with user information",
            get(&[(":authority", "user@sellingpartnerapi-na.amazon.com")]),
            MISDIRECTED,
        ),
        (
            "an empty `:authority`",
            get(&[(":authority", "")]),
            Meets::Reset,
        ),
        (
            "`:authority` that is none",
            get(&[(":authority", "a b")]),
            Meets::Reset,
        ),
    ]
    .into_iter()
    .map(|(name, sends, meets)| Attack::new(name, Way::Http2, sends, meets))
    .collect()
}

/// RFC 9113 section 8.3.
fn pseudo_fields() -> Vec<Attack> {
    let (method, scheme, authority, path) = (
        (":method", "GET"),
        (":scheme", "https"),
        (":authority", NA),
        (":path", ORDERS),
    );
    let all = |fields: &[(&str, &str)]| head(1, fields, END_STREAM);
    [
        (
            "`:method` missing",
            all(&[scheme, authority, path]),
            Meets::Reset,
        ),
        (
            "`:path` missing",
            all(&[method, scheme, authority]),
            Meets::Reset,
        ),
        (
            "`:scheme` missing",
            all(&[method, authority, path]),
            Meets::Reset,
        ),
        (
            "`:method` twice",
            all(&[method, (":method", "DELETE"), scheme, authority, path]),
            Meets::Reset,
        ),
        (
            "`:path` twice",
            all(&[method, scheme, authority, path, (":path", "/other")]),
            Meets::Reset,
        ),
        (
            "`:authority` twice",
            all(&[
                method,
                scheme,
                authority,
                (":authority", "elsewhere.example"),
                path,
            ]),
            Meets::Reset,
        ),
        (
            "a pseudo-field behind a field",
            all(&[method, scheme, authority, ("accept", "*/*"), path]),
            Meets::Reset,
        ),
        (
            "a pseudo-field that nobody knows",
            all(&[method, scheme, authority, path, (":x", "1")]),
            Meets::GoAway,
        ),
        (
            "a pseudo-field of an answer",
            all(&[method, scheme, authority, path, (":status", "200")]),
            Meets::Reset,
        ),
        (
            "`:scheme` http",
            all(&[method, (":scheme", "http"), authority, path]),
            BAD,
        ),
        (
            "`:scheme` ftp",
            all(&[method, (":scheme", "ftp"), authority, path]),
            BAD,
        ),
        (
            "capitals in a name",
            all(&[method, scheme, authority, path, ("X-Mine", "1")]),
            Meets::GoAway,
        ),
        (
            "LF in a value",
            all(&[method, scheme, authority, path, ("x-a", "1\nx-b: 2")]),
            Meets::GoAway,
        ),
        (
            "CR LF in a value",
            all(&[method, scheme, authority, path, ("x-a", "1\r\nx-b: 2")]),
            Meets::GoAway,
        ),
        (
            "NUL in a value",
            all(&[method, scheme, authority, path, ("x-a", "1\u{0}")]),
            Meets::GoAway,
        ),
        (
            "a blank in a name",
            all(&[method, scheme, authority, path, ("x a", "1")]),
            Meets::GoAway,
        ),
        (
            "a colon in a name",
            all(&[method, scheme, authority, path, ("x:a", "1")]),
            Meets::GoAway,
        ),
        (
            "an empty name",
            all(&[method, scheme, authority, path, ("", "1")]),
            Meets::GoAway,
        ),
        (
            "a method with a blank",
            all(&[(":method", "GET /x"), scheme, authority, path]),
            Meets::GoAway,
        ),
        (
            "`te` other than trailers",
            all(&[method, scheme, authority, path, ("te", "gzip")]),
            Meets::Reset,
        ),
        (
            "CONNECT inside",
            all(&[(":method", "CONNECT"), authority]),
            BAD,
        ),
        (
            "extended CONNECT (RFC 8441)",
            all(&[
                (":method", "CONNECT"),
                (":protocol", "websocket"),
                scheme,
                authority,
                path,
            ]),
            Meets::Reset,
        ),
    ]
    .into_iter()
    .map(|(name, sends, meets)| Attack::new(name, Way::Http2, sends, meets))
    .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_name_leads_to_another_host_than_the_one_that_policy_has_seen() {
    super::runner::run(attacks()).await;
}
