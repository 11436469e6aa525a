//! The policy through its front door: what the tests share.

use super::*;
use crate::config::{Account, Allow, Environment, Preflight, RdtPer, Region};
use crate::tenant::{AppId, TenantId};

mod check;
mod matching;
mod wording;

fn tenant() -> Tenant {
    Tenant {
        id: TenantId::parse("acme").unwrap(),
        app: AppId::parse("erp").unwrap(),
        account: Account::Seller,
        region: Region::Na,
        environment: Environment::Production,
        marketplaces: vec!["ATVPDKIKX0DER".to_owned()],
        vendor_groups: Vec::new(),
        scopes: vec!["role-a".to_owned()],
        preflight: Preflight::Optional,
    }
}

/// `METHOD /template`, with the scope that the tenant has.
fn rule(allow: &str) -> RouteRule {
    let (method, template) = allow.split_once(' ').unwrap();
    RouteRule {
        allow: vec![Allow {
            method: method.parse().unwrap(),
            template: template.to_owned(),
        }],
        scope: Some("role-a".to_owned()),
        grantless: None,
        rdt: None,
        encoded_slash: false,
        reason: None,
        owner: None,
    }
}

fn rdt(elements: &[&str]) -> Rdt {
    Rdt {
        data_elements: elements.iter().map(|e| (*e).to_owned()).collect(),
        per: RdtPer::Template,
        required: true,
    }
}

fn enforcing(rules: &[RouteRule]) -> Policy {
    Policy::of(&[], rules, PolicyMode::Enforce)
}

const NA: &str = "sellingpartnerapi-na.amazon.com";

fn verdict_at(policy: &Policy, host: &str, request: &str, query: Option<&str>) -> Verdict {
    let (method, path) = request.split_once(' ').unwrap();
    policy.route(&Ask {
        tenant: &tenant(),
        host: &Host::parse(host).unwrap(),
        method: &method.parse().unwrap(),
        path,
        query,
    })
}

/// The template that a request is allowed under, or the reason for which it is not.
fn outcome(policy: &Policy, request: &str) -> Result<String, Reason> {
    match verdict_at(policy, NA, request, None) {
        Verdict::Allow(route) => Ok(route.template.to_string()),
        Verdict::WouldRefuse(_, refusal) | Verdict::Refuse(refusal) => Err(refusal.reason),
    }
}

fn refusal_of(verdict: Verdict) -> Refusal {
    match verdict {
        Verdict::Refuse(refusal) | Verdict::WouldRefuse(_, refusal) => refusal,
        Verdict::Allow(route) => panic!("allowed as {}", route.template),
    }
}
