//! How things end: the closed list of reasons, and the failure that carries one.
//!
//! Job: one constant string for each cause, the same in the answer, the log and the metric label.
//! Invariants: a [`Reason`] holds no data; what a client may read (`detail`) and what only the log may hold
//! (`source`) are two texts. No secret enters either: rooms describe, they never quote.
//! Failure mode: none; this is the vocabulary of failure.
//! Sources: CONTRACT table of codes; RFC 9209 section 2.3 for the Proxy-Status error types.

use std::error::Error as StdError;
use std::fmt;

macro_rules! reasons {
    ($($(#[$doc:meta])* $name:ident => $code:literal, $proxy_status:literal;)+) => {
        /// Why a request was answered here instead of by the origin.
        #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
        pub enum Reason {
            $($(#[$doc])* $name,)+
        }

        impl Reason {
            /// Every reason, for tables and tests.
            pub const ALL: &[Self] = &[$(Self::$name,)+];

            /// The stable code of the error body, the log and the metric label.
            #[must_use]
            pub const fn code(self) -> &'static str {
                match self { $(Self::$name => $code,)+ }
            }

            /// The Proxy-Status error type (RFC 9209 section 2.3) that fits best.
            #[must_use]
            pub const fn proxy_status(self) -> &'static str {
                match self { $(Self::$name => $proxy_status,)+ }
            }
        }
    };
}

reasons! {
    /// No egress rule names the host.
    EgressDenied => "egress_denied", "http_request_denied";
    /// The rule does not name the port.
    PortDenied => "port_denied", "http_request_denied";
    /// The name resolves to an address that is never dialled.
    AddressDenied => "address_denied", "destination_ip_prohibited";
    /// A document URL that SP-API did not hand to this tenant, or that has expired.
    DocumentDenied => "document_denied", "http_request_denied";
    /// The request carries our own Via mark, or would reach our own listener.
    ProxyLoop => "proxy_loop", "proxy_loop_detected";
    /// No proxy login where one is required.
    ProxyAuthRequired => "proxy_auth_required", "http_request_denied";
    /// An unreadable or wrong proxy login.
    ProxyAuthFailed => "proxy_auth_failed", "http_request_denied";
    /// Nothing says whose request this is, or the tenant named does not exist.
    TenantUnknown => "tenant_unknown", "http_request_denied";
    /// The proxy login and the phantom token name two tenants.
    TenantMismatch => "tenant_mismatch", "http_request_denied";
    /// SNI, Host or :authority differ from the CONNECT host.
    NameMismatch => "name_mismatch", "http_request_denied";
    /// Plain HTTP where TLS is needed.
    PlaintextDenied => "plaintext_denied", "http_request_denied";
    /// A path that two readers could take for two routes.
    PathAmbiguous => "path_ambiguous", "http_request_error";
    /// A request that is not well formed.
    BadRequest => "bad_request", "http_request_error";
    /// No route names the method and path.
    RouteDenied => "route_denied", "http_request_denied";
    /// The tenant's grant lacks the route's scope.
    ScopeDenied => "scope_denied", "http_request_denied";
    /// The host is not the tenant's region or environment.
    RegionDenied => "region_denied", "http_request_denied";
    /// A marketplace that is not the tenant's.
    MarketplaceDenied => "marketplace_denied", "http_request_denied";
    /// A restricted data token was asked for more than the routes allow.
    RdtDenied => "rdt_denied", "http_request_denied";
    /// The request head is larger than the bound.
    HeaderTooLarge => "header_too_large", "http_request_error";
    /// Amazon refuses a fresh token.
    TokenRefused => "token_refused", "http_request_denied";
    /// The tenant was switched off by a person.
    TenantKilled => "tenant_killed", "http_request_denied";
    /// The tenant is set aside until its cause is mended.
    TenantQuarantined => "tenant_quarantined", "http_request_denied";
    /// No usable token: the details name the cause.
    TokenUnavailable => "token_unavailable", "proxy_internal_error";
    /// No usable restricted data token.
    RdtUnavailable => "rdt_unavailable", "proxy_internal_error";
    /// The origin could not be reached.
    UpstreamUnreachable => "upstream_unreachable", "destination_unavailable";
    /// The origin's certificate or handshake was not acceptable.
    UpstreamTls => "upstream_tls", "tls_certificate_error";
    /// The origin did not answer in time.
    UpstreamTimeout => "upstream_timeout", "http_response_timeout";
    /// The request could not be paced within the bound.
    Throttled => "throttled", "http_request_denied";
    /// More work than can be served.
    Overloaded => "overloaded", "proxy_internal_response";
    /// A call that has to be audited and cannot be.
    AuditUnavailable => "audit_unavailable", "proxy_internal_error";
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

/// What an answer of SP-API that refuses a request says about the authorization (SP-API facts, section 4).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Denial {
    /// 401: the token was not taken.
    Unauthenticated,
    /// 403 that says that there was no token: it went out in a field that SP-API does not read (`inject.headers`).
    TokenMissing,
    /// 403 whose details say that the access token has expired.
    TokenExpired,
    /// 403 whose details say that the access token is revoked, malformed or invalid.
    TokenInvalid,
    /// 403 whose details say that the app's client secret has expired: no exchange helps.
    SecretLapsed,
    /// 403 without a word of the token, to a call that the catalog knows and with the kind of token that it takes: a missing
    /// role.
    Role,
    /// The same, with another kind of token than the operation takes (grantless, the tenant's own, or restricted).
    WrongKind,
    /// The same, to a path that no operation of the catalog has: SP-API says 403 where others say 404.
    UnknownPath,
    /// 403 that says that the resource is forbidden: a restricted report type without its role.
    Forbidden,
    /// The same soon after a 429 to the same operation: throttling in disguise.
    ThrottledAsForbidden,
    /// 403 about a marketplace of another region.
    Region,
    /// 403 with SPSA2043 or words of a vendor group: it is not linked to the application.
    VendorLink,
    /// 400 to a request for a restricted data token: the app may not have the data elements.
    DataElements,
    /// 429.
    Throttled,
}

impl Denial {
    /// One constant word for logs, metrics and verdicts.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unauthenticated => "unauthenticated",
            Self::TokenMissing => "token_missing",
            Self::TokenExpired => "token_expired",
            Self::TokenInvalid => "token_invalid",
            Self::SecretLapsed => "secret_lapsed",
            Self::Role => "role_missing",
            Self::WrongKind => "wrong_token_kind",
            Self::UnknownPath => "unknown_path",
            Self::Forbidden => "forbidden",
            Self::ThrottledAsForbidden => "throttled_as_forbidden",
            Self::Region => "wrong_region",
            Self::VendorLink => "vendor_link_broken",
            Self::DataElements => "data_elements_denied",
            Self::Throttled => "throttled",
        }
    }
}

/// A refusal or a fault on the walk: the reason, what the client may read, and what only the log may hold.
#[derive(Debug)]
pub struct Failure {
    /// The closed cause.
    pub reason: Reason,
    /// What happened, in one sentence for the caller. Holds no secret and no upstream text.
    pub message: String,
    /// What to do about it, in one or two sentences for the caller.
    pub details: String,
    /// Seconds for `Retry-After`, where waiting helps.
    pub retry_after: Option<u64>,
    /// Whether nothing that follows on the connection can be trusted any more.
    pub closes: bool,
    /// The cause chain, for the log alone.
    pub source: Option<Box<dyn StdError + Send + Sync>>,
}

impl Failure {
    /// A failure that a caller can read and act on.
    #[must_use]
    pub fn new(reason: Reason, message: impl Into<String>, details: impl Into<String>) -> Self {
        Self {
            reason,
            message: message.into(),
            details: details.into(),
            retry_after: None,
            closes: false,
            source: None,
        }
    }

    /// Adds the cause chain for the log.
    #[must_use]
    pub fn caused_by(mut self, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// Adds `Retry-After`, in seconds.
    #[must_use]
    pub const fn retry_after(mut self, seconds: u64) -> Self {
        self.retry_after = Some(seconds);
        self
    }

    /// Says that the connection cannot be used after this.
    #[must_use]
    pub const fn closing(mut self) -> Self {
        self.closes = true;
        self
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.reason, self.message)
    }
}

impl StdError for Failure {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.source
            .as_deref()
            .map(|source| source as &(dyn StdError + 'static))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_has_a_code_of_its_own() {
        let mut codes: Vec<_> = Reason::ALL.iter().map(|r| r.code()).collect();
        codes.sort_unstable();
        codes.dedup();
        assert_eq!(codes.len(), Reason::ALL.len());
    }
}
