//! Connections upstream are used again, and replaced where that can do no harm.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use http::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::{get, post, standing_in};
use crate::support::peer::{
    Face, Http1, Http2, Origin, Payload, full, nothing, read_head, trouble,
};
use crate::support::sidecar::{NA, TestSidecar, eventually};

const OK: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

fn connections(sidecar: &TestSidecar) -> BTreeSet<u64> {
    let received = sidecar.received();
    received.iter().map(|one| one.connection).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_of_one_client_share_one_connection() {
    let sidecar = TestSidecar::start().await;
    let mut client = Http1::open(&sidecar, NA).await;
    for n in 0..10 {
        client.ask(get(&format!("/_sandbox/body/{n}"))).await;
        client.ask(post("/_sandbox/sink", "x")).await;
        client.ask(get("/_sandbox/status/204")).await;
    }
    assert_eq!(connections(&sidecar).len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn streams_of_one_client_share_one_connection() {
    let sidecar = TestSidecar::start().await;
    let client = Http2::open(&sidecar, NA).await;
    for n in 0..10 {
        let request = Request::get(format!("https://{NA}/_sandbox/body/{n}"))
            .body(nothing())
            .unwrap();
        assert_eq!(client.ask(request).await.status(), 200);
    }
    assert_eq!(connections(&sidecar).len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_get_does_not_notice_that_its_connection_was_stale() {
    let sidecar = TestSidecar::start().await;
    trouble(&sidecar, json!({"close_idle": 1}));
    let mut client = Http1::open(&sidecar, NA).await;
    for _ in 0..6 {
        assert_eq!(client.ask(get("/_sandbox/sink")).await.head.status, 200);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_get_over_http2_does_not_notice_that_its_connection_was_stale() {
    let sidecar = TestSidecar::start().await;
    trouble(&sidecar, json!({"close_idle": 1}));
    let client = Http2::open(&sidecar, NA).await;
    for _ in 0..6 {
        let request = Request::get(format!("https://{NA}/_sandbox/sink"))
            .body(nothing())
            .unwrap();
        assert_eq!(client.ask(request).await.status(), 200);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_post_that_was_written_is_never_written_again() {
    let sidecar = TestSidecar::start().await;
    trouble(&sidecar, json!({"close_idle": 1}));
    let mut client = Http1::open(&sidecar, NA).await;
    assert_eq!(
        client.ask(post("/_sandbox/sink", "1")).await.head.status,
        200
    );
    let answer = client.ask(post("/_sandbox/sink", "2")).await;
    assert_eq!(
        (answer.head.status, answer.code()),
        (502, Some("upstream_unreachable"))
    );
    assert_eq!(sidecar.received().len(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_post_takes_a_new_connection_where_upstream_has_closed_the_old_one() {
    let gone = Arc::new(AtomicUsize::new(0));
    let note = Arc::clone(&gone);
    let origin = Origin::start(
        NA,
        Face::speaking(&["http/1.1"]),
        move |_number, mut stream| {
            let note = Arc::clone(&note);
            async move {
                if read_head(&mut stream).await.is_err() {
                    return;
                }
                let mut body = [0];
                stream.read_exact(&mut body).await.unwrap();
                stream.write_all(OK).await.unwrap();
                stream.shutdown().await.unwrap();
                // it has noticed once it closes its side
                let _ended = stream.read_to_end(&mut Vec::new()).await;
                note.fetch_add(1, Ordering::SeqCst);
            }
        },
    )
    .await;
    let sidecar = TestSidecar::with(standing_in(&origin)).await;
    let mut client = Http1::open(&sidecar, NA).await;
    for n in 1..=3 {
        assert_eq!(client.ask(post("/_sandbox/x", "1")).await.body, b"ok");
        eventually("the end was noticed", || gone.load(Ordering::SeqCst) == n).await;
    }
    assert_eq!(origin.connections(), 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_post_keeps_away_from_a_connection_that_was_idle_for_as_long_as_upstream_once_allowed() {
    let origin = Origin::start(
        NA,
        Face::speaking(&["http/1.1"]),
        |number, mut stream| async move {
            let mut answers = if number == 1 { 1 } else { usize::MAX };
            while read_head(&mut stream).await.is_ok() && answers > 0 {
                answers -= 1;
                stream.write_all(OK).await.unwrap();
            }
        },
    )
    .await;
    let sidecar = TestSidecar::with(standing_in(&origin)).await;
    let mut client = Http1::open(&sidecar, NA).await;
    assert_eq!(client.ask(get("/_sandbox/x")).await.head.status, 200);
    let idle = tokio::time::Instant::now();
    tokio::time::sleep(Duration::from_millis(600)).await;
    // closed as it comes, and repeated on a second connection
    assert_eq!(client.ask(get("/_sandbox/x")).await.head.status, 200);
    let allowed = idle.elapsed();
    assert_eq!(client.ask(post("/_sandbox/x", "")).await.head.status, 200);
    assert_eq!(origin.connections(), 2, "one just used is used again");
    tokio::time::sleep(allowed).await;
    assert_eq!(client.ask(post("/_sandbox/x", "")).await.head.status, 200);
    assert_eq!(origin.connections(), 3, "one left alone so long is not");
    tokio::time::sleep(allowed).await;
    assert_eq!(client.ask(get("/_sandbox/x")).await.head.status, 200);
    assert_eq!(origin.connections(), 3, "but a GET may try it");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_that_fails_before_a_byte_was_written_is_tried_once_more() {
    for drops in [1, 2] {
        let face = Face {
            drops,
            ..Face::speaking(&["http/1.1"])
        };
        let origin = Origin::start(NA, face, |_number, mut stream| async move {
            while read_head(&mut stream).await.is_ok() {
                stream.write_all(OK).await.unwrap();
            }
        })
        .await;
        let sidecar = TestSidecar::with(standing_in(&origin)).await;
        let mut client = Http1::open(&sidecar, NA).await;
        let answer = client.ask(post("/_sandbox/x", "")).await;
        let want = if drops == 1 { 200 } else { 502 };
        assert_eq!(answer.head.status, want, "{drops}");
        assert_eq!(origin.connections(), 2, "{drops}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_get_that_no_connection_answers_is_written_twice_at_most() {
    let asked = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&asked);
    let origin = Origin::start(
        NA,
        Face::speaking(&["http/1.1"]),
        move |_number, mut stream| {
            let count = Arc::clone(&count);
            async move {
                while read_head(&mut stream).await.is_ok() {
                    if count.fetch_add(1, Ordering::SeqCst) > 0 {
                        return;
                    }
                    stream.write_all(OK).await.unwrap();
                }
            }
        },
    )
    .await;
    let sidecar = TestSidecar::with(standing_in(&origin)).await;
    let mut client = Http1::open(&sidecar, NA).await;
    assert_eq!(client.ask(get("/_sandbox/x")).await.head.status, 200);
    let answer = client.ask(get("/_sandbox/x")).await;
    assert_eq!(answer.code(), Some("upstream_unreachable"));
    assert_eq!(asked.load(Ordering::SeqCst), 3);
}

/// Answers one stream and resets all others.
async fn resetting(asked: Arc<AtomicUsize>) -> Origin {
    Origin::start(NA, Face::speaking(&["h2"]), move |_number, stream| {
        let asked = Arc::clone(&asked);
        async move {
            let service = hyper::service::service_fn(move |_request| {
                let first = asked.fetch_add(1, Ordering::SeqCst) == 0;
                async move {
                    let answer: Response<Payload> = Response::new(full("ok"));
                    first
                        .then_some(answer)
                        .ok_or_else(|| std::io::Error::other("no"))
                }
            });
            let served = hyper::server::conn::http2::Builder::new(TokioExecutor::new())
                .serve_connection(TokioIo::new(stream), service);
            let _ended = served.await;
        }
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_get_whose_streams_are_all_reset_is_written_twice_at_most() {
    let asked = Arc::new(AtomicUsize::new(0));
    let origin = resetting(Arc::clone(&asked)).await;
    let sidecar = TestSidecar::with(standing_in(&origin)).await;
    let client = Http2::open(&sidecar, NA).await;
    let request = || {
        Request::get(format!("https://{NA}/_sandbox/x"))
            .body(nothing())
            .unwrap()
    };
    assert_eq!(client.ask(request()).await.status(), 200);
    let answer = client.ask(request()).await;
    assert_eq!(
        answer.headers()["x-spapi-sidecar-error"],
        "upstream_unreachable"
    );
    assert!(asked.load(Ordering::SeqCst) <= 3);
}
