//! Clients and origins that show the wire: what a polite HTTP library would not send, or would not let a test see.

use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::{Buf as _, Bytes, BytesMut};
use http::{HeaderMap, Request, Response};
use http_body::Frame;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full, StreamBody};
use hyper::body::Incoming;
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::pki_types::{PrivatePkcs8KeyDer, ServerName};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_rustls::{TlsAcceptor, TlsConnector, client, server};

use super::sidecar::TestSidecar;

/// Switches a fault of the sandbox on.
pub(crate) fn trouble(sidecar: &TestSidecar, fault: serde_json::Value) {
    let fault = spapi_sidecar::sandbox::Fault::from_json(fault).unwrap();
    let _number = sidecar.sandbox.fault(fault);
}

/// A client's TLS connection.
pub(crate) type Tls = client::TlsStream<TcpStream>;

/// A test origin's side of a TLS connection.
pub(crate) type Served = server::TlsStream<TcpStream>;

/// How long anything on loopback may take before a test is a failure rather than slow.
const PATIENCE: Duration = Duration::from_secs(20);

/// Fails a test that waits for something that does not come.
pub(crate) async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future)
        .await
        .unwrap_or_else(|_elapsed| panic!("not within {PATIENCE:?}: {what}"))
}

/// A tunnel through a CONNECT listener.
pub(crate) async fn tunnel(proxy: SocketAddr, host: &str) -> TcpStream {
    let mut stream = TcpStream::connect(proxy).await.unwrap();
    stream.set_nodelay(true).unwrap();
    let head = format!("CONNECT {host}:443 HTTP/1.1\r\nHost: {host}:443\r\n\r\n");
    stream.write_all(head.as_bytes()).await.unwrap();
    let answer = read_head(&mut stream).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    stream
}

/// TLS inside a tunnel.
pub(crate) async fn tls(stream: TcpStream, config: rustls::ClientConfig, host: &str) -> Tls {
    let name = ServerName::try_from(host.to_owned()).unwrap();
    TlsConnector::from(Arc::new(config))
        .connect(name, stream)
        .await
        .unwrap()
}

/// A head, read byte by byte so that nothing of what follows is taken.
pub(crate) async fn read_head(io: &mut (impl AsyncRead + Unpin)) -> std::io::Result<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(io.read_u8().await?);
    }
    Ok(String::from_utf8_lossy(&head).into_owned())
}

/// The head of an answer.
#[derive(Clone, Debug)]
pub(crate) struct Head {
    pub(crate) status: u16,
    /// Names in lower case, values to the byte, in order.
    pub(crate) fields: Vec<(String, Vec<u8>)>,
}

impl Head {
    fn parse(text: &[u8]) -> Self {
        let mut lines = text.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii);
        let status = lines.next().unwrap();
        let status = std::str::from_utf8(&status[9..12])
            .unwrap()
            .parse()
            .unwrap();
        let fields = lines
            .filter(|line| !line.is_empty())
            .map(|line| {
                let at = line.iter().position(|byte| *byte == b':').unwrap();
                let name = String::from_utf8(line[..at].to_ascii_lowercase()).unwrap();
                (name, line[at + 1..].trim_ascii().to_vec())
            })
            .collect();
        Self { status, fields }
    }

    /// The first value of a field.
    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        self.fields
            .iter()
            .find(|(field, _)| field == name)
            .map(|(_, value)| std::str::from_utf8(value).unwrap())
    }

    /// The names, sorted.
    pub(crate) fn names(&self) -> Vec<&str> {
        let mut names: Vec<&str> = self.fields.iter().map(|(name, _)| &**name).collect();
        names.sort_unstable();
        names
    }
}

/// An answer, read to its end.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) head: Head,
    pub(crate) body: Vec<u8>,
    pub(crate) trailers: Vec<(String, String)>,
}

impl Answer {
    /// The body as JSON.
    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    /// The code of a refusal made by the sidecar.
    pub(crate) fn code(&self) -> Option<&str> {
        self.head.field("x-spapi-sidecar-error")
    }
}

/// HTTP/1.1 by hand.
pub(crate) struct Http1<T = Tls> {
    pub(crate) io: T,
    ahead: BytesMut,
}

impl Http1 {
    /// An intercepted connection to a host.
    pub(crate) async fn open(sidecar: &TestSidecar, host: &str) -> Self {
        let stream = tunnel(sidecar.proxy(), host).await;
        Self::over(tls(stream, sidecar.tls(&["http/1.1"]), host).await)
    }
}

impl<T: AsyncRead + AsyncWrite + Unpin> Http1<T> {
    /// Over any connection.
    pub(crate) fn over(io: T) -> Self {
        Self {
            io,
            ahead: BytesMut::new(),
        }
    }

    /// Sends bytes as they are.
    pub(crate) async fn write(&mut self, bytes: impl AsRef<[u8]>) {
        self.io.write_all(bytes.as_ref()).await.unwrap();
        self.io.flush().await.unwrap();
    }

    /// Sends bytes and reads an answer to its end.
    pub(crate) async fn ask(&mut self, bytes: impl AsRef<[u8]>) -> Answer {
        self.write(bytes).await;
        self.answer().await
    }

    /// Reads an answer to its end.
    pub(crate) async fn answer(&mut self) -> Answer {
        let head = self.head().await;
        self.rest(head, false).await.unwrap()
    }

    /// Reads the answer to a HEAD: it ends with its head.
    pub(crate) async fn answer_to_head(&mut self) -> Answer {
        let head = self.head().await;
        self.rest(head, true).await.unwrap()
    }

    /// Reads the next head, a 1xx one too.
    pub(crate) async fn head(&mut self) -> Head {
        soon("a head", self.try_head()).await.unwrap()
    }

    /// Reads the next head, or learns that there is none.
    pub(crate) async fn try_head(&mut self) -> std::io::Result<Head> {
        loop {
            if let Some(end) = self.ahead.windows(4).position(|four| four == b"\r\n\r\n") {
                let head = self.ahead.split_to(end + 4);
                return Ok(Head::parse(&head));
            }
            self.more().await?;
        }
    }

    /// Reads what follows a head.
    ///
    /// # Errors
    /// When the connection ends before the body does.
    pub(crate) async fn rest(&mut self, head: Head, to_head: bool) -> std::io::Result<Answer> {
        let mut body = Vec::new();
        let trailers = soon(
            "the end of a body",
            self.body(&head, to_head, |part| body.extend_from_slice(part)),
        )
        .await?;
        Ok(Answer {
            head,
            body,
            trailers,
        })
    }

    /// Reads a body part by part; its trailers.
    pub(crate) async fn body(
        &mut self,
        head: &Head,
        to_head: bool,
        mut part: impl FnMut(&[u8]),
    ) -> std::io::Result<Vec<(String, String)>> {
        if to_head || matches!(head.status, 100..=199 | 204 | 304) {
            return Ok(Vec::new());
        }
        if head
            .field("transfer-encoding")
            .is_some_and(|coding| coding.eq_ignore_ascii_case("chunked"))
        {
            loop {
                let size = self.line().await?;
                let size = u64::from_str_radix(size.split(';').next().unwrap(), 16).unwrap();
                if size == 0 {
                    break;
                }
                self.take(size, &mut part).await?;
                assert_eq!(self.line().await?, "");
            }
            let mut trailers = Vec::new();
            loop {
                let line = self.line().await?;
                let Some((name, value)) = line.split_once(':') else {
                    return Ok(trailers);
                };
                trailers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
            }
        }
        let length = head.field("content-length").expect("a framed answer");
        self.take(length.parse().unwrap(), &mut part).await?;
        Ok(Vec::new())
    }

    async fn take(&mut self, mut left: u64, part: &mut impl FnMut(&[u8])) -> std::io::Result<()> {
        while left > 0 {
            if self.ahead.is_empty() {
                self.more().await?;
            }
            let n = self.ahead.len().min(usize::try_from(left).unwrap());
            part(&self.ahead[..n]);
            self.ahead.advance(n);
            left -= n as u64;
        }
        Ok(())
    }

    async fn line(&mut self) -> std::io::Result<String> {
        loop {
            if let Some(end) = self.ahead.windows(2).position(|two| two == b"\r\n") {
                let line = self.ahead.split_to(end + 2);
                return Ok(String::from_utf8(line[..end].to_vec()).unwrap());
            }
            self.more().await?;
        }
    }

    async fn more(&mut self) -> std::io::Result<()> {
        self.ahead.reserve(64 << 10);
        match self.io.read_buf(&mut self.ahead).await? {
            0 => Err(std::io::ErrorKind::UnexpectedEof.into()),
            _ => Ok(()),
        }
    }

    /// Waits until the other side ends the connection, however it does.
    pub(crate) async fn until_closed(&mut self) {
        soon("the end of the connection", async {
            while self.more().await.is_ok() {}
        })
        .await;
    }
}

/// A request's body.
pub(crate) type Payload = UnsyncBoxBody<Bytes, std::io::Error>;

/// A body of known length.
pub(crate) fn full(bytes: impl Into<Bytes>) -> Payload {
    Full::new(bytes.into())
        .map_err(|never| match never {})
        .boxed_unsync()
}

/// No body at all: unlike an empty one, it has no length that a library could send along.
pub(crate) fn nothing() -> Payload {
    Nothing.boxed_unsync()
}

struct Nothing;

impl http_body::Body for Nothing {
    type Data = Bytes;
    type Error = std::io::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        _cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<std::io::Result<Frame<Bytes>>>> {
        std::task::Poll::Ready(None)
    }

    fn is_end_stream(&self) -> bool {
        true
    }
}

/// A body of parts, without a length, perhaps with trailers.
pub(crate) fn parts(parts: Vec<Bytes>, trailers: Option<HeaderMap>) -> Payload {
    let frames = parts.into_iter().map(|part| Ok(Frame::data(part)));
    let end = trailers.map(|trailers| Ok(Frame::trailers(trailers)));
    StreamBody::new(futures_util::stream::iter(frames.chain(end))).boxed_unsync()
}

/// HTTP/2 with its streams in view.
pub(crate) struct Http2 {
    sender: http2::SendRequest<Payload>,
    _connection: JoinSet<()>,
}

impl Http2 {
    /// An intercepted connection to a host.
    pub(crate) async fn open(sidecar: &TestSidecar, host: &str) -> Self {
        let stream = tunnel(sidecar.proxy(), host).await;
        let io = tls(stream, sidecar.tls(&["h2"]), host).await;
        assert_eq!(io.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
        let (sender, connection) = http2::Builder::new(TokioExecutor::new())
            .initial_stream_window_size(1 << 20)
            .initial_connection_window_size(4 << 20)
            .handshake(TokioIo::new(io))
            .await
            .unwrap();
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            // how it ends is seen by whoever waits for an answer
            let _ended = connection.await;
        });
        Self {
            sender,
            _connection: tasks,
        }
    }

    /// Sends a request.
    pub(crate) async fn send(
        &self,
        request: Request<Payload>,
    ) -> hyper::Result<Response<Incoming>> {
        let mut sender = self.sender.clone();
        soon("a place for a stream", sender.ready()).await?;
        soon("an answer", sender.send_request(request)).await
    }

    /// Sends a request and reads its answer to the end.
    pub(crate) async fn ask(&self, request: Request<Payload>) -> Response<Bytes> {
        let (head, body) = self.send(request).await.unwrap().into_parts();
        let body = soon("the end of a body", body.collect()).await.unwrap();
        Response::from_parts(head, body.to_bytes())
    }

    /// Whether the other side has ended the connection.
    pub(crate) fn is_closed(&self) -> bool {
        self.sender.is_closed()
    }
}

/// An origin of the test's own.
pub(crate) struct Origin {
    pub(crate) address: SocketAddr,
    /// Its certificate, to be trusted.
    pub(crate) pem: String,
    accepted: Arc<AtomicUsize>,
    _tasks: JoinSet<()>,
}

/// What an origin shows.
pub(crate) struct Face {
    pub(crate) alpn: &'static [&'static str],
    /// Whether its certificate is past its end.
    pub(crate) expired: bool,
    /// How many connections it drops, at first, before they have said anything.
    pub(crate) drops: usize,
}

impl Face {
    /// A good certificate and these protocols.
    pub(crate) const fn speaking(alpn: &'static [&'static str]) -> Self {
        Self {
            alpn,
            expired: false,
            drops: 0,
        }
    }
}

impl Origin {
    /// Serves each connection with `serve`, which is told its number, from 1.
    pub(crate) async fn start<F, Fut>(host: &str, face: Face, serve: F) -> Self
    where
        F: Fn(usize, Served) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = ()> + Send + 'static,
    {
        super::crypto();
        let (pem, acceptor) = certify(host, &face);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (accepted, drops) = (Arc::new(AtomicUsize::new(0)), face.drops);
        let count = Arc::clone(&accepted);
        let serve = Arc::new(serve);
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                stream.set_nodelay(true).unwrap();
                let number = count.fetch_add(1, Ordering::SeqCst) + 1;
                if number <= drops {
                    continue;
                }
                let (acceptor, serve) = (acceptor.clone(), Arc::clone(&serve));
                connections.spawn(async move {
                    if let Ok(stream) = acceptor.accept(stream).await {
                        serve(number, stream).await;
                    }
                });
            }
        });
        Self {
            address,
            pem,
            accepted,
            _tasks: tasks,
        }
    }

    /// Answers every request on a connection with what `answer` makes of its head, as bytes. Bodies of requests are not read.
    pub(crate) async fn raw<F>(host: &str, answer: F) -> Self
    where
        F: Fn(&str) -> Vec<u8> + Send + Sync + 'static,
    {
        let answer = Arc::new(answer);
        Self::start(
            host,
            Face::speaking(&["http/1.1"]),
            move |_number, mut stream| {
                let answer = Arc::clone(&answer);
                async move {
                    while let Ok(head) = read_head(&mut stream).await {
                        if stream.write_all(&answer(&head)).await.is_err() {
                            return;
                        }
                    }
                }
            },
        )
        .await
    }

    /// Serves HTTP/2 and nothing else.
    pub(crate) async fn http2<F>(host: &str, answer: F) -> Self
    where
        F: Fn(Request<Incoming>) -> Pin<Box<dyn Future<Output = Response<Payload>> + Send>>
            + Send
            + Sync
            + 'static,
    {
        let answer = Arc::new(answer);
        Self::start(host, Face::speaking(&["h2"]), move |_number, stream| {
            let answer = Arc::clone(&answer);
            async move {
                let service = hyper::service::service_fn(move |request| {
                    let answered = answer(request);
                    async move { Ok::<_, std::convert::Infallible>(answered.await) }
                });
                let served = hyper::server::conn::http2::Builder::new(TokioExecutor::new())
                    .auto_date_header(false)
                    .serve_connection(TokioIo::new(stream), service);
                // how a connection ends is the client's to see
                let _ended = served.await;
            }
        })
        .await
    }

    /// How many connections it took.
    pub(crate) fn connections(&self) -> usize {
        self.accepted.load(Ordering::SeqCst)
    }

    /// A `connect_to` entry that leads here.
    pub(crate) fn stands_for(&self, host: &str) -> (String, String) {
        (format!("{host}:443"), self.address.to_string())
    }
}

fn certify(host: &str, face: &Face) -> (String, TlsAcceptor) {
    let key = rcgen::KeyPair::generate().unwrap();
    let mut params = rcgen::CertificateParams::new(vec![host.to_owned()]).unwrap();
    if face.expired {
        params.not_before = rcgen::date_time_ymd(2020, 1, 1);
        params.not_after = rcgen::date_time_ymd(2020, 2, 1);
    }
    let certificate = params.self_signed(&key).unwrap();
    let pem = certificate.pem();
    let mut config = rustls::ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(
            vec![certificate.into()],
            PrivatePkcs8KeyDer::from(key.serialize_der()).into(),
        )
        .unwrap();
    config.alpn_protocols = face
        .alpn
        .iter()
        .map(|name| name.as_bytes().to_vec())
        .collect();
    (pem, TlsAcceptor::from(Arc::new(config)))
}
