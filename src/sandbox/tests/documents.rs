//! Presigned documents.

use std::io::Read;
use std::time::Duration;

use aws_lc_rs::digest;
use flate2::read::GzDecoder;
use http::Method;

use super::{Ask, NA, Scene, get, post};
use crate::sandbox::world::hex;
use crate::sandbox::{DOCUMENT_HOST, Options, UPLOAD_HOST};

/// The request that a presigned URL asks for.
fn of_url(url: &str) -> Ask {
    let rest = url.strip_prefix("https://").unwrap();
    let (host, path) = rest.split_once('/').unwrap();
    get(host, &format!("/{path}"))
}

async fn document_url(scene: &Scene, id: &str) -> String {
    let token = scene.access_token("Atzr|one").await;
    let path = format!("/reports/2021-06-30/documents/{id}");
    let reply = scene.send(get(NA, &path).token(&token)).await;
    reply.json()["url"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_presigned_url_gives_a_report_of_the_size_it_names() {
    let scene = Scene::start().await;
    let url = document_url(&scene, "amzn1.spdoc.1.4.na.size-200000").await;
    assert!(url.starts_with(&format!(
        "https://{DOCUMENT_HOST}/doc/size/200000?X-Amz-Algorithm="
    )));
    let reply = scene.send(of_url(&url)).await;
    assert_eq!(reply.status, 200);
    assert_eq!(reply.body.len(), 200_000);
    assert_eq!(reply.headers["content-length"], "200000");
    let head = scene.send(of_url(&url).method(Method::HEAD)).await;
    assert_eq!(head.headers["content-length"], "200000");
    assert!(head.body.is_empty());

    let url = document_url(&scene, "amzn1.spdoc.1.4.na.example").await;
    let report = scene.send(of_url(&url)).await;
    assert!(report.body.starts_with(b"sku "));
}

#[tokio::test]
async fn a_gzip_document_unpacks_to_a_report() {
    let scene = Scene::start().await;
    let url = document_url(&scene, "amzn1.spdoc.1.4.na.gzip").await;
    let reply = scene.send(of_url(&url)).await;
    let mut text = String::new();
    GzDecoder::new(&reply.body[..])
        .read_to_string(&mut text)
        .unwrap();
    assert_eq!(text.lines().count(), 20);
}

#[tokio::test]
async fn a_signature_covers_path_method_and_time() {
    let scene = Scene::start().await;
    let url = document_url(&scene, "amzn1.x").await;
    let (unsigned, _) = url.split_once("&X-Amz-Signature").unwrap();
    for (ask, status, code) in [
        (
            of_url(&url.replace("/doc/amzn1.x", "/doc/amzn1.y")),
            403,
            "SignatureDoesNotMatch",
        ),
        (
            of_url(&url.replace("Expires=300", "Expires=900")),
            403,
            "SignatureDoesNotMatch",
        ),
        (of_url(unsigned), 403, "AccessDenied"),
        (
            of_url(&url).method(Method::PUT),
            403,
            "SignatureDoesNotMatch",
        ),
        (of_url(&url).method(Method::POST), 405, "MethodNotAllowed"),
    ] {
        let reply = scene.send(ask).await;
        assert_eq!(reply.status, status, "{code}");
        assert_eq!(reply.headers["content-type"], "application/xml");
        assert!(String::from_utf8_lossy(&reply.body).contains(code));
    }
}

#[tokio::test]
async fn an_expired_url_answers_as_s3_does() {
    let scene = Scene::with(Options {
        document_expires_in: Duration::ZERO,
        ..Options::default()
    })
    .await;
    let url = document_url(&scene, "amzn1.x").await;
    let reply = scene.send(of_url(&url)).await;
    assert_eq!(reply.status, 403);
    assert!(
        String::from_utf8_lossy(&reply.body).contains("<Message>Request has expired</Message>")
    );
}

#[tokio::test]
async fn a_credential_that_reaches_a_document_host_is_refused_and_recorded() {
    let scene = Scene::start().await;
    let url = document_url(&scene, "amzn1.x").await;
    let before = scene.sandbox.received().len() as u64;
    for name in ["authorization", "x-amz-access-token"] {
        let reply = scene.send(of_url(&url).header(name, "Atza|leak")).await;
        assert_eq!(reply.status, 400);
    }
    scene.send(of_url(&url)).await;
    let received = scene.sandbox.received_since(before);
    let leaks: Vec<bool> = received.iter().map(|received| received.leak).collect();
    assert_eq!(leaks, [true, true, false]);
}

#[tokio::test]
async fn a_feed_is_put_with_its_content_type_and_hashed() {
    let scene = Scene::start().await;
    let token = scene.access_token("Atzr|one").await;
    let create = post(
        NA,
        "/feeds/2021-06-30/documents",
        r#"{"contentType":"text/xml; charset=UTF-8"}"#,
    );
    let reply = scene.send(create.token(&token)).await;
    assert_eq!(reply.status, 201);
    let url = reply.json()["url"].as_str().unwrap().to_owned();
    assert!(url.starts_with(&format!("https://{UPLOAD_HOST}/")));
    let mut put = of_url(&url).method(Method::PUT);
    put.body = Some("<feed/>".into());
    let wrong = put.clone().header("content-type", "text/plain");
    assert_eq!(scene.send(wrong).await.status, 403);
    let right = put.header("content-type", "text/xml; charset=UTF-8");
    assert_eq!(scene.send(right).await.status, 200);
    let last = scene.sandbox.received().pop().unwrap();
    let sha256 = hex(digest::digest(&digest::SHA256, b"<feed/>").as_ref());
    assert_eq!((last.body_bytes, last.body_sha256), (7, Some(sha256)));
    assert!(last.body_complete);
}
