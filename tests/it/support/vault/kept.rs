//! A server that keeps its records: it can be stopped, started again, sealed and unsealed, and have a standby.
//!
//! It is a cluster of one, with raft for a storage, as a real one is; whoever starts it holds its one unseal key.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use super::{TestVault, free_pair_of_ports, program};

/// How a server is started again.
pub(super) struct Kept {
    program: std::path::PathBuf,
    unseal_key: String,
}

impl TestVault {
    /// Starts a server that keeps its records; `None` where none can be had.
    pub(crate) async fn start_kept() -> Option<Self> {
        let mut vault = Self::launch_kept().await?;
        let shares = json!({"secret_shares": 1, "secret_threshold": 1});
        let made = vault.put("sys/init", shares).await;
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        vault.root = text(&made["root_token"]);
        vault.kept.as_mut().unwrap().unseal_key = text(&made["keys"][0]);
        vault.unseal().await;
        let kv = json!({"type": "kv", "options": {"version": "2"}});
        vault.api("POST", "sys/mounts/secret", kv).await;
        vault.kv_is_there(&[]).await;
        Some(vault)
    }

    /// Starts a standby of this server.
    pub(crate) async fn standby(&self) -> Self {
        let mut standby = Self::launch_kept().await.unwrap();
        standby.root.clone_from(&self.root);
        let theirs = &self.kept.as_ref().unwrap().unseal_key;
        standby.kept.as_mut().unwrap().unseal_key.clone_from(theirs);
        let leader = json!({"leader_api_addr": self.address});
        standby.put("sys/storage/raft/join", leader).await;
        standby.give_key().await;
        standby.answers(429).await;
        standby
    }

    /// Starts it again after [`TestVault::stop`]: it is sealed then, as every Vault is that was restarted.
    pub(crate) async fn start_again(&mut self) {
        let kept = self.kept.as_ref().unwrap();
        self.child = spawn(&kept.program, self.folder.path());
        self.answers(503).await;
    }

    /// Seals it.
    pub(crate) async fn seal(&self) {
        self.api("PUT", "sys/seal", Value::Null).await;
    }

    /// Unseals it and waits until it serves.
    pub(crate) async fn unseal(&self) {
        self.give_key().await;
        self.answers(200).await;
    }

    /// Stops it in the middle of everything: connections are accepted, and nobody answers.
    pub(crate) fn freeze(&self) {
        kill_process(Pid::from_child(&self.child), Signal::STOP).unwrap();
    }

    /// Lets it go on.
    pub(crate) fn thaw(&self) {
        kill_process(Pid::from_child(&self.child), Signal::CONT).unwrap();
    }

    async fn launch_kept() -> Option<Self> {
        super::super::crypto();
        let program = program()?;
        let folder = tempfile::tempdir().unwrap();
        let port = free_pair_of_ports();
        let (dir, cluster) = (folder.path().display(), port + 1);
        std::fs::create_dir(folder.path().join("data")).unwrap();
        let settings = format!(
            r#"
storage "raft" {{ path = "{dir}/data" node_id = "{port}" performance_multiplier = 1 }}
listener "tcp" {{ address = "127.0.0.1:{port}" cluster_address = "127.0.0.1:{cluster}" tls_disable = true }}
api_addr = "http://127.0.0.1:{port}"
cluster_addr = "http://127.0.0.1:{cluster}"
"#
        );
        std::fs::write(folder.path().join("server.hcl"), settings).unwrap();
        let vault = Self {
            child: spawn(&program, folder.path()),
            address: format!("http://127.0.0.1:{port}"),
            ca_file: None,
            http: reqwest::Client::builder().no_proxy().build().unwrap(),
            root: String::new(),
            kept: Some(Kept {
                program,
                unseal_key: String::new(),
            }),
            folder,
        };
        vault.answers(501).await;
        Some(vault)
    }

    async fn give_key(&self) {
        let key = json!({"key": self.kept.as_ref().unwrap().unseal_key});
        self.put("sys/unseal", key).await;
    }

    async fn put(&self, path: &str, body: Value) -> Value {
        let url = format!("{}/v1/{path}", self.address);
        let answer = self.http.put(url).json(&body).send().await.unwrap();
        assert!(
            answer.status().is_success(),
            "PUT {path}: {}",
            answer.status()
        );
        answer.json().await.unwrap()
    }

    /// Waits for a status of its health: 200 serves, 429 is a standby, 501 is new, 503 is sealed.
    async fn answers(&self, status: u16) {
        for _try in 0..1200 {
            let health = format!("{}/v1/sys/health", self.address);
            let health = self.http.get(health).send().await;
            if health.is_ok_and(|answer| answer.status() == status) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(25)).await;
        }
        panic!("its health is not {status} after 30 seconds");
    }

    /// A mount that is new says for a moment that it is being upgraded.
    pub(crate) async fn kv_is_there(&self, headers: &[(&str, &str)]) {
        for _try in 0..400 {
            let mut probe = self
                .http
                .post(format!("{}/v1/secret/data/probe", self.address))
                .header("x-vault-token", &self.root)
                .json(&json!({"data": {}}));
            for (name, value) in headers {
                probe = probe.header(*name, *value);
            }
            if probe.send().await.unwrap().status().is_success() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(25)).await;
        }
        panic!("its KV mount is not there after 10 seconds");
    }
}

fn spawn(program: &Path, folder: &Path) -> Child {
    Command::new(program)
        .arg("server")
        .arg(format!("-config={}/server.hcl", folder.display()))
        .env_clear()
        .env("HOME", folder)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}
