//! The proxy listener: CONNECT in its old and new forms, and what else may be asked of a proxy.

use crate::support::free_port;
use crate::support::sidecar::{NA, Setup, TestSidecar};
use crate::support::wire::{Answer, Wire, dial, request};

const ORDERS: &str = "/orders/v0/orders?MarketplaceIds=ATVPDKIKX0DER";

/// Whether a CONNECT in these very bytes opens a connection that serves a call.
async fn opens(sidecar: &TestSidecar, head: &str) -> bool {
    let mut wire = dial(sidecar.proxy()).await;
    let answer = wire.ask(head).await;
    assert_eq!(answer.status, 200, "{head:?}: {answer:?}");
    let stream = sidecar.handshake(wire.io, NA, &["http/1.1"]).await.unwrap();
    Wire::new(stream).get(NA, ORDERS, &[]).await.status == 200
}

async fn answer_to(sidecar: &TestSidecar, bytes: impl AsRef<[u8]>) -> Answer {
    dial(sidecar.proxy()).await.ask(bytes).await
}

#[tokio::test]
async fn connect_is_understood_as_every_known_client_writes_it() {
    let sidecar = TestSidecar::start().await;
    for head in [
        format!("CONNECT {NA}:443 HTTP/1.1\r\nHost: {NA}:443\r\n\r\n"),
        format!("CONNECT {NA}:443 HTTP/1.0\r\n\r\n"),
        format!("CONNECT {NA}:443 HTTP/1.1\r\nHost: {NA}\r\nConnection: close\r\n\r\n"),
        format!(
            "CONNECT {}:443 HTTP/1.1\r\nhost: {NA}:443\r\nProxy-Connection: keep-alive\r\nUser-Agent: x\r\n\r\n",
            NA.to_uppercase()
        ),
        format!("CONNECT {NA}.:443 HTTP/1.1\r\nHost: {NA}.:443\r\n\r\n"),
    ] {
        assert!(opens(&sidecar, &head).await, "{head:?}");
    }
}

#[tokio::test]
async fn an_intercepted_connection_serves_one_request_after_another() {
    let sidecar = TestSidecar::start().await;
    let mut inside = sidecar.inside(NA).await;
    for _ in 0..3 {
        assert_eq!(inside.get(NA, ORDERS, &[]).await.status, 200);
    }
    assert_eq!(sidecar.received().len(), 3);
}

#[tokio::test]
async fn a_host_that_no_rule_names_is_refused_at_connect_with_the_rule_to_add() {
    let sidecar = TestSidecar::start().await;
    let (answer, _) = sidecar.connect("elsewhere.example:443", &[]).await;
    let refusal = answer.refusal();
    assert_eq!((refusal.status, &*refusal.code), (403, "egress_denied"));
    assert_eq!(
        refusal.details,
        "Add to `egress`: - { host: elsewhere.example, mode: tunnel, ports: [443] }"
    );
    let record = sidecar.record().await;
    assert_eq!(
        (&record["host"], &record["method"], &record["outcome"]),
        (
            &"elsewhere.example".into(),
            &"CONNECT".into(),
            &"refused".into()
        )
    );
}

#[tokio::test]
async fn nothing_is_dialled_for_a_host_that_no_rule_names() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let sidecar = TestSidecar::with(Setup {
        connect_to: vec![(
            "elsewhere.example:443".to_owned(),
            listener.local_addr().unwrap().to_string(),
        )],
        ..Setup::default()
    })
    .await;
    let (answer, _) = sidecar.connect("elsewhere.example:443", &[]).await;
    assert_eq!(answer.refused(), (403, "egress_denied".to_owned()));
    let accepted =
        tokio::time::timeout(std::time::Duration::from_millis(100), listener.accept()).await;
    assert!(accepted.is_err(), "somebody was dialled");
}

#[tokio::test]
async fn a_port_that_the_rule_does_not_name_is_refused() {
    let sidecar = TestSidecar::start().await;
    for (target, code) in [
        (format!("{NA}:444"), "port_denied"),
        (format!("{NA}:80"), "port_denied"),
        ("tunnel.example:22".to_owned(), "port_denied"),
    ] {
        let (answer, _) = sidecar.connect(&target, &[]).await;
        assert_eq!(answer.refused(), (403, code.to_owned()), "{target}");
    }
}

#[tokio::test]
async fn an_address_that_no_rule_names_is_refused() {
    let sidecar = TestSidecar::start().await;
    for target in [
        "127.0.0.1:443",
        "[::1]:443",
        "169.254.169.254:443",
        "52.94.225.1:443",
    ] {
        let (answer, _) = sidecar.connect(target, &[]).await;
        assert_eq!(
            answer.refused(),
            (403, "egress_denied".to_owned()),
            "{target}"
        );
    }
}

#[tokio::test]
async fn a_connect_without_a_usable_authority_is_a_bad_request() {
    let sidecar = TestSidecar::start().await;
    for target in [
        NA,
        "a..b:443",
        "user@sellingpartnerapi-na.amazon.com:443",
        "sellingpartnerapi-na.amazon.com:0",
        "127.1:443",
        "0x7f.1:443",
        "0x7f000001:443",
        "0177.0.0.1:443",
        "017700000001:443",
        "2130706433:443",
        "127.0.0.1.:443",
        "[::ffff:127.0.0.1]:443",
        "[::ffff:7f00:1]:443",
        "[fe80::1%25eth0]:443",
        "[::1:443",
        "a%2eexample:443",
        "xn--a.example:443",
        "sellingpartnerapi-na.amazon.com..:443",
        "sellingpartnerapi-na.amazon.com:+443",
        "sellingpartnerapi-na.amazon.com:0443",
        "sellingpartnerapi-na.amazon.com:65979",
    ] {
        let answer = answer_to(
            &sidecar,
            format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n\r\n"),
        )
        .await;
        assert_eq!(
            answer.refused(),
            (400, "bad_request".to_owned()),
            "{target}"
        );
    }
}

#[tokio::test]
async fn a_request_for_a_path_of_the_proxy_itself_is_a_bad_request() {
    let sidecar = TestSidecar::start().await;
    for target in ["/", "/orders/v0/orders", "/health/live", "*"] {
        let method = if target == "*" { "OPTIONS" } else { "GET" };
        let answer = answer_to(&sidecar, request(method, NA, target, &[], "")).await;
        assert_eq!(
            answer.refused(),
            (400, "bad_request".to_owned()),
            "{target}"
        );
    }
}

#[tokio::test]
async fn a_url_in_plain_text_is_refused_with_what_to_do() {
    let sidecar = TestSidecar::start().await;
    for scheme in ["http", "https"] {
        let refusal = answer_to(
            &sidecar,
            request("GET", NA, &format!("{scheme}://{NA}{ORDERS}"), &[], ""),
        )
        .await
        .refusal();
        assert_eq!(
            (refusal.status, &*refusal.code),
            (403, "plaintext_denied"),
            "{scheme}"
        );
        assert!(refusal.details.contains("CONNECT"), "{refusal:?}");
    }
    assert_eq!(sidecar.received(), []);
}

#[tokio::test]
async fn a_url_in_plain_text_leaves_over_tls_where_that_is_configured() {
    let sidecar = TestSidecar::with(Setup {
        listen: "  plaintext: upgrade".to_owned(),
        ..Setup::default()
    })
    .await;
    let mut wire = dial(sidecar.proxy()).await;
    for url in [
        format!("http://{NA}{ORDERS}"),
        format!("https://{NA}{ORDERS}"),
        format!("https://{NA}:443{ORDERS}"),
    ] {
        let host = if url.contains(":443") {
            format!("{NA}:443")
        } else {
            NA.to_owned()
        };
        let answer = wire
            .ask(request(
                "GET",
                &host,
                &url,
                &[("proxy-connection", "keep-alive")],
                "",
            ))
            .await;
        assert_eq!(answer.status, 200, "{url}: {answer:?}");
    }
    let received = sidecar.received();
    assert_eq!(received.len(), 3);
    for one in received {
        assert_eq!(
            (
                one.target.as_str(),
                one.sni.as_deref(),
                one.selling_partner.as_deref()
            ),
            (ORDERS, Some(NA), Some("acme"))
        );
    }
}

#[tokio::test]
async fn plain_text_is_upgraded_for_inject_hosts_alone_and_under_the_same_policy() {
    let sidecar = TestSidecar::with(Setup {
        listen: "  plaintext: upgrade".to_owned(),
        ..Setup::default()
    })
    .await;
    for (url, code) in [
        (
            "http://api.amazon.com/auth/o2/token".to_owned(),
            "plaintext_denied",
        ),
        ("http://tunnel.example/".to_owned(), "plaintext_denied"),
        ("http://elsewhere.example/".to_owned(), "egress_denied"),
        (
            format!("http://{NA}/catalog/2022-04-01/items"),
            "route_denied",
        ),
    ] {
        let host = url.split('/').nth(2).unwrap().to_owned();
        let answer = answer_to(&sidecar, request("GET", &host, &url, &[], "")).await;
        assert_eq!(answer.refused(), (403, code.to_owned()), "{url}");
    }
    assert_eq!(sidecar.received(), []);
}

/// A world where `localhost` and `loop.test` are inject hosts, and `loop.test` leads to the sidecar itself.
async fn with_odd_hosts() -> TestSidecar {
    let base = Setup::default();
    let own = free_port();
    TestSidecar::with(Setup {
        proxy: format!("127.0.0.1:{own}"),
        egress: format!(
            "{}  - {{ host: localhost, mode: inject }}\n  - {{ host: loop.test, mode: inject }}\n",
            base.egress
        ),
        connect_to: vec![("loop.test:443".to_owned(), format!("127.0.0.1:{own}"))],
        ..base
    })
    .await
}

#[tokio::test]
async fn a_name_that_leads_inside_is_refused_on_the_call_not_at_connect() {
    let sidecar = with_odd_hosts().await;
    let mut inside = sidecar.inside("localhost").await;
    let refusal = inside.get("localhost", ORDERS, &[]).await.refusal();
    assert_eq!((refusal.status, &*refusal.code), (403, "address_denied"));
    assert!(
        refusal.details.contains("upstream.connect_to"),
        "{refusal:?}"
    );
}

#[tokio::test]
async fn a_name_that_leads_to_the_sidecar_itself_is_refused_as_a_loop() {
    let sidecar = with_odd_hosts().await;
    let answer = sidecar
        .inside("loop.test")
        .await
        .get("loop.test", ORDERS, &[])
        .await;
    assert_eq!(answer.refused(), (403, "proxy_loop".to_owned()));
}

#[tokio::test]
async fn a_request_that_carries_the_sidecars_own_mark_is_refused_as_a_loop() {
    let sidecar = TestSidecar::start().await;
    assert_eq!(sidecar.call(ORDERS, &[]).await.status, 200);
    let mark = sidecar.received()[0].headers["via"][0].clone();
    for via in [
        mark.clone(),
        format!("1.1 other, {mark}"),
        format!("{mark} (comment), 2 third"),
    ] {
        let answer = sidecar.call(ORDERS, &[("via", &via)]).await;
        assert_eq!(answer.refused(), (403, "proxy_loop".to_owned()), "{via}");
    }
    assert_eq!(sidecar.received().len(), 1);
}
