//! The demo's world: a folder, a sandbox, a store with made-up credentials, the sidecar.

use std::net::SocketAddr;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use super::Complaint;
use crate::app::App;
use crate::cli::init::{store_key, write_new};
use crate::config::{Config, Store};
use crate::phantom::Kind;
use crate::sandbox::{Options, Sandbox};
use crate::secret::{ClientId, ClientSecret, RefreshToken};
use crate::store::record::{AppCredentials, Grant};
use crate::store::{self, Expect, Fields, RecordKey};
use crate::telemetry::Sink;
use crate::tenant::{AppId, TenantId};

/// Everything that runs while the demo does.
pub(super) struct World {
    folder: Folder,
    pub(super) sandbox: Sandbox,
    app: App,
}

impl World {
    /// Builds and starts it all.
    pub(super) async fn build(port: u16) -> Result<Self, Complaint> {
        let doing = |what: &'static str| {
            move |error: &dyn std::fmt::Display| Complaint::while_doing(what, error)
        };
        let folder =
            std::env::temp_dir().join(format!("spapi-sidecar-demo-{}", std::process::id()));
        std::fs::DirBuilder::new()
            .mode(0o700)
            .create(&folder)
            .map_err(|error| doing("cannot make a folder for the demo")(&error))?;
        let removed_at_the_end = Folder(folder.clone());
        let sandbox = Sandbox::start(Options::default())
            .await
            .map_err(|error| doing("cannot start the sandbox")(&error))?;
        write_new(
            &folder.join("amazon.pem"),
            0o600,
            sandbox.ca_pem().as_bytes(),
        )?;
        write_new(&folder.join("store.key"), 0o600, &store_key()?)?;
        let text = yaml(&folder, port, &sandbox);
        write_new(&folder.join("proxy.yaml"), 0o600, text.as_bytes())?;
        let config = Config::parse("proxy.yaml", &text, &|_| None)
            .map_err(|faults| doing("the demo's own configuration")(&faults))?;
        fill(&config.store)
            .await
            .map_err(|error| doing("cannot fill the store")(&error))?;
        let log = std::fs::File::create(folder.join("sidecar.log"))
            .map_err(|error| doing("cannot write the log")(&error))?;
        let sink = Sink::new(log);
        crate::telemetry::start(&config.telemetry, None, &sink)
            .map_err(|error| doing("cannot start the log")(&error))?;
        let app = App::start(config, sink, 1)
            .await
            .map_err(|error| doing("cannot start the sidecar")(&error))?;
        app.ready().await;
        Ok(Self {
            folder: removed_at_the_end,
            sandbox,
            app,
        })
    }

    /// Where the proxy listens.
    pub(super) fn proxy(&self) -> SocketAddr {
        self.app
            .proxies()
            .first()
            .copied()
            .expect("the demo's configuration names one proxy listener")
    }

    /// Where health is.
    pub(super) const fn admin(&self) -> SocketAddr {
        self.app.admin()
    }

    /// A file of the demo's folder.
    pub(super) fn file(&self, name: &str) -> PathBuf {
        self.folder.0.join(name)
    }

    /// A phantom refresh token, as `tenant phantom` prints it.
    pub(super) fn phantom(&self, tenant: &str) -> Result<String, Complaint> {
        let tenant = TenantId::parse(tenant)
            .map_err(|error| Complaint::while_doing("the demo's tenants", error))?;
        let key = self
            .app
            .shared()
            .phantoms
            .get()
            .ok_or_else(|| Complaint("the store gave no phantom key".to_owned()))?;
        Ok(key.mint(Kind::Refresh, Some(&tenant), rand::random()))
    }

    /// Ends it all, and takes the folder away.
    pub(super) async fn end(self) {
        let _left = self.app.drain().await;
        self.sandbox.stop().await;
    }
}

/// A folder that goes away with the demo.
struct Folder(PathBuf);

impl Drop for Folder {
    fn drop(&mut self) {
        // what cannot be removed holds made-up secrets only
        let _stays = std::fs::remove_dir_all(&self.0);
    }
}

/// A made-up app, and a grant for each of two made-up tenants.
async fn fill(config: &Store) -> Result<(), store::StoreError> {
    let store = store::open(config)?;
    let made_up = |kind: &str| format!("{kind}{:032x}", rand::random::<u128>());
    let app = AppCredentials {
        client_id: ClientId::new(made_up("amzn1.application-oa2-client.")),
        client_secret: ClientSecret::new(made_up("amzn1.oa2-cs.v1.")),
        client_secret_next: None,
        rotated_at: None,
    };
    let mut records: Vec<(RecordKey, Fields)> = vec![(
        RecordKey::App(id(AppId::parse("legacy"))),
        app.into_fields(),
    )];
    for tenant in ["acme", "beta"] {
        let grant = Grant {
            refresh_token: RefreshToken::new(made_up("Atzr|")),
            selling_partner_id: None,
            authorized_at: None,
        };
        records.push((
            RecordKey::Grant(id(TenantId::parse(tenant))),
            grant.into_fields(),
        ));
    }
    for (key, fields) in records {
        store.write(&key, fields, Expect::Absent).await?;
    }
    Ok(())
}

fn id<T>(parsed: Result<T, crate::tenant::IdError>) -> T {
    parsed.expect("the demo's ids are spelt as ids")
}

fn yaml(folder: &Path, port: u16, sandbox: &Sandbox) -> String {
    let dir = folder.display();
    let redirected: String = sandbox
        .connect_to()
        .iter()
        .map(|(from, to)| format!("    \"{from}\": \"{to}\"\n"))
        .collect();
    format!(
        r#"# The demo's configuration. `spapi-sidecar init DIR` writes a commented one of every key.
version: 1
listen: {{ proxy: ["127.0.0.1:{port}"], admin: "127.0.0.1:0", admin_token_file: "{dir}/admin.token" }}
interception: {{ ca: {{ mode: ephemeral, cert_path: "{dir}/ca.pem", bundle_path: "{dir}/ca-bundle.pem" }} }}
upstream:
  trust: {{ ca_file: "{dir}/amazon.pem" }}   # the sandbox stands in Amazon's place
  connect_to:
{redirected}
store: {{ file: {{ path: "{dir}/store.sealed", key_file: "{dir}/store.key" }} }}
egress:
  - {{ host: sellingpartnerapi-na.amazon.com, mode: inject }}
  - {{ host: sellingpartnerapi-eu.amazon.com, mode: inject }}
  - {{ host: api.amazon.com, mode: lwa }}
  - {{ host: "*.s3.amazonaws.com", mode: document }}
apps: [{{ id: legacy }}]
tenants:
  - {{ id: acme, app: legacy, region: na, marketplaces: [ATVPDKIKX0DER], scopes: [inventory-and-order-tracking, direct-to-consumer-shipping] }}
  - {{ id: beta, app: legacy, region: eu, marketplaces: [A1F83G8C2ARO7P], scopes: [inventory-and-order-tracking] }}
default_tenant: acme
routes:
  - allow: [GET /orders/v0/orders, POST /reports/2021-06-30/reports, "GET /reports/2021-06-30/documents/{{reportDocumentId}}"]
    scope: inventory-and-order-tracking
  - allow: "GET /orders/v0/orders/{{orderId}}/address"
    scope: direct-to-consumer-shipping
    rdt: {{ per: template }}
  - allow: POST /notifications/v1/destinations
    grantless: "sellingpartnerapi::notifications"
audit: {{ path: "{dir}/audit.jsonl" }}
"#
    )
}
