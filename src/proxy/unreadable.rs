//! Heads that hyper cannot read.
//!
//! Job: hyper answers them by itself, before any request exists, with a bare status; put our own answer in its place, in
//! SP-API's error shape, and write a record.
//! Invariants: nothing else is touched: what is replaced is a whole write that is exactly hyper's bare answer, which no
//! answer of ours or of upstream can be, as each of those carries the request id.
//! Failure mode: a bare answer that is not recognised goes out as hyper wrote it.
//! Source: CONTRACT section 2.12.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::{Buf as _, Bytes};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::{Shared, respond};
use crate::outcome::{Failure, Reason};
use crate::telemetry::record::Record;

/// What hyper's own answers end with.
const BARE_END: &[u8] = b"\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";

/// An IO over which hyper's bare answers become ours.
#[derive(Debug)]
pub struct Spoken<T> {
    io: T,
    shared: Arc<Shared>,
    host: Arc<str>,
    instead: Option<Instead>,
}

/// What is being written in the place of a bare answer.
#[derive(Debug)]
struct Instead {
    left: Bytes,
    /// Length of the bare answer: what hyper is told was written.
    stands_for: usize,
}

impl<T> Spoken<T> {
    /// Wraps a connection for a host; the host is empty where none is known yet.
    pub const fn new(io: T, shared: Arc<Shared>, host: Arc<str>) -> Self {
        Self {
            io,
            shared,
            host,
            instead: None,
        }
    }

    /// The connection itself.
    pub fn into_inner(self) -> T {
        self.io
    }

    fn answer(&self, reason: Reason) -> Bytes {
        let method = http::Method::from_bytes(b"UNREADABLE").expect("letters are a method");
        let mut record = Record::open(
            Arc::clone(&self.shared.recorder),
            self.shared.next_id(),
            Arc::clone(&self.host),
            method,
        );
        let failure = if reason == Reason::HeaderTooLarge {
            let bound = self.shared.world.load().config.listen.limits.header_bytes;
            Failure::new(
                reason,
                "The request head is larger than the sidecar takes.",
                format!(
                    "The bound is listen.limits.header_bytes, now {bound} bytes, and a hundred fields."
                ),
            )
        } else {
            Failure::new(
                reason,
                "The request head cannot be read.",
                "It breaks HTTP/1.1's grammar (RFC 9112): control bytes in the target, a field name or value with bytes that cannot stand there, or a contradiction in its framing.",
            )
        };
        let local = respond::refuse(&failure, &mut record);
        respond::as_text(local, record)
    }
}

/// Why hyper refused a head, where these bytes are its bare answer and nothing else.
fn bare(bytes: &[u8]) -> Option<Reason> {
    let line = bytes.strip_suffix(BARE_END)?;
    if line.contains(&b'\r') || !line.starts_with(b"HTTP/1.") {
        return None;
    }
    match line.get(9..12)? {
        b"400" => Some(Reason::BadRequest),
        b"414" | b"431" => Some(Reason::HeaderTooLarge),
        _ => None,
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Spoken<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_read(cx, buffer)
    }
}

impl<T: AsyncWrite + Unpin> Spoken<T> {
    /// Writes what stands in the place of `bytes`; `None` where nothing does.
    fn poll_instead(
        &mut self,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Option<Poll<io::Result<usize>>> {
        if self.instead.is_none() {
            let left = self.answer(bare(bytes)?);
            self.instead = Some(Instead {
                left,
                stands_for: bytes.len(),
            });
        }
        Some(self.poll_rest(cx))
    }

    fn poll_rest(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let Some(instead) = &mut self.instead else {
            return Poll::Ready(Ok(0));
        };
        while instead.left.has_remaining() {
            let written = ready!(Pin::new(&mut self.io).poll_write(cx, &instead.left))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            instead.left.advance(written);
        }
        let stands_for = instead.stands_for;
        self.instead = None;
        Poll::Ready(Ok(stands_for))
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Spoken<T> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.poll_instead(cx, bytes) {
            Some(polled) => polled,
            None => Pin::new(&mut self.io).poll_write(cx, bytes),
        }
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let mut filled = slices.iter().filter(|slice| !slice.is_empty());
        if let (Some(only), None) = (filled.next(), filled.next())
            && let Some(polled) = self.poll_instead(cx, only)
        {
            return polled;
        }
        Pin::new(&mut self.io).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_hypers_whole_bare_answer_is_taken_for_one() {
        for (text, want) in [
            (
                "HTTP/1.1 400 Bad Request\r\nconnection: close\r\ncontent-length: 0\r\n\r\n",
                Some(Reason::BadRequest),
            ),
            (
                "HTTP/1.1 414 URI Too Long\r\nconnection: close\r\ncontent-length: 0\r\n\r\n",
                Some(Reason::HeaderTooLarge),
            ),
            (
                "HTTP/1.1 431 Request Header Fields Too Large\r\nconnection: close\r\ncontent-length: 0\r\n\r\n",
                Some(Reason::HeaderTooLarge),
            ),
            (
                "HTTP/1.1 400 Bad Request\r\nx: y\r\nconnection: close\r\ncontent-length: 0\r\n\r\n",
                None,
            ),
            (
                "HTTP/1.1 500 Oh\r\nconnection: close\r\ncontent-length: 0\r\n\r\n",
                None,
            ),
            ("HTTP/1.1 400 Bad Request\r\n", None),
            ("", None),
        ] {
            assert_eq!(bare(text.as_bytes()), want, "{text:?}");
        }
    }
}
