//! The faults that are switched on, and which of them a request meets.
//!
//! Invariant: rates are spread evenly and not drawn, so that a test with a rate gives the same result every time.

use std::time::Duration;

use http::StatusCode;
use serde::Serialize;
use serde_json::Value;

use super::call::{Call, Station};
use super::fault::{Fault, FaultKind, Filter, LwaDown, Whom};
use super::ledger::Grant;
use super::operation::{Operation, slug};
use super::respond::{DENIED, Refusal};

/// All faults that are on, in the order in which they were switched on.
#[derive(Debug, Default)]
pub(super) struct Troubles {
    last: u64,
    standing: Vec<Standing>,
}

#[derive(Debug)]
struct Standing {
    id: u64,
    fault: Fault,
    carried: f64,
    hits: u64,
}

/// A fault as `GET /_sandbox/faults` lists it.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct StandingFault {
    /// Number, from 1.
    pub id: u64,
    /// As it was given.
    pub fault: Value,
    /// How many requests met it.
    pub hits: u64,
}

/// What befalls one request before anything looks at it.
#[derive(Debug, Default)]
pub(super) struct Fate {
    pub(super) latency: Duration,
    pub(super) reset: bool,
    pub(super) answer: Option<Forced>,
    pub(super) lwa_down: Option<LwaDown>,
    pub(super) clock_skew: i64,
    pub(super) bytes_per_second: Option<u64>,
    /// The faults met, by name.
    pub(super) names: Vec<&'static str>,
}

/// An answer that a fault makes.
#[derive(Debug)]
pub(super) struct Forced {
    pub(super) status: StatusCode,
    pub(super) details: String,
    pub(super) retry_after: Option<u64>,
}

impl Troubles {
    pub(super) fn add(&mut self, fault: Fault) -> u64 {
        self.last += 1;
        self.standing.push(Standing {
            id: self.last,
            fault,
            carried: 0.0,
            hits: 0,
        });
        self.last
    }

    pub(super) fn clear(&mut self) {
        self.standing.clear();
    }

    pub(super) fn remove(&mut self, id: u64) {
        self.standing.retain(|standing| standing.id != id);
    }

    pub(super) fn list(&self) -> Vec<StandingFault> {
        let listed = self.standing.iter().map(|standing| StandingFault {
            id: standing.id,
            fault: standing.fault.spelling.clone(),
            hits: standing.hits,
        });
        listed.collect()
    }

    /// What befalls this request.
    pub(super) fn befall(&mut self, call: &Call) -> Fate {
        let mut fate = Fate::default();
        for standing in &mut self.standing {
            if !standing.fault.kind.befalls() || !standing.strikes(call) {
                continue;
            }
            fate.names.push(standing.fault.kind.name());
            fate.take(&standing.fault.kind);
        }
        fate
    }

    /// After how many requests an idle connection is closed.
    pub(super) fn close_idle_after(&self) -> Option<u32> {
        self.standing.iter().find_map(|standing| {
            let FaultKind::CloseIdle(after) = standing.fault.kind else {
                return None;
            };
            Some(after)
        })
    }

    /// The factor on the catalog's rates, while calls are throttled.
    pub(super) fn throttle(&mut self, call: &Call) -> Option<f64> {
        self.standing.iter_mut().find_map(|standing| {
            let FaultKind::Throttle(factor) = standing.fault.kind else {
                return None;
            };
            standing.strikes(call).then_some(factor)
        })
    }

    /// The same, without counting a request.
    pub(super) fn throttle_factor(&self) -> Option<f64> {
        self.standing.iter().find_map(|standing| {
            let FaultKind::Throttle(factor) = standing.fault.kind else {
                return None;
            };
            Some(factor)
        })
    }

    /// Whether LWA says that the grant is gone.
    pub(super) fn revoked(&mut self, grant: &Grant) -> bool {
        self.concerns(grant, |kind| {
            let FaultKind::RevokeGrant(whom) = kind else {
                return None;
            };
            Some(whom)
        })
    }

    /// Whether LWA replaces the refresh token of a grant.
    pub(super) fn rotates(&mut self, grant: &Grant) -> bool {
        self.concerns(grant, |kind| {
            let FaultKind::RotateRefreshToken(whom) = kind else {
                return None;
            };
            Some(whom)
        })
    }

    /// Whether a fault that is about certain grants is about this one.
    fn concerns(&mut self, grant: &Grant, whom: fn(&FaultKind) -> Option<&Whom>) -> bool {
        self.standing.iter_mut().any(|standing| {
            let hit = whom(&standing.fault.kind).is_some_and(|whom| whom.is(Some(grant)));
            standing.hits += u64::from(hit);
            hit
        })
    }

    /// Roles that no grant has at the moment.
    pub(super) fn revoked_roles(&self) -> Vec<String> {
        let roles = self.standing.iter().filter_map(|standing| {
            let FaultKind::RevokeScope(role) = &standing.fault.kind else {
                return None;
            };
            Some(slug(role))
        });
        roles.collect()
    }

    /// What is wrong with the account behind an accepted token.
    pub(super) fn refuse(
        &mut self,
        call: &Call,
        operation: &Operation,
        grant: Option<&Grant>,
    ) -> Option<(&'static str, Refusal)> {
        self.standing.iter_mut().find_map(|standing| {
            let refusal = standing.fault.kind.refusal(operation, grant)?;
            standing
                .strikes(call)
                .then(|| (standing.fault.kind.name(), refusal))
        })
    }
}

impl Fate {
    fn take(&mut self, kind: &FaultKind) {
        match kind {
            FaultKind::Latency(latency) => self.latency += *latency,
            FaultKind::ResetConnections => self.reset = true,
            FaultKind::Status {
                status,
                details,
                retry_after,
            } => {
                self.answer.get_or_insert_with(|| Forced {
                    status: *status,
                    details: details.clone(),
                    retry_after: *retry_after,
                });
            }
            FaultKind::LwaDown(how) => self.lwa_down = Some(*how),
            FaultKind::ClockSkew(seconds) => self.clock_skew += *seconds,
            FaultKind::SlowBody(pace) => self.bytes_per_second = Some(*pace),
            FaultKind::ExpireTokensNow(_)
            | FaultKind::RevokeGrant(_)
            | FaultKind::RotateRefreshToken(_)
            | FaultKind::RevokeScope(_)
            | FaultKind::LapseChargeMethod(_)
            | FaultKind::ExpireClientSecret
            | FaultKind::UnlinkVendorGroup(_)
            | FaultKind::Throttle(_)
            | FaultKind::CloseIdle(_) => {}
        }
    }
}

impl FaultKind {
    /// Whether it befalls a request, whoever sends it.
    const fn befalls(&self) -> bool {
        match self {
            Self::Latency(_)
            | Self::ResetConnections
            | Self::Status { .. }
            | Self::LwaDown(_)
            | Self::ClockSkew(_)
            | Self::SlowBody(_) => true,
            Self::ExpireTokensNow(_)
            | Self::RevokeGrant(_)
            | Self::RotateRefreshToken(_)
            | Self::RevokeScope(_)
            | Self::LapseChargeMethod(_)
            | Self::ExpireClientSecret
            | Self::UnlinkVendorGroup(_)
            | Self::Throttle(_)
            | Self::CloseIdle(_) => false,
        }
    }

    fn refusal(&self, operation: &Operation, grant: Option<&Grant>) -> Option<Refusal> {
        match self {
            Self::RevokeGrant(whom) => (grant.is_some() && whom.is(grant)).then(|| {
                Refusal::denied("The access token you provided is revoked, malformed or invalid.")
            }),
            Self::LapseChargeMethod(status) => Some(Refusal {
                status: *status,
                code: "Unauthorized",
                message: DENIED.to_owned(),
                details: String::new(),
            }),
            Self::ExpireClientSecret => Some(Refusal::denied(
                "The LWA secret token you provided has expired.",
            )),
            Self::UnlinkVendorGroup(whom) => {
                let vendor = operation.is_vendor() || grant.is_some_and(|grant| grant.vendor);
                (vendor && whom.is(grant)).then(|| {
                    Refusal::denied("SPSA2043: The vendor group is not linked to this application.")
                })
            }
            Self::RevokeScope(_)
            | Self::RotateRefreshToken(_)
            | Self::ExpireTokensNow(_)
            | Self::Throttle(_)
            | Self::Status { .. }
            | Self::Latency(_)
            | Self::ResetConnections
            | Self::LwaDown(_)
            | Self::ClockSkew(_)
            | Self::SlowBody(_)
            | Self::CloseIdle(_) => None,
        }
    }

    const fn concerns_lwa(&self) -> bool {
        matches!(self, Self::LwaDown(_) | Self::ClockSkew(_))
    }
}

impl Whom {
    /// Whether a grant is meant.
    pub(super) fn is(&self, grant: Option<&Grant>) -> bool {
        match self {
            Self::Everybody => true,
            Self::Named(name) => grant
                .is_some_and(|grant| grant.selling_partner == *name || grant.fingerprint == *name),
        }
    }
}

impl Standing {
    /// Whether this request is one of those that the fault meets; counts it if so.
    fn strikes(&mut self, call: &Call) -> bool {
        let filter = &mut self.fault.filter;
        if filter.times == Some(0) || !filter.names(call, self.fault.kind.concerns_lwa()) {
            return false;
        }
        self.carried += filter.rate;
        // a tenth added ten times is a little less than one
        if self.carried < 1.0 - 1e-9 {
            return false;
        }
        self.carried -= 1.0;
        self.hits += 1;
        if let Some(times) = &mut filter.times {
            *times -= 1;
        }
        true
    }
}

impl Filter {
    fn names(&self, call: &Call, lwa: bool) -> bool {
        let host = match self.host.as_deref() {
            Some("*") => true,
            Some(host) => call.host == host,
            None if lwa => call.station == Station::Lwa,
            None => matches!(call.station, Station::SpApi { .. }),
        };
        let method = self.method.as_deref();
        let prefix = self.path_prefix.as_deref();
        host && method.is_none_or(|method| call.method.as_str() == method)
            && prefix.is_none_or(|prefix| call.path().starts_with(prefix))
    }
}
