//! A client's TCP connection that can be asked whether its client has gone.
//!
//! Job: while hyper reads nothing because a request is being served, notice that the client has closed.
//! Invariants: asking takes nothing off the stream. A client that has closed its half alone looks the same: whoever acts on it
//! owes it an answer.
//! Failure mode: a connection that is over has no client.
//! Source: RFC 9112 section 9.6 (a half-closed peer may still read).

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Weak};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};

use super::pulse::{Pulse, Pulsed};

/// Pause between two looks at a client that has sent something that nobody reads yet.
const LOOK_AGAIN: Duration = Duration::from_millis(250);

/// A client's connection.
#[derive(Debug)]
pub struct Socket {
    reading: Arc<OwnedReadHalf>,
    writing: OwnedWriteHalf,
}

/// Who asks whether a client is there.
#[derive(Debug)]
pub struct Presence(Weak<OwnedReadHalf>);

impl Socket {
    /// Takes a connection over, and ties its clock to it.
    #[must_use]
    pub fn pulsed(stream: TcpStream, pulse: Arc<Pulse>) -> Pulsed<Self> {
        let (reading, writing) = stream.into_split();
        let reading = Arc::new(reading);
        pulse.watch(Presence(Arc::downgrade(&reading)));
        Pulsed::new(Self { reading, writing }, pulse)
    }
}

impl Presence {
    /// Completes when the client has closed, its own half at least.
    pub async fn ends(&self) {
        while let Some(reading) = self.0.upgrade() {
            match reading.ready(Interest::READABLE).await {
                Ok(ready) if ready.is_read_closed() => return,
                Ok(_something_to_read) => {}
                Err(_broken) => return,
            }
            drop(reading);
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    }
}

/// Reads what is there; `None` when nothing is. A read that leaves room has emptied the socket: the runtime is told at once that
/// there is nothing more, which saves the call that would find it out, as tokio's own `poll_read` does where nobody shares the
/// stream. What arrives between the two is announced anew.
fn read_once(stream: &TcpStream, buffer: &mut [u8]) -> io::Result<Option<usize>> {
    let room = buffer.len();
    let mut read = None;
    let outcome = stream.try_io(Interest::READABLE, || {
        let bytes = rustix::io::read(stream, &mut *buffer)?;
        read = Some(bytes);
        if 0 < bytes && bytes < room {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        Ok(())
    });
    match outcome {
        Err(error) if error.kind() != io::ErrorKind::WouldBlock => Err(error),
        Ok(()) | Err(_) => Ok(read),
    }
}

impl AsyncRead for Socket {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let stream: &TcpStream = (*self.reading).as_ref();
        loop {
            std::task::ready!(stream.poll_read_ready(cx))?;
            if let Some(read) = read_once(stream, buffer.initialize_unfilled())? {
                buffer.advance(read);
                return Poll::Ready(Ok(()));
            }
        }
    }
}

impl AsyncWrite for Socket {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.writing).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.writing).poll_write_vectored(cx, bytes)
    }

    fn is_write_vectored(&self) -> bool {
        self.writing.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.writing).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.writing).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    use super::*;

    #[tokio::test]
    async fn a_client_that_closes_is_noticed_although_nobody_reads_and_what_it_sent_is_still_there()
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).await;
        let mut client = client.unwrap();
        let (stream, _) = listener.accept().await.unwrap();
        let pulse = Pulse::new(Duration::from_secs(90), Duration::from_secs(10));
        let mut socket = Socket::pulsed(stream, Arc::clone(&pulse));
        client.write_all(b"hello").await.unwrap();
        tokio::select! {
            () = pulse.client_has_gone() => panic!("it is there"),
            () = tokio::time::sleep(LOOK_AGAIN * 2) => {}
        }
        drop(client);
        pulse.client_has_gone().await;
        let mut said = String::new();
        socket.read_to_string(&mut said).await.unwrap();
        assert_eq!(said, "hello");
    }
}
