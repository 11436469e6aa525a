//! Paths that two readers could take for two routes, and targets that are no paths.

use super::attack::{Attack, Meets, Way};
use super::frames::{END_STREAM, head};
use crate::support::sidecar::NA;

const AMBIGUOUS: Meets = Meets::Refused(400, "path_ambiguous");
const BAD: Meets = Meets::Refused(400, "bad_request");
const UNREADABLE: Meets = Meets::RefusedAndClosed(400, "bad_request");
const NO_ROUTE: Meets = Meets::Refused(403, "route_denied");

/// What is sent as the target of a GET, and what it meets over HTTP/1.1 and, where it differs, over HTTP/2.
const TARGETS: [(&str, Meets, Meets); 56] = [
    ("/orders/v0/../v0/orders", AMBIGUOUS, AMBIGUOUS),
    ("/orders/v0/./orders", AMBIGUOUS, AMBIGUOUS),
    ("/orders/v0/orders/..", AMBIGUOUS, AMBIGUOUS),
    ("/orders/v0/orders/.", AMBIGUOUS, AMBIGUOUS),
    ("/..", AMBIGUOUS, AMBIGUOUS),
    ("/orders/v0/%2e%2e/v0/orders", AMBIGUOUS, AMBIGUOUS),
    ("/orders/v0/%2E./v0/orders", AMBIGUOUS, AMBIGUOUS),
    ("/orders/v0/.%2e/v0/orders", AMBIGUOUS, AMBIGUOUS),
    ("/orders/v0/%2e/orders", AMBIGUOUS, AMBIGUOUS),
    ("/orders/v0/..;x=1/v0/orders", AMBIGUOUS, AMBIGUOUS),
    ("/orders/v0/orders/..%3bx", AMBIGUOUS, AMBIGUOUS),
    ("/orders/v0/orders/a%2f..%2fb", AMBIGUOUS, AMBIGUOUS),
    ("/orders/v0/..%2forders", AMBIGUOUS, AMBIGUOUS),
    ("//orders/v0/orders", AMBIGUOUS, AMBIGUOUS),
    ("/orders//v0/orders", AMBIGUOUS, AMBIGUOUS),
    ("/orders/v0/orders/", AMBIGUOUS, AMBIGUOUS),
    ("/orders/v0/orders//address", AMBIGUOUS, AMBIGUOUS),
    ("//", AMBIGUOUS, AMBIGUOUS),
    ("/orders/v0\\orders", AMBIGUOUS, AMBIGUOUS),
    ("/orders\\..\\v0/orders", AMBIGUOUS, AMBIGUOUS),
    ("/orders/v0%5corders", AMBIGUOUS, AMBIGUOUS),
    ("/orders/v0/orders/%5C..", AMBIGUOUS, AMBIGUOUS),
    ("/orders/v0/orders/%00", AMBIGUOUS, AMBIGUOUS),
    (
        "/orders/v0/orders/a%0d%0ax-amz-access-token:%20x",
        AMBIGUOUS,
        AMBIGUOUS,
    ),
    ("/orders/v0/orders/%0a", AMBIGUOUS, AMBIGUOUS),
    ("/orders/v0/orders/%1f", AMBIGUOUS, AMBIGUOUS),
    ("/orders/v0/orders/%7F", AMBIGUOUS, AMBIGUOUS),
    ("/orders/v0/orders/%", AMBIGUOUS, AMBIGUOUS),
    ("/orders/v0/orders/%4", AMBIGUOUS, AMBIGUOUS),
    ("/orders/v0/orders/%zz", AMBIGUOUS, AMBIGUOUS),
    ("/orders/v0/orders/%u002e", AMBIGUOUS, AMBIGUOUS),
    ("/orders/v0/orders/%%41", AMBIGUOUS, AMBIGUOUS),
    ("/orders%2fv0/orders", AMBIGUOUS, AMBIGUOUS),
    ("/orders/v0%2Forders", AMBIGUOUS, AMBIGUOUS),
    ("/orders/v0/orders%2F123", AMBIGUOUS, AMBIGUOUS),
    ("/orders/v0/orders/123%2faddress", AMBIGUOUS, AMBIGUOUS),
    ("/orders/v0/%6frders", NO_ROUTE, NO_ROUTE),
    ("/orders/v0/orders;x=1", NO_ROUTE, NO_ROUTE),
    ("/orders/v0/orders/123/%61ddress", NO_ROUTE, NO_ROUTE),
    ("/Orders/v0/orders", NO_ROUTE, NO_ROUTE),
    ("/orders/v0/orders/123/address/more", NO_ROUTE, NO_ROUTE),
    ("/orders/v0/orders/123/%2561ddress", NO_ROUTE, NO_ROUTE),
    ("/orders/v0/orders%20", NO_ROUTE, NO_ROUTE),
    ("/%6Frders%2Fv0", AMBIGUOUS, AMBIGUOUS),
    ("/orders/v0/orders#x", UNREADABLE, Meets::Served),
    (
        "/orders/v0/orders?MarketplaceIds=ATVPDKIKX0DER#x",
        UNREADABLE,
        Meets::Served,
    ),
    ("/orders/v0/orders\u{1}", UNREADABLE, Meets::Reset),
    ("/orders/v0/orders\u{0}", UNREADABLE, Meets::Reset),
    ("/orders/v0/orders\u{7f}", UNREADABLE, Meets::Reset),
    ("/orders/v0/orders\t", UNREADABLE, Meets::Reset),
    ("/orders/v0/orders x", UNREADABLE, Meets::Reset),
    ("orders/v0/orders", UNREADABLE, Meets::Reset),
    ("*", BAD, BAD),
    ("?MarketplaceIds=ATVPDKIKX0DER", UNREADABLE, BAD),
    ("", UNREADABLE, Meets::Reset),
    ("\\orders\\v0\\orders", UNREADABLE, Meets::Reset),
];

pub(super) fn attacks() -> Vec<Attack> {
    let mut attacks = Vec::new();
    for (target, http1, _) in TARGETS {
        let sends = format!("GET {target} HTTP/1.1\r\nHost: {NA}\r\n\r\n");
        attacks.push(Attack::new(shown(target), Way::Http1, sends, http1));
    }
    for (target, _, http2) in TARGETS {
        let fields = [
            (":method", "GET"),
            (":scheme", "https"),
            (":authority", NA),
            (":path", target),
        ];
        attacks.push(Attack::new(
            shown(target),
            Way::Http2,
            head(1, &fields, END_STREAM),
            http2,
        ));
    }
    attacks.extend(other_forms());
    attacks
}

fn shown(target: &str) -> String {
    format!("`GET {}`", target.escape_debug())
}

fn other_forms() -> Vec<Attack> {
    let one = |line: &str, meets| {
        let sends = format!("{line} HTTP/1.1\r\nHost: {NA}\r\n\r\n");
        Attack::new(format!("`{line}`"), Way::Http1, sends, meets)
    };
    vec![
        one(&format!("GET https://{NA}/orders/v0/orders"), BAD),
        one(&format!("GET http://{NA}/orders/v0/orders"), BAD),
        one("GET https://elsewhere.example/orders/v0/orders", BAD),
        one(&format!("GET ftp://{NA}/orders/v0/orders"), BAD),
        one(&format!("GET {NA}:443"), BAD),
        one("OPTIONS *", BAD),
        one(&format!("CONNECT {NA}:443"), BAD),
        one("CONNECT 169.254.169.254:80", BAD),
        one("CONNECT /orders/v0/orders", BAD),
        one("get /orders/v0/orders", NO_ROUTE),
        one("GETX /orders/v0/orders", NO_ROUTE),
        one("DELETE /orders/v0/orders", NO_ROUTE),
        one("TRACE /orders/v0/orders", NO_ROUTE),
        one("PRI /orders/v0/orders", NO_ROUTE),
    ]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_target_is_taken_for_two_routes() {
    super::runner::run(attacks()).await;
}
