//! HTTP/2 by hand (RFC 9113): frames that no library would write.

use tokio::io::{AsyncRead, AsyncReadExt as _};

/// What a client says first.
pub(crate) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

pub(crate) const DATA: u8 = 0;
pub(crate) const HEADERS: u8 = 1;
pub(crate) const RST_STREAM: u8 = 3;
pub(crate) const SETTINGS: u8 = 4;
pub(crate) const PUSH_PROMISE: u8 = 5;
pub(crate) const PING: u8 = 6;
pub(crate) const GOAWAY: u8 = 7;
pub(crate) const WINDOW_UPDATE: u8 = 8;
pub(crate) const CONTINUATION: u8 = 9;

pub(crate) const END_STREAM: u8 = 1;
pub(crate) const END_HEADERS: u8 = 4;

/// A frame.
pub(crate) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let mut bytes = length[1..].to_vec();
    bytes.extend_from_slice(&[kind, flags]);
    bytes.extend_from_slice(&stream.to_be_bytes());
    bytes.extend_from_slice(payload);
    bytes
}

/// A header block of literals that nobody remembers (RFC 7541 section 6.2.2).
pub(crate) fn block(fields: &[(&str, &str)]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (name, value) in fields {
        bytes.push(0);
        for text in [name, value] {
            string(&mut bytes, text.as_bytes());
        }
    }
    bytes
}

/// A string as it is (RFC 7541 section 5.2).
pub(crate) fn string(bytes: &mut Vec<u8>, text: &[u8]) {
    match u8::try_from(text.len()) {
        Ok(length @ 0..127) => bytes.push(length),
        _ => {
            bytes.push(127);
            let mut left = text.len() - 127;
            while left > 127 {
                bytes.push(u8::try_from(left % 128).unwrap() | 128);
                left /= 128;
            }
            bytes.push(u8::try_from(left).unwrap());
        }
    }
    bytes.extend_from_slice(text);
}

/// A whole head in one frame.
pub(crate) fn head(stream: u32, fields: &[(&str, &str)], flags: u8) -> Vec<u8> {
    frame(HEADERS, flags | END_HEADERS, stream, &block(fields))
}

/// What a server said of the first stream, up to its end or the connection's.
#[derive(Debug, Default)]
pub(crate) struct Said {
    pub(crate) status: Option<u16>,
    pub(crate) body: Vec<u8>,
    /// The code of a `RST_STREAM`.
    pub(crate) reset: Option<u32>,
    /// The code of a GOAWAY.
    pub(crate) go_away: Option<u32>,
    /// Whether the connection ended.
    pub(crate) closed: bool,
}

impl Said {
    /// Reads until the first stream is over.
    pub(crate) async fn of(io: &mut (impl AsyncRead + Unpin)) -> Self {
        let mut said = Self::default();
        while !said.hear(io).await {}
        said
    }

    /// Reads one frame; whether the first stream is over with it.
    async fn hear(&mut self, io: &mut (impl AsyncRead + Unpin)) -> bool {
        let Ok((kind, flags, stream, payload)) = next(io).await else {
            self.closed = true;
            return true;
        };
        let ends = flags & END_STREAM != 0 && stream == 1;
        match (kind, stream) {
            (HEADERS, 1) if self.status.is_none() => self.status = Some(status(&payload)),
            (DATA, 1) => self.body.extend_from_slice(&payload),
            (RST_STREAM, 1) => self.reset = Some(word(&payload)),
            (GOAWAY, _) => self.go_away = Some(word(&payload[4..])),
            _ => return false,
        }
        kind == RST_STREAM || kind != GOAWAY && ends
    }

    /// The code of a refusal.
    pub(crate) fn code(&self) -> String {
        let body: serde_json::Value = serde_json::from_slice(&self.body).unwrap_or_default();
        body["errors"][0]["code"].as_str().unwrap_or("").to_owned()
    }
}

/// The next frame: kind, flags, stream and payload.
pub(crate) async fn next(
    io: &mut (impl AsyncRead + Unpin),
) -> std::io::Result<(u8, u8, u32, Vec<u8>)> {
    let mut head = [0; 9];
    io.read_exact(&mut head).await?;
    let length = usize::from(head[0]) << 16 | usize::from(head[1]) << 8 | usize::from(head[2]);
    let mut payload = vec![0; length];
    io.read_exact(&mut payload).await?;
    Ok((head[3], head[4], word(&head[5..]), payload))
}

fn word(bytes: &[u8]) -> u32 {
    u32::from_be_bytes(bytes[..4].try_into().unwrap())
}

/// The status at the start of a block: an entry of the static table, or a literal with the eighth's name and digits in
/// Huffman's code (RFC 7541 appendices A and B).
fn status(block: &[u8]) -> u16 {
    const KNOWN: [u16; 7] = [200, 204, 206, 304, 400, 404, 500];
    match block[0] {
        known @ 0x88..=0x8e => KNOWN[usize::from(known - 0x88)],
        0x48 | 0x08 if block[1] & 0x80 != 0 => {
            let coded = &block[2..2 + usize::from(block[1] & 0x7f)];
            digits(coded)
        }
        0x48 | 0x08 => std::str::from_utf8(&block[2..5]).unwrap().parse().unwrap(),
        other => panic!("no status: {other:#x}"),
    }
}

/// Three digits: 0 to 2 have five bits, the others six.
fn digits(coded: &[u8]) -> u16 {
    let bits = coded
        .iter()
        .fold(0_u64, |bits, byte| bits << 8 | u64::from(*byte));
    let mut left = coded.len() * 8;
    let mut number = 0;
    for _ in 0..3 {
        let five = bits >> (left - 5) & 31;
        let digit = if five < 3 {
            left -= 5;
            five
        } else {
            left -= 6;
            (bits >> left & 63) - 22
        };
        number = number * 10 + u16::try_from(digit).unwrap();
    }
    number
}
