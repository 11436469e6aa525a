//! A connection whose answer is read although its request could not be sent to the end.
//!
//! Job: when the origin has stopped reading (it answered early and closed), throw away what would be written, so that the
//! answer that came before is still read.
//! Invariants: reading is untouched: with no answer there, the read fails and so does the request; nothing that was thrown away
//! is ever taken for sent, since only an answer ends a request well.
//! Failure mode: the error of the read.
//! Source: RFC 9112 section 9.3 (a client that sees an early answer stops sending).

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Wraps the IO below TLS.
#[derive(Debug)]
pub struct Lingering<T> {
    io: T,
    deaf: bool,
}

impl<T> Lingering<T> {
    /// Wraps a connection.
    pub const fn new(io: T) -> Self {
        Self { io, deaf: false }
    }

    /// The outcome of a write: a peer that no longer listens is no error of ours yet.
    fn forgiven(
        &mut self,
        written: Poll<io::Result<usize>>,
        wanted: usize,
    ) -> Poll<io::Result<usize>> {
        match written {
            Poll::Ready(Err(error)) if is_deaf(&error) => {
                self.deaf = true;
                Poll::Ready(Ok(wanted))
            }
            Poll::Ready(_) | Poll::Pending => written,
        }
    }
}

fn is_deaf(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset
    )
}

impl<T: AsyncRead + Unpin> AsyncRead for Lingering<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_read(cx, buffer)
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Lingering<T> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        if self.deaf {
            return Poll::Ready(Ok(bytes.len()));
        }
        let written = Pin::new(&mut self.io).poll_write(cx, bytes);
        self.forgiven(written, bytes.len())
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let wanted = bytes.iter().map(|slice| slice.len()).sum();
        if self.deaf {
            return Poll::Ready(Ok(wanted));
        }
        let written = Pin::new(&mut self.io).poll_write_vectored(cx, bytes);
        self.forgiven(written, wanted)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.deaf {
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    #[tokio::test]
    async fn an_answer_that_came_before_the_peer_stopped_listening_is_read() {
        let (near, mut far) = tokio::io::duplex(64);
        let mut lingering = Lingering::new(near);
        far.write_all(b"413").await.unwrap();
        drop(far);
        lingering.write_all(&[0; 1000]).await.unwrap();
        let mut answer = String::new();
        lingering.read_to_string(&mut answer).await.unwrap();
        assert_eq!(answer, "413");
    }
}
