//! Warnings: what a valid file may mean otherwise than its author thinks.
//!
//! Job: compare routes with the catalog, scopes with tenants, and egress rules with what SP-API needs; name what was asked
//! for and is not in this version; name the door that has no login.
//! Invariants: a warning never refuses; the catalog's roles are hints and are not compared.
//! Failure mode: none; what the catalog does not know is said to be unknown.

use crate::catalog::Catalog;
use crate::name::{Host, HostPattern};

use super::{Config, EgressMode, Environment, ProxyAuth, Region, RouteRule, Store, Tenants};

mod operation;

/// Most routes without an operation that are compared with all operations for the one that was meant: a person reads no more,
/// and each comparison takes tenths of a millisecond.
const COMPARED: usize = 100;

/// One piece of advice.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Warning {
    /// Place in the document, as in `routes[2].allow[0]`.
    pub path: String,
    /// What looks wrong.
    pub problem: String,
    /// What to write, if it is.
    pub remedy: String,
}

/// Everything worth saying about a valid configuration, in the order of the file.
#[must_use]
pub fn warnings(config: &Config) -> Vec<Warning> {
    let mut found = Vec::new();
    transparent(config, &mut found);
    store(config, &mut found);
    egress(config, &mut found);
    regions(config, &mut found);
    let catalog = Catalog::embedded();
    let mut strangers = 0;
    for (index, route) in config.routes.iter().enumerate() {
        let path = format!("routes[{index}]");
        scope(config, route, &path, &mut found);
        for (index, allow) in route.allow.iter().enumerate() {
            let path = format!("{path}.allow[{index}]");
            if let Some(known) = catalog.by_template(&allow.method, &allow.template) {
                operation::known(route, known, &path, &mut found);
                continue;
            }
            strangers += 1;
            let compared = if strangers <= COMPARED {
                catalog.operations()
            } else {
                &[]
            };
            operation::unknown(allow, compared, &path, &mut found);
        }
    }
    found
}

fn warn(
    found: &mut Vec<Warning>,
    path: &str,
    problem: impl Into<String>,
    remedy: impl Into<String>,
) {
    found.push(Warning {
        path: path.to_owned(),
        problem: problem.into(),
        remedy: remedy.into(),
    });
}

/// A transparent connection carries no proxy login: where one is required, a phantom has to name the tenant.
fn transparent(config: &Config, found: &mut Vec<Warning>) {
    let listen = &config.listen;
    let is_open = !listen.transparent.is_empty() && config.default_tenant.is_some();
    if is_open && listen.proxy_auth == ProxyAuth::Required {
        warn(
            found,
            "listen.transparent",
            "no login can be sent here, and with `proxy_auth: required` the default tenant serves nobody who sends none",
            "give programs that come this way the output of `spapi-sidecar tenant phantom TENANT` as their refresh token",
        );
    }
}

fn store(config: &Config, found: &mut Vec<Warning>) {
    if let Store::Vault(vault) = &config.store {
        let key = vault.transit.as_ref().map(|transit| transit.key.as_str());
        if key.is_some_and(|key| !key.contains("{tenant}")) {
            warn(
                found,
                "store.vault.transit.key",
                "one key seals what is stored for every tenant",
                "put `{tenant}` into its name",
            );
        }
    }
}

/// The endpoint of a region (FACTS section 1).
const fn endpoint(region: Region, environment: Environment) -> &'static str {
    match (region, environment) {
        (Region::Na, Environment::Production) => "sellingpartnerapi-na.amazon.com",
        (Region::Eu, Environment::Production) => "sellingpartnerapi-eu.amazon.com",
        (Region::Fe, Environment::Production) => "sellingpartnerapi-fe.amazon.com",
        (Region::Na, Environment::Sandbox) => "sandbox.sellingpartnerapi-na.amazon.com",
        (Region::Eu, Environment::Sandbox) => "sandbox.sellingpartnerapi-eu.amazon.com",
        (Region::Fe, Environment::Sandbox) => "sandbox.sellingpartnerapi-fe.amazon.com",
    }
}

fn is_endpoint(host: &str) -> bool {
    [Region::Na, Region::Eu, Region::Fe]
        .into_iter()
        .any(|region| {
            host == endpoint(region, Environment::Production)
                || host == endpoint(region, Environment::Sandbox)
        })
}

fn egress(config: &Config, found: &mut Vec<Warning>) {
    for (index, rule) in config.egress.iter().enumerate() {
        let path = format!("egress[{index}].host");
        let known = matches!(&rule.host, HostPattern::Exact(Host::Name(name)) if is_endpoint(name.as_str()));
        if rule.mode == EgressMode::Inject && !known {
            warn(
                found,
                &path,
                "access tokens would be sent to a host that is no endpoint of the Selling Partner API",
                "write an endpoint, as in sellingpartnerapi-na.amazon.com, unless this is a stand-in of yours",
            );
        }
        let HostPattern::Exact(host) = &rule.host else {
            continue;
        };
        let earlier = config.egress.iter().take(index);
        if let Some(other) = earlier
            .into_iter()
            .find(|earlier| earlier.host.matches(host))
        {
            warn(
                found,
                &path,
                format!(
                    "the rule is never reached: {} above it matches first",
                    other.host
                ),
                "move it up, or remove it",
            );
        }
    }
}

fn regions(config: &Config, found: &mut Vec<Warning>) {
    let Tenants::Listed(tenants) = &config.tenants else {
        return;
    };
    for (index, tenant) in tenants.iter().enumerate() {
        let host = endpoint(tenant.region, tenant.environment);
        let reached = Host::parse(host).is_ok_and(|host| {
            let first = config.egress.iter().find(|rule| rule.host.matches(&host));
            first.is_some_and(|rule| rule.mode == EgressMode::Inject)
        });
        if !reached && !config.egress.is_empty() {
            warn(
                found,
                &format!("tenants[{index}].region"),
                format!("no egress rule injects into {host}, the tenant's endpoint"),
                format!("add {{ host: {host}, mode: inject }} to `egress`"),
            );
        }
    }
}

fn scope(config: &Config, route: &RouteRule, path: &str, found: &mut Vec<Warning>) {
    let (Some(scope), Tenants::Listed(tenants)) = (&route.scope, &config.tenants) else {
        return;
    };
    if !tenants.is_empty() && !tenants.iter().any(|tenant| tenant.scopes.contains(scope)) {
        warn(
            found,
            &format!("{path}.scope"),
            format!("no tenant holds `{scope}`, so nobody can use this route"),
            "add it to a tenant's `scopes`, or correct its spelling",
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(text: &str) -> Config {
        let least = "version: 1\nstore: { file: { path: a, key_file: b } }\n";
        Config::parse("proxy.yaml", &format!("{least}{text}"), &|_| None)
            .map_err(|faults| faults.to_string())
            .unwrap()
    }

    fn said(found: Vec<Warning>) -> Vec<(String, String)> {
        let pair = |warning: Warning| (warning.problem, warning.remedy);
        found.into_iter().map(pair).collect()
    }

    fn problems(config: &Config) -> Vec<String> {
        let told = |warning: Warning| format!("{}: {}", warning.path, warning.problem);
        warnings(config).into_iter().map(told).collect()
    }

    #[test]
    fn a_scope_that_nobody_holds_is_told() {
        let config = config(
            "apps: [{ id: erp }]\ntenants: [{ id: acme, app: erp, region: na, scopes: [held] }]\n\
             routes: [{ allow: GET /a, scope: held }, { allow: GET /b, scope: missing }]\n",
        );
        let mut found = Vec::new();
        for route in &config.routes {
            scope(&config, route, "routes", &mut found);
        }
        let problem = "no tenant holds `missing`, so nobody can use this route";
        assert_eq!(
            said(found),
            [(
                problem.to_owned(),
                "add it to a tenant's `scopes`, or correct its spelling".to_owned()
            )]
        );
    }

    #[test]
    fn the_operation_that_was_meant_is_looked_for_behind_so_many_strangers_and_no_more() {
        let routes: String = (0..=COMPARED)
            .map(|n| format!("  - {{ allow: GET /orders/v0/ordres{n} }}\n"))
            .collect();
        let config = config(&format!("routes:\n{routes}"));
        let mut remedies = warnings(&config).into_iter().map(|told| told.remedy);
        assert!(
            remedies
                .by_ref()
                .take(COMPARED)
                .all(|remedy| remedy == "did you mean GET /orders/v0/orders?")
        );
        let last = "keep it only if Amazon's documentation has it".to_owned();
        assert_eq!(remedies.collect::<Vec<_>>(), [last]);
    }

    #[test]
    fn an_egress_rule_that_leaks_or_never_matches_is_told() {
        let config = config(
            "egress:\n  - { host: sellingpartnerapi-na.amazon.com, mode: inject }\n  - { host: \"*.example.com\", mode: inject }\n  - { host: a.example.com, mode: tunnel }\n",
        );
        assert_eq!(
            problems(&config),
            [
                "egress[1].host: access tokens would be sent to a host that is no endpoint of the Selling Partner API",
                "egress[2].host: the rule is never reached: *.example.com above it matches first",
            ]
        );
    }

    #[test]
    fn a_tenant_whose_endpoint_is_not_injected_is_told() {
        let config = config(
            "egress: [{ host: sellingpartnerapi-na.amazon.com, mode: inject }]\napps: [{ id: erp }]\n\
             tenants: [{ id: a, app: erp, region: na }, { id: b, app: erp, region: na, environment: sandbox }]\n",
        );
        assert_eq!(
            problems(&config),
            [
                "tenants[1].region: no egress rule injects into sandbox.sellingpartnerapi-na.amazon.com, the tenant's endpoint"
            ]
        );
    }

    #[test]
    fn one_transit_key_for_everybody_is_told() {
        let vault = |key: &str| {
            let text = format!(
                "version: 1\nstore: {{ vault: {{ address: https://v, auth: {{ token_file: t }}, transit: {{ key: \"{key}\" }} }} }}\n"
            );
            problems(&Config::parse("proxy.yaml", &text, &|_| None).unwrap())
        };
        assert_eq!(vault("spapi-{tenant}"), Vec::<String>::new());
        assert_eq!(
            vault("spapi"),
            ["store.vault.transit.key: one key seals what is stored for every tenant"]
        );
    }

    #[test]
    fn a_transparent_listener_beside_a_required_login_is_told_unless_a_phantom_is_needed() {
        let text = |default: &str| {
            format!(
                "listen: {{ transparent: [\"127.0.0.1:8443\"], proxy_auth: required }}\napps: [{{ id: erp }}]\n\
                 tenants: [{{ id: acme, app: erp, region: na }}]\ndefault_tenant: {default}\n"
            )
        };
        let told = problems(&config(&text("acme")));
        assert_eq!(told.len(), 1, "{told:?}");
        assert!(
            told[0].starts_with("listen.transparent: no login"),
            "{told:?}"
        );
        assert_eq!(problems(&config(&text("null"))), Vec::<String>::new());
    }
}
