//! Traces on their way to a collector.
//!
//! Job: gather ended spans, post them as OTLP (http/protobuf) to `telemetry.otlp.endpoint`, count what is not delivered.
//! Invariants: a request hands a span over without waiting; at most [`MOST_WAITING`] spans wait, one more is dropped and
//! counted; an export is bounded by [`EXPORT`], the last one at the end of the process by [`FLUSH`]; proxies of the
//! environment are not used: one of them may be this very sidecar.
//! Failure mode: a collector that is away costs traces and nothing else; it is said once when that begins and when it ends.
//! Source: OTLP 1.x, "OTLP/HTTP".

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use opentelemetry::trace::TracerProvider as _;
use opentelemetry::{Context, KeyValue};
use opentelemetry_otlp::{Protocol, WithExportConfig as _, WithHttpConfig as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::runtime::Tokio;
use opentelemetry_sdk::trace::span_processor_with_async_runtime::BatchSpanProcessor;
use opentelemetry_sdk::trace::{
    BatchConfigBuilder, SdkTracer, SdkTracerProvider, Span, SpanData, SpanExporter, SpanProcessor,
};
use url::Url;

use crate::redact;

/// Most spans that wait for the collector: about a thousand requests' worth, a few MiB.
const MOST_WAITING: usize = 8192;

/// Most spans in one post.
const BATCH: usize = 512;

/// How long spans gather before a post.
const GATHER: Duration = Duration::from_secs(1);

/// Longest that one post may take.
const EXPORT: Duration = Duration::from_secs(5);

/// Longest that the end of the process waits for the last spans to be taken.
const FLUSH: Duration = Duration::from_secs(2);

/// Where OTLP/HTTP takes traces, below the endpoint.
const PATH: &str = "/v1/traces";

/// The port that is gRPC's by custom.
const GRPC_PORT: u16 = 4317;

/// Why no traces can be sent.
#[derive(Debug, thiserror::Error)]
#[error("telemetry.otlp: the way to the collector cannot be set up: {0}")]
pub struct OtlpError(String);

/// Traces on their way. Without a collector there are none.
#[derive(Clone, Debug, Default)]
pub struct Traces(Option<Arc<Way>>);

#[derive(Debug)]
struct Way {
    provider: SdkTracerProvider,
    delivery: Arc<Delivery>,
}

/// What became of spans.
#[derive(Debug)]
struct Delivery {
    /// The collector's host and port.
    collector: String,
    waiting: AtomicUsize,
    dropped: AtomicU64,
    failing: AtomicBool,
}

impl Traces {
    /// Sets up the way to a collector. Has to be called on the control runtime, which carries the posts.
    ///
    /// # Errors
    /// When the HTTP client cannot be made.
    pub(super) fn start(endpoint: &Url, release: &str) -> Result<Self, OtlpError> {
        let delivery = Arc::new(Delivery {
            collector: place(endpoint),
            waiting: AtomicUsize::new(0),
            dropped: AtomicU64::new(0),
            failing: AtomicBool::new(false),
        });
        let client = reqwest::Client::builder()
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .timeout(EXPORT)
            .build()
            .map_err(|error| OtlpError(error.to_string()))?;
        let exporter = opentelemetry_otlp::SpanExporter::builder()
            .with_http()
            .with_http_client(client)
            .with_protocol(Protocol::HttpBinary)
            .with_timeout(EXPORT)
            .with_endpoint(target(endpoint))
            .build()
            .map_err(|error| OtlpError(redact::text(&error.to_string())))?;
        let config = BatchConfigBuilder::default()
            // our own bound is met first, so that what is dropped is counted
            .with_max_queue_size(2 * MOST_WAITING)
            .with_max_export_batch_size(BATCH)
            .with_scheduled_delay(GATHER)
            .with_max_export_timeout(EXPORT)
            .build();
        let exporter = Counted {
            exporter,
            delivery: Arc::clone(&delivery),
        };
        let batches = BatchSpanProcessor::builder(exporter, Tokio)
            .with_batch_config(config)
            .build();
        let bounded = Bounded {
            batches,
            delivery: Arc::clone(&delivery),
        };
        let resource = Resource::builder()
            .with_service_name("spapi-sidecar")
            .with_attributes([
                KeyValue::new("service.version", env!("CARGO_PKG_VERSION")),
                KeyValue::new("release", release.to_owned()),
            ])
            .build();
        let provider = SdkTracerProvider::builder()
            .with_span_processor(bounded)
            .with_resource(resource)
            .build();
        Ok(Self(Some(Arc::new(Way { provider, delivery }))))
    }

    /// What makes spans of the walk's.
    pub(super) fn tracer(&self) -> Option<SdkTracer> {
        let way = self.0.as_ref()?;
        Some(way.provider.tracer("spapi-sidecar"))
    }

    /// Says what is usual of an endpoint that may not be meant.
    pub(super) fn advise(endpoint: &Url) {
        if endpoint.port() == Some(GRPC_PORT) {
            tracing::info!(
                collector = place(endpoint),
                path = PATH,
                "traces are sent as OTLP http/protobuf; a collector takes that on port 4318 by default, and gRPC alone on 4317"
            );
        }
    }

    /// Spans that were not delivered since the start.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        let dropped = |way: &Arc<Way>| way.delivery.dropped.load(Ordering::Relaxed);
        self.0.as_ref().map_or(0, dropped)
    }

    /// Posts what still waits, within a bound. Afterwards no span is sent.
    pub async fn flush(self) {
        let Some(way) = self.0 else { return };
        let collector = way.delivery.collector.clone();
        // it waits for the control runtime, so it must not wait on it
        let last = tokio::task::spawn_blocking(move || way.provider.shutdown());
        match tokio::time::timeout(FLUSH, last).await {
            Ok(Ok(Ok(()))) => {}
            Ok(_) | Err(_) => tracing::warn!(collector, "the last spans were not delivered"),
        }
    }
}

/// `https://collector:4318` → `https://collector:4318/v1/traces`; a URL that says the whole path is taken as it is.
fn target(endpoint: &Url) -> String {
    let mut target = endpoint.clone();
    let base = endpoint.path().trim_end_matches('/');
    if !base.ends_with(PATH) {
        target.set_path(&format!("{base}{PATH}"));
    }
    target.into()
}

/// Host and port: what may be shown of an endpoint.
fn place(endpoint: &Url) -> String {
    let host = endpoint.host_str().unwrap_or_default();
    let port = endpoint.port_or_known_default();
    port.map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
}

/// Takes no more spans than may wait.
#[derive(Debug)]
struct Bounded<P> {
    batches: P,
    delivery: Arc<Delivery>,
}

impl<P: SpanProcessor> SpanProcessor for Bounded<P> {
    fn on_start(&self, _span: &mut Span, _context: &Context) {}

    fn on_end(&self, span: SpanData) {
        if !span.span_context.is_sampled() {
            return;
        }
        if self.delivery.waiting.fetch_add(1, Ordering::Relaxed) >= MOST_WAITING {
            self.delivery.waiting.fetch_sub(1, Ordering::Relaxed);
            self.delivery.dropped.fetch_add(1, Ordering::Relaxed);
            return;
        }
        self.batches.on_end(span);
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.batches.force_flush()
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.batches.shutdown_with_timeout(timeout)
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.batches.set_resource(resource);
    }
}

/// Counts what the collector does not take.
#[derive(Debug)]
struct Counted<E> {
    exporter: E,
    delivery: Arc<Delivery>,
}

impl<E: SpanExporter> SpanExporter for Counted<E> {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let mut post = Post {
            delivery: &self.delivery,
            spans: batch.len(),
            result: None,
        };
        self.delivery
            .waiting
            .fetch_sub(post.spans, Ordering::Relaxed);
        let result = self.exporter.export(batch).await;
        post.result = Some(match &result {
            Ok(()) => Ok(()),
            Err(error) => Err(redact::text(&error.to_string())),
        });
        result
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.exporter.shutdown_with_timeout(timeout)
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.exporter.set_resource(resource);
    }
}

/// One post, which may be given up while it is on its way.
struct Post<'a> {
    delivery: &'a Delivery,
    spans: usize,
    result: Option<Result<(), String>>,
}

impl Drop for Post<'_> {
    fn drop(&mut self) {
        let collector = &self.delivery.collector;
        if let Some(Ok(())) = self.result {
            if self.delivery.failing.swap(false, Ordering::Relaxed) {
                tracing::info!(collector, "the OTLP collector takes traces again");
            }
            return;
        }
        let spans = u64::try_from(self.spans).unwrap_or(u64::MAX);
        self.delivery.dropped.fetch_add(spans, Ordering::Relaxed);
        if !self.delivery.failing.swap(true, Ordering::Relaxed) {
            let error = match &self.result {
                Some(Err(error)) => error,
                Some(Ok(())) | None => "no answer in time",
            };
            tracing::warn!(
                collector,
                error,
                "the OTLP collector does not take traces; they are dropped and counted until it does"
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use opentelemetry::trace::{Span as _, Tracer as _};

    use super::*;

    /// Takes spans and never passes them on, like batches whose collector stalls.
    #[derive(Debug)]
    struct Stuck;

    impl SpanProcessor for Stuck {
        fn on_start(&self, _span: &mut Span, _context: &Context) {}

        fn on_end(&self, _span: SpanData) {}

        fn force_flush(&self) -> OTelSdkResult {
            Ok(())
        }

        fn shutdown_with_timeout(&self, _timeout: Duration) -> OTelSdkResult {
            Ok(())
        }
    }

    #[test]
    fn a_span_more_than_may_wait_is_dropped_and_counted() {
        let delivery = Arc::new(Delivery {
            collector: String::new(),
            waiting: AtomicUsize::new(0),
            dropped: AtomicU64::new(0),
            failing: AtomicBool::new(false),
        });
        let bounded = Bounded {
            batches: Stuck,
            delivery: Arc::clone(&delivery),
        };
        let provider = SdkTracerProvider::builder()
            .with_span_processor(bounded)
            .build();
        let tracer = provider.tracer("test");
        for _ in 0..MOST_WAITING + 5 {
            tracer.start("span").end();
        }
        assert_eq!(delivery.waiting.load(Ordering::Relaxed), MOST_WAITING);
        assert_eq!(delivery.dropped.load(Ordering::Relaxed), 5);
    }

    #[test]
    fn an_endpoint_is_a_base_or_the_whole_url() {
        for (endpoint, want) in [
            ("http://127.0.0.1:4317", "http://127.0.0.1:4317/v1/traces"),
            ("http://c:4318/", "http://c:4318/v1/traces"),
            ("https://c/otlp", "https://c/otlp/v1/traces"),
            ("https://c/otlp/v1/traces", "https://c/otlp/v1/traces"),
        ] {
            assert_eq!(target(&Url::parse(endpoint).unwrap()), want);
        }
    }

    #[test]
    fn what_is_shown_of_an_endpoint_holds_no_login() {
        let url = Url::parse("https://user:canary@collector.example/canary").unwrap();
        assert_eq!(place(&url), "collector.example:443");
    }
}
