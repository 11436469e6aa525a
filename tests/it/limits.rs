//! Bounds on a client's connection: a slow head, a slow handshake, silence, and how many there may be.

use std::time::Duration;

use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::Instant;

use crate::support::peer::{
    Face, Http1, Http2, Origin, nothing, read_head, soon, tls, trouble, tunnel,
};
use crate::support::sidecar::{NA, Setup, TestSidecar, eventually};

fn with(limits: &str) -> Setup {
    Setup {
        listen: format!("  limits: {{ {limits} }}\n"),
        ..Setup::default()
    }
}

fn get(target: &str) -> String {
    format!("GET {target} HTTP/1.1\r\nhost: {NA}\r\n\r\n")
}

/// How long the other side keeps the connection open while it is given a byte now and then.
async fn patience(mut stream: TcpStream, trickle: &[u8]) -> Duration {
    let from = Instant::now();
    let mut pace = tokio::time::interval(Duration::from_millis(200));
    let mut bytes = trickle.iter();
    let mut answer = [0; 512];
    loop {
        tokio::select! {
            read = stream.read(&mut answer) => {
                if matches!(read, Ok(0) | Err(_)) {
                    return from.elapsed();
                }
            }
            _ = pace.tick() => {
                if let Some(byte) = bytes.next() {
                    // it may be closed already: then the read says so
                    let _sent = stream.write_all(&[*byte]).await;
                }
            }
        }
        assert!(from.elapsed() < Duration::from_secs(20), "still open");
    }
}

const QUICK: std::ops::Range<Duration> = Duration::from_millis(800)..Duration::from_secs(6);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_says_nothing_or_speaks_slowly_is_cut_off_after_the_header_timeout() {
    let sidecar = TestSidecar::with(with("header_timeout: 1s, idle_timeout: 60s")).await;
    for trickle in [
        &b""[..],
        b"CONNECT sellingpartnerapi-na.amazon.com:443 HTTP/1.1\r\n",
    ] {
        let stream = TcpStream::connect(sidecar.proxy()).await.unwrap();
        let lasted = patience(stream, trickle).await;
        assert!(QUICK.contains(&lasted), "{lasted:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_handshake_that_does_not_come_or_comes_slowly_is_cut_off_after_the_header_timeout() {
    let sidecar = TestSidecar::with(with("header_timeout: 1s, idle_timeout: 60s")).await;
    // the head of a TLS record that says 512 bytes of handshake will follow
    for trickle in [
        &b""[..],
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03abcdefghijklmnopqrstuvwxyz",
    ] {
        let stream = tunnel(sidecar.proxy(), NA).await;
        let lasted = patience(stream, trickle).await;
        assert!(QUICK.contains(&lasted), "{lasted:?}");
        let stream = TcpStream::connect(sidecar.transparent()).await.unwrap();
        let lasted = patience(stream, trickle).await;
        assert!(QUICK.contains(&lasted), "transparent: {lasted:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_head_inside_tls_is_cut_off_after_the_header_timeout() {
    let sidecar = TestSidecar::with(with("header_timeout: 1s, idle_timeout: 60s")).await;
    let mut client = Http1::open(&sidecar, NA).await;
    client.ask(get("/_sandbox/sink")).await;
    let from = Instant::now();
    client.write("GET /_sandbox/sink HTT").await;
    client.until_closed().await;
    assert!(QUICK.contains(&from.elapsed()), "{:?}", from.elapsed());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_idle_connection_is_closed_after_the_idle_timeout_and_not_before() {
    let sidecar = TestSidecar::with(with("header_timeout: 500ms, idle_timeout: 2s")).await;
    let mut client = Http1::open(&sidecar, NA).await;
    client.ask(get("/_sandbox/sink")).await;
    let from = Instant::now();
    client.until_closed().await;
    let lasted = from.elapsed();
    assert!(lasted > Duration::from_millis(1800), "{lasted:?}");
    assert!(lasted < Duration::from_secs(8), "{lasted:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_idle_http2_connection_is_closed_although_it_answers_pings() {
    let sidecar = TestSidecar::with(with("idle_timeout: 1s")).await;
    let client = Http2::open(&sidecar, NA).await;
    let request = http::Request::get(format!("https://{NA}/_sandbox/sink"))
        .body(nothing())
        .unwrap();
    assert_eq!(client.ask(request).await.status(), 200);
    eventually("it is closed", || client.is_closed()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_that_waits_for_a_slow_answer_is_not_idle() {
    let sidecar = TestSidecar::with(with("idle_timeout: 1s, header_timeout: 1s")).await;
    trouble(
        &sidecar,
        json!({"latency_ms": 3000, "path_prefix": "/_sandbox/sink"}),
    );
    let mut client = Http1::open(&sidecar, NA).await;
    let other = Http2::open(&sidecar, NA).await;
    let request = http::Request::get(format!("https://{NA}/_sandbox/sink"))
        .body(nothing())
        .unwrap();
    let request_text = get("/_sandbox/sink");
    let (one, two) = tokio::join!(client.ask(request_text), other.ask(request));
    assert_eq!(one.head.status, 200);
    assert_eq!(two.status(), 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_that_waits_for_the_rest_of_a_slow_answer_is_not_idle() {
    let origin = Origin::start(
        NA,
        Face::speaking(&["http/1.1"]),
        |_number, mut stream| async move {
            while read_head(&mut stream).await.is_ok() {
                let head = b"HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\nabc";
                stream.write_all(head).await.unwrap();
                tokio::time::sleep(Duration::from_secs(3)).await;
                stream.write_all(b"def").await.unwrap();
            }
        },
    )
    .await;
    let setup = Setup {
        connect_to: vec![origin.stands_for(NA)],
        trusted: origin.pem.clone(),
        ..with("idle_timeout: 1s, header_timeout: 1s")
    };
    let sidecar = TestSidecar::with(setup).await;
    let mut client = Http1::open(&sidecar, NA).await;
    let other = Http2::open(&sidecar, NA).await;
    let request = http::Request::get(format!("https://{NA}/_sandbox/x"))
        .body(nothing())
        .unwrap();
    let request_text = get("/_sandbox/x");
    let (one, two) = tokio::join!(client.ask(request_text), other.ask(request));
    assert_eq!(one.body, b"abcdef");
    assert_eq!(two.body(), "abcdef");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn beyond_max_connections_accepting_waits_until_one_ends() {
    let sidecar = TestSidecar::with(with("max_connections: 2")).await;
    let mut first = Http1::open(&sidecar, NA).await;
    let mut second = Http1::open(&sidecar, NA).await;
    for client in [&mut first, &mut second] {
        assert_eq!(client.ask(get("/_sandbox/sink")).await.head.status, 200);
    }
    let proxy = sidecar.proxy();
    let mut third = tokio::task::JoinSet::new();
    third.spawn(async move { tunnel(proxy, NA).await });
    let early = tokio::time::timeout(Duration::from_millis(500), third.join_next()).await;
    assert!(early.is_err(), "served beyond the bound");
    assert_eq!(first.ask(get("/_sandbox/sink")).await.head.status, 200);
    drop(first);
    let stream = soon("its turn", third.join_next()).await.unwrap().unwrap();
    let stream = tls(stream, sidecar.tls(&["http/1.1"]), NA).await;
    let answer = Http1::over(stream).ask(get("/_sandbox/sink")).await;
    assert_eq!(answer.head.status, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_beyond_what_can_be_served_are_refused_as_overloaded_and_the_others_are_served() {
    let sidecar = TestSidecar::with(with("max_connections: 2")).await;
    trouble(
        &sidecar,
        json!({"latency_ms": 3000, "path_prefix": "/_sandbox/sink"}),
    );
    let client = Http2::open(&sidecar, NA).await;
    let ask = || {
        let request = http::Request::get(format!("https://{NA}/_sandbox/sink"));
        client.ask(request.body(nothing()).unwrap())
    };
    let [one, two, three, four] = <[_; 4]>::from(tokio::join!(ask(), ask(), ask(), ask()));
    let refused = [three, four].map(|answer| {
        let fields = answer.headers().clone();
        let text = |name| {
            fields
                .get(name)
                .map(|value| value.to_str().unwrap().to_owned())
        };
        (
            answer.status().as_u16(),
            text("x-spapi-sidecar-error"),
            text("retry-after"),
        )
    });
    assert_eq!([one.status(), two.status()], [200, 200]);
    let overloaded = (503, Some("overloaded".to_owned()), Some("1".to_owned()));
    assert_eq!(refused, [overloaded.clone(), overloaded]);
    assert_eq!(ask().await.status(), 200, "there is room again");
}

/// Opens a connection to the proxy listener from an address, and asks for a tunnel; the answer's status line and body.
async fn tunnel_from(client: &str, proxy: std::net::SocketAddr) -> (TcpStream, String) {
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind(format!("{client}:0").parse().unwrap()).unwrap();
    let mut stream = soon("the listener", socket.connect(proxy)).await.unwrap();
    let ask = format!("CONNECT {NA}:443 HTTP/1.1\r\nhost: {NA}:443\r\n\r\n");
    stream.write_all(ask.as_bytes()).await.unwrap();
    let mut answer = [0; 4096];
    let read = soon("an answer", stream.read(&mut answer)).await.unwrap();
    (
        stream,
        String::from_utf8_lossy(&answer[..read]).into_owned(),
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_client_leaves_an_eighth_of_all_connections_to_the_others() {
    let sidecar = TestSidecar::with(with("max_connections: 8")).await;
    let mut held = Vec::new();
    for _ in 0..7 {
        let (stream, answer) = tunnel_from("127.0.0.2", sidecar.proxy()).await;
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        held.push(stream);
    }
    let (_stream, answer) = tunnel_from("127.0.0.2", sidecar.proxy()).await;
    assert!(answer.starts_with("HTTP/1.1 503"), "{answer}");
    assert!(
        answer.contains("x-spapi-sidecar-error: overloaded"),
        "{answer}"
    );
    let (_other, answer) = tunnel_from("127.0.0.3", sidecar.proxy()).await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    held.pop();
    for _ in 0..500 {
        let (_stream, answer) = tunnel_from("127.0.0.2", sidecar.proxy()).await;
        if answer.starts_with("HTTP/1.1 200") {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("what was given back is not given out again");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_room_for_one_connection_clients_are_served_one_after_the_other() {
    let sidecar = TestSidecar::with(with("max_connections: 1")).await;
    for _ in 0..8 {
        let mut client = soon("its turn", Http1::open(&sidecar, NA)).await;
        assert_eq!(client.ask(get("/_sandbox/sink")).await.head.status, 200);
    }
}
