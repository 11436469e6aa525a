//! An origin, a sidecar in front of it, and a client that asks either.

use std::path::Path;
use std::sync::Arc;

use http::{HeaderValue, Method, Request, header};
use http_body_util::{BodyExt as _, Empty};
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use spapi_sidecar::app::App;
use spapi_sidecar::cli::run::control_runtime;
use spapi_sidecar::config::{Config, FileStore as FileStoreConfig};
use spapi_sidecar::secret::Opaque;
use spapi_sidecar::store::file::FileStore;
use spapi_sidecar::store::{Expect, GrantStore as _, RecordKey};
use spapi_sidecar::telemetry::Sink;
use spapi_sidecar::tenant::{AppId, TenantId};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::runtime::{Builder, Handle, Runtime};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

mod origin;

use origin::{Body, NAME, Origin};
pub(crate) use origin::{LARGE, SMALL};

/// Which way a request takes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Way {
    /// To the origin.
    Direct,
    /// Through the sidecar.
    Sidecar,
}

/// Which protocol the client speaks.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Protocol {
    Http1,
    Http2,
}

/// Everything that a measurement needs, up and warm.
pub(crate) struct World {
    client: Runtime,
    origin: Origin,
    app: App,
    ca: CertificateDer<'static>,
    _control: Runtime,
    _folder: tempfile::TempDir,
}

impl World {
    /// Starts all of it; the sidecar has its token when this returns.
    pub(crate) fn start() -> Self {
        rustls::crypto::aws_lc_rs::default_provider()
            .install_default()
            .expect("the first of this process");
        let origin = Origin::start();
        let folder = tempfile::tempdir().expect("a folder");
        let log = std::fs::File::create(folder.path().join("access.jsonl")).expect("a log file");
        let control = control_runtime(1).expect("a runtime");
        let app = control.block_on(async {
            let config = configuration(folder.path(), &origin).await;
            let app = App::start(config, Sink::new(log), 1).await;
            let app = app.expect("the sidecar starts");
            app.ready().await;
            app
        });
        let ca = CertificateDer::from_pem_file(folder.path().join("ca.pem")).expect("the CA");
        Self {
            client: Builder::new_current_thread()
                .enable_all()
                .build()
                .expect("a runtime"),
            origin,
            app,
            ca,
            _control: control,
            _folder: folder,
        }
    }

    /// Runs the client.
    pub(crate) fn block_on<T>(&self, future: impl Future<Output = T>) -> T {
        self.client.block_on(future)
    }

    /// Opens a connection: TCP, CONNECT where the way leads through the sidecar, TLS without resumption, HTTP.
    pub(crate) async fn open(&self, way: Way, protocol: Protocol) -> Sender {
        let (address, root) = match way {
            Way::Direct => (self.origin.address, &self.origin.certificate),
            Way::Sidecar => {
                let proxies = self.app.proxies();
                (*proxies.first().expect("a listener"), &self.ca)
            }
        };
        let mut stream = TcpStream::connect(address).await.expect("it listens");
        stream.set_nodelay(true).expect("a socket");
        if way == Way::Sidecar {
            connect(&mut stream, &self.authority()).await;
        }
        let stream = handshake(stream, root, protocol).await;
        let io = TokioIo::new(stream);
        match protocol {
            Protocol::Http1 => {
                let (sender, driver) = http1::handshake(io).await.expect("HTTP/1.1");
                let _ends_alone = Handle::current().spawn(driver);
                Sender::Http1(sender)
            }
            Protocol::Http2 => {
                let made = http2::Builder::new(TokioExecutor::new())
                    .initial_stream_window_size(1 << 20)
                    .initial_connection_window_size(4 << 20)
                    .handshake(io);
                let (sender, driver) = made.await.expect("HTTP/2");
                let _ends_alone = Handle::current().spawn(driver);
                Sender::Http2(sender)
            }
        }
    }

    /// Asks for a path and reads the answer to its end; says how long it was.
    pub(crate) async fn get(&self, sender: &mut Sender, path: &str) -> usize {
        self.exchange(sender, Method::GET, path, Empty::new().boxed())
            .await
    }

    /// Sends a large body and reads the answer.
    pub(crate) async fn upload(&self, sender: &mut Sender) -> usize {
        self.exchange(sender, Method::POST, "/up", origin::large(LARGE))
            .await
    }

    async fn exchange(&self, sender: &mut Sender, method: Method, path: &str, body: Body) -> usize {
        let mut request = Request::new(body);
        let sized = method == Method::POST;
        *request.method_mut() = method;
        let authority = self.authority();
        if sized {
            let fields = request.headers_mut();
            fields.insert(header::CONTENT_LENGTH, LARGE.into());
        }
        let response = match sender {
            Sender::Http1(sender) => {
                let host = HeaderValue::from_str(&authority).expect("a host");
                request.headers_mut().insert(header::HOST, host);
                *request.uri_mut() = path.parse().expect("a path");
                sender.ready().await.expect("an open connection");
                sender.send_request(request).await
            }
            Sender::Http2(sender) => {
                let target = format!("https://{authority}{path}");
                *request.uri_mut() = target.parse().expect("a target");
                sender.ready().await.expect("an open connection");
                sender.send_request(request).await
            }
        };
        let response = response.expect("an answer");
        assert!(response.status().is_success(), "{response:?}");
        origin::received(response.into_body()).await
    }

    fn authority(&self) -> String {
        format!("{NAME}:{}", self.origin.address.port())
    }
}

/// An open connection.
pub(crate) enum Sender {
    Http1(http1::SendRequest<Body>),
    Http2(http2::SendRequest<Body>),
}

async fn connect(stream: &mut TcpStream, authority: &str) {
    let ask = format!("CONNECT {authority} HTTP/1.1\r\nHost: {authority}\r\n\r\n");
    stream.write_all(ask.as_bytes()).await.expect("it listens");
    let mut answer = Vec::new();
    while !answer.ends_with(b"\r\n\r\n") {
        let read = stream.read_buf(&mut answer).await.expect("an answer");
        assert_ne!(read, 0, "the sidecar closed the connection");
    }
    assert!(answer.starts_with(b"HTTP/1.1 200"));
}

async fn handshake(
    stream: TcpStream,
    root: &CertificateDer<'static>,
    protocol: Protocol,
) -> TlsStream<TcpStream> {
    let mut roots = RootCertStore::empty();
    roots.add(root.clone()).expect("a root");
    let mut tls = ClientConfig::builder()
        .with_root_certificates(roots)
        .with_no_client_auth();
    tls.resumption = rustls::client::Resumption::disabled();
    tls.alpn_protocols = vec![match protocol {
        Protocol::Http1 => b"http/1.1".to_vec(),
        Protocol::Http2 => b"h2".to_vec(),
    }];
    let name = ServerName::try_from(NAME).expect("a name");
    let made = TlsConnector::from(Arc::new(tls)).connect(name, stream);
    made.await.expect("TLS")
}

async fn configuration(folder: &Path, origin: &Origin) -> Config {
    std::fs::write(folder.join("origin.pem"), &origin.pem).expect("a file");
    seed(folder).await;
    let (dir, port) = (folder.display(), origin.address.port());
    let text = format!(
        r#"
version: 1
listen: {{ proxy: ["127.0.0.1:0"], admin: "127.0.0.1:0", admin_token_file: {dir}/admin.token }}
interception:
  ca: {{ mode: ephemeral, cert_path: {dir}/ca.pem, bundle_path: {dir}/bundle.pem }}
upstream:
  trust: {{ ca_file: {dir}/origin.pem }}
  connect_to: {{ "{NAME}:{port}": "127.0.0.1:{port}" }}
store: {{ file: {{ path: {dir}/store.sealed, key_file: {dir}/store.key }} }}
lwa: {{ token_url: "https://{NAME}:{port}/auth/o2/token" }}
egress: [{{ host: {NAME}, mode: inject, ports: [{port}] }}]
apps: [{{ id: erp }}]
tenants: [{{ id: acme, app: erp, region: na }}]
default_tenant: acme
routes: [{{ allow: [GET /json, GET /big, POST /up] }}]
audit: {{ path: {dir}/audit.jsonl }}
"#
    );
    let config = Config::parse("proxy.yaml", &text, &|_| None);
    config
        .map_err(|faults| faults.to_string())
        .expect("a good configuration")
}

async fn seed(folder: &Path) {
    use std::os::unix::fs::PermissionsExt as _;
    let key_file = folder.join("store.key");
    std::fs::write(&key_file, format!("{}\n", "5a".repeat(32))).expect("a file");
    let private = std::fs::Permissions::from_mode(0o600);
    std::fs::set_permissions(&key_file, private).expect("our file");
    let store = FileStore::open(&FileStoreConfig {
        path: folder.join("store.sealed"),
        key_file,
    });
    let store = store.expect("a store");
    let app = RecordKey::App(AppId::parse("erp").expect("a good id"));
    let grant = RecordKey::Grant(TenantId::parse("acme").expect("a good id"));
    let records = [
        (
            app,
            vec![("client_id", "bench"), ("client_secret", "bench")],
        ),
        (grant, vec![("refresh_token", "Atzr|bench")]),
    ];
    for (key, fields) in records {
        let fields = fields
            .into_iter()
            .map(|(name, value)| (name.to_owned(), Opaque::new(value.to_owned())))
            .collect();
        store
            .write(&key, fields, Expect::Any)
            .await
            .expect("a writable store");
    }
}
