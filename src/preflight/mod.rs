//! The checks before a tenant is enabled.
//!
//! Job: ask everything that a tenant's calls will rest on, and say of each whether it holds and what mends it.
//! Invariants: asking changes nothing at Amazon and hands nothing out: what is called are GETs, and RDTs that are dropped; no
//! check is stopped by another that it does not rest on, and one that rests on a failed one is skipped and says on which; where
//! one cause explains several refusals, its own row fails and theirs are skipped. No text holds a token or a secret.
//! Failure mode: none; what goes wrong is a row.
//! Sources: SP-API facts, sections 3 to 7.
//!
//! As JSON (`spapi-sidecar preflight --json`), one object:
//! `{checked_at, rehearsal, passed, tenants: [{id, passed, checks: [{family, name, subject, outcome, found, remedy}]}]}`.
//! `outcome` is `pass`, `warn`, `fail` or `skip`; `remedy` is empty where there is nothing to do; `family` and `name` are fixed
//! words, `subject` is the host, scope, route or place that the row is about, and empty where there is but one.

use std::sync::Arc;

use serde_json::{Value, json};

use crate::config::{Config, Tenant};
use crate::name::Authority;
use crate::policy::sp_api_host;
use crate::store::GrantStore;
use crate::token::TokenSource;
use crate::token::exchange::Lwa;
use crate::upstream::dial::Dialer;

use self::clock::Timekeeper;

mod calls;
pub mod clock;
mod dates;
mod exchange;
mod marketplace;
mod network;
mod probe;
mod refused;
mod store;

/// What came of a check.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// It holds.
    Pass,
    /// It holds, and something should be done; or it does not, and no call rests on it.
    Warn,
    /// It does not hold.
    Fail,
    /// It could not be asked.
    Skip,
}

impl Outcome {
    /// The word in tables and answers.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::Warn => "warn",
            Self::Fail => "fail",
            Self::Skip => "skip",
        }
    }
}

/// One row.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Check {
    /// Which family of checks.
    pub family: &'static str,
    /// What was looked at.
    pub name: &'static str,
    /// The host, scope, route or place it is about; empty where there is but one.
    pub subject: String,
    /// What came of it.
    pub outcome: Outcome,
    /// What was found.
    pub found: String,
    /// What to do; empty where there is nothing.
    pub remedy: String,
}

impl Check {
    fn new(at: (&'static str, &'static str), outcome: Outcome, found: String) -> Self {
        Self {
            family: at.0,
            name: at.1,
            subject: String::new(),
            outcome,
            found,
            remedy: String::new(),
        }
    }

    fn pass(at: (&'static str, &'static str), found: impl Into<String>) -> Self {
        Self::new(at, Outcome::Pass, found.into())
    }

    fn skip(at: (&'static str, &'static str), why: impl Into<String>) -> Self {
        Self::new(at, Outcome::Skip, why.into())
    }

    fn warn(
        at: (&'static str, &'static str),
        found: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Self {
        let check = Self::new(at, Outcome::Warn, found.into());
        Self {
            remedy: remedy.into(),
            ..check
        }
    }

    fn fail(
        at: (&'static str, &'static str),
        found: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Self {
        Self {
            outcome: Outcome::Fail,
            ..Self::warn(at, found, remedy)
        }
    }

    fn about(self, subject: impl Into<String>) -> Self {
        Self {
            subject: subject.into(),
            ..self
        }
    }

    /// The row of a pass that is written down for the fleet, or could not be.
    #[must_use]
    pub fn recorded(written: Result<String, String>) -> Self {
        let at = ("record", "passed");
        match written {
            Ok(found) => Self::pass(at, found),
            Err(error) => Self::fail(
                at,
                format!("all checks passed, and that could not be written down: {error}"),
                "let this login write tenants/ID/preflight (deploy/vault/policy.hcl), or name a configuration with an operator's login by --config",
            ),
        }
    }

    /// As JSON.
    #[must_use]
    pub fn json(&self) -> Value {
        json!({
            "family": self.family, "name": self.name, "subject": self.subject, "outcome": self.outcome.as_str(),
            "found": self.found, "remedy": self.remedy,
        })
    }
}

/// Whether nothing failed.
#[must_use]
pub fn passed(checks: &[Check]) -> bool {
    checks.iter().all(|check| check.outcome != Outcome::Fail)
}

/// What the checks ask with.
#[derive(Debug)]
pub struct Tools {
    /// The configuration.
    pub config: Config,
    /// The store.
    pub store: Arc<dyn GrantStore>,
    /// The way out, or why there is none.
    pub way: Result<Way, String>,
}

/// The way out: the sidecar's own.
#[derive(Debug)]
pub struct Way {
    /// Connections.
    pub dialer: Arc<Dialer>,
    /// Calls.
    pub transport: Arc<Timekeeper>,
    /// Exchanges.
    pub lwa: Arc<Lwa>,
    /// Tokens; none is shared with a fleet, so that each is asked for.
    pub tokens: TokenSource,
}

impl Tools {
    /// SP-API's host for a tenant.
    fn host(tenant: &Tenant) -> Option<Authority> {
        let host = sp_api_host(tenant.region, tenant.environment);
        Authority::parse_with_default(host, 443).ok()
    }

    /// LWA's.
    fn lwa(&self) -> Option<Authority> {
        let url = &self.config.lwa.token_url;
        let port = url.port_or_known_default().unwrap_or(443);
        Authority::parse_with_default(&format!("{}:{port}", url.host_str()?), port).ok()
    }

    /// Makes all checks for one tenant, in the order in which one rests on another.
    pub async fn check(&self, tenant: &Arc<Tenant>) -> Vec<Check> {
        let stored = store::ask(self, tenant).await;
        let reached = network::ask(self, tenant).await;
        let exchanged = exchange::ask(self, tenant, &stored, &reached).await;
        let called = calls::ask(self, tenant, &exchanged, &reached).await;
        let dates = dates::rows(
            &self.config,
            tenant,
            (&stored.ages, stored.has_grant()),
            called.common,
        );
        let mut checks = stored.checks;
        checks.extend(reached.checks);
        checks.extend(exchanged.checks);
        checks.extend(called.checks);
        checks.extend(dates);
        checks
    }
}
