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

impl Slow {
    fn new(name: &'static str, way: Way, open: impl Into<Vec<u8>>) -> Self {
        Self {
            name,
            way,
            open: open.into(),
            trickle: Vec::new(),
            begins: false,
        }
    }

    fn trickling(self, trickle: impl Into<Vec<u8>>) -> Self {
        Self {
            trickle: trickle.into(),
            ..self
        }
    }
}

pub(super) fn slow() -> Vec<Slow> {
    let mut all = heads();
    all.extend(frames());
    for way in [Way::Connect, Way::Tunnel, Way::Transparent] {
        let hello = Hello::named(NA).bytes();
        all.push(Slow::new("nothing where a hello is due", way, ""));
        all.push(Slow::new("half a hello", way, &hello[..100]));
        all.push(Slow::new("a hello, byte by byte", way, "").trickling(hello));
    }
    all.extend(bodies().into_iter().map(|slow| Slow {
        begins: true,
        ..slow
    }));
    all
}

fn heads() -> Vec<Slow> {
    let filler = b"x-a: 0123456789\r\n".repeat(100);
    vec![
        Slow::new("nothing", Way::Door, ""),
        Slow::new(
            "a CONNECT, byte by byte",
            Way::Door,
            "CONNECT x:443 HTTP/1.1\r\n",
        )
        .trickling(filler.clone()),
        Slow::new("nothing after the handshake", Way::Http1, ""),
        Slow::new(
            "a head, byte by byte",
            Way::Http1,
            format!("GET {ORDERS} HTTP/1.1\r\n"),
        )
        .trickling(filler),
        Slow::new("empty lines, one by one", Way::Http1, "").trickling(b"\r\n".repeat(1000)),
    ]
}

/// The preface and a first SETTINGS frame.
fn begun() -> Vec<u8> {
    [PREFACE, &frame(SETTINGS, 0, 0, &[])].concat()
}

fn frames() -> Vec<Slow> {
    let half_head = frame(HEADERS, END_STREAM, 1, &block(&[(":method", "GET")]));
    vec![
        Slow::new("nothing after the handshake", Way::Http2, ""),
        Slow::new("half a preface", Way::Http2, &PREFACE[..12]),
        Slow::new("a preface, byte by byte", Way::Http2, "").trickling(PREFACE),
        Slow::new("nothing after the preface", Way::Http2, begun()),
        Slow::new("half a head", Way::Http2, [begun(), half_head].concat()),
        Slow::new("PINGs, one by one", Way::Http2, begun())
            .trickling(frame(PING, 0, 0, &[1; 8]).repeat(1000)),
    ]
}

fn bodies() -> Vec<Slow> {
    let post = |rest: &str| format!("POST /_sandbox/x HTTP/1.1\r\nHost: {NA}\r\n{rest}");
    let chunked = post("Transfer-Encoding: chunked\r\n\r\n");
    let sized = post("Content-Length: 100\r\n\r\n");
    vec![
        Slow::new(
            "a body with a length that stops",
            Way::Http1,
            format!("{sized}hello"),
        ),
        Slow::new("a body that never begins", Way::Http1, sized),
        Slow::new(
            "a chunked body that stops",
            Way::Http1,
            format!("{chunked}5\r\nhel"),
        ),
        Slow::new("a chunk's size, digit by digit", Way::Http1, chunked).trickling([b'0'; 1000]),
        Slow::new(
            "a body that never begins",
            Way::Http2,
            [begun(), head(1, &POST, 0)].concat(),
        ),
    ]
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
