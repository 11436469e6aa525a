//! One record for each request, written when it falls, whatever path was taken.
//!
//! Job: gather what the walk learns of a request and write it as one JSON line (CONTRACT section 4).
//! Invariants: exactly one line a request, a cancelled one included, because `Drop` writes it; fields come from closed
//! vocabularies, templates and key names, never from a query value, a header or a body.
//! Failure mode: see [`super::sink`].

use std::cell::Cell;
use std::io::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use tokio::time::Instant;

use super::Sink;
use super::event::{Event, Events};
use super::trace::Trace;
use super::traffic::{Kind, Traffic};
use super::w3c::{Parent, TraceId};
use crate::outcome::Reason;
use crate::tenant::TenantId;

/// How a request ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// The origin's answer was passed on.
    Forwarded,
    /// The same, but the route policy, enforced, would have refused it.
    WouldRefuse,
    /// Answered here by design: a phantom token.
    Answered,
    /// Policy said no.
    Refused,
    /// Something broke.
    Failed,
    /// Copied blindly.
    Tunnelled,
    /// The client went away first.
    Cancelled,
}

impl Outcome {
    /// The word in logs and metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Forwarded => "forwarded",
            Self::WouldRefuse => "would_refuse",
            Self::Answered => "answered",
            Self::Refused => "refused",
            Self::Failed => "failed",
            Self::Tunnelled => "tunnelled",
            Self::Cancelled => "cancelled",
        }
    }
}

/// A request's identity, the same in the answer's header and the log.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RequestId(pub u64);

impl RequestId {
    /// Sixteen lower-case hexadecimal digits.
    #[must_use]
    pub fn digits(self) -> [u8; 16] {
        let mut digits = *b"0123456789abcdef";
        let alphabet = digits;
        let mut left = self.0;
        for digit in digits.iter_mut().rev() {
            let low = usize::try_from(left & 15).unwrap_or_default();
            *digit = alphabet.get(low).copied().unwrap_or_default();
            left >>= 4;
        }
        digits
    }
}

impl std::fmt::Display for RequestId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// Byte counts that bodies add to while they stream.
#[derive(Debug, Default)]
pub struct Bytes {
    /// From the client.
    pub inward: AtomicU64,
    /// To the client.
    pub outward: AtomicU64,
}

/// What all records of a process share.
#[derive(Clone, Debug)]
pub struct Recorder {
    /// Where lines go.
    pub sink: Sink,
    /// The deploy's name, on every line.
    pub release: Arc<str>,
    /// What was called so far.
    pub traffic: Arc<Traffic>,
    /// Who hears of it.
    pub events: Events,
    /// Whether lines are for people: `telemetry.log.format: pretty`.
    pub pretty: bool,
}

/// The record of one request.
#[derive(Debug)]
pub struct Record {
    recorder: Arc<Recorder>,
    opened: Instant,
    /// Identity.
    pub id: RequestId,
    /// Whose request, once known.
    pub tenant: Option<TenantId>,
    /// Host that the request is for.
    pub host: Arc<str>,
    /// Catalog id or template; empty until the policy has spoken.
    pub operation: Arc<str>,
    /// Method.
    pub method: http::Method,
    /// Template or masked path.
    pub path: String,
    /// Template, or masked path of what no template names; empty for what is no call to SP-API.
    pub template: Arc<str>,
    /// Keys of the query, values left out.
    pub query_keys: Vec<String>,
    /// Status that the client gets; 0 until there is one.
    pub status: u16,
    /// How it ended; [`Outcome::Cancelled`] until somebody says otherwise.
    pub outcome: Outcome,
    /// Why, where there is a why.
    pub reason: Option<Reason>,
    /// Kind of the token that was sent upstream.
    pub token_kind: Option<&'static str>,
    /// How often it was sent upstream.
    pub attempts: u32,
    /// Bytes both ways.
    pub bytes: Arc<Bytes>,
    /// Time spent waiting for upstream's head.
    pub upstream: Duration,
    /// Time spent held back on purpose.
    pub paced: Duration,
    /// Time until the response head was ready, once it is.
    pub head_ready: Option<Duration>,
    /// Amazon's own request id.
    pub amzn_request_id: Option<String>,
    /// Whether a usable token was in memory when the request needed one; `None` where it needed none.
    pub token_was_waiting: Option<bool>,
    /// Whether the audit has a line of it, and wants one of its end.
    pub audited: bool,
    /// Its spans, where traces are made.
    pub trace: Trace,
    forgotten: bool,
}

impl Record {
    /// Opens the record of a request. On the heap, because it goes through many hands and is large.
    #[must_use]
    pub fn open(
        recorder: Arc<Recorder>,
        id: RequestId,
        host: Arc<str>,
        method: http::Method,
    ) -> Box<Self> {
        Box::new(Self {
            recorder,
            opened: Instant::now(),
            id,
            tenant: None,
            host,
            operation: Arc::default(),
            method,
            path: String::new(),
            template: Arc::default(),
            query_keys: Vec::new(),
            status: 0,
            outcome: Outcome::Cancelled,
            reason: None,
            token_kind: None,
            attempts: 0,
            bytes: Arc::default(),
            upstream: Duration::ZERO,
            paced: Duration::ZERO,
            head_ready: None,
            amzn_request_id: None,
            token_was_waiting: None,
            audited: false,
            trace: Trace::none(),
            forgotten: false,
        })
    }

    /// Writes nothing after all: what follows has records of its own.
    pub const fn forget(&mut self) {
        self.forgotten = true;
    }

    /// Begins the trace of this request, or continues that of the program.
    pub fn begin_trace(&mut self, parent: Option<Parent>) {
        self.trace = Trace::begin(parent, self.id, &self.host, &self.method);
    }

    /// The trace that it belongs to: ours, or else the program's own.
    #[must_use]
    pub const fn trace_id(&self) -> Option<TraceId> {
        self.trace.id()
    }

    /// Notes whether a usable token was in memory. The first word counts: later attempts replace a token that was refused.
    pub fn token_was_waiting(&mut self, waiting: bool) {
        self.token_was_waiting.get_or_insert(waiting);
    }

    /// Time since it was opened.
    #[must_use]
    pub fn elapsed(&self) -> Duration {
        self.opened.elapsed()
    }

    /// Notes that the response head is ready: what comes after is streaming.
    pub fn head_is_ready(&mut self) {
        self.head_ready = Some(self.opened.elapsed());
    }

    /// Time spent here: until the head was ready, without the waits for upstream and pacing.
    #[must_use]
    pub fn overhead(&self) -> Duration {
        self.head_ready
            .unwrap_or_else(|| self.opened.elapsed())
            .saturating_sub(self.upstream)
            .saturating_sub(self.paced)
    }

    const fn level(&self) -> &'static str {
        match self.outcome {
            Outcome::Failed => "warn",
            Outcome::Forwarded
            | Outcome::WouldRefuse
            | Outcome::Answered
            | Outcome::Refused
            | Outcome::Tunnelled
            | Outcome::Cancelled => "info",
        }
    }

    /// The line for people: what they look for first, and the id to find the rest by.
    fn write_pretty(&self, line: &mut Vec<u8>) {
        let (ts, level) = (humantime::format_rfc3339_micros(super::now()), self.level());
        let outcome = self.outcome.as_str();
        // writing to a Vec cannot fail
        let _infallible = write!(
            line,
            "{ts} {level:>5} {} {} {}{} {} {outcome}",
            self.tenant.as_ref().map_or("-", TenantId::as_str),
            self.method,
            self.host,
            self.path,
            self.status,
        );
        for (name, value) in [
            ("reason", self.reason.map(Reason::code)),
            ("token", self.token_kind),
            ("amzn_request_id", self.amzn_request_id.as_deref()),
        ] {
            if let Some(value) = value {
                let _infallible = write!(line, " {name}={value}");
            }
        }
        let (upstream, overhead) = (
            self.upstream.as_secs_f64() * 1e3,
            self.overhead().as_micros(),
        );
        let _infallible = write!(
            line,
            " upstream_ms={upstream:.1} overhead_us={overhead} request_id={}",
            self.id
        );
        if let Some(id) = self.trace_id() {
            let _infallible = write!(line, " trace_id={id}");
        }
    }

    fn write(&self, line: &mut Vec<u8>) {
        line.extend_from_slice(br#"{"ts":""#);
        moment(line, super::now());
        line.extend_from_slice(br#"","level":""#);
        line.extend_from_slice(self.level().as_bytes());
        line.extend_from_slice(br#"","request_id":""#);
        line.extend_from_slice(&self.id.digits());
        line.extend_from_slice(br#"","tenant":"#);
        text(line, self.tenant.as_ref().map(TenantId::as_str));
        line.extend_from_slice(br#","host":"#);
        text(line, Some(&self.host));
        line.extend_from_slice(br#","operation":"#);
        text(
            line,
            Some(&*self.operation).filter(|operation| !operation.is_empty()),
        );
        line.extend_from_slice(br#","method":"#);
        text(line, Some(self.method.as_str()));
        line.extend_from_slice(br#","path":"#);
        text(line, Some(&self.path));
        line.extend_from_slice(br#","query_keys":["#);
        for (n, key) in self.query_keys.iter().enumerate() {
            if n > 0 {
                line.push(b',');
            }
            text(line, Some(key));
        }
        line.extend_from_slice(br#"],"status":"#);
        number(line, self.status.into());
        line.extend_from_slice(br#","outcome":""#);
        line.extend_from_slice(self.outcome.as_str().as_bytes());
        line.extend_from_slice(br#"","reason":"#);
        text(line, self.reason.map(Reason::code));
        line.extend_from_slice(br#","token_kind":"#);
        text(line, self.token_kind);
        line.extend_from_slice(br#","attempts":"#);
        number(line, self.attempts.into());
        line.extend_from_slice(br#","bytes_in":"#);
        number(line, self.bytes.inward.load(Ordering::Relaxed));
        line.extend_from_slice(br#","bytes_out":"#);
        number(line, self.bytes.outward.load(Ordering::Relaxed));
        line.extend_from_slice(br#","upstream_ms":"#);
        milliseconds(line, self.upstream);
        line.extend_from_slice(br#","overhead_us":"#);
        number(line, micros(self.overhead()));
        line.extend_from_slice(br#","amzn_request_id":"#);
        text(line, self.amzn_request_id.as_deref());
        match self.trace_id() {
            Some(id) => {
                // writing to a Vec cannot fail
                let _infallible = write!(line, r#","trace_id":"{id}","release":"#);
            }
            None => line.extend_from_slice(br#","trace_id":null,"release":"#),
        }
        text(line, Some(&self.recorder.release));
        line.push(b'}');
    }
}

thread_local! {
    /// The second of the last line, since the epoch, and its text up to the seconds.
    static SECOND: Cell<(u64, [u8; 19])> = const { Cell::new((u64::MAX, [0; 19])) };
}

/// A moment in UTC to the microsecond, as RFC 3339 has it. The text of a second is kept: it costs more than all that follows it.
fn moment(line: &mut Vec<u8>, at: SystemTime) {
    let since = at
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default();
    let (mut second, mut text) = SECOND.get();
    if second != since.as_secs() {
        second = since.as_secs();
        // writing to a slice fails only where it ends: the `Z` is left out
        let _ends = write!(
            text.as_mut_slice(),
            "{}",
            humantime::format_rfc3339_seconds(at)
        );
        SECOND.set((second, text));
    }
    line.extend_from_slice(&text);
    line.push(b'.');
    places::<6>(line, since.subsec_micros().into());
    line.push(b'Z');
}

/// A number with this many digits, zeros before it.
fn places<const N: usize>(line: &mut Vec<u8>, number: u64) {
    let mut digits = [b'0'; N];
    let mut left = number;
    for digit in digits.iter_mut().rev() {
        *digit += u8::try_from(left % 10).unwrap_or_default();
        left /= 10;
    }
    line.extend_from_slice(&digits);
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

/// A number of milliseconds with three places, as 12.345.
fn milliseconds(line: &mut Vec<u8>, duration: Duration) {
    let micros = micros(duration);
    number(line, micros / 1000);
    line.push(b'.');
    places::<3>(line, micros % 1000);
}

/// A whole number. By hand, because every request writes six of them and the formatting machinery costs ten times as much.
fn number(line: &mut Vec<u8>, number: u64) {
    let mut digits = [b'0'; 20];
    let (mut left, mut first) = (number, digits.len());
    for digit in digits.iter_mut().rev() {
        *digit += u8::try_from(left % 10).unwrap_or_default();
        left /= 10;
        first -= 1;
        if left == 0 {
            break;
        }
    }
    line.extend_from_slice(digits.get(first..).unwrap_or_default());
}

/// A JSON string, or null.
fn text(line: &mut Vec<u8>, value: Option<&str>) {
    match value {
        // writing to a Vec cannot fail
        Some(value) => drop(serde_json::to_writer(line, value)),
        None => line.extend_from_slice(b"null"),
    }
}

impl Drop for Record {
    fn drop(&mut self) {
        if self.forgotten {
            return;
        }
        if let (Some(tenant), false) = (&self.tenant, self.template.is_empty()) {
            let kind = Kind {
                tenant: tenant.clone(),
                method: self.method.clone(),
                template: Arc::clone(&self.template),
            };
            self.recorder
                .traffic
                .note(kind, self.outcome, self.reason, super::now());
        }
        self.trace.end(&super::trace::End {
            tenant: self.tenant.as_ref(),
            operation: &self.operation,
            template: &self.template,
            method: &self.method,
            status: self.status,
            outcome: self.outcome,
            reason: self.reason,
            token_kind: self.token_kind,
            token_was_waiting: self.token_was_waiting,
            attempts: self.attempts,
        });
        self.recorder.events.note(&Event::Request(self));
        self.recorder.sink.line(|line| {
            if self.recorder.pretty {
                self.write_pretty(line);
            } else {
                self.write(line);
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_written_by_hand_read_as_the_standard_library_writes_them() {
        for n in [0, 7, 10, 99, 100, 12_345, u64::MAX] {
            let mut line = Vec::new();
            number(&mut line, n);
            assert_eq!(line, n.to_string().into_bytes());
            assert_eq!(
                RequestId(n).digits().to_vec(),
                RequestId(n).to_string().into_bytes()
            );
        }
        for (micros, want) in [
            (0, "0.000"),
            (7, "0.007"),
            (1_042, "1.042"),
            (98_765_432, "98765.432"),
        ] {
            let mut line = Vec::new();
            milliseconds(&mut line, Duration::from_micros(micros));
            assert_eq!(line, want.as_bytes());
        }
    }

    #[test]
    fn moments_of_one_second_and_of_others_read_as_the_library_writes_them() {
        for micros in [
            0,
            1,
            999_999,
            1_000_000,
            1_790_000_000_123_456,
            1_790_000_000_123_457,
            1_789_999_999_000_007,
        ] {
            let at = SystemTime::UNIX_EPOCH + Duration::from_micros(micros);
            let mut line = Vec::new();
            moment(&mut line, at);
            let want = humantime::format_rfc3339_micros(at).to_string();
            assert_eq!(line, want.as_bytes());
        }
    }
}
