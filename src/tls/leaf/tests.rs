use std::time::Duration;

use rustls::HandshakeKind;
use rustls::NamedGroup;
use rustls::ProtocolVersion;

use super::super::ALPN_H2;
use super::super::ALPN_HTTP11;
use super::super::test_support::DAY;
use super::super::test_support::app;
use super::super::test_support::handshake;
use super::super::test_support::host;
use super::super::test_support::interception;
use super::super::test_support::now;
use super::*;
use crate::config::CaMode;

fn cache() -> LeafCache {
    let names = [host("api.example"), host("s3.example")];
    let authority =
        CertificateAuthority::open(&interception(CaMode::Ephemeral), &names, now()).unwrap();
    LeafCache::new(Arc::new(authority)).unwrap()
}

#[test]
fn an_app_that_trusts_the_root_gets_the_host_it_asked_for() {
    let cache = cache();
    let server = cache.server_config(&host("api.example"), now()).unwrap();
    let app = Arc::new(app(cache.authority().root_der()));
    let (client, _) = handshake(&app, &server, "api.example").unwrap();
    assert_eq!(client.alpn_protocol(), Some(ALPN_H2));
    assert_eq!(client.protocol_version(), Some(ProtocolVersion::TLSv1_3));
    let suite = client.negotiated_cipher_suite().unwrap().suite();
    assert_eq!(suite, rustls::CipherSuite::TLS13_AES_128_GCM_SHA256);
    let group = client.negotiated_key_exchange_group().unwrap().name();
    assert_eq!(group, NamedGroup::X25519);
    assert_eq!(client.handshake_kind(), Some(HandshakeKind::Full)); // and no HelloRetryRequest
    assert!(handshake(&app, &server, "b.s3.example").is_err());
}

#[test]
fn tls_1_2_and_http_1_1_are_spoken_to_those_who_know_no_better() {
    let cache = cache();
    let server = cache.server_config(&host("api.example"), now()).unwrap();
    let new = app(cache.authority().root_der());
    let mut old = rustls::ClientConfig::builder_with_details(
        super::super::upstream_provider(),
        Arc::clone(&new.time_provider),
    )
    .with_protocol_versions(&[&rustls::version::TLS12])
    .unwrap()
    .with_root_certificates({
        let mut roots = rustls::RootCertStore::empty();
        roots.add(cache.authority().root_der().clone()).unwrap();
        roots
    })
    .with_no_client_auth();
    old.alpn_protocols = vec![ALPN_HTTP11.to_vec()];
    let (client, _) = handshake(&Arc::new(old), &server, "api.example").unwrap();
    assert_eq!(client.protocol_version(), Some(ProtocolVersion::TLSv1_2));
    assert_eq!(client.alpn_protocol(), Some(ALPN_HTTP11));
}

#[test]
fn a_second_connection_resumes_and_so_does_a_third() {
    let cache = cache();
    let server = cache.server_config(&host("api.example"), now()).unwrap();
    let app = Arc::new(app(cache.authority().root_der()));
    for want in [
        HandshakeKind::Full,
        HandshakeKind::Resumed,
        HandshakeKind::Resumed,
    ] {
        let (client, _) = handshake(&app, &server, "api.example").unwrap();
        assert_eq!(client.handshake_kind(), Some(want));
    }
}

#[test]
fn a_ticket_survives_the_renewal_of_the_leaf() {
    let cache = cache();
    let name = host("api.example");
    let app = Arc::new(app(cache.authority().root_der()));
    let first = cache.server_config(&name, now()).unwrap();
    handshake(&app, &first, "api.example").unwrap();
    let second = cache.server_config(&name, now() + DAY).unwrap();
    let (client, _) = handshake(&app, &second, "api.example").unwrap();
    assert_eq!(client.handshake_kind(), Some(HandshakeKind::Resumed));
}

#[test]
fn a_leaf_is_kept_for_two_thirds_of_its_life_and_then_renewed() {
    let cache = cache();
    let name = host("api.example");
    cache.server_config(&name, now()).unwrap();
    for (later, kept) in [
        (now() + Duration::from_hours(15), true),
        (now() + Duration::from_hours(16), false),
        (now() + Duration::from_hours(31), true),
        (now() - DAY / 8, false), // the clock was set back
    ] {
        let before = cache.configs.get(&name).unwrap().config;
        let config = cache.server_config(&name, later).unwrap();
        assert_eq!(Arc::ptr_eq(&before, &config), kept);
    }
}

#[test]
fn concurrent_misses_mint_once() {
    let cache = cache();
    let name = host("api.example");
    let barrier = std::sync::Barrier::new(16);
    let configs: Vec<_> = std::thread::scope(|scope| {
        let ask = || {
            barrier.wait();
            cache.server_config(&name, now()).unwrap()
        };
        let threads: Vec<_> = (0..16).map(|_| scope.spawn(ask)).collect();
        threads
            .into_iter()
            .map(|thread| thread.join().unwrap())
            .collect()
    });
    assert!(
        configs
            .iter()
            .all(|config| Arc::ptr_eq(config, &configs[0]))
    );
}

#[test]
fn names_without_end_do_not_take_memory_without_end() {
    let cache = cache();
    for n in 0..HOSTS + 200 {
        let name = host(&format!("b{n}.s3.example"));
        cache.server_config(&name, now()).unwrap();
    }
    cache.configs.run_pending_tasks();
    assert!(cache.configs.entry_count() <= HOSTS);
}

#[test]
fn a_host_that_is_not_intercepted_gets_no_configuration() {
    let refused = cache().server_config(&host("evil.example"), now());
    assert!(matches!(refused, Err(AuthorityError::NotCovered(_))));
}
