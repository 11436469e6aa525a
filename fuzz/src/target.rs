//! What is allowed is one route to every reader, and goes on as it came.

use std::sync::OnceLock;

use http::Method;
use http::uri::PathAndQuery;
use spapi_sidecar::catalog::Catalog;
use spapi_sidecar::catalog::tree::{parameter_name, segments};
use spapi_sidecar::config::{
    Account, Allow, Environment, PolicyMode, Preflight, Region, RouteRule, Tenant,
};
use spapi_sidecar::name::Host;
use spapi_sidecar::outcome::Reason;
use spapi_sidecar::policy::{Ask, Policy, Verdict};
use spapi_sidecar::tenant::{AppId, TenantId};

/// One byte chooses the method, the rest is a request target as it stands on the wire.
///
/// # Panics
/// When a reader could take an allowed target for another route, or it would not go on byte for byte.
pub fn check(data: &[u8]) {
    let Some((method, raw)) = data.split_first() else {
        return;
    };
    let Ok(target) = PathAndQuery::try_from(raw) else {
        return;
    };
    goes_on_as_it_came(raw, &target);
    let method =
        [Method::GET, Method::HEAD, Method::POST, Method::PUT][usize::from(method % 4)].clone();
    let world = world();
    let verdict = world.verdict(&world.enforcing, &method, target.path(), target.query());
    reporting_agrees(
        &verdict,
        &world.verdict(&world.reporting, &method, target.path(), target.query()),
    );
    match &verdict {
        Verdict::Allow(route) => {
            matches_literally(&route.template, target.path());
            for reading in readings(target.path()) {
                world.reads_the_same(&method, target.path(), &route.template, &reading);
            }
        }
        Verdict::Refuse(refusal) | Verdict::WouldRefuse(_, refusal) => {
            let text = format!("{}{}", refusal.message, refusal.details);
            assert!(!text.contains("canary") && text.len() < 2000, "{text}");
        }
    }
}

/// hyper hands the target on as these bytes; a fragment, which no request target has, is all that it may drop.
fn goes_on_as_it_came(raw: &[u8], target: &PathAndQuery) {
    let sent = target.as_str().as_bytes();
    let (kept, dropped) = raw.split_at(sent.len().min(raw.len()));
    if raw.first() == Some(&b'/') {
        assert_eq!(kept, sent);
        assert!(dropped.is_empty() || dropped.starts_with(b"#"), "{raw:?}");
    }
}

fn reporting_agrees(enforced: &Verdict, reported: &Verdict) {
    match (enforced, reported) {
        (Verdict::Allow(one), Verdict::Allow(other)) => assert_eq!(one, other),
        (Verdict::Refuse(one), Verdict::WouldRefuse(_, other)) => {
            assert_eq!(one, other);
            assert_ne!(one.reason, Reason::PathAmbiguous);
        }
        (Verdict::Refuse(one), Verdict::Refuse(other)) => {
            assert_eq!(
                (one.reason, other.reason),
                (Reason::PathAmbiguous, Reason::PathAmbiguous)
            );
        }
        (one, other) => panic!("{one:?} {other:?}"),
    }
}

fn matches_literally(template: &str, path: &str) {
    let greedy = template.ends_with("{resource}");
    let (wanted, seen): (Vec<_>, Vec<_>) = (segments(template).collect(), segments(path).collect());
    assert!(
        wanted.len() == seen.len() || (greedy && seen.len() > wanted.len()),
        "{template} {path}"
    );
    for (place, (wanted, seen)) in wanted.iter().zip(&seen).enumerate() {
        assert!(
            wanted == seen || parameter_name(wanted).is_some(),
            "{template} {path} {place}"
        );
        assert!(!seen.is_empty() && *seen != "." && *seen != "..", "{path}");
    }
}

/// The path as servers with different habits would see it, one behind the other.
fn readings(raw: &str) -> Vec<String> {
    let once = percent_decoded(raw);
    let twice = percent_decoded(&once);
    let mut all = Vec::new();
    for path in [raw.to_owned(), once, twice] {
        let slashed = path.replace('\\', "/");
        let cut = without_parameters(&slashed);
        all.extend([
            with_dots_resolved(&slashed),
            with_dots_resolved(&cut),
            slashed,
            cut,
            path,
        ]);
    }
    all
}

fn percent_decoded(raw: &str) -> String {
    let bytes = raw.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let digits = bytes
            .get(at + 1..at + 3)
            .and_then(|two| std::str::from_utf8(two).ok());
        let value = digits.and_then(|digits| u8::from_str_radix(digits, 16).ok());
        match (bytes[at], value) {
            (b'%', Some(value)) => {
                out.push(value);
                at += 3;
            }
            (byte, _) => {
                out.push(byte);
                at += 1;
            }
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

/// `;…` cut off each segment, as servlet containers do.
fn without_parameters(path: &str) -> String {
    let cut = path
        .split('/')
        .map(|segment| segment.split(';').next().unwrap_or_default());
    cut.collect::<Vec<_>>().join("/")
}

/// Dot segments resolved and empty ones merged (RFC 3986 section 5.2.4, and nginx's `merge_slashes`).
fn with_dots_resolved(path: &str) -> String {
    let mut out: Vec<&str> = Vec::new();
    for segment in path.split('/') {
        match segment {
            "" | "." => {}
            ".." => {
                out.pop();
            }
            other => out.push(other),
        }
    }
    format!("/{}", out.join("/"))
}

struct World {
    enforcing: Policy,
    reporting: Policy,
    tenant: Tenant,
    host: Host,
}

impl World {
    fn verdict(
        &self,
        policy: &Policy,
        method: &Method,
        path: &str,
        query: Option<&str>,
    ) -> Verdict {
        policy.route(&Ask {
            tenant: &self.tenant,
            host: &self.host,
            method,
            path,
            query,
        })
    }

    /// What another reader sees is this route, or no route and no operation at all.
    fn reads_the_same(&self, method: &Method, raw: &str, template: &str, reading: &str) {
        if reading == raw {
            return;
        }
        if let Verdict::Allow(other) = self.verdict(&self.enforcing, method, reading, None) {
            assert_eq!(&*other.template, template, "{raw:?} read as {reading:?}");
        }
        let own = Catalog::embedded().find(method, raw);
        if let Some(other) = Catalog::embedded().find(method, reading) {
            let own = own.map(|own| &own.path);
            assert_eq!(own, Some(&other.path), "{raw:?} read as {reading:?}");
        }
    }
}

fn world() -> &'static World {
    static WORLD: OnceLock<World> = OnceLock::new();
    WORLD.get_or_init(|| {
        let mut rules: Vec<RouteRule> = Catalog::embedded()
            .operations()
            .iter()
            // every other one, so that a neighbour is missing
            .step_by(2)
            .map(|operation| rule(operation.method.clone(), &operation.path, false))
            .collect();
        for (template, encoded_slash) in [
            ("/orders/v0/orders/{orderId}", true),
            ("/orders/v0/orders/{orderId}/address", false),
            ("/a/{x}", false),
            ("/a/secret", false),
            ("/a/{x}/c", true),
            ("/a/b/{y}", false),
            ("/{p}/{q}/{r}/{s}", true),
        ] {
            rules.push(rule(Method::GET, template, encoded_slash));
        }
        rules.push(rule(
            Method::POST,
            "/uploads/2020-11-01/uploadDestinations/{resource}",
            false,
        ));
        World {
            enforcing: Policy::of(&[], &rules, PolicyMode::Enforce),
            reporting: Policy::of(&[], &rules, PolicyMode::Report),
            tenant: tenant(),
            host: Host::parse("sellingpartnerapi-na.amazon.com").expect("a good host"),
        }
    })
}

fn rule(method: Method, template: &str, encoded_slash: bool) -> RouteRule {
    RouteRule {
        allow: vec![Allow {
            method,
            template: template.to_owned(),
        }],
        scope: Some("role".to_owned()),
        grantless: None,
        rdt: None,
        encoded_slash,
        reason: None,
        owner: None,
    }
}

fn tenant() -> Tenant {
    Tenant {
        id: TenantId::parse("acme").expect("a good id"),
        app: AppId::parse("erp").expect("a good id"),
        account: Account::Seller,
        region: Region::Na,
        environment: Environment::Production,
        marketplaces: vec!["ATVPDKIKX0DER".to_owned()],
        vendor_groups: Vec::new(),
        scopes: vec!["role".to_owned()],
        preflight: Preflight::Optional,
    }
}
