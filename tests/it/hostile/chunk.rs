//! Bodies in chunks that two readers could cut in two ways.

use super::attack::{Attack, Meets, Way};
use super::framing::{SECOND, post};

/// RFC 9112 section 7.1. The head has gone out by then: bodies are not held
/// back. Upstream sees a body that breaks off.
pub(super) fn attacks() -> Vec<Attack> {
    let many = format!("5;{}\r\nhello\r\n0\r\n\r\n", "x".repeat(20_000));
    let trailers = format!("0\r\n{}\r\n", "x-a: 0123456789\r\n".repeat(2000));
    [
        (
            "a size that overflows",
            "10000000000000005\r\nhello\r\n0\r\n\r\n",
        ),
        ("a size below nothing", "-5\r\nhello\r\n0\r\n\r\n"),
        ("a size with a sign", "+5\r\nhello\r\n0\r\n\r\n"),
        ("a size with 0x", "0x5\r\nhello\r\n0\r\n\r\n"),
        ("a size with an underscore", "0_5\r\nhello\r\n0\r\n\r\n"),
        ("a size that is none", "five\r\nhello\r\n0\r\n\r\n"),
        ("no size", "\r\nhello\r\n0\r\n\r\n"),
        ("a blank before the size", " 5\r\nhello\r\n0\r\n\r\n"),
        ("digits behind a blank", "5 5\r\nhello\r\n0\r\n\r\n"),
        ("NUL behind the size", "5\0\r\nhello\r\n0\r\n\r\n"),
        ("a bare LF behind the size", "5\nhello\r\n0\r\n\r\n"),
        ("a bare CR behind the size", "5\rhello\r\n0\r\n\r\n"),
        ("a bare LF behind a chunk", "5\r\nhello\n0\r\n\r\n"),
        ("nothing behind a chunk", "5\r\nhello0\r\n\r\n"),
        (
            "a chunk that is longer than its size",
            "3\r\nhello\r\n0\r\n\r\n",
        ),
        (
            "a bare LF in an extension",
            "5;a=b\nc\r\nhello\r\n0\r\n\r\n",
        ),
        ("20,000 bytes of extension", &many),
        ("a trailer with a bad name", "0\r\nx y: 1\r\n\r\n"),
        ("a trailer with a bare LF", "0\r\nx: 1\ny: 2\r\n\r\n"),
        ("34,000 bytes of trailers", &trailers),
    ]
    .into_iter()
    .map(|(name, body)| {
        let sends = post("Transfer-Encoding: chunked\r\n", &format!("{body}{SECOND}"));
        let meets = Meets::CutOff(400, "bad_request");
        Attack::new(name, Way::Http1, sends, meets)
    })
    .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_chunk_is_two_chunks_to_somebody_else() {
    super::runner::run(attacks()).await;
}
