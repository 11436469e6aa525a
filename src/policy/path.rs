//! The form of a raw path.
//!
//! Job: refuse every path that two readers could take for two routes, before anything is matched.
//! Invariants: looks at bytes, rebuilds nothing; what passes is forwarded as it came. An escape inside a segment is data
//! unless it spells a separator, a dot segment or a control byte.
//! Failure mode: an [`Ambiguity`], which says what to send instead.
//! Sources: RFC 3986 sections 2.1, 3.3 and 6.2.2; the habit of some servers to cut `;…` off a segment before they
//! resolve dots, and of others to decode `%2F` or `%5C` before they split.

use crate::catalog::tree::segments;

/// What is worth knowing of a path whose form is good.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(super) struct Form {
    /// `%2F` stands somewhere.
    pub(super) encoded_slash: bool,
    /// An escape or a `;` stands somewhere: some other reader may see other segments.
    pub(super) other_readings: bool,
}

/// Why a path is not one thing to everybody.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Ambiguity {
    /// Does not start with a slash.
    NotAbsolute,
    /// `.` or `..`, in whatever spelling.
    DotSegment,
    /// `//` or a slash at the end.
    EmptySegment,
    /// `\` or `%5C`.
    Backslash,
    /// A control byte, raw or encoded.
    Control,
    /// `%` without two hexadecimal digits.
    BadEscape,
    /// `?` or `#` inside the path.
    Delimiter,
    /// `%2F` where it is not data.
    EncodedSlash,
    /// Decoded, the path would be another operation's.
    TwoRoutes,
}

impl Ambiguity {
    /// What is wrong, as the end of a sentence.
    pub(super) const fn message(self) -> &'static str {
        match self {
            Self::NotAbsolute => "it does not start with a slash",
            Self::DotSegment => "it holds a dot segment",
            Self::EmptySegment => "it holds an empty segment",
            Self::Backslash => "it holds a backslash",
            Self::Control => "it holds a control byte",
            Self::BadEscape => "it holds a percent sign without two hexadecimal digits",
            Self::Delimiter => "it holds a ? or a #",
            Self::EncodedSlash => "it holds an encoded slash where a slash is not data",
            Self::TwoRoutes => "decoded, it would be another operation's path",
        }
    }

    /// What to do about it.
    pub(super) const fn remedy(self) -> &'static str {
        match self {
            Self::NotAbsolute => "Send the path with its leading slash.",
            Self::DotSegment => {
                "Send the path without . and .. segments, percent-encoded ones included."
            }
            Self::EmptySegment => {
                "Send the path without // and without a slash at its end; SP-API has no such path. A parameter may have \
                 been left empty."
            }
            Self::Backslash => "Send the path without backslashes, %5C included.",
            Self::Control => {
                "Send the path without control bytes, encoded ones (%00 to %1F, %7F) included."
            }
            Self::BadEscape => "Write a percent sign that is data as %25.",
            Self::Delimiter => "Write ? and # that are data as %3F and %23.",
            Self::EncodedSlash => {
                "%2F is data in a seller SKU alone; where an identifier of this route can hold a slash, add \
                 `encoded_slash: true` to the route."
            }
            Self::TwoRoutes => {
                "Send letters, digits, - . _ ~ as themselves, and no ; in a path parameter."
            }
        }
    }
}

/// Checks the form of a raw path. `/` alone is the root and has no segment.
pub(super) fn form(raw: &str) -> Result<Form, Ambiguity> {
    if !raw.starts_with('/') {
        return Err(Ambiguity::NotAbsolute);
    }
    let mut form = Form::default();
    for segment in segments(raw) {
        if segment.is_empty() {
            return Err(Ambiguity::EmptySegment);
        }
        read_segment(segment, &mut form)?;
    }
    Ok(form)
}

fn read_segment(segment: &str, form: &mut Form) -> Result<(), Ambiguity> {
    let mut piece = Piece::default();
    let mut bytes = segment.bytes();
    while let Some(first) = bytes.next() {
        let (byte, escaped) = match first {
            b'%' => (unescape(bytes.next(), bytes.next())?, true),
            raw => (raw, false),
        };
        form.other_readings |= escaped || byte == b';';
        match byte {
            b'\\' => return Err(Ambiguity::Backslash),
            0..=0x1f | 0x7f => return Err(Ambiguity::Control),
            b'?' | b'#' if !escaped => return Err(Ambiguity::Delimiter),
            b'/' => {
                form.encoded_slash = true;
                piece.end()?;
                piece = Piece::default();
            }
            other => piece.take(other),
        }
    }
    piece.end()
}

fn unescape(high: Option<u8>, low: Option<u8>) -> Result<u8, Ambiguity> {
    let digit = |byte: Option<u8>| match byte {
        Some(b @ b'0'..=b'9') => Ok(b - b'0'),
        Some(b @ b'a'..=b'f') => Ok(b - b'a' + 10),
        Some(b @ b'A'..=b'F') => Ok(b - b'A' + 10),
        _ => Err(Ambiguity::BadEscape),
    };
    Ok(digit(high)? << 4 | digit(low)?)
}

/// What stands between two slashes, encoded ones included; what follows a `;` is not part of the name.
#[derive(Default)]
struct Piece {
    dots: usize,
    letters: bool,
    closed: bool,
}

impl Piece {
    const fn take(&mut self, byte: u8) {
        match byte {
            _ if self.closed => {}
            b';' => self.closed = true,
            b'.' => self.dots += 1,
            _ => self.letters = true,
        }
    }

    const fn end(&self) -> Result<(), Ambiguity> {
        if !self.letters && matches!(self.dots, 1 | 2) {
            return Err(Ambiguity::DotSegment);
        }
        Ok(())
    }
}

/// How often a path may be decoded on its way to whoever routes it: by a gateway, and again behind it.
const DECODINGS: usize = 2;

/// The path as other readers would see it: decoded once and again, with `\` for `/`, with `;…` cut off each segment, with
/// dot segments resolved.
///
/// Only for comparing: none is ever matched to allow anything, and none is sent.
pub(super) fn readings(raw: &str) -> Vec<String> {
    let mut all = Vec::new();
    let mut path = raw.to_owned();
    for decoding in 0..=DECODINGS {
        if decoding > 0 {
            let further = decoded(&path);
            if further == path {
                break;
            }
            path = further;
        }
        let slashed = path.replace('\\', "/");
        let cut = without_parameters(&slashed);
        for seen in [resolved(&slashed), resolved(&cut), slashed, cut] {
            if seen != raw && !all.contains(&seen) {
                all.push(seen);
            }
        }
    }
    all
}

fn without_parameters(path: &str) -> String {
    let mut out = String::with_capacity(path.len());
    for segment in segments(path) {
        out.push('/');
        out.push_str(segment.split(';').next().unwrap_or_default());
    }
    out
}

/// RFC 3986 section 5.2.4, and no empty segments.
fn resolved(path: &str) -> String {
    let mut kept: Vec<&str> = Vec::new();
    for segment in segments(path) {
        match segment {
            "" | "." => {}
            ".." => {
                kept.pop();
            }
            other => kept.push(other),
        }
    }
    format!("/{}", kept.join("/"))
}

/// Printable characters decoded, once.
fn decoded(path: &str) -> String {
    let mut out = String::with_capacity(path.len());
    decode_into(path, &mut out);
    out
}

fn decode_into(path: &str, out: &mut String) {
    let mut rest = path;
    while let Some((before, after)) = rest.split_once('%') {
        out.push_str(before);
        let mut digits = after.bytes();
        match unescape(digits.next(), digits.next()) {
            Ok(byte @ 0x21..=0x7e) => {
                out.push(char::from(byte));
                rest = after.get(2..).unwrap_or_default();
            }
            Ok(_) | Err(_) => {
                out.push('%');
                rest = after;
            }
        }
    }
    out.push_str(rest);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_ambiguous_form_is_named_for_what_it_is() {
        for (path, want) in [
            ("", Ambiguity::NotAbsolute),
            ("*", Ambiguity::NotAbsolute),
            ("orders", Ambiguity::NotAbsolute),
            ("//", Ambiguity::EmptySegment),
            ("//orders", Ambiguity::EmptySegment),
            ("/orders/", Ambiguity::EmptySegment),
            ("/orders//v0", Ambiguity::EmptySegment),
            ("/.", Ambiguity::DotSegment),
            ("/..", Ambiguity::DotSegment),
            ("/orders/./v0", Ambiguity::DotSegment),
            ("/orders/../v0", Ambiguity::DotSegment),
            ("/orders/%2e", Ambiguity::DotSegment),
            ("/orders/%2E%2e/v0", Ambiguity::DotSegment),
            ("/orders/.%2e", Ambiguity::DotSegment),
            ("/orders/%2E.", Ambiguity::DotSegment),
            ("/orders/..;x=1/v0", Ambiguity::DotSegment),
            ("/orders/..%3bx/v0", Ambiguity::DotSegment),
            ("/orders/a%2F..%2Fb", Ambiguity::DotSegment),
            ("/orders/..%2fb", Ambiguity::DotSegment),
            ("/orders/a%2F%2e", Ambiguity::DotSegment),
            ("/orders\\v0", Ambiguity::Backslash),
            ("/orders/%5cv0", Ambiguity::Backslash),
            ("/orders/%5Cv0", Ambiguity::Backslash),
            ("/orders/\u{1}", Ambiguity::Control),
            ("/orders/\u{7f}", Ambiguity::Control),
            ("/orders/%00", Ambiguity::Control),
            ("/orders/%0a", Ambiguity::Control),
            ("/orders/%1F", Ambiguity::Control),
            ("/orders/%7f", Ambiguity::Control),
            ("/orders/%", Ambiguity::BadEscape),
            ("/orders/%4", Ambiguity::BadEscape),
            ("/orders/%4/x", Ambiguity::BadEscape),
            ("/orders/%zz", Ambiguity::BadEscape),
            ("/orders/%+1", Ambiguity::BadEscape),
            ("/orders/%%41", Ambiguity::BadEscape),
            ("/orders?x", Ambiguity::Delimiter),
            ("/orders#x", Ambiguity::Delimiter),
        ] {
            assert_eq!(form(path), Err(want), "{path}");
        }
    }

    #[test]
    fn other_escapes_and_odd_names_are_data() {
        let plain = Form::default();
        let escaped = Form {
            other_readings: true,
            ..plain
        };
        let slash = Form {
            encoded_slash: true,
            other_readings: true,
        };
        for (path, want) in [
            ("/", plain),
            ("/orders/v0/orders", plain),
            ("/...", plain),
            ("/.a/a./..a", plain),
            ("/a:b@c!$&'()*+,=~", plain),
            ("/bücher", plain),
            ("/{orderId}", plain),
            ("/a%20b", escaped),
            ("/%FF%FE", escaped),
            ("/%c0%ae", escaped),
            ("/%252e%252e", escaped),
            ("/%2e%2e%2e", escaped),
            ("/%3F%23", escaped),
            ("/a;b=c", escaped),
            ("/a%2Fb", slash),
            ("/a%2fb%2F", slash),
        ] {
            assert_eq!(form(path), Ok(want), "{path}");
        }
    }

    #[test]
    fn other_readers_decode_cut_and_resolve() {
        for (raw, want) in [
            ("/orders/v0/%6frders", vec!["/orders/v0/orders"]),
            ("/a%2Fb", vec!["/a/b"]),
            ("/a;x=1/b%3Bc", vec!["/a/b%3Bc", "/a;x=1/b;c", "/a/b"]),
            ("/a/;x/b", vec!["/a/b", "/a//b"]),
            ("/%FF%20%41", vec!["/%FF%20A"]),
            ("/%2541", vec!["/%41", "/A"]),
            ("/%C3%BC%61", vec!["/%C3%BCa"]),
            ("/ü%61", vec!["/üa"]),
            (
                "/a/%252e%252E%255cb",
                vec!["/a/%2e%2E%5cb", "/b", "/a/../b"],
            ),
        ] {
            assert_eq!(readings(raw), want, "{raw}");
        }
    }
}
