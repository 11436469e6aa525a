//! A client of hand-written bytes, for what no HTTP library would send.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::sidecar::NA;

/// How long a test waits for bytes that have to come.
const PATIENCE: Duration = Duration::from_secs(10);

/// An answer as it stood on the wire.
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) fields: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl std::fmt::Debug for Answer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let body: String = self.text().chars().take(400).collect();
        write!(f, "{} {:?} {body}", self.status, self.fields)
    }
}

impl Answer {
    /// A field's value; field names in lower case.
    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        let mut named = self.fields.iter().filter(|(field, _)| field == name);
        named.next().map(|(_, value)| &**value)
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// What a refusal says: status, code, message and details. Everything that each of them has to carry is checked.
    pub(crate) fn refusal(&self) -> Refusal {
        let body = self.json();
        let entry = &body["errors"][0];
        let text = |key: &str| entry[key].as_str().unwrap_or_default().to_owned();
        let code = text("code");
        assert_eq!(
            self.field("x-spapi-sidecar-error"),
            Some(&*code),
            "{self:?}"
        );
        assert_eq!(
            self.field("content-type"),
            Some("application/json"),
            "{self:?}"
        );
        let id = self.field("x-spapi-sidecar-request-id").unwrap_or_default();
        assert!(
            id.len() == 16 && id.bytes().all(|b| b.is_ascii_hexdigit()),
            "{self:?}"
        );
        let status = self.field("proxy-status").unwrap_or_default();
        assert!(
            status.starts_with("spapi-sidecar; error=")
                && status.ends_with(&format!("; details=\"{code}\"")),
            "{self:?}"
        );
        let refusal = Refusal {
            status: self.status,
            code,
            message: text("message"),
            details: text("details"),
        };
        assert!(
            !refusal.message.is_empty() && !refusal.details.is_empty(),
            "{refusal:?}"
        );
        refusal
    }

    /// Status and code of a refusal.
    pub(crate) fn refused(&self) -> (u16, String) {
        let refusal = self.refusal();
        (refusal.status, refusal.code)
    }
}

/// What a refusal says.
#[derive(Debug)]
pub(crate) struct Refusal {
    pub(crate) status: u16,
    pub(crate) code: String,
    pub(crate) message: String,
    pub(crate) details: String,
}

/// Whose answers have no body, whatever their fields say (RFC 9112 section 6.3).
#[derive(Clone, Copy, PartialEq)]
enum Bodiless {
    Neither,
    /// HEAD's.
    Always,
    /// CONNECT's, where it is granted.
    WhenGranted,
}

/// A connection that takes bytes and gives answers.
#[derive(Debug)]
pub(crate) struct Wire<T> {
    pub(crate) io: T,
    ahead: Vec<u8>,
}

impl<T: AsyncRead + AsyncWrite + Unpin> Wire<T> {
    pub(crate) const fn new(io: T) -> Self {
        Self {
            io,
            ahead: Vec::new(),
        }
    }

    /// Sends as much as the other side takes: one that refuses early closes before all of it is there.
    pub(crate) async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        let sent = async {
            self.io.write_all(bytes.as_ref()).await?;
            self.io.flush().await
        };
        if let Err(error) = sent.await {
            let closed = matches!(
                error.kind(),
                std::io::ErrorKind::BrokenPipe | std::io::ErrorKind::ConnectionReset
            );
            assert!(closed, "{error}");
        }
    }

    /// Sends a request and reads its answer.
    pub(crate) async fn ask(&mut self, request: impl AsRef<[u8]>) -> Answer {
        let request = request.as_ref();
        self.send(request).await;
        let mut bodiless = Bodiless::Neither;
        if request.starts_with(b"HEAD ") {
            bodiless = Bodiless::Always;
        } else if request.starts_with(b"CONNECT ") {
            bodiless = Bodiless::WhenGranted;
        }
        self.read_in_time(bodiless).await.unwrap_or_else(|error| {
            panic!(
                "no answer: {error}; read so far: {:?}",
                String::from_utf8_lossy(&self.ahead)
            )
        })
    }

    /// A GET for a host, with fields besides Host.
    pub(crate) async fn get(
        &mut self,
        host: &str,
        target: &str,
        fields: &[(&str, &str)],
    ) -> Answer {
        self.ask(request("GET", host, target, fields, "")).await
    }

    /// Reads the answer of a request that was sent.
    pub(crate) async fn answer(&mut self) -> Answer {
        self.try_answer().await.unwrap()
    }

    pub(crate) async fn try_answer(&mut self) -> std::io::Result<Answer> {
        self.read_in_time(Bodiless::Neither).await
    }

    async fn read_in_time(&mut self, bodiless: Bodiless) -> std::io::Result<Answer> {
        tokio::time::timeout(PATIENCE, self.read_answer(bodiless)).await?
    }

    async fn read_answer(&mut self, bodiless: Bodiless) -> std::io::Result<Answer> {
        let head = self.until(b"\r\n\r\n").await?;
        let head = String::from_utf8_lossy(&head).into_owned();
        let mut lines = head.trim_end().split("\r\n");
        let status: u16 = lines
            .next()
            .and_then(|line| line.split(' ').nth(1)?.parse().ok())
            .ok_or_else(|| std::io::Error::other(format!("no status line: {head:?}")))?;
        let fields: Vec<(String, String)> = lines
            .filter_map(|line| line.split_once(':'))
            .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
            .collect();
        let mut answer = Answer {
            status,
            fields,
            body: Vec::new(),
        };
        let granted = bodiless == Bodiless::WhenGranted && status == 200;
        if granted || bodiless == Bodiless::Always || matches!(status, 100..200 | 204 | 304) {
            return Ok(answer);
        }
        if answer.field("transfer-encoding") == Some("chunked") {
            loop {
                let size = self.until(b"\r\n").await?;
                let size = usize::from_str_radix(String::from_utf8_lossy(&size).trim(), 16)
                    .map_err(std::io::Error::other)?;
                let chunk = self.exactly(size + 2).await?;
                answer.body.extend_from_slice(&chunk[..size]);
                if size == 0 {
                    return Ok(answer);
                }
            }
        }
        if let Some(length) = answer.field("content-length") {
            let length = length.parse().map_err(std::io::Error::other)?;
            answer.body = self.exactly(length).await?;
        } else if !answer.fields.is_empty() {
            self.io.read_to_end(&mut answer.body).await?;
        }
        Ok(answer)
    }

    /// Everything up to the end of the connection, however it ends.
    pub(crate) async fn rest(&mut self) -> Vec<u8> {
        let mut rest = std::mem::take(&mut self.ahead);
        // how it ends does not matter here, only what came before
        let _ended = tokio::time::timeout(PATIENCE, self.io.read_to_end(&mut rest))
            .await
            .expect("the connection ends");
        rest
    }

    async fn until(&mut self, mark: &[u8]) -> std::io::Result<Vec<u8>> {
        loop {
            if let Some(at) = self
                .ahead
                .windows(mark.len())
                .position(|window| window == mark)
            {
                return Ok(self.ahead.drain(..at + mark.len()).collect());
            }
            if self.io.read_buf(&mut self.ahead).await? == 0 {
                return Err(std::io::ErrorKind::UnexpectedEof.into());
            }
        }
    }

    async fn exactly(&mut self, length: usize) -> std::io::Result<Vec<u8>> {
        while self.ahead.len() < length {
            if self.io.read_buf(&mut self.ahead).await? == 0 {
                return Err(std::io::ErrorKind::UnexpectedEof.into());
            }
        }
        Ok(self.ahead.drain(..length).collect())
    }
}

/// The bytes of a request in HTTP/1.1. A body gets its Content-Length; none gets none.
pub(crate) fn request(
    method: &str,
    host: &str,
    target: &str,
    fields: &[(&str, &str)],
    body: &str,
) -> String {
    let mut text = format!("{method} {target} HTTP/1.1\r\nHost: {host}\r\n");
    for (name, value) in fields {
        text.push_str(&format!("{name}: {value}\r\n"));
    }
    if !body.is_empty() {
        text.push_str(&format!("Content-Length: {}\r\n", body.len()));
    }
    format!("{text}\r\n{body}")
}

/// Opens TCP.
pub(crate) async fn dial(address: SocketAddr) -> Wire<TcpStream> {
    Wire::new(TcpStream::connect(address).await.unwrap())
}

/// `Proxy-Authorization` of a login.
pub(crate) fn basic(tenant: &str, key: &str) -> String {
    use base64::Engine as _;
    format!(
        "Basic {}",
        base64::engine::general_purpose::STANDARD.encode(format!("{tenant}:{key}"))
    )
}

/// Where a sidecar is reached, and whom its clients trust.
#[derive(Debug)]
pub(crate) struct Door {
    pub(crate) proxy: SocketAddr,
    pub(crate) transparent: SocketAddr,
    pub(crate) ca_file: PathBuf,
}

impl Door {
    /// Where the CONNECT listener is.
    pub(crate) const fn proxy(&self) -> SocketAddr {
        self.proxy
    }

    /// Where the transparent listener is.
    pub(crate) const fn transparent(&self) -> SocketAddr {
        self.transparent
    }

    /// The CA file that programs trust.
    pub(crate) fn ca_file(&self) -> &Path {
        &self.ca_file
    }

    /// A TLS client configuration that trusts the sidecar's CA alone.
    pub(crate) fn tls(&self, alpn: &[&str]) -> rustls::ClientConfig {
        trusting(self.ca_file(), alpn)
    }

    /// Asks the proxy for a CONNECT and returns its answer and the connection.
    pub(crate) async fn connect(
        &self,
        target: &str,
        fields: &[(&str, &str)],
    ) -> (Answer, Wire<TcpStream>) {
        let mut wire = dial(self.proxy()).await;
        let mut text = format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n");
        for (name, value) in fields {
            text.push_str(&format!("{name}: {value}\r\n"));
        }
        let answer = wire.ask(format!("{text}\r\n")).await;
        (answer, wire)
    }

    /// A TLS handshake with the sidecar over an open connection.
    pub(crate) async fn handshake(
        &self,
        stream: TcpStream,
        sni: &str,
        alpn: &[&str],
    ) -> std::io::Result<TlsStream<TcpStream>> {
        let name = rustls::pki_types::ServerName::try_from(sni.to_owned()).unwrap();
        let connector = TlsConnector::from(Arc::new(self.tls(alpn)));
        tokio::time::timeout(PATIENCE, connector.connect(name, stream)).await?
    }

    /// An intercepted connection for a host.
    pub(crate) async fn inside(&self, host: &str) -> Wire<TlsStream<TcpStream>> {
        self.inside_with(host, &[]).await
    }

    /// The same, with fields on the CONNECT.
    pub(crate) async fn inside_with(
        &self,
        host: &str,
        fields: &[(&str, &str)],
    ) -> Wire<TlsStream<TcpStream>> {
        let (answer, wire) = self.connect(&format!("{host}:443"), fields).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        Wire::new(self.handshake(wire.io, host, &["http/1.1"]).await.unwrap())
    }

    /// One GET over a connection of its own.
    pub(crate) async fn call(&self, target: &str, fields: &[(&str, &str)]) -> Answer {
        self.inside(NA).await.get(NA, target, fields).await
    }

    /// An HTTP/2 client inside an intercepted connection, and the task that drives it.
    pub(crate) async fn inside_h2(&self, host: &str) -> H2 {
        let (answer, wire) = self.connect(&format!("{host}:443"), &[]).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        h2_over(self.handshake(wire.io, host, &["h2"]).await.unwrap()).await
    }
}

/// A TLS client configuration that trusts what is in a file alone.
pub(crate) fn trusting(file: &Path, alpn: &[&str]) -> rustls::ClientConfig {
    use rustls::pki_types::pem::PemObject as _;
    let mut roots = rustls::RootCertStore::empty();
    for certificate in rustls::pki_types::CertificateDer::pem_file_iter(file).unwrap() {
        roots.add(certificate.unwrap()).unwrap();
    }
    let mut config = rustls::ClientConfig::builder()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
    config
}

/// An HTTP/2 client.
pub(crate) type H2 = hyper::client::conn::http2::SendRequest<http_body_util::Full<bytes::Bytes>>;

/// Speaks HTTP/2 over an open connection.
pub(crate) async fn h2_over(stream: TlsStream<TcpStream>) -> H2 {
    let (sender, connection) = hyper::client::conn::http2::handshake(
        hyper_util::rt::TokioExecutor::new(),
        hyper_util::rt::TokioIo::new(stream),
    )
    .await
    .unwrap();
    #[expect(
        clippy::disallowed_methods,
        reason = "a test's client is nobody's to drain"
    )]
    drop(tokio::spawn(connection));
    sender
}

/// Sends one GET over HTTP/2; `url` names scheme and authority.
pub(crate) async fn get_h2(client: &mut H2, url: &str, fields: &[(&str, &str)]) -> Answer {
    use http_body_util::BodyExt as _;
    let mut request = http::Request::get(url);
    for (name, value) in fields {
        request = request.header(*name, *value);
    }
    let request = request.body(http_body_util::Full::default()).unwrap();
    let response = tokio::time::timeout(PATIENCE, client.send_request(request))
        .await
        .unwrap()
        .unwrap();
    let (parts, body) = response.into_parts();
    Answer {
        status: parts.status.as_u16(),
        fields: parts
            .headers
            .iter()
            .map(|(name, value)| (name.as_str().to_owned(), value.to_str().unwrap().to_owned()))
            .collect(),
        body: body.collect().await.unwrap().to_bytes().to_vec(),
    }
}
