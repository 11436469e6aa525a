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

impl Flood {
    /// Over HTTP/2, until the sidecar closes.
    fn new(name: &'static str, times: u32, again: fn(u32) -> Vec<u8>) -> Self {
        Self {
            name,
            way: Way::Http2,
            open: Vec::new(),
            again,
            times,
            deaf: false,
            ends: Ends::Closed,
        }
    }

    fn by(self, way: Way) -> Self {
        Self { way, ..self }
    }

    fn after(self, open: impl Into<Vec<u8>>) -> Self {
        Self {
            open: open.into(),
            ..self
        }
    }

    fn served(self) -> Self {
        Self {
            ends: Ends::Served,
            ..self
        }
    }

    fn deaf(self) -> Self {
        Self { deaf: true, ..self }
    }
}

pub(super) fn floods() -> Vec<Flood> {
    let mut floods = streams();
    floods.extend(controls());
    floods.extend(data());
    floods.extend(heads());
    floods.extend(bodies());
    floods.extend(hellos());
    floods
}

fn streams() -> Vec<Flood> {
    vec![
        Flood::new("rapid reset", 20_000, |n| {
            [head(2 * n + 1, &GET, END_STREAM), cancel(2 * n + 1)].concat()
        }),
        Flood::new("rapid reset of uploads", 20_000, |n| {
            [head(2 * n + 1, &POST, 0), cancel(2 * n + 1)].concat()
        }),
        Flood::new("streams that break the rules", 20_000, |n| {
            let fields = [&GET[..], &[("te", "gzip")]].concat();
            head(2 * n + 1, &fields, END_STREAM)
        }),
        Flood::new("more streams than there may be", 5_000, |n| {
            head(2 * n + 1, &POST, 0)
        }),
    ]
}

fn cancel(stream: u32) -> Vec<u8> {
    frame(RST_STREAM, 0, stream, &[0, 0, 0, 8])
}

fn controls() -> Vec<Flood> {
    let begun = frame(HEADERS, END_STREAM, 1, &block(&GET));
    let ping: fn(u32) -> Vec<u8> = |n| frame(PING, 0, 0, &u64::from(n).to_be_bytes());
    let settings: fn(u32) -> Vec<u8> = |_| frame(SETTINGS, 0, 0, &[0, 3, 0, 0, 0, 100]);
    vec![
        Flood::new("CONTINUATION without end", 100_000, |_| {
            frame(CONTINUATION, 0, 1, &block(&[("x-a", "0123456789")]))
        })
        .after(begun.clone()),
        Flood::new("empty CONTINUATIONs", 100_000, |_| {
            frame(CONTINUATION, 0, 1, &[])
        })
        .after(begun),
        Flood::new("SETTINGS", 100_000, settings).served(),
        Flood::new("PING", 100_000, ping).served(),
        Flood::new("SETTINGS, whose answers nobody reads", 100_000, settings)
            .deaf()
            .served(),
        Flood::new("PING, whose answers nobody reads", 100_000, ping)
            .deaf()
            .served(),
        Flood::new("WINDOW_UPDATE of one byte", 100_000, |_| {
            frame(WINDOW_UPDATE, 0, 0, &[0, 0, 0, 1])
        })
        .served(),
        Flood::new("PRIORITY", 100_000, |n| {
            frame(2, 0, 2 * n + 1, &[0, 0, 0, 0, 16])
        })
        .served(),
        Flood::new("frames of a kind that nobody knows", 100_000, |_| {
            frame(0xbe, 0, 0, &[0; 64])
        })
        .served(),
    ]
}

fn data() -> Vec<Flood> {
    let post = head(1, &POST, 0);
    vec![
        Flood::new("empty DATA", 100_000, |_| frame(DATA, 0, 1, &[])).after(post.clone()),
        Flood::new("DATA of one byte", 100_000, |_| frame(DATA, 0, 1, b"x")).after(post.clone()),
        Flood::new("padding alone", 20_000, |_| frame(DATA, 8, 1, &[255; 256])).after(post),
    ]
}

fn field(_: u32) -> Vec<u8> {
    b"x-a: 0123456789\r\n".to_vec()
}

fn letters(_: u32) -> Vec<u8> {
    vec![b'X'; 1000]
}

fn heads() -> Vec<Flood> {
    let get = format!("GET {ORDERS} HTTP/1.1\r\nHost: {NA}\r\n");
    vec![
        Flood::new("a head without end", 100_000, field)
            .by(Way::Http1)
            .after(get.clone()),
        Flood::new("a CONNECT head without end", 100_000, field)
            .by(Way::Door)
            .after(format!("CONNECT {NA}:443 HTTP/1.1\r\n")),
        Flood::new("a value without end", 10_000, letters)
            .by(Way::Http1)
            .after(format!("{get}x-a: ")),
        Flood::new("a target without end", 10_000, letters)
            .by(Way::Http1)
            .after("GET /"),
        Flood::new("a method without end", 10_000, letters).by(Way::Http1),
        Flood::new("empty lines without end", 10_000, |_| b"\r\n".repeat(500)).by(Way::Http1),
        Flood::new("pipelined requests", 5_000, |_| {
            format!("GET /nowhere HTTP/1.1\r\nHost: {NA}\r\n\r\n").into_bytes()
        })
        .by(Way::Http1)
        .served(),
    ]
}

fn bodies() -> Vec<Flood> {
    let chunked =
        format!("POST /_sandbox/sink HTTP/1.1\r\nHost: {NA}\r\nTransfer-Encoding: chunked\r\n\r\n");
    vec![
        Flood::new("a chunk's size without end", 10_000, |_| vec![b'0'; 1000])
            .by(Way::Http1)
            .after(chunked.clone()),
        Flood::new("a chunk's extension without end", 10_000, letters)
            .by(Way::Http1)
            .after(format!("{chunked}5;")),
        Flood::new("trailers without end", 100_000, field)
            .by(Way::Http1)
            .after(format!("{chunked}0\r\n")),
    ]
}

fn hellos() -> impl Iterator<Item = Flood> {
    [Way::Connect, Way::Transparent].into_iter().map(|way| {
        Flood::new("a hello without end", 10_000, |n| match n {
            0 => vec![22, 3, 1, 0x3f, 0xff, 1, 0, 0xff, 0xff],
            _ => vec![0; 1000],
        })
        .by(way)
    })
}
