//! The commands' inner functions over a store in memory.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::list::{as_json, as_table, lines, missing};
use super::*;
use crate::config::{self, Config};
use crate::phantom::Reading;
use crate::secret::Opaque;
use crate::store::memory::MemoryStore;
use crate::tenant::AppId;

/// A configuration with two apps and two tenants.
pub(in crate::cli) fn config() -> Config {
    let app = |id: &str| config::App {
        id: AppId::parse(id).unwrap(),
        charge_method: None,
        client_secret_rotated: None,
        developer_profile_review: None,
    };
    let tenant = |id: &str, region: config::Region| {
        Arc::new(config::Tenant {
            id: TenantId::parse(id).unwrap(),
            app: AppId::parse("erp").unwrap(),
            account: config::Account::Seller,
            region,
            environment: config::Environment::Production,
            marketplaces: Vec::new(),
            vendor_groups: Vec::new(),
            scopes: Vec::new(),
            preflight: config::Preflight::Optional,
        })
    };
    Config {
        listen: listen(),
        interception: config::Interception {
            mode: config::CaMode::Ephemeral,
            cert_path: "ca.pem".into(),
            bundle_path: "bundle.pem".into(),
            valid_for: Duration::from_secs(1),
            leaf_valid_for: Duration::from_secs(1),
        },
        upstream: upstream(),
        store: config::Store::File(config::FileStore {
            path: "store.sealed".into(),
            key_file: "store.key".into(),
        }),
        lwa: config::Lwa {
            token_url: "https://api.amazon.com/auth/o2/token".parse().unwrap(),
            refresh_at: 0.5,
            clock_skew: Duration::from_secs(30),
            timeout: Duration::from_secs(10),
        },
        inject: Vec::new(),
        egress: Vec::new(),
        apps: vec![app("crm"), app("erp")],
        tenants: Tenants::Listed(vec![
            tenant("acme", config::Region::Na),
            tenant("zeta", config::Region::Eu),
        ]),
        default_tenant: None,
        policy: config::PolicyMode::Enforce,
        routes: Vec::new(),
        throttle: config::Throttle {
            mode: config::ThrottleMode::Pass,
            max_wait: Duration::from_secs(1),
            max_attempts: 1,
        },
        alerts: config::Alerts {
            webhook: None,
            auth_errors: (10, Duration::from_secs(300)),
            refresh_failures: 2,
            freshness_slo: 0.999,
            reminders: Vec::new(),
            quarantine_on: Vec::new(),
        },
        telemetry: config::Telemetry {
            log_format: config::LogFormat::Json,
            log_level: config::LogLevel::Info,
            path_params: config::PathParams::Mask,
            otlp: None,
            release: "test".to_owned(),
        },
        audit: config::Audit {
            path: "audit.jsonl".into(),
            path_is_named: true,
            requests: config::AuditRequests::None,
        },
    }
}

fn listen() -> config::Listen {
    config::Listen {
        proxy: Vec::new(),
        transparent: Vec::new(),
        admin: "127.0.0.1:9902".parse().unwrap(),
        admin_token_file: "admin.token".into(),
        proxy_auth: config::ProxyAuth::Optional,
        plaintext: config::Plaintext::Deny,
        limits: config::Limits {
            max_connections: 1,
            header_bytes: 1,
            header_timeout: Duration::from_secs(1),
            idle_timeout: Duration::from_secs(1),
            replay_body: 1,
        },
        drain_timeout: Duration::from_secs(1),
    }
}

fn upstream() -> config::Upstream {
    config::Upstream {
        trust: config::Trust::System,
        min_tls: config::MinTls::Tls12,
        pins: BTreeMap::new(),
        client_cert: None,
        connect_to: BTreeMap::new(),
        resolver: config::Resolver::System,
        connect_timeout: Duration::from_secs(1),
        response_timeout: Duration::from_secs(1),
        proxy: None,
    }
}

fn acme() -> TenantId {
    TenantId::parse("acme").unwrap()
}

fn token(text: &str) -> RefreshToken {
    RefreshToken::new(text.to_owned())
}

async fn put_record(store: &MemoryStore, key: RecordKey, pairs: &[(&str, &str)]) {
    let fields = pairs
        .iter()
        .map(|(name, value)| ((*name).to_owned(), Opaque::new((*value).to_owned())))
        .collect();
    store.write(&key, fields, Expect::Any).await.unwrap();
}

#[tokio::test]
async fn an_unknown_tenant_is_a_complaint_that_lists_the_known_ones() {
    let store = MemoryStore::default();
    let mut config = config();
    let found = known_tenant(&config, &store, "acme").await.unwrap();
    assert_eq!(found, Ok(acme()));
    let complaint = known_tenant(&config, &store, "amce").await.unwrap();
    assert_eq!(
        complaint.unwrap_err().0,
        "the configuration knows no tenant \"amce\"; it knows: acme, zeta"
    );

    config.tenants = Tenants::FromStore;
    let complaint = known_tenant(&config, &store, "../x").await.unwrap();
    assert!(complaint.unwrap_err().0.ends_with("it knows: none"));
    put_record(&store, RecordKey::Profile(acme()), &[("app", "erp")]).await;
    let found = known_tenant(&config, &store, "acme").await.unwrap();
    assert_eq!(found, Ok(acme()));
}

#[tokio::test]
async fn a_new_token_dates_the_authorization_and_the_same_one_does_not() {
    let store = MemoryStore::default();
    let before = [
        ("refresh_token", "Atzr|old"),
        ("selling_partner_id", "A1"),
        ("authorized_at", "2026-01-01"),
    ];
    put_record(&store, RecordKey::Grant(acme()), &before).await;
    for (text, want) in [("Atzr|old", "2026-01-01"), ("Atzr|new", "2026-11-23")] {
        let said = put_token(&store, &acme(), token(text), None, "2026-11-23".to_owned())
            .await
            .unwrap();
        assert!(!said.contains("Atzr"), "{said}");
        let (grant, _version) = Grant::load(&store, &acme()).await.unwrap().unwrap();
        assert_eq!(grant.refresh_token.expose(), text);
        assert_eq!(grant.authorized_at.as_deref(), Some(want), "{text}");
        assert_eq!(grant.selling_partner_id.as_deref(), Some("A1"));
    }
}

#[test]
fn what_is_certainly_no_refresh_token_is_refused_and_not_quoted() {
    for bad in [
        "Atza|canary",
        "Atc|canary",
        "Atz.sprdt|canary",
        "spx-r-canary",
    ] {
        let complaint = suitable(&Zeroizing::new(bad.to_owned())).unwrap_err();
        assert!(!complaint.0.contains("canary"), "{complaint}");
    }
    for good in ["Atzr|x", "something-else"] {
        assert!(suitable(&Zeroizing::new(good.to_owned())).is_ok());
    }
}

#[tokio::test]
async fn a_phantom_is_signed_with_the_stores_key() {
    let store = MemoryStore::default();
    let text = phantom(&store, &acme(), 7).await.unwrap();
    assert!(text.starts_with("spx-r-"), "{text}");
    let key = phantom_key(&store).await.unwrap();
    assert_eq!(
        key.read(text.trim_end()),
        Reading::Genuine(Kind::Refresh, acme())
    );
}

#[tokio::test]
async fn a_proxy_key_is_printed_once_and_stored_as_a_hash() {
    let store = MemoryStore::default();
    let key = new_proxy_key().unwrap();
    let printed = put_proxy_key(&store, &acme(), key.clone()).await.unwrap();
    assert_eq!(printed.trim_end(), key.expose());
    assert_eq!(printed.trim_end().len(), KEY_LENGTH);
    assert!(
        printed
            .trim_end()
            .bytes()
            .all(|b| b.is_ascii_alphanumeric())
    );
    let record = store.read(&RecordKey::ProxyKey(acme())).await.unwrap();
    let record = record.unwrap();
    assert_eq!(record.fields.len(), 1);
    assert!(!record.fields["hash"].expose().contains(key.expose()));
    assert!(
        ProxyKeyHash::from_record(&acme(), &record)
            .unwrap()
            .matches(&key)
    );
}

#[test]
fn every_character_of_the_alphabet_is_drawn_evenly() {
    let mut seen: BTreeMap<char, u32> = BTreeMap::new();
    for _key in 0..1000 {
        for character in new_proxy_key().unwrap().expose().chars() {
            *seen.entry(character).or_default() += 1;
        }
    }
    assert_eq!(seen.len(), ALPHABET.len());
    // 32000 draws, 516 of each expected, standard deviation 23: eight of them either way
    for (character, count) in seen {
        assert!((332..=700).contains(&count), "{character}: {count}");
    }
}

#[tokio::test]
async fn the_list_says_what_the_store_holds_and_never_a_value() {
    let store = MemoryStore::default();
    let credentials = [("client_id", "canary"), ("client_secret", "canary")];
    let erp = RecordKey::App(AppId::parse("erp").unwrap());
    put_record(&store, erp, &credentials).await;
    let grant = [("refresh_token", "canary")];
    put_record(&store, RecordKey::Grant(acme()), &grant).await;
    let states = [("states", r#"{"acme":{"state":"killed"}}"#)];
    put_record(&store, RecordKey::Fleet, &states).await;
    let lines = lines(&config(), &store).await.unwrap();
    assert_eq!(
        as_table(&lines),
        "TENANT  APP  REGION  ENVIRONMENT  STATE   GRANT  CREDENTIALS\n\
         acme    erp  na      production   killed  yes    yes\n\
         zeta    erp  eu      production   active  no     yes\n"
    );
    assert_eq!(
        missing(&lines),
        "tenant zeta has no refresh token in the store: run `spapi-sidecar tenant put-token zeta`\n"
    );
    let json = as_json(&lines);
    assert!(!json.contains("canary"), "{json}");
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(
        json[1],
        serde_json::json!({"id": "zeta", "app": "erp", "region": "eu", "environment": "production",
            "state": "active", "preflight": "optional", "grant": false, "credentials": true, "error": null})
    );
}

#[tokio::test]
async fn the_list_names_the_kind_of_a_store_error() {
    let store = MemoryStore::default();
    // a record without its secret
    let erp = RecordKey::App(AppId::parse("erp").unwrap());
    put_record(&store, erp, &[("client_id", "x")]).await;
    let lines = lines(&config(), &store).await.unwrap();
    assert_eq!(lines[0].credentials, None);
    assert_eq!(lines[0].error, Some("store_local"));
    assert!(as_table(&lines).contains("store_local"));
}

#[tokio::test]
async fn a_broken_profile_in_the_store_is_told_and_the_others_are_listed() {
    let store = MemoryStore::default();
    let mut config = config();
    config.tenants = Tenants::FromStore;
    let zeta = TenantId::parse("zeta").unwrap();
    let good = [("app", "erp"), ("region", "eu")];
    put_record(&store, RecordKey::Profile(zeta), &good).await;
    let broken = [("app", "erp"), ("region", "mars")];
    put_record(&store, RecordKey::Profile(acme()), &broken).await;
    let lines = lines(&config, &store).await.unwrap();
    let errors: Vec<_> = lines.iter().map(|line| line.error).collect();
    assert_eq!(errors, [Some("profile_broken"), None]);
    assert!(!missing(&lines).contains("app ?"), "{}", missing(&lines));
    let shown = show::gathered(&config, &store, &acme()).await.unwrap();
    let error = shown["profile_error"].as_str().unwrap();
    assert!(error.starts_with("region: `mars`"), "{error}");
}

#[tokio::test]
async fn an_app_without_credentials_is_said_once_however_many_tenants_it_serves() {
    let lines = lines(&config(), &MemoryStore::default()).await.unwrap();
    let missing = missing(&lines);
    assert_eq!(
        missing.matches("spapi-sidecar app put erp").count(),
        1,
        "{missing}"
    );
    assert_eq!(
        missing.matches("spapi-sidecar tenant put-token").count(),
        2,
        "{missing}"
    );
}
