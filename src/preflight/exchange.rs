//! What LWA says to the client, to the grant, and to grantless scopes; and what time it is there.
//!
//! Invariants: LWA looks at the client before it looks at the grant, so that a grant that is refused shows a client that is not;
//! a token that comes of it is kept for the calls that follow and for nothing else.
//! Sources: RFC 6749 section 5.2; SP-API facts, section 3.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::config::{Account, Tenant};
use crate::secret::AccessToken;
use crate::tenant::GrantKind;
use crate::token::{AccessKey, Cause};
use crate::verdict::cause::Cause as Verdict;

use super::network::Reached;
use super::store::Stored;
use super::{Check, Tools, Way, clock};

const LWA: (&str, &str) = ("exchange", "lwa");
const CLIENT: (&str, &str) = ("exchange", "client");
const REFRESH: (&str, &str) = ("exchange", "refresh_token");
const GRANTLESS: (&str, &str) = ("exchange", "grantless");

/// A scope that every app of a seller may ask for: shows the client where there is no grant to show it with.
const COMMON_SCOPE: &str = "sellingpartnerapi::notifications";

/// What was found.
pub(super) struct Exchanged {
    pub(super) checks: Vec<Check>,
    /// The tenant's token.
    pub(super) token: Option<AccessToken>,
}

pub(super) async fn ask(
    tools: &Tools,
    tenant: &Arc<Tenant>,
    stored: &Stored,
    reached: &Reached,
) -> Exchanged {
    let unreached = tools.lwa().is_none_or(|lwa| reached.lacks(&lwa));
    let way = match &tools.way {
        Ok(way) if !unreached => way,
        Ok(_) | Err(_) => return nothing_asked("rests on `tls` of LWA's host", tools, tenant),
    };
    if !stored.has_app() {
        return nothing_asked("rests on `app`", tools, tenant);
    }
    let _older = way.transport.take();
    let mut token = None;
    let mut checks = if stored.has_grant() {
        let key = AccessKey::new(tenant, GrantKind::Refresh);
        match way.tokens.access(&key).await {
            Ok(issued) => {
                token = Some(issued.token);
                rows(None, tenant)
            }
            Err(failure) => rows(Some(&failure.cause), tenant),
        }
    } else {
        let shown = way.lwa.grantless(&tenant.app, COMMON_SCOPE).await;
        let mut rows = rows(shown.as_ref().err(), tenant);
        rows[2] = Check::skip(REFRESH, "rests on `grant`");
        rows
    }
    .to_vec();
    let client_is_good = checks
        .iter()
        .any(|check| check.name == CLIENT.1 && check.outcome == super::Outcome::Pass);
    for scope in grantless_scopes(tools, tenant) {
        checks.push(if client_is_good {
            grantless(way, tenant, &scope).await
        } else {
            Check::skip(GRANTLESS, "rests on `client`").about(scope)
        });
    }
    checks.push(clock::row(
        way.transport.take(),
        tools.config.lwa.clock_skew,
    ));
    Exchanged { checks, token }
}

fn nothing_asked(why: &str, tools: &Tools, tenant: &Tenant) -> Exchanged {
    let mut checks: Vec<Check> = [LWA, CLIENT, REFRESH].map(|at| Check::skip(at, why)).into();
    let scopes = grantless_scopes(tools, tenant);
    checks.extend(
        scopes
            .into_iter()
            .map(|scope| Check::skip(GRANTLESS, why).about(scope)),
    );
    checks.push(clock::row(None, tools.config.lwa.clock_skew));
    Exchanged {
        checks,
        token: None,
    }
}

/// What LWA's answer says of itself, of the client and of the grant. Nothing is wrong where there is no cause.
fn rows(cause: Option<&Cause>, tenant: &Tenant) -> [Check; 3] {
    let step = |verdict: Verdict| verdict.next_step(tenant);
    let lwa = Check::pass(LWA, "it answers");
    let client = Check::pass(CLIENT, "LWA takes the client id and the client secret");
    let Some(cause) = cause else {
        let refresh = Check::pass(REFRESH, "LWA gives an access token for it");
        return [lwa, client, refresh];
    };
    let found = cause.to_string();
    let skip = |at, on: &str| Check::skip(at, format!("rests on `{on}`"));
    match cause {
        Cause::ClientRefused(_) => [
            lwa,
            Check::fail(CLIENT, found, step(Verdict::ClientRefused)),
            skip(REFRESH, "client"),
        ],
        Cause::GrantRevoked => [
            lwa,
            client,
            Check::fail(REFRESH, found, step(Verdict::GrantRevoked)),
        ],
        Cause::Unreachable(_) => [
            Check::fail(LWA, found, step(Verdict::LwaUnreachable)),
            skip(CLIENT, "lwa"),
            skip(REFRESH, "lwa"),
        ],
        Cause::Store(_) | Cause::NoApp(_) | Cause::NoGrant(_) => [
            skip(LWA, "store"),
            skip(CLIENT, "store"),
            Check::fail(REFRESH, found, cause.remedy()),
        ],
        Cause::Refused(_)
        | Cause::Nonsense(_)
        | Cause::RestrictedRefused(_)
        | Cause::RestrictedThrottled
        | Cause::AccessRefused
        | Cause::Interrupted
        | Cause::Shared(_) => [
            Check::fail(LWA, found, step(Verdict::LwaTrouble)),
            skip(CLIENT, "lwa"),
            skip(REFRESH, "lwa"),
        ],
    }
}

/// The scopes of the routes that take a token of the app alone. They are a seller's.
fn grantless_scopes(tools: &Tools, tenant: &Tenant) -> BTreeSet<String> {
    let scopes = tools
        .config
        .routes
        .iter()
        .filter_map(|route| route.grantless.clone());
    match tenant.account {
        Account::Seller => scopes.collect(),
        Account::Vendor => BTreeSet::new(),
    }
}

async fn grantless(way: &Way, tenant: &Tenant, scope: &str) -> Check {
    match way.lwa.grantless(&tenant.app, scope).await {
        Ok(_dropped) => Check::pass(GRANTLESS, "LWA gives a token for it"),
        Err(Cause::Refused("invalid_scope")) => Check::fail(
            GRANTLESS,
            "LWA does not give the app a token of this scope",
            "correct `grantless` of the route, or see in the developer console whether the app may have it",
        ),
        Err(cause) => Check::fail(GRANTLESS, cause.to_string(), cause.remedy()),
    }
    .about(scope)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::profile;
    use crate::tenant::TenantId;

    #[test]
    fn what_lwa_says_fails_the_row_that_it_is_about_and_skips_what_rests_on_it() {
        let fields = [("app", "erp"), ("region", "na")].map(|(k, v)| (k.to_owned(), v));
        let tenant = profile::parse(&TenantId::parse("acme").unwrap(), &fields.into()).unwrap();
        for (cause, want) in [
            (None, ["pass", "pass", "pass"]),
            (Some(Cause::GrantRevoked), ["pass", "pass", "fail"]),
            (
                Some(Cause::ClientRefused("invalid_client")),
                ["pass", "fail", "skip"],
            ),
            (
                Some(Cause::Unreachable("503".to_owned())),
                ["fail", "skip", "skip"],
            ),
            (Some(Cause::Nonsense("html")), ["fail", "skip", "skip"]),
            (
                Some(Cause::NoGrant(tenant.id.clone())),
                ["skip", "skip", "fail"],
            ),
        ] {
            let rows = rows(cause.as_ref(), &tenant);
            assert_eq!(
                rows.each_ref().map(|row| row.outcome.as_str()),
                want,
                "{cause:?}"
            );
            for row in rows
                .iter()
                .filter(|row| row.outcome == super::super::Outcome::Fail)
            {
                assert!(!row.remedy.is_empty() && !row.found.is_empty(), "{row:?}");
            }
        }
    }
}
