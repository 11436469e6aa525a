//! What may leave: facts in, a verdict out.
//!
//! Job: decide on a host (egress) and on a method and path for a tenant (routes), from one compiled [`Policy`].
//! Invariants: pure, synchronous, total, no clock, no I/O; constant time in the number of routes; matching is on the
//! raw path, and what matched is what is forwarded. Deny is the default.
//! Failure mode: a [`Refusal`] that names the nearest operation and the lines that would allow it.

use std::sync::Arc;

use crate::config::{Config, EgressMode, EgressRule, PolicyMode, Rdt, RouteRule, Tenant};
use crate::name::{Authority, Host};
use crate::outcome::{Failure, Reason};

mod body;
mod egress;
mod marketplace;
mod path;
mod rdt;
mod refusal;
mod region;
mod route;
mod suggestion;
#[cfg(test)]
mod tests;

pub use body::Body;
pub use region::{served_by, sp_api_host};

/// A compiled policy. Swapped whole by a reload.
#[derive(Debug)]
pub struct Policy {
    egress: egress::Egress,
    routes: route::Routes,
    mode: PolicyMode,
}

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
    /// Whether the JSON body names marketplaces, so that it has to be read before the request may go.
    pub marketplaces_in_body: bool,
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

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Self {
        Self::new(refusal.reason, refusal.message, refusal.details)
    }
}

impl Policy {
    /// Compiles a configuration.
    #[must_use]
    pub fn compile(config: &Config) -> Self {
        Self::of(&config.egress, &config.routes, config.policy)
    }

    /// Compiles rules that stand alone, as those of a break-glass do. Of two egress rules for one host, and of two routes
    /// of one shape, the first counts.
    #[must_use]
    pub fn of(egress: &[EgressRule], routes: &[RouteRule], mode: PolicyMode) -> Self {
        Self {
            egress: egress::Egress::compile(egress),
            routes: route::Routes::compile(routes),
            mode,
        }
    }

    /// Whether refusals of the route policy are carried out.
    #[must_use]
    pub const fn mode(&self) -> PolicyMode {
        self.mode
    }

    /// What happens to a connection to this authority. The first rule that names the host decides, ports included.
    ///
    /// # Errors
    /// [`Reason::EgressDenied`] where no rule names the host, [`Reason::PortDenied`] where the rule lacks the port.
    pub fn egress(&self, authority: &Authority) -> Result<EgressMode, Refusal> {
        self.egress.decide(authority)
    }

    /// Whether this request may go. An ambiguous path may not, even where the policy only reports.
    #[must_use]
    pub fn route(&self, ask: &Ask<'_>) -> Verdict {
        let denied = match self.routes.decide(ask) {
            Ok(route) => return Verdict::Allow(route),
            Err(denied) => denied,
        };
        if self.mode == PolicyMode::Enforce || denied.refusal.reason == Reason::PathAmbiguous {
            return Verdict::Refuse(denied.refusal);
        }
        let route = denied
            .route
            .unwrap_or_else(|| Arc::new(route::unlisted(ask)));
        Verdict::WouldRefuse(route, denied.refusal)
    }

    /// Whether a host is the tenant's: of SP-API's own hosts the one of its region and environment, or any other.
    ///
    /// # Errors
    /// [`Reason::RegionDenied`].
    pub fn region(&self, tenant: &Tenant, host: &Host) -> Result<(), Refusal> {
        region::check(tenant, host)
    }

    /// Whether a JSON body names the tenant's marketplaces alone, where the route says that it names any.
    ///
    /// # Errors
    /// [`Reason::MarketplaceDenied`].
    pub fn body(&self, tenant: &Tenant, body: &Body) -> Result<(), Refusal> {
        if marketplace::are_allowed_in(body, &tenant.marketplaces) {
            Ok(())
        } else {
            Err(refusal::marketplace_denied(tenant))
        }
    }

    /// Whether a restricted data token for this method and path (concrete or generic) and these elements is covered by a
    /// route, as the Tokens API would be asked for it. The answer is the same in every [`Policy::mode`].
    ///
    /// # Errors
    /// [`Reason::RdtDenied`].
    pub fn restricted_resource(
        &self,
        tenant: &Tenant,
        method: &http::Method,
        path: &str,
        elements: &[&str],
    ) -> Result<(), Refusal> {
        rdt::covers(&self.routes, tenant, method, path, elements)
    }
}
