//! The played legacy program: an ordinary HTTP client that knows a proxy and a CA file, and no credential.

use http::header::{HeaderMap, HeaderValue};
use http_body_util::{BodyExt as _, Empty};
use hyper_util::rt::TokioIo;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;

use super::Complaint;
use super::world::World;

/// An answer, as the program sees it.
pub(super) struct Seen {
    pub(super) status: u16,
    /// The code of an answer that the sidecar made.
    pub(super) code: Option<String>,
    pub(super) body: Vec<u8>,
}

impl Seen {
    /// A string in the JSON body, by pointer (RFC 6901).
    pub(super) fn text(&self, pointer: &str) -> Option<String> {
        let json: serde_json::Value = serde_json::from_slice(&self.body).ok()?;
        json.pointer(pointer)?.as_str().map(str::to_owned)
    }
}

/// The program.
pub(super) struct Player {
    client: reqwest::Client,
    proxy: std::net::SocketAddr,
}

impl Player {
    /// Points it to the proxy and the CA file, which is all that a real one needs.
    pub(super) fn new(world: &World) -> Result<Self, Complaint> {
        let doing = |error: &dyn std::fmt::Display| {
            Complaint::while_doing("cannot make the played program", error)
        };
        let mut roots = rustls::RootCertStore::empty();
        for certificate in
            CertificateDer::pem_file_iter(world.file("ca.pem")).map_err(|error| doing(&error))?
        {
            roots
                .add(certificate.map_err(|error| doing(&error))?)
                .map_err(|error| doing(&error))?;
        }
        let tls = rustls::ClientConfig::builder_with_provider(crate::tls::downstream_provider())
            .with_safe_default_protocol_versions()
            .map_err(|error| doing(&error))?
            .with_root_certificates(roots)
            .with_no_client_auth();
        let proxy = reqwest::Proxy::all(format!("http://{}", world.proxy()))
            .map_err(|error| doing(&error))?;
        let client = reqwest::Client::builder()
            .tls_backend_preconfigured(tls)
            .proxy(proxy)
            .build()
            .map_err(|error| doing(&error))?;
        Ok(Self {
            client,
            proxy: world.proxy(),
        })
    }

    /// Makes one call through the proxy.
    pub(super) async fn call(
        &self,
        method: http::Method,
        url: &str,
        credential: Option<&str>,
        body: Option<&str>,
    ) -> Result<Seen, Complaint> {
        let mut request = self.client.request(method, url);
        if let Some(credential) = credential {
            let mut value = HeaderValue::from_str(credential)
                .map_err(|error| Complaint::while_doing("the demo's credential", error))?;
            value.set_sensitive(true);
            request = request.header("x-amz-access-token", value);
        }
        if let Some(body) = body {
            let kind = if body.starts_with('{') {
                "application/json"
            } else {
                "application/x-www-form-urlencoded"
            };
            request = request
                .header(http::header::CONTENT_TYPE, kind)
                .body(body.to_owned());
        }
        let failed = |error: reqwest::Error| {
            Complaint::while_doing("the played program's call failed", error.without_url())
        };
        let response = request.send().await.map_err(failed)?;
        let (status, code) = (response.status().as_u16(), code(response.headers()));
        Ok(Seen {
            status,
            code,
            body: response.bytes().await.map_err(failed)?.to_vec(),
        })
    }

    /// Asks for a tunnel and reads what the proxy says to it.
    pub(super) async fn connect(&self, authority: &str) -> Result<Seen, Complaint> {
        let failed = |error: &dyn std::fmt::Display| {
            Complaint::while_doing("the played program's CONNECT failed", error)
        };
        let stream = tokio::net::TcpStream::connect(self.proxy)
            .await
            .map_err(|error| failed(&error))?;
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
            .await
            .map_err(|error| failed(&error))?;
        let request = http::Request::connect(authority)
            .header(http::header::HOST, authority)
            .body(Empty::<bytes::Bytes>::new())
            .map_err(|error| failed(&error))?;
        let exchange = async {
            let response = sender.send_request(request).await?;
            let (status, code) = (response.status().as_u16(), code(response.headers()));
            Ok::<_, hyper::Error>(Seen {
                status,
                code,
                body: response.into_body().collect().await?.to_bytes().to_vec(),
            })
        };
        let mut connection = std::pin::pin!(connection);
        let mut exchange = std::pin::pin!(exchange);
        tokio::select! {
            biased;
            seen = exchange.as_mut() => seen.map_err(|error| failed(&error)),
            _ended = connection.as_mut() => exchange.await.map_err(|error| failed(&error)),
        }
    }
}

fn code(fields: &HeaderMap) -> Option<String> {
    fields
        .get(crate::proxy::respond::ERROR_FIELD)
        .and_then(|code| code.to_str().ok())
        .map(str::to_owned)
}
