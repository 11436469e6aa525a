//! hyper's own refusals, in our words.
//!
//! Job: where hyper cannot read a head it answers by itself, bare; put the contract's answer in its place, and record it.
//! Invariants: nothing but an answer that hyper made is touched: those have no field of ours, no body, and are one write of a
//! few bytes; every answer that went through the walk carries a request id and is left alone.
//! Failure mode: an answer that is not recognised goes out as hyper made it.
//! Source: CONTRACT section 2.12.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::{Buf as _, Bytes};
use http::{HeaderMap, Method};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::{Shared, respond};
use crate::outcome::{Failure, Reason};
use crate::telemetry::record::Record;

/// How hyper ends an answer of its own.
const TAIL: &[u8] = b"connection: close\r\ncontent-length: 0\r\n\r\n";

/// No answer of hyper's own is longer.
const LONGEST: usize = 128;

/// A connection under an HTTP/1.1 server.
#[derive(Debug)]
pub struct Amended<T> {
    io: T,
    shared: Arc<Shared>,
    host: Arc<str>,
    /// What is being written instead, and how many bytes of hyper's it stands for.
    instead: Option<(Bytes, usize)>,
}

impl<T> Amended<T> {
    /// `host` is what the record names; empty before a CONNECT.
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

    fn amended(&self, bytes: &[u8]) -> Option<Bytes> {
        let failure = failure(bytes)?;
        let id = self.shared.next_id();
        let mut record = Record::open(
            Arc::clone(&self.shared.recorder),
            id,
            Arc::clone(&self.host),
            // the head could not be read: there is no method
            Method::from_bytes(b"UNREADABLE").unwrap_or_default(),
        );
        let local = respond::refuse(&failure, &mut record);
        record.status = local.status.as_u16();
        let mut fields = local.fields;
        respond::stamp(&mut fields, id);
        Some(plain(local.status, &fields, &local.body))
    }
}

/// What hyper's own answer means in our words, if this is one.
fn failure(bytes: &[u8]) -> Option<Failure> {
    if bytes.len() > LONGEST {
        return None;
    }
    let line = bytes.strip_suffix(TAIL)?.strip_suffix(b"\r\n")?;
    if line.contains(&b'\n') {
        // there are fields: somebody else's answer
        return None;
    }
    match line.strip_prefix(b"HTTP/1.1 ")?.get(..4)? {
        b"400 " => Some(Failure::new(
            Reason::BadRequest,
            "The request head cannot be read.",
            "It breaks RFC 9112: check field names, line ends, the target and the version.",
        )),
        b"414 " | b"431 " => Some(Failure::new(
            Reason::HeaderTooLarge,
            "The request head is larger than the sidecar takes.",
            "The bound is listen.limits.header_bytes.",
        )),
        _ => None,
    }
}

fn plain(status: http::StatusCode, fields: &HeaderMap, body: &[u8]) -> Bytes {
    let mut text = Vec::with_capacity(512);
    text.extend_from_slice(format!("HTTP/1.1 {status}\r\n").as_bytes());
    for (name, value) in fields {
        text.extend_from_slice(name.as_str().as_bytes());
        text.extend_from_slice(b": ");
        text.extend_from_slice(value.as_bytes());
        text.extend_from_slice(b"\r\n");
    }
    text.extend_from_slice(
        format!(
            "connection: close\r\ncontent-length: {}\r\n\r\n",
            body.len()
        )
        .as_bytes(),
    );
    text.extend_from_slice(body);
    text.into()
}

impl<T: AsyncRead + Unpin> AsyncRead for Amended<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_read(cx, buffer)
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Amended<T> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        if this.instead.is_none() {
            match this.amended(bytes) {
                None => return Pin::new(&mut this.io).poll_write(cx, bytes),
                Some(text) => this.instead = Some((text, bytes.len())),
            }
        }
        while let Some((text, stands_for)) = &mut this.instead {
            if text.is_empty() {
                let stands_for = *stands_for;
                this.instead = None;
                return Poll::Ready(Ok(stands_for));
            }
            let written = ready!(Pin::new(&mut this.io).poll_write(cx, text))?;
            text.advance(written);
        }
        Poll::Ready(Ok(0))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        // an answer of hyper's own is one slice
        match bytes {
            [one] => self.poll_write(cx, one),
            _ => Pin::new(&mut self.io).poll_write_vectored(cx, bytes),
        }
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
    fn only_an_answer_that_hyper_made_is_recognised() {
        let own = b"HTTP/1.1 400 Bad Request\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";
        let too_large = b"HTTP/1.1 431 Request Header Fields Too Large\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";
        assert_eq!(failure(own).map(|f| f.reason), Some(Reason::BadRequest));
        assert_eq!(
            failure(too_large).map(|f| f.reason),
            Some(Reason::HeaderTooLarge)
        );
        for other in [
            &b"HTTP/1.1 400 Bad Request\r\nx-spapi-sidecar-request-id: 1\r\ncontent-length: 5\r\n\r\nhello"[..],
            b"HTTP/1.1 400 Bad Request\r\nx-spapi-sidecar-request-id: 0123456789abcdef\r\nconnection: close\r\ncontent-length: 0\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 0\r\n\r\n",
            b"HTTP/1.1 404 Not Found\r\nconnection: close\r\ncontent-length: 0\r\n\r\n",
        ] {
            assert!(failure(other).is_none(), "{}", String::from_utf8_lossy(other));
        }
    }
}
