//! Endings: an answer that is not whole never looks whole, and nobody works for a client that has gone.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{Request, Response};
use http_body::{Body, Frame};
use http_body_util::BodyExt as _;
use tokio::io::AsyncWriteExt as _;

use super::standing_in;
use crate::support::peer::{Face, Http1, Http2, Origin, nothing, read_head, soon};
use crate::support::sidecar::{NA, TestSidecar, eventually};

fn get(target: &str) -> String {
    format!("GET {target} HTTP/1.1\r\nhost: {NA}\r\n\r\n")
}

async fn last_record_says(sidecar: &TestSidecar, outcome: &str) {
    eventually(outcome, || {
        sidecar
            .records()
            .last()
            .is_some_and(|one| one["outcome"] == outcome)
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_that_upstream_breaks_off_is_an_error_for_the_client() {
    let sidecar = TestSidecar::start().await;
    let mut client = Http1::open(&sidecar, NA).await;
    client.write(get("/_sandbox/truncate/100000")).await;
    let head = client.head().await;
    assert_eq!(head.field("content-length"), Some("100000"));
    assert!(client.rest(head, false).await.is_err());
    last_record_says(&sidecar, "failed").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_that_upstream_breaks_off_is_an_error_over_http2() {
    let sidecar = TestSidecar::start().await;
    let client = Http2::open(&sidecar, NA).await;
    let request = Request::get(format!("https://{NA}/_sandbox/truncate/100000"))
        .body(nothing())
        .unwrap();
    let answer = client.send(request).await.unwrap();
    assert!(soon("an end", answer.into_body().collect()).await.is_err());
    last_record_says(&sidecar, "failed").await;
}

/// An origin that answers with these bytes and closes the connection, properly.
async fn last_words(words: &'static str) -> Origin {
    Origin::start(
        NA,
        Face::speaking(&["http/1.1"]),
        move |_number, mut stream| async move {
            if read_head(&mut stream).await.is_ok() {
                stream.write_all(words.as_bytes()).await.unwrap();
                stream.shutdown().await.unwrap();
            }
        },
    )
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_chunked_answer_without_its_last_chunk_is_an_error_for_the_client() {
    let origin =
        last_words("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n").await;
    let sidecar = TestSidecar::with(standing_in(&origin)).await;
    let mut client = Http1::open(&sidecar, NA).await;
    client.write(get("/_sandbox/x")).await;
    let head = client.head().await;
    assert!(client.rest(head, false).await.is_err());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_that_ends_with_its_connection_is_passed_on_whole() {
    for words in [
        "HTTP/1.1 200 OK\r\nconnection: close\r\n\r\nuntil the end",
        "HTTP/1.0 200 OK\r\n\r\nuntil the end",
    ] {
        let origin = last_words(words).await;
        let sidecar = TestSidecar::with(standing_in(&origin)).await;
        let mut client = Http1::open(&sidecar, NA).await;
        for _ in 0..2 {
            assert_eq!(client.ask(get("/_sandbox/x")).await.body, b"until the end");
        }
        last_record_says(&sidecar, "forwarded").await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_goes_away_ends_the_transfer_and_is_recorded_as_cancelled() {
    let ended = Arc::new(AtomicBool::new(false));
    let note = Arc::clone(&ended);
    let origin = Origin::start(
        NA,
        Face::speaking(&["http/1.1"]),
        move |_number, mut stream| {
            let note = Arc::clone(&note);
            async move {
                if read_head(&mut stream).await.is_err() {
                    return;
                }
                let head = b"HTTP/1.1 200 OK\r\ncontent-length: 1000000000000\r\n\r\n";
                stream.write_all(head).await.unwrap();
                while stream.write_all(&[7; 10_000]).await.is_ok() {}
                note.store(true, Ordering::SeqCst);
            }
        },
    )
    .await;
    let sidecar = TestSidecar::with(standing_in(&origin)).await;
    let mut client = Http1::open(&sidecar, NA).await;
    client.write(get("/_sandbox/x")).await;
    client.head().await;
    drop(client);
    eventually("the origin is told", || ended.load(Ordering::SeqCst)).await;
    last_record_says(&sidecar, "cancelled").await;
}

/// A body without end that says when it is dropped.
struct Endless(Arc<AtomicBool>);

impl Drop for Endless {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

impl Body for Endless {
    type Data = Bytes;
    type Error = std::io::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        _cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, std::io::Error>>> {
        Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(&[7; 10_000])))))
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_that_the_client_resets_is_reset_upstream_and_recorded_as_cancelled() {
    let ended = Arc::new(AtomicBool::new(false));
    let note = Arc::clone(&ended);
    let origin = Origin::http2(NA, move |_request| {
        let body = Endless(Arc::clone(&note)).boxed_unsync();
        Box::pin(async move { Response::new(body) })
    })
    .await;
    let sidecar = TestSidecar::with(standing_in(&origin)).await;
    let client = Http2::open(&sidecar, NA).await;
    let request = Request::get(format!("https://{NA}/_sandbox/x"))
        .body(nothing())
        .unwrap();
    let answer = client.send(request).await.unwrap();
    assert!(!ended.load(Ordering::SeqCst));
    drop(answer);
    eventually("the origin is told", || ended.load(Ordering::SeqCst)).await;
    last_record_says(&sidecar, "cancelled").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upload_that_the_client_breaks_off_never_looks_whole_upstream() {
    let sidecar = TestSidecar::start().await;
    let mut client = Http1::open(&sidecar, NA).await;
    client
        .write(format!("POST /_sandbox/sink HTTP/1.1\r\nhost: {NA}\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n"))
        .await;
    eventually("the upload has begun", || sidecar.received().len() == 1).await;
    drop(client);
    eventually("it is over", || sidecar.received()[0].body_sha256.is_some()).await;
    assert!(!sidecar.received()[0].body_complete);
}
