//! Trace context as programs send it.
//!
//! Job: read the one `traceparent` field of a request, strictly.
//! Invariants: what is not exactly a trace context is none: a trace is continued or begun, never guessed; the field itself is
//! left as it came and goes on to the origin like every other.
//! Failure mode: `None`.
//! Source: W3C Trace Context (Level 2), sections 2.2 and 3.2.

use http::HeaderMap;

/// Length of a version 00 `traceparent`: `00-` + 32 + `-` + 16 + `-` + 2.
const LENGTH: usize = 55;

/// Bit of the flags that says that the caller records this trace.
const SAMPLED: u8 = 1;

/// A trace, as sixteen bytes that are not all zero.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct TraceId([u8; 16]);

impl TraceId {
    /// Takes the bytes of an id that somebody else made; all zeros are no id.
    #[must_use]
    pub fn new(bytes: [u8; 16]) -> Option<Self> {
        (bytes != [0; 16]).then_some(Self(bytes))
    }

    /// The bytes.
    #[must_use]
    pub const fn bytes(self) -> [u8; 16] {
        self.0
    }
}

impl std::fmt::Display for TraceId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:032x}", u128::from_be_bytes(self.0))
    }
}

impl std::fmt::Debug for TraceId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        std::fmt::Display::fmt(self, f)
    }
}

/// The span of a program that a request belongs to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Parent {
    /// Its trace.
    pub trace: TraceId,
    /// The span itself.
    pub span: [u8; 8],
    /// Whether the program records it.
    pub sampled: bool,
}

impl Parent {
    /// Reads the trace context of a request. Two fields are as good as none.
    #[must_use]
    pub fn of(fields: &HeaderMap) -> Option<Self> {
        let mut all = fields.get_all("traceparent").iter();
        let (Some(only), None) = (all.next(), all.next()) else {
            return None;
        };
        Self::parse(only.as_bytes())
    }

    fn parse(text: &[u8]) -> Option<Self> {
        let (known, more) = text.split_at_checked(LENGTH)?;
        let mut parts = known.split(|byte| *byte == b'-');
        let [version] = hex(parts.next()?)?;
        let trace = TraceId::new(hex(parts.next()?)?)?;
        let span: [u8; 8] = hex(parts.next()?)?;
        let [flags] = hex(parts.next()?)?;
        // a later version may say more, after another hyphen; version 255 is forbidden
        let ends_well = match version {
            0 => more.is_empty(),
            0xff => false,
            1..=0xfe => more.is_empty() || more.starts_with(b"-"),
        };
        (ends_well && span != [0; 8] && parts.next().is_none()).then_some(Self {
            trace,
            span,
            sampled: flags & SAMPLED != 0,
        })
    }
}

/// Bytes from exactly as many lower-case hexadecimal digits as they take.
fn hex<const N: usize>(digits: &[u8]) -> Option<[u8; N]> {
    let value = |digit: u8| match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    };
    if digits.len() != 2 * N {
        return None;
    }
    let mut bytes = [0; N];
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        let [high, low] = pair else { return None };
        *byte = value(*high)? << 4 | value(*low)?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
    const SPAN: &str = "00f067aa0ba902b7";

    fn read(fields: &[&str]) -> Option<Parent> {
        let mut map = HeaderMap::new();
        for field in fields {
            map.append("traceparent", field.parse().unwrap());
        }
        Parent::of(&map)
    }

    #[test]
    fn a_trace_context_is_read_to_the_bit() {
        let parent = read(&[&format!("00-{TRACE}-{SPAN}-01")]).unwrap();
        assert_eq!(parent.trace.to_string(), TRACE);
        assert_eq!(parent.span, 0x00f0_67aa_0ba9_02b7_u64.to_be_bytes());
        assert!(parent.sampled);
        assert!(!read(&[&format!("00-{TRACE}-{SPAN}-02")]).unwrap().sampled);
        assert!(read(&[&format!("cc-{TRACE}-{SPAN}-01-what-the-future-says")]).is_some());
    }

    #[test]
    fn what_is_not_exactly_a_trace_context_is_none() {
        let good = format!("00-{TRACE}-{SPAN}-01");
        for bad in [
            "",
            "00",
            good.trim_end_matches('1'),
            &format!("{good}-x"),
            &format!("{good} "),
            &format!("ff-{TRACE}-{SPAN}-01"),
            &format!("cc-{TRACE}-{SPAN}-01x"),
            &format!("0g-{TRACE}-{SPAN}-01"),
            &format!("00-{}-{SPAN}-01", TRACE.to_uppercase()),
            &format!("00-{}-{SPAN}-01", "0".repeat(32)),
            &format!("00-{TRACE}-{}-01", "0".repeat(16)),
            &format!("00-{TRACE}{SPAN}--01"),
            &format!("00_{TRACE}_{SPAN}_01"),
            &format!("00-{SPAN}-{TRACE}-01"),
        ] {
            assert_eq!(read(&[bad]), None, "{bad}");
        }
        assert_eq!(read(&[]), None);
        assert_eq!(read(&[&good, &good]), None, "two fields");
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_a_panic(text in prop::collection::vec(any::<u8>(), 0..80)) {
            let _none_or_some = Parent::parse(&text);
        }
    }
}
