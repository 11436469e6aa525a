//! SP-API's hosts by region and environment.
//!
//! Job: whether a host is the one that a tenant's grant is good for.
//! Invariants: a host that is none of SP-API's six is nobody's region: private links and stand-ins serve any tenant.
//! Failure mode: none.
//! Source: Amazon's "SP-API endpoints" and "The Selling Partner API sandbox".

use super::Refusal;
use super::refusal;
use crate::config::{Environment, Region, Tenant};
use crate::name::Host;

const HOSTS: [(&str, Region, Environment); 6] = [
    (
        "sellingpartnerapi-na.amazon.com",
        Region::Na,
        Environment::Production,
    ),
    (
        "sellingpartnerapi-eu.amazon.com",
        Region::Eu,
        Environment::Production,
    ),
    (
        "sellingpartnerapi-fe.amazon.com",
        Region::Fe,
        Environment::Production,
    ),
    (
        "sandbox.sellingpartnerapi-na.amazon.com",
        Region::Na,
        Environment::Sandbox,
    ),
    (
        "sandbox.sellingpartnerapi-eu.amazon.com",
        Region::Eu,
        Environment::Sandbox,
    ),
    (
        "sandbox.sellingpartnerapi-fe.amazon.com",
        Region::Fe,
        Environment::Sandbox,
    ),
];

/// The host that serves a region and an environment.
#[must_use]
pub fn sp_api_host(region: Region, environment: Environment) -> &'static str {
    HOSTS
        .iter()
        .find(|(_, of, is)| (*of, *is) == (region, environment))
        .map_or("", |(host, _, _)| host)
}

/// The region and environment that an SP-API host serves; none for any other host.
#[must_use]
pub fn served_by(host: &Host) -> Option<(Region, Environment)> {
    let name = host.name()?.as_str();
    HOSTS
        .iter()
        .find(|(known, _, _)| *known == name)
        .map(|(_, region, environment)| (*region, *environment))
}

pub(super) fn check(tenant: &Tenant, host: &Host) -> Result<(), Refusal> {
    if served_by(host).is_some_and(|at| at != (tenant.region, tenant.environment)) {
        return Err(refusal::region_denied(tenant, host));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_region_and_environment_has_a_host_that_serves_it() {
        for region in [Region::Na, Region::Eu, Region::Fe] {
            for environment in [Environment::Production, Environment::Sandbox] {
                let host = Host::parse(sp_api_host(region, environment)).unwrap();
                assert_eq!(served_by(&host), Some((region, environment)), "{host}");
            }
        }
    }

    #[test]
    fn other_hosts_serve_no_region() {
        for host in [
            "api.amazon.com",
            "192.0.2.7",
            "sellingpartnerapi-na.example",
        ] {
            assert_eq!(served_by(&Host::parse(host).unwrap()), None, "{host}");
        }
    }
}
