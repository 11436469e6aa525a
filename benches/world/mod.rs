//! An origin, a sidecar and a bare relay in front of it, and a client that asks any of them.

use std::path::Path;
use std::sync::Arc;

use http::{HeaderValue, Method, Request, StatusCode, header};
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
use spapi_sidecar::telemetry::{self, Sink};
use spapi_sidecar::tenant::{AppId, TenantId};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::runtime::{Builder, Handle, Runtime};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

pub(crate) mod origin;
mod process;
mod relay;

use origin::{Body, NAME, Origin};
pub(crate) use process::Process;
use relay::Relay;

/// Which way a request takes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Way {
    /// To the origin.
    Direct,
    /// Through hyper and nothing else.
    Relay,
    /// Through the sidecar.
    Sidecar,
}

/// Which protocol the client speaks.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Protocol {
    Http1,
    Http2,
}

/// How large a sidecar's configuration is, and how long its tokens live.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shape {
    pub(crate) tenants: usize,
    pub(crate) routes: usize,
    pub(crate) max_connections: usize,
    /// Seconds that a token lives.
    pub(crate) life: u32,
}

impl Shape {
    /// One tenant and its routes.
    pub(crate) const SMALL: Self = Self {
        tenants: 1,
        routes: 3,
        max_connections: 20_000,
        life: 3600,
    };
}

/// Where the sidecar runs.
enum Sidecar {
    /// In this process, beside the runtime of what does not belong to a core.
    Here { app: App, _control: Runtime },
    /// In one of its own.
    Apart(Process),
}

/// Everything that a measurement needs, up and warm.
pub(crate) struct World {
    client: Runtime,
    origin: Origin,
    relay: Relay,
    sidecar: Sidecar,
    ca: CertificateDer<'static>,
    _folder: tempfile::TempDir,
}

impl World {
    /// Starts all of it in this process; the sidecar has its token when this returns.
    pub(crate) fn start() -> Self {
        Self::with(Shape::SMALL, |folder, text| {
            let log = std::fs::File::create(folder.join("access.jsonl")).expect("a log file");
            let control = control_runtime(1).expect("a runtime");
            let app = control.block_on(async {
                let config = Config::parse("proxy.yaml", text, &|_| None);
                let config = config.map_err(|faults| faults.to_string());
                let config = config.expect("a good configuration");
                let sink = Sink::new(log);
                // libraries ask for it at every step, and take the long way where nothing is set up
                let _traces = telemetry::start(&config.telemetry, None, &sink).expect("a log");
                let app = App::start(config, sink, 1).await;
                let app = app.expect("the sidecar starts");
                app.ready().await;
                app
            });
            Sidecar::Here {
                app,
                _control: control,
            }
        })
    }

    /// Starts the sidecar in a process of its own.
    pub(crate) fn apart(shape: Shape) -> Self {
        Self::with(shape, |folder, text| {
            let file = folder.join("proxy.yaml");
            std::fs::write(&file, text).expect("a file");
            Sidecar::Apart(Process::start(&file))
        })
    }

    fn with(shape: Shape, sidecar: impl FnOnce(&Path, &str) -> Sidecar) -> Self {
        // the first call of this process counts
        let _there_already = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let origin = Origin::start(shape.life);
        let relay = Relay::start(&origin);
        let folder = tempfile::tempdir().expect("a folder");
        let seeding = Builder::new_current_thread().build().expect("a runtime");
        seeding.block_on(seed(folder.path()));
        let sidecar = sidecar(folder.path(), &configuration(folder.path(), &origin, shape));
        let ca = CertificateDer::from_pem_file(folder.path().join("ca.pem")).expect("the CA");
        Self {
            client: Builder::new_current_thread()
                .enable_all()
                .build()
                .expect("a runtime"),
            origin,
            relay,
            sidecar,
            ca,
            _folder: folder,
        }
    }

    /// The sidecar's own process, where it has one.
    pub(crate) fn process(&self) -> &Process {
        let process = match &self.sidecar {
            Sidecar::Apart(process) => Some(process),
            Sidecar::Here { .. } => None,
        };
        process.expect("it was started apart")
    }

    /// Runs the client.
    pub(crate) fn block_on<T>(&self, future: impl Future<Output = T>) -> T {
        self.client.block_on(future)
    }

    /// Opens a connection: TCP, CONNECT where the way leads through the sidecar, TLS without resumption, HTTP.
    pub(crate) async fn open(&self, way: Way, protocol: Protocol) -> Sender {
        let (address, root) = match way {
            Way::Direct => (self.origin.address, &self.origin.certificate),
            Way::Relay => (self.relay.address, &self.relay.certificate),
            Way::Sidecar => {
                let address = match &self.sidecar {
                    Sidecar::Here { app, .. } => *app.proxies().first().expect("a listener"),
                    Sidecar::Apart(process) => process.proxy,
                };
                (address, &self.ca)
            }
        };
        let mut stream = TcpStream::connect(address).await.expect("it listens");
        stream.set_nodelay(true).expect("a socket");
        if way != Way::Direct {
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
        let (status, bytes) = self.ask(sender, path).await;
        assert!(status.is_success(), "{status}");
        bytes
    }

    /// The same, whatever the answer is; its status beside its length.
    pub(crate) async fn ask(&self, sender: &mut Sender, path: &str) -> (StatusCode, usize) {
        self.exchange(sender, Method::GET, path, Empty::new().boxed())
            .await
    }

    /// Sends a large body and reads the answer.
    pub(crate) async fn upload(&self, sender: &mut Sender) -> usize {
        let body = origin::large(origin::LARGE);
        let (status, bytes) = self.exchange(sender, Method::POST, "/up", body).await;
        assert!(status.is_success(), "{status}");
        bytes
    }

    async fn exchange(
        &self,
        sender: &mut Sender,
        method: Method,
        path: &str,
        body: Body,
    ) -> (StatusCode, usize) {
        let mut request = Request::new(body);
        let sized = method == Method::POST;
        *request.method_mut() = method;
        let authority = self.authority();
        if sized {
            let fields = request.headers_mut();
            fields.insert(header::CONTENT_LENGTH, origin::LARGE.into());
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
        let status = response.status();
        (status, origin::received(response.into_body()).await)
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

impl Sender {
    /// Another user of the same connection, where it carries more than one request at a time.
    pub(crate) fn again(&self) -> Option<Self> {
        match self {
            Self::Http1(_) => None,
            Self::Http2(sender) => Some(Self::Http2(sender.clone())),
        }
    }
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

fn configuration(folder: &Path, origin: &Origin, shape: Shape) -> String {
    std::fs::write(folder.join("origin.pem"), &origin.pem).expect("a file");
    let (dir, port) = (folder.display(), origin.address.port());
    let max_connections = shape.max_connections;
    let tenants: String = (1..shape.tenants)
        .map(|n| format!("  - {{ id: tenant-{n}, app: erp, region: na }}\n"))
        .collect();
    let routes: String = (3..shape.routes)
        .map(|n| format!("  - {{ allow: [\"GET /made-up/v{n}/things/{{id}}\"] }}\n"))
        .collect();
    format!(
        r#"
version: 1
listen:
  proxy: ["127.0.0.1:0"]
  admin: "127.0.0.1:0"
  admin_token_file: {dir}/admin.token
  limits: {{ max_connections: {max_connections} }}
interception:
  ca: {{ mode: ephemeral, cert_path: {dir}/ca.pem, bundle_path: {dir}/bundle.pem }}
upstream:
  trust: {{ ca_file: {dir}/origin.pem }}
  connect_to: {{ "{NAME}:{port}": "127.0.0.1:{port}" }}
store: {{ file: {{ path: {dir}/store.sealed, key_file: {dir}/store.key }} }}
lwa: {{ token_url: "https://{NAME}:{port}/auth/o2/token" }}
egress: [{{ host: {NAME}, mode: inject, ports: [{port}] }}]
apps: [{{ id: erp }}]
tenants:
  - {{ id: acme, app: erp, region: na }}
{tenants}default_tenant: acme
routes:
  - {{ allow: [GET /json, GET /big, POST /up] }}
{routes}audit: {{ path: {dir}/audit.jsonl }}
"#
    )
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
