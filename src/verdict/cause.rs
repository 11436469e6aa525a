//! Probable causes: the closed list, each with one word, whose it is, and what to do.
//!
//! Job: the words of a diagnosis, the same in `diagnose`, `/health/authz`, alerts and the console.
//! Invariants: the order of the list is the order in which causes explain: what one of them explains, a later one does not.
//! No text holds anything but ids of the configuration.
//! Failure mode: none; this is the vocabulary.

use crate::config::Tenant;

/// How sure a finding is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Confidence {
    /// Amazon, the store or the configuration says so itself.
    Certain,
    /// Nothing else known explains it as well.
    Likely,
    /// It would explain it, and so would something else.
    Possible,
}

impl Confidence {
    /// The word in answers.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Certain => "certain",
            Self::Likely => "likely",
            Self::Possible => "possible",
        }
    }
}

/// What a finding means for the tenant's calls.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Severity {
    /// No call can succeed.
    Failing,
    /// Some calls fail, or all soon will.
    Degraded,
    /// Worth knowing; no call fails of it.
    Notice,
}

impl Severity {
    /// The word in answers, as `status` of `/health/authz` spells it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Failing => "failing",
            Self::Degraded => "degraded",
            Self::Notice => "ok",
        }
    }
}

/// Whose the next step is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Whose {
    /// Those who run the sidecar and the programs behind it.
    Engineering,
    /// Those who pay.
    Finance,
    /// Those who look after the vendor account.
    VendorManager,
    /// Amazon.
    Amazon,
}

impl Whose {
    /// The word in answers.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Engineering => "engineering",
            Self::Finance => "finance",
            Self::VendorManager => "vendor_manager",
            Self::Amazon => "amazon",
        }
    }
}

macro_rules! causes {
    ($($(#[$doc:meta])* $name:ident => $word:literal, $whose:ident, $step:literal;)+) => {
        /// What is probably wrong.
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
        pub enum Cause {
            $($(#[$doc])* $name,)+
        }

        impl Cause {
            /// Every cause, in the order in which they explain.
            pub const ALL: &[Self] = &[$(Self::$name,)+];

            /// The stable word in answers, alerts and metrics.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => $word,)+ }
            }

            /// Whose the next step is.
            #[must_use]
            pub const fn whose(self) -> Whose {
                match self { $(Self::$name => Whose::$whose,)+ }
            }

            /// The next step, with `{tenant}` and `{app}` to fill in.
            const fn step(self) -> &'static str {
                match self { $(Self::$name => $step,)+ }
            }
        }
    };
}

causes! {
    /// A person switched the tenant off.
    TenantKilled => "tenant_killed", Engineering,
        "once the reason is gone: `spapi-sidecar tenant resume {tenant}`";
    /// LWA replaced the refresh token, and the store has not taken the new one.
    GrantNotStored => "grant_not_stored", Engineering,
        "mend the store, and do not stop this sidecar before it has: the tenant's new refresh token is in its memory alone. Where it was stopped: `spapi-sidecar authorize {tenant}`";
    /// The store is sealed.
    StoreSealed => "store_sealed", Engineering,
        "unseal Vault (`vault status`, `vault operator unseal`); tokens in memory serve until they end";
    /// The store refuses the sidecar.
    StoreDenied => "store_denied", Engineering,
        "check the sidecar's login and its policy in the store (deploy/vault/policy.hcl says what it needs)";
    /// The store does not answer, or not as it should.
    StoreUnavailable => "store_unavailable", Engineering,
        "check that the store is up and that this machine reaches it; tokens in memory serve until they end";
    /// The store holds no refresh token.
    GrantMissing => "grant_missing", Engineering,
        "put the refresh token of its authorization into the store: `spapi-sidecar tenant put-token {tenant}`";
    /// The store holds no client id and secret.
    AppMissing => "app_missing", Engineering,
        "put the app's client id and secret into the store: `spapi-sidecar app put {app}`";
    /// LWA says that the refresh token is void.
    GrantRevoked => "grant_revoked", Engineering,
        "have the selling partner authorize the application again: `spapi-sidecar authorize {tenant}`";
    /// Amazon, or its date, says that the client secret is past its 180 days.
    ClientSecretLapsed => "client_secret_lapsed", Engineering,
        "rotate the client secret in the developer console, then `spapi-sidecar app put {app}` and `client_secret_rotated` in the configuration; exchanging tokens does not help";
    /// LWA refuses the app's id or secret.
    ClientRefused => "client_refused", Engineering,
        "compare the app's client id and secret with the developer console, then `spapi-sidecar app put {app}`";
    /// What Amazon charges the app's fees to has lapsed or was declined.
    ChargeMethodLapsed => "charge_method_lapsed", Finance,
        "renew the charge method of app {app} in the developer console, then set `apps[].charge_method` in the configuration";
    /// Amazon does not see the vendor group linked to the application.
    VendorLinkBroken => "vendor_link_broken", VendorManager,
        "see in Vendor Central that whoever authorized still belongs to the vendor group and has the permission for SP-API there (SPDS-VC-MYA), then authorize again, signed in to that group: `spapi-sidecar authorize {tenant}`";
    /// Many tenants are in the same trouble at once.
    UpstreamIncident => "upstream_incident", Amazon,
        "wait, and watch Amazon's SP-API status page; nothing to change here. Tell Amazon's developer support the request ids in the log";
    /// LWA cannot be reached or does not answer.
    LwaUnreachable => "lwa_unreachable", Engineering,
        "check DNS, the firewall and `lwa.token_url` from this machine; where the way is open, it is Amazon's outage. The sidecar keeps trying";
    /// LWA refuses the exchange, or answers nonsense.
    LwaTrouble => "lwa_trouble", Amazon,
        "see the sidecar's log for LWA's error code; where it stays, open a case with Amazon's developer support";
    /// No connection to SP-API, or none in time.
    UpstreamUnreachable => "upstream_unreachable", Engineering,
        "check DNS, the firewall, `upstream.proxy` and `upstream.trust` from this machine (`spapi-sidecar preflight {tenant}`)";
    /// SP-API's name resolves to an address that is never dialled.
    AddressDenied => "address_denied", Engineering,
        "check what the host resolves to on this machine; a private link belongs into `upstream.connect_to`";
    /// Calls go to another region's host, or name another region's marketplaces.
    WrongRegion => "wrong_region", Engineering,
        "have the program call the tenant's own region with its own marketplaces, or correct `region` and `marketplaces` of tenant {tenant}";
    /// Calls name marketplaces that the profile does not list.
    WrongMarketplace => "wrong_marketplace", Engineering,
        "add the marketplace to `marketplaces` of tenant {tenant} if its authorization covers it, or correct the program";
    /// Nothing that is asked for is allowed, with good tokens, across roles.
    ChargeMethodSuspected => "charge_method_suspected", Finance,
        "look at the charge method of app {app} in the developer console first; then at the app's standing (suspended, under review)";
    /// Fresh tokens are refused.
    TokenRefused => "token_refused", Engineering,
        "check the app's standing and the authorization in the developer console; where both are good, have the selling partner authorize again (`spapi-sidecar authorize {tenant}`)";
    /// The token goes out in a header field that SP-API does not read.
    TokenFieldUnread => "token_field_unread", Engineering,
        "put x-amz-access-token back among `inject.headers`: it is the one field in which SP-API takes a token";
    /// Amazon refuses what a role of the routes covers.
    RoleMissing => "role_missing", Engineering,
        "check that the application has the role and that the selling partner authorized it after the role was added; adding a role takes a new authorization (`spapi-sidecar authorize {tenant}`)";
    /// A grantless operation is called with the tenant's token, or the other way round.
    WrongTokenKind => "wrong_token_kind", Engineering,
        "correct `grantless` of the route: Amazon takes one kind of token for each operation";
    /// An operation that needs a restricted data token is called without.
    RdtNeeded => "rdt_needed", Engineering,
        "add `rdt: { data_elements: [], per: template, required: true }` to the route";
    /// Amazon knows no such path: it answers 403, not 404.
    UnknownOperation => "unknown_operation", Engineering,
        "compare the path with Amazon's reference; SP-API answers 403 to a path that it does not know";
    /// A report type that needs a restricted role.
    ReportRoleMissing => "report_role_missing", Engineering,
        "the report type needs a restricted role, or its document an RDT: add the role to the application and authorize again, or choose another report type";
    /// The application may not have the data elements of a restricted data token.
    DataElementsDenied => "data_elements_denied", Engineering,
        "take the data elements out of the route, set `rdt.required: false`, or get the application the restricted role for them";
    /// The routes need a scope that the profile does not list.
    ScopeNotGranted => "scope_not_granted", Engineering,
        "if the authorization covers the scope, add it to `scopes` of tenant {tenant}; otherwise authorize again with it (`spapi-sidecar authorize {tenant}`)";
    /// Amazon answers with errors of its own.
    UpstreamErrors => "upstream_errors", Amazon,
        "wait, and watch Amazon's SP-API status page; give developer support the amzn_request_id values in the log";
    /// Calls that have to be audited cannot be.
    AuditUnavailable => "audit_unavailable", Engineering,
        "make room on the disk of `audit.path`, or mend its permissions; restricted calls are refused until then";
    /// More work than the sidecar takes.
    Overloaded => "overloaded", Engineering,
        "raise `listen.limits.max_connections` or run another sidecar";
    /// Programs get to see 429s.
    Throttled => "throttled", Engineering,
        "spread the calls, or raise `throttle.max_wait`; Amazon raises usage plans on request";
    /// Many calls refused as forbidden just after many were throttled.
    ThrottledAsForbidden => "throttled_as_forbidden", Engineering,
        "slow the program down and see whether the refusals end; bursts of refused calls make Amazon answer 403 in place of 429";
    /// The tenant was set aside.
    TenantQuarantined => "tenant_quarantined", Engineering,
        "mend the reason for which it was set aside; then `spapi-sidecar tenant resume {tenant}`, unless the sidecar does so by itself";
    /// The profile wants a preflight that has not passed.
    PreflightPending => "preflight_pending", Engineering,
        "run `spapi-sidecar preflight {tenant}` and mend what it names; the tenant is served within seconds of its passing";
    /// The authorization is older than 365 days.
    AuthorizationLapsed => "authorization_lapsed", Engineering,
        "have the selling partner authorize the application again: `spapi-sidecar authorize {tenant}`";
    /// No exchange has ended yet.
    TokenPending => "token_pending", Engineering,
        "wait for the first exchange; /health/ready says what is waited for";
    /// The sidecar does not answer.
    SidecarDown => "sidecar_down", Engineering,
        "start it (`spapi-sidecar run`), or name the configuration that it runs with by --config";
    /// Amazon stops taking tokens well before they end.
    TokensEndEarly => "tokens_end_early", Engineering,
        "check this machine's clock; then whether another program rotates the secret or revokes the authorization";
    /// Placeholders are vended and then not used.
    BypassSuspected => "bypass_suspected", Engineering,
        "see that the program's API calls go through the proxy too, not its token requests alone (`spapi-sidecar doctor -- CMD`)";
    /// A program holds a token that Amazon issued.
    AppHoldsRealToken => "app_holds_real_token", Engineering,
        "take the real credentials out of the program's configuration; a phantom does (`spapi-sidecar tenant phantom {tenant}`)";
    /// Calls that no route allows are refused, as they should be.
    RouteNotAllowed => "route_not_allowed", Engineering,
        "if the program is meant to call it, add the route that the refusal suggests; otherwise ask why it calls";
    /// The charge method's last month ends soon.
    ChargeMethodDue => "charge_method_due", Finance,
        "renew the charge method of app {app} in the developer console, then write its new month to `charge_method.expires`";
    /// The client secret has to be rotated soon.
    ClientSecretDue => "client_secret_due", Engineering,
        "rotate the client secret in the developer console and store it: `spapi-sidecar app put {app}`";
    /// The authorization ends soon.
    AuthorizationDue => "authorization_due", Engineering,
        "have the selling partner authorize the application again in time: `spapi-sidecar authorize {tenant}`";
}

impl Cause {
    /// The next step for a tenant.
    #[must_use]
    pub fn next_step(self, tenant: &Tenant) -> String {
        self.step()
            .replace("{tenant}", tenant.id.as_str())
            .replace("{app}", tenant.app.as_str())
    }
}

impl Cause {
    /// The page of `deploy/runbooks` that says more, where there is one.
    #[must_use]
    pub const fn runbook(self) -> Option<&'static str> {
        Some(match self {
            Self::GrantNotStored => "grant_not_stored.md",
            Self::StoreSealed | Self::StoreDenied | Self::StoreUnavailable => "vault-sealed.md",
            Self::GrantMissing | Self::AppMissing | Self::GrantRevoked => "refresh_failing.md",
            Self::ClientSecretLapsed | Self::ClientRefused | Self::ClientSecretDue => {
                "client_secret_due.md"
            }
            Self::ChargeMethodLapsed | Self::ChargeMethodSuspected | Self::ChargeMethodDue => {
                "charge_method_due.md"
            }
            Self::VendorLinkBroken => "vendor-link.md",
            Self::UpstreamIncident | Self::UpstreamErrors => "upstream_incident.md",
            Self::LwaUnreachable | Self::LwaTrouble => "lwa-outage.md",
            Self::TokenRefused | Self::WrongRegion | Self::WrongMarketplace => "auth_errors.md",
            Self::RoleMissing
            | Self::ReportRoleMissing
            | Self::DataElementsDenied
            | Self::ScopeNotGranted => "scope-drift.md",
            Self::AuditUnavailable => "audit_unavailable.md",
            Self::TenantQuarantined => "tenant_quarantined.md",
            Self::AuthorizationLapsed | Self::AuthorizationDue => "authorization_due.md",
            Self::BypassSuspected => "bypass_suspected.md",
            Self::AppHoldsRealToken => "app_holds_real_token.md",
            Self::RouteNotAllowed => "new_endpoint.md",
            Self::TenantKilled
            | Self::PreflightPending
            | Self::UpstreamUnreachable
            | Self::AddressDenied
            | Self::TokenFieldUnread
            | Self::WrongTokenKind
            | Self::RdtNeeded
            | Self::UnknownOperation
            | Self::Overloaded
            | Self::Throttled
            | Self::ThrottledAsForbidden
            | Self::TokenPending
            | Self::SidecarDown
            | Self::TokensEndEarly => return None,
        })
    }
}

/// One thing that is wrong with a tenant, or will be.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Finding {
    /// What it is.
    pub cause: Cause,
    /// How sure that is.
    pub confidence: Confidence,
    /// What it means for the tenant's calls.
    pub severity: Severity,
    /// What it rests on, a line each.
    pub evidence: Vec<String>,
    /// What to do.
    pub next_step: String,
    /// Whose that is.
    pub whose: Whose,
    /// Their name, where the configuration gives one.
    pub owner: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_runbooks_that_are_named_exist() {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/runbooks");
        for page in Cause::ALL.iter().filter_map(|cause| cause.runbook()) {
            assert!(folder.join(page).is_file(), "{page}");
        }
    }

    #[test]
    fn every_cause_has_a_word_of_its_own_and_a_step_without_gaps() {
        let mut words: Vec<_> = Cause::ALL.iter().map(|cause| cause.as_str()).collect();
        words.sort_unstable();
        words.dedup();
        assert_eq!(words.len(), Cause::ALL.len());
        let text = "version: 1\nstore: { file: { path: /x/s, key_file: /x/k } }\napps: [{ id: erp }]\ntenants: [{ id: acme, app: erp, region: na }]\n";
        let config = crate::config::Config::parse("proxy.yaml", text, &|_| None).unwrap();
        let crate::config::Tenants::Listed(tenants) = &config.tenants else {
            panic!("they are listed")
        };
        for cause in Cause::ALL {
            let step = cause.next_step(&tenants[0]);
            assert!(
                !step.contains("{tenant}") && !step.contains("{app}"),
                "{step}"
            );
        }
    }
}
