//! The spans of a request: one for the whole, one for each step of the walk.
//!
//! Job: make them where traces are wanted, continue the trace of the program, say how the request ended.
//! Invariants: where no collector is configured no span is made: what is left is one look at a flag; a span holds ids,
//! templates, closed words and numbers, never a path, a query, a field or a body; nothing is added to what goes upstream, so
//! that a program's own `traceparent` arrives as it was sent and none arrives where it sent none.
//! Failure mode: none.
//! Sources: OpenTelemetry's semantic conventions for HTTP spans; W3C Trace Context.

use opentelemetry::Context;
use opentelemetry::trace::{SpanContext, TraceContextExt as _, TraceFlags, TraceState};
use tracing::Span;
use tracing::field::Empty;
use tracing_opentelemetry::OpenTelemetrySpanExt as _;

use super::record::{Outcome, RequestId};
use super::w3c::{Parent, TraceId};
use crate::outcome::Reason;
use crate::tenant::TenantId;

/// What the spans of the walk are told by, see [`super::is_wanted`].
pub(super) const TARGET: &str = "spapi_sidecar::walk";

/// A step of the walk.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Step {
    /// Target, Host and SNI agree; whose request it is, and whether they are served.
    Admit,
    /// Policy speaks.
    Authorize,
    /// Held back on purpose: until there is a place in the quota, and after a 429.
    Pace,
    /// A token is found or waited for.
    Credential,
    /// The token is put into the head.
    Inject,
    /// Until upstream's head is there.
    Send,
    /// Until the last byte has gone back.
    Return,
}

impl Step {
    /// Begins the step, as a part of the request whose span is entered.
    #[must_use]
    pub fn span(self) -> Span {
        macro_rules! step {
            ($name:literal $($field:tt)*) => {
                tracing::info_span!(target: TARGET, $name $($field)*)
            };
        }
        match self {
            Self::Admit => step!("admit"),
            Self::Authorize => step!("authorize"),
            Self::Pace => step!("pace"),
            Self::Credential => step!("credential"),
            Self::Inject => step!("inject"),
            Self::Send => {
                step!(
                    "send",
                    otel.kind = "client",
                    http.response.status_code = Empty
                )
            }
            Self::Return => step!("return"),
        }
    }
}

/// Notes the status of an answer on the span of the step that got it.
pub fn note_status(span: &Span, status: u16) {
    span.record("http.response.status_code", i64::from(status));
}

/// The spans of one request that outlive the walk.
#[derive(Debug)]
pub struct Trace {
    // before the request's own, which it is a part of
    returning: Span,
    request: Span,
    id: Option<TraceId>,
}

/// How a request ended, for its span.
#[derive(Debug)]
pub(super) struct End<'a> {
    pub(super) tenant: Option<&'a TenantId>,
    pub(super) operation: &'a str,
    pub(super) template: &'a str,
    pub(super) method: &'a http::Method,
    pub(super) status: u16,
    pub(super) outcome: Outcome,
    pub(super) reason: Option<Reason>,
    pub(super) token_kind: Option<&'static str>,
    pub(super) token_was_waiting: Option<bool>,
    pub(super) attempts: u32,
}

impl Trace {
    /// No trace.
    pub(super) const fn none() -> Self {
        Self {
            returning: Span::none(),
            request: Span::none(),
            id: None,
        }
    }

    pub(super) fn begin(
        parent: Option<Parent>,
        id: RequestId,
        host: &str,
        method: &http::Method,
    ) -> Self {
        let request = tracing::info_span!(
            target: TARGET,
            parent: None,
            "request",
            otel.kind = "server",
            otel.status_code = Empty,
            http.request.method = method.as_str(),
            http.route = Empty,
            http.response.status_code = Empty,
            http.request.resend_count = Empty,
            server.address = host,
            error.r#type = Empty,
            proxy.request_id = %id,
            proxy.tenant = Empty,
            proxy.rule = Empty,
            proxy.decision = Empty,
            proxy.token_kind = Empty,
            proxy.token_was_waiting = Empty,
        );
        if request.is_disabled() {
            return Self {
                id: parent.map(|parent| parent.trace),
                ..Self::none()
            };
        }
        if let Some(parent) = parent {
            // fails where no trace is made of this span, and then there is nothing to continue
            let _continued = request.set_parent(remote(parent));
        }
        let trace = request.context().span().span_context().trace_id();
        Self {
            returning: Span::none(),
            request,
            id: TraceId::new(trace.to_bytes()),
        }
    }

    /// The trace that the request belongs to.
    #[must_use]
    pub const fn id(&self) -> Option<TraceId> {
        self.id
    }

    /// The request's own span.
    #[must_use]
    pub const fn request(&self) -> &Span {
        &self.request
    }

    /// Begins the last step, which ends with the request.
    pub fn returns(&mut self) {
        if !self.request.is_disabled() {
            self.returning = self.request.in_scope(|| Step::Return.span());
        }
    }

    /// Says how it ended.
    pub(super) fn end(&mut self, end: &End<'_>) {
        if self.request.is_disabled() {
            return;
        }
        self.returning = Span::none();
        let span = &self.request;
        if let Some(tenant) = end.tenant {
            span.record("proxy.tenant", tenant.as_str());
        }
        if !end.template.is_empty() {
            span.record("http.route", end.template);
            let name = format!("{} {}", end.method, end.template);
            span.context().span().update_name(name);
        }
        if !end.operation.is_empty() {
            span.record("proxy.rule", end.operation);
        }
        span.record("proxy.decision", end.outcome.as_str());
        span.record("http.response.status_code", i64::from(end.status));
        if end.attempts > 1 {
            span.record("http.request.resend_count", i64::from(end.attempts) - 1);
        }
        if let Some(kind) = end.token_kind {
            span.record("proxy.token_kind", kind);
        }
        if let Some(waiting) = end.token_was_waiting {
            span.record("proxy.token_was_waiting", waiting);
        }
        if let Some(reason) = end.reason {
            span.record("error.type", reason.code());
        }
        if end.outcome == Outcome::Failed || end.status >= 500 {
            span.record("otel.status_code", "ERROR");
        }
        // a span ends when it was last left
        span.in_scope(|| ());
    }
}

/// The program's span, as a parent of ours.
fn remote(parent: Parent) -> Context {
    let flags = if parent.sampled {
        TraceFlags::SAMPLED
    } else {
        TraceFlags::default()
    };
    let context = SpanContext::new(
        opentelemetry::TraceId::from_bytes(parent.trace.bytes()),
        opentelemetry::SpanId::from_bytes(parent.span),
        flags,
        true,
        TraceState::NONE,
    );
    Context::new().with_remote_span_context(context)
}
