//! An origin that costs as little as one can: hyper over TLS, answers from memory, and LWA's token endpoint beside them.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::stream;
use http::{HeaderValue, Method, Request, Response, header};
use http_body::Frame;
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt as _, Full, StreamBody};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::ServerConfig;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::{Builder, Handle, Runtime};
use tokio_rustls::TlsAcceptor;

/// The name in the origin's certificate.
pub(crate) const NAME: &str = "upstream.test";

/// Bytes of a large body.
pub(crate) const LARGE: usize = 64 << 20;

/// Bytes of a small answer.
pub(crate) const SMALL: usize = 1 << 10;

const PART: usize = 64 << 10;

/// Bodies of requests and answers alike.
pub(crate) type Body = BoxBody<Bytes, Infallible>;

/// A body of so many bytes, sent in parts of at most 64 KiB, from memory.
pub(crate) fn large(bytes: usize) -> Body {
    let part = Bytes::from_static(&[b'x'; PART]);
    let parts = (0..bytes.div_ceil(PART))
        .map(move |n| Ok(Frame::data(part.slice(..PART.min(bytes - n * PART)))));
    StreamBody::new(stream::iter(parts)).boxed()
}

/// A running origin.
pub(crate) struct Origin {
    pub(crate) address: SocketAddr,
    pub(crate) certificate: CertificateDer<'static>,
    pub(crate) pem: String,
}

impl Origin {
    /// Starts one, on a thread of its own; the tokens that it issues live for so many seconds.
    pub(crate) fn start(life: u32) -> Self {
        let (certificate, pem, acceptor) = acceptor();
        let (runtime, listener) = listener();
        let address = listener.local_addr().expect("a bound address");
        std::thread::spawn(move || runtime.block_on(serve(listener, acceptor, life)));
        Self {
            address,
            certificate,
            pem,
        }
    }
}

/// A certificate for [`NAME`] that its holder signed, as DER and PEM, and a server's side of TLS with it.
pub(crate) fn acceptor() -> (CertificateDer<'static>, String, TlsAcceptor) {
    let made = rcgen::generate_simple_self_signed([NAME.to_owned()]).expect("a certificate");
    let certificate = made.cert.der().clone();
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(made.signing_key.serialize_der()));
    let mut tls = ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.clone()], key)
        .expect("a pair");
    tls.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    (
        certificate,
        made.cert.pem(),
        TlsAcceptor::from(Arc::new(tls)),
    )
}

/// A runtime for one thread, and a listener in it.
pub(crate) fn listener() -> (Runtime, TcpListener) {
    let runtime = Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    let listener = runtime
        .block_on(TcpListener::bind("127.0.0.1:0"))
        .expect("a free port");
    (runtime, listener)
}

async fn serve(listener: TcpListener, acceptor: TlsAcceptor, life: u32) {
    while let Ok((stream, _client)) = listener.accept().await {
        let _ends_alone = Handle::current().spawn(connection(stream, acceptor.clone(), life));
    }
}

async fn connection(stream: TcpStream, acceptor: TlsAcceptor, life: u32) {
    stream.set_nodelay(true).expect("a socket");
    let Ok(stream) = acceptor.accept(stream).await else {
        return;
    };
    let http2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
    let io = TokioIo::new(stream);
    let service =
        service_fn(move |request| async move { Ok::<_, Infallible>(answer(request, life).await) });
    // an error is a client that went away
    let _ended = if http2 {
        hyper::server::conn::http2::Builder::new(TokioExecutor::new())
            .initial_stream_window_size(1 << 20)
            .initial_connection_window_size(4 << 20)
            .serve_connection(io, service)
            .await
    } else {
        hyper::server::conn::http1::Builder::new()
            .serve_connection(io, service)
            .await
    };
}

async fn answer(request: Request<Incoming>, life: u32) -> Response<Body> {
    let text = match (request.method(), request.uri().path()) {
        (&Method::GET, "/big") => {
            // /big?BYTES
            let bytes = request.uri().query().and_then(|bytes| bytes.parse().ok());
            let bytes = bytes.unwrap_or(LARGE);
            let mut response = Response::new(large(bytes));
            response
                .headers_mut()
                .insert(header::CONTENT_LENGTH, bytes.into());
            return response;
        }
        (&Method::POST, "/up") => received(request.into_body()).await.to_string(),
        (&Method::POST, _token_endpoint) => {
            format!(r#"{{"access_token":"Atza|bench","token_type":"bearer","expires_in":{life}}}"#)
        }
        _ => "x".repeat(SMALL),
    };
    let mut response = Response::new(Full::from(text).boxed());
    response.headers_mut().insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("application/json"),
    );
    response
}

/// Reads a body to its end; says how long it was.
pub(crate) async fn received(mut body: Incoming) -> usize {
    let mut bytes = 0;
    while let Some(frame) = body.frame().await {
        bytes += frame
            .expect("a whole body")
            .data_ref()
            .map_or(0, Bytes::len);
    }
    bytes
}
