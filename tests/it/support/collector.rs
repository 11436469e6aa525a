//! A collector of traces: takes OTLP as a real one does, decodes it, keeps it.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message as _;
use tokio::net::TcpListener;
use tokio::task::JoinSet;

/// How a collector behaves.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Manner {
    /// Takes everything.
    Takes,
    /// Answers with this status.
    Refuses(u16),
    /// Reads and never answers.
    Stalls,
}

/// A running collector.
pub(crate) struct Collector {
    pub(crate) address: SocketAddr,
    manner: Arc<Mutex<Manner>>,
    kept: Arc<Mutex<Kept>>,
    _tasks: JoinSet<()>,
}

#[derive(Default)]
struct Kept {
    /// Method, target and content type of every post.
    heads: Vec<String>,
    /// Bodies as they came.
    bodies: Vec<Bytes>,
}

impl Collector {
    /// Listens on loopback.
    pub(crate) async fn start(manner: Manner) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (manner, kept) = (Arc::new(Mutex::new(manner)), Arc::default());
        let (how, into) = (Arc::clone(&manner), Arc::clone(&kept));
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let (how, into) = (Arc::clone(&how), Arc::clone(&into));
                let service =
                    service_fn(move |request| take(request, Arc::clone(&how), Arc::clone(&into)));
                let served = hyper::server::conn::http1::Builder::new()
                    .serve_connection(TokioIo::new(stream), service);
                connections.spawn(async move {
                    // whoever goes away ends the connection
                    let _ended = served.await;
                });
            }
        });
        Self {
            address,
            manner,
            kept,
            _tasks: tasks,
        }
    }

    /// The section that sends traces here.
    pub(crate) fn section(&self, more: &str) -> String {
        format!(
            "telemetry: {{ otlp: {{ endpoint: \"http://{}\" }}, release: r-canary-free{more} }}",
            self.address
        )
    }

    /// Behaves otherwise from now on.
    pub(crate) fn behave(&self, manner: Manner) {
        *self.manner.lock().unwrap() = manner;
    }

    /// The posts so far: method, target, content type.
    pub(crate) fn heads(&self) -> Vec<String> {
        self.kept.lock().unwrap().heads.clone()
    }

    /// Every byte that was posted, as text to search: protobuf holds strings as they are.
    pub(crate) fn bytes(&self) -> String {
        let kept = self.kept.lock().unwrap();
        let heads = kept.heads.join("\n");
        let bodies = kept.bodies.iter().map(|body| String::from_utf8_lossy(body));
        heads + &bodies.collect::<String>()
    }

    fn requests(&self) -> Vec<ExportTraceServiceRequest> {
        let kept = self.kept.lock().unwrap();
        let decode = |body: &Bytes| ExportTraceServiceRequest::decode(body.clone()).unwrap();
        kept.bodies.iter().map(decode).collect()
    }

    /// All spans so far.
    pub(crate) fn spans(&self) -> Vec<Span> {
        let resources = self
            .requests()
            .into_iter()
            .flat_map(|one| one.resource_spans);
        let scopes = resources.flat_map(|one| one.scope_spans);
        scopes.flat_map(|one| one.spans).collect()
    }

    /// The attributes of every resource that sent spans.
    pub(crate) fn resources(&self) -> Vec<Vec<(String, String)>> {
        let resources = self
            .requests()
            .into_iter()
            .flat_map(|one| one.resource_spans);
        resources
            .map(|one| attributes(&one.resource.unwrap().attributes))
            .collect()
    }
}

async fn take(
    request: Request<Incoming>,
    manner: Arc<Mutex<Manner>>,
    kept: Arc<Mutex<Kept>>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let content_type = request.headers().get("content-type").cloned();
    let head = format!("{} {} {content_type:?}", request.method(), request.uri());
    let body = request.into_body().collect().await.unwrap().to_bytes();
    let manner = *manner.lock().unwrap();
    let mut response = Response::new(Full::default());
    match manner {
        Manner::Takes => {
            let mut kept = kept.lock().unwrap();
            kept.heads.push(head);
            kept.bodies.push(body);
        }
        Manner::Refuses(status) => *response.status_mut() = status.try_into().unwrap(),
        Manner::Stalls => std::future::pending().await,
    }
    Ok(response)
}

/// Attributes as text.
pub(crate) fn attributes(list: &[KeyValue]) -> Vec<(String, String)> {
    let text = |value: &Option<AnyValue>| match value.as_ref().and_then(|one| one.value.as_ref()) {
        Some(Value::StringValue(text)) => text.clone(),
        other => format!("{other:?}"),
    };
    list.iter()
        .map(|pair| (pair.key.clone(), text(&pair.value)))
        .collect()
}

/// An attribute of a span as text.
pub(crate) fn attribute(span: &Span, key: &str) -> Option<String> {
    let mut all = attributes(&span.attributes).into_iter();
    all.find(|(name, _)| name == key).map(|(_, value)| value)
}
