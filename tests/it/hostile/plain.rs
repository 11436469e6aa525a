//! Requests in plain text to the proxy listener, where `listen.plaintext: upgrade` lets them leave over TLS.

use super::attack::{Attack, Meets, Way};
use super::runner::Field;
use super::{CANARY, ORDERS};
use crate::support::sidecar::{NA, Setup};

pub(super) fn attacks() -> Vec<Attack> {
    let one = |name: &str, line: &str, fields: &str, meets| {
        let sends = format!("{line} HTTP/1.1\r\nHost: {NA}\r\n{fields}\r\n0\r\n\r\n");
        Attack::new(name, Way::Door, sends, meets)
    };
    let url = |path: &str| format!("http://{NA}{path}");
    let bad = Meets::Refused(400, "bad_request");
    let shut = Meets::RefusedAndClosed(400, "bad_request");
    let post = format!("POST {}", url("/_sandbox/x"));
    vec![
        one(
            "CL.TE",
            &post,
            "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
            shut,
        ),
        one(
            "TE.CL",
            &post,
            "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n",
            shut,
        ),
        one(
            "two lengths that agree",
            &post,
            "Content-Length: 5\r\nContent-Length: 5\r\n",
            shut,
        ),
        one(
            "`gzip, chunked`",
            &post,
            "Transfer-Encoding: gzip, chunked\r\n",
            shut,
        ),
        one("a bare LF", &post, "x-a: 1\nContent-Length: 5\r\n", shut),
        one(
            "a fragment",
            &format!("GET {}", url("/orders/v0/orders#x")),
            "",
            shut,
        ),
        one(
            "`x-original-url`",
            &post,
            "x-original-url: /x\r\nContent-Length: 5\r\n",
            bad,
        ),
        Attack::new(
            "user information in the URL",
            Way::Door,
            format!("GET http://user@{NA}{ORDERS} HTTP/1.1\r\nHost: {NA}\r\n\r\n"),
            bad,
        ),
        Attack::new(
            "a Host that is not the URL's",
            Way::Door,
            format!(
                "GET {} HTTP/1.1\r\nHost: elsewhere.example\r\n\r\n",
                url(ORDERS)
            ),
            Meets::Refused(421, "name_mismatch"),
        ),
        Attack::new(
            "`x-amz-access-token`, `x-forwarded-host`, `proxy-connection` and what Connection names",
            Way::Door,
            format!(
                "GET {} HTTP/1.1\r\nHost: {NA}\r\nX_Amz_Access_Token: {CANARY}\r\nX-Forwarded-Host: {CANARY}\r\nProxy-Connection: {CANARY}\r\nConnection: x-mine\r\nX-Mine: {CANARY}\r\n\r\n",
                url(ORDERS)
            ),
            Meets::Dropped,
        ),
    ]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_in_plain_text_that_is_upgraded_is_held_to_the_same() {
    let field = Field::with(|setup| Setup {
        listen: "  plaintext: upgrade\n".to_owned(),
        ..setup
    })
    .await;
    super::runner::run_in(field, attacks()).await;
}
