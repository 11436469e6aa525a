//! The body of an origin's answer.
//!
//! Job: stream it, and put its HTTP/1.1 connection back into the pool with the last byte.
//! Invariant: a connection goes back only after its answer was read to the end.
//! Failure mode: a body that breaks off, or is dropped before its end, takes its connection with it.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use hyper::client::conn::http1;

use super::client::Payload;
use super::pool::{Key, Pool};

/// An answer's body. Read to its end, it gives its HTTP/1.1 connection back.
#[derive(Debug)]
pub struct Streamed<B: Payload> {
    incoming: Incoming,
    back: Option<Back<B>>,
}

/// Where a connection goes when its answer has been read.
pub(super) struct Back<B> {
    pub(super) pool: Arc<Pool<B>>,
    pub(super) key: Key,
    pub(super) sender: http1::SendRequest<B>,
}

impl<B> std::fmt::Debug for Back<B> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Back")
            .field("key", &self.key)
            .finish_non_exhaustive()
    }
}

impl<B: Payload> Streamed<B> {
    pub(super) fn new(incoming: Incoming, back: Option<Back<B>>) -> Self {
        let mut body = Self { incoming, back };
        if body.incoming.is_end_stream() {
            body.give_back();
        }
        body
    }

    fn give_back(&mut self) {
        if let Some(Back { pool, key, sender }) = self.back.take() {
            pool.put(&key, sender);
        }
    }
}

impl<B: Payload> Body for Streamed<B> {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let frame = ready!(Pin::new(&mut self.incoming).poll_frame(cx));
        match &frame {
            None => self.give_back(),
            Some(Ok(_)) if self.incoming.is_end_stream() => self.give_back(),
            Some(Ok(_)) => {}
            Some(Err(_)) => self.back = None,
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming.size_hint()
    }
}
