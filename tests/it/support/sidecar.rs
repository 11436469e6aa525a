//! A whole sidecar in this process, with the sandbox in Amazon's place and a sealed file for a store.

use std::io::Write;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::Value;
use spapi_sidecar::app::App;
use spapi_sidecar::config::{Config, FileStore as FileStoreConfig};
use spapi_sidecar::sandbox::{Options, Received, Sandbox};
use spapi_sidecar::secret::Opaque;
use spapi_sidecar::store::file::FileStore;
use spapi_sidecar::store::{Expect, Fields, GrantStore, RecordKey};
use spapi_sidecar::telemetry::Sink;
use spapi_sidecar::tenant::{AppId, TenantId};

/// The host that most tests call.
pub(crate) const NA: &str = "sellingpartnerapi-na.amazon.com";

/// What a test changes of the usual world. Each text is a YAML section without its key, or further sections.
pub(crate) struct Setup {
    /// How the sandbox starts.
    pub(crate) sandbox: Options,
    /// `listen` entries besides the addresses.
    pub(crate) listen: String,
    /// `upstream` entries besides `trust` and `connect_to`.
    pub(crate) upstream: String,
    /// `connect_to` entries besides the sandbox's, or in their place: `host:port` and `ip:port`.
    pub(crate) connect_to: Vec<(String, String)>,
    /// Certificates that the sidecar trusts upstream besides the sandbox's, as PEM.
    pub(crate) trusted: String,
    /// The `egress` list.
    pub(crate) egress: String,
    /// The `tenants` list.
    pub(crate) tenants: String,
    /// `default_tenant`.
    pub(crate) default_tenant: String,
    /// The `routes` list.
    pub(crate) routes: String,
    /// Whole sections that are not named above.
    pub(crate) sections: String,
    /// Tenants that get a grant in the store.
    pub(crate) grants: Vec<&'static str>,
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            sandbox: Options::default(),
            listen: String::new(),
            upstream: String::new(),
            connect_to: Vec::new(),
            trusted: String::new(),
            egress: r#"
  - { host: sellingpartnerapi-na.amazon.com, mode: inject }
  - { host: sellingpartnerapi-eu.amazon.com, mode: inject }
  - { host: api.amazon.com, mode: lwa }
  - { host: "*.s3.amazonaws.com", mode: document }
  - { host: tunnel.example, mode: tunnel }
"#
            .to_owned(),
            tenants: "
  - { id: acme, app: erp, region: na, marketplaces: [ATVPDKIKX0DER], scopes: [inventory-and-order-tracking, direct-to-consumer-shipping, selling-partner-insights, amazon-fulfillment] }
  - { id: beta, app: erp, region: na, scopes: [inventory-and-order-tracking] }
"
            .to_owned(),
            default_tenant: "acme".to_owned(),
            routes: r#"
  - { allow: GET /orders/v0/orders, scope: inventory-and-order-tracking }
  - { allow: [GET /sellers/v1/marketplaceParticipations], scope: inventory-and-order-tracking }
  - { allow: [POST /reports/2021-06-30/reports, "GET /reports/2021-06-30/reports/{reportId}", "GET /reports/2021-06-30/documents/{reportDocumentId}", POST /feeds/2021-06-30/documents], scope: inventory-and-order-tracking }
  - { allow: ["GET /orders/v0/orders/{orderId}/address", "GET /orders/v0/orders/{orderId}/buyerInfo"], scope: direct-to-consumer-shipping, rdt: { per: template } }
  - { allow: "GET /orders/v0/orders/{orderId}", scope: direct-to-consumer-shipping, rdt: { data_elements: [buyerInfo, shippingAddress], per: path } }
  - { allow: POST /notifications/v1/destinations, grantless: "sellingpartnerapi::notifications" }
  - { allow: ["GET /listings/2021-08-01/items/{sellerId}/{sku}"], scope: inventory-and-order-tracking }
  - { allow: ["POST /_sandbox/{test}", "PUT /_sandbox/{test}", "GET /_sandbox/{test}", "GET /_sandbox/{test}/{argument}", "POST /_sandbox/{test}/{argument}"], scope: inventory-and-order-tracking }
"#
            .to_owned(),
            sections: String::new(),
            grants: vec!["acme", "beta"],
        }
    }
}

/// Lines that the sidecar wrote.
#[derive(Clone, Default)]
pub(crate) struct Lines(Arc<Mutex<Vec<u8>>>);

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// A running sidecar and what stands around it.
pub(crate) struct TestSidecar {
    pub(crate) app: App,
    pub(crate) sandbox: Sandbox,
    pub(crate) folder: tempfile::TempDir,
    sink: Sink,
    lines: Lines,
}

impl TestSidecar {
    /// The usual world: tenants `acme` (the default) and `beta`, both with grants.
    pub(crate) async fn start() -> Self {
        Self::with(Setup::default()).await
    }

    /// A world of the test's own.
    pub(crate) async fn with(setup: Setup) -> Self {
        let (sandbox, folder, text) = prepare(&setup).await;
        let config = Config::parse("proxy.yaml", &text, &|_| None)
            .unwrap_or_else(|faults| panic!("{faults}\n{text}"));
        let lines = Lines::default();
        let sink = Sink::new(lines.clone());
        let app = App::start(config, sink.clone(), 2).await.unwrap();
        tokio::time::timeout(Duration::from_secs(20), app.ready())
            .await
            .expect("the sidecar gets ready");
        Self {
            app,
            sandbox,
            folder,
            sink,
            lines,
        }
    }

    /// Where the CONNECT listener is.
    pub(crate) fn proxy(&self) -> SocketAddr {
        self.app.proxies()[0]
    }

    /// Where the transparent listener is.
    pub(crate) fn transparent(&self) -> SocketAddr {
        self.app.transparents()[0]
    }

    /// The CA file that programs trust.
    pub(crate) fn ca_file(&self) -> PathBuf {
        self.folder.path().join("ca.pem")
    }

    /// A TLS client configuration that trusts the sidecar's CA alone.
    pub(crate) fn tls(&self, alpn: &[&str]) -> rustls::ClientConfig {
        use rustls::pki_types::pem::PemObject as _;
        let mut roots = rustls::RootCertStore::empty();
        for certificate in rustls::pki_types::CertificateDer::pem_file_iter(self.ca_file()).unwrap()
        {
            roots.add(certificate.unwrap()).unwrap();
        }
        let mut config = rustls::ClientConfig::builder()
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
        config
    }

    /// A client that goes through the CONNECT listener; `login` is `tenant:key`.
    pub(crate) fn client_with(&self, alpn: &[&str], login: Option<&str>) -> reqwest::Client {
        let login = login.map(|login| format!("{login}@")).unwrap_or_default();
        let proxy = reqwest::Proxy::all(format!("http://{login}{}", self.proxy())).unwrap();
        reqwest::Client::builder()
            .tls_backend_preconfigured(self.tls(alpn))
            .proxy(proxy)
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .unwrap()
    }

    /// A client that speaks HTTP/1.1 through the CONNECT listener.
    pub(crate) fn client(&self) -> reqwest::Client {
        self.client_with(&["http/1.1"], None)
    }

    /// What the sandbox received on SP-API paths, documents and test endpoints: everything but token requests.
    pub(crate) fn received(&self) -> Vec<Received> {
        self.sandbox
            .received()
            .into_iter()
            .filter(|one| {
                one.exchange.is_none()
                    && one.operation.as_deref() != Some("createRestrictedDataToken")
            })
            .collect()
    }

    /// How many exchanges LWA saw.
    pub(crate) fn exchanges(&self) -> usize {
        self.sandbox
            .received()
            .iter()
            .filter(|one| one.exchange.is_some())
            .count()
    }

    /// The access records so far, in order.
    pub(crate) fn records(&self) -> Vec<Value> {
        self.text()
            .lines()
            .map(|line| {
                serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))
            })
            .collect()
    }

    /// Everything written to the sink so far.
    pub(crate) fn text(&self) -> String {
        self.sink.flush();
        String::from_utf8(self.lines.0.lock().unwrap().clone()).unwrap()
    }

    /// Opens the store beside the sidecar, as a command would.
    pub(crate) fn store(&self) -> FileStore {
        open_store(self.folder.path())
    }
}

/// A sandbox, a folder with a store and all else that `proxy.yaml` names, and its text.
pub(crate) async fn prepare(setup: &Setup) -> (Sandbox, tempfile::TempDir, String) {
    super::crypto();
    let sandbox = Sandbox::start(setup.sandbox.clone()).await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let trusted = format!("{}{}", sandbox.ca_pem(), setup.trusted);
    std::fs::write(folder.path().join("amazon.pem"), trusted).unwrap();
    seed(folder.path(), &setup.grants).await;
    let text = yaml(folder.path(), setup, &sandbox);
    (sandbox, folder, text)
}

/// The code, details and status of a refusal.
pub(crate) async fn refusal(response: reqwest::Response) -> (u16, String, String) {
    let status = response.status().as_u16();
    let field = response
        .headers()
        .get("x-spapi-sidecar-error")
        .map(|code| code.to_str().unwrap().to_owned());
    assert!(
        response.headers().contains_key("proxy-status"),
        "{response:?}"
    );
    assert!(
        response
            .headers()
            .contains_key("x-spapi-sidecar-request-id"),
        "{response:?}"
    );
    let body: Value = response.json().await.unwrap();
    let code = body["errors"][0]["code"].as_str().unwrap().to_owned();
    assert_eq!(field.as_deref(), Some(&*code));
    (
        status,
        code,
        body["errors"][0]["details"].as_str().unwrap().to_owned(),
    )
}

/// Waits until something holds, at most ten seconds.
pub(crate) async fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    for _ in 0..500 {
        if holds() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("never: {what}");
}

fn open_store(folder: &Path) -> FileStore {
    FileStore::open(&FileStoreConfig {
        path: folder.join("store.sealed"),
        key_file: folder.join("store.key"),
    })
    .unwrap()
}

async fn seed(folder: &Path, tenants: &[&str]) {
    use std::os::unix::fs::PermissionsExt as _;
    let key = folder.join("store.key");
    std::fs::write(&key, format!("{}\n", "5a".repeat(32))).unwrap();
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o600)).unwrap();
    let store = open_store(folder);
    let fields = |pairs: &[(&str, String)]| {
        pairs
            .iter()
            .map(|(name, value)| ((*name).to_owned(), Opaque::new(value.clone())))
            .collect::<Fields>()
    };
    let app = fields(&[
        (
            "client_id",
            "amzn1.application-oa2-client.canary".to_owned(),
        ),
        ("client_secret", "amzn1.oa2-cs.v1.canary".to_owned()),
    ]);
    store
        .write(
            &RecordKey::App(AppId::parse("erp").unwrap()),
            app,
            Expect::Any,
        )
        .await
        .unwrap();
    for tenant in tenants {
        let grant = fields(&[("refresh_token", format!("Atzr|canary-{tenant}"))]);
        store
            .write(
                &RecordKey::Grant(TenantId::parse(tenant).unwrap()),
                grant,
                Expect::Any,
            )
            .await
            .unwrap();
    }
}

fn yaml(folder: &Path, setup: &Setup, sandbox: &Sandbox) -> String {
    let dir = folder.display();
    let redirected: Vec<String> = sandbox
        .connect_to()
        .into_iter()
        .filter(|(host, _)| setup.connect_to.iter().all(|(other, _)| other != host))
        .chain(setup.connect_to.clone())
        .map(|(from, to)| format!("    \"{from}\": \"{to}\""))
        .collect();
    let Setup {
        listen,
        upstream,
        egress,
        tenants,
        default_tenant,
        routes,
        sections,
        ..
    } = setup;
    format!(
        r#"
version: 1
listen:
  proxy: ["127.0.0.1:0"]
  transparent: ["127.0.0.1:0"]
  admin: "127.0.0.1:0"
  admin_token_file: {dir}/admin.token
  drain_timeout: 5s
{listen}
interception:
  ca: {{ mode: ephemeral, cert_path: {dir}/ca.pem, bundle_path: {dir}/bundle.pem }}
upstream:
  trust: {{ ca_file: {dir}/amazon.pem }}
  connect_to:
{redirected}
{upstream}
store: {{ file: {{ path: {dir}/store.sealed, key_file: {dir}/store.key }} }}
egress: {egress}
apps: [{{ id: erp }}]
tenants: {tenants}
default_tenant: {default_tenant}
routes: {routes}
audit: {{ path: {dir}/audit.jsonl }}
{sections}
"#,
        redirected = redirected.join("\n")
    )
}
