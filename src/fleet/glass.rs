//! Break-glass: routes that one tenant has for a while.
//!
//! Job: from the fleet's record to a compiled policy of its own, for that tenant alone.
//! Invariants: it adds routes and nothing else: egress, region, marketplaces and the form of a path are judged as ever; its
//! time is checked at each use, by this machine's clock; a route of it needs no scope. The credential is the one that
//! Amazon's catalog asks for: the tenant's access token, a restricted data token where the operation is restricted, a
//! client-credentials token where it is grantless.
//! Failure mode: an entry that cannot be compiled allows nothing, and is warned of.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::why::Why;
use crate::catalog::{Catalog, Operation, RdtWhen};
use crate::config::template::AllowError;
use crate::config::{Allow, PolicyMode, Rdt, RdtPer, RouteRule, Tenant};
use crate::policy::{Ask, Policy, Route, Verdict};
use crate::store::fleet::BreakGlass;
use crate::tenant::TenantId;

/// Longest time that one may last: what is needed for longer is a route, and belongs into the file.
pub const LONGEST: Duration = Duration::from_hours(24);

/// Most routes of one.
const MOST_ROUTES: usize = 20;

/// Why a break-glass is not one.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum GlassError {
    /// It lasts no time, or too long.
    #[error("a break-glass lasts from one second to 24 hours")]
    Time,
    /// No route, or too many.
    #[error("a break-glass allows 1 to {MOST_ROUTES} routes")]
    Routes,
    /// A route that is none.
    #[error("`allow`: {0}")]
    Allow(#[from] AllowError),
}

/// A break-glass to be opened now.
///
/// # Errors
/// When its routes or its time are not usable.
pub fn new_break_glass(
    tenant: TenantId,
    allow: &[String],
    lasts: Duration,
    why: &Why,
    now: SystemTime,
) -> Result<BreakGlass, GlassError> {
    if lasts < Duration::from_secs(1) || lasts > LONGEST {
        return Err(GlassError::Time);
    }
    if allow.is_empty() || allow.len() > MOST_ROUTES {
        return Err(GlassError::Routes);
    }
    let mut spelt = Vec::with_capacity(allow.len());
    for text in allow {
        let Allow { method, template } = Allow::parse(text)?;
        spelt.push(format!("{method} {template}"));
    }
    Ok(BreakGlass {
        id: format!("{:08x}", rand::random::<u32>()),
        tenant,
        allow: spelt,
        reason: why.reason().to_owned(),
        by: why.by().to_owned(),
        since: humantime::format_rfc3339_seconds(now).to_string(),
        until: now + lasts,
        revoked_by: None,
    })
}

/// A break-glass in force.
#[derive(Debug)]
pub struct Opening {
    /// As the record says.
    pub glass: BreakGlass,
    policy: Policy,
}

impl Opening {
    pub(super) fn compile(glass: BreakGlass) -> Result<Self, AllowError> {
        let rules: Result<Vec<RouteRule>, AllowError> =
            glass.allow.iter().map(|text| rule(text, &glass)).collect();
        Ok(Self {
            policy: Policy::of(&[], &rules?, PolicyMode::Enforce),
            glass,
        })
    }

    /// The route that a request may go by, while this is in force.
    #[must_use]
    pub fn route(&self, ask: &Ask<'_>, now: SystemTime) -> Option<Arc<Route>> {
        match self.policy.route(ask) {
            Verdict::Allow(route) if now < self.glass.until => Some(route),
            Verdict::Allow(_) | Verdict::WouldRefuse(..) | Verdict::Refuse(_) => None,
        }
    }

    /// Whether a restricted data token for this may be asked for, while this is in force.
    #[must_use]
    pub fn covers(
        &self,
        tenant: &Tenant,
        method: &http::Method,
        path: &str,
        elements: &[&str],
        now: SystemTime,
    ) -> bool {
        now < self.glass.until
            && self
                .policy
                .restricted_resource(tenant, method, path, elements)
                .is_ok()
    }
}

fn rule(text: &str, glass: &BreakGlass) -> Result<RouteRule, AllowError> {
    let allow = Allow::parse(text)?;
    let known = Catalog::embedded().by_template(&allow.method, &allow.template);
    Ok(RouteRule {
        scope: None,
        grantless: known.and_then(|operation| operation.grantless_scope.clone()),
        rdt: known.filter(|operation| operation.restricted).map(rdt),
        encoded_slash: false,
        reason: Some(glass.reason.clone()),
        owner: Some(glass.by.clone()),
        allow: vec![allow],
    })
}

/// The restricted data token of an operation. Where the plain token works too, if with less, Amazon's refusal of the data
/// elements is no reason to have nothing.
fn rdt(operation: &Operation) -> Rdt {
    let always = operation.rdt_when == Some(RdtWhen::Always);
    Rdt {
        data_elements: operation.data_elements.clone(),
        per: if operation.rdt_specific {
            RdtPer::Path
        } else {
            RdtPer::Template
        },
        required: always,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Account, Environment, Preflight, Region};
    use crate::name::Host;
    use crate::policy::Credential;
    use crate::tenant::AppId;

    fn tenant() -> Tenant {
        Tenant {
            id: TenantId::parse("acme").unwrap(),
            app: AppId::parse("erp").unwrap(),
            account: Account::Seller,
            region: Region::Na,
            environment: Environment::Production,
            marketplaces: vec!["ATVPDKIKX0DER".to_owned()],
            vendor_groups: Vec::new(),
            scopes: Vec::new(),
            preflight: Preflight::Optional,
        }
    }

    fn opening(allow: &str) -> Opening {
        let why = Why::new("outage", "ada").unwrap();
        let glass = new_break_glass(
            tenant().id,
            &[allow.to_owned()],
            Duration::from_secs(60),
            &why,
            SystemTime::UNIX_EPOCH,
        );
        Opening::compile(glass.unwrap()).unwrap()
    }

    fn route(opening: &Opening, target: &str, seconds: u64) -> Option<Arc<Route>> {
        let uri: http::Uri = target.parse().unwrap();
        let ask = Ask {
            tenant: &tenant(),
            host: &Host::parse(uri.host().unwrap()).unwrap(),
            method: &http::Method::GET,
            path: uri.path(),
            query: uri.query(),
        };
        opening.route(&ask, SystemTime::UNIX_EPOCH + Duration::from_secs(seconds))
    }

    #[test]
    fn it_opens_its_route_for_its_time_and_nothing_beside() {
        let opening = opening("GET /orders/v0/orders");
        let na = "https://sellingpartnerapi-na.amazon.com";
        let orders = format!("{na}/orders/v0/orders");
        assert!(route(&opening, &orders, 0).is_some());
        assert!(route(&opening, &orders, 59).is_some());
        assert!(route(&opening, &orders, 60).is_none());
        assert!(route(&opening, &format!("{na}/orders/v0/orders/1"), 0).is_none());
        let elsewhere = format!("{orders}?MarketplaceIds=A1F83G8C2ARO7P");
        assert!(route(&opening, &elsewhere, 0).is_none());
        let other_region = "https://sellingpartnerapi-eu.amazon.com/orders/v0/orders";
        assert!(route(&opening, other_region, 0).is_none());
    }

    #[test]
    fn the_credential_is_the_one_that_the_catalog_asks_for() {
        let na = "https://sellingpartnerapi-na.amazon.com";
        let of =
            |allow: &str, path: &str| route(&opening(allow), &format!("{na}{path}"), 0).unwrap();
        let orders = of("GET /orders/v0/orders", "/orders/v0/orders");
        assert_eq!(orders.credential, Credential::Tenant);
        assert!(!orders.rdt.as_ref().unwrap().required);
        let plain = of(
            "GET /sellers/v1/marketplaceParticipations",
            "/sellers/v1/marketplaceParticipations",
        );
        assert_eq!(
            (&plain.credential, &plain.rdt),
            (&Credential::Tenant, &None)
        );
        let address = of("getOrderAddress", "/orders/v0/orders/1/address");
        let rdt = address.rdt.as_ref().unwrap();
        assert!(rdt.required && address.restricted);
        let grantless = of(
            "GET /notifications/v1/destinations",
            "/notifications/v1/destinations",
        );
        assert_eq!(
            grantless.credential,
            Credential::Grantless("sellingpartnerapi::notifications".into())
        );
    }

    #[test]
    fn what_is_no_break_glass_is_refused() {
        let why = Why::new("outage", "ada").unwrap();
        let open = |allow: &[&str], seconds| {
            let allow: Vec<String> = allow.iter().map(|&one| one.to_owned()).collect();
            let lasts = Duration::from_secs(seconds);
            new_break_glass(tenant().id, &allow, lasts, &why, SystemTime::UNIX_EPOCH)
                .map(|glass| glass.allow)
                .map_err(|error| error.to_string())
        };
        assert_eq!(
            open(&["orders/v0/getOrders"], 1),
            Ok(vec!["GET /orders/v0/orders".to_owned()])
        );
        assert!(open(&["GET /a"], 0).is_err());
        assert!(open(&["GET /a"], 86_401).is_err());
        assert!(open(&[], 60).is_err());
        assert!(open(&["GET /a"; 21], 60).is_err());
        assert!(
            open(&["/a"], 60)
                .unwrap_err()
                .contains("the method is missing")
        );
    }
}
