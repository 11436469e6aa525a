//! What the route policy refuses, in which words, and that nothing of it reaches Amazon.

use spapi_sidecar::phantom::Kind;
use spapi_sidecar::sandbox::GrantRegistration;
use spapi_sidecar::secret::RefreshToken;

use crate::support::sidecar::{NA, Setup, TestSidecar, fault};
use crate::support::wire::{Answer, Refusal, basic, dial, request};

const EU: &str = "sellingpartnerapi-eu.amazon.com";

/// A refusal before which nothing left.
async fn refused_here(sidecar: &TestSidecar, answer: Answer, status: u16, code: &str) -> Refusal {
    let refusal = answer.refusal();
    assert_eq!(
        (refusal.status, &*refusal.code),
        (status, code),
        "{refusal:?}"
    );
    assert_eq!(sidecar.received(), [], "a refused request reached Amazon");
    let record = sidecar.record().await;
    assert_eq!(
        (&record["outcome"], &record["reason"]),
        (&"refused".into(), &code.into()),
        "{record}"
    );
    assert_eq!(
        (&record["attempts"], &record["status"]),
        (&0.into(), &status.into()),
        "{record}"
    );
    refusal
}

#[tokio::test]
async fn a_call_that_no_route_allows_is_refused_with_the_line_to_add() {
    let sidecar = TestSidecar::start().await;
    let answer = sidecar
        .call("/catalog/2022-04-01/items?keywords=canary", &[])
        .await;
    let refusal = refused_here(&sidecar, answer, 403, "route_denied").await;
    assert!(
        refusal
            .details
            .starts_with("Add to `routes`: - { allow: \"GET /catalog/2022-04-01/items\", scope: "),
        "{refusal:?}"
    );
    assert!(!format!("{refusal:?}").contains("canary"), "{refusal:?}");
}

#[tokio::test]
async fn a_call_that_wants_a_scope_the_tenant_lacks_is_refused_with_the_scope() {
    let sidecar = TestSidecar::start().await;
    let phantom = sidecar.phantom(Kind::Access, "beta");
    let answer = sidecar
        .call(
            "/orders/v0/orders/902-1234567-1234567/address",
            &[("x-amz-access-token", &phantom)],
        )
        .await;
    let refusal = refused_here(&sidecar, answer, 403, "scope_denied").await;
    assert!(
        refusal
            .details
            .contains("add direct-to-consumer-shipping to the tenant's `scopes`"),
        "{refusal:?}"
    );
    assert!(refusal.message.contains("tenant beta"), "{refusal:?}");
}

#[tokio::test]
async fn a_call_to_another_regions_host_is_refused_with_the_tenants_own_host() {
    let sidecar = TestSidecar::start().await;
    let answer = sidecar
        .inside(EU)
        .await
        .get(EU, "/orders/v0/orders", &[])
        .await;
    let refusal = refused_here(&sidecar, answer, 403, "region_denied").await;
    assert!(refusal.details.contains(NA), "{refusal:?}");
}

#[tokio::test]
async fn a_query_that_names_anothers_marketplace_is_refused_with_the_tenants_own() {
    let sidecar = TestSidecar::start().await;
    let answer = sidecar
        .call(
            "/orders/v0/orders?MarketplaceIds=ATVPDKIKX0DER,A2EUQ1WTGCTBG2",
            &[],
        )
        .await;
    let refusal = refused_here(&sidecar, answer, 403, "marketplace_denied").await;
    assert!(refusal.details.contains("[ATVPDKIKX0DER]"), "{refusal:?}");
    assert!(
        !format!("{refusal:?}").contains("A2EUQ1WTGCTBG2"),
        "a query value is quoted: {refusal:?}"
    );
}

#[tokio::test]
async fn a_path_that_could_be_read_in_two_ways_is_refused() {
    let sidecar = TestSidecar::start().await;
    let mut inside = sidecar.inside(NA).await;
    for path in [
        "//orders/v0/orders",
        "/orders//v0/orders",
        "/orders/v0/orders/",
        "/orders/./v0/orders",
        "/sellers/../orders/v0/orders",
        "/orders/%2e/v0/orders",
        "/sellers/%2E%2e/orders/v0/orders",
        "/sellers/.%2e/orders/v0/orders",
        "/orders\\v0\\orders",
        "/orders/v0/orders/..\\..\\x",
        "/orders%5cv0/orders",
        "/orders/v0/orders/%",
        "/orders/v0/orders/%4",
        "/orders/v0/orders/%zz",
        "/orders/v0/orders/%00",
        "/orders/v0/orders/%0d%0a",
        "/orders/v0/orders%2Fx",
        "/orders/v0/orders/902-1%2Faddress",
        "/listings/2021-08-01/items/SELLER%2F1/sku",
        "/listings/2021-08-01/items/SELLER/a%2F..%2Fb",
    ] {
        let refusal = inside.get(NA, path, &[]).await.refusal();
        assert_eq!(
            (refusal.status, &*refusal.code),
            (400, "path_ambiguous"),
            "{path}: {refusal:?}"
        );
    }
    assert_eq!(sidecar.received(), [], "an ambiguous path reached Amazon");
}

#[tokio::test]
async fn an_encoded_slash_inside_a_sku_is_forwarded_byte_for_byte() {
    let sidecar = TestSidecar::start().await;
    let target = "/listings/2021-08-01/items/SELLER/a%2Fb%20%C3%A4%FF?marketplaceIds=ATVPDKIKX0DER&q=a+b%2fc&&x";
    let answer = sidecar.call(target, &[]).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(sidecar.received()[0].target, target);
}

#[tokio::test]
async fn a_route_for_get_covers_head() {
    let sidecar = TestSidecar::start().await;
    let answer = sidecar
        .inside(NA)
        .await
        .ask(request("HEAD", NA, "/orders/v0/orders", &[], ""))
        .await;
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(sidecar.received()[0].method, "HEAD");
}

#[tokio::test]
async fn a_route_for_get_does_not_cover_post() {
    let sidecar = TestSidecar::start().await;
    let answer = sidecar
        .inside(NA)
        .await
        .ask(request("POST", NA, "/orders/v0/orders", &[], "{}"))
        .await;
    refused_here(&sidecar, answer, 403, "route_denied").await;
}

#[tokio::test]
async fn the_policy_that_only_reports_lets_a_refused_call_through_and_writes_it_down() {
    let sidecar = TestSidecar::with(Setup {
        sections: "policy: report".to_owned(),
        ..Setup::default()
    })
    .await;
    let answer = sidecar
        .call(
            "/catalog/2022-04-01/items?marketplaceIds=ATVPDKIKX0DER",
            &[],
        )
        .await;
    assert_eq!(answer.status, 200, "{answer:?}");
    let record = sidecar.record().await;
    assert_eq!(
        (&record["outcome"], &record["reason"], &record["operation"]),
        (
            &"would_refuse".into(),
            &"route_denied".into(),
            &"searchCatalogItems".into()
        ),
        "{record}"
    );
    assert_eq!(
        sidecar.received()[0].token.as_ref().map(|token| token.kind),
        Some("access")
    );
}

#[tokio::test]
async fn the_policy_that_only_reports_still_refuses_an_ambiguous_path() {
    let sidecar = TestSidecar::with(Setup {
        sections: "policy: report".to_owned(),
        ..Setup::default()
    })
    .await;
    let answer = sidecar.call("/orders/v0/../v0/orders", &[]).await;
    refused_here(&sidecar, answer, 400, "path_ambiguous").await;
}

#[tokio::test]
async fn the_policy_that_only_reports_still_refuses_a_host_that_no_rule_names() {
    let sidecar = TestSidecar::with(Setup {
        sections: "policy: report".to_owned(),
        ..Setup::default()
    })
    .await;
    let (answer, _) = sidecar.connect("elsewhere.example:443", &[]).await;
    assert_eq!(answer.refused(), (403, "egress_denied".to_owned()));
}

/// Refusals of calls to the tenant's own host.
async fn refused_calls(sidecar: &TestSidecar) -> Vec<Answer> {
    let mut all = Vec::new();
    for (target, phantom_of) in [
        ("/catalog/2022-04-01/items", "acme"),
        ("/orders/v0/orders/902-1/address", "beta"),
        ("/orders/v0/orders?MarketplaceIds=A2EUQ1WTGCTBG2", "acme"),
        ("/orders/v0//orders", "acme"),
        ("/orders/v0/orders", "gamma"),
        ("/orders/v0/orders", "nobody-knows"),
        ("/sellers/v1/marketplaceParticipations", "acme"),
        ("/orders/v0/orders/902-1/address", "acme"),
        ("/_sandbox/reset", "acme"),
        ("/_sandbox/late", "acme"),
    ] {
        let phantom = sidecar.phantom(Kind::Access, phantom_of);
        all.push(
            sidecar
                .call(target, &[("x-amz-access-token", &phantom)])
                .await,
        );
    }
    let via = sidecar.received()[0].headers["via"][0].clone();
    let large = "x".repeat(70 << 10);
    for fields in [
        [("via", &*via)],
        [("x-large", &*large)],
        [("host", NA)],
        [(
            "x-amz-access-token",
            "spx-a-61-0000000000000000-00000000000000000000000000000000",
        )],
    ] {
        all.push(sidecar.call("/orders/v0/orders", &fields).await);
    }
    all
}

/// Refusals that have to do with hosts, logins and plain text.
async fn refused_elsewhere(sidecar: &TestSidecar) -> Vec<Answer> {
    let mut all = Vec::new();
    all.push(
        sidecar
            .inside(NA)
            .await
            .get(EU, "/orders/v0/orders", &[])
            .await,
    );
    for host in [
        EU,
        "elsewhere.test",
        "loop.test",
        "localhost",
        "unused.s3.amazonaws.com",
    ] {
        all.push(
            sidecar
                .inside(host)
                .await
                .get(host, "/orders/v0/orders", &[])
                .await,
        );
    }
    let tokens =
        r#"{"restrictedResources":[{"method":"GET","path":"/orders/v0/orders/902-1/items"}]}"#;
    all.push(
        sidecar
            .inside(NA)
            .await
            .ask(request(
                "POST",
                NA,
                "/tokens/2021-03-01/restrictedDataToken",
                &[],
                tokens,
            ))
            .await,
    );
    for (target, fields) in [
        ("nowhere.example:443".to_owned(), vec![]),
        (format!("{NA}:444"), vec![]),
        (
            "localhost:444".to_owned(),
            vec![("proxy-authorization", basic("acme", "wrong"))],
        ),
    ] {
        let fields: Vec<_> = fields
            .iter()
            .map(|(name, value)| (*name, &**value))
            .collect();
        all.push(sidecar.connect(&target, &fields).await.0);
    }
    all.push(
        dial(sidecar.proxy())
            .await
            .get(NA, &format!("http://{NA}/orders/v0/orders"), &[])
            .await,
    );
    all
}

#[tokio::test]
async fn no_refusal_reads_like_amazons_word_for_an_expired_token() {
    let own = crate::support::free_port();
    let base = Setup::default();
    let sidecar = TestSidecar::with(Setup {
        proxy: format!("127.0.0.1:{own}"),
        egress: format!("{}  - {{ host: \"*.test\", mode: inject }}\n  - {{ host: localhost, mode: inject }}\n", base.egress),
        tenants: format!("{}  - {{ id: gamma, app: erp, region: na, scopes: [inventory-and-order-tracking] }}\n", base.tenants),
        upstream: "  response_timeout: 300ms\n  pins: { elsewhere.test: [\"sha256/AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\"] }".to_owned(),
        connect_to: vec![("loop.test:443".to_owned(), format!("127.0.0.1:{own}"))],
        connect_to_sandbox: vec!["elsewhere.test:443"],
        ..base
    })
    .await;
    for what in [
        r#"{"status":403,"details":"The access token you provided has expired.","path_prefix":"/sellers"}"#,
        r#"{"status":503,"path_prefix":"/tokens"}"#,
        r#"{"reset_connections":true,"path_prefix":"/_sandbox/reset"}"#,
        r#"{"latency_ms":5000,"path_prefix":"/_sandbox/late"}"#,
    ] {
        sidecar.sandbox.fault(fault(what));
    }
    let mut codes = std::collections::BTreeSet::new();
    let calls = refused_calls(&sidecar).await;
    for answer in calls.into_iter().chain(refused_elsewhere(&sidecar).await) {
        codes.insert(answer.refusal().code);
        let text = answer.text().to_ascii_lowercase();
        let expired = text
            .split_once("access token")
            .is_some_and(|(_, rest)| rest.contains("expired"));
        assert!(!expired, "{text}");
    }
    let codes: Vec<String> = codes.into_iter().collect();
    assert_eq!(
        codes,
        [
            "address_denied",
            "bad_request",
            "document_denied",
            "egress_denied",
            "header_too_large",
            "marketplace_denied",
            "name_mismatch",
            "path_ambiguous",
            "plaintext_denied",
            "port_denied",
            "proxy_auth_failed",
            "proxy_loop",
            "rdt_denied",
            "rdt_unavailable",
            "region_denied",
            "route_denied",
            "scope_denied",
            "tenant_unknown",
            "token_refused",
            "token_unavailable",
            "upstream_timeout",
            "upstream_tls",
            "upstream_unreachable",
        ]
    );
}

const OWN: &str = "ATVPDKIKX0DER";
const FOREIGN: &str = "A1PA6795UKMFR9";

async fn post(sidecar: &TestSidecar, host: &str, target: &str, body: &str) -> Answer {
    let fields = [("content-type", "application/json")];
    let text = request("POST", host, target, &fields, body);
    sidecar.inside(host).await.ask(text).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_that_names_anothers_marketplace_is_refused_before_it_leaves() {
    let sidecar = TestSidecar::with(Setup {
        routes: format!(
            "{}  - {{ allow: [POST /feeds/2021-06-30/feeds, POST /reports/2021-06-30/schedules], scope: inventory-and-order-tracking }}\n",
            Setup::default().routes
        ),
        ..Setup::default()
    })
    .await;
    let rdt =
        r#""restrictedResources":[{"method":"GET","path":"/orders/v0/orders/902-1/address"}]"#;
    for (target, rest) in [
        (
            "/reports/2021-06-30/reports",
            r#""reportType":"GET_MERCHANT_LISTINGS_ALL_DATA""#,
        ),
        (
            "/reports/2021-06-30/schedules",
            r#""reportType":"GET_MERCHANT_LISTINGS_ALL_DATA","period":"PT5M""#,
        ),
        (
            "/feeds/2021-06-30/feeds",
            r#""feedType":"JSON_LISTINGS_FEED","inputFeedDocumentId":"x""#,
        ),
        ("/tokens/2021-03-01/restrictedDataToken", rdt),
    ] {
        let before = sidecar.received().len();
        for foreign in [
            format!(r#"{{{rest},"marketplaceIds":["{FOREIGN}"]}}"#),
            format!(r#"{{"marketplaceIds":["{OWN}","{FOREIGN}"],{rest}}}"#),
            // which of the two an origin reads is not ours to know
            format!(r#"{{"marketplaceIds":["{FOREIGN}"],{rest},"marketplaceIds":["{OWN}"]}}"#),
            format!(r#"{{"MarketplaceId":"{FOREIGN}",{rest}}}"#),
            format!(r#"{{{rest},"marketplace\u0049ds":["{FOREIGN}"]}}"#),
        ] {
            let answer = post(&sidecar, NA, target, &foreign).await;
            let refusal = answer.refusal();
            assert_eq!(
                (refusal.status, &*refusal.code),
                (403, "marketplace_denied"),
                "{target} {foreign}"
            );
            assert!(!format!("{refusal:?}").contains(FOREIGN), "{refusal:?}");
        }
        for unreadable in ["not JSON", "{} {}", "{\"a\":", "\u{feff}{}"] {
            let answer = post(&sidecar, NA, target, unreadable).await;
            assert_eq!(
                answer.refused(),
                (400, "bad_request".to_owned()),
                "{unreadable}"
            );
        }
        assert_eq!(sidecar.received().len(), before, "{target}");
        let own = format!(r#"{{{rest},"marketplaceIds":["{OWN}"]}}"#);
        let answer = post(&sidecar, NA, target, &own).await;
        assert!((200..300).contains(&answer.status), "{target} {answer:?}");
    }
}

#[tokio::test]
async fn the_policy_that_only_reports_lets_a_body_with_anothers_marketplace_through_and_writes_it_down()
 {
    let sidecar = TestSidecar::with(Setup {
        sections: "policy: report".to_owned(),
        ..Setup::default()
    })
    .await;
    let body = format!(
        r#"{{"reportType":"GET_MERCHANT_LISTINGS_ALL_DATA","marketplaceIds":["{FOREIGN}"]}}"#
    );
    post(&sidecar, NA, "/reports/2021-06-30/reports", &body).await;
    assert_eq!(sidecar.received().len(), 1);
    let record = sidecar.record().await;
    assert_eq!(
        (&record["outcome"], &record["reason"]),
        (&"would_refuse".into(), &"marketplace_denied".into()),
        "{record}"
    );
}

#[tokio::test]
async fn a_body_that_names_marketplaces_and_cannot_be_kept_for_reading_is_refused() {
    let sidecar = TestSidecar::with(Setup {
        listen: "  limits: { replay_body: 1KiB }".to_owned(),
        ..Setup::default()
    })
    .await;
    let padding = " ".repeat(2 << 10);
    let body = format!(
        r#"{{"reportType":"GET_MERCHANT_LISTINGS_ALL_DATA",{padding}"marketplaceIds":["{OWN}"]}}"#
    );
    let answer = post(&sidecar, NA, "/reports/2021-06-30/reports", &body).await;
    let refusal = refused_here(&sidecar, answer, 400, "bad_request").await;
    assert!(refusal.details.contains("replay_body"), "{refusal:?}");
}

#[tokio::test]
async fn a_restricted_data_token_is_asked_for_at_the_tenants_own_host_alone() {
    let sidecar = TestSidecar::start().await;
    let target = "/tokens/2021-03-01/restrictedDataToken";
    let body =
        r#"{"restrictedResources":[{"method":"GET","path":"/orders/v0/orders/902-1/address"}]}"#;
    let answer = post(&sidecar, EU, target, body).await;
    let refusal = refused_here(&sidecar, answer, 403, "region_denied").await;
    assert!(refusal.details.contains(NA), "{refusal:?}");
    assert_eq!(post(&sidecar, NA, target, body).await.status, 200);
}

#[tokio::test]
async fn a_sandbox_tenant_is_kept_to_sandbox_hosts_and_a_production_tenant_from_them() {
    const SANDBOX: &str = "sandbox.sellingpartnerapi-na.amazon.com";
    let mut base = Setup::default();
    let grant = RefreshToken::new("Atzr|canary-tester".to_owned());
    base.sandbox
        .grants
        .push(GrantRegistration::new(grant, "tester"));
    let sidecar = TestSidecar::with(Setup {
        egress: format!("{}  - {{ host: {SANDBOX}, mode: inject }}\n", base.egress),
        tenants: format!(
            "{}  - {{ id: tester, app: erp, region: na, environment: sandbox, scopes: [inventory-and-order-tracking] }}\n",
            base.tenants
        ),
        grants: vec!["acme", "beta", "tester"],
        ..base
    })
    .await;
    let tester = sidecar.phantom(Kind::Access, "tester");
    let acme = sidecar.phantom(Kind::Access, "acme");
    for (host, token, own) in [(SANDBOX, &acme, NA), (NA, &tester, SANDBOX)] {
        let mut inside = sidecar.inside(host).await;
        let answer = inside
            .get(host, "/orders/v0/orders", &[("x-amz-access-token", token)])
            .await;
        let refusal = answer.refusal();
        assert_eq!((refusal.status, &*refusal.code), (403, "region_denied"));
        assert!(refusal.details.contains(own), "{refusal:?}");
    }
    assert_eq!(sidecar.received(), []);
    let mut inside = sidecar.inside(SANDBOX).await;
    let fields = [("x-amz-access-token", &*tester)];
    inside.get(SANDBOX, "/orders/v0/orders", &fields).await;
    let hosts: Vec<String> = sidecar.received().into_iter().map(|one| one.host).collect();
    assert_eq!(hosts, [SANDBOX]);
}
