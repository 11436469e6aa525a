//! A whole sidecar in this process, with the sandbox in Amazon's place and a sealed file for a store.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::Value;
use spapi_sidecar::app::App;
use spapi_sidecar::config::{Config, FileStore as FileStoreConfig};
use spapi_sidecar::phantom::Kind;
use spapi_sidecar::sandbox::{Fault, GrantRegistration, Options, Received, Sandbox};
use spapi_sidecar::secret::{Opaque, ProxyKey, RefreshToken};
use spapi_sidecar::store::file::FileStore;
use spapi_sidecar::store::record::ProxyKeyHash;
use spapi_sidecar::store::{Expect, Fields, GrantStore, RecordKey};
use spapi_sidecar::telemetry::Sink;
use spapi_sidecar::tenant::{AppId, TenantId};

use super::wire::Door;

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
    /// Further authorities that lead to the sandbox.
    pub(crate) connect_to_sandbox: Vec<&'static str>,
    /// Hosts of the sandbox that `connect_to` leaves alone.
    pub(crate) not_redirected: Vec<&'static str>,
    /// Certificates that the sidecar trusts upstream besides the sandbox's, as PEM.
    pub(crate) trusted: String,
    /// The `egress` list.
    pub(crate) egress: String,
    /// The `apps` list.
    pub(crate) apps: String,
    /// The `tenants` list.
    pub(crate) tenants: String,
    /// `default_tenant`.
    pub(crate) default_tenant: String,
    /// The `routes` list.
    pub(crate) routes: String,
    /// `audit.path`, where it is not a file in the folder.
    pub(crate) audit_path: Option<PathBuf>,
    /// `audit.requests`.
    pub(crate) audit_requests: &'static str,
    /// What `store` holds; empty for the sealed file.
    pub(crate) store: String,
    /// What `interception.ca` holds besides the paths of what is public; `DIR` is the world's folder.
    pub(crate) ca: String,
    /// What `interception` holds besides `ca`.
    pub(crate) interception: String,
    /// The `throttle` section.
    pub(crate) throttle: String,
    /// Whole sections that are not named above.
    pub(crate) sections: String,
    /// Tenants that get a grant in the store.
    pub(crate) grants: Vec<&'static str>,
    /// The CONNECT listener's address.
    pub(crate) proxy: String,
    /// The admin listener's address.
    pub(crate) admin: String,
    /// A field of a record that stands in the store before the start.
    pub(crate) records: Vec<(RecordKey, &'static str, String)>,
    /// Records of several fields that stand there too.
    pub(crate) whole_records: Vec<(RecordKey, Vec<(&'static str, &'static str)>)>,
    /// `listen.drain_timeout`.
    pub(crate) drain_timeout: String,
    /// Whether the start is awaited to the end.
    pub(crate) gets_ready: bool,
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            sandbox: Options {
                grants: ["acme", "beta"].into_iter().map(|tenant| GrantRegistration::new(RefreshToken::new(format!("Atzr|canary-{tenant}")), tenant)).collect(),
                ..Options::default()
            },
            listen: String::new(),
            upstream: String::new(),
            connect_to: Vec::new(),
            not_redirected: Vec::new(),
            connect_to_sandbox: Vec::new(),
            trusted: String::new(),
            egress: r#"
  - { host: sellingpartnerapi-na.amazon.com, mode: inject }
  - { host: sellingpartnerapi-eu.amazon.com, mode: inject }
  - { host: api.amazon.com, mode: lwa }
  - { host: "*.s3.amazonaws.com", mode: document }
  - { host: tunnel.example, mode: tunnel }
"#
            .to_owned(),
            apps: "[{ id: erp }]".to_owned(),
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
            audit_path: None,
            audit_requests: "restricted",
            store: String::new(),
            ca: "mode: ephemeral".to_owned(),
            interception: String::new(),
            // most tests make more calls than Amazon's plans let through; those of pacing say so
            throttle: "{ mode: pass }".to_owned(),
            sections: String::new(),
            grants: vec!["acme", "beta"],
            proxy: "127.0.0.1:0".to_owned(),
            admin: "127.0.0.1:0".to_owned(),
            records: Vec::new(),
            whole_records: Vec::new(),
            drain_timeout: "5s".to_owned(),
            gets_ready: true,
        }
    }
}

/// Lines that the sidecar wrote.
#[derive(Clone, Default)]
pub(crate) struct Lines(Arc<Mutex<Vec<u8>>>);

impl Lines {
    /// Everything so far.
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.0.lock().unwrap()).into_owned()
    }
}

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
    configuration: String,
    door: Door,
    sink: Sink,
    lines: Lines,
}

impl std::ops::Deref for TestSidecar {
    type Target = Door;

    fn deref(&self) -> &Door {
        &self.door
    }
}

/// What stands around a sidecar: Amazon's stand-in, and a folder with a store and `proxy.yaml`.
pub(crate) struct Stage {
    pub(crate) sandbox: Sandbox,
    pub(crate) folder: tempfile::TempDir,
    pub(crate) yaml: String,
}

impl Stage {
    /// Sets everything up.
    pub(crate) async fn set(setup: &Setup) -> Self {
        super::crypto();
        let sandbox = Sandbox::start(setup.sandbox.clone()).await.unwrap();
        let folder = tempfile::tempdir().unwrap();
        let trusted = format!("{}{}", sandbox.ca_pem(), setup.trusted);
        std::fs::write(folder.path().join("amazon.pem"), trusted).unwrap();
        seed(folder.path(), &setup.grants).await;
        for (key, field, value) in &setup.records {
            let store = open_store(folder.path());
            let record = store.read(key).await.unwrap();
            let mut fields = record.map_or_else(Fields::new, |record| record.fields);
            fields.insert((*field).to_owned(), Opaque::new(value.clone()));
            store.write(key, fields, Expect::Any).await.unwrap();
        }
        for (key, pairs) in &setup.whole_records {
            let pair = |(name, value): &(&str, &str)| {
                ((*name).to_owned(), Opaque::new((*value).to_owned()))
            };
            let fields: Fields = pairs.iter().map(pair).collect();
            open_store(folder.path())
                .write(key, fields, Expect::Any)
                .await
                .unwrap();
        }
        let yaml = yaml(folder.path(), setup, &sandbox);
        std::fs::write(folder.path().join("proxy.yaml"), &yaml).unwrap();
        Self {
            sandbox,
            folder,
            yaml,
        }
    }
}

impl TestSidecar {
    /// The usual world: tenants `acme` (the default) and `beta`, both with grants.
    pub(crate) async fn start() -> Self {
        Self::with(Setup::default()).await
    }

    /// A world of the test's own.
    pub(crate) async fn with(setup: Setup) -> Self {
        let Stage {
            sandbox,
            folder,
            yaml,
        } = Stage::set(&setup).await;
        let config = Config::parse("proxy.yaml", &yaml, &|_| None)
            .unwrap_or_else(|faults| panic!("{faults}\n{yaml}"));
        let lines = Lines::default();
        let sink = Sink::new(lines.clone());
        let app = App::start(config, sink.clone(), 2).await.unwrap();
        if setup.gets_ready {
            tokio::time::timeout(Duration::from_secs(20), app.ready())
                .await
                .expect("the sidecar gets ready");
        }
        let door = Door {
            proxy: app.proxies()[0],
            transparent: app.transparents()[0],
            ca_file: folder.path().join("ca.pem"),
        };
        Self {
            app,
            sandbox,
            folder,
            configuration: yaml,
            door,
            sink,
            lines,
        }
    }

    /// Drains it; its folder.
    pub(crate) async fn ended(self) -> tempfile::TempDir {
        let left = self.app.drain().await;
        assert!(left.is_empty(), "{left:?}");
        self.folder
    }

    /// The text that the sidecar was started with.
    pub(crate) fn configuration(&self) -> &str {
        &self.configuration
    }

    /// Runs one of the binary's commands on this sidecar's configuration; what it printed.
    pub(crate) async fn command(&self, arguments: &[&str]) -> String {
        let output = tokio::process::Command::new(env!("CARGO_BIN_EXE_spapi-sidecar"))
            .args(arguments)
            .arg("--config")
            .arg(self.folder.path().join("proxy.yaml"))
            .output()
            .await
            .unwrap();
        assert!(output.status.success(), "{arguments:?}: {output:?}");
        String::from_utf8(output.stdout)
            .unwrap()
            .trim_end()
            .to_owned()
    }

    /// Stores the hash of a proxy key.
    pub(crate) async fn put_proxy_key(&self, tenant: &str, key: &str) {
        put_proxy_key(self.folder.path(), tenant, key).await;
    }

    /// Whose tokens the calls carried that reached Amazon.
    pub(crate) fn whose(&self) -> Vec<Option<String>> {
        self.received()
            .into_iter()
            .map(|one| one.selling_partner)
            .collect()
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
        self.lines.text()
    }

    /// A phantom token of a tenant, as the sidecar itself would vend it.
    pub(crate) fn phantom(&self, kind: Kind, tenant: &str) -> String {
        let key = self.app.shared().phantoms.get().unwrap();
        key.mint(kind, Some(&TenantId::parse(tenant).unwrap()), 7)
    }

    /// The one access record so far, once it is there.
    pub(crate) async fn record(&self) -> Value {
        eventually("one access record", || self.records().len() == 1).await;
        self.records().remove(0)
    }

    /// Opens the store beside the sidecar, as a command would.
    pub(crate) fn store(&self) -> FileStore {
        open_store(self.folder.path())
    }
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

/// A fault of the sandbox.
pub(crate) fn fault(json: &str) -> Fault {
    Fault::parse(json).unwrap()
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

/// Stores the hash of a proxy key.
pub(crate) async fn put_proxy_key(folder: &Path, tenant: &str, key: &str) {
    let fields = ProxyKeyHash::of(&ProxyKey::new(key.to_owned())).into_fields();
    let record = RecordKey::ProxyKey(TenantId::parse(tenant).unwrap());
    open_store(folder)
        .write(&record, fields, Expect::Any)
        .await
        .unwrap();
}

/// Opens the store in a folder, as a command would.
pub(crate) fn open_store(folder: &Path) -> FileStore {
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
        .filter(|(from, _)| {
            let host = from.split(':').next();
            let kept = setup.not_redirected.iter().any(|kept| Some(*kept) == host);
            !kept && setup.connect_to.iter().all(|(other, _)| other != from)
        })
        .chain(setup.connect_to.clone())
        .chain(
            setup
                .connect_to_sandbox
                .iter()
                .map(|from| ((*from).to_owned(), sandbox.address().to_string())),
        )
        .map(|(from, to)| format!("    \"{from}\": \"{to}\""))
        .collect();
    let store = if setup.store.is_empty() {
        format!("{{ file: {{ path: {dir}/store.sealed, key_file: {dir}/store.key }} }}")
    } else {
        setup.store.clone()
    };
    let Setup {
        listen,
        ca,
        interception,
        upstream,
        egress,
        apps,
        tenants,
        default_tenant,
        routes,
        throttle,
        sections,
        audit_requests,
        proxy,
        admin,
        drain_timeout,
        ..
    } = setup;
    format!(
        r#"
version: 1
listen:
  proxy: ["{proxy}"]
  transparent: ["127.0.0.1:0"]
  admin: "{admin}"
  admin_token_file: {dir}/admin.token
  drain_timeout: {drain_timeout}
{listen}
interception:
  ca: {{ {ca}, cert_path: {dir}/ca.pem, bundle_path: {dir}/bundle.pem }}
{interception}
upstream:
  trust: {{ ca_file: {dir}/amazon.pem }}
  connect_to:
{redirected}
{upstream}
store: {store}
egress: {egress}
apps: {apps}
tenants: {tenants}
default_tenant: {default_tenant}
routes: {routes}
throttle: {throttle}
audit: {{ path: {audit}, requests: {audit_requests} }}
{sections}
"#,
        redirected = redirected.join("\n"),
        audit = setup
            .audit_path
            .clone()
            .unwrap_or_else(|| folder.join("audit.jsonl"))
            .display(),
    )
    .replace("DIR/", &format!("{dir}/"))
}
