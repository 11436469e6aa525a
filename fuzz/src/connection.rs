//! Whatever bytes come in, the listener lives on, and nothing leaves that no route names or that was not sent as it is.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use spapi_sidecar::app::App;
use spapi_sidecar::config::{Config, FileStore as FileStoreConfig};
use spapi_sidecar::sandbox::{GrantRegistration, Options, Received, Sandbox};
use spapi_sidecar::secret::{Opaque, RefreshToken};
use spapi_sidecar::store::file::FileStore;
use spapi_sidecar::store::{Expect, Fields, GrantStore as _, RecordKey};
use spapi_sidecar::telemetry::Sink;
use spapi_sidecar::tenant::{AppId, TenantId};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

const HOST: &str = "sellingpartnerapi-na.amazon.com";

/// Longer than every bound of the sidecar that is set below, one after the other.
const PATIENCE: Duration = Duration::from_secs(30);

/// What is allowed, segment by segment; `*` is any one segment.
const ALLOWED: [(&str, &str); 5] = [
    ("GET", "/orders/v0/orders"),
    ("GET", "/orders/v0/orders/*"),
    ("GET", "/listings/2021-08-01/items/*/*"),
    ("PUT", "/listings/2021-08-01/items/*/*"),
    ("POST", "/feeds/2021-06-30/documents"),
];

const CONFIGURATION: &str = r#"
version: 1
listen:
  proxy: ["127.0.0.1:0"]
  transparent: ["127.0.0.1:0"]
  admin: "127.0.0.1:0"
  admin_token_file: DIR/admin.token
  plaintext: upgrade
  limits: { header_timeout: 300ms, idle_timeout: 300ms, header_bytes: 8KiB }
interception:
  ca: { cert_path: DIR/ca.pem, bundle_path: DIR/bundle.pem }
upstream: { trust: { ca_file: DIR/amazon.pem }, connect_to: CONNECT_TO, response_timeout: 2s }
store: { file: { path: DIR/store.sealed, key_file: DIR/store.key } }
egress:
  - { host: sellingpartnerapi-na.amazon.com, mode: inject }
  - { host: api.amazon.com, mode: lwa }
  - { host: "*.s3.amazonaws.com", mode: document }
apps: [{ id: erp }]
tenants: [{ id: acme, app: erp, region: na, scopes: [role] }]
default_tenant: acme
routes:
  - allow:
      - GET /orders/v0/orders
      - GET /orders/v0/orders/{orderId}
      - GET /listings/2021-08-01/items/{sellerId}/{sku}
      - PUT /listings/2021-08-01/items/{sellerId}/{sku}
      - POST /feeds/2021-06-30/documents
    scope: role
throttle: { mode: pass }
audit: { path: DIR/audit.jsonl, requests: none }
"#;

/// One byte chooses the way in (the proxy listener, the transparent one, HTTP/1.1 and HTTP/2 inside an intercepted
/// connection), the rest is sent as it is.
///
/// # Panics
/// When the sidecar hangs or dies, or something leaves that must not.
pub fn check(data: &[u8]) {
    let Some((way, bytes)) = data.split_first() else {
        return;
    };
    let world = world();
    world.runtime.block_on(async {
        let fed = tokio::time::timeout(PATIENCE, world.feed(way % 4, bytes));
        fed.await
            .unwrap_or_else(|_elapsed| panic!("the connection hangs"));
        world.judge(way % 4, bytes).await;
    });
}

struct World {
    runtime: tokio::runtime::Runtime,
    app: App,
    sandbox: Sandbox,
    tls: [Arc<rustls::ClientConfig>; 2],
    seen: Mutex<Seen>,
    _folder: tempfile::TempDir,
}

/// What came out so far, and what was put in of late: a request that was broken off may arrive a little later.
#[derive(Default)]
struct Seen {
    last: u64,
    fed: u64,
    recent: VecDeque<Vec<u8>>,
}

impl World {
    async fn feed(&self, way: u8, bytes: &[u8]) {
        let proxy = self.app.proxies()[0];
        match way {
            0 => pour(dial(proxy).await, bytes).await,
            1 => pour(dial(self.app.transparents()[0]).await, bytes).await,
            inside => {
                let tls = &self.tls[usize::from(inside - 2)];
                pour(intercepted(proxy, tls).await, bytes).await;
            }
        }
    }

    async fn judge(&self, way: u8, bytes: &[u8]) {
        let (arrived, check_life) = {
            let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
            seen.fed += 1;
            seen.recent.push_back(bytes.to_vec());
            if seen.recent.len() > 16 {
                seen.recent.pop_front();
            }
            let arrived = self.sandbox.received_since(seen.last);
            seen.last = arrived.last().map_or(seen.last, |one| one.n);
            for one in &arrived {
                judge_one(one, way, &seen.recent);
            }
            (arrived.len(), seen.fed.is_multiple_of(64))
        };
        if check_life || arrived > 64 {
            self.lives().await;
        }
    }

    async fn lives(&self) {
        let mut stream = dial(self.app.proxies()[0]).await;
        let served = async {
            stream
                .write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
                .await?;
            let mut answer = [0; 12];
            stream.read_exact(&mut answer).await?;
            Ok::<_, std::io::Error>(answer)
        };
        assert_eq!(&served.await.expect("the listener lives"), b"HTTP/1.1 400");
    }
}

fn judge_one(one: &Received, way: u8, recent: &VecDeque<Vec<u8>>) {
    if one.exchange.is_some() {
        return;
    }
    assert!(!one.leak, "{one:?}");
    assert_eq!(one.host, HOST, "{one:?}");
    assert_eq!(
        one.token.as_ref().map(|token| token.kind),
        Some("access"),
        "{one:?}"
    );
    assert!(
        one.selling_partner
            .as_deref()
            .is_none_or(|whose| whose == "acme"),
        "{one:?}"
    );
    let path = one.target.split('?').next().unwrap_or_default();
    let as_get = if one.method == "HEAD" {
        "GET"
    } else {
        &one.method
    };
    let is_allowed = |(method, template): &(&str, &str)| *method == as_get && fits(template, path);
    assert!(ALLOWED.iter().any(is_allowed), "{one:?}");
    // HTTP/2 may have compressed it
    let was_sent = |sent: &Vec<u8>| {
        sent.windows(one.target.len())
            .any(|w| w == one.target.as_bytes())
    };
    assert!(way == 3 || recent.iter().any(was_sent), "{one:?}");
}

fn fits(template: &str, path: &str) -> bool {
    let (template, path): (Vec<_>, Vec<_>) =
        (template.split('/').collect(), path.split('/').collect());
    template.len() == path.len()
        && template
            .iter()
            .zip(path)
            .all(|(wanted, seen)| *wanted == seen || (*wanted == "*" && !seen.is_empty()))
}

async fn dial(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address)
        .await
        .expect("the listener accepts");
    stream.set_nodelay(true).expect("TCP");
    // a reset at the end frees the port at once: a fuzzer opens more connections than there are ports
    stream.set_zero_linger().expect("TCP");
    stream
}

/// Sends what the other side takes, ends our half, and reads until the other half ends too.
async fn pour(mut io: impl AsyncRead + AsyncWrite + Unpin, bytes: &[u8]) {
    let (mut read, mut write) = tokio::io::split(&mut io);
    let sending = async {
        // it may close before it has read everything
        let _sent = write.write_all(bytes).await;
        let _ended = write.shutdown().await;
    };
    let mut sink = Vec::new();
    let (_read, ()) = tokio::join!(read.read_to_end(&mut sink), sending);
}

async fn intercepted(
    proxy: SocketAddr,
    tls: &Arc<rustls::ClientConfig>,
) -> tokio_rustls::client::TlsStream<TcpStream> {
    let mut stream = dial(proxy).await;
    let head = format!("CONNECT {HOST}:443 HTTP/1.1\r\nhost: {HOST}:443\r\n\r\n");
    stream
        .write_all(head.as_bytes())
        .await
        .expect("CONNECT is read");
    let mut answer = Vec::new();
    while !answer.ends_with(b"\r\n\r\n") {
        answer.push(stream.read_u8().await.expect("CONNECT is answered"));
    }
    assert!(answer.starts_with(b"HTTP/1.1 200"));
    let name = ServerName::try_from(HOST).expect("a good name");
    let connector = TlsConnector::from(Arc::clone(tls));
    connector
        .connect(name, stream)
        .await
        .expect("the leaf is good")
}

fn world() -> &'static World {
    static WORLD: OnceLock<World> = OnceLock::new();
    WORLD.get_or_init(|| {
        // somebody else may have installed it already: there is only one that it could be
        let _already = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let mut builder = tokio::runtime::Builder::new_multi_thread();
        let runtime = builder
            .worker_threads(2)
            .enable_all()
            .build()
            .expect("a runtime");
        let folder = tempfile::tempdir().expect("a folder");
        let (app, sandbox) = runtime.block_on(start(folder.path()));
        let tls = [&b"http/1.1"[..], b"h2"].map(|alpn| trusting(folder.path(), alpn));
        World {
            runtime,
            app,
            sandbox,
            tls,
            seen: Mutex::default(),
            _folder: folder,
        }
    })
}

async fn start(folder: &std::path::Path) -> (App, Sandbox) {
    // a fuzzer's main is not Rust's, which ignores it: once there is a handler, it ends nothing any more
    let _handled = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::pipe())
        .expect("a signal handler");
    let grant = GrantRegistration::new(RefreshToken::new("Atzr|held".to_owned()), "acme");
    let options = Options {
        grants: vec![grant],
        ..Options::default()
    };
    let sandbox = Sandbox::start(options).await.expect("a sandbox");
    std::fs::write(folder.join("amazon.pem"), sandbox.ca_pem()).expect("a file");
    fill(folder).await;
    let connect_to = serde_json::to_string(&sandbox.connect_to()).expect("a map of texts");
    let yaml = CONFIGURATION
        .replace("DIR", &folder.display().to_string())
        .replace("CONNECT_TO", &connect_to);
    let config =
        Config::parse("proxy.yaml", &yaml, &|_| None).unwrap_or_else(|faults| panic!("{faults}"));
    let app = App::start(config, Sink::new(std::io::sink()), 1)
        .await
        .expect("a sidecar");
    app.ready().await;
    (app, sandbox)
}

async fn fill(folder: &std::path::Path) {
    use std::os::unix::fs::PermissionsExt as _;
    let (path, key_file) = (folder.join("store.sealed"), folder.join("store.key"));
    std::fs::write(&key_file, "5a".repeat(32)).expect("a file");
    std::fs::set_permissions(&key_file, std::fs::Permissions::from_mode(0o600)).expect("a mode");
    let store = FileStore::open(&FileStoreConfig { path, key_file }).expect("a store");
    let (app, tenant) = (AppId::parse("erp"), TenantId::parse("acme"));
    for (record, pairs) in [
        (
            RecordKey::App(app.expect("an id")),
            vec![("client_id", "id"), ("client_secret", "secret")],
        ),
        (
            RecordKey::Grant(tenant.expect("an id")),
            vec![("refresh_token", "Atzr|held")],
        ),
    ] {
        let fields: Fields = pairs
            .into_iter()
            .map(|(name, value)| (name.to_owned(), Opaque::new(value.to_owned())))
            .collect();
        store
            .write(&record, fields, Expect::Any)
            .await
            .expect("a record");
    }
}

fn trusting(folder: &std::path::Path, alpn: &[u8]) -> Arc<rustls::ClientConfig> {
    let mut roots = rustls::RootCertStore::empty();
    for root in CertificateDer::pem_file_iter(folder.join("ca.pem")).expect("a CA") {
        roots.add(root.expect("PEM")).expect("a root");
    }
    let mut config = rustls::ClientConfig::builder()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![alpn.to_vec()];
    Arc::new(config)
}
