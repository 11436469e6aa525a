//! Heads whose lines do not end, or end where nobody expects it.

use super::attack::{Attack, Meets, Way};
use super::framing::closed;
use super::{CANARY, ORDERS};
use crate::support::sidecar::NA;

pub(super) fn attacks() -> Vec<Attack> {
    let get = |fields: &str| format!("GET {ORDERS} HTTP/1.1\r\nHost: {NA}\r\n{fields}\r\n");
    vec![
        closed(
            "obs-fold: a value goes on in the next line",
            get(&format!("x-a: 1\r\n {CANARY}\r\n")),
        ),
        closed(
            "obs-fold with a tab",
            get(&format!("x-a: 1\r\n\t{CANARY}\r\n")),
        ),
        closed("a line of blanks in the head", get(" \r\nx-a: 1\r\n")),
        closed(
            "a bare CR in a value",
            get(&format!("x-a: 1\rx-amz-access-token: {CANARY}\r\n")),
        ),
        closed(
            "a bare CR for a line's end",
            get(&format!("x-a: 1\r{CANARY}: 2\r\n")),
        ),
        closed(
            "a bare LF for a line's end",
            get(&format!("x-a: 1\n{CANARY}: 2\r\n")),
        ),
        closed(
            "bare LFs throughout",
            format!("GET {ORDERS} HTTP/1.1\nHost: {NA}\n\n"),
        ),
        closed(
            "a bare LF behind the request line",
            format!("GET {ORDERS} HTTP/1.1\nHost: {NA}\r\n\r\n"),
        ),
        closed(
            "a head that ends in LF LF",
            format!("GET {ORDERS} HTTP/1.1\r\nHost: {NA}\n\n"),
        ),
        closed(
            "a head that ends in LF CR LF",
            format!("GET {ORDERS} HTTP/1.1\r\nHost: {NA}\n\r\n"),
        ),
        closed(
            "a head that ends in CR LF LF",
            format!("GET {ORDERS} HTTP/1.1\r\nHost: {NA}\r\n\n"),
        ),
        closed("CR CR LF", get(&format!("x-a: 1\r\r\nx-b: {CANARY}\r\n"))),
        closed("NUL in a value", get("x-a: 1\u{0}2\r\n")),
        closed("NUL in a name", get("x-\u{0}a: 1\r\n")),
        closed(
            "NUL in the request line",
            format!("GET {ORDERS}\u{0} HTTP/1.1\r\nHost: {NA}\r\n\r\n"),
        ),
        closed("DEL in a value", get("x-a: 1\u{7f}2\r\n")),
        closed("a control byte in a value", get("x-a: 1\u{1}2\r\n")),
        closed("a name with a blank in it", get("x a: 1\r\n")),
        closed("a field without a colon", get("x-a\r\n")),
        closed("a field without a name", get(": 1\r\n")),
        closed(
            "two blanks in the request line",
            format!("GET  {ORDERS} HTTP/1.1\r\nHost: {NA}\r\n\r\n"),
        ),
        closed(
            "a tab in the request line",
            format!("GET\t{ORDERS} HTTP/1.1\r\nHost: {NA}\r\n\r\n"),
        ),
        closed(
            "a blank behind the version",
            format!("GET {ORDERS} HTTP/1.1 \r\nHost: {NA}\r\n\r\n"),
        ),
        closed(
            "a blank in the target",
            format!("GET {ORDERS} x HTTP/1.1\r\nHost: {NA}\r\n\r\n"),
        ),
        closed(
            "a blank before the method",
            format!(" GET {ORDERS} HTTP/1.1\r\nHost: {NA}\r\n\r\n"),
        ),
        closed("no version (HTTP/0.9)", format!("GET {ORDERS}\r\n\r\n")),
        closed(
            "HTTP/1.2",
            format!("GET {ORDERS} HTTP/1.2\r\nHost: {NA}\r\n\r\n"),
        ),
        closed(
            "HTTP/2.0 in HTTP/1.1's place",
            format!("GET {ORDERS} HTTP/2.0\r\nHost: {NA}\r\n\r\n"),
        ),
        closed(
            "http/1.1 in small letters",
            format!("GET {ORDERS} http/1.1\r\nHost: {NA}\r\n\r\n"),
        ),
        Attack::new(
            "HTTP/2's preface where HTTP/1.1 was agreed",
            Way::Http1,
            super::frames::PREFACE,
            Meets::RefusedAndClosed(400, "bad_request"),
        ),
    ]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_line_is_two_lines_to_somebody_else() {
    super::runner::run(attacks()).await;
}
