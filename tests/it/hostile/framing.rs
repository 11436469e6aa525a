//! Bytes that two readers could take for two different requests.

use super::ORDERS;
use super::attack::{Attack, Meets, Way};
use crate::support::sidecar::NA;

/// What would be smuggled.
pub(super) const SECOND: &str = "GET /canary-of-the-attacker HTTP/1.1\r\nHost: x\r\n\r\n";

pub(super) fn attacks() -> Vec<Attack> {
    let mut attacks = two_framings();
    attacks.extend(codings());
    attacks.extend(lengths());
    attacks.extend(pipelined());
    attacks
}

/// A POST with these fields and this after them.
pub(super) fn post(fields: &str, rest: &str) -> String {
    format!("POST /_sandbox/x HTTP/1.1\r\nHost: {NA}\r\n{fields}\r\n{rest}")
}

pub(super) fn closed(name: &str, sends: impl Into<Vec<u8>>) -> Attack {
    Attack::new(
        name,
        Way::Http1,
        sends,
        Meets::RefusedAndClosed(400, "bad_request"),
    )
}

/// One request with a length and a transfer coding (RFC 9112 section 6.1).
fn two_framings() -> Vec<Attack> {
    let chunks = format!("0\r\n\r\n{SECOND}");
    let length = chunks.len();
    vec![
        closed(
            "CL.TE: a length, then `chunked`, and a request behind the last chunk",
            post(
                &format!("Content-Length: {length}\r\nTransfer-Encoding: chunked\r\n"),
                &chunks,
            ),
        ),
        closed(
            "TE.CL: `chunked`, then a length, and a request in a chunk",
            post(
                "Transfer-Encoding: chunked\r\nContent-Length: 4\r\n",
                &format!("{:x}\r\n{SECOND}\r\n0\r\n\r\n", SECOND.len()),
            ),
        ),
        closed(
            "both, and they agree",
            post(
                "Content-Length: 15\r\nTransfer-Encoding: chunked\r\n",
                "5\r\nhello\r\n0\r\n\r\n",
            ),
        ),
        closed(
            "both, odd letters",
            post(
                "cOnTeNt-LeNgTh: 0\r\ntRaNsFeR-eNcOdInG: CHUNKED\r\n",
                "0\r\n\r\n",
            ),
        ),
        closed(
            "both, with a length of 0",
            post(
                "Transfer-Encoding: chunked\r\nContent-Length: 0\r\n",
                "5\r\nhello\r\n0\r\n\r\n",
            ),
        ),
        closed(
            "`chunked` and a length that is no number",
            post(
                "Transfer-Encoding: chunked\r\nContent-Length: +5\r\n",
                "5\r\nhello\r\n0\r\n\r\n",
            ),
        ),
        closed(
            "both, far apart in a large head",
            post(
                &format!(
                    "Content-Length: 0\r\n{}Transfer-Encoding: chunked\r\n",
                    "x-filler: 0123456789012345678901234567890123456789\r\n".repeat(90)
                ),
                "0\r\n\r\n",
            ),
        ),
    ]
}

/// Two framings behind requests of every kind, so that the head begins anywhere in what is read.
fn pipelined() -> Vec<Attack> {
    let both = || {
        closed(
            "CL.TE",
            post(
                "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
                &format!("0\r\n\r\n{SECOND}"),
            ),
        )
    };
    let goods = [
        (
            "a GET",
            format!("GET {ORDERS} HTTP/1.1\r\nHost: {NA}\r\n\r\n"),
        ),
        (
            "a POST with a length",
            post("Content-Length: 5\r\n", "hello"),
        ),
        (
            "a chunked POST",
            post("Transfer-Encoding: chunked\r\n", "5\r\nhello\r\n0\r\n\r\n"),
        ),
        (
            "a chunked POST with a trailer",
            post(
                "Transfer-Encoding: chunked\r\n",
                "5\r\n\r\n\r\n\n\r\n0\r\nx: y\r\n\r\n",
            ),
        ),
    ];
    goods
        .iter()
        .flat_map(|(name, good)| {
            [1, 3].map(|times| Attack {
                name: format!("CL.TE behind {times} of: {name}"),
                ..both().behind(good, times)
            })
        })
        .collect()
}

/// Codings that are not plainly `chunked`.
const CODINGS: [&str; 20] = [
    "xchunked",
    "chunkedx",
    "x-chunked",
    "identity",
    "gzip",
    "gzip, chunked",
    "chunked, gzip",
    "chunked, identity",
    "identity, chunked",
    "chunked, chunked",
    "chunked;q=1",
    "\"chunked\"",
    "chunked,",
    ", chunked",
    "",
    "chun\u{b}ked",
    "chunked\u{b}",
    "chunked\u{0}",
    "\u{a0}chunked",
    "cow",
];

/// Fields that hide a coding, or name two.
const TWICE_OR_ODD: [(&str, &str); 10] = [
    (
        "`chunked` twice",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
    ),
    (
        "`chunked`, then `identity`",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n",
    ),
    (
        "`identity`, then `chunked`",
        "Transfer-Encoding: identity\r\nTransfer-Encoding: chunked\r\n",
    ),
    (
        "`cow`, then `chunked`",
        "Transfer-Encoding: cow\r\nTransfer-Encoding: chunked\r\n",
    ),
    (
        "a blank before the colon",
        "Transfer-Encoding : chunked\r\n",
    ),
    ("a tab before the colon", "Transfer-Encoding\t: chunked\r\n"),
    ("a blank before the name", " Transfer-Encoding: chunked\r\n"),
    ("a folded value", "Transfer-Encoding:\r\n chunked\r\n"),
    (
        "a vertical tab in the name",
        "Transfer\u{b}Encoding: chunked\r\n",
    ),
    (
        "a NUL behind the name",
        "Transfer-Encoding\u{0}: chunked\r\n",
    ),
];

fn codings() -> Vec<Attack> {
    const BODY: &str = "5\r\nhello\r\n0\r\n\r\n";
    let one = |coding: &str| {
        closed(
            &format!("`Transfer-Encoding: {}`", coding.escape_debug()),
            post(&format!("Transfer-Encoding: {coding}\r\n"), BODY),
        )
    };
    let mut attacks: Vec<Attack> = CODINGS.into_iter().map(one).collect();
    for (name, fields) in TWICE_OR_ODD {
        attacks.push(closed(&format!("TE.TE: {name}"), post(fields, BODY)));
    }
    attacks.push(Attack::new(
        "`Transfer-Encoding: chunked` in HTTP/1.0",
        Way::Http1,
        format!(
            "POST /_sandbox/x HTTP/1.0\r\nHost: {NA}\r\nTransfer-Encoding: chunked\r\n\r\n{BODY}"
        ),
        Meets::RefusedAndClosed(400, "bad_request"),
    ));
    attacks.push(Attack::new(
        "a tab before `chunked`",
        Way::Http1,
        post("Transfer-Encoding:\tchunked\r\n", BODY),
        Meets::Served,
    ));
    attacks
}

/// Lengths that two readers could read as two numbers.
fn lengths() -> Vec<Attack> {
    let mut attacks: Vec<Attack> = [
        "+5",
        "-5",
        "5 5",
        "5,5",
        "5, 5",
        "5;5",
        "0x5",
        "5.0",
        "5e0",
        "",
        "five",
        "\u{0}5",
        "5\u{b}",
        "18446744073709551616",
        "99999999999999999999999",
        "5\u{0}",
        "٥",
    ]
    .into_iter()
    .map(|length| {
        closed(
            &format!("`Content-Length: {}`", length.escape_debug()),
            post(&format!("Content-Length: {length}\r\n"), "hello"),
        )
    })
    .collect();
    for (name, fields) in [
        (
            "two lengths that differ",
            "Content-Length: 5\r\nContent-Length: 6\r\n",
        ),
        (
            "two lengths that agree",
            "Content-Length: 5\r\nContent-Length: 5\r\n",
        ),
        (
            "a length of 5 and one of 05",
            "Content-Length: 5\r\nContent-Length: 05\r\n",
        ),
        (
            "a blank before the colon of a length",
            "Content-Length : 5\r\n",
        ),
        ("a folded length", "Content-Length:\r\n 5\r\n"),
        (
            "a blank before the name of a length",
            "X: y\r\n Content-Length: 5\r\n",
        ),
    ] {
        attacks.push(closed(name, post(fields, "hello")));
    }
    attacks.push(Attack::new(
        "`Content_Length` beside the true length",
        Way::Http1,
        post("Content-Length: 5\r\nContent_Length: 50\r\n", "hello"),
        Meets::Served,
    ));
    attacks
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_framing_makes_two_requests_of_one() {
    super::runner::run(attacks()).await;
}
