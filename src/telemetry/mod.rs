//! Logs: one sink, one line each, nothing secret in any of them.
//!
//! Job: start tracing with a filter that no environment variable can widen to foreign crates, and write access records.
//! Invariants: a line is whole or absent; a request never waits for the sink; below WARN only our own events are written,
//! so that no library's trace output can show a header; what could not be written is counted.
//! Failure mode: a sink that stalls loses lines, not requests.

use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

use crate::config::{LogFormat, LogLevel, Telemetry};

pub mod event;
mod line;
pub mod record;
pub mod sink;
pub mod traffic;

pub use sink::Sink;

/// Starts tracing. `wanted` is the content of `RUST_LOG`: it chooses the level of our own events, nothing else.
pub fn start(config: &Telemetry, wanted: Option<&str>, sink: &Sink) {
    let level = wanted.and_then(level_of).unwrap_or(match config.log_level {
        LogLevel::Error => tracing::Level::ERROR,
        LogLevel::Warn => tracing::Level::WARN,
        LogLevel::Info => tracing::Level::INFO,
        LogLevel::Debug => tracing::Level::DEBUG,
        LogLevel::Trace => tracing::Level::TRACE,
    });
    let filter = tracing_subscriber::filter::filter_fn(move |metadata| is_wanted(metadata, level));
    let lines = line::Lines {
        sink: sink.clone(),
        pretty: config.log_format == LogFormat::Pretty,
        release: config.release.as_str().into(),
    };
    // a second start in one process (tests) keeps the first subscriber
    let _already_started = tracing_subscriber::registry()
        .with(filter)
        .with(lines)
        .try_init();
}

/// Our own events at the level asked for; foreign ones from WARN up, except for the two crates that report every expected
/// 404 as an error (we log our own line for those).
fn is_wanted(metadata: &tracing::Metadata<'_>, level: tracing::Level) -> bool {
    let target = metadata.target();
    if target.starts_with("spapi_sidecar") {
        return *metadata.level() <= level;
    }
    *metadata.level() <= tracing::Level::WARN.min(level)
        && !target.starts_with("vaultrs")
        && !target.starts_with("rustify")
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
