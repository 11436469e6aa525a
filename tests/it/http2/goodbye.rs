//! What an HTTP/2 origin says it has not processed is sent again, whatever its method (RFC 9113 section 8.7); nothing else is.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use http::Request;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::standing_in;
use crate::hostile::frames::{
    DATA, END_HEADERS, END_STREAM, GOAWAY, HEADERS, PREFACE, RST_STREAM, SETTINGS, frame, next,
};
use crate::support::peer::{Face, Http2, Origin, Served, full};
use crate::support::sidecar::{NA, TestSidecar};

const REFUSED_STREAM: [u8; 4] = [0, 0, 0, 7];

/// What becomes of the requests on a connection that are not answered.
#[derive(Clone, Copy, Debug)]
enum Ending {
    /// Each is refused by itself.
    Refused,
    /// Goodbye, and the last stream that was processed is the last that was answered.
    Goodbye,
    /// Goodbye, and the stream counts as processed, but is not answered.
    GoodbyeTooLate,
    /// The connection closes and nothing is said.
    Closed,
}

/// An origin that answers as many requests on each connection as `answers` says of its number; counts all that reach it.
async fn parting(
    ending: Ending,
    answers: fn(usize) -> usize,
    asked: &Arc<AtomicUsize>,
) -> (Origin, TestSidecar) {
    let asked = Arc::clone(asked);
    let origin = Origin::start(NA, Face::speaking(&["h2"]), move |number, stream| {
        let asked = Arc::clone(&asked);
        async move {
            // how it ends is what the sidecar has to live with
            let _ended = serve(stream, ending, answers(number), &asked).await;
        }
    })
    .await;
    let sidecar = TestSidecar::with(standing_in(&origin)).await;
    (origin, sidecar)
}

async fn serve(
    mut io: Served,
    ending: Ending,
    answers: usize,
    asked: &AtomicUsize,
) -> std::io::Result<()> {
    let mut preface = [0; PREFACE.len()];
    io.read_exact(&mut preface).await?;
    io.write_all(&frame(SETTINGS, 0, 0, &[])).await?;
    let (mut left, mut answered) = (answers, 0);
    loop {
        let (kind, flags, stream, _) = next(&mut io).await?;
        if !matches!(kind, HEADERS | DATA) || flags & END_STREAM == 0 {
            continue;
        }
        asked.fetch_add(1, Ordering::SeqCst);
        if left > 0 {
            // 0x88 is `:status: 200` (RFC 7541 appendix A)
            let head = frame(HEADERS, END_HEADERS | END_STREAM, stream, &[0x88]);
            io.write_all(&head).await?;
            (left, answered) = (left - 1, stream);
            continue;
        }
        let goodbye = |last: u32| frame(GOAWAY, 0, 0, &[last.to_be_bytes(), [0; 4]].concat());
        match ending {
            Ending::Refused => {
                io.write_all(&frame(RST_STREAM, 0, stream, &REFUSED_STREAM))
                    .await?;
                continue;
            }
            Ending::Goodbye => io.write_all(&goodbye(answered)).await?,
            Ending::GoodbyeTooLate => io.write_all(&goodbye(stream)).await?,
            Ending::Closed => {}
        }
        io.shutdown().await?;
        // closed with something unread, it would be reset, and the goodbye lost with it
        return io.read_to_end(&mut Vec::new()).await.map(drop);
    }
}

/// The status and the code of the answer to a POST.
async fn posted(client: &Http2) -> (u16, String) {
    let request = Request::post(format!("https://{NA}/_sandbox/x"))
        .body(full("1"))
        .unwrap();
    let answer = client.ask(request).await;
    let code = answer.headers().get("x-spapi-sidecar-error");
    let code = code.map_or("", |code| code.to_str().unwrap()).to_owned();
    (answer.status().as_u16(), code)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_post_that_upstream_says_it_did_not_process_is_sent_again() {
    for ending in [Ending::Refused, Ending::Goodbye] {
        let asked = Arc::new(AtomicUsize::new(0));
        let (_origin, sidecar) = parting(ending, |_number| 1, &asked).await;
        let client = Http2::open(&sidecar, NA).await;
        for n in 0..3 {
            assert_eq!(posted(&client).await.0, 200, "{ending:?} {n}");
        }
        assert_eq!(asked.load(Ordering::SeqCst), 5, "{ending:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_post_that_upstream_may_have_processed_is_never_sent_again() {
    for ending in [Ending::GoodbyeTooLate, Ending::Closed] {
        let asked = Arc::new(AtomicUsize::new(0));
        let (_origin, sidecar) = parting(ending, |_number| 1, &asked).await;
        let client = Http2::open(&sidecar, NA).await;
        assert_eq!(posted(&client).await.0, 200, "{ending:?}");
        let failed = posted(&client).await;
        assert_eq!(failed, (502, "upstream_unreachable".to_owned()));
        assert_eq!(asked.load(Ordering::SeqCst), 2, "{ending:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn posts_that_one_goodbye_turned_away_together_are_all_answered() {
    let asked = Arc::new(AtomicUsize::new(0));
    let (_origin, sidecar) = parting(Ending::Goodbye, |_number| 8, &asked).await;
    let client = Http2::open(&sidecar, NA).await;
    for _ in 0..10 {
        let together = std::iter::repeat_with(|| posted(&client)).take(24);
        for (status, code) in futures_util::future::join_all(together).await {
            assert_eq!((status, code.as_str()), (200, ""));
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_post_that_upstream_always_turns_away_is_given_up() {
    for ending in [Ending::Refused, Ending::Goodbye] {
        let asked = Arc::new(AtomicUsize::new(0));
        let (_origin, sidecar) = parting(ending, |_number| 0, &asked).await;
        let client = Http2::open(&sidecar, NA).await;
        let failed = posted(&client).await;
        assert_eq!(failed, (502, "upstream_unreachable".to_owned()));
        assert_eq!(asked.load(Ordering::SeqCst), 5, "{ending:?}");
    }
}
