//! The first TLS message, read without answering it.
//!
//! Job: read a ClientHello from a connection whose bytes may have to go elsewhere, and give back both the name it asks for and
//! every byte read; say why one is refused.
//! Invariants: bounded in size (rustls takes no more than 64 KiB before a ClientHello is whole) and time; nothing is written but
//! the alert of a refusal; the bytes are handed on as they came.
//! Failure mode: what is not a ClientHello, or one that nobody here can answer, is refused: with an alert, if it
//! is a TLS handshake at all.
//! Sources: RFC 8446 section 4.1.2; RFC 6066 section 3 (SNI).

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::{Buf as _, Bytes, BytesMut};
use rustls::server::Acceptor;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, ReadBuf};

use super::{Shared, respond};
use crate::outcome::{Failure, Reason};
use crate::telemetry::record::Record;

/// What a record with a ClientHello begins with (RFC 8446 section 5.1).
const HANDSHAKE: u8 = 22;

/// The alert that a server which does not know the name sends, as a record (RFC 6066 section 3; RFC 8446 section 6).
const UNRECOGNIZED_NAME: &[u8] = &[21, 3, 3, 0, 2, 2, 112];

/// What a ClientHello asks for, and the bytes it came in.
#[derive(Debug)]
pub struct Hello {
    /// The server name, if it sent one.
    pub sni: Option<String>,
    /// All bytes read so far.
    pub bytes: Bytes,
}

/// Reads a ClientHello.
///
/// # Errors
/// When the connection ends, or says something else than TLS.
pub async fn read(io: &mut (impl AsyncRead + AsyncWrite + Unpin)) -> io::Result<Hello> {
    let mut acceptor = Acceptor::default();
    let mut bytes = BytesMut::with_capacity(4 << 10);
    loop {
        let from = bytes.len();
        if io.read_buf(&mut bytes).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let mut fresh = bytes.get(from..).unwrap_or_default();
        // asked after every part: the acceptor's buffer has room for one record, unless it knows of a longer message
        while !fresh.is_empty() {
            acceptor.read_tls(&mut fresh)?;
            match acceptor.accept() {
                Ok(None) => {}
                Ok(Some(accepted)) => {
                    return Ok(Hello {
                        sni: accepted.client_hello().server_name().map(str::to_owned),
                        bytes: bytes.freeze(),
                    });
                }
                Err((error, mut alert)) => {
                    // whoever speaks something else is told nothing: it would not understand
                    if bytes.first() == Some(&HANDSHAKE) {
                        let mut told = Vec::new();
                        alert.write_all(&mut told)?;
                        close(io, &told).await;
                    }
                    return Err(io::Error::new(io::ErrorKind::InvalidData, error));
                }
            }
        }
    }
}

/// Ends a connection whose client asks for a name that it does not get.
pub async fn not_here(io: &mut (impl AsyncWrite + Unpin)) {
    close(io, UNRECOGNIZED_NAME).await;
}

async fn close(io: &mut (impl AsyncWrite + Unpin), alert: &[u8]) {
    // it may be gone already
    let _told = io.write_all(alert).await;
    let _closed = io.shutdown().await;
}

/// What is said of a hello that no handshake can follow.
#[must_use]
pub fn unusable(error: &(dyn std::error::Error + 'static)) -> Failure {
    Failure::new(
        Reason::BadRequest,
        format!("What the client said is no usable ClientHello: {error}."),
        "Speak TLS 1.2 or 1.3 here.",
    )
}

/// What is said of a hello that asks for another name.
#[must_use]
pub fn misnamed(host: &str) -> Failure {
    Failure::new(
        Reason::NameMismatch,
        "The ClientHello asks for another name than the CONNECT host.",
        format!("The connection was opened for {host}; open one for each host."),
    )
}

/// Writes the access record of a connection that is closed before there is anybody to answer.
pub fn refuse(shared: &Shared, host: &Arc<str>, failure: &Failure) {
    let mut record = Record::open(
        Arc::clone(&shared.recorder),
        shared.next_id(),
        Arc::clone(host),
        http::Method::CONNECT,
    );
    note(failure, &mut record);
}

/// Notes in a connection's record that it is closed without an answer.
pub fn note(failure: &Failure, record: &mut Record) {
    let _untold = respond::refuse(failure, record);
    tracing::info!(request_id = %record.id, host = %record.host, reason = failure.reason.code(), "{}", failure.message);
}

/// A connection with bytes that were read from it already.
#[derive(Debug)]
pub struct Rewound<T> {
    ahead: Bytes,
    io: T,
}

impl<T> Rewound<T> {
    /// Puts bytes back in front of a connection.
    pub const fn new(ahead: Bytes, io: T) -> Self {
        Self { ahead, io }
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Rewound<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.ahead.is_empty() {
            return Pin::new(&mut self.io).poll_read(cx, buffer);
        }
        let n = self.ahead.len().min(buffer.remaining());
        buffer.put_slice(self.ahead.get(..n).unwrap_or_default());
        self.ahead.advance(n);
        Poll::Ready(Ok(()))
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Rewound<T> {
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
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write_vectored(cx, bytes)
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

    #[tokio::test]
    async fn a_client_that_closes_within_its_hello_or_never_ends_it_is_not_waited_for() {
        let (mut client, mut door) = tokio::io::duplex(4 << 10);
        client.write_all(&[HANDSHAKE, 3, 1, 2, 0, 1]).await.unwrap();
        drop(client);
        let ended = read(&mut door).await.unwrap_err();
        assert_eq!(ended.kind(), io::ErrorKind::UnexpectedEof);

        // as long as a message may be: in records of 16 KiB, and of one byte
        for size in [16 << 10, 1] {
            let (mut client, mut door) = tokio::io::duplex(1 << 20);
            let mut message = vec![1, 0, 0xff, 0xff];
            message.resize(64 << 10, 0);
            for part in message.chunks(size) {
                let [high, low] = u16::try_from(part.len()).unwrap().to_be_bytes();
                let record = [&[HANDSHAKE, 3, 1, high, low], part].concat();
                client.write_all(&record).await.unwrap();
            }
            drop(client);
            let refused = read(&mut door).await.unwrap_err();
            assert_eq!(refused.kind(), io::ErrorKind::InvalidData, "{size}");
        }
    }
}
