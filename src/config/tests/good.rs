//! Files that are accepted, and what they mean.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use super::{LEAST, environment, good, least_and};
use crate::config::{
    AuditRequests, CaMode, Config, EgressMode, InjectHeader, LogFormat, LogLevel, MinTls,
    PathParams, Plaintext, PolicyMode, ProxyAuth, QuarantineCause, RdtPer, Region, Resolver, Store,
    Tenants, ThrottleMode, Trust, VaultAuth,
};
use crate::name::Authority;

const SAMPLE: &str = include_str!("../../../proxy.yaml");

const DAY: Duration = Duration::from_secs(86_400);

fn sockets(text: &[&str]) -> Vec<SocketAddr> {
    text.iter().map(|text| text.parse().unwrap()).collect()
}

#[test]
fn the_sample_of_every_key_loads() {
    let config = good(SAMPLE);
    let Store::Vault(vault) = &config.store else {
        panic!("the sample keeps credentials in Vault");
    };
    assert_eq!(vault.address.as_str(), "https://vault.internal:8200/");
    assert_eq!(
        vault.auth,
        VaultAuth::AppRole {
            role_id_file: "/etc/spapi-sidecar/role-id".into(),
            secret_id_file: "/etc/spapi-sidecar/secret-id".into(),
            wrapped: false,
            mount: "approle".to_owned(),
        }
    );
    let modes: Vec<_> = config.egress.iter().map(|rule| rule.mode).collect();
    assert_eq!(
        modes,
        [
            EgressMode::Inject,
            EgressMode::Inject,
            EgressMode::Inject,
            EgressMode::Lwa,
            EgressMode::Document,
            EgressMode::Document,
        ]
    );
    assert!(config.egress.iter().all(|rule| rule.ports == [443]));
    let expires = config.apps[0]
        .charge_method
        .as_ref()
        .unwrap()
        .expires
        .unwrap();
    assert_eq!((expires.year, expires.month, expires.day), (2027, 3, 31));
    let Tenants::Listed(tenants) = &config.tenants else {
        panic!("the sample lists its tenants");
    };
    assert_eq!(tenants[0].region, Region::Na);
    assert_eq!(config.default_tenant, Some(tenants[0].id.clone()));
    assert_eq!(config.routes[1].allow.len(), 2);
    assert_eq!(config.routes[1].rdt.as_ref().unwrap().per, RdtPer::Template);
    assert_eq!(
        config.routes[2].grantless.as_deref(),
        Some("sellingpartnerapi::notifications")
    );
}

#[test]
fn what_is_left_out_has_the_values_of_the_sample() {
    let least = good(LEAST);
    let sample = good(SAMPLE);
    let shared = |config: &Config| {
        let Config {
            listen,
            interception,
            upstream,
            store: _,
            lwa,
            inject,
            egress: _,
            apps: _,
            tenants: _,
            default_tenant: _,
            policy,
            routes: _,
            throttle,
            alerts,
            telemetry,
            audit,
        } = config;
        format!(
            "{listen:?} {interception:?} {upstream:?} {lwa:?} {inject:?} {policy:?} {throttle:?} {alerts:?} {telemetry:?} {audit:?}"
        )
    };
    // where the file stands is told from whether it was named
    let named = |text: String| text.replace("path_is_named: false", "path_is_named: true");
    assert_eq!(named(shared(&least)), named(shared(&sample)));
    assert!(least.egress.is_empty() && least.apps.is_empty() && least.routes.is_empty());
    assert_eq!(least.default_tenant, None);
    assert!(matches!(&least.tenants, Tenants::Listed(tenants) if tenants.is_empty()));
}

#[test]
fn the_defaults_of_listen_and_interception_are_these() {
    let Config {
        listen,
        interception,
        ..
    } = good(LEAST);
    assert_eq!(listen.proxy, sockets(&["127.0.0.1:3128"]));
    assert_eq!(listen.transparent, []);
    assert_eq!(listen.admin, sockets(&["127.0.0.1:9902"])[0]);
    assert_eq!(
        listen.admin_token_file,
        Path::new("/run/spapi-sidecar/admin.token")
    );
    assert_eq!(listen.proxy_auth, ProxyAuth::Optional);
    assert_eq!(listen.plaintext, Plaintext::Deny);
    assert_eq!(listen.drain_timeout, Duration::from_secs(30));
    let limits = listen.limits;
    assert_eq!(limits.max_connections, 4096);
    assert_eq!((limits.header_bytes, limits.replay_body), (65536, 1 << 20));
    assert_eq!(limits.header_timeout, Duration::from_secs(10));
    assert_eq!(limits.idle_timeout, Duration::from_secs(90));
    assert_eq!(interception.mode, CaMode::Ephemeral);
    assert_eq!(
        interception.cert_path,
        Path::new("/run/spapi-sidecar/ca.pem")
    );
    assert_eq!(
        interception.bundle_path,
        Path::new("/run/spapi-sidecar/ca-bundle.pem")
    );
    assert_eq!(interception.valid_for, 30 * DAY);
    assert_eq!(interception.leaf_valid_for, DAY);
}

#[test]
fn the_defaults_of_upstream_lwa_and_inject_are_these() {
    let Config {
        upstream,
        lwa,
        inject,
        ..
    } = good(LEAST);
    assert_eq!(upstream.trust, Trust::System);
    assert_eq!(upstream.min_tls, MinTls::Tls12);
    assert!(upstream.pins.is_empty() && upstream.connect_to.is_empty());
    assert_eq!((upstream.client_cert, upstream.proxy), (None, None));
    assert_eq!(upstream.resolver, Resolver::System);
    assert_eq!(upstream.connect_timeout, Duration::from_secs(5));
    assert_eq!(upstream.response_timeout, Duration::from_secs(60));
    assert_eq!(
        lwa.token_url.as_str(),
        "https://api.amazon.com/auth/o2/token"
    );
    assert!((lwa.refresh_at - 0.5).abs() < f64::EPSILON);
    assert_eq!(lwa.clock_skew, Duration::from_secs(30));
    assert_eq!(lwa.timeout, Duration::from_secs(10));
    assert_eq!(
        inject,
        [InjectHeader::Authorization, InjectHeader::XAmzAccessToken]
    );
}

#[test]
fn the_defaults_of_what_operators_set_are_these() {
    let Config {
        policy,
        throttle,
        alerts,
        telemetry,
        audit,
        ..
    } = good(LEAST);
    assert_eq!(policy, PolicyMode::Enforce);
    assert_eq!(throttle.mode, ThrottleMode::Pace);
    assert_eq!(throttle.max_wait, Duration::from_secs(20));
    assert_eq!(throttle.max_attempts, 4);
    assert_eq!(alerts.webhook, None);
    assert_eq!(alerts.auth_errors, (10, Duration::from_secs(300)));
    assert_eq!(alerts.refresh_failures, 2);
    assert!((alerts.freshness_slo - 0.999).abs() < f64::EPSILON);
    assert_eq!(alerts.reminders, [60 * DAY, 30 * DAY, 7 * DAY]);
    assert_eq!(
        alerts.quarantine_on,
        [
            QuarantineCause::ChargeMethodLapsed,
            QuarantineCause::VendorLinkBroken,
            QuarantineCause::GrantRevoked,
        ]
    );
    assert_eq!(telemetry.log_format, LogFormat::Json);
    assert_eq!(telemetry.log_level, LogLevel::Info);
    assert_eq!(telemetry.path_params, PathParams::Mask);
    assert_eq!(
        (telemetry.otlp, telemetry.release),
        (None, "dev".to_owned())
    );
    assert_eq!(audit.path, Path::new("/var/lib/spapi-sidecar/audit.jsonl"));
    assert_eq!(audit.requests, AuditRequests::Restricted);
}

#[test]
fn the_defaults_inside_a_vault_are_these() {
    let config = good(
        "version: 1\nstore: { vault: { address: https://v:8200, auth: { kubernetes: { role: r } }, transit: { key: k } } }\n",
    );
    let Store::Vault(vault) = config.store else {
        panic!("the file names a vault");
    };
    assert_eq!((vault.namespace, vault.ca_file), (None, None));
    assert_eq!(vault.kv_mount, "secret");
    assert_eq!(vault.prefix, "spapi-sidecar");
    assert_eq!(vault.transit.unwrap().mount, "transit");
    assert!(vault.share_tokens);
    assert_eq!(
        vault.auth,
        VaultAuth::Kubernetes {
            role: "r".to_owned(),
            jwt_file: "/var/run/secrets/kubernetes.io/serviceaccount/token".into(),
            mount: "kubernetes".to_owned(),
        }
    );
}

#[test]
fn a_release_from_the_environment_is_the_default() {
    let env = |name: &str| (name == "RELEASE").then(|| "v7".to_owned());
    for (text, want) in [
        (LEAST.to_owned(), "v7"),
        (format!("{LEAST}telemetry: {{ release: dev-7 }}\n"), "dev-7"),
        (
            format!("{LEAST}telemetry:\n  release: ${{RELEASE:-dev}}\n"),
            "v7",
        ),
    ] {
        let config = Config::parse("proxy.yaml", &text, &env).unwrap();
        assert_eq!(config.telemetry.release, want, "{text}");
    }
}

#[test]
fn what_the_environment_holds_has_the_type_that_is_wanted() {
    let config = least_and(
        "listen:\n  limits: { max_connections: \"${COUNT}\", header_timeout: \"${COUNT}s\" }\n\
         telemetry:\n  release: ${COUNT}\nroutes:\n  - allow: GET /a\n    encoded_slash: ${TRUTH}\n    owner: ${EMPTY}\n",
    );
    assert_eq!(config.listen.limits.max_connections, 12);
    assert_eq!(config.listen.limits.header_timeout, Duration::from_secs(12));
    assert_eq!(config.telemetry.release, "12");
    assert!(!config.routes[0].encoded_slash);
    assert_eq!(config.routes[0].owner, None);
}

#[test]
fn an_empty_section_is_one_that_was_left_out() {
    for section in [
        "listen",
        "interception",
        "upstream",
        "lwa",
        "inject",
        "egress",
        "apps",
        "tenants",
        "default_tenant",
        "routes",
        "throttle",
        "alerts",
        "telemetry",
        "audit",
    ] {
        for nothing in ["", "~", "null"] {
            let config = least_and(&format!("{section}: {nothing}\n"));
            assert_eq!(
                format!("{config:?}"),
                format!("{:?}", good(LEAST)),
                "{section}"
            );
        }
    }
}

#[test]
fn every_choice_of_the_sample_s_comments_is_taken() {
    for text in [
        "listen: { proxy: [\"0.0.0.0:3128\", \"[::]:3128\"], proxy_auth: required, plaintext: upgrade }",
        "listen: { proxy: [\"127.0.0.1:0\", \"127.0.0.1:0\"], transparent: [\"[::1]:8443\"] }",
        "listen: { proxy: [], transparent: [\"127.0.0.1:8443\"], admin: \"0.0.0.0:9902\" }",
        "interception: { ca: { mode: file, key_path: /k } }",
        "upstream: { trust: { ca_file: ca.pem }, min_tls: \"1.3\", resolver: dns }",
        "upstream: { min_tls: 1.2, proxy: \"http://proxy.example:3128/\" }",
        "upstream: { pins: { api.amazon.com: [\"sha256/AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\"] } }",
        "upstream: { client_cert: { cert: c, key: k } }",
        "lwa: { token_url: \"http://127.0.0.1:8080/auth/o2/token\", clock_skew: 0s }",
        "lwa: { token_url: \"http://[::1]:8080/token\", timeout: 5m 30s 5ms }",
        "egress: [{ host: 192.0.2.1, mode: tunnel, ports: [443, 8443] }]",
        "tenants: { from: store }\ndefault_tenant: acme",
        "policy: report",
        "routes: [{ allow: GET /a, rdt: {} }, { allow: [POST /a], grantless: g }]",
        "throttle: { mode: pass, max_wait: 0s, max_attempts: 1 }",
        "alerts: { webhook: { url: \"http://localhost:9/x\", secret_file: s }, freshness_slo: 100%, reminders: [] }",
        "telemetry: { log: { format: pretty, level: trace, path_params: keep }, otlp: { endpoint: \"http://127.0.0.1:4317\" } }",
        "audit: { path: a, requests: all }",
        "listen: { limits: { replay_body: 0, header_bytes: 8192 } }",
    ] {
        least_and(text);
    }
    for auth in [
        "token_file: /run/vault/token",
        "cert: { cert: c, key: k, role: r }",
        "approle: { role_id_file: a, secret_id_file: b, wrapped: true, mount: team/approle }",
    ] {
        good(&format!(
            "version: 1\nstore: {{ vault: {{ address: \"http://localhost:8200\", auth: {{ {auth} }} }}, file: null }}\n"
        ));
    }
}

#[test]
fn connect_to_maps_authorities_to_addresses() {
    let config =
        least_and("upstream: { connect_to: { \"API.amazon.com.:443\": \"127.0.0.1:9443\" } }\n");
    let want = Authority::parse("api.amazon.com:443").unwrap();
    assert_eq!(
        config.upstream.connect_to.get(&want),
        Some(&sockets(&["127.0.0.1:9443"])[0])
    );
}

#[test]
fn an_anchor_s_value_stands_wherever_its_alias_does() {
    let config = least_and(
        "routes:\n  - { allow: GET /a, owner: &owner team@example.com }\n  - { allow: GET /b, owner: *owner }\n",
    );
    assert_eq!(config.routes[1].owner.as_deref(), Some("team@example.com"));
}

#[test]
fn windows_line_ends_and_a_byte_order_mark_change_nothing() {
    let text = format!("\u{feff}{}", SAMPLE.replace('\n', "\r\n"));
    assert_eq!(format!("{:?}", good(&text)), format!("{:?}", good(SAMPLE)));
    let broken = Config::parse("f", "version: 1\r\nstore: 1\r\n", &environment).unwrap_err();
    assert_eq!((broken.faults[0].line, broken.faults[0].column), (2, 8));
}

#[test]
fn a_place_is_found_again_by_its_path() {
    use crate::config::file::locate;
    for (path, want) in [
        (
            "routes[1].allow[1]",
            "GET /orders/v0/orders/{orderId}/buyerInfo",
        ),
        ("listen.limits.header_bytes", "64KiB"),
        // what is deeper than the file is looked for as deep as the file goes
        ("routes[0].allow[0]", "GET /orders/v0/orders"),
    ] {
        let (line, column) = locate(SAMPLE, path).unwrap();
        let line = SAMPLE.lines().nth(line - 1).unwrap();
        let here: String = line.chars().skip(column - 1).collect();
        assert!(here.starts_with(want), "{path}: {line}");
    }
}
