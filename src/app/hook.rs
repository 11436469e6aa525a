//! The way of alerts to the webhook.
//!
//! Job: be the [`Carrier`] of the alert room, over the upstream room's dialling, trust and `connect_to`.
//! Invariants: TLS, except to loopback where the file says `http://`; a receiver on loopback is dialled although loopback is not
//! dialled elsewhere, since the operator named it; one bound on the whole post; errors describe the connection.
//! Failure mode: one line of text, for the log and the dead letter.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Request, header};
use http_body_util::{BodyExt as _, Full, Limited};

use super::StartError;
use super::outside::{describe, host_field};
use crate::alert::webhook::{Carrier, Posting, SIGNATURE_FIELD};
use crate::config::{self, Webhook};
use crate::name::{Authority, Host};
use crate::task::Tasks;
use crate::upstream::client::{Client, Manner};
use crate::upstream::dial::Dialer;
use crate::upstream::plain;

/// Longest that one post may take, in all: a receiver puts a notice into a queue and says so.
const BOUND: Duration = Duration::from_secs(10);

/// The one place that notices go to.
#[derive(Debug)]
pub(super) struct Hook {
    client: Client<Full<Bytes>>,
    is_plain: bool,
    to: Authority,
    target: String,
}

impl Hook {
    /// The way to a webhook. `own` are the addresses that we listen on.
    pub(super) fn new(
        webhook: &Webhook,
        upstream: &config::Upstream,
        own: Vec<SocketAddr>,
        tasks: &Tasks,
    ) -> Result<Arc<Self>, StartError> {
        let to = authority(webhook)?;
        let mut upstream = upstream.clone();
        if let Some(here) = loopback(&to) {
            upstream.connect_to.entry(to.clone()).or_insert(here);
        }
        let dialer = Arc::new(Dialer::new(&upstream, own)?);
        let hook = Arc::new(Self {
            client: Client::new(dialer, tasks.clone(), BOUND),
            is_plain: webhook.url.scheme() == "http",
            to,
            target: webhook.url.path().to_owned(),
        });
        let (closing, stop) = (Arc::clone(&hook), tasks.stopping());
        let _closes = tasks.control("close-pool", async move {
            stop.await;
            closing.client.close();
        });
        Ok(hook)
    }

    async fn carry(&self, body: Bytes, signature: &str) -> Result<u16, String> {
        let make = || self.request(body.clone(), signature);
        if self.is_plain {
            let request = make().ok_or("the request cannot be made")?;
            let sent = plain::send(self.client.dialer(), &self.to, request).await;
            return sent.map_err(|error| describe(&error));
        }
        let progress = AtomicU64::new(0);
        // a receiver knows a notice that it gets twice by its signature
        let manner = Manner {
            http2: false,
            repeatable: true,
            progress: &progress,
        };
        let sent = self.client.send(&self.to, manner, make).await;
        let response = sent.map_err(|error| describe(&error))?;
        let status = response.status().as_u16();
        // read to its end, so that the connection can be used again
        let _courtesy = Limited::new(response.into_body(), plain::ANSWER_BYTES)
            .collect()
            .await;
        Ok(status)
    }

    fn request(&self, body: Bytes, signature: &str) -> Option<Request<Full<Bytes>>> {
        let length = body.len();
        let mut request = Request::new(Full::new(body));
        *request.method_mut() = http::Method::POST;
        *request.uri_mut() = self.target.parse().ok()?;
        let fields = request.headers_mut();
        fields.insert(
            header::HOST,
            HeaderValue::from_str(&host_field(&self.to)).ok()?,
        );
        fields.insert(
            header::CONTENT_TYPE,
            HeaderValue::from_static("application/json"),
        );
        fields.insert(header::CONTENT_LENGTH, length.into());
        fields.insert(
            header::USER_AGENT,
            HeaderValue::from_static(concat!("spapi-sidecar/", env!("CARGO_PKG_VERSION"))),
        );
        fields.insert(SIGNATURE_FIELD, HeaderValue::from_str(signature).ok()?);
        Some(request)
    }
}

impl Carrier for Hook {
    fn post(&self, body: Vec<u8>, signature: String) -> Posting<'_> {
        Box::pin(async move {
            match tokio::time::timeout(BOUND, self.carry(body.into(), &signature)).await {
                Ok(answer) => answer,
                Err(_elapsed) => Err("no answer in time".to_owned()),
            }
        })
    }
}

fn authority(webhook: &Webhook) -> Result<Authority, StartError> {
    let url = &webhook.url;
    let host = Host::parse(url.host_str().unwrap_or_default()).map_err(StartError::WebhookUrl)?;
    let port = url.port_or_known_default().unwrap_or(443);
    Ok(Authority::new(host, port))
}

/// The address of an authority that names this machine.
fn loopback(to: &Authority) -> Option<SocketAddr> {
    let ip = match &to.host {
        Host::Ip(ip) if ip.is_loopback() => *ip,
        Host::Name(name) if name.as_str() == "localhost" => IpAddr::V4(Ipv4Addr::LOCALHOST),
        Host::Ip(_) | Host::Name(_) => return None,
    };
    Some(SocketAddr::new(ip, to.port))
}
