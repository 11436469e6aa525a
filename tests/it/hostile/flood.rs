//! Frames and bytes without end.

use super::ORDERS;
use super::attack::Way;
use super::frames::{
    CONTINUATION, DATA, END_STREAM, HEADERS, PING, RST_STREAM, SETTINGS, WINDOW_UPDATE, block,
    frame, head,
};
use crate::support::sidecar::NA;

/// Something that is sent over and over.
pub(super) struct Flood {
    pub(super) name: &'static str,
    pub(super) way: Way,
    /// What is sent once.
    pub(super) open: Vec<u8>,
    /// What is sent then, as often as `times` says.
    pub(super) again: fn(u32) -> Vec<u8>,
    pub(super) times: u32,
    /// Whether the attacker reads nothing.
    pub(super) deaf: bool,
    pub(super) ends: Ends,
}

/// What comes of a flood.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Ends {
    /// The sidecar closes the connection.
    Closed,
    /// Each gets its due, and costs nothing that stays.
    Served,
}

impl Ends {
    pub(super) const fn text(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Served => "each gets its due, until the connection is idle for too long",
        }
    }
}

const GET: [(&str, &str); 4] = [
    (":method", "GET"),
    (":scheme", "https"),
    (":authority", NA),
    (":path", ORDERS),
];

const POST: [(&str, &str); 4] = [
    (":method", "POST"),
    (":scheme", "https"),
    (":authority", NA),
    (":path", "/_sandbox/sink"),
];

fn http2(name: &'static str, again: fn(u32) -> Vec<u8>, times: u32, ends: Ends) -> Flood {
    Flood {
        name,
        way: Way::Http2,
        open: Vec::new(),
        again,
        times,
        deaf: false,
        ends,
    }
}

fn http1(name: &'static str, open: String, again: fn(u32) -> Vec<u8>, times: u32) -> Flood {
    Flood {
        way: Way::Http1,
        open: open.into_bytes(),
        ..http2(name, again, times, Ends::Closed)
    }
}

pub(super) fn floods() -> Vec<Flood> {
    let mut floods = frames();
    floods.extend(bytes());
    floods
}

fn frames() -> Vec<Flood> {
    let ping: fn(u32) -> Vec<u8> = |n| frame(PING, 0, 0, &u64::from(n).to_be_bytes());
    let settings: fn(u32) -> Vec<u8> = |_| frame(SETTINGS, 0, 0, &[0, 3, 0, 0, 0, 100]);
    let on_a_stream = |flood: Flood| Flood {
        open: head(1, &POST, 0),
        ..flood
    };
    let in_a_head = |flood: Flood| Flood {
        open: frame(HEADERS, END_STREAM, 1, &block(&GET)),
        ..flood
    };
    vec![
        http2(
            "rapid reset",
            |n| [head(2 * n + 1, &GET, END_STREAM), reset(2 * n + 1)].concat(),
            20_000,
            Ends::Closed,
        ),
        http2(
            "rapid reset of uploads",
            |n| [head(2 * n + 1, &POST, 0), reset(2 * n + 1)].concat(),
            20_000,
            Ends::Closed,
        ),
        http2(
            "streams that break the rules",
            |n| {
                head(
                    2 * n + 1,
                    &[&GET[..], &[("te", "gzip")]].concat(),
                    END_STREAM,
                )
            },
            20_000,
            Ends::Closed,
        ),
        http2(
            "more streams than there may be",
            |n| head(2 * n + 1, &POST, 0),
            5_000,
            Ends::Closed,
        ),
        in_a_head(http2(
            "CONTINUATION without end",
            |_| frame(CONTINUATION, 0, 1, &block(&[("x-a", "0123456789")])),
            100_000,
            Ends::Closed,
        )),
        in_a_head(http2(
            "empty CONTINUATIONs",
            |_| frame(CONTINUATION, 0, 1, &[]),
            100_000,
            Ends::Closed,
        )),
        http2("SETTINGS", settings, 100_000, Ends::Served),
        http2("PING", ping, 100_000, Ends::Served),
        Flood {
            deaf: true,
            ..http2(
                "SETTINGS, whose answers nobody reads",
                settings,
                100_000,
                Ends::Served,
            )
        },
        Flood {
            deaf: true,
            ..http2(
                "PING, whose answers nobody reads",
                ping,
                100_000,
                Ends::Served,
            )
        },
        on_a_stream(http2(
            "empty DATA",
            |_| frame(DATA, 0, 1, &[]),
            100_000,
            Ends::Closed,
        )),
        on_a_stream(http2(
            "DATA of one byte",
            |_| frame(DATA, 0, 1, b"x"),
            100_000,
            Ends::Closed,
        )),
        on_a_stream(http2(
            "padding alone",
            |_| frame(DATA, 8, 1, &[255; 256]),
            20_000,
            Ends::Closed,
        )),
        http2(
            "WINDOW_UPDATE of one byte",
            |_| frame(WINDOW_UPDATE, 0, 0, &[0, 0, 0, 1]),
            100_000,
            Ends::Served,
        ),
        http2(
            "PRIORITY",
            |n| frame(2, 0, 2 * n + 1, &[0, 0, 0, 0, 16]),
            100_000,
            Ends::Served,
        ),
        http2(
            "frames of a kind that nobody knows",
            |_| frame(0xbe, 0, 0, &[0; 64]),
            100_000,
            Ends::Served,
        ),
    ]
}

fn reset(stream: u32) -> Vec<u8> {
    frame(RST_STREAM, 0, stream, &[0, 0, 0, 8])
}

fn bytes() -> Vec<Flood> {
    let chunked =
        format!("POST /_sandbox/sink HTTP/1.1\r\nHost: {NA}\r\nTransfer-Encoding: chunked\r\n\r\n");
    let get = format!("GET {ORDERS} HTTP/1.1\r\nHost: {NA}\r\n");
    vec![
        http1(
            "a head without end",
            get.clone(),
            |_| b"x-a: 0123456789\r\n".to_vec(),
            100_000,
        ),
        http1(
            "a value without end",
            format!("{get}x-a: "),
            |_| vec![b'x'; 1000],
            10_000,
        ),
        http1(
            "a target without end",
            "GET /".to_owned(),
            |_| vec![b'x'; 1000],
            10_000,
        ),
        http1(
            "a method without end",
            String::new(),
            |_| vec![b'X'; 1000],
            10_000,
        ),
        http1(
            "empty lines without end",
            String::new(),
            |_| b"\r\n".repeat(500),
            10_000,
        ),
        http1(
            "a chunk's size without end",
            chunked.clone(),
            |_| vec![b'0'; 1000],
            10_000,
        ),
        http1(
            "a chunk's extension without end",
            format!("{chunked}5;"),
            |_| vec![b'x'; 1000],
            10_000,
        ),
        http1(
            "trailers without end",
            format!("{chunked}0\r\n"),
            |_| b"x-a: 0123456789\r\n".to_vec(),
            100_000,
        ),
        Flood {
            way: Way::Door,
            ..http1(
                "a CONNECT head without end",
                format!("CONNECT {NA}:443 HTTP/1.1\r\n"),
                |_| b"x-a: 0123456789\r\n".to_vec(),
                100_000,
            )
        },
        Flood {
            ends: Ends::Served,
            ..http1(
                "pipelined requests",
                String::new(),
                |_| format!("GET /nowhere HTTP/1.1\r\nHost: {NA}\r\n\r\n").into_bytes(),
                5_000,
            )
        },
        Flood {
            way: Way::Connect,
            ..http1(
                "a hello without end",
                String::new(),
                |n| {
                    if n == 0 {
                        vec![22, 3, 1, 0x3f, 0xff, 1, 0, 0xff, 0xff]
                    } else {
                        vec![0; 1000]
                    }
                },
                10_000,
            )
        },
        Flood {
            way: Way::Transparent,
            ..http1(
                "a hello without end",
                String::new(),
                |n| {
                    if n == 0 {
                        vec![22, 3, 1, 0x3f, 0xff, 1, 0, 0xff, 0xff]
                    } else {
                        vec![0; 1000]
                    }
                },
                10_000,
            )
        },
    ]
}
