//! The least that an intercepting hop can be in Rust: CONNECT, TLS, hyper on both sides, and nothing else.
//!
//! No limits, no policy, no token, no log: what it costs is what hyper and rustls cost, and what the sidecar costs more is ours.

use std::net::SocketAddr;
use std::sync::Arc;

use http::Request;
use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::pki_types::CertificateDer;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Handle;
use tokio::sync::Mutex;
use tokio_rustls::TlsAcceptor;

use super::origin::{self, Origin};
use super::{Protocol, handshake};

/// A running relay in front of an origin.
pub(crate) struct Relay {
    pub(crate) address: SocketAddr,
    pub(crate) certificate: CertificateDer<'static>,
}

/// Where a relay's requests go.
struct Behind {
    address: SocketAddr,
    certificate: CertificateDer<'static>,
    acceptor: TlsAcceptor,
}

impl Relay {
    /// Starts one, on a thread of its own.
    pub(crate) fn start(origin: &Origin) -> Self {
        let (certificate, _pem, acceptor) = origin::acceptor();
        let behind = Arc::new(Behind {
            address: origin.address,
            certificate: origin.certificate.clone(),
            acceptor,
        });
        let (runtime, listener) = origin::listener();
        let address = listener.local_addr().expect("a bound address");
        std::thread::spawn(move || runtime.block_on(serve(listener, behind)));
        Self {
            address,
            certificate,
        }
    }
}

async fn serve(listener: TcpListener, behind: Arc<Behind>) {
    while let Ok((stream, _client)) = listener.accept().await {
        let _ends_alone = Handle::current().spawn(connection(stream, Arc::clone(&behind)));
    }
}

async fn connection(mut stream: TcpStream, behind: Arc<Behind>) {
    stream.set_nodelay(true).expect("a socket");
    let mut ask = Vec::new();
    while !ask.ends_with(b"\r\n\r\n") {
        if stream.read_buf(&mut ask).await.is_ok_and(|read| read == 0) {
            return;
        }
    }
    let opened = b"HTTP/1.1 200 OK\r\n\r\n";
    stream.write_all(opened).await.expect("a client that waits");
    let Ok(stream) = behind.acceptor.accept(stream).await else {
        return;
    };
    let http2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
    let upstream = TcpStream::connect(behind.address).await.expect("an origin");
    upstream.set_nodelay(true).expect("a socket");
    let io = TokioIo::new(stream);
    // an error is a client that went away
    if http2 {
        let upstream = handshake(upstream, &behind.certificate, Protocol::Http2).await;
        let made = http2::Builder::new(TokioExecutor::new())
            .initial_stream_window_size(1 << 20)
            .initial_connection_window_size(4 << 20)
            .handshake(TokioIo::new(upstream));
        let (sender, driver) = made.await.expect("HTTP/2");
        let _ends_alone = Handle::current().spawn(driver);
        let service = service_fn(|request: Request<Incoming>| {
            let mut sender = sender.clone();
            async move { sender.send_request(request).await }
        });
        let _ended = hyper::server::conn::http2::Builder::new(TokioExecutor::new())
            .initial_stream_window_size(1 << 20)
            .initial_connection_window_size(4 << 20)
            .serve_connection(io, service)
            .await;
    } else {
        let upstream = handshake(upstream, &behind.certificate, Protocol::Http1).await;
        let made = http1::handshake(TokioIo::new(upstream)).await;
        let (sender, driver) = made.expect("HTTP/1.1");
        let _ends_alone = Handle::current().spawn(driver);
        let sender = Arc::new(Mutex::new(sender));
        let service = service_fn(|request: Request<Incoming>| {
            let sender = Arc::clone(&sender);
            async move {
                let mut sender = sender.lock().await;
                sender.ready().await?;
                sender.send_request(request).await
            }
        });
        let _ended = hyper::server::conn::http1::Builder::new()
            .serve_connection(io, service)
            .await;
    }
}
