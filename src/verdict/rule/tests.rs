//! Induced situations, one a line: what is wrong, and what is said of it.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::*;
use crate::config::{Config, Tenant, Tenants};
use crate::outcome::{Denial, Reason};
use crate::verdict::cause::{Confidence::*, Severity::*};
use crate::verdict::facts::{Around, Linkage, Sidecar, StateNote, needs};
use crate::verdict::recent::{Exchanged, Recent};

const ROUTES: &str = r#"
routes:
  - { allow: GET /orders/v0/orders, scope: inventory-and-order-tracking, owner: orders@example.com }
  - { allow: GET /sellers/v1/marketplaceParticipations, scope: selling-partner-insights }
  - { allow: "GET /orders/v0/orders/{orderId}/address", scope: direct-to-consumer-shipping, rdt: {} }
  - { allow: ["POST /reports/2021-06-30/reports", "GET /reports/2021-06-30/documents/{reportDocumentId}"], scope: inventory-and-order-tracking }
  - { allow: POST /notifications/v1/destinations, grantless: "sellingpartnerapi::notifications" }
  - { allow: GET /made/up, scope: inventory-and-order-tracking }
  - { allow: GET /vendor/orders/v1/purchaseOrders, scope: amazon-fulfillment }
"#;

const SCOPES: &str = "[inventory-and-order-tracking, selling-partner-insights, direct-to-consumer-shipping, amazon-fulfillment, pricing]";

fn now() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_795_000_000)
}

fn waits_for_preflight(facts: &mut Facts) {
    facts.waits =
        Some("its profile says `preflight: required`, and none has passed yet".to_owned());
}

fn ago(seconds: u64) -> SystemTime {
    now() - Duration::from_secs(seconds)
}

fn config(account: &str, scopes: &str) -> Config {
    let text = format!(
        "version: 1\nstore: {{ file: {{ path: /x/s, key_file: /x/k }} }}\napps: [{{ id: erp }}]\ntenants:\n  - {{ id: acme, app: erp, region: na, account: {account}, marketplaces: [ATVPDKIKX0DER], vendor_groups: [north], scopes: {scopes} }}\n{ROUTES}"
    );
    Config::parse("proxy.yaml", &text, &|_| None).unwrap_or_else(|faults| panic!("{faults}"))
}

/// A tenant with a good token, that called a minute ago, and whose app's charge method is good.
fn healthy_of(account: &str, scopes: &str) -> Facts {
    let config = config(account, scopes);
    let Tenants::Listed(tenants) = &config.tenants else {
        panic!("they are listed")
    };
    let needs = Arc::new(needs(&config.routes));
    let profile: Arc<Tenant> = Arc::clone(&tenants[0]);
    let mut recent = Recent::default();
    exchange(&mut recent, 600, "access", Ok(()));
    recent.took("getMarketplaceParticipations", false, ago(60));
    Facts {
        now: now(),
        window: Duration::from_mins(5),
        aside: None,
        waits: None,
        token_left: Some(Duration::from_mins(30)),
        scopes: Coverage::of(&profile, &needs),
        profile,
        needs,
        recent,
        charge: Charge {
            standing: Standing::Valid,
            days_left: Some(120),
            owner: Some("finance@example.com".to_owned()),
        },
        secret_days: Some(90),
        authorization_days: Some(200),
        around: Around {
            busy: 1,
            ..Around::default()
        },
        store_trouble: None,
        sidecar: Sidecar::Running,
        remind_within: 60,
    }
}

fn healthy() -> Facts {
    healthy_of("seller", SCOPES)
}

fn exchange(
    recent: &mut Recent,
    seconds: u64,
    kind: &'static str,
    result: Result<(), &'static str>,
) {
    recent.exchanged(Exchanged {
        at: ago(seconds),
        kind,
        forced: false,
        result,
    });
}

fn no_token(facts: &mut Facts, word: &'static str) {
    facts.token_left = None;
    exchange(&mut facts.recent, 5, "access", Err(word));
}

fn deny(facts: &mut Facts, operation: &str, status: u16, denial: Denial) {
    deny_as(facts, operation, status, denial, "access");
}

fn deny_as(facts: &mut Facts, operation: &str, status: u16, denial: Denial, kind: &'static str) {
    for seconds in [30, 20, 10] {
        facts
            .recent
            .was_denied(operation, (status, denial), kind, ago(seconds));
    }
}

fn stop(facts: &mut Facts, operation: &str, reason: Reason) {
    facts.recent.was_stopped(operation, reason, ago(10));
}

fn refuse_fresh(facts: &mut Facts, status: u16, denial: Denial) {
    deny(facts, "getOrders", status, denial);
    stop(facts, "getOrders", Reason::TokenRefused);
}

fn bad_charge(facts: &mut Facts, standing: Standing) {
    facts.charge.standing = standing;
    facts.charge.days_left = Some(-3);
}

fn aside(facts: &mut Facts, state: TenantState) {
    facts.aside = Some(StateNote {
        state,
        reason: "token leak".to_owned(),
        by: "jo".to_owned(),
        since: "2026-11-25T10:00:00Z".to_owned(),
    });
}

fn forget_calls(facts: &mut Facts) {
    facts.recent.last_taken = None;
}

fn every_role_is_refused(facts: &mut Facts) {
    deny(facts, "getOrders", 403, Denial::Role);
    deny(facts, "getMarketplaceParticipations", 403, Denial::Role);
}

struct Situation {
    what: &'static str,
    induce: fn(&mut Facts),
    want: Option<(Cause, Confidence, Severity, Whose)>,
}

macro_rules! situations {
    ($($what:literal: $induce:expr => $want:expr;)+) => {
        [$(Situation { what: $what, induce: $induce, want: $want },)+]
    };
}

const fn say(
    cause: Cause,
    sure: Confidence,
    severity: Severity,
) -> Option<(Cause, Confidence, Severity, Whose)> {
    Some((cause, sure, severity, cause.whose()))
}

fn of_tokens() -> Vec<Situation> {
    situations! {
        "all is well": |_| {} => None;
        "LWA says that the grant is revoked": |f| no_token(f, "grant_revoked") => say(Cause::GrantRevoked, Certain, Failing);
        "the grant is revoked while a token still lives": |f| exchange(&mut f.recent, 5, "access", Err("grant_revoked")) => say(Cause::GrantRevoked, Certain, Failing);
        "no refresh token in the store": |f| no_token(f, "grant_missing") => say(Cause::GrantMissing, Certain, Failing);
        "no client id and secret in the store": |f| no_token(f, "app_missing") => say(Cause::AppMissing, Certain, Failing);
        "LWA refuses the client": |f| no_token(f, "client_refused") => say(Cause::ClientRefused, Certain, Failing);
        "LWA refuses a client whose secret is past its date": |f| { no_token(f, "client_refused"); f.secret_days = Some(-2); } => say(Cause::ClientSecretLapsed, Likely, Failing);
        "LWA is down and a token still lives": |f| exchange(&mut f.recent, 5, "access", Err("lwa_unreachable")) => say(Cause::LwaUnreachable, Likely, Degraded);
        "LWA is down and no token is left": |f| no_token(f, "lwa_unreachable") => say(Cause::LwaUnreachable, Likely, Failing);
        "LWA talks nonsense": |f| no_token(f, "lwa_nonsense") => say(Cause::LwaTrouble, Likely, Failing);
        "an exchange ends in a way that no rule knows": |f| no_token(f, "interrupted") => say(Cause::LwaTrouble, Possible, Failing);
        "Vault is sealed and a token still lives": |f| exchange(&mut f.recent, 5, "access", Err("store_sealed")) => say(Cause::StoreSealed, Certain, Degraded);
        "Vault is sealed and no token is left": |f| no_token(f, "store_sealed") => say(Cause::StoreSealed, Certain, Failing);
        "the store refuses the sidecar": |f| no_token(f, "store_denied") => say(Cause::StoreDenied, Certain, Failing);
        "the store cannot be reached": |f| no_token(f, "store_unreachable") => say(Cause::StoreUnavailable, Certain, Failing);
        "the store is away and no exchange was due": |f| f.store_trouble = Some("store_timeout") => say(Cause::StoreUnavailable, Certain, Degraded);
        "LWA replaced the refresh token and the store does not take it": |f| { f.recent.grant_not_stored = Some(ago(5)); f.store_trouble = Some("store_sealed"); } => say(Cause::GrantNotStored, Certain, Degraded);
        "the same, and no token is left": |f| { f.recent.grant_not_stored = Some(ago(5)); no_token(f, "store_sealed"); } => say(Cause::GrantNotStored, Certain, Failing);
        "the first exchange has not ended": |f| { f.recent = Recent::default(); f.token_left = None; } => say(Cause::TokenPending, Certain, Degraded);
        "a grantless token cannot be had": |f| exchange(&mut f.recent, 5, "grantless", Err("lwa_refused")) => say(Cause::LwaTrouble, Likely, Degraded);
        "the Tokens API refuses data elements": |f| exchange(&mut f.recent, 5, "rdt", Err("rdt_refused")) => say(Cause::DataElementsDenied, Likely, Degraded);
        "tokens end early and new ones help": |f| { deny(f, "getOrders", 403, Denial::TokenExpired); f.recent.took("getOrders", false, ago(5)); } => None;
    }
    .into()
}

fn down(facts: &mut Facts, lacks: &[&'static str]) {
    facts.recent = Recent::default();
    facts.token_left = None;
    facts.sidecar = Sidecar::Down {
        why: "no answer".to_owned(),
        lacks: lacks.to_vec(),
    };
}

fn of_answers() -> Vec<Situation> {
    situations! {
        "Amazon says that the client secret has lapsed": |f| deny(f, "getOrders", 403, Denial::SecretLapsed) => say(Cause::ClientSecretLapsed, Certain, Failing);
        "a wave of 401s, and the charge method has lapsed": |f| { refuse_fresh(f, 401, Denial::Unauthenticated); bad_charge(f, Standing::Lapsed); } => say(Cause::ChargeMethodLapsed, Likely, Failing);
        "a wave of 403s, and the charge method was declined": |f| { deny(f, "getOrders", 403, Denial::Role); bad_charge(f, Standing::Declined); } => say(Cause::ChargeMethodLapsed, Likely, Failing);
        "the charge method has lapsed and calls still go": |f| bad_charge(f, Standing::Lapsed) => say(Cause::ChargeMethodLapsed, Certain, Degraded);
        "every role is refused, with a charge method thought good": |f| every_role_is_refused(f) => say(Cause::ChargeMethodSuspected, Likely, Failing);
        "every role is refused but one that was just taken": |f| { every_role_is_refused(f); f.recent.took("getReports", false, ago(5)); } => say(Cause::RoleMissing, Likely, Degraded);
        "401s to fresh tokens of one tenant": |f| refuse_fresh(f, 401, Denial::Unauthenticated) => say(Cause::TokenRefused, Likely, Failing);
        "fresh tokens of one tenant called invalid": |f| refuse_fresh(f, 403, Denial::TokenInvalid) => say(Cause::TokenRefused, Likely, Failing);
        "fresh tokens of many tenants refused": |f| { refuse_fresh(f, 401, Denial::Unauthenticated); f.around = Around { busy: 5, refused: 4, ..Around::default() }; } => say(Cause::UpstreamIncident, Likely, Failing);
        "Amazon errs for many tenants": |f| { f.recent.minutes.now(ago(5)).erred += 9; f.around = Around { busy: 3, erring: 3, ..Around::default() }; } => say(Cause::UpstreamIncident, Likely, Degraded);
        "Amazon errs for one tenant of many": |f| { f.recent.minutes.now(ago(5)).erred += 9; f.around = Around { busy: 9, erring: 1, ..Around::default() }; } => say(Cause::UpstreamErrors, Likely, Degraded);
        "Amazon errs once": |f| f.recent.minutes.now(ago(5)).erred += 1 => None;
        "one role is refused, others are not": |f| deny(f, "getOrders", 403, Denial::Role) => say(Cause::RoleMissing, Likely, Degraded);
        "one role is refused and nothing else is called": |f| { forget_calls(f); deny(f, "getOrders", 403, Denial::Role); } => say(Cause::RoleMissing, Likely, Failing);
        "a role is refused to an authorization past its year": |f| { deny(f, "getOrders", 403, Denial::Role); f.authorization_days = Some(-1); } => say(Cause::RoleMissing, Likely, Degraded);
        "a grantless operation is called with the tenant's token": |f| deny(f, "createDestination", 403, Denial::WrongKind) => say(Cause::WrongTokenKind, Likely, Degraded);
        "the tenant's operation is called with a grantless token": |f| deny_as(f, "getOrders", 403, Denial::WrongKind, "grantless") => say(Cause::WrongTokenKind, Likely, Degraded);
        "a restricted operation is called without an RDT": |f| deny(f, "getOrderAddress", 403, Denial::WrongKind) => say(Cause::RdtNeeded, Likely, Degraded);
        "a restricted operation is refused with an RDT": |f| deny_as(f, "getOrderAddress", 403, Denial::Role, "rdt") => say(Cause::RoleMissing, Likely, Degraded);
        "a path that Amazon does not know": |f| deny(f, "/made/up", 403, Denial::UnknownPath) => say(Cause::UnknownOperation, Likely, Degraded);
        "a report type without its role": |f| deny(f, "getReportDocument", 403, Denial::Forbidden) => say(Cause::ReportRoleMissing, Likely, Degraded);
        "forbidden just after a 429": |f| deny(f, "getOrders", 403, Denial::ThrottledAsForbidden) => say(Cause::ThrottledAsForbidden, Possible, Degraded);
        "the token goes out in a field that SP-API does not read": |f| deny(f, "getOrders", 403, Denial::TokenMissing) => say(Cause::TokenFieldUnread, Likely, Failing);
        "forbidden out of the blue": |f| deny(f, "getOrders", 403, Denial::Forbidden) => say(Cause::RoleMissing, Possible, Degraded);
        "marketplaces of another region": |f| deny(f, "getOrders", 403, Denial::Region) => say(Cause::WrongRegion, Certain, Degraded);
        "Amazon refuses data elements": |f| deny(f, "createRestrictedDataToken", 400, Denial::DataElements) => say(Cause::DataElementsDenied, Certain, Degraded);
        "a seller's call is refused for a vendor group": |f| deny(f, "getPurchaseOrders", 403, Denial::VendorLink) => say(Cause::VendorLinkBroken, Certain, Degraded);
        "429s reach the program": |f| { f.recent.minutes.now(ago(5)).throttled_through += 2; } => say(Cause::Throttled, Certain, Degraded);
        "429s are absorbed": |f| deny(f, "getOrders", 429, Denial::Throttled) => None;
        "a refusal that was mended": |f| { deny(f, "getOrders", 403, Denial::Role); f.recent.took("getOrders", false, ago(5)); } => None;
    }
    .into()
}

fn of_this_side() -> Vec<Situation> {
    situations! {
        "the profile lacks a scope that a program needs": |f| stop(f, "getOrders", Reason::ScopeDenied) => say(Cause::ScopeNotGranted, Certain, Degraded);
        "calls go to another region's host": |f| stop(f, "getOrders", Reason::RegionDenied) => say(Cause::WrongRegion, Certain, Degraded);
        "calls name a marketplace outside the profile": |f| stop(f, "getOrders", Reason::MarketplaceDenied) => say(Cause::WrongMarketplace, Certain, Degraded);
        "policy refuses an unlisted call": |f| stop(f, "unknown", Reason::RouteDenied) => None;
        "SP-API cannot be reached": |f| { forget_calls(f); stop(f, "getOrders", Reason::UpstreamUnreachable); } => say(Cause::UpstreamUnreachable, Likely, Failing);
        "SP-API's certificate is not trusted, after calls that went well": |f| stop(f, "getOrders", Reason::UpstreamTls) => say(Cause::UpstreamUnreachable, Likely, Degraded);
        "SP-API's name resolves to a private address": |f| stop(f, "getOrders", Reason::AddressDenied) => say(Cause::AddressDenied, Certain, Degraded);
        "the audit file cannot be written": |f| stop(f, "getOrderAddress", Reason::AuditUnavailable) => say(Cause::AuditUnavailable, Certain, Degraded);
        "the sidecar is overloaded": |f| stop(f, "getOrders", Reason::Overloaded) => say(Cause::Overloaded, Certain, Degraded);
        "a person switched the tenant off": |f| { aside(f, TenantState::Killed); no_token(f, "grant_revoked"); } => say(Cause::TenantKilled, Certain, Degraded);
        "no sidecar answers": |f| down(f, &[]) => say(Cause::SidecarDown, Certain, Failing);
        "no sidecar answers, and the store lacks the grant": |f| down(f, &["grant_missing"]) => say(Cause::GrantMissing, Certain, Failing);
        "no sidecar answers, and the charge method has lapsed": |f| { down(f, &[]); bad_charge(f, Standing::Lapsed); } => say(Cause::SidecarDown, Certain, Failing);
        "the tenant was set aside": |f| aside(f, TenantState::Quarantined) => say(Cause::TenantQuarantined, Certain, Degraded);
        "the profile wants a preflight, none has passed, and nobody calls": |f| waits_for_preflight(f) => say(Cause::PreflightPending, Certain, Degraded);
        "the profile wants a preflight, none has passed, and the store has no grant yet": |f| { waits_for_preflight(f); no_token(f, "grant_missing"); } => say(Cause::GrantMissing, Certain, Failing);
        "a preflight has passed since a call was refused for want of one": |f| stop(f, "getOrders", Reason::TenantQuarantined) => None;
        "the profile wants a preflight, none has passed, and a call was refused": |f| { waits_for_preflight(f); stop(f, "getOrders", Reason::TenantQuarantined); } => say(Cause::PreflightPending, Certain, Failing);
        "a tenant that waits for its preflight was set aside": |f| { waits_for_preflight(f); aside(f, TenantState::Quarantined); stop(f, "getOrders", Reason::TenantQuarantined); } => say(Cause::TenantQuarantined, Certain, Degraded);
        "the tenant was set aside and its cause stands": |f| { aside(f, TenantState::Quarantined); no_token(f, "grant_revoked"); } => say(Cause::GrantRevoked, Certain, Failing);
        "placeholders are vended and never used": |f| { for _ in 0..3 { f.recent.vended(ago(900)); } } => None;
        "a program holds a real token": |f| f.recent.real_token = Some(ago(9)) => None;
        "the client secret is past its date and calls still go": |f| f.secret_days = Some(-1) => say(Cause::ClientSecretLapsed, Possible, Degraded);
        "everything comes due soon": |f| { f.secret_days = Some(6); f.authorization_days = Some(29); f.charge.days_left = Some(1); } => None;
    }
    .into()
}

#[test]
fn every_induced_situation_has_its_probable_cause_confidence_severity_and_owner() {
    let all: Vec<Situation> = [of_tokens(), of_answers(), of_this_side()]
        .into_iter()
        .flatten()
        .collect();
    assert!(all.len() >= 60);
    for situation in all {
        let mut facts = healthy();
        (situation.induce)(&mut facts);
        let diagnosis = diagnose(&facts);
        let found = diagnosis.probable();
        let said = found.map(|f| (f.cause, f.confidence, f.severity, f.whose));
        assert_eq!(said, situation.want, "{}: {diagnosis:#?}", situation.what);
        for finding in &diagnosis.findings {
            assert!(
                !finding.evidence.is_empty(),
                "{}: {finding:?}",
                situation.what
            );
        }
    }
}

/// What is found besides the probable cause.
fn notices(induce: fn(&mut Facts)) -> Vec<Cause> {
    let mut facts = healthy();
    induce(&mut facts);
    let diagnosis = diagnose(&facts);
    assert_eq!(diagnosis.severity(), Notice);
    diagnosis
        .findings
        .iter()
        .map(|finding| finding.cause)
        .collect()
}

#[test]
fn what_is_worth_knowing_is_found_and_leaves_the_tenant_well() {
    for (induce, want) in [
        (
            (|f| {
                for _ in 0..3 {
                    f.recent.vended(ago(900));
                }
            }) as fn(&mut Facts),
            vec![Cause::BypassSuspected],
        ),
        (|f| f.recent.vended(ago(3700)), vec![Cause::BypassSuspected]),
        (|f| f.recent.vended(ago(900)), vec![]),
        (
            |f| f.recent.real_token = Some(ago(9)),
            vec![Cause::AppHoldsRealToken],
        ),
        (
            |f| stop(f, "unknown", Reason::RouteDenied),
            vec![Cause::RouteNotAllowed],
        ),
        (
            |f| {
                deny(f, "getOrders", 403, Denial::TokenExpired);
                f.recent.took("getOrders", false, ago(5));
            },
            vec![Cause::TokensEndEarly],
        ),
        (|f| f.secret_days = Some(60), vec![Cause::ClientSecretDue]),
        (|f| f.secret_days = Some(61), vec![]),
        (
            |f| f.authorization_days = Some(-40),
            vec![Cause::AuthorizationLapsed],
        ),
        (
            |f| f.charge.days_left = Some(0),
            vec![Cause::ChargeMethodDue],
        ),
    ] {
        assert_eq!(notices(induce), want);
    }
}

#[test]
fn wherever_credentials_are_refused_the_charge_method_stands_in_the_evidence() {
    for standing in [
        Standing::Valid,
        Standing::Unknown,
        Standing::Lapsed,
        Standing::Declined,
    ] {
        for (status, denial) in [
            (401, Denial::Unauthenticated),
            (403, Denial::TokenInvalid),
            (403, Denial::Role),
            (403, Denial::Forbidden),
        ] {
            let mut facts = healthy();
            facts.charge.standing = standing;
            if denial == Denial::Role || denial == Denial::Forbidden {
                deny(&mut facts, "getOrders", status, denial);
            } else {
                refuse_fresh(&mut facts, status, denial);
            }
            let diagnosis = diagnose(&facts);
            let probable = diagnosis.probable().unwrap();
            let shown = probable
                .evidence
                .iter()
                .any(|line| line.starts_with("charge method:"));
            assert!(shown, "{standing:?} {status}: {probable:?}");
        }
    }
}

#[test]
fn a_401_shows_the_charge_method_beside_a_cause_of_another_kind_too() {
    let mut facts = healthy();
    deny(&mut facts, "getOrders", 401, Denial::Unauthenticated);
    no_token(&mut facts, "grant_revoked");
    let diagnosis = diagnose(&facts);
    let probable = diagnosis.probable().unwrap();
    assert_eq!(probable.cause, Cause::GrantRevoked);
    assert!(
        probable.evidence.contains(&facts.charge.line()),
        "{probable:?}"
    );
}

#[test]
fn a_scope_that_amazon_refuses_is_missing_although_the_profile_grants_it() {
    let mut facts = healthy();
    assert_eq!(diagnose(&facts).scopes.missing, Vec::<String>::new());
    assert_eq!(diagnose(&facts).scopes.unused, ["pricing"]);
    deny(&mut facts, "getOrders", 403, Denial::Role);
    let diagnosis = diagnose(&facts);
    assert_eq!(diagnosis.scopes.missing, ["inventory-and-order-tracking"]);
    assert_eq!(
        diagnosis.probable().unwrap().owner.as_deref(),
        Some("orders@example.com")
    );
    // where the charge method explains it, the scope is not to blame
    bad_charge(&mut facts, Standing::Declined);
    assert_eq!(diagnose(&facts).scopes.missing, Vec::<String>::new());
}

#[test]
fn a_charge_method_in_doubt_names_the_one_who_mends_it() {
    let mut facts = healthy();
    every_role_is_refused(&mut facts);
    let diagnosis = diagnose(&facts);
    assert_eq!(diagnosis.charge.standing, Standing::Suspected);
    let probable = diagnosis.probable().unwrap();
    assert_eq!(probable.owner.as_deref(), Some("finance@example.com"));
}

#[test]
fn a_vendors_link_is_known_by_answers_alone() {
    let mut vendor = healthy_of("vendor", SCOPES);
    assert_eq!(vendor.linkage(), Linkage::Unknown);
    vendor.recent.took("getPurchaseOrders", true, ago(50));
    assert_eq!(vendor.linkage(), Linkage::Linked);
    deny(&mut vendor, "getPurchaseOrders", 403, Denial::VendorLink);
    assert_eq!(vendor.linkage(), Linkage::Broken);
    let found = diagnose(&vendor);
    let probable = found.probable().unwrap();
    assert_eq!(
        (probable.cause, probable.severity, probable.whose),
        (Cause::VendorLinkBroken, Failing, Whose::VendorManager)
    );
    vendor.now += Duration::from_hours(25);
    assert_eq!(
        vendor.linkage(),
        Linkage::Unknown,
        "it is old, and nothing has shown the contrary"
    );
    vendor.now = now();
    vendor.recent.took("getPurchaseOrder", true, ago(1));
    assert_eq!(vendor.linkage(), Linkage::Linked);
    assert_eq!(healthy().linkage(), Linkage::NotApplicable);
}

#[test]
fn a_vendors_new_authorization_is_the_vendor_managers() {
    let mut vendor = healthy_of("vendor", SCOPES);
    no_token(&mut vendor, "grant_revoked");
    assert_eq!(
        diagnose(&vendor).probable().unwrap().whose,
        Whose::VendorManager
    );
}

#[test]
fn amazons_word_on_a_lapsed_secret_beats_the_date() {
    let mut facts = healthy();
    deny(&mut facts, "getOrders", 403, Denial::SecretLapsed);
    assert_eq!(diagnose(&facts).secret_days, Some(0));
    facts.secret_days = Some(-9);
    assert_eq!(diagnose(&facts).secret_days, Some(-9));
    assert_eq!(
        diagnose(&facts).findings.len(),
        1,
        "one cause stands there once"
    );
}

#[test]
fn a_state_says_since_when_by_whom_and_why() {
    let mut facts = healthy();
    aside(&mut facts, TenantState::Killed);
    let diagnosis = diagnose(&facts);
    let line = &diagnosis.probable().unwrap().evidence[0];
    assert!(line.contains("by jo: token leak"), "{line}");
}
