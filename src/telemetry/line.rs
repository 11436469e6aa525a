//! Diagnostic events as lines of the same shape as access records: `ts`, `level`, `message`, then the event's own fields.

use std::fmt;
use std::io::Write as _;
use std::sync::Arc;

use tracing::field::{Field, Visit};
use tracing_subscriber::layer::Context;

use super::Sink;

/// The tracing layer that writes to our sink.
pub(super) struct Lines {
    pub(super) sink: Sink,
    pub(super) pretty: bool,
    pub(super) release: Arc<str>,
}

impl<S: tracing::Subscriber> tracing_subscriber::Layer<S> for Lines {
    fn on_event(&self, event: &tracing::Event<'_>, _context: Context<'_, S>) {
        let mut fields = Fields::default();
        event.record(&mut fields);
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
                let mut object = serde_json::Map::new();
                object.insert("ts".into(), ts.to_string().into());
                object.insert("level".into(), level.into());
                object.insert("message".into(), fields.message.into());
                object.extend(fields.rest);
                object.insert("target".into(), event.metadata().target().into());
                object.insert("release".into(), (*self.release).into());
                serde_json::to_writer(&mut *line, &object).map_err(Into::into)
            };
        });
    }
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
