//! The sandbox from outside: over TLS, with a client that trusts its CA and nothing else.

mod documents;
mod faults;
mod gateway;
mod login;
mod restricted;
mod wire;

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, Method, Request, StatusCode, Version};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::{Fault, Options, Sandbox};

const NA: &str = "sellingpartnerapi-na.amazon.com";
const LWA: &str = "api.amazon.com";
const ORDERS: &str = "/orders/v0/orders?MarketplaceIds=ATVPDKIKX0DER";

/// An answer, read whole.
#[derive(Debug)]
struct Reply {
    status: StatusCode,
    version: Version,
    headers: HeaderMap,
    body: Bytes,
    trailers: Option<HeaderMap>,
}

impl Reply {
    fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }

    /// Status, code and details of SP-API's first error.
    fn error(&self) -> (u16, String, String) {
        let value = self.json();
        let text = |key: &str| {
            value["errors"][0][key]
                .as_str()
                .unwrap_or("none")
                .to_owned()
        };
        (self.status.as_u16(), text("code"), text("details"))
    }
}

/// A request to send.
#[derive(Clone)]
struct Ask {
    host: String,
    method: Method,
    target: String,
    headers: Vec<(&'static str, String)>,
    body: Option<Bytes>,
    h2: bool,
}

fn get(host: &str, target: &str) -> Ask {
    Ask {
        host: host.to_owned(),
        method: Method::GET,
        target: target.to_owned(),
        headers: Vec::new(),
        body: None,
        h2: false,
    }
}

fn post(host: &str, target: &str, body: impl Into<Bytes>) -> Ask {
    Ask {
        method: Method::POST,
        body: Some(body.into()),
        ..get(host, target)
    }
}

impl Ask {
    fn header(mut self, name: &'static str, value: &str) -> Self {
        self.headers.push((name, value.to_owned()));
        self
    }

    fn token(self, token: &str) -> Self {
        self.header("x-amz-access-token", token)
    }

    fn method(mut self, method: Method) -> Self {
        self.method = method;
        self
    }

    fn over_h2(mut self) -> Self {
        self.h2 = true;
        self
    }

    fn request(&self) -> Request<Full<Bytes>> {
        let mut request = Request::builder().method(self.method.clone());
        if self.h2 {
            request = request.uri(format!("https://{}{}", self.host, self.target));
        } else {
            request = request.uri(&self.target).header("host", &self.host);
        }
        for (name, value) in &self.headers {
            request = request.header(*name, value);
        }
        request
            .body(Full::new(self.body.clone().unwrap_or_default()))
            .unwrap()
    }
}

/// A sandbox and a client of it.
struct Scene {
    sandbox: Sandbox,
    tls: Arc<ClientConfig>,
}

impl Scene {
    async fn start() -> Self {
        Self::with(Options::default()).await
    }

    async fn with(options: Options) -> Self {
        let sandbox = Sandbox::start(options).await.unwrap();
        let mut roots = RootCertStore::empty();
        let root = CertificateDer::from_pem_slice(sandbox.ca_pem().as_bytes()).unwrap();
        roots.add(root).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let tls = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        Self {
            sandbox,
            tls: Arc::new(tls),
        }
    }

    async fn connect(&self, sni: &str, alpn: &[u8]) -> std::io::Result<TlsStream<TcpStream>> {
        let mut tls = ClientConfig::clone(&self.tls);
        tls.alpn_protocols = vec![alpn.to_vec()];
        let stream = TcpStream::connect(self.sandbox.address()).await?;
        let name = ServerName::try_from(sni.to_owned()).unwrap();
        TlsConnector::from(Arc::new(tls))
            .connect(name, stream)
            .await
    }

    /// Sends on a connection of its own.
    async fn try_send(&self, ask: Ask) -> Result<Reply, hyper::Error> {
        self.try_send_as(ask.host.clone(), ask).await
    }

    async fn try_send_as(&self, sni: String, ask: Ask) -> Result<Reply, hyper::Error> {
        let request = ask.request();
        let alpn: &[u8] = if ask.h2 { b"h2" } else { b"http/1.1" };
        let stream = TokioIo::new(self.connect(&sni, alpn).await.unwrap());
        let response = if ask.h2 {
            let handshake = http2::handshake(TokioExecutor::new(), stream).await;
            let (mut sender, connection) = handshake?;
            drive(connection);
            sender.send_request(request).await?
        } else {
            let (mut sender, connection) = http1::handshake(stream).await?;
            drive(connection);
            sender.send_request(request).await?
        };
        read(response).await
    }

    async fn send(&self, ask: Ask) -> Reply {
        self.try_send(ask).await.unwrap()
    }

    /// Exchanges fields at LWA, as a form.
    async fn login(&self, fields: &[(&str, &str)]) -> Reply {
        let mut form = url::form_urlencoded::Serializer::new(String::new());
        form.extend_pairs(fields);
        let ask = post(LWA, "/auth/o2/token", form.finish())
            .header("content-type", "application/x-www-form-urlencoded");
        self.send(ask).await
    }

    /// An access token of a refresh token's grant.
    async fn access_token(&self, refresh_token: &str) -> String {
        let reply = self
            .login(&[
                ("grant_type", "refresh_token"),
                ("client_id", "app"),
                ("client_secret", "secret"),
                ("refresh_token", refresh_token),
            ])
            .await;
        reply.json()["access_token"].as_str().unwrap().to_owned()
    }

    async fn grantless_token(&self, scope: &str) -> String {
        let reply = self
            .login(&[
                ("grant_type", "client_credentials"),
                ("client_id", "app"),
                ("client_secret", "secret"),
                ("scope", scope),
            ])
            .await;
        reply.json()["access_token"].as_str().unwrap().to_owned()
    }

    /// Asks for a restricted data token.
    async fn ask_rdt(&self, token: &str, resources: Value) -> Reply {
        let body = json!({"restrictedResources": resources}).to_string();
        let ask = post(NA, "/tokens/2021-03-01/restrictedDataToken", body);
        self.send(ask.token(token)).await
    }

    async fn rdt(&self, token: &str, resources: Value) -> String {
        let reply = self.ask_rdt(token, resources).await;
        let value = reply.json();
        value["restrictedDataToken"].as_str().unwrap().to_owned()
    }

    fn fault(&self, text: &str) {
        self.sandbox.fault(Fault::parse(text).unwrap());
    }
}

/// Runs a client's connection until it ends.
#[expect(
    clippy::disallowed_methods,
    reason = "a test's client has no tracker of tasks"
)]
fn drive(connection: impl Future + Send + 'static) {
    tokio::spawn(async move {
        connection.await;
    });
}

async fn read(response: http::Response<hyper::body::Incoming>) -> Result<Reply, hyper::Error> {
    let (parts, body) = response.into_parts();
    let collected = body.collect().await?;
    let trailers = collected.trailers().cloned();
    Ok(Reply {
        status: parts.status,
        version: parts.version,
        headers: parts.headers,
        body: collected.to_bytes(),
        trailers,
    })
}
