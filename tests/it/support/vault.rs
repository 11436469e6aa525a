//! A real server that speaks Vault's API, for one test.
//!
//! It listens on loopback, keeps everything in memory (unless it is one of `kept`), knows one root token and dies with its
//! [`TestVault`]. It is OpenBao, installed by `tests/support/openbao.sh`. Where that cannot be had, a test is skipped with a loud word,
//! except in CI, where it fails.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::time::Duration;

use serde_json::{Value, json};
use spapi_sidecar::config::{VaultAuth, VaultStore};

mod kept;

use kept::Kept;

/// The token that may do everything.
pub(crate) const ROOT: &str = "root";

/// What a sidecar may do: read and write its records, list ids; delete nothing, touch no metadata.
pub(crate) const SIDECAR_POLICY: &str = r#"
path "secret/data/spapi-sidecar/*" { capabilities = ["create", "read", "update"] }
path "secret/metadata/spapi-sidecar/*" { capabilities = ["list"] }
"#;

/// A certificate to log in with, and its key, as PEM.
pub(crate) fn client_certificate() -> (String, String) {
    let key = rcgen::KeyPair::generate().unwrap();
    let mut params = rcgen::CertificateParams::new(vec!["sidecar.example".to_owned()]).unwrap();
    params.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ClientAuth];
    let cert = params.self_signed(&key).unwrap().pem();
    (cert, key.serialize_pem())
}

/// A running server.
pub(crate) struct TestVault {
    child: Child,
    folder: tempfile::TempDir,
    address: String,
    ca_file: Option<PathBuf>,
    http: reqwest::Client,
    root: String,
    /// How it is started again, where it can be.
    kept: Option<Kept>,
}

impl TestVault {
    /// Starts a server that speaks plain HTTP; `None` where none can be had.
    pub(crate) async fn start() -> Option<Self> {
        Self::launch(false).await
    }

    /// Starts a server that speaks TLS with a CA of its own.
    pub(crate) async fn start_tls() -> Option<Self> {
        Self::launch(true).await
    }

    async fn launch(tls: bool) -> Option<Self> {
        super::crypto();
        let program = program()?;
        for _try in 0..5 {
            if let Some(vault) = Self::launch_once(&program, tls).await {
                return Some(vault);
            }
        }
        panic!("the server did not start, five times in a row");
    }

    async fn launch_once(program: &Path, tls: bool) -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let port = free_pair_of_ports();
        let mut command = Command::new(program);
        command
            .args(["server", "-dev", "-dev-no-store-token"])
            .arg(format!("-dev-root-token-id={ROOT}"))
            .arg(format!("-dev-listen-address=127.0.0.1:{port}"))
            .env_clear()
            .env("HOME", folder.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let mut http = reqwest::Client::builder().no_proxy();
        if tls {
            command.arg("-dev-tls");
            command.arg(format!("-dev-tls-cert-dir={}", folder.path().display()));
            // the CA is made while the server starts; this client is for the test's own set-up
            http = http.tls_danger_accept_invalid_certs(true);
        }
        let scheme = if tls { "https" } else { "http" };
        let mut vault = Self {
            child: command.spawn().unwrap(),
            address: format!("{scheme}://127.0.0.1:{port}"),
            ca_file: tls.then(|| folder.path().join("vault-ca.pem")),
            http: http.build().unwrap(),
            root: ROOT.to_owned(),
            kept: None,
            folder,
        };
        vault.becomes_healthy().await.then_some(vault)
    }

    /// False when the server ends at once, say because somebody else took the port.
    async fn becomes_healthy(&mut self) -> bool {
        for _try in 0..600 {
            let health = self
                .http
                .get(format!("{}/v1/sys/health", self.address))
                .send();
            if health.await.is_ok_and(|answer| answer.status() == 200) {
                return true;
            }
            if self.child.try_wait().unwrap().is_some() {
                return false;
            }
            tokio::time::sleep(Duration::from_millis(25)).await;
        }
        panic!("the server is not healthy after 15 seconds");
    }

    /// `https://127.0.0.1:port`.
    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    /// The CA of a TLS server.
    pub(crate) fn ca_file(&self) -> Option<PathBuf> {
        self.ca_file.clone()
    }

    /// Writes a file that lives as long as the server.
    pub(crate) fn file(&self, name: &str, text: &str) -> PathBuf {
        let path = self.folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    }

    /// A store in this server, with a way to log in.
    pub(crate) fn config(&self, auth: VaultAuth) -> VaultStore {
        VaultStore {
            address: self.address.parse().unwrap(),
            namespace: None,
            ca_file: self.ca_file.clone(),
            auth,
            kv_mount: "secret".to_owned(),
            prefix: "spapi-sidecar".to_owned(),
            transit: None,
            share_tokens: true,
            next_hop: None,
        }
    }

    /// Writes the records of the usual world: its app and the grants of its tenants.
    pub(crate) async fn holds_the_usual_world(&self) {
        let app = json!({"client_id": "amzn1.application-oa2-client.canary", "client_secret": "amzn1.oa2-cs.v1.canary"});
        let grant = |tenant: &str| json!({ "refresh_token": format!("Atzr|canary-{tenant}") });
        for (path, record) in [
            ("apps/erp", app),
            ("tenants/acme/grant", grant("acme")),
            ("tenants/beta/grant", grant("beta")),
        ] {
            let path = format!("secret/data/spapi-sidecar/{path}");
            self.api("POST", &path, json!({ "data": record })).await;
        }
    }

    /// A store in this server with the root token.
    pub(crate) fn root_config(&self) -> VaultStore {
        self.config(VaultAuth::TokenFile(self.file("root-token", &self.root)))
    }

    /// Calls the API as root and expects success; the answer's body, or null.
    pub(crate) async fn api(&self, method: &str, path: &str, body: Value) -> Value {
        self.api_with(method, path, body, &[]).await
    }

    /// As [`Self::api`], with more header fields.
    pub(crate) async fn api_with(
        &self,
        method: &str,
        path: &str,
        body: Value,
        headers: &[(&str, &str)],
    ) -> Value {
        let mut request = self
            .http
            .request(
                method.parse().unwrap(),
                format!("{}/v1/{path}", self.address),
            )
            .header("x-vault-token", &self.root)
            .json(&body);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let answer = request.send().await.unwrap();
        let status = answer.status();
        let text = answer.text().await.unwrap();
        assert!(status.is_success(), "{method} {path}: {status} {text}");
        serde_json::from_str(&text).unwrap_or(Value::Null)
    }

    /// What a path holds; null where there is nothing.
    pub(crate) async fn try_get(&self, path: &str) -> Value {
        let answer = self
            .http
            .get(format!("{}/v1/{path}", self.address))
            .header("x-vault-token", &self.root)
            .send();
        let answer = answer.await.unwrap();
        if answer.status() == 404 {
            return Value::Null;
        }
        assert!(
            answer.status().is_success(),
            "GET {path}: {}",
            answer.status()
        );
        answer.json().await.unwrap()
    }

    /// Whether a token may still do anything.
    pub(crate) async fn token_lives(&self, token: &str) -> bool {
        let answer = self
            .http
            .get(format!("{}/v1/auth/token/lookup-self", self.address))
            .header("x-vault-token", token)
            .send();
        answer.await.unwrap().status() == 200
    }

    /// Writes a policy.
    pub(crate) async fn policy(&self, name: &str, rules: &str) {
        let path = format!("sys/policies/acl/{name}");
        self.api("PUT", &path, json!({ "policy": rules })).await;
    }

    /// Makes an `AppRole` with these settings and a policy of its own; returns its role id.
    pub(crate) async fn role(&self, name: &str, policy: &str, mut settings: Value) -> String {
        let mounts = self.api("GET", "sys/auth", Value::Null).await;
        if mounts["data"].get("approle/").is_none() {
            self.api("POST", "sys/auth/approle", json!({"type": "approle"}))
                .await;
        }
        self.policy(name, policy).await;
        settings["token_policies"] = json!([name]);
        let path = format!("auth/approle/role/{name}");
        self.api("POST", &path, settings).await;
        let answer = self
            .api("GET", &format!("{path}/role-id"), Value::Null)
            .await;
        answer["data"]["role_id"].as_str().unwrap().to_owned()
    }

    /// A new secret id for a role.
    pub(crate) async fn secret_id(&self, role: &str) -> String {
        let path = format!("auth/approle/role/{role}/secret-id");
        let answer = self.api("POST", &path, json!({})).await;
        answer["data"]["secret_id"].as_str().unwrap().to_owned()
    }

    /// A token that wraps a new secret id for a role.
    pub(crate) async fn wrapped_secret_id(&self, role: &str) -> String {
        let path = format!("auth/approle/role/{role}/secret-id");
        let wrap = [("x-vault-wrap-ttl", "5m")];
        let answer = self.api_with("POST", &path, json!({}), &wrap).await;
        answer["wrap_info"]["token"].as_str().unwrap().to_owned()
    }

    /// How to log in by `AppRole`.
    pub(crate) fn approle(&self, role_id: &str, secret_id: &str, wrapped: bool) -> VaultAuth {
        VaultAuth::AppRole {
            role_id_file: self.file("role-id", &format!("{role_id}\n")),
            secret_id_file: self.file("secret-id", &format!("{secret_id}\n")),
            wrapped,
            mount: "approle".to_owned(),
        }
    }

    /// Revokes every token that a login by `AppRole` gave.
    pub(crate) async fn revoke_approle_tokens(&self) {
        let path = "sys/leases/revoke-prefix/auth/approle/login";
        self.api("PUT", path, json!({ "sync": true })).await;
    }

    /// Ends the server now.
    pub(crate) fn stop(&mut self) {
        // it may have ended by itself; then there is nothing to kill
        let _ended = self.child.kill();
        self.child.wait().unwrap();
    }
}

impl Drop for TestVault {
    fn drop(&mut self) {
        self.stop();
    }
}

/// A port whose next one is free as well: the server takes both.
fn free_pair_of_ports() -> u16 {
    loop {
        let first = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = first.local_addr().unwrap().port();
        let next = port.checked_add(1).map(|next| ("127.0.0.1", next));
        if next.is_some_and(|next| TcpListener::bind(next).is_ok()) {
            return port;
        }
    }
}

/// The server's program, installed once; `None` where it cannot be had outside CI.
fn program() -> Option<PathBuf> {
    static PROGRAM: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    let found = PROGRAM.get_or_init(|| {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/support/openbao.sh");
        let output = Command::new(script).output().map_err(|e| e.to_string())?;
        if !output.status.success() {
            return Err(String::from_utf8_lossy(&output.stderr).into_owned());
        }
        let path = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        Ok(PathBuf::from(path))
    });
    match found {
        Ok(program) => Some(program.clone()),
        Err(error) => {
            let in_ci = std::env::var_os("CI").is_some_and(|value| value == "true");
            assert!(!in_ci, "no server for the Vault tests: {error}");
            eprintln!("\n*** SKIPPED: no server for the Vault tests: {error}\n");
            None
        }
    }
}
