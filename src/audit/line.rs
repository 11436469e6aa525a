//! What a line tells.
//!
//! Job: turn what happened into a line's members, from `kind` on.
//! Invariants: ids, closed words, templates, counts and what a person gave as a reason; never the data, a path parameter, a query
//! value or a token. What a person wrote is redacted and shortened.
//! Failure mode: none; text is made in memory.

use std::fmt::Write as _;
use std::net::IpAddr;
use std::path::Path;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::chain;
use crate::outcome::Reason;
use crate::redact;
use crate::telemetry::event::{BreakGlassPhase, Event, Exchange};
use crate::telemetry::record::{Outcome, Record, RequestId};
use crate::tenant::{AppId, TenantId};

/// Most characters of one text: more than any reason, host or template that means something.
const CHARACTERS: usize = 500;

/// Most texts of a list: a break-glass of that many routes is no exception any more.
const ENTRIES: usize = 50;

/// The kind of the line that says that lines were gone when the file was opened.
pub const CUT: &str = "cut";
/// The kind of the line that says that the last line was not the one that the head names.
pub const REPLACED: &str = "replaced";
/// The kind of the line that says that the head was gone.
pub const UNANCHORED: &str = "unanchored";

/// A line's members.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Text(String);

impl Text {
    /// The members, without braces.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    fn new(kind: &'static str) -> Self {
        let mut text = String::with_capacity(256);
        text.push_str(r#""kind":""#);
        text.push_str(kind);
        text.push('"');
        Self(text)
    }

    fn key(&mut self, key: &'static str) {
        self.0.push_str(",\"");
        self.0.push_str(key);
        self.0.push_str("\":");
    }

    fn text(mut self, key: &'static str, value: impl AsRef<str>) -> Self {
        self.key(key);
        let value = value.as_ref();
        let cut = value.char_indices().nth(CHARACTERS).map(|(at, _)| at);
        let value = cut.and_then(|at| value.get(..at)).unwrap_or(value);
        self.0.push_str(&serde_json::json!(value).to_string());
        self
    }

    fn optional(self, key: &'static str, value: Option<impl AsRef<str>>) -> Self {
        match value {
            Some(value) => self.text(key, value),
            None => self,
        }
    }

    /// What a person wrote: their words, names and numbers, and no credential.
    fn words(self, key: &'static str, value: &str) -> Self {
        let masked = |word| {
            if redact::looks_secret(word) {
                "[redacted]"
            } else {
                word
            }
        };
        let shown: Vec<&str> = value.split_whitespace().map(masked).collect();
        self.text(key, shown.join(" "))
    }

    fn number(mut self, key: &'static str, value: u64) -> Self {
        self.key(key);
        // writing to a String cannot fail
        let _infallible = write!(self.0, "{value}");
        self
    }

    fn truth(mut self, key: &'static str, value: bool) -> Self {
        self.key(key);
        self.0.push_str(if value { "true" } else { "false" });
        self
    }

    fn list<S: AsRef<str>>(mut self, key: &'static str, values: &[S]) -> Self {
        self.key(key);
        let values: Vec<&str> = values.iter().take(ENTRIES).map(AsRef::as_ref).collect();
        self.0.push_str(&serde_json::json!(values).to_string());
        self
    }

    /// The end of a line was cut off because its writer was killed while it wrote.
    pub(super) fn repaired(bytes: usize) -> Self {
        Self::new("repaired").number("torn_bytes", u64::try_from(bytes).unwrap_or(u64::MAX))
    }

    /// The first line of a file that goes on from another.
    pub(super) fn continued(from: Option<&Path>) -> Self {
        let name = from.and_then(Path::file_name);
        Self::new(chain::CONTINUED).optional("from", name.map(|name| name.to_string_lossy()))
    }

    /// Lines are gone that the head knows of.
    pub(super) fn cut(file: u64, head: u64) -> Self {
        Self::new(CUT)
            .number("file_ends_with_seq", file)
            .number("head_names_seq", head)
    }

    /// The last line is not the one that the head names; 0 where it could not be read at all.
    pub(super) fn replaced(seq: u64) -> Self {
        Self::new(REPLACED).number("at_seq", seq)
    }

    /// There was no head beside a file with lines.
    pub(super) fn unanchored() -> Self {
        Self::new(UNANCHORED)
    }

    /// Lines were lost because more of them waited than may wait.
    pub(super) fn dropped(lines: u64) -> Self {
        Self::new("dropped").number("lines", lines)
    }

    /// Lines can be written again.
    pub(super) fn resumed(since: Duration, cause: &'static str, refused: u64) -> Self {
        Self::new("resumed")
            .number("after_s", since.as_secs())
            .text("cause", cause)
            .number("calls_refused", refused)
    }

    /// Calls were refused because their lines were not on disk in time.
    pub(super) fn refused(calls: u64) -> Self {
        Self::new("refused_unwritten").number("calls_refused", calls)
    }

    /// The sidecar has ended.
    pub(super) fn stopped() -> Self {
        Self::new("stopped")
    }

    /// An alert that nobody could be told of.
    #[must_use]
    pub fn undelivered(
        alert: &str,
        subject: &str,
        state: &str,
        attempts: u32,
        error: &str,
    ) -> Self {
        Self::new("alert_undelivered")
            .text("alert", alert)
            .text("subject", subject)
            .text("state", state)
            .number("attempts", attempts.into())
            .words("error", error)
    }
}

/// A call that is about to leave and can return personal data.
#[derive(Clone, Copy, Debug)]
pub struct Call<'a> {
    /// The id that the answer and the log carry too.
    pub request: RequestId,
    /// Whose data.
    pub tenant: &'a TenantId,
    /// By which app.
    pub app: &'a AppId,
    /// From which address it came to us; `None` where that is not known.
    pub client: Option<IpAddr>,
    /// Whether the caller proved its tenant by a proxy key.
    pub login: bool,
    /// Method.
    pub method: &'a http::Method,
    /// The host that it goes to.
    pub host: &'a str,
    /// Catalog id or template.
    pub operation: &'a str,
    /// Template.
    pub template: &'a str,
    /// The elements that the restricted data token is asked for; `None` where the call takes none.
    pub data_elements: Option<&'a [String]>,
}

impl Call<'_> {
    /// Its line.
    pub(super) fn text(&self) -> Text {
        let line = Text::new("request")
            .text("request_id", self.request.to_string())
            .text("tenant", self.tenant.as_str())
            .text("app", self.app.as_str())
            .optional("client", self.client.map(|ip| ip.to_string()))
            .truth("login", self.login)
            .text("method", self.method.as_str())
            .text("host", self.host)
            .text("operation", self.operation)
            .text("template", self.template)
            .truth("rdt", self.data_elements.is_some());
        match self.data_elements {
            Some(elements) => line.list("data_elements", elements),
            None => line,
        }
    }
}

/// The line of an event; `None` for what is no business of the audit.
pub(super) fn of(event: &Event<'_>) -> Option<Text> {
    match event {
        Event::Request(record) => ended(record),
        Event::Exchange(exchange) => Some(exchanged(exchange)),
        Event::State {
            tenant,
            state,
            reason,
            by,
        } => Some(
            Text::new("state")
                .text("tenant", tenant.as_str())
                .text("state", state.as_str())
                .words("reason", reason)
                .words("by", by),
        ),
        Event::BreakGlass {
            tenant,
            allow,
            what,
            reason,
            by,
        } => Some(
            Text::new("break_glass")
                .text("tenant", tenant.as_str())
                .text("what", phase(*what))
                .list("allow", allow)
                .words("reason", reason)
                .words("by", by),
        ),
        Event::Reload {
            taken,
            routes,
            tenants,
        } => Some(
            Text::new("reload")
                .truth("taken", *taken)
                .number("routes", u64::try_from(*routes).unwrap_or(u64::MAX))
                .number("tenants", u64::try_from(*tenants).unwrap_or(u64::MAX)),
        ),
        Event::Started => Some(Text::new("start").text("version", env!("CARGO_PKG_VERSION"))),
        Event::Stopping => Some(Text::new("stopping")),
        Event::Denied { .. }
        | Event::PhantomVended { .. }
        | Event::RealTokenSeen { .. }
        | Event::Store { .. }
        | Event::FreshTokenRefused { .. }
        | Event::GrantNotStored { .. }
        | Event::Verdict { .. }
        | Event::Audit { .. } => None,
    }
}

const fn phase(what: BreakGlassPhase) -> &'static str {
    match what {
        BreakGlassPhase::Opened => "opened",
        BreakGlassPhase::Used => "used",
        BreakGlassPhase::Expired => "expired",
        BreakGlassPhase::Revoked => "revoked",
    }
}

/// A refusal, or the end of a call that has a line already.
fn ended(record: &Record) -> Option<Text> {
    let tenant = record.tenant.as_ref().map(TenantId::as_str);
    let reason = record.reason.map(Reason::code);
    if record.audited {
        return Some(
            Text::new("outcome")
                .text("request_id", record.id.to_string())
                .optional("tenant", tenant)
                .text("outcome", record.outcome.as_str())
                .optional("reason", reason)
                .number("status", record.status.into())
                .number("attempts", record.attempts.into())
                .number("bytes_out", record.bytes.outward.load(Ordering::Relaxed))
                .optional("amzn_request_id", record.amzn_request_id.as_deref()),
        );
    }
    if record.outcome != Outcome::Refused {
        return None;
    }
    let known = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    Some(
        Text::new("refusal")
            .text("request_id", record.id.to_string())
            .optional("tenant", tenant)
            .optional("reason", reason)
            .number("status", record.status.into())
            .text("method", record.method.as_str())
            .text("host", &record.host)
            .optional("operation", known(&record.operation))
            .optional("template", known(&record.template)),
    )
}

fn exchanged(exchange: &Exchange<'_>) -> Text {
    let line = Text::new("exchange")
        .text("tenant", exchange.tenant.as_str())
        .optional("app", exchange.app.map(AppId::as_str))
        .text("token", exchange.kind)
        .truth("forced", exchange.forced)
        .truth("shared", exchange.shared);
    match exchange.result {
        Ok(life) => line.text("result", "ok").number("lives_s", life.as_secs()),
        Err(cause) => line.text("result", cause),
    }
}

#[cfg(test)]
mod tests;
