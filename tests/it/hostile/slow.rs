//! Clients that take their time: silence and slowness are bounded by the limits.

use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

use super::ORDERS;
use super::attack::Way;
use super::frames::{END_STREAM, HEADERS, PING, PREFACE, SETTINGS, block, frame, head, next};
use super::hello::Hello;
use super::runner::Field;
use crate::support::peer::soon;
use crate::support::sidecar::{NA, Setup, TestSidecar, eventually};

/// Somebody slow.
pub(super) struct Slow {
    pub(super) name: &'static str,
    pub(super) way: Way,
    /// What is sent at once.
    open: Vec<u8>,
    /// What is sent then, byte after byte, a few a second.
    trickle: Vec<u8>,
    /// Whether upstream may see the beginning of the request.
    pub(super) begins: bool,
}

pub(super) fn slow() -> Vec<Slow> {
    let one = |name, way, open: &[u8], trickle: &[u8]| Slow {
        name,
        way,
        open: open.to_vec(),
        trickle: trickle.to_vec(),
        begins: false,
    };
    let filler = b"x-a: 0123456789\r\n".repeat(100);
    let hello = Hello::named(NA).bytes();
    let settings = [PREFACE, &frame(SETTINGS, 0, 0, &[])].concat();
    let half_head = frame(HEADERS, END_STREAM, 1, &block(&[(":method", "GET")]));
    let body = |framing: &str| {
        format!("POST /_sandbox/x HTTP/1.1\r\nHost: {NA}\r\n{framing}\r\n\r\n").into_bytes()
    };
    let mut all = vec![
        one("nothing", Way::Door, b"", b""),
        one(
            "a CONNECT, byte by byte",
            Way::Door,
            b"CONNECT x:443 HTTP/1.1\r\n",
            &filler,
        ),
        one("nothing after the handshake", Way::Http1, b"", b""),
        one(
            "a head, byte by byte",
            Way::Http1,
            format!("GET {ORDERS} HTTP/1.1\r\n").as_bytes(),
            &filler,
        ),
        one(
            "empty lines, one by one",
            Way::Http1,
            b"",
            &b"\r\n".repeat(1000),
        ),
        one("nothing after the handshake", Way::Http2, b"", b""),
        one("half a preface", Way::Http2, &PREFACE[..12], b""),
        one("a preface, byte by byte", Way::Http2, b"", PREFACE),
        one("nothing after the preface", Way::Http2, &settings, b""),
        one(
            "half a head",
            Way::Http2,
            &[&settings[..], &half_head].concat(),
            b"",
        ),
        one(
            "PINGs, one by one",
            Way::Http2,
            &settings,
            &frame(PING, 0, 0, &[1; 8]).repeat(1000),
        ),
    ];
    for way in [Way::Connect, Way::Tunnel, Way::Transparent] {
        all.push(one("nothing where a hello is due", way, b"", b""));
        all.push(one("half a hello", way, &hello[..100], b""));
        all.push(one("a hello, byte by byte", way, b"", &hello));
    }
    for (name, way, open) in [
        (
            "a body with a length that stops",
            Way::Http1,
            [body("Content-Length: 100"), b"hello".to_vec()].concat(),
        ),
        (
            "a chunked body that stops",
            Way::Http1,
            [body("Transfer-Encoding: chunked"), b"5\r\nhel".to_vec()].concat(),
        ),
        (
            "a body that never begins",
            Way::Http1,
            body("Content-Length: 100"),
        ),
        (
            "a body that never begins",
            Way::Http2,
            [settings, head(1, &POST, 0)].concat(),
        ),
    ] {
        all.push(Slow {
            begins: true,
            ..one(name, way, &open, b"")
        });
    }
    all.push(Slow {
        begins: true,
        ..one(
            "a chunk's size, digit by digit",
            Way::Http1,
            &body("Transfer-Encoding: chunked"),
            &[b'0'; 1000],
        )
    });
    all
}

const POST: [(&str, &str); 4] = [
    (":method", "POST"),
    (":scheme", "https"),
    (":authority", NA),
    (":path", "/_sandbox/x"),
];

const LIMITS: &str = "  limits: { header_timeout: 1s, idle_timeout: 1s }\n";
const UPSTREAM: &str = "  response_timeout: 1s\n";

/// Sends what there is to send, until the other side closes.
async fn until_closed(mut io: impl AsyncRead + AsyncWrite + Unpin, slow: &Slow) {
    io.write_all(&slow.open).await.unwrap();
    let mut pace = tokio::time::interval(Duration::from_millis(100));
    let mut trickle = slow.trickle.iter();
    let mut heard = [0; 1024];
    loop {
        tokio::select! {
            read = io.read(&mut heard) => if matches!(read, Ok(0) | Err(_)) {
                return;
            },
            _ = pace.tick() => if let Some(byte) = trickle.next() {
                // it may be closed already: then the read says so
                let _sent = io.write_all(&[*byte]).await;
                let _flushed = io.flush().await;
            }
        }
    }
}

async fn outlasts(field: &Field, slow: &Slow) {
    match slow.way {
        Way::Door => until_closed(field.door().await, slow).await,
        Way::Transparent => until_closed(field.transparent().await, slow).await,
        Way::Connect => until_closed(field.connected(NA).await.io, slow).await,
        Way::Tunnel => until_closed(field.connected("tunnel.example").await.io, slow).await,
        Way::Http1 => until_closed(field.sidecar.inside(NA).await.io, slow).await,
        Way::Http2 => until_closed(field.http2().await, slow).await,
        Way::Answer => unreachable!("nobody is slow in an answer"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_is_slow_is_cut_off_and_everybody_else_is_served_meanwhile() {
    let field = Field::with(|setup| Setup {
        listen: LIMITS.to_owned(),
        upstream: UPSTREAM.to_owned(),
        ..setup
    })
    .await;
    let mark = field.upstream.mark();
    let all = slow();
    let (begin, others): (Vec<&Slow>, Vec<&Slow>) = all.iter().partition(|slow| slow.begins);
    for (group, reaches) in [(others, false), (begin, true)] {
        let waits = group.iter().map(|slow| {
            let what = format!("{}, {}: closed", slow.way.text(), slow.name);
            let field = &field;
            async move { soon(&what, outlasts(field, slow)).await }
        });
        futures_util::future::join_all(waits).await;
        if !reaches {
            assert_eq!(field.upstream.mark(), mark);
        }
        assert_eq!(
            field.upstream.mark().requests,
            mark.requests,
            "a whole request came"
        );
    }
    field.serves_the_good().await;
}

/// Reads frames and answers PINGs, and never grants a byte of window.
async fn answer_pings_alone(io: &mut (impl AsyncRead + AsyncWrite + Unpin)) {
    while let Ok((kind, flags, _, payload)) = next(io).await {
        if (kind, flags) == (PING, 0) {
            // it may be closed already: then the read says so
            let _sent = io.write_all(&frame(PING, 1, 0, &payload)).await;
            let _flushed = io.flush().await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_grants_no_window_is_cut_off_although_it_answers_pings() {
    let sidecar = TestSidecar::with(Setup {
        listen: LIMITS.to_owned(),
        ..Setup::default()
    })
    .await;
    let (_, wire) = sidecar.connect(&format!("{NA}:443"), &[]).await;
    let mut io = sidecar.handshake(wire.io, NA, &["h2"]).await.unwrap();
    let mut sends = [PREFACE, &frame(SETTINGS, 0, 0, &[0, 4, 0, 0, 0, 0])].concat();
    for n in 0..20 {
        let fields = [
            (":method", "GET"),
            (":scheme", "https"),
            (":authority", NA),
            (":path", "/_sandbox/body/1000000"),
        ];
        sends.extend(head(2 * n + 1, &fields, END_STREAM));
    }
    io.write_all(&sends).await.unwrap();
    soon("the end of the connection", answer_pings_alone(&mut io)).await;
    eventually("all are recorded", || sidecar.records().len() == 20).await;
    assert_eq!(sidecar.call(ORDERS, &[]).await.status, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_does_not_read_its_answer_is_cut_off() {
    let sidecar = TestSidecar::with(Setup {
        listen: LIMITS.to_owned(),
        ..Setup::default()
    })
    .await;
    let mut inside = sidecar.inside(NA).await;
    inside
        .send(format!(
            "GET /_sandbox/body/200000000 HTTP/1.1\r\nHost: {NA}\r\n\r\n"
        ))
        .await;
    eventually("it is recorded", || sidecar.records().len() == 1).await;
    assert_eq!(sidecar.records()[0]["outcome"], "cancelled");
    assert_eq!(sidecar.call(ORDERS, &[]).await.status, 200);
}
