//! Diagnostic events as lines of the same shape as access records: `ts`, `level`, `message`, then the event's own fields.

use std::fmt;
use std::io::Write as _;
use std::sync::{Arc, OnceLock};

use opentelemetry::trace::TraceContextExt as _;
use tracing::Dispatch;
use tracing::dispatcher::WeakDispatch;
use tracing::field::{Field, Visit};
use tracing_subscriber::layer::Context;
use tracing_subscriber::registry::LookupSpan;

use super::Sink;
use super::w3c::TraceId;

/// The tracing layer that writes to our sink.
pub(super) struct Lines {
    pub(super) sink: Sink,
    pub(super) pretty: bool,
    pub(super) release: Arc<str>,
    /// Whom to ask for the trace of a line.
    pub(super) dispatch: OnceLock<WeakDispatch>,
}

impl Lines {
    /// The trace of the request in whose course something is said.
    fn trace<S>(&self, event: &tracing::Event<'_>, context: &Context<'_, S>) -> Option<TraceId>
    where
        S: tracing::Subscriber + for<'a> LookupSpan<'a>,
    {
        let span = context.event_span(event)?.id();
        let dispatch = self.dispatch.get()?.upgrade()?;
        let trace = tracing_opentelemetry::get_otel_context(&span, &dispatch)?;
        TraceId::new(trace.span().span_context().trace_id().to_bytes())
    }
}

impl<S> tracing_subscriber::Layer<S> for Lines
where
    S: tracing::Subscriber + for<'a> LookupSpan<'a>,
{
    fn on_register_dispatch(&self, dispatch: &Dispatch) {
        let _first_counts = self.dispatch.set(dispatch.downgrade());
    }

    fn on_event(&self, event: &tracing::Event<'_>, context: Context<'_, S>) {
        let mut fields = Fields::default();
        event.record(&mut fields);
        if let Some(trace) = self.trace(event, &context) {
            fields
                .rest
                .insert("trace_id".to_owned(), trace.to_string().into());
        }
        let level = event.metadata().level().as_str().to_ascii_lowercase();
        let ts = humantime::format_rfc3339_micros(super::now());
        self.sink.line(|line| {
            // writing to a Vec cannot fail
            let _infallible = if self.pretty {
                let rest: String = fields
                    .rest
                    .iter()
                    .map(|(name, value)| format!(" {name}={value}"))
                    .collect();
                write!(line, "{ts} {level:>5} {}{rest}", fields.message)
            } else {
                let object = Event {
                    ts: ts.to_string(),
                    level,
                    message: fields.message,
                    rest: fields.rest,
                    target: event.metadata().target(),
                    release: &self.release,
                };
                serde_json::to_writer(&mut *line, &object).map_err(Into::into)
            };
        });
    }
}

/// An event as JSON: time, level and message come first, since people read these lines too.
#[derive(serde::Serialize)]
struct Event<'a> {
    ts: String,
    level: String,
    message: String,
    #[serde(flatten)]
    rest: serde_json::Map<String, serde_json::Value>,
    target: &'a str,
    release: &'a str,
}

#[derive(Default)]
struct Fields {
    message: String,
    rest: serde_json::Map<String, serde_json::Value>,
}

impl Fields {
    fn keep(&mut self, field: &Field, value: serde_json::Value) {
        if field.name() == "message" {
            self.message = value
                .as_str()
                .map_or_else(|| value.to_string(), str::to_owned);
        } else {
            self.rest.insert(field.name().to_owned(), value);
        }
    }
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.keep(field, format!("{value:?}").into());
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.keep(field, value.into());
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.keep(field, value.into());
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.keep(field, value.into());
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.keep(field, value.into());
    }

    fn record_error(&mut self, field: &Field, value: &(dyn std::error::Error + 'static)) {
        let mut text = value.to_string();
        let mut cause = value.source();
        while let Some(error) = cause {
            text.push_str(": ");
            text.push_str(&error.to_string());
            cause = error.source();
        }
        self.keep(field, text.into());
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use tracing_subscriber::layer::SubscriberExt as _;

    use super::*;

    #[derive(Clone, Default)]
    struct Kept(Arc<Mutex<Vec<u8>>>);

    impl std::io::Write for Kept {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    fn written(pretty: bool) -> String {
        let kept = Kept::default();
        let lines = Lines {
            sink: Sink::new(kept.clone()),
            pretty,
            release: "r1".into(),
            dispatch: OnceLock::new(),
        };
        let sink = lines.sink.clone();
        tracing::subscriber::with_default(tracing_subscriber::registry().with(lines), || {
            tracing::warn!(attempts = 3, cause = "store", "no token");
        });
        sink.flush();
        let bytes = kept.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn an_event_is_an_object_that_begins_with_time_level_and_message() {
        let line = written(false);
        let object: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert_eq!(object["attempts"], 3);
        assert_eq!(object["release"], "r1");
        let places: Vec<usize> = ["ts", "level", "message", "attempts", "target"]
            .iter()
            .map(|key| line.find(&format!("\"{key}\":")).unwrap())
            .collect();
        assert!(places.is_sorted(), "{line}");
    }

    #[test]
    fn pretty_is_one_line_for_people() {
        let line = written(true);
        assert!(
            line.ends_with(" warn no token attempts=3 cause=\"store\"\n"),
            "{line}"
        );
    }
}
