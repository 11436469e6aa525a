//! Bytes, framing, protocols and names.

use std::net::SocketAddr;

use aws_lc_rs::digest;
use http::{Method, Version};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::{LWA, NA, Scene, drive, get, post};
use crate::sandbox::world::hex;
use crate::sandbox::{Options, Sandbox, SandboxError, noise};

#[tokio::test]
async fn both_protocols_are_spoken_by_alpn() {
    let scene = Scene::start().await;
    let one = scene.send(get(NA, "/_sandbox/status/200")).await;
    let two = scene.send(get(NA, "/_sandbox/status/200").over_h2()).await;
    assert_eq!(
        (one.version, two.version),
        (Version::HTTP_11, Version::HTTP_2)
    );
    let received = scene.sandbox.received();
    let versions: Vec<&str> = received.iter().map(|one| one.version.as_str()).collect();
    assert_eq!(versions, ["HTTP/1.1", "HTTP/2.0"]);
    assert!(received.iter().all(|one| one.host == NA));
}

#[tokio::test]
async fn a_sink_counts_and_hashes_and_keeps_the_target_to_the_byte() {
    let scene = Scene::start().await;
    let mut body = vec![0; 300_001];
    noise(3, 0, &mut body);
    let sha256 = hex(digest::digest(&digest::SHA256, &body).as_ref());
    let target = "/_sandbox/sink/a%2fb/%7B?q=%2B+|&empty=&x=a,b";
    for h2 in [false, true] {
        let mut ask = post(NA, target, body.clone()).token("Atza|canary-token");
        ask.h2 = h2;
        let answer = scene.send(ask).await.json();
        assert_eq!(answer["bytes"], 300_001);
        assert_eq!(answer["sha256"], sha256);
        assert_eq!(answer["target"], target);
        let names = answer["header_names"].as_array().unwrap();
        assert!(names.contains(&"x-amz-access-token".into()));
    }
    let received = scene.sandbox.received();
    assert_eq!(received[0].target, target);
    assert_eq!(received[0].body_sha256.as_deref(), Some(sha256.as_str()));
    assert!(!format!("{received:?}").contains("canary-token"));
}

#[tokio::test]
async fn an_echo_gives_the_same_bytes_back_on_every_host() {
    let scene = Scene::start().await;
    let mut body = vec![0; 150_000];
    noise(4, 0, &mut body);
    for host in [NA, LWA, "sandbox-documents.s3.amazonaws.com", "localhost"] {
        for h2 in [false, true] {
            let mut ask = post(host, "/_sandbox/echo", body.clone());
            ask.h2 = h2;
            assert!(scene.send(ask).await.body == body, "{host}");
        }
    }
}

#[tokio::test]
async fn a_body_of_a_seed_is_the_same_for_every_reader() {
    let scene = Scene::start().await;
    let mut want = vec![0; 100_000];
    noise(9, 0, &mut want);
    let whole = scene.send(get(NA, "/_sandbox/body/100000?seed=9")).await;
    assert!(whole.body == want);
    assert_eq!(whole.headers["content-length"], "100000");
    let chunked = scene
        .send(get(NA, "/_sandbox/body/100000?seed=9&chunked=1"))
        .await;
    assert!(chunked.body == want);
    assert_eq!(chunked.headers["transfer-encoding"], "chunked");
    for h2 in [false, true] {
        let mut head = get(NA, "/_sandbox/body/100000").method(Method::HEAD);
        head.h2 = h2;
        let reply = scene.send(head).await;
        assert_eq!(reply.headers["content-length"], "100000");
        assert!(reply.body.is_empty());
    }
}

#[tokio::test]
async fn statuses_and_trailers_arrive_as_asked() {
    let scene = Scene::start().await;
    for (code, length) in [(204, 0), (304, 0), (500, 14)] {
        let reply = scene
            .send(get(NA, &format!("/_sandbox/status/{code}")))
            .await;
        assert_eq!(reply.status, code);
        assert_eq!(reply.body.len(), length);
    }
    let redirect = "/_sandbox/status/302?location=https%3A%2F%2Fevil.example%2F";
    let reply = scene.send(get(NA, redirect)).await;
    assert_eq!(reply.headers["location"], "https://evil.example/");
    let trailing = get(NA, "/_sandbox/trailers").header("te", "trailers");
    for ask in [trailing.clone(), trailing.over_h2()] {
        let reply = scene.send(ask).await;
        assert_eq!(reply.body, "trailing");
        assert_eq!(reply.trailers.unwrap()["x-sandbox-trailer"], "end");
    }
}

#[tokio::test]
async fn an_early_answer_comes_while_the_body_is_still_being_sent() {
    let scene = Scene::start().await;
    let mut stream = scene.connect(NA, b"http/1.1").await.unwrap();
    let head = format!(
        "POST /_sandbox/status/413?early=1 HTTP/1.1\r\nhost: {NA}\r\ncontent-length: 1000000\r\n\r\nabc"
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut answer = [0; 12];
    stream.read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, b"HTTP/1.1 413");
    let received = scene.sandbox.received();
    assert!(!received[0].body_complete);
}

#[tokio::test]
async fn a_truncated_answer_is_an_error_to_its_reader() {
    let scene = Scene::start().await;
    let got = scene.try_send(get(NA, "/_sandbox/truncate/1000")).await;
    assert!(got.is_err());
}

#[tokio::test]
async fn a_host_other_than_the_certificates_is_misdirected() {
    let scene = Scene::start().await;
    let other = get("sellingpartnerapi-eu.amazon.com", "/_sandbox/status/200");
    let reply = scene
        .try_send_as(NA.to_owned(), other.clone())
        .await
        .unwrap();
    assert_eq!(reply.status, 421);
    let reply = scene
        .try_send_as("localhost".to_owned(), other)
        .await
        .unwrap();
    assert_eq!(reply.status, 200);
    let reply = scene.send(get("unknown.example", "/")).await;
    assert_eq!(reply.status, 421);
}

#[tokio::test]
async fn a_repeated_host_is_a_bad_request() {
    let scene = Scene::start().await;
    let reply = scene
        .send(get(NA, "/_sandbox/status/200").header("host", NA))
        .await;
    assert_eq!(reply.status, 400);
    assert_eq!(reply.headers["content-type"], "text/html");
}

#[tokio::test]
async fn an_address_that_others_can_reach_is_refused() {
    let listen: SocketAddr = "0.0.0.0:0".parse().unwrap();
    let options = Options {
        listen,
        ..Options::default()
    };
    let refused = Sandbox::start(options).await;
    assert!(matches!(refused, Err(SandboxError::NotLoopback(_))));
}

#[tokio::test]
async fn stopping_closes_what_is_open() {
    let scene = Scene::start().await;
    let stream = scene.connect(NA, b"http/1.1").await.unwrap();
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.unwrap();
    drive(connection);
    let address = scene.sandbox.address();
    scene.sandbox.stop().await;
    let request = get(NA, "/_sandbox/status/200").request();
    assert!(sender.send_request(request).await.is_err());
    assert!(tokio::net::TcpStream::connect(address).await.is_err());
}
