//! What of a request's head reaches Amazon: everything, except credentials and what ends at a hop; and two fields more.

use std::collections::BTreeSet;

use crate::support::sidecar::{NA, Setup, TestSidecar};
use crate::support::wire::{get_h2, request};

const ORDERS: &str = "/orders/v0/orders?MarketplaceIds=ATVPDKIKX0DER";
/// What the sidecar sets.
const SET: [&str; 3] = ["authorization", "via", "x-amz-access-token"];

/// Names of the fields that reached Amazon.
fn arrived(sidecar: &TestSidecar) -> Vec<String> {
    let mut names = sidecar.received().remove(0).header_names;
    names.sort();
    names
}

fn sorted(names: &[&str]) -> Vec<String> {
    let mut names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    names.sort();
    names
}

#[tokio::test]
async fn a_plain_get_arrives_with_its_own_fields_two_tokens_and_a_via_mark() {
    let sidecar = TestSidecar::start().await;
    let fields = [
        ("User-Agent", "app/1 (Language=None)"),
        ("X-Amz-Date", "20261123T081500Z"),
        ("Content-Type", "application/json"),
        ("x-odd_one", "1"),
    ];
    assert_eq!(sidecar.call(ORDERS, &fields).await.status, 200);
    assert_eq!(
        arrived(&sidecar),
        sorted(&[
            "host",
            "user-agent",
            "x-amz-date",
            "content-type",
            "x-odd_one",
            SET[0],
            SET[1],
            SET[2]
        ])
    );
    let received = sidecar.received().remove(0);
    assert_eq!(received.headers["user-agent"], ["app/1 (Language=None)"]);
    assert_eq!(received.headers["host"], [NA]);
    assert!(
        received.headers["via"][0].starts_with("1.1 spapi-sidecar-"),
        "{received:?}"
    );
    assert_eq!((received.body_bytes, received.target.as_str()), (0, ORDERS));
}

#[tokio::test]
async fn a_plain_get_over_http2_arrives_with_nothing_more() {
    let sidecar = TestSidecar::start().await;
    let mut client = sidecar.inside_h2(NA).await;
    let answer = get_h2(
        &mut client,
        &format!("https://{NA}{ORDERS}"),
        &[("user-agent", "app/1")],
    )
    .await;
    assert_eq!(answer.status, 200, "{answer:?}");
    let without_host: Vec<String> = arrived(&sidecar)
        .into_iter()
        .filter(|name| name != "host")
        .collect();
    assert_eq!(
        without_host,
        sorted(&["user-agent", SET[0], SET[1], SET[2]])
    );
    assert_eq!(sidecar.received()[0].target, ORDERS);
}

#[tokio::test]
async fn no_credential_of_the_programs_own_arrives_in_any_spelling() {
    let sidecar = TestSidecar::start().await;
    let secret = "canary-of-the-program";
    let spellings = [
        "authorization",
        "AUTHORIZATION",
        "x-amz-access-token",
        "X_AMZ_ACCESS_TOKEN",
        "x_amz_access_token",
        "x-amz_access-token",
        "x_amz-access_token",
        "x-amz-security-token",
        "X-Amz-Security-Token",
        "x_amz_security_token",
        "x_amz-security-token",
        "proxy-authorization",
        "proxy_authorization",
        "proxy-connection",
        "Proxy-Anything",
        "proxy_anything",
    ];
    let fields: Vec<_> = spellings.iter().map(|name| (*name, secret)).collect();
    assert_eq!(sidecar.call(ORDERS, &fields).await.status, 200);
    assert_eq!(arrived(&sidecar), sorted(&["host", SET[0], SET[1], SET[2]]));
    let received = sidecar.received().remove(0);
    let (token, bearer) = (received.token.unwrap(), received.authorization.unwrap());
    assert_eq!(
        (token.kind, bearer.scheme, bearer.same_token),
        ("access", "bearer", true)
    );
}

#[tokio::test]
async fn hop_by_hop_fields_and_what_connection_names_end_here() {
    let sidecar = TestSidecar::start().await;
    let fields = [
        ("Connection", "keep-alive, X-Mine"),
        ("connection", "x-other , upgrade"),
        ("Keep-Alive", "timeout=5"),
        ("X-Mine", "1"),
        ("x-other", "2"),
        ("TE", "gzip"),
        ("Upgrade", "websocket"),
        ("Accept", "application/json"),
    ];
    assert_eq!(sidecar.call(ORDERS, &fields).await.status, 200);
    assert_eq!(
        arrived(&sidecar),
        sorted(&["accept", "host", SET[0], SET[1], SET[2]])
    );
}

#[tokio::test]
async fn connection_cannot_name_the_injected_token_or_what_frames_the_message_away() {
    let sidecar = TestSidecar::start().await;
    let fields = [
        (
            "Connection",
            "authorization, x-amz-access-token, via, host, content-length, close",
        ),
        ("content-type", "application/json"),
    ];
    let body =
        r#"{"reportType":"GET_MERCHANT_LISTINGS_ALL_DATA","marketplaceIds":["ATVPDKIKX0DER"]}"#;
    let answer = sidecar
        .inside(NA)
        .await
        .ask(request(
            "POST",
            NA,
            "/reports/2021-06-30/reports",
            &fields,
            body,
        ))
        .await;
    assert_eq!(answer.status, 202, "{answer:?}");
    assert_eq!(
        arrived(&sidecar),
        sorted(&[
            "content-length",
            "content-type",
            "host",
            SET[0],
            SET[1],
            SET[2]
        ])
    );
    assert_eq!(
        sidecar.received()[0].body_bytes,
        u64::try_from(body.len()).unwrap()
    );
}

#[tokio::test]
async fn only_the_fields_that_inject_names_carry_the_token() {
    let sidecar = TestSidecar::with(Setup {
        sections: "inject: { headers: [x-amz-access-token] }".to_owned(),
        ..Setup::default()
    })
    .await;
    assert_eq!(
        sidecar
            .call(ORDERS, &[("authorization", "Bearer spx-placeholder")])
            .await
            .status,
        200
    );
    assert_eq!(
        arrived(&sidecar),
        sorted(&["host", "via", "x-amz-access-token"])
    );
}

#[tokio::test]
async fn fields_that_come_twice_arrive_twice_and_in_their_order() {
    let sidecar = TestSidecar::start().await;
    let fields = [
        ("x-sandbox-note", "b"),
        ("user-agent", "c"),
        ("x-sandbox-note", "a"),
        ("via", "1.1 before"),
    ];
    assert_eq!(sidecar.call(ORDERS, &fields).await.status, 200);
    let received = sidecar.received().remove(0);
    assert_eq!(received.headers["x-sandbox-note"], ["b", "a"]);
    assert_eq!(received.headers["user-agent"], ["c"]);
    assert_eq!(received.headers["via"].len(), 2, "{received:?}");
    assert_eq!(received.headers["via"][0], "1.1 before");
}

#[tokio::test]
async fn the_fields_of_amazons_answer_come_back_with_the_request_id_alone_added() {
    let sidecar = TestSidecar::start().await;
    let answer = sidecar.call(ORDERS, &[]).await;
    let names: BTreeSet<&str> = answer.fields.iter().map(|(name, _)| &**name).collect();
    let want = [
        "content-length",
        "content-type",
        "date",
        "x-amzn-ratelimit-limit",
        "x-amzn-requestid",
        "x-spapi-sidecar-request-id",
    ];
    assert_eq!(names, BTreeSet::from(want));
    let record = sidecar.record().await;
    assert_eq!(
        record["request_id"],
        answer.field("x-spapi-sidecar-request-id").unwrap()
    );
    assert_eq!(
        record["amzn_request_id"],
        answer.field("x-amzn-requestid").unwrap()
    );
}

#[tokio::test]
async fn a_post_without_a_body_gets_no_content_length_of_ours() {
    let sidecar = TestSidecar::start().await;
    let answer = sidecar
        .inside(NA)
        .await
        .ask(request("POST", NA, "/_sandbox/sink", &[], ""))
        .await;
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(arrived(&sidecar), sorted(&["host", SET[0], SET[1], SET[2]]));
}

#[tokio::test]
async fn a_chunked_body_stays_chunked() {
    let sidecar = TestSidecar::start().await;
    let text = format!(
        "POST /_sandbox/echo HTTP/1.1\r\nHost: {NA}\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"
    );
    let answer = sidecar.inside(NA).await.ask(text).await;
    assert_eq!((answer.status, answer.text().as_str()), (200, "hello"));
    assert_eq!(
        arrived(&sidecar),
        sorted(&["host", "transfer-encoding", SET[0], SET[1], SET[2]])
    );
}

#[tokio::test]
async fn no_credential_arrives_as_a_trailer() {
    let sidecar = TestSidecar::start().await;
    let text = format!(
        "POST /_sandbox/sink HTTP/1.1\r\nHost: {NA}\r\nTransfer-Encoding: chunked\r\nTE: trailers\r\nTrailer: x-amz-access-token, x_amz_security_token, proxy-authorization, x-mine\r\n\r\n5\r\nhello\r\n0\r\nx-amz-access-token: canary\r\nx_amz_security_token: canary\r\nproxy-authorization: canary\r\nx-mine: 1\r\n\r\n"
    );
    assert_eq!(sidecar.inside(NA).await.ask(text).await.status, 200);
    assert_eq!(sidecar.received()[0].trailer_names, ["x-mine"]);
}
