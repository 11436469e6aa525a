//! What hyper reads and does not tell.
//!
//! Job: hyper forgives a head some of what RFC 9112 lets a reader forgive, and says nothing of it: a length beside a transfer
//! coding is dropped, a second length too, a lone LF ends a line, a target's fragment is cut off. Two readers could take such
//! a head for two different requests, so it is refused ([`Hearing::judge`]). For that, the bytes of heads are looked at as
//! they pass.
//! Invariants: hyper alone parses. What it reads at once ends with the first empty line behind another, or sooner: hyper parses
//! after every read, and reads only for a head or a body, so that when it hands over a request, the last byte that it has read
//! is the last of its head; and the first is the one behind the body before, whose length hyper tells, or behind an empty line,
//! with which a chunked body ends too. No byte is kept, changed or read twice; only what lies behind an empty line is held
//! back until hyper asks for more. The bytes of a body with a length are not looked at.
//! Failure mode: a head that did not end here as heads end is refused: not knowing is refusing.
//! Sources: RFC 9112 sections 2.2 (lines), 3.2 (target), 6.1 and 6.3 (framing).

use std::io::{self, BufRead as _, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::task::{Context, Poll, ready};

use bytes::{Buf as _, Bytes};
use http::{HeaderMap, Method, Request, header};
use http_body::Body;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::outcome::{Failure, Reason};

/// The last byte that was read ended a head.
const WHOLE: u8 = 1;
/// A line ended in LF alone.
const BARE: u8 = 1 << 1;
/// The first line holds a `#`.
const FRAGMENT: u8 = 1 << 2;
/// There is a Content-Length.
const LENGTH: u8 = 1 << 3;
/// There is another.
const LENGTHS: u8 = 1 << 4;

/// What was heard of the head in progress, shared by a connection's IO and its service.
#[derive(Clone, Debug, Default)]
pub struct Hearing(Arc<Told>);

#[derive(Debug, Default)]
struct Told {
    heard: AtomicU8,
    /// Length of the body that follows the head; taken by the next read.
    body: AtomicU64,
}

impl Hearing {
    /// Judges a request by what was heard of its head. Has to be asked of every request, before hyper reads on.
    ///
    /// # Errors
    /// When its head can be read in two ways; the connection cannot be used any more then.
    pub fn judge<B: Body>(&self, request: &Request<B>) -> Result<(), Failure> {
        let heard = self.0.heard.load(Ordering::Relaxed);
        let length = request.body().size_hint().exact();
        self.0.body.store(length.unwrap_or(0), Ordering::Relaxed);
        let chunked = plainly_chunked(request.headers());
        let has_body = chunked.is_some() || length != Some(0);
        let what = match chunked {
            _ if heard & (WHOLE | BARE) != WHOLE => {
                "Not every line of the request head ends in CR LF."
            }
            _ if heard & FRAGMENT != 0 => "The request target holds a fragment.",
            _ if heard & LENGTHS != 0 => "The request has more than one Content-Length field.",
            Some(_) if heard & LENGTH != 0 => {
                "The request has both Content-Length and Transfer-Encoding."
            }
            Some(false) => "The request has another transfer coding than chunked.",
            _ if has_body && request.method() == Method::CONNECT => "A CONNECT request has a body.",
            Some(true) | None => return Ok(()),
        };
        Err(Failure::new(
            Reason::BadRequest,
            what,
            "Two readers could take it for two different requests (RFC 9112 sections 2.2, 3.2 and 6.3), so the connection is closed.",
        )
        .closing())
    }
}

/// Whether the one transfer coding is `chunked`; `None` where there is none.
fn plainly_chunked(fields: &HeaderMap) -> Option<bool> {
    let mut codings = fields.get_all(header::TRANSFER_ENCODING).iter();
    let first = codings.next()?;
    Some(first.as_bytes().eq_ignore_ascii_case(b"chunked") && codings.next().is_none())
}

/// An IO whose reads end where heads do.
#[derive(Debug)]
pub struct Heard<T> {
    io: T,
    hearing: Hearing,
    head: Head,
    /// What is left of a body with a length.
    body: u64,
    /// Read already, and behind an empty line.
    ahead: Bytes,
}

impl<T> Heard<T> {
    /// Wraps a connection, and gives back what its service has to ask.
    pub fn new(io: T) -> (Self, Hearing) {
        let hearing = Hearing::default();
        let heard = Self {
            io,
            hearing: hearing.clone(),
            head: Head::default(),
            body: 0,
            ahead: Bytes::new(),
        };
        (heard, hearing)
    }

    /// The connection itself, and what was read from it and not handed on.
    pub fn into_parts(self) -> (T, Bytes) {
        (self.io, self.ahead)
    }

    /// Looks at what was read; how much of it is handed on now.
    fn hear(&mut self, read: &[u8]) -> usize {
        let told = self.hearing.0.body.swap(0, Ordering::Relaxed);
        self.body = self.body.saturating_add(told);
        let body = usize::try_from(self.body).map_or(read.len(), |left| left.min(read.len()));
        self.body -= u64::try_from(body).unwrap_or(u64::MAX);
        let Some(rest) = read.get(body..).filter(|rest| !rest.is_empty()) else {
            return body;
        };
        let through = self.head.hear(rest);
        self.hearing
            .0
            .heard
            .store(self.head.heard, Ordering::Relaxed);
        body + through
    }
}

/// A head, or what may be one, as far as it was read.
#[derive(Debug, Default)]
struct Head {
    heard: u8,
    /// Whether its first line is over.
    has_line: bool,
    /// The line in progress, as far as a field's name goes.
    line: [u8; NAME.len()],
    /// The whole length of that line.
    length: usize,
    /// Its last byte.
    last: u8,
}

/// The field that hyper drops.
const NAME: &[u8; 15] = b"content-length:";

impl Head {
    /// Reads to the first empty line behind another; how far that was.
    fn hear(&mut self, bytes: &[u8]) -> usize {
        if self.heard & WHOLE != 0 {
            *self = Self::default();
        }
        let mut left = bytes;
        loop {
            let rest = left;
            // the standard library's quickest search for a byte; reading from a slice does not fail
            let taken = left.skip_until(b'\n').unwrap_or(rest.len());
            let part = rest.get(..taken).unwrap_or(rest);
            let Some((b'\n', line)) = part.split_last() else {
                self.part(part);
                return bytes.len();
            };
            self.part(line);
            if self.ends_line() {
                self.heard |= WHOLE;
                return bytes.len() - left.len();
            }
        }
    }

    /// Takes a part of a line.
    fn part(&mut self, part: &[u8]) {
        let Some(last) = part.last() else {
            return;
        };
        self.last = *last;
        if let Some(room) = self.line.get_mut(self.length..) {
            for (place, byte) in room.iter_mut().zip(part) {
                *place = *byte;
            }
        }
        self.length = self.length.saturating_add(part.len());
        if !self.has_line && part.contains(&b'#') {
            self.heard |= FRAGMENT;
        }
    }

    /// Judges the line that LF has ended; whether it is the empty one that ends a head.
    fn ends_line(&mut self) -> bool {
        let ends_in_cr = self.length > 0 && self.last == b'\r';
        let is_empty = ends_in_cr && self.length == 1;
        if !ends_in_cr {
            self.heard |= BARE;
        }
        if self.length >= NAME.len() && self.line.eq_ignore_ascii_case(NAME) {
            self.heard |= if self.heard & LENGTH == 0 {
                LENGTH
            } else {
                LENGTHS
            };
        }
        self.length = 0;
        if is_empty {
            // empty lines before a request line belong to it: hyper passes over them (RFC 9112 section 2.2), and if each
            // ended a read, a thousand of them would be read, and passed over, a thousand times
            return self.has_line;
        }
        self.has_line = true;
        false
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Heard<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if !this.ahead.is_empty() {
            let mut ahead = std::mem::take(&mut this.ahead);
            let most = ahead.len().min(buffer.remaining());
            let through = this.hear(ahead.get(..most).unwrap_or_default());
            buffer.put_slice(ahead.get(..through).unwrap_or_default());
            ahead.advance(through);
            this.ahead = ahead;
            return Poll::Ready(Ok(()));
        }
        let before = buffer.filled().len();
        ready!(Pin::new(&mut this.io).poll_read(cx, buffer))?;
        let read = buffer.filled().get(before..).unwrap_or_default();
        let through = this.hear(read);
        if let Some(behind) = read.get(through..).filter(|behind| !behind.is_empty()) {
            this.ahead = Bytes::copy_from_slice(behind);
            buffer.set_filled(before + through);
        }
        Poll::Ready(Ok(()))
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Heard<T> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
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
    use std::convert::Infallible;
    use std::sync::Mutex;

    use http::Response;
    use http_body_util::{BodyExt as _, Empty};
    use hyper::body::Incoming;
    use hyper::service::service_fn;
    use hyper_util::rt::TokioIo;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    const GET: &str = "GET /a HTTP/1.1\r\nHost: x\r\n\r\n";
    const SIZED: &str = "POST /b HTTP/1.1\r\nHost: x\r\nContent-Length: 34\r\n\r\n\r\n\r\nContent-Length: 1\r\n\r\nhello\r\n\r\n";
    const CHUNKED: &str = "POST /c HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n1d\r\n\r\n\r\nContent-Length: 1\r\n#\r\n\n\na\r\n0\r\n\r\n";
    const TRAILED: &str = "POST /d HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: CHUNKED\r\n\r\n2;x=y\r\n\r\n\r\n0\r\nContent-Length: 7\r\nx: y\r\n\r\n";
    const LEADING: &str =
        "\r\n\r\nPOST /e HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n";
    const HONEST: [&str; 5] = [GET, SIZED, CHUNKED, TRAILED, LEADING];

    const BOTH: &str =
        "POST /x HTTP/1.1\r\nContent-Length: 4\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n";
    const HOSTILE: [(&str, &str); 7] = [
        (BOTH, "both"),
        (
            "POST /x HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nCONTENT-LENGTH: 4\r\n\r\n",
            "both",
        ),
        (
            "POST /x HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
            "another transfer coding",
        ),
        (
            "POST /x HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\ncontent-length:0\r\n\r\n",
            "more than one",
        ),
        ("GET /x#y HTTP/1.1\r\nHost: x\r\n\r\n", "fragment"),
        ("GET /x HTTP/1.1\r\nHost: x\n\r\n", "CR LF"),
        ("GET /x HTTP/1.1\r\nHost: x\r\na: b\n\n\r\n\r\n", "CR LF"),
    ];

    /// What is said of each request in these bytes, when at most `piece` of them come at once.
    async fn judged(bytes: &str, piece: usize) -> Vec<Result<(), String>> {
        let (near, mut far) = tokio::io::duplex(piece);
        let (heard, hearing) = Heard::new(near);
        let judged = Arc::<Mutex<Vec<_>>>::default();
        let notes = Arc::clone(&judged);
        let service = service_fn(move |request: Request<Incoming>| {
            let verdict = hearing.judge(&request);
            let closes = verdict.is_err();
            notes
                .lock()
                .unwrap()
                .push(verdict.map_err(|failure| failure.message));
            async move {
                // read to its end, or not at all
                let _whole = request.into_body().collect().await;
                let mut response = Response::new(Empty::<Bytes>::new());
                if closes {
                    let close = http::HeaderValue::from_static("close");
                    response.headers_mut().insert(header::CONNECTION, close);
                }
                Ok::<_, Infallible>(response)
            }
        });
        let served = hyper::server::conn::http1::Builder::new()
            .half_close(true)
            .serve_connection(TokioIo::new(heard), service);
        let (mut from, mut to) = tokio::io::split(&mut far);
        let asks = async {
            // it may be closed before all of it is there
            let _sent = to.write_all(bytes.as_bytes()).await;
            let _ended = to.shutdown().await;
        };
        let listens = async {
            let mut answers = Vec::new();
            let _ended = from.read_to_end(&mut answers).await;
        };
        let (_served, (), ()) = tokio::join!(served, asks, listens);
        judged.lock().unwrap().clone()
    }

    #[tokio::test]
    async fn honest_requests_are_let_through_in_any_order_and_in_pieces_of_any_size() {
        for first in HONEST {
            for second in HONEST {
                for piece in [1, 2, 3, 7, 40, 4096] {
                    let bytes = format!("{first}{second}{GET}");
                    let judged = judged(&bytes, piece).await;
                    assert_eq!(judged, [Ok(()), Ok(()), Ok(())], "{piece}: {bytes}");
                }
            }
        }
    }

    #[tokio::test]
    async fn a_head_of_two_readings_is_refused_behind_any_request_and_in_pieces_of_any_size() {
        for first in HONEST {
            for (second, want) in HOSTILE {
                for piece in [1, 2, 3, 7, 40, 4096] {
                    let bytes = format!("{first}{second}");
                    let judged = judged(&bytes, piece).await;
                    let [Ok(()), Err(why)] = &*judged else {
                        panic!("{piece}: {bytes}: {judged:?}");
                    };
                    assert!(why.contains(want), "{piece}: {bytes}: {why}");
                }
            }
        }
    }

    #[tokio::test]
    async fn a_length_that_ends_in_a_value_is_no_field() {
        for value in [
            "x: content-length: 4",
            "x-content-length: 4",
            "content-length-x: 4",
        ] {
            let bytes = BOTH.replace("Content-Length: 4", value);
            for piece in [1, 5, 4096] {
                assert_eq!(judged(&format!("{bytes}0\r\n\r\n"), piece).await, [Ok(())]);
            }
        }
    }

    #[tokio::test]
    async fn what_follows_an_empty_line_waits_until_more_is_asked_for() {
        let mut io = hearing("GET / HTTP/1.1\r\n\r\nbehind");
        let mut buffer = [0; 64];
        assert_eq!(io.read(&mut buffer).await.unwrap(), 18);
        let (_, ahead) = io.into_parts();
        assert_eq!(&*ahead, b"behind");
    }

    fn hearing(text: &'static str) -> Heard<&'static [u8]> {
        Heard::new(text.as_bytes()).0
    }
}
