//! Parts of a sidecar, small, for benches that measure one of them.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use spapi_sidecar::config::{
    Account, Allow, CaMode, EgressMode, EgressRule, Environment, Interception, PolicyMode,
    Preflight, Region, RouteRule, Tenant,
};
use spapi_sidecar::name::{HostName, HostPattern};
use spapi_sidecar::policy::Policy;
use spapi_sidecar::secret::AccessToken;
use spapi_sidecar::store::BoxFuture;
use spapi_sidecar::tenant::{AppId, TenantId};
use spapi_sidecar::tls::authority::CertificateAuthority;
use spapi_sidecar::token::cache::{Fetch, next_generation};
use spapi_sidecar::token::lifetime::Life;
use spapi_sidecar::token::{Cause, Issued, Standing};
use tokio::time::Instant;
use zeroize::Zeroizing;

/// Where calls go.
pub(crate) const SP_API: &str = "sellingpartnerapi-na.amazon.com";

/// When leaves are minted.
pub(crate) const NOW: SystemTime = SystemTime::UNIX_EPOCH;

/// A seller.
pub(crate) fn tenant() -> Tenant {
    Tenant {
        id: TenantId::parse("acme").expect("a good id"),
        app: AppId::parse("erp").expect("a good id"),
        account: Account::Seller,
        region: Region::Na,
        environment: Environment::Production,
        marketplaces: vec!["ATVPDKIKX0DER".to_owned()],
        vendor_groups: Vec::new(),
        scopes: vec!["orders".to_owned()],
        preflight: Preflight::Optional,
    }
}

fn rule(template: String) -> RouteRule {
    RouteRule {
        allow: vec![Allow {
            method: http::Method::GET,
            template,
        }],
        scope: Some("orders".to_owned()),
        grantless: None,
        rdt: None,
        encoded_slash: false,
        reason: None,
        owner: None,
    }
}

/// `routes` routes and as many egress rules; those of orders and of documents come last.
pub(crate) fn policy(routes: usize) -> Policy {
    let mut rules: Vec<_> = (2..routes)
        .map(|n| rule(format!("/made-up-{}/v{n}/things/{{id}}", n % 7)))
        .collect();
    rules.push(rule("/orders/v0/orders".to_owned()));
    rules.push(rule("/orders/v0/orders/{orderId}/address".to_owned()));
    let hosts = (1..routes).map(|n| format!("host-{n}.example.com"));
    let egress: Vec<_> = hosts
        .chain(["*.s3.amazonaws.com".to_owned()])
        .map(|host| EgressRule {
            host: HostPattern::parse(&host).expect("a good pattern"),
            mode: EgressMode::Document,
            ports: vec![443],
        })
        .collect();
    Policy::of(&egress, &rules, PolicyMode::Enforce)
}

/// A token endpoint that answers at once: what is left is the cache's own work.
#[derive(Debug)]
pub(crate) struct Endpoint;

impl<K: Sync> Fetch<K> for Endpoint {
    fn fetch<'a>(&'a self, _key: &'a K, _forced: bool) -> BoxFuture<'a, Result<Issued, Cause>> {
        let now = Instant::now();
        let token = AccessToken::new(&Zeroizing::new(format!("Atza|{}", "x".repeat(360))));
        Box::pin(async move {
            Ok(Issued {
                token: token.expect("visible ASCII"),
                generation: next_generation(),
                issued: now,
                life: Life::parse(now, 3600, 0.5, Duration::ZERO, 0.0).expect("a usual life"),
                standing: Standing::default(),
            })
        })
    }
}

/// The host that leaves are minted for.
pub(crate) fn leaf_host() -> HostName {
    HostName::parse(SP_API).expect("a host name")
}

/// An authority for [`leaf_host`].
pub(crate) fn authority() -> Arc<CertificateAuthority> {
    let interception = Interception {
        mode: CaMode::Ephemeral,
        cert_path: PathBuf::new(),
        bundle_path: PathBuf::new(),
        valid_for: Duration::from_hours(720),
        leaf_valid_for: Duration::from_hours(24),
    };
    let made = CertificateAuthority::open(&interception, &[leaf_host()], NOW);
    Arc::new(made.expect("an authority"))
}
