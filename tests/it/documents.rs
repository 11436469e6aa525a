//! Presigned documents: no credential, no byte changed, and no way out but to what was handed out.

use std::io::Write as _;

use serde_json::{Value, json};
use spapi_sidecar::catalog::{Catalog, Operation};
use spapi_sidecar::sandbox::{DOCUMENT_HOST, Options};
use spapi_sidecar::secret::ProxyKey;
use spapi_sidecar::store::record::ProxyKeyHash;
use spapi_sidecar::store::{Expect, GrantStore as _, RecordKey};
use spapi_sidecar::tenant::TenantId;

use crate::support::peer::Origin;
use crate::support::sidecar::{NA, Setup, TestSidecar, refusal};

const BETAS_KEY: &str = "betasownproxykey0123456789abcdef";

async fn ask(client: &reqwest::Client, path: &str) -> Value {
    let url = format!("https://{NA}{path}");
    client.get(url).send().await.unwrap().json().await.unwrap()
}

/// The URL of a document of so many bytes, as getReportDocument hands it out.
async fn handed_out(client: &reqwest::Client, size: usize) -> String {
    let path = format!("/reports/2021-06-30/documents/amzn1.spdoc.size-{size}");
    let answer = ask(client, &path).await;
    answer["url"].as_str().unwrap().to_owned()
}

/// The same document, straight from the sandbox.
async fn straight(sidecar: &TestSidecar, url: &str) -> Vec<u8> {
    let ca = reqwest::Certificate::from_pem(sidecar.sandbox.ca_pem().as_bytes()).unwrap();
    let client = reqwest::Client::builder()
        .tls_certs_only([ca])
        .resolve(DOCUMENT_HOST, sidecar.sandbox.address())
        .no_proxy()
        .build()
        .unwrap();
    let port = sidecar.sandbox.address().port();
    let url = url.replace(DOCUMENT_HOST, &format!("{DOCUMENT_HOST}:{port}"));
    let response = client.get(url).send().await.unwrap();
    assert_eq!(response.status(), 200);
    response.bytes().await.unwrap().to_vec()
}

async fn is_denied(sidecar: &TestSidecar, request: reqwest::RequestBuilder) {
    let before = sidecar.received().len();
    let (status, code, _) = refusal(request.send().await.unwrap()).await;
    assert_eq!((status, &*code), (403, "document_denied"));
    assert_eq!(sidecar.received().len(), before);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_report_is_created_watched_and_fetched_to_the_byte_without_a_credential() {
    let sidecar = TestSidecar::start().await;
    let client = sidecar.client();
    let created: Value = client
        .post(format!("https://{NA}/reports/2021-06-30/reports"))
        .json(&json!({"reportType": "GET_MERCHANT_LISTINGS_ALL_DATA", "marketplaceIds": ["ATVPDKIKX0DER"]}))
        .send()
        .await
        .unwrap()
        .json()
        .await
        .unwrap();
    let id = created["reportId"].as_str().unwrap();
    let report = ask(&client, &format!("/reports/2021-06-30/reports/{id}")).await;
    let document = report["reportDocumentId"].as_str().unwrap();
    let document = ask(
        &client,
        &format!("/reports/2021-06-30/documents/{document}"),
    )
    .await;
    let url = document["url"].as_str().unwrap();
    let response = client
        .get(url)
        .header("authorization", "Bearer Atza|an-sdk-sends-it-everywhere")
        .header("x-amz-access-token", "Atza|an-sdk-sends-it-everywhere")
        .send()
        .await
        .unwrap();
    assert_eq!(response.status(), 200);
    let got = response.bytes().await.unwrap();
    assert!(got == straight(&sidecar, url).await);
    let received = sidecar.received();
    let fetch = received
        .iter()
        .find(|one| one.host == DOCUMENT_HOST)
        .unwrap();
    assert!(!fetch.leak);
    assert!(fetch.token.is_none() && fetch.authorization.is_none());
    assert!(!fetch.header_names.contains(&"via".to_owned()), "{fetch:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_large_document_arrives_to_the_byte_over_both_versions() {
    let sidecar = TestSidecar::start().await;
    for alpn in ["http/1.1", "h2"] {
        let client = sidecar.client_with(&[alpn], None);
        let url = handed_out(&client, 3_000_001).await;
        let got = client
            .get(&url)
            .send()
            .await
            .unwrap()
            .bytes()
            .await
            .unwrap();
        assert!(got == straight(&sidecar, &url).await, "{alpn}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_head_of_a_document_names_its_length() {
    let sidecar = TestSidecar::start().await;
    let client = sidecar.client();
    let url = handed_out(&client, 5000).await;
    let response = client.head(&url).send().await.unwrap();
    assert_eq!(response.status(), 200);
    assert_eq!(response.headers()["content-length"], "5000");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_feed_is_uploaded_to_the_byte_with_its_own_content_type() {
    const TYPE: &str = "text/tab-separated-values;  charset=ISO-8859-1";
    let sidecar = TestSidecar::start().await;
    let client = sidecar.client();
    let created: Value = client
        .post(format!("https://{NA}/feeds/2021-06-30/documents"))
        .json(&json!({"contentType": TYPE}))
        .send()
        .await
        .unwrap()
        .json()
        .await
        .unwrap();
    let mut feed = vec![0; 3_000_003];
    spapi_sidecar::sandbox::noise(5, 0, &mut feed);
    let response = client
        .put(created["url"].as_str().unwrap())
        .header("content-type", TYPE)
        .body(feed)
        .send()
        .await
        .unwrap();
    assert_eq!(response.status(), 200);
    let upload = sidecar.received().pop().unwrap();
    assert_eq!(upload.headers["content-type"], [TYPE]);
    assert_eq!(upload.headers["content-length"], ["3000003"]);
    let tag = response.headers()["etag"].to_str().unwrap().to_owned();
    assert_eq!(tag.trim_matches('"'), upload.body_sha256.unwrap());
    assert!(!upload.leak);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_url_that_was_not_handed_out_is_denied() {
    let sidecar = TestSidecar::start().await;
    let client = sidecar.client();
    let url = handed_out(&client, 100).await;
    let (target, query) = url.split_once('?').unwrap();
    let elsewhere = url.replace(DOCUMENT_HOST, "another-bucket.s3.amazonaws.com");
    for other in [
        format!("https://{DOCUMENT_HOST}/doc/anything"),
        target.to_owned(),
        format!("{url}&x=1"),
        format!("{url}&"),
        format!(
            "{target}?{}",
            query.replacen("X-Amz-Expires=300", "X-Amz-Expires=301", 1)
        ),
        format!("{}1?{query}", target),
        elsewhere,
    ] {
        assert_ne!(other, url);
        is_denied(&sidecar, client.get(&other)).await;
    }
    assert_eq!(client.get(&url).send().await.unwrap().status(), 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn methods_that_no_presigned_url_takes_are_denied() {
    let sidecar = TestSidecar::start().await;
    let client = sidecar.client();
    let url = handed_out(&client, 100).await;
    is_denied(&sidecar, client.post(&url).body("x")).await;
    is_denied(&sidecar, client.delete(&url)).await;
    is_denied(&sidecar, client.patch(&url).body("x")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_handed_to_one_tenant_is_denied_to_another() {
    let sidecar = TestSidecar::start().await;
    let key = ProxyKeyHash::of(&ProxyKey::new(BETAS_KEY.to_owned()));
    let record = RecordKey::ProxyKey(TenantId::parse("beta").unwrap());
    let store = sidecar.store();
    store
        .write(&record, key.into_fields(), Expect::Any)
        .await
        .unwrap();
    let url = handed_out(&sidecar.client(), 100).await;
    let beta = sidecar.client_with(&["http/1.1"], Some(&format!("beta:{BETAS_KEY}")));
    is_denied(&sidecar, beta.get(&url)).await;
    let own = handed_out(&beta, 100).await;
    assert_eq!(beta.get(own).send().await.unwrap().status(), 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_url_past_its_expiry_is_denied_here() {
    let sidecar = TestSidecar::with(Setup {
        sandbox: Options {
            document_expires_in: std::time::Duration::from_secs(2),
            ..Options::default()
        },
        ..Setup::default()
    })
    .await;
    let client = sidecar.client();
    let url = handed_out(&client, 100).await;
    assert_eq!(client.get(&url).send().await.unwrap().status(), 200);
    for _ in 0..200 {
        let before = sidecar.received().len();
        let response = client.get(&url).send().await.unwrap();
        if response.headers().contains_key("x-spapi-sidecar-error") {
            assert_eq!(refusal(response).await.1, "document_denied");
            assert_eq!(sidecar.received().len(), before);
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    panic!("it never expired");
}

/// What SP-API might answer, and the world in which it does.
async fn answering(answer: Vec<u8>) -> (Origin, TestSidecar) {
    let origin = Origin::raw(NA, move |_head| answer.clone()).await;
    let sidecar = TestSidecar::with(Setup {
        connect_to: vec![origin.stands_for(NA)],
        trusted: origin.pem.clone(),
        ..Setup::default()
    })
    .await;
    (origin, sidecar)
}

const UNSIGNED: &str = "https://sandbox-documents.s3.amazonaws.com/doc/a%2fb?c=d|e";

/// Whether the URL in an answer was learnt: then the bucket is asked, and says no by itself.
async fn is_learnt(answer: Vec<u8>) -> bool {
    let (_origin, sidecar) = answering(answer).await;
    let client = sidecar.client();
    let path = "/reports/2021-06-30/documents/x";
    let response = client.get(format!("https://{NA}{path}")).send().await;
    drop(response.unwrap().bytes().await.unwrap());
    let response = client.get(UNSIGNED).send().await.unwrap();
    let learnt = !response.headers().contains_key("x-spapi-sidecar-error");
    let target = sidecar.received().pop().map(|one| one.target);
    assert_eq!(target.as_deref() == Some("/doc/a%2fb?c=d|e"), learnt);
    learnt
}

fn framed(fields: &str, body: &[u8]) -> Vec<u8> {
    let mut answer = format!(
        "HTTP/1.1 200 OK\r\n{fields}content-length: {}\r\n\r\n",
        body.len()
    )
    .into_bytes();
    answer.extend_from_slice(body);
    answer
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_compressed_answer_is_learnt_from_too() {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    let body = json!({"payload": {"url": UNSIGNED}}).to_string();
    encoder.write_all(body.as_bytes()).unwrap();
    let body = encoder.finish().unwrap();
    let fields = "content-type: application/json\r\ncontent-encoding: gzip\r\n";
    assert!(is_learnt(framed(fields, &body)).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_chunked_answer_with_escaped_slashes_is_learnt_from_too() {
    let body = json!({"url": UNSIGNED}).to_string().replace('/', "\\/");
    let (first, second) = body.split_at(20);
    let answer = format!(
        "HTTP/1.1 200 OK\r\ncontent-type: application/json;charset=UTF-8\r\ntransfer-encoding: chunked\r\n\r\n{:x}\r\n{first}\r\n{:x}\r\n{second}\r\n0\r\n\r\n",
        first.len(),
        second.len()
    );
    assert!(is_learnt(answer.into_bytes()).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_learnt_from_an_error_or_from_text() {
    let body = json!({"url": UNSIGNED}).to_string();
    let text = framed("content-type: text/html\r\n", body.as_bytes());
    assert!(!is_learnt(text).await);
    let refused = format!(
        "HTTP/1.1 400 Bad Request\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    assert!(!is_learnt(refused.into_bytes()).await);
}

/// The routes of every operation in the catalog, and two that it does not know or that hand out nothing.
fn every_route() -> String {
    let mut routes = String::new();
    for operation in Catalog::embedded().operations() {
        routes.push_str(&format!(
            "\n  - {{ allow: \"{} {}\", scope: inventory-and-order-tracking }}",
            operation.method, operation.path
        ));
    }
    routes.push_str(
        "\n  - { allow: GET /made/2030-01-01/up, scope: inventory-and-order-tracking }\n",
    );
    routes
}

fn path_of(operation: &Operation) -> String {
    operation.path.replace('{', "1").replace('}', "")
}

/// A URL of a document that only this request's answer names.
fn only_of(head: &str) -> String {
    let line = head.split(" HTTP/").next().unwrap();
    let name: String = line.chars().filter(char::is_ascii_alphanumeric).collect();
    format!("https://{DOCUMENT_HOST}/doc/{name}?x=1")
}

/// SP-API where every answer holds one URL, in a field that the query names.
async fn handing_out_in_any_field() -> (Origin, TestSidecar) {
    let origin = Origin::raw(NA, |head| {
        let target = head.split(' ').nth(1).unwrap();
        let field = target.split_once("?field=").unwrap().1;
        let mut url = only_of(head);
        if let Some(base) = field.strip_suffix("-encoded") {
            use base64::Engine as _;
            url = base64::engine::general_purpose::STANDARD.encode(url);
            return json_answer(&json!({"payload": [{"deep": {base: url}}]}));
        }
        json_answer(&json!({"payload": [{"deep": {field: url}}]}))
    })
    .await;
    let sidecar = TestSidecar::with(Setup {
        connect_to: vec![origin.stands_for(NA)],
        trusted: origin.pem.clone(),
        routes: every_route(),
        ..Setup::default()
    })
    .await;
    (origin, sidecar)
}

fn json_answer(body: &Value) -> Vec<u8> {
    framed(
        "content-type: application/json\r\n",
        body.to_string().as_bytes(),
    )
}

/// Whether the URL in the answer to a call may be used afterwards: then the bucket is asked, and says no by itself.
async fn is_handed_out(client: &reqwest::Client, method: &str, path: &str, field: &str) -> bool {
    let target = format!("{path}?field={field}");
    let call = client.request(method.parse().unwrap(), format!("https://{NA}{target}"));
    let answer = call.send().await.unwrap();
    assert_eq!(answer.status(), 200, "{target}");
    drop(answer.bytes().await.unwrap());
    let url = only_of(&format!("{method} {target} HTTP/1.1"));
    let response = client.get(url).send().await.unwrap();
    !response.headers().contains_key("x-spapi-sidecar-error")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_operation_that_hands_out_a_url_is_learnt_from_and_no_other() {
    let (_origin, sidecar) = handing_out_in_any_field().await;
    let client = sidecar.client();
    let mut handing = 0;
    for operation in Catalog::embedded().operations() {
        let (method, path) = (operation.method.as_str(), path_of(operation));
        let id = format!("{} {}", operation.api, operation.operation_id);
        // createReport and createFeed have bodies that are read; they hand out nothing
        if [
            "createReport",
            "createReportSchedule",
            "createFeed",
            "createRestrictedDataToken",
        ]
        .contains(&&*operation.operation_id)
        {
            continue;
        }
        if let Some(field) = operation.document_field() {
            handing += 1;
            assert!(is_handed_out(&client, method, &path, field).await, "{id}");
            let encoded = format!("{field}-encoded");
            assert!(
                is_handed_out(&client, method, &path, &encoded).await,
                "{id}"
            );
            assert!(!is_handed_out(&client, method, &path, "text").await, "{id}");
        } else {
            assert!(!is_handed_out(&client, method, &path, "url").await, "{id}");
        }
    }
    assert_eq!(handing, 30);
    assert!(is_handed_out(&client, "GET", "/made/2030-01-01/up", "any").await);
}
