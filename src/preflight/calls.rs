//! What SP-API says: marketplaces, scopes, the vendor link, restricted data.
//!
//! Invariants: every call is made with the tenant's own token and counts in its quota, one call a scope; an RDT is dropped as
//! soon as it is there.
//! Sources: Sellers API v1 `getMarketplaceParticipations`; Tokens API 2021-03-01; SP-API facts, sections 4 to 6.

use std::sync::Arc;

use serde_json::Value;

use crate::config::{Account, RouteRule, Tenant};
use crate::name::Authority;
use crate::outcome::Denial;
use crate::secret::AccessToken;
use crate::tenant::GrantKind;
use crate::token::judge::{self, judge};
use crate::token::restricted::Resource;
use crate::token::{AccessKey, Cause, TokenFailure, probe as asking};
use crate::verdict::cause::Cause as Verdict;
use crate::verdict::facts::{Coverage, needs};

use super::exchange::Exchanged;
use super::network::Reached;
use super::probe::{self, Wanted};
use super::refused::{Common, Said};
use super::{Check, Tools, Way, marketplace};

type At = (&'static str, &'static str);

const TOKEN: At = ("calls", "token");
const PARTICIPATION: At = ("calls", "marketplace_participation");
const VENDOR_LINK: At = ("calls", "vendor_link");
const SCOPE: At = ("calls", "scope");
const RDT: At = ("calls", "rdt");

/// What was found.
pub(super) struct Called {
    pub(super) checks: Vec<Check>,
    /// What explains several refusals.
    pub(super) common: Option<Common>,
}

/// A call that was made, and what it was made for.
struct Asked {
    at: At,
    subject: String,
    /// What was called, in words.
    call: String,
    said: Said,
    about: About,
}

enum About {
    Participation { needed: bool, body: Value },
    VendorLink,
    Scope,
    Rdt { required: bool, roles: Vec<String> },
}

pub(super) async fn ask(
    tools: &Tools,
    tenant: &Arc<Tenant>,
    exchanged: &Exchanged,
    reached: &Reached,
) -> Called {
    let coverage = Coverage::of(tenant, &needs(&tools.config.routes));
    let mut checks = unlisted(&coverage, tenant);
    let host = Tools::host(tenant).filter(|host| !reached.lacks(host));
    let (Some(host), Ok(way), Some(token)) = (host, &tools.way, &exchanged.token) else {
        let why = if exchanged.token.is_none() {
            "rests on `refresh_token`"
        } else {
            "rests on `tls` of SP-API's host"
        };
        checks.extend(nothing_asked(tools, tenant, &coverage, why));
        return Called {
            checks,
            common: None,
        };
    };
    let line = Line {
        tools,
        way,
        tenant,
        host,
        token,
    };
    let (asked, skipped) = line.all(&coverage).await;
    let said: Vec<Said> = asked.iter().map(|one| one.said.clone()).collect();
    let common = Common::of(&said);
    checks.push(token_row(&said, common, tenant));
    checks.extend(asked.iter().map(|one| row(one, common, tenant)));
    checks.extend(skipped);
    Called { checks, common }
}

/// The scopes that the routes need and the profile does not list: their calls are refused here.
fn unlisted(coverage: &Coverage, tenant: &Tenant) -> Vec<Check> {
    let row = |scope: &String| {
        Check::warn(
            SCOPE,
            "routes need it, and the profile does not list it: their calls are refused as scope_denied",
            Verdict::ScopeNotGranted.next_step(tenant),
        )
        .about(scope.as_str())
    };
    coverage.missing.iter().map(row).collect()
}

fn listed(coverage: &Coverage) -> impl Iterator<Item = &String> {
    let missing = |scope: &&String| !coverage.missing.contains(scope);
    coverage.required.iter().filter(missing)
}

fn nothing_asked(tools: &Tools, tenant: &Tenant, coverage: &Coverage, why: &str) -> Vec<Check> {
    let first = match tenant.account {
        Account::Seller => PARTICIPATION,
        Account::Vendor => VENDOR_LINK,
    };
    let mut checks = vec![Check::skip(TOKEN, why), Check::skip(first, why)];
    checks.extend(listed(coverage).map(|scope| Check::skip(SCOPE, why).about(scope.as_str())));
    let wanted = probe::restricted(&tools.config.routes, tenant);
    checks.extend(
        wanted
            .into_iter()
            .map(|one| Check::skip(RDT, why).about(one.route)),
    );
    checks
}

/// The way to SP-API with a token.
struct Line<'a> {
    tools: &'a Tools,
    way: &'a Way,
    tenant: &'a Arc<Tenant>,
    host: Authority,
    token: &'a AccessToken,
}

impl Line<'_> {
    /// Makes all calls; with the rows of those that there is no call for.
    async fn all(&self, coverage: &Coverage) -> (Vec<Asked>, Vec<Check>) {
        let routes = &self.tools.config.routes;
        let mut asked = vec![match self.tenant.account {
            Account::Seller => self.participation(routes).await,
            Account::Vendor => self.vendor_link(routes).await,
        }];
        let mut skipped = Vec::new();
        for scope in listed(coverage) {
            match probe::of_scope(scope, routes, self.tenant) {
                Some(operation) => {
                    let path = probe::concrete(&operation.path, self.tenant);
                    let (said, _body) = self.get(&path).await;
                    asked.push(Asked {
                        at: SCOPE,
                        subject: scope.clone(),
                        call: operation.operation_id.clone(),
                        said,
                        about: About::Scope,
                    });
                }
                None => skipped.push(
                    Check::skip(SCOPE, "no route of it is a call that only asks; `rdt` rows and the first call show it")
                        .about(scope.as_str()),
                ),
            }
        }
        for wanted in probe::restricted(routes, self.tenant) {
            match &wanted.lacks {
                Some(scope) => skipped.push(
                    Check::skip(RDT, format!("the profile lacks {scope}")).about(wanted.route),
                ),
                None => asked.push(self.restricted(wanted).await),
            }
        }
        (asked, skipped)
    }

    async fn get(&self, path: &str) -> (Said, Value) {
        let inject = &self.tools.config.inject;
        let transport = &*self.way.transport;
        let answer = match asking::ask(transport, inject, &self.host, path, self.token).await {
            Ok(answer) => answer,
            Err(error) => return (Said::Silence(error), Value::Null),
        };
        let call = judge::Call {
            method: &http::Method::GET,
            path,
            token_kind: "access",
            throttled_lately: false,
        };
        let meaning = judge(answer.status, None, &answer.body, &call);
        // only its marketplaces are looked at
        let body = serde_json::from_slice(&answer.body).unwrap_or_default();
        (Said::of(meaning, answer.status), body)
    }

    async fn participation(&self, routes: &[RouteRule]) -> Asked {
        let (said, body) = self.get(probe::PARTICIPATIONS).await;
        let needed = routes
            .iter()
            .flat_map(|route| &route.allow)
            .any(|allow| allow.template == probe::PARTICIPATIONS);
        Asked {
            at: PARTICIPATION,
            subject: String::new(),
            call: "getMarketplaceParticipations".to_owned(),
            said,
            about: About::Participation { needed, body },
        }
    }

    async fn vendor_link(&self, routes: &[RouteRule]) -> Asked {
        let template = probe::of_vendor(routes);
        let path = probe::concrete(template, self.tenant);
        let (said, _body) = self.get(&path).await;
        Asked {
            at: VENDOR_LINK,
            subject: String::new(),
            call: format!("GET {template}"),
            said,
            about: About::VendorLink,
        }
    }

    async fn restricted(&self, wanted: Wanted) -> Asked {
        let resource = Resource::generic(
            Arc::clone(self.tenant),
            self.host.clone(),
            wanted.method.clone(),
            wanted.template.as_str().into(),
            wanted.rdt.data_elements.clone().into(),
        );
        let resource = match &wanted.path {
            Some(path) => resource.at(path),
            None => resource,
        };
        let key = AccessKey::new(self.tenant, GrantKind::Refresh);
        let answer = self.way.tokens.restricted_once(&resource, &key).await;
        Asked {
            at: RDT,
            call: wanted.path.unwrap_or(wanted.template),
            subject: wanted.route,
            said: minted(answer.map(drop)),
            about: About::Rdt {
                required: wanted.rdt.required,
                roles: wanted.roles,
            },
        }
    }
}

/// What the Tokens API says.
fn minted(answer: Result<(), TokenFailure>) -> Said {
    let cause = match answer {
        Ok(()) => return Said::Taken,
        Err(failure) => failure.cause,
    };
    match cause {
        Cause::RestrictedRefused(401 | 403) => Said::Refused(Denial::Role),
        Cause::RestrictedRefused(_) => Said::Refused(Denial::DataElements),
        Cause::AccessRefused => Said::Refused(Denial::Unauthenticated),
        Cause::RestrictedThrottled => Said::Unclear(cause.to_string()),
        Cause::Store(_)
        | Cause::NoGrant(_)
        | Cause::NoApp(_)
        | Cause::Unreachable(_)
        | Cause::GrantRevoked
        | Cause::ClientRefused(_)
        | Cause::Refused(_)
        | Cause::Nonsense(_)
        | Cause::Interrupted
        | Cause::Shared(_) => Said::Silence(cause.to_string()),
    }
}

/// Whether Amazon takes the token at all.
fn token_row(said: &[Said], common: Option<Common>, tenant: &Tenant) -> Check {
    match common {
        Some(Common::Token) => Check::fail(
            TOKEN,
            "Amazon refuses the token that LWA has just given",
            Verdict::TokenRefused.next_step(tenant),
        ),
        Some(other) => Check::skip(TOKEN, format!("rests on `{}`", other.row())),
        None if said.contains(&Said::Taken) => Check::pass(TOKEN, "Amazon takes it"),
        None => Check::skip(TOKEN, "no call shows it"),
    }
}

fn row(asked: &Asked, common: Option<Common>, tenant: &Tenant) -> Check {
    let at = asked.at;
    let row = match &asked.said {
        Said::Taken => taken(asked, tenant),
        Said::Refused(denial) => match common {
            Some(cause) if cause.explains(*denial) && cause.row() != at.1 => Check::skip(
                at,
                format!("Amazon refuses {}: rests on `{}`", asked.call, cause.row()),
            ),
            Some(_) | None => refused(asked, *denial, tenant),
        },
        Said::Unclear(what) => Check::warn(
            at,
            format!("{}: {what}; not shown", asked.call),
            "run this again in a while",
        ),
        Said::Silence(error) => Check::fail(
            at,
            format!("{}: no answer: {error}", asked.call),
            Verdict::UpstreamUnreachable.next_step(tenant),
        ),
    };
    row.about(asked.subject.as_str())
}

fn taken(asked: &Asked, tenant: &Tenant) -> Check {
    let at = asked.at;
    match &asked.about {
        About::Participation { body, .. } => marketplace::row(at, body, tenant),
        About::VendorLink if tenant.vendor_groups.is_empty() => Check::warn(
            at,
            format!(
                "Amazon takes {}; the profile names no vendor group",
                asked.call
            ),
            "write the vendor groups of the authorization to `vendor_groups`, so that reviews can be held against them",
        ),
        About::VendorLink => Check::pass(
            at,
            format!(
                "Amazon takes {}; vendor groups by the profile: {}",
                asked.call,
                tenant.vendor_groups.join(", ")
            ),
        ),
        About::Scope => Check::pass(at, format!("Amazon takes {}", asked.call)),
        About::Rdt { .. } => Check::pass(at, format!("Amazon gives an RDT for {}", asked.call)),
    }
}

fn refused(asked: &Asked, denial: Denial, tenant: &Tenant) -> Check {
    let found = format!("Amazon refuses {} ({})", asked.call, denial.as_str());
    let step = match denial {
        Denial::VendorLink => Verdict::VendorLinkBroken,
        Denial::TokenMissing => Verdict::TokenFieldUnread,
        Denial::WrongKind => Verdict::WrongTokenKind,
        Denial::UnknownPath => Verdict::UnknownOperation,
        Denial::Region => Verdict::WrongRegion,
        Denial::DataElements => Verdict::DataElementsDenied,
        Denial::Unauthenticated | Denial::TokenExpired | Denial::TokenInvalid => {
            Verdict::TokenRefused
        }
        Denial::SecretLapsed
        | Denial::Role
        | Denial::Forbidden
        | Denial::ThrottledAsForbidden
        | Denial::Throttled => Verdict::RoleMissing,
    }
    .next_step(tenant);
    match &asked.about {
        About::Participation { needed: false, .. } => Check::warn(
            asked.at,
            format!("{found}, and no route needs it"),
            "compare `marketplaces` of the profile with Seller Central by hand, or authorize again with a role that has it (Selling Partner Insights)",
        ),
        About::Rdt {
            required: false, ..
        } => Check::warn(
            asked.at,
            format!("{found}; the plain token goes out instead, without personal data"),
            step,
        ),
        About::Rdt { roles, .. } if !roles.is_empty() => Check::fail(
            asked.at,
            found,
            format!(
                "{step}. Amazon's tables: any one of {}; shippingAddress takes Direct to Consumer Shipping, buyerInfo takes Tax Invoicing or Tax Remittance",
                roles.join(", ")
            ),
        ),
        About::Participation { .. } | About::VendorLink | About::Scope | About::Rdt { .. } => {
            Check::fail(asked.at, found, step)
        }
    }
}
