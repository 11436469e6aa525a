//! Heads whose lines do not end, or end where nobody expects it.

use super::attack::Attack;
use super::framing::closed;
use super::{CANARY, ORDERS};
use crate::support::sidecar::NA;

/// What stands in a head, behind Host; `@` is a canary.
const FIELDS: [(&str, &str); 14] = [
    (
        "obs-fold: a value goes on in the next line",
        "x-a: 1\r\n @\r\n",
    ),
    ("obs-fold with a tab", "x-a: 1\r\n\t@\r\n"),
    ("a line of blanks in the head", " \r\nx-a: 1\r\n"),
    ("a bare CR in a value", "x-a: 1\rx-amz-access-token: @\r\n"),
    ("a bare CR for a line's end", "x-a: 1\r@: 2\r\n"),
    ("a bare LF for a line's end", "x-a: 1\n@: 2\r\n"),
    ("CR CR LF", "x-a: 1\r\r\nx-b: @\r\n"),
    ("NUL in a value", "x-a: 1\u{0}2\r\n"),
    ("NUL in a name", "x-\0a: 1\r\n"),
    ("DEL in a value", "x-a: 1\u{7f}2\r\n"),
    ("a control byte in a value", "x-a: 1\u{1}2\r\n"),
    ("a name with a blank in it", "x a: 1\r\n"),
    ("a field without a colon", "x-a\r\n"),
    ("a field without a name", ": 1\r\n"),
];

/// Whole heads; `@` is a good target and `HOST` its host.
const HEADS: [(&str, &str); 15] = [
    ("bare LFs throughout", "GET @ HTTP/1.1\nHost: HOST\n\n"),
    (
        "a bare LF behind the request line",
        "GET @ HTTP/1.1\nHost: HOST\r\n\r\n",
    ),
    (
        "a head that ends in LF LF",
        "GET @ HTTP/1.1\r\nHost: HOST\n\n",
    ),
    (
        "a head that ends in LF CR LF",
        "GET @ HTTP/1.1\r\nHost: HOST\n\r\n",
    ),
    (
        "a head that ends in CR LF LF",
        "GET @ HTTP/1.1\r\nHost: HOST\r\n\n",
    ),
    (
        "NUL in the request line",
        "GET @\0 HTTP/1.1\r\nHost: HOST\r\n\r\n",
    ),
    (
        "two blanks in the request line",
        "GET  @ HTTP/1.1\r\nHost: HOST\r\n\r\n",
    ),
    (
        "a tab in the request line",
        "GET\t@ HTTP/1.1\r\nHost: HOST\r\n\r\n",
    ),
    (
        "a blank behind the version",
        "GET @ HTTP/1.1 \r\nHost: HOST\r\n\r\n",
    ),
    (
        "a blank in the target",
        "GET @ x HTTP/1.1\r\nHost: HOST\r\n\r\n",
    ),
    (
        "a blank before the method",
        " GET @ HTTP/1.1\r\nHost: HOST\r\n\r\n",
    ),
    ("no version (HTTP/0.9)", "GET @\r\n\r\n"),
    ("HTTP/1.2", "GET @ HTTP/1.2\r\nHost: HOST\r\n\r\n"),
    (
        "HTTP/2.0 in HTTP/1.1's place",
        "GET @ HTTP/2.0\r\nHost: HOST\r\n\r\n",
    ),
    (
        "http/1.1 in small letters",
        "GET @ http/1.1\r\nHost: HOST\r\n\r\n",
    ),
];

pub(super) fn attacks() -> Vec<Attack> {
    let fields = FIELDS.map(|(name, fields)| {
        let fields = fields.replace('@', CANARY);
        closed(
            name,
            format!("GET {ORDERS} HTTP/1.1\r\nHost: {NA}\r\n{fields}\r\n"),
        )
    });
    let heads =
        HEADS.map(|(name, head)| closed(name, head.replace('@', ORDERS).replace("HOST", NA)));
    let preface = closed(
        "HTTP/2's preface where HTTP/1.1 was agreed",
        super::frames::PREFACE,
    );
    fields.into_iter().chain(heads).chain([preface]).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_line_is_two_lines_to_somebody_else() {
    super::runner::run(attacks()).await;
}
