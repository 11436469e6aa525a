//! Whose request it is: placeholders, proxy logins, the default; and what programs get instead of tokens.

use serde_json::json;
use spapi_sidecar::phantom::Kind;
use spapi_sidecar::store::RecordKey;

use crate::support::sidecar::{NA, Setup, TestSidecar};
use crate::support::wire::{Answer, basic, request};

const LWA: &str = "api.amazon.com";
const ORDERS: &str = "/orders/v0/orders?MarketplaceIds=ATVPDKIKX0DER";
const TOKENS: &str = "/tokens/2021-03-01/restrictedDataToken";
const KEY: &str = "k7Zq2mXw9Rt4Lb8Nc3Vd6Hf1Gj5Ps0Ty";

async fn vend(sidecar: &TestSidecar, kind: &str, body: &str) -> Answer {
    let text = request(
        "POST",
        LWA,
        "/auth/o2/token",
        &[("content-type", kind)],
        body,
    );
    sidecar.inside(LWA).await.ask(text).await
}

async fn vend_form(sidecar: &TestSidecar, body: &str) -> Answer {
    vend(
        sidecar,
        "application/x-www-form-urlencoded;charset=UTF-8",
        body,
    )
    .await
}

fn is_phantom(text: &serde_json::Value, kind: &str) -> bool {
    let text = text.as_str().unwrap_or_default();
    text.starts_with(kind)
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
}

/// Asserts that an answer has LWA's shape for a refresh, and that nothing went out for it.
fn assert_vended(sidecar: &TestSidecar, answer: &Answer, sent_before: usize) {
    assert_eq!(answer.status, 200, "{answer:?}");
    assert!(
        answer
            .field("content-type")
            .is_some_and(|kind| kind.starts_with("application/json")),
        "{answer:?}"
    );
    assert_eq!(
        (answer.field("cache-control"), answer.field("pragma")),
        (Some("no-store"), Some("no-cache")),
        "{answer:?}"
    );
    let body = answer.json();
    assert!(is_phantom(&body["access_token"], "spx-a-"), "{body}");
    assert_eq!(
        (&body["token_type"], &body["expires_in"]),
        (&json!("bearer"), &json!(3600)),
        "{body}"
    );
    assert_eq!(
        sidecar.sandbox.received().len(),
        sent_before,
        "a token request left"
    );
}

#[tokio::test]
async fn a_refresh_as_a_form_with_a_raw_bar_is_answered_here_in_lwas_shape() {
    let sidecar = TestSidecar::start().await;
    let before = sidecar.sandbox.received().len();
    let answer = vend_form(
        &sidecar,
        "grant_type=refresh_token&refresh_token=Atzr|abc&client_id=x&client_secret=y",
    )
    .await;
    assert_vended(&sidecar, &answer, before);
    let keys: Vec<String> = answer.json().as_object().unwrap().keys().cloned().collect();
    assert_eq!(
        keys,
        ["access_token", "expires_in", "refresh_token", "token_type"]
    );
}

#[tokio::test]
async fn a_refresh_as_json_is_answered_here_in_lwas_shape() {
    let sidecar = TestSidecar::start().await;
    let before = sidecar.sandbox.received().len();
    let body = r#"{"grant_type":"refresh_token","refresh_token":"spx-placeholder","client_id":"x","client_secret":"y"}"#;
    let answer = vend(&sidecar, "application/json", body).await;
    assert_vended(&sidecar, &answer, before);
    assert_eq!(answer.json()["refresh_token"], "spx-placeholder");
}

#[tokio::test]
async fn client_credentials_get_their_scope_back_and_no_refresh_token() {
    let sidecar = TestSidecar::start().await;
    let before = sidecar.sandbox.received().len();
    let answer = vend_form(&sidecar, "grant_type=client_credentials&scope=sellingpartnerapi%3A%3Anotifications&client_id=x&client_secret=y").await;
    assert_vended(&sidecar, &answer, before);
    assert_eq!(answer.json()["scope"], "sellingpartnerapi::notifications");
    assert_eq!(answer.json()["refresh_token"], serde_json::Value::Null);
}

#[tokio::test]
async fn the_token_endpoint_vends_whatever_it_is_asked() {
    let sidecar = TestSidecar::start().await;
    let before = sidecar.sandbox.received().len();
    for (kind, body) in [
        ("application/x-www-form-urlencoded", ""),
        (
            "application/x-www-form-urlencoded",
            "grant_type=authorization_code&code=x&redirect_uri=y",
        ),
        (
            "application/x-www-form-urlencoded",
            "refresh_token=spx-r-61-0000000000000000-00000000000000000000000000000000",
        ),
        ("application/json", "no json at all"),
        ("text/plain", "grant_type=refresh_token&refresh_token=x"),
    ] {
        assert_vended(&sidecar, &vend(&sidecar, kind, body).await, before);
    }
}

#[tokio::test]
async fn nothing_else_on_the_token_host_is_answered() {
    let sidecar = TestSidecar::start().await;
    let before = sidecar.sandbox.received().len();
    for (method, target) in [
        ("GET", "/auth/o2/token"),
        ("POST", "/auth/o2/create/codepair"),
        ("POST", "/user/profile"),
    ] {
        let answer = sidecar
            .inside(LWA)
            .await
            .ask(request(method, LWA, target, &[], ""))
            .await;
        assert_eq!(
            answer.refused(),
            (403, "route_denied".to_owned()),
            "{method} {target}"
        );
    }
    assert_eq!(sidecar.sandbox.received().len(), before);
}

#[tokio::test]
async fn a_program_configured_with_a_tenants_phantom_calls_with_that_tenants_token() {
    let sidecar = TestSidecar::start().await;
    let refresh = sidecar.phantom(Kind::Refresh, "beta");
    let vended = vend_form(
        &sidecar,
        &format!("grant_type=refresh_token&refresh_token={refresh}"),
    )
    .await;
    assert_eq!(vended.json()["refresh_token"], refresh);
    let access = vended.json()["access_token"].as_str().unwrap().to_owned();
    let answer = sidecar
        .call(ORDERS, &[("x-amz-access-token", &access)])
        .await;
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(sidecar.whose(), [Some("beta".to_owned())]);
    assert_eq!(sidecar.records()[1]["tenant"], "beta");
}

#[tokio::test]
async fn a_phantom_behind_bearer_names_its_tenant_too() {
    let sidecar = TestSidecar::start().await;
    let bearer = format!("bearer {}", sidecar.phantom(Kind::Access, "beta"));
    sidecar.call(ORDERS, &[("authorization", &bearer)]).await;
    assert_eq!(sidecar.whose(), [Some("beta".to_owned())]);
}

#[tokio::test]
async fn a_phantom_that_the_command_printed_names_its_tenant() {
    let sidecar = TestSidecar::start().await;
    let phantom = sidecar.command(&["tenant", "phantom", "beta"]).await;
    let vended = vend_form(
        &sidecar,
        &format!("grant_type=refresh_token&refresh_token={phantom}"),
    )
    .await;
    let access = vended.json()["access_token"].as_str().unwrap().to_owned();
    sidecar
        .call(ORDERS, &[("x-amz-access-token", &access)])
        .await;
    assert_eq!(sidecar.whose(), [Some("beta".to_owned())]);
}

#[tokio::test]
async fn a_proxy_key_that_the_command_printed_names_its_tenant() {
    let sidecar = TestSidecar::start().await;
    let key = sidecar.command(&["tenant", "proxy-key", "beta"]).await;
    let login = basic("beta", &key);
    let mut inside = sidecar
        .inside_with(NA, &[("proxy-authorization", &login)])
        .await;
    assert_eq!(inside.get(NA, ORDERS, &[]).await.status, 200);
    assert_eq!(sidecar.whose(), [Some("beta".to_owned())]);
}

#[tokio::test]
async fn a_login_names_the_tenant_of_what_the_token_endpoint_vends() {
    let sidecar = TestSidecar::start().await;
    sidecar.put_proxy_key("beta", KEY).await;
    let mut inside = sidecar
        .inside_with(LWA, &[("proxy-authorization", &basic("beta", KEY))])
        .await;
    let vended = inside
        .ask(request(
            "POST",
            LWA,
            "/auth/o2/token",
            &[],
            "refresh_token=x",
        ))
        .await;
    let access = vended.json()["access_token"].as_str().unwrap().to_owned();
    sidecar
        .call(ORDERS, &[("x-amz-access-token", &access)])
        .await;
    assert_eq!(sidecar.whose(), [Some("beta".to_owned())]);
}

#[tokio::test]
async fn a_wrong_or_unreadable_login_is_refused_and_never_becomes_the_default_tenant() {
    let sidecar = TestSidecar::start().await;
    sidecar.put_proxy_key("beta", KEY).await;
    for login in [
        basic("beta", "wrong"),
        basic("beta", ""),
        basic("acme", KEY),
        basic("acme", ""),
        basic("nobody", KEY),
        "Basic".to_owned(),
        "Basic !!!".to_owned(),
        "Basic YmV0YQ==".to_owned(),
        format!("Bearer {KEY}"),
    ] {
        let (answer, _) = sidecar
            .connect(&format!("{NA}:443"), &[("proxy-authorization", &login)])
            .await;
        assert_eq!(
            answer.refused(),
            (407, "proxy_auth_failed".to_owned()),
            "{login}"
        );
        assert!(
            answer
                .field("proxy-authenticate")
                .is_some_and(|field| field.starts_with("Basic ")),
            "{answer:?}"
        );
    }
    assert_eq!(sidecar.received(), []);
}

#[tokio::test]
async fn every_guess_at_a_proxy_key_costs_whoever_guesses_a_second() {
    let sidecar = TestSidecar::start().await;
    sidecar.put_proxy_key("acme", KEY).await;
    for (tenant, key) in [("acme", "a-guess"), ("nobody", KEY), ("beta", KEY)] {
        let began = tokio::time::Instant::now();
        let login = basic(tenant, key);
        let (answer, _) = sidecar
            .connect(
                "sellingpartnerapi-na.amazon.com:443",
                &[("proxy-authorization", &*login)],
            )
            .await;
        assert_eq!(answer.refused(), (407, "proxy_auth_failed".to_owned()));
        // a slower machine only makes it longer
        assert!(
            began.elapsed() >= std::time::Duration::from_millis(990),
            "{tenant}"
        );
    }
}

#[tokio::test]
async fn two_logins_at_once_are_refused() {
    let sidecar = TestSidecar::start().await;
    sidecar.put_proxy_key("beta", KEY).await;
    let (right, wrong) = (basic("beta", KEY), basic("acme", "x"));
    let fields = [
        ("proxy-authorization", &*right),
        ("proxy-authorization", &*wrong),
    ];
    let (answer, _) = sidecar.connect(&format!("{NA}:443"), &fields).await;
    assert_eq!(answer.refused(), (407, "proxy_auth_failed".to_owned()));
}

#[tokio::test]
async fn where_a_login_is_required_none_is_refused_with_what_to_send() {
    let sidecar = TestSidecar::with(Setup {
        listen: "  proxy_auth: required".to_owned(),
        ..Setup::default()
    })
    .await;
    for target in [NA, "nowhere.example"] {
        let (answer, _) = sidecar.connect(&format!("{target}:443"), &[]).await;
        assert_eq!(answer.refused(), (407, "proxy_auth_required".to_owned()));
        assert!(
            answer
                .field("proxy-authenticate")
                .is_some_and(|field| field.starts_with("Basic realm=")),
            "{answer:?}"
        );
    }
}

#[tokio::test]
async fn a_login_that_the_store_cannot_confirm_is_refused_on_the_call_and_never_becomes_the_default_tenant()
 {
    let sidecar = TestSidecar::start().await;
    sidecar.put_proxy_key("beta", KEY).await;
    std::fs::write(sidecar.folder.path().join("store.sealed"), "nonsense").unwrap();
    let mut inside = sidecar
        .inside_with(NA, &[("proxy-authorization", &basic("beta", KEY))])
        .await;
    let refusal = inside.get(NA, ORDERS, &[]).await.refusal();
    assert_eq!((refusal.status, &*refusal.code), (503, "token_unavailable"));
    assert!(refusal.details.starts_with("store: "), "{refusal:?}");
    assert_eq!(sidecar.received(), []);
}

#[tokio::test]
async fn a_login_that_the_store_cannot_confirm_opens_no_tunnel() {
    let sidecar = TestSidecar::start().await;
    sidecar.put_proxy_key("beta", KEY).await;
    std::fs::write(sidecar.folder.path().join("store.sealed"), "nonsense").unwrap();
    let login = basic("beta", KEY);
    let fields = [("proxy-authorization", &*login)];
    let (answer, _) = sidecar.connect("tunnel.example:443", &fields).await;
    let refusal = answer.refusal();
    assert_eq!((refusal.status, &*refusal.code), (503, "token_unavailable"));
    assert!(refusal.details.starts_with("store: "), "{refusal:?}");
}

#[tokio::test]
async fn a_login_that_the_store_cannot_confirm_is_vended_what_names_nobody() {
    let sidecar = TestSidecar::start().await;
    sidecar.put_proxy_key("beta", KEY).await;
    std::fs::write(sidecar.folder.path().join("store.sealed"), "nonsense").unwrap();
    let login = basic("beta", KEY);
    let mut inside = sidecar
        .inside_with(LWA, &[("proxy-authorization", &login)])
        .await;
    let asked = request("POST", LWA, "/auth/o2/token", &[], "refresh_token=x");
    assert_eq!(inside.ask(asked).await.status, 200);
    let record = sidecar.record().await;
    assert_eq!(record["operation"], "token", "{record}");
    assert!(record["tenant"].is_null(), "{record}");
}

#[tokio::test]
async fn a_real_token_behind_a_login_is_dropped_for_that_of_the_logins_tenant() {
    let sidecar = TestSidecar::start().await;
    sidecar.put_proxy_key("beta", KEY).await;
    let login = basic("beta", KEY);
    let real = [("x-amz-access-token", "Atza|IwEBIcanaryOfTheProgramItself")];
    let fields = [("proxy-authorization", &*login)];
    let mut inside = sidecar.inside_with(NA, &fields).await;
    assert_eq!(inside.get(NA, ORDERS, &real).await.status, 200);
    assert_eq!(sidecar.whose(), [Some("beta".to_owned())]);
}

#[tokio::test]
async fn a_real_token_behind_a_login_that_the_store_cannot_confirm_leads_nowhere() {
    let sidecar = TestSidecar::start().await;
    sidecar.put_proxy_key("beta", KEY).await;
    std::fs::write(sidecar.folder.path().join("store.sealed"), "nonsense").unwrap();
    let login = basic("beta", KEY);
    let real = [("x-amz-access-token", "Atza|IwEBIcanaryOfTheProgramItself")];
    let fields = [("proxy-authorization", &*login)];
    let mut inside = sidecar.inside_with(NA, &fields).await;
    let answer = inside.get(NA, ORDERS, &real).await;
    assert_eq!(answer.refused(), (503, "token_unavailable".to_owned()));
    assert_eq!(sidecar.received(), []);
}

#[tokio::test]
async fn a_login_and_a_phantom_of_two_tenants_are_refused() {
    let sidecar = TestSidecar::start().await;
    sidecar.put_proxy_key("beta", KEY).await;
    let mut inside = sidecar
        .inside_with(NA, &[("proxy-authorization", &basic("beta", KEY))])
        .await;
    let phantom = sidecar.phantom(Kind::Access, "acme");
    let answer = inside
        .get(NA, ORDERS, &[("x-amz-access-token", &phantom)])
        .await;
    assert_eq!(answer.refused(), (403, "tenant_mismatch".to_owned()));
    assert_eq!(sidecar.received(), []);
}

#[tokio::test]
async fn two_phantoms_of_two_tenants_are_refused() {
    let sidecar = TestSidecar::start().await;
    let (acme, beta) = (
        sidecar.phantom(Kind::Access, "acme"),
        sidecar.phantom(Kind::Access, "beta"),
    );
    let fields = [
        ("authorization", &*format!("Bearer {acme}")),
        ("x-amz-access-token", &*beta),
    ];
    let answer = sidecar.call(ORDERS, &fields).await;
    assert_eq!(answer.refused(), (403, "tenant_mismatch".to_owned()));
    assert_eq!(sidecar.received(), []);
}

#[tokio::test]
async fn a_phantom_that_another_key_signed_is_refused() {
    let sidecar = TestSidecar::start().await;
    let genuine = sidecar.phantom(Kind::Access, "acme");
    let forged = genuine.replacen("61636d65", "62657461", 1);
    assert_ne!(forged, genuine);
    let answer = sidecar
        .call(ORDERS, &[("x-amz-access-token", &forged)])
        .await;
    assert_eq!(answer.refused(), (403, "tenant_unknown".to_owned()));
    assert_eq!(sidecar.received(), []);
}

#[tokio::test]
async fn before_the_key_of_phantoms_is_known_a_phantom_is_refused_and_never_becomes_the_default_tenant()
 {
    let sidecar = TestSidecar::with(Setup {
        records: vec![(RecordKey::Phantom, "key", "not hexadecimal".to_owned())],
        gets_ready: false,
        ..Setup::default()
    })
    .await;
    let phantom = "spx-a-62657461-0000000000000007-00000000000000000000000000000000";
    let refusal = sidecar
        .call(ORDERS, &[("x-amz-access-token", phantom)])
        .await
        .refusal();
    assert_eq!((refusal.status, &*refusal.code), (503, "token_unavailable"));
    assert_eq!(sidecar.received(), []);
}

#[tokio::test]
async fn without_a_default_the_token_endpoint_vends_and_the_call_is_refused() {
    let sidecar = TestSidecar::with(Setup {
        default_tenant: "null".to_owned(),
        ..Setup::default()
    })
    .await;
    let vended = vend_form(
        &sidecar,
        "grant_type=refresh_token&refresh_token=spx-placeholder",
    )
    .await;
    assert_eq!(vended.status, 200);
    let access = vended.json()["access_token"].as_str().unwrap().to_owned();
    let refusal = sidecar
        .call(ORDERS, &[("x-amz-access-token", &access)])
        .await
        .refusal();
    assert_eq!((refusal.status, &*refusal.code), (403, "tenant_unknown"));
    assert!(
        refusal.details.contains("tenant phantom") && refusal.details.contains("HTTPS_PROXY"),
        "{refusal:?}"
    );
    assert_eq!(sidecar.received(), []);
}

#[tokio::test]
async fn a_real_token_from_the_program_is_dropped_for_the_sidecars_own() {
    let sidecar = TestSidecar::start().await;
    let real = "Atza|IwEBIcanaryOfTheProgramItself";
    let fields = [
        ("x-amz-access-token", real),
        ("authorization", "Bearer Atza|another"),
    ];
    assert_eq!(sidecar.call(ORDERS, &fields).await.status, 200);
    let received = sidecar.received();
    assert_eq!(received[0].selling_partner.as_deref(), Some("acme"));
    assert_ne!(
        received[0].token.as_ref().unwrap().fingerprint,
        spapi_sidecar::secret::fingerprint(real)
    );
}

#[tokio::test]
async fn the_tokens_api_is_answered_here_flat_with_a_phantom_that_works() {
    let sidecar = TestSidecar::start().await;
    let before = sidecar.sandbox.received().len();
    let body = r#"{"restrictedResources":[{"method":"GET","path":"/orders/v0/orders/902-1","dataElements":["buyerInfo"]},{"method":"GET","path":"/orders/v0/orders/{orderId}/address"}],"original_path":"/x","marketplaceIds":[]}"#;
    let answer = sidecar
        .inside(NA)
        .await
        .ask(request(
            "POST",
            NA,
            TOKENS,
            &[("content-type", "application/json")],
            body,
        ))
        .await;
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(
        sidecar.sandbox.received().len(),
        before,
        "a token request left"
    );
    let body = answer.json();
    assert!(is_phantom(&body["restrictedDataToken"], "spx-d-"), "{body}");
    assert_eq!(body["expiresIn"], 3600);
    assert_eq!(body.as_object().unwrap().len(), 2);
    let rdt = body["restrictedDataToken"].as_str().unwrap();
    assert_eq!(
        sidecar
            .call(
                "/orders/v0/orders/902-1/address",
                &[("x-amz-access-token", rdt)]
            )
            .await
            .status,
        200
    );
    assert_eq!(
        sidecar.received()[0].token.as_ref().map(|token| token.kind),
        Some("rdt")
    );
}

#[tokio::test]
async fn a_restricted_data_token_that_the_routes_do_not_cover_is_refused() {
    let sidecar = TestSidecar::start().await;
    let mut inside = sidecar.inside(NA).await;
    for resource in [
        r#"{"method":"GET","path":"/orders/v0/orders/902-1/items"}"#,
        r#"{"method":"GET","path":"/orders/v0/orders/902-1","dataElements":["buyerInfo","buyerTaxInformation"]}"#,
        r#"{"method":"GET","path":"/orders/v0/orders/902-1/address","dataElements":["shippingAddress"]}"#,
        r#"{"method":"GET","path":"/orders/v0/orders/../orders/902-1"}"#,
        r#"{"method":"POST","path":"/orders/v0/orders/902-1/address"}"#,
    ] {
        let body = format!(
            r#"{{"restrictedResources":[{{"method":"GET","path":"/orders/v0/orders/902-1/buyerInfo"}},{resource}]}}"#
        );
        let answer = inside.ask(request("POST", NA, TOKENS, &[], &body)).await;
        assert_eq!(
            answer.refused(),
            (403, "rdt_denied".to_owned()),
            "{resource}"
        );
    }
}

#[tokio::test]
async fn a_restricted_data_token_is_for_one_to_fifty_resources_with_a_method_each() {
    let sidecar = TestSidecar::start().await;
    let mut inside = sidecar.inside(NA).await;
    let good = r#"{"method":"GET","path":"/orders/v0/orders/902-1/address"}"#;
    let bad = r#"{"method":"G T","path":"/orders/v0/orders/902-1/address"}"#;
    for (resources, want) in [
        (vec![], 400),
        (vec![good], 200),
        (vec![good; 50], 200),
        (vec![good; 51], 400),
        (vec![good, bad], 400),
    ] {
        let body = format!(r#"{{"restrictedResources":[{}]}}"#, resources.join(","));
        let answer = inside.ask(request("POST", NA, TOKENS, &[], &body)).await;
        assert_eq!(answer.status, want, "{} resources", resources.len());
        if want == 400 {
            assert_eq!(answer.refused(), (400, "bad_request".to_owned()));
        }
    }
    assert_eq!(sidecar.received(), []);
}
