//! An operator at the admin listener.

use std::net::SocketAddr;
use std::path::Path;

use serde_json::Value;

/// The admin listener of a sidecar, and its token.
pub(crate) struct Admin {
    address: SocketAddr,
    token: String,
}

impl Admin {
    /// With the token that the sidecar made in its folder.
    pub(crate) fn new(address: SocketAddr, folder: &Path) -> Self {
        let token = std::fs::read_to_string(folder.join("admin.token")).unwrap();
        Self {
            address,
            token: token.trim_end().to_owned(),
        }
    }

    /// The URL of a path.
    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// The admin token.
    pub(crate) fn token(&self) -> &str {
        &self.token
    }

    /// Status and body of an action.
    pub(crate) async fn post(&self, path: &str, body: Value) -> (u16, Value) {
        let response = reqwest::Client::new()
            .post(self.url(path))
            .bearer_auth(&self.token)
            .body(body.to_string())
            .send()
            .await
            .unwrap();
        let status = response.status().as_u16();
        (status, response.json().await.unwrap())
    }

    /// `GET /api/v1/status`.
    pub(crate) async fn status(&self) -> Value {
        let url = self.url("/api/v1/status");
        reqwest::get(url).await.unwrap().json().await.unwrap()
    }
}
