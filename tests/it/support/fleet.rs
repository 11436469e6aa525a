//! What stands around a fleet: a Vault with the tenants' grants, the sandbox, and a folder for each sidecar.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};
use spapi_sidecar::sandbox::{Options, Sandbox};

use crate::support::child::Process;
use crate::support::gate::Gate;
use crate::support::sidecar::NA;
use crate::support::vault::{SIDECAR_POLICY, TestVault};
use crate::support::wire::Door;

/// LWA's host.
pub(crate) const LWA: &str = "api.amazon.com";

/// What a sidecar may do besides, where records are sealed.
const TRANSIT_POLICY: &str = r#"
path "transit/encrypt/spapi-*" { capabilities = ["update"] }
path "transit/decrypt/spapi-*" { capabilities = ["update"] }
"#;

/// What kind of a server the store is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Server {
    /// One that forgets everything when it ends.
    InMemory,
    /// One that can be stopped, started, sealed and unsealed.
    Kept,
    /// The same with a standby, which is what sidecars speak to.
    WithStandby,
}

/// What a stage is to be like.
#[derive(Clone, Copy)]
pub(crate) struct Plan {
    /// How many tenants; the first is the default.
    pub(crate) tenants: usize,
    /// Life of every token.
    pub(crate) expires_in: Duration,
    /// The store.
    pub(crate) server: Server,
    /// `share_tokens`.
    pub(crate) shares: bool,
    /// Whether records of tenants are sealed by transit.
    pub(crate) transit: bool,
    /// `listen.drain_timeout`.
    pub(crate) drain_timeout: &'static str,
}

impl Default for Plan {
    fn default() -> Self {
        Self {
            tenants: 1,
            expires_in: Duration::from_hours(1),
            server: Server::Kept,
            shares: true,
            transit: false,
            drain_timeout: "5s",
        }
    }
}

/// A store and an Amazon.
pub(crate) struct Stage {
    pub(crate) vault: TestVault,
    pub(crate) sandbox: Sandbox,
    /// A standby of the store, which is what sidecars speak to where there is one.
    pub(crate) standby: Option<TestVault>,
    /// The way to LWA.
    pub(crate) lwa: Gate,
    plan: Plan,
    login: (std::path::PathBuf, std::path::PathBuf),
}

/// One sidecar.
pub(crate) struct Member {
    pub(crate) process: Process,
    pub(crate) door: Door,
    pub(crate) admin: std::net::SocketAddr,
    pub(crate) folder: tempfile::TempDir,
}

/// A tenant's record as Vault holds it: its version and its fields.
pub(crate) struct Held {
    pub(crate) version: u64,
    fields: BTreeMap<String, String>,
}

impl Held {
    pub(crate) fn field(&self, name: &str) -> &str {
        self.fields.get(name).map_or("", String::as_str)
    }

    pub(crate) fn generation(&self) -> usize {
        self.field("generation").parse().unwrap_or(0)
    }
}

/// What the programs call.
pub(crate) fn orders() -> String {
    format!("https://{NA}/orders/v0/orders?MarketplaceIds=ATVPDKIKX0DER")
}

pub(crate) fn tenant(n: usize) -> String {
    format!("seller-{n}")
}

impl Stage {
    /// `None` where no server can be had.
    pub(crate) async fn set(tenants: usize, expires_in: Duration) -> Option<Self> {
        Self::with(Plan {
            tenants,
            expires_in,
            server: Server::InMemory,
            ..Plan::default()
        })
        .await
    }

    /// A stage of the test's own; `None` where no server can be had.
    pub(crate) async fn with(plan: Plan) -> Option<Self> {
        let vault = match plan.server {
            Server::InMemory => TestVault::start().await?,
            Server::Kept | Server::WithStandby => TestVault::start_kept().await?,
        };
        let mut policy = SIDECAR_POLICY.to_owned();
        if plan.transit {
            policy.push_str(TRANSIT_POLICY);
            let transit = json!({"type": "transit"});
            vault.api("POST", "sys/mounts/transit", transit).await;
            for n in 0..plan.tenants {
                let path = format!("transit/keys/spapi-{}", tenant(n));
                vault.api("POST", &path, json!({})).await;
            }
        }
        let role_id = vault.role("sidecar", &policy, json!({})).await;
        let secret_id = vault.secret_id("sidecar").await;
        let login = (
            vault.file("role-id", &role_id),
            vault.file("secret-id", &secret_id),
        );
        let sandbox = Sandbox::start(Options {
            expires_in: plan.expires_in,
            ..Options::default()
        })
        .await
        .unwrap();
        let stage = Self {
            standby: if plan.server == Server::WithStandby {
                Some(vault.standby().await)
            } else {
                None
            },
            vault,
            lwa: Gate::before(sandbox.address()).await,
            sandbox,
            plan,
            login,
        };
        stage
            .put("apps/erp", json!({"client_id": "amzn1.application-oa2-client.canary", "client_secret": "amzn1.oa2-cs.v1.canary"}))
            .await;
        for n in 0..plan.tenants {
            let path = format!("tenants/{}/grant", tenant(n));
            let grant = json!({"refresh_token": format!("Atzr|canary-{}", tenant(n))});
            stage.put(&path, grant).await;
        }
        Some(stage)
    }

    /// Writes a record by hand, as `vault kv put` would.
    pub(crate) async fn put(&self, path: &str, data: Value) {
        let path = format!("secret/data/spapi-sidecar/{path}");
        self.vault.api("POST", &path, json!({ "data": data })).await;
    }

    /// Reads a record; nothing is in it where it does not exist.
    pub(crate) async fn look(&self, path: &str) -> Held {
        let path = format!("secret/data/spapi-sidecar/{path}");
        let answer = self.vault.try_get(&path).await;
        let fields = serde_json::from_value(answer["data"]["data"].clone()).unwrap_or_default();
        Held {
            version: answer["data"]["metadata"]["version"].as_u64().unwrap_or(0),
            fields,
        }
    }

    /// A tenant's shared access token and lease.
    pub(crate) async fn token(&self, n: usize) -> Held {
        let path = format!("tenants/{}/tokens/access", tenant(n));
        self.look(&path).await
    }

    /// How many exchanges Amazon saw for each tenant.
    pub(crate) fn exchanges(&self) -> Vec<usize> {
        let received = self.sandbox.received();
        let seen = |n: usize| {
            let token = format!("Atzr|canary-{}", tenant(n));
            let print = spapi_sidecar::secret::fingerprint(&token);
            let exchanges = received.iter().filter_map(|one| one.exchange.as_ref());
            let subjects = exchanges.filter_map(|exchange| exchange.subject.as_ref());
            subjects
                .filter(|subject| subject.fingerprint == print)
                .count()
        };
        (0..self.plan.tenants).map(seen).collect()
    }

    /// Starts a sidecar that shares tokens with the others; it need not be ready yet.
    pub(crate) async fn join(&self, lwa: &str) -> Member {
        crate::support::crypto();
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("amazon.pem"), self.sandbox.ca_pem()).unwrap();
        let yaml = self.yaml(folder.path(), lwa);
        std::fs::write(folder.path().join("proxy.yaml"), yaml).unwrap();
        let process = Process::start(folder.path(), &[]);
        let line = process.listening().await;
        let address = |text: &str| text.parse().unwrap();
        let listening = line["listening"].as_str().unwrap();
        let (proxy, transparent) = listening.trim_matches(['[', ']']).split_once(", ").unwrap();
        Member {
            admin: address(line["admin"].as_str().unwrap()),
            door: Door {
                proxy: address(proxy),
                transparent: address(transparent),
                ca_file: folder.path().join("ca.pem"),
            },
            process,
            folder,
        }
    }

    fn yaml(&self, folder: &std::path::Path, lwa: &str) -> String {
        let dir = folder.display();
        let connect_to: String = self
            .sandbox
            .connect_to()
            .into_iter()
            .map(|(from, to)| {
                let to = if from.starts_with(LWA) {
                    self.lwa.address().to_string()
                } else {
                    to
                };
                format!("    \"{from}\": \"{to}\"\n")
            })
            .collect();
        let tenants: String = (0..self.plan.tenants)
            .map(|n| {
                let id = tenant(n);
                format!("  - {{ id: {id}, app: erp, region: na, scopes: [inventory-and-order-tracking] }}\n")
            })
            .collect();
        let (role_id, secret_id) = &self.login;
        format!(
            r#"
version: 1
listen:
  proxy: ["127.0.0.1:0"]
  transparent: ["127.0.0.1:0"]
  admin: "127.0.0.1:0"
  admin_token_file: {dir}/admin.token
  drain_timeout: {drain_timeout}
interception:
  ca: {{ mode: ephemeral, cert_path: {dir}/ca.pem, bundle_path: {dir}/bundle.pem }}
upstream:
  trust: {{ ca_file: {dir}/amazon.pem }}
  connect_to:
{connect_to}
store:
  vault:
    address: {address}
    auth: {{ approle: {{ role_id_file: {role_id}, secret_id_file: {secret_id} }} }}
    transit: {transit}
    share_tokens: {shares}
lwa: {lwa}
egress:
  - {{ host: {NA}, mode: inject }}
  - {{ host: api.amazon.com, mode: lwa }}
apps: [{{ id: erp }}]
tenants:
{tenants}
default_tenant: {default}
routes:
  - {{ allow: GET /orders/v0/orders, scope: inventory-and-order-tracking }}
throttle: {{ mode: pass }}
audit: {{ path: {dir}/audit.jsonl }}
"#,
            address = self.standby.as_ref().unwrap_or(&self.vault).address(),
            shares = self.plan.shares,
            drain_timeout = self.plan.drain_timeout,
            transit = if self.plan.transit {
                "{ mount: transit, key: \"spapi-{tenant}\" }"
            } else {
                "null"
            },
            role_id = role_id.display(),
            secret_id = secret_id.display(),
            default = tenant(0),
        )
    }
}

impl Member {
    /// Waits until it may take traffic.
    pub(crate) async fn gets_ready(&self) {
        let url = format!("http://{}/health/ready", self.admin);
        for _ in 0..1500 {
            if reqwest::get(&url).await.unwrap().status() == 200 {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("never ready");
    }

    /// Asks the admin listener; status and body.
    pub(crate) async fn admin(&self, path: &str) -> (u16, Value) {
        let answer = reqwest::get(format!("http://{}{path}", self.admin));
        let answer = answer.await.unwrap();
        (answer.status().as_u16(), answer.json().await.unwrap())
    }

    /// A program that keeps its connections; `login` is `tenant:key`.
    pub(crate) fn client(&self, login: Option<&str>) -> reqwest::Client {
        let login = login.map(|login| format!("{login}@")).unwrap_or_default();
        let proxy = format!("http://{login}{}", self.door.proxy());
        reqwest::Client::builder()
            .tls_backend_preconfigured(self.door.tls(&["http/1.1"]))
            .proxy(reqwest::Proxy::all(proxy).unwrap())
            .build()
            .unwrap()
    }

    /// A call for the default tenant; its status.
    pub(crate) async fn call(&self) -> u16 {
        let call = self.client(None).get(orders()).send();
        call.await.unwrap().status().as_u16()
    }

    /// Runs a command on its configuration with this on standard input; what it printed.
    pub(crate) async fn command(&self, words: &[&str], input: &str) -> String {
        use tokio::io::AsyncWriteExt as _;
        let mut child = tokio::process::Command::new(env!("CARGO_BIN_EXE_spapi-sidecar"))
            .args(words)
            .arg("--config")
            .arg(self.folder.path().join("proxy.yaml"))
            .stdin(std::process::Stdio::piped())
            .stdout(std::process::Stdio::piped())
            .stderr(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        let mut pipe = child.stdin.take().unwrap();
        // a command that reads nothing may have ended already
        let _closed = pipe.write_all(input.as_bytes()).await;
        drop(pipe);
        let output = child.wait_with_output().await.unwrap();
        assert!(output.status.success(), "{words:?}: {output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// Whether it is the one that a lease names: `host/process`.
    pub(crate) fn holds(&self, lease: &Held) -> bool {
        let own = format!("/{}", self.process.id());
        lease.field("holder").ends_with(&own)
    }
}

/// Waits until something holds that takes a look at the store, at most a minute and a half.
pub(crate) async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    for _ in 0..1800 {
        if holds().await {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("never: {what}");
}
