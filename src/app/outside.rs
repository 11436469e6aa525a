//! The way of token requests to LWA and the Tokens API, and of a preflight's calls.
//!
//! Job: be the [`Transport`] of the token room, over the upstream room's client.
//! Invariants: one bound on the whole exchange; an answer is read up to [`ANSWER_BYTES`], beyond which a
//! POST has failed and a GET has been answered; errors describe connections, never
//! what was sent over them.
//! Failure mode: one line of text for the log.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use http::{HeaderValue, Request, Response, header};
use http_body_util::{BodyExt as _, Full, Limited};

use crate::catalog::Catalog;
use crate::config::Tenant;
use crate::pace::{Call, Lane, Pace};
use crate::store::BoxFuture;
use crate::task::Tasks;
use crate::token::exchange::{ANSWER_BYTES, Answer, Get, Post, Transport};
use crate::token::restricted::{Quota, TOKENS_PATH};
use crate::upstream::client::{Client, Manner};
use crate::upstream::dial::Dialer;
use crate::upstream::streamed::Streamed;

/// The way of token requests to LWA and the Tokens API: the same dialling, trust and `connect_to` as the walk's.
#[derive(Debug)]
pub(super) struct Outside {
    client: Client<Full<bytes::Bytes>>,
    bound: Duration,
}

impl Transport for Outside {
    fn post<'a>(&'a self, post: Post<'a>) -> BoxFuture<'a, Result<Answer, String>> {
        Box::pin(self.bounded(self.carry(post)))
    }

    fn get<'a>(&'a self, get: Get<'a>) -> BoxFuture<'a, Result<Answer, String>> {
        Box::pin(self.bounded(self.fetch(get)))
    }
}

impl Outside {
    /// `bound` is the longest that one exchange may take, in all.
    pub(super) fn new(dialer: Arc<Dialer>, tasks: &Tasks, bound: Duration) -> Arc<Self> {
        let outside = Arc::new(Self {
            client: Client::new(dialer, tasks.clone(), bound),
            bound,
        });
        let (closing, stop) = (Arc::clone(&outside), tasks.stopping());
        let _closes = tasks.control("close-pool", async move {
            stop.await;
            closing.client.close();
        });
        outside
    }

    async fn bounded(
        &self,
        exchange: impl Future<Output = Result<Answer, String>>,
    ) -> Result<Answer, String> {
        match tokio::time::timeout(self.bound, exchange).await {
            Ok(answer) => answer,
            Err(_elapsed) => Err("no answer within lwa.timeout".to_owned()),
        }
    }

    async fn fetch(&self, get: Get<'_>) -> Result<Answer, String> {
        let make = || head(http::Method::GET, get.to, get.target, &get.fields);
        let response = self.send(get.to, make).await?;
        let mut answer = Answer {
            status: response.status().as_u16(),
            date: response.headers().get(header::DATE).cloned(),
            body: bytes::Bytes::new(),
        };
        let mut kept = bytes::BytesMut::new();
        let mut body = response.into_body();
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|error| error.to_string())?;
            let data = frame.into_data().unwrap_or_default();
            if kept.len() + data.len() > ANSWER_BYTES {
                // whoever asks by a GET wants to know whether it is answered: the rest is not read
                break;
            }
            kept.extend_from_slice(&data);
        }
        answer.body = kept.freeze();
        Ok(answer)
    }

    async fn send(
        &self,
        to: &crate::name::Authority,
        make: impl FnMut() -> Option<Request<Full<bytes::Bytes>>>,
    ) -> Result<Response<Streamed<Full<bytes::Bytes>>>, String> {
        let progress = AtomicU64::new(0);
        // asking twice does no harm, so a stale connection is replaced
        let manner = Manner {
            http2: false,
            repeatable: true,
            progress: &progress,
        };
        let sent = self.client.send(to, manner, make).await;
        sent.map_err(|error| describe(&error))
    }

    async fn carry(&self, post: Post<'_>) -> Result<Answer, String> {
        let make = || {
            let mut request = head(http::Method::POST, post.to, post.target, &post.fields)?;
            *request.body_mut() = Full::new(post.body.clone());
            let fields = request.headers_mut();
            fields.insert(
                header::CONTENT_TYPE,
                HeaderValue::from_static(post.content_type),
            );
            fields.insert(header::CONTENT_LENGTH, post.body.len().into());
            Some(request)
        };
        let response = self.send(post.to, make).await?;
        let date = response.headers().get(header::DATE).cloned();
        let status = response.status().as_u16();
        let body = Limited::new(response.into_body(), ANSWER_BYTES)
            .collect()
            .await
            .map_err(|error| error.to_string())?
            .to_bytes();
        Ok(Answer { status, date, body })
    }
}

/// A request of ours without a body: SP-API refuses a GET that has as much as a length.
fn head(
    method: http::Method,
    to: &crate::name::Authority,
    target: &str,
    more: &[(http::HeaderName, HeaderValue)],
) -> Option<Request<Full<bytes::Bytes>>> {
    let mut request = Request::new(Full::default());
    *request.method_mut() = method;
    *request.uri_mut() = target.parse().ok()?;
    let fields = request.headers_mut();
    fields.insert(header::HOST, HeaderValue::from_str(&host_field(to)).ok()?);
    fields.insert(header::ACCEPT, HeaderValue::from_static("application/json"));
    fields.insert(
        header::USER_AGENT,
        HeaderValue::from_static(concat!(
            "spapi-sidecar/",
            env!("CARGO_PKG_VERSION"),
            " (Language=Rust)"
        )),
    );
    fields.extend(more.iter().cloned());
    Some(request)
}

/// The quota of the Tokens API, one lane for each tenant. It is kept to whatever `throttle.mode` says: these calls are ours.
#[derive(Debug)]
pub(super) struct TokensQuota {
    pace: Arc<Pace>,
    most: Duration,
}

impl TokensQuota {
    /// `most` is the longest wait for a place.
    pub(super) fn new(pace: Arc<Pace>, most: Duration) -> Arc<Self> {
        Arc::new(Self { pace, most })
    }

    fn lane(&self, tenant: &Tenant) -> Arc<Lane> {
        self.pace.lane(&Call {
            tenant,
            grantless: false,
            method: &http::Method::POST,
            operation: Catalog::embedded().find(&http::Method::POST, TOKENS_PATH),
            template: &TOKENS_PATH.into(),
        })
    }
}

impl Quota for TokensQuota {
    fn place<'a>(&'a self, tenant: &'a Tenant) -> BoxFuture<'a, Result<(), Duration>> {
        Box::pin(async move {
            let entered = self.lane(tenant).enter(self.most).await;
            let place = entered.map_err(|crowded| crowded.retry_in)?;
            place.spend();
            Ok(())
        })
    }

    fn is_used_up(&self, tenant: &Tenant) {
        self.lane(tenant).throttled(Duration::ZERO);
    }
}

pub(super) fn host_field(to: &crate::name::Authority) -> String {
    if to.port == 443 {
        to.host.to_string()
    } else {
        to.to_string()
    }
}

/// An error and its causes, on one line. Errors of this path describe connections, never what was sent over them.
pub(super) fn describe(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}
