//! The only mapping from failure to HTTP answer.
//!
//! Job: a [`Failure`] becomes a status, SP-API's own error shape, and the fields that name the cause.
//! Invariants: every answer made here carries `x-spapi-sidecar-error`, `Proxy-Status` and the request id; its body always has
//! an `errors` array (SDKs take a 403 without one for success) and never says that an access token has expired (one SDK
//! then loops for ever); what is in [`Failure::source`] goes to the log alone.
//! Sources: CONTRACT section 2.12; RFC 9209; RFC 9110 sections 10.2.3 (Retry-After) and 11.7.1 (Proxy-Authenticate).

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, header};
use serde::Serialize;

use super::answer::{AnswerBody, Content};
use super::pulse::Serving;
use crate::outcome::{Failure, Reason};
use crate::store::StoreError;
use crate::telemetry::record::{Outcome, Record, RequestId};
use crate::token::{Cause, TokenFailure};
use crate::upstream::SendError;

/// Names the code of an answer made here.
pub const ERROR_FIELD: HeaderName = HeaderName::from_static("x-spapi-sidecar-error");
/// Names the request, in every answer.
pub const REQUEST_ID_FIELD: HeaderName = HeaderName::from_static("x-spapi-sidecar-request-id");
const PROXY_STATUS: HeaderName = HeaderName::from_static("proxy-status");

/// The status of a reason, by the table of the contract.
#[must_use]
pub const fn status(reason: Reason) -> StatusCode {
    match reason {
        Reason::EgressDenied
        | Reason::PortDenied
        | Reason::AddressDenied
        | Reason::DocumentDenied
        | Reason::ProxyLoop
        | Reason::TenantUnknown
        | Reason::TenantMismatch
        | Reason::PlaintextDenied
        | Reason::RouteDenied
        | Reason::ScopeDenied
        | Reason::RegionDenied
        | Reason::MarketplaceDenied
        | Reason::RdtDenied
        | Reason::TokenRefused
        | Reason::TenantKilled => StatusCode::FORBIDDEN,
        Reason::ProxyAuthRequired | Reason::ProxyAuthFailed => {
            StatusCode::PROXY_AUTHENTICATION_REQUIRED
        }
        Reason::NameMismatch => StatusCode::MISDIRECTED_REQUEST,
        Reason::PathAmbiguous | Reason::BadRequest => StatusCode::BAD_REQUEST,
        Reason::HeaderTooLarge => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
        Reason::TenantQuarantined
        | Reason::TokenUnavailable
        | Reason::RdtUnavailable
        | Reason::Overloaded
        | Reason::AuditUnavailable => StatusCode::SERVICE_UNAVAILABLE,
        Reason::UpstreamUnreachable | Reason::UpstreamTls => StatusCode::BAD_GATEWAY,
        Reason::UpstreamTimeout => StatusCode::GATEWAY_TIMEOUT,
        Reason::Throttled => StatusCode::TOO_MANY_REQUESTS,
    }
}

/// Whether a reason is policy's word (a refusal) or something that broke (a failure).
const fn is_refusal(reason: Reason) -> bool {
    match reason {
        Reason::TokenUnavailable
        | Reason::RdtUnavailable
        | Reason::UpstreamUnreachable
        | Reason::UpstreamTls
        | Reason::UpstreamTimeout
        | Reason::Overloaded
        | Reason::AuditUnavailable
        | Reason::TokenRefused => false,
        Reason::EgressDenied
        | Reason::PortDenied
        | Reason::AddressDenied
        | Reason::DocumentDenied
        | Reason::ProxyLoop
        | Reason::ProxyAuthRequired
        | Reason::ProxyAuthFailed
        | Reason::TenantUnknown
        | Reason::TenantMismatch
        | Reason::NameMismatch
        | Reason::PlaintextDenied
        | Reason::PathAmbiguous
        | Reason::BadRequest
        | Reason::RouteDenied
        | Reason::ScopeDenied
        | Reason::RegionDenied
        | Reason::MarketplaceDenied
        | Reason::RdtDenied
        | Reason::HeaderTooLarge
        | Reason::TenantKilled
        | Reason::TenantQuarantined
        | Reason::Throttled => true,
    }
}

/// A head and a body made here.
#[derive(Debug)]
pub struct Local {
    /// Status.
    pub status: StatusCode,
    /// Fields beyond those that every answer carries.
    pub fields: HeaderMap,
    /// Body.
    pub body: Bytes,
}

/// Turns a failure into an answer and notes it in the record.
#[must_use]
pub fn refuse(failure: &Failure, record: &mut Record) -> Local {
    let status = status(failure.reason);
    record.reason = Some(failure.reason);
    record.outcome = if is_refusal(failure.reason) {
        Outcome::Refused
    } else {
        Outcome::Failed
    };
    if let Some(source) = &failure.source {
        tracing::warn!(request_id = %record.id, reason = failure.reason.code(), error = &**source as &(dyn std::error::Error + 'static), "{}", failure.message);
    }
    let mut fields = HeaderMap::with_capacity(8);
    fields.insert(ERROR_FIELD, HeaderValue::from_static(failure.reason.code()));
    fields.insert(PROXY_STATUS, proxy_status(failure.reason));
    if let Some(seconds) = failure.retry_after {
        fields.insert(header::RETRY_AFTER, seconds.into());
    }
    if failure.closes {
        fields.insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    if status == StatusCode::PROXY_AUTHENTICATION_REQUIRED {
        fields.insert(
            header::PROXY_AUTHENTICATE,
            HeaderValue::from_static(r#"Basic realm="spapi-sidecar", charset="UTF-8""#),
        );
    }
    fields.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("application/json"),
    );
    let entry = Entry {
        code: failure.reason.code(),
        message: &failure.message,
        details: &failure.details,
    };
    let body = serde_json::to_vec(&Errors { errors: [entry] }).unwrap_or_default();
    Local {
        status,
        fields,
        body: body.into(),
    }
}

/// SP-API's own error shape, which SDKs parse.
#[derive(Serialize)]
struct Errors<'a> {
    errors: [Entry<'a>; 1],
}

#[derive(Serialize)]
struct Entry<'a> {
    code: &'static str,
    message: &'a str,
    details: &'a str,
}

fn proxy_status(reason: Reason) -> HeaderValue {
    let text = format!(
        r#"spapi-sidecar; error={}; details="{}""#,
        reason.proxy_status(),
        reason.code()
    );
    HeaderValue::from_str(&text).expect("both parts are constants of visible ASCII")
}

/// Adds the request id to an answer's fields.
pub fn stamp(fields: &mut HeaderMap, id: RequestId) {
    let id = HeaderValue::from_bytes(&id.digits()).expect("hexadecimal digits are visible ASCII");
    fields.insert(REQUEST_ID_FIELD, id);
}

/// Completes an answer that was made here.
#[must_use]
pub fn local(
    answer: Local,
    mut record: Box<Record>,
    serving: Option<Serving>,
) -> Response<AnswerBody> {
    record.status = answer.status.as_u16();
    record.head_is_ready();
    let mut fields = answer.fields;
    stamp(&mut fields, record.id);
    let body = AnswerBody::new(
        Content::Local(Some(answer.body).filter(|body| !body.is_empty())),
        None,
        record,
        serving,
    );
    let mut response = Response::new(body);
    *response.status_mut() = answer.status;
    *response.headers_mut() = fields;
    response
}

/// The bytes of an answer that was made here where there is no request to answer; the connection closes after it.
#[must_use]
pub fn as_text(answer: Local, mut record: Box<Record>) -> Bytes {
    record.status = answer.status.as_u16();
    record.head_is_ready();
    record.bytes.outward.fetch_add(
        u64::try_from(answer.body.len()).unwrap_or(u64::MAX),
        std::sync::atomic::Ordering::Relaxed,
    );
    let mut fields = answer.fields;
    stamp(&mut fields, record.id);
    fields.insert(header::CONTENT_LENGTH, answer.body.len().into());
    fields.insert(header::CONNECTION, HeaderValue::from_static("close"));
    let mut text = format!("HTTP/1.1 {}\r\n", answer.status).into_bytes();
    for (name, value) in &fields {
        text.extend_from_slice(name.as_str().as_bytes());
        text.extend_from_slice(b": ");
        text.extend_from_slice(value.as_bytes());
        text.extend_from_slice(b"\r\n");
    }
    text.extend_from_slice(b"\r\n");
    text.extend_from_slice(&answer.body);
    text.into()
}

/// What a client is told when there is no token.
#[must_use]
pub fn no_token(reason: Reason, failure: TokenFailure) -> Failure {
    let seconds = failure.retry_in.as_secs().max(1);
    let what = match &failure.cause {
        Cause::Store(error) => format!("store: {}", store_words(error)),
        Cause::NoGrant(_)
        | Cause::NoApp(_)
        | Cause::Unreachable(_)
        | Cause::GrantRevoked
        | Cause::ClientRefused(_)
        | Cause::Refused(_)
        | Cause::Nonsense(_)
        | Cause::RestrictedRefused(_)
        | Cause::RestrictedThrottled
        | Cause::AccessRefused
        | Cause::Interrupted
        | Cause::Shared(_) => failure.cause.to_string(),
    };
    let message = if reason == Reason::RdtUnavailable {
        "No restricted data token can be had now, and the call needs one."
    } else {
        "No usable token can be had for this tenant now; nothing was sent."
    };
    Failure::new(
        reason,
        message,
        format!("{what}. To do: {}", failure.cause.remedy()),
    )
    .retry_after(seconds)
    .caused_by(failure)
}

const fn store_words(error: &StoreError) -> &'static str {
    match error {
        StoreError::Conflict(_) => "another writer was first",
        StoreError::Denied(_) => "it denies access",
        StoreError::Throttled(_) => "it is rate-limiting",
        StoreError::Sealed(_) => "it is sealed",
        StoreError::NotLeader(_) => "it has no active node",
        StoreError::Timeout(_) => "it did not answer in time",
        StoreError::Unavailable(_) => "it cannot be reached",
        StoreError::Protocol(_) => "its answer makes no sense",
        StoreError::Local(_) => "what it holds for this tenant or app is not usable",
    }
}

/// What a client is told when upstream did not answer.
#[must_use]
pub fn not_sent(error: SendError, host: &str) -> Failure {
    let (reason, message, details) = match &error {
        SendError::AddressDenied(class) => (
            Reason::AddressDenied,
            format!("{host} resolves to an address that is never dialled ({}).", class.as_str()),
            "Private and special addresses are refused so that a name cannot lead inside. Where this is meant, name the address in upstream.connect_to.".to_owned(),
        ),
        SendError::OwnListener => (Reason::ProxyLoop, format!("{host} leads back to the sidecar itself."), "Check upstream.connect_to and, with hostAliases, set upstream.resolver: dns.".to_owned()),
        SendError::Resolve(_) => (Reason::UpstreamUnreachable, format!("{host} does not resolve."), "Check DNS where the sidecar runs.".to_owned()),
        SendError::Exhausted(_) => (
            Reason::Overloaded,
            format!("No connection to {host}: no file descriptor is left where the sidecar runs."),
            "Nothing was sent. Raise the limit (LimitNOFILE=, ulimit -n) to two for each connection of listen.limits.max_connections and a few more.".to_owned(),
        ),
        SendError::Connect(_) => (Reason::UpstreamUnreachable, format!("No connection to {host}."), "Check the network, the firewall and upstream.proxy where the sidecar runs; nothing was sent.".to_owned()),
        SendError::Tls(_) => (
            Reason::UpstreamTls,
            format!("The TLS handshake with {host} failed."),
            "The certificate was not acceptable or no common parameters were found; nothing was sent. See the sidecar's log, upstream.trust and upstream.pins.".to_owned(),
        ),
        SendError::ResponseTimeout => (
            Reason::UpstreamTimeout,
            format!("{host} did not answer in time."),
            "The request was sent and may have been carried out: check before repeating it. The bound is upstream.response_timeout.".to_owned(),
        ),
        SendError::Broken(_) => (
            Reason::UpstreamUnreachable,
            format!("{host} closed the connection without an answer."),
            "The request may have been carried out: check before repeating it.".to_owned(),
        ),
        SendError::TurnedAway(_) => (
            Reason::UpstreamUnreachable,
            format!("{host} turns requests away: it refused this one, or closed each connection as it came."),
            "The request was not carried out: it can be repeated.".to_owned(),
        ),
        SendError::Body(_) => (Reason::BadRequest, "The request body ended before it was whole.".to_owned(), "The upload was cut off on the client's side.".to_owned()),
    };
    Failure::new(reason, message, details).caused_by(error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_troubles_of_the_store_read_alike() {
        let text = String::new;
        let all = [
            StoreError::Conflict(text()),
            StoreError::Denied(text()),
            StoreError::Throttled(text()),
            StoreError::Sealed(text()),
            StoreError::NotLeader(text()),
            StoreError::Timeout(text()),
            StoreError::Unavailable(text()),
            StoreError::Protocol(text()),
            StoreError::Local(text()),
        ];
        for of in [store_words, StoreError::cause, StoreError::remedy] {
            let distinct: std::collections::BTreeSet<_> = all.iter().map(of).collect();
            assert_eq!(distinct.len(), all.len(), "{distinct:?}");
        }
    }

    #[test]
    fn every_reason_has_the_status_of_the_contract() {
        for (code, want) in [
            ("egress_denied", 403),
            ("port_denied", 403),
            ("address_denied", 403),
            ("document_denied", 403),
            ("proxy_loop", 403),
            ("tenant_killed", 403),
            ("proxy_auth_required", 407),
            ("proxy_auth_failed", 407),
            ("tenant_quarantined", 503),
            ("tenant_unknown", 403),
            ("tenant_mismatch", 403),
            ("token_unavailable", 503),
            ("name_mismatch", 421),
            ("rdt_unavailable", 503),
            ("plaintext_denied", 403),
            ("upstream_unreachable", 502),
            ("upstream_tls", 502),
            ("path_ambiguous", 400),
            ("bad_request", 400),
            ("upstream_timeout", 504),
            ("route_denied", 403),
            ("scope_denied", 403),
            ("region_denied", 403),
            ("marketplace_denied", 403),
            ("rdt_denied", 403),
            ("throttled", 429),
            ("header_too_large", 431),
            ("overloaded", 503),
            ("token_refused", 403),
            ("audit_unavailable", 503),
        ] {
            let reason = Reason::ALL
                .iter()
                .find(|reason| reason.code() == code)
                .unwrap();
            assert_eq!(status(*reason).as_u16(), want, "{code}");
        }
        assert_eq!(Reason::ALL.len(), 30);
    }
}
