//! Connections: accept, TLS, HTTP/1.1 or HTTP/2 by ALPN, and the ways to break them off.
//!
//! Invariant: every task belongs to the sandbox's tracker and ends when the sandbox stops.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::door::{self, Reset};
use super::world::World;

const HANDSHAKE: Duration = Duration::from_secs(10);
const PAUSE_AFTER_ERROR: Duration = Duration::from_millis(50);
const STREAMS: u32 = 1000;
const STREAM_WINDOW: u32 = 1 << 20;
const CONNECTION_WINDOW: u32 = 8 << 20;

/// What a connection's requests share.
#[derive(Debug)]
pub(super) struct Line {
    pub(super) number: u64,
    pub(super) sni: Option<String>,
    served: AtomicU32,
    broken: Arc<AtomicBool>,
    cut: CancellationToken,
}

impl Line {
    /// Counts this request; its number on the connection, from 1.
    pub(super) fn served(&self) -> u32 {
        self.served.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// Resets the connection under all its requests.
    pub(super) fn reset(&self) -> Reset {
        self.broken.store(true, Ordering::Relaxed);
        self.cut.cancel();
        Reset
    }
}

/// Tasks that end with the sandbox.
#[derive(Clone, Debug)]
pub(super) struct Tasks {
    pub(super) tracker: TaskTracker,
    pub(super) stop: CancellationToken,
}

impl Tasks {
    pub(super) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let stop = self.stop.clone();
        self.tracker.spawn(async move {
            tokio::select! {
                () = stop.cancelled() => {}
                () = task => {}
            }
        });
    }
}

impl<F> hyper::rt::Executor<F> for Tasks
where
    F: Future + Send + 'static,
    F::Output: Send,
{
    fn execute(&self, task: F) {
        self.spawn(async move {
            task.await;
        });
    }
}

/// Accepts until the sandbox stops.
pub(super) async fn accept(
    world: Arc<World>,
    listener: TcpListener,
    tls: TlsAcceptor,
    tasks: Tasks,
) {
    let number = AtomicU64::new(0);
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            tokio::time::sleep(PAUSE_AFTER_ERROR).await;
            continue;
        };
        let number = number.fetch_add(1, Ordering::Relaxed) + 1;
        let (world, tls, of_connection) = (Arc::clone(&world), tls.clone(), tasks.clone());
        tasks.spawn(async move {
            connection(world, stream, tls, of_connection, number).await;
        });
    }
}

async fn connection(
    world: Arc<World>,
    stream: TcpStream,
    tls: TlsAcceptor,
    tasks: Tasks,
    number: u64,
) {
    let broken = Arc::new(AtomicBool::new(false));
    // without it small answers wait for the peer's delayed acknowledgement; a socket that refuses only becomes slower
    stream.set_nodelay(true).ok();
    let wire = Wire {
        stream,
        broken: Arc::clone(&broken),
    };
    let Ok(Ok(stream)) = tokio::time::timeout(HANDSHAKE, tls.accept(wire)).await else {
        return;
    };
    let (_, session) = stream.get_ref();
    let line = Arc::new(Line {
        number,
        sni: session.server_name().map(str::to_ascii_lowercase),
        served: AtomicU32::new(0),
        broken,
        cut: CancellationToken::new(),
    });
    let h2 = session.alpn_protocol() == Some(b"h2");
    let cut = line.cut.clone();
    tokio::select! {
        () = cut.cancelled() => {}
        () = speak(world, line, stream, tasks, h2) => {}
    }
}

/// Serves a connection; how it ended is the client's to see.
async fn speak(
    world: Arc<World>,
    line: Arc<Line>,
    stream: TlsStream<Wire>,
    tasks: Tasks,
    h2: bool,
) {
    let io = TokioIo::new(stream);
    let service =
        service_fn(move |request| door::serve(Arc::clone(&world), Arc::clone(&line), request));
    if h2 {
        let served = http2::Builder::new(tasks)
            .timer(TokioTimer::new())
            .max_concurrent_streams(STREAMS)
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .serve_connection(io, service);
        served.await.ok();
    } else {
        // idle connections stay open, so that only the fault that closes them does
        let served = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(None)
            .serve_connection(io, service);
        served.await.ok();
    }
}

/// A TCP stream that goes down with a reset once its line is broken.
#[derive(Debug)]
pub(super) struct Wire {
    stream: TcpStream,
    broken: Arc<AtomicBool>,
}

impl Drop for Wire {
    fn drop(&mut self) {
        if self.broken.load(Ordering::Relaxed) {
            // closing with unsent data thrown away is what sends the RST
            self.stream.set_zero_linger().ok();
        }
    }
}

impl AsyncRead for Wire {
    fn poll_read(
        mut self: Pin<&mut Self>,
        task: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(task, buffer)
    }
}

impl AsyncWrite for Wire {
    fn poll_write(
        mut self: Pin<&mut Self>,
        task: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(task, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, task: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(task)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, task: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(task)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        task: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(task, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}
