//! What may leave: facts in, a verdict out.
//!
//! Job: decide on a host (egress) and on a method and path for a tenant (routes), from one compiled [`Policy`].
//! Invariants: pure, synchronous, total, no clock, no I/O; constant time in the number of routes; matching is on the
//! raw path, and what matched is what is forwarded. Deny is the default.
//! Failure mode: a [`Refusal`] that names the nearest operation and the lines that would allow it.

use std::sync::Arc;

use crate::config::{Config, EgressMode, Rdt, Tenant};
use crate::name::{Authority, Host};
use crate::outcome::Reason;

/// A compiled policy. Swapped whole by a reload.
#[derive(Debug)]
pub struct Policy {}

/// A refusal, with what the caller may read.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Refusal {
    /// The closed cause.
    pub reason: Reason,
    /// What happened.
    pub message: String,
    /// What to do about it.
    pub details: String,
}

/// The facts that the route policy decides on.
#[derive(Clone, Copy, Debug)]
pub struct Ask<'a> {
    /// Whose request.
    pub tenant: &'a Tenant,
    /// To which host.
    pub host: &'a Host,
    /// Method.
    pub method: &'a http::Method,
    /// Raw, percent-encoded path.
    pub path: &'a str,
    /// Raw query, without the question mark.
    pub query: Option<&'a str>,
}

/// A compiled route: what a request that matches it may have.
#[derive(Clone, PartialEq, Debug)]
pub struct Route {
    /// The catalog's operation id, or the template where the catalog does not know it: the `operation` of logs and metrics.
    pub operation: Arc<str>,
    /// The path template, with `{parameters}`.
    pub template: Arc<str>,
    /// Which token.
    pub credential: Credential,
    /// The restricted data token to swap in.
    pub rdt: Option<Rdt>,
    /// Whether answers can hold personal data (audit).
    pub restricted: bool,
}

/// Which kind of token a route takes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Credential {
    /// The tenant's own.
    Tenant,
    /// A client-credentials token of this scope.
    Grantless(Arc<str>),
}

/// What the route policy says.
#[derive(Clone, PartialEq, Debug)]
pub enum Verdict {
    /// Go ahead.
    Allow(Arc<Route>),
    /// Go ahead because the policy only reports; enforced, it would have been refused.
    WouldRefuse(Arc<Route>, Refusal),
    /// Stop.
    Refuse(Refusal),
}

impl Policy {
    /// Compiles a configuration.
    #[must_use]
    pub fn compile(_config: &Config) -> Self {
        unimplemented!()
    }

    /// What happens to a connection to this authority.
    ///
    /// # Errors
    /// [`Reason::EgressDenied`] where no rule names the host, [`Reason::PortDenied`] where the rule lacks the port.
    pub fn egress(&self, _authority: &Authority) -> Result<EgressMode, Refusal> {
        unimplemented!()
    }

    /// Whether this request may go.
    #[must_use]
    pub fn route(&self, _ask: &Ask<'_>) -> Verdict {
        unimplemented!()
    }

    /// Whether a restricted data token for this method and path (concrete or generic) and these elements is covered by a
    /// route, as the Tokens API would be asked for it.
    #[must_use]
    pub fn restricted_resource(
        &self,
        _tenant: &Tenant,
        _method: &http::Method,
        _path: &str,
        _elements: &[&str],
    ) -> Result<(), Refusal> {
        unimplemented!()
    }
}
