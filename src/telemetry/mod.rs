//! Logs, metrics and traces: nothing secret in any of them.
//!
//! Job: start tracing with a filter that no environment variable can widen to foreign crates, write access records, count,
//! and send spans where a collector is configured.
//! Invariants: a line is whole or absent; a request never waits for the sink or the collector; below WARN only our own events
//! are written, so that no library's trace output can show a header; what could not be written or sent is counted. Of spans
//! only the walk's are made, and those only for a collector.
//! Failure mode: a sink that stalls loses lines, not requests; a collector that is away loses spans.

use tracing_subscriber::Layer as _;
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

use crate::config::{LogFormat, LogLevel, Telemetry};

pub mod event;
mod line;
pub mod metrics;
pub mod otlp;
pub mod record;
pub mod sink;
pub mod trace;
pub mod traffic;
pub mod w3c;

pub use otlp::{OtlpError, Traces};
pub use sink::Sink;

/// Starts tracing. `wanted` is the content of `RUST_LOG`: it chooses the level of our own events, nothing else. Has to be
/// called on the control runtime.
///
/// # Errors
/// When the way to the configured collector cannot be set up.
pub fn start(config: &Telemetry, wanted: Option<&str>, sink: &Sink) -> Result<Traces, OtlpError> {
    let level = wanted.and_then(level_of).unwrap_or(match config.log_level {
        LogLevel::Error => tracing::Level::ERROR,
        LogLevel::Warn => tracing::Level::WARN,
        LogLevel::Info => tracing::Level::INFO,
        LogLevel::Debug => tracing::Level::DEBUG,
        LogLevel::Trace => tracing::Level::TRACE,
    });
    let traces = match &config.otlp {
        Some(endpoint) => Traces::start(endpoint, &config.release)?,
        None => Traces::default(),
    };
    let spans = traces.tracer().map(|tracer| {
        tracing_opentelemetry::layer()
            .with_tracer(tracer)
            .with_location(false)
            .with_threads(false)
            .with_target(false)
            .with_tracked_inactivity(false)
            .with_context_activation(false)
            // lines are the log's, not a span's
            .with_filter(filter_fn(|metadata| metadata.is_span()))
    });
    let traced = spans.is_some();
    let filter = filter_fn(move |metadata| is_wanted(metadata, level, traced));
    let lines = line::Lines {
        sink: sink.clone(),
        pretty: config.log_format == LogFormat::Pretty,
        release: config.release.as_str().into(),
        dispatch: std::sync::OnceLock::new(),
    };
    // a second start in one process (tests) keeps the first subscriber
    let _already_started = tracing_subscriber::registry()
        .with(filter)
        .with(lines)
        .with(spans)
        .try_init();
    if let Some(endpoint) = &config.otlp {
        Traces::advise(endpoint);
    }
    Ok(traces)
}

/// Of spans the walk's, where they are sent somewhere. Of events our own at the level asked for, and foreign ones from WARN
/// up, except for crates whose words we put into lines of our own: two that report every expected 404 as an error, and
/// OpenTelemetry's, which may quote the collector's URL with its login.
fn is_wanted(metadata: &tracing::Metadata<'_>, level: tracing::Level, traced: bool) -> bool {
    let target = metadata.target();
    if metadata.is_span() {
        return traced && target == trace::TARGET;
    }
    if target.starts_with("spapi_sidecar") {
        return *metadata.level() <= level;
    }
    *metadata.level() <= tracing::Level::WARN.min(level)
        && !target.starts_with("vaultrs")
        && !target.starts_with("rustify")
        && !target.starts_with("opentelemetry")
}

/// The most verbose level named anywhere in a `RUST_LOG` directive list.
fn level_of(directives: &str) -> Option<tracing::Level> {
    directives
        .split(',')
        .filter_map(|directive| directive.rsplit('=').next()?.trim().parse().ok())
        .max()
}

/// The wall clock, for lines and records.
#[must_use]
pub fn now() -> std::time::SystemTime {
    #[expect(
        clippy::disallowed_methods,
        reason = "telemetry is where wall-clock time is read"
    )]
    std::time::SystemTime::now()
}

/// A moment as it stands in lines and answers: RFC 3339, UTC, to the second.
#[must_use]
pub fn clock(moment: std::time::SystemTime) -> String {
    humantime::format_rfc3339_seconds(moment).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rust_log_chooses_a_level_and_nothing_else() {
        assert_eq!(level_of("trace"), Some(tracing::Level::TRACE));
        assert_eq!(level_of("hyper=trace,warn"), Some(tracing::Level::TRACE));
        assert_eq!(level_of("nonsense"), None);
    }
}
