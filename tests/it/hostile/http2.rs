//! Frames that break the rules of RFC 9113.

use super::attack::{Attack, Meets, Way};
use super::frames::{
    CONTINUATION, DATA, END_HEADERS, END_STREAM, HEADERS, PING, PUSH_PROMISE, RST_STREAM, SETTINGS,
    WINDOW_UPDATE, block, frame, head, string,
};
use super::{CANARY, ORDERS};
use crate::support::sidecar::NA;

pub(super) fn attacks() -> Vec<Attack> {
    let mut attacks: Vec<Attack> = broken()
        .into_iter()
        .map(|(name, sends)| Attack::new(name, Way::Http2, sends, Meets::GoAway))
        .collect();
    attacks.extend(bombs());
    attacks.extend(bodies());
    attacks
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
    (":path", "/_sandbox/x"),
];

/// What ends the connection.
fn broken() -> Vec<(&'static str, Vec<u8>)> {
    let mut broken = streams();
    broken.extend(controls());
    broken.extend(blocks());
    broken
}

fn streams() -> Vec<(&'static str, Vec<u8>)> {
    let get = |stream| head(stream, &GET, END_STREAM);
    vec![
        ("a head on stream 0", get(0)),
        ("a head on an even stream", get(2)),
        ("a stream number that goes back", [get(5), get(3)].concat()),
        ("DATA on stream 0", frame(DATA, 0, 0, b"x")),
        (
            "DATA on a stream that was never opened",
            frame(DATA, 0, 1, b"x"),
        ),
        (
            "RST_STREAM of a stream that was never opened",
            frame(RST_STREAM, 0, 1, &[0; 4]),
        ),
        (
            "RST_STREAM of the wrong size",
            [head(1, &POST, 0), frame(RST_STREAM, 0, 1, &[0; 3])].concat(),
        ),
    ]
}

fn controls() -> Vec<(&'static str, Vec<u8>)> {
    vec![
        ("SETTINGS on a stream", frame(SETTINGS, 0, 1, &[])),
        ("SETTINGS of the wrong size", frame(SETTINGS, 0, 0, &[0; 5])),
        (
            "SETTINGS acknowledged with content",
            frame(SETTINGS, 1, 0, &[0; 6]),
        ),
        (
            "SETTINGS with too large a window",
            frame(SETTINGS, 0, 0, &[0, 4, 0x80, 0, 0, 0]),
        ),
        (
            "SETTINGS with too small a frame",
            frame(SETTINGS, 0, 0, &[0, 5, 0, 0, 0, 1]),
        ),
        ("PING of the wrong size", frame(PING, 0, 0, &[0; 7])),
        ("PING on a stream", frame(PING, 0, 1, &[0; 8])),
        (
            "PUSH_PROMISE from a client",
            frame(PUSH_PROMISE, END_HEADERS, 1, &[0, 0, 0, 2]),
        ),
        (
            "CONTINUATION without a head",
            frame(CONTINUATION, END_HEADERS, 1, &block(&GET)),
        ),
        (
            "a head that another frame interrupts",
            [
                frame(HEADERS, END_STREAM, 1, &block(&GET[..2])),
                frame(PING, 0, 0, &[0; 8]),
            ]
            .concat(),
        ),
        (
            "a head that goes on in another stream",
            [
                frame(HEADERS, END_STREAM, 1, &block(&GET[..2])),
                frame(CONTINUATION, END_HEADERS, 3, &block(&GET[2..])),
            ]
            .concat(),
        ),
        ("a frame that is too large", frame(DATA, 0, 1, &[0; 16_385])),
        (
            "WINDOW_UPDATE that overflows the connection's window",
            frame(WINDOW_UPDATE, 0, 0, &[0x7f, 0xff, 0xff, 0xff]),
        ),
        (
            "WINDOW_UPDATE of nothing",
            frame(WINDOW_UPDATE, 0, 0, &[0; 4]),
        ),
    ]
}

/// Header blocks that cannot be read (RFC 7541).
fn blocks() -> Vec<(&'static str, Vec<u8>)> {
    let whole = |block: &[u8]| frame(HEADERS, END_STREAM | END_HEADERS, 1, block);
    vec![
        (
            "padding that is longer than its frame",
            frame(HEADERS, END_STREAM | END_HEADERS | 8, 1, &[200, 0x82]),
        ),
        ("an index into nothing (HPACK)", whole(&[0xff, 0xff, 0x7f])),
        ("an index of 0 (HPACK)", whole(&[0x80])),
        ("a number without an end (HPACK)", whole(&[0xff; 64])),
        (
            "a string that is longer than its block (HPACK)",
            whole(&[0, 0x7f, 0x7f]),
        ),
        (
            "a string whose Huffman code is none (HPACK)",
            whole(&[0, 0x84, 0xff, 0xff, 0xff, 0xff, 0]),
        ),
        (
            "a table that grows beyond its bound (HPACK)",
            whole(&[0x3f, 0xe1, 0xff, 0xff, 0x07]),
        ),
    ]
}

/// Heads that are small on the wire and large behind it.
fn bombs() -> Vec<Attack> {
    let too_large = Meets::Refused(431, "header_too_large");
    let large = |size: usize| {
        let value = "x".repeat(size);
        let mut fields = GET.to_vec();
        fields.push(("x-large", &value));
        let whole = block(&fields);
        let mut parts = whole.chunks(16_000);
        let mut sends = frame(HEADERS, END_STREAM, 1, parts.next().unwrap());
        for part in parts {
            sends.extend(frame(CONTINUATION, 0, 1, part));
        }
        sends.extend(frame(CONTINUATION, END_HEADERS, 1, &[]));
        sends
    };
    // a field that is remembered, and then named by one byte, over and over (RFC 7541 section 7.3)
    let mut bomb = block(&GET);
    bomb.push(0x40);
    string(&mut bomb, b"x-bomb");
    string(&mut bomb, "y".repeat(3900).as_bytes());
    bomb.resize(bomb.len() + 8000, 0xbe);
    vec![
        Attack::new(
            "a head of 80,000 bytes",
            Way::Http2,
            large(80_000),
            too_large,
        ),
        Attack::new(
            "a head of 200,000 bytes",
            Way::Http2,
            large(200_000),
            Meets::GoAway,
        ),
        Attack::new(
            "a head of 31 MB in 12,000 bytes (HPACK bomb)",
            Way::Http2,
            frame(HEADERS, END_STREAM | END_HEADERS, 1, &bomb),
            Meets::GoAway,
        ),
    ]
}

/// Bodies that do not keep to their length.
fn bodies() -> Vec<Attack> {
    let with = |lengths: &[&str], flags, data: &[u8]| {
        let mut fields = POST.to_vec();
        fields.extend(lengths.iter().map(|length| ("content-length", *length)));
        let mut sends = head(1, &fields, flags);
        if flags == 0 {
            sends.extend(frame(DATA, END_STREAM, 1, data));
        }
        sends
    };
    let canary = CANARY.as_bytes();
    let cut = Meets::ResetAndCutOff;
    [
        (
            "a length that is longer than the body",
            with(&["500"], 0, canary),
            cut,
        ),
        (
            "a length that is shorter than the body",
            with(&["2"], 0, canary),
            cut,
        ),
        (
            "a length and no body",
            with(&["5"], END_STREAM, &[]),
            Meets::Reset,
        ),
        (
            "two lengths that differ",
            with(&["5", "6"], 0, b"hello"),
            Meets::Reset,
        ),
        (
            "two lengths that agree",
            with(&["5", "5"], 0, b"hello"),
            Meets::Refused(400, "bad_request"),
        ),
        (
            "a length with a sign",
            with(&["+5"], 0, b"hello"),
            Meets::Reset,
        ),
        (
            "a list of lengths",
            with(&["5, 5"], 0, b"hello"),
            Meets::Reset,
        ),
        ("an empty length", with(&[""], 0, b"hello"), cut),
        (
            "an empty length, and no body",
            with(&[""], END_STREAM, b""),
            Meets::Refused(400, "bad_request"),
        ),
    ]
    .into_iter()
    .map(|(name, sends, meets)| Attack::new(name, Way::Http2, sends, meets))
    .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_frame_that_breaks_the_rules_reaches_upstream() {
    super::runner::run(attacks()).await;
}
